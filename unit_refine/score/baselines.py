"""What would one do without a model, how much better is it, and how much more would labels tell?

Baselines: one threshold on one metric (two for three classes), and the criteria of other programs (see `labellers`). The best of them
on the training recordings is the one that a model has to beat on the recordings held out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student_t
from sklearn.tree import DecisionTreeClassifier

from ..answer import Answer, answer
from ..model.decisions import balanced_accuracy
from ..units.assemble import Recording
from . import labellers
from .evaluate import confusion_matrix, from_confusion, interval, resample

UNIT = "of balanced accuracy"
ALWAYS = "the same label for every unit"
BASE_MODEL = "the base model"
N_METRICS = 3  #: metrics whose thresholds are compared with other programs' criteria


class Against(NamedTuple):
    """A model beside the best baseline, on units that neither was made with."""

    baseline: str
    guess: np.ndarray  #: (n,) class that the baseline gives
    score: float  #: its balanced accuracy
    gain: float  #: balanced accuracy of the model minus that
    low: float  #: 95 % interval of the gain
    high: float
    resampled: str  #: recordings, or units where there is one recording only
    n_blocks: int


def choose(
    metrics: pd.DataFrame, y: np.ndarray, groups: np.ndarray, n_classes: int, task: str | None
) -> tuple[str, Callable]:
    """Return the name of the best baseline on these units, and a function that applies it to other units' metrics.

    The metrics that part the classes best are compared with the programs' criteria on recordings that did not set their thresholds:
    a threshold that was fitted to the very units would look better than criteria that were not.

    Parameters
    ----------
    metrics : (n, m) metrics of the training units.
    groups : (n,) recording of each.
    task : a key of `TASKS`, None for classes of no known task: then no program's criteria speak of them.
    """
    fitted = {str(c): _threshold(metrics, y, str(c), n_classes) for c in metrics.columns if metrics[c].notna().any()}
    scores = {c: balanced_accuracy(y, rule(metrics)) for c, rule in fitted.items()}
    found: list[tuple[float, str, Callable]] = [(1 / n_classes, ALWAYS, lambda m: np.zeros(len(m), int))]
    for column in sorted(scores, key=lambda c: -scores[c])[:N_METRICS]:
        guess = np.zeros(len(y), int)
        for g in np.unique(groups):
            inside = (groups == g) if len(np.unique(groups)) > 1 else np.zeros(len(y), bool)
            rest = ~inside if len(np.unique(y[~inside])) == n_classes else np.ones(len(y), bool)
            inside = inside if inside.any() else ~inside
            guess[inside] = _threshold(metrics[rest], y[rest], column, n_classes)(metrics[inside])
        found.append((balanced_accuracy(y, guess), f"the best threshold on one metric ({column})", fitted[column]))
    for other in labellers.CRITERIA if task else ():
        if labellers.speaks_of(other, str(task)) and set(metrics.columns) & _judged(other):
            rule = _by_criteria(other, str(task))
            found.append((balanced_accuracy(y, rule(metrics)), f"{other}'s criteria", rule))
    _, name, rule = max(found, key=lambda f: round(f[0], 9))
    return name, rule


def _judged(name: str) -> set[str]:
    return {m for section, rules in labellers.CRITERIA[name].items() if section != "non-somatic" for m in rules}


def _threshold(
    metrics: pd.DataFrame, y: np.ndarray, column: str, n_classes: int
) -> Callable[[pd.DataFrame], np.ndarray]:
    """Return the rule that parts the classes by one metric: a cut for two classes, two for three; missing values go to one side."""

    def values(table: pd.DataFrame) -> np.ndarray:
        """Return the metric, (n, 1) float32."""
        return table.reindex(columns=[column]).to_numpy(dtype=np.float32, copy=True)

    tree = DecisionTreeClassifier(max_leaf_nodes=n_classes, class_weight="balanced", random_state=0)
    tree.fit(values(metrics), y)
    return lambda table: tree.predict(values(table)).astype(int)


def _by_criteria(name: str, task: str) -> Callable[[pd.DataFrame], np.ndarray]:
    def apply(metrics: pd.DataFrame) -> np.ndarray:
        """Return the class of each unit; where the criteria say nothing of a unit, the class that they exclude to."""
        recording = Recording("units", Path("units"), [], metrics, None, {})
        found = labellers.as_classes(list(labellers.apply(name, labellers.CRITERIA[name], recording).labels), task)
        return np.where(found >= 0, found, 0)

    return apply


def held_out(
    metrics: pd.DataFrame, y: np.ndarray, groups: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]], n_classes: int,
    task: str | None,
) -> tuple[str, np.ndarray]:  # fmt: skip
    """Return the baseline that was chosen most often, and each unit's class by the one its fold chose without its recording."""
    guess, names = np.zeros(len(y), int), list[str]()
    for train, test in folds:
        name, rule = choose(metrics.iloc[train], y[train], groups[train], n_classes, task)
        names.append(name)
        guess[test] = rule(metrics.iloc[test])
    return (Counter(names).most_common(1)[0][0] if names else ALWAYS), guess


def against(
    baseline: str, y: np.ndarray, guess: np.ndarray, other: np.ndarray, groups: np.ndarray, n_classes: int, *,
    bootstraps: int = 1000, seed: int = 0,
) -> Against:  # fmt: skip
    """Return how much better a model's classes are than a baseline's, on the same units; recordings are resampled in pairs."""
    blocks, n_blocks, resampled, weights = resample(groups, len(y), bootstraps, seed)
    scores = []
    for called in (guess, other):
        matrices = np.stack([confusion_matrix(y[blocks == b], called[blocks == b], n_classes) for b in range(n_blocks)])
        scores.append(np.nanmean(from_confusion(np.einsum("rb,bij->rij", weights, matrices))[1], axis=1))
    gain = scores[0] - scores[1]
    return Against(
        baseline, other, float(scores[1][0]), float(gain[0]), *interval(gain, n_blocks, -1.0), resampled, n_blocks
    )


def beside_both(
    name: str,
    y: np.ndarray,
    guess: np.ndarray,
    other: np.ndarray,
    groups: np.ndarray,
    n_classes: int,
    bootstraps: int,
    seed: int,
) -> Against:
    """Return a model beside the rule that training recordings chose, or beside one label for every unit: the one that decides.

    Which of both is better on these units must not choose the opponent: a model without skill would often lose to the luckier one. It
    is better where it beats both, and worse where it loses to both; elsewhere the opponent is returned that cannot be told apart.
    """
    opponents = {name: other, ALWAYS: np.zeros(len(y), int)}
    found = [against(n, y, guess, o, groups, n_classes, bootstraps=bootstraps, seed=seed) for n, o in opponents.items()]
    if all(f.low > 0 for f in found):
        return min(found, key=lambda f: f.low)
    if all(f.high < 0 for f in found):
        return max(found, key=lambda f: f.high)
    undecided = [f for f in found if f.low <= 0 <= f.high] or [f for f in found if f.high < 0] or found
    return max(undecided, key=lambda f: f.score)


def answered(found: Against, what: str, n_odd: int = 0, verdict: str = "") -> Answer:
    """Return the answer of a run that scores (``verdict`` where it is decided already); metrics unlike the training recordings' are told first."""
    first = f"{n_odd} metrics do not look like the training recordings'" if n_odd else ""
    over = f"{UNIT} on {found.n_blocks} unseen recordings"
    if found.resampled == "units":
        labelled = "labelled units of the new recording, each held out"
        over = f"{UNIT} on {labelled if found.baseline == BASE_MODEL else 'unseen units of one recording'}"
    return answer(what, found.baseline, found.gain, found.low, found.high, over, verdict=verdict, first=first)


def further(found: Against, n_units: int) -> list[dict[str, Any]]:
    """Return what would narrow the answer: the half-width of its interval now, and after more labels of the same kind.

    The interval over G recordings is as wide as t(G - 1) / sqrt(G), over n units of one recording as 1 / sqrt(n). Nothing is predicted
    from fewer than four recordings: their spread is not known.
    """
    now = (found.high - found.low) / 2
    what = "of the new recording" if found.baseline == BASE_MODEL else "of this recording"
    if not np.isfinite(now) or now <= 0:
        return []
    if found.resampled == "units":
        plans = [(f"{m} more labelled units {what}", np.sqrt(n_units / (n_units + m))) for m in (50, 200)]
    elif found.n_blocks >= 4:
        g = found.n_blocks

        def width(n: int) -> float:
            """Return the width of the interval over n recordings, up to a factor."""
            return float(student_t.ppf(0.975, n - 1) / np.sqrt(n))

        plans = [(f"{m} more labelled recording{'s' * (m > 1)}", width(g + m) / width(g)) for m in (1, 3, g)]
    else:
        return []
    return [{"measurement": what, "now": now, "then": now * float(by), "unit": UNIT} for what, by in plans]
