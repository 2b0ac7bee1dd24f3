"""What happens to rates along time: the noise on them, their smooth part, and what a state keeps of rates, of its start and of noise."""

from __future__ import annotations

import torch
from torch import Tensor

MIN_NOISE = 1e-3  #: standard deviation assumed at least, in rate units: the linearisation is no better


def estimate_noise(y: Tensor, observed: Tensor | None = None, process: float = 0.0) -> Tensor:
    """Return the standard deviation (B) of white noise on y (B, K, T, N) from fourth differences (variance 70 s^2).

    Known noise of the dynamics, ``process`` a step of h, adds 20 times its variance (as seen through tanh), which is taken off.

    Raises
    ------
    ValueError : fewer than 6 time steps.
    """
    if y.shape[2] < 6:
        raise ValueError(f"{y.shape[2]} time steps: at least 6 are needed to estimate the observation noise.")
    d4 = torch.diff(y, n=4, dim=2)
    power = (d4**2).mean((1, 2)) / 70
    if process > 0:
        seen_noise = process**2 * ((1 - y.clamp(-1, 1) ** 2) ** 2).mean((1, 2))
        power = (power - 20 / 70 * seen_noise).clamp_min(MIN_NOISE**2)
    if observed is None:
        return power.mean(-1).sqrt().clamp_min(MIN_NOISE)
    seen = observed.to(y.dtype)
    return ((power * seen).sum(-1) / seen.sum(-1).clamp_min(1)).sqrt().clamp_min(MIN_NOISE)


def smooth(y: Tensor, noise: Tensor, a: float, process: float = 0.0, shape: Tensor | None = None) -> Tensor:
    """Return y (B, K, T, N) smoothed along time by a Whittaker filter whose strength follows the noise (B) and that of the dynamics.

    ``shape`` (T, T) are the noise's correlations over time; None: white.
    """
    T = y.shape[2]
    D = torch.diff(torch.eye(T, dtype=y.dtype, device=y.device), n=3, dim=0)
    strength = noise**2 / ((0.6 * a**3) ** 2 + 6 * process**2)  # the third difference of a rate is about .6 a^3
    rough = D.T @ D if shape is None else shape @ D.T @ D
    filters = torch.linalg.inv(torch.eye(T, dtype=y.dtype, device=y.device) + strength[:, None, None] * rough)
    return filters[:, None] @ y


def exponential_filter(x: Tensor, a: float) -> Tensor:
    """Return f (B, K, T, N) with f(0) = 0, f(t+1) = (1-a) f(t) + a x(t)."""
    return decay_matrix(x.shape[2], a, x) @ x


def decay_matrix(T: int, a: float, like: Tensor) -> Tensor:
    """Return the lower-triangular (T, T) matrix of the exponential filter."""
    lag = torch.arange(T, device=like.device)[:, None] - torch.arange(T, device=like.device) - 1
    return torch.where(lag >= 0, a * (1 - a) ** lag.clamp_min(0).to(like.dtype), 0.0).to(like.dtype)


def decay_of(T: int, a: float, like: Tensor, h0_std: float = 1.0) -> Tensor:
    """Return how an initial state of unit prior variance fades: h0_std (1 - a)^t, (T)."""
    return h0_std * (1 - a) ** torch.arange(T, device=like.device, dtype=like.dtype)


def unseen_drive(T: int, a: float, like: Tensor) -> Tensor:
    """Return the (T, T) covariance that an Ornstein-Uhlenbeck drive of unit variance adds to a state."""
    F = decay_matrix(T, a, like)
    lag = (torch.arange(T, device=like.device)[:, None] - torch.arange(T, device=like.device)).abs()
    return F @ torch.exp(-a * lag.to(like.dtype) / 2) @ F.T  # rates stay correlated for about 2 tau


def process_noise(T: int, a: float, like: Tensor) -> Tensor:
    """Return the (T, T) covariance that unit white noise at every step adds to a state."""
    walk = decay_matrix(T, a, like) / a
    return walk @ walk.T
