"""How well does a rate network with some weights explain one recording, under which settings, and what remains unexplained?

The settings are the time step over the time constant (of all neurons, or each its own), an affine map from x = tanh(h) to what was
recorded, an exponential kernel of the recorder (calcium), a constant input to each neuron, and noise of the dynamics. Weights have a
Gaussian prior whose variance maximises the evidence, so the answer does not depend on a trained model. Everything is linear and
Gaussian given a path (`ridge`), hence log p(y) is known: settings are compared by it, and the residuals whitened by their own
predictive covariance are independent standard normal where the model holds. Our definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .filters import decay_matrix, decay_of, exponential_filter, process_noise, smooth
from .recording import INPUT_SD, Settings
from .ridge import Likelihood, Pseudo, RowFit

PRIOR_GRID = torch.logspace(-3.0, 0.8, 9, dtype=torch.double)  #: candidate prior variances times N
SLACK = 0.005  #: standard deviation a step
MANY, SOME = 64, 32  #: neurons beyond which so many rows stand for all
MIN_SLOPE = 1e-3  #: of tanh: a state beyond 4 says hardly more than that it is large
LONG = 100  #: longer trials are cut into segments: each costs one initial state a neuron, and spares T^3 work


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
    """One linear-Gaussian problem: z (K, T, N) = F w + start + coloured noise + noise of precision omega."""

    p: Pseudo  # of one network, leading axis 1
    F: Tensor  # (K, T, M) filtered rates, then the input's column; (K, N, T, M) with a row's own state last where time constants differ
    kernel: Tensor  # (T, T) covariance of what each trial adds: initial state and process noise
    jacobian: float  # log |dz / dy|
    slack: Tensor  # (T, T) what a path may stray from its weights, lest errors grow along it
    known: Tensor  # (K, T, N) what is known of the state; already taken off p.z
    shape: Tensor  # (T, T) correlations of the noise over time, `Settings.noise_shape`

    @property
    def noise(self) -> Tensor:
        """Return the covariance (K, N, T, T) of the noise on z."""
        sd = self.p.omega[0].transpose(1, 2).rsqrt()
        return sd[..., :, None] * self.shape * sd[..., None, :]

    @property
    def rows(self) -> Tensor:
        """Return the regressors of each row, (K, N, T, M)."""
        return self.F if self.F.ndim == 4 else self.F[:, None].expand(-1, self.p.z.shape[3], -1, -1)

    def drive(self, w: Tensor) -> Tensor:
        """Return what weights w (N, M) make of the regressors, (K, T, N)."""
        return self.F @ w.T if self.F.ndim == 3 else (self.F @ w[:, :, None])[..., 0].transpose(1, 2)


def design(
    y: Tensor, h: Tensor, noise: float, s: Settings, rows: Tensor | None = None, stimulus: Tensor | None = None
) -> _Design:
    """Return the regression of recorded values y (K, T, N), or of some ``rows`` of W, about states h of the same shape.

    With time constants that differ, h_i <- (1 - a_i) h_i + a_i W_i x is h_i <- (1 - a) h_i + a ((1 - u_i) W_i x + u_i h_i) for
    u_i = 1 - a_i / a: the neuron's own filtered state is one regressor more and the weights are those of (1 - u_i) W_i.
    ``stimulus`` (K, T, N) is a known input in units of h.
    """
    T, x = y.shape[1], torch.tanh(h)
    slope = (1 - x * x).clamp_min(MIN_SLOPE)
    known = torch.zeros_like(h) if stimulus is None else exponential_filter(stimulus.to(y)[None], s.a)[0]
    if s.taus:
        known = known * known.new_tensor(s.taus)
    p = Pseudo((h - known + (s.rates(y) - x) / slope)[None], (slope * s.gain / noise)[None] ** 2)
    decay = decay_of(T, s.a, y)  # also the rise of an input
    F = exponential_filter(x[None], s.a)[0]
    if s.input:
        F = torch.cat([F, (1 - decay)[None, :, None].expand(len(y), T, 1)], 2)
    if rows is not None:
        p, slope, known, h = (
            Pseudo(p.z[..., rows], p.omega[..., rows]),
            slope[..., rows],
            known[..., rows],
            h[..., rows],
        )
    if s.taus:
        own = exponential_filter(h[None], s.a)[0].transpose(1, 2)[..., None]
        F = torch.cat([F[:, None].expand(-1, own.shape[1], -1, -1), own], -1)
    walk = process_noise(T, s.a, y)
    kernel = s.h0_std**2 * torch.outer(decay, decay) + s.process**2 * walk
    jacobian = -float((s.gain * slope).log().sum()) - slope[:, 1:].numel() * math.log1p(-s.kernel)
    return _Design(p, F, kernel, jacobian, SLACK**2 * walk, known, s.noise_shape(noise, y))


def precisions(d: _Design) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return A (N, M, M), b (N, M) of the likelihood of each row, its log and the whitened sum of squares at w = 0 (N each), what trials add integrated out."""
    z = d.p.z[0]
    L = torch.linalg.cholesky(d.kernel + d.noise)  # (K, N, T, T)
    target = torch.cat([d.rows, z.transpose(1, 2)[..., None]], -1)
    white = torch.linalg.solve_triangular(L, target, upper=False)
    F, r = white[..., :-1], white[..., -1]
    A = torch.einsum("kitm,kitn->imn", F, F) if F.shape[-1] < 8 else _gram(F)
    b = torch.einsum("kitm,kit->im", F, r)
    square, size = (r**2).sum((0, 2)), L.diagonal(dim1=-2, dim2=-1).log().sum((0, 2))
    return A, b, -0.5 * square - size - 0.5 * r[:, 0].numel() * math.log(2 * math.pi), square


def _gram(F: Tensor) -> Tensor:
    rows = F.transpose(0, 1).flatten(1, 2)  # (N, K T, M)
    return rows.transpose(-1, -2) @ rows


def prior_precision(n_weights: int, variance: float, s: Settings, like: Tensor) -> Tensor:
    """Return the prior precisions (M) of a row: of its weights and of what it has beside them."""
    return torch.cat([like.new_full((n_weights,), 1 / variance), like.new_tensor(s.latent_sd) ** -2])


def solve(A: Tensor, b: Tensor, variance: float, s: Settings) -> tuple[Tensor, Tensor]:
    """Return the log evidence of each row beyond w = 0 (N) and its mean w (N, M) under a Gaussian prior."""
    precision = prior_precision(A.shape[-1] - len(s.latent_sd), variance, s, A)
    L = torch.linalg.cholesky(A + torch.diag(precision))
    w = torch.cholesky_solve(b[..., None], L)[..., 0]
    gain = 0.5 * (w * b).sum(-1) - L.diagonal(dim1=-2, dim2=-1).log().sum(-1) + 0.5 * precision.log().sum()
    return gain, w


def best_fit(d: _Design, s: Settings) -> tuple[float, Tensor, float]:
    """Return log evidence, weights (N, M) and the prior variance of highest evidence."""
    M = d.F.shape[-1] - len(s.latent_sd)
    if d.F.ndim == 3 and s.kernel == 0 and d.F.shape[2] > d.F.shape[0] * d.F.shape[1]:
        return _best_fit_by_time(d, s)
    A, b, size, _ = precisions(d)
    found = []
    for pv in PRIOR_GRID / M:
        gain, w = solve(A, b, float(pv), s)
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
    drive = d.drive(w)
    misfit = (d.p.z[0] - drive).transpose(1, 2)[..., None]
    kernel = d.kernel + d.slack
    added = kernel @ torch.linalg.solve(kernel + d.noise, misfit)
    return drive + d.known + added[..., 0].transpose(1, 2)


def first_path(y: Tensor, noise: float, s: Settings) -> Tensor:
    """Return states h (K, T, N) of smoothed rates."""
    shape = s.noise_shape(noise, y) if s.kernel else None
    return torch.atanh(
        smooth(s.rates(y)[None], y.new_tensor([noise / s.gain]), s.a, shape=shape)[0].clamp(-0.995, 0.995)
    )


class Path(NamedTuple):
    """A recording fitted under one choice of settings."""

    h: Tensor  #: (K, T, N) states that it is linearised about
    d: _Design
    evidence: float
    w: Tensor  #: (n, M) of the rows that are looked at
    prior_variance: float


def fit_path(
    y: Tensor,
    noise: float,
    s: Settings,
    rows: Tensor | None,
    turns: int,
    stimulus: Tensor | None,
    best: Callable[[_Design, Settings], tuple[float, Tensor, float]] = best_fit,
) -> Path:
    """Return the regression about a path that was fitted anew ``turns`` times.

    ``best`` gives log evidence, weights and prior variance of a regression.
    """
    h = first_path(y, noise, s)
    for turn in range(turns + 1):
        d = design(y, h, noise, s, rows, stimulus)
        evidence, w, pv = best(d, s)
        if turn < turns:
            h = fitted_path(d, w)
    return Path(h, d, evidence, w, pv)


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
    N = y.shape[2]
    found = fit_path(y, noise, s, rows_of(N), turns_of(N, n_relinearise), stimulus)
    u = whitened(found.d, found.prior_variance, s) if residuals else y.new_empty(0)
    current = found.w[:, N] if s.input else None
    return Explanation(found.evidence, u, found.w[:, :N], current, found.prior_variance)


def whitened(d: _Design, variance: float, s: Settings) -> Tensor:
    """Return prediction errors (K, T, N) whitened in order of trials and time: trial k is predicted from the ones before it."""
    z, noise, rows = d.p.z[0], d.noise, d.rows
    K, _, N = z.shape
    M = rows.shape[-1]
    A = torch.diag(prior_precision(M - len(s.latent_sd), variance, s, z)).expand(N, M, M).clone()
    b, out = z.new_zeros(N, M), torch.empty_like(z)
    for k in range(K):
        F, own = rows[k], d.kernel + noise[k]
        L = torch.linalg.cholesky(A)
        mean = torch.cholesky_solve(b[..., None], L)
        root = torch.linalg.solve_triangular(L, F.transpose(1, 2), upper=False)
        C = torch.linalg.cholesky(own + root.transpose(-1, -2) @ root)
        out[k] = torch.linalg.solve_triangular(C, z[k].T[..., None] - F @ mean, upper=False)[..., 0].T
        white = torch.linalg.solve_triangular(
            torch.linalg.cholesky(own), torch.cat([F, z[k].T[..., None]], -1), upper=False
        )
        A = A + white[..., :-1].transpose(-1, -2) @ white[..., :-1]
        b = b + (white[..., :-1].transpose(-1, -2) @ white[..., -1:])[..., 0]
    return out


def row_likelihood_of(d: _Design, s: Settings) -> Likelihood:
    """Return the likelihood of W, leading axis 1, with the constant input and the neurons' own time constants integrated out."""
    A, b, _, square = precisions(d)
    n = len(s.latent_sd)
    if n:
        _, moved = latent_given(A, b, s)
        pull = A[:, :-n, -n:]
        square = square - (moved[..., -1] * b[:, -n:]).sum(-1)
        A, b = A[:, :-n, :-n] - pull @ moved[..., :-1], b[:, :-n] - (pull @ moved[..., -1:])[..., 0]
    if s.taus:
        scale = A.new_tensor(s.taus)[:, None]
        sd = A.new_tensor(s.taus_sd or [0.0] * len(A)) / scale[:, 0]
        A, b, square = of_uncertain_scale(A * scale[..., None] ** 2, b * scale, square, sd)
    return Likelihood(A[None], b[None], square[None])


def of_uncertain_scale(A: Tensor, b: Tensor, square: Tensor, sd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the likelihood (N, N, N), (N, N), (N) of rows that are known up to a factor of relative standard deviation ``sd`` (N)."""
    eye = torch.eye(A.shape[-1], dtype=A.dtype)
    w = torch.linalg.solve(A + len(A) * eye, b[..., None])
    pulled = A @ w
    share = (sd**2)[:, None, None] / (1 + (sd**2)[:, None, None] * (w.mT @ pulled))
    along = w.mT @ b[..., None]
    return (
        A - share * (pulled @ pulled.mT),
        b - (share * pulled * along)[..., 0],
        square - (share * along**2)[:, 0, 0],
    )


def latent_given(A: Tensor, b: Tensor, s: Settings) -> tuple[Tensor, Tensor]:
    """Return the precision (N, n, n) of what rows have beside weights v, and (N, n, N + 1): its mean is the last column minus the others v."""
    n = len(s.latent_sd)
    own = A[:, -n:, -n:] + torch.diag(A.new_tensor(s.latent_sd) ** -2)
    return own, torch.linalg.solve(own, torch.cat([A[:, -n:, :-n], b[:, -n:, None]], -1))


def widened(found: Path, s: Settings) -> _Design:
    """Return the regression with noise that includes the uncertainty of the path itself: `ridge.widen` for any covariances.

    An error of x_j reaches h_i through W_ij and the filter; white noise of the same slow power has the row sums of its covariance.
    """
    d, T, N = found.d, found.h.shape[1], found.h.shape[2]
    A = precisions(d)[0]
    spread = torch.linalg.inv(A + torch.diag(prior_precision(N, found.prior_variance, s, A)))
    total = torch.linalg.cholesky(d.kernel + d.noise)
    kept = torch.cholesky_solve(d.noise, total).transpose(-1, -2)  # what is left of a drive's error beside the data
    seen = kept @ d.rows
    covariance = kept @ d.kernel + seen @ spread @ seen.transpose(-1, -2)  # (K, N, T, T) of h
    slope = (1 - torch.tanh(found.h) ** 2).transpose(1, 2)  # (K, N, T)
    F = decay_matrix(T, s.a, A)
    back = slope * (covariance @ (slope * F.sum(0))[..., None])[..., 0]
    square = found.w[:, :N] ** 2 + spread.diagonal(dim1=-2, dim2=-1)[:, :N]
    extra = (square @ back @ F.T).clamp_min(0)
    return d._replace(kernel=d.kernel + torch.diag_embed(extra))


def row_fit(y: Tensor, noise: float, s: Settings, n_relinearise: int = 3, stimulus: Tensor | None = None) -> RowFit:
    """Return what recorded values y (K, T, N), float64, say about W under settings that `ridge` does not know."""
    found = fit_path(y, noise, s, None, n_relinearise, stimulus)
    narrow = row_likelihood_of(found.d, s._replace(taus_sd=()))  # ridge would shrink rows of uncertain scale
    wide = row_likelihood_of(found.d if s.process else widened(found, s), s)
    narrow, wide = (Likelihood(v.A.float(), v.b.float()) for v in (narrow, wide))
    return RowFit(narrow, wide, torch.tensor([noise / s.gain]))


def heldout_likelihood(y: Tensor, noise: float, s: Settings, stimulus: Tensor | None = None) -> Likelihood:
    """Return the likelihood of W given held-out trials y (K, T, N), about smoothed rates: what any estimate is scored on."""
    return row_likelihood_of(fit_path(y, noise, s, None, 0, stimulus).d, s)
