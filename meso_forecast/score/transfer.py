"""What do other animals tell about a new one? Error after some minutes of the new session, with and without them.

Each animal is held out once. The answer is one of a population of animals: a random-effects mean of the animals' skills, each with its own
standard error, and an interval from their spread (DerSimonian and Laird 1986; Hartung and Knapp 2001), so that many windows of few animals
are not taken for many animals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Pooled(NamedTuple):
    """Mean skill over animals."""

    mean: float
    low: float
    high: float
    between_sd: float  #: standard deviation of the animals' true skills
    n: int  #: animals


def random_effects(skill: Sequence[float], error: Sequence[float]) -> Pooled:
    """Return the mean over animals of skills with standard errors, and its 95 % interval; infinite for one animal.

    The interval is at least as wide as that of the fixed-effect mean, as three animals can agree by chance.

    >>> round(random_effects([0.1, 0.1, 0.1], [0.02, 0.02, 0.02]).mean, 6)
    0.1
    """
    x, v = np.asarray(skill, float), np.maximum(np.asarray(error, float), 1e-6) ** 2
    k, w = len(x), 1 / v
    if k < 2:
        return Pooled(float(x[0]), -np.inf, np.inf, float("nan"), k)
    fixed = (w * x).sum() / w.sum()
    q = (w * (x - fixed) ** 2).sum()
    between = max(0.0, float((q - (k - 1)) / (w.sum() - (w**2).sum() / w.sum())))
    w = 1 / (v + between)
    mean = (w * x).sum() / w.sum()
    spread = np.sqrt(max(((w * (x - mean) ** 2).sum() / (k - 1)), 1.0) / w.sum())
    half = stats.t.ppf(0.975, k - 1) * spread
    return Pooled(float(mean), float(mean - half), float(mean + half), float(np.sqrt(between)), k)


def animals(rows: Sequence[dict], against: str, minutes: float) -> Pooled:
    """Return the pooled skill of the adapted forecaster against another after so many minutes; sessions of an animal count as one.

    ``rows`` hold ``animal``, ``minutes`` and for each opponent ``skill_AGAINST`` and ``error_AGAINST``.
    """
    here = [row for row in rows if row["minutes"] == minutes]
    names = list(dict.fromkeys(row["animal"] for row in here))
    own = [[row for row in here if row["animal"] == name] for name in names]
    skill = [float(np.mean([row[f"skill_{against}"] for row in each])) for each in own]
    error = [float(np.sqrt(np.mean([row[f"error_{against}"] ** 2 for row in each]))) for each in own]
    return random_effects(skill, error)
