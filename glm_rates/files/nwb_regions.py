"""In which region is each unit of an NWB file? A column of its own, its peak channel, its electrodes, or their group."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .hdf5 import values
from .nwb_columns import column, column_names
from .session import REGION_COLUMNS, UNKNOWN, text_of

log = logging.getLogger("glm_rates.files.nwb")
PEAK_COLUMNS = (
    "peak_channel_id",
    "peak_electrode_id",
    "max_channel_id",
    "main_channel_id",
    "peak_channel",
    "maximum_channel",
)
WITHIN_PROBE = (
    "site_id",
    "local_index",
    "channel_id",
    "channel",
    "rel_id",
)  # numbers of electrodes that begin anew on each probe
ELECTRODES = "general/extracellular_ephys/electrodes"


def regions(file: h5py.File, table: h5py.Group, n: int, wanted: str | None, path: Path) -> list[str]:
    """Region of each unit: a column of its own, the location of its peak channel, of its electrodes, of its group."""
    names = column_names(table)
    if wanted is not None and wanted not in names:
        raise InputError(f"{path}: units have no column '{wanted}'; they have {', '.join(names)}.")
    sources: list[tuple[str, Callable[[], list[str]]]] = []
    for name in [wanted] if wanted else REGION_COLUMNS:
        if name in names:
            sources.append((f"units.{name}", partial(_own_column, table, name, wanted is not None)))
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


def _own_column(table: h5py.Group, name: str, wanted: bool) -> list[str]:
    """A column of the units as text; positions in space and other measured numbers are no names unless they are asked for."""
    found = column(table, name)
    if not wanted and any(np.ndim(v) or (isinstance(v, (float, np.floating)) and v % 1) for v in found):
        raise InputError(f"'{name}' holds numbers, no names; --region-column {name} takes them as names")
    return [text_of(v) for v in found]


def _by_peak(file: h5py.File, table: h5py.Group, name: str) -> list[str]:
    """Location of the electrode whose id the unit names."""
    electrodes = hdf5io.require(file, ELECTRODES)
    within = next((c for c in WITHIN_PROBE if c in electrodes), None)
    if not name.endswith("_id"):  # a number on its probe, not an id
        if within is None or "electrode_group" not in table or "group" not in electrodes:
            raise InputError(
                "peak channels are no ids of electrodes, and electrodes have no numbers within their probe"
            )
        on_probe = zip(column(electrodes, "group"), map(text_of, column(electrodes, within)))
        where = dict(zip(on_probe, map(text_of, column(electrodes, "location"))))
        keys = zip(column(table, "electrode_group"), map(text_of, column(table, name)))
        return [where.get(key, "unknown") for key in keys]
    place: dict[str, str] = {}
    for number, location in zip(map(text_of, column(electrodes, "id")), map(text_of, column(electrodes, "location"))):
        if place.setdefault(number, location) != location:
            raise InputError(f"id {number} stands for electrodes in {place[number]} and in {location}")
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
