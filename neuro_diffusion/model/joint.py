"""How are whole matrices drawn from the posterior under a written-down prior? Signs of columns first, then entries given each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .columns import Columns, draw_signs
from .propagation import Family, Propagated, gaussian_posterior
from .ridge import Likelihood
from .tilted import N_NODES, nodes

SEQUENTIAL = 64  #: neurons up to which samples are drawn entry by entry


def draw(
    found: Propagated, likelihood: Likelihood, family: Family, n_samples: int, generator: torch.Generator | None = None
) -> Tensor:
    """Return joint samples (B, S, N, N): signs of columns first, then one entry of a row after the other given the ones before.

    In large networks (more than `SEQUENTIAL` neurons) the entries of a row are drawn together, with the correlations of the
    Gaussian posterior between their tilted marginals (a Gaussian copula).
    """
    N = likelihood.b.shape[-1]
    if N > SEQUENTIAL:
        return torch.stack(
            [_draw_large(found, likelihood, family, k, n_samples, generator) for k in range(len(likelihood.b))]
        )
    chunk = max(1, min(n_samples, int(2e7 // N**3)))
    return torch.stack([
        torch.cat([
            _draw_one(found, likelihood, family, k, min(chunk, n_samples - first), generator)
            for first in range(0, n_samples, chunk)
        ])
        for k in range(len(likelihood.b))
    ])  # fmt: skip


def _draw_one(
    found: Propagated, likelihood: Likelihood, family: Family, k: int, S: int, g: torch.Generator | None
) -> Tensor:
    """Return samples (S, N, N) of network k."""
    tau, nu, kappa, _ = (site[k] for site in found.given)
    N, sign = tau.shape[-1], signs(found, family, k, S, g)
    C, _, mean = gaussian_posterior(Likelihood(likelihood.A[k].double(), likelihood.b[k].double()), tau, nu)
    nu = nu + kappa * sign
    mean = mean + (C @ (kappa * sign)[..., None])[..., 0]
    C = C.expand(S, N, N, N).clone()
    W = torch.zeros(S, N, N, dtype=torch.double)
    for j in torch.randperm(N, generator=g).tolist():
        spread = C[..., j, j].clamp_min(1e-14)
        v = 1 / (1 / spread - tau[:, j]).clamp_min(1e-3 / spread.amax())
        m = v * (mean[..., j] / spread - nu[..., j])
        w = _draw_entry(m, v, sign[..., j], found, k, found.density[k, :, j], family, g)
        gain = C[..., :, j] / spread[..., None]
        mean = mean + gain * (w - mean[..., j])[..., None]
        C = C - gain[..., :, None] * C[..., j, None, :]
        W[..., j] = w
    return W.to(likelihood.b)


def signs(found: Propagated, family: Family, k: int, S: int, g: torch.Generator | None) -> Tensor:
    """Return signs (S, N, N) of the columns, or of entries without Dale's law."""
    N = found.positive.shape[-1]
    if family.dale:
        return draw_signs(Columns(*(z[k : k + 1] for z in found.columns)), S, g)[:, None].expand(S, N, N)
    coin = torch.rand((S, N, N), generator=g, dtype=torch.double)
    return torch.where(coin < found.positive[k].double(), 1.0, -1.0)


def _draw_large(
    found: Propagated, likelihood: Likelihood, family: Family, k: int, S: int, g: torch.Generator | None
) -> Tensor:
    """Return samples (S, N, N) of network k by a Gaussian copula, row by row."""
    tau, nu, kappa, _ = (site[k] for site in found.given)
    N, sign, rows = tau.shape[-1], signs(found, family, k, S, g), []
    for i in range(N):
        data = Likelihood(likelihood.A[k, i : i + 1].double(), likelihood.b[k, i : i + 1].double())
        C, spread, mean = gaussian_posterior(data, tau[i : i + 1], nu[i : i + 1])
        mean = mean + (kappa[i] * sign[:, i]) @ C[0]
        root = torch.linalg.cholesky(C[0] + 1e-10 * spread.amax() * torch.eye(N, dtype=torch.double))
        z = (torch.randn(S, N, generator=g, dtype=torch.double) @ root.T) / spread.sqrt()
        rows.append(draw_row(found, family, k, i, z, spread[0], mean, sign[:, i], g))
    return torch.stack(rows, 1).to(likelihood.b)


def draw_row(
    found: Propagated,
    family: Family,
    k: int,
    i: int,
    z: Tensor,
    spread: Tensor,
    mean: Tensor,
    sign: Tensor,
    g: torch.Generator | None,
) -> Tensor:
    """Return entries (S, N) of row i whose quantiles are those of Gaussian draws z (S, N), standardised, of that variance (N) and mean (S, N)."""
    tau, nu, kappa, _ = (site[k, i] for site in found.given)
    level = torch.special.ndtr(z).clamp(1e-9, 1 - 1e-9)
    v = (1 / (1 / spread - tau).clamp_min(1e-3 / spread.amax())).expand(z.shape)
    return _draw_entry(
        v * (mean / spread - nu - kappa * sign), v, sign, found, k, found.density[k, i], family, g, level
    )


def _draw_entry(
    m: Tensor,
    v: Tensor,
    sign: Tensor,
    found: Propagated,
    k: int,
    density: Tensor,
    family: Family,
    g: torch.Generator | None,
    level: Tensor | None = None,
) -> Tensor:
    """Return draws of entries of known signs and prior probability ``density`` from their tilted densities, at given quantiles ``level`` or at random."""
    size = torch.where(sign > 0, found.scale[k, 0], found.scale[k, 1])
    w, log_p, width = nodes(sign * m, v, size, family.log_sd)
    log_some = torch.logsumexp(log_p, -1) + density.log()
    log_none = (1 - density).log() - 0.5 * m**2 / v - 0.5 * torch.log(2 * math.pi * v)
    chance = torch.sigmoid(log_some - log_none)
    if level is None:
        level = torch.rand(m.shape, generator=g, dtype=m.dtype)
    above = torch.where(sign > 0, level, 1 - level) - (1 - chance)  # where the size lies, beyond the atom at 0
    there = above > 0
    rising = torch.softmax(log_p, -1).cumsum(-1)
    node = (rising < (above / chance.clamp_min(1e-12))[..., None]).sum(-1, keepdim=True).clamp_max(N_NODES - 1)
    inside = (torch.rand(m.shape, generator=g, dtype=m.dtype) - 0.5) * width
    return torch.where(there, sign * (w.gather(-1, node)[..., 0] + inside), 0.0)
