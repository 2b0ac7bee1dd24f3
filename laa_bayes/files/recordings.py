"""How are recordings read? CSV, TSV, npz, HDF5, NWB and ABF: one function a format, all give ms, mV and pA (or uA/cm2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .abf import read_abf
from .arrays import read_hdf5, read_npz
from .checks import uniform_step
from .nwb import read_nwb
from .tables import identify, parse_table, read_table

READERS: dict[str, Callable[[Path, int, list[str]], Recording]] = {
    ".csv": read_table,
    ".tsv": read_table,
    ".txt": read_table,
    ".npz": read_npz,
    ".abf": read_abf,
    ".nwb": read_nwb,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
}


TABLES = [suffix for suffix, reader in READERS.items() if reader is read_table]


def read_recording(path: Path, sweep: int = 0, columns: list[str] | None = None) -> Recording:
    """Return the recording in a file of any supported format.

    Raises
    ------
    InputError
        Missing or empty file, unknown format, missing units, missing samples, irregular time, columns that look swapped.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: unknown format '{path.suffix}'. Expected one of {', '.join(sorted(READERS))}.")
    if sweep and path.suffix.lower() not in (".abf", ".nwb"):
        raise InputError(f"{path}: --sweep {sweep} is for ABF and NWB files; this one holds a single trace.")
    if columns and reader is not read_table:
        raise InputError(f"{path}: --columns is for headerless tables (CSV, TSV).")
    return reader(path, sweep, columns or [])


def read_current(path: Path) -> tuple[np.ndarray, float, str]:
    """Return a current protocol (n_time,), its grid in ms and its unit (pA or uA/cm2) from a table or recording."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file, and no built-in protocol of that name.")
    if path.suffix.lower() in TABLES:
        found = identify(path, *parse_table(path, []), need=("time", "current"))
        current, unit = found["current"]
        return current, uniform_step(path, found["time"][0]), unit
    recording = read_recording(path)
    return recording.current, recording.dt_ms, recording.current_unit
