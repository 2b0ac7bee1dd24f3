"""How are trials, wheel, licks and cameras read from ALF? They are optional: what is missing or odd is said and never stops the traces."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..activity.covariates import Behaviour, Signal, Trials, Wheel
from .alf import Finder, folder_finder
from .behaviour_clock import trials_from, wheel_from
from .fov import load_npy

log = logging.getLogger(__package__)
MOST_RATIO = 2.0  #: a velocity is smoothed; a wheel of 3.1 cm goes 3.1 cm a radian
CAMERAS = ("left", "right", "body")
TIMES = ("stimOn_times", "stimOff_times", "feedback_times", "response_times", "contrastLeft", "contrastRight")


def alf_behaviour(session_folder: Path | None, revision: str | None = None) -> Behaviour:
    """Return trials, wheel, licks and cameras of an ALF session; empty where it has none."""
    if session_folder is None:
        return Behaviour()
    trials: list[Any] = []
    wheels: list[Any] = []
    signals: list[Any] = []
    for folder in [session_folder / "alf", *sorted((session_folder / "alf").glob("task_*"))]:
        if not folder.is_dir():
            continue
        find = folder_finder(folder, revision)
        readers: list[tuple[Any, list[Any]]] = [(alf_trials, trials), (alf_wheel, wheels), (alf_licks, signals)]
        readers += [(partial(read, view=view), signals) for read in (alf_motion, alf_pupil) for view in CAMERAS]
        for read, found in readers:
            try:
                item = read(find)
            except InputError as error:
                log.warning("left out, the traces do not need it: %s", error)
                continue
            if item is not None:
                found.append(item)
    return Behaviour(tuple(trials), tuple(wheels), tuple(signals))


def alf_licks(find: Finder) -> Signal | None:
    """Return the times of licks, None without any."""
    path = find("licks.times.npy")
    if path is None:
        return None
    times = column(path)
    return Signal("licks", np.unique(times[np.isfinite(times)]), None, "Hz")


def alf_motion(find: Finder, view: str) -> Signal | None:
    """Return the motion energy of a camera's region of interest, None where there is none."""
    path = find(f"{view}Camera.ROIMotionEnergy.npy")
    return None if path is None else camera_signal(find, view, f"motion energy, {view} camera", column(path), path)


def alf_pupil(find: Finder, view: str) -> Signal | None:
    """Return the pupil diameter that a camera saw, as tracked (the smoothed one looks ahead), None where there is none."""
    path = find(f"_ibl_{view}Camera.features.pqt")
    if path is None:
        return None
    values = read_table(path).get("pupilDiameter_raw")
    return None if values is None else camera_signal(find, view, f"pupil diameter, {view} camera", values, path)


def camera_signal(find: Finder, view: str, name: str, values: np.ndarray, path: Path) -> Signal:
    """Return a value for each frame of a camera by the camera's own clock.

    Raises
    ------
    InputError : the camera's times are missing, do not ascend, or are fewer than its frames.
    """
    clock = find(f"_ibl_{view}Camera.times.npy")
    if clock is None:
        raise InputError(f"{path}: the times of this camera, '_ibl_{view}Camera.times.npy', are missing.")
    times = column(clock)
    if len(times) < len(values) or not len(values):
        raise InputError(f"{clock}: {len(times)} times for {len(values)} frames of {path.name}.")
    if len(times) > len(
        values
    ):  # the first frames of a video are those that were not kept, as IBL's own loader assumes
        log.info("%s: %d times for %d frames; the first are left out", clock, len(times), len(values))
        times = times[-len(values) :]
    known = np.isfinite(times)
    if not known.all():
        log.info("%s: %d frames without a time are left out", clock, (~known).sum())
    if (np.diff(times[known]) < 0).any():
        raise InputError(f"{clock}: the camera's times do not ascend.")
    return Signal(name, times[known], values[known])


def alf_wheel(find: Finder) -> Wheel | None:
    """Return the wheel of a task, None where it has none."""
    position, times = find("_ibl_wheel.position.npy"), find("_ibl_wheel.timestamps.npy")
    if position is None and times is None:
        return None
    if position is None or times is None:
        raise InputError(
            f"{position or times}: the wheel's position and its timestamps belong together, one is missing."
        )
    x, t = column(position), column(times)
    if len(x) != len(t):
        raise InputError(f"{times}: {len(t)} times for {len(x)} positions of the wheel.")
    if not np.isfinite(t).all() or (np.diff(t) < 0).any():
        raise InputError(f"{times}: the wheel's timestamps are not finite and ascending.")
    speed = find("_ibl_wheel.velocity.npy")
    if speed is not None and position.parent == speed.parent:
        refuse_other_unit(t, x, column(speed), position, speed)
    return wheel_from(t, x)


def refuse_other_unit(t: np.ndarray, x: np.ndarray, velocity: np.ndarray, position: Path, speed: Path) -> None:
    """Refuse positions that go another way than their velocity, in rad/s, says: they are in cm or degrees, or it is."""
    if len(velocity) != len(t) or not (np.isfinite(velocity).all() and np.isfinite(x).all()):
        return
    way, said = np.abs(np.diff(x)).sum(), np.abs(velocity[1:] * np.diff(t)).sum()
    if way > 0 and said > 0 and not 1 / MOST_RATIO < way / said < MOST_RATIO:
        raise InputError(
            f"{position}: goes {way / said:.3g} times as far as {speed.name} says; one of the two is not in radians."
        )


def column(path: Path) -> np.ndarray:
    """Return a one-dimensional array of numbers."""
    values = load_npy(path)
    if values.dtype.kind not in "biuf" or values.squeeze().ndim > 1:
        raise InputError(f"{path}: {values.dtype} of shape {values.shape}, expected one number a row.")
    return values.astype(float).reshape(-1)


def alf_trials(find: Finder) -> Trials | None:
    """Return the trials of a task: a table (of 13 columns as extractors write it) or one file a column, None without any.

    ``stimOff_times`` is no column of the table: it has a file of its own, or is missing; then the stimulus is taken to end with the
    feedback, or with the trial.
    """
    table = find("_ibl_trials.table.pqt")
    columns = read_table(table) if table is not None else {}
    intervals = find("_ibl_trials.intervals.npy")
    if not columns and intervals is not None:
        pairs = load_npy(intervals)
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            raise InputError(f"{intervals}: shape {pairs.shape}, expected (trial, 2).")
        columns = {"intervals_0": pairs[:, 0].astype(float), "intervals_1": pairs[:, 1].astype(float)}
    if not columns:
        return None
    where = table or intervals
    for name in TIMES:
        if name not in columns and (path := find(f"_ibl_trials.{name}.npy")) is not None:
            columns[name] = column(path)
    n = len(columns.get("intervals_0", columns.get("stimOn_times", ())))
    columns = {name: values for name, values in columns.items() if len(values) == n}
    if "stimOn_times" not in columns or "intervals_0" not in columns:
        raise InputError(
            f"{where}: no column 'stimOn_times' or 'intervals_0'; there are {', '.join(list(columns)[:8])}."
        )
    unknown = np.full(n, np.nan)
    left, right = (columns.get(f"contrast{side}", unknown) for side in ("Left", "Right"))
    kinds = [
        f"left {a}" if np.isfinite(a) else f"right {b}" if np.isfinite(b) else "stimulus" for a, b in zip(left, right)
    ]
    off = columns.get("stimOff_times", unknown)
    for other in ("feedback_times", "response_times", "intervals_1"):
        off = np.where(np.isfinite(off), off, columns.get(other, unknown))
    stop = columns.get("intervals_1", off + 1)
    return trials_from(columns["intervals_0"], stop, columns["stimOn_times"], off, kinds)


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Return the numeric columns of a parquet table.

    Raises
    ------
    InputError : it cannot be read.
    """
    import pandas as pd

    with hdf5io.parsing(path, "a parquet table"):
        table = pd.read_parquet(path)
        numbers = [k for k in table.columns if getattr(table[k].dtype, "kind", "O") in "biuf"]
        return {str(k): table[k].to_numpy(float) for k in numbers}


def protocols(session_folder: Path) -> list[str]:
    """Return the task protocols of a session, by its experiment description, else the names of its task folders."""
    path = session_folder / "_ibl_experiment.description.yaml"
    tasks = sorted(p.name for p in (session_folder / "alf").glob("task_*"))
    if not path.is_file():
        return tasks
    import yaml

    try:
        with hdf5io.parsing(path, "YAML"):
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            return [str(name).lstrip("_") for task in content["tasks"] for name in task] or tasks
    except InputError as error:
        log.warning("the protocol is not known: %s", error)
        return tasks
