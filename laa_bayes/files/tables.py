"""How is a text table read? CSV and TSV of any dialect, Clampfit's text export, Axon text files (ATF), headerless with named columns.

Decimal commas, semicolons, a second row of units, lines of text above the header and UTF-16 are read. A table that holds several
traces is a file of sweeps: beside one another as numbered columns, or below one another, each under its own header (PatchMaster's
export), by a column with the sweep's number, or because time begins again.
"""

from __future__ import annotations

import csv
import itertools
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import assemble
from .clock import refuse_text
from .preambles import first_of_numbers, header_line, is_number, remarks, table_lines
from .request import Request
from .units import (
    EXAMPLE,
    TABLES,
    convert,
    label_of,
    name_and_unit,
    other_electrodes,
    quantity_of,
    refuse_factor,
    unit_key,
)

COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
TRACE = re.compile(r"(trace|sweep|episode)\s*#?\s*(\d+)", re.IGNORECASE)
SWEEP = re.compile(r"(sweep|episode|trial|trace)[\s_#]*(number|no|nr|index|id)?\.?", re.IGNORECASE)
MISSING = ("", "na", "n/a", "nan", "null", "none", "#n/a")  #: cells without a value


class Table(NamedTuple):
    """Columns of a text file."""

    header: list[str]
    values: np.ndarray  #: (n_row, n_column)
    blocks: tuple[slice, ...] = (slice(None),)  #: rows of each sweep, where sweeps stand below one another


def read_table(path: Path, request: Request) -> Recording:
    """Read one trace of a table whose header names quantities and units, or of a headerless one with ``columns``."""
    table = parse_table(path, request.columns)
    need = ["time", "voltage"] if request.current_file is not None else ["time", "voltage", "current"]
    require_columns(path, table, need)
    sweeps = sweeps_of(path, table, request)
    n = len(sweeps)
    if request.sweep >= n:
        raise InputError(
            f"{path}: --sweep {request.sweep}, but the table holds {n} trace{'s' * (n != 1)} (0 to {n - 1})."
        )
    v, rows = sweeps[request.sweep]
    part = table._replace(values=table.values[rows])
    chosen = {"time": columns_of(table, "time")[0], "voltage": v}
    if request.current_file is None:
        voltages, currents = (columns_of(table, quantity) for quantity in ("voltage", "current"))
        chosen["current"] = current_for(path, table, voltages, currents, v, request)
    found = {quantity: column_values(path, part, quantity, i) for quantity, i in chosen.items()}
    found.setdefault("current", (np.zeros(len(part.values)), "pA"))
    notes = tuple(f"{quantity}: column '{table.header[i]}'" for quantity, i in chosen.items() if quantity != "time")
    recording = assemble(path, found)._replace(notes=notes)
    refuse_text(path, remarks(path), recording.dt_ms, recording.dt_ms * len(recording.v_mv))
    return recording._replace(source=f"{path}:sweep {request.sweep}") if n > 1 else recording


def n_sweeps(path: Path, request: Request) -> int:
    """Return the number of traces in a table."""
    table = parse_table(path, request.columns)
    require_columns(path, table, ["time", "voltage"])
    return len(sweeps_of(path, table, request))


def columns_of(table: Table, quantity: str) -> list[int]:
    """Return the places of the columns that hold a quantity."""
    return [i for i, name in enumerate(table.header) if quantity_of(name) == quantity]


def require_columns(path: Path, table: Table, need: list[str]) -> None:
    """Raise InputError where a quantity has no column, or time has several that differ."""
    missing = [quantity for quantity in need if not columns_of(table, quantity)]
    if missing:
        have = ", ".join(table.header[:12]) + (", ..." if len(table.header) > 12 else "")
        raise InputError(
            f"{path}: no column for {', '.join(missing)}; the file has {have}. Expected names such as {EXAMPLE}."
        )
    times = columns_of(table, "time")
    if any(not np.array_equal(table.values[:, times[0]], table.values[:, i], equal_nan=True) for i in times[1:]):
        names = ", ".join(f"'{table.header[i]}'" for i in times)
        raise InputError(f"{path}: {len(times)} time columns that differ: {names}. Keep one.")


def sweeps_of(path: Path, table: Table, request: Request) -> list[tuple[int, slice]]:
    """Return the voltage column and the rows of every trace of the table.

    Raises
    ------
    InputError
        As `traces_of`; numbered traces beside one another in a table of sweeps below one another.
    """
    columns = traces_of(path, table, request)
    if len(columns) > 1 and len(table.blocks) > 1:
        raise InputError(
            f"{path}: {len(table.blocks)} sweeps stand below one another, each with {len(columns)} traces. Keep one kind."
        )
    return [(column, rows) for column in columns for rows in table.blocks]


def traces_of(path: Path, table: Table, request: Request) -> list[int]:
    """Return the voltage columns that are the traces of the table: those of the named channel, or all numbered ones.

    Raises
    ------
    InputError
        Several voltages that are no numbered traces, of which none was named.
    """
    voltages = columns_of(table, "voltage")
    if request.channel is not None:
        named = [i for i in voltages if request.channel in (table.header[i], name_and_unit(table.header[i])[0])]
        if not named:
            names = ", ".join(f"'{table.header[i]}'" for i in voltages)
            raise InputError(f"{path}: --channel '{request.channel}' is none of the voltage columns {names}.")
        return named
    if len(voltages) > 1 and not all(TRACE.search(table.header[i]) for i in voltages):
        names = ", ".join(f"'{table.header[i]}'" for i in voltages)
        raise InputError(f"{path}: {len(voltages)} voltage columns: {names}. Name one: --channel NAME.")
    return voltages


def current_for(path: Path, table: Table, voltages: list[int], currents: list[int], v: int, request: Request) -> int:
    """Return the current column of a voltage column: the named one, the only one, that of the same trace or electrode, or of the same place."""
    if request.current_from is not None:
        named = [i for i in currents if request.current_from in (table.header[i], name_and_unit(table.header[i])[0])]
        if len(named) != 1:
            names = ", ".join(f"'{table.header[i]}'" for i in currents)
            raise InputError(f"{path}: --current-from '{request.current_from}' is none of the current columns {names}.")
        return named[0]
    apart = len(voltages) > 0 and other_electrodes(table.header[v], table.header[currents[0]])
    if len(currents) == 1 and len(voltages) == 1 and not apart:
        return currents[0]
    labels = {i: label_of(name_and_unit(table.header[i])[0]) for i in [*voltages, *currents]}
    same = [i for i in currents if labels[i] == labels[v]]
    if len(same) == 1 and {labels[i] for i in currents} == {labels[i] for i in voltages}:
        return same[0]
    after = [table.header[i] for i in range(v + 1, len(table.header))]
    follows = len(currents) == len(voltages) and all(i + 1 in currents for i in voltages) and not apart
    if follows and after:
        return v + 1
    names = ", ".join(f"'{table.header[i]}'" for i in currents)
    raise InputError(
        f"{path}: {len(voltages)} voltage and {len(currents)} current columns; which current belongs to '{table.header[v]}'? "
        f"Name one of {names}: --current-from NAME."
    )


def column_values(path: Path, table: Table, quantity: str, place: int) -> tuple[np.ndarray, str]:
    """Return a column in ms, mV, pA or uA/cm2, and the unit."""
    name = table.header[place]
    refuse_factor(path, name)
    return convert(path, name, quantity, name_and_unit(name)[1], table.values[:, place])


def n_currents(path: Path, request: Request) -> int:
    """Return how many traces of a current a table holds beside one another."""
    table = parse_table(path, request.columns)
    currents = columns_of(table, "current")
    return len(currents) if all(TRACE.search(table.header[i]) for i in currents) else 1


def current_columns(path: Path, request: Request) -> tuple[np.ndarray, np.ndarray, str]:
    """Return time in ms, current and its unit of a table that holds no more than a current."""
    table = parse_table(path, request.columns)
    require_columns(path, table, ["time", "current"])
    currents = columns_of(table, "current")
    if request.current_from is None and len(currents) > 1 and all(TRACE.search(table.header[i]) for i in currents):
        if request.sweep >= len(currents):
            raise InputError(f"{path}: --sweep {request.sweep}, but the file has {len(currents)} currents.")
        place = currents[request.sweep]
    else:
        place = current_for(path, table, [0], currents, 0, request)
    return column_values(path, table, "time", columns_of(table, "time")[0])[0], *column_values(
        path, table, "current", place
    )


def parse_table(path: Path, columns: tuple[str, ...] = ()) -> Table:
    """Return column names (units in brackets) and numbers of a text file.

    Raises
    ------
    InputError
        No text, no rows, rows of different lengths, cells that are no numbers, no header and no ``columns``.
    """
    lines = table_lines(path, titled=not columns)
    lines = lines[first_of_numbers(lines) if columns else header_line(lines) :]
    again = [i for i, line in enumerate(lines) if i and line.strip() == lines[0].strip()] if not columns else []
    delimiter = next((d for d in ("\t", ";", ",") if d in lines[0]), None)
    parts = [cells_of(path, lines[a:b], delimiter) for a, b in itertools.pairwise([0, *again, len(lines)])]
    width = len(parts[0][0])
    for part in parts[:-1]:  # what stands above the next header
        while again and len(part) > 1 and not (len(part[-1]) == width and any(is_number(c, True) for c in part[-1])):
            part.pop()
    rows = parts[0] + [row for part in parts[1:] for row in part[1:]]
    lengths = [len(part) - 1 for part in parts]
    comma = delimiter != "," and has_decimal_commas(path, rows)
    header, n_names = header_of(path, rows, columns, comma)
    values = numbers_of(path, header, rows[n_names:], comma)
    table = Table(header, values)
    if again:
        ends = np.cumsum(lengths) - (n_names - 1)
        return table._replace(blocks=tuple(slice(int(e - n), int(e)) for e, n in zip(ends, lengths, strict=True)))
    return table._replace(blocks=blocks_of(table))


def cells_of(path: Path, lines: list[str], delimiter: str | None) -> list[list[str]]:
    """Return the cells of every line."""
    try:
        rows = (
            [line.split() for line in lines]
            if delimiter is None
            else list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
        )
    except csv.Error as error:
        raise InputError(f"{path}: not a readable table ({error}).") from None
    return without_empty_end(rows)


def header_of(path: Path, rows: list[list[str]], columns: tuple[str, ...], comma: bool) -> tuple[list[str], int]:
    """Return the names of the columns with their units, and how many rows hold names.

    Raises
    ------
    InputError
        No header and no ``columns``.
    """
    has_numbers = any(is_number(cell, comma) for cell in rows[0])
    if columns:
        return list(columns), 0 if has_numbers else 1
    if has_numbers:
        raise InputError(
            f"{path}: the first line has numbers and no names. Name the columns with units: --columns time_ms,voltage_mV,current_pA."
        )
    header = [cell.strip() for cell in rows[0]]
    units = rows[1] if len(rows) > 1 and len(rows[1]) == len(header) else []
    known = [any(unit_key(cell) in table for table in TABLES.values()) for cell in units]
    if any(known) and all(yes or not cell.strip() for yes, cell in zip(known, units, strict=True)):
        told = [f" ({unit.strip(' ()[]')})" if yes else "" for yes, unit in zip(known, units, strict=True)]
        return [name + unit for name, unit in zip(header, told, strict=True)], 2
    return header, 1


def blocks_of(table: Table) -> tuple[slice, ...]:
    """Return the rows of each sweep: stretches of one number in a column of sweep numbers, else from each return of time to its start."""
    marks = [i for i, name in enumerate(table.header) if SWEEP.fullmatch(name.strip())]
    times = columns_of(table, "time")
    if len(marks) == 1:
        starts = np.flatnonzero(np.diff(table.values[:, marks[0]]) != 0) + 1
    elif times and len(table.values) > 1:
        time = table.values[:, times[0]]
        back = np.diff(time) <= 0
        starts = np.flatnonzero(back & (np.abs(time[1:] - time[0]) <= abs(time[1] - time[0]) / 2)) + 1
        if back.sum() != len(starts) or np.any(np.diff(starts) < 10):  # time is disordered, not begun again
            starts = starts[:0]
    else:
        return (slice(None),)
    return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise([0, *starts, len(table.values)]))


def without_empty_end(rows: list[list[str]]) -> list[list[str]]:
    """Return the rows without a last column that is empty throughout, as a delimiter at the end of each line leaves it."""
    while rows and all(row and not row[-1].strip() for row in rows):
        rows = [row[:-1] for row in rows]
    return rows


def numbers_of(path: Path, header: list[str], rows: list[list[str]], comma: bool) -> np.ndarray:
    """Return the cells as numbers (n_row, n_column), empty ones as NaN."""
    if not rows:
        raise InputError(f"{path}: the table has a header and no rows.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {number} has {len(row)} values, the header has {len(header)} ({', '.join(header[:12])})."
            )
    needed = [quantity_of(name) is not None or SWEEP.fullmatch(name.strip()) is not None for name in header]
    return np.array([[cell_value(path, c, comma, need) for c, need in zip(row, needed, strict=True)] for row in rows])


def cell_value(path: Path, cell: str, comma: bool, needed: bool) -> float:
    """Return a cell as a number; NaN where it is empty, or where it is a word in a column that nobody needs."""
    text = cell.strip()
    if text.lower() in MISSING:
        return np.nan
    try:
        return float(text.replace(",", ".") if comma else text)
    except ValueError:
        if needed:
            raise InputError(f"{path}: not a number: '{text[:60]}'.") from None
        return np.nan


def has_decimal_commas(path: Path, rows: list[list[str]]) -> bool:
    """Return whether numbers are written 0,5; InputError where 0.5 is there too."""
    cells = [cell.strip() for row in rows[1:200] for cell in row]
    commas = any(COMMA_NUMBER.fullmatch(cell) for cell in cells)
    if commas and any(re.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", cell) for cell in cells):
        raise InputError(
            f"{path}: numbers are written with a decimal comma and with a point. Export it with one of them."
        )
    return commas
