"""What does an NWB file hold? Units with their regions and observed time, and any of its tables of intervals.

Read with h5py as the format's own layout, without loading what is not asked for: columns are datasets, a ragged column has an index
of ends beside it, a column of table rows names its table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .hdf5 import values
from .session import UNKNOWN, Session, choose_label, clean_events, text_of

log = logging.getLogger("glm_rates.files.nwb")
REGION_COLUMNS = ("region", "location", "brain_area", "brain_region", "area", "ecephys_structure_acronym", "structure_acronym",
                  "brain_structure", "anatomical_location", "beryl_location", "cosmos_location", "allen_location")  # fmt: skip
PEAK_COLUMNS = ("peak_channel_id", "peak_electrode_id", "max_channel_id", "main_channel_id")
ELECTRODES = "general/extracellular_ephys/electrodes"
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
        observed = intervals_of_units(table, len(times), path)
        events, label, trial_id, stop = np.zeros(0), [], [], None
        chosen = interval_table(file, options.get("intervals"), path)
        if chosen is not None:
            events, label, trial_id, stop = read_events(chosen, options, path)
        invalid = invalid_times(file, path)
        recorded = recorded_span(file)
    data = Session(ids, times, region, columns, events, label, trial_id, stop, observed, recorded, invalid)
    return clean_events(data, path.name)


def units_table(file: h5py.File, path: Path) -> h5py.Group:
    """The table of units: ``/units``, or the only other one with spike times."""
    found = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Group) and "spike_times" in node and "id" in node:
            found.append(name)

    if "units" in file and isinstance(file["units"], h5py.Group) and "spike_times" in file["units"]:
        return file["units"]
    if "processing" in file:
        file["processing"].visititems(visit)
    if len(found) != 1:
        raise InputError(f"{path}: no units table with spike_times{', but ' + ', '.join(found) if found else ''}.")
    return file["processing"][found[0]]


def spike_times(table: h5py.Group, path: Path) -> list[np.ndarray]:
    """Spike times of each unit in seconds; the dataset's own unit of time is heeded."""
    flat = hdf5io.array(table, "spike_times", 1)
    unit = text_of(flat.attrs.get("unit", "seconds")).lower()
    if unit not in UNIT_OF_TIME:
        raise InputError(f"{path}: spike_times are in '{unit}'; expected seconds.")
    ends = ends_of(table, "spike_times", len(flat), path)
    starts = np.concatenate([[0], ends[:-1]]).astype(int)
    parts = [np.asarray(values(flat, slice(a, b)), float) * UNIT_OF_TIME[unit] for a, b in zip(starts, ends)]
    bad = sum(int((~np.isfinite(part)).sum()) for part in parts)
    if bad:
        log.warning("%s: %d spike time(s) that are no number left out", path.name, bad)
        parts = [part[np.isfinite(part)] for part in parts]
    return parts


def ends_of(table: h5py.Group, name: str, length: int, path: Path) -> np.ndarray:
    """Where each row's part of a ragged column ends."""
    ends = np.asarray(values(hdf5io.array(table, name + "_index", 1, "iu")), np.int64)
    if len(ends) and ((np.diff(ends) < 0).any() or ends[0] < 0 or ends[-1] > length):
        raise InputError(f"{path}: '{table.name}/{name}_index' does not fit '{name}' of {length} values.")
    return ends


def column(table: h5py.Group, name: str) -> np.ndarray | list[np.ndarray]:
    """A column of a table: one value a row, or one array a row where it is ragged."""
    data = hdf5io.require(table, name)
    if not isinstance(data, h5py.Dataset) or data.shape is None or data.ndim == 0:
        raise InputError(f"{table.file.filename}: '{table.name}/{name}' is no column of a table.")
    flat = values(data)
    if h5py.check_ref_dtype(data.dtype) is not None:
        flat = np.array([_target(table, ref) for ref in flat.ravel()], object)
    elif (
        "elements" in data.attrs and flat.dtype.kind in "iu"
    ):  # an enumeration: numbers stand for the texts in another dataset
        texts = np.array([text_of(v) for v in values(table.file[data.attrs["elements"]])], object)
        flat = texts[flat]
    if name + "_index" not in table:
        return flat
    ends = ends_of(table, name, len(flat), Path(table.file.filename))
    return np.split(flat, ends[:-1]) if len(ends) else []


def _target(table: h5py.Group, reference: Any) -> str:
    """Name of what a reference points at; of an electrode group, the last part of its path."""
    return table.file[reference].name.rsplit("/", 1)[-1] if reference else ""


def scalar_columns(table: h5py.Group, n: int) -> dict[str, list[Any]]:
    """Columns with one number or text a row; others, and damaged ones, are left out."""
    out: dict[str, list[Any]] = {}
    for name in column_names(table):
        if name + "_index" in table or name in ("spike_times", "obs_intervals", "electrodes"):
            continue
        try:
            found = column(table, name)
        except (InputError, KeyError, TypeError, ValueError, OSError, RuntimeError, IndexError) as error:
            log.debug("column %s left out: %s", name, error)
            continue
        if len(found) == n and np.ndim(found) == 1:
            out[name] = [
                v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in np.asarray(found).tolist()
            ]
    return out


def column_names(table: h5py.Group) -> list[str]:
    """Names of a table's columns in their order."""
    names = [text_of(name) for name in np.atleast_1d(table.attrs.get("colnames", []))]
    names += [n for n in table if n not in names and n != "id" and not n.endswith("_index")]
    return [n for n in names if n in table and isinstance(table[n], h5py.Dataset)]


def regions(file: h5py.File, table: h5py.Group, n: int, wanted: str | None, path: Path) -> list[str]:
    """Region of each unit: a column of its own, the location of its peak channel, of its electrodes, of its group."""
    names = column_names(table)
    if wanted is not None and wanted not in names:
        raise InputError(f"{path}: units have no column '{wanted}'; they have {', '.join(names)}.")
    sources: list[tuple[str, Callable[[], list[str]]]] = []
    for name in [wanted] if wanted else REGION_COLUMNS:
        if name in names:
            sources.append((f"units.{name}", partial(_own_column, table, name)))
    if not wanted:
        sources += [
            (f"the peak channel {name}", partial(_by_peak, file, table, name)) for name in PEAK_COLUMNS if name in names
        ]
        sources += [("units.electrodes", partial(_by_electrodes, file, table))] if "electrodes" in names else []
        sources += [("units.electrode_group", partial(_by_group, table))] if "electrode_group" in names else []
    for where, read in sources:
        try:
            found = read()
        except (InputError, KeyError, TypeError, ValueError, OSError, RuntimeError, IndexError) as error:
            log.warning("%s: regions cannot be read from %s (%s)", path.name, where, str(error).split("\n")[0])
            continue
        found = ["unassigned" if text.lower() in UNKNOWN else text for text in found]
        if len(found) == n and set(found) - {"unassigned"}:
            lost = found.count("unassigned")
            log.info("%s: regions from %s (%d)", path.name, where, len(set(found)))
            if lost:
                log.warning("%s: %d unit(s) without a region: 'unassigned'", path.name, lost)
            return found
    return ["all"] * n


def _own_column(table: h5py.Group, name: str) -> list[str]:
    """A column of the units as text."""
    return [text_of(v) for v in column(table, name)]


def _by_peak(file: h5py.File, table: h5py.Group, name: str) -> list[str]:
    """Location of the electrode whose id the unit names."""
    electrodes = hdf5io.require(file, ELECTRODES)
    place = {text_of(i): text_of(l) for i, l in zip(column(electrodes, "id"), column(electrodes, "location"))}
    return [place.get(text_of(v), "unknown") for v in column(table, name)]


def _by_electrodes(file: h5py.File, table: h5py.Group) -> list[str]:
    """Location of the unit's electrodes: of the one with the largest mean waveform, else of most of them."""
    reference = table["electrodes"].attrs.get("table")
    electrodes = file[reference] if reference else hdf5io.require(file, ELECTRODES)
    location = [text_of(l) for l in column(electrodes, "location")]
    rows = column(table, "electrodes")
    shapes = _mean_waveforms(table, len(rows))
    out, several = [], 0
    for unit, mine in enumerate(np.atleast_1d(r) for r in rows):
        names = [location[int(row)] for row in mine if 0 <= int(row) < len(location)]
        if not names:
            out.append("unknown")
            continue
        several += len(set(names)) > 1
        wave = None if shapes is None else shapes[unit]
        if wave is not None and wave.shape[1] == len(mine) and np.isfinite(wave).all():
            out.append(location[int(mine[np.ptp(wave, axis=0).argmax()])])
        elif wave is not None and wave.shape[1] == len(location) and np.isfinite(wave).all():
            out.append(location[int(np.ptp(wave, axis=0).argmax())])
        else:
            out.append(max(dict.fromkeys(names), key=names.count))
    if several:
        log.info(
            "%d unit(s) have electrodes in several regions: that of the largest waveform, or of most electrodes",
            several,
        )
    return out


def _mean_waveforms(table: h5py.Group, n: int) -> list[np.ndarray] | None:
    """``waveform_mean`` of each unit as (sample, electrode), where the file has it in that form."""
    if "waveform_mean" not in table or "waveform_mean_index" in table:
        return None
    data = table["waveform_mean"]
    if not isinstance(data, h5py.Dataset) or data.shape is None or data.ndim != 3 or len(data) != n:
        return None
    return list(np.asarray(values(data), float))


def _by_group(table: h5py.Group) -> list[str]:
    """Location of the unit's electrode group, or the group's name where that says nothing."""
    out = []
    for reference in values(table["electrode_group"]):
        group = table.file[reference]
        location = text_of(group.attrs.get("location", ""))
        out.append(group.name.rsplit("/", 1)[-1] if location.lower() in UNKNOWN else location)
    return out


def intervals_of_units(table: h5py.Group, n: int, path: Path) -> list[np.ndarray | None] | None:
    """Intervals in which each unit was observed; None where the file does not say."""
    if "obs_intervals" not in table:
        return None
    flat = np.asarray(values(hdf5io.array(table, "obs_intervals", 2)), float)
    if flat.shape[1] != 2:
        raise InputError(f"{path}: obs_intervals have {flat.shape[1]} columns, expected start and end.")
    parts = np.split(flat, ends_of(table, "obs_intervals", len(flat), path)[:-1])
    if len(parts) != n:
        raise InputError(f"{path}: obs_intervals of {len(parts)} units, the table has {n}.")
    silent = sum(not len(part) for part in parts)
    if silent > 0:
        log.warning("%s: %d unit(s) without obs_intervals are taken as observed throughout", path.name, silent)
    return [part if len(part) else None for part in parts]


def interval_tables(file: h5py.File) -> dict[str, h5py.Group]:
    """Every table of intervals by name, that of invalid times left out."""
    found: dict[str, h5py.Group] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Group) and (
            "start_time" in node or text_of(node.attrs.get("neurodata_type", "")) == "TimeIntervals"
        ):
            found.setdefault(name.rsplit("/", 1)[-1], node)

    for place in ("intervals", "processing", "stimulus", "scratch", "analysis"):
        if place in file and isinstance(file[place], h5py.Group):
            file[place].visititems(visit)
    return {name: table for name, table in found.items() if name != "invalid_times"}


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
        return tables["trials"]
    others = {name: table for name, table in tables.items() if name != "epochs"}
    if tables and not others:
        log.info("%s: no trials; epochs are used as trials with --intervals epochs", path.name)
    if len(others) > 1:
        told = ", ".join(f"{name} ({len(table['id'])} rows)" for name, table in others.items())
        raise InputError(f"{path}: no trials, but several tables of intervals: {told}. Give --intervals NAME, or none.")
    for name, table in others.items():
        log.info("%s: no trials; the table of intervals '%s' is used (--intervals none: none)", path.name, name)
        return table
    return None


def read_events(table: h5py.Group, options: dict, path: Path):
    """Times, labels, ids and ends of the rows of a table of intervals."""
    names, name = column_names(table), table.name.rsplit("/", 1)[-1]
    align = options["align_column"]
    if align not in names:
        raise InputError(f"{path}: {name} have no column '{align}'; they have {', '.join(names)}.")
    events = np.asarray(values(hdf5io.array(table, align, 1)), float)
    columns = scalar_columns(table, len(events))
    columns = {k: v for k, v in columns.items() if k not in (align, "start_time", "stop_time", "timeseries", "tags")}
    label = choose_label(columns, options["label_column"], f"{path}: {name}", len(events))
    ids = column(table, "id")
    stop = np.asarray(values(hdf5io.array(table, "stop_time", 1)), float) if "stop_time" in table else None
    if len(ids) != len(events) or (stop is not None and len(stop) != len(events)):
        raise InputError(f"{path}: the columns of {name} have different lengths.")
    return events, label, [v.item() if hasattr(v, "item") else v for v in ids], stop


def invalid_times(file: h5py.File, path: Path) -> np.ndarray | None:
    """Intervals that the file itself calls invalid."""
    table = file.get("intervals/invalid_times")
    if not isinstance(table, h5py.Group) or "start_time" not in table or "stop_time" not in table:
        return None
    pair = [np.asarray(values(hdf5io.array(table, name, 1)), float) for name in ("start_time", "stop_time")]
    if len(pair[0]) != len(pair[1]):
        raise InputError(f"{path}: invalid_times have {len(pair[0])} starts and {len(pair[1])} stops.")
    return np.stack(pair, axis=1)


def recorded_span(file: h5py.File) -> np.ndarray | None:
    """From when to when the raw signal was recorded, where the file holds it: (interval, 2)."""
    spans = []
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
    return np.array(spans) if spans else None
