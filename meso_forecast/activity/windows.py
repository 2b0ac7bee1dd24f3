"""Which windows may be forecast, and how are they gathered fast?

A window has an origin ``t``, the last frame that is seen: its context is ``t - context + 1 .. t``, its targets are
``t + 1 .. t + horizon``. It exists only where every one of these frames was observed (no window crosses a gap) and where all
targets belong to one part of the split. Contexts may reach back over the edge of a part; targets never do, which leaves a gap
of one horizon between the targets of two parts.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

import numpy as np

TRAIN, VALIDATION, TEST = 0, 1, 2
GAP_INTERVALS = 1.5  #: a longer step, in frame intervals, is a gap
ROUNDED = 1e-3  #: by which the mean step of a clock that was not rounded may differ from the median
PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


class Panel(NamedTuple):
    """One recording as every model sees it."""

    x: np.ndarray  #: (time, neuron) float32, normalised activity; any value where not ``usable``
    usable: np.ndarray  #: (time,) bool, frames observed in every field of view
    label: np.ndarray  #: (time,) int8, part of the split that a target of this frame belongs to
    dt_s: float = 0.2  #: frame interval
    stimulus: np.ndarray | None = None  #: (time,) int, stimulus on each frame, 0 for none
    inputs: np.ndarray | None = None  #: (time, input) behaviour that forecasters see up to the origin, unit variance
    known: np.ndarray | None = None  #: (time, stimulus) what is known in advance, seen up to the last target

    def without_behaviour(self) -> Panel:
        """Return the panel as forecasters see it that know of activity alone."""
        return self._replace(inputs=None, known=None)


def frame_interval(times: np.ndarray) -> float:
    """Return how long a frame lasts by its clock: the median step, or the mean of steps without a gap where the clock was rounded.

    >>> round(frame_interval(np.round(np.arange(300) / 30, 2)), 4)  # steps of .03 and .04 s
    0.0333
    """
    steps = np.diff(times)
    median = float(np.median(steps))
    mean = float(steps[steps <= GAP_INTERVALS * median].mean())
    return mean if abs(mean - median) > ROUNDED * median else median


def observed_runs(usable: np.ndarray) -> np.ndarray:
    """Return first and one-past-last frame of every run of observed frames, shape (run, 2).

    >>> observed_runs(np.array([1, 1, 0, 1], bool)).tolist()
    [[0, 2], [3, 4]]
    """
    edges = np.flatnonzero(np.diff(np.r_[False, np.asarray(usable, bool), False].astype(np.int8)))
    return edges.reshape(-1, 2)


def window_origins(usable: np.ndarray, label: np.ndarray, parts: int | tuple[int, ...], context: int, horizon: int):
    """Return the origins of all windows whose targets lie in one of ``parts`` (each window in a single one), ascending.

    Parameters
    ----------
    usable : (time,) bool.
    label : (time,) int, part of each frame.
    parts : one part or several; a window's targets never lie in two of them.
    context, horizon : window lengths in frames.
    """
    n_time, length = len(usable), context + horizon
    if n_time < length:
        return np.empty(0, np.int64)
    seen = running_count(np.asarray(usable, bool))
    whole = seen[length:] - seen[:-length] == length
    label = np.asarray(label)
    wanted = label == np.atleast_1d(parts)[0]
    for part in np.atleast_1d(parts)[1:]:
        wanted |= label == part
    stays = running_count(label[1:] == label[:-1])  # steps without an edge before each frame
    first = slice(context, context + len(whole))  # the first target of each window
    one_part = stays[context + horizon - 1 :][: len(whole)] - stays[first] == horizon - 1
    return np.flatnonzero(whole & one_part & wanted[first]) + context - 1


def running_count(flags: np.ndarray) -> np.ndarray:
    """Return how many flags are set before each position, (len + 1,) int32."""
    out = np.zeros(len(flags) + 1, np.int32)
    np.cumsum(flags, out=out[1:])
    return out


def gather(x: np.ndarray, origins: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return frames ``origin + first .. origin + last`` of every origin, shape (window, last - first + 1, neuron)."""
    return np.take(x, np.asarray(origins)[:, None] + np.arange(first, last + 1), axis=0)


def columns_of(x: np.ndarray, neurons, frames: int = 4096) -> np.ndarray:
    """Return a copy of all frames of some neurons, (time, neuron); of a memory map, a bounded part is resident at a time."""
    parts = []
    for start in range(0, len(x), frames):
        parts.append(np.array(x[start : start + frames, neurons]))
        release(x)
    return np.concatenate(parts)


def release(x: np.ndarray) -> None:
    """Let go of the pages of a memory map that were read, so that a large recording never counts as ours; they stay cached."""
    pages = getattr(x, "_mmap", None)
    if pages is not None and hasattr(pages, "madvise"):
        pages.madvise(mmap.MADV_DONTNEED)


def blocks_of(origins: np.ndarray, horizon: int, n_blocks: int) -> np.ndarray:
    """Return the cross-validation block of each origin, -1 where its targets straddle two blocks.

    Blocks are contiguous and hold equal numbers of windows; a window within one horizon before the next block is in none.
    """
    block = np.minimum(np.arange(len(origins)) * n_blocks // max(len(origins), 1), n_blocks - 1)
    firsts = origins[np.searchsorted(block, np.arange(1, n_blocks))] if len(origins) else origins
    for first in firsts:
        block[(origins < first) & (origins + horizon > first)] = -1
    return block
