"""What does a blech_clust directory hold? Units, regions, tastes, trials and lasers, read-only and by name.

Runs in the blech_clust environment too: numpy, h5py or PyTables, standard library, Python 3.8 syntax.
"""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

log = logging.getLogger("glm_rates.files.blech")
DEFAULT_DURATIONS = (2000, 5000)  # ms before and after the stimulus, where .params does not say


class Taste(NamedTuple):
    """One stimulus: its digital input, its label and how many trials `.info` promises."""

    dig_in: str
    label: str
    promised: int | None


class Recording(NamedTuple):
    """Everything in a blech_clust directory except the spikes."""

    h5: Path
    tastes: list[Taste]
    skipped: list[str]  # dig-ins with spikes but no taste role
    shapes: dict[str, tuple[int, ...]]  # dig-in -> (trial, unit, ms)
    before_ms: int  # stimulus onset within the trial
    regions: list[str]  # as .info names them, units or not
    unit_region: list[str]
    units: dict[str, np.ndarray]  # columns of /unit_descriptor
    trials: list[dict[str, str]]  # rows of trial_info_frame.csv


class H5:
    """The few things we need from an HDF5 file, through h5py or, where that is missing, PyTables."""

    def __init__(self, path):
        try:
            import h5py
        except ImportError:
            import tables

            self._open, self.file = tables.open_file, None
            self.by_h5py = False
        else:
            self._open, self.by_h5py = h5py.File, True
        try:
            self.file = self._open(str(path), "r")
        except OSError as error:
            raise InputError("{}: not a readable HDF5 file ({}).".format(path, str(error).split("\n")[0])) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __contains__(self, name):
        return name in self.file if self.by_h5py else "/" + name.strip("/") in self.file

    def node(self, name):
        """Dataset or group at ``name``; both libraries slice datasets alike."""
        return self.file[name] if self.by_h5py else self.file.get_node("/" + name.strip("/"))

    def names(self, name):
        """Names of the children of a group."""
        node = self.node(name)
        return list(node.keys()) if self.by_h5py else list(node._v_children.keys())


def one_file(folder: Path, ending: str, required: bool = True) -> Path | None:
    """The single file with this ending; two are an error, none is an error where it is required."""
    found = sorted(p for p in folder.glob("*" + ending) if not p.name.startswith("."))
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise InputError(f"{folder}: {len(found)} files end in {ending} ({names}); expected exactly one.")
    if not found and required:
        raise InputError(f"{folder}: no file ends in {ending}; expected a blech_clust directory.")
    return found[0] if found else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of blech_clust."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}).") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(document).__name__}.")
    return document


def read_recording(folder: Path) -> Recording:
    """Read a blech_clust directory, new or old form of ``.info``.

    Raises
    ------
    InputError
        No such directory, two ``.h5`` files, no spike trains, unreadable JSON, no trial at all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory.")
    path, info = one_file(folder, ".h5"), read_json(one_file(folder, ".info"))
    params = one_file(folder, ".params", required=False)
    durations = (read_json(params) if params else {}).get("spike_array_durations", DEFAULT_DURATIONS)
    frame = folder / "trial_info_frame.csv"
    trials: list[dict[str, str]] = []
    if frame.is_file():
        with open(str(frame), newline="", encoding="utf-8") as handle:
            trials = list(csv.DictReader(handle))
    with H5(path) as h5:
        if "spike_trains" not in h5:
            raise InputError(f"{path}: no '/spike_trains'. Run blech_make_arrays.py first.")
        groups = [g for g in h5.names("spike_trains") if f"spike_trains/{g}/spike_array" in h5]
        shapes = {g: tuple(int(s) for s in h5.node(f"spike_trains/{g}/spike_array").shape) for g in groups}
        table = np.asarray(h5.node("unit_descriptor")[:]) if "unit_descriptor" in h5 else None
    tastes = _tastes(info, path)
    missing = [t.dig_in for t in tastes if t.dig_in not in shapes]
    if missing:
        where = ", ".join(sorted(shapes)) or "nothing"
        raise InputError("{}: no spike_array for {}; /spike_trains has {}.".format(path, ", ".join(missing), where))
    skipped = sorted(set(shapes) - {t.dig_in for t in tastes})
    for name in skipped:
        log.info("%s has spike trains but no taste role in .info: skipped", name)
    for taste in tastes:
        if shapes[taste.dig_in][0] == 0:
            log.warning("%s has no trials: skipped", taste.dig_in)
    tastes = [taste for taste in tastes if shapes[taste.dig_in][0] > 0]
    if not tastes:
        raise InputError(f"{path}: no trials in any spike_array.")
    n_units = {shapes[t.dig_in][1] for t in tastes}
    if len(n_units) > 1 or 0 in n_units:
        raise InputError(f"{path}: spike arrays hold {sorted(n_units)} units; expected one number above 0.")
    units, regions, unit_region = _units(info, table, n_units.pop(), path)
    return Recording(path, tastes, skipped, shapes, int(durations[0]), regions, unit_region, units, trials)


def _tastes(info: dict[str, Any], path: Path) -> list[Taste]:
    role = info.get("taste_params") or {}
    names = role.get("dig_in_names")
    if names is None and "dig_ins" in role:
        names = [f"dig_in_{int(i)}" for i in role["dig_ins"]]
    if not names:
        raise InputError(f"{path}: its .info names no tastes (taste_params.dig_in_names or .dig_ins).")
    labels = role.get("tastes") or names
    counts = role.get("trial_count") or [None] * len(names)
    counts = counts if isinstance(counts, list) else [counts] * len(names)
    if len(labels) != len(names):
        raise InputError(f"{path}: .info has {len(labels)} tastes for {len(names)} dig-ins.")
    counts = (counts + [None] * len(names))[: len(names)]
    return [Taste(str(n), str(l), None if c is None else int(c)) for n, l, c in zip(names, labels, counts)]


def _units(info, table, n_units: int, path: Path):
    """Columns of the unit table, region names, and each unit's region by its electrode number."""
    columns = {} if table is None else {name: table[name] for name in table.dtype.names}
    if table is not None and len(table) != n_units:
        raise InputError(f"{path}: /unit_descriptor has {len(table)} rows, the spike arrays {n_units} units.")
    layout = {str(k).lower(): v for k, v in (info.get("electrode_layout") or {}).items()}
    home: dict[int, str] = {}
    regions = [name for name in layout if name != "none" and not name.startswith("emg")]
    for name in regions:
        for electrodes in layout[name]:
            for electrode in electrodes if isinstance(electrodes, list) else [electrodes]:
                home[int(electrode)] = name
    electrodes = columns.get("electrode_number")
    region = ["unassigned"] * n_units if electrodes is None else [home.get(int(e), "unassigned") for e in electrodes]
    lost = [i for i, r in enumerate(region) if r == "unassigned"]
    if lost:
        shown = ", ".join(str(i) for i in lost[:8]) + (" ..." if len(lost) > 8 else "")
        log.warning("%d unit(s) on no listed electrode, region 'unassigned': %s", len(lost), shown)
    return columns, regions, region


def laser_intervals(recording: Recording, taste: Taste, n_trials: int, h5: H5) -> np.ndarray:
    """Laser (start, stop) of each trial of a taste, ms from the stimulus; (0, 0) without laser: (trial, 2).

    ``trial_info_frame.csv`` decides; older files have ``laser_durations`` and ``laser_onset_lag`` beside the spikes.
    """
    out = np.zeros((n_trials, 2))
    rows = [r for r in recording.trials if r.get("dig_in_name_taste") == taste.dig_in]
    if rows and "laser" in rows[0]:
        for row in rows:
            trial = int(float(row["taste_rel_trial_num"]))
            if row["laser"].strip().lower() in ("true", "1", "1.0") and trial < n_trials:
                start, length = float(row.get("laser_lag") or 0), float(row.get("laser_duration") or 0)
                out[trial] = start, start + length
        return out
    group = f"spike_trains/{taste.dig_in}/"
    if group + "laser_durations" in h5:
        length = np.asarray(h5.node(group + "laser_durations")[:], float).ravel()[:n_trials]
        has_lag = group + "laser_onset_lag" in h5
        start = np.asarray(h5.node(group + "laser_onset_lag")[:], float).ravel()[:n_trials] if has_lag else 0 * length
        out[: len(length)] = np.stack([start, start + length], axis=1) * (length > 0)[:, None]
    return out
