"""What do the networks that a posterior allows do when they run? Fixed points, stability, chaos and responses, with intervals.

Every quantity is taken of each sample, so that its interval is that of the posterior; the mean matrix is no network of it. Of many
neurons the samples' number, not N, limits the intervals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..rate_network.activity import lyapunov_exponent
from ..rate_network.simulator import simulate_rate_network
from ..rate_network.weights import get_spectral_radius

N_STARTS, N_STATES, N_STEPS = 24, 4, 400  #: starts of the search for fixed points; initial states and steps of the runs
NEWTON, CLOSE = (
    40,
    1e-3,
)  #: steps of the search; largest residual of a fixed point, and a tenth of the least distance of two
PUSH = 0.5  #: constant input to one neuron whose effect on the others is the response


class Behaviour(NamedTuple):
    """What networks (B) do."""

    spectral_radius: Tensor
    largest_real_part: Tensor  #: of an eigenvalue of W; above 1 the silent state is left
    lyapunov_exponent: Tensor  #: largest, along the network's own activity, 1 / tau; above 0 chaos
    fixed_points: Tensor  #: number that Newton's method finds from random states
    stable_fixed_points: Tensor
    response: Tensor  #: root-mean-square change of the other neurons' mean rates when one is pushed


def behaviour_of(W: Tensor, a: float, seed: int = 0) -> Behaviour:
    """Return what networks W (B, N, N) do at time step ``a`` (in time constants); the same initial states and pushes for all."""
    W, g = W.double(), torch.Generator().manual_seed(seed)
    B, N, _ = W.shape
    h0 = torch.randn(N_STATES, N, generator=g, dtype=W.dtype).expand(B, -1, -1)
    x = simulate_rate_network(W, h0, N_STEPS, a, 1.0)
    points, stable = fixed_points(W, g)
    return Behaviour(
        get_spectral_radius(W), torch.linalg.eigvals(W).real.amax(-1), lyapunov_exponent(W, x, a, 1.0), points, stable,
        _response(W, h0, x, a),
    )  # fmt: skip


def fixed_points(W: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return how many solutions of h = W tanh(h) Newton's method finds for each of W (B, N, N), and how many are stable."""
    B, N, _ = W.shape
    size = torch.linspace(0.0, 3.0, N_STARTS, dtype=W.dtype)[:, None]
    h = (size * torch.randn(N_STARTS, N, generator=generator, dtype=W.dtype)).expand(B, -1, -1)
    eye = torch.eye(N, dtype=W.dtype)

    def jacobian(h: Tensor) -> Tensor:
        """Return the derivative (..., N, N) of W tanh(h) - h by h."""
        return W[:, None] * (1 - torch.tanh(h) ** 2)[..., None, :] - eye

    for _ in range(NEWTON):
        residual = torch.tanh(h) @ W.mT - h
        step = torch.linalg.lstsq(jacobian(h), residual[..., None]).solution[..., 0]
        h = h - step.clamp(-1.0, 1.0)
    found = (torch.tanh(h) @ W.mT - h).abs().amax(-1) < CLOSE
    apart = (h[:, :, None] - h[:, None]).abs().amax(-1) < 10 * CLOSE
    earlier = torch.tril(torch.ones(N_STARTS, N_STARTS, dtype=torch.bool), -1)
    new = found & ~(apart & earlier & found[:, None, :]).any(-1)
    decays = torch.linalg.eigvals(jacobian(h)).real.amax(-1) < 0
    return new.sum(1).to(W), (new & decays).sum(1).to(W)


def _response(W: Tensor, h0: Tensor, x: Tensor, a: float) -> Tensor:
    """Return how much the mean rates of the others change (B) when neuron 0, 1, ... is pushed, one of them in each run."""
    N, runs = W.shape[-1], h0.shape[1]
    pushed = torch.arange(runs) % N
    current = PUSH * torch.nn.functional.one_hot(pushed, N).to(W)
    moved = simulate_rate_network(W, h0, N_STEPS, a, 1.0, current[None, :, None].expand(len(W), -1, N_STEPS, -1))
    change = (moved - x)[..., N_STEPS // 4 :, :].mean(-2)
    others = 1 - torch.nn.functional.one_hot(pushed, N).to(W)
    return ((change * others) ** 2).sum((1, 2)).div(others.sum()).sqrt()


def intervals(samples: Tensor, a: float, truth: Tensor | None = None) -> list[dict[str, float | str]]:
    """Return median and 95 % interval over samples (S, N, N) of every quantity, and its value for the true weights (N, N).

    Quantiles are those between which one more sample would lie that often (Weibull's), wider than the samples' own.
    """
    found = behaviour_of(samples, a)
    true = None if truth is None else behaviour_of(truth[None], a)
    rows: list[dict[str, float | str]] = []
    for name, values in found._asdict().items():
        low, middle, high = map(float, np.quantile(values.numpy(), (0.025, 0.5, 0.975), method="weibull"))
        row: dict[str, float | str] = {
            "quantity": name.replace("_", " "),
            "median": middle,
            "2.5 %": low,
            "97.5 %": high,
        }
        rows.append(row if true is None else row | {"truth": float(getattr(true, name)[0])})
    return rows
