"""How does an anatomical connectome become the weights of a rate network? Read, sub-sample, sign, scale.

Anatomy gives counts or densities, seldom signs: where the file has none, columns are drawn excitatory or inhibitory (Dale), with
inhibition scaled so that the sub-network balances, and the matrix is scaled to a wanted spectral radius. Our definition.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def half_of(M: int, part: str) -> np.ndarray:
    """Return which of M neurons belong to a part: ``all``, or one of two disjoint halves (``first``, ``second``)."""
    if part == "all":
        return np.arange(M)
    order = np.random.default_rng(M).permutation(M)  # one fixed split of a connectome of this size
    return np.sort(order[: M // 2] if part == "first" else order[M // 2 :])


def split_half(matrix: np.ndarray, part: str) -> np.ndarray:
    """Return the whole matrix or the sub-matrix of one of two disjoint halves of its neurons."""
    half = half_of(len(matrix), part)
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
    ValueError : fewer than N neurons in the connectome.
    """
    if len(matrix) < N:
        raise ValueError(f"{len(matrix)} neurons in (this part of) the connectome, {N} wanted. Give a smaller --N.")
    return signed_subnetwork(matrix, connected(matrix, N, rng), g, ei_ratio, rng, transform)


def signed_subnetwork(
    matrix: np.ndarray, chosen: np.ndarray, g: float, ei_ratio: float | None, rng: np.random.Generator, transform: str
) -> Tensor:
    """Return the weights of chosen neurons, with signs by column and the wanted spectral radius."""
    N = len(chosen)
    W = matrix[np.ix_(chosen, chosen)].copy()
    if transform == "log":
        W = np.sign(W) * np.log1p(np.abs(W))
    if ei_ratio is not None and (W >= 0).all():
        excitatory = rng.permutation(N) < round(ei_ratio * N)
        plus, minus = W[:, excitatory].sum(), W[:, ~excitatory].sum()
        W[:, ~excitatory] *= -(plus / minus) if min(plus, minus) > 0 else -1.0
    radius = np.abs(np.linalg.eigvals(W)).max()
    spread = W.std() * np.sqrt(N)
    size = max(radius, 0.5 * spread)  # a nearly feed-forward piece has no radius to scale by
    return torch.from_numpy((W * (g / size if size > 0 else 0.0)).astype(np.float32))


def connected(matrix: np.ndarray, N: int, rng: np.random.Generator) -> np.ndarray:
    """Return N neurons collected by growing from a random one along connections of either direction.

    Raises
    ------
    ValueError : fewer than N neurons in the connectome.
    """
    if len(matrix) < N:
        raise ValueError(f"{len(matrix)} neurons in (this part of) the connectome, {N} wanted. Give a smaller --N.")
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
