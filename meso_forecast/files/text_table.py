"""How is a text table of activity read: columns (or rows) are neurons, with or without a header, used as it is?

Known by their marks: a column of times is the clock, in s or ms as its name says; a column that numbers the rows is left out; Inscopix
writes the status of each cell below its name; Fiji writes several measures of each region, of which ``Mean`` is the activity. A table with
one row for each cell and frame is no matrix and is refused.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, make_fov
from .matrices import LEAST_FRAMES, counts_evenly, is_turned, required_rate, rises

log = logging.getLogger(__package__)
CLOCK = re.compile(
    r"(?:(?:relative|frame)?[ _]?(?:time ?_?stamps?|times?|t)[ _]*[\[(]?([a-zµ]*)[\])]?|(s|ms|seconds))", re.IGNORECASE
)
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0), **dict.fromkeys(("ms", "msec", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "µs", "microseconds"), 1e-6), **dict.fromkeys(("min", "minutes"), 60.0),
}  # fmt: skip
NUMBERS = ("", "frame", "frames", "frame_number", "index", "row", "slice", "#", "unnamed: 0")
CELL_IDS = ("roi", "cell", "neuron", "unit", "cell_id", "roi_id", "neuron_id", "unit_id", "cellid", "id")
#: names of columns that tables hold beside activity
NO_ACTIVITY = (
    "stimulus", "stim", "stimulus_id", "stim_id", "condition", "trial", "trial_id", "trial_number", "epoch", "block", "session", "event", "label",
    "x", "y", "z", "x_position", "y_position", "area", "plane", "depth", "speed", "velocity", "running", "running_speed", "wheel", "pupil",
    "pupil_diameter", "pupil_area", "lick", "licks", "reward", "behavior", "behaviour",
)  # fmt: skip
STATUS = {"accepted": 1, "undecided": 0, "rejected": 0}
FIJI = re.compile(r"(Area|Mean|StdDev|Mode|Min|Max|X|Y|IntDen|RawIntDen|Median|Skew|Kurt|%Area)\(?.*?\)?(\d+)$")


class Table(NamedTuple):
    """A text table of numbers."""

    names: list[str]  #: of the columns; ``column 0``, ... without a header
    values: np.ndarray  #: (row, column)
    status: list[str] | None  #: Inscopix: of each column

    def keep(self, columns: list[int]) -> Table:
        """Return the table with some of its columns."""
        status = None if self.status is None else [self.status[i] for i in columns]
        return Table([self.names[i] for i in columns], self.values[:, columns], status)


def csv_fov(path: Path, fs_hz: float | None, time_axis: str | None) -> FOVData:
    """Return the FOV of a text table.

    Raises
    ------
    InputError : text among the numbers, no clock and no ``fs_hz``, or a table that is no matrix.
    """
    table, has_header = read_table(path)
    clock, scale, table = without_clock(table, path)
    table = without_notes(table, path) if has_header else table
    given: dict[str, Any] = {"processed": True}
    if clock is not None:
        if time_axis == "columns":
            raise InputError(f"{path}: --time-axis columns, but one of its columns is a clock.")
        check_clock(times := clock * scale, fs_hz, path)
        turned = False
    else:
        turned = is_turned(table.values.shape, time_axis, path)
        table = without_row_numbers(table, turned, path)
        times = np.arange(table.values.shape[1 if turned else 0]) / required_rate(fs_hz, path)
    if not turned:
        table = without_other_measures(table, path)
    check_neurons(table, turned, path)
    if not turned and has_header:
        given["uuids"] = np.array(table.names)
    if table.status is not None:
        given["roi_type"] = np.array([STATUS[s] for s in table.status], np.int16)
        given["terms"] = {"roi_type": "the line of cell status, 'accepted' is"}
    return make_fov(path.stem, Trace(path=path, transposed=turned, array=table.values), times, **given)


def read_table(path: Path) -> tuple[Table, bool]:
    """Return the numbers of a text table, and whether it has a header."""
    import pandas as pd

    with hdf5io.parsing(path, "a text table"):
        with open(path, encoding="utf-8-sig", errors="replace") as handle:
            first = handle.readline(1_000_000).strip()
        how: dict[str, Any] = {
            "sep": ";" if ";" in first else None if re.search("[,\t|]", first) or " " not in first else r"\s+",
            "engine": "python",
            "encoding": "utf-8-sig",  # spreadsheets begin a file with a mark of their encoding
        }
        head = pd.read_csv(path, header=None, nrows=2, **how, dtype=str, keep_default_na=False)
        cells = [[str(v).strip() for v in row] for row in head.to_numpy()]
        if ";" in first and any(DECIMAL_COMMA.fullmatch(v) for row in cells for v in row):
            how["decimal"] = ","
            cells = [[v.replace(",", ".") if DECIMAL_COMMA.fullmatch(v) else v for v in row] for row in cells]
        labels = [float(v) for v in cells[0][1:] if is_number(v) and v]
        numbered = len(labels) == len(cells[0]) - 1 > 1 and labels == list(np.arange(len(labels)) + labels[0])
        numbered = numbered and labels[0] in (0, 1) and cells[0][0] in ("", "0")  # pandas' names of columns
        has_header = numbered or not all(is_number(v) for v in cells[0])
        second = cells[1] if len(cells) > 1 else []
        status = [v.lower() for v in second]
        inscopix = has_header and len(status) > 1 and all(v in STATUS for v in status[1:])
        table = pd.read_csv(path, header=0 if has_header else None, skiprows=[1] if inscopix else None, **how)
    names = [str(c).strip() for c in table.columns] if has_header else [f"column {i}" for i in range(table.shape[1])]
    if inscopix:
        names[0] = "time"  # "Time(s)/Cell Status" stands in the second line
    wrong = [n for n, kind in zip(names, table.dtypes) if getattr(kind, "kind", "O") not in "biuf"]
    if wrong or not table.size:
        raise InputError(f"{path}: column '{wrong[0] if wrong else ''}' holds text; expected numbers, time by neuron.")
    return Table(names, table.to_numpy(float), status if inscopix else None), has_header


def is_number(value: Any) -> bool:
    """Return whether a cell of a first row is a number (an empty one is a missing number)."""
    try:
        float(value or "nan")
    except (TypeError, ValueError):
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
    """Return the means alone of a table in which Fiji wrote several measures of each region."""
    found = [FIJI.match(n) for n in table.names]
    kinds = {m.group(1) for m in found if m}
    if "Mean" not in kinds or len(kinds) == 1 or not all(found):
        return table
    log.info("%s: measures %s of each region; the means are taken", path, ", ".join(sorted(kinds)))
    return table.keep([i for i, m in enumerate(found) if m and m.group(1) == "Mean"])


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
    found = 1 / np.median(np.diff(times)) if len(times) > 1 else np.nan
    if fs_hz is not None and abs(fs_hz / found - 1) > 0.01:
        raise InputError(
            f"{path}: --fs-hz {fs_hz:g}, but its clock has {found:.4g} frames a second. Leave out --fs-hz."
        )
