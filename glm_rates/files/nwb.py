"""What does an NWB file hold? Units with their regions and observed time, and any of its tables of intervals.

Read with h5py as the format's own layout, without loading what is not asked for: columns are datasets, a ragged column has an index
of ends beside it, a column of table rows names its table.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .ends import check_ends
from .hdf5 import values
from .lasers import event_lasers
from .nwb_columns import column, column_names, ends_of, flat_array, read, scalar_columns
from .nwb_regions import regions
from .session import Session, choose_label, clean_events, on_clock, row_ids, text_of
from .tables import SCALE

log = logging.getLogger("glm_rates.files.nwb")
APART_S = 1.0  # between the starts or the ends of raw signals at the same time
UNIT_OF_TIME = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
                "us": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6}  # fmt: skip


def read_nwb(path: Path, options: dict) -> Session:
    """Units and one table of intervals.

    Raises
    ------
    InputError
        Not NWB, no units with spike times, several tables of intervals and none named, damaged columns.
    """
    with hdf5io.read(path) as file:
        table = units_table(file, path)
        times, ids = spike_times(table, path), [text_of(i) for i in column(table, "id")]
        if len(ids) != len(times):
            raise InputError(f"{path}: units have {len(ids)} ids and {len(times)} rows of spike times.")
        region = regions(file, table, len(times), options.get("region_column"), path)
        columns = scalar_columns(table, len(times))
        observed = intervals_of_units(table, times, path)
        chosen = interval_table(file, options.get("intervals"), path)
        data = Session(ids, times, region, columns, np.zeros(0), [], [], observed=observed)
        if chosen is not None:
            data = read_events(data, chosen, options, path)
        data = data._replace(invalid=invalid_times(file, path), recorded=recorded_span(file))
    return clean_events(data, path.name)


def units_table(file: h5py.File, path: Path) -> h5py.Group:
    """The table of units: ``/units``, or the only other one with spike times."""
    found = []

    def visit(name: str, node: Any) -> None:
        """Keep a table that has spike times."""
        if isinstance(node, h5py.Group) and "spike_times" in node and "id" in node:
            found.append(name)

    if "processing" in file:
        file["processing"].visititems(visit)
    if "units" in file and isinstance(file["units"], h5py.Group) and "spike_times" in file["units"]:
        if found:
            told = ", ".join(f"processing/{name}" for name in found)
            log.warning("%s: 'units' are used; other tables of units are not: %s", path.name, told)
        return file["units"]
    if len(found) != 1:
        raise InputError(f"{path}: no units table with spike_times{', but ' + ', '.join(found) if found else ''}.")
    return file["processing"][found[0]]


def spike_times(table: h5py.Group, path: Path) -> list[np.ndarray]:
    """Spike times of each unit in seconds; the dataset's own unit of time is heeded."""
    flat = flat_array(table, "spike_times")
    unit = text_of(table["spike_times"].attrs.get("unit", "seconds")).lower()
    if unit not in UNIT_OF_TIME:
        raise InputError(f"{path}: spike_times are in '{unit}'; expected seconds.")
    ends = ends_of(table, "spike_times", len(flat), path)
    starts = np.concatenate([[0], ends[:-1]]).astype(int)
    parts = [np.asarray(read(flat, slice(a, b)), float) * UNIT_OF_TIME[unit] for a, b in zip(starts, ends)]
    bad = sum(int((~np.isfinite(part)).sum()) for part in parts)
    if bad:
        log.warning("%s: %d spike time(s) that are no number left out", path.name, bad)
        parts = [part[np.isfinite(part)] for part in parts]
    return parts


def intervals_of_units(table: h5py.Group, times: list[np.ndarray], path: Path) -> list[np.ndarray | None] | None:
    """Intervals in which each unit was observed; None where the file does not say.

    They are rows of start and end, or, as MATLAB may write them, two rows of starts and ends; where both could be meant (two intervals),
    the way in which none ends before it begins and that holds more spikes.

    Raises
    ------
    InputError
        Neither way, or not one list a unit.
    """
    if "obs_intervals" not in table:
        return None
    flat = np.asarray(values(hdf5io.array(table, "obs_intervals", 2)), float)
    ways = [pairs for pairs in (flat, flat.T) if pairs.shape[1] == 2]
    if not ways:
        raise InputError(f"{path}: obs_intervals have {flat.shape[1]} columns, expected start and end.")
    found = [_split_intervals(table, pairs, len(times), path) for pairs in ways]
    best = 0
    if len(ways) > 1:
        good = [(not (pairs[:, 0] > pairs[:, 1]).any(), _n_inside(parts, times)) for pairs, parts in zip(ways, found)]
        best = int(good[1] > good[0])
    if ways[best] is not flat:
        log.warning(
            "%s: obs_intervals are two rows of starts and ends, not rows of start and end: read as that", path.name
        )
    silent = sum(not len(part) for part in found[best])
    if silent > 0:
        log.warning("%s: %d unit(s) without obs_intervals are taken as observed throughout", path.name, silent)
    return [part if len(part) else None for part in found[best]]


def _split_intervals(table: h5py.Group, pairs: np.ndarray, n: int, path: Path) -> list[np.ndarray]:
    """Rows of start and end of each unit."""
    if "obs_intervals_index" not in table and len(pairs) == n:  # one interval a unit needs no index
        parts = [pairs[unit : unit + 1] for unit in range(n)]
    else:
        parts = np.split(pairs, ends_of(table, "obs_intervals", len(pairs), path)[:-1])
    if len(parts) != n:
        raise InputError(f"{path}: obs_intervals of {len(parts)} units, the table has {n}.")
    return [part[~(part[:, 0] == part[:, 1])] for part in parts]  # an interval of no length holds a place, no time


def _n_inside(intervals: list[np.ndarray], times: list[np.ndarray]) -> int:
    """Number of spikes in the intervals of their unit; a unit without any is observed throughout."""
    return sum(
        len(t) if not len(mine) else int(sum(((t >= a) & (t <= b)).sum() for a, b in mine))
        for mine, t in zip(intervals, times)
    )


def interval_tables(file: h5py.File) -> dict[str, h5py.Group]:
    """Every table of intervals by name, that of invalid times left out."""
    found: dict[str, h5py.Group] = {}

    def visit(name: str, node: Any) -> None:
        """Keep a table of intervals."""
        if isinstance(node, h5py.Group) and (
            "start_time" in node or text_of(node.attrs.get("neurodata_type", "")) == "TimeIntervals"
        ):
            found.setdefault(name.rsplit("/", 1)[-1], node)

    for place in ("intervals", "processing", "stimulus", "scratch", "analysis"):
        if place in file and isinstance(file[place], h5py.Group):
            file[place].visititems(visit)
    empty = [name for name, table in found.items() if "id" in table and not len(table["id"])]
    if empty:
        log.warning("%s: no rows in %s", Path(file.filename).name, ", ".join(empty))
    return {name: table for name, table in found.items() if name not in ("invalid_times", *empty)}


def interval_table(file: h5py.File, wanted: str | None, path: Path) -> h5py.Group | None:
    """The table whose rows are trials: the named one, ``trials``, or the only one.

    Raises
    ------
    InputError
        No table of that name, or several and none named.
    """
    tables = interval_tables(file)
    if wanted == "none":
        return None
    if wanted is not None:
        if wanted not in tables:
            raise InputError(f"{path}: no intervals '{wanted}'; there are {', '.join(tables) or 'none'}.")
        return tables[wanted]
    if "trials" in tables:
        if len(tables) > 1:
            rest = ", ".join(name for name in tables if name != "trials")
            log.info("%s: rows of 'trials' are used; other tables of intervals (--intervals NAME): %s", path.name, rest)
        return tables["trials"]
    others = {name: table for name, table in tables.items() if name != "epochs"}
    if tables and not others:
        log.info("%s: no trials; epochs are used as trials with --intervals epochs", path.name)
    if len(others) > 1:
        told = ", ".join(f"{name} ({len(table['id'])} rows)" for name, table in others.items())
        raise InputError(f"{path}: no trials, but several tables of intervals: {told}. Give --intervals NAME, or none.")
    for name, table in others.items():
        log.warning("%s: no trials; rows of '%s' are used as trials (--intervals none: none)", path.name, name)
        return table
    return None


def read_events(data: Session, table: h5py.Group, options: dict, path: Path) -> Session:
    """The session with times, labels, ids, ends and lasers of the rows of a table of intervals."""
    names, name = column_names(table), table.name.rsplit("/", 1)[-1]
    align = options["align_column"] or "start_time"
    if align not in names:
        raise InputError(f"{path}: {name} have no column '{align}'; they have {', '.join(names)}.")
    events = np.asarray(read(flat_array(table, align)), float) * SCALE.get(align[align.rfind("_") :], 1.0)
    every = scalar_columns(table, len(events))
    columns = {k: v for k, v in every.items() if k not in (align, "start_time", "stop_time", "timeseries", "tags")}
    label, kind = choose_label(columns, options["label_column"], f"{path}: {name}", len(events))
    ids = column(table, "id")
    start, stop = (
        np.asarray(read(flat_array(table, edge)), float) if edge in table else None
        for edge in ("start_time", "stop_time")
    )
    if len(ids) != len(events) or (stop is not None and len(stop) != len(events)):
        raise InputError(f"{path}: the columns of {name} have different lengths.")
    if stop is not None:
        begin = events if start is None or len(start) != len(events) else start
        check_ends(begin, stop, options.get("to_trial_end", False), f"{path}: {name}")
    if align != "start_time" and start is not None and stop is not None and len(start) == len(events):
        events = on_clock(events, start, stop, f"{path}: {name}.{align}")
    laser = event_lasers(every, events, f"{path}: {name}")
    numbers = row_ids(ids, len(events)) or list(range(len(events)))
    return data._replace(event_s=events, label=label, trial_id=numbers, stop_s=stop, laser=laser, kind=kind)


def invalid_times(file: h5py.File, path: Path) -> np.ndarray | None:
    """Intervals that the file itself calls invalid."""
    table = file.get("intervals/invalid_times")
    if not isinstance(table, h5py.Group) or "start_time" not in table or "stop_time" not in table:
        return None
    pair = [np.asarray(read(flat_array(table, name)), float) for name in ("start_time", "stop_time")]
    if len(pair[0]) != len(pair[1]):
        raise InputError(f"{path}: invalid_times have {len(pair[0])} starts and {len(pair[1])} stops.")
    return np.stack(pair, axis=1)


def recorded_span(file: h5py.File) -> np.ndarray | None:
    """From when to when the raw signal was recorded, where the file holds it: (interval, 2)."""
    spans: list[tuple[float, float]] = []
    names: list[str] = []
    for node in file["acquisition"].values() if isinstance(file.get("acquisition"), h5py.Group) else ():
        if not isinstance(node, h5py.Group) or text_of(node.attrs.get("neurodata_type", "")) != "ElectricalSeries":
            continue
        data, stamps, start = node.get("data"), node.get("timestamps"), node.get("starting_time")
        if isinstance(stamps, h5py.Dataset) and stamps.ndim == 1 and len(stamps) > 1:
            spans.append((float(stamps[0]), float(stamps[-1])))
        elif (
            isinstance(start, h5py.Dataset)
            and isinstance(data, h5py.Dataset)
            and data.shape
            and start.attrs.get("rate")
        ):
            first = float(start[()])
            spans.append((first, first + data.shape[0] / float(start.attrs["rate"])))
        names += [node.name.rsplit("/", 1)[-1]] * (len(spans) - len(names))
    apart = [
        a
        for a in spans
        for b in spans
        if a[0] < b[1] and b[0] < a[1] and max(abs(a[0] - b[0]), abs(a[1] - b[1])) > APART_S
    ]
    if apart:
        told = ", ".join(f"{name} {first:g} to {last:g} s" for name, (first, last) in zip(names, spans))
        text = "%s: raw signals of different times (%s): every unit counts as recorded in all of them; --observed FILE says otherwise"
        log.warning(text, Path(file.filename).name, told)
    return np.array(spans) if spans else None
