"""Where and how far does a model forecast better than the best baseline: in which regions, cells, and how many seconds ahead?

Errors of cells share their time: a burst of the population makes all forecasts poor at once. So a region's interval draws blocks of time
and cells independently of each other (a crossed bootstrap), and is as wide as few blocks or few cells make it. A cell's skill, which its
own blocks tell badly, is drawn towards its region's by how much cells differ beyond chance (empirical Bayes, one variance a region).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from .scores import Scores

DRAWS = 500
LEAST_CELLS = 3
CONFIDENCE = 0.95


class Skill(NamedTuple):
    """Less error than the baseline, as a share of the baseline's error, with its 95 % interval."""

    skill: float
    low: float
    high: float


def crossed(ours: np.ndarray, theirs: np.ndarray, seed: int = 0, confidence: float = CONFIDENCE) -> Skill:
    """Return the skill of some cells.

    Parameters
    ----------
    ours, theirs : (block, cell), summed squared errors.
    confidence : of the interval, from the spread of the bootstrap and Student's t for the number of blocks.
    """
    n_blocks, n_cells = ours.shape
    skill = 1 - ours.sum() / max(theirs.sum(), 1e-300)
    if n_blocks < 2:
        return Skill(float(skill), -np.inf, np.inf)
    rng = np.random.default_rng(seed)
    blocks = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), DRAWS).astype(float)
    cells = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), DRAWS).astype(float)
    top, below = (((blocks @ v) * cells).sum(1) for v in (ours, theirs))
    spread = np.std(1 - top / np.maximum(below, 1e-300)) * np.sqrt(n_blocks / (n_blocks - 1))
    half = float(stats.t.ppf((1 + confidence) / 2, n_blocks - 1) * spread)
    return Skill(float(skill), float(skill - half), float(skill + half))


def by_region(ours: np.ndarray, theirs: np.ndarray, region: np.ndarray, seed: int = 0) -> list[dict[str, Any]]:
    """Return the skill in each region with cells enough, best first; errors are (block, cell), ``region`` (cell,) names."""
    rows = []
    for name in np.unique(region):
        cells = np.flatnonzero(region == name)
        if len(cells) >= LEAST_CELLS:
            found = crossed(ours[:, cells], theirs[:, cells], seed)
            rows.append({"region": str(name) or "not known", "cells": len(cells), **found._asdict()})
    return sorted(rows, key=lambda row: -row["skill"])


def by_cell(ours: np.ndarray, theirs: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return each cell's skill and its limits, (cell, 3), drawn towards the mean of its region.

    A cell's own standard error is that of a ratio of means of blocks (at least that of a tenth of the region's median, as few blocks
    can agree by chance).
    """
    n_blocks = len(ours)
    base = np.maximum(theirs.mean(0), 1e-300)
    skill = 1 - ours.mean(0) / base
    error = (theirs - ours - skill * theirs).std(0, ddof=1) / base / np.sqrt(n_blocks)
    out = np.empty((len(skill), 3))
    for name in np.unique(region):
        cells = np.flatnonzero(region == name)
        own = np.maximum(error[cells], max(0.1 * float(np.median(error[cells])), 1e-9))
        weight = 1 / own**2
        middle = (weight * skill[cells]).sum() / weight.sum()
        between = max(0.0, float(np.mean((skill[cells] - middle) ** 2 - own**2)))
        share = between / (between + own**2)
        mean = middle + share * (skill[cells] - middle)
        half = stats.t.ppf((1 + CONFIDENCE) / 2, max(n_blocks - 1, 1)) * np.sqrt(
            share * own**2 + (1 - share) ** 2 / weight.sum()
        )
        out[cells] = np.stack([mean, mean - half, mean + half], axis=1)
    return out


def by_horizon(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> list[Skill]:
    """Return the skill at each horizon, all intervals holding together with 95 % (Bonferroni); errors are (block, horizon, cell)."""
    confidence = 1 - (1 - CONFIDENCE) / ours.shape[1]
    return [crossed(ours[:, h], theirs[:, h], seed, confidence) for h in range(ours.shape[1])]


def longest(rows: Sequence[Skill]) -> int:
    """Return the longest horizon in frames with skill above zero beyond chance; 0: none."""
    return max((h for h, row in enumerate(rows, 1) if row.low > 0), default=0)


def where(ours: Scores, theirs: Scores, region: np.ndarray, dt_s: float, seed: int = 0) -> dict[str, Any]:
    """Return skill by region, by cell and by horizon of a model against a baseline, and how many seconds ahead it has any."""
    assert ours.block_sse is not None
    assert theirs.block_sse is not None
    a, b = ours.block_sse, theirs.block_sse
    horizons, cells = by_horizon(a, b, seed), by_cell(a.sum(1), b.sum(1), region)
    far = longest(horizons)
    return {
        "by_region": by_region(a.sum(1), b.sum(1), region, seed),
        "by_horizon": [{"frames": h, "seconds": h * dt_s, **row._asdict()} for h, row in enumerate(horizons, 1)],
        "longest_horizon_frames": far, "longest_horizon_s": far * dt_s, "reaches_the_end": far == len(horizons),
        "cells": {"better": int((cells[:, 1] > 0).sum()), "worse": int((cells[:, 2] < 0).sum()), "n": len(cells),
                  "median": float(np.median(cells[:, 0]))},
        "by_cell": cells,
    }  # fmt: skip


def sentence(found: dict[str, Any], baseline: str) -> str:
    """Return how far ahead and in how many cells, for a person."""
    seconds, cells = found["longest_horizon_s"], found["cells"]
    far = f"up to {seconds:.2g} s ahead" if seconds else "at no horizon"
    more = " (the longest that was tried)" if found["reaches_the_end"] else ""
    return f"skill over {baseline} {far}{more}; {cells['better']} of {cells['n']} cells better, {cells['worse']} worse (95 %)"
