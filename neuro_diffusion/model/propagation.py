"""What is the posterior of W under a written-down prior, without training? Expectation propagation on the Gaussian likelihood.

Prior of a family (`Family`): an entry exists with probability ``density``; its size is log-normal (or half-normal); all existing
entries of a column have one sign (Dale's law), or each its own. Every entry gets a Gaussian site; the signs of the columns travel between the rows as
messages of log odds; density, sizes and the share of excitatory columns of each network are learned from it (expectation
maximisation about the family's values). Minka 2001 for the sites, the moments by quadrature on the tilted densities. Our definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .ridge import Likelihood, factor_of

AT_ONCE = 200_000  #: entries whose quadrature is in memory together
BLOCK = 1 << 20  #: numbers in the precisions of rows that are inverted together
N_NODES = 32  #: of the quadrature over the size of a weight
LEAST = 1e-3  #: precision of a cavity over the prior's
WIDE, NARROW = 0.1, 1e6  #: precisions of a site over the prior's: wider ones let sparse, heavy-tailed weights run away
FARTHEST = 4.0  #: by which learned sizes may differ from the family's
SWEEPS = 16  #: the columns' messages come to count in full at the last: their fixed point is too sure of the signs
DAMPING = 0.3  #: share of the new sites in a sweep
TOLERANCE = 0.1  #: largest change of a mean in the last sweep, in units of the family's size, of a network at rest
PRIOR_WEIGHT = 20.0  #: how many entries the family's density counts for beside the network's own
SIZE_WEIGHT = 5.0  #: the same of its sizes


class Family(NamedTuple):
    """A prior over weights in words: what is written down, where the diffusion model has learned."""

    density: float = 0.4  #: share of the entries that exist
    log_sd: float = 0.5  #: of log-normal sizes; 0: half-normal
    plus: float = 1.28  #: mean size of a positive weight, times sqrt(N)
    minus: float = 3.8  #: of a negative one
    excitatory: float = 0.75  #: share of the columns (or entries) that are positive
    dale: bool = True  #: the entries of a column have one sign


class Propagated(NamedTuple):
    """Posterior marginals of W."""

    mean: Tensor  #: (B, N, N)
    sd: Tensor  #: (B, N, N)
    present: Tensor  #: (B, N, N) probability that the connection exists
    positive: Tensor  #: (B, N) probability that a column is excitatory (mean over its entries without Dale's law)
    sites: tuple[Tensor, Tensor]  #: precision and shift of the Gaussian sites, (B, N, N) each
    scale: Tensor  #: (B, 2) mean size of positive and negative weights
    density: Tensor  #: (B, N, N) prior probability of a connection as learned
    converged: Tensor  #: (B) whether the sweeps came to rest


def family_of(W: Tensor) -> Family:
    """Return the family that describes training weights W (B, N, N)."""
    N = W.shape[-1]
    there = W != 0
    size = W.abs()[there] * math.sqrt(N)
    total = W.sum(1, keepdim=True)
    against = float(((W.sign() != total.sign()) & there).sum() / there.sum().clamp_min(1))
    positive, dale = W > 0, against < 0.02
    share = float((total > 0).float().mean()) if dale else float(positive.sum() / there.sum().clamp_min(1))
    own = (W.abs().sum((1, 2)) / there.sum((1, 2)).clamp_min(1)).clamp_min(1e-9)[
        :, None, None
    ]  # each network's mean size
    relative, gain = W.abs() / own, float(size.mean())
    parts = [relative[m] for m in (positive & there, (W < 0) & there)]
    plus, minus = (gain * float(part.mean()) if len(part) else gain for part in parts)
    logs = [(part / part.mean()).clamp_min(1e-6).log() for part in parts if len(part) > 1]
    log_sd = float(torch.cat([v - v.mean() for v in logs]).std()) if logs else 0.0
    density = float(there.float().mean())
    return Family(
        min(max(density, 0.01), 0.999),
        0.0 if log_sd > 0.95 else max(log_sd, 0.1),
        plus,
        minus,
        min(max(share, 0.02), 0.98),
        dale,
    )


class _Tilted(NamedTuple):
    """Moments of an entry under its cavity and one component of the prior."""

    log_z: Tensor
    mean: Tensor
    square: Tensor


def nodes(m: Tensor, v: Tensor, size: Tensor, log_sd: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return sizes w (..., Q) where N(w; m, v) p(w) is not small, the log of that times the width of a cell, and the width (...).

    p is log-normal or half-normal, of mean ``size``.
    """
    sd, zero = v.sqrt(), torch.zeros((), dtype=m.dtype)
    if log_sd > 0:
        low, high = size * math.exp(-4.2 * log_sd - log_sd**2 / 2), size * math.exp(4.2 * log_sd - log_sd**2 / 2)
    else:
        low, high = zero, 5.0 * size * math.sqrt(math.pi / 2)
    low, high = low.expand_as(m), high.expand_as(m)
    a, b = torch.maximum(m - 7 * sd, low), torch.minimum(m + 7 * sd, high)
    far, edge = a >= b, torch.where(m > high, high, low)  # the cavity lies outside: its nearer edge stands for all
    a, b = torch.where(far, edge, a), torch.where(far, edge + 1e-3 * size, b)
    width = (b - a) / N_NODES
    w = a[..., None] + width[..., None] * (torch.arange(N_NODES, dtype=m.dtype) + 0.5)
    log_p = -0.5 * (w - m[..., None]) ** 2 / v[..., None] - 0.5 * torch.log(2 * math.pi * v)[..., None]
    if log_sd > 0:
        log_w, centre = w.clamp_min(1e-30).log(), size.log() - log_sd**2 / 2
        log_p = (
            log_p
            - 0.5 * ((log_w - centre[..., None]) / log_sd) ** 2
            - log_w
            - math.log(log_sd * math.sqrt(2 * math.pi))
        )
    else:
        scale = (size * math.sqrt(math.pi / 2))[..., None]
        log_p = log_p - 0.5 * (w / scale) ** 2 + (math.sqrt(2 / math.pi) / scale).log()
    return w, log_p + width.log()[..., None], width


def _component(m: Tensor, v: Tensor, size: Tensor, log_sd: float) -> _Tilted:
    """Return log integral and moments of N(w; m, v) p(w) over sizes w > 0 of mean ``size``."""
    if m.numel() > AT_ONCE and m.shape[-2] > 1:
        halves = [_component(*part, size, log_sd) for part in zip(m.chunk(2, -2), v.chunk(2, -2))]
        return _Tilted(*(torch.cat(both, -2) for both in zip(*halves)))
    w, log_p, _ = nodes(m, v, size, log_sd)
    log_z = torch.logsumexp(log_p, -1)
    share = (log_p - log_z[..., None]).exp()
    return _Tilted(log_z, (share * w).sum(-1), (share * w * w).sum(-1))


def gaussian_posterior(likelihood: Likelihood, tau: Tensor, nu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return covariance, its diagonal and mean of each row under the sites."""
    precision = likelihood.A.clone()
    precision.diagonal(dim1=-2, dim2=-1).add_(tau)
    factor = factor_of(precision)
    covariance = torch.cholesky_inverse(factor)
    mean = (covariance @ (likelihood.b + nu)[..., None])[..., 0]
    return covariance, covariance.diagonal(dim1=-2, dim2=-1), mean


def marginals(likelihood: Likelihood, tau: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
    """Return variance and mean of each entry under the sites; rows in blocks, for which no new memory is asked of the system."""
    N = tau.shape[-1]
    parts = [
        gaussian_posterior(Likelihood(A, b), *sites)[1:]
        for A, b, *sites in zip(*(z.flatten(0, 1).split(max(1, BLOCK // N**2)) for z in (*likelihood[:2], tau, nu)))
    ]
    spread, mean = (torch.cat(part).view_as(tau) for part in zip(*parts))
    return spread, mean


class _State(NamedTuple):
    """What is known of each network besides its sites."""

    scale: Tensor  # (B, 2) mean size of positive and negative weights
    density: Tensor  # (B, N, N)
    excitatory: Tensor  # (B)


def _tilt(m: Tensor, v: Tensor, state: _State, family: Family, heat: float = 1.0):
    """Return probabilities and moments of entries with cavity mean m and variance v (B, N, N).

    ``heat`` below 1 weakens the messages between rows on the signs of the columns.
    """
    shape = (-1,) + (1,) * (m.ndim - 1)
    plus = _component(m, v, state.scale[:, 0].view(shape), family.log_sd)
    minus = _component(-m, v, state.scale[:, 1].view(shape), family.log_sd)
    log_none = (1 - state.density).log() - 0.5 * m**2 / v - 0.5 * torch.log(2 * math.pi * v)
    log_some = state.density.log()
    with_plus = torch.logaddexp(log_none, log_some + plus.log_z)
    with_minus = torch.logaddexp(log_none, log_some + minus.log_z)
    prior = torch.logit(state.excitatory).view(shape)
    if family.dale:
        own = with_plus - with_minus
        total = own.sum(-2, keepdim=True) + prior
        odds, column = heat * (total - own), torch.sigmoid(heat * total[..., 0, :])
    else:
        odds, column = prior.expand_as(m), None
    p_plus = torch.sigmoid(
        odds + with_plus - with_minus
    )  # posterior probability of a positive sign for this entry's column
    there_plus, there_minus = (log_some + plus.log_z - with_plus).exp(), (log_some + minus.log_z - with_minus).exp()
    share_plus, share_minus = p_plus * there_plus, (1 - p_plus) * there_minus
    mean = share_plus * plus.mean - share_minus * minus.mean
    square = share_plus * plus.square + share_minus * minus.square
    if column is None:
        column = p_plus.mean(-2)
    return mean, (square - mean**2).clamp_min(1e-14), share_plus, share_minus, column, (plus, minus)


def propagate(likelihood: Likelihood, family: Family, learn: bool = True, density: Tensor | None = None) -> Propagated:
    """Return the posterior of W (B, N, N) under a family's prior.

    Parameters
    ----------
    likelihood : of B networks; rows with A = 0 keep the prior. learn : adapt density, sizes and signs to each network.
    density : (B, N, N) probability of each connection before data (`anatomy`); None: the family's, which is learned.
    """
    data = Likelihood(likelihood.A.double(), likelihood.b.double())
    return sweep(lambda tau, nu: marginals(data, tau, nu), likelihood.b, family, learn, density)


def sweep(
    gaussian: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    like: Tensor,
    family: Family,
    learn: bool = True,
    density: Tensor | None = None,
) -> Propagated:
    """Return the posterior where ``gaussian(tau, nu)`` gives variance and mean of W under Gaussian sites, all shaped as ``like`` (B, N, N)."""
    b, (B, N) = torch.zeros_like(like, dtype=torch.double), like.shape[:2]
    size = torch.tensor([family.plus, family.minus], dtype=torch.double) / math.sqrt(N)
    told = torch.full_like(b, family.density) if density is None else density.to(b)
    state = _State(size.repeat(B, 1), told, b.new_full((B,), family.excitatory))
    variance = family.density * float((size**2).mean()) * math.exp(family.log_sd**2)
    tau, nu = torch.full_like(b, 1 / variance), torch.zeros_like(b)
    before, moved = torch.zeros_like(b), b.new_full((B,), math.inf)
    for turn in range(SWEEPS):
        spread, mean = gaussian(tau, nu)
        v = 1 / (1 / spread - tau).clamp_min(LEAST / variance)
        m = v * (mean / spread - nu)
        found, second, share_plus, share_minus, column, parts = _tilt(m, v, state, family, heat=(turn + 1) / SWEEPS)
        new_tau = (1 / second - 1 / v).clamp(WIDE / variance, NARROW / variance)
        new_nu = (
            found * (new_tau + 1 / v) - m / v
        )  # the tilted mean, also where the precision is held within its bounds
        step = DAMPING if turn else 1.0
        tau, nu = tau + step * (new_tau - tau), nu + step * (new_nu - nu)
        moved, before = (found - before).abs().amax((1, 2)) / size.mean(), found
        if learn and turn >= 3:
            state = _learned(state, family, size, density is None, share_plus, share_minus, column, parts)
    to = lambda z: z.to(like)  # noqa: E731
    return Propagated(
        to(found),
        to(second.sqrt()),
        to(share_plus + share_minus),
        to(column),
        (tau, nu),
        state.scale,
        state.density,
        moved < TOLERANCE,
    )


def _learned(
    state: _State, family: Family, size: Tensor, dense: bool, plus: Tensor, minus: Tensor,
    column: Tensor, parts: tuple[_Tilted, _Tilted],
) -> _State:  # fmt: skip
    """Return density, sizes and signs that fit the present posterior, with the family's values as so many entries more.

    The sizes of positive and negative weights are learned apart, so that a family told wrongly is left behind.
    """
    N, density = column.shape[-1], state.density
    if dense:
        share = ((plus + minus).sum((1, 2)) + PRIOR_WEIGHT * family.density) / (N * N + PRIOR_WEIGHT)
        density = share.clamp(0.005, 0.995)[:, None, None].expand_as(plus)
    told = SIZE_WEIGHT * family.density
    gains = [
        (told + (share * part.mean / size[k]).sum((1, 2))) / (told + share.sum((1, 2)))
        for k, (share, part) in enumerate(zip((plus, minus), parts))
    ]
    scales = torch.stack(gains, 1).clamp(1 / FARTHEST, FARTHEST) * size
    excitatory = (column.sum(-1) + 4 * N * family.excitatory) / (5 * N)
    found = ((old + new) / 2 for old, new in zip(state, (scales, density, excitatory.clamp(0.02, 0.98))))
    return _State(*found)
