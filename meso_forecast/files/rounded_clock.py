"""Was a clock written with too few digits? At 8 frames a second and one digit its steps are 0.1 and 0.2 s, as if a quarter of frames were lost.

Such a clock has steps of two lengths alone, in turn so evenly that no time lies further than one unit from a regular clock; frames that were
really lost do not come so. It is made regular again, between pauses, which is told.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

log = logging.getLogger(__package__)
COARSE = 1.4  #: long over short steps; nearer ones are no gaps, and their mean is right
SAME_STEP = 1e-3  #: of the long step
LEAST_LONG = 4  #: steps of either length, fewer are no rule
SLACK = 1.1  #: of the unit; the rate of a short clock is not known exactly


class Regular(NamedTuple):
    """A clock without the rounding."""

    times: np.ndarray
    unit_s: float  #: to which it was rounded
    period_s: float


def unrounded(times: np.ndarray) -> Regular | None:
    """Return a clock that was rounded coarsely as it was before, None for any other.

    >>> found = unrounded(np.round(np.arange(40) / 8, 1))
    >>> round(found.period_s, 3), round(found.unit_s, 3), unrounded(np.arange(40) / 8) is None
    (0.125, 0.1, True)
    """
    if times.ndim != 1 or len(times) < 4 * LEAST_LONG or times.dtype.kind != "f" or not np.isfinite(times).all():
        return None
    steps = np.diff(times)
    long = float(np.percentile(steps, 99))  # pauses are rarer
    short = float(steps.min())
    unit = long - short
    near = np.abs(np.subtract.outer((short, long), steps)) <= SAME_STEP * long
    pause = steps > 1.5 * long
    if short < 0 or long < COARSE * short or unit <= 0 or not (near.any(0) | pause).all():
        return None
    if near.sum(1).min() < LEAST_LONG:
        return None
    runs = np.split(np.arange(len(times)), np.flatnonzero(pause) + 1)
    longest = max(runs, key=len)
    period = float(np.polyfit(np.arange(len(longest)), times[longest] - times[longest[0]], 1)[0])
    out = np.empty_like(times)
    for run in runs:
        regular = np.arange(len(run)) * period
        off = times[run] - regular
        if np.ptp(off) > SLACK * unit:
            return None
        out[run] = regular + (off.min() + off.max()) / 2
    return Regular(out, unit, period)


def regular_again(times: np.ndarray, where: str) -> np.ndarray:
    """Return a clock as it is, or, where it was rounded coarsely, as it was before; that is told."""
    found = unrounded(times)
    if found is None:
        return times
    log.warning(
        "%s was rounded to %.3g s, frames come every %.4g s: it is taken as regular, with %.4g frames a second",
        where, found.unit_s, found.period_s, 1 / found.period_s,
    )  # fmt: skip
    return found.times
