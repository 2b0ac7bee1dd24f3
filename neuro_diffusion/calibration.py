"""Are the intervals of a posterior as wide as they claim, also where the truth is exactly zero?

The rank of a truth among exact posterior samples is uniform, whatever function both went through, if ties are broken at random
(randomised probability-integral transform: Czado, Gneiting & Held 2009). A missing connection is exactly 0 while a continuous
sampler ends near 0, so its plain rank says how the zeros are smeared, not how well the weights are known. The tied rank first
rounds truth and samples below ``RESOLUTION`` to 0: an exact posterior keeps nominal coverage, a smeared zero counts as zero, and
everything larger is judged as before. The verdict on calibration rests on it; the plain rank stands beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

LEVELS = (0.5, 0.8, 0.95)
RESOLUTION = 0.1  #: weights below this fraction of the prior's standard deviation count as missing connections


class Ranks(NamedTuple):
    """Where the truth lies among posterior samples: 0 to 1 for each entry, uniform when the posterior is right."""

    plain: Tensor  #: (B, M) of the entries as they are
    tied: Tensor  #: (B, M) after rounding small weights to 0
    likely: Tensor  #: (B, M) bool, connections that more than half of the samples hold to be there


def random_ranks(samples: Tensor, W: Tensor, unit: float | Tensor, seed: int = 0) -> Ranks:
    """Return the ranks of true weights W (B, N, N) among samples (B, S, N, N); ``unit`` (number or (B)) is the prior's sd of an entry."""
    g = torch.Generator().manual_seed(seed)
    small = RESOLUTION * torch.as_tensor(unit, dtype=W.dtype).reshape(-1, 1, 1)
    flat, true = samples.flatten(2), W.flatten(1)[:, None]
    zero = torch.zeros((), dtype=W.dtype)
    rounded = torch.where(flat.abs() < small, zero, flat)
    tied = _rank(rounded, torch.where(true.abs() < small, zero, true), g)
    return Ranks(_rank(flat, true, g), tied, (rounded != 0).to(W.dtype).mean(1) > 0.5)


def _rank(samples: Tensor, true: Tensor, generator: torch.Generator) -> Tensor:
    """Return the rank of true (B, 1, M) among samples (B, S, M), uniform within its step and within ties, over S + 1."""
    below, equal = (samples < true).sum(1), (samples == true).sum(1)
    place = torch.rand(below.shape, generator=generator) * (equal + 1)
    return (below + place) / (samples.shape[1] + 1)


def coverage(ranks: Tensor, keep: Tensor | None = None) -> Tensor:
    """Return the share (B, 3) of ranks (B, M) in the central 50, 80, 95 %; over entries ``keep`` (B, M), NaN where there are none."""
    weight = torch.ones_like(ranks) if keep is None else keep.to(ranks.dtype)
    inside = torch.stack([((ranks - 0.5).abs() < p / 2).to(ranks.dtype) * weight for p in LEVELS], 1)
    return inside.sum(2) / weight.sum(1)[:, None]


def rank_histogram(ranks: Tensor, n_bins: int = 16) -> np.ndarray:
    """Return the share of ranks in each bin times the number of bins: one everywhere when calibrated."""
    return np.histogram(ranks.numpy(), n_bins, (0, 1))[0] * n_bins / ranks.numel()
