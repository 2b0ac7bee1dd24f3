"""Have columns one sign at all? The evidence of expectation propagation with Dale's law and without it.

Weights without Dale's law, read under it, are answered with a certainty of .99 and a correlation of .5 (README): that a column has one
sign is what the prior says most, so it is asked first. The evidence is that of the rows given the most probable signs (Minka 2001), and
what all other signs add to it, of the Ising model in `columns` (expectation consistent: Opper & Winther 2005). Our definition.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from . import columns
from .propagation import BLOCK, LEAST, Family, Propagated, gaussian_posterior, heat_of, propagate
from .ridge import Likelihood
from .tilted import component

TURNS = 60  #: in which the Ising model settles
DOUBT = 0.2  #: log odds a row against Dale's law from which it is given up
#: more by a half of what open signs add beyond .5 a row: the more they add, the less surely is it known
OPEN, SLOPE = 0.5, 0.5
#: over what signs can add (log 2 a connection), and where sweeps came to rest: such an evidence is erratic
TOO_MUCH, AT_REST = 1.5, 2.5
#: if it is also more than this a row: sparse columns, whose connections are few, give up to that (fly larva)
LARGE = 3.0


class Evidence(NamedTuple):
    """log p(data) (B), relative to weights of 0."""

    given: Tensor  #: given the most probable signs of columns
    signs: Tensor  #: what all other signs add, and the prior of these


class Chosen(NamedTuple):
    """A posterior and the family under which it stands."""

    posterior: Propagated  #: leading axis 1
    family: Family
    log_odds: float  #: of Dale's law; infinite where the family never had it


def choose(likelihood: Likelihood, family: Family) -> Chosen:
    """Return the posterior of one network (leading axis 1), without Dale's law where its evidence says so."""
    found = propagate(likelihood, family)
    if not family.dale:
        return Chosen(found, family, math.inf)
    other = unsigned(family)
    free = propagate(likelihood, other)
    own, rows = log_evidence(likelihood, found, family), found.mean.shape[-1]
    gain = float(sum(own) - sum(log_evidence(likelihood, free, other)))
    at_most = math.log(2) * float(found.present.sum())
    erratic = gain > max(LARGE * rows, at_most * (AT_REST if bool(found.converged[0]) else TOO_MUCH))
    if gain < -DOUBT * rows - SLOPE * max(0.0, float(own.signs) - OPEN * rows) or erratic:
        return Chosen(free, other, gain if gain < 0 else math.nan)
    return Chosen(found, family, gain)


def unsigned(family: Family) -> Family:
    """Return the family whose entries have each their own sign, of the same mean square."""
    share = family.excitatory
    size = math.sqrt(share * family.plus**2 + (1 - share) * family.minus**2)
    return family._replace(dale=False, excitatory=0.5, plus=size, minus=size)


def log_evidence(likelihood: Likelihood, found: Propagated, family: Family) -> Evidence:
    """Return the evidence of expectation propagation."""
    data = Likelihood(likelihood.A.double(), likelihood.b.double())
    tau, nu, kappa, _ = found.given
    sign = (2.0 * (found.positive > 0.5).double() - 1) * float(family.dale)
    shift, scale = nu + kappa * sign[:, None], found.scale.double()
    rows, spread, mean = _rows(data, tau, shift)
    least = LEAST / (family.density * math.exp(family.log_sd**2) * (scale**2).mean(1))[:, None, None]
    v = 1 / (1 / spread - tau).clamp_min(least)
    m = v * (mean / spread - shift)
    site = 0.5 * ((m / v + shift) ** 2 / (1 / v + tau) - m**2 / v) - 0.5 * torch.log1p(tau * v)
    up, down = (component(s * m, v, scale[:, k].view(-1, 1, 1), family.log_sd).log_z for k, s in enumerate((1.0, -1.0)))
    if family.dale:
        some = torch.where(sign[:, None] > 0, up, down)
    else:
        some = torch.logaddexp(math.log(family.excitatory) + up, math.log(1 - family.excitatory) + down)
    density = found.density.double()
    none = (1 - density).log() - 0.5 * m**2 / v - 0.5 * torch.log(2 * math.pi * v)
    entries = torch.logaddexp(none, density.log() + some) - site + 0.5 * math.log(2 * math.pi)
    given = rows.sum(-1) + entries.sum((1, 2))
    return Evidence(given, of_signs(found.columns, sign) if family.dale else torch.zeros_like(given))


def _rows(data: Likelihood, tau: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log integral (B, N), variance and mean (B, N, N) of the rows under Gaussian sites, in blocks of rows."""
    N, parts = tau.shape[-1], []
    for i in torch.arange(N).split(max(1, BLOCK // (len(tau) * N**2))):
        likelihood = Likelihood(data.A[:, i], data.b[:, i])
        C, spread, mean = gaussian_posterior(likelihood, tau[:, i], shift[:, i])
        log_z = 0.5 * ((likelihood.b + shift[:, i]) * mean).sum(-1) + 0.5 * torch.linalg.slogdet(C)[1]
        parts.append((log_z, spread, mean))
    log_z, spread, mean = (torch.cat(z, 1) for z in zip(*parts))
    return log_z, spread, mean


def of_signs(c: columns.Columns, sign: Tensor) -> Tensor:
    """Return log p(signs) + log of the sum over all signs of what they explain, over what these (B, N) explain."""
    heat = heat_of(sign.shape[-1])
    c = c._replace(information=c.information / heat, field=c.field / heat)
    for _ in range(TURNS):
        c = columns.settle(c)
    V, mean = columns.gaussian(c)
    own = V.diagonal(dim1=-2, dim2=-1)
    half, precision = columns.chances(c, own, mean)
    whole = 0.5 * ((c.field + c.pull) * mean).sum(-1) + 0.5 * torch.linalg.slogdet(V)[1]
    each = torch.logaddexp(half, -half) - precision / 2 - 0.5 * own.log() - 0.5 * mean**2 / own
    these = (c.field * sign).sum(-1) - 0.5 * (sign[:, None] @ c.information @ sign[..., None])[:, 0, 0]
    return whole + each.sum(-1) - these - sign.shape[-1] * torch.logaddexp(c.half, -c.half)[:, 0]
