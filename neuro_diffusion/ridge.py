"""Which weight matrices are compatible with noisy rates, before any learned prior? A Gaussian likelihood of each row of W.

Filter form: with f_j(t+1) = (1-a) f_j(t) + a x_j(t), f_j(0) = 0, the state is exactly h_i(t) = (1-a)^t h0_i + sum_j W_ij f_j(t).
Rates y = tanh(h) + noise, linearised about a smooth path, are then independent observations of h_i with variance
s^2 / (1 - x^2)^2, so each row of W has a Gaussian likelihood exp(-w A_i w / 2 + b_i w) with h0 integrated out. A Gaussian prior of
variance ``pv`` makes it Bayesian ridge regression; its evidence chooses pv. Our definition.

Neurons that are not observed add an unseen drive: an Ornstein-Uhlenbeck input through the same filter.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MIN_NOISE = 1e-3  #: standard deviation assumed at least, in rate units: the linearisation is no better
PRIOR_GRID = torch.logspace(-3.5, 1.0, 28)  #: candidate prior variances times N


class Likelihood(NamedTuple):
    """Gaussian likelihood of W, row by row: log p(y | w_i) = b_i w_i - w_i A_i w_i / 2 + constant."""

    A: Tensor  #: (B, N, N, N) precision of row i
    b: Tensor  #: (B, N, N)


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


def estimate_noise(y: Tensor, observed: Tensor | None = None) -> Tensor:
    """Return the standard deviation (B) of white noise on y (B, K, T, N) from fourth differences (variance 70 s^2).

    Raises
    ------
    ValueError : fewer than 6 time steps.
    """
    if y.shape[2] < 6:
        raise ValueError(f"{y.shape[2]} time steps: at least 6 are needed to estimate the observation noise.")
    d4 = torch.diff(y, n=4, dim=2)
    power = (d4**2).mean((1, 2)) / 70
    if observed is None:
        return power.mean(-1).sqrt().clamp_min(MIN_NOISE)
    seen = observed.to(y.dtype)
    return ((power * seen).sum(-1) / seen.sum(-1).clamp_min(1)).sqrt().clamp_min(MIN_NOISE)


def smooth(y: Tensor, noise: Tensor, a: float) -> Tensor:
    """Return y (B, K, T, N) smoothed along time by a Whittaker filter whose strength follows the noise (B)."""
    T = y.shape[2]
    D = torch.diff(torch.eye(T, dtype=y.dtype, device=y.device), n=3, dim=0)
    strength = (noise / (0.6 * a**3)) ** 2  # the third difference of a rate is about .6 a^3
    filters = torch.linalg.inv(torch.eye(T, dtype=y.dtype, device=y.device) + strength[:, None, None] * (D.T @ D))
    return filters[:, None] @ y


def exponential_filter(x: Tensor, a: float) -> Tensor:
    """Return f (B, K, T, N) with f(0) = 0, f(t+1) = (1-a) f(t) + a x(t)."""
    return decay_matrix(x.shape[2], a, x) @ x


def decay_matrix(T: int, a: float, like: Tensor) -> Tensor:
    """Return the lower-triangular (T, T) matrix of the exponential filter."""
    lag = torch.arange(T, device=like.device)[:, None] - torch.arange(T, device=like.device) - 1
    return torch.where(lag >= 0, a * (1 - a) ** lag.clamp_min(0).to(like.dtype), 0.0).to(like.dtype)


def row_likelihood(y, x, f, noise, a, drive_variance=None) -> tuple[Likelihood, Tensor, Tensor]:
    """Return the likelihood of W linearised about x, with ``omega z`` inputs for h0.

    Parameters
    ----------
    y, x, f : (B, K, T, N) noisy rates, smooth rates about which tanh is linearised, filtered rates (0 where not observed).
    noise : (B) observation noise. a : dt/tau.
    drive_variance : (B) variance of the unseen drive, None when every neuron is observed.

    Returns
    -------
    likelihood, omega (B, K, T, N) precision of z, z (B, K, T, N) pseudo-observations of h.
    """
    x = x.clamp(-0.995, 0.995)
    slope = 1 - x * x
    z = torch.atanh(x) + (y - x) / slope
    omega = (slope / noise[:, None, None, None]) ** 2
    decay = (1 - a) ** torch.arange(y.shape[2], device=y.device, dtype=y.dtype)
    if drive_variance is not None:
        return coloured_likelihood(z, omega, f, decay, a, drive_variance), omega, z
    weighted = omega * decay[:, None]
    shrink = 1 / (1 + (weighted * decay[:, None]).sum(2))  # (B, K, N): h0 ~ N(0, 1) integrated out
    fw = torch.einsum("bktj,bkti->bkij", f, weighted)
    zw = (z * weighted).sum(2)
    B, K, T, N = y.shape
    scaled = (omega.sqrt().permute(0, 3, 1, 2)[..., None] * f[:, None]).reshape(B, N, K * T, N)
    A = scaled.transpose(-1, -2) @ scaled
    A = A - torch.einsum("bki,bkij,bkil->bijl", shrink, fw, fw)
    b = torch.einsum("bkti,bktj->bij", omega * z, f) - torch.einsum("bki,bkij->bij", shrink * zw, fw)
    return Likelihood(A, b), omega, z


def coloured_likelihood(z, omega, f, decay, a, drive_variance) -> Likelihood:
    """Return the likelihood with an Ornstein-Uhlenbeck drive of unseen neurons: a (T, T) covariance for each neuron and trial."""
    B, K, T, N = z.shape
    F = decay_matrix(T, a, z)
    lag = (torch.arange(T, device=z.device)[:, None] - torch.arange(T, device=z.device)).abs()
    drive = F @ torch.exp(-a * lag.to(z.dtype) / 2) @ F.T  # rates stay correlated for about 2 tau
    fixed = torch.outer(decay, decay) + drive_variance[:, None, None] * drive
    covariance = fixed[:, None, None] + torch.diag_embed(1 / omega.transpose(2, 3).clamp_min(1e-6))
    L = torch.linalg.cholesky(covariance)  # (B, K, N, T, T)
    white_f = torch.linalg.solve_triangular(L, f[:, :, None].expand(B, K, N, T, N), upper=False)
    white_z = torch.linalg.solve_triangular(L, z.transpose(2, 3)[..., None], upper=False)
    A = (white_f.transpose(-1, -2) @ white_f).sum(1)
    b = (white_f.transpose(-1, -2) @ white_z).sum(1)[..., 0]
    return Likelihood(A, b)


def fitted_states(W, f, omega, z, a) -> Tensor:
    """Return h (B, K, T, N) of weights W with the best h0 of each trial."""
    decay = ((1 - a) ** torch.arange(f.shape[2], device=f.device, dtype=f.dtype))[:, None]
    drive = f @ W[:, None].transpose(-1, -2)
    weighted = omega * decay
    h0 = (weighted * (z - drive)).sum(2) / (1 + (weighted * decay).sum(2))
    return drive + decay * h0[:, :, None]


def gaussian_likelihood(
    y: Tensor,
    a: float,
    prior_variance: Tensor | None = None,
    noise_std: Tensor | None = None,
    observed: Tensor | None = None,
    n_relinearise: int = 2,
    drive_scale: float = 1.0,
) -> tuple[Likelihood, Tensor]:
    """Return the Gaussian likelihood of W given noisy rates, and the noise estimate.

    Parameters
    ----------
    y : (B, K, T, N) rates of tanh networks. a : dt/tau.
    prior_variance : (B) prior variance of an entry used while relinearising; None: by marginal likelihood.
    noise_std : (B) observation noise; None: estimated.
    observed : (B, N) True where a neuron was recorded; None: all.
    n_relinearise : how often the linearisation is renewed about the fitted path.
    drive_scale : factor on the expected variance of the unseen drive.
    """
    noise = estimate_noise(y, observed) if noise_std is None else noise_std.clamp_min(MIN_NOISE)
    seen = None if observed is None or bool(observed.all()) else observed.to(y.dtype)
    if seen is not None:
        y = y * seen[:, None, None]
    x = smooth(y, noise, a)
    for turn in range(n_relinearise + 1):
        f = exponential_filter(x, a)
        drive = None
        if seen is not None:
            spread = prior_variance if prior_variance is not None else torch.full_like(noise, 1.0 / y.shape[-1])
            power = (x**2).mean((1, 2)).sum(-1) / seen.sum(-1).clamp_min(1)
            drive = drive_scale * spread * power * (1 - seen).sum(-1)
        likelihood, omega, z = row_likelihood(y, x, f, noise, a, drive)
        if turn == n_relinearise:
            break
        if prior_variance is None:
            prior_variance, _ = best_prior_variance(spectrum(mask_rows(likelihood, seen)))
        precision = likelihood.A + torch.diag_embed((1 / prior_variance)[:, None, None].expand_as(likelihood.b))
        W = torch.cholesky_solve(likelihood.b[..., None], torch.linalg.cholesky(precision))[..., 0]
        fitted = torch.tanh(fitted_states(W, f, omega, z, a))
        if seen is None:
            x = fitted  # with unseen neurons the fitted path lacks their drive: the smoothed one stays
    return mask_rows(likelihood, seen), noise


def mask_rows(likelihood: Likelihood, seen: Tensor | None) -> Likelihood:
    """Return the likelihood with A = 0, b = 0 for rows of neurons that were not observed."""
    if seen is None:
        return likelihood
    return Likelihood(likelihood.A * seen[:, :, None, None], likelihood.b * seen[:, :, None])


def spectrum(likelihood: Likelihood) -> Spectrum:
    """Return the eigen-decomposition of each row's precision."""
    values, vectors = torch.linalg.eigh(likelihood.A)
    rotated = (vectors.transpose(-1, -2) @ likelihood.b[..., None])[..., 0]
    return Spectrum(values.clamp_min(0), vectors, rotated)


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


def fit_ridge(y: Tensor, a: float, noise_std: Tensor | None = None, observed: Tensor | None = None) -> Ridge:
    """Return Bayesian ridge regression with the prior variance of highest marginal likelihood.

    The variance of the unseen neurons' drive is its expectation under that prior, not a maximum of the likelihood.

    Parameters
    ----------
    y : (B, K, T, N) noisy rates. a : dt/tau. noise_std : (B) or None. observed : (B, N) or None.
    """
    likelihood, noise = gaussian_likelihood(y, a, None, noise_std, observed)
    s = spectrum(likelihood)
    variance, _ = best_prior_variance(s)
    mean, sd = posterior(s, variance)
    return Ridge(mean, sd, variance, noise, likelihood)


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


def entry_correlation(estimate: Tensor, W: Tensor, keep: Tensor | None = None) -> Tensor:
    """Return the Pearson correlation over entries (those of weight 1 in ``keep``) of each (..., N, N) estimate with W."""
    k = torch.ones_like(W) if keep is None else keep.to(W.dtype)
    count = k.sum((-1, -2), keepdim=True)
    x, y = (k * (z - (k * z).sum((-1, -2), keepdim=True) / count) for z in (estimate, W))
    return (x * y).sum((-1, -2)) / (x.norm(dim=(-1, -2)) * y.norm(dim=(-1, -2))).clamp_min(1e-12)
