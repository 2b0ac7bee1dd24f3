"""How do the cells of a population inform one another? A normal prior over cells, by importance re-weighting of saved draws.

In the coordinates of `priors` every cell was inferred under N(0, 1). Let the cells' own values come from N(mu, s^2) instead, one mu and
s a coordinate: a draw z of a cell gets the weight N(z; mu, s) / N(z; 0, 1), and the marginal likelihood of (mu, s) is the product over
cells of the mean weight. It is maximised by expectation maximisation (Dempster 1977) with a weak prior on s. Nothing is simulated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

N_STEPS = 300
PRIOR_N = 2.0  #: weight, in cells, of the prior that a population is about as wide as the cells' own prior
TOLERANCE = 1e-5


class Population(NamedTuple):
    """The prior of a population and what it makes of its cells."""

    mean: np.ndarray  #: (d,) mu
    sd: np.ndarray  #: (d,) s
    weights: list[np.ndarray]  #: (n_draws,) of each cell, they sum to 1
    ess: np.ndarray  #: (n_cell,) effective sample size of each cell's weights over its draws
    gain: float  #: log marginal likelihood over that of the cells' own prior


def population(cells: Sequence[np.ndarray]) -> Population:
    """Return the population of cells, each with draws (n_draws, d) of the inferred coordinates."""
    d = cells[0].shape[1]
    mean, sd = np.zeros(d), np.ones(d)
    for _ in range(N_STEPS):
        weights, _ = weigh(cells, mean, sd)
        first = np.array([w @ z for w, z in zip(weights, cells, strict=True)])
        second = np.array([w @ z**2 for w, z in zip(weights, cells, strict=True)])
        new_mean = first.mean(axis=0)
        spread = (second - 2 * new_mean * first + new_mean**2).sum(axis=0)
        new_sd = np.sqrt((spread + PRIOR_N * 0.25) / (len(cells) + PRIOR_N))
        moved = max(np.max(np.abs(new_mean - mean)), np.max(np.abs(new_sd - sd)))
        mean, sd = new_mean, new_sd
        if moved < TOLERANCE:
            break
    weights, gain = weigh(cells, mean, sd)
    ess = np.array([1 / np.sum(w**2) / len(w) for w in weights])
    return Population(mean, sd, weights, ess, gain)


def weigh(cells: Sequence[np.ndarray], mean: np.ndarray, sd: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Return the weights of each cell's draws under N(mean, sd^2), and the log marginal likelihood over that of N(0, 1)."""
    weights, gain = [], 0.0
    for z in cells:
        log_ratio = np.sum(0.5 * z**2 - 0.5 * ((z - mean) / sd) ** 2 - np.log(sd), axis=1)
        gain += float(special.logsumexp(log_ratio) - np.log(len(z)))
        weights.append(special.softmax(log_ratio))
    return weights, gain
