"""How is a table of activity read (text, parquet): columns (or rows) are neurons, with or without names, used as it is?

Known by their marks: a column of times is the clock, in the unit that its name or a line of units says, or dates and times of day; a column
that numbers the rows is left out; Inscopix writes the status of each cell below its name; Fiji writes several measures of each region, of
which ``Mean`` is the activity. Truth values are no activity. A table with one row for each cell and frame is no matrix and is refused.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from ..activity.windows import frame_interval
from .cell_flags import cells_said, is_status
from .fov import FOVData, Trace, make_fov
from .matrices import LEAST_FRAMES, counts_evenly, is_turned, refuse_ids, required_rate, rises
from .rounded_clock import regular_again
from .table_files import DATE, Columns, read_parquet, read_text, seconds

log = logging.getLogger(__package__)
MOST_UNLIKE = 0.2  #: of the columns that have another kind of name
PARQUET = (".parquet", ".pqt")
CLOCK = re.compile(
    r"(?:(?:relative|frame|elapsed|unix|recording|session|experiment|imaging)?[ _]?(?:time ?_?stamps?|times?|t)[ _]*[\[(]?([a-zµμ]*)[\])]?|(s|ms|seconds))",
    re.IGNORECASE,
)
DATES = ("date", "datetime", "date_time", "date time", "system time")
UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0), **dict.fromkeys(("ms", "msec", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "μs", "microseconds"), 1e-6), **dict.fromkeys(("min", "minutes"), 60.0), "ns": 1e-9,
}  # fmt: skip
OTHER_UNITS = (
    "a.u.", "a.u", "au", "df/f", "df/f0", "dff", "Δf/f", "%", "z", "counts", "adu", "1", "-", "frame", "frames",
    "samples",
)  # fmt: skip
NUMBERS = ("", "frame", "frames", "frame_number", "index", "row", "slice", "#", "unnamed: 0")
CELL_IDS = ("roi", "cell", "neuron", "unit", "cell_id", "roi_id", "neuron_id", "unit_id", "cellid", "id")
POSE = ("scorer", "bodyparts", "coords")
MEASURES = (
    "f", "fneu", "spks", "dff", "neuropil", "npil", "deconvolved", "raw", "denoised", "spikes", "events", "zscore",
    "corrected", "yra",
)  # fmt: skip
#: names of columns that tables hold beside activity
NO_ACTIVITY = (
    "stimulus", "stim", "stimulus_id", "stim_id", "condition", "trial", "trial_id", "trial_number", "epoch", "block", "session", "event", "label",
    "x", "y", "z", "x_position", "y_position", "area", "plane", "depth", "speed", "velocity", "running", "running_speed", "wheel", "pupil",
    "pupil_diameter", "pupil_area", "lick", "licks", "reward", "behavior", "behaviour", "mean", "average", "avg", "median", "std", "sd", "sem",
    "min", "max", "sum", "total", "global", "population", "background", "bg",
)  # fmt: skip
FIJI = re.compile(r"(Area|Mean|StdDev|Mode|Min|Max|X|Y|IntDen|RawIntDen|Median|Skew|Kurt|%Area)\(?.*?\)?(\d+)$")


class Table(NamedTuple):
    """A table of numbers."""

    names: list[str]  #: of the columns; ``column 0``, ... without a line of names
    values: np.ndarray  #: (row, column)
    status: np.ndarray | None = None  #: (column,) bool: cells, where a line says which
    status_name: str = ""
    row_cells: np.ndarray | None = None  #: (row,) bool: cells, where a column says which
    row_names: np.ndarray | None = None  #: (row,) text, where the first column holds names

    def keep(self, columns: list[int]) -> Table:
        """Return the table with some of its columns."""
        status = None if self.status is None else self.status[columns]
        return self._replace(names=[self.names[i] for i in columns], values=self.values[:, columns], status=status)


def csv_fov(path: Path, fs_hz: float | None, time_axis: str | None) -> FOVData:
    """Return the FOV of a table, text or parquet.

    Raises
    ------
    InputError : text among the numbers, no clock and no ``fs_hz``, or a table that is no matrix.
    """
    columns = read_parquet(path) if path.suffix.lower() in PARQUET else read_text(path)
    table = table_of(columns, path)
    clock, scale, table = without_clock(table, path)
    table = without_notes(table, path) if columns.head else table
    given: dict[str, Any] = {"processed": True}
    if clock is not None:
        if time_axis == "columns":
            raise InputError(f"{path}: --time-axis columns, but one of its columns is a clock.")
        times = regular_again(clock * scale, f"{path}: the clock")
        check_clock(times, fs_hz, path)
        turned = False
    else:
        turned = is_turned(table.values.shape, time_axis, path)
        table = without_row_numbers(table, turned, path)
        times = np.arange(table.values.shape[1 if turned else 0]) / required_rate(fs_hz, path)
    if not turned:
        table = without_other_measures(table, path)
        if table.row_cells is not None or table.row_names is not None:
            log.warning("%s: a column of text, or of which rows are cells, is left out: its rows are frames", path)
    check_neurons(table, turned, path)
    if columns.head and not turned:
        refuse_unlike(table.names, path)
        given["uuids"] = np.array(table.names)
    elif turned and table.row_names is not None:
        given["uuids"] = table.row_names
    cells = table.row_cells if turned else table.status
    if cells is not None:
        given |= {"roi_type": cells.astype(np.int16), "terms": {"roi_type": f"'{table.status_name}'"}}
    trace = Trace(path=path, transposed=turned, array=table.values)
    refuse_ids(trace)
    return make_fov(path.stem, trace, times, **given)


def table_of(columns: Columns, path: Path) -> Table:
    """Return the numbers of a table with what the lines above them and its columns of text and truth values say."""
    n = len(columns.values)
    statuses = [row for row in columns.head if is_status(row[0]) and n > 1]
    lines = [row for row in columns.head if row not in statuses]
    if any(row[0].lower() in POSE for row in lines):
        raise InputError(f"{path}: a table of poses, as DeepLabCut writes it; expected activity, one column a cell.")
    units = [row for row in lines[1:] if is_units(row)]
    names = names_of([row for row in lines if row not in units], n)
    if (
        len(lines) > 1
        and seconds_of(names[0]) is None
        and columns.values[0].dtype.kind == "f"
        and counts_evenly(columns.values[0])
    ):
        names[0] = ""  # the names of pandas' levels stand above its numbers of rows
    if statuses and "time" in statuses[0][0].lower():
        names[0] = "time"  # "Time(s)/Cell Status" stands in the second line
    for row in units[:1]:
        names = with_unit(names, row, path)
    found: dict[str, Any] = {}
    kept, numbers = [], []
    truths = [v.dtype.kind == "b" for v in columns.values]
    for j, values in enumerate(columns.values):
        name, key = names[j], names[j].lower()
        if columns.head and is_status(name):
            found |= {"row_cells": cells_said(values, name, path), "status_name": name}
        elif values.dtype.kind == "U" and (
            seconds_of(name) is not None or key in DATES or all(map(DATE.fullmatch, values))
        ):
            names[j] = "time"
            kept.append(j)
            numbers.append(seconds(values, name, path))
        elif values.dtype.kind == "U" and j == 0 and key not in NO_ACTIVITY and len(set(values)) == len(values):
            found["row_names"] = values
        elif (values.dtype.kind == "b" and not all(truths)) or (values.dtype.kind == "U" and key in NO_ACTIVITY):
            log.warning("%s: column '%s' holds %s, no activity, and is left out", path, name, values[0])
        elif values.dtype.kind == "U":
            said = next(v for v in values if not is_float(v))
            raise InputError(f"{path}: column '{name}' holds text ('{said}'); expected numbers, time by neuron.")
        else:
            kept.append(j)
            numbers.append(values.astype(float))
    if not kept or not len(numbers[0]):
        raise InputError(f"{path}: no numbers; expected a matrix, time by neuron.")
    table = Table(names, np.zeros((0, n)), **found)
    if statuses:
        said = cells_said(statuses[0][1:], statuses[0][0], path)
        table = table._replace(status=np.r_[True, said], status_name=statuses[0][0])
    return table.keep(kept)._replace(values=np.column_stack(numbers))


def names_of(lines: list[list[str]], n: int) -> list[str]:
    """Return the names of columns from the lines above them: levels that differ, joined; the first column's is a clock's if one is.

    >>> names_of([["plane", "a", "b"], ["cell", "0", "1"], ["time", "", ""]], 3)
    ['time', 'a/0', 'b/1']
    """
    if not lines:
        return [f"column {i}" for i in range(n)]
    telling = (
        [row for row in lines if len({v for v in row[1:] if v}) > 1] or [row for row in lines if any(row[1:])] or lines
    )
    names = ["/".join(dict.fromkeys(row[j] for row in telling if row[j])) for j in range(n)]
    if len(telling) > 1:
        names = ["/".join(row[j] for row in telling if row[j]) for j in range(n)]
    firsts = [row[0] for row in lines]
    clocks, numbers = [v for v in firsts if seconds_of(v) is not None], [v for v in firsts if v.lower() in NUMBERS]
    names[0] = (clocks or numbers[-1:] or names)[0]
    return names


def is_units(row: list[str]) -> bool:
    """Return whether a line below the names holds units alone."""
    words = [v.strip("()[] ").lower() for v in row if v.strip()]
    return bool(words) and all(w in UNITS or w in OTHER_UNITS for w in words)


def with_unit(names: list[str], row: list[str], path: Path) -> list[str]:
    """Return names of which the clock's says the unit that stands in the line of units.

    Raises
    ------
    InputError : the name says another, or it is no unit of time.
    """
    out = list(names)
    for j, name in enumerate(names):
        unit, bare = row[j].strip("()[] ").lower(), CLOCK.fullmatch(name.strip())
        if bare is None or not unit:
            continue
        said = (bare[1] or bare[2] or "").lower()
        if unit not in UNITS or (said and UNITS.get(said) != UNITS[unit]):
            raise InputError(f"{path}: the clock '{name}' has the unit '{row[j]}'; expected s, ms, us or min, once.")
        out[j] = f"time ({unit})"
    return out


def is_float(text: str) -> bool:
    """Return whether a text is a number, or empty."""
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def without_clock(table: Table, path: Path) -> tuple[np.ndarray | None, float, Table]:
    """Return the clock (None: there is none), what makes it seconds, and the other columns."""
    clocks = [i for i, name in enumerate(table.names) if seconds_of(name) is not None]
    if len(clocks) > 1:
        named = ", ".join(table.names[i] for i in clocks)
        raise InputError(f"{path}: several columns could be the clock: {named}. Leave one.")
    if any(n.lower() in CELL_IDS for n in table.names) and len(table.values) > len(table.names):
        raise InputError(f"{path}: one row for each cell and frame; expected a matrix, one column a cell. Pivot it.")
    if not clocks:
        return None, 1.0, table
    rest = table.keep([i for i in range(len(table.names)) if i != clocks[0]])
    numbers = [i for i in range(len(rest.names)) if is_row_number(rest, i)]
    return (
        table.values[:, clocks[0]],
        seconds_of(table.names[clocks[0]]) or 1.0,
        rest.keep([i for i in range(len(rest.names)) if i not in numbers]),
    )


def seconds_of(name: str) -> float | None:
    """Return how many seconds one unit of a clock lasts, by the name of its column; None for other columns.

    >>> seconds_of("Time (ms)"), seconds_of("timestamp"), seconds_of("t"), seconds_of("min"), seconds_of("C0")
    (0.001, 1.0, 1.0, None, None)
    """
    found = CLOCK.fullmatch(name.strip())
    return UNITS.get((found[1] or found[2] or "s").lower()) if found else None


def is_row_number(table: Table, column: int) -> bool:
    """Return whether a column without a neuron's name numbers the rows."""
    return table.names[column].lower() in NUMBERS and counts_evenly(table.values[:, column])


def without_row_numbers(table: Table, turned: bool, path: Path) -> Table:
    """Return the table without a first column that numbers frames, or cells where rows are cells."""
    named = table.names[0].lower()
    if is_row_number(table, 0) or (turned and named in CELL_IDS):
        log.info("%s: its first column numbers the rows and is left out", path)
        return table.keep(list(range(1, len(table.names))))
    return table


def without_notes(table: Table, path: Path) -> Table:
    """Return the table without columns whose name says that they are no activity, such as stimuli, trials and positions."""
    notes = [n for n in table.names if n.lower() in NO_ACTIVITY]
    if notes and len(notes) < len(table.names):
        log.warning("%s: no activity by their names, left out: %s", path, ", ".join(notes))
        return table.keep([i for i, n in enumerate(table.names) if n not in notes])
    return table


def without_other_measures(table: Table, path: Path) -> Table:
    """Return the means alone of a table in which Fiji wrote several measures of each region; refuse those of other programs."""
    for place in (0, -1):
        words = [re.split(r"[\s/_.:-]+", n.lower())[place] for n in table.names]
        if len(set(words)) > 1 and all(w in MEASURES for w in words):
            raise InputError(
                f"{path}: several measures of each cell ({', '.join(dict.fromkeys(words))}); leave the columns of one."
            )
        some = [n for n, w in zip(table.names, words) if w in MEASURES and len(w) > 1]
        if some and len(some) < len(table.names):
            raise InputError(
                f"{path}: columns of a measure of its own among the cells ({', '.join(some[:4])}); take out what is no cell."
            )
    found = [FIJI.match(n) for n in table.names]
    kinds = {m.group(1) for m in found if m}
    if "Mean" not in kinds or len(kinds) == 1 or not all(found):
        return table
    log.info("%s: measures %s of each region; the means are taken", path, ", ".join(sorted(kinds)))
    return table.keep([i for i, m in enumerate(found) if m and m.group(1) == "Mean"])


def refuse_unlike(names: list[str], path: Path) -> None:
    """Refuse columns whose name has no number where those of the cells have one (a trigger, a wheel beside ``C0, C1, ...``).

    Raises
    ------
    InputError : which ones.
    """
    other = [n for n in names if not re.search(r"\d", n)]
    if other and len(other) <= MOST_UNLIKE * len(names):
        like = next(n for n in names if n not in other)
        raise InputError(
            f"{path}: {', '.join(map(repr, other[:4]))} among cells that are called like '{like}': no cell by its name? Take it out, or give it a number."
        )


def check_neurons(table: Table, turned: bool, path: Path) -> None:
    """Refuse a clock or numbers of frames that would be taken for a neuron."""
    rows = table.values if turned else table.values.T
    long = rows.shape[1] >= LEAST_FRAMES
    up = rises(rows.T) if long else np.zeros(len(rows), bool)
    wrong = next((i for i, row in enumerate(rows) if up[i] or counts_evenly(row)), None)
    if wrong is not None:
        what = f"row {wrong}" if turned else f"'{table.names[wrong]}'"
        raise InputError(
            f"{path}: {what} rises in equal steps: a clock or a number of frames, no neuron. Name it 'time' or take it out."
        )


def check_clock(times: np.ndarray, fs_hz: float | None, path: Path) -> None:
    """Refuse a typed frame rate that the clock contradicts."""
    found = 1 / frame_interval(times) if len(times) > 1 else np.nan
    if fs_hz is not None and abs(fs_hz / found - 1) > 0.01:
        raise InputError(
            f"{path}: --fs-hz {fs_hz:g}, but its clock has {found:.4g} frames a second. Leave out --fs-hz."
        )
