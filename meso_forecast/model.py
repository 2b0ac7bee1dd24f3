"""What is a forecaster? Something that fits a panel and then forecasts from any origin, seeing nothing later than it.

Every model here returns point forecasts (window, horizon, neuron) and, through `Probabilistic`, a student-t around them. Models
fitted in closed form use training and validation windows; networks train on the first and stop on the second.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from . import correction, probability
from .linear import Columns, LinearMap, design, moments, project, raw_weights, reduce, take_blocks
from .stack import (
    FIT_NEURONS,
    ORDERS,
    OWN_PENALTIES,
    Member,
    Plan,
    choose,
    choose_members,
    fit_chunks,
    plan_stack,
    row_chunks,
    training_windows,
)
from .windows import Panel, gather, window_origins

CLOSED_FORM = (
    "persistence",
    "mean",
    "context-mean",
    "stimulus-mean",
    "linear-regression",
    "ar",
    "ar16",
    "var",
    "stack",
)
TRAINED = ("nlinear", "dlinear", "informer", "informer-hf", "autoformer-hf")
MODELS = (*CLOSED_FORM, *TRAINED)


class Forecaster(Protocol):
    """What every model can do."""

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return point forecasts (window, horizon, neuron) float32."""


class Forecast(NamedTuple):
    """A probabilistic forecast on some windows."""

    mean: np.ndarray  #: (window, horizon, neuron)
    scale: np.ndarray  #: (window, horizon, neuron), of the student-t
    df: np.ndarray  #: (horizon, neuron), or the shape of ``mean``


class Linear(NamedTuple):
    """Any linear forecaster."""

    map: LinearMap
    info: dict[str, Any]

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return forecasts of the frames after ``origins``."""
        return self.map.forecast(panel.x, panel.usable, origins)


class StimulusMean(NamedTuple):
    """The mean future given the stimulus that is on at the origin."""

    means: np.ndarray  #: (stimulus, horizon, neuron)
    stimuli: np.ndarray  #: (stimulus,)
    overall: np.ndarray  #: (horizon, neuron), where the stimulus was never seen in training

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return the mean future of each origin's stimulus."""
        seen = np.zeros(len(panel.x), int) if panel.stimulus is None else panel.stimulus
        out = np.repeat(self.overall[None], len(origins), 0)
        for s, m in zip(self.stimuli, self.means):
            out[seen[origins] == s] = m
        return out.astype(np.float32)


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


def fit_stimulus_mean(panel: Panel, context: int, horizon: int, least: int = 20) -> StimulusMean:
    """Return the mean future for each stimulus with at least ``least`` training windows."""
    origins = window_origins(panel.usable, panel.label, (0, 1), context, horizon)
    seen = np.zeros(len(panel.x), int) if panel.stimulus is None else panel.stimulus
    labels, counts = np.unique(seen[origins], return_counts=True)
    stimuli = labels[counts >= least]

    def mean(chosen: np.ndarray) -> np.ndarray:
        return np.stack([panel.x[chosen + h].mean(0, dtype=float) for h in range(1, horizon + 1)])

    return StimulusMean(np.stack([mean(origins[seen[origins] == s]) for s in stimuli]), stimuli, mean(origins))


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
    plan = Plan(
        c, np.zeros((panel.x.shape[1], 0)), [member], np.ones((1, horizon)), np.zeros((1, horizon)), np.zeros(horizon)
    )
    return Linear(refit(plan, panel), {"order": member.order, "own_penalty": member.own_penalty})


def refit(plan: Plan, panel: Panel) -> LinearMap:
    """Return the mixture of a plan fitted on training and validation windows, edges of blocks included."""
    c, own, shared = plan.columns, [], []
    origins = window_origins(panel.usable, panel.label, (0, 1), c.context, c.horizon)
    latents = project(panel.x, plan.basis) if c.rank else None
    for part in row_chunks(panel.x.shape[1], FIT_NEURONS):
        m = moments(panel, origins, np.zeros(len(origins), int), c, latents, part)
        u = s = 0
        for member, w in zip(plan.members, plan.weights):
            d = member.design(c)
            a, b = raw_weights(d, *member.solve(take_blocks(reduce(m, d), [0]), c.n_own, c.horizon))
            u, s = u + w * a, s + w * b
        own.append(u)
        shared.append(s)
    return LinearMap(c, np.concatenate(own), np.concatenate(shared, axis=1), plan.basis)


def fit_var(panel: Panel, context: int, horizon: int, seed: int) -> Linear:
    """Return the reduced-rank VAR (own lags and lags of latents), joint or sequential as cross-validation chooses."""
    plan = plan_stack(panel, context, horizon, seed, choose_members=only_var)
    member = plan.members[0]
    return Linear(refit(plan, panel), member._asdict())


def only_var(m, c: Columns) -> list[Member]:
    """Return the AR+VAR member around the training mean (the AR member where there is but one neuron)."""
    return choose_members(m, c, ("mean",))[-3:-2]


class StackModel(NamedTuple):
    """The stack with its student-t from held-out residuals."""

    map: LinearMap
    spread: probability.StudentT
    info: dict[str, Any]

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return forecasts of the frames after ``origins``."""
        return self.map.forecast(panel.x, panel.usable, origins)


class HeldOut(NamedTuple):
    """What the stack's fit leaves for the correction: projected held-out residuals of every training window."""

    origins: np.ndarray
    projected: np.ndarray  #: (window, horizon, output), NaN rows on block edges


def fit_stack_model(panel: Panel, context: int, horizon: int, seed: int, s: correction.Spaces | None = None):
    """Return the stack and what it leaves for a correction (see `HeldOut`); one pass over chunks of neurons."""
    plan = plan_stack(panel, context, horizon, seed)
    origins, _ = training_windows(panel, context, horizon)
    projector = correction.Projector(s.outputs) if s is not None else None
    own, shared, spreads = [], [], []
    for part, u, v, residual in fit_chunks(plan, panel):
        own.append(u)
        shared.append(v)
        spreads.append(probability.fit_student_t(residual, origins))
        if projector is not None:
            projector(part, residual)
    spread = probability.StudentT(*(np.concatenate(f, axis=-1) for f in zip(*spreads)))
    fitted = LinearMap(plan.columns, np.concatenate(own), np.concatenate(shared, axis=1), plan.basis)
    info = {
        "members": [
            m._asdict() | {"weight": w.round(4).tolist(), "cv_mse": e.tolist()}
            for m, w, e in zip(plan.members, plan.weights, plan.cv_mse)
        ],
        "cv_mse": plan.cv_mse_stack.tolist(),
    }
    return StackModel(fitted, spread, info), HeldOut(origins, projector.total if projector is not None else np.zeros(0))


class Corrected:
    """Ours: the stack, a network on latents, and the two gates of `correction`."""

    def __init__(self, base: StackModel, s: correction.Spaces, gate: correction.Gate, net, recording: int = 0) -> None:
        self.base, self.spaces, self.gate, self.net, self.recording = base, s, gate, net, recording
        ratio = np.zeros(len(gate.gain)) if not gate.is_open else gate.gain
        variance = (base.spread.scale**2 * base.spread.df / (base.spread.df - 2)).mean(1)
        self.spread = base.spread._replace(
            scale=base.spread.scale * np.sqrt(np.clip(1 - ratio / variance, 0.25, 1))[:, None]
        )
        self.info = base.info | {
            "gate_open": gate.is_open,
            "gain": gate.gain.tolist(),
            "gain_standard_error": gate.standard_error,
        }

    def raw_correction(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return the network's output times the validation shrinkage, (window, horizon, output)."""
        return predict(self.net, correction.inputs_of(panel, self.spaces), origins, self.recording) * self.gate.shrink

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return forecasts of the frames after ``origins``; the coefficient at each origin comes from earlier frames only."""
        origins = np.asarray(origins)
        if not self.gate.is_open:
            return self.base.forecast(panel, origins)
        c = self.base.map.columns
        past = window_origins(panel.usable, np.zeros(len(panel.x), np.int8), 0, c.context, c.horizon)
        every = np.union1d(past[past < origins.max()], origins)
        g = self.raw_correction(panel, every)
        q = projected_residuals(self, panel, every)
        known = np.isfinite(q).all((1, 2))
        a = correction.online_coefficient(
            np.where(known[:, None, None], q, 0),
            np.where(known[:, None, None], g, 0),
            every,
            len(panel.x),
            self.gate.energy,
        )
        at = np.searchsorted(every, origins)
        out = self.base.forecast(panel, origins)
        out += np.matmul(g[at] * a[at][:, :, None], self.spaces.outputs.T).astype(np.float32)
        return out


def projected_residuals(model: Corrected, panel: Panel, origins: np.ndarray, chunk: int = 512) -> np.ndarray:
    """Return target minus base forecast on the output basis, NaN where a target is beyond the end or unobserved."""
    horizon, n_time = model.base.map.columns.horizon, len(panel.x)
    q = np.full((len(origins), horizon, model.spaces.outputs.shape[1]), np.nan)
    ahead = origins[:, None] + np.arange(1, horizon + 1)
    inside = ahead.max(1) < n_time
    inside[inside] = panel.usable[ahead[inside]].all(1)
    rows = np.flatnonzero(inside)
    y = project(panel.x, model.spaces.outputs)
    base = base_projection(model, panel, origins[rows])
    q[rows] = y[ahead[rows]] - base
    return q


def base_projection(model: Corrected, panel: Panel, origins: np.ndarray, chunk: int = 1024) -> np.ndarray:
    """Return the base forecast on the output basis, chunk by chunk of windows."""
    outputs = model.spaces.outputs.astype(np.float32)
    full = LinearMap(*model.base.map)
    parts = [
        np.matmul(full.forecast(panel.x, panel.usable, origins[i : i + chunk]), outputs)
        for i in range(0, len(origins), chunk)
    ]
    return np.concatenate(parts) if parts else np.empty((0, full.columns.horizon, outputs.shape[1]))


def predict(net, x: np.ndarray, origins: np.ndarray, recording: int = 0, batch: int = 1024) -> np.ndarray:
    """Return the network's output on every origin, (window, horizon, output) float64."""
    import torch

    lags = net.lags
    out = []
    with torch.inference_mode():
        for i in range(0, len(origins), batch):
            context = gather(x, origins[i : i + batch], 1 - lags, 0)
            out.append(net(torch.from_numpy(np.ascontiguousarray(context)), recording).numpy())
    return np.concatenate(out).astype(float)


class Network(NamedTuple):
    """A network on the activity itself (DLinear, NLinear)."""

    net: Any
    info: dict[str, Any]

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return forecasts of the frames after ``origins``."""
        return predict(self.net, panel.x, origins, batch=128).astype(np.float32)


def causal_spread(model, panel: Panel, origins: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the scale of each forecast: fitted spread times the causal scale of the model's own one-step errors.

    One-step errors of the 400 frames before the first origin are forecast too, so that the scale is warm.
    """
    context = model.context
    past = window_origins(panel.usable, np.zeros(len(panel.x), np.int8), 0, context, 1)
    warm = past[(past < origins[0]) & (past >= origins[0] - 400)]
    n_time = int(origins[-1]) + 2
    known = np.full((n_time, mean.shape[2]), np.nan, np.float32)
    if len(warm):
        known[warm + 1] = panel.x[warm + 1] - model.point.forecast(panel, warm)[:, 0]
    inside = origins[origins + 1 < len(panel.x)]
    inside = inside[panel.usable[inside + 1]]
    rows = np.searchsorted(origins, inside)
    known[inside + 1] = panel.x[inside + 1] - mean[rows, 0]
    return probability.window_scale(model.spread, known, origins)


class Probabilistic(NamedTuple):
    """A point forecaster with its spread."""

    point: Any
    spread: probability.StudentT
    context: int

    def forecast(self, panel: Panel, origins: np.ndarray) -> Forecast:
        """Return the probabilistic forecast of ascending origins."""
        mean = self.point.forecast(panel, origins)
        return Forecast(mean, causal_spread(self, panel, origins, mean), self.spread.df)


def with_spread(point, panel: Panel, context: int, horizon: int) -> Probabilistic:
    """Return a forecaster with a spread: its own (held-out residuals), else from its validation windows."""
    spread = getattr(point, "spread", None)
    if spread is None:
        origins = window_origins(panel.usable, panel.label, 1, context, horizon)
        residual = gather(panel.x, origins, 1, horizon) - point.forecast(panel, origins)
        spread = probability.fit_student_t(residual, origins)
    return Probabilistic(point, spread, context)


def fit_closed_form(name: str, panel: Panel, context: int, horizon: int, seed: int = 0):
    """Return a fitted closed-form model by name (see ``CLOSED_FORM``)."""
    n = panel.x.shape[1]
    references = {"persistence": "last", "mean": "mean", "context-mean": "context"}
    if name in references:
        return Linear(constant_map(n, context, horizon, references[name]), {})
    if name == "stimulus-mean":
        return fit_stimulus_mean(panel, context, horizon)
    if name == "linear-regression":
        return fit_autoregression(panel, context, horizon, (context,), (1e-6,))
    if name == "ar16":
        return fit_autoregression(panel, context, horizon, (16,), (1e-4,))
    if name == "ar":
        return fit_autoregression(panel, context, horizon, ORDERS, OWN_PENALTIES)
    if name == "var":
        return fit_var(panel, context, horizon, seed)
    if name == "stack":
        return fit_stack_model(panel, context, horizon, seed)[0]
    raise ValueError(f"no closed-form model '{name}'; there are {', '.join(CLOSED_FORM)}")
