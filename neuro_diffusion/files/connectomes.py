"""What is in the file of an anatomical connectome?"""

from __future__ import annotations

import functools
from pathlib import Path

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError


@functools.lru_cache(maxsize=4)
def read_connectome(path: Path, dataset: str | None = None) -> np.ndarray:
    """Return a connectome as a square float64 matrix, row = postsynaptic (target), column = presynaptic (source).

    Read are: an edge list (three columns: source, target, weight; names or numbers; a header line is recognised), a square
    CSV matrix (row = target), a MATLAB 7.3 or other HDF5 file with one square matrix (or the one named ``dataset``; MATLAB
    stores columns first, so what h5py shows as row is MATLAB's column).

    Raises
    ------
    InputError : missing or unreadable file, a matrix that is not square, numbers that are not finite, no connection at all.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no such file. Give an edge list (.csv, .txt), a square CSV matrix or a .mat / .h5 file."
        )
    if h5py.is_hdf5(path):
        matrix = _from_hdf5(path, dataset)
    elif path.suffix.lower() == ".mat":
        raise InputError(f"{path}: a MATLAB file before version 7.3. Save it again with save(..., '-v7.3').")
    else:
        matrix = _from_text(path)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise InputError(f"{path}: the matrix has shape {matrix.shape}, expected a square one.")
    if not np.isfinite(matrix).all():
        raise InputError(
            f"{path}: {int((~np.isfinite(matrix)).sum())} entries are not finite numbers. Write 0 for 'no connection'."
        )
    np.fill_diagonal(matrix, 0.0)
    if not matrix.any():
        raise InputError(f"{path}: no connection in the matrix.")
    matrix.setflags(write=False)
    return matrix


def _from_hdf5(path: Path, dataset: str | None) -> np.ndarray:
    with hdf5io.read(path) as file:
        square: dict[str, h5py.Dataset] = {}

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.shape[0] == item.shape[1] > 1:
                square[name] = item

        file.visititems(visit)
        names = [dataset] if dataset else list(square)
        if len(names) != 1 or names[0] not in square:
            raise InputError(
                f"{path}: {'no square matrix ' + repr(dataset) if dataset else str(len(square)) + ' square matrices'}; "
                f"the file has {', '.join(square) or 'none'}. Name one with --dataset."
            )
        return square[names[0]][()].astype(float).T.copy()


def _from_text(path: Path) -> np.ndarray:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"{path}: not readable as text ({type(error).__name__}). Give a CSV, .mat or .h5 file."
        ) from None
    rows = [line.replace("\t", ",").replace(";", ",").split(",") for line in text.splitlines() if line.strip()]
    if len(rows) == 3 or not rows or len(rows[0]) != 3:
        return _square(path, rows)
    edges = rows if _is_number(rows[0][2]) else rows[1:]
    names = sorted({cell.strip() for row in edges for cell in row[:2]}, key=lambda s: (not s.isdigit(), len(s), s))
    place = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)))
    for number, row in enumerate(edges, 1 + len(rows) - len(edges)):
        if len(row) != 3 or not _is_number(row[2]):
            raise InputError(f"{path}: line {number} is {','.join(row)!r}, expected source,target,weight.")
        matrix[place[row[1].strip()], place[row[0].strip()]] += float(row[2])
    return matrix


def _square(path: Path, rows: list[list[str]]) -> np.ndarray:
    if rows and not all(map(_is_number, rows[0])):
        rows = rows[1:]
    if rows and not _is_number(rows[0][0]):
        rows = [row[1:] for row in rows]
    try:
        if not rows:
            raise ValueError
        return np.array([[float(cell) for cell in row] for row in rows])
    except ValueError:
        raise InputError(
            f"{path}: neither an edge list (source,target,weight) nor a square matrix of numbers."
        ) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
