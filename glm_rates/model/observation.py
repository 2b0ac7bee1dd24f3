"""How do counts scatter about their rate? Poisson, negative binomial, Bernoulli: one formula with one number a unit.

All three have the mean mu = exp(eta) and the variance mu + mu^2 / size: size infinite is Poisson, positive the negative binomial
(spikes come in bursts, gains drift), -1 the Bernoulli with at most one spike a bin. So rates and filters mean the same under each.

    -log p = (y + size) log(1 + mu / size) - y eta + constant          (Hilbe 2011, ch. 8; for size = -1: log(1 - mu) (y - 1) - y eta)
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, xlog1py, xlogy

BERNOULLI = -1.0
LARGEST = 0.999  # rate of a Bernoulli bin
SIZES = (1e-2, 1e4)  # of a negative binomial; the larger is Poisson to four digits
NAMES = ("poisson", "negative-binomial", "bernoulli")


def loss(counts: np.ndarray, eta: np.ndarray, size: np.ndarray | None) -> np.ndarray:
    """Negative log-likelihood without its constant, of each bin; infinite where a Bernoulli rate is not below 1.

    Parameters
    ----------
    counts, eta : (unit, row)
    size : (unit, 1), or None where all units are Poisson
    """
    mu = np.exp(eta)
    if size is None:
        return mu - counts * eta
    inner = np.where(np.isinf(size), 0.0, mu / size)
    scattered = np.where(
        inner > -1, xlog1py(counts + np.where(np.isinf(size), 0, size), np.maximum(inner, -1 + 1e-300)), np.inf
    )
    return np.where(np.isinf(size), mu, scattered) - counts * eta


def slope_and_weight(counts: np.ndarray, mu: np.ndarray, size: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative of `loss` by eta: (mu - y) / (1 + mu / size) and mu (1 + y / size) / (1 + mu / size)^2."""
    if size is None:
        return mu - counts, mu
    scatter = 1 + mu / size
    return (mu - counts) / scatter, mu * (1 + counts / size) / scatter**2


def log_likelihood(counts: np.ndarray, mu: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Log-likelihood in nats of each bin, NaN where counts are; ``size`` broadcasts against them.

    Examples
    --------
    >>> np.round(log_likelihood(np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.5, 1.0]), np.array([np.inf, -1.0, 1.0])), 4)
    array([-0.5   , -0.6931, -2.0794])
    """
    size = np.broadcast_to(size, np.shape(counts))
    poisson = xlogy(counts, mu) - mu - gammaln(counts + 1)
    p = np.minimum(mu, LARGEST)
    bernoulli = np.where(
        counts <= 1, xlogy(counts, p) + xlog1py(1 - counts, -p), np.where(np.isnan(counts), np.nan, -np.inf)
    )
    r = np.where(size > 0, np.minimum(size, 1e12), 1.0)
    negative = (
        gammaln(counts + r) - gammaln(r) - gammaln(counts + 1) + xlogy(counts, mu / (r + mu)) - r * np.log1p(mu / r)
    )
    return np.where(np.isinf(size), poisson, np.where(size > 0, negative, bernoulli))


def size_of(counts: np.ndarray, mu: np.ndarray) -> float:
    """The negative binomial's size that makes one unit's counts most likely, given their means.

    Infinite (Poisson) unless that gains more than half the log of the number of spikes (BIC): a size estimated from counts without
    further scatter would lose as much on other trials.
    """
    where = np.flatnonzero(counts > 0)
    values, inverse = np.unique(counts[where], return_inverse=True)
    number = np.bincount(inverse)

    def minus(log_size: float) -> float:
        """Negative log-likelihood of a size, up to what does not depend on it."""
        r = np.exp(log_size)
        gammas = (number * (gammaln(values + r) - gammaln(r))).sum()
        return -float(gammas - (counts[where] * np.log(r + mu[where])).sum() - r * np.log1p(mu / r).sum())

    found = minimize_scalar(minus, bounds=tuple(np.log(SIZES)), method="bounded", options={"xatol": 1e-3})
    gained = mu.sum() - found.fun  # at infinite size the same expression is the sum of the means
    certain = found.x < np.log(SIZES[1]) - 0.1 and gained > 0.5 * np.log(max(counts.sum(), 1.0))
    return float(np.exp(found.x)) if certain else float("inf")
