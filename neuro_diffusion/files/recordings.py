"""What is in a user's recording: rates of neurons over time, in trials?

Nothing is guessed: which axis is time is told by the writer (MATLAB, NWB, suite2p, axis names, a column of times), by ``rows``, or by
(time, neuron) and (trial, time, neuron) as the page says, where the values do not contradict it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor  # what is read is first an array; torch takes a second to load

from .axes import LONG_FORM, TIME, TRIAL, check_axes, hint_of, order_of, rows_of, told_order
from .containers import format_of, load, refuse_name
from .plausible import check_values, refuse_copies, refuse_counts
from .tables import Table, is_number, number, plain_name, read_table
from .times import parted_by, without_times

log = logging.getLogger("neuro_diffusion")
SCHEMA = "neuro_diffusion/recording/1"
USUAL = ("activity", "activities")
INDEX = ("", "index", "unnamed_0", "step", "sample")
BESIDE = (
    "condition", "stim", "stimulus", "velocity", "speed", "position", "lick", "licks", "reward", "choice", "context", "label",
    "block", "session", "mean", "average", "avg", "median", "sum", "total", "population", "pop_rate", "population_rate",
    "background", "bg", "neuropil", "motion", "running", "pupil", "wheel", "odor", "odour", "laser", "opto", "led", "animal", "subject",
    "mouse", "day",
)  # fmt: skip


class Activity(NamedTuple):
    """A recording."""

    y: Tensor  #: (K, T, N) rates, 0 where not recorded
    observed: Tensor  #: (N) True where a neuron was recorded
    names: tuple[str, ...] = ()  #: (N) of the neurons, where the file tells them
    told: bool = True  #: whether file or user say which axis is which; False: (trial, time, neuron) is assumed


class Rates(NamedTuple):
    """A recording as arrays; fields as in `Activity`."""

    y: np.ndarray
    observed: np.ndarray
    names: tuple[str, ...]
    told: bool


class _Raw(NamedTuple):
    values: np.ndarray  # (T, N) or (K, T, N) once `told` is True
    names: tuple[str, ...]
    told: bool  # whether the file says which axis is time


def load_activity(
    path: Path, dataset: str | None = None, rows: str | None = None, axes: Sequence[str] | None = None
) -> Activity:
    """Return the rates of a recording as tensors; see `read_activity`."""
    return as_tensors(read_activity(path, dataset, rows, axes))


def as_tensors(found: Rates) -> Activity:
    """Return a recording as tensors."""
    import torch

    return Activity(torch.from_numpy(found.y), torch.from_numpy(found.observed), found.names, found.told)


def read_activity(
    path: Path, dataset: str | None = None, rows: str | None = None, axes: Sequence[str] | None = None
) -> Rates:
    """Return the rates of a recording; see ``InferConfig.activity`` for the formats.

    Parameters
    ----------
    rows : "time" or "neurons": what a row (of a trial) is; None: what the file says. axes : names of all axes, instead.

    Raises
    ------
    InputError : unreadable file, several candidate arrays, wrong shape, NaN inside a recorded neuron, rates outside [-1, 1].
    """
    path = Path(path)
    kind = format_of(path)
    if axes and rows:
        raise InputError("--axes and --rows both say what is along the axes. Give one of them.")
    if kind == "text":
        refuse_name(path, dataset)
    if axes and kind == "text":
        rows = rows_of(path, axes)
    raw = _from_table(path, rows) if kind == "text" else _from_array(path, kind, dataset, rows, axes)
    values = raw.values
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim not in (2, 3):
        raise InputError(
            f"{path}: activity has shape {values.shape}, expected (time, neuron) or (trial, time, neuron)."
        )
    y = np.asarray(values if values.ndim == 3 else values[None], np.float32)
    if rows == "neurons":
        y = y.swapaxes(1, 2)
    if y.shape[1] < 6 or y.shape[2] < 2:
        hint = hint_of(y.shape) if rows is None and not axes else ""
        raise InputError(
            f"{path}: activity has shape {values.shape}; at least 6 time steps and 2 neurons are needed.{hint}"
        )
    y, names = without_times(path, y, raw.names)
    refuse_counts(path, y)
    y, observed = _complete(path, y)
    check_values(path, y[:, :, observed])
    refuse_copies(path, y, np.flatnonzero(observed))
    if not (raw.told or rows):
        check_axes(path, y[:, :, observed])
    log.info("%s: trials: %d, time steps: %d, neurons: %d.", path, *y.shape)
    return Rates(np.nan_to_num(y), observed, names, raw.told or values.ndim == 2)


def _from_array(
    path: Path, kind: str, dataset: str | None, rows: str | None, told: Sequence[str] | None = None
) -> _Raw:
    found = load(
        path,
        kind,
        dataset,
        lambda s: (
            max(s, default=0) > 5 and ((len(s) == 2 and min(s) > 1) or len(s) == 3 or (len(s) == 4 and s[0] == 1))
        ),
        USUAL,
        "activity",
    )
    values, axes = found.values, tuple(name.lower() for name in found.axes)
    if (
        kind == "npy"
        and values.ndim == 2
        and (path.with_name("iscell.npy").is_file() or path.with_name("ops.npy").is_file())
    ):
        values = _cells_only(path, values.T if (rows or (told and rows_of(path, told))) == "time" else values)
        return _Raw(values.T if rows != "neurons" else values, (), True)  # suite2p writes (ROI, time)
    order = told_order(path, values.shape, told) if told else [] if rows else order_of(axes)
    return _Raw(values.transpose(order) if order else values, (), bool(order))


def _cells_only(path: Path, values: np.ndarray) -> np.ndarray:
    """Return the rows of ROIs (ROI, time) that suite2p's iscell.npy beside them takes for cells."""
    beside = path.with_name("iscell.npy")
    if not beside.is_file():
        return values
    with hdf5io.parsing(beside, "suite2p's iscell.npy"):
        cells = np.load(beside, allow_pickle=False)
    if len(cells) != len(values):
        raise InputError(
            f"{path}: {len(values)} ROIs, but {beside.name} beside it knows {len(cells)}. Take it away if it is another's."
        )
    keep = cells.reshape(len(cells), -1)[:, 0] > 0
    if not keep.all():
        log.warning(
            "%s: %d of %d ROIs are no cells (iscell.npy) and are left out.", path, int((~keep).sum()), len(keep)
        )
    return values[keep]


def _from_table(path: Path, rows: str | None) -> _Raw:
    """Return the rates of a table; columns of times, indices and trials are taken by their names."""
    table = read_table(path)
    if len({len(row) for row in table.rows}) != 1:
        raise InputError(
            f"{path}: not a table of numbers with a row a time step and a column a neuron (rows differ in length)."
        )
    if rows == "neurons" or (rows is None and _names_its_rows(table)):
        return _rows_of_neurons(path, table, turn=rows is None)
    width = len(table.rows[0])
    header = list(table.header or ())
    header = [""] * (width - len(header)) + header if header else []
    lower = [plain_name(name) for name in header]
    long_form = [name for name in lower if name in LONG_FORM]
    if long_form:
        raise InputError(
            f"{path}: has a column '{long_form[0]}', one line a value; a row a time step and a column a neuron are expected."
            " In pandas: d.pivot(index=['trial', 'time'], columns='neuron', values='rate').reset_index(), with the names of your columns."
        )
    beside = [header[i] for i, name in enumerate(lower) if name.rstrip("_0123456789") in BESIDE]
    if beside:
        raise InputError(
            f"{path}: column '{beside[0]}' is named for no neuron. Leave it out, or give it a neuron's name."
        )
    trial = [i for i, name in enumerate(lower) if name in TRIAL]
    drop = {i for i, name in enumerate(lower) if name in TIME or name in INDEX or i in trial}
    keep = [i for i in range(width) if i not in drop]
    values = _numbers(path, [[row[i] for i in keep] for row in table.rows])
    names = tuple(header[i] for i in keep) if header else ()
    if drop:
        log.info("%s: columns %s are no neurons.", path, ", ".join(header[i] or "of the index" for i in sorted(drop)))
    timed = [i for i in sorted(drop) if lower[i] in TIME and all(is_number(row[i]) for row in table.rows)]
    clock = np.array([number(row[timed[0]]) for row in table.rows]) if timed else None
    if trial:
        labels = [row[trial[0]] for row in table.rows]
        if clock is not None and (np.diff(_by_trial(path, clock, labels)) < 0).any():
            raise InputError(f"{path}: column '{header[timed[0]]}' goes back within a trial. Sort the rows by time.")
        return _Raw(_by_trial(path, values, labels), names, True)
    if 1 < len(table.starts) < len(values):  # a blank line after each is only a way to end lines
        block = np.searchsorted(table.starts, np.arange(len(values)), side="right")
        log.warning("%s: blank lines or comments part the rows into %d trials.", path, len(table.starts))
        return _Raw(_by_trial(path, values, list(map(str, block))), names, bool(timed))
    return _Raw(values if clock is None else parted_by(path, values, clock), names, bool(timed))


def _names_its_rows(table: Table) -> bool:
    """Return whether a first column, named for neurons, names each row once, and numbers stand beside it."""
    header, first = table.header or [""], [row[0] for row in table.rows]
    named = plain_name(header[0]) in (*LONG_FORM, "neurons", "units", "cells", "name")
    return named and len(set(first)) == len(first) and len(table.rows[0]) > 6 and not is_number(first[0])


def _rows_of_neurons(path: Path, table: Table, turn: bool) -> _Raw:
    """Return the rates of a table that has a row a neuron (turned if asked); a first column of names, a header of times."""
    rows, names = table.rows, tuple[str, ...]()
    first = [row[0] for row in rows]
    if table.header is not None and not table.header[0].replace(".", "").isdigit():
        names, rows = tuple(first), [row[1:] for row in rows]
    values = _numbers(path, rows)
    return _Raw(values.T if turn else values, names, True)


def _numbers(path: Path, rows: list[list[str]]) -> np.ndarray:
    try:
        return np.array([[number(cell) for cell in row] for row in rows])
    except ValueError:
        raise InputError(f"{path}: not a table of numbers with a row a time step and a column a neuron.") from None


def _by_trial(path: Path, values: np.ndarray, labels: list[str]) -> np.ndarray:
    names = list(dict.fromkeys(labels))
    parts = [values[[label == name for label in labels]] for name in names]
    if len({len(p) for p in parts}) != 1:
        raise InputError(
            f"{path}: trials of {min(map(len, parts))} to {max(map(len, parts))} steps; all must be as long."
        )
    return np.stack(parts)


def _complete(path: Path, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates without trials and frames that were not recorded, and which neurons were.

    A column of NaN is a neuron that was not recorded. Frames of NaN part a trial; a trial with other gaps is left out.
    """
    missing = np.isnan(y)
    observed = ~missing.all((0, 1))
    if not observed.any():
        raise InputError(f"{path}: every value is NaN.")
    if np.isinf(y).any():
        raise InputError(f"{path}: there are infinite values.")
    empty = missing[:, :, observed].all(2)  # (K, T) nothing recorded
    if empty.any():
        y = _runs(path, y, empty)
        missing = np.isnan(y)
    gaps = missing[:, :, observed].any((1, 2))
    if gaps.all():
        bad = int(np.flatnonzero(missing.any((0, 1)) & observed)[0])
        count = int(missing[:, :, bad].sum())
        raise InputError(
            f"{path}: neuron {bad} has {count} NaN. A neuron is recorded throughout, or its whole column is NaN."
        )
    if gaps.any():
        log.warning("%s: %d of %d trials have NaN in some neurons and are left out.", path, int(gaps.sum()), len(y))
    return y[~gaps], observed


def _runs(path: Path, y: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Return the stretches between frames that were not recorded, cut to one length, as trials."""
    runs = []
    for trial, gone in zip(y, empty):
        edges = np.flatnonzero(np.diff(np.r_[True, gone, True].astype(int)))
        runs += [trial[a:b] for a, b in edges.reshape(-1, 2)]
    enough = [r for r in runs if len(r) >= 6]
    if not enough:
        raise InputError(f"{path}: no 6 steps in a row without NaN.")
    lengths = sorted({len(r) for r in enough})
    T = max(lengths, key=lambda n: n * sum(len(r) // n for r in enough))
    parts = [r[i * T : (i + 1) * T] for r in enough for i in range(len(r) // T)]
    log.warning("%s: frames of NaN part the recording; %d trials of %d steps are used.", path, len(parts), T)
    return np.stack(parts)


def save(
    path: Path,
    activity: Tensor,
    W: Tensor,
    h0: Tensor,
    current: Tensor,
    provenance: dict[str, str],
    stimulus: Tensor | None = None,
) -> Path:
    """Write a simulated recording (K, T, N) with the truth behind it."""
    D = hdf5io.Dataset
    sets = {
        "activity": D(activity.numpy(), "rate", "recorded rates, NaN: not recorded", ("trial", "time", "neuron")),
        "W": D(W.numpy(), "", "true weights, row = postsynaptic", ("post", "pre")),
        "h0": D(h0.numpy(), "", "true initial states", ("trial", "neuron")),
        "input": D(current.numpy(), "", "true constant input", ("neuron",)),
    }
    if stimulus is not None:
        sets["stimulus"] = D(stimulus.numpy(), "", "known input in units of h", ("trial", "time", "neuron"))
    return hdf5io.write(path, SCHEMA, sets, provenance=provenance, overwrite=True)
