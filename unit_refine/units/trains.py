"""What do spikes and templates say about two units: a correlogram, the likeness of their templates, and are they one neuron?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BIN_MS, WINDOW_MS = 1.0, 25.0
REFRACTORY_MS = 1.5
MIN_LIKENESS = (
    0.9  #: templates less alike than this are not called candidates for a merge (.8 gave twice as many false ones)
)
MIN_SCORE = 0.4


class Pair(NamedTuple):
    """Two units that could be one neuron."""

    first: int
    second: int
    likeness: float  #: cosine of their templates, at the best shift
    score: float  #: likeness, times the share of coincident spikes that is missing from the cross-correlogram


def correlogram(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """Return counts of time differences ``second - first`` in bins of `BIN_MS` within `WINDOW_MS`; of one train with itself for None.

    Parameters
    ----------
    first, second : sorted spike times in ms.

    >>> one, other = np.array([0.0, 3.2]), np.array([3.2])
    >>> int(correlogram(one)[28]), int(correlogram(one[:1], other)[28])
    (1, 1)
    """
    other = first if second is None else second
    edges = np.arange(-WINDOW_MS, WINDOW_MS + BIN_MS / 2, BIN_MS)
    low, high = np.searchsorted(other, first - WINDOW_MS), np.searchsorted(other, first + WINDOW_MS, side="right")
    n = high - low
    if not n.sum():
        return np.zeros(len(edges) - 1, dtype=int)
    at = np.repeat(low - np.concatenate([[0], np.cumsum(n)[:-1]]), n) + np.arange(n.sum())
    gaps = other[at] - np.repeat(first, n)
    if second is None:
        gaps = gaps[at != np.repeat(np.arange(len(first)), n)]
    return np.histogram(gaps, edges)[0]


def likeness(templates: np.ndarray, shifts: int = 5) -> np.ndarray:
    """Return the cosine of every pair of templates at the best of a few shifts in time, (n, n).

    Parameters
    ----------
    templates : (n, samples, channels).
    """
    n, samples, channels = templates.shape
    flat = templates.reshape(n, -1).astype(np.float32)
    flat /= np.maximum(np.linalg.norm(flat, axis=1), 1e-12)[:, None]
    best = flat @ flat.T
    for i, k in zip(*np.nonzero(np.triu(best > 0.3, 1))):  # a shift helps only templates in the same place
        for shift in range(1, min(shifts, samples - 1) + 1):
            early, late = slice(0, (samples - shift) * channels), slice(shift * channels, None)
            best[i, k] = max(best[i, k], flat[i, early] @ flat[k, late], flat[k, early] @ flat[i, late])
        best[k, i] = best[i, k]
    return best


def merge_candidates(trains: Sequence[np.ndarray], alike: np.ndarray, duration_ms: float) -> list[Pair]:
    """Return pairs that could be one neuron, the surest first (our own score).

    Two halves of one neuron have the same template and never fire within its refractory period, although their rates would
    make them coincide by chance. ``score = likeness (1 - (observed + 1) / (expected + 1))`` of coincidences within 1.5 ms; the ones
    keep pairs with too few spikes to tell from scoring high.

    Parameters
    ----------
    trains : sorted spike times in ms of each unit.
    alike : (n, n) see `likeness`.
    duration_ms : time that was recorded.
    """
    found = []
    for i, k in zip(*np.nonzero(np.triu(alike >= MIN_LIKENESS, 1))):
        a, b = trains[i], trains[k]
        near = np.searchsorted(b, a + REFRACTORY_MS, side="right") - np.searchsorted(b, a - REFRACTORY_MS)
        expected = len(a) * len(b) * 2 * REFRACTORY_MS / max(duration_ms, 1.0)
        score = float(alike[i, k]) * max(0.0, 1 - (float(near.sum()) + 1) / (expected + 1))
        if score >= MIN_SCORE:
            found.append(Pair(int(i), int(k), float(alike[i, k]), score))
    return sorted(found, key=lambda pair: -pair.score)
