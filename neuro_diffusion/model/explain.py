"""How well does a rate network with some weights explain one recording, under which settings, and what remains unexplained?

The settings are the time step over the time constant, an affine map from x = tanh(h) to what was recorded, a constant input to each
neuron, and noise of the dynamics. Weights have a Gaussian prior whose variance maximises the evidence, so the answer does not depend
on a trained model. Everything is linear and Gaussian given a path (`ridge`), hence log p(y) is known: settings are compared by it,
and the residuals whitened by their own predictive covariance are independent standard normal where the model holds. Our definition.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .ridge import (
    Pseudo,
    decay_matrix,
    decay_of,
    exponential_filter,
    linearise,
    smooth,
)

PRIOR_GRID = torch.logspace(-3.0, 0.8, 9, dtype=torch.double)  #: candidate prior variances times N
INPUT_SD = 1.0  #: prior standard deviation of a neuron's constant input
LONG = 240  #: longer trials are cut into segments: each costs one initial state a neuron and saves T^2 memory


class Settings(NamedTuple):
    """How rates arise and are recorded: y = offset + gain tanh(h) + noise, h <- (1-a) h + a (W tanh(h) + input) + process xi."""

    a: float  #: time step over time constant
    gain: float = 1.0
    offset: float = 0.0
    input: bool = False  #: a constant input to each neuron, integrated out
    process: float = 0.0  #: standard deviation of noise that is added to h at every step

    def rates(self, y: Tensor) -> Tensor:
        """Return recorded values as rates x."""
        return (y - self.offset) / self.gain


class Explanation(NamedTuple):
    """A recording under one choice of settings."""

    log_evidence: float  #: log p(y), weights, initial states and inputs integrated out
    residual: Tensor  #: (K, T, N) whitened prediction errors, standard normal where the model holds
    W: Tensor  #: (N, N) ridge mean
    current: Tensor | None  #: (N) estimated constant input
    prior_variance: float


def segments(y: Tensor, longest: int = LONG) -> Tensor:
    """Return trials (K, T, N) cut into equal segments (K', T', N) of at most ``longest`` steps; a few last steps may be dropped."""
    K, T, N = y.shape
    if longest >= T:
        return y
    parts = -(-T // longest)
    return y[:, : T // parts * parts].reshape(K * parts, T // parts, N)


class _Design(NamedTuple):
    """One linear-Gaussian problem: z (K, T, N) = F w + start + coloured and white noise of precision omega."""

    p: Pseudo  # of one network, leading axis 1
    F: Tensor  # (K, T, M) filtered rates, with the input's column last
    kernel: Tensor  # (T, T) covariance of what each trial adds: initial state and process noise
    jacobian: float  # log |dz / dy|


def design(y: Tensor, x: Tensor, noise: float, s: Settings) -> _Design:
    """Return the regression of recorded values y (K, T, N) about rates x of the same shape."""
    T = y.shape[1]
    p = linearise(s.rates(y)[None], x[None], y.new_tensor([noise / s.gain]))
    slope = 1 - x.clamp(-0.995, 0.995) ** 2
    decay = decay_of(T, s.a, y)
    F = exponential_filter(x[None], s.a)[0]
    if s.input:
        F = torch.cat([F, (1 - decay)[None, :, None].expand(len(y), T, 1)], 2)
    kernel = torch.outer(decay, decay)
    if s.process > 0:
        walk = decay_matrix(T, s.a, y) / s.a
        kernel = kernel + s.process**2 * walk @ walk.T
    return _Design(p, F, kernel, -float((s.gain * slope).log().sum()))


def precisions(d: _Design) -> tuple[Tensor, Tensor, Tensor]:
    """Return A (N, M, M), b (N, M) of the likelihood of each row, and its log at w = 0 (N), what trials add integrated out."""
    z, omega = d.p.z[0], d.p.omega[0]
    covariance = d.kernel + torch.diag_embed(1 / omega.transpose(1, 2))  # (K, N, T, T)
    L = torch.linalg.cholesky(covariance)
    target = torch.cat([d.F[:, None].expand(-1, z.shape[2], -1, -1), z.transpose(1, 2)[..., None]], -1)
    white = torch.linalg.solve_triangular(L, target, upper=False)
    F, r = white[..., :-1], white[..., -1]
    A = torch.einsum("kitm,kitn->imn", F, F) if F.shape[-1] < 8 else _gram(F)
    b = torch.einsum("kitm,kit->im", F, r)
    size = -0.5 * (r**2).sum((0, 2)) - L.diagonal(dim1=-2, dim2=-1).log().sum((0, 2))
    return A, b, size - 0.5 * r[:, 0].numel() * math.log(2 * math.pi)


def _gram(F: Tensor) -> Tensor:
    rows = F.transpose(0, 1).flatten(1, 2)  # (N, K T, M)
    return rows.transpose(-1, -2) @ rows


def solve(A: Tensor, b: Tensor, variance: float, with_input: bool) -> tuple[Tensor, Tensor]:
    """Return the log evidence of each row beyond w = 0 (N) and its mean w (N, M) under a Gaussian prior."""
    precision = A.new_full((A.shape[-1],), 1 / variance)
    if with_input:
        precision[-1] = 1 / INPUT_SD**2
    L = torch.linalg.cholesky(A + torch.diag(precision))
    w = torch.cholesky_solve(b[..., None], L)[..., 0]
    gain = 0.5 * (w * b).sum(-1) - L.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * precision.log().sum()
    return gain, w


def best_fit(d: _Design, s: Settings) -> tuple[float, Tensor, float]:
    """Return log evidence, weights (N, M) and the prior variance of highest evidence."""
    A, b, size = precisions(d)
    found = []
    for pv in PRIOR_GRID / b.shape[0]:
        gain, w = solve(A, b, float(pv), s.input)
        found.append((float((gain + size).sum()) + d.jacobian, w, float(pv)))
    return max(found, key=lambda item: item[0])


def fitted_path(d: _Design, w: Tensor) -> Tensor:
    """Return the states h (K, T, N) of weights w (N, M): the drive plus the best estimate of what each trial adds."""
    drive = d.F @ w.T
    misfit = (d.p.z[0] - drive).transpose(1, 2)[..., None]
    covariance = d.kernel + torch.diag_embed(1 / d.p.omega[0].transpose(1, 2))
    added = d.kernel @ torch.linalg.solve(covariance, misfit)
    return drive + added[..., 0].transpose(1, 2)


def explain(y: Tensor, noise: float, s: Settings, n_relinearise: int = 2, residuals: bool = False) -> Explanation:
    """Return how well settings explain a recording y (K, T, N), float64, every neuron recorded.

    Parameters
    ----------
    noise : standard deviation of white noise on y. residuals : whiten the residuals, which a search does not need.
    """
    x = smooth(s.rates(y)[None], y.new_tensor([noise / s.gain]), s.a)[0].clamp(-0.995, 0.995)
    for turn in range(n_relinearise + 1):
        d = design(y, x, noise, s)
        evidence, w, pv = best_fit(d, s)
        if turn < n_relinearise:
            x = torch.tanh(fitted_path(d, w))
    N = y.shape[2]
    u = whitened(d, pv, s) if residuals else y.new_empty(0)
    return Explanation(evidence, u, w[:, :N], w[:, N] if s.input else None, pv)


def whitened(d: _Design, variance: float, s: Settings) -> Tensor:
    """Return prediction errors (K, T, N) whitened in order of trials and time: trial k is predicted from the ones before it."""
    z, omega = d.p.z[0], d.p.omega[0]
    K, T, N = z.shape
    M = d.F.shape[2]
    prior = d.F.new_full((M,), 1 / variance)
    if s.input:
        prior[-1] = 1 / INPUT_SD**2
    A, b = torch.diag(prior).expand(N, M, M).clone(), d.F.new_zeros(N, M)
    out = torch.empty_like(z)
    for k in range(K):
        F = d.F[k]
        L = torch.linalg.cholesky(A)
        mean = torch.cholesky_solve(b[..., None], L)[..., 0]
        root = torch.linalg.solve_triangular(L, F.T.expand(N, M, T), upper=False)
        own = d.kernel + torch.diag_embed(1 / omega[k].T)
        C = torch.linalg.cholesky(own + root.transpose(-1, -2) @ root)
        out[k] = torch.linalg.solve_triangular(C, (z[k].T - mean @ F.T)[..., None], upper=False)[..., 0].T
        white = torch.linalg.solve_triangular(
            torch.linalg.cholesky(own), torch.cat([F.expand(N, T, M), z[k].T[..., None]], -1), upper=False
        )
        A = A + white[..., :-1].transpose(-1, -2) @ white[..., :-1]
        b = b + (white[..., :-1].transpose(-1, -2) @ white[..., -1:])[..., 0]
    return out


class Independent(NamedTuple):
    """A recording as independent neurons, each a smooth random process of its own."""

    log_evidence: float
    time_scale: float  #: steps
    variance: float  #: of the state h


def independent(y: Tensor, noise: float, s: Settings) -> Independent:
    """Return the best of independent processes (exponential and Matern 3/2 covariance, one scale for all neurons).

    What any network must beat: neurons that do not hear each other, smooth as the recorded ones are.
    """
    T = y.shape[1]
    x = smooth(s.rates(y)[None], y.new_tensor([noise / s.gain]), s.a)[0].clamp(-0.995, 0.995)
    d = design(y, x, noise, s._replace(input=False))
    z, floor = d.p.z[0].transpose(1, 2), torch.diag_embed(1 / d.p.omega[0].transpose(1, 2))
    level = z.mean((0, 2), keepdim=True) if s.input else torch.zeros(())
    lag = (torch.arange(T)[:, None] - torch.arange(T)).abs().to(y)
    found = []
    for scale in (1.0, 2.5, 6.0, 15.0, 40.0):
        smoother = 3**0.5 * lag / scale
        for kernel in (torch.exp(-lag / scale), (1 + smoother) * torch.exp(-smoother)):
            for variance in (0.0, 0.03, 0.1, 0.3, 1.0):
                L = torch.linalg.cholesky(variance * kernel + floor)
                r = torch.linalg.solve_triangular(L, (z - level)[..., None], upper=False)
                value = -0.5 * float((r**2).sum()) - float(L.diagonal(dim1=-2, dim2=-1).log().sum())
                found.append(Independent(value - 0.5 * z.numel() * math.log(2 * math.pi) + d.jacobian, scale, variance))
    return max(found)


def decoupled(y: Tensor, noise: float, s: Settings) -> float:
    """Return the log evidence of W = 0: every neuron decays from its own initial state (with its input and process noise)."""
    x = smooth(s.rates(y)[None], y.new_tensor([noise / s.gain]), s.a)[0].clamp(-0.995, 0.995)
    for _ in range(2):
        d = design(y, x, noise, s)
        own = d._replace(F=d.F[:, :, -1:] if s.input else d.F[:, :, :0])
        A, b, size = precisions(own)
        gain, w = solve(A, b, 1.0, s.input) if s.input else (0 * size, b)
        x = torch.tanh(fitted_path(own, w))
    return float((gain + size).sum()) + d.jacobian


def shifted(y: Tensor, noise: float, s: Settings, seed: int = 0) -> float:
    """Return the log evidence when every neuron hears the others at a wrong time (each rate turned round by a random lag)."""
    _, T, N = y.shape
    g = torch.Generator().manual_seed(seed)
    x = smooth(s.rates(y)[None], y.new_tensor([noise / s.gain]), s.a)[0].clamp(-0.995, 0.995)
    lags = torch.randint(T // 4, T - T // 4 + 1, (N,), generator=g)
    turned = torch.stack([x[:, :, j].roll(int(lag), 1) for j, lag in enumerate(lags)], 2)
    d = design(y, x, noise, s)
    heard = exponential_filter(turned[None], s.a)[0]
    F = torch.cat([heard, d.F[:, :, N:]], 2)
    return best_fit(d._replace(F=F), s)[0]
