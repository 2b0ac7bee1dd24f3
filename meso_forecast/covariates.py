"""What was the animal seeing and doing? Trials and wheel of a session, on the frames of the common clock, causally."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hdf5io import InputError

from .fov import load_npy

PHASES = ("none", "before stimulus", "stimulus", "after feedback")


class Covariates(NamedTuple):
    """One value a frame."""

    wheel_rad_s: np.ndarray  #: velocity since the frame before
    stimulus: np.ndarray  #: 0 none, else 1 + index in ``names``
    names: list[str]  #: stimulus types, such as "left 0.25"
    phase: np.ndarray  #: index in ``PHASES``
    last_stimulus_s: float  #: end of the last stimulus, NaN without trials


def read_covariates(session_folder: Path | None, clock: np.ndarray) -> Covariates:
    """Return the covariates of a session; zeros where it has no task folder."""
    none = Covariates(np.zeros(len(clock)), np.zeros(len(clock), int), [], np.zeros(len(clock), int), float("nan"))
    tasks = sorted((session_folder / "alf").glob("task_*")) if session_folder is not None else []
    for task in tasks:
        if (task / "_ibl_trials.table.pqt").is_file():
            none = with_trials(none, task / "_ibl_trials.table.pqt", clock)
        if (task / "_ibl_wheel.position.npy").is_file():
            none = none._replace(wheel_rad_s=none.wheel_rad_s + wheel_velocity(task, clock))
    return none


def wheel_velocity(task: Path, clock: np.ndarray) -> np.ndarray:
    """Return the wheel's mean velocity between a frame and the one before, rad/s, from positions at or before each frame."""
    position, times = load_npy(task / "_ibl_wheel.position.npy"), load_npy(task / "_ibl_wheel.timestamps.npy")
    if len(position) != len(times):
        raise InputError(f"{task / '_ibl_wheel.timestamps.npy'}: {len(times)} times for {len(position)} positions.")
    at = np.searchsorted(times, clock, side="right") - 1
    place = np.where(at >= 0, position[np.maximum(at, 0)], position[0] if len(position) else 0.0)
    return np.diff(place, prepend=place[:1]) / np.median(np.diff(clock))


def with_trials(c: Covariates, path: Path, clock: np.ndarray) -> Covariates:
    """Return covariates with the stimuli and phases of a trials table added."""
    import pandas as pd

    t = pd.read_parquet(path)
    missing = [
        k for k in ("intervals_0", "stimOn_times", "stimOff_times", "contrastLeft", "contrastRight") if k not in t
    ]
    if missing:
        raise InputError(f"{path}: no column '{missing[0]}'; there are {', '.join(t.columns[:8])}, ...")
    left = t["contrastLeft"].notna().to_numpy()
    kinds = np.where(left, "left ", "right ").astype(object) + np.where(
        left, t["contrastLeft"], t["contrastRight"]
    ).astype(str)
    names = sorted({*c.names, *kinds})
    stimulus = np.array([0, *(1 + names.index(n) for n in c.names)])[c.stimulus]
    phase = c.phase.copy()
    end = t["intervals_1"] if "intervals_1" in t else t["stimOff_times"] + 1
    for kind, begin, on, off, stop in zip(kinds, t["intervals_0"], t["stimOn_times"], t["stimOff_times"], end):
        if not np.isfinite([begin, on, off, stop]).all():
            continue
        first, shown, gone, last = np.searchsorted(clock, (begin, on, off, stop))
        phase[first:shown], phase[shown:gone], phase[gone:last] = 1, 2, 3
        stimulus[shown:gone] = 1 + names.index(kind)
    return Covariates(
        c.wheel_rad_s, stimulus, names, phase, float(np.nanmax([c.last_stimulus_s, t["stimOff_times"].max()]))
    )
