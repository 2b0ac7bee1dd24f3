"""Which sign has each column of W, when all rows are heard at once?

All rows regress on the same rates: what one row leaves open about the signs of columns, all leave open. Messages that are multiplied
column by column, as if rows erred independently, are far too sure of them (MEASURED.md). Here an entry w of a column of sign s = +-1 has the site
exp(-tau w^2 / 2 + (nu + kappa s) w + eta s). With W integrated out log p(s) = field s - s information s / 2 is left, all rows in it: an
Ising model. Its marginals come from one Gaussian site a sign (expectation consistent: Opper & Winther 2005). Our definition.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STEP = 0.5  #: share of the signs' new sites in a sweep
LEAST, MOST = 1e-2, 1e6  #: precision of a sign's site
SURE = 1e-7  #: least variance of a sign


class Sites(NamedTuple):
    """Gaussian factors that stand for the prior of each entry, (B, N, N) each."""

    tau: Tensor
    nu: Tensor
    kappa: Tensor  #: pull on the entry by the sign of its column
    eta: Tensor  #: half log odds of the sign


class Columns(NamedTuple):
    """What the rows say about the signs of columns, and the sites that stand for s = +-1."""

    information: Tensor  #: (B, N, N)
    field: Tensor  #: (B, N)
    width: Tensor  #: (B, N) precision of a sign's site
    pull: Tensor  #: (B, N)
    half: Tensor  #: (B, 1) half log odds of a positive column before data


class Heard(NamedTuple):
    """Gaussian posterior of W under the sites, (B, N, N) each; the signs are as uncertain as `gaussian` says."""

    mean: Tensor
    spread: Tensor  #: variance
    alone: Tensor  #: mean at signs of 0
    with_sign: Tensor  #: covariance of w and the sign of its column
    coupling: Tensor  #: (B, pre, pre) sum over rows of kappa C kappa


def unheard(half: Tensor, N: int) -> Columns:
    """Return columns of which nothing is known but the prior, half its log odds (B, 1)."""
    zero = half.new_zeros(len(half), N)
    return Columns(torch.diag_embed(zero), zero, zero + 1, zero, half)


def gaussian(c: Columns) -> tuple[Tensor, Tensor]:
    """Return covariance (B, N, N) and mean (B, N) of the signs taken for normal numbers."""
    V = torch.linalg.inv(c.information + torch.diag_embed(c.width))
    return V, (V @ (c.field + c.pull)[..., None])[..., 0]


def chances(c: Columns, variance: Tensor, mean: Tensor, j: int | slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Return half the log odds (..., n) of signs ``j`` being positive, given their Gaussian marginals, and the precision of their cavities."""
    return mean / variance - c.pull[..., j] + c.half, 1 / variance - c.width[..., j]


def log_odds(c: Columns, variance: Tensor, mean: Tensor) -> Tensor:
    """Return the log odds (B, N) of positive columns; variance and mean as `gaussian` gives them."""
    return 2 * chances(c, variance.diagonal(dim1=-2, dim2=-1), mean)[0]


def settle(c: Columns) -> Columns:
    """Return columns whose sites have come nearer to what the rows say."""
    V, mean = gaussian(c)
    half, precision = chances(c, V.diagonal(dim1=-2, dim2=-1), mean)
    sign = torch.tanh(half)
    width = (1 / (1 - sign**2).clamp_min(SURE) - precision).clamp(LEAST, MOST)
    pull = sign * (width + precision) - (half - c.half)
    return c._replace(width=c.width + STEP * (width - c.width), pull=c.pull + STEP * (pull - c.pull))


def told(c: Columns, sites: Sites, heard: Heard, half: Tensor, heat: float = 1.0) -> Columns:
    """Return what rows now say about the signs; ``half`` (B, 1): half the prior log odds. ``heat`` below 1 weakens it."""
    information = torch.diag_embed((sites.kappa**2 / sites.tau).sum(1)) - heard.coupling
    field = (sites.eta + sites.kappa * heard.alone).sum(1)
    return settle(c._replace(information=heat * information, field=heat * field, half=half))


def draw_signs(c: Columns, n_samples: int, g: torch.Generator | None) -> Tensor:
    """Return joint draws (S, N) of the signs of one network (leading axis 1), one after the other given the ones before."""
    V, mean = (z.expand(n_samples, *z.shape[1:]).clone() for z in gaussian(c))
    N = mean.shape[-1]
    signs, coin = torch.empty_like(mean), torch.rand(n_samples, N, generator=g, dtype=mean.dtype)
    for j in torch.randperm(N, generator=g).tolist():
        variance = V[:, j, j].clamp_min(SURE**2)
        half, _ = chances(c, variance, mean[:, j], j)
        signs[:, j] = torch.where(coin[:, j] < torch.sigmoid(2 * half[0]), 1.0, -1.0)
        gain = V[:, :, j] / variance[:, None]
        mean = mean + gain * (signs[:, j] - mean[:, j])[:, None]
        V = V - gain[:, :, None] * V[:, j, None, :]
    return signs
