"""When was activity observed? Time is a set of intervals: a pause in a clock, a bad frame or an empty one ends what windows may span.

A step of a clock of more than one and a half frame intervals is a *gap*: its first frame counts as not observed, so no window and no slow
mean crosses it. A gap of more than a second is a *pause*: running baselines and filters start anew after it.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from .traces import Traces
from .windows import GAP_INTERVALS, frame_interval

PAUSE_S = 1.0
MANY_GAPS = 0.05


class Observed(NamedTuple):
    """Which frames each FOV observed."""

    good: np.ndarray  #: (time, fov) bool
    pause: np.ndarray  #: (time, fov) bool, first frame after a pause
    counts: list[dict[str, int]]  #: for each FOV how many frames were not observed, and why
    pauses: list[dict[str, Any]]  #: fov, after_s, length_s


def observed(cells: list[Traces], clock: np.ndarray) -> Observed:
    """Return which frames each FOV observed, and why not; a stale frame (the FOV has no new one) is not observed."""
    good, pause, counts, pauses = [], [], [], []
    period = frame_interval(clock)
    for c in cells:
        frame = np.maximum(c.frame, 0)
        step = np.diff(c.times[frame], prepend=np.nan)
        own = frame_interval(c.times)
        gap = step > GAP_INTERVALS * max(own, period)
        stale = np.r_[False, np.diff(frame) == 0] | (c.frame < 0)
        bad = c.bad_frames[frame] & ~stale
        long = gap & (step > PAUSE_S + max(own, period))
        good.append(~(stale | bad | gap))
        pause.append(long)
        counts.append({"bad": int(bad.sum()), "after a gap": int((gap & ~bad).sum()), "stale": int(stale.sum())})
        pauses += [
            {"fov": c.name, "after_s": float(c.times[frame[i - 1]]), "length_s": float(step[i])}
            for i in np.flatnonzero(long)
        ]
    return Observed(np.stack(good, axis=1), np.stack(pause, axis=1), counts, pauses)


def segments(pause: np.ndarray) -> list[slice]:
    """Return the frames between pauses of one FOV.

    >>> segments(np.array([0, 0, 1, 0], bool))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    edges = np.unique(np.r_[0, np.flatnonzero(pause), len(pause)])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def warmed(pause: np.ndarray, warm: int) -> np.ndarray:
    """Return which frames of a FOV a running baseline has seen enough for, (time,) bool.

    The first ``warm`` frames of a segment, at most half of it, are not.
    """
    ready = np.ones(len(pause), bool)
    for s in segments(pause):
        ready[s.start : s.start + min(warm, (s.stop - s.start) // 2)] = False
    return ready
