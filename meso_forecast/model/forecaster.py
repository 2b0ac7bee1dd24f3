"""What is a forecaster? Something that was fitted on a panel and forecasts from any origin, seeing nothing later than it.

Every model returns point forecasts (window, horizon, neuron) and, through `Probabilistic`, a student-t around them. Models in closed
form are fitted on training and validation windows, their spread comes from folds that did not see the window; networks train on the
first part and stop on the second, their spread comes from the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..activity.windows import VALIDATION, Panel, gather, release, window_origins
from . import probability
from .linear import LinearMap
from .probability import StudentT

SPREAD_BYTES = 2**26


class Forecast(NamedTuple):
    """A probabilistic forecast on some windows."""

    mean: np.ndarray  #: (window, horizon, neuron)
    scale: np.ndarray  #: (window, horizon, neuron), of the student-t
    df: np.ndarray  #: (horizon, neuron), or the shape of ``mean``


class Linear(NamedTuple):
    """Any linear forecaster."""

    map: LinearMap
    spread: StudentT | None
    info: dict[str, Any]

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return forecasts of the frames after ``origins``."""
        return self.map.forecast(panel, origins)

    def parts(self) -> dict[str, Any]:
        """Return what a model folder holds of it, by name."""
        return {"map": self.map}

    def nets(self) -> dict[str, Any]:
        """Return its networks by name."""
        return {}

    @classmethod
    def from_parts(cls, parts: Mapping, nets: Mapping, spread: StudentT, info: dict, recording: int) -> Linear:
        """Return the forecaster that `parts` came from."""
        return cls(parts["map"], spread, info)


class StimulusMean(NamedTuple):
    """The mean future given the stimulus that is on at the origin."""

    means: np.ndarray  #: (stimulus, horizon, neuron)
    stimuli: np.ndarray  #: (stimulus,)
    overall: np.ndarray  #: (horizon, neuron), where the stimulus was never seen in training
    spread: StudentT | None
    info: dict[str, Any]

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return the mean future of each origin's stimulus."""
        seen = np.zeros(len(panel.x), int) if panel.stimulus is None else panel.stimulus
        out = np.repeat(self.overall[None], len(origins), 0)
        for s, m in zip(self.stimuli, self.means):
            out[seen[origins] == s] = m
        return out.astype(np.float32)

    def parts(self) -> dict[str, Any]:
        """Return what a model folder holds of it, by name."""
        return {"means": self._replace(spread=None, info={})}

    def nets(self) -> dict[str, Any]:
        """Return its networks by name."""
        return {}

    @classmethod
    def from_parts(cls, parts: Mapping, nets: Mapping, spread: StudentT, info: dict, recording: int) -> StimulusMean:
        """Return the forecaster that `parts` came from."""
        return parts["means"]._replace(spread=spread, info=info)


class Network(NamedTuple):
    """A network on the activity itself (DLinear, NLinear, the rivals)."""

    net: Any
    spread: StudentT | None
    info: dict[str, Any]
    recording: int = 0  #: which of the recordings that share the network

    def forecast(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return forecasts of the frames after ``origins``."""
        return predict(self.net, panel.x, origins, self.recording, batch=128).astype(np.float32)

    def parts(self) -> dict[str, Any]:
        """Return what a model folder holds of it, by name."""
        return {}

    def nets(self) -> dict[str, Any]:
        """Return its networks by name."""
        return {"net": self.net}

    @classmethod
    def from_parts(cls, parts: Mapping, nets: Mapping, spread: StudentT, info: dict, recording: int) -> Network:
        """Return the forecaster that `parts` came from."""
        return cls(nets["net"], spread, info, recording)


def predict(net, x: np.ndarray, origins: np.ndarray, recording: int = 0, batch: int = 1024) -> np.ndarray:
    """Return the network's output on every origin, (window, horizon, output) float64."""
    import torch

    lags = net.lags
    out = []
    with torch.inference_mode():
        for i in range(0, len(origins), batch):
            context = gather(x, origins[i : i + batch], 1 - lags, 0)
            out.append(net(torch.from_numpy(np.ascontiguousarray(context)), recording).numpy())
            release(x)
    return np.concatenate(out).astype(float)


class Probabilistic(NamedTuple):
    """A point forecaster with its spread."""

    point: Any
    spread: probability.StudentT
    context: int

    def forecast(self, panel: Panel, origins: np.ndarray) -> Forecast:
        """Return the probabilistic forecast of ascending origins."""
        mean = self.point.forecast(panel, origins)
        return Forecast(mean, causal_spread(self, panel, origins, mean), self.spread.df)


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


def with_spread(point, panel: Panel, context: int, horizon: int) -> Probabilistic:
    """Return a forecaster with a spread: its own, else one from its errors in the last validation windows that fit in memory."""
    if point.spread is None:
        origins = window_origins(panel.usable, panel.label, VALIDATION, context, horizon)
        last = origins[-max(64, SPREAD_BYTES // (4 * horizon * panel.x.shape[1])) :]
        residual = gather(panel.x, last, 1, horizon) - point.forecast(panel, last)
        found = {"held_out_mse": held_out_mse(residual), "held_out_by": "validation part"}
        found["validation_mse"] = validation_mse(point, panel, origins, horizon, last, residual)
        point = point._replace(spread=probability.fit_student_t(residual, last), info=point.info | found)
    return Probabilistic(point, point.spread, context)


def validation_mse(
    point, panel: Panel, origins: np.ndarray, horizon: int, last: np.ndarray, residual: np.ndarray
) -> list[float]:
    """Return the error per horizon on all validation windows; ``residual`` is that of the ``last`` of them."""
    total, step = np.square(residual, dtype=float).sum((0, 2)), len(last)
    for start in range(0, len(origins) - len(last), step):
        rows = origins[start : min(start + step, len(origins) - len(last))]
        error = gather(panel.x, rows, 1, horizon) - point.forecast(panel, rows)
        total += np.square(error, dtype=float).sum((0, 2))
    return (total / max(len(origins) * panel.x.shape[1], 1)).tolist()


def held_out_mse(residual: np.ndarray) -> list[float]:
    """Return the mean squared error per horizon of residuals (window, horizon, neuron); NaN is left out."""
    return [float(np.nanmean(np.square(residual[:, h], dtype=float))) for h in range(residual.shape[1])]
