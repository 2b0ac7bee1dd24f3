"""How is a text table read? CSV and TSV with units in the header, or headerless with named columns."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import assemble
from .units import EXAMPLE, NAMES, convert


def read_table(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read a CSV or TSV file whose header names quantities and units, or a headerless one with ``columns``."""
    return assemble(path, identify(path, *parse_table(path, columns)))


def parse_table(path: Path, columns: list[str]) -> tuple[list[str], np.ndarray]:
    """Return column names and numbers (n_row, n_column)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text table (not UTF-8).") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise InputError(f"{path}: the file has no rows.")
    delimiter = next((d for d in ("\t", ";", ",") if d in lines[0]), ",")
    rows = list(csv.reader(lines, delimiter=delimiter))
    if columns:
        header = columns
    elif any(_is_number(cell) for cell in rows[0]):
        raise InputError(
            f"{path}: the first line has numbers and no names. Name the columns with units: --columns time_ms,voltage_mV,current_pA."
        )
    else:
        header, rows = [cell.strip() for cell in rows[0]], rows[1:]
    if not rows:
        raise InputError(f"{path}: the table has a header and no rows.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {number} has {len(row)} values, the header has {len(header)} ({', '.join(header)})."
            )
    try:
        return header, np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows])
    except ValueError as error:
        raise InputError(f"{path}: not a number: {str(error).split(':')[-1].strip()}.") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def identify(
    path: Path, header: list[str], values: np.ndarray, need=("time", "voltage", "current")
) -> dict[str, tuple[np.ndarray, str]]:
    """Return quantity -> (values in ms, mV, pA or uA/cm2; unit) from column names such as ``voltage_mV`` or ``I (nA)``."""
    found: dict[str, tuple[np.ndarray, str]] = {}
    for name, column in zip(header, values.T, strict=True):
        words = re.split(r"[_\s(\[\])/]+", name.strip().lower().replace("µ", "u").replace("²", "2").replace("^", ""))
        words = [word for word in words if word]
        quantity = next((q for q, spellings in NAMES.items() if words and words[0] in spellings), None)
        if quantity is not None and quantity in need and quantity not in found:
            found[quantity] = convert(
                path,
                name,
                quantity,
                "".join(words[1:]) if quantity == "current" else (words[-1] if len(words) > 1 else ""),
                column,
            )
    missing = [q for q in need if q not in found]
    if missing:
        raise InputError(
            f"{path}: no column for {', '.join(missing)}; the file has {', '.join(header)}. Expected names such as {EXAMPLE}."
        )
    return found
