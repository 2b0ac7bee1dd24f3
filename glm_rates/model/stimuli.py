"""What does it save that a row has one stimulus? Many stimuli make an arrow: columns of one stimulus meet the shared ones, never each other.

With K stimuli of m columns and s other columns, the Hessian of a unit costs rows x (s + m)^2 in place of rows x (s + K m)^2, its inverse
K m^3 + (s + K m)^2 s in place of (s + K m)^3 (Schur's complement), and the variance of a row's log rate (s + m)^2. All of it is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from .design import Design
from .solver import Parts, inverse_positive

MANY = 8  # stimuli from which this is faster than one dense matrix


class Groups(NamedTuple):
    """Which rows and which columns belong to which stimulus."""

    rows: list[np.ndarray]  # (stimulus,) of rows
    columns: np.ndarray  # (stimulus, m) among the coefficients of a unit
    rest: np.ndarray  # columns that all rows share

    def wanted(self, stimulus: int) -> np.ndarray:
        """Columns that may differ from 0 in the rows of a stimulus."""
        return np.concatenate([self.rest, self.columns[stimulus]])


def groups_of(design: Design) -> Groups | None:
    """Groups of a design with many stimuli; None where a dense matrix does as well."""
    offset = design.columns.get("offset")
    if offset is None or offset.stop - offset.start < MANY:
        return None
    n = offset.stop - offset.start
    mine = [offset.start + np.arange(n)[:, None]]
    if "deviation" in design.columns:
        at = design.columns["deviation"]
        mine.append(np.arange(at.start, at.stop).reshape(n, -1))
    columns = np.concatenate(mine, axis=1)
    stimulus = design.shared[:, offset].argmax(axis=1)
    rest = np.setdiff1d(np.arange(max(at.stop for at in design.all_columns.values())), columns.ravel())
    return Groups([np.flatnonzero(stimulus == k) for k in range(n)], columns, rest)


def shared_parts(design: Design) -> Parts | None:
    """The shared columns of a design with many stimuli, one part a stimulus."""
    groups = groups_of(design)
    if groups is None:
        return None
    wanted = [np.concatenate([groups.rest[groups.rest < design.n_shared], columns]) for columns in groups.columns]
    return [
        (rows, at, np.ascontiguousarray(design.shared[np.ix_(rows, at)].T)) for rows, at in zip(groups.rows, wanted)
    ]


def weighted_gram(shared: np.ndarray, own: np.ndarray, weight: np.ndarray, groups: Groups) -> np.ndarray:
    """``X' diag(weight) X`` of one unit with X = [shared, own]: (p, p)."""
    n_shared = shared.shape[1]
    out = np.zeros((n_shared + own.shape[1],) * 2)
    root = np.sqrt(weight)[:, None]
    from_shared, from_own = groups.rest[groups.rest < n_shared], groups.rest[groups.rest >= n_shared] - n_shared
    for rows, columns in zip(groups.rows, groups.columns):
        part = np.concatenate(
            [shared[np.ix_(rows, from_shared)], own[np.ix_(rows, from_own)], shared[np.ix_(rows, columns)]], axis=1
        )
        part *= root[rows]
        at = np.concatenate([groups.rest, columns])
        out[np.ix_(at, at)] += part.T @ part
    return out


def arrow_inverse(matrix: np.ndarray, groups: Groups, kept: np.ndarray | None = None) -> np.ndarray:
    """Inverse of a symmetric positive definite matrix whose stimuli do not meet; ``kept`` are its columns among all."""
    columns, rest = groups.columns, groups.rest
    if kept is not None:  # only shared columns are ever left out
        place = np.full(max(int(columns.max()), int(rest.max()), int(kept.max())) + 1, -1)
        place[kept] = np.arange(len(kept))
        columns, rest = place[columns], place[rest][place[rest] >= 0]
    inner = np.linalg.inv(matrix[columns[:, :, None], columns[:, None, :]])  # (stimulus, m, m)
    cross = matrix[rest[:, None, None], columns[None]]  # (s, stimulus, m)
    lean = np.einsum("skm,kmn->skn", cross, inner).reshape(len(rest), -1)
    schur = inverse_positive(matrix[np.ix_(rest, rest)] - lean @ cross.reshape(len(rest), -1).T)
    flat, out = columns.ravel(), np.empty_like(matrix)
    through = schur @ lean
    out[np.ix_(rest, rest)] = schur
    out[np.ix_(rest, flat)], out[np.ix_(flat, rest)] = -through, -through.T
    corner = lean.T @ through
    corner.reshape(*columns.shape, *columns.shape)[np.arange(len(columns)), :, np.arange(len(columns))] += inner
    out[np.ix_(flat, flat)] = corner
    return out


def sandwich(root: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``root' matrix root`` with a root of small blocks on its diagonal and a symmetric matrix."""
    thin = csr_matrix(root)
    return thin.T @ (thin.T @ matrix).T
