"""How are trials, wheel, licks, pupil, running and motion energy read from an NWB file?

They are optional: what is missing or odd is said and never stops the traces.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..activity.covariates import Behaviour, Signal, Trials, Wheel
from .behaviour_clock import trials_from, unit_of, wheel_from
from .nwb_clock import number_of, regular_clock

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
    "wheel velocity": ("wheel_velocity", "wheelvelocity", "wheel_speed", "wheelspeed"),
}
#: over the frames before and after: it looks ahead
SMOOTHED = re.compile("(?<!un)(?<!not )(smooth|filtered)|low-?pass|butterworth|savgol|savitzky|zero.phase")
#: words of a trial's end: who sees them from its start on knows the future
OUTCOMES = {
    "hit", "miss", "cr", "fa", "correct", "incorrect", "error", "reject", "rejection", "alarm", "rewarded", "unrewarded", "ignore", "ignored",
    "abort", "aborted", "early", "success", "fail", "failure", "timeout", "response",
}  # fmt: skip
NO_POSITION = re.compile("velocity|speed|acceler|torque|force|movement|voltage")
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
    signals = tuple(s for s in found.get("signals", ()) if wheel is None or not s.name.startswith("wheel velocity"))
    return Behaviour(() if trials is None else (trials,), () if wheel is None else (wheel,), signals)


def trials_of(file: h5py.File) -> Trials | None:
    """Return the trials of a file, by the column names that exporters use; None without any."""
    group = file.get("intervals/trials")
    if not isinstance(group, h5py.Group):
        return None
    available = {key.lower(): key for key in group if isinstance(group[key], h5py.Dataset)}

    def column(names: tuple[str, ...]) -> np.ndarray | None:
        """Return the first column of several names, None without any."""
        key = next((available[n] for n in names if n in available), None)
        return None if key is None else hdf5io.array(group, key, ndim=1)[:].astype(float)

    start, stop = (hdf5io.array(group, f"{side}_time", ndim=1)[:].astype(float) for side in ("start", "stop"))
    return trials_from(start, stop, column(ON), column(OFF), kinds_of(group, available, len(start)))


def kinds_of(group: h5py.Group, available: dict[str, str], n: int) -> list[str]:
    """Return the stimulus type of each trial."""
    for left, right in SIDES:
        if left in available and right in available:
            a, b = (hdf5io.array(group, available[k], ndim=1)[:].astype(float) for k in (left, right))
            return [
                f"left {x}" if np.isfinite(x) else f"right {y}" if np.isfinite(y) else "stimulus" for x, y in zip(a, b)
            ]
    for key in (available[k] for k in KIND if k in available):
        values = hdf5io.array(group, key, ndim=1, kinds="iufbSOU")[:]
        kinds = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values]
        ends = sorted({kind for kind in kinds if OUTCOMES & set(re.split("[^a-z]+", kind.lower()))})
        if not ends:
            return kinds
        log.warning("trials: '%s' is left out, it tells how they end (%s), which is not known before", key, ends[0])
    return ["stimulus"] * n


def series_of(file: h5py.File) -> list[str]:
    """Return the places of all groups of a file that hold values or times of events."""
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        """Keep a group's place."""
        if isinstance(item, h5py.Group) and ("data" in item or "timestamps" in item):
            names.append(name)

    file.visititems(visit)
    return names


def wheel_of(file: h5py.File) -> Wheel | None:
    """Return the position of a wheel, None without one; of several the shortest name that says position."""
    wheels = [n for n in series_of(file) if "wheel" in n.lower() and "data" in file[n] and not looks_ahead(file, n)]
    names = [n for n in wheels if not NO_POSITION.search(n.lower())]
    named = [n for n in names if "position" in n.lower()] or names
    if not named:
        return None
    item = file[min(named, key=lambda n: (len(n), n))]
    unit, factor = unit_of(str(item["data"].attrs.get("unit", "")), said_of(item), f"{file.filename}: '{item.name}'")
    times, position = series(item)
    return wheel_from(times, position * factor, unit)


def series(item: h5py.Group, key: str = "data") -> tuple[np.ndarray, np.ndarray]:
    """Return times and values, (time,) each, of a time series; of several columns the first.

    Raises
    ------
    InputError : its clock does not fit or does not ascend.
    """
    data = hdf5io.array(item, key, ndim=(1, 2), kinds="biuf")
    scale, offset = (number_of(data.attrs.get(k), default) for k, default in (("conversion", 1.0), ("offset", 0.0)))
    values = data[:].reshape(len(data), -1)[:, 0].astype(float) * scale + offset
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
    for name in series_of(file):
        own = name.rpartition("/")[2]
        kind = next((k for k, words in SIGNALS.items() if any(w in name.lower() for w in words)), None)
        if kind is None or not name.startswith(("processing", "acquisition")) or looks_ahead(file, name):
            continue
        named = any(word in own.lower() for word in SIGNALS[kind])
        title = kind if named and kind not in found else f"{kind} ({own})"
        try:
            signal = licks_of(file[name], title) if kind == "licks" else signal_of(file[name], title)
        except InputError as error:
            log.warning("left out, the traces do not need it: %s", error)
            continue
        if signal is not None:
            found[title] = signal
    return tuple(found.values())


def looks_ahead(file: h5py.File, name: str) -> bool:
    """Return whether a series was smoothed over times before and after, by what is said of it or as it stands raw beside."""
    found = bool(SMOOTHED.search(f"{name} {said_of(file[name])}".lower())) or f"{name}_unfiltered" in file
    if found:
        log.info("'%s' is left out: it was smoothed over times before and after each", name)
    return found


def said_of(item: h5py.Group) -> str:
    """Return what its exporter says of a series."""
    told = [item.attrs, item["data"].attrs if "data" in item else {}]
    frame = item.get("reference_frame")
    words = [str(place[key]) for place in told for key in ("description", "comments") if key in place]
    words += [str(frame[()])] if isinstance(frame, h5py.Dataset) and frame.shape == () else []
    return " ".join(words)


def signal_of(item: h5py.Group, title: str) -> Signal | None:
    """Return a series of one number a time, or the area of tracked ellipses (Allen's pupils); None for anything else."""
    key = next((k for k in ("area", "data") if isinstance(item.get(k), h5py.Dataset) and item[k].ndim == 1), None)
    return None if key is None else Signal(title, *series(item, key))


def licks_of(item: h5py.Group, title: str) -> Signal | None:
    """Return licks: times of events, onsets of intervals (1 and -1), or a sensor that was read at all times."""
    data = item.get("data")
    sampled = isinstance(data, h5py.Dataset) and data.ndim == 1 and data.dtype.kind in "biuf"
    if "timestamps" not in item:
        return Signal(title, *series(item)) if sampled else None
    times = hdf5io.array(item, "timestamps", ndim=1)[:].astype(float)
    if sampled and len(data) == len(times):
        if (data[:] < 0).any():
            times = times[data[:] > 0]
        elif len(np.unique(data[:])) > 1:
            return Signal(title, *series(item))
    return Signal(title, np.unique(times[np.isfinite(times)]), None, "Hz")
