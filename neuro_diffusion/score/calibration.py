"""Are the intervals of a posterior as wide as they claim, also where the truth is exactly zero?

The rank of a truth among exact posterior samples is uniform if ties are broken at random (randomised probability-integral
transform: Czado, Gneiting & Held 2009). Missing connections are exactly 0 in the truth and in samples (`WeightModel.settle`),
so they are ties; a sampler that only comes near 0 fails here.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = (0.5, 0.8, 0.95)


def random_ranks(samples: Tensor, W: Tensor, seed: int = 0) -> Tensor:
    """Return where true weights W (B, N, N) lie among samples (B, S, N, N): (B, N N) in 0 to 1, uniform when the posterior is right.

    A rank is drawn evenly within its step and within ties.
    """
    g = torch.Generator().manual_seed(seed)
    flat, true = samples.flatten(2), W.flatten(1)[:, None]
    below, equal = (flat < true).sum(1), (flat == true).sum(1)
    return (below + torch.rand(below.shape, generator=g) * (equal + 1)) / (flat.shape[1] + 1)


def likely_connections(samples: Tensor) -> Tensor:
    """Return which weights (B, N N) more than half of the samples (B, S, N, N) hold to be there."""
    return (samples != 0).to(samples.dtype).flatten(2).mean(1) > 0.5


def coverage(ranks: Tensor, keep: Tensor | None = None) -> Tensor:
    """Return the share (B, 3) of ranks (B, M) in the central 50, 80, 95 %; over entries ``keep`` (B, M), NaN where there are none."""
    weight = torch.ones_like(ranks) if keep is None else keep.to(ranks.dtype)
    inside = torch.stack([((ranks - 0.5).abs() < p / 2).to(ranks.dtype) * weight for p in LEVELS], 1)
    return inside.sum(2) / weight.sum(1)[:, None]


def rank_histogram(ranks: Tensor, n_bins: int = 16) -> np.ndarray:
    """Return the share of ranks in each bin times the number of bins: one everywhere when calibrated."""
    return np.histogram(ranks.numpy(), n_bins, (0, 1))[0] * n_bins / ranks.numel()
