"""What does training consist of, from labelled units to a model folder?

The command line and `train_model` both call these functions.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import hdf5io
from hdf5io import InputError

from . import analyzers, calibration, data, evaluate, storage
from . import model as models
from . import train as training
from .config import TrainConfig
from .metrics import QUALITY_METRICS, TEMPLATE_METRICS

log = logging.getLogger(__package__)

MIN_UNITS, MIN_CLASS, GOOD_CLASS = 50, 6, 100


class Outcome(NamedTuple):
    """A trained model with everything that is known about it."""

    units: data.Units
    trained: training.Trained
    scores: evaluate.Scores  #: on held-out recordings
    animal_scores: evaluate.Scores | None  #: on held-out animals
    sigmoid: calibration.Sigmoid
    calibrated: np.ndarray  #: (n, K) cross-fitted calibrated held-out probabilities
    curve: list[dict[str, float]]  #: abstention curve
    importance: list[dict[str, Any]]


def load_units(config: TrainConfig) -> data.Units:
    """Return the labelled units of a training run; log every notice; refuse too few of them."""
    recordings, notices = data.read_all(config)
    units = data.assemble(recordings, config, config.task, config.metric_names, config.duplicates)
    for notice in notices + units.notices:
        log.warning("%s", notice)
    check_size(units, config.allow_small)
    return units


def check_size(units: data.Units, allow_small: bool) -> None:
    """Refuse, or with ``allow_small`` warn of, fewer units than a classifier can learn from."""
    counts = np.bincount(units.y, minlength=len(units.classes))
    shown = ", ".join(f"{n} {name}" for name, n in zip(units.classes, counts))
    if len(units.y) <= MIN_UNITS or counts.min() < MIN_CLASS:
        text = f"{len(units.y)} labelled units ({shown}): more than {MIN_UNITS} in all and {MIN_CLASS} of each class are needed"
        if not allow_small or counts.min() < 2:
            raise InputError(f"{text}. Label more units, or go on with --allow-small (at least 2 of each class).")
        log.warning("%s; going on because of --allow-small", text)
    elif counts.min() < GOOD_CLASS:
        log.warning("%s: below %d units of a class the scores are uncertain", shown, GOOD_CLASS)


def run_training(config: TrainConfig, units: data.Units) -> Outcome:
    """Return the trained model with its held-out scores; a pure function of the units and the config."""
    candidates = list(
        models.settings(
            config.classifiers, config.imputation_strategies, config.scaling_techniques, config.search_iterations
        )
    )
    n_groups = len(np.unique(units.groups))
    if n_groups == 1:
        log.warning(
            "one recording only: units are held out singly, so the scores tell about this recording, not about new ones (these will be lower)"
        )
    log.info(
        "%d settings, %d units, %d metrics, %d recordings",
        len(candidates),
        len(units.y),
        units.metrics.shape[1],
        n_groups,
    )
    found = training.train(candidates, units.metrics, units.y, units.groups, config.cv_folds, config.seed, config.jobs)
    seen = np.isfinite(found.held_out.p[:, 0])
    if not seen.all():
        log.warning("%d units of recordings without which a class is empty have no held-out score", int((~seen).sum()))
    if len(np.unique(units.y[seen])) < len(units.classes):
        raise InputError(
            f"labels: no class may stand in one {config.group_by} only; label a second recording, or use another --group-by."
        )
    p, y, groups = found.held_out.p[seen], units.y[seen], units.groups[seen]
    blocks = groups if n_groups > 1 else np.arange(len(y)) % 5
    calibrated = np.full_like(found.held_out.p, np.nan)
    calibrated[seen] = calibration.cross_fit(p, y, blocks)
    options: dict[str, Any] = {"threshold": found.threshold, "bootstraps": config.bootstraps, "seed": config.seed}
    scores = evaluate.score(y, p, calibrated[seen], groups, units.classes, **options)
    return Outcome(
        units, found, scores, score_animals(config, candidates, units, options), calibration.fit_sigmoid(p, y), calibrated,
        evaluate.abstention_curve(y, p, found.threshold, groups),
        evaluate.permutation_importance(found.held_out, units.metrics, units.y, config.seed),
    )  # fmt: skip


def score_animals(config: TrainConfig, candidates: list, units: data.Units, options: dict) -> evaluate.Scores | None:
    """Return scores with whole animals held out, where animals are known and there are at least two."""
    if units.animals is None or len(np.unique(units.animals)) < 2:
        return None
    log.info("holding out whole animals")
    held = training.hold_out(
        candidates, units.metrics, units.y, units.animals, config.cv_folds, config.seed, config.jobs
    )
    seen = np.isfinite(held.p[:, 0])
    p, y, groups = held.p[seen], units.y[seen], units.animals[seen]
    return evaluate.score(y, p, calibration.cross_fit(p, y, groups), groups, units.classes, **options)


def training_results(outcome: Outcome) -> dict[str, Any]:
    """Return the documented numbers of a training run."""
    scores, results = outcome.scores, dict[str, Any]()
    for name in evaluate.SCORES:
        results |= {name: scores.values[name], f"{name}_low": scores.low[name], f"{name}_high": scores.high[name]}
    y, seen = outcome.units.y, np.isfinite(outcome.calibrated[:, 0])
    results |= {
        "per_class": {
            c: {s: scores.values[f"{s}_{c}"] for s in ("precision", "recall")} for c in outcome.units.classes
        },
        "ece_balanced": evaluate.balanced_calibration_error(outcome.calibrated[seen], y[seen]),
        "interval_over": scores.resampled,
        "new_recording_low": scores.new_recording[0],
        "new_recording_high": scores.new_recording[1],
        "balanced_accuracy_animals": outcome.animal_scores.values["balanced_accuracy"]
        if outcome.animal_scores
        else None,
        "by_animal": outcome.animal_scores.by_group if outcome.animal_scores else None,
        "n_units": len(y),
        "n_duplicates": outcome.units.n_duplicates,
        "counts": dict(zip(outcome.units.classes, np.bincount(y).tolist())),
        "n_recordings": len(np.unique(outcome.units.groups)),
        "classifier": outcome.trained.setting.classifier,
        "threshold": outcome.trained.threshold,
        "threshold_gain": outcome.trained.threshold_gain,
        "abstention": outcome.curve,
        "by_group": scores.by_group,
    }
    return results


def model_info(config: TrainConfig, outcome: Outcome) -> dict[str, Any]:
    """Return the content of model_info.json: the keys of SpikeInterface, then ours."""
    names = list(outcome.units.metrics.columns)
    params = dict(outcome.units.params)
    for key, known in (("quality_metric_params", QUALITY_METRICS), ("template_metric_params", TEMPLATE_METRICS)):
        params.setdefault(key, {"metric_names": [n for n in names if n in known]})
    requirements = {name: importlib.metadata.version(name) for name in ("scikit-learn", "skops", "numpy")}
    try:
        requirements["spikeinterface"] = importlib.metadata.version("spikeinterface")
    except importlib.metadata.PackageNotFoundError:
        requirements["spikeinterface"] = "0.103.2"  # the first with these metric names
    digest = hashlib.sha256(
        np.ascontiguousarray(outcome.units.metrics.to_numpy()).tobytes() + outcome.units.y.tobytes()
    )
    return {
        "metric_params": params,
        "requirements": requirements,
        "label_conversion": {str(i): name for i, name in enumerate(outcome.units.classes)},
        "task": config.task,
        "scores": training_results(outcome),
        "thresholds": {"class_1": outcome.trained.threshold},
        "calibration": {key: value.tolist() for key, value in outcome.sigmoid._asdict().items()},
        "seed": config.seed,
        "groups": sorted(set(outcome.units.groups.tolist())),
        "data_sha256": digest.hexdigest(),
        "setting": outcome.trained.setting._asdict(),
    }


def accuracies(outcome: Outcome) -> pd.DataFrame:
    """Return the table of tried settings in SpikeInterface's columns; one setting alone carries its held-out score."""
    setting, values = outcome.trained.setting, outcome.scores.values
    rows = outcome.trained.table or [
        {"setting": setting, "model_id": 0, **{n: values[n] for n in ("balanced_accuracy", "precision", "recall")}}
    ]
    table = pd.DataFrame(
        {
            "classifier name": row["setting"].classifier, "imputation_strategy": row["setting"].imputation,
            "scaling_strategy": row["setting"].scaling, "balanced_accuracy": row["balanced_accuracy"], "precision": row["precision"],
            "recall": row["recall"], "model_id": row["model_id"], "best_params": json.dumps(row["setting"].params),
        }
        for row in rows
    )  # fmt: skip
    return table.sort_values("balanced_accuracy", ascending=False, kind="stable")


def held_out_table(outcome: Outcome) -> pd.DataFrame:
    """Return the held-out prediction of every training unit, the source of all figures."""
    units, p = outcome.units, outcome.trained.held_out.p
    table = pd.DataFrame(
        {"unit_id": units.unit_ids, "recording": units.groups, "label": np.array(units.classes)[units.y]}
    )
    for i, name in enumerate(units.classes):
        table[f"p_{name}"], table[f"calibrated_{name}"] = p[:, i], outcome.calibrated[:, i]
    return table


class Staging:
    """A folder that appears under its name only when it is complete."""

    def __init__(self, target: Path, overwrite: bool):
        self.target, self.overwrite = Path(target), overwrite
        if not overwrite or not (self.target / hdf5io.MARKER).is_file():
            hdf5io.claim(self.target, overwrite)

    def __enter__(self) -> Path:
        self.made = [p for p in [self.target.parent, *self.target.parent.parents] if not p.exists()]
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.part = Path(tempfile.mkdtemp(prefix=f".{self.target.name}.", suffix=".part", dir=self.target.parent))
        return self.part

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            hdf5io.claim(self.target, self.overwrite)
            if self.target.exists():
                self.target.rmdir()
            umask = os.umask(0)
            os.umask(umask)
            self.part.chmod(0o777 & ~umask)
            os.replace(self.part, self.target)
            return
        shutil.rmtree(self.part, ignore_errors=True)
        for parent in self.made:
            parent.rmdir()


def nothing() -> contextlib.nullcontext:
    """Return a context in which nothing is written."""
    return contextlib.nullcontext()


def counts_of(units: data.Units) -> dict[str, Any]:
    """Return how many units and recordings a training run would use."""
    counts = dict(zip(units.classes, np.bincount(units.y, minlength=len(units.classes)).tolist()))
    return {
        "n_units": len(units.y), "counts": counts, "n_metrics": units.metrics.shape[1],
        "n_recordings": len(np.unique(units.groups)), "n_duplicates": units.n_duplicates,
    }  # fmt: skip


def describe(units: data.Units) -> str:
    """Return the same in words."""
    c = counts_of(units)
    return f"{c['n_units']} units ({', '.join(f'{n} {k}' for k, n in c['counts'].items())}) of {c['n_recordings']} recordings, {c['n_metrics']} metrics"


def write_model(folder: Path, config: TrainConfig, outcome: Outcome) -> None:
    """Write the files of a model folder, except figures and report."""
    units = outcome.units
    storage.dump(outcome.trained.pipeline, folder / "best_model.skops")
    write_json(folder / "model_info.json", model_info(config, outcome))
    write_json(folder / "probe_set.json", storage.probe_set(outcome.trained.pipeline, units.metrics))
    accuracies(outcome).to_csv(folder / "model_accuracies.csv", float_format="%.4f")
    units.metrics.assign(unit_id=units.unit_ids).set_index("unit_id").to_csv(folder / "training_data.csv")
    pd.DataFrame({"unit_index": np.arange(len(units.y)), "0": units.y}).to_csv(folder / "labels.csv", index=False)
    held_out_table(outcome).to_csv(folder / "held_out_predictions.csv", index=False, float_format="%.6g")
    write_json(folder / "permutation_importance.json", outcome.importance)
    (folder / "README.md").write_text(model_card(config, outcome), encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON; numbers that are none become null."""
    from .console import plain

    path.write_text(json.dumps(plain(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def model_card(config: TrainConfig, outcome: Outcome) -> str:
    """Return the text of the model folder's README."""
    r, units = training_results(outcome), outcome.units
    counts = ", ".join(f"{n} {name}" for name, n in r["counts"].items())
    interval = f"{r['balanced_accuracy_low']:.3f} to {r['balanced_accuracy_high']:.3f}"
    rows = "\n".join(f"| {g['group']} | {g['n_units']} | {g['balanced_accuracy']:.3f} |" for g in r["by_group"])
    new = "" if not np.isfinite(r["new_recording_low"]) else (
        f" One further recording of this kind: {r['new_recording_low']:.2f} to {r['new_recording_high']:.2f}."
    )  # fmt: skip
    animals = (
        "" if r["balanced_accuracy_animals"] is None else f" Held-out animals: {r['balanced_accuracy_animals']:.3f}."
    )
    metric_list = ", ".join(units.metrics.columns)
    return f"""# Unit classifier: {config.task}

Tells apart {", ".join(units.classes)}. Classifier: {r["classifier"]}. Trained on {r["n_units"]} units ({counts}) of
{r["n_recordings"]} recordings, seed {config.seed}.

Balanced accuracy on recordings that took no part in training: **{r["balanced_accuracy"]:.3f}** (95 % over {r["interval_over"]}: {interval}).{new}{animals}
Precision {r["precision"]:.3f}, recall {r["recall"]:.3f}, ROC AUC {r["roc_auc"]:.3f}, calibration error {r["ece"]:.3f}
({r["ece_balanced"]:.3f} where all classes are equally frequent).

| recording | units | balanced accuracy |
|---|---|---|
{rows}

Do not believe it for recordings unlike these: another probe, brain region, sorter or curator. Score some labelled units first
(`unit-refine evaluate`). The calibrated probabilities hold for the class shares of the training recordings.

Metrics: {metric_list}.
"""


def train_model(
    mode: str = "analyzers",
    labels: Sequence[Any] | None = None,
    analyzers: Sequence[Any] | None = None,
    metrics_paths: Sequence[str | Path] | None = None,
    folder: str | Path | None = None,
    metric_names: Sequence[str] | None = None,
    imputation_strategies: Sequence[str] | None = None,
    scaling_techniques: Sequence[str] | None = None,
    classifiers: Sequence[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    task: str | None = None,
    **options: Any,
) -> Outcome:
    """Train a curation model from Python and write its folder.

    Parameters
    ----------
    mode : "csv" or "analyzers".
    labels : one sequence of labels for each recording, in the order of its units, or one mapping ``{unit id: label}``; labels are
        good, mua, noise (or aliases), or 0 and 1 for a two-class task.
    analyzers : SortingAnalyzers, with ``mode="analyzers"``.
    metrics_paths : metrics tables, with ``mode="csv"``.
    folder : model folder to make.
    metric_names, imputation_strategies, scaling_techniques, classifiers : see ``unit-refine train``; None: the defaults there.
    task : see ``unit-refine train``; None: three classes, or what two classes of labels suggest.
    options : further fields of ``unit_refine.config.TrainConfig``.

    Returns
    -------
    Outcome : fitted pipeline (``.trained.pipeline``) and scores on held-out recordings (``.scores``).

    Raises
    ------
    InputError : see ``unit-refine train``.

    Examples
    --------
    >>> from unit_refine import train_model
    >>> train_model(mode="csv", labels=[y], metrics_paths=["quality_metrics.csv"], folder="model")  # doctest: +SKIP
    """
    from . import reports

    sources = list((metrics_paths if mode == "csv" else analyzers if mode == "analyzers" else None) or [])
    if not sources:
        raise InputError(
            f"train_model: mode is '{mode}'; expected 'csv' with metrics_paths=[...] or 'analyzers' with analyzers=[...]."
        )
    if labels is None or folder is None or len(labels) != len(sources):
        raise InputError(
            "train_model: give folder=, and labels= with one sequence or mapping of labels for each recording."
        )
    places = [Path(p) if mode == "csv" else Path(f"analyzer_{i}") for i, p in enumerate(sources)]
    given = {
        "metric_names": metric_names, "imputation_strategies": imputation_strategies, "scaling_techniques": scaling_techniques,
        "classifiers": classifiers,
    }  # fmt: skip
    chosen: dict[str, Any] = {k: list(v) for k, v in given.items() if v is not None} | options
    chosen |= {
        "inputs": places,
        "task": task or guess_task(labels),
        "output": Path(folder),
        "overwrite": overwrite,
        "seed": seed,
    }
    config = TrainConfig(**chosen)
    recordings = [with_labels(read_source(s, p, config), own) for s, p, own in zip(sources, places, labels)]
    with Staging(config.output, config.overwrite) as part:
        units = data.assemble(data.name_apart(recordings), config, config.task, config.metric_names, config.duplicates)
        for notice in units.notices:
            log.warning("%s", notice)
        check_size(units, config.allow_small)
        outcome = run_training(config, units)
        write_model(part, config, outcome)
        reports.training(
            part, outcome, [], hdf5io.provenance("unit_refine.train_model", config.model_dump(mode="json"), seed)
        )
        write_json(part / hdf5io.MARKER, training_results(outcome))
    return outcome


def read_source(source: Any, place: Path, config: TrainConfig) -> data.Recording:
    """Return the recording of a CSV path or of a SortingAnalyzer in memory."""
    if isinstance(source, (str, Path)):
        return data.read_recording(Path(source), config)
    ids, table, _, params = analyzers.from_analyzer(source, str(place), config.compute_missing)
    return data.Recording(place.name, place, ids, data.to_new_names(table), None, params)


def with_labels(recording: data.Recording, labels: Any) -> data.Recording:
    """Return the recording with labels given from Python: by unit id, or in the order of the units."""
    if hasattr(labels, "items"):
        joined, _ = data.join(recording, {data.id_text(k): v for k, v in labels.items()}, Path("labels"))
        return joined
    labels = list(labels)
    if len(labels) != len(recording.unit_ids):
        raise InputError(
            f"labels: {len(labels)} labels for the {len(recording.unit_ids)} units of {recording.source}. Give a mapping by unit id."
        )
    return recording._replace(labels=labels)


def guess_task(labels: Sequence[Any]) -> str:
    """Return the task that the labels allow: three classes, or the two-class task of the labels there are."""
    from .labels import MEANING, tidy

    found = {
        MEANING.get(tidy(v), tidy(v))
        for own in labels
        for v in (own.values() if hasattr(own, "values") and callable(own.values) else own)
    } - {""}
    if found <= {"good", "mua"}:
        return "sua_vs_mua"
    return "three_class" if {"good", "mua", "noise"} <= found else "noise_vs_neural"
