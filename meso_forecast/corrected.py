"""Ours: the stack, a network on the population's latents, and the two gates of `correction`."""

from __future__ import annotations

import numpy as np

from . import correction
from .linear import project
from .model import Linear, predict
from .windows import Panel, window_origins


class Corrected:
    """Ours: the stack, a network on latents, and the two gates of `correction`."""

    def __init__(self, base: Linear, s: correction.Spaces, gate: correction.Gate, net, recording: int = 0) -> None:
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


def projected_residuals(model: Corrected, panel: Panel, origins: np.ndarray) -> np.ndarray:
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
    if not len(origins):
        return np.empty((0, model.base.map.columns.horizon, outputs.shape[1]))
    chunks = (origins[i : i + chunk] for i in range(0, len(origins), chunk))
    return np.concatenate([np.matmul(model.base.forecast(panel, rows), outputs) for rows in chunks])
