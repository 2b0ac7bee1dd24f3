"""How does an anatomical connectome become the weights of a rate network? Read, sub-sample, sign, scale.

Anatomy gives counts or densities, seldom signs: where the file has none, columns are drawn excitatory or inhibitory (Dale), with
inhibition scaled so that the sub-network balances, and the matrix is scaled to a wanted spectral radius. Our definition.
"""

from __future__ import annotations

import functools
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

import hdf5io


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
        raise hdf5io.InputError(
            f"{path}: no such file. Give an edge list (.csv, .txt), a square CSV matrix or a .mat / .h5 file."
        )
    if h5py.is_hdf5(path):
        matrix = _from_hdf5(path, dataset)
    elif path.suffix.lower() == ".mat":
        raise hdf5io.InputError(f"{path}: a MATLAB file before version 7.3. Save it again with save(..., '-v7.3').")
    else:
        matrix = _from_text(path)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise hdf5io.InputError(f"{path}: the matrix has shape {matrix.shape}, expected a square one.")
    if not np.isfinite(matrix).all():
        raise hdf5io.InputError(
            f"{path}: {int((~np.isfinite(matrix)).sum())} entries are not finite numbers. Write 0 for 'no connection'."
        )
    np.fill_diagonal(matrix, 0.0)
    if not matrix.any():
        raise hdf5io.InputError(f"{path}: no connection in the matrix.")
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
            raise hdf5io.InputError(
                f"{path}: {'no square matrix ' + repr(dataset) if dataset else str(len(square)) + ' square matrices'}; "
                f"the file has {', '.join(square) or 'none'}. Name one with --dataset."
            )
        return square[names[0]][()].astype(float).T.copy()


def _from_text(path: Path) -> np.ndarray:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise hdf5io.InputError(
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
            raise hdf5io.InputError(f"{path}: line {number} is {','.join(row)!r}, expected source,target,weight.")
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
        raise hdf5io.InputError(
            f"{path}: neither an edge list (source,target,weight) nor a square matrix of numbers."
        ) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def split_half(matrix: np.ndarray, part: str) -> np.ndarray:
    """Return the whole matrix or the sub-matrix of one of two disjoint halves of its neurons (``first``, ``second``)."""
    if part == "all":
        return matrix
    order = np.random.default_rng(len(matrix)).permutation(len(matrix))  # one fixed split of a connectome of this size
    half = np.sort(order[: len(matrix) // 2] if part == "first" else order[len(matrix) // 2 :])
    return matrix[np.ix_(half, half)]


def sample_subnetwork(
    matrix: np.ndarray, N: int, g: float, ei_ratio: float | None, rng: np.random.Generator, transform: str = "log"
) -> Tensor:
    """Return weights (N, N) of a connected sub-network: a random walk collects N neurons, signs and scale are given.

    Parameters
    ----------
    matrix : (M, M) connectome, row = target. N : neurons wanted. g : spectral radius wanted.
    ei_ratio : fraction of excitatory columns when the matrix has no negative entry; None: keep the signs.
    transform : "log" (sign(w) log(1 + |w|)) or "none".

    Raises
    ------
    InputError : fewer than N neurons in the connectome.
    """
    if len(matrix) < N:
        raise hdf5io.InputError(
            f"{len(matrix)} neurons in (this part of) the connectome, {N} wanted. Give a smaller --N."
        )
    W = matrix[np.ix_(*[_connected(matrix, N, rng)] * 2)].copy()
    if transform == "log":
        W = np.sign(W) * np.log1p(np.abs(W))
    if ei_ratio is not None and (W >= 0).all():
        excitatory = rng.permutation(N) < round(ei_ratio * N)
        plus, minus = W[:, excitatory].sum(), W[:, ~excitatory].sum()
        W[:, ~excitatory] *= -(plus / minus) if minus > 0 else -1.0
    radius = np.abs(np.linalg.eigvals(W)).max()
    spread = W.std() * np.sqrt(N)
    size = max(radius, 0.5 * spread)  # a nearly feed-forward piece has no radius to scale by
    return torch.from_numpy((W * (g / size if size > 0 else 0.0)).astype(np.float32))


def _connected(matrix: np.ndarray, N: int, rng: np.random.Generator) -> np.ndarray:
    """Return N neurons collected by growing from a random one along connections of either direction."""
    linked = (matrix != 0) | (matrix.T != 0)
    chosen = [int(rng.integers(len(matrix)))]
    inside = np.zeros(len(matrix), bool)
    inside[chosen] = True
    while len(chosen) < N:
        border = np.flatnonzero(linked[chosen].any(0) & ~inside)
        if not len(border):
            border = np.flatnonzero(~inside)
        chosen.append(int(rng.choice(border)))
        inside[chosen[-1]] = True
    return np.array(chosen)
