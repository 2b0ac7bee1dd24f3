"""What is the posterior of one weight under its prior, when all else is a normal distribution? Moments and sites of expectation propagation.

An entry exists or not; where it does its size is log-normal (or half-normal) and its sign that of its column. What the data and all other
entries say of it is normal given that sign (its cavity). The moments of the product, by quadrature, make its site anew.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .columns import Heard, Sites

AT_ONCE = 4_000  #: entries whose quadrature is in memory together: what fits into a processor's cache
N_NODES = 32  #: of the quadrature over the size of a weight
BEND = 2.0  #: by how many of its sd a site may follow the sign of its column either way: a sign that hardly can be would move it far


class Moments(NamedTuple):
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


def component(m: Tensor, v: Tensor, size: Tensor, log_sd: float) -> Moments:
    """Return log integral and moments of N(w; m, v) p(w) over sizes w > 0 of mean ``size``."""
    if m.numel() > AT_ONCE and m.shape[-2] > 1:
        halves = [component(*part, size, log_sd) for part in zip(m.chunk(2, -2), v.chunk(2, -2))]
        return Moments(*(torch.cat(both, -2) for both in zip(*halves)))
    w, log_p, _ = nodes(m, v, size, log_sd)
    log_z = torch.logsumexp(log_p, -1)
    share = (log_p - log_z[..., None]).exp()
    return Moments(log_z, (share * w).sum(-1), (share * w * w).sum(-1))


class Cavity(NamedTuple):
    """What all but an entry's own site say of it: its size given either sign of its column, and that sign."""

    v: Tensor
    plus: Tensor  # mean where the column is positive
    minus: Tensor
    odds: Tensor  # log odds of the sign


class Tilted(NamedTuple):
    """Posterior of entries: the prior under their cavities."""

    positive: Tensor  # probability of a positive sign
    there: tuple[Tensor, Tensor]  # probability of existing where the sign is positive, negative
    mean: tuple[Tensor, Tensor]
    variance: tuple[Tensor, Tensor]
    log_z: Tensor  # of the positive sign over the negative
    parts: tuple[Moments, Moments]

    def both(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance over both signs."""
        p, (up, down) = self.positive, self.mean
        within = p * self.variance[0] + (1 - p) * self.variance[1]
        return p * up + (1 - p) * down, within + p * (1 - p) * (up - down) ** 2


def _site_odds(v: Tensor, plus: Tensor, minus: Tensor, tau: Tensor, shifts: tuple[Tensor, Tensor]) -> Tensor:
    """Return the log odds that Gaussian sites exp(-tau w^2 / 2 + shift w) under N(w; plus or minus, v) give the positive sign."""
    total = 1 / v + tau
    up, down = (0.5 * ((m / v + shift) ** 2 / total - m**2 / v) for m, shift in zip((plus, minus), shifts))
    return up - down


def cavity_of(
    h: Heard, sites: Sites, odds: Tensor, variance: Tensor, sign: Tensor, least: Tensor, heat: float = 1.0
) -> Cavity:
    """Return the cavities of all entries, given the log odds (B, N) of their columns and the Gaussian marginals of the signs."""
    tau, nu, kappa, eta = sites
    slope = h.with_sign / variance.diagonal(dim1=-2, dim2=-1)[:, None]
    within = (h.spread - slope * h.with_sign).clamp_min(1e-14)
    v = 1 / (1 / within - tau).clamp_min(least)
    plus, minus = (v * ((h.mean + slope * (s - sign[:, None])) / within - nu - s * kappa) for s in (1.0, -1.0))
    own = 2 * eta + _site_odds(v, plus, minus, tau, (nu + kappa, nu - kappa))
    return Cavity(v, plus, minus, odds[:, None] - heat * own)


def tilt(c: Cavity, scale: Tensor, density: Tensor, log_sd: float) -> Tilted:
    """Return the posterior of entries that exist with probability ``density``, of mean sizes ``scale`` (B, 2)."""
    shape = (-1,) + (1,) * (c.v.ndim - 1)
    plus = component(c.plus, c.v, scale[:, 0].view(shape), log_sd)
    minus = component(-c.minus, c.v, scale[:, 1].view(shape), log_sd)
    some, log_z, there = density.log(), [], []
    for m, part in ((c.plus, plus), (c.minus, minus)):
        none = (1 - density).log() - 0.5 * m**2 / c.v - 0.5 * torch.log(2 * math.pi * c.v)
        log_z.append(torch.logaddexp(none, some + part.log_z))
        there.append((some + part.log_z - log_z[-1]).exp())
    odds = log_z[0] - log_z[1]
    up, down = there[0] * plus.mean, -there[1] * minus.mean
    spread = [(t * z.square - m**2).clamp_min(1e-14) for t, z, m in zip(there, (plus, minus), (up, down))]
    return Tilted(
        torch.sigmoid(c.odds + odds), (there[0], there[1]), (up, down), (spread[0], spread[1]), odds, (plus, minus)
    )


def sites_of(c: Cavity, t: Tilted, dale: bool, least: Tensor, most: Tensor) -> Sites:
    """Return the sites that give the cavities the moments of the tilted densities; with Dale's law those given either sign."""
    mean, variance = t.both()
    if dale:
        variance = t.positive * t.variance[0] + (1 - t.positive) * t.variance[1]
    tau = (1 / variance - 1 / c.v).clamp(least, most)
    if not dale:
        nu = (
            mean * (tau + 1 / c.v) - c.plus / c.v
        )  # the tilted mean, also where the precision is held within its bounds
        return Sites(tau, nu, torch.zeros_like(nu), torch.zeros_like(nu))
    up, down = (z * (tau + 1 / c.v) - m / c.v for z, m in zip(t.mean, (c.plus, c.minus)))
    bend = BEND * tau.sqrt()
    kappa = ((up - down) / 2).clamp(-bend, bend)
    nu = t.positive * (up - kappa) + (1 - t.positive) * (down + kappa)
    eta = 0.5 * (t.log_z - _site_odds(c.v, c.plus, c.minus, tau, (nu + kappa, nu - kappa)))
    return Sites(tau, nu, kappa, eta)
