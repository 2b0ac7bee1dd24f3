"""Which arrays are in a file, and in which order did its writer store their axes? NumPy, MATLAB 5 and 7.3, HDF5, NWB.

The format is told by the first bytes, never by the suffix. MATLAB stores the first index fastest: what MATLAB shows as (time, neuron)
stands in an HDF5 file of MATLAB's as (neuron, time), and is turned back here; an HDF5 file of anybody else stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

MATLAB = b"MATLAB "
FORMATS = {b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"MATLAB 5.0": "mat", b"MATLAB 7.3": "hdf5"}


class Array(NamedTuple):
    """One array of a file, axes as its writer meant them."""

    values: np.ndarray
    name: str  #: within the file; empty where it holds one array
    axes: tuple[str, ...]  #: names of the axes, where the file tells them
    nwb: bool  #: from an NWB file, whose first axis is time


Wanted = Callable[[tuple[int, ...]], bool]


def format_of(path: Path) -> str:
    """Return npy, npz, mat, hdf5 or text, by the content of a file.

    Raises
    ------
    InputError : no file, a folder, or an empty one.
    """
    with hdf5io.parsing(path, "a file"), open(path, "rb") as handle:
        head = handle.read(128)
    if not head:
        raise InputError(f"{path}: an empty file.")
    for start, name in FORMATS.items():
        if head.startswith(start):
            return name
    with hdf5io.parsing(path, "a file"):
        if h5py.is_hdf5(path):
            return "hdf5"
    if path.suffix.lower() in (".npy", ".npz", ".mat", ".h5", ".hdf5", ".nwb"):
        raise InputError(f"{path}: damaged, its first bytes are not those of a {path.suffix} file.")
    return "text"


def load(path: Path, kind: str, wanted: str | None, fits: Wanted, usual: tuple[str, ...], what: str) -> Array:
    """Return the array that is asked for, of the usual name, or the only one whose shape fits.

    Parameters
    ----------
    kind : of `format_of`. wanted : name that the user gave. fits : whether a shape can be ``what``. usual : names that win.

    Raises
    ------
    InputError : unreadable, no array of that name, several or none that fit.
    """
    if kind == "npy":
        with hdf5io.parsing(path, "a NumPy array"):
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            values = np.array(values)
        return Array(_numbers(path, "", values), "", (), False)
    if kind == "hdf5":
        return _from_hdf5(path, wanted, fits, usual, what)
    found = _from_npz(path) if kind == "npz" else _from_mat(path)
    name = choose(path, {n: (a.shape, a.dtype.kind) for n, a in found.items()}, wanted, fits, usual, what)
    return Array(_numbers(path, name, found[name]), name, (), False)


def choose(
    path: Path, there: dict[str, tuple[tuple[int, ...], str]], wanted: str | None, fits: Wanted, usual: tuple[str, ...], what: str
) -> str:  # fmt: skip
    """Return the name of the array to take: of real numbers before whole ones."""
    if wanted is not None:
        name = wanted.strip("/")
        if name in there:
            return name
        raise InputError(f"{path}: no '{wanted}'; there are {', '.join(there) or 'no arrays'}.")
    able = {name: kind for name, (shape, kind) in there.items() if kind in "iuf" and fits(shape)}
    for name in usual:
        if name in able:
            return name
    fit = [name for name, kind in able.items() if kind == "f"] or list(able)
    if len(fit) == 1:
        return fit[0]
    shown = ", ".join(f"{name} {there[name][0]}" for name in (fit or list(there))[:8])
    raise InputError(
        f"{path}: {len(fit)} arrays could be the {what} ({shown or 'it has none'}). Name one with --dataset."
    )


def _numbers(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "iuf":
        raise InputError(f"{path}: {name or 'the array'} holds {values.dtype}, real numbers are expected.")
    return values.astype(float)


def _from_npz(path: Path) -> dict[str, np.ndarray]:
    with hdf5io.parsing(path, "an npz file of plain arrays"), np.load(path, allow_pickle=False) as file:
        if {"data", "indices", "indptr", "shape", "format"} <= set(file.files):
            from scipy.sparse import load_npz

            return {"": load_npz(path).toarray()}
        return {name: file[name] for name in file.files}


def _from_mat(path: Path) -> dict[str, np.ndarray]:
    from scipy.io import loadmat

    with hdf5io.parsing(path, "a MATLAB file"):
        found = loadmat(path)
        arrays = {n: a.toarray() if hasattr(a, "toarray") else a for n, a in found.items() if not n.startswith("__")}
        return {name: a for name, a in arrays.items() if isinstance(a, np.ndarray)}


def _from_hdf5(path: Path, wanted: str | None, fits: Wanted, usual: tuple[str, ...], what: str) -> Array:
    with open(path, "rb") as handle:
        matlab = handle.read(7) == MATLAB
    with hdf5io.read(path) as file:
        there = dict(_walk(file, set()))
        if wanted is not None and wanted.strip("/") not in there:
            hdf5io.array(file, wanted)  # says what is wrong with it
        turned = {n: (d.shape[::-1] if _by_matlab(d, matlab) else d.shape, d.dtype.kind) for n, d in there.items()}
        name = choose(path, turned, wanted, fits, usual, what)
        item = hdf5io.array(file, name)
        values, axes = item[()], tuple(dim.label for dim in item.dims)
        if _by_matlab(item, matlab):
            values, axes = values.T, ()
        return Array(_numbers(path, name, values), name, axes if all(axes) else (), "nwb_version" in file.attrs)


def _by_matlab(item: h5py.Dataset, matlab_file: bool) -> bool:
    return matlab_file or "MATLAB_class" in item.attrs


def _walk(group: h5py.Group, seen: set[int]) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield arrays with their names; links that lead elsewhere or nowhere, and references of MATLAB, are left out."""
    for name in group:
        if name == "#refs#" or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        try:
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            if isinstance(item, h5py.Group):
                yield from _walk(item, seen | {address})
            elif isinstance(item, h5py.Dataset) and item.shape is not None and item.dtype.kind in "biufc":
                yield item.name.strip("/"), item
        except (
            KeyError,
            OSError,
            RuntimeError,
            TypeError,
            ValueError,
        ):  # one damaged object is no reason to miss the others
            continue
