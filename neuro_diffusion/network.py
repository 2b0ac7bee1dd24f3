"""Which function of a noisy weight matrix respects that neurons have no order?

Grids of N x N entries with C channels; each block lets an entry see its transpose, its row, its column (both also of the
partner neuron), the diagonal, the whole matrix and, through the data's shrinkage matrix, what the data leave open in its row.
Nothing knows the position of a neuron, so F(P W P^T) = P F(W) P^T and any N works ("pool", "axial"). "unet" is a plain convolutional
U-Net, for comparison: it treats the order of neurons as space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

ARCHITECTURES = ("pool", "axial", "unet")
N_FEATURES = 6


def features(w: Tensor, sigma: Tensor, mean: Tensor, variance: Tensor, static: Tensor) -> Tensor:
    """Return the input channels (B, S, N, N, 6): noisy weights, posterior mean and sd given them, the data's own estimate, diagonal."""
    s = sigma[..., None, None]
    diagonal = torch.eye(w.shape[-1], dtype=w.dtype, device=w.device).expand_as(w)
    sd = variance.sqrt().expand_as(w)
    return torch.stack([w / (1 + s**2).sqrt(), mean, sd, sd.clamp_min(1e-3).log(), static.expand_as(w), diagonal], -1)


class SigmaEmbedding(nn.Module):
    """Sinusoids of log sigma through a small network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("rates", torch.exp(torch.linspace(math.log(0.5), math.log(8.0), 8)))
        self.net = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, sigma: Tensor) -> Tensor:
        """Return (..., width) for sigma (...)."""
        phase = (sigma.log() / 4)[..., None] * self.rates.to(sigma.dtype)
        return self.net(torch.cat([phase.sin(), phase.cos()], -1))


class Block(nn.Module):
    """One round of messages between the entries of a matrix; adaptive normalisation by sigma."""

    def __init__(self, width: int, hidden: int, axial: bool) -> None:
        super().__init__()
        self.modulate = nn.Linear(width, 3 * width)
        self.own, self.partner, self.data = (nn.Linear(width, hidden, bias=i == 0) for i in range(3))
        self.by_post, self.by_pre = nn.Linear(5 * width, hidden, bias=False), nn.Linear(5 * width, hidden, bias=False)
        self.whole = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width)
        self.attend = nn.ModuleList([AxialAttention(width), AxialAttention(width)]) if axial else None
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, h: Tensor, embedding: Tensor, shrinkage: Tensor) -> Tensor:
        """Return h (B, S, N, N, C) after the block; shrinkage is (B, S or 1, N, N, N)."""
        shift, gain, gate = self.modulate(embedding)[:, :, None, None].chunk(3, -1)
        z = functional.layer_norm(h, h.shape[-1:]) * (1 + gain) + shift
        diagonal = z.diagonal(dim1=2, dim2=3).transpose(-1, -2)  # (B, S, N, C)
        row, column = z.mean(3), z.mean(2)
        spread_row, spread_column = z.square().mean(3), z.square().mean(2)
        about_post = torch.cat([row, column, diagonal, spread_row, spread_column], -1)
        mixed = self.own(z) + self.partner(z.transpose(2, 3)) + self.data(shrinkage @ z)
        mixed = mixed + self.by_post(about_post)[:, :, :, None] + self.by_pre(about_post)[:, :, None]
        mixed = mixed + self.whole(z.mean((2, 3)))[:, :, None, None]
        h = h + (1 + gate) * self.out(functional.gelu(mixed))
        if self.attend is not None:
            h = h + self.attend[0](z) + self.attend[1](z.transpose(2, 3)).transpose(2, 3)
        return h


class AxialAttention(nn.Module):
    """Self-attention of the entries of each row, without position."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, z: Tensor) -> Tensor:
        """Return (B, S, N, N, C)."""
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for p in self.qkv(z).chunk(3, -1))
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2))


class WeightNet(nn.Module):
    """The permutation-equivariant network F ("pool" or "axial")."""

    def __init__(self, width: int = 48, depth: int = 4, hidden: int = 96, axial: bool = False) -> None:
        super().__init__()
        self.embed, self.enter = SigmaEmbedding(width), nn.Linear(N_FEATURES, width)
        self.blocks = nn.ModuleList(Block(width, hidden, axial) for _ in range(depth))
        self.leave = nn.Linear(width, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, sigma: Tensor, shrinkage: Tensor) -> Tensor:
        """Return F (B, S, N, N) for channels x (B, S, N, N, 6), sigma (B, S)."""
        h, embedding = self.enter(x), self.embed(sigma)
        for block in self.blocks:
            h = block(h, embedding, shrinkage)
        return self.leave(functional.layer_norm(h, h.shape[-1:]))[..., 0]


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions with a residual and a shift by sigma."""

    def __init__(self, wide_in: int, wide_out: int, embedding: int) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(wide_in, wide_out, 3, padding=1),
            nn.Conv2d(wide_out, wide_out, 3, padding=1),
        )
        self.norm, self.shift = nn.GroupNorm(8, wide_out), nn.Linear(embedding, wide_out)
        self.skip = nn.Conv2d(wide_in, wide_out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return (M, wide_out, N, N)."""
        h = functional.silu(self.norm(self.first(x)) + self.shift(embedding)[:, :, None, None])
        return self.skip(x) + self.second(h)


class UNet(nn.Module):
    """A two-level convolutional U-Net over the matrix as an image: not equivariant, for parity with the field's first attempts."""

    def __init__(self, width: int = 48, depth: int = 1, hidden: int = 96) -> None:
        super().__init__()
        self.embed, self.enter = SigmaEmbedding(width), nn.Conv2d(N_FEATURES, width, 1)
        self.down = nn.ModuleList([ConvBlock(width, width, width), ConvBlock(width, hidden, width)])
        self.middle = nn.ModuleList(ConvBlock(hidden, hidden, width) for _ in range(depth))
        self.up = nn.ModuleList([ConvBlock(2 * hidden, width, width), ConvBlock(2 * width, width, width)])
        self.leave = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, sigma: Tensor, shrinkage: Tensor) -> Tensor:
        """Return F (B, S, N, N); the matrix is padded to a multiple of four."""
        B, S, N = x.shape[:3]
        image = functional.pad(x.flatten(0, 1).permute(0, 3, 1, 2), (0, -N % 4, 0, -N % 4))
        e, h, kept = self.embed(sigma.expand(B, S)).flatten(0, 1), self.enter(image), []
        for block in self.down:
            h = block(h, e)
            kept.append(h)
            h = functional.avg_pool2d(h, 2)
        for block in self.middle:
            h = block(h, e)
        for block in self.up:
            h = block(torch.cat([functional.interpolate(h, scale_factor=2), kept.pop()], 1), e)
        return self.leave(h)[:, 0, :N, :N].unflatten(0, (B, S))


def build_network(arch: str, width: int, depth: int, hidden: int) -> nn.Module:
    """Return the network of an architecture name.

    Raises
    ------
    ValueError : unknown architecture, or a width that its heads or groups do not divide.
    """
    if arch not in ARCHITECTURES or width % 8 or hidden % 8:
        raise ValueError(
            f"arch '{arch}', width {width}, hidden {hidden}: expected {', '.join(ARCHITECTURES)} and multiples of 8."
        )
    if arch == "unet":
        return UNet(width, depth, hidden)
    return WeightNet(width, depth, hidden, axial=arch == "axial")
