"""What does a model say about units it has not seen, and does it apply to them?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..config import PredictConfig
from ..files import load_model, model_info, recordings
from ..files.load_model import Model
from ..model import calibration, decisions
from ..units.assemble import Recording
from ..units.labels import TASKS, classes_of
from . import applies
from .beside import ask_all, into_predictions
from .labellers import check

log = logging.getLogger(__package__)

#: Metrics that a unit has however little is known of it.
COUNTS = ("num_spikes", "firing_rate")


def check_models(model: Model, second: Model | None, prior_correction: bool) -> None:
    """Refuse two models that are no cascade, and probabilities that cannot be adapted, before units are read.

    Raises
    ------
    InputError : which models, and what is expected of them.
    """
    if second is not None and (
        "noise" not in model.classes or "noise" in second.classes or len(model.classes) != 2 or len(second.classes) < 2
    ):
        raise InputError(
            f"--cascade: expected a noise_vs_neural model, then a sua_vs_mua model; they tell apart {model.classes} and {second.classes}."
        )
    for one in (model, second):
        if prior_correction and one is not None and one.sigmoid is None:
            raise InputError(f"{one.folder}: --prior-correction needs a calibrated model; this one has no calibration.")


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
    noise = model.classes.index("noise")
    inner = predict_one(second, table, where, prior_correction)
    classes = ("noise", *second.classes)
    for key in ("p", "calibrated"):
        answer[key] = np.column_stack([answer[key][:, noise], answer[key][:, 1 - noise, None] * inner[key]])
    is_noise = answer["guess"] == noise
    answer["guess"] = np.where(is_noise, 0, 1 + inner["guess"])
    answer["distance"] = np.where(is_noise, answer["distance"], np.minimum(answer["distance"], inner["distance"]))
    answer["classes"], answer["notices"] = classes, list(dict.fromkeys(answer["notices"] + inner["notices"]))
    answer["odd"] = list(dict.fromkeys(answer["odd"] + inner["odd"]))
    return answer


def predict_one(model: Model, table: pd.DataFrame, where: str, prior_correction: bool) -> dict[str, Any]:
    """Return what one model says of every unit, what is odd about the recording, and which units have nothing to judge by."""
    checked = load_model.match(model, table, where)
    p = load_model.predict_proba(model, checked.metrics)
    calibrated = p if model.sigmoid is None else calibration.apply_sigmoid(model.sigmoid, p)
    notices, known = list(checked.notices), reference_of(model)
    if checked.absent:
        notices.append(f"{where}: missing metrics filled in by the model's imputer: {', '.join(checked.absent)}")
    odd = applies.findings(checked.metrics, known)
    notices += [
        f"{where}: {f.metric} does not look like the training recordings': {f.why}"
        for f in odd
        if f.metric not in checked.absent
    ]
    shares = np.full(len(model.classes), np.nan)
    if model.sigmoid is not None:
        corrected, shares = calibration.correct_prior(calibrated, model.sigmoid.prior)
        calibrated = corrected if prior_correction else calibrated
    if prior_correction:
        told = ", ".join(f"{c} {s:.2f}" for c, s in zip(model.classes, shares))
        notices.append(f"{where}: class shares estimated by EM: {told}")
    return {
        "classes": model.classes, "p": p, "calibrated": calibrated, "guess": decisions.decide(p, model.threshold),
        "distance": decisions.distance(p, model.threshold), "notices": notices, "odd": odd,
        "shares": dict(zip(model.classes, shares.tolist())), "novelty": applies.novelty(checked.metrics, known),
        "empty": without_metrics(checked.metrics),
    }  # fmt: skip


def reference_of(model: Model) -> Mapping[str, Any]:
    """Return what the training recordings of a model looked like; nothing where its folder does not say."""
    known = model_info.read_reference(model.folder)
    if known:
        return known
    units = load_model.read_training_data(model)
    if units is None:
        return {"metrics": {}, "correlation": {}}
    return applies.reference(units, np.zeros(len(units), dtype=int))


def without_metrics(metrics: pd.DataFrame) -> np.ndarray:
    """Return which units have no metric but counts of spikes: an empty unit, or one that nothing was computed for."""
    telling = [c for c in metrics.columns if c not in COUNTS]
    return (metrics[telling or list(metrics.columns)].isna().all(axis=1)).to_numpy()


def prediction_table(
    answer: Mapping[str, Any], recording: Recording, abstain: float = 0.0, min_confidence: float = 0.0
) -> pd.DataFrame:
    """Return the table that predict writes for one recording."""
    p, guess, empty = answer["p"], answer["guess"], answer["empty"]
    confidence = p[np.arange(len(p)), guess]
    ranked = np.zeros(len(p), dtype=bool)
    for k in np.unique(guess):
        members = np.flatnonzero((guess == k) & ~empty)
        order = members[np.argsort(answer["distance"][members], kind="stable")]
        ranked[order[: int(np.floor(abstain * len(members)))]] = True
    unsure = confidence < min_confidence
    reasons = [
        (empty, "no metrics"),
        (unsure, f"confidence below {min_confidence:g}"),
        (ranked, f"among the least confident {abstain:.0%} of its class"),
    ]
    columns: dict[str, Any] = {
        "unit_id": recording.unit_ids,
        "predicted_quality": np.array(answer["classes"])[guess],
        "prediction_confidence": confidence,
    }
    columns |= {f"p_{c}": p[:, i] for i, c in enumerate(answer["classes"])}
    columns |= {f"calibrated_{c}": answer["calibrated"][:, i] for i, c in enumerate(answer["classes"])}
    why = np.select([mask for mask, _ in reasons], [text for _, text in reasons], default="")
    columns |= {"abstained": ranked | unsure | empty, "why": why, "novelty": answer["novelty"]}
    return pd.DataFrame(columns | {"recording": recording.name, "id_of": recording.id_of})


class Predictions(NamedTuple):
    """What predict says of all inputs."""

    table: pd.DataFrame
    applies: list[dict[str, Any]]  #: for each recording: odd metrics, estimated class shares


def predict_inputs(config: PredictConfig) -> Predictions:
    """Return predictions of all inputs, one recording after the other."""
    model = load_model.load(config.model, config.class_names, config.max_memory)
    second = None if config.cascade is None else load_model.load(config.cascade, max_memory=config.max_memory)
    check_models(model, second, config.prior_correction)
    check(config.labellers)
    tables, report = [], []
    for notice in {*model.notices, *(second.notices if second else [])}:
        log.warning("%s", notice)
    found = recordings.read_unlabelled(config, config.inputs)
    load_model.tell_releases(model, found)
    others = dict(zip(config.labellers, ask_all(config.labellers, found)))
    for recording in found:
        answer = predict(model, recording.table, str(recording.source), second, config.prior_correction)
        for notice in answer["notices"]:
            log.warning("%s", notice)
        if answer["empty"].any():
            log.warning("%s: %d units have no metrics, left to a person", recording.source, int(answer["empty"].sum()))
        tables.append(prediction_table(answer, recording, config.abstain, config.min_confidence))
        odd = [finding._asdict() for finding in answer["odd"]]
        report.append({"recording": recording.name, "odd_metrics": odd, "class_shares": answer["shares"]})
    whole = pd.concat(tables, ignore_index=True)
    return Predictions(into_predictions(whole, answer["classes"], others, task_in_order(answer["classes"])), report)


def task_in_order(classes: Sequence[str]) -> str | None:
    """Return the task whose class names these are, in whatever order; None for other names."""
    return next((task for task in TASKS if sorted(classes_of(task)) == sorted(classes)), None)


def prediction_results(found: Predictions) -> dict[str, Any]:
    """Return the documented numbers of predict."""
    counts = found.table["predicted_quality"].value_counts().sort_index()
    return {
        "n_units": len(found.table),
        "counts": {str(k): int(n) for k, n in counts.items()},
        "n_abstained": int(found.table["abstained"].sum()),
        "n_without_metrics": int((found.table["why"] == "no metrics").sum()),
        "applies": found.applies,
    }
