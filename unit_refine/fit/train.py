"""Which model is best, and what does it say about recordings it has not seen?

Whole recordings are held out. Where there is something to choose, the choice is made again inside each outer fold, on inner folds
of whole recordings, so that the outer prediction owes nothing to the recording it is for. Then the choice is made once more on all
recordings and the chosen model is fitted to all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline

from hdf5io.errors import InputError

from .. import workers
from ..model.decisions import HeldOut, balanced_accuracy, decide
from ..model.pipelines import Setting, fit, probabilities

log = logging.getLogger(__package__)

MAX_OUTER_FOLDS = 20
#: A tuned threshold is used only when it gains at least this much on recordings that did not choose it.
THRESHOLD_GAIN = 0.01


class Task(NamedTuple):
    """One fit of one setting, and the units to predict with it; a pure, repeatable piece of work."""

    setting: Setting
    train: np.ndarray  #: rows to fit
    test: np.ndarray  #: rows to predict


class Trained(NamedTuple):
    """The model for use and how it was chosen."""

    pipeline: Pipeline  #: fitted to all units
    setting: Setting
    held_out: HeldOut
    table: list[dict[str, Any]]  #: grouped inner score of each setting on all recordings
    threshold: float  #: operating point of a two-class model on the probability of class 1
    threshold_gain: float  #: balanced accuracy a tuned threshold gains on recordings that did not choose it


class Hands(NamedTuple):
    """Who works: local processes, or a scheduler (see ``workers.run``). The result does not depend on it."""

    jobs: int = 1
    scheduler: str | None = None


ALONE = Hands()


def run_tasks(
    tasks: Sequence[Task], metrics: pd.DataFrame, y: np.ndarray, n_classes: int, seed: int, hands: Hands = ALONE,
    weight: np.ndarray | None = None,
) -> list[tuple[np.ndarray, Pipeline]]:  # fmt: skip
    """Return ``(probabilities of the test rows, pipeline)`` of each task, in order; the one place where work fans out."""
    given = [
        (t.setting, metrics.iloc[t.train], y[t.train], metrics.iloc[t.test], n_classes, seed, part_of(weight, t.train))
        for t in tasks
    ]
    done = workers.run(fit_and_predict, given, jobs=hands.jobs, scheduler=hands.scheduler, what="fits")
    found = dict(done)
    return [found[i] for i in range(len(tasks))]


def fit_and_predict(
    setting: Setting, metrics: pd.DataFrame, y: np.ndarray, others: pd.DataFrame, n_classes: int, seed: int,
    weight: np.ndarray | None = None,
) -> tuple[np.ndarray, Pipeline]:  # fmt: skip
    """Fit one setting and predict other units: a pure piece of work."""
    pipeline = fit(setting, metrics, y, seed, weight=weight)
    return probabilities(pipeline, others, n_classes), pipeline


def part_of(weight: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Return the weights of some units; None where all weigh the same."""
    return None if weight is None else weight[rows]


def folds(y: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (train, test) rows of folds of whole groups; of single units where there is only one group.

    With as many folds as groups, each group is a fold. A fold whose training part lacks a class is left out of the list: its
    units get no prediction of their own.
    """
    names = np.unique(groups)
    if len(names) == 1:
        n_folds = max(2, min(n_folds, int(np.bincount(y).min())))
        splits = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(y, y)
    elif len(names) <= n_folds:
        splits = ((np.flatnonzero(groups != g), np.flatnonzero(groups == g)) for g in names)
    else:
        splits = GroupKFold(n_folds).split(y, y, groups)
    n_classes = len(np.unique(y))
    return [(train, test) for train, test in splits if len(np.unique(y[train])) == n_classes]


def outer_folds(y: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the (train, test) rows that the scores of a training are made of (see `folds`)."""
    return folds(y, groups, MAX_OUTER_FOLDS if len(np.unique(groups)) > 1 else 5, seed)


def check_folds(
    y: np.ndarray, groups: np.ndarray, animals: np.ndarray | None, classes: Sequence[str], by: str, seed: int
) -> None:
    """Refuse labels of which no recording, or no animal, can be held out without a class losing all its units.

    Parameters
    ----------
    y : (n,) class index.
    groups, animals : (n,) recording and, where it is known, animal of each unit.
    by : what tells the recordings apart.

    Raises
    ------
    InputError : which class stands in one recording or animal only.
    """
    kinds = [
        (f"labels: no class may stand in one {by} only", groups, "label a second recording, or use another --group-by")
    ]
    if animals is not None and len(np.unique(animals)) > 1:
        told = "no class may stand in one animal only, for none could be held out"
        kinds.append((f"--animal-by: {told}", animals, "label a second animal, or leave --animal-by away"))
    for told, names, advice in kinds:
        tested = [test for _, test in outer_folds(y, names, seed)]
        there = set(y[np.concatenate(tested)].tolist()) if tested else set[int]()
        absent = [k for k in range(len(classes)) if k not in there]
        if absent:
            where = ", ".join(f"{classes[k]} in '{names[y == k][0]}'" for k in absent if (y == k).any())
            raise InputError(f"{told} ({where}); {advice}.")


def score_settings(
    candidates: Sequence[Setting],
    metrics: pd.DataFrame,
    y: np.ndarray,
    groups: np.ndarray,
    n_folds: int,
    seed: int,
    hands: Hands = ALONE,
    weight: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Return balanced accuracy, macro precision and recall of each setting, pooled over grouped folds."""
    parts, n_classes = folds(y, groups, n_folds, seed), len(np.unique(y))
    tasks = [Task(c, train, test) for c in candidates for train, test in parts]
    answers = run_tasks(tasks, metrics, y, n_classes, seed, hands, weight)
    rows = []
    for i, candidate in enumerate(candidates):
        mine = answers[i * len(parts) : (i + 1) * len(parts)]
        truth = np.concatenate([y[test] for _, test in parts])
        guess = np.concatenate([decide(p) for p, _ in mine])
        precision, recall, _, _ = precision_recall_fscore_support(truth, guess, average="macro", zero_division=0)
        rows.append(
            {"setting": candidate, "balanced_accuracy": recall, "precision": precision, "recall": recall, "model_id": i}
        )
    return rows


def choose(
    candidates: Sequence[Setting],
    metrics: pd.DataFrame,
    y: np.ndarray,
    groups: np.ndarray,
    n_folds: int,
    seed: int,
    hands: Hands = ALONE,
    weight: np.ndarray | None = None,
) -> tuple[Setting, list[dict[str, Any]]]:
    """Return the setting with the best grouped score, the earlier one when equal, and the table of scores."""
    if len(candidates) == 1:
        return candidates[0], []
    rows = score_settings(candidates, metrics, y, groups, n_folds, seed, hands, weight)
    return max(rows, key=lambda row: row["balanced_accuracy"])["setting"], rows


def hold_out(
    candidates: Sequence[Setting], metrics: pd.DataFrame, y: np.ndarray, groups: np.ndarray, n_folds: int, seed: int, hands: Hands = ALONE,
    weight: np.ndarray | None = None, progress: Callable[[str], None] = log.info,
) -> HeldOut:  # fmt: skip
    """Return predictions of every unit by models that were chosen and fitted without its recording (nested, grouped).

    Rows of a group that no fold could hold out keep NaN probabilities.
    """
    n_classes = len(np.unique(y))
    outer = outer_folds(y, groups, seed)
    chosen = []
    for i, (train, _) in enumerate(outer):
        setting, _ = choose(
            candidates, metrics.iloc[train], y[train], groups[train], n_folds, seed, hands, part_of(weight, train)
        )
        chosen.append(setting)
        if len(candidates) > 1:
            progress(f"outer fold {i + 1} of {len(outer)}: {setting.classifier} {setting.params or ''}".rstrip())
    tasks = [Task(s, train, test) for s, (train, test) in zip(chosen, outer)]
    answers = run_tasks(tasks, metrics, y, n_classes, seed, hands, weight)
    p = np.full((len(y), n_classes), np.nan)
    for (_, test), (part, _) in zip(outer, answers):
        p[test] = part
    return HeldOut(p, outer, chosen, [pipeline for _, pipeline in answers])


def best_threshold(p: np.ndarray, y: np.ndarray) -> float:
    """Return the threshold on class 1 with the best balanced accuracy, the nearest to .5 when equal."""
    grid = np.round(np.arange(0.2, 0.801, 0.02), 2)
    scores = [balanced_accuracy(y, (p[:, 1] >= t).astype(int)) for t in grid]
    return float(min(zip(grid, scores), key=lambda pair: (-pair[1], abs(pair[0] - 0.5)))[0])


def tune_threshold(p: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return the operating point and what tuning gains on recordings that did not take part in it.

    .5 unless the gain exceeds `THRESHOLD_GAIN`; two classes only.
    """
    if p.shape[1] != 2 or len(np.unique(groups)) < 3:
        return 0.5, float("nan")
    guess = np.empty(len(y), dtype=int)
    for group in np.unique(groups):
        inside = groups == group
        guess[inside] = p[inside, 1] >= best_threshold(p[~inside], y[~inside])
    gain = balanced_accuracy(y, guess) - balanced_accuracy(y, decide(p))
    return (best_threshold(p, y) if gain > THRESHOLD_GAIN else 0.5), gain


def train(
    candidates: Sequence[Setting],
    metrics: pd.DataFrame,
    y: np.ndarray,
    groups: np.ndarray,
    n_folds: int,
    seed: int,
    hands: Hands = ALONE,
    weight: np.ndarray | None = None,
) -> Trained:
    """Return the model for use, with the predictions that tell how good it is.

    Parameters
    ----------
    candidates : settings to choose from.
    metrics : (n, m) metrics; rows and columns in canonical order, so that the result does not depend on the files' order.
    y : (n,) class index.
    groups : (n,) recording of each unit.
    n_folds : inner folds.
    weight : (n,) weights of the units, None where all weigh the same.
    """
    held_out = hold_out(candidates, metrics, y, groups, n_folds, seed, hands, weight)
    seen = np.isfinite(held_out.p[:, 0])
    threshold, gain = tune_threshold(held_out.p[seen], y[seen], groups[seen])
    setting, rows = choose(candidates, metrics, y, groups, n_folds, seed, hands, weight)
    log.info("fitting %s to all %d units", setting.classifier, len(y))
    pipeline = fit(setting, metrics, y, seed, None if threshold == 0.5 else threshold, weight)
    return Trained(pipeline, setting, held_out, rows, threshold, gain)
