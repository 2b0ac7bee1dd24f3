"""What is in a table of text? Separator, comments, header and index column are told by the content."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

MISSING = {"", "nan", "na", "n/a", "null", "none"}


class Table(NamedTuple):
    """A table of text."""

    header: list[str] | None  #: names of the columns, where a first line of names stands
    rows: list[list[str]]
    first_line: int  #: number of the first row in the file


def read_table(path: Path) -> Table:
    """Return the cells of a table separated by commas, semicolons, tabs or blanks; lines that begin with # are comments.

    Raises
    ------
    InputError : no text, or no line in it.
    """
    with hdf5io.parsing(path, "a text table"):
        text = path.read_text(encoding="utf-8-sig")
    lines = [
        (n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines or "\0" in text[:4096]:
        raise InputError(f"{path}: no table of text in it.")
    separator = separator_of([line for _, line in lines[:20]])
    with hdf5io.parsing(path, "a text table"):
        if separator is None:
            cells = [line.split() for _, line in lines]
        else:
            cells = list(csv.reader((line for _, line in lines), delimiter=separator, skipinitialspace=True))
    cells = [[cell.strip() for cell in row] for row in cells]
    named = len(cells) > 1 and is_header(cells[0], cells[1])
    return Table(cells[0] if named else None, cells[1:] if named else cells, lines[1 if named else 0][0])


def separator_of(lines: list[str]) -> str | None:
    """Return the separator that stands equally often in most lines; None for blanks."""
    for separator in ("\t", ";", ","):
        counts = [line.count(separator) for line in lines if "{" not in line]
        if counts and max(counts) > 0 and counts.count(max(counts)) >= 0.8 * len(counts):
            return separator
    return None


def is_header(first: list[str], second: list[str]) -> bool:
    """Return whether a line holds names: a cell that is no number stands above one that is, or numbers count the columns."""
    if len(first) == len(second) and any(not is_number(a) and is_number(b) for a, b in zip(first, second)):
        return True
    if len(first) == len(second) - 1 and is_count(first):  # blanks as separators: no cell above the index
        return True
    return is_count(first if first[0] else first[1:]) and len(first) > 2 and not is_count(second)


def is_count(cells: list[str]) -> bool:
    """Return whether cells read 0, 1, 2, ... or 1, 2, 3, ..."""
    if not cells or not all(cell.isdigit() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def is_number(text: str) -> bool:
    """Return whether a cell is a number or a missing one."""
    if text.lower() in MISSING:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def number(text: str) -> float:
    """Return a cell as a number, NaN where it is missing."""
    return np.nan if text.lower() in MISSING else float(text)
