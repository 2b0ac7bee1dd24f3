"""Is the posterior over weights right: close to the truth, honest about its width, and useful for predicting activity?

All scores are for held-out networks. Ridge regression on the same data stands in the same table, twice: as a user can have it
(penalty by marginal likelihood) and with the penalty that suits the true weights best (oracle).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .activity import generate_activity_trials, observation_mask
from .model import WeightModel
from .refine import guided_prior_samples
from .ridge import Likelihood, entry_correlation, fit_ridge, oracle_ridge
from .simulator import simulate_rate_network
from .weights import get_spectral_radius

LEVELS = (0.5, 0.8, 0.95)
METHODS = ("ridge", "oracle ridge", "diffusion", "regression", "pigdm")
RESOLUTION = 0.1  #: blur of truth and samples, in sd of the true entries, for the second coverage (see `score`)


class Scores(NamedTuple):
    """One posterior against the truth; each entry has one value a network (B)."""

    correlation: Tensor  #: of the posterior mean with the true entries
    mse: Tensor  #: of the posterior mean over the variance of the true entries
    sign_auc: Tensor  #: area under the curve of P(W > 0) for the sign of the non-zero entries
    crps: Tensor  #: continuous ranked probability score over the sd of the true entries
    coverage: Tensor  #: (B, 3) of the central 50, 80, 95 % intervals
    blurred_coverage: Tensor  #: (B, 3) the same after equal noise was added to truth and samples
    radius_ratio: Tensor  #: spectral radius of samples over that of the truth
    sd: Tensor  #: mean posterior standard deviation over the sd of the true entries


def score(samples: Tensor, W: Tensor) -> Scores:
    """Return the scores of samples (B, S, N, N) for true weights W (B, N, N).

    A missing connection is exactly 0, its samples are near 0: its rank is then central however right the posterior is, and the
    narrow intervals seem too wide. Equal noise on truth and samples keeps a right posterior right and removes that.
    """
    B, S = samples.shape[:2]
    flat, true = samples.flatten(2), W.flatten(1)
    mean, spread = flat.mean(1), true.std(1)
    noise = (
        torch.randn((B, S + 1, flat.shape[-1]), generator=torch.Generator().manual_seed(0))
        * RESOLUTION
        * spread[:, None, None]
    )
    blurred = interval_coverage(flat + noise[:, 1:], true + noise[:, 0])
    ordered = flat.sort(1).values
    k = torch.arange(1, S + 1, dtype=flat.dtype)[None, :, None]
    pairs = 2 * ((2 * k - S - 1) * ordered).sum(1) / (S * (S - 1))  # unbiased mean |x - x'|
    crps = ((flat - true[:, None]).abs().mean(1) - pairs / 2).mean(1) / spread
    auc = torch.tensor([area_under_curve((flat[b] > 0).float().mean(0), true[b]) for b in range(B)])
    few = samples[:, : min(S, 8)]
    ratio = get_spectral_radius(few).mean(1) / get_spectral_radius(W)
    mse = ((mean - true) ** 2).mean(1) / spread**2
    return Scores(
        entry_correlation(mean.view_as(W), W),
        mse,
        auc,
        crps,
        interval_coverage(flat, true),
        blurred,
        ratio,
        flat.std(1).mean(1) / spread,
    )


def interval_coverage(samples: Tensor, true: Tensor) -> Tensor:
    """Return the share (B, 3) of true entries (B, M) whose rank among samples (B, S, M) lies in the central 50, 80, 95 %."""
    rank = ((samples < true[:, None]).sum(1) + 0.5) / (samples.shape[1] + 1)
    return torch.stack([((rank - 0.5).abs() < p / 2).float().mean(1) for p in LEVELS], 1)


def area_under_curve(probability: Tensor, true: Tensor) -> float:
    """Return the probability that a positive entry has the larger P(W > 0) than a negative one, ties half; NaN with one sign only."""
    plus, minus = probability[true > 0], probability[true < 0]
    if not len(plus) or not len(minus):
        return math.nan
    difference = plus[:, None] - minus[None]
    return float((difference > 0).float().mean() + 0.5 * (difference == 0).float().mean())


def sbc_ranks(samples: Tensor, W: Tensor) -> Tensor:
    """Return the rank (B, N, N) of each true entry among its samples, 0 to S."""
    return (samples < W[:, None]).sum(1)


def functional_error(estimate: Tensor, W: Tensor, h0: Tensor, T: int, a: float) -> Tensor:
    """Return the relative error (B) of the noise-free activity of estimated weights from the same h0 (B, K, N); the truth scores 0."""
    x, x_hat = (simulate_rate_network(w, h0, T, a, 1.0) for w in (W, estimate))
    return ((x_hat - x) ** 2).mean((1, 2, 3)).sqrt() / x.std((1, 2, 3)).clamp_min(1e-12)


def divergence_horizon(estimate: Tensor, W: Tensor, h0: Tensor, T: int, a: float, tolerance: float = 0.2) -> Tensor:
    """Return the first step (B) at which the root-mean-square difference of rates exceeds ``tolerance``; T when none does."""
    x, x_hat = (simulate_rate_network(w, h0, T, a, 1.0) for w in (W, estimate))
    apart = ((x_hat - x) ** 2).mean((1, 3)).sqrt() > tolerance
    return torch.where(apart.any(1), apart.float().argmax(1), T).float()


def heldout_log_likelihood(estimate: Tensor, test: Likelihood, n_values: int) -> Tensor:
    """Return the log-likelihood (B) of weights (B, N, N) on held-out trials, per recorded value, relative to W = 0."""
    quadratic = (estimate[:, :, None] @ test.A @ estimate[..., None])[..., 0, 0]
    return ((test.b * estimate).sum(-1) - quadratic / 2).sum(-1) / n_values


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return mean and standard error over networks, without missing values."""
    v = values[torch.isfinite(values)].double()
    if not len(v):
        return math.nan, math.nan
    return float(v.mean()), float(v.std() / math.sqrt(len(v))) if len(v) > 1 else math.nan


class Cell(NamedTuple):
    """One condition of the benchmark."""

    row: dict[str, Any]  #: the table's row
    W: Tensor  #: (B, N, N)
    ridge: Tensor  #: (B, N, N)
    mean: Tensor  #: (B, N, N) of the diffusion posterior
    sd: Tensor  #: (B, N, N)
    ranks: Tensor  #: (B, N, N)
    n_samples: int


def benchmark_cell(
    model: WeightModel,
    W: Tensor,
    K: int,
    noise: float,
    observed: float,
    n_samples: int,
    n_time: int,
    generator: torch.Generator,
    others: Mapping[str, WeightModel],
    solver: Mapping[str, Any],
) -> Cell:
    """Return one row of the table: ridge, oracle ridge, diffusion and the optional competitors on the same trials of networks W."""
    a, (B, N, _) = model.spec.a, W.shape
    y = generate_activity_trials(W, K, n_time, a, 1.0, observation_noise=noise, generator=generator).x
    seen = None if observed == 1 else observation_mask(B, N, observed, generator)
    rows = torch.ones(B, N, dtype=torch.bool) if seen is None else seen
    block = rows[:, :, None] & rows[:, None]  # entries between recorded neurons are scored
    ridge = fit_ridge(y, a, observed=seen)
    data = model.prepare(model.likelihood(y, a, observed=seen))
    samples = model.sample(data, n_samples, generator=generator, **solver)
    estimates = {
        "ridge": ridge.mean,
        "oracle ridge": oracle_ridge(ridge.likelihood, W, block),
        "diffusion": samples.mean(1),
    }
    if "regression" in others:
        m = others["regression"]
        estimates["regression"] = m.regress(m.likelihood(y, a, observed=seen))
    if "pigdm" in others:
        m = others["pigdm"]
        guide = m.prepare(m.likelihood(y, a, observed=seen))
        estimates["pigdm"] = guided_prior_samples(m, guide, max(8, n_samples // 4), generator=generator, **solver).mean(
            1
        )
    scores = {name: entry_correlation(e, W, block) for name, e in estimates.items()}
    s = score(samples, W) if seen is None else score_block(samples, W, block)
    row: dict[str, Any] = {"trials": K, "noise": noise, "observed": observed}
    for name, found in scores.items():
        row[name], row[f"{name} se"] = mean_and_error(found)
    for against in ("ridge", "oracle ridge", "regression"):
        if against in scores:
            row[f"gain over {against}"], row[f"gain over {against} se"] = mean_and_error(
                scores["diffusion"] - scores[against]
            )
    for p, value in zip(LEVELS, s.coverage.mean(0)):
        row[f"coverage {100 * p:.0f} %"] = float(value)
    for p, value in zip(LEVELS, s.blurred_coverage.mean(0)):
        row[f"blurred coverage {100 * p:.0f} %"] = float(value)
    inside = ((W - ridge.mean).abs() < 1.96 * ridge.sd)[block].float().mean()
    row |= {"ridge coverage 95 %": float(inside), "coverage se": mean_and_error(s.coverage[:, 1])[1]}
    for name in ("mse", "sign_auc", "crps", "radius_ratio"):
        row[name], row[f"{name} se"] = mean_and_error(getattr(s, name))
    if seen is None:
        fresh = torch.randn(B, 4, N, generator=generator)
        for name in ("ridge", "diffusion"):
            row[f"functional error {name}"], _ = mean_and_error(functional_error(estimates[name], W, fresh, n_time, a))
            row[f"divergence step {name}"], _ = mean_and_error(divergence_horizon(estimates[name], W, fresh, n_time, a))
    return Cell(row, W, ridge.mean, samples.mean(1), samples.std(1), sbc_ranks(samples, W), n_samples)


def long_rows(table: Sequence[Mapping[str, Any]], structure: str, n: int) -> list[dict[str, Any]]:
    """Return the table with one row for each condition and method: correlation, its standard error, coverage by level."""
    rows = []
    for cell in table:
        condition = {
            "structure": structure,
            "n": n,
            "k": cell["trials"],
            "noise": cell["noise"],
            "observed": cell["observed"],
        }
        covered = {
            "ridge": {"95": cell["ridge coverage 95 %"]},
            "diffusion": {f"{100 * p:.0f}": cell[f"coverage {100 * p:.0f} %"] for p in LEVELS},
        }
        for method in METHODS:
            if method in cell:
                found = {"correlation": cell[method], "se": cell[f"{method} se"], "coverage": covered.get(method)}
                rows.append({**condition, "method": method, **found})
    return rows


def score_block(samples: Tensor, W: Tensor, block: Tensor) -> Scores:
    """Return `score` over the recorded block of each network (equal sizes); the spectral radius is that of the block."""
    n = math.isqrt(int(block[0].sum()))
    cut = torch.stack([s[:, k].view(-1, n, n) for s, k in zip(samples, block)])
    return score(cut, torch.stack([w[k].view(n, n) for w, k in zip(W, block)]))


def rank_histogram(ranks: Tensor, n_samples: int, n_bins: int = 16) -> np.ndarray:
    """Return the share of ranks in each bin times the number of bins: one everywhere when calibrated."""
    u = (ranks.flatten().numpy() + 0.5) / (n_samples + 1)
    return np.histogram(u, n_bins, (0, 1))[0] * n_bins / u.size
