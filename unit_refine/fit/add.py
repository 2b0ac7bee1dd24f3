"""What do a few labels of a new recording add to a model that was trained on others, and what would more of them?

The base model's training units and the new ones are learned from together; a new unit weighs `WEIGHT` times as much as an old one
of its class. What that is worth on the new recording is measured by cross-validation over its labelled units, beside the model that
knows none of them. What more labels would add is measured on the base model's own recordings, each treated as if it were new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import KFold

from ..model.decisions import balanced_accuracy, decide
from ..model.pipelines import Setting
from ..units.assemble import Units
from .train import ALONE, Hands, Task, run_tasks

#: Chosen among 1, 3, 10 and 30 on the shared recordings (README): more than 3 did harm.
WEIGHT = 3.0
FOLDS, MORE = 5, 50


class Forecast(NamedTuple):
    """What `MORE` further labels of the new recording would add to balanced accuracy."""

    gains: tuple[float, ...]  #: on each of the base model's recordings, treated as new

    @property
    def gain(self) -> float:
        """Return the mean over the recordings."""
        return float(np.mean(self.gains))

    @property
    def error(self) -> float:
        """Return its standard error over the recordings."""
        n = len(self.gains)
        return float(np.std(self.gains, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def adapted(units: Units, setting: Setting, seed: int, hands: Hands = ALONE) -> np.ndarray:
    """Return (n, K) probabilities of the added units, each by a model that knew the base units and the other added ones.

    Rows of base units are NaN.
    """
    assert units.added is not None  # only called where units were added
    k, added = len(units.classes), np.flatnonzero(units.added)
    parts = list(KFold(min(FOLDS, len(added)), shuffle=True, random_state=seed).split(added)) if len(added) > 1 else []
    everything = np.arange(len(units.y))
    tasks = [Task(setting, np.setdiff1d(everything, added[test]), added[test]) for _, test in parts]
    p = np.full((len(units.y), k), np.nan)
    answers = run_tasks(tasks, units.metrics, units.y, k, seed, hands, units.weight)
    for (_, test), (part, _) in zip(parts, answers):
        p[added[test]] = part
    return p


def forecast(
    units: Units,
    setting: Setting,
    p: np.ndarray,
    n: int,
    seed: int,
    hands: Hands = ALONE,
    recordings: Sequence[str] = (),
) -> Forecast | None:
    """Return what `MORE` labels beyond ``n`` added on the base model's recordings, each in turn treated as new.

    Half of a recording's units may be labelled (at random), the other half is scored; None where no recording is large enough.

    Parameters
    ----------
    p : (n, K) held-out probabilities of all units.
    recordings : which ones to treat as new; default: all of the base model.
    """
    assert units.added is not None  # only called where units were added
    base, tasks, halves = ~units.added, list[Task](), list[np.ndarray]()
    for i, name in enumerate(recordings or np.unique(units.groups[base])):
        own = np.flatnonzero(base & (units.groups == name))
        order = np.random.default_rng([seed, i]).permutation(own)
        pool, test = order[: len(own) // 2], order[len(own) // 2 :]
        rest = np.flatnonzero(base & (units.groups != name))
        if (
            len(pool) < n + MORE
            or len(np.unique(units.y[rest])) < len(units.classes)
            or not len(np.unique(units.y[test])) > 1
        ):
            continue
        halves.append(test)
        tasks += [Task(setting, np.concatenate([rest, pool[:m]]), test) for m in (n, n + MORE) if m]
    if not halves:
        return None
    weight = np.ones(len(units.y))
    answers = []
    for task in tasks:
        own_weight = weight.copy()
        own_weight[np.isin(units.groups, np.unique(units.groups[task.test]))] = WEIGHT
        answers += run_tasks([task], units.metrics, units.y, len(units.classes), seed, hands, own_weight)
    scores = iter(balanced_accuracy(units.y[t.test], decide(q)) for t, (q, _) in zip(tasks, answers))
    gains = []
    for test in halves:
        now = next(scores) if n else balanced_accuracy(units.y[test], decide(p[test]))
        gains.append(next(scores) - now)
    return Forecast(tuple(gains))
