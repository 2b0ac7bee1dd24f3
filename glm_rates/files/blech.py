"""What does a blech_clust directory hold? Units, regions, tastes, trials and lasers, read-only and by name.

Runs in the blech_clust environment too: numpy, h5py or PyTables, standard library, Python 3.8 syntax.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .blech_trials import number_of, read_trials
from .foreign import how_to_convert
from .hdf5 import H5, parsing

log = logging.getLogger("glm_rates.files.blech")
DEFAULT_DURATIONS = (2000, 5000)  # ms before and after the stimulus, where .params does not say
DEFAULT_RATE = 30000.0  # samples a second, where neither .params nor .info says


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
    sampling_rate: float  # Hz, of /sorted_units and of the columns without _ms of trial_info_frame.csv


def one_file(folder: Path, ending: str, name: str | None = None) -> Path:
    """The single file with this ending, or the named one; two are an error, and none.

    Raises
    ------
    InputError
        None, or several and none named.
    """
    found = find_file(folder, ending, name)
    if found is None:
        raise InputError(
            f"{folder}: no file ends in {ending}; expected a blech_clust directory.{how_to_convert(folder)}"
        )
    return found


def find_file(folder: Path, ending: str, name: str | None = None) -> Path | None:
    """The single file with this ending, or the named one; None where there is none."""
    found = sorted(p for p in folder.glob("*" + ending) if not p.name.startswith("."))
    if name:
        chosen = [p for p in found if p.name == Path(name).name]
        if not chosen:
            names = ", ".join(p.name for p in found) or "none"
            raise InputError(f"{folder}: no '{name}'; files ending in {ending}: {names}.")
        return chosen[0]
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise InputError(
            f"{folder}: {len(found)} files end in {ending} ({names}); expected exactly one{', or --h5 NAME' if ending == '.h5' else ''}."
        )
    return found[0] if found else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of blech_clust."""
    with parsing(path, "JSON"):
        document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(document).__name__}.")
    return document


def read_recording(folder: Path, h5: str | None = None) -> Recording:
    """Read a blech_clust directory, new or old form of ``.info``.

    Raises
    ------
    InputError
        No such directory, two ``.h5`` files, no spike trains, unreadable JSON, no trial at all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory.")
    path, info_path = one_file(folder, ".h5", name=h5), one_file(folder, ".info")
    info, params = read_json(info_path), read_params(folder)
    trials = read_trials(folder)
    with H5(path) as file:
        if "spike_trains" not in file:
            raise InputError(f"{path}: no '/spike_trains'. Run blech_make_arrays.py first.")
        groups = [g for g in file.names("spike_trains") if f"spike_trains/{g}/spike_array" in file]
        shapes = {g: tuple(int(s) for s in file.array(f"spike_trains/{g}/spike_array", 3).shape) for g in groups}
        table = in_order_of_arrays(file, file.read("unit_descriptor", 1, "V")) if "unit_descriptor" in file else None
    tastes = usable_tastes(_tastes(info, list(shapes), info_path), shapes, path)
    n_units = {shapes[t.dig_in][1] for t in tastes}
    if len(n_units) > 1 or 0 in n_units:
        raise InputError(f"{path}: spike arrays hold {sorted(n_units)} units; expected one number above 0.")
    units, regions, unit_region = _units(info, table, n_units.pop(), path, info_path)
    skipped = sorted(set(shapes) - {t.dig_in for t in tastes})
    lengths = {shapes[t.dig_in][2] for t in tastes}
    before, rate = stimulus_ms(params, folder, lengths), sampling_rate(params, info, folder)
    return Recording(path, tastes, skipped, shapes, before, regions, unit_region, units, trials, rate)


def in_order_of_arrays(file: H5, table: np.ndarray) -> np.ndarray:
    """Rows of ``/unit_descriptor`` in the order of the spike arrays, which is that of the names in ``/sorted_units``.

    Rows are appended as units are saved; with a list of units to sort (``--sort-file``) that is another order. A row belongs to the unit
    with its ``hash``; in older files, without hashes, to the one with its ``unit_number``.
    """
    names = set(table.dtype.names or ())
    groups = sorted(file.names("sorted_units")) if "sorted_units" in file else []
    order = np.arange(len(table))
    if "hash" in names and groups and all(f"sorted_units/{name}/hash" in file for name in groups):
        rows = {bytes(mark): row for row, mark in enumerate(table["hash"])}
        marks = [bytes(file.read(f"sorted_units/{name}/hash", None, "S").ravel()[0]) for name in groups]
        if len(rows) == len(table) and set(marks) == set(rows):
            order = np.array([rows[mark] for mark in marks])
    elif "hash" not in names and "unit_number" in names and len(set(table["unit_number"].tolist())) == len(table):
        order = np.argsort(table["unit_number"], kind="stable")
    if (np.diff(order) < 0).any():
        log.warning("%s: rows of /unit_descriptor are in another order than the units: joined by their ids", file.path)
    return table[order]


def read_params(folder: Path) -> dict[str, Any]:
    """The parameters of the sorting, empty where there are none, or bare lines without names (older versions)."""
    path = find_file(folder, ".params")
    if path is None:
        return {}
    with parsing(path, "the parameters of blech_clust"):
        text = path.read_bytes()[:65536].decode("utf-8", "replace")
    if text.strip() and not set(text) & set('{}[]:"'):
        log.warning(
            "%s: bare lines of an older version, which do not name their values: %d ms before the stimulus and %g Hz are assumed",
            path, DEFAULT_DURATIONS[0], DEFAULT_RATE,
        )  # fmt: skip
        return {}
    return read_json(path)


def usable_tastes(tastes: list[Taste], shapes: dict[str, tuple[int, ...]], path: Path) -> list[Taste]:
    """Tastes that have trials; notes dig-ins without a role and tastes without trials.

    Raises
    ------
    InputError
        A taste has no spike array, or none has trials.
    """
    missing = [t.dig_in for t in tastes if t.dig_in not in shapes]
    if missing:
        where = ", ".join(sorted(shapes)) or "nothing"
        raise InputError("{}: no spike_array for {}; /spike_trains has {}.".format(path, ", ".join(missing), where))
    for name in sorted(set(shapes) - {t.dig_in for t in tastes}):
        log.info("%s has spike trains but no taste role in .info: skipped", name)
    for taste in tastes:
        if shapes[taste.dig_in][0] == 0:
            log.warning("%s has no trials: skipped", taste.dig_in)
    labels = [t.label for t in tastes]
    for label in sorted({text for text in labels if labels.count(text) > 1}):
        log.warning("%d dig-ins are labelled '%s': they stay two stimuli", labels.count(label), label)
    tastes = [taste for taste in tastes if shapes[taste.dig_in][0] > 0]
    if not tastes:
        raise InputError(f"{path}: no trials in any spike_array.")
    return tastes


def stimulus_ms(params: dict[str, Any], folder: Path, lengths: set[int]) -> int:
    """Milliseconds from the start of a trial to its stimulus; ``lengths`` of the spike arrays must bear it out.

    Raises
    ------
    InputError
        ``spike_array_durations`` are no durations, or not those of the arrays.
    """
    durations = params.get("spike_array_durations")
    if durations is None:
        if "spike_array_durations" in params:
            log.warning(
                "%s: spike_array_durations is null in .params: %d ms before the stimulus are assumed",
                folder,
                DEFAULT_DURATIONS[0],
            )
        return DEFAULT_DURATIONS[0]
    first = durations[0] if isinstance(durations, list) and durations else None
    if not isinstance(first, (int, float)) or isinstance(first, bool) or not 0 <= first < 1e7:
        raise InputError(
            f"{folder}: spike_array_durations in .params is {durations!r}; expected [ms before, ms after]."
        )
    total = sum(durations) if all(isinstance(d, (int, float)) for d in durations) else None
    if len(durations) != 2 or total is None or not lengths or total in lengths:
        return int(first)
    if total * 1000 in lengths:
        log.warning("%s: spike_array_durations in .params are seconds: %g s before the stimulus", folder, first)
        return int(first * 1000)
    raise InputError(
        f"{folder}: spike_array_durations in .params are {durations[0]:g} and {durations[1]:g} ms, the spike arrays have "
        f"{', '.join(map(str, sorted(lengths)))} columns; expected one a ms. Where is the stimulus? Make .params agree."
    )


def sampling_rate(params: dict[str, Any], info: dict[str, Any], folder: Path) -> float:
    """Samples a second, from ``.params``, then ``.info``."""
    for name, document in ((".params", params), (".info", info)):
        rate = document.get("sampling_rate")
        rate = float(rate) if isinstance(rate, str) and rate.strip().replace(".", "", 1).isdigit() else rate
        if isinstance(rate, (int, float)) and not isinstance(rate, bool) and rate > 0:
            if rate < 1000:
                log.warning("%s: sampling_rate in %s is %g: taken as kHz", folder, name, rate)
            return float(rate) * (1000 if rate < 1000 else 1)
        if rate is not None:
            log.warning("%s: sampling_rate in %s is %r, no number above 0", folder, name, rate)
    return DEFAULT_RATE


def _dig_ins(role: dict[str, Any], groups: list[str], path: Path) -> list[str]:
    """Groups of ``/spike_trains`` that hold the tastes: by name, or by the number of the digital input.

    ``dig_in_names`` and, in newer files, ``dig_in_nums`` may call an input otherwise than the group does (``board-DIN-09``, ``dig_in_9``).
    """
    names, numbers = role.get("dig_in_names"), role.get("dig_in_nums")
    with parsing(path, ".info of blech_clust (taste_params)"):
        if names is None and isinstance(numbers, list):
            names = [f"dig_in_{int(i)}" for i in numbers]
        elif names is None and isinstance(role.get("dig_ins"), list):
            return [f"dig_in_{int(i)}" for i in role["dig_ins"]]
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: names no tastes (taste_params.dig_in_names, .dig_in_nums or .dig_ins).")
    alike = {str(name): [g for g in groups if number_of(g) == number_of(str(name))] for name in names}
    return [name if name in groups or len(same) != 1 else same[0] for name, same in alike.items()]


def _tastes(info: dict[str, Any], groups: list[str], path: Path) -> list[Taste]:
    role = info.get("taste_params")
    role = role if isinstance(role, dict) else {}
    names = _dig_ins(role, groups, path)
    labels = role.get("tastes") or names
    counts = role.get("trial_count") or [None] * len(names)
    counts = counts if isinstance(counts, list) else [counts] * len(names)
    if not isinstance(labels, list) or len(labels) != len(names):
        raise InputError(
            f"{path}: {len(labels) if isinstance(labels, list) else labels!r} tastes for {len(names)} dig-ins."
        )
    counts = (counts + [None] * len(names))[: len(names)]
    promised = [int(c) if isinstance(c, (int, float)) and not isinstance(c, bool) else None for c in counts]
    return [Taste(str(n), str(l), c) for n, l, c in zip(names, labels, promised)]


def _units(info, table, n_units: int, path: Path, info_path: Path):
    """Columns of the unit table, region names, and each unit's region by its electrode number."""
    columns = {} if table is None else {name: table[name] for name in table.dtype.names}
    if table is not None and len(table) != n_units:
        raise InputError(f"{path}: /unit_descriptor has {len(table)} rows, the spike arrays {n_units} units.")
    home, regions = electrode_homes(info.get("electrode_layout"), info_path)
    electrodes = columns.get("electrode_number")
    region = ["unassigned"] * n_units if electrodes is None else [home.get(int(e), "unassigned") for e in electrodes]
    lost = [i for i, r in enumerate(region) if r == "unassigned"]
    if lost and electrodes is None:
        log.warning("%s: no electrode numbers in /unit_descriptor: no unit has a region ('unassigned')", path)
    elif lost:
        shown = ", ".join(str(i) for i in lost[:8]) + (" ..." if len(lost) > 8 else "")
        log.warning("%d unit(s) on no listed electrode, region 'unassigned': %s", len(lost), shown)
    return columns, regions, region


def electrode_homes(layout: Any, path: Path) -> tuple[dict[int, str], list[str]]:
    """Region of each electrode, and the regions in their order; emg and none are no regions.

    Lists may be nested, and a region's electrodes may stand under names of their own (``{"0": [...], "1": [...]}``).
    """
    if layout is None:
        return {}, []
    if not isinstance(layout, dict):
        raise InputError(
            f"{path}: electrode_layout is {type(layout).__name__}; expected regions with lists of electrodes."
        )
    named = {str(k).lower(): v for k, v in layout.items()}
    regions = [name for name in named if name != "none" and not name.startswith("emg")]
    home: dict[int, str] = {}
    twice: list[int] = []
    for name in regions:
        todo = [named[name]]
        while todo:
            item = todo.pop()
            if isinstance(item, dict):
                todo += item.values()
            elif isinstance(item, list):
                todo += item
            elif (isinstance(item, (int, float)) and not isinstance(item, bool)) or (
                isinstance(item, str) and item.strip().lstrip("-").isdigit()
            ):
                twice += [int(item)] if home.setdefault(int(item), name) != name else []
            elif item is None:
                log.warning("%s: electrode_layout of '%s' holds null: no electrodes", path, name)
            else:
                raise InputError(f"{path}: electrode_layout of '{name}' holds {item!r}; expected electrode numbers.")
    if twice:
        shown = ", ".join(map(str, sorted(twice)[:8])) + (" ..." if len(twice) > 8 else "")
        log.warning("%s: electrode(s) %s stand in two regions: 'unassigned'", path, shown)
        home.update(dict.fromkeys(twice, "unassigned"))
    return home, regions
