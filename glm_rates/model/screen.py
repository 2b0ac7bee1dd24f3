"""What do the data say of each pair of units alone? Score, information and Bayes factor of every edge at once.

An edge is k weights of one source; its slab is N(0, S), the alternative nothing (Dickey 1971).
"""

from __future__ import annotations

import numpy as np

from .prior import START_VARIANCE
from .sorted_rows import Rows


def edge_factors(information: np.ndarray, natural: np.ndarray, slab_root: np.ndarray):
    """Log Bayes factor, posterior mean and covariance of each edge under the slab, in the slab's units.

    Parameters
    ----------
    information : (edge, k, k)
    natural : (edge, k)
    slab_root : (k, k) symmetric root of S
    """
    k = len(slab_root)
    inner = slab_root @ information @ slab_root + np.eye(k)
    covariance = np.linalg.inv(inner)
    right = natural @ slab_root
    mean = np.einsum("ekl,el->ek", covariance, right)
    factor = -0.5 * np.linalg.slogdet(inner)[1] + 0.5 * (right * mean).sum(axis=-1)
    return factor, mean, covariance


def probability_of(factor: np.ndarray, rate: float) -> np.ndarray:
    """Posterior probability of edges from log Bayes factors and their prior rate."""
    return 1 / (1 + np.exp(-np.clip(np.log(rate) - np.log1p(-rate) + factor, -500, 500)))


def symmetric_root(matrix: np.ndarray, floor: float = 0.02) -> np.ndarray:
    """Symmetric root; eigenvalues below ``floor`` of the largest are raised to it, so that S cannot collapse."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, floor * max(values[-1], 1e-10)))) @ vectors.T


class Screen:
    """Score and information of every pair of units, given the base effects."""

    def __init__(self, rows: Rows, covariance: np.ndarray, k: int) -> None:
        """``covariance`` (unit, p0, p0): posterior of the base weights."""
        self.rows, self.covariance, self.k = rows, covariance.astype(np.float32), k
        self.n = len(rows.sources) // k
        n_units, n_own, n_rows = rows.own.shape
        by_cell = np.add.reduceat(rows.sources, rows.starts, axis=1)
        self.shared = (by_cell @ rows.cells.astype(np.float32)).T  # (P, source x k)
        self.own = (rows.own.reshape(n_units * n_own, n_rows) @ rows.sources.T).reshape(n_units, n_own, -1)
        self.information: np.ndarray | None = None

    def measure(self, mu: np.ndarray) -> None:
        """Information of every pair (target, source, k, k) at the rates ``mu`` (target, row)."""
        k, n = self.k, self.n
        sources = self.rows.sources.reshape(n, k, -1)
        out = np.empty((len(mu), n, k, k), np.float32)
        for a in range(k):
            for b in range(a + 1):
                out[:, :, a, b] = out[:, :, b, a] = mu @ (sources[:, a] * sources[:, b]).T
        mean = mu.mean(axis=1)
        for target in range(len(mu)):
            cross = mean[target] * np.concatenate([self.shared, self.own[target]])  # (p0, source x k)
            lean = (self.covariance[target] @ cross).reshape(-1, n, k)
            out[target] -= np.einsum("psk,psl->skl", cross.reshape(-1, n, k), lean, optimize=True)
        self.information = out

    def scores(self, residual: np.ndarray) -> np.ndarray:
        """Score of every pair: (target, source, k)."""
        return (residual.astype(np.float32) @ self.rows.sources.T).reshape(len(residual), self.n, self.k)


def first_guess(information: np.ndarray, score: np.ndarray, off: np.ndarray, steps: int = 20) -> tuple[float, float]:
    """Edge rate and a scalar slab variance from all pairs one at a time, by EM: (pi, variance)."""
    pairs = np.flatnonzero(off.ravel())
    if len(pairs) > 60_000:
        pairs = pairs[np.linspace(0, len(pairs) - 1, 60_000).astype(int)]
    k = score.shape[-1]
    values, vectors = np.linalg.eigh(information.reshape(-1, k, k)[pairs].astype(float))
    values = np.maximum(values, 0)
    turned = np.einsum("ekl,ek->el", vectors, score.reshape(-1, k)[pairs].astype(float))
    rate, variance = 0.1, START_VARIANCE["coupling"]
    for _ in range(steps):
        spread = 1 / (values + 1 / variance)
        factor = 0.5 * np.log(spread / variance).sum(axis=1) + 0.5 * (turned**2 * spread).sum(axis=1)
        r = probability_of(factor, rate)
        second = ((turned * spread) ** 2 + spread).mean(axis=1)
        rate = float(np.clip(r.mean(), 1e-3, 0.9))
        variance = float(np.clip((r * second).sum() / max(r.sum(), 1e-9), 1e-5, 1.0))
    return rate, variance
