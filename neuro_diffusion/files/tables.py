"""What is in a table of text? Separator, comments, header and index column are told by the content."""

from __future__ import annotations

import csv
import itertools
import logging
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

log = logging.getLogger("neuro_diffusion")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
TRUTH = {"true": "1", "false": "0"}  #: what a mask may hold
MISSING = {"", "nan", "na", "n/a", "null", "none"}


class Table(NamedTuple):
    """A table of text."""

    header: list[str] | None  #: names of the columns, where a first line of names stands
    rows: list[list[str]]
    first_line: int  #: number of the first row in the file
    starts: list[int]  #: places of the rows that follow a blank line or a comment, and of the first


def read_table(path: Path) -> Table:
    """Return the cells of a table separated by commas, semicolons, tabs or blanks; lines that begin with # or % are comments.

    Raises
    ------
    InputError : no text, or no line in it.
    """
    with hdf5io.parsing(path, "a text table"):
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    lines = [
        (n, line)
        for n, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith(("#", "%"))
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
    if separator != ",":
        cells = _points(cells)
    if separator is not None and len(cells) > 1 and all(len(row) > 2 and row[-1] == "" for row in cells):
        log.warning("%s: every line ends with a separator; there is no column behind it.", path)
        cells = [row[:-1] for row in cells]
    _refuse_levels(path, cells)
    named = len(cells) > 1 and is_header(cells[0], cells[1])
    numbers = [n for n, _ in lines[named:]]
    starts = [0, *(i for i in range(1, len(numbers)) if numbers[i] > numbers[i - 1] + 1)]
    return Table(cells[0] if named else None, cells[1:] if named else cells, numbers[0], starts)


def _refuse_levels(path: Path, cells: list[list[str]]) -> None:
    """Raise InputError where several lines of names stand over numbers, as pandas writes columns of several levels."""
    lines = [sum(is_number(cell) for cell in row[1:]) == 0 and len(row) > 2 for row in cells[:4]]
    count = lines.index(False) if False in lines else 0
    if count > 1 and all(is_number(cell) for cell in cells[count][1:] if cell):
        raise InputError(
            f"{path}: {count} lines of names over the numbers; one is expected. Join them, in pandas: d.columns = ['_'.join(map(str, c)) for c in"
            f" d.columns]; d.to_csv('{path.name}')."
        )


def _points(cells: list[list[str]]) -> list[list[str]]:
    """Return cells with decimal points where the whole table has decimal commas."""
    flat = [cell for row in cells for cell in row]
    if not any(DECIMAL_COMMA.fullmatch(cell) for cell in flat) or any("." in cell and is_number(cell) for cell in flat):
        return cells
    return [[cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell for cell in row] for row in cells]


def plain_name(name: str) -> str:
    """Return a column's name without unit, case and signs: ``Time (s)`` is time, ``Trial #`` trial."""
    return re.sub(r"\W+", "_", re.sub(r"[\[({].*", "", name.lower())).strip("_")


def separator_of(lines: list[str]) -> str | None:
    """Return the separator that stands equally often in most lines; None for blanks."""
    for separator in ("\t", ";", "|", ","):
        counts = [line.count(separator) for line in lines if "{" not in line]
        if counts and max(counts) > 0 and counts.count(max(counts)) >= 0.8 * len(counts):
            return separator
    return None


def is_header(first: list[str], second: list[str]) -> bool:
    """Return whether a line holds names: a cell that is no number stands above one that is, or numbers count the columns."""
    first, second = ([TRUTH.get(cell.lower(), cell) for cell in line] for line in (first, second))
    if len(first) == len(second) and any(not is_number(a) and is_number(b) for a, b in zip(first, second)):
        return True
    if (
        len(first) == len(second) > 6 and not is_number(first[0]) and _rises(first[1:])
    ):  # times over rows that have names
        return True
    if len(first) == len(second) - 1 and is_count(first):  # blanks as separators: no cell above the index
        return True
    return is_count(first if first[0] else first[1:]) and len(first) > 2 and not is_count(second)


def _rises(cells: list[str]) -> bool:
    """Return whether cells are numbers that rise from each to the next."""
    numbers = [number(cell) for cell in cells if is_number(cell)]
    return len(numbers) == len(cells) and all(a < b for a, b in itertools.pairwise(numbers))


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
