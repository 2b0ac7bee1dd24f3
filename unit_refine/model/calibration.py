"""How often is a unit that gets probability p really of that class?

A class-balanced classifier's probabilities belong to a world in which all classes are equally frequent. A sigmoid (Platt 1999; for
three classes its multinomial form) learned on held-out predictions turns them into frequencies of the training recordings. For
new recordings with other class shares, expectation-maximisation (Saerens et al. 2002) adapts them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

FLOOR = 1e-4


class Sigmoid(NamedTuple):
    """Calibrated log odds against class 0: ``log(p_k/p_0) @ slope.T + intercept``."""

    slope: np.ndarray  #: (K-1, K-1)
    intercept: np.ndarray  #: (K-1,)
    prior: np.ndarray  #: (K,) class shares that the calibrated probabilities belong to


def log_odds(p: np.ndarray) -> np.ndarray:
    """Return (n, K-1) log odds of each class against class 0, probabilities cut at 1e-4."""
    logs = np.log(np.clip(p, FLOOR, None))
    return logs[:, 1:] - logs[:, :1]


def fit_sigmoid(p: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> Sigmoid:
    """Return the calibration learned from held-out probabilities.

    Parameters
    ----------
    p : (n, K) probabilities of units the model had not seen.
    y : (n,) class index; every class must occur.
    weight : (n,) weights of the units.
    """
    k = p.shape[1]
    found = LogisticRegression(C=1e3, max_iter=1000).fit(log_odds(p), y, sample_weight=weight)
    slope, intercept = found.coef_, found.intercept_
    if k > 2:  # the softmax form has one redundant class
        slope, intercept = slope[1:] - slope[:1], intercept[1:] - intercept[:1]
    return Sigmoid(
        slope, intercept, np.bincount(y, weights=weight, minlength=k) / (len(y) if weight is None else weight.sum())
    )


def apply_sigmoid(sigmoid: Sigmoid, p: np.ndarray) -> np.ndarray:
    """Return (n, K) calibrated probabilities, rows summing to 1."""
    z = log_odds(p) @ sigmoid.slope.T + sigmoid.intercept
    z = np.concatenate([np.zeros((len(z), 1)), z], axis=1)
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def cross_fit(p: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return calibrated probabilities of each recording, its sigmoid learned from the other recordings.

    A recording whose removal leaves a class without units is calibrated by all recordings together.
    """
    calibrated = np.empty_like(p)
    for group in np.unique(groups):
        inside = groups == group
        rest = ~inside if len(np.unique(y[~inside])) == p.shape[1] else np.ones_like(inside)
        calibrated[inside] = apply_sigmoid(fit_sigmoid(p[rest], y[rest]), p[inside])
    return calibrated


def correct_prior(
    p: np.ndarray, prior: np.ndarray, iterations: int = 200, tolerance: float = 1e-7
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities for the class shares of these units, and the shares that EM finds (Saerens et al. 2002, eq. 2.9).

    Parameters
    ----------
    p : (n, K) calibrated probabilities.
    prior : (K,) class shares they belong to.
    """
    prior = np.clip(prior, FLOOR, None)
    share, adapted = prior.copy(), p
    for _ in range(iterations):
        adapted = p * (share / prior)
        adapted /= adapted.sum(axis=1, keepdims=True)
        new = np.clip(adapted.mean(axis=0), FLOOR, None)
        if np.abs(new - share).max() < tolerance:
            break
        share = new
    return adapted, share / share.sum()
