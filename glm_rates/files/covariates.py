"""What else was measured? Running, licks, pupil, position, events: columns of a table with times, or time series of an NWB file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .hdf5 import values
from .session import NO_LABEL, text_of
from .spike_table import _numbers, times_of
from .tables import TIME_COLUMNS, read_table

log = logging.getLogger(__package__)
RESERVED = {"constant", "offset", "stimulus", "deviation", "laser", "coupling", "history", "psth", "homogeneous"}
CODES = (-999.0, -9999.0, -99999.0, 999.0, 9999.0, 99999.0)  #: what some programs write for a missing sample


class Signal(NamedTuple):
    """Samples in time, or (without values) times of events."""

    name: str
    time_s: np.ndarray
    value: np.ndarray | None


def read_covariates(path: Path, wanted: list[str], sampling_rate: float | None) -> list[Signal]:
    """Signals of a file: every column of a table beside its time (with a column ``event``, one signal an event), or the
    wanted time series of an NWB file.

    Raises
    ------
    InputError
        No times, or a name that an effect of the model has.
    """
    found = read_nwb_series(path, wanted) if path.suffix.lower() == ".nwb" else read_columns(path, sampling_rate)
    chosen = [s for s in found if not wanted or s.name in wanted]
    for signal in chosen:
        if signal.name in RESERVED or any(c in signal.name for c in "+*=,"):
            raise InputError(f"{path}: a covariate cannot be called '{signal.name}'; rename the column.")
        if len(signal.time_s) < 2 and signal.value is not None:
            raise InputError(f"{path}: covariate '{signal.name}' has {len(signal.time_s)} sample(s).")
    return [without_codes(signal, path) for signal in chosen]


def without_codes(signal: Signal, path: Path) -> Signal:
    """The signal with NaN for codes of missing samples (`CODES`), where these lie further from all others than those from each other, and not near."""
    if signal.value is None:
        return signal
    value = signal.value.copy()
    for code in CODES:
        coded = value == code
        rest = value[np.isfinite(value) & ~coded]
        if coded.any() and len(rest) and np.abs(rest - code).min() > max(np.ptp(rest), abs(code) / 2):
            log.warning(
                "%s: %d sample(s) of %s are %g, far from all others: taken as missing",
                path,
                coded.sum(),
                signal.name,
                code,
            )
            value[coded] = np.nan
    return signal._replace(value=value)


def read_columns(path: Path, sampling_rate: float | None) -> list[Signal]:
    """Columns of a table; text in a column ``event`` names events."""
    table = read_table(path)
    time = times_of(table, "time", path, sampling_rate)
    if not np.isfinite(time).all():
        raise InputError(f"{path}: {(~np.isfinite(time)).sum()} row(s) without a time.")
    order = np.argsort(time, kind="stable")
    if "event" in table:
        kinds = np.array([text_of(v) for v in table["event"]])
        return [
            Signal(kind, once(time[kinds == kind], kind, path), None)
            for kind in dict.fromkeys(kinds)
            if kind.lower() not in NO_LABEL
        ]
    rest = [name for name in table if name not in TIME_COLUMNS]
    return [Signal(name, time[order], _numbers(table[name], path, name)[order]) for name in rest]


def once(time: np.ndarray, kind: str, path: Path) -> np.ndarray:
    """Times of events of a kind in order, each once; tells how many stand there again."""
    out = np.unique(time)
    if len(out) < len(time):
        log.warning(
            "%s: %d event(s) %s stand there more than once; each is used once", path, len(time) - len(out), kind
        )
    return out


def read_nwb_series(path: Path, wanted: list[str]) -> list[Signal]:
    """Time series of an NWB file by the last part of their place; a series of two or three columns gives ``name_0``, ``name_1``..."""
    found: dict[str, Signal] = {}
    with hdf5io.read(path) as file:

        def visit(place: str, node: object) -> None:
            """Keep a wanted time series."""
            if hasattr(node, "keys") and "data" in node and ("timestamps" in node or "starting_time" in node):  # type: ignore[operator]
                name = place.rsplit("/", 1)[-1]
                if not wanted or any(w == name or w.startswith(name + "_") for w in wanted):
                    found.update({s.name: s for s in _series(node, name)})

        for place in ("processing", "acquisition", "stimulus", "analysis"):
            if place in file:
                file[place].visititems(visit)
    return list(found.values())


def _series(node: object, name: str) -> list[Signal]:
    data = hdf5io.array(node, "data", (1, 2))
    scale, shift = (float(data.attrs.get(name, usual)) for name, usual in (("conversion", 1.0), ("offset", 0.0)))
    value = scale * np.asarray(values(data), float) + shift
    if "timestamps" in node:  # type: ignore[operator]
        time = np.asarray(values(hdf5io.array(node, "timestamps", 1)), float)
    else:
        start = node["starting_time"]  # type: ignore[index]
        time = float(start[()]) + np.arange(len(value)) / float(start.attrs.get("rate", 1.0))
    if len(time) != len(value):
        raise InputError(f"{node.file.filename}: '{name}' has {len(value)} values and {len(time)} times.")  # type: ignore[attr-defined]
    if value.ndim == 1:
        return [Signal(name, time, value)]
    return [Signal(f"{name}_{i}", time, value[:, i]) for i in range(min(value.shape[1], 8))]
