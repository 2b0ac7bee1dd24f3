"""Which current is injected? Built-in and user-made protocols as arrays on the recording grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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


def constant_stretches(current: np.ndarray, tolerance: float = 1e-6) -> list[tuple[int, int]]:
    """Return (start, stop) of every maximal stretch of constant current, as half-open sample ranges."""
    scale = max(float(np.max(np.abs(current), initial=0.0)), 1e-12)
    edges = np.flatnonzero(np.abs(np.diff(current)) > tolerance * scale) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(current)], strict=True))
