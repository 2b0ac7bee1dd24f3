"""Which weight matrices are there before any data? Random networks of the kinds that theory and anatomy suggest.

A structure is one or more of ``dense sparse lowrank block lognormal dale``, joined by hyphens. The bulk of the eigenvalues
fills a disc of radius g: g^2 = N times the mean variance of an entry (Girko; for columns of two variances Rajan & Abbott 2006).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..config import EI_RATIO, STRUCTURES


def parse_structure(structure: str) -> frozenset[str]:
    """Return the parts of a structure such as ``dale-sparse-lognormal``.

    Raises
    ------
    ValueError : an unknown part.
    """
    parts = frozenset(structure.split("-"))
    if not parts <= set(STRUCTURES):
        raise ValueError(
            f"structure {structure!r}: unknown {sorted(parts - set(STRUCTURES))}; join any of {', '.join(STRUCTURES)}"
        )
    return parts


def random_stream(seed: int, index: int) -> np.random.Generator:
    """Return the random stream of one network: Philox with the key (seed, index), whoever asks and in whatever order."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))


def jumped_stream(seed: int, index: int) -> np.random.Generator:
    """Return the stream of one network's activity: that of its weights, 2^128 numbers on."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)).jumped())


def sample_weight_matrix(
    N: int, g: float | tuple[float, float], ei_ratio: float | None = None, seed: int | None = None, **options
) -> Tensor:
    """Return one weight matrix (N, N), row = postsynaptic; see `sample_weight_matrix_batch` for the arguments."""
    return sample_weight_matrix_batch(1, N, g, ei_ratio, seed, **options)[0]


def sample_weight_matrix_batch(
    B: int,
    N: int,
    g: float | tuple[float, float],
    ei_ratio: float | None = None,
    seed: int | None = None,
    *,
    dale: str = "balanced",
    structure: str = "dense",
    rng: np.random.Generator | None = None,
    density: float = 0.4,
    lognormal_sd: float = 0.5,
    rank: int = 2,
    blocks: int = 2,
    block_contrast: float = 4.0,
) -> Tensor:
    """Return B weight matrices (B, N, N), float32, row = postsynaptic neuron.

    Parameters
    ----------
    g : radius of the eigenvalue bulk, or a range of it (uniform, one value a network).
    ei_ratio : fraction of excitatory columns (Dale's law); None and no "dale" part: no sign constraint.
    dale : "balanced" scales inhibition so that a row sums to zero on average, labels in random order, variance normalised to
        g; "legacy" is ``|normal| g / sqrt(N)`` with the first columns positive (unbalanced, saturates the units).
    structure : parts joined by hyphens. sparse: entries exist with probability ``density``. lognormal: amplitudes
        exp(lognormal_sd z). lowrank: plus ``rank`` random outer products of the same norm as the bulk's edge. block:
        connection variance ``block_contrast`` times larger within one of ``blocks`` groups.

    Raises
    ------
    ValueError : N < 1, g <= 0, a ratio outside (0, 1), a density outside (0, 1], an unknown structure or dale.
    """
    parts = parse_structure(structure)
    if "dale" in parts and ei_ratio is None:
        ei_ratio = EI_RATIO
    low, high = (float(v) for v in np.broadcast_to(g, 2))
    _check(N, low, high, ei_ratio, density, dale)
    rng = rng or np.random.default_rng(seed)
    scale = rng.uniform(low, high, (B, 1, 1))
    if ei_ratio is not None and dale == "legacy":
        n_exc = round(ei_ratio * N)
        W = np.abs(rng.standard_normal((B, N, N))) * scale / math.sqrt(N)
        W[:, :, n_exc:] *= -1
        return torch.from_numpy(W.astype(np.float32))
    amplitude, mean, square = _amplitudes(rng, (B, N, N), parts, ei_ratio is not None, lognormal_sd)
    present = rng.random((B, N, N)) < density if "sparse" in parts else 1.0
    p = density if "sparse" in parts else 1.0
    column, second, first = _columns(rng, B, N, ei_ratio)
    variance = p * square * second - (p * mean) ** 2 * first
    W = amplitude * present * column[:, None, :]
    if "block" in parts:
        W *= _block_scale(rng, B, N, blocks, block_contrast)
    W *= scale / np.sqrt(N * variance)
    if "lowrank" in parts:
        left, right = rng.standard_normal((2, B, N, rank))
        W += scale * (left @ right.transpose(0, 2, 1)) / N
    return torch.from_numpy(W.astype(np.float32))


def _check(N: int, low: float, high: float, ei_ratio: float | None, density: float, dale: str) -> None:
    if N < 1 or not 0 < low <= high:
        raise ValueError(f"N must be at least 1 and 0 < g, not N={N}, g={low}..{high}")
    if ei_ratio is not None and not 0 < round(ei_ratio * N) < N:
        raise ValueError(f"ei_ratio={ei_ratio} leaves no excitatory or no inhibitory neuron among {N}")
    if not 0 < density <= 1 or dale not in ("balanced", "legacy"):
        raise ValueError(f"density in (0, 1] and dale balanced or legacy, not {density}, {dale!r}")


def _amplitudes(rng, shape, parts, positive: bool, sd: float) -> tuple[np.ndarray, float, float]:
    """Return unsigned (with Dale) or signed amplitudes, their mean and mean square."""
    if "lognormal" in parts:
        size = np.exp(sd * rng.standard_normal(shape) - sd**2 / 2)
        sign = 1.0 if positive else rng.choice([-1.0, 1.0], shape)
        return size * sign, float(positive), math.exp(sd**2)
    normal = rng.standard_normal(shape)
    return (np.abs(normal), math.sqrt(2 / math.pi), 1.0) if positive else (normal, 0.0, 1.0)


def _columns(rng, B: int, N: int, ei_ratio: float | None) -> tuple[np.ndarray, float, float]:
    """Return signed column factors (B, N) whose mean is zero, and the mean of their squares twice (for the variance)."""
    if ei_ratio is None:
        return np.ones((B, N)), 1.0, 1.0
    n_exc = round(ei_ratio * N)
    factor = np.concatenate([np.ones(n_exc), np.full(N - n_exc, -n_exc / (N - n_exc))])
    square = float(np.mean(factor**2))
    return rng.permuted(np.tile(factor, (B, 1)), axis=1), square, square


def _block_scale(rng, B: int, N: int, blocks: int, contrast: float) -> np.ndarray:
    """Return (B, N, N) factors of mean square 1, larger where both neurons belong to one group."""
    group = rng.permuted(np.tile(np.arange(N) % blocks, (B, 1)), axis=1)
    variance = np.where(group[:, :, None] == group[:, None, :], contrast, 1.0)
    return np.sqrt(variance / variance.mean((1, 2), keepdims=True))


def get_spectral_radius(W: Tensor) -> Tensor:
    """Return the largest absolute eigenvalue of each matrix (..., N, N)."""
    return torch.linalg.eigvals(torch.as_tensor(W)).abs().amax(-1)
