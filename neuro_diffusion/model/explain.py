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

from .filters import decay_of, exponential_filter, process_noise, smooth
from .ridge import Likelihood, Pseudo, RowFit, widen

PRIOR_GRID = torch.logspace(-3.0, 0.8, 9, dtype=torch.double)  #: candidate prior variances times N
SLACK = 0.005  #: standard deviation a step
MANY, SOME = 64, 32  #: neurons beyond which so many rows stand for all
MIN_SLOPE = 1e-3  #: of tanh: a state beyond 4 says hardly more than that it is large
INPUT_SD = 1.0  #: prior standard deviation of a neuron's constant input
LONG = 100  #: longer trials are cut into segments: each costs one initial state a neuron, and spares T^3 work


class Settings(NamedTuple):
    """How rates arise and are recorded: y = offset + gain tanh(h) + noise, h <- (1-a) h + a (W tanh(h) + input) + process xi."""

    a: float  #: time step over time constant
    gain: float = 1.0
    offset: float = 0.0
    input: bool = False  #: a constant input to each neuron, integrated out
    process: float = 0.0  #: standard deviation of noise that is added to h at every step
    h0_std: float = 1.0  #: prior standard deviation of initial states

    def rates(self, y: Tensor) -> Tensor:
        """Return recorded values as rates x."""
        return (y - self.offset) / self.gain

    @property
    def plain(self) -> bool:
        """Return whether the likelihood of `ridge` holds once rates are rescaled: no input, no process noise."""
        return not self.input and self.process == 0


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


def rows_of(N: int) -> Tensor:
    """Return the rows of W that are looked at: all, or some of a large network, whose path then is the smoothed one."""
    return torch.arange(N) if N <= MANY else torch.linspace(0, N - 1, SOME).round().long()


def turns_of(N: int, wanted: int) -> int:
    """Return how often the path is fitted anew: not where only some rows are looked at."""
    return wanted if N <= MANY else 0


class _Design(NamedTuple):
    """One linear-Gaussian problem: z (K, T, N) = F w + start + coloured and white noise of precision omega."""

    p: Pseudo  # of one network, leading axis 1
    F: Tensor  # (K, T, M) filtered rates, with the input's column last
    kernel: Tensor  # (T, T) covariance of what each trial adds: initial state and process noise
    jacobian: float  # log |dz / dy|
    slack: Tensor  # (T, T) what a path may stray from its weights, lest errors grow along it
    known: Tensor  # (K, T, N) what a known stimulus adds to the state; already taken off p.z


def design(
    y: Tensor, h: Tensor, noise: float, s: Settings, rows: Tensor | None = None, stimulus: Tensor | None = None
) -> _Design:
    """Return the regression of recorded values y (K, T, N), or of some ``rows`` of W, about states h of the same shape.

    ``stimulus`` (K, T, N) is a known input in units of h.
    """
    T, x = y.shape[1], torch.tanh(h)
    slope = (1 - x * x).clamp_min(MIN_SLOPE)
    known = torch.zeros_like(h) if stimulus is None else exponential_filter(stimulus.to(y)[None], s.a)[0]
    p = Pseudo((h - known + (s.rates(y) - x) / slope)[None], (slope * s.gain / noise)[None] ** 2)
    decay = decay_of(T, s.a, y)  # also the rise of an input
    F = exponential_filter(x[None], s.a)[0]
    if s.input:
        F = torch.cat([F, (1 - decay)[None, :, None].expand(len(y), T, 1)], 2)
    kernel = s.h0_std**2 * torch.outer(decay, decay)
    walk = process_noise(T, s.a, y)
    kernel = kernel + s.process**2 * walk
    if rows is not None:
        p, slope, known = Pseudo(p.z[..., rows], p.omega[..., rows]), slope[..., rows], known[..., rows]
    return _Design(p, F, kernel, -float((s.gain * slope).log().sum()), SLACK**2 * walk, known)


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
    if d.F.shape[2] > d.F.shape[0] * d.F.shape[1]:
        return _best_fit_by_time(d, s)
    A, b, size = precisions(d)
    found = []
    for pv in PRIOR_GRID / (d.F.shape[2] - s.input):
        gain, w = solve(A, b, float(pv), s.input)
        found.append((float((gain + size).sum()) + d.jacobian, w, float(pv)))
    return max(found, key=lambda item: item[0])


def _best_fit_by_time(d: _Design, s: Settings) -> tuple[float, Tensor, float]:
    """Return what `best_fit` does, in the space of time steps: for more neurons than steps."""
    F, z = d.F.flatten(0, 1), d.p.z[0].flatten(0, 1).T
    own = torch.block_diag(*[d.kernel] * len(d.F)) + torch.diag_embed(1 / d.p.omega[0].flatten(0, 1).T)
    W = F[:, : F.shape[1] - s.input]
    gram, pulse = W @ W.T, (INPUT_SD**2 * torch.outer(F[:, -1], F[:, -1]) if s.input else 0.0)
    found = []
    for pv in PRIOR_GRID / W.shape[1]:
        L = torch.linalg.cholesky(own + pv * gram + pulse)
        pull = torch.cholesky_solve(z[..., None], L)[..., 0]
        size = (
            -0.5 * (z * pull).sum() - L.diagonal(dim1=-2, dim2=-1).log().sum() - 0.5 * z.numel() * math.log(2 * math.pi)
        )
        w = float(pv) * pull @ W
        if s.input:
            w = torch.cat([w, INPUT_SD**2 * (pull @ F[:, -1:])], 1)
        found.append((float(size) + d.jacobian, w, float(pv)))
    return max(found, key=lambda item: item[0])


def fitted_path(d: _Design, w: Tensor) -> Tensor:
    """Return the states h (K, T, N) of weights w (N, M): the drive plus the best estimate of what each trial adds."""
    drive = d.F @ w.T
    misfit = (d.p.z[0] - drive).transpose(1, 2)[..., None]
    kernel = d.kernel + d.slack
    covariance = kernel + torch.diag_embed(1 / d.p.omega[0].transpose(1, 2))
    added = kernel @ torch.linalg.solve(covariance, misfit)
    return drive + d.known + added[..., 0].transpose(1, 2)


def first_path(y: Tensor, noise: float, s: Settings) -> Tensor:
    """Return states h (K, T, N) of smoothed rates."""
    return torch.atanh(smooth(s.rates(y)[None], y.new_tensor([noise / s.gain]), s.a)[0].clamp(-0.995, 0.995))


def explain(
    y: Tensor,
    noise: float,
    s: Settings,
    n_relinearise: int = 3,
    residuals: bool = False,
    stimulus: Tensor | None = None,
) -> Explanation:
    """Return how well settings explain a recording y (K, T, N), float64, every neuron recorded.

    Parameters
    ----------
    noise : standard deviation of white noise on y. residuals : whiten the residuals, which a search does not need.
    stimulus : known input (K, T, N) in units of h.
    """
    h, N = first_path(y, noise, s), y.shape[2]
    rows, turns = rows_of(N), turns_of(N, n_relinearise)
    for turn in range(turns + 1):
        d = design(y, h, noise, s, rows, stimulus)
        evidence, w, pv = best_fit(d, s)
        if turn < turns:
            h = fitted_path(d, w)
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


def row_likelihood_of(d: _Design, s: Settings) -> Likelihood:
    """Return the likelihood of W, leading axis 1, with the constant input integrated out."""
    A, b, _ = precisions(d)
    if s.input:
        pull, own = A[:, :-1, -1], A[:, -1, -1] + 1 / INPUT_SD**2
        b = b[:, :-1] - pull * (b[:, -1] / own)[:, None]
        A = A[:, :-1, :-1] - pull[:, :, None] * pull[:, None] / own[:, None, None]
    return Likelihood(A[None], b[None])


def row_fit(y: Tensor, noise: float, s: Settings, n_relinearise: int = 3, stimulus: Tensor | None = None) -> RowFit:
    """Return what recorded values y (K, T, N), float64, say about W under settings that `ridge` does not know."""
    h = first_path(y, noise, s)
    for turn in range(n_relinearise + 1):
        d = design(y, h, noise, s, None, stimulus)
        _, w, pv = best_fit(d, s)
        if turn < n_relinearise:
            h = fitted_path(d, w)
    N, x = y.shape[2], torch.tanh(h)[None]
    narrow = row_likelihood_of(d, s)
    variance = y.new_tensor([pv])
    wide = narrow
    if s.process == 0:
        wide = row_likelihood_of(
            d._replace(p=widen(d.p, narrow, w[None, :, :N], x, d.F[None, ..., :N], s.a, variance, s.h0_std)), s
        )
    narrow, wide = (Likelihood(v.A.float(), v.b.float()) for v in (narrow, wide))
    return RowFit(narrow, wide, torch.tensor([noise]))


def heldout_likelihood(y: Tensor, noise: float, s: Settings, stimulus: Tensor | None = None) -> Likelihood:
    """Return the likelihood of W given held-out trials y (K, T, N), about smoothed rates: what any estimate is scored on."""
    found = row_likelihood_of(design(y, first_path(y, noise, s), noise, s, None, stimulus), s)
    return Likelihood(found.A.float(), found.b.float())
