"""How do raw traces become activity without looking ahead, and without holding the recording in memory?

F - neucoeff * Fneu, divided by a baseline that is causal (or from the training part only), in blocks of frames; then a scale for each
neuron that is fitted on the training part only. Every frame of the output depends on earlier frames and on training frames; running
baselines and filters start anew after a pause.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from .baseline import Baseline, hold
from .observed import segments
from .reading import BLOCK, QUANTILE_FRAMES, Rules, raw_and_corrected
from .survey import Survey, floor_of
from .traces import Traces
from .windows import TRAIN

LONG_WINDOW = 1 / 3  #: of the longest segment; a baseline with a longer window never settles


def has_baseline(c: Traces, rules: Rules) -> bool:
    """Return whether activity is divided by a running baseline."""
    return rules.signal == "dff" and rules.baseline != "training" and not c.processed


def warm_up(c: Traces, rules: Rules, n_time: int, dt_s: float) -> int:
    """Return how many first frames a running baseline needs: one window, at most 5 % of the recording; they are not observed."""
    return min(round(rules.window_s / dt_s), n_time // 20) if has_baseline(c, rules) else 0


def pieces(pause: np.ndarray) -> Iterator[tuple[slice, bool]]:
    """Yield blocks of frames in order, none across a pause, and whether a segment begins with it."""
    for s in segments(pause):
        for start in range(s.start, s.stop, BLOCK):
            yield slice(start, min(start + BLOCK, s.stop)), start == s.start


class Counted:
    """How often the baseline lay below the floor (so that dF/F was dF over a constant), by neuron."""

    def __init__(self, n: int) -> None:
        self.below, self.frames = np.zeros(n, int), 0

    def share(self) -> np.ndarray:
        """Return the share of observed frames, (neuron,)."""
        return self.below / max(self.frames, 1)


def blocks(
    c: Traces, rules: Rules, s: Survey, good: np.ndarray, pause: np.ndarray, seen: np.ndarray, dt_s: float, counted: Counted
) -> Iterator[tuple[slice, np.ndarray]]:  # fmt: skip
    """Yield ``(frames, activity)`` of a FOV in order; unobserved frames hold NaN.

    Parameters
    ----------
    good, pause, seen : (time,) bool of this FOV: observed, first after a pause, observed with a warm baseline.
    counted : collects how often the baseline lay below the floor.
    """
    window = max(2, round(rules.window_s / dt_s))
    floor, baseline = floor_of(s), Baseline(rules.baseline, window, rules.percentile, s.baseline)
    keep = np.exp(-dt_s / rules.smooth_s) if rules.smooth_s > 0 else 0.0
    state = None
    for rows, begins in pieces(pause):
        if begins:
            baseline.restart()
            state = None
        _, x = raw_and_corrected(c, rules, rows.start, rows.stop)
        x, bad = np.where(np.isfinite(x), x, 0), ~good[rows]
        if rules.signal == "dff" and not c.processed:
            f0 = baseline(x, bad)
            counted.below += (f0 < floor)[seen[rows]].sum(0)
            counted.frames += int(seen[rows].sum())
            x = (x - f0) / np.maximum(f0, floor)
        if keep:
            state = x[0].astype(float) if state is None else state
            filled = hold(x, bad, state)
            x, _ = lfilter([1 - keep], [1, -keep], filled, axis=0, zi=keep * state[None])
            state = x[-1]
        x = x.astype(np.float32)
        x[~seen[rows]] = np.nan
        yield rows, x


def complaints(c: Traces, rules: Rules, pause: np.ndarray, dt_s: float) -> list[str]:
    """Return what a user must know of the baseline's window."""
    if not has_baseline(c, rules):
        return []
    window = round(rules.window_s / dt_s)
    longest = max(s.stop - s.start for s in segments(pause))
    if window <= LONG_WINDOW * longest:
        return []
    return [
        f"{c.where}: the baseline's window of {rules.window_s:g} s is {window} frames, the longest stretch without a pause has"
        f" {longest}: F0 does not settle. Give a shorter --window-s, or --baseline training"
    ]


class Scale(NamedTuple):
    """Activity = (dF/F - offset) / scale, fitted on the training part."""

    offset: np.ndarray
    scale: np.ndarray


def fit_scale(data, columns: slice, fit_rows: np.ndarray, how: str) -> Scale:
    """Return each neuron's offset and scale from observed training frames of the file.

    ``zscore``: mean and standard deviation over all of them; ``percentile``: minimum and 99.5th percentile minus minimum over at
    most ``QUANTILE_FRAMES`` evenly spaced ones, as in the original.
    """
    n = columns.stop - columns.start
    if how == "none":
        return Scale(np.zeros(n), np.ones(n))
    wanted = np.flatnonzero(fit_rows)
    wanted = wanted[:: -(-len(wanted) // QUANTILE_FRAMES)] if how == "percentile" else wanted
    total, square, kept = np.zeros(n), np.zeros(n), []
    for start in range(0, len(fit_rows), BLOCK):
        here = wanted[(wanted >= start) & (wanted < start + BLOCK)] - start
        x = data[start : start + BLOCK, columns][here].astype(float)
        if how == "percentile":
            kept.append(x.astype(np.float32))
        total, square = total + x.sum(0), square + (x**2).sum(0)
    if how == "percentile":
        values = np.concatenate(kept)
        low = values.min(0)
        return Scale(low, np.maximum(np.percentile(values, 99.5, axis=0) - low, 1e-6))
    mean = total / len(wanted)
    return Scale(mean, np.sqrt(np.maximum(square / len(wanted) - mean**2, 1e-12)))


def training_rows(label: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the frames that fitted statistics may use, (time,) bool."""
    return (label == TRAIN) & seen
