"""Which frames were not recorded but made from others, and which cells repeat another one?

A frame that lies on a straight line between its neighbours in every cell was interpolated, and tells of the later one; one that repeats the
frame before was held. A cell that shows another's trace some frames later is foretold by copying.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SAMPLED = 16  #: cells that are looked at for frames
LEAST_CELLS = 8  #: fewer may lie on a line by chance
CHANCE = 0.01  #: of the frames that stay in all cells
ON_LINE = 1e-5  #: of a trace's standard deviation
LEAST_CHANGES = 20
SAME = 0.95  #: correlation of what is new in each frame; noise of their own keeps that of neighbours far below
ROWS = 512


def made_up(x: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Return the observed frames that were interpolated, or repeat the one before, in all cells, (time,) bool.

    Parameters
    ----------
    x : (time, cell), some cells' traces as recorded.
    good : (time,) bool, observed frames.

    >>> x = np.random.default_rng(0).standard_normal((9, 8)); x[3] = (x[2] + x[4]) / 2; x[7] = x[6]
    >>> np.flatnonzero(made_up(x, np.ones(9, bool))).tolist()
    [3, 7]
    """
    out = np.zeros(len(x), bool)
    x = np.asarray(x, float)
    x = x[:, np.isfinite(x[good]).all(0) & (x[good].std(0) > 0)] if good.any() else x[:, :0]
    if x.shape[1] < 2 or len(x) < 3:
        return out
    near = ON_LINE * x[good].std(0) + 1e-6 * np.abs(x[good]).max(0)
    step = np.diff(x, axis=0)
    moved = (np.abs(step) > 0).mean(1) > 0.5  # in sparse activity most cells stay at zero
    if x.shape[1] >= LEAST_CELLS:
        line = (np.abs(np.diff(step, axis=0)) <= near).all(1) & moved[:-1] & moved[1:]
        out[1:-1] = line & good[:-2] & good[2:]
    held = (step == 0).all(1) & ((x[1:] != 0).mean(1) > 0.5) & good[:-1]
    if held.any() and by_chance(step[~held] == 0) * len(step) < CHANCE * held.sum():
        out[1:] |= held
    return out & good


def by_chance(stays: np.ndarray) -> float:
    """Return how likely all cells stay in one frame by chance, from how often each does (time, cell), at least once."""
    return float(np.prod((stays.sum(0) + 1) / (len(stays) + 2)))


class Copy(NamedTuple):
    """A cell that shows what another one showed."""

    cell: int
    of: int
    later: int  #: frames after it; 0: at the same time


def copies(x: np.ndarray, most: int) -> list[Copy]:
    """Return the cells that repeat another cell's trace, at most ``most`` frames later; of each the first that it repeats.

    Parameters
    ----------
    x : (time, cell), finite consecutive frames.
    """
    step = np.diff(np.asarray(x, np.float32), axis=0)
    lively = (step != 0).sum(0) >= LEAST_CHANGES
    step = innovations(np.where(lively, step - step.mean(0), 0))
    found: dict[int, Copy] = {}
    for lag in range(most + 1):
        early, late = (scaled(part) for part in (step[: len(step) - lag], step[lag:]))
        for start in range(0, step.shape[1], ROWS):
            r = early[:, start : start + ROWS].T @ late
            for i, j in zip(*np.nonzero(r > SAME)):
                if start + i != j and (lag or start + i < j) and int(j) not in found:
                    found[int(j)] = Copy(int(j), int(start + i), lag)
    return sorted(found.values())


def innovations(step: np.ndarray) -> np.ndarray:
    """Return what each change leaves that the change before does not foretell, so that slow traces are not alike by chance."""
    before, now = step[:-1], step[1:]
    return now - before * ((before * now).sum(0) / np.maximum((before * before).sum(0), 1e-12))


def scaled(step: np.ndarray) -> np.ndarray:
    """Return columns of length one; those without variance stay zero."""
    return step / np.maximum(np.linalg.norm(step, axis=0), 1e-12)
