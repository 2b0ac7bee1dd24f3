"""What is p(W) and p(W | activity)? One denoising network for both: without data the likelihood precision is zero.

Also the regression network, the honest second baseline: the same network, asked once for the posterior mean.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..rate_network.activity import Regime
from . import diffusion
from .blend import Gate
from .denoiser import build_network, features
from .propagation import Family, propagate
from .ridge import Likelihood, Spectrum, gaussian_likelihood

log = logging.getLogger("neuro_diffusion")
TOLD = 100  #: neurons beyond which sampling tells how far it is
LARGE = 64  #: neurons from which the samples of one network are drawn in parts
BLOCK_BYTES = (
    1 << 25
)  #: of the largest tensor of a part: the C library keeps blocks of this size instead of asking for new pages


class ModelSpec(NamedTuple):
    """Everything needed to rebuild a model: saved as JSON with its weights."""

    arch: str = "pool"
    width: int = 48
    depth: int = 4
    hidden: int = 96
    parameterization: str = "edm"
    objective: str = "diffusion"  #: "diffusion" or "regression"
    scale: float = 1.3  #: standard deviation of sqrt(N) W over the training data
    a: float = 0.1  #: dt / tau of the activity
    n_time: int = 50  #: time steps of the training trials
    n_neurons: int = 16  #: N of the training data
    conditional: bool = True  #: trained with activity
    process: float = 0.0  #: noise of the dynamics of the training trials, a step of h
    h0_std: float = 1.0  #: standard deviation of their initial states
    noise: tuple[float, float] = (0.01, 0.2)  #: range of their observation noise
    max_trials: int = 8  #: most trials a network in training
    family: Family | None = None  #: what the training weights are in words, for expectation propagation
    skip: str = (
        "gaussian"  #: prior of the posterior that the network corrects: "gaussian", or "ep", the family's in words
    )
    atom: float = 0.0  #: samples below this many standard units are missing connections, exactly 0; see `missing_below`
    gate: Gate = ()  #: share of the network over expectation propagation by the latter's claim; see `blend`

    @property
    def regime(self) -> Regime:
        """Return how the training networks ran."""
        return Regime(self.a, self.process, self.h0_std)

    @property
    def body(self) -> str:
        """The network's architecture in words; models of one body may exchange weights."""
        return f"{self.arch} of width {self.width}, hidden {self.hidden}, depth {self.depth}, predicting {self.parameterization}"


class WrittenPrior(NamedTuple):
    """What stands for a trained model where there is none: a family in words, of which density, sizes and signs are learned."""

    spec: ModelSpec = ModelSpec(family=Family())


def differences(
    spec: ModelSpec, regime: Regime, n_time: int, n_neurons: int, n_trials: int, noise: Sequence[float]
) -> list[str]:
    """Return in words how a recording or a data set differs from what a model was trained on: its prior and intervals are those of the training."""
    found = []
    if abs(math.log(regime.a / spec.a)) > 0.1:
        found.append(f"dt/tau {regime.a:.3g} (trained at {spec.a:.3g})")
    if abs(regime.process - spec.process) > 0.2 * max(spec.process, 0.01):
        found.append(f"noise of the dynamics {regime.process:.3g} a step (trained at {spec.process:.3g})")
    if abs(math.log(regime.h0_std / spec.h0_std)) > 0.2:
        found.append(f"initial states of spread {regime.h0_std:.3g} (trained at {spec.h0_std:.3g})")
    if not 0.5 <= n_time / spec.n_time <= 2:
        found.append(f"{n_time} time steps a trial (trained on {spec.n_time})")
    if n_neurons != spec.n_neurons:
        found.append(f"{n_neurons} neurons (trained on {spec.n_neurons})")
    if n_trials > 2 * spec.max_trials:
        found.append(f"{n_trials} trials (trained on up to {spec.max_trials})")
    low, high = spec.noise
    outside = [s for s in noise if not 0.5 * low <= s <= 2 * high]
    if outside:
        found.append(f"observation noise {outside[0]:.3g} (trained on {low:g} to {high:g})")
    return [f"the model was trained on other settings: {', '.join(found)}."] if found else []


def missing_below(W: Tensor, noise: diffusion.Noise) -> float:
    """Return the size below which a sampled weight stands for a missing connection, in units of the spread of training weights W.

    A sampler of continuous steps ends near 0 where the family has exact zeros. Half of the weakest connections' size (the .1 %
    quantile of W != 0) parts the two, but no less than twice the last noise level; 0 for a family without exact zeros.
    """
    present = W[W != 0].abs()
    if len(present) > 0.99 * W.numel():
        return 0.0
    weakest = float(present.kthvalue(1 + len(present) // 1000).values) / float(W.std())
    return max(weakest / 2, 2 * noise.sigma_min)


def _told(denoise: diffusion.Denoiser) -> diffusion.Denoiser:
    """Return a denoiser that tells how far it is."""

    def loud(w: Tensor, sigma: float) -> Tensor:
        """Return the denoised weights."""
        log.info("%d samples at noise level %.3g", w.shape[1], sigma)
        return denoise(w, sigma)

    return loud


class WeightModel(nn.Module):
    """Denoiser of standardised weight matrices, w = sqrt(N) W / scale."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec, self.noise = spec, diffusion.Noise()
        self.net = build_network(spec.arch, spec.width, spec.depth, spec.hidden)

    def unit(self, N: int) -> float:
        """Return the size of one standard unit of W at network size N."""
        return self.spec.scale / math.sqrt(N)

    def prepare(self, likelihood: Likelihood) -> Spectrum:
        """Return what the network skips from, in standard units, decomposed once for all noise levels."""
        if self.spec.skip == "gaussian":
            return self.decompose(likelihood)
        sites = propagate(likelihood, self.spec.family or Family()).sites
        return diffusion.written(likelihood, self.unit(likelihood.b.shape[-1]), sites)

    def decompose(self, likelihood: Likelihood) -> Spectrum:
        """Return the likelihood alone in standard units, decomposed."""
        return diffusion.standardise(likelihood, self.unit(likelihood.b.shape[-1]))

    def likelihood(self, y: Tensor, a: float | None = None, noise_std=None, observed=None, **regime: Any) -> Likelihood:
        """Return the Gaussian likelihood of W (B, N, N) given noisy rates y (B, K, T, N), linearised under this model's prior scale.

        ``regime`` may hold ``process`` and ``h0_std``; both, like a, are by default those of the training trials.
        """
        variance = torch.full((len(y),), self.unit(y.shape[-1]) ** 2, dtype=y.dtype, device=y.device)
        spec = self.spec
        regime = {"process": spec.process, "h0_std": spec.h0_std} | regime
        return gaussian_likelihood(y, spec.a if a is None else a, variance, noise_std, observed, **regime).wide

    def static(self, w: Tensor, data: Spectrum) -> Tensor:
        """Return what the data alone say of weights like w (B, S, N, N): their Gaussian posterior mean (B, 1, N, N)."""
        top = w.new_full((1, 1), self.noise.sigma_max)
        return diffusion.gaussian_step(torch.zeros_like(w[:, :1]), top, data).mean

    def forward(self, w: Tensor, sigma: Tensor, data: Spectrum, static: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the denoised weights and the scale of the network's correction, both (B, S, N, N).

        Parameters
        ----------
        w : (B, S, N, N) noisy standardised weights. sigma : (B, S or 1). data : spectrum of the likelihood of B networks.
        static : what `static` gives, where it is known already.
        """
        with torch.autocast(w.device.type, enabled=False):  # the exact part keeps its precision
            step = diffusion.gaussian_step(w, sigma, data)
            x = features(w, sigma, step.mean, step.variance, self.static(w, data) if static is None else static)
            skip, size = diffusion.precondition(w, sigma, step, self.spec.parameterization, self.spec.skip == "ep")
        N, many = w.shape[-1], w.shape[1]
        if N > LARGE and sigma.shape[1] == 1:  # of large networks a few samples at once
            many = max(1, BLOCK_BYTES // (4 * N * N * self.spec.hidden))
        parts = [self.net(part, sigma, step.shrinkage) for part in x.split(many, 1)]
        return skip + size * torch.cat(parts, 1).to(w.dtype), size

    def denoiser(self, data: Spectrum, guidance: float = 1.0) -> diffusion.Denoiser:
        """Return ``(w, sigma) -> w0``: guidance 0 ignores the data, 1 is the conditional model, above 1 is not calibrated."""
        null = diffusion.without_data(len(data.b), data.b.shape[-1], data.b)
        told = self.static(data.b[:, None], data) if guidance else None

        def denoise(w: Tensor, sigma: float) -> Tensor:
            """Return the mean of the weights given noisy ones w (B, S, N, N), guided by the data."""
            level = torch.full((len(w), 1), sigma, dtype=w.dtype, device=w.device)
            if guidance == 1:
                return self(w, level, data, told)[0]
            free = self(w, level, null)[0]
            return free if guidance == 0 else free + guidance * (self(w, level, data, told)[0] - free)

        return denoise

    def loss(self, w: Tensor, data: Spectrum, generator: torch.Generator | None = None, copies: int = 1) -> Tensor:
        """Return the denoising loss of clean standardised weights w (B, N, N), ``copies`` noise levels each."""
        clean = w[:, None].expand(-1, copies, -1, -1)
        if self.spec.objective == "regression":
            estimate, size = self(torch.zeros_like(clean), self.top_level(clean), data)
            return (((estimate - clean) / size) ** 2).mean()
        sigma = diffusion.draw_sigma((len(w), copies), self.noise, generator).to(w)
        noisy = clean + sigma[..., None, None] * torch.randn(clean.shape, generator=generator).to(w)
        estimate, size = self(noisy, sigma, data)
        return (((estimate - clean) / size) ** 2).mean()

    def top_level(self, w: Tensor) -> Tensor:
        """Return sigma_max for each of w (B, S, N, N)."""
        return torch.full(w.shape[:2], self.noise.sigma_max, dtype=w.dtype, device=w.device)

    @torch.no_grad()
    def regress(self, likelihood: Likelihood) -> Tensor:
        """Return the network's one-step estimate of W (B, N, N): the regression baseline."""
        blank = torch.zeros_like(likelihood.b)[:, None]
        estimate = self(blank, self.top_level(blank), self.prepare(likelihood))[0][:, 0]
        return estimate * self.unit(blank.shape[-1])

    @torch.no_grad()
    def sample(
        self,
        data: Spectrum,
        n_samples: int,
        *,
        sampler: str = "dpmpp-2m",
        steps: int = 18,
        schedule: str = "karras",
        guidance: float = 1.0,
        generator: torch.Generator | None = None,
        chunk: int = 64,
    ) -> Tensor:
        """Return samples of W (B, S, N, N) given the data of B networks; in chunks of so many matrices (the noisy samplers depend on the chunk)."""
        if self.spec.objective != "diffusion":
            raise ValueError("a regression network has no samples; give a diffusion model.")
        B = len(data.b)
        levels = diffusion.noise_levels(steps, schedule, self.noise)
        start = diffusion.start(data, n_samples, float(levels[0]), generator, with_data=guidance > 0)
        out, size = [], max(1, chunk // n_samples)
        for first in range(0, B, size):
            part = Spectrum(*(z[first : first + size] for z in data))
            denoise = self.denoiser(part, guidance)
            if start.shape[-1] > TOLD:
                denoise = _told(denoise)
            out.append(diffusion.sample(denoise, start[first : first + size], levels, sampler, generator))
        return self.settle(torch.cat(out))

    @torch.no_grad()
    def seconds_a_step(self, N: int, n_samples: int) -> float:
        """Return the processor time of one step of some samples of N neurons, measured on a step without data."""
        w = torch.zeros(1, n_samples, N, N)
        denoise, began = self.denoiser(diffusion.without_data(1, N, w)), time.process_time()
        denoise(w, 1.0)
        return time.process_time() - began

    def settle(self, w: Tensor) -> Tensor:
        """Return finished samples as weights: in physical units, missing connections exactly 0."""
        return torch.where(w.abs() < self.spec.atom, 0.0, w) * self.unit(w.shape[-1])

    @torch.no_grad()
    def sample_prior(self, n: int, N: int, **options) -> Tensor:
        """Return n samples (n, N, N) of the prior."""
        like = next(self.parameters())
        return self.sample(diffusion.without_data(n, N, like), 1, **options)[:, 0]
