"""What can a network add to the linear stack, and when must it keep silent?

The stack's held-out residuals are projected on an orthonormal output basis (principal directions of the activity). A small network
predicts these projections from delays of the population's latents. Two gates keep it from hurting: it opens only where the gain on
validation windows, summed over horizons, is beyond chance (one-sided 97.5 %, from blocks of time); and it is scaled at every frame by an online
coefficient, the moving average of <r, g> / <g, g> over frames already seen, so that it fades when the regime changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ..activity.windows import Panel, window_origins
from .forecaster import Linear, predict
from .linear import principal_basis, project
from .probability import StudentT
from .stack import CONFIDENCE, LATE_BLOCKS

GATE_FRAMES = 400
BODY_LATENTS, BODY_LAGS, OUTPUTS = 12, 16, 64


class Spaces(NamedTuple):
    """Projections of one recording: what the network sees and what it predicts."""

    inputs: np.ndarray  #: (neuron, latent), unit variance latents
    outputs: np.ndarray  #: (neuron, output), orthonormal
    ahead: int = 0  #: frames that what is known in advance is seen ahead


class Gate(NamedTuple):
    """What validation says about the correction."""

    is_open: bool
    gain: np.ndarray  #: (horizon,), validation gain in squared error per neuron
    standard_error: float  #: of the gain summed over horizons, from blocks of time
    shrink: np.ndarray  #: (horizon, output), 0 .. 1
    energy: np.ndarray  #: (horizon,), mean squared size of the shrunk correction, the weight of the online prior


def spaces(panel: Panel, seed: int, ahead: int = 0) -> Spaces:
    """Return input and output projections from the training and validation frames."""
    frames = np.flatnonzero(panel.usable & (panel.label >= 0) & (panel.label <= 1))
    basis = principal_basis(panel.x, frames, OUTPUTS, seed)
    return Spaces(basis[:, :BODY_LATENTS], np.linalg.qr(basis)[0], ahead)


class Projector:
    """Collects projected residuals while the stack hands out chunks of neurons; (window, horizon, output) at the end."""

    def __init__(self, basis: np.ndarray) -> None:
        self.basis, self.total = basis, np.zeros(())

    def __call__(self, neurons: slice, residual: np.ndarray) -> None:
        part = np.matmul(residual, self.basis[neurons].astype(np.float32))
        self.total = np.add(self.total, part, out=part)


def fit_gate(q: np.ndarray, g: np.ndarray, n_neurons: int, n_blocks: int = LATE_BLOCKS) -> Gate:
    """Return the gate from validation windows.

    Parameters
    ----------
    q : (window, horizon, output), projected residuals of the base.
    g : (window, horizon, output), the network's forecast of them.
    n_neurons : number of neurons, so that gains are per neuron.
    """
    shrink = np.clip((q * g).sum(0) / np.maximum((g * g).sum(0), 1e-12), 0, 1)
    block = np.arange(len(q)) * n_blocks // len(q)
    gain = np.empty((n_blocks, q.shape[1]))
    for b in range(n_blocks):
        rest, here = block != b, block == b
        other = np.clip((q[rest] * g[rest]).sum(0) / np.maximum((g[rest] * g[rest]).sum(0), 1e-12), 0, 1)
        scaled = g[here] * other
        gain[b] = (2 * q[here] * scaled - scaled**2).sum(2).mean(0) / n_neurons
    summed = gain.sum(1)
    error = summed.std(ddof=1) / np.sqrt(n_blocks)
    opens = summed.mean() > stats.t.ppf(CONFIDENCE, n_blocks - 1) * error
    return Gate(bool(opens), gain.mean(0), float(error), shrink, ((g * shrink) ** 2).sum(2).mean(0))


def online_coefficient(
    q: np.ndarray, g: np.ndarray, origins: np.ndarray, n_time: int, energy: np.ndarray
) -> np.ndarray:
    """Return the causal coefficient of each window and horizon, (window, horizon), between 0 and 1.

    At origin ``t`` the products of a forecast of horizon ``h`` are known when its target is: its origin is ``t - h`` or earlier.
    The average starts from a prior worth ``GATE_FRAMES / 4`` frames of ``energy`` at full trust.
    """
    keep, horizon = 1 - 1 / GATE_FRAMES, q.shape[1]
    top, below = (q * g).sum(2), (g * g).sum(2)
    row = np.full(n_time, -1)
    row[origins] = np.arange(len(origins))
    out = np.ones((len(origins), horizon))
    for h in range(horizon):
        a = b = energy[h] / 4
        for t in range(origins[0], origins[-1] + 1):
            known = row[t - h - 1] if t - h - 1 >= 0 else -1
            if known >= 0:
                a, b = keep * a + (1 - keep) * top[known, h], keep * b + (1 - keep) * below[known, h]
            if row[t] >= 0:
                out[row[t], h] = min(max(a / max(b, 1e-12), 0.0), 1.0)
    return out


def inputs_of(panel: Panel, s: Spaces) -> np.ndarray:
    """Return what the network sees, (time, latent [+ input]) float32; unobserved frames hold zeros and are in no window.

    Behaviour stands beside the latents; of what is known in advance, the frame of the last target.
    """
    parts = [project(panel.x, s.inputs), *([] if panel.inputs is None else [panel.inputs])]
    if panel.known is not None:
        parts.append(panel.known[np.minimum(np.arange(len(panel.x)) + s.ahead, len(panel.x) - 1)])
    return np.where(panel.usable[:, None], np.concatenate(parts, axis=1), 0).astype(np.float32)


class Corrected:
    """Ours: the stack, a network on latents, and the two gates of `correction`."""

    def __init__(self, base: Linear, s: Spaces, gate: Gate, net, recording: int = 0) -> None:
        self.base, self.spaces, self.gate, self.net, self.recording = base, s, gate, net, recording
        ratio = np.zeros(len(gate.gain)) if not gate.is_open else gate.gain
        assert base.spread is not None
        variance = (base.spread.scale**2 * base.spread.df / (base.spread.df - 2)).mean(1)
        self.spread = base.spread._replace(
            scale=base.spread.scale * np.sqrt(np.clip(1 - ratio / variance, 0.25, 1))[:, None]
        )
        self.info = {k: v for k, v in base.info.items() if k != "validation_mse"} | {  # that is the stack's
            "gate_open": gate.is_open,
            "gain": gate.gain.tolist(),
            "gain_standard_error": gate.standard_error,
        }

    def parts(self) -> dict[str, Any]:
        """Return what a model folder holds of it, by name."""
        return {"map": self.base.map, "base_spread": self.base.spread, "spaces": self.spaces, "gate": self.gate}

    def nets(self) -> dict[str, Any]:
        """Return its networks by name."""
        return {"net": self.net}

    @classmethod
    def from_parts(cls, parts: Mapping, nets: Mapping, spread: StudentT, info: dict, recording: int) -> Corrected:
        """Return the forecaster that `parts` came from."""
        base = Linear(parts["map"], parts["base_spread"], info)
        return cls(base, parts["spaces"], parts["gate"], nets["net"], recording)

    def raw_correction(self, panel: Panel, origins: np.ndarray) -> np.ndarray:
        """Return the network's output times the validation shrinkage, (window, horizon, output)."""
        return predict(self.net, inputs_of(panel, self.spaces), origins, self.recording) * self.gate.shrink

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
        a = online_coefficient(
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
