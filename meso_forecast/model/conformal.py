"""Which interval still holds when the regime changes? One that follows its own misses: adaptive conformal inference.

Around the point forecast lies ``mean +- radius * scale``, scale being that of the student-t. The logarithm of the radius rises after a
miss and falls after a hit, by ``step * (miss - 0.1)``, so that over ``T`` forecasts the share of misses differs from a tenth by at most
the change of the logarithm over ``step * T``, whatever the data do (Gibbs and Candes 2021; here on the logarithm, as scales have no
natural unit). One part of the radius is common to all neurons and follows fast, the mean miss being precise; one is each neuron's own.
A forecast of horizon ``h`` teaches from ``h`` frames after its origin, when its target is known.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

LEVEL = 0.9
STEP_COMMON, STEP_OWN = 0.1, 0.05
RANGE = (-2.0, 4.0)  #: of the logarithm, against the student-t's radius
PROMISED = (0.87, 0.93)  #: coverage outside of it is no answer
LEAST_KNOWN = 50


def radius(ratio: np.ndarray, origins: np.ndarray, df: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Return the radius of each interval in units of the forecast's scale, (window, horizon, neuron) float32.

    Parameters
    ----------
    ratio : (window, horizon, neuron), absolute error over scale; NaN where the target is not known, and nothing is learned.
    origins : (window,), ascending; a window teaches only those whose origin is at or after its target.
    df : (horizon, neuron), of the student-t that the radius starts from.
    """
    n_windows, horizon, n = ratio.shape
    start = stats.t.ppf((1 + level) / 2, df)
    common, own = np.zeros(horizon), np.zeros((horizon, n))
    out, taught = np.empty(ratio.shape, np.float32), np.zeros(horizon, int)
    for i in range(n_windows):
        for h in range(horizon):
            while taught[h] < i and origins[taught[h]] + h + 1 <= origins[i]:
                then = taught[h]
                taught[h] += 1
                if np.isnan(ratio[then, h, 0]):
                    continue
                miss = (ratio[then, h] > out[then, h]) - (1 - level)
                common[h] = np.clip(common[h] + STEP_COMMON * miss.mean(), *RANGE)
                own[h] = np.clip(own[h] + STEP_OWN * (miss - miss.mean()), *RANGE)
        out[i] = start * np.exp(common[:, None] + own)
    return out


def coverage(ratio: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the share of known targets inside their interval at each horizon, NaN where none is known."""
    known = np.isfinite(ratio)
    inside = ((ratio <= found) & known).sum((0, 2))
    return np.where(known.any((0, 2)), inside / np.maximum(known.sum((0, 2)), 1), np.nan)


def interval_score(error: np.ndarray, half: np.ndarray, level: float = LEVEL) -> float:
    """Return the mean interval score (Winkler 1972; smaller is better): width, plus 2 / (1 - level) for each unit of a miss."""
    return float((2 * half + 2 / (1 - level) * np.maximum(np.abs(error) - half, 0)).mean(dtype=float))


def answered(covers: float, n_known: int) -> bool:
    """Return whether 90 % intervals may be given: enough targets are known, and their share inside is as promised."""
    return bool(n_known >= LEAST_KNOWN and PROMISED[0] <= covers <= PROMISED[1])
