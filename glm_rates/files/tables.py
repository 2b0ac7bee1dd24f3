"""How is a table read, whatever it was exported by? Text of any separator and decimal mark, parquet, npz: columns by name."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from .hdf5 import parsing
from .pynapple_npz import as_table, kind_of

log = logging.getLogger("glm_rates.files.tables")
Table = dict[str, Any]  # columns by name: lists or one-dimensional arrays
TIME_COLUMNS = ("time_s", "time_ms", "time_us", "time_samples")
SCALE = {"_s": 1.0, "_ms": 1e-3, "_us": 1e-6}  # endings of columns of times, in s


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
        lines = [
            line for line in decoded(path).splitlines() if line.strip() and not line.lstrip().startswith(("#", "%"))
        ]
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


def decoded(path: Path) -> str:
    """Text of a file: UTF-8, UTF-16 with its mark (as Excel saves "Unicode text"), else Windows' western European."""
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252")
        log.warning("%s: not UTF-8, read as Windows-1252", path)
        return text


def _decimal(cells: list[str]) -> list[str]:
    """Cells of a column with a point as the decimal mark, where every filled cell is a number with at most one comma."""
    points = [cell.replace(",", ".", 1) for cell in cells]
    if any("," in cell for cell in cells) and all(is_number(cell) for cell in points if cell):
        return points
    return cells


def is_number(text: str) -> bool:
    """Whether a cell is a number."""
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
        return unfolded({str(name): column for name, column in parquet.read_table(path).to_pydict().items()})


def unfolded(table: Table) -> Table:
    """The table with a row for each time, where a cell of its column of times holds all of them (one row a unit)."""
    name = next((n for n in TIME_COLUMNS if n in table and any(isinstance(v, list) for v in table[n])), None)
    if name is None:
        return table
    times = [[] if cell is None else np.atleast_1d(cell).tolist() for cell in table[name]]
    long = {k: [v for v, mine in zip(column, times) for _ in mine] for k, column in table.items() if k != name}
    return {**long, name: [time for mine in times for time in mine]}


def read_npz(path: Path) -> Table:
    """One-dimensional arrays of an ``.npz`` file, or what pynapple saved."""
    with parsing(path, "an .npz without pickles"):
        _sizes(path)
        if kind := kind_of(path):
            return as_table(path, kind)
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
    ".csv": read_text, ".tsv": read_text, ".txt": read_text, ".parquet": read_parquet, ".pqt": read_parquet, ".npz": read_npz,
}  # fmt: skip
