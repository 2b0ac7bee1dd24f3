"""What do the weights of a thousand neurons look like? The same ridge and expectation propagation, row by row in the space of time steps.

A row's precision has N^2 entries and a network N of them: 4 GB at a thousand neurons. With fewer time steps than neurons everything
that is needed of a row fits into a matrix of time by time: its covariance is D - D F' (F D F' + C)^-1 F D, D the prior's (or the sites')
diagonal, F the filtered rates that all rows share, C the noise with the initial states.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from .columns import Heard, Sites
from .explain import Settings, design, first_path, fitted_path, segments
from .explain import _best_fit_by_time as best_variance
from .joint import draw_row, signs
from .propagation import GAIN_TURNS, SWEEPS, Family, Propagated, sweep

MOST_STEPS = 800  #: of all trials that are used
log = logging.getLogger("neuro_diffusion")
ROWS = 25  #: that are in memory together


class Rows(NamedTuple):
    """The regression of every row on one set of regressors."""

    F: Tensor  #: (M, N) filtered rates of all time steps
    z: Tensor  #: (N, M) what is regressed
    own: Tensor  #: (M, M) covariance of initial states
    omega: Tensor  #: (N, M) precision of the noise


class LargeRidge(NamedTuple):
    """Bayesian ridge regression of a large network."""

    mean: Tensor  #: (N, N)
    sd: Tensor  #: (N, N)
    prior_variance: float


def rows_of(y: Tensor, noise: float, s: Settings, stimulus: Tensor | None = None) -> tuple[Rows, float]:
    """Return the regression of a recording y (K, T, N), about a path that is fitted once, and the prior variance of highest evidence."""
    parts = segments(y.double())
    n = max(1, MOST_STEPS // parts.shape[1])
    parts, given = parts[:n], None if stimulus is None else segments(stimulus.double())[:n]
    N, h = y.shape[2], first_path(parts, noise, s)
    some = torch.linspace(0, N - 1, 32).round().long()
    variance = best_variance(design(parts, h, noise, s, some, given), s)[2]
    path = []
    for block in torch.arange(N).split(ROWS):
        d = design(parts, h, noise, s, block, given)
        path.append(fitted_path(d, ridge_of(_rows(d), variance).mean))
    whole = torch.cat(path, 2)
    return _rows(design(parts, whole, noise, s, None, given)), variance


def _rows(d) -> Rows:
    own = torch.block_diag(*[d.kernel] * len(d.F))
    return Rows(d.F.flatten(0, 1), d.p.z[0].flatten(0, 1).T, own, d.p.omega[0].flatten(0, 1).T)


def _posterior(r: Rows, block: Tensor, D: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the whitened regressors (n, M, N), variance and mean (n, N) of some rows under a prior of variance D and mean shift (n, N)."""
    F = r.F
    C = (F * D[:, None]) @ F.T + r.own + torch.diag_embed(1 / r.omega[block])
    L = torch.linalg.cholesky(C)
    half = torch.linalg.solve_triangular(L, F.expand(len(block), *F.shape), upper=False)  # (n, M, N)
    spread = D - D**2 * (half**2).sum(1)
    misfit = r.z[block] - shift @ F.T
    mean = shift + D * (torch.cholesky_solve(misfit[..., None], L)[..., 0] @ F)
    return half, spread.clamp_min(1e-12 * D), mean


def ridge_of(r: Rows, variance: float) -> LargeRidge:
    """Return ridge regression under a prior variance."""
    D = r.F.new_full((len(r.z), r.F.shape[1]), variance)
    blocks = torch.arange(len(D)).split(ROWS)
    spread, mean = zip(*(_posterior(r, block, D[block], torch.zeros_like(D[block]))[1:] for block in blocks))
    return LargeRidge(torch.cat(mean), torch.cat(spread).sqrt(), variance)


def propagate(r: Rows, family: Family) -> Propagated:
    """Return expectation propagation (leading axis 1)."""

    done = 0

    def rows(*given) -> Heard:
        """Return what `propagation.heard` does."""
        nonlocal done
        done += 1
        log.info("sweep %d of %d", done, GAIN_TURNS + SWEEPS)
        return _heard(r, *given)

    return sweep(rows, r.z.new_zeros(1, len(r.z), r.F.shape[1]).float(), family)


def _heard(r: Rows, sites: Sites, variance: Tensor, sign: Tensor) -> Heard:
    """Return `propagation.heard` of rows whose covariance is D - D F' (...)^-1 F D; what signs add, in float32."""
    tau, nu, kappa, _ = (z[0] for z in sites)
    D, V, found = 1 / tau, variance[0].float(), []
    coupling = torch.zeros_like(V)
    for block in torch.arange(len(tau)).split(ROWS):
        half, spread, alone = _posterior(r, block, D[block], nu[block] / tau[block])
        d, by_sign, small = D[block].float(), (kappa * D)[block].float(), half.float()
        heard = small * by_sign[:, None]  # (n, M, N)
        coupling -= heard.flatten(0, 1).T @ heard.flatten(0, 1)
        seen, own = heard @ V, V.diagonal()
        back = (seen @ heard.mT) @ small
        with_sign = by_sign * own - d * (small * seen).sum(1)
        extra = by_sign**2 * own - 2 * by_sign * d * (small * seen).sum(1) + d**2 * (small * back).sum(1)
        moved = by_sign * sign[0].float() - d * (small.mT @ (heard @ sign[0].float())[..., None])[..., 0]
        found.append((alone + moved, spread + extra.clamp_min(0), alone, with_sign.double()))
    coupling += torch.diag((kappa**2 * D).sum(0).float())
    mean, spread, alone, with_sign = (torch.cat(z)[None] for z in zip(*found))
    return Heard(mean, spread, alone, with_sign, coupling.double()[None])


def draw(found: Propagated, r: Rows, family: Family, S: int, g: torch.Generator) -> Tensor:
    """Return joint samples (S, N, N) by a Gaussian copula; a Gaussian draw of a row is a prior draw, corrected by the data."""
    tau, nu, kappa, _ = (site[0] for site in found.given)
    D, sign, rows = 1 / tau, signs(found, family, 0, S, g), []
    for i in range(len(tau)):
        C = (r.F * D[i]) @ r.F.T + r.own + torch.diag(1 / r.omega[i])
        L = torch.linalg.cholesky(C)
        half = torch.linalg.solve_triangular(L, r.F, upper=False)
        spread = (D[i] - D[i] ** 2 * (half**2).sum(0)).clamp_min(1e-12 * D[i])
        pull = lambda v, L=L, D_i=D[i]: D_i * (torch.cholesky_solve(v.T, L).T @ r.F)  # noqa: E731
        shift = (nu[i] + kappa[i] * sign[:, i]) * D[i]
        mean = shift + pull(r.z[i] - shift @ r.F.T)
        first = D[i].sqrt() * torch.randn(S, len(D[i]), generator=g, dtype=torch.double)
        noise = torch.linalg.cholesky(r.own + torch.diag(1 / r.omega[i])) @ torch.randn(
            len(C), S, generator=g, dtype=torch.double
        )
        z = (first - pull(first @ r.F.T + noise.T)) / spread.sqrt()
        rows.append(draw_row(found, family, 0, i, z, spread, mean, sign[:, i], g).float())
    return torch.stack(rows, 1)


def heldout_rows(W: Tensor, y: Tensor, noise: float, s: Settings, stimulus: Tensor | None = None) -> Tensor:
    """Return the log-likelihood (N) of each row of W (N, N) on a held-out trial y (1, T, N), about smoothed rates, per value, relative to 0."""
    parts = segments(y.double())
    given = None if stimulus is None else segments(stimulus.double())
    r = _rows(design(parts, first_path(parts, noise, s), noise, s, None, given))
    found = []
    for block in torch.arange(len(r.z)).split(ROWS):
        L = torch.linalg.cholesky(r.own + torch.diag_embed(1 / r.omega[block]))
        fit, zero = (
            torch.linalg.solve_triangular(L, v[..., None], upper=False)
            for v in (r.z[block] - W[block] @ r.F.T, r.z[block])
        )
        found.append(0.5 * (zero**2 - fit**2).sum((1, 2)))
    return torch.cat(found) / parts[..., 0].numel()
