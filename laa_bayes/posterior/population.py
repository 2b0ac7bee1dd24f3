"""How do the cells of a population inform one another? A normal prior over cells, by importance re-weighting of saved draws.

In the coordinates of `priors` every cell was inferred under N(0, 1). Let the cells' own values come from N(mu, s^2) instead, one mu and
s a coordinate: a draw z of a cell gets the weight N(z; mu, s) / N(z; 0, 1). (mu, s) are not fixed at a best value, which would state
the population more sharply than so few cells know it: they are drawn from their posterior by Gibbs sampling (Gelfand & Smith 1990; mu ~
N(0, 1), s^2 inverse gamma, about .6), and each cell's weights are the mean over these draws. A coordinate that the cells hardly see is
left as it was inferred: its population would be read off the other coordinates' errors. Nothing is simulated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

N_STEPS, N_BURN = 400, 100
SHAPE, SCALE = 2.0, 0.5  #: of the inverse gamma prior of s^2
N_FOLDS = 5  #: of cells, whose evidence is scored under the population of the others
N_KEPT, THIN = 500, 5  #: for that: draws of a cell, and of the chain every fifth
SEEN = 0.5  #: least median contraction over cells of a coordinate whose population is inferred


class Population(NamedTuple):
    """The prior of a population and what it makes of its cells."""

    mean: np.ndarray  #: (d,) mu
    mean_sd: np.ndarray  #: (d,) its standard deviation; nan where the population is not inferred
    sd: np.ndarray  #: (d,) s
    weights: list[np.ndarray]  #: (n_draws,) of each cell, they sum to 1
    ess: np.ndarray  #: (n_cell,) effective sample size of each cell's weights over its draws
    seen: np.ndarray  #: (d,) whether the cells tell of the population


class Chain(NamedTuple):
    """Draws of the population's prior and what they make of the cells."""

    mean: np.ndarray  #: (n_step, d) mu
    sd: np.ndarray  #: (n_step, d) s
    weights: list[np.ndarray]  #: (n_draws,) of each cell, mean over the steps
    seen: np.ndarray  #: (d,) whether the cells tell of the population


def population(cells: Sequence[np.ndarray], seed: int = 0) -> Population:
    """Return the population of cells, each with draws (n_draws, d) of the inferred coordinates."""
    chain = sampled(cells, seed)
    ess = np.array([1 / np.sum(w**2) / len(w) for w in chain.weights])
    known = np.where(chain.seen, chain.mean.std(axis=0), np.nan)
    return Population(chain.mean.mean(axis=0), known, chain.sd.mean(axis=0), chain.weights, ess, chain.seen)


def sampled(cells: Sequence[np.ndarray], seed: int) -> Chain:
    """Return Gibbs draws of mu and s, each cell's weights averaged over them."""
    rng, n, d = np.random.default_rng(seed), len(cells), cells[0].shape[1]
    seen = np.median([1 - z.var(axis=0) for z in cells], axis=0) >= SEEN
    mean, sd = np.zeros(d), np.ones(d)
    total, means, sds = [np.zeros(len(z)) for z in cells], [], []
    for step in range(N_STEPS):
        weights = [special.softmax(log_ratio(z, mean, sd)) for z in cells]
        chosen = np.array([z[rng.choice(len(z), p=w)] for z, w in zip(cells, weights, strict=True)])
        spread = 1 / (1 + n / sd**2)
        new_mean = spread * n * chosen.mean(axis=0) / sd**2 + np.sqrt(spread) * rng.standard_normal(d)
        squares = SCALE + 0.5 * np.sum((chosen - new_mean) ** 2, axis=0)
        new_sd = np.sqrt(squares / rng.gamma(SHAPE + n / 2, size=d))
        mean, sd = np.where(seen, new_mean, 0.0), np.where(seen, new_sd, 1.0)
        if step >= N_BURN:
            total = [t + w for t, w in zip(total, weights, strict=True)]
            means.append(mean)
            sds.append(sd)
    return Chain(np.array(means), np.array(sds), [t / t.sum() for t in total], seen)


def log_ratio(z: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return log N(z; mean, sd^2) / N(z; 0, 1) of draws (n, d)."""
    return np.sum(0.5 * z**2 - 0.5 * ((z - mean) / sd) ** 2 - np.log(sd), axis=1)


def held_out_gains(cells: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """Return the log evidence (n_cell,) of each cell under the population of cells of other folds, over that under its own prior.

    The evidence is averaged over the draws of mu and s, which the cell has no part in.
    """
    cells = [z[:: max(1, len(z) // N_KEPT)] for z in cells]
    gains = np.empty(len(cells))
    fold = np.random.default_rng(seed).permutation(len(cells)) % min(N_FOLDS, len(cells))
    for number in np.unique(fold):
        chain = sampled([z for z, other in zip(cells, fold, strict=True) if other != number], seed)
        for i in np.flatnonzero(fold == number):
            prior = list(zip(chain.mean, chain.sd, strict=True))[::THIN]
            each = [special.logsumexp(log_ratio(cells[i], *one)) for one in prior]
            gains[i] = special.logsumexp(each) - np.log(len(each) * len(cells[i]))
    return gains
