"""Does a unit's rate change slowly over the recording, in a way that its model does not have? A score test, unit by unit."""

from __future__ import annotations

import numpy as np
from scipy.special import fdtrc

N_WAVES = 2  # slow cosines over the order of the trials: a trend, and a hump
MIN_TRIALS = 10


def pvalues(counts: np.ndarray, rate: np.ndarray, taste: np.ndarray, time: np.ndarray) -> np.ndarray:
    """p value of each unit that its log gain over trials has no slow cosine: (unit,), NaN where it cannot be told.

    Residual spikes of a trial are compared with cosines of its place in time, less their mean for the taste (the model has an offset a
    taste). Their scatter comes from trials that follow one another, so that trial-to-trial noise beyond Poisson is no drift.

    Parameters
    ----------
    counts, rate : (trial, bin, unit)
        Observed and expected spikes, NaN where a bin is no observation.
    taste : (trial,)
    time : (trial,)
        When the trial was, or its place in the recording.

    Notes
    -----
    Score test of eta + sum_k a_k f_k (Rao 1948) with the dispersion by von Neumann's (1941) mean square successive difference.
    """
    order = np.lexsort((taste, time))
    _, place = np.unique(time[order], return_inverse=True)
    x = (place + 0.5) / (place.max() + 1)
    waves = np.cos(np.pi * np.arange(1, N_WAVES + 1)[:, None] * x)  # (wave, trial)
    seen = np.isfinite(counts) & np.isfinite(rate)
    n, mu = (np.where(seen, a, 0).sum(axis=1)[order] for a in (counts, rate))  # (trial, unit)
    return np.array([_pvalue(n[:, u], mu[:, u], taste[order], waves) for u in range(n.shape[1])])


def _pvalue(n: np.ndarray, mu: np.ndarray, taste: np.ndarray, waves: np.ndarray) -> float:
    """p value of one unit; all of (trial,), waves (wave, trial)."""
    use = mu > 0
    n, mu, taste, waves = n[use], mu[use], taste[use], waves[:, use]
    if len(n) < MIN_TRIALS or n.sum() < MIN_TRIALS:
        return np.nan
    waves = waves - np.stack([_mean_of_taste(wave, mu, taste) for wave in waves])
    z = (n - mu) / np.sqrt(mu)
    scatter = (np.diff(z) ** 2).sum() / (2 * (len(z) - 1))
    score, information = waves @ (n - mu), (waves * mu) @ waves.T
    if scatter <= 0 or np.linalg.cond(information) > 1e6:
        return np.nan
    statistic = score @ np.linalg.solve(information, score) / (N_WAVES * scatter)
    return float(fdtrc(N_WAVES, 2 * (len(z) - 1) / 3, statistic))


def _mean_of_taste(wave: np.ndarray, mu: np.ndarray, taste: np.ndarray) -> np.ndarray:
    """Mean of a wave over each trial's taste, weighted by expected spikes: (trial,)."""
    total = np.bincount(taste, mu * wave) / np.maximum(np.bincount(taste, mu), 1e-300)
    return total[taste]


def told(p: np.ndarray) -> str:
    """What a reader must know of units whose rate drifts; empty where none is found."""
    n = len(drifting(p))
    if not n:
        return ""
    return (
        f"the rate of {n} of {np.isfinite(p).sum()} units changes slowly over the recording beyond what their model has (score test over "
        "trials, 5 % false discoveries): intervals of their rates are too narrow, and history may stand for the drift; --drift adds it"
    )


def drifting(p: np.ndarray, rate: float = 0.05) -> np.ndarray:
    """Units that drift, with this rate of false discoveries (Benjamini & Hochberg 1995): indices.

    Examples
    --------
    >>> drifting(np.array([0.001, 0.2, np.nan, 0.03])).tolist()
    [0, 3]
    """
    known = np.flatnonzero(np.isfinite(p))
    ranked = known[np.argsort(p[known])]
    below = np.flatnonzero(p[ranked] <= rate * np.arange(1, len(ranked) + 1) / max(len(ranked), 1))
    return np.sort(ranked[: below[-1] + 1]) if len(below) else np.zeros(0, int)
