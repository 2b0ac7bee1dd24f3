"""What does a model say about units it has not seen, and how often is it right?

Predict, evaluate, compare, suggest and convert, between files and files.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import hdf5io
from hdf5io import InputError

from . import calibration, data, evaluate, storage
from . import model as models
from .config import CompareConfig, ConvertMetricsConfig, Labelled, PredictConfig, SuggestConfig
from .labels import TASKS, classes_of
from .metrics import KNOWN, RENAMED, match_model, numeric, to_old_names

log = logging.getLogger(__package__)


def predict(
    model: storage.Model,
    table: pd.DataFrame,
    where: str,
    second: storage.Model | None = None,
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


def predict_one(model: storage.Model, table: pd.DataFrame, where: str, prior_correction: bool) -> dict[str, Any]:
    checked = match_model(table, model.metric_names, where)
    p = storage.predict_proba(model, checked.metrics)
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
        "classes": model.classes, "p": p, "calibrated": calibrated, "guess": models.decide(p, model.threshold),
        "distance": models.distance(p, model.threshold), "notices": notices,
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
    data.check_memory(config)
    model = storage.load(config.model)
    second = None if config.cascade is None else storage.load(config.cascade)
    tables = []
    for notice in {*model.notices, *(second.notices if second else [])}:
        log.warning("%s", notice)
    for recording in data.name_apart([data.read_recording(path, config) for path in config.inputs]):
        answer = predict(model, recording.table, str(recording.source), second, config.prior_correction)
        for notice in answer["notices"]:
            log.warning("%s", notice)
        tables.append(
            prediction_table(answer, recording.unit_ids, recording.name, config.abstain, config.min_confidence)
        )
    return pd.concat(tables, ignore_index=True)


class Evaluation(NamedTuple):
    """A model's scores on labelled units that it has not seen."""

    units: data.Units
    p: np.ndarray
    calibrated: np.ndarray
    threshold: float
    scores: evaluate.Scores


def evaluate_model(model: storage.Model, config: Labelled, bootstraps: int, seed: int) -> Evaluation:
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
    recordings, notices = data.read_all(config)
    units = data.assemble(recordings, config, tasks[0], keep_names(model, recordings), "remove")
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


def keep_names(model: storage.Model, recordings: Sequence[data.Recording]) -> list[str]:
    """Return the model's metrics that all recordings have, in today's spelling."""
    names = [RENAMED[n][0] if n in RENAMED else n for n in model.metric_names]
    return [n for n in names if all(n in r.table.columns for r in recordings)]


def warn_of_training_units(model: storage.Model, units: data.Units) -> None:
    """Warn when units to be scored are units the model was trained on: their score says nothing."""
    path = model.folder / "training_data.csv"
    if not path.is_file():
        return
    known = pd.read_csv(path, index_col=0)
    shared = [c for c in units.metrics.columns if c in known.columns]
    both = pd.concat([known[shared].astype(float), units.metrics[shared]], ignore_index=True).round(6)
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


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, atomically."""
    with hdf5io.atomic(path) as part:
        table.to_csv(part, index=False, float_format="%.9g")


def read_table(path: Path) -> pd.DataFrame:
    """Return a table that `predict` wrote, unit ids as text.

    Raises
    ------
    InputError : absent, another kind of table, or units of several recordings in one table.
    """
    data.read_table(path)  # says in one line what is wrong with the file
    table = pd.read_csv(path, dtype={"unit_id": str, "why": str, "recording": str})
    needed = ["unit_id", "predicted_quality", "prediction_confidence", "abstained"]
    absent = [name for name in needed if name not in table.columns]
    if absent:
        raise InputError(f"{path}: no column '{absent[0]}'; expected a table made by unit-refine predict.")
    if "recording" in table.columns and table["recording"].nunique() > 1:
        raise InputError(
            f"{path}: units of {table['recording'].nunique()} recordings; predict one recording to export it."
        )
    return table


def compare(config: CompareConfig) -> pd.DataFrame:
    """Return scores of several models on the same units, the best first; all must tell apart the same classes."""
    loaded = [storage.load(path) for path in config.models]
    if len({model.classes for model in loaded}) > 1:
        shown = "; ".join(f"{m.folder}: {', '.join(m.classes)}" for m in loaded)
        raise InputError(f"--models: they tell apart different classes ({shown}); compare models of one task.")
    rows = []
    for model in loaded:
        scores = evaluate_model(model, config, config.bootstraps, config.seed).scores
        row = {"model": str(model.folder), **{name: scores.values[name] for name in evaluate.SCORES}}
        rows.append(row | {"low": scores.low["balanced_accuracy"], "high": scores.high["balanced_accuracy"]})
    return pd.DataFrame(rows).sort_values("balanced_accuracy", ascending=False, kind="stable")


def suggest(config: SuggestConfig) -> pd.DataFrame:
    """Return the units to label next: the model is unsure of them, and they are unlike each other.

    Greedy: each further unit has the largest product of uncertainty (1 - lead of the first class) and distance, in ranked
    metrics, to the units already suggested.
    """
    data.check_memory(config)
    model = storage.load(config.model)
    recordings = data.name_apart([data.read_recording(path, config) for path in config.inputs])
    parts, features = [], []
    for recording in recordings:
        answer = predict_one(model, recording.table, str(recording.source), False)
        parts.append(
            prediction_table(answer, recording.unit_ids, recording.name, 0.0, 0.0).assign(lead=models.lead(answer["p"]))
        )
        features.append(match_model(recording.table, model.metric_names, str(recording.source)).metrics)
    table = pd.concat(parts, ignore_index=True)
    ranks = pd.concat(features, ignore_index=True).rank(pct=True).fillna(0.5).to_numpy()
    chosen = spread_out(1 - table["lead"].to_numpy(), ranks, config.n)
    keep = [
        "unit_id",
        "recording",
        "predicted_quality",
        "prediction_confidence",
        *(c for c in table.columns if c.startswith("p_")),
    ]
    return table.iloc[chosen][keep]


def spread_out(uncertainty: np.ndarray, points: np.ndarray, n: int) -> list[int]:
    """Return rows with large uncertainty that are far from each other, most wanted first."""
    nearest = np.ones(len(points))
    chosen: list[int] = []
    for _ in range(min(n, len(points))):
        wanted = uncertainty * nearest
        wanted[chosen] = -1
        chosen.append(int(np.argmax(wanted)))
        gap = np.sqrt(np.mean((points - points[chosen[-1]]) ** 2, axis=1))
        nearest = gap if len(chosen) == 1 else np.minimum(nearest, gap)
    return chosen


def convert(config: ConvertMetricsConfig) -> pd.DataFrame:
    """Return the metrics of all inputs in one table, in the wanted spelling; other columns stay as they are."""
    data.check_memory(config)
    recordings = data.name_apart([data.read_recording(path, config) for path in config.inputs])
    parts = []
    for recording in recordings:
        known = [c for c in recording.table.columns if c in KNOWN]
        table = recording.table.assign(**{c: numeric(recording.table[known], str(recording.source))[c] for c in known})
        table.insert(0, "unit_id", recording.unit_ids)
        parts.append(table.assign(recording=recording.name) if len(recordings) > 1 else table)
    table = pd.concat(parts, ignore_index=True)
    return to_old_names(table) if config.spelling == "old" else table
