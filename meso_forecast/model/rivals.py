"""Which published forecasters stand beside ours? Small versions of PatchTST, TSMixer, iTransformer and POCO, from their papers.

All see windows (window, lag, neuron) and answer (window, horizon, neuron); each neuron's window is centred and scaled by its own mean and
sd (reversible instance normalisation, Kim et al. 2022), which the answer undoes. Sizes are small: one session on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .networks import spike_weights

WIDTH, HEADS, LAYERS, DROPOUT = 64, 4, 2, 0.1
ROWS = 4096  #: traces of one pass through a network that sees each alone
LATENTS = 8


def encoder(layers: int = LAYERS) -> nn.Module:
    """Return a small transformer encoder."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class PatchTST(nn.Module):
    """Patches of one trace as tokens, the same network for every neuron (Nie et al. 2023)."""

    def __init__(self, context: int, horizon: int, sizes: list[int]) -> None:
        super().__init__()
        self.patch = min(8, context)
        self.stride = max(1, self.patch // 2)
        n = (context - self.patch) // self.stride + 1
        self.first = context - ((n - 1) * self.stride + self.patch)  # frames that no patch holds, the oldest
        self.embed, self.encoder = nn.Linear(self.patch, WIDTH), encoder()
        self.position = nn.Parameter(torch.randn(n, WIDTH) * 0.02)
        self.head = nn.Linear(n * WIDTH, horizon)

    def forward(self, x: torch.Tensor, recording: int) -> torch.Tensor:
        """Return the forecast (batch, horizon, neuron) of a context (batch, lag, neuron)."""
        traces = x.transpose(1, 2).flatten(0, 1)[:, self.first :]
        parts = []
        for rows in traces.split(ROWS):
            tokens = self.embed(rows.unfold(1, self.patch, self.stride)) + self.position
            parts.append(self.head(self.encoder(tokens).flatten(1)))
        return torch.cat(parts).unflatten(0, (len(x), x.shape[2])).transpose(1, 2)


class TSMixer(nn.Module):
    """Perceptrons over time and over neurons in turn (Chen et al. 2023)."""

    def __init__(self, context: int, horizon: int, sizes: list[int]) -> None:
        super().__init__()
        n = sizes[0]
        self.times = nn.ModuleList(nn.Sequential(nn.LayerNorm(context), nn.Linear(context, context), nn.ReLU(), nn.Dropout(DROPOUT)) for _ in range(LAYERS))  # fmt: skip
        self.neurons = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(n), nn.Linear(n, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, n))
            for _ in range(LAYERS)
        )
        self.head = nn.Linear(context, horizon)

    def forward(self, x: torch.Tensor, recording: int) -> torch.Tensor:
        """Return the forecast (batch, horizon, neuron) of a context (batch, lag, neuron)."""
        for over_time, over_neurons in zip(self.times, self.neurons):
            x = x + over_time(x.transpose(1, 2)).transpose(1, 2)
            x = x + over_neurons(x)
        return self.head(x.transpose(1, 2)).transpose(1, 2)


class ITransformer(nn.Module):
    """One token a neuron, attention between neurons (Liu et al. 2024)."""

    def __init__(self, context: int, horizon: int, sizes: list[int]) -> None:
        super().__init__()
        self.embed, self.encoder, self.head = nn.Linear(context, WIDTH), encoder(), nn.Linear(WIDTH, horizon)

    def forward(self, x: torch.Tensor, recording: int) -> torch.Tensor:
        """Return the forecast (batch, horizon, neuron) of a context (batch, lag, neuron)."""
        return self.head(self.encoder(self.embed(x.transpose(1, 2)))).transpose(1, 2)


class POCO(nn.Module):
    """A perceptron for one trace whose hidden units are scaled and moved by the population's state (Duan et al. 2025).

    The population is read by a few latents that attend to patches of all neurons; each neuron's embedding then asks the latents. Neurons
    and recordings have embeddings of their own, so that several recordings train one network.
    """

    def __init__(self, context: int, horizon: int, sizes: list[int]) -> None:
        super().__init__()
        self.patch = min(16, context)
        n = context // self.patch
        self.firsts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.unit, self.session = nn.Embedding(sum(sizes), WIDTH), nn.Embedding(len(sizes), WIDTH)
        self.place, self.token = nn.Parameter(torch.randn(n, WIDTH) * 0.02), nn.Linear(self.patch, WIDTH)
        self.latents = nn.Parameter(torch.randn(LATENTS, WIDTH) * 0.02)
        self.read = nn.MultiheadAttention(WIDTH, HEADS, DROPOUT, batch_first=True)
        self.think = encoder(1)
        self.ask = nn.MultiheadAttention(WIDTH, HEADS, DROPOUT, batch_first=True)
        self.condition, self.hidden, self.head = (
            nn.Linear(WIDTH, 4 * WIDTH),
            nn.Linear(context, 2 * WIDTH),
            nn.Linear(2 * WIDTH, horizon),
        )
        for embedding in (self.unit, self.session):
            nn.init.normal_(embedding.weight, std=0.02)
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)

    def forward(self, x: torch.Tensor, recording: int) -> torch.Tensor:
        """Return the forecast (batch, horizon, neuron) of a context (batch, lag, neuron)."""
        first, traces = self.firsts[recording], x.transpose(1, 2)
        units = self.unit.weight[first : first + traces.shape[1]] + self.session.weight[recording]
        n = len(self.place)
        patches = traces[..., -n * self.patch :].unflatten(2, (n, self.patch))
        tokens = (self.token(patches) + self.place + units[:, None]).flatten(1, 2)
        state = self.latents.expand(len(x), -1, -1)
        state = self.think(state + self.read(state, tokens, tokens, need_weights=False)[0])
        asked = units.expand(len(x), -1, -1)
        scale, shift = self.condition(self.ask(asked, state, state, need_weights=False)[0]).chunk(2, -1)
        hidden = nn.functional.relu(self.hidden(traces) * (1 + scale) + shift)
        return self.head(hidden).transpose(1, 2)


RIVALS: dict[str, Any] = {"patchtst": PatchTST, "tsmixer": TSMixer, "itransformer": ITransformer, "poco": POCO}
ALONE = ("patchtst",)  #: see each neuron alone: trained on a bounded number of traces in a batch
SHARED = ("patchtst", "itransformer", "poco")  #: one network for recordings of different neurons


class Rival(nn.Module):
    """A rival with its normalisation, as training and forecasting call it.

    Parameters
    ----------
    kind : a name of ``RIVALS``.
    context, horizon : window in frames.
    sizes : number of neurons of each recording.
    spike_weight : see `networks.spike_weights`.
    """

    def __init__(self, kind: str, context: int, horizon: int, sizes: list[int], spike_weight: float = 1.0) -> None:
        super().__init__()
        self.architecture, self.lags = (kind, context, horizon, list(sizes), spike_weight), context
        self.kind, self.spike_weight, self.net = kind, spike_weight, RIVALS[kind](context, horizon, list(sizes))

    def forward(self, context: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return (window, horizon, neuron) from (window, lag, neuron)."""
        centre = context.mean(1, keepdim=True)
        size = (context.var(1, keepdim=True, unbiased=False) + 1e-2).sqrt()
        return self.net((context - centre) / size, recording) * size + centre

    def loss(self, context: torch.Tensor, target: torch.Tensor, recording: int = 0) -> torch.Tensor:
        """Return the spike-weighted mean squared error; of a bounded number of neurons where each is seen alone."""
        most = max(1, ROWS // len(context))
        if self.training and self.kind in ALONE and context.shape[2] > most:
            chosen = torch.randperm(context.shape[2])[:most].to(context.device)
            context, target = context[:, :, chosen], target[:, :, chosen]
        return (spike_weights(target, self.spike_weight) * (self(context, recording) - target).square()).mean()
