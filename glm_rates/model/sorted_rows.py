"""How is one unit's curvature computed without its columns? Rows sorted so that equal shared columns are neighbours.

Stimulus columns depend on the stimulus and the bin alone: some hundred distinct rows stand for thousands, and sums over rows become
sums over these cells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor

from .design import Design


class Rows(NamedTuple):
    """Rows of a population, sorted so that those with equal shared columns are neighbours."""

    cells: np.ndarray  # (cell, P) distinct rows of the shared columns
    starts: np.ndarray  # (cell,) first row of each
    cell_of: np.ndarray  # (row,)
    own: np.ndarray  # (unit, K, row) float32
    sources: np.ndarray  # (source x k, row) float32
    counts: np.ndarray  # (unit, row)
    mask: np.ndarray | float  # (unit, row) or 0, see `Design.mask`


def sorted_rows(design: Design) -> Rows:
    """Sort the rows of a design by what its shared columns hold."""
    shared = np.ascontiguousarray(design.shared)
    _, first, inverse = np.unique(
        shared.view(np.dtype((np.void, shared.dtype.itemsize * shared.shape[1]))).ravel(),
        return_index=True,
        return_inverse=True,
    )
    order = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(inverse))[:-1]])
    assert design.sources is not None
    mask = design.mask
    return Rows(
        shared[first],
        starts,
        inverse[order],
        np.ascontiguousarray(design.own[:, order].transpose(0, 2, 1), np.float32),
        np.ascontiguousarray(design.sources[:, order]),
        np.ascontiguousarray(design.counts[:, order]),
        mask if isinstance(mask, float) else mask[:, order],
    )


def gathered(rows: Rows, active: np.ndarray, k: int) -> np.ndarray:
    """Columns of the active sources: (source x k, row)."""
    return rows.sources.reshape(-1, k, rows.sources.shape[1])[active].reshape(len(active) * k, rows.sources.shape[1])


def curvature(rows: Rows, target: int, columns: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """X' mu X of one unit over [shared | own, active sources], without writing X: (p, p)."""
    mu = mu.astype(np.float32)
    weighted = columns * mu
    by_cell = np.add.reduceat(weighted, rows.starts, axis=1).astype(float)
    total = np.add.reduceat(mu.astype(float), rows.starts)
    n_shared = rows.cells.shape[1]
    out = np.empty((n_shared + len(columns), n_shared + len(columns)))
    out[:n_shared, :n_shared] = (rows.cells.T * total) @ rows.cells
    out[n_shared:, :n_shared] = by_cell @ rows.cells
    out[:n_shared, n_shared:] = out[n_shared:, :n_shared].T
    out[n_shared:, n_shared:] = weighted @ columns.T
    return out


def pull(rows: Rows, columns: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """X' residual of one unit: (p,)."""
    shared = np.add.reduceat(residual, rows.starts) @ rows.cells
    return np.concatenate([shared, columns @ residual.astype(columns.dtype)])


def positive_factor(matrix: np.ndarray):
    """Cholesky factor of a matrix that rounding may have made not quite positive definite."""
    for jitter in (0.0, 1e-6, 1e-3):
        try:
            return cho_factor(matrix + jitter * np.diag(np.diag(matrix)), check_finite=False)
        except np.linalg.LinAlgError:
            continue
    return cho_factor(np.diag(np.maximum(np.diag(matrix), 1e-12)))
