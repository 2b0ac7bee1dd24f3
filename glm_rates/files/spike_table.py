"""Spike times instead of spike arrays: NWB units + trials, or a table ``unit_id,time_s`` with a table of events.

Trials are cut around each event; without events the recording is cut into equal segments and has no stimulus effect.
"""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

log = logging.getLogger("glm_rates.files.spike_table")
LABELS = ("taste", "stimulus", "odor", "odour", "condition", "trial_type", "label")
REGIONS = ("region", "location", "brain_area", "electrode_group", "group")


class SpikeTimes(NamedTuple):
    """Spikes of every unit and the events that trials are aligned to."""

    unit_id: list[str]
    times_s: list[np.ndarray]
    region: list[str]
    event_s: np.ndarray  # empty: no events
    label: list[str]


def extract_times(source: Path, options: dict, bin_plan, finish):
    """Counts and labels of spike times: (params, arrays), as `stage1_extract.extract_blech` returns them."""
    data = read_times(source, options)
    if not data.unit_id:
        raise InputError(f"{source}: no units.")
    if len(data.event_s):
        return _trials_around_events(data, options, bin_plan, finish)
    return _segments(data, options, finish)


def read_times(source: Path, options: dict) -> SpikeTimes:
    """Spike times and events of a file, by its ending."""
    ending = source.suffix.lower()
    readers = {".nwb": read_nwb, ".csv": read_csv, ".npz": read_npz}
    if ending not in readers:
        expected = "a blech_clust directory, .nwb, .csv (unit_id,time_s) or .npz"
        raise InputError(f"{source}: cannot read '{ending}' files; expected {expected}.")
    return readers[ending](source, options)


def _trials_around_events(data: SpikeTimes, options: dict, bin_plan, finish):
    low, high = options["trial_window"]
    start, stop, window, onset = bin_plan(options, high - low, -low)
    tastes = list(dict.fromkeys(data.label))
    taste = np.array([tastes.index(label) for label in data.label])
    order = np.argsort(taste, kind="stable")
    first_s = data.event_s[order] + (low + start) / 1000
    counts = _count(data.times_s, first_s, (stop - start) // options["bin_size"], options["bin_size"])
    trial = np.concatenate([np.arange((taste == k).sum()) for k in range(len(tastes))])
    arrays = {"counts": counts, "taste": taste[order], "trial": trial, "laser": np.zeros(counts.shape[:2])}
    params = {
        "tastes": tastes,
        "dig_ins": tastes,
        "regions": data.region,
        "units": {"unit_id": data.unit_id},
        "stimulus": True,
    }
    return finish(params, arrays, options, start, window, np.full(len(taste), onset))


def _segments(data: SpikeTimes, options: dict, finish):
    width, reach = options["bin_size"], -(-options["reach_ms"] // options["bin_size"])
    n_bins = int(options["segment_s"] * 1000 // width)
    every = np.concatenate(data.times_s) if data.times_s else np.zeros(0)
    n_segments = int((every.max() - every.min()) * 1000 // (n_bins * width)) if len(every) else 0
    if n_segments < 2 or n_bins <= reach:
        raise InputError(
            f"no events, and the spikes do not fill two segments of {options['segment_s']:g} s; set --segment-s."
        )
    log.info(
        "no events: %d segments of %g s, no stimulus effect, --time-lims does not apply",
        n_segments,
        n_bins * width / 1000,
    )
    first_s = every.min() + np.arange(n_segments) * n_bins * width / 1000
    counts = _count(data.times_s, first_s, n_bins, width)
    arrays = {
        "counts": counts,
        "taste": np.zeros(n_segments, int),
        "trial": np.arange(n_segments),
        "laser": np.zeros(counts.shape[:2]),
    }
    params = {
        "tastes": ["none"],
        "dig_ins": ["none"],
        "regions": data.region,
        "units": {"unit_id": data.unit_id},
        "stimulus": False,
    }
    return finish(params, arrays, options, 0, (reach, n_bins), np.zeros(n_segments, int))


def _count(times_s: list[np.ndarray], first_s: np.ndarray, n_bins: int, bin_ms: int) -> np.ndarray:
    """Spikes per bin of every trial: (trial, bin, unit)."""
    out = np.zeros((len(first_s), n_bins, len(times_s)), np.int16)
    for unit, times in enumerate(times_s):
        times = np.sort(times)
        for trial, begin in enumerate(first_s):
            edges = begin + np.arange(n_bins + 1) * bin_ms / 1000
            out[trial, :, unit] = np.diff(np.searchsorted(times, edges))
    return out


def read_nwb(path: Path, options: dict) -> SpikeTimes:
    """Units table and trials table of an NWB file."""
    try:
        from pynwb import NWBHDF5IO
    except ImportError:
        raise InputError(f"{path}: reading NWB needs pynwb; install the 'nwb' extra.") from None
    try:
        with NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
            nwb = io.read()
            if nwb.units is None or "spike_times" not in nwb.units.colnames:
                raise InputError(f"{path}: no units table with spike_times.")
            units = nwb.units
            times = [np.asarray(units["spike_times"][i], float) for i in range(len(units))]
            region = _nwb_column(units, REGIONS, len(times), "all")
            ids = [str(i) for i in units.id[:]]
            events, label = np.zeros(0), []
            if nwb.trials is not None:
                column = options["align_column"]
                if column not in nwb.trials.colnames:
                    raise InputError(
                        f"{path}: trials have no column '{column}'; they have {', '.join(nwb.trials.colnames)}."
                    )
                events = np.asarray(nwb.trials[column][:], float)
                names = (options["label_column"],) if options["label_column"] else LABELS
                if options["label_column"] and options["label_column"] not in nwb.trials.colnames:
                    raise InputError(
                        f"{path}: trials have no column '{names[0]}'; they have {', '.join(nwb.trials.colnames)}."
                    )
                label = _nwb_column(nwb.trials, names, len(events), "stimulus")
    except (OSError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a readable NWB file ({str(error).splitlines()[0]}).") from None
    return _without_nan_events(SpikeTimes(ids, times, region, events, label), path)


def _nwb_column(table, names: tuple[str, ...], n: int, default: str) -> list[str]:
    name = next((name for name in names if name in table.colnames), None)
    if name is None:
        return [default] * n
    return [str(getattr(value, "name", value)) for value in table[name][:]]


def _without_nan_events(data: SpikeTimes, path: Path) -> SpikeTimes:
    good = np.isfinite(data.event_s)
    if not good.all():
        log.warning("%s: %d event(s) without a time left out", path.name, (~good).sum())
    return data._replace(event_s=data.event_s[good], label=[label for label, g in zip(data.label, good) if g])


def read_csv(path: Path, options: dict) -> SpikeTimes:
    """Spike table ``unit_id,time_s[,region]``, with ``--events`` a table ``time_s[,label]``."""
    columns = _table(path, ("unit_id", "time_s"))
    return _assemble(path, columns["unit_id"], columns["time_s"], columns.get("region"), options)


def read_npz(path: Path, options: dict) -> SpikeTimes:
    """The same columns as one-dimensional arrays of an ``.npz`` file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as .npz without pickles ({error}).") from None
    for name in ("unit_id", "time_s"):
        if name not in columns:
            raise InputError(f"{path}: no array '{name}'; it has {', '.join(columns) or 'none'}.")
    return _assemble(path, columns["unit_id"], columns["time_s"], columns.get("region"), options)


def _assemble(path: Path, unit_id, time_s, region, options: dict) -> SpikeTimes:
    try:
        times = np.asarray(time_s, float)
    except ValueError as error:
        raise InputError(f"{path}: time_s holds something that is no number ({error}).") from None
    unit_id = np.asarray(unit_id).astype(str)
    if len(times) != len(unit_id) or not np.isfinite(times).all():
        raise InputError(f"{path}: expected one finite time_s for every unit_id.")
    ids = sorted(set(unit_id), key=lambda u: (not u.isdigit(), int(u) if u.isdigit() else 0, u))
    home = dict(zip(unit_id, np.asarray(region).astype(str))) if region is not None else {}
    events, label = np.zeros(0), []
    if options["events"]:
        table = _table(Path(options["events"]), ("time_s",))
        try:
            events = np.asarray(table["time_s"], float)
        except ValueError as error:
            raise InputError(f"{options['events']}: time_s holds something that is no number ({error}).") from None
        name = options["label_column"] or next((n for n in LABELS if n in table), None)
        if options["label_column"] and name not in table:
            raise InputError(f"{options['events']}: no column '{name}'; it has {', '.join(table)}.")
        label = table[name] if name else ["stimulus"] * len(events)
    data = SpikeTimes(ids, [times[unit_id == u] for u in ids], [home.get(u, "all") for u in ids], events, list(label))
    return _without_nan_events(data, path)


def _table(path: Path, required: tuple[str, ...]) -> dict[str, list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            names = [n.strip() for n in reader.fieldnames or []]
            reader.fieldnames = names
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as CSV ({error}).") from None
    for name in required:
        if name not in names:
            raise InputError(f"{path}: no column '{name}'; it has {', '.join(names) or 'none'}.")
    if not rows:
        raise InputError(f"{path}: no rows.")
    return {name: [(row[name] or "").strip() for row in rows] for name in names}
