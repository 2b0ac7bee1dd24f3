"""How are trials, wheel, licks, pupil, running and motion energy read from an NWB file?

They are optional: what is missing or odd is said and never stops the traces.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..activity.covariates import Behaviour, Signal, Trials, Wheel
from .nwb import regular_clock

log = logging.getLogger(__package__)
ON = (
    "stim_on_time", "stimulus_on_time", "stimulus_onset_time", "gabor_stimulus_onset_time", "stimon_times", "stim_onset", "stimulus_start",
    "stimulus_onset",
)  # fmt: skip
OFF = (
    "stim_off_time", "stimulus_off_time", "stimulus_offset_time", "gabor_stimulus_offset_time", "stimoff_times", "stim_offset",
    "stimulus_stop", "stimulus_offset", "feedback_time", "feedback_times",
)  # fmt: skip
KIND = (
    "stimulus_type",
    "stimulus_name",
    "stim_name",
    "stim_type",
    "stimulus",
    "condition",
    "trial_type",
    "orientation",
)
SIGNALS = {
    "pupil": ("pupil",),
    "licks": ("lick",),
    "motion energy": ("motion_energy", "motionenergy"),
    "running speed": ("running_speed", "runningspeed", "running"),
}
SMOOTHED = ("smooth",)  #: over the frames before and after: it looks ahead
SIDES = (("contrast_left", "contrast_right"), ("left_contrast", "right_contrast"), ("contrastleft", "contrastright"))


def nwb_behaviour(path: Path) -> Behaviour:
    """Return trials, wheel and signals of an NWB file; empty where it has none."""
    with hdf5io.read(path) as file:
        found: dict[str, Any] = {}
        for what, read in (("trials", trials_of), ("wheel", wheel_of), ("signals", signals_of)):
            try:
                with hdf5io.parsing(path, f"an NWB file with {what}"):
                    found[what] = read(file)
            except InputError as error:
                log.warning("left out, the traces do not need it: %s", error)
    trials, wheel = found.get("trials"), found.get("wheel")
    return Behaviour(() if trials is None else (trials,), () if wheel is None else (wheel,), found.get("signals", ()))


def trials_of(file: h5py.File) -> Trials | None:
    """Return the trials of a file, by the column names that exporters use; None without any."""
    group = file.get("intervals/trials")
    if not isinstance(group, h5py.Group):
        return None
    available = {key.lower(): key for key in group if isinstance(group[key], h5py.Dataset)}

    def column(names: tuple[str, ...]) -> np.ndarray | None:
        key = next((available[n] for n in names if n in available), None)
        return None if key is None else hdf5io.array(group, key, ndim=1)[:].astype(float)

    start, stop = (hdf5io.array(group, f"{side}_time", ndim=1)[:].astype(float) for side in ("start", "stop"))
    on, off = column(ON), column(OFF)
    on = start if on is None else on
    off = stop if off is None else np.where(np.isfinite(off), off, stop)
    return Trials(start, stop, on, off, kinds_of(group, available, len(start)))


def kinds_of(group: h5py.Group, available: dict[str, str], n: int) -> list[str]:
    """Return the stimulus type of each trial."""
    for left, right in SIDES:
        if left in available and right in available:
            a, b = (hdf5io.array(group, available[k], ndim=1)[:].astype(float) for k in (left, right))
            return [
                f"left {x}" if np.isfinite(x) else f"right {y}" if np.isfinite(y) else "stimulus" for x, y in zip(a, b)
            ]
    key = next((available[k] for k in KIND if k in available), None)
    if key is None:
        return ["stimulus"] * n
    values = hdf5io.array(group, key, ndim=1, kinds="iufbSOU")[:]
    return [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values]


def wheel_of(file: h5py.File) -> Wheel | None:
    """Return the position of a wheel, None without one; of several the shortest name that says position."""
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        if (
            isinstance(item, h5py.Group)
            and "data" in item
            and "wheel" in name.lower()
            and "movement" not in name.lower()
        ):
            names.append(name)

    file.visititems(visit)
    named = [n for n in names if "position" in n.lower()] or [n for n in names if "velocity" not in n.lower()]
    if not named:
        return None
    times, position = series(file[min(named, key=lambda n: (len(n), n))])
    return Wheel(times, np.nan_to_num(position))


def series(item: h5py.Group) -> tuple[np.ndarray, np.ndarray]:
    """Return times and values, (time,) each, of a time series; of several columns the first.

    Raises
    ------
    InputError : its clock does not fit or does not ascend.
    """
    data = hdf5io.array(item, "data", ndim=(1, 2))
    values = data[:].reshape(len(data), -1)[:, 0].astype(float)
    if "timestamps" in item:
        times = hdf5io.array(item, "timestamps", ndim=1)[:].astype(float)
    else:
        times = regular_clock(item, len(values))
    if len(times) != len(values) or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise InputError(f"{item.file.filename}: '{item.name}': its clock does not fit or does not ascend.")
    return times, values


def signals_of(file: h5py.File) -> tuple[Signal, ...]:
    """Return pupil, running, motion energy (one number a time) and licks, each by its clock; one that is odd is left out and told."""
    found: dict[str, Signal] = {}

    def visit(name: str, item: Any) -> None:
        kind = next((k for k, words in SIGNALS.items() if any(w in name.lower() for w in words)), None)
        if kind is None or not isinstance(item, h5py.Group) or not name.startswith(("processing", "acquisition")):
            return
        is_series = "data" in item and isinstance(item["data"], h5py.Dataset) and item["data"].ndim == 1
        events = kind == "licks" and "timestamps" in item
        if not (is_series or events) or any(w in name.lower() for w in SMOOTHED):
            return
        title = kind if kind not in found else f"{kind} ({name.rpartition('/')[2]})"
        try:
            if events:
                times = np.sort(hdf5io.array(item, "timestamps", ndim=1)[:].astype(float))
                found[title] = Signal(title, times[np.isfinite(times)], None, "Hz")
            else:
                found[title] = Signal(title, *series(item))
        except InputError as error:
            log.warning("left out, the traces do not need it: %s", error)

    file.visititems(visit)
    return tuple(found.values())
