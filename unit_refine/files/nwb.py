"""What does the units table of an NWB file say: ids, and one number or word for each unit?

pynwb writes it as a DynamicTable: ``units/id``, and a dataset for each name of the attribute ``colnames``; what belongs to a unit in a
varying number (spike times) has an ``_index`` beside it, an enumeration its ``_elements``. Read through h5py: nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

import hdf5io
from hdf5io.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, as NWB files are."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def read(path: Path) -> pd.DataFrame:
    """Return the units of an NWB file, one row each: ``unit_id`` and the columns with one number or word a unit.

    The ids are those that SpikeInterface takes: ``unit_name`` where the table has it, else ``id``.

    Raises
    ------
    InputError : no units table; a column of another length.
    """
    with hdf5io.read(path) as file, hdf5io.parsing(path, "an NWB units table"):
        units = file.get("units")
        if not isinstance(units, h5py.Group) or "id" not in units:
            raise InputError(
                f"{path}: no units table ('units' with 'id', as NWB has it); give a metrics table, or an NWB file of sorted units."
            )
        ids = hdf5io.array(units, "id", 1, "iu")[:]
        names = [_text(n) for n in np.ravel(units.attrs.get("colnames", [n for n in units if n != "id"]))]
        columns = {name: values for name in names if (values := column(units, name, len(ids))) is not None}
    if "unit_id" not in columns:
        columns = {"unit_id": columns.pop("unit_name") if "unit_name" in columns else ids} | columns
    return pd.DataFrame(columns)


def column(units: h5py.Group, name: str, n: int) -> np.ndarray | None:
    """Return a column of a units table; None where it has not one number or word a unit (ragged, traces, references).

    Raises
    ------
    InputError : another length than ``n``.
    """
    found = units.get(name)
    if not isinstance(found, h5py.Dataset) or f"{name}_index" in units or found.shape is None:
        return None
    enum = h5py.check_enum_dtype(found.dtype)
    is_text = h5py.check_string_dtype(found.dtype) is not None
    if not (is_text or enum or found.dtype.kind in "iufb") or (found.ndim != 1 and found.shape != (n, 1)):
        return None
    if len(found) != n:
        raise InputError(f"{units.file.filename}: 'units/{name}' has {len(found)} values for {n} units.")
    hdf5io.array(units, name, kinds="iufbOSU")
    values = np.ravel(found.asstr()[:] if is_text else found[:])
    words: dict[int, str] = {v: k for k, v in (enum or {}).items()} if values.dtype != bool else {}
    if f"{name}_elements" in units:
        words = dict(enumerate(hdf5io.array(units, f"{name}_elements", 1, "OSU").asstr()[:]))
    if words and not set(values.tolist()) <= set(words):
        raise InputError(
            f"{units.file.filename}: 'units/{name}' has numbers that stand for none of its {len(words)} words."
        )
    return np.array([words[v] for v in values.tolist()], dtype=object) if words else values


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
