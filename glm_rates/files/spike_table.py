"""What does a table of spikes hold? One row a spike, ``unit_id,time_s``, with a table of events; text, parquet or npz.

Text tables are read as they are exported: commas, semicolons, tabs; with semicolons or tabs a comma may be the decimal mark. The
unit of time stands in the column's name: ``time_s``, ``time_ms``, ``time_us``, or ``time_samples`` with ``--sampling-rate``.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from .ends import check_ends
from .lasers import event_lasers
from .pynapple_npz import support_of
from .session import NO_LABEL, REGION_COLUMNS, UNKNOWN, Session, choose_label, clean_events, on_clock, row_ids, text_of
from .tables import SCALE, TIME_COLUMNS, Table, read_table

log = logging.getLogger("glm_rates.files.spike_table")
ELSEWHERE = ("probe", "probe_id", "probe_name", "insertion", "pid", "shank", "shank_id", "tetrode", "tetrode_id", "ntrode", "ntrode_id",
             "electrode_group", "electrode_group_name", "group_name", "session", "session_id", "recording", "eid", "animal", "subject")  # fmt: skip
CHANNELS = ("channel", "channel_id", "channel_index", "electrode", "electrode_id", "peak_channel", "group")
SEGMENTS = ("segment", "segment_index", "segment_id", "seg", "block", "block_index", "epoch", "run")
EDGES = ({"on", "off"}, {"onset", "offset"}, {"start", "stop"}, {"start", "end"}, {"rising", "falling"}, {"up", "down"})
IDS = ("trial_id", "trial", "id", "trial_number", "trial_num", "trial_index")


def read_spike_table(path: Path, options: dict) -> Session:
    """Spikes of a table and, with ``--events``, of what happened.

    Raises
    ------
    InputError
        Columns are missing or hold no numbers, or the file is no table.
    """
    table = read_table(path)
    if "unit_id" not in table:
        raise InputError(f"{path}: no column 'unit_id'; it has {', '.join(table) or 'none'}. Rename that of units.")
    times = times_of(table, "time", path, options.get("sampling_rate"))
    unit_id = np.array([id_of(u) for u in table["unit_id"]])
    if len(times) != len(unit_id):
        raise InputError(f"{path}: {len(unit_id)} unit_id and {len(times)} times; expected one of each a spike.")
    if not np.isfinite(times).all():
        raise InputError(f"{path}: {(~np.isfinite(times)).sum()} time(s) are empty or no finite number.")
    one_clock(table, times, path)
    nameless = np.isin(np.char.lower(unit_id), NO_LABEL)
    if nameless.any():
        kinds = ", ".join(sorted({repr(str(u)) for u in unit_id[nameless]}))
        raise InputError(f"{path}: {nameless.sum()} spike(s) without a unit_id ({kinds}); leave them out.")
    found, first, inverse = np.unique(unit_id, return_index=True, return_inverse=True)
    names = [str(name) for name in found]
    order = sorted(
        range(len(names)), key=lambda i: (not names[i].isdigit(), int(names[i]) if names[i].isdigit() else 0, names[i])
    )
    ids_of_one_list(table, inverse, names, path)
    by_unit = np.argsort(inverse, kind="stable")
    parts = np.split(times[by_unit], np.cumsum(np.bincount(inverse))[:-1])
    ids = [names[i] for i in order]
    wanted = options.get("region_column")
    if wanted is not None and wanted not in table:
        raise InputError(f"{path}: no column '{wanted}'; it has {', '.join(table)}.")
    place = wanted or next((name for name in REGION_COLUMNS if name in table), None)
    columns = {
        name: alike([_number(column[first[i]]) for i in order])
        for name, column in table.items()
        if name not in ("unit_id", *TIME_COLUMNS, place) and constant_in(column, inverse)
    }
    region = ["all"] * len(order)
    if place is not None:
        of_unit = regions_of(table[place], inverse, found, f"{path}: column '{place}'")
        region = columns[place] = [of_unit[i] for i in order]
    data = Session(
        ids,
        [parts[i] for i in order],
        region,
        columns,
        np.zeros(0),
        [],
        [],
        observed=_observed(table, path, ids, columns, options),
    )
    if options.get("events"):
        data = _with_events(data, Path(options["events"]), options)
    return data


def one_clock(table: Table, times: np.ndarray, path: Path) -> None:
    """Refuse a table of spikes whose times begin anew in each trial or segment (a column such as ``trial`` says which).

    Raises
    ------
    InputError
        It says what to add.
    """
    name = next((n for n in (*IDS[:2], *IDS[3:], *SEGMENTS) if n in table), None)
    if name is None:
        return
    _, trial = np.unique([text_of(v) for v in table[name]], return_inverse=True)
    low, high = np.full(trial.max() + 1, np.inf), np.full(trial.max() + 1, -np.inf)
    np.minimum.at(low, trial, times)
    np.maximum.at(high, trial, times)
    order = np.argsort(low)
    if len(order) > (1 if name in SEGMENTS else 2) and (low[order][1:] < high[order][:-1]).mean() > 0.5:
        raise InputError(
            f"{path}: spikes of different {'segments' if name in SEGMENTS else 'trials'} (column '{name}') lie at the same times, {times.min():g} to {times.max():g} s: they count "
            "from the start of each. Add it: all spikes and events are expected on one clock."
        )


def ids_of_one_list(table: Table, unit: np.ndarray, names: list[str], path: Path) -> None:
    """Refuse a table whose ids begin anew on each probe (or channel): units of one id would become one unit.

    Raises
    ------
    InputError
        It names the column and a unit.
    """
    by_lower = {name.lower(): name for name in table}
    for name in (by_lower[n] for n in (*ELSEWHERE, *CHANNELS) if n in by_lower):
        _, place = np.unique([text_of(v) for v in table[name]], return_inverse=True)
        number = np.zeros((len(names), place.max() + 1), int)
        np.add.at(number, (unit, place), 1)
        apart = (number > 0).sum(axis=1) > 1
        if name.lower() in CHANNELS:  # a spike's largest channel may change a little
            apart &= number.max(axis=1) < 0.5 * number.sum(axis=1)
            apart &= apart.mean() > 0.5
        if apart.any():
            first = names[int(np.flatnonzero(apart)[0])]
            raise InputError(
                f"{path}: unit_id {first} has spikes in {(number[apart][0] > 0).sum()} of '{name}': are ids counted anew in each? Make every "
                f"unit_id one unit's ('{name}' and the number together)."
            )


def id_of(value: Any) -> str:
    """An id as text; 3.0, as a table with empty cells has it, is 3."""
    text = text_of(value)
    whole, point, zeros = text.partition(".")
    return whole if point and zeros and not zeros.strip("0") and whole.lstrip("-").isdigit() else text


def constant_in(column: Any, unit: np.ndarray) -> bool:
    """Whether a column has one value in all spikes of a unit: only then it says something of the unit."""
    codes: dict[str, int] = {}
    code = np.array([codes.setdefault(text_of(v), len(codes)) for v in column])
    first = np.full(unit.max() + 1, -1)
    first[unit[::-1]] = code[::-1]
    return bool((code == first[unit]).all())


def regions_of(column: Any, unit: np.ndarray, names: np.ndarray, where: str) -> list[str]:
    """Region of each unit from a column of the spikes; spikes without one do not count.

    Raises
    ------
    InputError
        The spikes of a unit name several.
    """
    found: list[set[str]] = [set() for _ in names]
    for u, text in zip(unit.tolist(), map(text_of, column)):
        found[u].add(text)
    known = [sorted(t for t in texts if t.lower() not in UNKNOWN) for texts in found]
    for name, texts in zip(names, known):
        if len(texts) > 1:
            raise InputError(
                f"{where}: spikes of unit {name} are in {' and in '.join(texts)}; expected one region a unit."
            )
    lost = sum(not texts for texts in known)
    if lost:
        log.warning("%s: %d unit(s) without a region: 'unassigned'", where, lost)
    return [texts[0] if texts else "unassigned" for texts in known]


def _observed(
    table: Table, path: Path, ids: list[str], columns: dict[str, list[Any]], options: dict
) -> list[np.ndarray | None] | None:
    """Intervals in which each unit was recorded: from ``--observed``, or columns observed_start_s, observed_stop_s."""
    if options.get("observed"):
        return read_observed(Path(options["observed"]), ids, options.get("sampling_rate"))
    support = support_of(path)
    if support is not None:
        return [support] * len(ids)
    names = ("observed_start_s", "observed_stop_s")
    if not any(name in table for name in names):
        return None
    odd = [name for name in names if name not in columns]
    if odd:
        raise InputError(
            f"{path}: '{odd[0]}' {'differs between spikes of a unit' if odd[0] in table else 'is missing'}; give --observed FILE."
        )
    pairs = [[_float(columns[name][unit]) for name in names] for unit in range(len(ids))]
    return [np.array([pair]) if all(np.isfinite(pair)) else None for pair in pairs]


def read_observed(path: Path, ids: list[str], sampling_rate: float | None) -> list[np.ndarray | None]:
    """Table ``start_s,stop_s[,unit_id]``: when each unit was recorded; rows without a unit_id hold for all.

    Raises
    ------
    InputError
        Columns are missing, or it names a unit that the recording has not.
    """
    table = read_table(path)
    pair = [times_of(table, name, path, sampling_rate) for name in ("start", "stop")]
    rows = np.stack(pair, axis=1)
    if not np.isfinite(rows).all() or (rows[:, 0] > rows[:, 1]).any():
        raise InputError(f"{path}: expected a start before a stop in every row.")
    owner = [id_of(u) for u in table.get("unit_id", [""] * len(rows))]
    unknown = sorted(set(owner) - {"", *ids})
    if unknown:
        raise InputError(f"{path}: the recording has no unit '{unknown[0]}'; it has {', '.join(ids[:8])}.")
    shared = sorted(set(owner) & {name for name in ids if ids.count(name) > 1})
    if shared:
        raise InputError(
            f"{path}: several units of the recording have the id {shared[0]}; expected unit_ids of one unit each."
        )
    mine = [rows[[name in ("", unit) for name in owner]] for unit in ids]
    return [part if len(part) else np.zeros((0, 2)) for part in mine]


def _with_events(data: Session, path: Path, options: dict) -> Session:
    table, rate = read_table(path), options.get("sampling_rate")
    align = options.get("align_column") or _column_of_events(table, path)
    if align not in table:
        raise InputError(f"{path}: no column '{align}'; it has {', '.join(table)}.")
    ending = next((e for e in (*SCALE, "_samples") if align.endswith(e)), "")
    if ending:
        events = times_of({align: table[align]}, align.removesuffix(ending), path, rate)
    else:
        events = _numbers(table[align], path, align)
    start, stop = (times_of(table, edge, path, rate) if _has(table, edge) else None for edge in ("start", "stop"))
    rest = {k: v for k, v in table.items() if k not in (align, *TIME_COLUMNS, *IDS)}
    if edge := next((n for n, c in rest.items() if {text_of(v).lower() for v in c} in EDGES), None):
        raise InputError(
            f"{path}: column '{edge}' tells beginnings from ends; expected one row an event: keep those that begin."
        )
    label, kind = choose_label(rest, options["label_column"], str(path), len(events))
    if stop is not None:
        check_ends(events if start is None else start, stop, options.get("to_trial_end", False), str(path))
    if start is not None and stop is not None and not align.startswith("start_"):
        events = on_clock(events, start, stop, f"{path}: {align}")
    laser = event_lasers(rest, events, str(path))
    numbered = (row_ids(table[name], len(events)) for name in IDS if name in table)
    ids: list[Any] = next((found for found in numbered if found), list(range(len(events))))
    data = data._replace(event_s=events, label=label, trial_id=ids, stop_s=stop, laser=laser, kind=kind)
    return clean_events(data, path.name)


def _has(table: Table, what: str) -> bool:
    return any(what + ending in table for ending in (*SCALE, "_samples", "_time"))


def _column_of_events(table: Table, path: Path) -> str:
    """The column with the times of the events where none was named: ``start_time``, or time in any unit.

    Raises
    ------
    InputError
        Both are there and differ.
    """
    times = [name for name in TIME_COLUMNS if name in table]
    if not times and "start_time" not in table:
        raise InputError(f"{path}: no column 'time_s' or 'start_time'; it has {', '.join(table)}; give --align NAME.")
    if "start_time" not in table:
        return times[0]
    if times and list(map(text_of, table["start_time"])) != list(map(text_of, table[times[0]])):
        raise InputError(f"{path}: events stand in start_time and in {times[0]}; give --align NAME.")
    return "start_time"


def times_of(table: Table, what: str, path: Path, sampling_rate: float | None) -> np.ndarray:
    """Times in seconds from the one column that is called ``what`` and its unit.

    Raises
    ------
    InputError
        No such column, several, samples without a sampling rate, or no numbers.
    """
    endings = (*SCALE, "_samples", *(("_time",) if what in ("start", "stop") else ()))
    found = [what + ending for ending in endings if what + ending in table]
    if len(found) != 1:
        expected = f"{what}_s (or {what}_ms, {what}_us, {what}_samples)"
        if found:
            raise InputError(f"{path}: times stand in {' and '.join(found)}; expected one column {expected}.")
        raise InputError(f"{path}: no column '{what}_s'; it has {', '.join(table) or 'none'}; expected {expected}.")
    numbers, ending = _numbers(table[found[0]], path, found[0]), found[0][len(what) :]
    if ending == "_samples":
        if not sampling_rate:
            raise InputError(f"{path}: {found[0]} needs --sampling-rate, in Hz.")
        return numbers / sampling_rate
    return numbers * SCALE.get(ending, 1.0)


def _numbers(column: list[Any], path: Path, name: str) -> np.ndarray:
    """A column as floats; an empty cell is NaN."""
    try:
        return np.array(column, float)
    except (ValueError, TypeError):
        pass  # empty cells, or text
    try:
        return np.array([_float(v, strict=True) for v in column], float)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {name} holds something that is no number ({str(error)[:80]}).") from None


def _float(value: Any, strict: bool = False) -> float:
    try:
        return float("nan") if value is None or value == "" else float(value)
    except (ValueError, TypeError):
        if strict:
            raise
        return float("nan")


def alike(cells: list[Any]) -> list[Any]:
    """Cells of a column of the units; empty ones among numbers are NaN.

    Examples
    --------
    >>> alike([3, "", 4.5]), alike(["good", ""])
    ([3, nan, 4.5], ['good', ''])
    """
    empty = [isinstance(cell, str) and cell.lower() in NO_LABEL for cell in cells]
    numbers = [not isinstance(cell, str) for cell in cells]
    if all(a or b for a, b in zip(empty, numbers)) and any(numbers):
        return [float("nan") if e else cell for e, cell in zip(empty, cells)]
    return cells


def _number(value: Any) -> Any:
    """A cell as a number where it is one."""
    text = text_of(value)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
