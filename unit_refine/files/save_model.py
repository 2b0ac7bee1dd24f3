"""What lies in a model folder? The files that SpikeInterface and UnitRefine read, the model card, and ours; see also `load_model`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hdf5io

from ..config import TrainConfig
from ..units.metrics import QUALITY_METRICS, TEMPLATE_METRICS
from .model_info import info_digest

PROBE_ROWS = 20


@contextlib.contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Yield a folder beside ``target`` that gets its name only when the block ends well; else it is removed."""
    target = target.resolve()  # what a link leads to, else the link itself would be in the way
    made = [p for p in [target.parent, *target.parent.parents] if not p.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o777 & ~umask)
        if target.is_dir():
            target.rmdir()  # empty, or the name is taken
        os.replace(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def write_model(folder: Path, config: TrainConfig, outcome: Any, results: Mapping[str, Any]) -> None:
    """Write the files of a model folder, except figures and report.

    Parameters
    ----------
    outcome : a ``score.outcome.Outcome``; results : its documented numbers.
    """
    units = outcome.units
    dump(outcome.trained.pipeline, folder / "best_model.skops")
    hdf5io.write_json(folder / "model_info.json", model_info(config, outcome, results))
    probe = probe_set(outcome.trained.pipeline, units.metrics)
    probe |= {"classes": list(units.classes), "info_sha256": info_digest(folder)}
    hdf5io.write_json(folder / "probe_set.json", probe)
    accuracies(outcome).to_csv(folder / "model_accuracies.csv", float_format="%.4f")
    units.metrics.assign(unit_id=units.unit_ids).set_index("unit_id").to_csv(folder / "training_data.csv")
    pd.DataFrame({"unit_index": np.arange(len(units.y)), "0": units.y}).to_csv(folder / "labels.csv", index=False)
    held_out_table(outcome).to_csv(folder / "held_out_predictions.csv", index=False, float_format="%.6g")
    hdf5io.write_json(folder / "permutation_importance.json", outcome.importance)
    hdf5io.write_json(folder / "training_reference.json", outcome.reference)
    (folder / "README.md").write_text(model_card(config, outcome, results), encoding="utf-8")


def model_info(config: TrainConfig, outcome: Any, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of model_info.json: the keys of SpikeInterface, then ours."""
    names = list(outcome.units.metrics.columns)
    params = dict(outcome.units.params)
    for key, known in (("quality_metric_params", QUALITY_METRICS), ("template_metric_params", TEMPLATE_METRICS)):
        params.setdefault(key, {"metric_names": [n for n in names if n in known]})
    requirements = {name: importlib.metadata.version(name) for name in ("scikit-learn", "skops", "numpy")}
    try:
        requirements["spikeinterface"] = importlib.metadata.version("spikeinterface")
    except importlib.metadata.PackageNotFoundError:
        requirements["spikeinterface"] = "0.104.0"  # the first with these metric names
    digest = hashlib.sha256(
        np.ascontiguousarray(outcome.units.metrics.to_numpy()).tobytes() + outcome.units.y.tobytes()
    )
    return {
        "metric_params": params,
        "requirements": requirements,
        "metrics_release": list(outcome.units.release),
        "label_conversion": {str(i): name for i, name in enumerate(outcome.units.classes)},
        "task": config.task,
        "scores": results,
        "thresholds": {"class_1": outcome.trained.threshold},
        "calibration": {key: value.tolist() for key, value in outcome.sigmoid._asdict().items()},
        "seed": config.seed,
        "groups": sorted(set(outcome.units.groups.tolist())),
        "data_sha256": digest.hexdigest(),
        "setting": outcome.trained.setting._asdict(),
    }


def accuracies(outcome: Any) -> pd.DataFrame:
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


def held_out_table(outcome: Any) -> pd.DataFrame:
    """Return the held-out prediction of every training unit, the source of all figures."""
    units, p = outcome.units, outcome.trained.held_out.p
    table = pd.DataFrame(
        {"unit_id": units.unit_ids, "recording": units.groups, "label": np.array(units.classes)[units.y]}
    )
    if units.weight is not None:
        table["weight"] = units.weight
    for i, name in enumerate(units.classes):
        table[f"p_{name}"], table[f"calibrated_{name}"] = p[:, i], outcome.calibrated[:, i]
    return table


def dump(pipeline: Any, path: Path) -> None:
    """Write a pipeline as a compressed skops file."""
    from skops import io as skops_io

    with hdf5io.atomic(path) as part:
        skops_io.dump(pipeline, part)
        hdf5io.rezip(part, without_addresses, zipfile.ZIP_DEFLATED)


def without_addresses(members: dict[str, bytes]) -> dict[str, bytes]:
    """Return the members of a skops archive named by their order: skops calls objects and arrays by their addresses in memory."""
    schema, numbers = hdf5io.numbered(members.pop("schema.json").decode(), r'("__id__": |"file": ")([\w-]+)')
    named = {numbers[(stem := name.partition("."))[0]] + "." + stem[2]: content for name, content in members.items()}
    return named | {"schema.json": schema.encode()}


def probe_set(pipeline: Any, metrics: pd.DataFrame) -> dict[str, Any]:
    """Return rows spread over the training units, and what the model says about them today."""
    rows = metrics.iloc[np.linspace(0, len(metrics) - 1, min(PROBE_ROWS, len(metrics))).astype(int)]
    values = [[None if np.isnan(v) else float(v) for v in row] for row in rows.to_numpy()]
    return {
        "columns": list(map(str, rows.columns)),
        "rows": values,
        "probabilities": pipeline.predict_proba(rows).tolist(),
    }


def model_card(config: TrainConfig, outcome: Any, r: Mapping[str, Any]) -> str:
    """Return the text of the model folder's README."""
    units = outcome.units
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
