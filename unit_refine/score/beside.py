"""How far do a curator, our models and other programs' criteria agree on the same units, and which metric excluded whom?"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..answer import Answer
from ..config import Labelled
from ..units.assemble import Recording, Units, group_values
from ..units.labels import classes_of
from . import baselines, labellers
from .evaluate import confusion_matrix, from_confusion, interval, resample
from .labellers import Opinion

log = logging.getLogger(__package__)


class Voice(NamedTuple):
    """What somebody calls each unit."""

    name: str
    classes: np.ndarray  #: (n,) class index of the task, -1 where nothing is said
    excluded_by: list[str]  #: metrics that excluded a unit, comma-separated; empty for models


def ask_all(names: Sequence[str], recordings: Sequence[Recording]) -> list[list[Opinion]]:
    """Return what each labeller says of each recording; metrics that it lacks are told once.

    Raises
    ------
    InputError : see ``labellers.ask``; a labeller that is named twice.
    """
    labellers.check(names)
    found = [[labellers.ask(name, recording) for recording in recordings] for name in names]
    for name, own in zip(names, found):
        absent = list(dict.fromkeys(m for opinion in own for m in opinion.absent))
        if absent:
            log.warning("%s judges without %s: not among the metrics", name, ", ".join(absent))
    return found


def voices_of(
    names: Sequence[str], recordings: Sequence[Recording], config: Labelled, units: Units, task: str
) -> list[Voice]:
    """Return what labellers call the units that are scored, as classes of a task."""
    keys = [(g, i) for r in recordings for g, i in zip(group_values(r, config.group_by, "--group-by"), r.unit_ids)]
    voices = []
    for opinions in ask_all(names, recordings):
        labels = dict(zip(keys, [label for o in opinions for label in o.labels]))
        why = dict(zip(keys, [w for o in opinions for w in o.excluded_by]))
        own = list(zip(units.groups.tolist(), units.unit_ids))
        classes = labellers.as_classes([labels.get(k, "") for k in own], task)
        if not parts_classes(classes):
            log.warning("%s does not tell apart the classes of %s: it has no score and no vote", opinions[0].name, task)
        voices.append(Voice(opinions[0].name, classes, [why.get(k, "") for k in own]))
    return voices


def parts_classes(called: np.ndarray) -> bool:
    """Return whether a voice calls units by more than one class."""
    return len(set(called.tolist()) - {-1}) > 1


def with_consensus(voices: Sequence[Voice]) -> list[Voice]:
    """Return the voices and what most of them say; the first voice decides a tie."""
    if len(voices) < 2:
        return list(voices)
    return [
        *voices,
        Voice("consensus", labellers.consensus([v.classes for v in voices]), [""] * len(voices[0].classes)),
    ]


def score_voice(voice: Voice, y: np.ndarray, groups: np.ndarray, k: int, bootstraps: int, seed: int) -> dict[str, Any]:
    """Return balanced accuracy against people with its 95 % interval, precision, and the share of units it speaks of.

    A unit to which it gives no class of the task (Bombcell's noise among single and multi-units) is one that it does not find.
    """
    row: dict[str, Any] = {"model": voice.name, "said": float((voice.classes >= 0).mean())}
    if not parts_classes(voice.classes):
        return row | dict.fromkeys(("balanced_accuracy", "precision", "recall", "low", "high"), float("nan"))
    called = np.where(voice.classes >= 0, voice.classes, k)
    blocks, n_blocks, _, weights = resample(groups, len(y), bootstraps, seed)
    matrices = np.stack([confusion_matrix(y[blocks == b], called[blocks == b], k + 1) for b in range(n_blocks)])
    precision, recall = from_confusion(np.einsum("rb,bij->rij", weights, matrices))
    values = np.nanmean(recall[:, :k], axis=1)
    low, high = interval(values, n_blocks)
    return row | {
        "balanced_accuracy": float(values[0]), "precision": float(np.nanmean(precision[0, :k])), "recall": float(values[0]),
        "low": low, "high": high,
    }  # fmt: skip


def against_all(
    ours: Voice, others: Sequence[Voice], y: np.ndarray, groups: np.ndarray, k: int, bootstraps: int, seed: int
) -> tuple[baselines.Against, Answer]:
    """Return a model beside the one of all others that is hardest to beat, and whether it beats them all.

    Yes only where every interval lies above zero, so that choosing the opponent on these units cannot help; no where one lies below.
    A unit to which somebody gives no class is one that he does not find.
    """
    called = [np.where(v.classes >= 0, v.classes, k) for v in (ours, *others)]
    found = [
        baselines.against(other.name, y, called[0], theirs, groups, k + 1, bootstraps=bootstraps, seed=seed)
        for other, theirs in zip(others, called[1:])
    ]
    better, hardest = min(found, key=lambda a: a.high), min(found, key=lambda a: a.low)
    if better.high < 0:
        return better, baselines.answered(better, ours.name, verdict="no")
    return hardest, baselines.answered(hardest, ours.name, verdict="yes" if hardest.low > 0 else "cannot tell")


def agreement(voices: Sequence[Voice], y: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return Cohen's kappa of every two voices, the curator among them, with the confusion of the units that both speak of."""
    everybody = [Voice("curator", y, []), *voices]
    rows = []
    for i, a in enumerate(everybody):
        for b in everybody[i + 1 :]:
            both = (a.classes >= 0) & (b.classes >= 0)
            table = confusion_matrix(a.classes[both], b.classes[both], len(classes)).astype(int)
            confusion = {f"{r} / {c}": int(table[m, n]) for m, r in enumerate(classes) for n, c in enumerate(classes)}
            kappa = labellers.kappa(a.classes, b.classes)
            rows.append(
                {"first": a.name, "second": b.name, "kappa": kappa, "n_units": int(both.sum()), "confusion": confusion}
            )
    return rows


def exclusions(voices: Sequence[Voice], y: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each criterion how many units it excluded, how many it alone, and what the curator calls these."""
    rows = []
    for voice in voices:
        split = [w.split(", ") if w else [] for w in voice.excluded_by]
        for metric, n in Counter(m for w in split for m in w).most_common():
            inside = np.array([metric in w for w in split])
            counts = np.bincount(y[inside], minlength=len(classes))
            rows.append({
                "labeller": voice.name, "metric": metric, "n_excluded": n, "n_by_it_alone": sum(w == [metric] for w in split),
                "curator": dict(zip(classes, counts.tolist())),
            })  # fmt: skip
    return rows


def into_predictions(
    table: pd.DataFrame, classes: Sequence[str], opinions: Mapping[str, Sequence[Opinion]], task: str | None
) -> pd.DataFrame:
    """Return predictions with what others call each unit, which metric excluded it, and what most say.

    Parameters
    ----------
    opinions : by labeller, one a recording, in the order of the table.
    task : the model's task; None: no consensus, nor with fewer than three that tell apart its classes.
    """
    ours = np.array([list(classes).index(q) for q in table["predicted_quality"]])
    votes = [ours]
    for name, own in opinions.items():
        labels = [label for o in own for label in o.labels]
        title = own[0].name if own else name
        table[title] = labels
        table[f"{title}_excluded_by"] = [w for o in own for w in o.excluded_by]
        if task is not None:
            named = labellers.as_classes(labels, task)
            order = [list(classes).index(c) for c in classes_of(task)]
            votes += [np.where(named >= 0, np.array(order)[named], -1)] if parts_classes(named) else []
    if len(votes) > 2:
        table["consensus"] = np.array(classes)[labellers.consensus(votes)]
    return table
