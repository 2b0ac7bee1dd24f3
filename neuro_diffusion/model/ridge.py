"""Which weight matrices are compatible with noisy rates, before any learned prior? A Gaussian likelihood of each row of W.

Filter form: with f_j(t+1) = (1-a) f_j(t) + a x_j(t), f_j(0) = 0, the state is exactly h_i(t) = (1-a)^t h0_i + sum_j W_ij f_j(t).
Rates y = tanh(h) + noise, linearised about a smooth path, are then independent observations of h_i with variance
s^2 / (1 - x^2)^2, so each row of W has a Gaussian likelihood exp(-w A_i w / 2 + b_i w) with h0 integrated out. A Gaussian prior of
variance ``pv`` makes it Bayesian ridge regression; its evidence chooses pv. Our definition.

Neurons that are not observed add an unseen drive: an Ornstein-Uhlenbeck input through the same filter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .agreement import entry_correlation
from .filters import (
    MIN_NOISE,
    decay_matrix,
    decay_of,
    estimate_noise,
    exponential_filter,
    process_noise,
    smooth,
    unseen_drive,
)  # fmt: skip

#: chosen on training networks: coverage and spectral radius of EP, a half and a fifth of the neurons missing
CONFOUNDED = 8.0
PRIOR_GRID = torch.logspace(-3.5, 1.0, 28)  #: candidate prior variances times N


class Likelihood(NamedTuple):
    """Gaussian likelihood of W, row by row: log p(y | w_i) = b_i w_i - w_i A_i w_i / 2 + constant."""

    A: Tensor  #: (B, N, N, N) precision of row i
    b: Tensor  #: (B, N, N)
    square: Tensor | None = None  #: (B, N) sum of squared whitened values of row i at w = 0


class Ridge(NamedTuple):
    """Bayesian ridge regression of W."""

    mean: Tensor  #: (B, N, N)
    sd: Tensor  #: (B, N, N)
    prior_variance: Tensor  #: (B)
    noise_std: Tensor  #: (B) observation noise
    likelihood: Likelihood


class Spectrum(NamedTuple):
    """Eigen-decomposition of the likelihood precisions: one for each row."""

    values: Tensor  #: (B, N, N)
    vectors: Tensor  #: (B, N, N, N), eigenvectors in columns
    b: Tensor  #: (B, N, N) in the eigenbasis


class Pseudo(NamedTuple):
    """Rates linearised about a path: independent observations z = h + noise of variance 1 / omega."""

    z: Tensor  #: (B, K, T, N)
    omega: Tensor  #: (B, K, T, N) precision


def linearise(y: Tensor, x: Tensor, noise: Tensor) -> Pseudo:
    """Return observations of h from noisy rates y linearised about smooth rates x, both (B, K, T, N); noise (B)."""
    x = x.clamp(-0.995, 0.995)
    slope = 1 - x * x
    return Pseudo(torch.atanh(x) + (y - x) / slope, (slope / noise[:, None, None, None]) ** 2)


def without(p: Pseudo, known: Tensor) -> Pseudo:
    """Return observations of what is left of h when a known drive (B, K, T, N) is taken off."""
    return p._replace(z=p.z - known)


def initial_state(omega: Tensor, f: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
    """Return what integrating h0 ~ N(0, 1) out needs: its variance given W (B, K, N), and its pull on W (B, K, post, pre)."""
    weighted = omega * decay[:, None]
    shrink = 1 / (1 + (weighted * decay[:, None]).sum(2))
    return shrink, torch.einsum("bktj,bkti->bkij", f, weighted)


def row_likelihood(p: Pseudo, f: Tensor, decay: Tensor) -> Likelihood:
    """Return the likelihood of W for filtered rates f (B, K, T, N), every neuron observed, h0 integrated out."""
    B, K, T, N = f.shape
    shrink, fw = initial_state(p.omega, f, decay)
    zw = (p.z * p.omega * decay[:, None]).sum(2)
    scaled = (p.omega.sqrt().permute(0, 3, 1, 2)[..., None] * f[:, None]).reshape(B, N, K * T, N)
    A = scaled.transpose(-1, -2) @ scaled - torch.einsum("bki,bkij,bkil->bijl", shrink, fw, fw)
    b = torch.einsum("bkti,bktj->bij", p.omega * p.z, f) - torch.einsum("bki,bkij->bij", shrink * zw, fw)
    return Likelihood(A, b, (p.omega * p.z**2).sum((1, 2)) - (shrink * zw**2).sum(1))


def widen(
    p: Pseudo, likelihood: Likelihood, W: Tensor, x: Tensor, f: Tensor, a: float, variance: Tensor, h0_std: float = 1.0
) -> Pseudo:
    """Return pseudo-observations whose variance includes that of the path itself.

    The regressors f are those of a fitted path x, not of the true one. An error of x_j reaches h_i through W_ij and the filter,
    and it is correlated in time; the variance of white noise of the same slow power is the row sum of its covariance,
    e_i = sum_j E[W_ij^2] F S_j Cov(h_j) S_j F' 1, with S the slope of tanh and Cov(h_j) that of the row's own posterior. Without it
    ridge with 8 trials and noise .02 is a third too narrow. Our definition.

    Parameters
    ----------
    W : (B, N, N) posterior mean under a prior of ``variance`` (B). x, f : (B, K, T, N).
    """
    T, decay, F = f.shape[2], decay_of(f.shape[2], a, f, h0_std), decay_matrix(f.shape[2], a, f)
    shrink, fw = initial_state(p.omega, f, decay)
    covariance = torch.linalg.inv(
        likelihood.A + torch.diag_embed((1 / variance)[:, None, None].expand_as(likelihood.b))
    )
    slope = 1 - x * x
    v = slope * F.sum(0).view(T, 1)  # S F' 1
    start = shrink * (decay[:, None] * v).sum(2)
    seen = torch.einsum("bktj,bkti->bkij", f, v) - start[..., None] * fw
    moved = (covariance[:, None] @ seen[..., None])[..., 0]
    back = torch.einsum("bktj,bkij->bkti", f, moved)
    back = back + decay[:, None] * (start - shrink * (fw * moved).sum(-1))[:, :, None]
    square = W**2 + covariance.diagonal(dim1=-2, dim2=-1)
    extra = (F @ (slope * back)) @ square[:, None].transpose(-1, -2)
    return Pseudo(p.z, 1 / (1 / p.omega + extra.clamp_min(0)))


def coloured_likelihood(p: Pseudo, f: Tensor, kernel: Tensor) -> Likelihood:
    """Return the likelihood when every trial adds a random path of covariance kernel (B or 1, T, T), initial state included."""
    B, K, T, N = p.z.shape
    covariance = kernel[:, None, None] + torch.diag_embed(1 / p.omega.transpose(2, 3).clamp_min(1e-6))
    L = torch.linalg.cholesky(covariance)  # (B, K, N, T, T)
    white_f = torch.linalg.solve_triangular(L, f[:, :, None].expand(B, K, N, T, N), upper=False)
    white_z = torch.linalg.solve_triangular(L, p.z.transpose(2, 3)[..., None], upper=False)
    A = (white_f.transpose(-1, -2) @ white_f).sum(1)
    b = (white_f.transpose(-1, -2) @ white_z).sum(1)[..., 0]
    return Likelihood(A, b, (white_z**2).sum((1, 3, 4)))


def fitted_states(W: Tensor, f: Tensor, p: Pseudo, decay: Tensor) -> Tensor:
    """Return h (B, K, T, N) of weights W with the best h0 of each trial."""
    drive = f @ W[:, None].transpose(-1, -2)
    weighted = p.omega * decay[:, None]
    h0 = (weighted * (p.z - drive)).sum(2) / (1 + (weighted * decay[:, None]).sum(2))
    return drive + decay[:, None] * h0[:, :, None]


def factor_of(precision: Tensor) -> Tensor:
    """Return the Cholesky factor of precisions (..., N, N) that rounding may have left not quite positive."""
    size = precision.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None]
    eye = torch.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    for jitter in (0.0, 1e-7, 1e-6, 1e-5):
        factor, info = torch.linalg.cholesky_ex(precision + jitter * size * eye if jitter else precision)
        if not bool(info.any()):
            return factor
    return torch.linalg.cholesky(precision + 1e-4 * size * eye)


class RowFit(NamedTuple):
    """What noisy rates say about W before any learned prior."""

    likelihood: Likelihood
    wide: Likelihood  #: the same with the path's own uncertainty, see `widen`; what intervals should rest on
    noise: Tensor  #: (B) observation noise, as given or estimated


def gaussian_likelihood(
    y: Tensor,
    a: float,
    prior_variance: Tensor | None = None,
    noise_std: Tensor | None = None,
    observed: Tensor | None = None,
    n_relinearise: int = 2,
    *,
    process: float = 0.0,
    h0_std: float = 1.0,
    stimulus: Tensor | None = None,
) -> RowFit:
    """Return the Gaussian likelihood of W given noisy rates.

    Parameters
    ----------
    y : (B, K, T, N) rates of tanh networks. a : dt/tau.
    prior_variance : (B) prior variance of an entry used while relinearising; None: by marginal likelihood.
    noise_std : (B) observation noise; None: estimated.
    observed : (B, N) True where a neuron was recorded; None: all.
    n_relinearise : how often the linearisation is renewed about the fitted path (every neuron observed).
    process : standard deviation of noise of the dynamics, a step of h. h0_std : prior standard deviation of initial states.
    stimulus : known input (B, K, T, N) in units of h; None: none.
    """
    known = y.new_zeros(()) if stimulus is None else exponential_filter(stimulus.to(y), a)
    noise = estimate_noise(y, observed, process) if noise_std is None else noise_std.clamp_min(MIN_NOISE)
    if observed is not None and not bool(observed.all()):
        return _partly_observed(y, a, prior_variance, noise, observed.to(y.dtype), process, h0_std, known)
    if process > 0:
        return _noisy_dynamics(y, a, prior_variance, noise, n_relinearise, process, h0_std, known)
    x, decay = smooth(y, noise, a), decay_of(y.shape[2], a, y, h0_std)
    for turn in range(n_relinearise + 1):
        f, p = exponential_filter(x, a), without(linearise(y, x, noise), known)
        likelihood = row_likelihood(p, f, decay)
        if prior_variance is None:
            prior_variance, _ = best_prior_variance(spectrum(likelihood))
        W = posterior_mean(likelihood, prior_variance)
        if turn < n_relinearise:
            x = torch.tanh(fitted_states(W, f, p, decay) + known)
    assert prior_variance is not None  # known since the first turn
    wide = row_likelihood(widen(p, likelihood, W, x, f, a, prior_variance, h0_std), f, decay)
    return RowFit(likelihood, wide, noise)


def posterior_mean(likelihood: Likelihood, prior_variance: Tensor) -> Tensor:
    """Return the mean of W (B, N, N) under an independent prior of variance (B)."""
    precision = likelihood.A + torch.diag_embed((1 / prior_variance)[:, None, None].expand_as(likelihood.b))
    factor = factor_of(precision.double())
    return torch.cholesky_solve(likelihood.b[..., None].double(), factor)[..., 0].to(precision)


def _noisy_dynamics(
    y: Tensor,
    a: float,
    prior_variance: Tensor | None,
    noise: Tensor,
    n_relinearise: int,
    process: float,
    h0_std: float,
    known: Tensor,
) -> RowFit:
    """Return the likelihood with noise of the dynamics: each trial strays from what its weights say by a random path."""
    T = y.shape[2]
    decay = decay_of(T, a, y, h0_std)
    kernel = (torch.outer(decay, decay) + process**2 * process_noise(T, a, y))[None]
    x = smooth(y, noise, a, process)
    for turn in range(n_relinearise + 1):
        f, p = exponential_filter(x, a), without(linearise(y, x, noise), known)
        likelihood = coloured_likelihood(p, f, kernel)
        if prior_variance is None:
            prior_variance, _ = best_prior_variance(spectrum(likelihood))
        if turn < n_relinearise:
            drive = f @ posterior_mean(likelihood, prior_variance)[:, None].transpose(-1, -2)
            covariance = kernel[:, None, None] + torch.diag_embed(1 / p.omega.transpose(2, 3).clamp_min(1e-6))
            strayed = kernel[:, None, None] @ torch.linalg.solve(covariance, (p.z - drive).transpose(2, 3)[..., None])
            x = torch.tanh(drive + known + strayed[..., 0].transpose(2, 3))
    return RowFit(likelihood, likelihood, noise)


def _partly_observed(
    y: Tensor,
    a: float,
    prior_variance: Tensor | None,
    noise: Tensor,
    seen: Tensor,
    process: float,
    h0_std: float,
    known: Tensor,
) -> RowFit:
    """Return the likelihood about smoothed rates (a fitted path would lack the unseen drive); unseen rows are A = 0.

    The variance of the unseen drive is its expectation under the prior. The one of highest marginal likelihood is too small: the
    Ornstein-Uhlenbeck form is itself wrong, and 95 % intervals then covered 61 % instead of 77 % (8 trials, noise .02, half seen).
    It is the same unseen activity that drives all rows in all trials, so that data count for less than the form says: intervals rest
    on a likelihood to the power of 1 / (1 + `CONFOUNDED` missing share).
    """
    y = y * seen[:, None, None]
    T = y.shape[2]
    x = smooth(y, noise, a, process)
    f, p = exponential_filter(x, a), without(linearise(y, x, noise), known)
    spread = torch.full_like(noise, 1.0 / y.shape[-1]) if prior_variance is None else prior_variance
    power = (x**2).mean((1, 2)).sum(-1) / seen.sum(-1).clamp_min(1)
    drive = spread * power * (1 - seen).sum(-1)
    decay = decay_of(T, a, y, h0_std)
    fixed = torch.outer(decay, decay) + process**2 * process_noise(T, a, y)
    kernel = fixed + drive[:, None, None] * unseen_drive(T, a, y)
    likelihood = mask_rows(coloured_likelihood(p, f, kernel), seen)
    weight = 1 / (1 + CONFOUNDED * (1 - seen.mean(-1)))
    weight = weight[:, None, None]
    return RowFit(likelihood, Likelihood(likelihood.A * weight[..., None], likelihood.b * weight), noise)


def mask_rows(likelihood: Likelihood, seen: Tensor) -> Likelihood:
    """Return the likelihood with A = 0, b = 0 for rows of neurons that were not observed."""
    return Likelihood(likelihood.A * seen[:, :, None, None], likelihood.b * seen[:, :, None], likelihood.square)


def spectrum(likelihood: Likelihood, least: float = 0.0) -> Spectrum:
    """Return the eigen-decomposition of each row's precision; found in float64, because one trial leaves A nearly singular."""
    values, vectors = (z.to(likelihood.A) for z in torch.linalg.eigh(likelihood.A.double()))
    rotated = (vectors.transpose(-1, -2) @ likelihood.b[..., None])[..., 0]
    return Spectrum(values.clamp_min(least), vectors, rotated)


def log_evidence(s: Spectrum, prior_variance: Tensor) -> Tensor:
    """Return log p(y) up to a constant for prior variances (P, B) -> (P, B)."""
    pv = prior_variance[..., None, None]
    fit = (s.b**2 / (s.values + 1 / pv)).sum((-1, -2))
    return 0.5 * (fit - torch.log1p(pv * s.values).sum((-1, -2)))


def best_prior_variance(s: Spectrum) -> tuple[Tensor, Tensor]:
    """Return the prior variance (B) of highest evidence and that evidence (B)."""
    N = s.b.shape[-1]
    grid = (PRIOR_GRID.to(s.b) / N)[:, None].expand(-1, len(s.b))
    evidence, index = log_evidence(s, grid).max(0)
    return grid[:, 0][index], evidence


def posterior(s: Spectrum, prior_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Gaussian posterior mean and sd (B, N, N) of W under an independent prior of variance (B)."""
    shrunk = 1 / (s.values + (1 / prior_variance)[:, None, None])
    mean = (s.vectors @ (shrunk * s.b)[..., None])[..., 0]
    return mean, ((s.vectors**2) @ shrunk[..., None])[..., 0].sqrt()


def fit_ridge(
    y: Tensor, a: float, noise_std: Tensor | None = None, observed: Tensor | None = None, **regime: Any
) -> Ridge:
    """Return Bayesian ridge regression with the prior variance of highest marginal likelihood.

    The sd includes the uncertainty of the path (`widen`), which would cost the mean some of its correlation.

    Parameters
    ----------
    y : (B, K, T, N) noisy rates. a : dt/tau. noise_std : (B) or None. observed : (B, N) or None. regime : ``process``, ``h0_std``.
    """
    return ridge_of(gaussian_likelihood(y, a, None, noise_std, observed, **regime))


def ridge_of(found: RowFit, widened: bool = True) -> Ridge:
    """Return ridge regression on a likelihood; its sd without the path's own uncertainty where it is not ``widened``."""
    s = spectrum(found.likelihood)
    variance, _ = best_prior_variance(s)
    mean, sd = posterior(s, variance)
    if widened:
        _, sd = posterior(spectrum(found.wide), variance)
    return Ridge(mean, sd, variance, found.noise, found.likelihood)


def oracle_ridge(likelihood: Likelihood, W: Tensor, block: Tensor | None = None) -> Tensor:
    """Return the ridge mean (B, N, N) at the penalty that correlates best with the true W (over ``block``): what no user could choose."""
    s, N = spectrum(likelihood), W.shape[-1]
    keep = torch.ones_like(W) if block is None else block.to(W.dtype)
    best, score = torch.zeros_like(W), torch.full(W.shape[:1], -2.0, dtype=W.dtype, device=W.device)
    for pv in PRIOR_GRID.to(W) / N:
        mean, _ = posterior(s, pv.expand(len(W)))
        found = entry_correlation(mean, W, keep)
        best = torch.where((found > score)[:, None, None], mean, best)
        score = torch.maximum(score, found)
    return best
