"""``info``: a model folder, or units and labels in any form that is read, in; what it is, and whether it is sound, out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdf5io.errors import InputError

from ..config import InfoConfig, Tables
from ..console import Result, Run
from ..files import recordings
from ..files.label_files import read_label_file
from ..files.tables import read_predictions, read_table
from ..units.labels import LABEL_COLUMNS
from ..units.metrics import KNOWN


def run(config: InfoConfig, run: Run) -> Result:
    """Say what it is and what is typed next."""
    found = described(config)
    return found._replace(results={**found.results, "next": next_commands(config.model, found.results)})


def next_commands(path: Path, found: Mapping[str, Any]) -> list[str]:
    """Return the command lines that one types next; words in capitals are the reader's (``neuropipes doctor`` prints them)."""
    data = shlex.quote(str(path))
    if found.get("label_columns"):
        return [f"unit-refine train {data} --label-column {found['label_columns'][0]} --output model"]
    if found.get("kind") == "units" and found["counts"]:
        return [f"unit-refine train {data} --output model"]
    return {
        "units": [
            f"unit-refine predict MODEL {data} --output predictions.csv",
            f"unit-refine train {data} --labels LABELS --output model",
        ],
        "labels": [f"unit-refine train METRICS --labels {data} --output model"],
        "predictions": [
            f"unit-refine export-phy {data} PHY_FOLDER",
            f"unit-refine export-curation {data} --output curation.json",
        ],
    }.get(found.get("kind", ""), [f"unit-refine predict {data} NEW_UNITS --output predictions.csv"])


def described(config: InfoConfig) -> Result:
    """Describe by what it is."""
    path = config.model
    if path.is_dir() and ((path / "model_info.json").exists() or any(path.glob("*.skops"))):
        return of_model(config)
    if config.class_names:
        raise InputError(f"--class-names: {path} is no model.")
    if path.is_file() and (path.suffix.lower() in (".json", ".tsv") or path.name == "cluster_groups.csv"):
        return of_labels(path)
    if path.is_file() and "predicted_quality" in read_table(path).columns:
        return of_predictions(path)
    return of_units(path)


def of_model(config: InfoConfig) -> Result:
    """Say what a model is, and whether it still answers as it did; exit 3 when it does not."""
    from ..files import load_model  # here, since it brings scikit-learn

    results = load_model.describe(config.model, config.class_names, config.max_memory)
    drift = results["probe_set_change"]
    if drift is None:
        probe = "no probe set"
    elif results["reproduces"]:
        probe = f"probe set reproduced (change {drift:.1e})"
    else:
        probe = f"probe set NOT reproduced: {', '.join(results['differs'])}"
    line = f"{config.model}: {' / '.join(results['classes'])}, {len(results['metric_names'])} metrics, only allowed types, {probe}"
    return Result({}, results, line, exit_code=0 if results["reproduces"] in (True, None) else 3)


def of_labels(path: Path) -> Result:
    """Say how many labels of each name a Phy group file or a curation JSON holds."""
    found = read_label_file(path)
    counts = counted(found.labels.values())
    shown = ", ".join(f"{n} {name}" for name, n in counts.items())
    results = {"kind": "labels", "n_labels": len(found.labels), "counts": counts, "n_left_out": len(found.left_out)}
    return Result({}, results, f"{path}: {len(found.labels)} labels ({shown})")


def of_predictions(path: Path) -> Result:
    """Say how many units of each class a table of predictions holds."""
    table = read_predictions(path)
    counts = counted(table["predicted_quality"].tolist())
    shown = ", ".join(f"{n} {name}" for name, n in counts.items())
    n_abstained = int(table["abstained"].sum())
    results = {"kind": "predictions", "n_units": len(table), "counts": counts, "n_abstained": n_abstained}
    return Result({}, results, f"{path}: predictions for {len(table)} units ({shown}), {n_abstained} left to a person")


def of_units(path: Path) -> Result:
    """Say how many units a metrics table, Phy folder or analyzer holds, with which metrics and labels."""
    recording = recordings.read_recording(path, Tables(inputs=[path]))
    metrics = sorted(set(recording.table.columns) & KNOWN)
    if not metrics:
        columns = ", ".join(map(str, recording.table.columns[:8])) or "none"
        raise InputError(f"{path}: none of its columns is a known quality or template metric; it has {columns}.")
    counts = {} if recording.labels is None else counted(recording.labels)
    shown = f", labels: {', '.join(f'{n} {name}' for name, n in counts.items())}" if counts else ""
    labelled = [c for c in LABEL_COLUMNS if c in recording.table.columns and c not in KNOWN]
    results: dict[str, Any] = {
        "label_columns": labelled,
        "kind": "units",
        "n_units": len(recording.unit_ids),
        "metric_names": metrics,
        "counts": counts,
    }
    told = f"; labels may be in {', '.join(labelled)}" if labelled and not counts else ""
    return Result({}, results, f"{path}: {len(recording.unit_ids)} units, {len(metrics)} known metrics{shown}{told}")


def counted(labels: Any) -> dict[str, int]:
    """Return how often each label occurs, in order of first appearance; units without a label are left out."""
    counts: dict[str, int] = {}
    for label in labels:
        if label is not None and label == label and str(label) != "":
            counts[str(label)] = counts.get(str(label), 0) + 1
    return counts
