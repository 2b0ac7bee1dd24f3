"""How do all methods do on the same noisy trials of held-out networks? One condition at a time: K trials, noise, fraction recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..model.agreement import entry_correlation
from ..model.blend import blend, claimed_correlation, mix, share_of
from ..model.guidance import guided_prior_samples
from ..model.joint import draw
from ..model.model import WeightModel
from ..model.propagation import Family, in_words, propagate
from ..model.ridge import Likelihood, Ridge, gaussian_likelihood, oracle_ridge, ridge_of
from ..rate_network.activity import Regime, observation_mask
from ..rate_network.weights import get_spectral_radius
from .calibration import LEVELS, random_ranks
from .evaluate import Dynamics, Scores, dynamics, mean_and_error, ratio_and_error, score

METHODS = ("ridge", "oracle ridge", "ep", "combined", "diffusion", "regression", "pigdm")
N_STATES = 4  #: initial states from which estimated weights are run


class Condition(NamedTuple):
    """What is recorded of each network."""

    trials: int
    noise: float  #: standard deviation of the observation noise of a rate
    observed: float  #: fraction of the neurons that is recorded


class Cell(NamedTuple):
    """All methods under one condition."""

    row: dict[str, Any]  #: the table's row
    behaviour: list[dict[str, Any]]  #: a row a method: what its weights do when they run (every neuron recorded only)
    W: Tensor  #: (B, N, N)
    estimates: dict[str, Tensor]  #: (B, N, N) by method
    samples: Tensor  #: (B, S, N, N) of the diffusion posterior
    ranks: Tensor  #: (B, M) ranks of the truth
    h0: Tensor  #: (B, N_STATES, N) fresh initial states
    scores: dict[str, Tensor]  #: (B) correlation with the truth by method


def benchmark_cell(
    model: WeightModel,
    W: Tensor,
    condition: Condition,
    n_samples: int,
    n_time: int,
    generator: torch.Generator,
    others: Mapping[str, WeightModel],
    solver: Mapping[str, Any],
    regime: Regime | None = None,
) -> Cell:
    """Return ridge, oracle ridge, diffusion and the optional competitors on the same trials of networks W (B, N, N).

    ``regime`` is how the networks run (default: as those the model was trained on), which every likelihood is told. ``others`` may hold "regression" (a regression network) and "pigdm" (a prior to be guided by the likelihood).
    """
    regime, (B, N, _) = regime or model.spec.regime, W.shape
    a = regime.a
    known: dict[str, Any] = {"process": regime.process, "h0_std": regime.h0_std}
    y = regime.trials(W, condition.trials, n_time, condition.noise, generator)
    seen = None if condition.observed == 1 else observation_mask(B, N, condition.observed, generator)
    rows = torch.ones(B, N, dtype=torch.bool) if seen is None else seen
    block = rows[:, :, None] & rows[:, None]  # entries between recorded neurons are scored
    found = gaussian_likelihood(y, a, observed=seen, **known)
    ridge, family = ridge_of(found), model.spec.family or Family()
    written = propagate(found.wide, family)
    written_samples = draw(written, found.wide, family, n_samples, generator)
    samples = model.sample(
        model.prepare(model.likelihood(y, a, observed=seen, **known)), n_samples, generator=generator, **solver
    )
    estimates = {
        "ridge": ridge.mean,
        "oracle ridge": oracle_ridge(ridge.likelihood, W, block),
        "ep": written.mean,
        "diffusion": samples.mean(1),
    }
    share = share_of(model.spec.gate, claimed_correlation(written.mean, written.sd))
    if model.spec.gate:
        estimates["combined"] = blend(written.mean, estimates["diffusion"], share)
    for name, m in others.items():
        estimates[name] = rival(name, m, m.likelihood(y, a, observed=seen, **known), n_samples, solver, generator)
    scored, true = (samples, W) if seen is None else (cut(samples, block), cut(W[:, None], block)[:, 0])
    ep_scored = written_samples if seen is None else cut(written_samples, block)
    h0 = regime.h0_std * torch.randn(B, N_STATES, N, generator=generator)
    behaviour = []
    if seen is None:
        running = {m: estimates[m] for m in METHODS if m in estimates} | {"diffusion sample": samples[:, 0]}
        behaviour = [behaviour_row(name, dynamics(w, W, h0, n_time, a), W) for name, w in running.items()]
    scores = {name: entry_correlation(e, W, block) for name, e in estimates.items()}
    row = {
        **condition._asdict(),
        **correlations(scores),
        **posterior_row(score(scored, true), true, ridge, W, block),
        **written_row("ep", score(ep_scored, true), true),
        "ep converged": float(written.converged.float().mean()),
        "ep family": in_words(family),
    }
    if model.spec.gate:
        row |= written_row("combined", score(mix(ep_scored, scored, share), true), true)
        row["combined share"] = float(share.mean())
    return Cell(row, behaviour, W, estimates, samples, random_ranks(scored, true), h0, scores)


def rival(
    name: str,
    model: WeightModel,
    likelihood: Likelihood,
    n_samples: int,
    solver: Mapping[str, Any],
    generator: torch.Generator,
) -> Tensor:
    """Return the estimate (B, N, N) of a further model: a regression network, or a prior that the likelihood guides ("pigdm")."""
    if name == "regression":
        return model.regress(likelihood)
    guide = model.decompose(likelihood)
    return guided_prior_samples(model, guide, max(8, n_samples // 4), generator=generator, **solver).mean(1)


def baseline_of(
    model: WeightModel,
    W: Tensor,
    grid: Sequence[Condition],
    n_time: int,
    regime: Regime,
    others: Mapping[str, WeightModel],
) -> str:
    """Return the best baseline, in the mean over conditions, on networks W (B, N, N) that are not scored: ridge, EP or a regression network."""
    total: dict[str, float] = {}
    known: dict[str, Any] = {"process": regime.process, "h0_std": regime.h0_std}
    for i, condition in enumerate(grid):
        g = torch.Generator().manual_seed(i)
        y = regime.trials(W, condition.trials, n_time, condition.noise, g)
        seen = None if condition.observed == 1 else observation_mask(W.shape[0], W.shape[1], condition.observed, g)
        rows = torch.ones(W.shape[:2], dtype=torch.bool) if seen is None else seen
        found = gaussian_likelihood(y, regime.a, observed=seen, **known)
        ways = {"ridge": ridge_of(found).mean, "ep": propagate(found.wide, model.spec.family or Family()).mean}
        if "regression" in others:
            m = others["regression"]
            ways["regression"] = m.regress(m.likelihood(y, regime.a, observed=seen, **known))
        for name, estimate in ways.items():
            block = rows[:, :, None] & rows[:, None]
            total[name] = total.get(name, 0.0) + float(entry_correlation(estimate, W, block).mean())
    return max(total, key=total.__getitem__)


def gain_of(cells: Sequence[Cell], name: str, against: str) -> Tensor:
    """Return how much better a method correlates with the truth than another, a value a network (B), in the mean over conditions."""
    return torch.stack([cell.scores[name] - cell.scores[against] for cell in cells]).mean(0)


def cut(W: Tensor, block: Tensor) -> Tensor:
    """Return the recorded sub-matrices (B, S, n, n) of W (B, S, N, N); every network has as many recorded neurons."""
    n = math.isqrt(int(block[0].sum()))
    return torch.stack([w[:, keep].view(-1, n, n) for w, keep in zip(W, block)])


def correlations(scores: Mapping[str, Tensor]) -> dict[str, float]:
    """Return each method's entry correlation (B) and the diffusion posterior's gain over the others, with standard errors."""
    row: dict[str, float] = {}
    for name, found in scores.items():
        row[name], row[f"{name} se"] = mean_and_error(found)
    for against in ("ridge", "oracle ridge", "ep", "regression"):
        if against in scores:
            name, difference = f"gain over {against}", scores["diffusion"] - scores[against]
            row[name], row[f"{name} se"] = mean_and_error(difference)
    if "combined" in scores:
        name = "combined gain over ep"
        row[name], row[f"{name} se"] = mean_and_error(scores["combined"] - scores["ep"])
    return row


def posterior_row(found: Scores, true: Tensor, ridge: Ridge, W: Tensor, block: Tensor) -> dict[str, float]:
    """Return coverage and the other scores of a posterior on recorded weights ``true``."""
    row = {}
    for label, values in (("coverage", found.coverage), ("connection coverage", found.connection_coverage)):
        for p, value in zip(LEVELS, values.T):
            row[f"{label} {100 * p:.0f} %"], row[f"{label} {100 * p:.0f} % se"] = mean_and_error(value)
    inside = ((W - ridge.mean).abs() < 1.96 * ridge.sd)[block].float().mean()
    row["ridge coverage 95 %"] = float(inside)
    for name in ("mse", "sign_auc", "crps"):
        row[name], row[f"{name} se"] = mean_and_error(getattr(found, name))
    row["radius_ratio"], row["radius_ratio se"] = ratio_and_error(found.radius, get_spectral_radius(true))
    return row


def written_row(name: str, found: Scores, true: Tensor) -> dict[str, float]:
    """Return coverage and radius of expectation propagation, or of it with what the network adds."""
    row = {}
    for p, value in zip(LEVELS, found.coverage.T):
        key = f"{name} coverage {100 * p:.0f} %"
        row[key], row[f"{key} se"] = mean_and_error(value)
    key = f"{name} radius_ratio"
    row[key], row[f"{key} se"] = ratio_and_error(found.radius, get_spectral_radius(true))
    return row


def behaviour_row(method: str, found: Dynamics, W: Tensor) -> dict[str, Any]:
    """Return means and standard errors over networks; the spectral radius as a ratio to that of W."""
    row: dict[str, Any] = {"method": method}
    for name, values in found._asdict().items():
        if name == "radius":
            row["radius_ratio"], row["radius_ratio se"] = ratio_and_error(values, get_spectral_radius(W))
        else:
            row[name], row[f"{name} se"] = mean_and_error(values)
    return row


def long_rows(table: Sequence[Mapping[str, Any]], structure: str, n: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each condition and method: correlation, its standard error, coverage by level."""
    for cell in table:
        condition = {"structure": structure, "n": n, "k": cell["trials"], "noise": cell["noise"], "observed": cell["observed"]}  # fmt: skip
        levels = [f"{100 * p:.0f}" for p in LEVELS]
        covered = {
            "ridge": {"95": cell["ridge coverage 95 %"]},
            "diffusion": {p: cell[f"coverage {p} %"] for p in levels},
            **{m: {p: cell[f"{m} coverage {p} %"] for p in levels} for m in ("ep", "combined") if m in cell},
        }
        for method in (m for m in METHODS if m in cell):
            yield {
                **condition, "method": method, "correlation": cell[method], "se": cell[f"{method} se"],
                "coverage": covered.get(method),
            }  # fmt: skip
