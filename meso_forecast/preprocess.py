"""How do raw traces become activity without looking ahead, and without holding the recording in memory?

F - neucoeff * Fneu, divided by a baseline that is causal (or from the training part only), in blocks of frames; then a scale for each
neuron that is fitted on the training part only. Every frame of the output depends on earlier frames and on training frames.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import h5py
import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.signal import lfilter

from hdf5io import InputError

from .fov import FOVData
from .session import MesoscopeSession
from .windows import TRAIN

log = logging.getLogger(__package__)
BLOCK = 1024
QUANTILE_FRAMES = 4000


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


class Cells(NamedTuple):
    """The neurons of one FOV that are kept."""

    fov: FOVData
    rois: np.ndarray
    frame: np.ndarray  #: (time,), frame of this FOV at each time of the common clock


def kept_cells(session: MesoscopeSession, clock: np.ndarray, least_probability: float) -> list[Cells]:
    """Return each FOV's cells with their frames on the common clock."""
    return [Cells(f, f.cells(least_probability), frame) for f, frame in zip(session.fovs, session.frames(clock))]


def observed(cells: list[Cells]) -> np.ndarray:
    """Return which frames each FOV observed, (time, fov) bool; a stale frame (a gap in the FOV's clock) is not observed."""
    columns = []
    for c in cells:
        period = np.median(np.diff(c.fov.times))
        fresh = np.r_[True, np.diff(c.frame) > 0] | (period > 1e9)
        columns.append((c.frame >= 0) & ~c.fov.bad_frames[np.maximum(c.frame, 0)] & fresh)
    return np.stack(columns, axis=1)


def gaps(clock: np.ndarray) -> np.ndarray:
    """Return the frames before which the clock jumps by more than 1.5 frame intervals, (time,) bool."""
    step = np.diff(clock)
    return np.r_[False, step > 1.5 * np.median(step)]


class Baseline:
    """Causal baseline of blocks in order; keeps only what one window needs."""

    def __init__(self, kind: str, window: int, percentile: float, fixed: np.ndarray | None = None) -> None:
        self.kind, self.window, self.percentile, self.fixed = kind, window, percentile, fixed
        self.smooth, self.past, self.past_minimum = None, None, None

    def __call__(self, block: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """Return the baseline of each frame of the block, (time, neuron); bad frames do not enter it."""
        if self.kind == "training":
            return np.broadcast_to(self.fixed, block.shape)
        keep = 1 - 1 / max(2.0, self.window / 12)
        start = block[~bad][:1] if (~bad).any() else block[:1]
        if self.smooth is None:
            self.smooth = start[0].astype(float)
        filled = hold(block, bad, self.smooth)
        smooth, _ = lfilter([1 - keep], [1, -keep], filled, axis=0, zi=keep * self.smooth[None])
        self.smooth = smooth[-1]
        lowest = self.running(smooth, "past", minimum_filter1d if self.kind == "maximin" else None)
        return self.running(lowest, "past_minimum", maximum_filter1d) if self.kind == "maximin" else lowest

    def running(self, block: np.ndarray, memory: str, filter1d) -> np.ndarray:
        """Return a running extreme (or a low percentile) over the last ``window`` frames."""
        past = getattr(self, memory)
        joined = block if past is None else np.concatenate([past, block])
        setattr(self, memory, joined[-(self.window - 1) :] if self.window > 1 else joined[:0])
        if filter1d is None:
            out = causal_percentile(joined, self.window, self.percentile)
        else:
            out = filter1d(joined, self.window, axis=0, mode="nearest", origin=(self.window - 1) // 2)
        return out[len(joined) - len(block) :]


def hold(block: np.ndarray, bad: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the block with bad frames replaced by the last good one (``before`` where there is none)."""
    last = np.maximum.accumulate(np.where(bad, -1, np.arange(len(block))))
    return np.where((last >= 0)[:, None], block[np.maximum(last, 0)], before)


def causal_percentile(x: np.ndarray, window: int, percentile: float, step: int = 16) -> np.ndarray:
    """Return the percentile of the last ``window`` frames, computed every ``step`` frames and held in between, (time, neuron)."""
    out = np.empty_like(x)
    for t in range(0, len(x), step):
        out[t : t + step] = np.percentile(x[max(0, t + 1 - window) : t + 1], percentile, axis=0)
    return out


def corrected(c: Cells, rules: Rules, start: int, stop: int) -> np.ndarray:
    """Return F - neucoeff * Fneu (or deconvolved, or the activity as it is) on the common clock, (time, neuron) float32."""
    frame = c.frame[start:stop]
    first, last = int(frame[0]), int(frame[-1]) + 1
    if rules.signal == "deconvolved":
        if c.fov.deconvolved is None:
            raise InputError(f"{c.fov.fluorescence} ({c.fov.name}): no deconvolved traces; use --signal dff.")
        return c.fov.deconvolved.read(first, last, c.rois)[frame - first]
    x = c.fov.fluorescence.read(first, last, c.rois)
    if not c.fov.processed and rules.neucoeff:
        if c.fov.neuropil is None:
            raise InputError(
                f"{c.fov.fluorescence} ({c.fov.name}): no neuropil traces; use --neucoeff 0 to go without."
            )
        x = x - np.float32(rules.neucoeff) * c.fov.neuropil.read(first, last, c.rois)
    return x[frame - first]


class Survey(NamedTuple):
    """What one pass over the training part finds about each neuron of a FOV."""

    noise: np.ndarray  #: standard deviation of frame-to-frame differences / sqrt 2
    level: np.ndarray  #: median of the raw fluorescence (without neuropil correction)
    baseline: np.ndarray  #: low percentile over the training part
    constant: np.ndarray  #: bool
    broken: np.ndarray  #: bool, has a value that is not finite at an observed frame


def survey(c: Cells, rules: Rules, train: np.ndarray, seen: np.ndarray, smooth: bool = False) -> Survey:
    """Return noise, level and traps of each neuron of a FOV, from observed training frames (traps: from all frames).

    Blocks are read in order; at most ``QUANTILE_FRAMES`` evenly spaced training frames are kept for the quantiles.
    """
    n, chosen = len(c.rois), np.flatnonzero(train & seen)
    if len(chosen) < 100:
        raise InputError(
            f"{c.fov.fluorescence} ({c.fov.name}): only {len(chosen)} observed training frames; 100 are needed."
        )
    wanted = np.zeros(len(train), bool)
    wanted[chosen[:: -(-len(chosen) // QUANTILE_FRAMES)]] = True
    sample, square, count, broken = [], np.zeros(n), 0, np.zeros(n, bool)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    for start in range(0, len(train), BLOCK):
        rows = slice(start, min(start + BLOCK, len(train)))
        x = corrected(c, rules, rows.start, rows.stop)
        good = seen[rows]
        broken |= ~np.isfinite(x[good]).all(0)
        fine = good & train[rows]
        if fine.any():
            low, high = np.minimum(low, x[fine].min(0)), np.maximum(high, x[fine].max(0))
        both = fine[1:] & fine[:-1]
        square += (np.diff(x.astype(float), axis=0)[both] ** 2).sum(0)
        count += both.sum()
        sample.append(x[wanted[rows]])
    values = np.concatenate(sample)
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


def blocks(c: Cells, rules: Rules, s: Survey, seen: np.ndarray, dt_s: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield ``(frames, activity)`` of a FOV in order; unobserved frames hold NaN."""
    window = max(2, round(rules.window_s / dt_s))
    floor, baseline = floor_of(s), Baseline(rules.baseline, window, rules.percentile, s.baseline)
    keep = np.exp(-dt_s / rules.smooth_s) if rules.smooth_s > 0 else 0.0
    state = None
    for start in range(0, len(seen), BLOCK):
        rows = slice(start, min(start + BLOCK, len(seen)))
        x, bad = corrected(c, rules, rows.start, rows.stop), ~seen[rows]
        x = np.where(np.isfinite(x), x, 0)
        if rules.signal == "dff" and not c.fov.processed:
            f0 = baseline(x, bad)
            x = (x - f0) / np.maximum(f0, floor)
        if keep:
            state = x[0].astype(float) if state is None else state
            filled = hold(x, bad, state)
            x, _ = lfilter([1 - keep], [1, -keep], filled, axis=0, zi=keep * state[None])
            state = x[-1]
        x = x.astype(np.float32)
        x[bad] = np.nan
        yield rows, x


class Scale(NamedTuple):
    """Activity = (dF/F - offset) / scale, fitted on the training part."""

    offset: np.ndarray
    scale: np.ndarray


def fit_scale(data: h5py.Dataset, columns: slice, fit_rows: np.ndarray, how: str) -> Scale:
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
