"""Which axis of an array is time, which counts trials, which neurons? By their names, by what the user says, or doubted by the values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

TIME = (
    "time", "t", "times", "time_s", "time_ms", "time_sec", "seconds", "sec", "ms", "timestamp", "timestamps", "frame",
    "frames",
)  # fmt: skip
TRIAL = (
    "trial", "trials", "trial_id", "trial_number", "trial_no", "trial_index", "epoch", "sweep", "rep", "repeat",
    "repetition", "run",
)  # fmt: skip
LONG_FORM = ("neuron", "neuron_id", "unit", "unit_id", "cell", "cell_id", "roi", "roi_id", "channel")
ROUGHER = 0.6  #: an axis along which values change less than this share of what they do along the other is the smoother
ALSO = "--axes trial,neuron,time or --axes neuron,trial,time; --axes trial,time,neuron if they are those"


def order_of(axes: tuple[str, ...]) -> list[int]:
    """Return the places of trial (where there is one), time and neuron among named axes; empty where the names do not tell them.

    A third axis of another name, beside time and neurons, counts trials.
    """
    found = []
    for words in (TRIAL, TIME, (*LONG_FORM, "neurons", "units", "cells", "rois")):
        fit = [i for i, a in enumerate(axes) if a in words]
        found.append(fit or [i for i, a in enumerate(axes) if {*a.split("_"), a[:4]} & {*words}])
    if len(axes) == 3 and not found[0]:
        found[0] = [i for i in range(3) if i not in (*found[1], *found[2])]
    order = [i for places in found[3 - len(axes) :] for i in places]
    return order if sorted(order) == list(range(len(axes))) and all(map(len, found[1:])) else []


def told_order(path: Path, shape: Sequence[object], axes: Sequence[str]) -> list[int]:
    """Return the places of trial (where there is one), time and neuron as the user tells them.

    Raises
    ------
    InputError : other or fewer names than axes.
    """
    wanted = [name for name in ("trial", "time", "neuron") if name in axes]
    if sorted(axes) != sorted(wanted) or "time" not in wanted or "neuron" not in wanted or len(axes) != len(shape):
        raise InputError(
            f"{path}: --axes {','.join(axes)} for an array of shape {tuple(shape)}; name each axis once: trial, time, neuron, or time,"
            " neuron of two."
        )
    return [list(axes).index(name) for name in wanted]


def rows_of(path: Path, axes: Sequence[str]) -> str:
    """Return what a row of a table is, by the names of its two axes."""
    return "time" if told_order(path, ("rows", "columns"), axes) == [0, 1] else "neurons"


def hint_of(shape: Sequence[int]) -> str:
    """Return what to do about (trial, time, neuron) of too few steps, where another axis may be time."""
    if shape[1] >= 6 or max(shape) < 6:
        return ""
    return (
        " Are neurons in rows? Then give --rows neurons." if shape[0] == 1 else f" Say what is along the axes: {ALSO}."
    )


def check_axes(path: Path, seen: np.ndarray) -> None:
    """Raise InputError where the values say that time is not the axis it is taken for: activity changes little from step to step."""
    rough = {"trials": _roughness(seen, 0), "rows": _roughness(seen, 1), "columns": _roughness(seen, 2)}
    shape = " x ".join(map(str, seen.shape if len(seen) > 1 else seen.shape[1:]))
    if rough["columns"] < ROUGHER * rough["rows"]:
        raise InputError(
            f"{path}: {shape} values change less along a row ({rough['columns']:.2g}) than down a column ({rough['rows']:.2g}): is a row"
            f" a neuron? Give {ALSO if len(seen) > 1 else '--rows neurons if so, --rows time if each row is a time step'}."
        )
    if len(seen) > 2 and rough["trials"] < ROUGHER * rough["rows"]:
        raise InputError(
            f"{path}: {shape} values change least along the first axis; expected (trial, time, neuron). Say what is along the axes:"
            " --axes time,trial,neuron or --axes time,neuron,trial; --axes trial,time,neuron if they are those."
        )
    if seen.shape[1] < seen.shape[2] and rough["rows"] > ROUGHER * rough["columns"]:
        raise InputError(
            f"{path}: {seen.shape[1]} rows and {seen.shape[2]} columns: time steps by neurons, or neurons by time steps? Give --rows time"
            " or --rows neurons."
        )


def _roughness(y: np.ndarray, axis: int) -> float:
    """Return the mean squared step along an axis over twice the variance about each series' mean: 1 for white noise."""
    if y.shape[axis] < 3:
        return np.inf
    variance = float(y.var(axis=axis, ddof=1).mean())
    return float((np.diff(y, axis=axis) ** 2).mean()) / (2 * variance) if variance > 1e-12 else np.inf
