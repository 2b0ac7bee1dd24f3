"""How is this text table written: which encoding, which separator, with a header or without?

Labels and metrics come from many programs: tabs in a ``.csv``, commas in a ``.tsv``, semicolons and decimal commas from a spreadsheet,
UTF-16, blanks around names. The form is told from the content, and kept when a file is written again.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

import hdf5io
from hdf5io.errors import InputError

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
SEPARATORS = ("\t", ",", ";")
LOOKED_AT = 50  #: lines from which the separator is told


class Form(NamedTuple):
    """How a text table is written."""

    encoding: str
    mark: bytes  #: byte order mark
    newline: str
    separator: str


class TextTable(NamedTuple):
    """The cells of a text table as they stand in the file."""

    form: Form
    rows: list[list[str]]  #: without empty lines


def read_text(path: Path) -> tuple[str, Form]:
    """Return a text file's content, and its form.

    Raises
    ------
    InputError : absent, empty, no text.
    """
    with hdf5io.parsing(path, "a text table"):
        raw = path.read_bytes()
    mark, encoding = next(((m, e) for m, e in MARKS if raw.startswith(m)), (b"", "utf-8"))
    if not mark and raw[:400].count(b"\0") > len(raw[:400]) // 3:
        encoding = "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"
    if not mark and encoding == "utf-8" and is_western(raw):
        encoding = "cp1252"
    try:
        text = raw[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not readable as CSV: no text in UTF-8, UTF-16 or Latin-1 (byte {error.start})."
        ) from None
    if "\0" in text:
        raise InputError(f"{path}: not readable as CSV: binary content.")
    if not text.strip():
        raise InputError(f"{path}: the file is empty; expected a header line and one line for each unit.")
    newline = "\r\n" if "\r\n" in text else "\n"
    return text, Form(encoding, mark, newline, separator_of(text, path))


def is_blank(path: Path) -> bool:
    """Return whether a file of labels holds none: nothing, or only the names of its columns, as Phy writes before anybody labelled."""
    if not path.read_bytes().strip(b" \t\r\n\0\xef\xbb\xff\xfe\xbf"):
        return True
    rows = read_cells(path).rows
    return len(rows) == 1 and not any(cell.isdigit() for cell in rows[0])


def is_western(raw: bytes) -> bool:
    """Return whether bytes are no UTF-8 but text of one byte a letter (Latin-1, Windows-1252): nothing in it is a control character.

    >>> is_western("spät".encode("latin-1")), is_western("spät".encode()), is_western(bytes([200, 0, 3]))
    (True, False, False)
    """
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return not any(byte < 9 or 13 < byte < 32 or byte == 127 for byte in raw)
    return False


def separator_of(text: str, path: Path) -> str:
    """Return the separator with which the lines have equally many cells, the most cells when several do; blanks where no other does."""
    lines = [line for line in text.splitlines() if line.strip()][:LOOKED_AT]
    by_suffix = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","

    def merit(separator: str) -> tuple[bool, int, bool]:
        """Return how well a separator parts the lines."""
        try:
            counts = [len(cells) for cells in csv.reader(lines, delimiter=separator)]
        except csv.Error:
            return (False, 0, False)
        same = counts[0] > 1 and len(set(counts)) == 1
        return (same, counts[0], separator == by_suffix)

    best = max(SEPARATORS, key=merit)
    n_blank = {len(line.split()) for line in lines}
    return " " if merit(best)[1] == 1 and len(n_blank) == 1 and n_blank != {1} else best


def read_cells(path: Path) -> TextTable:
    """Return the cells of a text table, blanks around them cut.

    Raises
    ------
    InputError : no text table; a row with more cells than the first.
    """
    text, form = read_text(path)
    try:
        rows = [
            row
            for row in csv.reader(
                io.StringIO(text, newline=""), delimiter=form.separator, skipinitialspace=form.separator == " "
            )
            if any(c.strip() for c in row)
        ]
    except csv.Error as error:
        raise InputError(f"{path}: not readable as CSV: {error}.") from None
    width = len(rows[0])
    for i, row in enumerate(rows):
        if len([c for c in row[width:] if c.strip()]):
            raise InputError(f"{path}: not readable as CSV: line {i + 1} has {len(row)} cells, the first has {width}.")
    return TextTable(form, [[cell.strip() for cell in (row + [""] * width)[:width]] for row in rows])


def write_cells(path: Path, table: TextTable) -> None:
    """Write cells in the form in which they were read, atomically."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=table.form.separator, lineterminator=table.form.newline).writerows(table.rows)
    with hdf5io.atomic(path) as part:
        part.write_bytes(table.form.mark + text.getvalue().encode(table.form.encoding))


def decimal_mark(text: str, separator: str) -> str:
    """Return the decimal mark of a table: a comma only where semicolons or tabs part the cells and numbers have one.

    >>> decimal_mark("id;snr\\n1;2,5", ";")
    ','
    """
    if separator == "," or re.search(rf"(^|[{separator}\n])-?\d+\.\d", text):
        return "."
    return "," if re.search(rf"(^|[{separator}\n])-?\d+,\d+(e-?\d+)?(?=[{separator}\r\n]|$)", text) else "."
