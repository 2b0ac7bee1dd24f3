"""When was each frame of an NWB series recorded, and what else in the file says so?"""

from __future__ import annotations

import logging
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..activity.windows import frame_interval
from .fov import FOVData

log = logging.getLogger(__package__)
RATE_TOLERANCE = 0.01
IN_MS = 200  #: a clock that is so much slower than its imaging plane is in ms; planes of a volume are fewer


def regular_clock(item: h5py.Group, n_time: int) -> np.ndarray:
    """Return the clock of a series that says when it starts and at which rate.

    Raises
    ------
    InputError : it says neither that nor timestamps.
    """
    start = hdf5io.array(item, "starting_time", ndim=0)
    rate = number_of(start.attrs.get("rate"), 0.0)
    if rate <= 0:
        raise InputError(
            f"{item.file.filename}: '{item.name}' has neither timestamps nor a starting_time with a positive rate."
        )
    return float(start[()]) + np.arange(n_time) / rate


def number_of(value: Any, default: float) -> float:
    """Return an attribute as a number, the default where it is none."""
    found = np.asarray(default if value is None else value)
    return (
        float(found.reshape(-1)[0])
        if found.size == 1 and found.dtype.kind in "iuf" and np.isfinite(found).all()
        else default
    )


def check_rate(fov: FOVData, fs_hz: float | None) -> None:
    """Refuse a typed frame rate that the file contradicts."""
    found = 1 / frame_interval(fov.times) if len(fov.times) > 1 else np.nan
    if fs_hz is not None and abs(fs_hz / found - 1) > RATE_TOLERANCE:
        raise InputError(
            f"{fov.where}: --fs-hz {fs_hz:g}, but its clock has {found:.4g} frames a second. Leave out --fs-hz."
        )


def doubt_rate(file: h5py.File, table: str, times: np.ndarray, name: str) -> None:
    """Tell where the imaging plane of a series has another frame rate than its clock.

    Raises
    ------
    InputError : the clock is in ms.
    """
    place = f"{table}/imaging_plane/imaging_rate"
    said = number_of(file[place][()], 0.0) if table and isinstance(file.get(place), h5py.Dataset) else 0.0
    found = 1 / frame_interval(times) if len(times) > 1 else said
    if found * IN_MS < said:
        raise InputError(
            f"{file.filename}: '{name}' has {found:.4g} frames a second, its imaging plane {said:.4g}: is its clock in ms? Write seconds."
        )
    if said > 0 and abs(found / said - 1) > RATE_TOLERANCE:
        log.warning(
            "%s: '%s' has %.4g frames a second, its imaging plane %.4g; the clock of the series counts",
            file.filename,
            name,
            found,
            said,
        )


def invalid_times(file: h5py.File) -> np.ndarray:
    """Return the intervals in s that the file calls invalid, (interval, 2)."""
    group = file.get("intervals/invalid_times")
    if not isinstance(group, h5py.Group) or "start_time" not in group or "stop_time" not in group:
        return np.empty((0, 2))
    start, stop = (hdf5io.array(group, name, ndim=1)[:].astype(float) for name in ("start_time", "stop_time"))
    return np.c_[start, stop] if len(start) == len(stop) else np.empty((0, 2))


def inside(times: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Return which frames overlap one of the intervals, (time,) bool; a frame lasts until the next one."""
    lasts = np.median(np.diff(times)) if len(times) > 1 else 0.0
    flags = np.zeros(len(times), bool)
    for start, stop in intervals:
        flags |= (times < stop) & (times + lasts > start)
    return flags
