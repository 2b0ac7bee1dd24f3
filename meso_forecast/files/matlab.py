"""How are arrays read from a MATLAB file, of version 5 (scipy) or 7.3 (HDF5, axes the other way round)?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError


def is_mat5(path: Path) -> bool:
    """Return whether a file begins as MATLAB's version 5 (and 7) does."""
    with open(path, "rb") as handle:
        return handle.read(19) == b"MATLAB 5.0 MAT-file"


def mat_arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return variables of a MATLAB file: arrays of numbers with MATLAB's axes, and structs as they come.

    Raises
    ------
    InputError : it cannot be read, or the first name is missing or no matrix of numbers.
    """
    if is_mat5(path):
        from scipy.io import loadmat

        with hdf5io.parsing(path, "a MATLAB file"):
            found = loadmat(path, variable_names=list(names))
    else:
        with hdf5io.read(path) as file:
            found = {
                n: file[n][()].T if isinstance(file[n], h5py.Dataset) else struct(file[n]) for n in names if n in file
            }
    arrays = {name: found[name] for name in names if name in found}
    first = arrays.get(names[0])
    if not isinstance(first, np.ndarray) or first.ndim != 2 or first.dtype.kind not in "biuf":
        there = ", ".join(k for k in found if not k.startswith("__"))
        raise InputError(
            f"{path}: no matrix of numbers '{names[0]}'; there are {there or 'no variables that are known'}."
        )
    return arrays


def struct(group: h5py.Group) -> dict[str, np.ndarray]:
    """Return the arrays of a MATLAB 7.3 struct."""
    return {name: item[()] for name, item in group.items() if isinstance(item, h5py.Dataset) and item.shape is not None}


def field_of(value: Any, name: str) -> Any:
    """Return a field of a struct as either version gives it, None where it is not there."""
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, np.ndarray) and value.dtype.names and name in value.dtype.names and value.size:
        return value.reshape(-1)[0][name]
    return None
