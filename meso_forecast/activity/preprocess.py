"""How do raw traces become activity without looking ahead, and without holding the recording in memory?

F - neucoeff * Fneu, divided by a baseline that is causal (or from the training part only), in blocks of frames; then a scale for each
neuron that is fitted on the training part only. Every frame of the output depends on earlier frames and on training frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.signal import lfilter

from hdf5io.errors import InputError

from .traces import Readable, Traces
from .windows import TRAIN

BLOCK = 1024
QUANTILE_FRAMES = 4000
PERCENTILE_STEP = 16


class Rules(NamedTuple):
    """What is done to the traces."""

    signal: str = "dff"  #: dff, fluorescence (F - neucoeff Fneu), deconvolved
    neucoeff: float = 0.7
    baseline: str = (
        "maximin"  #: maximin (causal), percentile (causal, of the past), training (low percentile of the training part)
    )
    window_s: float = 60.0
    percentile: float = 10.0
    normalise: str = "zscore"  #: zscore, percentile (0 - 99.5), none
    smooth_s: float = 0.0  #: causal exponential smoothing; 0: none
    least_probability: float = 0.0


def observed(cells: list[Traces]) -> np.ndarray:
    """Return which frames each FOV observed, (time, fov) bool; a stale frame (a gap in the FOV's clock) is not observed."""
    columns = []
    for c in cells:
        period = np.median(np.diff(c.times))
        fresh = np.r_[True, np.diff(c.frame) > 0] | (period > 1e9)
        columns.append((c.frame >= 0) & ~c.bad_frames[np.maximum(c.frame, 0)] & fresh)
    return np.stack(columns, axis=1)


class Baseline:
    """Causal baseline of blocks in order; keeps only what one window needs, and does not depend on how frames are blocked.

    The trace is smoothed by an exponential mean of half a window first: a faster one would follow the noise, and the jitter of the
    baseline, shared by neighbouring frames, would make white noise look predictable.
    """

    def __init__(
        self, kind: str, window: int, percentile: float, fixed: np.ndarray | None = None, warm: int = 0
    ) -> None:
        self.kind, self.window, self.percentile, self.fixed, self.warm = kind, window, percentile, fixed, warm
        self.frame, self.memory = 0, {}

    def __call__(self, block: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """Return the baseline of each frame of the block, (time, neuron); bad frames do not enter it."""
        if self.kind == "training":
            return np.broadcast_to(self.fixed, block.shape)
        good = np.flatnonzero(~bad)
        before = self.memory.get("value", block[good[0] if len(good) else 0])
        filled = hold(block, bad, before)
        self.memory["value"] = filled[-1]
        if self.kind == "percentile":
            out = self.running(filled, "trace", None)
        else:
            out = self.running(
                self.running(self.smooth(filled), "trace", minimum_filter1d), "minimum", maximum_filter1d
            )
        self.frame += len(block)
        return out

    def smooth(self, block: np.ndarray) -> np.ndarray:
        """Return the exponential mean of the trace so far, without the bias of a start."""
        keep = 1 - 2 / self.window
        state = self.memory.get("mean", np.zeros(block.shape[1]))
        mean, _ = lfilter([1 - keep], [1, -keep], block.astype(float), axis=0, zi=keep * state[None])
        self.memory["mean"] = mean[-1]
        return mean / (1 - keep ** np.arange(self.frame + 1, self.frame + 1 + len(block)))[:, None]

    def running(self, block: np.ndarray, memory: str, filter1d) -> np.ndarray:
        """Return a running extreme (or a low percentile) over the last ``window`` frames."""
        past = self.memory.get(memory, block[:0])
        joined = np.concatenate([past, block])
        self.memory[memory] = joined[-(self.window + PERCENTILE_STEP) :]
        if filter1d is None:
            return causal_percentile(joined, len(past), self.frame, self.window, self.percentile)
        out = filter1d(joined, self.window, axis=0, mode="nearest", origin=(self.window - 1) // 2)
        return out[len(past) :]


def hold(block: np.ndarray, bad: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the block with bad frames replaced by the last good one (``before`` where there is none)."""
    last = np.maximum.accumulate(np.where(bad, -1, np.arange(len(block))))
    return np.where((last >= 0)[:, None], block[np.maximum(last, 0)], before)


def causal_percentile(x: np.ndarray, first: int, frame: int, window: int, percentile: float) -> np.ndarray:
    """Return the percentile of the last ``window`` frames of rows ``first ..``, computed at every 16th frame and held in between.

    ``frame`` is the number of row ``first`` in the recording, so that the held frames do not depend on the blocks.
    """
    frames = np.arange(frame, frame + len(x) - first)
    held = frames - frames % PERCENTILE_STEP
    rows = held - frame + first
    values = {r: np.percentile(x[max(0, r + 1 - window) : r + 1], percentile, axis=0) for r in np.unique(rows)}
    return np.stack([values[r] for r in rows])


def signal_of(c: Traces, rules: Rules) -> Readable:
    """Return the array that the activity comes from."""
    return c.deconvolved if rules.signal == "deconvolved" and c.deconvolved is not None else c.fluorescence


def corrected(c: Traces, rules: Rules, start: int, stop: int) -> np.ndarray:
    """Return F - neucoeff * Fneu (or deconvolved, or the activity as it is) on the common clock, (time, neuron) float32."""
    frame = c.frame[start:stop]
    first, last = int(frame[0]), int(frame[-1]) + 1
    if rules.signal == "deconvolved":
        if c.deconvolved is None:
            raise InputError(f"{c.where}: no deconvolved traces; use --signal dff.")
        return c.deconvolved.read(first, last, c.rois)[frame - first]
    x = c.fluorescence.read(first, last, c.rois)
    if not c.processed and rules.neucoeff:
        if c.neuropil is None:
            raise InputError(f"{c.where}: no neuropil traces; use --neucoeff 0 to go without.")
        x = x - np.float32(rules.neucoeff) * c.neuropil.read(first, last, c.rois)
    return x[frame - first]


class Survey(NamedTuple):
    """What one pass over the training part finds about each neuron of a FOV."""

    noise: np.ndarray  #: standard deviation of frame-to-frame differences / sqrt 2
    level: np.ndarray  #: median of the raw fluorescence (without neuropil correction)
    baseline: np.ndarray  #: low percentile over the training part
    constant: np.ndarray  #: bool
    broken: np.ndarray  #: bool, has a value that is not finite at an observed frame


def survey(c: Traces, rules: Rules, train: np.ndarray, seen: np.ndarray, smooth: bool = False) -> Survey:
    """Return noise, level and traps of each neuron of a FOV, from observed training frames (traps: from all frames).

    Blocks are read in order; at most ``QUANTILE_FRAMES`` evenly spaced training frames are kept for the quantiles.
    """
    n, chosen = len(c.rois), np.flatnonzero(train & seen)
    if len(chosen) < 100:
        raise InputError(f"{c.where}: only {len(chosen)} observed training frames; 100 are needed.")
    wanted = np.zeros(len(train), bool)
    wanted[chosen[:: -(-len(chosen) // QUANTILE_FRAMES)]] = True
    sample, square, count, broken = [], np.zeros(n), 0, np.zeros(n, bool)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    for start in range(0, len(train), BLOCK):
        rows = slice(start, min(start + BLOCK, len(train)))
        x = corrected(c, rules, rows.start, rows.stop)
        good = seen[rows]
        broken |= ~np.isfinite(x[~c.bad_frames[c.frame[rows]]]).all(0)
        fine = good & train[rows]
        raw = signal_of(c, rules).read(int(c.frame[rows][0]), int(c.frame[rows][-1]) + 1, c.rois)
        low, high = np.fmin(low, raw.min(0)), np.fmax(high, raw.max(0))
        both = fine[1:] & fine[:-1]
        square += (np.diff(x.astype(float), axis=0)[both] ** 2).sum(0)
        count += both.sum()
        sample.append(x[wanted[rows]])
    values = np.where(broken, 0, np.concatenate(sample))  # a broken neuron is dropped later
    noise = np.sqrt(square / max(count, 1) / 2)
    level = np.abs(np.nanmedian(values, axis=0))
    return Survey(
        noise,
        level,
        np.nanpercentile(values, rules.percentile, axis=0),
        high - low <= 1e-9 * np.maximum(1, np.abs(high)),
        broken,
    )


def floor_of(s: Survey) -> np.ndarray:
    """Return the least baseline that a trace is divided by: its noise, and a tenth of its level; always positive."""
    return np.maximum(np.maximum(3 * s.noise, 0.1 * s.level), 1e-6)


def warm_up(c: list[Traces], rules: Rules, n_time: int, dt_s: float) -> int:
    """Return how many first frames a running baseline needs: one window, at most 5 % of the recording; they are not observed."""
    if rules.signal != "dff" or rules.baseline == "training" or all(f.processed for f in c):
        return 0
    return min(round(rules.window_s / dt_s), n_time // 20)


def blocks(c: Traces, rules: Rules, s: Survey, seen: np.ndarray, dt_s: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield ``(frames, activity)`` of a FOV in order; unobserved frames hold NaN."""
    window = max(2, round(rules.window_s / dt_s))
    warm = warm_up([c], rules, len(seen), dt_s)
    floor, baseline = floor_of(s), Baseline(rules.baseline, window, rules.percentile, s.baseline, warm)
    keep = np.exp(-dt_s / rules.smooth_s) if rules.smooth_s > 0 else 0.0
    state = None
    for start in range(0, len(seen), BLOCK):
        rows = slice(start, min(start + BLOCK, len(seen)))
        x = corrected(c, rules, rows.start, rows.stop)
        bad = ~seen[rows] & (np.arange(rows.start, rows.stop) >= warm) | c.bad_frames[c.frame[rows]]
        x = np.where(np.isfinite(x), x, 0)
        if rules.signal == "dff" and not c.processed:
            f0 = baseline(x, bad)
            x = (x - f0) / np.maximum(f0, floor)
        if keep:
            state = x[0].astype(float) if state is None else state
            filled = hold(x, bad, state)
            x, _ = lfilter([1 - keep], [1, -keep], filled, axis=0, zi=keep * state[None])
            state = x[-1]
        x = x.astype(np.float32)
        x[~seen[rows]] = np.nan
        yield rows, x


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
