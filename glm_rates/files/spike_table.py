"""What does a table of spikes hold? One row a spike, ``unit_id,time_s``, with a table of events; text, parquet or npz.

Text tables are read as they are exported: commas, semicolons, tabs; with semicolons or tabs a comma may be the decimal mark. The
unit of time stands in the column's name: ``time_s``, ``time_ms``, ``time_us``, or ``time_samples`` with ``--sampling-rate``.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from .hdf5 import parsing
from .session import Session, choose_label, clean_events, text_of

log = logging.getLogger("glm_rates.files.spike_table")
SCALE = {"_s": 1.0, "_ms": 1e-3, "_us": 1e-6}
TIME_COLUMNS = ("time_s", "time_ms", "time_us", "time_samples")
IDS = ("trial_id", "trial", "id")
Table = dict[str, Any]  # columns by name: lists or one-dimensional arrays


def read_spike_table(path: Path, options: dict) -> Session:
    """Spikes of a table and, with ``--events``, of what happened.

    Raises
    ------
    InputError
        Columns are missing or hold no numbers, or the file is no table.
    """
    table = read_table(path)
    if "unit_id" not in table:
        raise InputError(f"{path}: no column 'unit_id'; it has {', '.join(table) or 'none'}.")
    times = times_of(table, "time", path, options.get("sampling_rate"))
    unit_id = np.array([u if isinstance(u, str) else text_of(u) for u in table["unit_id"]])
    if len(times) != len(unit_id):
        raise InputError(f"{path}: {len(unit_id)} unit_id and {len(times)} times; expected one of each a spike.")
    if not np.isfinite(times).all():
        raise InputError(f"{path}: {(~np.isfinite(times)).sum()} time(s) are empty or no finite number.")
    if "" in unit_id:
        raise InputError(f"{path}: {(unit_id == '').sum()} spike(s) without a unit_id.")
    found, first, inverse = np.unique(unit_id, return_index=True, return_inverse=True)
    names = [str(name) for name in found]
    order = sorted(
        range(len(names)), key=lambda i: (not names[i].isdigit(), int(names[i]) if names[i].isdigit() else 0, names[i])
    )
    by_unit = np.argsort(inverse, kind="stable")
    parts = np.split(times[by_unit], np.cumsum(np.bincount(inverse))[:-1])
    columns = {
        name: [_number(column[first[i]]) for i in order]
        for name, column in table.items()
        if name not in ("unit_id", *TIME_COLUMNS)
    }
    region = [text_of(v) or "unassigned" for v in columns.get("region", ["all"] * len(order))]
    ids = [names[i] for i in order]
    data = Session(
        ids, [parts[i] for i in order], region, columns, np.zeros(0), [], [], observed=_observed(ids, columns, options)
    )
    if options.get("events"):
        data = _with_events(data, Path(options["events"]), options)
    return data


def _observed(ids: list[str], columns: dict[str, list[Any]], options: dict) -> list[np.ndarray | None] | None:
    """Intervals in which each unit was recorded: from ``--observed``, or columns observed_start_s, observed_stop_s."""
    if options.get("observed"):
        return read_observed(Path(options["observed"]), ids, options.get("sampling_rate"))
    names = ("observed_start_s", "observed_stop_s")
    if not all(name in columns for name in names):
        return None
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
    owner = [text_of(u) for u in table.get("unit_id", [""] * len(rows))]
    unknown = sorted(set(owner) - {"", *ids})
    if unknown:
        raise InputError(f"{path}: the recording has no unit '{unknown[0]}'; it has {', '.join(ids[:8])}.")
    mine = [rows[[name in ("", unit) for name in owner]] for unit in ids]
    return [part if len(part) else np.zeros((0, 2)) for part in mine]


def _with_events(data: Session, path: Path, options: dict) -> Session:
    table = read_table(path)
    align = options.get("align_column") or "start_time"
    if align != "start_time" and align not in table:
        raise InputError(f"{path}: no column '{align}'; it has {', '.join(table)}.")
    if align in table:
        events = _numbers(table[align], path, align)
    else:
        events = times_of(table, "time", path, options.get("sampling_rate"))
    stop = (
        times_of(table, "stop", path, options.get("sampling_rate"))
        if any(n in table for n in ("stop_s", "stop_ms"))
        else None
    )
    rest = {k: v for k, v in table.items() if k not in (align, *TIME_COLUMNS, *IDS)}
    label = choose_label(rest, options["label_column"], str(path), len(events))
    ids: list[Any] = list(range(len(events)))
    for name in IDS:
        if name in table and len(set(table[name])) == len(events):
            ids = [_number(v) for v in table[name]]
            break
    return clean_events(data._replace(event_s=events, label=label, trial_id=ids, stop_s=stop), path.name)


def times_of(table: Table, what: str, path: Path, sampling_rate: float | None) -> np.ndarray:
    """Times in seconds from the one column that is called ``what`` and its unit.

    Raises
    ------
    InputError
        No such column, several, samples without a sampling rate, or no numbers.
    """
    found = [what + ending for ending in (*SCALE, "_samples") if what + ending in table]
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
    return numbers * SCALE[ending]


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


def _number(value: Any) -> Any:
    """A cell as a number where it is one."""
    text = text_of(value)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_table(path: Path) -> Table:
    """Columns of a table by name; the format is that of the file's ending."""
    ending = path.suffix.lower()
    if ending not in READERS:
        raise InputError(f"{path}: cannot read '{ending}' files; expected {', '.join(READERS)}.")
    table = READERS[ending](path)
    lengths = {len(column) for column in table.values()}
    if len(lengths) > 1:
        raise InputError(
            f"{path}: columns of different lengths ({', '.join(f'{k}: {len(v)}' for k, v in table.items())})."
        )
    if not table or not max(lengths):
        raise InputError(f"{path}: no rows.")
    return table


def read_text(path: Path) -> Table:
    """A text table; the mark between columns is the one of ``, ; tab |`` that the first line holds most of."""
    with parsing(path, "a table of text"):
        text = path.read_text(encoding="utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip()]
        head = lines[0] if lines else ""
        mark = max(",;\t|", key=head.count)
        rows = list(csv.reader(lines, delimiter=mark))
    if not rows:
        raise InputError(f"{path}: no rows.")
    names = [name.strip() for name in rows[0]]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"{path}: the column '{twice[0]}' stands there twice.")
    ragged = next((i for i, row in enumerate(rows[1:], 2) if len(row) != len(names)), None)
    if ragged is not None:
        raise InputError(f"{path}: line {ragged} has {len(rows[ragged - 1])} cells, the first line has {len(names)}.")
    table = {name: [row[i].strip() for row in rows[1:]] for i, name in enumerate(names) if name}
    return {name: _decimal(cells) for name, cells in table.items()} if mark != "," else table


def _decimal(cells: list[str]) -> list[str]:
    """Cells of a column with a point as the decimal mark, where every filled cell is a number with at most one comma."""
    points = [cell.replace(",", ".", 1) for cell in cells]
    if any("," in cell for cell in cells) and all(_is_number(cell) for cell in points if cell):
        return points
    return cells


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_parquet(path: Path) -> Table:
    """A parquet table."""
    with parsing(path, "a parquet table"):
        try:
            import pyarrow.parquet as parquet
        except ImportError:
            raise InputError(f"{path}: reading parquet needs pyarrow; pip install pyarrow.") from None
        return {str(name): column for name, column in parquet.read_table(path).to_pydict().items()}


def read_npz(path: Path) -> Table:
    """One-dimensional arrays of an ``.npz`` file."""
    with parsing(path, "an .npz without pickles"):
        _sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    flat = {name: np.atleast_1d(np.squeeze(array)) for name, array in columns.items() if np.size(array)}
    odd = [name for name, array in flat.items() if array.ndim != 1 and name in ("unit_id", *TIME_COLUMNS)]
    if odd:
        raise InputError(f"{path}: '{odd[0]}' has shape {flat[odd[0]].shape}, expected one axis.")
    return {name: array for name, array in flat.items() if array.ndim == 1 and array.dtype.kind in "iufbUS"}


def _sizes(path: Path) -> None:
    """Refuse an array whose header claims far more than its file holds, before memory is asked for."""
    import zipfile

    from numpy.lib import format as layout

    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as handle:
                version = layout.read_magic(handle)
                read = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
                shape, _, dtype = read(handle)
            claimed = float(np.prod([float(n) for n in shape])) * dtype.itemsize
            if claimed > member.file_size + 4096:
                raise InputError(
                    f"{path}: '{member.filename}' claims {claimed:.3g} bytes and holds {member.file_size}."
                )


#: format by ending: one function from a path to columns
READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": read_text, ".tsv": read_text, ".txt": read_text, ".parquet": read_parquet, ".npz": read_npz,
}  # fmt: skip
