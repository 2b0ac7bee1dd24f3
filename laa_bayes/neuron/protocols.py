"""Which current is injected? Built-in and user-made protocols as arrays on the recording grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..config import Segment


def current_from_segments(segments: Sequence[Segment], duration_ms: float, dt_ms: float) -> np.ndarray:
    """Return the current of a protocol on the grid t = 0, dt, 2 dt, ...; later segments replace earlier ones.

    Sample i holds from t_i to t_(i+1).

    Returns
    -------
    array (n_time,) in the unit of the segments' amplitudes
    """
    time_ms = np.arange(round(duration_ms / dt_ms)) * dt_ms
    current = np.zeros(len(time_ms))
    for segment in segments:
        inside = (time_ms >= segment.start_ms - 1e-9) & (time_ms < segment.stop_ms - 1e-9)
        current[inside] = _values(segment, time_ms[inside], dt_ms)
    return current


def _values(segment: Segment, time_ms: np.ndarray, dt_ms: float) -> np.ndarray | float:
    """Return the current of one segment at the given times."""
    if segment.kind == "step":
        return segment.amplitude
    if segment.kind == "ramp":
        share = (time_ms - segment.start_ms) / (segment.stop_ms - segment.start_ms)
        return segment.amplitude + share * (segment.end_amplitude - segment.amplitude)
    return ornstein_uhlenbeck(len(time_ms), dt_ms, segment)


def ornstein_uhlenbeck(n_time: int, dt_ms: float, segment: Segment) -> np.ndarray:
    """Return stationary Ornstein-Uhlenbeck noise (exact update; Gillespie 1996), frozen by the segment's own seed."""
    rng = np.random.default_rng(segment.noise_seed)
    decay = np.exp(-dt_ms / segment.tau_ms)
    kicks = rng.standard_normal(n_time)
    x = np.empty(n_time)
    state = kicks[0] if n_time else 0.0
    for i in range(n_time):
        x[i] = state
        state = decay * state + np.sqrt(1 - decay**2) * kicks[(i + 1) % n_time]
    return segment.amplitude + segment.sd * x


def constant_stretches(current: np.ndarray, tolerance: float = 1e-6, shortest: int = 0) -> list[tuple[int, int]]:
    """Return (start, stop) of every maximal stretch of constant current of ``shortest`` samples or more, as half-open sample ranges."""
    scale = max(float(np.max(np.abs(current), initial=0.0)), 1e-12)
    edges = np.flatnonzero(np.abs(np.diff(current)) > tolerance * scale) + 1
    bounds = np.concatenate([[0], edges, [len(current)]])
    long = np.flatnonzero(np.diff(bounds) >= shortest)
    return list(zip(bounds[long].tolist(), bounds[long + 1].tolist(), strict=True))


def idealised(current: np.ndarray, dt_ms: float, window_ms: float = 4.0) -> np.ndarray:
    """Return a current in which every constant stretch is exactly constant, as its command was before it was recorded.

    A command (most samples repeat the one before) is returned as it is. In a recorded current a step is where the means of the
    ``window_ms`` before and after differ by six standard errors and by 5 % of the range; a stretch between two steps that does not
    drift becomes its median. What drifts (a ramp) stays as it was recorded.
    """
    if len(current) < 3 or np.mean(np.diff(current) == 0) > 0.5:
        return current
    w = max(3, round(window_ms / dt_ms))
    noise = 1.4826 * np.median(np.abs(np.diff(current))) / np.sqrt(2)
    means = ndimage.uniform_filter1d(current, w, mode="nearest")
    ahead = np.roll(means, -((w + 1) // 2))
    behind = np.roll(means, (w + 1) // 2)
    jump = np.abs(ahead - behind)
    jump[:w] = jump[len(jump) - w :] = 0.0
    least = max(6 * noise * np.sqrt(2 / w), 0.05 * float(np.ptp(means)), 1e-12)
    above = np.flatnonzero(jump > least)
    groups = np.split(above, np.flatnonzero(np.diff(above) > 1) + 1) if len(above) else []
    edges = [int(group[np.argmax(jump[group])]) for group in groups]
    ideal = np.array(current, float)
    for start, stop in zip([0, *edges], [*edges, len(current)], strict=True):
        part = current[start:stop]
        margin = min(w // 2, len(part) // 4)
        inner = part[margin : len(part) - margin] if margin else part
        quarter = max(1, len(inner) // 4)
        drift = abs(np.mean(inner[:quarter]) - np.mean(inner[-quarter:]))
        if drift <= max(least, 6 * noise * np.sqrt(2 / quarter)):
            ideal[start:stop] = np.median(inner)
    return ideal
