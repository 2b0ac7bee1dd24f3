"""How is a plain .npy matrix of activity read: one axis time, used as it is?

What is time is not guessed: an axis that is too short to be time says it, ``--time-axis`` says it. (Text tables: `text_table`.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from .fov import FOVData, Trace, load_npy, make_fov

EVEN = 1e-6
FEW_FRAMES = 256
FEWEST_IDS = 3
MOST_WHOLE = 0.05  #: of the values; rounded activity has some
LEAST_FRAMES = 200  #: fewer cannot be preprocessed, so a shorter axis is not time


def npy_fov(path: Path, fs_hz: float | None, time_axis: str | None) -> FOVData:
    """Return the FOV of an .npy matrix."""
    shape = load_npy(path, mapped=True).shape
    if len(shape) != 2:
        raise InputError(f"{path}: shape {shape}, expected a matrix, time by neuron.")
    turned = is_turned(shape, time_axis, path)
    fs_hz = required_rate(fs_hz, path)
    n_time, trace = shape[1] if turned else shape[0], Trace(path=path, transposed=turned)
    refuse_clocks(trace)
    refuse_ids(trace)
    return make_fov(path.stem, trace, np.arange(n_time) / fs_hz, processed=True)


def refuse_clocks(trace: Trace) -> None:
    """Refuse a matrix in which a clock or a number of frames would be taken for a neuron: no neuron rises from frame to frame.

    Where every one of several columns rises none of them is a clock among neurons, and the matrix is taken as it is.

    Raises
    ------
    InputError : which column (or row) it is.
    """
    n_time, n = trace.shape
    if n_time < LEAST_FRAMES or not n:
        return
    rising = rises(trace.read(0, FEW_FRAMES))
    for i in np.flatnonzero(rising) if n == 1 or not rising.all() else ():
        if rises(trace.read(0, n_time, np.array([i]))).all():
            what = "row" if trace.transposed else "column"
            raise InputError(
                f"{trace}: {what} {i} rises from frame to frame: a clock or a number of frames, no neuron. Take it out."
            )


def refuse_ids(trace: Trace) -> None:
    """Refuse a matrix whose first frame holds the cells' numbers: whole and all different, where the frames after it hardly have whole ones.

    Raises
    ------
    InputError : the first frame holds no activity.
    """
    n_time, n = trace.shape
    if n_time < LEAST_FRAMES or n < FEWEST_IDS:
        return
    x = trace.read(0, FEW_FRAMES)
    whole = x % 1 == 0
    if whole[0].all() and len(np.unique(x[0])) == n and whole[1:].mean() < MOST_WHOLE:
        what = "column" if trace.transposed else "row"
        raise InputError(
            f"{trace}: the first {what} holds whole numbers alone ({x[0, 0]:g}, {x[0, 1]:g}, {x[0, 2]:g}, ...), the others do not: the cells'"
            " numbers, no frame. Take it out."
        )


def rises(x: np.ndarray) -> np.ndarray:
    """Return which columns of (time, column) rise over all their finite values, of which at least half are needed.

    >>> rises(np.array([[1.0, 5.0], [np.nan, 4.0], [3.0, 6.0]])).tolist()
    [True, False]
    """
    up = np.zeros(x.shape[1], bool)
    for i, values in enumerate(x.T):
        known = values[np.isfinite(values)]
        up[i] = len(known) > len(values) / 2 and bool((np.diff(known) > 0).all())
    return up


def required_rate(fs_hz: float | None, path: Path) -> float:
    """Return the typed frame rate, or refuse."""
    if fs_hz is None:
        raise InputError(f"{path}: a matrix does not say its frame rate; give --fs-hz.")
    return fs_hz


def is_turned(shape: tuple[int, ...], time_axis: str | None, path: Path) -> bool:
    """Return whether columns are time.

    Raises
    ------
    InputError : both axes could be time and nothing says which.
    """
    if time_axis is not None:
        return time_axis == "columns"
    long = [size >= LEAST_FRAMES for size in shape]
    if all(long):
        raise InputError(
            f"{path}: shape {shape}: rows or columns could be time. Give --time-axis rows or --time-axis columns."
        )
    if not any(long):
        raise InputError(f"{path}: shape {shape}: {LEAST_FRAMES} frames are needed, no axis has them.")
    return long[1]


def counts_evenly(values: np.ndarray) -> bool:
    """Return whether numbers rise in equal steps, as clocks and row numbers do and neurons never.

    >>> counts_evenly(np.arange(1, 9) * 0.2), counts_evenly(np.array([1.0, 2.0, 2.0]))
    (True, False)
    """
    steps = np.diff(values)
    return len(steps) > 1 and bool(
        np.isfinite(steps).all()
        and steps[0] > 0
        and np.allclose(steps, steps.mean(), rtol=1e-3, atol=EVEN * steps.mean())
    )
