"""How often is a model right on labelled units that it has never seen, alone or beside others?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..answer import Answer
from ..config import CompareConfig, Labelled
from ..files import load_model, recordings
from ..files.load_model import Model
from ..model.decisions import decide
from ..units.assemble import Recording, Units, assemble
from ..units.labels import classes_of, task_of
from ..units.metrics import RENAMED, to_new_names, with_sign
from . import baselines, beside, evaluate, labellers
from .predict import predict_one

log = logging.getLogger(__package__)


class Evaluation(NamedTuple):
    """A model's scores on labelled units that it has not seen."""

    units: Units
    p: np.ndarray
    calibrated: np.ndarray
    threshold: float
    scores: evaluate.Scores
    odd: list[dict[str, Any]]  #: metrics that do not look like the training recordings'
    against: baselines.Against  #: the best baseline on the model's training units, on these units


def evaluate_model(
    model: Model, config: Labelled, bootstraps: int, seed: int, read: tuple[list[Recording], list[str]] | None = None
) -> Evaluation:
    """Return scores of a model on labelled recordings, those of ``config`` unless they are ``read`` already.

    Raises
    ------
    InputError : the model tells apart classes of no known task; see `data.assemble`.
    """
    known = task_of(model.classes)
    if known is None:
        raise InputError(
            f"{model.folder}: its classes {', '.join(model.classes)} are those of no task; say with --class-names what they are,"
            " e.g. 0=noise,1=neural."
        )
    task, order = known
    found, notices = read or recordings.read_all(config, task)
    load_model.tell_releases(model, found)
    sign = load_model.training_sign(model)
    found = [r._replace(table=with_sign(r.table, sign)) for r in found]
    units = assemble(found, config, task, keep_names(model, found), "remove", order)
    answer = predict_one(model, units.metrics, "inputs", False)
    for notice in [*model.notices, *notices, *units.notices, *answer["notices"]]:
        log.warning("%s", notice)
    warn_of_training_units(model, units)
    options: dict[str, Any] = {"threshold": model.threshold, "bootstraps": bootstraps, "seed": seed}
    scores = evaluate.score(units.y, answer["p"], answer["calibrated"], units.groups, units.classes, **options)
    odd = [finding._asdict() for finding in answer["odd"]]
    beside = beside_baseline(model, units, decide(answer["p"], model.threshold), task, bootstraps, seed)
    return Evaluation(units, answer["p"], answer["calibrated"], model.threshold, scores, odd, beside)


def beside_baseline(
    model: Model, units: Units, guess: np.ndarray, task: str, bootstraps: int, seed: int
) -> baselines.Against:
    """Return how much better a model is than the best baseline on its training units; one label for all where these are not known."""
    known, y = load_model.read_training_data(model), load_model.read_training_labels(model)
    name, other = baselines.ALWAYS, np.zeros(len(guess), int)
    if known is not None and y is not None and len(y) == len(known):
        known = to_new_names(known)
        groups = load_model.read_training_groups(model, len(y))
        name, rule = baselines.choose(
            known, y, groups, len(model.classes), task if model.classes == classes_of(task) else None
        )
        other = rule(units.metrics)
    k = len(model.classes)
    return baselines.beside_both(name, units.y, guess, other, units.groups, k, bootstraps, seed)


def keep_names(model: Model, found: Sequence[Recording]) -> list[str]:
    """Return the model's metrics that all recordings have, in today's spelling."""
    names = [RENAMED[n][0] if n in RENAMED else n for n in model.metric_names]
    return [n for n in names if all(n in r.table.columns for r in found)]


def warn_of_training_units(model: Model, units: Units) -> None:
    """Warn when units to be scored are units the model was trained on: their score says nothing."""
    known = load_model.read_training_data(model)
    if known is None:
        return
    shared = [c for c in units.metrics.columns if c in known.columns]
    both = pd.concat([known[shared], units.metrics[shared]], ignore_index=True)
    n = int(both.duplicated(keep="first")[len(known) :].sum())
    if n:
        log.warning(
            "%d of %d units are units the model was trained on: their score is not a score on unseen units",
            n,
            len(units.y),
        )


def evaluation_results(evaluation: Evaluation) -> dict[str, Any]:
    """Return the documented numbers of evaluate."""
    scores = evaluation.scores
    results: dict[str, Any] = {name: scores.values[name] for name in evaluate.SCORES}
    for name in evaluate.SCORES:
        results |= {f"{name}_low": scores.low[name], f"{name}_high": scores.high[name]}
    return results | {
        "n_units": len(evaluation.units.y),
        "counts": dict(zip(evaluation.units.classes, np.bincount(evaluation.units.y).tolist())),
        "per_class": {
            c: {s: scores.values[f"{s}_{c}"] for s in ("precision", "recall")} for c in evaluation.units.classes
        },
        "interval_over": scores.resampled,
        "by_group": scores.by_group,
        "odd_metrics": evaluation.odd,
        "answer": baselines.answered(evaluation.against, "the model", len(evaluation.odd)),
        "further": baselines.further(evaluation.against, len(evaluation.units.y)),
    }


class Comparison(NamedTuple):
    """Models and other labellers on the same labelled units."""

    table: pd.DataFrame  #: a row for each, the best first
    agreement: list[dict[str, Any]]  #: Cohen's kappa and confusion of every two, the curator among them
    exclusions: list[dict[str, Any]]  #: which metric of which labeller excluded how many
    answer: Answer  #: does the first model beat all others
    further: list[dict[str, Any]]  #: what would narrow that


def compare(config: CompareConfig) -> Comparison:
    """Return scores of several models and labellers on the same units; all models must tell apart the same classes."""
    loaded = [load_model.load(path, max_memory=config.max_memory) for path in config.models]
    if len({tuple(sorted((task_of(m.classes) or ("", m.classes))[1])) for m in loaded}) > 1:
        shown = "; ".join(f"{m.folder}: {', '.join(m.classes)}" for m in loaded)
        raise InputError(f"--models: they tell apart different classes ({shown}); compare models of one task.")
    labellers.check(config.labellers)
    known = task_of(loaded[0].classes)
    read = recordings.read_all(config, known[0] if known else "three_class")
    beside.ask_all(config.labellers, read[0])  # what a labeller judges by may not be there
    for model in loaded:  # nor what a model does
        for recording in read[0]:
            load_model.match(model, recording.table, str(recording.source))
    rows, voices, first = [], list[beside.Voice](), None
    for model in loaded:
        found = evaluate_model(model, config, config.bootstraps, config.seed, read)
        row = {"model": str(model.folder), **{name: found.scores.values[name] for name in evaluate.SCORES}}
        rows.append(
            row | {"low": found.scores.low["balanced_accuracy"], "high": found.scores.high["balanced_accuracy"]}
        )
        first = first or found
        voices.append(voice_of(model, found, first.units))
    assert first is not None  # at least one model is asked for
    units, (task, _) = first.units, task_of(loaded[0].classes) or ("", [])
    order = [list(classes_of(task)).index(c) for c in (task_of(loaded[0].classes) or ("", []))[1]]
    y, classes = np.array(order)[units.y], classes_of(task)
    if config.labellers:
        voices += beside.voices_of(config.labellers, read[0], config, units, task)
    rivals = [v for v in voices[1:] if beside.parts_classes(v.classes)]
    rivals.append(beside.Voice(first.against.baseline, np.array(order)[first.against.guess], []))
    hardest, told = beside.against_all(voices[0], rivals, y, units.groups, len(classes), config.bootstraps, config.seed)
    voices = beside.with_consensus(voices) if len(voices) > 2 or config.labellers else voices
    rows += [
        beside.score_voice(v, y, units.groups, len(classes), config.bootstraps, config.seed)
        for v in voices[len(loaded) :]
    ]
    table = pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable")
    return Comparison(
        table, beside.agreement(voices, y, classes), beside.exclusions(voices[len(loaded) :], y, classes), told,
        baselines.further(hardest, len(y)),
    )  # fmt: skip


def voice_of(model: Model, found: Evaluation, units: Units) -> beside.Voice:
    """Return what a model calls the units of another evaluation, as classes of the task in alphabetical order."""
    task, order = task_of(model.classes) or ("", [])
    guess = np.array([list(classes_of(task)).index(c) for c in order])[decide(found.p, found.threshold)]
    own = dict(zip(zip(found.units.groups.tolist(), found.units.unit_ids), guess.tolist()))
    keys = zip(units.groups.tolist(), units.unit_ids)
    return beside.Voice(str(model.folder), np.array([own.get(k, -1) for k in keys]), [""] * len(units.y))
