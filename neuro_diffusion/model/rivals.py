"""What must a network explain better than? Neurons that do not hear each other, hear only themselves, or hear others at wrong times."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .explain import Settings, best_fit, design, first_path, fit_path, precisions, rows_of, solve, turns_of


class Independent(NamedTuple):
    """A recording as independent neurons, each a smooth random process of its own."""

    log_evidence: float
    time_scale: float  #: steps
    variance: float  #: of the state h


def independent(y: Tensor, noise: float, s: Settings, stimulus: Tensor | None = None) -> Independent:
    """Return the best of independent processes (exponential, Matern 3/2 and oscillating covariance, one scale for all neurons).

    What any network must beat: neurons that do not hear each other, smooth as the recorded ones are.
    """
    T = y.shape[1]
    d = design(y, first_path(y, noise, s), noise, s._replace(input=False), rows_of(y.shape[2]), stimulus)
    z, floor = d.p.z[0].transpose(1, 2), d.noise
    level = z.mean((0, 2), keepdim=True) if s.input else torch.zeros(())
    lag = (torch.arange(T)[:, None] - torch.arange(T)).abs().to(y)
    found = []
    for scale in (1.0, 2.5, 6.0, 15.0, 40.0):
        smoother = 3**0.5 * lag / scale
        for kernel in (
            torch.exp(-lag / scale),
            (1 + smoother) * torch.exp(-smoother),
            torch.cos(3 * lag / scale) * torch.exp(-lag / (6 * scale)),
        ):
            for variance in (0.0, 0.03, 0.1, 0.3, 1.0):
                L = torch.linalg.cholesky(variance * kernel + floor)
                r = torch.linalg.solve_triangular(L, (z - level)[..., None], upper=False)
                value = -0.5 * float((r**2).sum()) - float(L.diagonal(dim1=-2, dim2=-1).log().sum())
                found.append(Independent(value - 0.5 * z.numel() * math.log(2 * math.pi) + d.jacobian, scale, variance))
    return max(found)


def decoupled(y: Tensor, noise: float, s: Settings, stimulus: Tensor | None = None) -> float:
    """Return the log evidence of neurons that hear nobody, or only themselves: W = 0 or W diagonal, with input and process noise."""
    return max(_silent(y, noise, s, stimulus), _alone(y, noise, s, stimulus))


def _alone(y: Tensor, noise: float, s: Settings, stimulus: Tensor | None) -> float:
    """Return the log evidence of a diagonal W."""
    N = y.shape[2]
    some = rows_of(N)

    def own_weight(d, s: Settings):
        """Return log evidence, weights (n, M) and prior variance of rows that hear only their own neuron."""
        A, b, size, _ = precisions(d)
        M, rows = A.shape[-1], torch.arange(len(some))[:, None]
        own = torch.cat([some[:, None], torch.arange(N, M).expand(len(some), -1)], 1)
        A, b, values = A[rows[..., None], own[:, :, None], own[:, None]], b[rows, own], []
        for variance in (0.1, 1.0):
            gain, w = solve(A, b, variance, s)
            whole = torch.zeros(len(some), M, dtype=y.dtype).scatter(1, own, w)
            values.append((float((gain + size).sum()) + d.jacobian, whole, variance))
        return max(values, key=lambda item: item[0])

    return fit_path(y, noise, s, some, turns_of(N, 2), stimulus, own_weight).evidence


def _silent(y: Tensor, noise: float, s: Settings, stimulus: Tensor | None) -> float:
    """Return the log evidence of W = 0."""
    N = y.shape[2]

    def no_weight(d, s: Settings):
        """Return log evidence, weights (n, M), all 0, and a variance that plays no part."""
        A, b, size, _ = precisions(d._replace(F=d.F[..., N:]))
        gain, w = solve(A, b, 1.0, s)
        whole = torch.cat([w.new_zeros(len(w), N), w], 1)
        return float((gain + size).sum()) + d.jacobian, whole, 1.0

    return fit_path(y, noise, s, rows_of(N), turns_of(N, 1), stimulus, no_weight).evidence


def shifted(y: Tensor, noise: float, s: Settings, seed: int = 0, stimulus: Tensor | None = None) -> float:
    """Return the log evidence when every neuron hears the others at a wrong time (each rate turned round by a random lag)."""
    _, T, N = y.shape
    g = torch.Generator().manual_seed(seed)
    h = first_path(y, noise, s)
    x = torch.tanh(h)
    lags = torch.randint(T // 4, T - T // 4 + 1, (N,), generator=g)
    turned = torch.stack([x[:, :, j].roll(int(lag), 1) for j, lag in enumerate(lags)], 2)
    d = design(y, h, noise, s, rows_of(N), stimulus)
    heard = design(y, torch.atanh(turned), noise, s, rows_of(N), stimulus).F[..., :N]
    return best_fit(d._replace(F=torch.cat([heard, d.F[..., N:]], -1)), s)[0]
