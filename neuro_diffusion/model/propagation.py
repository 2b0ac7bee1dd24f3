"""What is the posterior of W under a written-down prior, without training? Expectation propagation on the Gaussian likelihood.

Prior of a family (`Family`): an entry exists with probability ``density``; its size is log-normal (or half-normal); all existing
entries of a column have one sign (Dale's law), or each its own. Every entry gets a Gaussian site, shifted by the sign of its column; the
signs are inferred from all rows at once (`columns`). A network's gain is found first, by ridge's evidence (`gain_of`): what a wrong one leaves
over is common to all rows, and hundreds of rows take it for certainty about signs. Then density, sizes and the share of excitatory columns are
learned (expectation maximisation about the family's values). Minka 2001 for the sites, the moments by quadrature on the tilted densities. Our
definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from . import columns
from .columns import Columns, Heard, Sites
from .ridge import Likelihood, factor_of
from .tilted import Tilted, cavity_of, sites_of, tilt

BLOCK = 1 << 20  #: numbers in the precisions of rows that are inverted together
LEAST = 1e-3  #: precision of a cavity over the prior's
WIDE, NARROW = 0.1, 1e6  #: precisions of a site over the prior's: wider ones let sparse, heavy-tailed weights run away
FARTHEST = 4.0  #: by which learned sizes may differ from the family's
SWEEPS, GAIN_TURNS = 17, 2  #: of propagation, and of `gain_of` before them
COLD, RISING = (
    2,
    11,
)  #: sweeps in which signs stay open, and in which the rows come to count for them: at once, signs of many columns lock
UNSIGNED = 12  #: sweeps where no column has a sign
DAMPING = 0.4  #: share of the new sites in a sweep
TOLD_SLOWER = 2  #: times as many sweeps, of so much smaller shares, where each connection has a probability of its own: else they swing
SHARED = 200.0  #: N rows count for the signs as N / (1 + N / SHARED): what the family gets wrong of a network, all rows get wrong
TOLERANCE = 0.1  #: largest change of a mean in the last sweep, in units of the family's size, of a network at rest
PRIOR_WEIGHT = 20.0  #: how many entries the family's density counts for beside the network's own
SIZE_WEIGHT = 5.0  #: the same of its sizes
GAIN_WEIGHT = 40.0  #: how many entries the family's gain counts for (.8 to 1.8 in training: log sd .24; squares of sparse log-normal weights)
ALLOWED = 1.12  #: by which squares that the data determine come out too small, because the likelihood allows for the path's own error


DALE = "Dale's law"


class Family(NamedTuple):
    """A prior over weights in words: what is written down, where the diffusion model has learned."""

    density: float = 0.4  #: share of the entries that exist
    log_sd: float = 0.5  #: of log-normal sizes; 0: half-normal
    plus: float = 1.28  #: mean size of a positive weight, times sqrt(N)
    minus: float = 3.8  #: of a negative one
    excitatory: float = 0.75  #: share of the columns (or entries) that are positive
    dale: bool = True  #: the entries of a column have one sign


def in_words(family: Family) -> str:
    """Return what a family says.

    >>> in_words(Family())
    "Dale's law, density 0.40, log-normal sizes of sd 0.50"
    """
    sizes = f"log-normal sizes of sd {family.log_sd:.2f}" if family.log_sd else "half-normal sizes"
    return f"{DALE if family.dale else 'no law of signs'}, density {family.density:.2f}, {sizes}"


class Propagated(NamedTuple):
    """Posterior marginals of W."""

    mean: Tensor  #: (B, N, N)
    sd: Tensor  #: (B, N, N)
    present: Tensor  #: (B, N, N) probability that the connection exists
    positive: Tensor  #: (B, N) probability that a column is excitatory (mean over its entries without Dale's law)
    sites: tuple[
        Tensor, Tensor
    ]  #: precision and shift of Gaussian sites that stand for an entry's prior and its sign, (B, N, N) each
    scale: Tensor  #: (B, 2) mean size of positive and negative weights
    density: Tensor  #: (B, N, N) prior probability of a connection as learned
    converged: Tensor  #: (B) whether the sweeps came to rest
    given: Sites  #: what stands for an entry's prior given the sign of its column
    columns: Columns  #: signs of the columns


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


def gaussian_posterior(likelihood: Likelihood, tau: Tensor, nu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return covariance, its diagonal and mean of each row under the sites."""
    precision = likelihood.A.clone()
    precision.diagonal(dim1=-2, dim2=-1).add_(tau)
    factor = factor_of(precision)
    covariance = torch.cholesky_inverse(factor)
    mean = (covariance @ (likelihood.b + nu)[..., None])[..., 0]
    return covariance, covariance.diagonal(dim1=-2, dim2=-1), mean


def heard(likelihood: Likelihood, sites: Sites, variance: Tensor, sign: Tensor) -> Heard:
    """Return the posterior of the rows under the sites, signs being normal of that variance (B, N, N) and mean (B, N).

    Rows are taken in blocks, for which no new memory is asked of the system. What signs add, in float32.
    """
    B, N = sign.shape
    parts, coupling = [], torch.zeros_like(variance)
    for k in torch.arange(B).split(max(1, BLOCK // N**3)):
        rows = []
        for i in torch.arange(N).split(max(1, BLOCK // (len(k) * N**2))):
            here = (slice(int(k[0]), int(k[-1]) + 1), slice(int(i[0]), int(i[-1]) + 1))
            tau, nu, kappa, _ = (z[here] for z in sites)
            C, spread, alone = gaussian_posterior(Likelihood(likelihood.A[here], likelihood.b[here]), tau, nu)
            by_sign = C * kappa[..., None, :]
            coupling[here[0]] += (kappa[..., None] * by_sign).sum(1)
            added = by_sign.float()
            with_signs = added @ variance[here[0], None].float()
            rows.append((
                alone + (by_sign @ sign[here[0], None, :, None])[..., 0],
                spread + (with_signs * added).sum(-1).clamp_min(0),
                alone,
                with_signs.diagonal(dim1=-2, dim2=-1).double(),
            ))  # fmt: skip
        parts.append([torch.cat(z, 1) for z in zip(*rows)])
    mean, spread, alone, with_sign = (torch.cat(z) for z in zip(*parts))
    return Heard(mean, spread, alone, with_sign, coupling)


class _State(NamedTuple):
    """What is known of each network besides its sites."""

    scale: Tensor  # (B, 2) mean size of positive and negative weights
    density: Tensor  # (B, N, N)
    excitatory: Tensor  # (B)


def propagate(likelihood: Likelihood, family: Family, learn: bool = True, density: Tensor | None = None) -> Propagated:
    """Return the posterior of W (B, N, N) under a family's prior.

    Parameters
    ----------
    likelihood : of B networks; rows with A = 0 keep the prior. learn : adapt density, sizes and signs to each network.
    density : (B, N, N) probability of each connection before data (`anatomy`); None: the family's, which is learned.
    """
    data = Likelihood(likelihood.A.double(), likelihood.b.double())
    return sweep(lambda *given: heard(data, *given), likelihood.b, family, learn, density)


def sweep(
    rows: Callable[[Sites, Tensor, Tensor], Heard],
    like: Tensor,
    family: Family,
    learn: bool = True,
    density: Tensor | None = None,
) -> Propagated:
    """Return the posterior where ``rows`` answers as `heard` does, all shaped as ``like`` (B, N, N)."""
    b, (B, N) = torch.zeros_like(like, dtype=torch.double), like.shape[:2]
    size = torch.tensor([family.plus, family.minus], dtype=torch.double).expand(B, 2) / math.sqrt(N)
    if learn:
        size = size * gain_of(rows, b, family)[:, None]
    told = torch.full_like(b, family.density) if density is None else density.to(b)
    state = _State(size, told, b.new_full((B,), family.excitatory))
    variance = (family.density * math.exp(family.log_sd**2) * (size**2).mean(1))[:, None, None]
    sites = Sites((1 / variance).expand_as(b), b, b, b)
    signs = columns.unheard(_half(state), N)
    believed = 1 - torch.tanh(signs.half) ** 2
    uncertain, sign = torch.diag_embed(believed.expand(B, N)), torch.tanh(signs.half).expand(B, N)
    before, slower = torch.zeros_like(b), 1 if density is None else TOLD_SLOWER
    for turn in range(slower * (SWEEPS if family.dale else UNSIGNED)):
        heat = heat_of(N) * min(max((turn + 1 - COLD) / RISING, 0.0), 1.0)
        h = rows(sites, uncertain, sign)
        if family.dale:
            signs = columns.told(signs, sites, h, _half(state), heat)
            later = columns.gaussian(signs)
            odds = columns.log_odds(signs, *later)
        else:
            odds = 2 * _half(state).expand(B, N)
        cavity = cavity_of(h, sites, odds, uncertain, sign, LEAST / variance, heat)
        t = tilt(cavity, state.scale, state.density, family.log_sd)
        new = sites_of(cavity, t, family.dale, WIDE / variance, NARROW / variance)
        sites = Sites(*(old + DAMPING / slower * (z - old) for old, z in zip(sites, new)))
        if family.dale:
            uncertain, sign = later
        mean, spread = t.both()
        moved, before = (mean - before).abs().amax((1, 2)) / size.mean(1), mean
        if learn and turn >= 3:
            known = (variance / (variance + cavity.v)).sqrt()
            state = _learned(state, family, size, density is None, t, odds, known)
    to = lambda z: z.to(like)  # noqa: E731
    there = t.positive * t.there[0] + (1 - t.positive) * t.there[1]
    column = torch.sigmoid(odds) if family.dale else t.positive.mean(-2)
    alone = sites_of(cavity, t, False, WIDE / variance, NARROW / variance)
    return Propagated(
        to(mean), to(spread.sqrt()), to(there), to(column), alone[:2], state.scale, state.density,
        moved < TOLERANCE, sites, signs,
    )  # fmt: skip


def gain_of(rows: Callable[[Sites, Tensor, Tensor], Heard], zero: Tensor, family: Family) -> Tensor:
    """Return by how much the weights of each network (B) are larger than the family's, by ridge's evidence; ``zero``: of (B, N, N).

    MacKay's rule for the prior variance (1992), about the mean of each column, which all rows share and so tell but once.
    """
    B, N = zero.shape[:2]
    share, (plus, minus) = family.excitatory, (family.plus / math.sqrt(N), family.minus / math.sqrt(N))
    squares = family.density * math.exp(family.log_sd**2) * (share * plus**2 + (1 - share) * minus**2)
    means = share * plus**2 + (1 - share) * minus**2 if family.dale else (share * plus - (1 - share) * minus) ** 2
    variance = squares - family.density**2 * means
    square, open_ = zero.new_ones(B), torch.diag_embed(zero[:, 0] + 1)
    for _ in range(GAIN_TURNS):
        tau = (1 / (variance * square))[:, None, None].expand_as(zero)
        h = rows(Sites(tau, zero, zero, zero), open_, zero[:, 0])
        known = (1 - h.spread * tau).clamp_min(0)
        told = (known.mean(-1, keepdim=True) > 1e-6).to(zero)  # rows of neurons that were recorded
        n = told.sum(1, keepdim=True).clamp_min(2)
        around = told * (h.mean - (told * h.mean).sum(1, keepdim=True) / n)
        found = ALLOWED * ((around**2).sum(1) * (n / (n - 1))[:, 0]).sum(1) / variance
        square = (GAIN_WEIGHT + found) / (GAIN_WEIGHT + known.sum((1, 2)))
        square = square.clamp(1 / FARTHEST**2, FARTHEST**2)
    return square.sqrt()


def heat_of(N: int) -> float:
    """Return the share of what N rows say about signs that counts."""
    return 1 / (1 + N / SHARED)


def _half(state: _State) -> Tensor:
    return torch.logit(state.excitatory)[:, None] / 2


def _learned(
    state: _State, family: Family, size: Tensor, dense: bool, t: Tilted, odds: Tensor, known: Tensor
) -> _State:
    """Return density, sizes and signs that fit the present posterior, with the family's values (sizes (B, 2)) as so many entries more.

    An entry counts by the share (B, N, N) of it that the data determine: what is only believed must not bear out the belief.
    The sizes of positive and negative weights are learned apart, so that a family told wrongly is left behind.
    """
    density, shares = state.density, (t.positive * t.there[0], (1 - t.positive) * t.there[1])
    total = lambda z: z.sum((1, 2))  # noqa: E731
    if dense:
        told = PRIOR_WEIGHT + total(1 - known)
        share = (total(known * (shares[0] + shares[1])) + told * family.density) / (total(known) + told)
        density = share.clamp(0.005, 0.995)[:, None, None].expand_as(known)
    gains = []
    for k, (share, part) in enumerate(zip(shares, t.parts)):
        told = SIZE_WEIGHT * family.density + total((1 - known) * share)
        relative = part.mean / size[:, k, None, None]
        gains.append((told + total(known * share * relative)) / (told + total(known * share)))
    scales = torch.stack(gains, 1).clamp(1 / FARTHEST, FARTHEST) * size
    positive = torch.sigmoid(odds).sum(-1) if family.dale else t.positive.mean(-2).sum(-1)
    N = odds.shape[-1]
    excitatory = (positive + 4 * N * family.excitatory) / (5 * N)
    found = ((old + new) / 2 for old, new in zip(state, (scales, density, excitatory.clamp(0.02, 0.98))))
    return _State(*found)
