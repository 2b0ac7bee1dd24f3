"""How is a plain matrix of activity read: .npy or .csv, one axis time, used as it is?

What is time is not guessed: a column of times says it, an axis that is too short to be time says it, ``--time-axis`` says it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, load_npy, make_fov

log = logging.getLogger(__package__)
CLOCKS = ("time", "times", "timestamp", "timestamps", "t", "time_s", "time (s)", "seconds")
LEAST_FRAMES = 200  #: fewer cannot be preprocessed, so a shorter axis is not time


def npy_fov(path: Path, fs_hz: float | None, time_axis: str | None) -> FOVData:
    """Return the FOV of an .npy matrix."""
    shape = load_npy(path, mapped=True).shape
    if len(shape) != 2:
        raise InputError(f"{path}: shape {shape}, expected a matrix, time by neuron.")
    turned = is_turned(shape, time_axis, path)
    fs_hz = required_rate(fs_hz, path)
    n_time = shape[1] if turned else shape[0]
    return make_fov(path.stem, Trace(path=path, transposed=turned), np.arange(n_time) / fs_hz, processed=True)


def csv_fov(path: Path, fs_hz: float | None, time_axis: str | None) -> FOVData:
    """Return the FOV of a text table: columns are neurons with or without a header; a column named ``time`` is the clock in s."""
    import pandas as pd

    with hdf5io.parsing(path, "a text table"):
        head = pd.read_csv(path, header=None, nrows=1, sep=None, engine="python")
        has_header = not all(is_number(v) for v in head.iloc[0])
        table = pd.read_csv(path, header=0 if has_header else None, sep=None, engine="python")
    names = (
        [str(c).strip() for c in table.columns] if has_header else [f"{path.stem}/{i}" for i in range(table.shape[1])]
    )
    wrong = [n for n, kind in zip(names, table.dtypes) if getattr(kind, "kind", "O") not in "biuf"]
    if wrong or not table.size:
        raise InputError(f"{path}: column '{wrong[0] if wrong else ''}' holds text; expected numbers, time by neuron.")
    values = table.to_numpy(float)
    if has_header and names[0] in ("", "Unnamed: 0") and np.array_equal(values[:, 0], np.arange(len(values))):
        log.info("%s: its first column numbers the rows and is left out", path)
        names, values = names[1:], values[:, 1:]
    clocks = [i for i, name in enumerate(names) if has_header and name.lower() in CLOCKS]
    if len(clocks) > 1:
        raise InputError(
            f"{path}: several columns could be the clock: {', '.join(names[i] for i in clocks)}. Leave one."
        )
    given: dict[str, Any] = {"processed": True}
    if clocks:
        if time_axis == "columns":
            raise InputError(f"{path}: --time-axis columns, but its column '{names[clocks[0]]}' is a clock.")
        times, keep = values[:, clocks[0]], [i for i in range(len(names)) if i != clocks[0]]
        names, values, turned = [names[i] for i in keep], values[:, keep], False
        check_clock(times, fs_hz, path)
    else:
        turned = is_turned(values.shape, time_axis, path)
        times = np.arange(values.shape[1] if turned else values.shape[0]) / required_rate(fs_hz, path)
    if not turned and has_header:
        given["uuids"] = np.array(names)
    return make_fov(path.stem, Trace(path=path, transposed=turned, array=values), times, **given)


def is_number(value: Any) -> bool:
    """Return whether a cell of a first row is a number (an empty one is a missing number)."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def check_clock(times: np.ndarray, fs_hz: float | None, path: Path) -> None:
    """Refuse a typed frame rate that the clock contradicts."""
    found = 1 / np.median(np.diff(times)) if len(times) > 1 else np.nan
    if fs_hz is not None and abs(fs_hz / found - 1) > 0.01:
        raise InputError(
            f"{path}: --fs-hz {fs_hz:g}, but its clock has {found:.4g} frames a second. Leave out --fs-hz."
        )


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
