"""What does a model say about units it has not seen, and how often is it right?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..config import CompareConfig, Labelled, PredictConfig
from ..files import load_model, recordings
from ..files.load_model import Model
from ..model import calibration, decisions
from ..units.assemble import Recording, Units, assemble
from ..units.labels import TASKS, classes_of
from ..units.metrics import RENAMED, match_model
from . import evaluate

log = logging.getLogger(__package__)


def predict(
    model: Model,
    table: pd.DataFrame,
    where: str,
    second: Model | None = None,
    prior_correction: bool = False,
) -> dict[str, Any]:
    """Return class names, probabilities, calibrated ones, decision and distance of every unit.

    Parameters
    ----------
    table : metrics of the units.
    second : model that tells apart the units which the first does not call noise.
    """
    answer = predict_one(model, table, where, prior_correction)
    if second is None:
        return answer
    if "noise" not in model.classes or "noise" in second.classes or len(model.classes) != 2:
        raise InputError(
            f"--cascade: expected a noise_vs_neural model, then a sua_vs_mua model; they tell apart {model.classes} and {second.classes}."
        )
    noise = model.classes.index("noise")
    inner = predict_one(second, table, where, prior_correction)
    classes = ("noise", *second.classes)
    for key in ("p", "calibrated"):
        answer[key] = np.column_stack([answer[key][:, noise], answer[key][:, 1 - noise, None] * inner[key]])
    is_noise = answer["guess"] == noise
    answer["guess"] = np.where(is_noise, 0, 1 + inner["guess"])
    answer["distance"] = np.where(is_noise, answer["distance"], np.minimum(answer["distance"], inner["distance"]))
    answer["classes"], answer["notices"] = classes, answer["notices"] + inner["notices"]
    return answer


def predict_one(model: Model, table: pd.DataFrame, where: str, prior_correction: bool) -> dict[str, Any]:
    checked = match_model(table, model.metric_names, where)
    p = load_model.predict_proba(model, checked.metrics)
    calibrated = p if model.sigmoid is None else calibration.apply_sigmoid(model.sigmoid, p)
    notices = []
    if checked.absent:
        notices.append(f"{where}: missing metrics filled in by the model's imputer: {', '.join(checked.absent)}")
    if prior_correction:
        if model.sigmoid is None:
            raise InputError(
                f"{model.folder}: --prior-correction needs a calibrated model; this one has no calibration."
            )
        calibrated, share = calibration.correct_prior(calibrated, model.sigmoid.prior)
        notices.append(
            f"{where}: class shares estimated by EM: {', '.join(f'{c} {s:.2f}' for c, s in zip(model.classes, share))}"
        )
    return {
        "classes": model.classes, "p": p, "calibrated": calibrated, "guess": decisions.decide(p, model.threshold),
        "distance": decisions.distance(p, model.threshold), "notices": notices,
    }  # fmt: skip


def prediction_table(
    answer: Mapping[str, Any], unit_ids: Sequence[str], name: str, abstain: float, min_confidence: float
) -> pd.DataFrame:
    """Return the table that predict writes for one recording."""
    p, guess = answer["p"], answer["guess"]
    confidence = p[np.arange(len(p)), guess]
    ranked = np.zeros(len(p), dtype=bool)
    for k in np.unique(guess):
        members = np.flatnonzero(guess == k)
        order = members[np.argsort(answer["distance"][members], kind="stable")]
        ranked[order[: int(np.floor(abstain * len(members)))]] = True
    unsure = confidence < min_confidence
    why = np.where(
        unsure,
        f"confidence below {min_confidence:g}",
        np.where(ranked, f"among the least confident {abstain:.0%} of its class", ""),
    )
    table = pd.DataFrame(
        {
            "unit_id": unit_ids,
            "predicted_quality": np.array(answer["classes"])[guess],
            "prediction_confidence": confidence,
        }
    )
    for i, c in enumerate(answer["classes"]):
        table[f"p_{c}"] = p[:, i]
    for i, c in enumerate(answer["classes"]):
        table[f"calibrated_{c}"] = answer["calibrated"][:, i]
    return table.assign(abstained=ranked | unsure, why=why, recording=name)


def predict_inputs(config: PredictConfig) -> pd.DataFrame:
    """Return predictions of all inputs, one recording after the other."""
    model = load_model.load(config.model, config.class_names, config.max_memory)
    second = None if config.cascade is None else load_model.load(config.cascade, max_memory=config.max_memory)
    tables = []
    for notice in {*model.notices, *(second.notices if second else [])}:
        log.warning("%s", notice)
    for recording in recordings.read_unlabelled(config, config.inputs):
        answer = predict(model, recording.table, str(recording.source), second, config.prior_correction)
        for notice in answer["notices"]:
            log.warning("%s", notice)
        tables.append(
            prediction_table(answer, recording.unit_ids, recording.name, config.abstain, config.min_confidence)
        )
    return pd.concat(tables, ignore_index=True)


class Evaluation(NamedTuple):
    """A model's scores on labelled units that it has not seen."""

    units: Units
    p: np.ndarray
    calibrated: np.ndarray
    threshold: float
    scores: evaluate.Scores


def evaluate_model(model: Model, config: Labelled, bootstraps: int, seed: int) -> Evaluation:
    """Return scores of a model on labelled recordings.

    Raises
    ------
    InputError : the model tells apart classes of no known task; see `data.assemble`.
    """
    tasks = [task for task in TASKS if classes_of(task) == model.classes]
    if not tasks:
        raise InputError(
            f"{model.folder}: its classes {', '.join(model.classes)} are those of no task; expected for instance good, mua, noise."
        )
    found, notices = recordings.read_all(config)
    units = assemble(found, config, tasks[0], keep_names(model, found), "remove")
    answer = predict_one(model, units.metrics, "inputs", False)
    for notice in [*model.notices, *notices, *units.notices, *answer["notices"]]:
        log.warning("%s", notice)
    warn_of_training_units(model, units)
    scores = evaluate.score(
        units.y,
        answer["p"],
        answer["calibrated"],
        units.groups,
        units.classes,
        threshold=model.threshold,
        bootstraps=bootstraps,
        seed=seed,
    )
    return Evaluation(units, answer["p"], answer["calibrated"], model.threshold, scores)


def keep_names(model: Model, found: Sequence[Recording]) -> list[str]:
    """Return the model's metrics that all recordings have, in today's spelling."""
    names = [RENAMED[n][0] if n in RENAMED else n for n in model.metric_names]
    return [n for n in names if all(n in r.table.columns for r in found)]


def warn_of_training_units(model: Model, units: Units) -> None:
    """Warn when units to be scored are units the model was trained on: their score says nothing."""
    path = model.folder / "training_data.csv"
    if not path.is_file():
        return
    known = pd.read_csv(path, index_col=0)
    shared = [c for c in units.metrics.columns if c in known.columns]
    both = pd.concat([known[shared].astype("float32"), units.metrics[shared]], ignore_index=True)
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
    }


def prediction_results(table: pd.DataFrame) -> dict[str, Any]:
    """Return the documented numbers of predict."""
    counts = table["predicted_quality"].value_counts().sort_index()
    return {
        "n_units": len(table),
        "counts": {str(k): int(n) for k, n in counts.items()},
        "n_abstained": int(table["abstained"].sum()),
    }


def compare(config: CompareConfig) -> pd.DataFrame:
    """Return scores of several models on the same units, the best first; all must tell apart the same classes."""
    loaded = [load_model.load(path, max_memory=config.max_memory) for path in config.models]
    if len({model.classes for model in loaded}) > 1:
        shown = "; ".join(f"{m.folder}: {', '.join(m.classes)}" for m in loaded)
        raise InputError(f"--models: they tell apart different classes ({shown}); compare models of one task.")
    rows = []
    for model in loaded:
        scores = evaluate_model(model, config, config.bootstraps, config.seed).scores
        row = {"model": str(model.folder), **{name: scores.values[name] for name in evaluate.SCORES}}
        rows.append(row | {"low": scores.low["balanced_accuracy"], "high": scores.high["balanced_accuracy"]})
    return pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable")
