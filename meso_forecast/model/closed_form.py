"""Which forecasters are fitted in closed form? Baselines, autoregressions, the reduced-rank VAR and the stack.

All are fitted on training and validation windows. What is said about their errors there (`spread`, ``held_out_mse``) comes from folds
of a blocked cross-validation that did not see the window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..activity.windows import VALIDATION, Panel, columns_of, gather
from . import probability
from .forecaster import Linear, StimulusMean, held_out_mse
from .linear import REFERENCES, Columns, LinearMap, design, moments, row_chunks
from .stack import (
    ORDERS,
    OWN_PENALTIES,
    SELECTION_NEURONS,
    Member,
    Plan,
    choose,
    choose_members,
    fit_chunks,
    neurons_at_once,
    plan_stack,
    training_windows,
)

BY_FOLDS = "blocked cross-validation over training and validation"


def constant_map(n_neurons: int, context: int, horizon: int, reference: str) -> LinearMap:
    """Return the forecaster that repeats a reference: ``last`` (persistence), ``context`` (mean), ``mean`` (zero)."""
    c = Columns(context, horizon, 1)
    back = design(c, reference, 0).back
    return LinearMap(
        c,
        np.broadcast_to(back, (n_neurons, *back.shape)).copy(),
        np.zeros((0, n_neurons, horizon)),
        np.zeros((n_neurons, 0)),
    )


def fit_stimulus_mean(panel: Panel, context: int, horizon: int) -> StimulusMean:
    """Return the mean future for each stimulus that enough training windows have."""
    origins, block = training_windows(panel, context, horizon)
    fits, spreads, errors, late = [], [], [], []
    validating = panel.label[origins + 1] == VALIDATION
    for part in row_chunks(panel.x.shape[1], neurons_at_once(len(origins), horizon)):
        some = panel._replace(x=columns_of(panel.x, part))
        fits.append(stimulus_means(some, origins, horizon))
        residual = np.full((len(origins), horizon, some.x.shape[1]), np.nan, np.float32)
        for k in range(block.max() + 1):
            rows = block == k
            fold = stimulus_means(some, origins[~rows & (block >= 0)], horizon)
            residual[rows] = gather(some.x, origins[rows], 1, horizon) - fold.forecast(some, origins[rows])
        spreads.append(probability.fit_student_t(residual, origins))
        errors.append((part.stop - part.start, held_out_mse(residual)))
        late.append((part.stop - part.start, held_out_mse(residual[validating])))
    info = {"held_out_mse": mean_of(errors), "held_out_by": BY_FOLDS, "validation_mse": mean_of(late)}
    means, overall = (np.concatenate([getattr(f, name) for f in fits], axis=-1) for name in ("means", "overall"))
    return StimulusMean(means, fits[0].stimuli, overall, probability.joined(spreads), info)


def stimulus_means(panel: Panel, origins: np.ndarray, horizon: int, least: int = 20) -> StimulusMean:
    """Return the mean future for each stimulus that is on at ``least`` or more of the given origins."""
    seen = np.zeros(len(panel.x), int) if panel.stimulus is None else panel.stimulus
    labels, counts = np.unique(seen[origins], return_counts=True)
    stimuli = labels[counts >= least]

    def mean(chosen: np.ndarray) -> np.ndarray:
        """Return the mean activity after some origins, (horizon, neuron)."""
        return np.stack([panel.x[chosen + h].mean(0, dtype=float) for h in range(1, horizon + 1)])

    means = [mean(origins[seen[origins] == s]) for s in stimuli]
    return StimulusMean(np.array(means).reshape(len(stimuli), horizon, -1), stimuli, mean(origins), None, {})


def fit_autoregression(panel: Panel, context: int, horizon: int, orders, penalties) -> Linear:
    """Return per-neuron ridge autoregressions; order and penalty by blocked cross-validation when there are several.

    The chosen order and penalty are the same for all neurons; the coefficients are not.
    """
    orders = sorted({min(p, context) for p in orders})
    c = Columns(context, horizon, orders[-1])
    origins, block = training_windows(panel, context, horizon)
    candidates = [Member("mean", p, penalty) for p in orders for penalty in penalties]
    member = candidates[0]
    if len(candidates) > 1:
        n = panel.x.shape[1]
        sample = np.sort(np.random.default_rng(0).choice(n, min(n, 128), replace=False))
        member = choose(candidates, moments(panel, origins, block, c, neurons=sample), c)
    plan = Plan(c, np.zeros((panel.x.shape[1], 0)), [member], np.ones((1, horizon)), np.zeros((1, horizon)))
    return fit_plan(plan, panel, {"order": member.order, "own_penalty": member.own_penalty})


class ByNeuron:
    """Collects each neuron's held-out squared error, (neuron,), while a plan is fitted, over all windows and over validation windows."""

    def __init__(self, validating: np.ndarray) -> None:
        self.validating = validating
        self.every: list[np.ndarray] = []
        self.late: list[np.ndarray] = []

    def __call__(self, neurons: slice, residual: np.ndarray) -> None:
        square = np.square(residual, dtype=float)
        self.every.append(np.nanmean(square, axis=(0, 1)))
        self.late.append(np.nanmean(square[self.validating], axis=0))


def fit_around_levels(panel: Panel, context: int, horizon: int, seed: int = 0) -> Linear:
    """Return for each neuron the autoregression around the level that suits it: training mean, last value, context or slow mean.

    A running level follows a drift, and the regression's constant extrapolates it. Orders and penalties are chosen for all neurons, the
    level for each by its held-out error over blocks; nothing here sees another neuron. So it is what a forecaster that finds relations
    between neurons has to beat where activity drifts.
    """
    n, c = panel.x.shape[1], Columns(context, horizon, min(max(ORDERS), context))
    origins, block = training_windows(panel, context, horizon)
    sample = np.sort(np.random.default_rng(seed).choice(n, min(n, SELECTION_NEURONS), replace=False))
    m = moments(panel, origins, block, c, neurons=sample)
    fits, every, late = [], [], []
    for reference in REFERENCES:
        member = choose_members(m, c, (reference,))[0]
        own = c._replace(order=member.order)
        plan = Plan(own, np.zeros((n, 0)), [member], np.ones((1, horizon)), np.zeros((1, horizon)))
        found = ByNeuron(panel.label[origins + 1] == VALIDATION)
        fits.append(fit_plan(plan, panel, {}, found)._replace(info=member._asdict()))
        every.append(np.concatenate(found.every))
        late.append(np.concatenate(found.late, axis=1))
    best, order = np.argmin(every, axis=0), max(f.map.columns.order for f in fits)
    own = np.stack([widened(f.map, order) for f in fits])[best, np.arange(n)]
    spread = probability.StudentT(
        *(
            np.stack([getattr(f.spread, k) for f in fits])[best, ..., np.arange(n)].T
            for k in probability.StudentT._fields
        )
    )
    errors = np.stack(late)[best, :, np.arange(n)].mean(0).tolist()
    levels = {f.info["reference"]: int((best == i).sum()) for i, f in enumerate(fits)}
    info = {"levels": levels, "held_out_mse": errors, "held_out_by": BY_FOLDS, "validation_mse": errors}
    return Linear(LinearMap(c._replace(order=order), own, np.zeros((0, n, horizon)), np.zeros((n, 0))), spread, info)


def widened(fitted: LinearMap, order: int) -> np.ndarray:
    """Return own weights (neuron, own, horizon) with zeros for lags up to ``order``."""
    have = fitted.columns.order
    return np.insert(fitted.own, [have] * (order - have), 0, axis=1)


def fit_plan(
    plan: Plan, panel: Panel, info: dict, projector: Callable[[slice, np.ndarray], None] | None = None
) -> Linear:
    """Return the mixture of a plan, fitted in one pass over chunks of neurons, with its spread from held-out residuals.

    ``projector`` collects the projected held-out residuals for a correction.
    """
    origins, _ = training_windows(panel, plan.columns.context, plan.columns.horizon)
    own, shared, spreads, errors, late = [], [], [], [], []
    validating = panel.label[origins + 1] == VALIDATION
    for part, u, v, residual in fit_chunks(plan, panel):
        own.append(u)
        shared.append(v)
        spreads.append(probability.fit_student_t(residual, origins))
        errors.append((part.stop - part.start, held_out_mse(residual)))
        late.append((part.stop - part.start, held_out_mse(residual[validating])))
        if projector is not None:
            projector(part, residual)
    fitted = LinearMap(plan.columns, np.concatenate(own), np.concatenate(shared, axis=1), plan.basis)
    info = {**info, "held_out_mse": mean_of(errors), "held_out_by": BY_FOLDS, "validation_mse": mean_of(late)}
    return Linear(fitted, probability.joined(spreads), info)


def mean_of(errors: list[tuple[int, list[float]]]) -> list[float]:
    """Return the mean error per horizon of chunks of (so many neurons, their error)."""
    return np.average([e for _, e in errors], axis=0, weights=[n for n, _ in errors]).tolist()


def fit_var(panel: Panel, context: int, horizon: int, seed: int) -> Linear:
    """Return the reduced-rank VAR (own lags and lags of latents), joint or sequential as cross-validation chooses."""
    panel = panel.without_behaviour()
    plan = plan_stack(panel, context, horizon, seed, choose_members=only_var)
    return fit_plan(plan, panel, plan.members[0]._asdict())


def only_var(m, c: Columns) -> list[Member]:
    """Return the AR+VAR member around the training mean (the AR member where there is but one neuron)."""
    return choose_members(m, c, ("mean",))[-3:-2]


def fit_own_mixture(panel: Panel, context: int, horizon: int, seed: int = 0) -> Linear:
    """Return the stack of what each neuron's own past says: autoregressions around four levels, the last value, the training mean.

    A slow level (bleaching, drift, 1/f noise) is followed best by a mixture of levels; without this baseline that would count as
    something found.
    """
    panel = panel.without_behaviour()
    plan = plan_stack(panel, context, horizon, seed, population=False)
    return fit_plan(plan, panel, {"members": [m._asdict() for m in plan.members]})


def fit_stack(
    panel: Panel, context: int, horizon: int, seed: int, projector: Callable[[slice, np.ndarray], None] | None = None
) -> Linear:
    """Return the stack; ``projector`` collects what it leaves for a correction."""
    plan = plan_stack(panel, context, horizon, seed)
    parts = zip(plan.members, plan.weights, plan.cv_mse)
    members = [m._asdict() | {"weight": w.round(4).tolist(), "cv_mse": e.tolist()} for m, w, e in parts]
    return fit_plan(plan, panel, {"members": members}, projector)


def constant(reference: str) -> Callable[[Panel, int, int, int], Linear]:
    """Return the fit of a forecaster that repeats a reference and needs none."""
    return lambda panel, context, horizon, seed: Linear(
        constant_map(panel.x.shape[1], context, horizon, reference), None, {}
    )


#: name -> fit(panel, context, horizon, seed)
CLOSED_FORM: dict[str, Callable[[Panel, int, int, int], Any]] = {
    "persistence": constant("last"),
    "mean": constant("mean"),
    "context-mean": constant("context"),
    "stimulus-mean": lambda panel, context, horizon, seed: fit_stimulus_mean(panel, context, horizon),
    "linear-regression": lambda panel, context, horizon, seed: fit_autoregression(
        panel, context, horizon, (context,), (1e-6,)
    ),
    "ar16": lambda panel, context, horizon, seed: fit_autoregression(panel, context, horizon, (16,), (1e-4,)),
    "ar": lambda panel, context, horizon, seed: fit_autoregression(panel, context, horizon, ORDERS, OWN_PENALTIES),
    "ar-drift": fit_around_levels,
    "ar-mixture": fit_own_mixture,
    "var": fit_var,
    "stack": fit_stack,
}


def fit_closed_form(name: str, panel: Panel, context: int, horizon: int, seed: int = 0) -> Any:
    """Return a fitted closed-form model by name (see ``CLOSED_FORM``)."""
    return CLOSED_FORM[name](panel, context, horizon, seed)
