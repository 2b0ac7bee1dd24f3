"""Which arrays are in a file, and in which order did its writer store their axes? NumPy, MATLAB 5 and 7.3, HDF5, NWB.

The format is told by the first bytes, never by the suffix. MATLAB stores the first index fastest: what MATLAB shows as (time, neuron)
stands in an HDF5 file of MATLAB's, R's or Julia's as (neuron, time), and is turned back here; one of anybody else stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .foreign import refuse_foreign, refuse_foreign_hdf5

COLUMN_MAJOR = (
    b"MATLAB ",
    b"HDF5-based Julia",
    b"Julia data file",
)  #: first bytes of files whose first axis is the fastest
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
    refuse_foreign(path, head)
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
        refuse_name(path, wanted)
        with hdf5io.parsing(path, "a NumPy array"):
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            values = np.array(values)
        return Array(_numbers(path, "", values), "", (), False)
    if kind == "hdf5":
        return _from_hdf5(path, wanted, fits, usual, what)
    found = _from_npz(path) if kind == "npz" else _from_mat(path)
    name = choose(path, {n: _outline(a) for n, a in found.items()}, wanted, fits, usual, what)
    return Array(_numbers(path, name, found[name]), name, (), False)


def refuse_name(path: Path, wanted: str | None) -> None:
    """Raise InputError where an array is named in a file that holds but one."""
    if wanted is not None:
        raise InputError(f"--dataset {wanted}: without effect, {path} holds one array or table. Leave it out.")


def choose(
    path: Path, there: dict[str, tuple[tuple[int, ...], str]], wanted: str | None, fits: Wanted, usual: tuple[str, ...], what: str
) -> str:  # fmt: skip
    """Return the name of the array to take: rates (of a usual name) are real numbers before whole ones, counts of synapses are not."""
    if wanted is not None:
        name = wanted.strip("/")
        if name in there:
            return name
        raise InputError(f"{path}: no '{wanted}'; there are {', '.join(there) or 'no arrays'}.")
    able = {name: kind for name, (shape, kind) in there.items() if kind in "iufb" and fits(shape)}
    for name in usual:
        if name in able:
            return name
    real = [name for name, kind in able.items() if kind == "f"] if usual else []
    fit = real or list(able)
    if len(fit) == 1:
        return fit[0]
    shown = ", ".join(f"{name} {there[name][0]}" for name in (fit or list(there))[:8])
    raise InputError(
        f"{path}: {len(fit)} arrays could be the {what} ({shown or 'it has none'}). Name one with --dataset."
    )


def _unequal(path: Path, name: str, cells: Sequence[tuple[int, ...]]) -> InputError:
    """Return what is wrong with cells of several shapes."""
    shown = ", ".join(" x ".join(map(str, shape)) for shape in sorted(set(cells))[:4])
    return InputError(
        f"{path}: '{name}' has {len(cells)} cells of shapes {shown}; all must be as long. Cut the trials to one length."
    )


def _outline(values: np.ndarray) -> tuple[tuple[int, ...], str]:
    """Return shape and kind of an array; of cells of several shapes that of the smallest array that could hold them."""
    if values.dtype.kind != "O":
        return values.shape, values.dtype.kind
    return (len(values), *np.max([cell.shape for cell in values], axis=0).tolist()), "f"


def _numbers(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "O" and all(isinstance(cell, np.ndarray) for cell in values):
        raise _unequal(path, name, [cell.shape for cell in values])
    if values.dtype.kind not in "iufb":
        raise InputError(f"{path}: {name or 'the array'} holds {values.dtype}, real numbers are expected.")
    return values.astype(float)


def _from_npz(path: Path) -> dict[str, np.ndarray]:
    with hdf5io.parsing(path, "an npz file of plain arrays"), np.load(path, allow_pickle=False) as file:
        if {"data", "shape", "format"} <= set(file.files):  # scipy's, in any of its sparse formats
            from scipy.sparse import load_npz

            return {"": load_npz(path).toarray()}
        found = {name: file[name] for name in file.files}
    if not all(isinstance(a, np.ndarray) for a in found.values()):
        raise InputError(f"{path}: a zip file without NumPy arrays (of torch?). Save the array with numpy.save.")
    return found


def _from_mat(path: Path) -> dict[str, np.ndarray]:
    from scipy.io import loadmat

    with hdf5io.parsing(path, "a MATLAB file"):
        found = loadmat(path)
        return dict(_plain("", {n: a for n, a in found.items() if not n.startswith("__")}))


def _plain(place: str, there: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of MATLAB's variables, of the fields of structs, and cells of arrays: one array where they are of one shape."""
    for name, value in there.items():
        value = value.toarray() if hasattr(value, "toarray") else value
        if not isinstance(value, np.ndarray):
            continue
        if value.dtype.names and value.size == 1:
            yield from _plain(f"{place}{name}/", {field: value[field].item() for field in value.dtype.names})
        elif value.dtype.names:
            yield from _plain(f"{place}{name}/", {field: value[field] for field in value.dtype.names})
        elif value.dtype.kind == "O":
            cells = [cell for cell in value.ravel() if isinstance(cell, np.ndarray)]
            if not cells or len(cells) < value.size or len({cell.ndim for cell in cells}) > 1:
                continue
            if len({cell.shape for cell in cells}) == 1:
                yield f"{place}{name}", np.stack(cells)
            elif {cell.dtype.kind for cell in cells} <= {*"iufb"}:
                unequal = np.empty(len(cells), object)
                unequal[:] = cells
                yield f"{place}{name}", unequal
        else:
            yield f"{place}{name}", value


def _from_hdf5(path: Path, wanted: str | None, fits: Wanted, usual: tuple[str, ...], what: str) -> Array:
    with open(path, "rb") as handle:
        turned = handle.read(64).startswith(COLUMN_MAJOR)
    with hdf5io.read(path) as file:
        if wanted is None:
            refuse_foreign_hdf5(path, file)
        there = dict(_walk(file, set(), turned))
        if wanted is not None and wanted.strip("/") not in there:
            hdf5io.array(file, wanted)  # says what is wrong with it
        name = choose(path, {n: (entry.shape, entry.kind) for n, entry in there.items()}, wanted, fits, usual, what)
        entry = there[name]
        with hdf5io.parsing(path, f"'{name}'"):
            values = entry.read()
        return Array(_numbers(path, name, values), name, entry.axes, "nwb_version" in file.attrs)


class _Entry(NamedTuple):
    """An array of an HDF5 file, axes as its writer meant them."""

    shape: tuple[int, ...]
    kind: str
    read: Callable[[], np.ndarray]
    axes: tuple[str, ...] = ()


def _walk(group: h5py.Group, seen: set[int], turned: bool) -> Iterator[tuple[str, _Entry]]:
    """Yield arrays with their names; links that lead elsewhere or nowhere, and what only MATLAB refers to, are left out."""
    for name in group:
        if name == "#refs#" or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        try:
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            if isinstance(item, h5py.Group) and "MATLAB_sparse" in item.attrs:
                yield item.name.strip("/"), _sparse(item)
            elif isinstance(item, h5py.Group):
                yield from _walk(item, seen | {address}, turned)
            elif (
                isinstance(item, h5py.Dataset)
                and item.dtype == h5py.ref_dtype
                and (turned or "MATLAB_class" in item.attrs)
            ):
                yield item.name.strip("/"), _cells(item)
            elif (
                isinstance(item, h5py.Dataset)
                and item.shape is not None
                and item.dtype.kind in "biufc"
                and not _is_text(item)
            ):
                yield item.name.strip("/"), _entry(item, turned)
        except (
            KeyError,
            OSError,
            RuntimeError,
            TypeError,
            ValueError,
        ):  # one damaged object is no reason to miss the others
            continue


def _entry(item: h5py.Dataset, turned: bool) -> _Entry:
    """Return a plain array; MATLAB, R and Julia store the first axis fastest, netCDF and NWB a factor and an offset beside it."""
    attrs = item.attrs
    turned = turned or "MATLAB_class" in attrs or "rhdf5-NA.OK" in attrs
    labelled = zip(_labels(item), item.dims)
    axes = () if turned else tuple(label or (Path(d[0].name).name if len(d) else "") for label, d in labelled)

    def read() -> np.ndarray:
        """Return the values, axes as the writer meant them."""
        values = hdf5io.packing(item).unpack(item[()])
        if "conversion" in attrs:
            values = values * float(np.squeeze(attrs["conversion"])) + float(np.squeeze(attrs.get("offset", 0.0)))
        return values.T if turned else values

    shape = item.shape[::-1] if turned else item.shape
    return _Entry(shape, item.dtype.kind, read, axes if all(axes) else ())


def _labels(item: h5py.Dataset) -> list[str]:
    """Return what each axis is called; from the attribute itself, since the library's own call aborts on a damaged one."""
    found = np.ravel(item.attrs.get("DIMENSION_LABELS", []))
    texts = [v.decode(errors="replace") if isinstance(v, bytes) else v if isinstance(v, str) else "" for v in found]
    return texts if len(texts) == item.ndim else [""] * item.ndim


def _sparse(group: h5py.Group) -> _Entry:
    """Return a sparse matrix of MATLAB's: compressed columns."""
    n_rows, n_columns = int(group.attrs["MATLAB_sparse"]), len(group["jc"]) - 1

    def read() -> np.ndarray:
        """Return the values, axes as the writer meant them."""
        from scipy.sparse import csc_matrix

        if "data" not in group:
            return np.zeros((n_rows, n_columns))
        parts = (group["data"][()], group["ir"][()].astype(int), group["jc"][()].astype(int))
        return csc_matrix(parts, shape=(n_rows, n_columns)).toarray()

    return _Entry((n_rows, n_columns), "f", read)


def _is_text(item: h5py.Dataset) -> bool:
    """Return whether MATLAB calls an array text: numbers of letters."""
    return item.attrs.get("MATLAB_class") in (b"char", "char")


def _cells(item: h5py.Dataset) -> _Entry:
    """Return a cell array of MATLAB's, or a field of its struct arrays, in order; where shapes differ it can only be named."""
    datasets = [item.file[reference] for reference in item[()].ravel()]
    if any(_is_text(cell) for cell in datasets):
        raise ValueError("cells of text")
    cells = [_entry(cell, True) for cell in datasets]
    shapes, kinds = [c.shape for c in cells], {c.kind for c in cells}
    if len(kinds) != 1 or len({len(shape) for shape in shapes}) != 1:
        raise ValueError("cells of several kinds")

    def read() -> np.ndarray:
        """Return the cells as one array."""
        if len(set(shapes)) > 1:
            raise _unequal(Path(item.file.filename), item.name.strip("/"), shapes)
        return np.stack([c.read() for c in cells])

    return _Entry((len(cells), *np.max(shapes, axis=0).tolist()), kinds.pop(), read)
