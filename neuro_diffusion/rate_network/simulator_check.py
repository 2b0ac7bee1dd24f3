"""Does the simulator do what it promises on this machine? Four checks that a user can run."""

from __future__ import annotations

from typing import NamedTuple

import torch

from .activity import generate_activity_trials
from .simulator import simulate_rate_network
from .weights import sample_weight_matrix


class Check(NamedTuple):
    """One checked promise."""

    name: str
    value: float
    limit: float
    passed: bool


def check(N: int, T: int, seed: int) -> list[Check]:
    """Return the checks: equality with a loop, adjoint against finite differences, O(dt), stationary variance with W = 0."""
    generator = torch.Generator().manual_seed(seed)
    W = sample_weight_matrix(N, 1.2, seed=seed)
    h0 = torch.randn(N, generator=generator)
    found = [
        ("equal to a loop", _loop_error(W, h0, T), 1e-5),
        ("gradient", _gradient_error(W.double(), h0.double(), T, generator), 1e-5),
        ("halving dt halves the error", abs(_error_ratio(W.double(), h0.double()) - 2), 0.3),
        ("variance of an uncoupled network", _variance_error(seed), 0.03),
    ]
    return [Check(name, value, limit, value < limit) for name, value, limit in found]


def _loop_error(W, h0, T) -> float:
    h, rows, a = h0.clone(), [], 0.1
    for _ in range(T):
        rows.append(torch.tanh(h))
        h = h - a * h + a * (W @ torch.tanh(h))
    return float((simulate_rate_network(W, h0, T, 0.1, 1.0) - torch.stack(rows)).abs().max())


def _gradient_error(W, h0, T, generator) -> float:
    """Return the relative error of a directional derivative in W, against central differences."""
    direction = torch.randn(W.shape, generator=generator, dtype=W.dtype) / len(W)
    T = min(T, 60)

    def loss(V):
        """Return a number that depends on every rate of weights V (N, N)."""
        return simulate_rate_network(V, h0, T, 0.1, 1.0).square().sum()

    V = W.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(V), V)
    slope, eps = (gradient * direction).sum(), 1e-6
    return float(
        ((loss(W + eps * direction) - loss(W - eps * direction)) / (2 * eps) - slope).abs()
        / slope.abs().clamp_min(1e-9)
    )


def _error_ratio(W, h0) -> float:
    """Return by how much the error at time 1 shrinks when dt is halved (2 for a first-order rule), tau = 2."""
    end = [simulate_rate_network(W, h0, n + 1, 1.0 / n, 2.0)[-1] for n in (100, 200)]
    exact = simulate_rate_network(W, h0, 401, 1.0 / 400, 2.0, method="rk4")[-1]
    return float((end[0] - exact).norm() / (end[1] - exact).norm())


def _variance_error(seed) -> float:
    """Return the relative error of var h against n^2 / (1 - (1 - a)^2)."""
    a, noise_std, N = 0.1, 0.5, 400
    generator = torch.Generator().manual_seed(seed)
    x = generate_activity_trials(torch.zeros(N, N), 4, 2000, a, 1.0, noise_std, 0.1, generator=generator)
    h = torch.atanh(x.x[..., 200:, :].clamp(-0.9999999, 0.9999999))
    return float(abs(h.var() * (1 - (1 - a) ** 2) / (a * noise_std**2) - 1))
