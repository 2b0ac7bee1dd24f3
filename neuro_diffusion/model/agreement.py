"""How well do weights agree with the true ones, and with a trial that was held out?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .ridge import Likelihood


def entry_correlation(estimate: Tensor, W: Tensor, keep: Tensor | None = None) -> Tensor:
    """Return the Pearson correlation over entries (those of weight 1 in ``keep``) of each (..., N, N) estimate with W."""
    k = torch.ones_like(W) if keep is None else keep.to(W.dtype)
    count = k.sum((-1, -2), keepdim=True)
    x, y = (k * (z - (k * z).sum((-1, -2), keepdim=True) / count) for z in (estimate, W))
    return (x * y).sum((-1, -2)) / (x.norm(dim=(-1, -2)) * y.norm(dim=(-1, -2))).clamp_min(1e-12)


def heldout_log_likelihood(estimate: Tensor, test: Likelihood, n_values: int) -> Tensor:
    """Return the log-likelihood (B) of weights (B, N, N) on held-out trials, per recorded value, relative to W = 0."""
    return heldout_rows(estimate, test).sum(-1) / n_values


def heldout_rows(estimate: Tensor, test: Likelihood) -> Tensor:
    """Return the log-likelihood (B, N) of each row of weights (B, N, N) on held-out trials, relative to a row of zeros."""
    estimate = estimate.to(test.A)
    quadratic = (estimate[:, :, None] @ test.A @ estimate[..., None])[..., 0, 0]
    return (test.b * estimate).sum(-1) - quadratic / 2


def heldout_score(estimate: Tensor, test: Likelihood, n_values: int) -> Tensor:
    """Return the log-likelihood (B, N) of each row per value of held-out trials, the size of its errors fitted, up to a constant.

    -log(Q) / 2 with Q the mean square of the row's whitened errors. A trial that one set of weights misses by far counts for its
    logarithm: the mean over trials has an interval then, which that of `heldout_rows` has not (MEASURED.md).
    """
    assert test.square is not None  # of every likelihood that is made of data
    mean_square = (test.square - 2 * heldout_rows(estimate, test)) / n_values
    return -mean_square.clamp_min(1e-6).log() / 2
