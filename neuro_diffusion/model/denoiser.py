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
N_FEATURES = 9


def features(w: Tensor, sigma: Tensor, mean: Tensor, variance: Tensor, static: Tensor) -> Tensor:
    """Return the input channels (B, S, N, N, 9).

    Noisy weights, posterior mean and sd given them, its logarithm, the data's own estimate, the diagonal, and `energies`.
    """
    s = sigma[..., None, None]
    diagonal = torch.eye(w.shape[-1], dtype=w.dtype, device=w.device).expand_as(w)
    sd = variance.sqrt().expand_as(w)
    entries = [w / (1 + s**2).sqrt(), mean, sd, sd.clamp_min(1e-3).log(), static.expand_as(w), diagonal]
    return torch.stack([*entries, *energies(mean, variance.expand_as(w))], -1)


def energies(mean: Tensor, variance: Tensor) -> list[Tensor]:
    """Return how much larger the weights of the matrix, a row, a column are than a unit Gaussian prior expects, as z scores.

    The expectation of mean^2 + variance is 1 under that prior; asinh keeps large scores within reach of the network.
    """
    excess, noise = mean**2 + variance - 1, 2 * (1 - variance) ** 2
    scores = []
    for axes in ((-1, -2), (-1,), (-2,)):
        z = excess.sum(axes, keepdim=True) / noise.sum(axes, keepdim=True).clamp_min(1e-8).sqrt()
        scores.append(torch.asinh(z).expand_as(mean))
    return scores


class SigmaEmbedding(nn.Module):
    """Sinusoids of log sigma through a small network."""

    rates: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("rates", torch.exp(torch.linspace(math.log(0.5), math.log(8.0), 8)))
        self.net = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, sigma: Tensor) -> Tensor:
        """Return (..., width) for sigma (...)."""
        phase = (sigma.log() / 4)[..., None] * self.rates.to(sigma.dtype)
        return self.net(torch.cat([phase.sin(), phase.cos()], -1))


class Block(nn.Module):
    """One round of messages between the entries of a matrix and its neurons; adaptive normalisation by sigma."""

    def __init__(self, width: int, hidden: int, axial: bool) -> None:
        super().__init__()
        self.modulate = nn.Linear(width, 3 * width)
        self.own, self.partner, self.data = (nn.Linear(width, hidden, bias=i == 0) for i in range(3))
        self.hear = nn.Sequential(
            nn.Linear(5 * width + 2 * hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )
        self.as_post, self.as_pre = (nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.out = nn.Linear(hidden, width)
        self.attend = nn.ModuleList([AxialAttention(width), AxialAttention(width)]) if axial else None
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, h: Tensor, neurons: Tensor, embedding: Tensor, shrinkage: Tensor) -> tuple[Tensor, Tensor]:
        """Return entries h (B, S, N, N, C) and neurons (B, S, N, H) after the block; shrinkage is (B, S or 1, N, N, N)."""
        shift, gain, gate = self.modulate(embedding)[:, :, None, None].chunk(3, -1)
        z = functional.layer_norm(h, h.shape[-1:]) * (1 + gain) + shift
        diagonal = z.diagonal(dim1=2, dim2=3).transpose(-1, -2)  # (B, S, N, C)
        square = z.square()
        n = functional.layer_norm(neurons, neurons.shape[-1:])
        whole = n.mean(2, keepdim=True).expand_as(n)
        heard = torch.cat([z.mean(3), z.mean(2), diagonal, square.mean(3), square.mean(2), n, whole], -1)
        neurons = neurons + self.hear(heard)
        mixed = self.own(z)  # then in place: new memory is what large networks wait for
        mixed += self.partner(z.transpose(2, 3))
        mixed += self.data(_shrunk(shrinkage, z))
        mixed += self.as_post(neurons)[:, :, :, None]
        mixed += self.as_pre(neurons)[:, :, None]
        h = h + (1 + gate) * self.out(functional.gelu(mixed))
        if self.attend is not None:
            h = h + self.attend[0](z) + self.attend[1](z.transpose(2, 3)).transpose(2, 3)
        return h, neurons


def _shrunk(shrinkage: Tensor, z: Tensor) -> Tensor:
    """Return ``shrinkage @ z`` for entries z (B, S, N, N, C); one matrix for all samples is not copied for each."""
    if shrinkage.shape[1] > 1 or z.shape[1] == 1:
        return shrinkage @ z
    together = z.permute(0, 2, 3, 1, 4).flatten(3)
    return (shrinkage[:, 0] @ together).unflatten(3, (z.shape[1], -1)).permute(0, 3, 1, 2, 4)


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
        self.hidden = hidden
        self.embed, self.enter = SigmaEmbedding(width), nn.Linear(N_FEATURES, width)
        self.blocks = nn.ModuleList(Block(width, hidden, axial) for _ in range(depth))
        self.leave, self.scale = nn.Linear(width, 1), nn.Linear(hidden, 4)
        for last in (self.leave, self.scale):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, sigma: Tensor, shrinkage: Tensor) -> Tensor:
        """Return F (B, S, N, N) for channels x (B, S, N, N, 6), sigma (B, S)."""
        h, embedding = self.enter(x), self.embed(sigma)
        neurons = h.new_zeros(*h.shape[:3], self.hidden)
        for block in self.blocks:
            h, neurons = block(h, neurons, embedding, shrinkage)
        entries = self.leave(functional.layer_norm(h, h.shape[-1:]))[..., 0]
        post, pre = self.scale(neurons).chunk(2, -1)  # a neuron may scale the weights it receives and sends
        return entries + (x[..., :2] * (post[:, :, :, None] + pre[:, :, None])).sum(-1)


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
        for zero in self.leave.parameters():
            nn.init.zeros_(zero)

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
