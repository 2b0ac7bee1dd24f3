"""How does NWB keep a table? Columns are datasets, a ragged one has an index of ends beside it, references name what they point at."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .hdf5 import values
from .session import text_of

log = logging.getLogger("glm_rates.files.nwb")


def flat_array(table: h5py.Group, name: str, kinds: str = "iuf") -> Any:
    """A column of numbers, unread where it has one axis; a column or row vector (as MATLAB writes them) is read and made flat."""
    found = hdf5io.array(table, name, (1, 2), kinds)
    if found.ndim == 1:
        return found
    if 1 not in found.shape:
        return hdf5io.array(table, name, 1, kinds)  # says what is expected
    return np.asarray(values(found)).ravel()


def read(found: Any, *where: Any) -> np.ndarray:
    """Values of what `flat_array` returned."""
    return values(found, *where) if isinstance(found, h5py.Dataset) else found[where or ()]


def ends_of(table: h5py.Group, name: str, length: int, path: Path) -> np.ndarray:
    """Where each row's part of a ragged column ends."""
    ends = np.asarray(read(flat_array(table, name + "_index", "iu")), np.int64)
    if len(ends) and ((np.diff(ends) < 0).any() or ends[0] < 0 or ends[-1] != length):
        raise InputError(f"{path}: '{table.name}/{name}_index' does not fit '{name}' of {length} values.")
    return ends


def column(table: h5py.Group, name: str) -> np.ndarray | list[np.ndarray]:
    """A column of a table: one value a row, or one array a row where it is ragged."""
    data = hdf5io.require(table, name)
    if not isinstance(data, h5py.Dataset) or data.shape is None or data.ndim == 0:
        raise InputError(f"{table.file.filename}: '{table.name}/{name}' is no column of a table.")
    flat = values(data)
    if h5py.check_ref_dtype(data.dtype) is not None:
        flat = np.array([_target(table, ref) for ref in flat.ravel()], object)
    elif (
        "elements" in data.attrs and flat.dtype.kind in "iu"
    ):  # an enumeration: numbers stand for the texts in another dataset
        texts = np.array([text_of(v) for v in values(table.file[data.attrs["elements"]])], object)
        flat = texts[flat]
    if name + "_index" not in table:
        return flat.ravel() if flat.ndim == 2 and flat.shape[1] == 1 else flat
    ends = ends_of(table, name, len(flat), Path(table.file.filename))
    return np.split(flat, ends[:-1]) if len(ends) else []


def _target(table: h5py.Group, reference: Any) -> str:
    """Name of what a reference points at; of an electrode group, the last part of its path."""
    return table.file[reference].name.rsplit("/", 1)[-1] if reference else ""


def scalar_columns(table: h5py.Group, n: int) -> dict[str, list[Any]]:
    """Columns with one number or text a row; others, and damaged ones, are left out."""
    out: dict[str, list[Any]] = {}
    for name in column_names(table):
        if name + "_index" in table or name in ("spike_times", "obs_intervals", "electrodes"):
            continue
        try:
            found = column(table, name)
        except (InputError, KeyError, TypeError, ValueError, OSError, RuntimeError, IndexError) as error:
            log.debug("column %s left out: %s", name, error)
            continue
        if len(found) == n and np.ndim(found) == 1:
            out[name] = [
                v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in np.asarray(found).tolist()
            ]
    return out


def column_names(table: h5py.Group) -> list[str]:
    """Names of a table's columns in their order."""
    names = [text_of(name) for name in np.atleast_1d(table.attrs.get("colnames", []))]
    names += [n for n in table if n not in names and n != "id" and not n.endswith("_index")]
    return [n for n in names if n in table and isinstance(table[n], h5py.Dataset)]
