"""How are draws from a proposal turned into draws from the exact posterior? Multivariate t mixtures and Pareto-smoothed importance weights.

Each result carries two honest numbers: the effective sample size as a share of the draws, and the Pareto shape k of the weights
(below .7 they can be trusted; Vehtari et al. 2024).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.cluster import vq

from .likelihood import Optimum, log_posteriors

N_IMPORTANCE = 4000
N_PROPOSALS = 4  #: of an evidence
FEWEST = 20  #: distinct draws a coordinate from which on a mixture is fitted to them
TRUSTED_K = 0.7  #: Pareto k below which weights can be trusted


class Refined(NamedTuple):
    """Draws from the exact posterior and how far to trust them."""

    w: np.ndarray  #: (n_draws, n_w) equally weighted draws
    ess: float  #: effective sample size / number of importance draws (NUTS: / number of states)
    pareto_k: float
    method: str  #: newton, is, laplace, smc or nuts
    optimum: np.ndarray  #: (n_w,) best coordinates
    modes: np.ndarray  #: (n_modes, n_w) distinct optima within 10 log units of the best
    log_evidence: float
    disagreement: np.ndarray | None = (
        None  #: (n_w,) difference of the means of two SMC populations in sd, where particles are the answer
    )


class Mixture(NamedTuple):
    """A mixture of multivariate t distributions."""

    weight: np.ndarray  #: (n_component,)
    mean: np.ndarray  #: (n_component, n_w)
    root: np.ndarray  #: (n_component, n_w, n_w) lower Cholesky factor of the scale matrix
    df: float

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return (n, n_w) draws."""
        which = rng.choice(len(self.weight), n, p=self.weight)
        normal = rng.standard_normal((n, self.mean.shape[1]))
        stretch = np.sqrt(self.df / rng.chisquare(self.df, n))[:, None]
        return self.mean[which] + stretch * np.einsum("nij,nj->ni", self.root[which], normal)

    def log_density(self, w: np.ndarray) -> np.ndarray:
        """Return (n,) log densities."""
        d, parts = w.shape[1], []
        for weight, mean, root in zip(self.weight, self.mean, self.root, strict=True):
            squared = np.sum(np.linalg.solve(root, (w - mean).T) ** 2, axis=0)
            norm = special.gammaln((self.df + d) / 2) - special.gammaln(self.df / 2) - 0.5 * d * np.log(self.df * np.pi)
            parts.append(
                np.log(weight) + norm - np.log(np.diag(root)).sum() - 0.5 * (self.df + d) * np.log1p(squared / self.df)
            )
        return special.logsumexp(parts, axis=0)


def laplace_mixture(optimum: Optimum, df: float = 8.0, inflate: float = 1.1) -> Mixture:
    """Return the t mixture about the modes, weighted by their Laplace evidence."""
    _, log_det = np.linalg.slogdet(optimum.precision)
    weight = special.softmax(-optimum.cost - 0.5 * log_det)
    return Mixture(
        np.maximum(weight, 0.02) / np.maximum(weight, 0.02).sum(),
        optimum.w,
        np.sqrt(inflate) * roots(optimum.precision),
        df,
    )


def roots(precision: np.ndarray) -> np.ndarray:
    """Return the lower Cholesky factors (n, d, d) of the inverses of precisions (n, d, d).

    A precision that is too stiff to invert is taken apart into eigenvalues, of which none is below that of the prior, 1.
    """
    covariance = np.linalg.inv(precision)
    try:
        return np.linalg.cholesky((covariance + covariance.transpose(0, 2, 1)) / 2)
    except np.linalg.LinAlgError:
        value, vector = np.linalg.eigh(precision)
        half = vector / np.sqrt(np.maximum(value, 1.0))[:, None]
        upper = np.linalg.qr(half.transpose(0, 2, 1), mode="r")
        signs = np.sign(np.diagonal(upper, axis1=1, axis2=2))
        return (signs[:, :, None] * upper).transpose(0, 2, 1)


def weigh(spec, observed, draws, log_q, rng, n_draws: int, optimum: Optimum) -> Refined:
    """Return importance-resampled draws (systematic resampling of Pareto-smoothed weights)."""
    log_ratio = log_posteriors(spec, draws, observed) - 0.5 * draws.shape[1] * np.log(2 * np.pi) - log_q
    log_weight, k = pareto_smooth(log_ratio)
    weight = special.softmax(log_weight)
    chosen = systematic(weight, n_draws, rng)
    evidence = float(special.logsumexp(log_ratio) - np.log(len(draws)))
    return Refined(
        draws[chosen], float(1 / np.sum(weight**2) / len(draws)), k, "laplace", optimum.w[0], optimum.w, evidence
    )


def evidence(spec, observed, optimum: Optimum, rng, n: int = 4000) -> tuple[float, float, float]:
    """Return the log evidence by importance sampling, its standard error, and the Pareto k of the weights.

    The first proposal stands about the modes; where its weights are not to be trusted, but spread over enough draws, a mixture is fitted
    to the weighted draws, up to three times (population Monte Carlo; Cappe et al. 2008), and the proposal of smallest k answers.
    """
    proposal, found = laplace_mixture(optimum), []
    for _ in range(N_PROPOSALS):
        draws = proposal.sample(n, rng)
        log_ratio = log_posteriors(spec, draws, observed) - 0.5 * draws.shape[1] * np.log(2 * np.pi)
        log_ratio = log_ratio - proposal.log_density(draws)
        smoothed, k = pareto_smooth(log_ratio)
        weight = np.exp(smoothed - smoothed.max())
        error = float(weight.std() / weight.mean() / np.sqrt(n))
        found.append((k, float(special.logsumexp(log_ratio) - np.log(n)), error))
        chosen = systematic(weight / weight.sum(), n, rng)
        if k < TRUSTED_K or len(np.unique(chosen)) < FEWEST * draws.shape[1]:
            break
        proposal = fit_mixture(draws[chosen], rng)
    k, value, error = min(found)
    return value, error, k


def systematic(weight: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` indices drawn by systematic resampling, in random order."""
    positions = (rng.random() + np.arange(n)) / n
    chosen = np.searchsorted(np.cumsum(weight), positions * (1 - 1e-12)).clip(max=len(weight) - 1)
    return rng.permutation(chosen)


def pareto_smooth(log_ratio: np.ndarray) -> tuple[np.ndarray, float]:
    """Return log weights whose tail is replaced by expected order statistics of a fitted generalised Pareto, and its shape k.

    Source: Vehtari, Simpson, Gelman, Yao, Gabry 2024 (tail of min(n/5, 3 sqrt(n)) weights).
    """
    log_w = np.where(np.isfinite(log_ratio), log_ratio, -np.inf)
    log_w = log_w - log_w.max()
    n = len(log_w)
    n_tail = int(min(n / 5, 3 * np.sqrt(n)))
    order = np.argsort(log_w)
    tail, cut = order[-n_tail:], log_w[order[-n_tail - 1]]
    excess = np.exp(log_w[tail]) - np.exp(cut)
    if n_tail < 5 or excess[-1] <= 0 or not np.isfinite(cut):
        return log_w, float("inf") if n_tail < 5 or not np.isfinite(cut) else -float("inf")
    k, sigma = fit_generalised_pareto(excess[excess > 0])
    probability = (np.arange(n_tail) + 0.5) / n_tail
    with np.errstate(over="ignore"):  # a tail without a limit: cut at the largest weight below
        curved = sigma * np.expm1(-k * np.log1p(-probability)) / k if abs(k) > 1e-8 else None
    quantile = -sigma * np.log1p(-probability) if curved is None else curved
    smoothed = log_w.copy()
    smoothed[tail] = np.minimum(np.log(quantile + np.exp(cut)), 0.0)
    return smoothed, k


def fit_generalised_pareto(x: np.ndarray) -> tuple[float, float]:
    """Return shape k and scale of a generalised Pareto distribution for sorted positive ``x`` (Zhang & Stephens 2009)."""
    n = len(x)
    m = 30 + int(np.sqrt(n))
    b = 1 - np.sqrt(m / (np.arange(m) + 0.5))
    b = b / (3 * x[int(n / 4 + 0.5) - 1]) + 1 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = n * (np.log(-b / k) - k - 1)
    weight = special.softmax(profile)
    b_mean = float(np.sum(b * weight))
    k_mean = float(np.log1p(-b_mean * x).mean())
    sigma = -k_mean / b_mean
    return (n * k_mean + 5) / (n + 10), sigma  # weakly pulled towards .5, as the paper does


def fit_mixture(
    w: np.ndarray, rng: np.random.Generator, n_components: int = 8, df: float = 6.0, inflate: float = 1.25
) -> Mixture:
    """Return a t mixture fitted to particles: k-means on whitened coordinates, one shrunken covariance a cluster."""
    covariance = np.cov(w.T) + 1e-12 * np.eye(w.shape[1])
    white = np.linalg.solve(np.linalg.cholesky(covariance), (w - w.mean(axis=0)).T).T
    _, label = vq.kmeans2(white, n_components, minit="++", rng=rng)
    weight, mean, root = [], [], []
    for component in range(n_components):
        members = w[label == component]
        if len(members) <= 2 * w.shape[1]:
            continue
        own = np.cov(members.T)
        shrink = 5 * w.shape[1] / (len(members) + 5 * w.shape[1])
        weight.append(len(members))
        mean.append(members.mean(axis=0))
        root.append(np.linalg.cholesky(inflate * ((1 - shrink) * own + shrink * covariance / 3)))
    return Mixture(np.array(weight) / np.sum(weight), np.array(mean), np.array(root), df)
