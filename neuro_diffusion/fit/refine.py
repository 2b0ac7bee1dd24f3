"""Can a weight estimate be improved by asking the simulator or an unconditional prior again?

``pigdm`` renoises the estimate and samples with the **unconditional** score guided by the Gaussian likelihood (a conditional sample
already contains the data). ``dps`` takes the gradient through simulator and network (Chung et al. 2023), ``map`` fits the trajectory
with free initial states and is kept only if held-out trials agree, ``descent`` is plain gradient descent with a pull to the start.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..model import diffusion
from ..model.guidance import guided_prior_samples
from ..model.model import WeightModel
from ..model.ridge import estimate_noise, gaussian_likelihood
from ..rate_network.simulator import simulate_rate_network

METHODS = ("pigdm", "dps", "map", "descent")
OLD_NAMES = {"seed": "descent"}


class Refined(NamedTuple):
    """Outcome of a refinement."""

    W: Tensor  #: (N, N)
    accepted: bool  #: False: the start was better on held-out trials, or the refinement diverged; W is the start
    error_before: float  #: on the criterion: trajectory error (map, seed, dps) or negative log-likelihood (pigdm)
    error_after: float


def refine_weight_matrix(
    W_cfg: Tensor,
    A_obs: Tensor,
    metadata: Mapping[str, Any],
    num_steps: int = 100,
    lr: float = 0.01,
    lambda_prior: float = 1.0,
    device: str | torch.device = "cpu",
    *,
    method: str = "pigdm",
    h0: Tensor | None = None,
    model: WeightModel | None = None,
    sigma_start: float = 0.5,
    generator: torch.Generator | None = None,
) -> Refined:
    """Return a refined weight matrix.

    Parameters
    ----------
    W_cfg : (N, N) start. A_obs : (T, N) or (K, T, N) noisy rates, all trials are used.
    metadata : ``dt`` and ``tau`` of the data, optionally ``noise_std`` of the rates.
    num_steps : gradient steps (map, descent) or noise levels (pigdm, dps; at most 40).
    lr : step size (all but pigdm). lambda_prior : weight of the pull to the start (map, descent); pigdm and dps take 1, they have the model.
    method : "pigdm" (default), "dps", "map" or "descent" ("seed", its older name). h0 : (K, N); default atanh of the first row.
    model : unconditional diffusion model, needed by pigdm and dps. sigma_start : noise level to start from, standard units.

    Raises
    ------
    ValueError : unknown method, shapes that do not fit; for pigdm or dps no model, or a lambda_prior that they do not have.
    """
    method = OLD_NAMES.get(method, method)
    if method not in METHODS:
        raise ValueError(f"method '{method}': expected one of {', '.join(METHODS)}.")
    y = (A_obs if A_obs.dim() == 3 else A_obs[None]).to(device)
    W = W_cfg.detach().to(device)
    if W.shape != (y.shape[-1],) * 2:
        raise ValueError(f"W {tuple(W.shape)} and activity {tuple(A_obs.shape)} do not fit.")
    if method in ("pigdm", "dps") and model is None:
        raise ValueError(f"method '{method}' needs a diffusion model.")
    if method in ("pigdm", "dps") and lambda_prior != 1:
        raise ValueError(f"lambda_prior {lambda_prior:g}: method '{method}' has the model as its prior, give 1.")
    a = metadata["dt"] / metadata["tau"]
    noise = torch.as_tensor(metadata.get("noise_std") or float(estimate_noise(y[None])), dtype=y.dtype)
    start = torch.atanh(y[:, 0].clamp(-0.98, 0.98)) if h0 is None else h0.to(device).reshape(len(y), -1)
    if method == "pigdm":
        return _pigdm(W, y, a, noise, model, min(num_steps, 40), sigma_start, generator)
    if method == "dps":
        return _dps(W, y, a, noise, model, min(num_steps, 40), lr, sigma_start, start, generator)
    free, held = (y[:-1], y[-1:]) if method == "map" and len(y) > 1 else (y, y)
    found = _descend(W, free, a, noise, num_steps, lr, lambda_prior, start[: len(free)], learn_h0=method == "map")
    before, after = (_heldout_error(w, held, a, noise) for w in (W, found))
    kept = math.isfinite(after) and (after < before if method == "map" else True)
    return Refined(found if kept else W, kept, before, after)


def _pigdm(W, y, a, noise, model, steps, sigma_start, generator) -> Refined:
    variance = torch.tensor([model.unit(len(W)) ** 2], dtype=y.dtype, device=y.device)
    likelihood = gaussian_likelihood(y[None], a, variance, noise[None]).wide
    samples = guided_prior_samples(
        model,
        model.decompose(likelihood),
        16,
        steps=max(steps, 2),
        start=W[None],
        sigma_start=sigma_start,
        generator=generator,
    )
    found = samples[0].mean(0)

    def value(w: Tensor) -> float:
        """Return the negative log-likelihood of weights w (S, N, N) a value."""
        quadratic = (w[:, None] @ likelihood.A[0] @ w[..., None])[:, 0, 0]
        return float((quadratic / 2 - (likelihood.b[0] * w).sum(-1)).sum()) / y.numel()

    good = bool(torch.isfinite(found).all())
    return Refined(found if good else W, good, value(W), value(found))


def _dps(W, y, a, noise, model, steps, lr, sigma_start, h0, generator) -> Refined:
    """Guide by the gradient of the trajectory error, tempered by sigma, with normalised steps; the start is kept on divergence."""
    unit = model.unit(len(W))
    levels = [
        float(v) for v in diffusion.noise_levels(max(steps, 2), "karras", model.noise._replace(sigma_max=sigma_start))
    ]
    data = diffusion.without_data(1, len(W), W)
    denoise = model.denoiser(data, guidance=0)
    w = W[None, None] / unit + sigma_start * torch.randn((1, 1, *W.shape), generator=generator).to(W)
    for now, then in itertools.pairwise(levels):
        w = w.detach().requires_grad_()
        clean = denoise(w, now)
        x = simulate_rate_network(clean[0, 0] * unit, h0, y.shape[1], a, 1.0)
        misfit = ((y - x) ** 2).sum() / (2 * (noise**2 + (0.3 * now) ** 2))  # tempered
        (gradient,) = torch.autograd.grad(misfit, w)
        with torch.no_grad():
            size = gradient.square().mean().sqrt().clamp_min(1e-12)
            w = clean + then / now * (w - clean) - (lr * 10 * now) * gradient / size
    found = (w[0, 0] * unit).detach()
    before, after = (_heldout_error(v, y, a, noise) for v in (W, found))
    kept = bool(torch.isfinite(found).all()) and after < before
    return Refined(found if kept else W, kept, before, after)


def _descend(W, y, a, noise, steps, lr, pull, h0, learn_h0) -> Tensor:
    """Minimise the trajectory error plus a pull towards the start."""
    w, start = W.clone().requires_grad_(), h0.clone().requires_grad_(learn_h0)
    optimizer = torch.optim.Adam([w, start] if learn_h0 else [w], lr=lr)
    variance = W.var().clamp_min(1e-8)
    for _ in range(steps):
        x = simulate_rate_network(w, start, y.shape[1], a, 1.0)
        loss = ((y - x) ** 2).sum() / (2 * noise**2) + pull * ((w - W) ** 2).sum() / (2 * variance)
        if learn_h0:
            loss = loss + (start**2).sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return w.detach()


def _heldout_error(W, y, a, noise) -> float:
    """Return the negative Gaussian log-likelihood of trials per value, relative to W = 0, initial states integrated out."""
    if not torch.isfinite(W).all():
        return math.nan
    test = gaussian_likelihood(y[None], a, None, noise[None], n_relinearise=0).likelihood
    quadratic = (W[:, None] @ test.A[0] @ W[..., None])[:, 0, 0]
    return float((quadratic / 2 - (test.b[0] * W).sum(-1)).sum() / y.numel())
