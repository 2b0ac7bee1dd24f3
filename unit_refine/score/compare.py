"""How often is a model right on labelled units that it has never seen, alone or beside others?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..config import CompareConfig, Labelled
from ..files import load_model, recordings
from ..files.load_model import Model
from ..model.decisions import decide
from ..units.assemble import Recording, Units, assemble
from ..units.labels import classes_of, task_of
from ..units.metrics import RENAMED, to_new_names
from . import baselines, evaluate
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


def evaluate_model(model: Model, config: Labelled, bootstraps: int, seed: int) -> Evaluation:
    """Return scores of a model on labelled recordings.

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
    found, notices = recordings.read_all(config)
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
    return baselines.against(
        name, units.y, guess, other, units.groups, len(model.classes), bootstraps=bootstraps, seed=seed
    )


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


def compare(config: CompareConfig) -> pd.DataFrame:
    """Return scores of several models on the same units, the best first; all must tell apart the same classes."""
    loaded = [load_model.load(path, max_memory=config.max_memory) for path in config.models]
    if len({tuple(sorted((task_of(m.classes) or ("", m.classes))[1])) for m in loaded}) > 1:
        shown = "; ".join(f"{m.folder}: {', '.join(m.classes)}" for m in loaded)
        raise InputError(f"--models: they tell apart different classes ({shown}); compare models of one task.")
    rows = []
    for model in loaded:
        scores = evaluate_model(model, config, config.bootstraps, config.seed).scores
        row = {"model": str(model.folder), **{name: scores.values[name] for name in evaluate.SCORES}}
        rows.append(row | {"low": scores.low["balanced_accuracy"], "high": scores.high["balanced_accuracy"]})
    return pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable")
