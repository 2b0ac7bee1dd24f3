"""What did pynapple save? ``TsGroup``, ``Ts``, ``Tsd``, ``TsdFrame`` and ``IntervalSet`` files (``.npz``, all times in s) as tables."""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as layout

from hdf5io.errors import InputError

from .hdf5 import parsing

log = logging.getLogger("glm_rates.files.pynapple")
NOT_METADATA = ("t", "d", "start", "end", "index", "keys", "type", "columns", "rate", "_metadata")
CLASSES = ("TsGroup", "Ts", "Tsd", "TsdFrame", "TsdTensor", "IntervalSet")
PLAIN = {
    "_reconstruct",
    "scalar",
    "ndarray",
    "dtype",
    "_frombuffer",
}  #: what arrays of numbers and text are pickled with


class _Arrays(pickle.Unpickler):
    """Reads arrays of numpy in plain containers, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse what is no part of an array."""
        if module.partition(".")[0] == "numpy" and name in PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def kind_of(path: Path) -> str:
    """Name of the pynapple class that an ``.npz`` file says it holds; empty for any other file."""
    if path.suffix.lower() != ".npz":
        return ""
    with parsing(path, "an .npz"), zipfile.ZipFile(path) as archive:
        if not {"type.npy", "start.npy", "end.npy"} <= set(archive.namelist()):
            return ""
        with np.load(path, allow_pickle=False) as arrays:
            kind = np.ravel(arrays["type"])
            return str(kind[0]) if len(kind) == 1 and str(kind[0]) in CLASSES else ""


def as_table(path: Path, kind: str) -> dict[str, Any]:
    """Columns of what pynapple saved, under the names that tables have here.

    Raises
    ------
    InputError
        A class that is no table of times.
    """
    with parsing(path, "a file of pynapple"):
        at = _arrays(path)
        more = _metadata(at.get("_metadata")) | {
            name: column for name, column in at.items() if name not in NOT_METADATA
        }
        if kind == "IntervalSet":
            return {"start_time": at["start"], "stop_time": at["end"], **_of_length(more, len(at["start"]))}
        if kind == "TsGroup":
            keys = at["keys"] if "keys" in at else np.unique(at["index"])
            row = np.searchsorted(keys, at["index"], sorter=np.argsort(keys))
            row = np.argsort(keys)[row]
            silent = np.setdiff1d(keys, at["index"])
            if len(silent):
                log.warning("%s: %d unit(s) without a spike are left out: %s", path, len(silent), silent[:8].tolist())
            return {
                "unit_id": at["index"],
                "time_s": at["t"],
                **{k: v[row] for k, v in _of_length(more, len(keys)).items()},
            }
        if kind in ("Ts", "Tsd", "TsdFrame"):
            values = at["d"].reshape(len(at["t"]), -1) if "d" in at else np.zeros((len(at["t"]), 0))
            names = [str(c) for c in at.get("columns", range(values.shape[1]))] if kind == "TsdFrame" else [path.stem]
            return {"time_s": at["t"], **dict(zip(names, values.T))}
    raise InputError(f"{path}: a {kind} of pynapple; expected TsGroup, Ts, Tsd, TsdFrame or IntervalSet.")


def support_of(path: Path) -> np.ndarray | None:
    """Intervals (n, 2) in which a ``TsGroup`` was recorded, in s; None for any other file."""
    if kind_of(path) != "TsGroup":
        return None
    with parsing(path, "a file of pynapple"), np.load(path, allow_pickle=False) as archive:
        return np.stack([archive["start"], archive["end"]], axis=1).astype(float)


def _of_length(columns: dict[str, Any], n: int) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    return {name: array for name, array in arrays.items() if array.shape == (n,)}


def _arrays(path: Path) -> dict[str, Any]:
    """Every array of the file; pickled ones (metadata, names of columns) where they hold arrays and text, nothing else.

    Raises
    ------
    InputError
        They hold something else, which is not executed.
    """
    out: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            with archive.open(member) as handle:
                version = layout.read_magic(handle)
                read = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
                pickled = read(handle)[2].hasobject
                try:
                    out[name] = _Arrays(handle).load() if pickled else None
                except pickle.UnpicklingError as error:
                    raise InputError(
                        f"{path}: '{name}' is a pickle of more than arrays ({error}) and is not opened; save the columns that are needed as a table."
                    ) from None
            if not pickled:
                with archive.open(member) as handle:
                    out[name] = layout.read_array(handle, allow_pickle=False)
    return out


def _metadata(column: Any) -> dict[str, Any]:
    """Metadata columns as pynapple keeps them since 0.8: a dictionary of arrays, or of dictionaries."""
    found = column.item() if isinstance(column, np.ndarray) and column.shape == () else {}
    return {k: np.array(list(v.values())) if isinstance(v, dict) else v for k, v in dict(found or {}).items()}
