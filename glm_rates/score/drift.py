"""Does a unit's rate change slowly over the recording, in a way that its model does not have? And what gain would neighbouring trials give it?"""

from __future__ import annotations

import numpy as np
from scipy.special import fdtrc

N_WAVES = 2  # slow cosines over the order of the trials: a trend, and a hump
MIN_TRIALS = 10
BY = 2.0  # nats of left-out trials that a slow gain must explain to be used
WIDTHS = (
    0.25,
    0.125,
    0.06,
    0.03,
)  # of the recording: standard deviations of the smoothed gain, one is chosen for each unit


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
    x = place(time[order])
    waves = np.cos(np.pi * np.arange(1, N_WAVES + 1)[:, None] * x)  # (wave, trial)
    seen = np.isfinite(counts) & np.isfinite(rate)
    n, mu = (np.where(seen, a, 0).sum(axis=1)[order] for a in (counts, rate))  # (trial, unit)
    return np.array([_pvalue(n[:, u], mu[:, u], taste[order], waves) for u in range(n.shape[1])])


def place(time: np.ndarray) -> np.ndarray:
    """Place of each trial in the order of the recording, between 0 and 1.

    Examples
    --------
    >>> place(np.array([7.0, 3.0])).tolist()
    [0.75, 0.25]
    """
    _, rank = np.unique(time, return_inverse=True)
    return (rank + 0.5) / (rank.max() + 1)


def slow_gain(n: np.ndarray, mu: np.ndarray, time: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Gain of each unit in each trial, from the training trials around it in time: (trial, unit).

    Spikes over expected spikes under a Gaussian window, with one more of both. The width is that which tells each training trial best
    from the others; no gain at all where none does by `BY`.

    Parameters
    ----------
    n, mu : (trial, unit)
        Observed and expected spikes; used of the training trials alone.
    time : (trial,)
    train : (trial,) bool
    """
    x, n, mu = place(time), n[train], mu[train]
    gain, best = np.ones((len(x), n.shape[1])), BY - mu.sum(axis=0)
    for width in WIDTHS:
        near = np.exp(-0.5 * ((x[:, None] - x[train]) / width) ** 2)
        others = near[train] - np.eye(len(n))
        told = (others @ n + 1) / (others @ mu + 1)
        score = (n * np.log(told) - mu * told).sum(axis=0)
        better = score > best
        gain[:, better] = ((near @ n + 1) / (near @ mu + 1))[:, better]
        best = np.maximum(best, score)
    return gain


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
