"""What does the units table of an NWB file say: ids, and one number or word for each unit?

pynwb writes it as a DynamicTable: ``units/id``, and a dataset for each name of the attribute ``colnames``; what belongs to a unit in a
varying number (spike times) has an ``_index`` beside it, an enumeration its ``_elements``. Read through h5py; or through zarr, as
hdmf-zarr writes it: the same tree, words often pickled. Nothing is unpickled: such columns are left out, and told.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from . import trust

log = logging.getLogger(__package__)

REFERENCES = ("object", "region")  #: hdmf-zarr's types of columns that point to something else
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
    return with_ids(columns, ids)


def with_ids(columns: Mapping[str, np.ndarray], ids: np.ndarray) -> pd.DataFrame:
    """Return the columns of a units table, ``unit_id`` first."""
    own = next((n for n in ("unit_id", "unit_name") if n in columns), None)
    return pd.DataFrame({"unit_id": columns[own] if own else ids} | {n: v for n, v in columns.items() if n != own})


def is_zarr(path: Path) -> bool:
    """Return whether a folder is an NWB file in zarr format: a group with a group of units (a SortingAnalyzer has none)."""
    return all((path / part / ".zgroup").is_file() for part in (".", "units")) and (path / "units" / "id").is_dir()


def read_zarr(path: Path) -> pd.DataFrame:
    """Return the units of an NWB file in zarr format, as `read` does.

    Raises
    ------
    InputError : not readable; a column of another length; ids that only a pickle holds.
    """
    import zarr

    columns, left_out = dict[str, np.ndarray](), list[str]()
    with hdf5io.parsing(path, "an NWB file in zarr format"):
        units = zarr.open_group(str(path), mode="r")["units"]
        names = [str(n) for n in units.attrs.asdict().get("colnames", sorted(units.array_keys()))]
        for name in ["id", *(n for n in names if n != "id")]:
            array: Any = units.get(name)
            told = array is None or not hasattr(array, "ndim") or array.attrs.asdict().get("zarr_dtype") in REFERENCES
            if told or f"{name}_index" in units or array.ndim != 1 or array.dtype.kind not in "iufbUSO":
                continue
            if len(array) != len(units["id"]):
                raise InputError(f"{path}: 'units/{name}' has {len(array)} values for {len(units['id'])} units.")
            if trust.codecs_of(array):
                left_out.append(name)
            else:
                columns[name] = np.asarray(array[:])
    if "id" not in columns:
        raise InputError(f"{path}: 'units/id' is not readable as numbers: without pickles nothing names its units.")
    if left_out:
        log.warning("%s: columns that only a pickle holds are left out: %s", path, ", ".join(left_out))
    return with_ids({n: v for n, v in columns.items() if n != "id"}, columns["id"])


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
