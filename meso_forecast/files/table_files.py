"""How does a table come from a file? Text in the encoding, with the separator and the lines above the numbers that programs write; parquet.

Above the numbers stand, in any number: comments (``#``, ``%``), of which the last may hold the names (``numpy.savetxt``); a line of names,
or several (pandas' levels, units, Inscopix's status of each cell). What these lines mean is read in `text_table`.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

SAMPLE_LINES, SAMPLE_CHARS, LONGEST_LINE = 60, 4_000_000, 20_000_000
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?", re.IGNORECASE)
TIME = r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?"
DATE = re.compile(rf"(\d{{4}}-\d\d-\d\d[T ])?{TIME}(Z|[+-]\d\d:?\d\d)?")
MISSING = ("", "nan", "na", "n/a", "#n/a", "null", "none", "-nan", "nan(ind)")
TRUTH = {"true": 1.0, "false": 0.0}


class Columns(NamedTuple):
    """A table as its file holds it."""

    head: list[list[str]]  #: lines above the numbers, each a text for every column
    values: list[np.ndarray]  #: of each column: numbers, truth values (bool), or text


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file: by its mark, by the zeros of UTF-16, else UTF-8, else that of Western Windows."""
    with open(path, "rb") as handle:
        start = handle.read(65536)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(start) > 3 and 0 in start[:4]:
        return "utf-16-le" if start[1] == 0 else "utf-16-be"
    try:
        start[: start.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"  # spreadsheets begin a file with a mark of their encoding


def read_text(path: Path) -> Columns:
    """Return the table of a text file.

    Raises
    ------
    InputError : no numbers in it, or another thing among them.
    """
    import pandas as pd

    with hdf5io.parsing(path, "a text table"):
        encoding = encoding_of(path)
        with open(path, encoding=encoding, errors="replace", newline="") as handle:
            lines = sample_of(handle)
        skipped, names = comments(lines)
        lines = lines[skipped:]
        sep = separator(lines)
        rows = [cells_of(line, sep) for line in lines if line.strip()]
        width = max((len(r) for r in rows), default=0)
        decimal = "," if sep != "," and any(DECIMAL_COMMA.fullmatch(v) for r in rows for v in r) else "."
        n_head = head_lines(rows, decimal, path)
        head = [padded(r, width) for r in rows[:n_head]]
        above = cells_of(names, sep) if names is not None else []
        if not head and len(above) == width:
            head = [above]
        above_numbers = [i for i, line in enumerate(lines) if line.strip()][n_head : n_head + 1] or [len(lines)]
        frame = pd.read_csv(
            path, header=None, sep=sep or "\0", engine="c", encoding=encoding, encoding_errors="replace", decimal=decimal,
            skiprows=skipped + above_numbers[0], skipinitialspace=True, low_memory=False, na_values=["nan(ind)", "-nan(ind)"],
            names=range(width), index_col=False,
        )  # fmt: skip
    first = frame[0]
    if first.dtype.kind not in "biuf":
        note = first.astype(str).str.match("[#%]").to_numpy()
        frame = frame[~note] if note.any() else frame
    values = [column_of(frame[j].infer_objects(), decimal) for j in range(width)]
    kept = [
        j for j in range(width) if not (is_empty(values[j]) and not any(h[j] for h in head))
    ]  # ends of lines with a separator
    return Columns([[h[j] for j in kept] for h in head], [values[j] for j in kept])


def sample_of(handle: Any) -> list[str]:
    """Return the first lines of a file."""
    lines: list[str] = []
    size = 0
    while len(lines) < SAMPLE_LINES and (size < SAMPLE_CHARS or len(lines) < 4):
        line = handle.readline(LONGEST_LINE)
        if not line:
            break
        lines.append(line.rstrip("\r\n"))
        size += len(line)
    return lines


def comments(lines: list[str]) -> tuple[int, str | None]:
    """Return how many lines at the top are comments (or a spreadsheet's ``sep=;``), and the text of the last of them."""
    n, text = 0, None
    while n < len(lines) and (
        re.match(r"[#%](?![,;\t])\s*", lines[n]) or re.fullmatch("sep=.", lines[n].strip(), re.I)
    ):
        text = lines[n].lstrip("#% \t") if lines[n][:1] in "#%" else text
        n += 1
    return n, text


def separator(lines: list[str]) -> str | None:
    """Return what parts the columns of most of the last lines: ``;``, a tab, a comma, a bar or blanks; None of one column."""
    body = [line for line in lines if line.strip()]
    body = body[len(body) // 2 :]
    words = [line.split() for line in body]
    if all(len(w) > 1 and "\t" not in line for w, line in zip(words, body)) and all(
        DECIMAL_COMMA.fullmatch(v) or v.isdigit() for w in words for v in w
    ):
        return r"\s+"  # decimal commas between blanks
    for sep in (";", "\t", ",", "|"):
        counts = [line.count(sep) for line in body]
        if counts and min(counts) > 0:
            return sep
    return r"\s+" if any(" " in line.strip() for line in body) else None


def cells_of(line: str, sep: str | None) -> list[str]:
    """Return the texts of a line."""
    if sep is None:
        return [line.strip().strip('"')]
    if sep == r"\s+":
        return line.split()
    return [v.strip() for v in next(csv.reader([line], delimiter=sep, skipinitialspace=True), [])]


def is_number(text: str, decimal: str = ".") -> bool:
    """Return whether a text is a number, a truth value or says that there is none."""
    if text.lower() in MISSING or text.lower() in TRUTH:
        return True
    try:
        float(text.replace(",", ".") if decimal == "," else text)
    except ValueError:
        return False
    return True


def padded(row: list[str], width: int) -> list[str]:
    """Return a line with a text for every column; R writes no name for its first column, which holds names."""
    return [""] + row if len(row) == width - 1 > 1 else row + [""] * (width - len(row))


def head_lines(rows: list[list[str]], decimal: str, path: Path) -> int:
    """Return how many lines stand above the numbers.

    A line is above them where a text stands in a column of numbers, where its first place is empty and never is below, where it is
    pandas' numbers of columns, or where it holds whole numbers alone and the lines below hold none.
    """
    body = rows[len(rows) // 2 :]
    width = max((len(r) for r in rows), default=0)
    column = lambda j: [r[j] for r in body if j < len(r)]  # noqa: E731
    numbers = [all(is_number(v, decimal) for v in column(j)) for j in range(width)]
    dates = [all(DATE.fullmatch(v) for v in column(j)) for j in range(width)]
    whole = [any(re.fullmatch(r"[-+]?\d+", v) for v in column(j)) for j in range(width)]
    if not any(numbers):
        said = next((v for r in rows for v in r if not is_number(v, decimal)), "nothing")
        raise InputError(f"{path}: no column of numbers; it holds '{said}' ... Expected a matrix, time by neuron.")
    for n, row in enumerate(rows):
        row = padded(row, width)
        text = any(
            (numbers[j] and not is_number(v, decimal)) or (dates[j] and not DATE.fullmatch(v))
            for j, v in enumerate(row)
        )
        empty = row[0] == "" and width > 1 and all(v for v in column(0)) and any(row)
        labels = row[1:] if numbers[0] else row[1:] or row
        counted = n == 0 and is_count(row, numbers[0])
        fractions = all(re.fullmatch(r"\d+", v) for v in labels) and len(set(labels)) > 1 and not any(whole[1:])
        if not (text or empty or counted or fractions):
            return n
    return len(rows)


def is_count(row: list[str], first_is_number: bool) -> bool:
    """Return whether a first line is pandas' numbers of columns: 0, 1, 2, ..., after an empty place or a name where rows have names."""
    texts = max((j for j, v in enumerate(row) if not v.isdigit()), default=0)  # names of the columns before
    labels = [int(v) for v in row[texts + 1 :]]
    counted = len(labels) > 1 and labels == list(range(labels[0], labels[0] + len(labels)))
    return counted and labels[0] in (0, 1) and (row[0] in ("", "0") or not first_is_number or texts > 0)


def column_of(series: Any, decimal: str) -> np.ndarray:
    """Return a column as numbers, truth values or texts."""
    if series.dtype.kind == "b":
        return series.to_numpy()
    if series.dtype.kind in "iuf":
        return series.to_numpy(float)
    text = series.fillna("").astype(str).str.strip()
    if all(is_number(v, decimal) and v.lower() not in TRUTH for v in text):  # a comment stood among them
        return np.array([np.nan if v.lower() in MISSING else float(v.replace(",", ".")) for v in text])
    low = text.str.lower()
    if low.isin([*TRUTH, ""]).all():
        return (low == "true").to_numpy() if low.isin(TRUTH).all() else low.map(TRUTH).to_numpy(float)
    return text.to_numpy(dtype=str)


def is_empty(values: np.ndarray) -> bool:
    """Return whether a column holds nothing."""
    return values.dtype.kind == "f" and bool(np.isnan(values).all())


def read_parquet(path: Path) -> Columns:
    """Return the table of a parquet file; an index that is no row number is a column, levels of names are lines above the numbers."""
    import pandas as pd
    import pyarrow  # noqa: F401 - so that the missing extra is named

    with hdf5io.parsing(path, "a parquet table"):
        frame = pd.read_parquet(path)
        if not isinstance(frame.index, pd.RangeIndex):
            frame = frame.reset_index(names=frame.index.names if frame.index.name or frame.index.nlevels > 1 else [""])
        names = [tuple(map(str, c)) if isinstance(c, tuple) else (str(c),) for c in frame.columns]
        depth = max(map(len, names), default=1)
        head = [[(n + ("",) * depth)[k] for n in names] for k in range(depth)]
        values = [parquet_column(frame.iloc[:, j]) for j in range(frame.shape[1])]
    return Columns(head, values)


def parquet_column(series: Any) -> np.ndarray:
    """Return a column as numbers, truth values or texts; times as texts of ISO, durations as seconds."""
    if series.dtype.kind == "m":
        return series.dt.total_seconds().to_numpy(float)
    if series.dtype.kind == "M":
        return np.array([v.isoformat() for v in series])
    return column_of(series.astype(float) if series.dtype.kind in "iuf" else series, ".")


def seconds(texts: np.ndarray, name: str, path: Path) -> np.ndarray:
    """Return times of day or dates with times (ISO) as seconds from the first; a day is added where a time of day starts anew.

    Raises
    ------
    InputError : another form of a date.
    """
    import datetime

    wrong = next((t for t in texts if not DATE.fullmatch(t)), None)
    if wrong is not None:
        raise InputError(
            f"{path}: '{name}' holds '{wrong}'; expected seconds, or times such as 2024-05-17T12:30:00.25 or 12:30:00.25."
        )
    found = []
    for text in np.char.replace(texts, ",", "."):
        day = text if text[4:5] == "-" else f"2000-01-01T{text.zfill(len(text) + (text[1] == ':'))}"
        moment = datetime.datetime.fromisoformat(day)
        found.append((moment.replace(tzinfo=moment.tzinfo or datetime.UTC)).timestamp())
    times = np.array(found)
    return np.unwrap(times, period=86400.0) - times[0] if texts[0][4:5] != "-" else times - times[0]
