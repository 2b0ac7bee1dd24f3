"""How is a posterior over weights turned into a sequence of denoising problems, and how is it sampled?

Noise levels sigma and preconditioning follow Karras et al. 2022 (EDM), with one change: at every sigma the network skips from the
exact Gaussian posterior mean of W given the noisy W **and the data** (row-wise likelihood A, b of ``ridge``),
m = (A_i + I + I / sigma^2)^-1 (b_i + w_i / sigma^2), so it only learns what a Gaussian prior does not know. Without data A = 0 and
m is EDM's own skip. Weights are in standard units (unit prior variance).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .ridge import Likelihood, Spectrum, spectrum

SAMPLERS = ("dpmpp-2m", "heun", "ddim", "ancestral", "ddpm")
MIN_SD = (
    0.04  #: added in quadrature to the Gaussian posterior sd: the smallest correction the network is asked to resolve
)
SUREST = 100.0  #: largest precision of a site in standard units: a sure site may be surely wrong
DOUBT = 0.2  #: sd of what the written-down prior does not know, added where the noise leaves room for it
BETA_MIN, BETA_RANGE = 0.1, 19.9  #: variance-preserving schedule of Song et al. 2021
Denoiser = Callable[[Tensor, float], Tensor]


class Noise(NamedTuple):
    """Range of noise levels and their law in training."""

    sigma_min: float = 0.01
    sigma_max: float = 10.0
    rho: float = 7.0
    p_mean: float = -0.5
    p_std: float = 1.3


class GaussianStep(NamedTuple):
    """The exact posterior under a standard-normal prior, given the noisy weights and the data."""

    mean: Tensor  #: (B, S, N, N)
    variance: Tensor  #: (B, S or 1, N, N)
    shrinkage: Tensor  #: (B, S or 1, N, N, N) row-wise, identity without data


def standardise(likelihood: Likelihood, scale: float | Tensor) -> Spectrum:
    """Return the spectrum of the likelihood of W / scale."""
    s = torch.as_tensor(scale, dtype=likelihood.b.dtype, device=likelihood.b.device)
    return spectrum(Likelihood(likelihood.A * s**2, likelihood.b * s))


def written(likelihood: Likelihood, scale: float, sites: tuple[Tensor, Tensor]) -> Spectrum:
    """Return the spectrum of likelihood and prior together, where the prior is Gaussian in each entry: expectation propagation's.

    Its sites (precision, shift) take the place of the standard-normal prior, hence values down to -1: the skip at the largest sigma
    is the posterior mean under the written-down prior, and a sampler starts there.
    """
    tau, nu = (z * s for z, s in zip(sites, (scale**2, scale)))
    sure = (SUREST / tau).clamp_max(1.0)  # narrower sites are not believed
    A = likelihood.A.double() * scale**2 + torch.diag_embed(tau * sure - 1)
    found = spectrum(Likelihood(A, likelihood.b * scale + nu * sure), least=-1 + 1e-6)
    return Spectrum(*(z.to(likelihood.b) for z in found))


def without_data(B: int, N: int, like: Tensor) -> Spectrum:
    """Return the spectrum of the null condition, A = 0."""
    eye = torch.eye(N, dtype=like.dtype, device=like.device).expand(B, N, N, N)
    return Spectrum(like.new_zeros(B, N, N), eye, like.new_zeros(B, N, N))


def drop_data(s: Spectrum, keep: Tensor) -> Spectrum:
    """Return the spectrum with A = 0 and b = 0 for networks where ``keep`` (B) is False."""
    k = keep.to(s.b.dtype)[:, None, None]
    return Spectrum(s.values * k, s.vectors, s.b * k)


def gaussian_step(w: Tensor, sigma: Tensor, data: Spectrum) -> GaussianStep:
    """Return the exact Gaussian posterior of the weights given noisy weights w (B, S, N, N) at sigma (B, S or 1)."""
    precision = 1 + 1 / sigma**2
    spread = 1 / (data.values[:, None] + precision[..., None, None])  # (B, S', N, N) over eigenvalues
    V = data.vectors[:, None]
    covariance = (V * spread[..., None, :]) @ V.transpose(-1, -2)
    rhs = (V[:, 0] @ data.b[..., None])[..., 0][:, None] + w / sigma[..., None, None] ** 2
    if covariance.shape[1] < rhs.shape[1]:  # one matrix for all samples is not copied for each
        mean = (covariance[:, 0] @ rhs.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    else:
        mean = (covariance @ rhs[..., None])[..., 0]
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    return GaussianStep(mean, variance, covariance * precision[..., None, None, None])


def precondition(
    w: Tensor, sigma: Tensor, step: GaussianStep, parameterization: str, written: bool = False
) -> tuple[Tensor, Tensor]:
    """Return (skip, size): the denoised weights are ``skip + size F`` with F the network's output.

    "edm" skips from the exact Gaussian posterior; "v" and "eps" are the data-blind forms of Salimans & Ho 2022 and Ho et al. 2020.
    """
    s = sigma[..., None, None]
    if parameterization == "edm":
        doubt = DOUBT**2 * s**2 / (s**2 + DOUBT**2) if written else 0.0
        return step.mean, (step.variance + MIN_SD**2 + doubt).sqrt()
    if parameterization == "v":
        return w / (1 + s**2), (-s / (1 + s**2).sqrt()).expand_as(w)
    if parameterization == "eps":
        return w, (-s).expand_as(w)
    raise ValueError(f"parameterization '{parameterization}': expected edm, v or eps.")


def draw_sigma(shape: tuple[int, ...], noise: Noise, generator: torch.Generator | None = None) -> Tensor:
    """Return training noise levels: log-normal, kept within the sampler's range."""
    z = torch.randn(shape, generator=generator)
    return (noise.p_mean + noise.p_std * z).exp().clamp(noise.sigma_min, noise.sigma_max)


def noise_levels(n_steps: int, schedule: str, noise: Noise) -> Tensor:
    """Return n_steps + 1 falling noise levels, the last 0.

    Raises
    ------
    ValueError : fewer than 2 steps or an unknown schedule.
    """
    if n_steps < 2:
        raise ValueError(f"{n_steps} steps: a sampler needs at least 2.")
    u, low, high = torch.linspace(0, 1, n_steps, dtype=torch.float64), noise.sigma_min, noise.sigma_max
    if schedule == "karras":
        levels = (high ** (1 / noise.rho) + u * (low ** (1 / noise.rho) - high ** (1 / noise.rho))) ** noise.rho
    elif schedule == "cosine":
        levels = torch.tan(math.atan(high) + u * (math.atan(low) - math.atan(high)))
    elif schedule == "linear":
        first, last = (_linear_time(s) for s in (high, low))
        t = first + u * (last - first)
        levels = torch.expm1(BETA_RANGE * t**2 / 2 + BETA_MIN * t).sqrt()
    else:
        raise ValueError(f"schedule '{schedule}': expected karras, cosine or linear.")
    return torch.cat([levels, levels.new_zeros(1)])


def _linear_time(sigma: float) -> float:
    """Return the time at which the linear-beta process has noise level sigma."""
    return (math.sqrt(BETA_MIN**2 + 2 * BETA_RANGE * math.log1p(sigma**2)) - BETA_MIN) / BETA_RANGE


def start(
    data: Spectrum, n_samples: int, sigma: float, generator: torch.Generator | None = None, with_data: bool = True
) -> Tensor:
    """Return weights (B, S, N, N) at the first noise level, about the Gaussian posterior mean of the data (0 without)."""
    B, N = data.b.shape[:2]
    noise = torch.randn((B, n_samples, N, N), generator=generator).to(data.b) * math.sqrt(sigma**2 + 1)
    if not with_data:
        return noise
    return noise + (data.vectors @ (data.b / (data.values + 1))[..., None])[..., 0][:, None]


def sample(
    denoise: Denoiser,
    first: Tensor,
    levels: Tensor,
    sampler: str = "dpmpp-2m",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return samples of the distribution whose denoiser E[w0 | w, sigma] is given.

    Parameters
    ----------
    denoise : ``(w, sigma) -> w0``. first : weights at the first level. levels : falling, the last 0.
    sampler : "dpmpp-2m" (Lu et al. 2022), "heun" (Karras et al. 2022), "ddim" (Song et al. 2021), "ancestral", "ddpm" (the last
        two add noise at each step; "ddpm" with the full posterior variance of Ho et al. 2020).
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler '{sampler}': expected one of {', '.join(SAMPLERS)}.")
    w, old, values = first, None, [float(v) for v in levels]
    for k, (now, then) in enumerate(itertools.pairwise(values)):
        clean = denoise(w, now)
        if then == 0:
            return clean
        if sampler == "dpmpp-2m":
            h = math.log(now / then)
            aim = clean
            if old is not None:
                r = math.log(values[k - 1] / now) / h
                aim = clean + (clean - old) / (2 * r)
            w, old = then / now * w - math.expm1(-h) * aim, clean
        elif sampler == "heun":
            slope = (w - clean) / now
            guess = w + (then - now) * slope
            w = w + (then - now) * (slope + (guess - denoise(guess, then)) / then) / 2
        else:
            # "ancestral": Markov chain of the forward process in sigma; "ddpm": upper-bound variance of the reverse step
            up = 0.0 if sampler == "ddim" else then * math.sqrt(1 - (then / now) ** 2)
            if sampler == "ddpm":
                up = min(math.sqrt(now**2 - then**2), then) if then / now > 0.5 else up
            down = math.sqrt(max(then**2 - up**2, 0.0))
            w = clean + down / now * (w - clean)
            if up:
                w = w + up * torch.randn(w.shape, generator=generator, dtype=w.dtype, device=w.device)
    return w


def gaussian_denoiser(data: Spectrum) -> Denoiser:
    """Return the exact denoiser for a standard-normal prior and a Gaussian likelihood: the known answer for tests."""

    def denoise(w: Tensor, sigma: float) -> Tensor:
        """Return the posterior mean of the weights given noisy ones w (B, S, N, N)."""
        return gaussian_step(w, torch.full((1, 1), sigma, dtype=w.dtype, device=w.device), data).mean

    return denoise
