"""Which columns of a table are clocks, and where does a clock begin anew? A clock is no neuron, and what it jumps over was not recorded."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

log = logging.getLogger("neuro_diffusion")
STRAIGHT = 0.9998  #: squared correlation with a straight line from which a rising column is a clock
JUMP = 1.9  #: a step of a clock, in usual steps, over which a frame or more is missing
FEWEST = 6  #: steps between two jumps, on average, of a column without a name that is still a clock


def without_times(path: Path, y: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return rates (K, T, N) without first or last columns that count time: no neuron rises by exactly the same amount at every step.

    Where such a clock begins anew or jumps, a frame of NaN parts the recording.
    """
    for column in (0, y.shape[2] - 1):
        x = y[:, :, column].astype(float)
        if y.shape[2] < 3 or not np.isfinite(x).all():
            continue
        steps = np.diff(x, axis=1)
        step = float(np.median(steps)) if steps.size else 0.0
        if step <= 0:
            continue
        odd = np.abs(steps - step) > 1e-4 * step + 4e-7 * float(np.abs(x).max())
        parted = len(y) == 1 and odd.sum() * FEWEST < odd.size and not (np.abs(steps[odd]) < step).any()
        if parted or (steps.min() >= 0 and steps.shape[1] >= 20 and _straight(x)):
            log.warning("%s: column %d rises by %g at every step, it is time and no neuron.", path, column + 1, step)
            keep = [i for i in range(y.shape[2]) if i != column]
            if parted and odd.any():
                y = parted_by(path, y[0], x[0])[None]
            return without_times(path, y[:, :, keep], tuple(names[i] for i in keep) if names else ())
    return y, names


def _straight(x: np.ndarray) -> bool:
    """Return whether series (K, T) are one straight line but for the rounding or jitter of a clock."""
    line = np.linspace(-1, 1, x.shape[1])
    return min(np.corrcoef(line, row)[0, 1] ** 2 for row in x) > STRAIGHT


def parted_by(path: Path, values: np.ndarray, clock: np.ndarray) -> np.ndarray:
    """Return values (T, N) with a row of NaN where their clock (T) goes back or jumps."""
    steps = np.diff(clock)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else np.inf
    if (steps < 0).sum() * FEWEST > len(steps):
        raise InputError(
            f"{path}: times fall at {int((steps < 0).sum())} of {len(clock)} rows. Sort the rows by time (and by trial)."
        )
    jumps = np.flatnonzero((steps < 0) | (steps > JUMP * usual)) + 1
    if len(jumps):
        log.warning("%s: time goes back or jumps at row %d and %d others.", path, jumps[0] + 1, len(jumps) - 1)
    return np.insert(values.astype(float), jumps, np.nan, axis=0)
