"""What does a network's activity look like, and what does one record of it? Trials, observation, summary statistics."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .simulator import simulate_rate_network, step_of


class Trials(NamedTuple):
    """Simulated trials of one or many networks."""

    x: Tensor  #: (K, T, N) or (B, K, T, N) rates, with observation noise when asked for
    h0: Tensor  #: (K, N) or (B, K, N) initial states


class Regime(NamedTuple):
    """How networks run, time in units of tau."""

    a: float = 0.1  #: time step over time constant
    process: float = 0.0  #: standard deviation of the noise that is added to h at every step
    h0_std: float = 1.0  #: of the initial states

    @classmethod
    def of(cls, dt: float, tau: float, noise_std: float, h0_std: float) -> Regime:
        """Return the regime of a simulation's own options (noise scaled as the seed does: sqrt(dt) noise_std a step)."""
        return cls(dt / tau, math.sqrt(dt) * noise_std, h0_std)

    def trials(
        self, W: Tensor, num_trials: int, T: int, noise: float | Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Return noisy rates of fresh trials, (K, T, N) or (B, K, T, N)."""
        options: dict[str, Any] = {"observation_noise": noise, "generator": generator}
        return generate_activity_trials(
            W, num_trials, T, self.a, 1.0, self.process / math.sqrt(self.a), self.h0_std, **options
        ).x


class Summary(NamedTuple):
    """Statistics of rates (..., K, T, N); leading axes are kept, trials and time are pooled."""

    mean: Tensor  #: (..., N)
    variance: Tensor  #: (..., N)
    autocorrelation: Tensor  #: (..., L + 1) mean over neurons, 1 at lag 0
    autocorrelation_time: Tensor  #: (...), 1/2 + sum of the autocorrelation up to its first zero, times dt
    participation_ratio: Tensor  #: (...), (tr C)^2 / tr C^2
    covariance: Tensor  #: (..., N, N)
    lag1_covariance: Tensor  #: (..., N, N), entry ij: x_i(t + 1) with x_j(t)
    lyapunov: Tensor | None  #: (...) largest exponent, 1 / time unit of dt; None without W


def generate_activity_trials(
    W: Tensor,
    num_trials: int,
    T: int,
    dt: float,
    tau: float,
    noise_std: float = 0.0,
    h0_std: float = 1.0,
    I: Tensor | None = None,
    seed: int | None = None,
    *,
    observation_noise: float | Tensor = 0.0,
    generator: torch.Generator | None = None,
    **options,
) -> Trials:
    """Return trials of one network (N, N) or of each of B networks, from independent normal initial states.

    Parameters
    ----------
    noise_std : noise of the dynamics; h0_std : standard deviation of the initial states.
    observation_noise : standard deviation of white noise added to the rates; a number or one per network.
    seed, generator : source of every random number; a generator wins.
    options : further arguments of `simulate_rate_network` (method, phi, noise_scaling).

    Raises
    ------
    ValueError : num_trials < 1 and everything that the simulator refuses.
    """
    W = torch.as_tensor(W)
    if num_trials < 1:
        raise ValueError(f"num_trials must be at least 1, not {num_trials}")
    if generator is None and seed is not None:
        generator = torch.Generator(W.device).manual_seed(seed)
    shape = (*W.shape[:-2], num_trials, W.shape[-1])
    h0 = h0_std * torch.randn(shape, generator=generator, dtype=W.dtype, device=W.device)
    x = simulate_rate_network(W, h0, T, dt, tau, I, noise_std, generator=generator, **options)
    spread = torch.as_tensor(observation_noise, dtype=W.dtype, device=W.device)
    if bool((spread > 0).any()):
        spread = spread.reshape(*spread.shape, *(1,) * (x.ndim - spread.ndim))
        x = x + spread * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return Trials(x, h0)


def observation_mask(B: int, N: int, fraction: float, generator: torch.Generator | None = None) -> Tensor:
    """Return (B, N), True for the ``round(fraction N)`` neurons (at least one) that are recorded, chosen at random.

    Raises
    ------
    ValueError : a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"the observed fraction must lie in (0, 1], not {fraction}")
    order = torch.rand(B, N, generator=generator).argsort(1)
    return order.argsort(1) < max(1, round(fraction * N))


def summary_stats(
    x: Tensor,
    W: Tensor | None = None,
    *,
    dt: float = 1.0,
    tau: float | None = None,
    max_lag: int | None = None,
    phi: str = "tanh",
) -> Summary:
    """Return what a theory of random networks would look at.

    Parameters
    ----------
    x : (T, N), (K, T, N) or (B, K, T, N) rates.
    W : weights of the same networks, (N, N) or (B, N, N); with them (and tau) the largest Lyapunov exponent is estimated.
    dt, tau : step and time constant, for lags and the exponent. max_lag : steps, default T // 2.

    Raises
    ------
    ValueError : fewer than 2 time steps, a W without tau, a nonlinearity other than tanh with W.
    """
    x, W = torch.as_tensor(x), None if W is None else torch.as_tensor(W)
    if x.ndim < 2 or x.shape[-2] < 2:
        raise ValueError(f"x {tuple(x.shape)}: expected (.., T, N) with at least 2 time steps")
    if W is not None and (tau is None or phi != "tanh"):
        raise ValueError("the Lyapunov exponent needs tau and phi='tanh'")
    trials = x if x.ndim >= 3 else x[None]
    K, T = trials.shape[-3:-1]
    mean = trials.mean((-3, -2))
    d = trials - mean[..., None, None, :]
    flat = d.flatten(-3, -2)
    covariance = flat.mT @ flat / (K * T)
    early, late = d[..., :-1, :].flatten(-3, -2), d[..., 1:, :].flatten(-3, -2)
    lag1 = late.mT @ early / (K * (T - 1))
    rho = _autocorrelation(d, min(max_lag or T // 2, T - 1))
    positive = (rho > 0).to(rho.dtype).cumprod(-1)
    time = ((rho * positive).sum(-1) - 0.5) * dt
    ratio = covariance.diagonal(dim1=-2, dim2=-1).sum(-1) ** 2 / covariance.square().sum((-2, -1)).clamp_min(1e-30)
    exponent = None if W is None or tau is None else lyapunov_exponent(W, trials, dt, tau)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    return Summary(mean, variance, rho, time, ratio, covariance, lag1, exponent)


def _autocorrelation(d: Tensor, max_lag: int) -> Tensor:
    """Return the autocorrelation of centred rates (..., K, T, N), pooled over trials and neurons, at lags 0..max_lag."""
    T = d.shape[-2]
    power = torch.fft.rfft(d, 2 * T, dim=-2).abs().square()
    sums = torch.fft.irfft(power, 2 * T, dim=-2)[..., : max_lag + 1, :].sum((-3, -1))
    counts = T - torch.arange(max_lag + 1, dtype=d.dtype, device=d.device)
    covariance = sums / counts
    return covariance / covariance[..., :1].clamp_min(1e-30)


def lyapunov_exponent(W: Tensor, x: Tensor, dt: float, tau: float) -> Tensor:
    """Return the largest Lyapunov exponent of the Euler map along rates x (..., K, T, N), averaged over trials.

    A tangent vector is carried by the Jacobian (1 - a) I + a W diag(1 - x^2) and renormalised at every step; the first
    tenth of the path lets it turn to the leading direction (Benettin et al. 1980).
    """
    step = step_of(dt, tau)
    slope = 1 - x.clamp(-1, 1) ** 2
    T = x.shape[-2]
    v = torch.ones_like(x[..., 0, :]) + torch.linspace(-0.5, 0.5, x.shape[-1], dtype=x.dtype, device=x.device)
    skip, growth = T // 10, torch.zeros_like(v[..., 0])
    for t in range(T - 1):
        v = step.keep * v + step.gain * (slope[..., t, :] * v) @ W.mT
        size = v.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        v = v / size
        if t >= skip:
            growth += size[..., 0].log()
    return (growth / ((T - 1 - skip) * dt)).mean(-1)


def compute_trial_summary(x: Tensor) -> dict[str, float]:
    """Return plain numbers about the trials (K, T, N) of one network: the seed's quick look.

    ``saturated`` is the fraction of rates beyond .99 in size; ``alive`` the rate's standard deviation over time in the second
    half, averaged over neurons and trials: zero for a network whose activity died.
    """
    x = torch.as_tensor(x)
    late = x[..., x.shape[-2] // 2 :, :]
    stats = summary_stats(x)
    return {
        "mean": float(x.mean()),
        "std": float(x.std()),
        "saturated": float((x.abs() > 0.99).float().mean()),
        "alive": float(late.std(dim=-2).mean()) if late.shape[-2] > 1 else math.nan,
        "participation_ratio": float(stats.participation_ratio.mean()),
        "autocorrelation_time_steps": float(stats.autocorrelation_time.mean()),
    }
