"""How does an unconditional prior meet the data? Its score is guided by the Gaussian likelihood (pseudo-inverse guidance)."""

from __future__ import annotations

import torch
from torch import Tensor

from . import diffusion
from .model import WeightModel
from .ridge import Spectrum


def guided_denoiser(model: WeightModel, data: Spectrum, jacobian: bool = True) -> diffusion.Denoiser:
    """Return E[w0 | w, data] with p(w0 | w) taken as a Gaussian about the unconditional denoiser D of variance r^2 = sigma^2 / (1 + sigma^2).

    Pseudo-inverse guidance (Song et al. 2023): D + sigma^2 J' (I + r^2 A)^-1 (b - A D), J = dD / dw by back-propagation.
    Without ``jacobian`` J is that of a normal prior, r^2 / sigma^2: twice as fast, and wrong where the prior is not normal.
    """
    free, V = model.denoiser(data, guidance=0), data.vectors[:, None]

    def denoise(w: Tensor, sigma: float) -> Tensor:
        """Return the guided mean of the weights given noisy ones w (B, S, N, N)."""
        variance = sigma**2 / (1 + sigma**2)
        with torch.set_grad_enabled(jacobian):
            w = w.detach().requires_grad_(jacobian)
            clean = free(w, sigma)
        rotated = (V.transpose(-1, -2) @ clean.detach()[..., None])[..., 0]
        pull = (
            V @ ((data.b[:, None] - data.values[:, None] * rotated) / (1 + variance * data.values[:, None]))[..., None]
        )[..., 0]
        if not jacobian:
            return clean + variance * pull
        return clean.detach() + sigma**2 * torch.autograd.grad(clean, w, pull)[0]

    return denoise


@torch.no_grad()
def guided_prior_samples(
    model: WeightModel,
    data: Spectrum,
    n_samples: int,
    *,
    sampler: str = "dpmpp-2m",
    steps: int = 18,
    schedule: str = "karras",
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
    sigma_start: float | None = None,
    jacobian: bool = True,
    chunk: int = 64,
) -> Tensor:
    """Return samples (B, S, N, N) of W from the unconditional model guided by the likelihood, from noise or from renoised ``start``.

    In chunks of so many matrices, for back-propagation keeps what every layer saw.
    """
    B, N = len(data.b), data.b.shape[-1]
    noise = model.noise if sigma_start is None else model.noise._replace(sigma_max=sigma_start)
    levels = diffusion.noise_levels(steps, schedule, noise)
    if start is None:
        w = diffusion.start(data, n_samples, noise.sigma_max, generator)
    else:
        xi = torch.randn((B, n_samples, N, N), generator=generator).to(data.b)
        w = start[:, None] / model.unit(N) + noise.sigma_max * xi
    found, size = [], max(1, chunk // n_samples)
    for first in range(0, B, size):
        part = Spectrum(*(z[first : first + size] for z in data))
        denoise = guided_denoiser(model, part, jacobian)
        found.append(diffusion.sample(denoise, w[first : first + size], levels, sampler, generator))
    return model.settle(torch.cat(found))
