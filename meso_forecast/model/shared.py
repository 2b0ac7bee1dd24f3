"""Which network is shared by all neurons? One for the dynamics of a single trace, with a small embedding of the neuron.

A multilayer perceptron over the last frames around the last value (after TiDE, Das et al. 2023), a linear path beside it, an embedding
of each neuron, and the latents of the population at the last frames (after POCO, Duan et al. 2025): what neurons have in common is
learned from all of them. Neurons that were not seen in training have the embedding zero, which training meets too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

EMBEDDING = 8
POPULATION_LAGS = 4
DROP_EMBEDDING = 0.3


class SharedMLP(nn.Module):
    """Forecast of single traces.

    Parameters
    ----------
    kind : ``tide`` (one trace alone) or ``tide-population`` (with the population's latents).
    context, horizon : window in frames.
    n_neurons : neurons with an embedding.
    latents : number of latents that it sees; 0 for ``tide``.
    """

    def __init__(
        self, kind: str, context: int, horizon: int, n_neurons: int, latents: int = 0, width: int = 64
    ) -> None:
        super().__init__()
        self.architecture, self.lags = (kind, context, horizon, n_neurons, latents, width), context
        self.latents, self.population_lags = latents, min(POPULATION_LAGS, context) if latents else 0
        size = context + EMBEDDING + latents * self.population_lags
        self.embedding = nn.Embedding(n_neurons, EMBEDDING)
        nn.init.zeros_(self.embedding.weight)
        self.first, self.second = nn.Linear(size, width), nn.Linear(width, width)
        self.drop, self.head, self.straight = nn.Dropout(0.1), nn.Linear(width, horizon), nn.Linear(context, horizon)
        for layer in (self.head, self.straight):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, traces: torch.Tensor, neurons: torch.Tensor, population: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return (row, horizon) from traces (row, context), the neuron of each row (-1: none known) and (row, lag * latent)."""
        last = traces[:, -1:]
        x = traces - last
        known = (neurons >= 0).unsqueeze(1)
        if self.training:
            known = known & (torch.rand(len(neurons), 1) > DROP_EMBEDDING)
        parts = [x, self.embedding(neurons.clamp(min=0)) * known]
        if self.latents and population is not None:
            parts.append(population)
        h = nn.functional.gelu(self.first(torch.cat(parts, 1)))
        h = h + self.drop(nn.functional.gelu(self.second(h)))
        return self.head(h) + self.straight(x) + last


def forecast_shared(
    nets: Sequence[SharedMLP], x: np.ndarray, neurons: np.ndarray, latents: np.ndarray | None, origins: np.ndarray, rows: int = 65536
) -> np.ndarray:  # fmt: skip
    """Return the mean forecast of several networks, (window, horizon, neuron) float32.

    Parameters
    ----------
    x : (time, neuron).
    neurons : (neuron,), embedding of each, -1 where it has none.
    latents : (time, latent), None where the networks see no population.
    origins : (window,).
    """
    context, n = nets[0].lags, x.shape[1]
    out = np.empty((len(origins), nets[0].architecture[2], n), np.float32)
    ids = torch.from_numpy(np.asarray(neurons, np.int64))
    step = max(1, rows // n)
    with torch.inference_mode():
        for start in range(0, len(origins), step):
            here = origins[start : start + step]
            traces = np.take(x, here[:, None] + np.arange(1 - context, 1), axis=0).transpose(0, 2, 1)
            flat = torch.from_numpy(np.ascontiguousarray(traces, np.float32)).reshape(len(here) * n, context)
            population = population_of(nets[0], latents, here)
            seen = None if population is None else torch.from_numpy(population).repeat_interleave(n, 0)
            total = sum(net(flat, ids.repeat(len(here)), seen) for net in nets) / len(nets)
            out[start : start + step] = total.reshape(len(here), n, -1).transpose(1, 2).numpy()
    return out


def population_of(net: SharedMLP, latents: np.ndarray | None, origins: np.ndarray) -> np.ndarray | None:
    """Return the population's latents at the last frames of each window, (window, lag * latent) float32."""
    if not net.latents or latents is None:
        return None
    lags = np.take(latents, origins[:, None] - np.arange(net.population_lags), axis=0)
    return np.ascontiguousarray(lags.reshape(len(origins), -1), np.float32)
