"""What does a person open after a run: figures and one page that holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hdf5io.errors import InputError

from ..config import PlotConfig
from ..files import load_model, recordings, save_model
from ..model.decisions import decide
from ..score import compare, evaluate, predict
from ..score import outcome as outcomes
from ..units.metrics import numeric
from . import plots
from .figures import save_figure
from .report import Section, write_report

CAPTIONS = {
    "confusion_matrix": "What is called what. Rows sum to 100 %.",
    "roc_precision_recall": "Every possible trade-off, and the one that is used (circle).",
    "calibration": "Is a probability of 0.8 right in 80 of 100 units? Bars: 95 % of the bin.",
    "score_by_recording": "Each recording, scored by models that had not seen the units they score.",
    "permutation_importance": "Metrics that carry the same information are shuffled together; bars: standard deviation of three shuffles.",
    "abstention_curve": "The least confident units of each predicted class are left to a person.",
    "metric_distributions": "The metrics that matter most, by predicted class.",
}
#: What the columns of the tables of scores are called.
NAMES = {
    "group": "recording", "n_units": "units", "balanced_accuracy": "balanced accuracy", "precision": "precision",
    "roc_auc": "area under the ROC curve", "ece": "calibration error",
}  # fmt: skip
TRIED = {
    "classifier name": "classifier", "imputation_strategy": "missing values", "scaling_strategy": "scaling",
    "balanced_accuracy": "balanced accuracy", "model_id": "number", "best_params": "settings",
}  # fmt: skip
TERMS = (
    "Balanced accuracy: the mean over the classes of the share found (recall). Precision: the share of a class's predictions that are"
    " right, mean over the classes. Calibration error: the mean gap between a probability and how often it comes true."
)


def scored(rows: Sequence[Mapping[str, Any]], what: str = "recording") -> list[dict[str, Any]]:
    """Return a table of scores with columns that a reader knows."""
    return [{what if key == "group" else name: row[key] for key, name in NAMES.items()} for row in rows]


def further(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Return the section that says what would narrow the answer; none where nothing can be predicted."""
    if not rows:
        return []
    text = (
        "Half of the 95 % interval of the answer, now and after further labels of the same kind. It assumes that further recordings"
        " differ as these do."
    )
    table = [
        {"further labels": r["measurement"], f"now ({r['unit']})": r["now"], "then, predicted": r["then"]} for r in rows
    ]
    return [Section("What would narrow the answer", text, table)]


def training(
    folder: Path, outcome: outcomes.Outcome, warnings: Sequence[str], provenance: Mapping[str, Any], form: str = "png"
) -> None:  # fmt: skip
    """Write figures and report of a training run into its model folder."""
    units, held, scores = outcome.units, outcome.trained.held_out, outcome.scores
    seen = np.isfinite(held.p[:, 0])
    table = save_model.held_out_table(outcome)[seen]
    figures = held_out_figures(
        table, units.classes, outcome.trained.threshold, scores, outcome.importance, outcome.curve
    )
    important = [name for row in outcome.importance for name in row["metrics"][:1]]
    guess = np.array(units.classes)[decide(held.p[seen], outcome.trained.threshold)]
    figures["metric_distributions"] = plots.distributions(units.metrics[seen], guess, important)
    save_all(figures, folder / "figures", form)
    r = outcomes.training_results(outcome)
    several = r["n_recordings"] > 1
    sections = [
        Section("Each recording, held out" if several else "One recording, its units held out", TERMS, scored(scores.by_group), captioned(figures, "score_by_recording", "confusion_matrix")),
        Section("How sure", uncertainty_text(r), figures=captioned(figures, "calibration", "abstention_curve", "roc_precision_recall")),
        Section("Which metrics matter", "What balanced accuracy loses when metrics that carry the same information are shuffled together among the units of held-out recordings. Metrics have SpikeInterface's names.", table=[{"metrics": ", ".join(row["metrics"]), "balanced accuracy lost": row["drop"], "standard deviation of three shuffles": row["sd"]} for row in outcome.importance], figures=captioned(figures, "permutation_importance", "metric_distributions")),
    ]  # fmt: skip
    if outcome.trained.table:
        tried = save_model.accuracies(outcome).rename(columns=TRIED).to_dict("records")
        sections.append(
            Section(
                "Settings tried",
                "Scores of the inner folds that chose the setting; they are a little too good, the headline is not.",
                tried,
            )
        )
    if outcome.animal_scores is not None:
        text = "Whole animals held out: pessimistic with few animals, because the training set shrinks."
        sections.insert(
            1,
            Section(
                "Each animal, held out",
                text,
                scored(outcome.animal_scores.by_group, "animal"),
            ),
        )
    headline = {
        f"balanced accuracy, {'unseen recordings' if several else 'unseen units of the same recording'}": r["balanced_accuracy"],
        f"95 % over {r['interval_over']}": f"{r['balanced_accuracy_low']:.3f} to {r['balanced_accuracy_high']:.3f}",
        "one new recording, 95 %": f"{r['new_recording_low']:.2f} to {r['new_recording_high']:.2f}" if np.isfinite(r["new_recording_low"]) else "needs three recordings",
        **with_intervals(r), "units": r["n_units"],
    }  # fmt: skip
    sections += further(r["further"])
    if outcomes.more_labels(outcome):
        sections.append(Section("Would more labels pay?", outcomes.more_labels(outcome)))
    write_report(
        folder / "report.html", title=f"Unit classifier: {', '.join(units.classes)}",
        question="Can a classifier stand in for the curator on recordings it has not seen?", headline=headline, sections=sections,
        warnings=warnings, provenance=provenance, verdict=r["answer"].sentence,
    )  # fmt: skip


def with_intervals(r: Mapping[str, Any]) -> dict[str, str]:
    """Return precision, area under the ROC curve and calibration error with their 95 % intervals."""
    return {
        NAMES[key]: f"{r[key]:.3f} ({r[f'{key}_low']:.3f} to {r[f'{key}_high']:.3f})"
        for key in ("precision", "roc_auc", "ece")
    }


def uncertainty_text(r: Mapping[str, Any]) -> str:
    """Return what the probabilities are good for, in words and numbers."""
    twenty = next(row for row in r["abstention"] if row["fraction"] == 0.2)
    gain = twenty["balanced_accuracy"] - r["abstention"][0]["balanced_accuracy"]
    threshold = "" if not np.isfinite(r["threshold_gain"]) else (
        f" Tuning the decision threshold changes balanced accuracy by {r['threshold_gain']:+.3f} on recordings that did not tune it;"
        f" the threshold used is {r['threshold']:.2f}."
    )  # fmt: skip
    return (
        f"Leaving the least confident 20 % of each predicted class to a person changes balanced accuracy by {gain:+.3f}.{threshold}"
        f"\n\nThe calibrated probabilities hold for the class shares of these recordings (error {r['ece']:.3f}; were all classes equally"
        f" frequent, {r['ece_balanced']:.3f}). With other shares use --prior-correction, which adapts probabilities, never labels."
    )


def save_all(figures: Mapping[str, Figure], folder: Path, form: str) -> dict[str, Path]:
    """Write figures into a folder; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return {name: save_figure(figure, folder / f"{name}.{form}") for name, figure in figures.items()}


def captioned(figures: Mapping[str, Figure], *names: str) -> dict[str, Figure | Path]:
    """Return figures by caption."""
    return {CAPTIONS[name]: figures[name] for name in names if name in figures}


def held_out_figures(
    table: pd.DataFrame,
    classes: Sequence[str],
    threshold: float,
    scores: evaluate.Scores,
    importance: Sequence[Mapping],
    curve: Sequence[Mapping],
) -> dict[str, Figure]:
    """Return every figure that follows from the held-out predictions of the training units."""
    y = np.array([list(classes).index(label) for label in table["label"]])
    p = table[[f"p_{c}" for c in classes]].to_numpy()
    calibrated = table[[f"calibrated_{c}" for c in classes]].to_numpy()
    return {
        **plots.score_figures(y, p, calibrated, decide(p, threshold), scores, classes),
        "permutation_importance": plots.importance(importance),
        "abstention_curve": plots.abstention(curve),
    }


def evaluation(
    folder: Path, found: compare.Evaluation, warnings: Sequence[str], provenance: Mapping[str, Any], form: str = "png"
) -> None:  # fmt: skip
    """Write figures, table and report of a model's score on new labelled units."""
    y, classes, guess = found.units.y, found.units.classes, decide(found.p, found.threshold)
    figures = plots.score_figures(y, found.p, found.calibrated, guess, found.scores, classes)
    figures["abstention_curve"] = plots.abstention(
        evaluate.abstention_curve(y, found.p, found.threshold, found.units.groups)
    )
    figures["metric_distributions"] = plots.distributions(
        found.units.metrics, np.array(classes)[guess], list(found.units.metrics.columns)
    )
    save_all(figures, folder / "figures", form)
    keys = ["group", "n_units", "balanced_accuracy", "precision", "recall", "roc_auc", "ece"]
    pd.DataFrame(found.scores.by_group)[keys].to_csv(folder / "scores_by_recording.csv", index=False)
    r = compare.evaluation_results(found)
    headline = {
        "balanced accuracy": r["balanced_accuracy"],
        f"95 % over {r['interval_over']}": f"{r['balanced_accuracy_low']:.3f} to {r['balanced_accuracy_high']:.3f}",
    }
    headline |= {**with_intervals(r), "units": r["n_units"]}
    sections = [Section("By recording", TERMS, scored(found.scores.by_group), captioned(figures, *figures))]
    if found.odd:
        odd = [{"metric": o["metric"], "what is odd": o["why"]} for o in found.odd]
        sections.insert(0, Section("Metrics that do not look like the training recordings'", "", odd))
    sections += further(r["further"])
    write_report(
        folder / "report.html", title="Score on labelled units", question="Does this model agree with the curator of these recordings?",
        headline=headline, sections=sections, warnings=warnings, provenance=provenance, verdict=r["answer"].sentence,
    )  # fmt: skip


def plot(folder: Path, config: PlotConfig) -> dict[str, Path]:
    """Draw a model's figures from its folder, or the metrics of new units by predicted class."""
    model = load_model.load(config.model, config.class_names, config.max_memory)
    if config.inputs:
        found = recordings.read_unlabelled(config, config.inputs)
        parts = [predict.predict_one(model, r.table, str(r.source), False) for r in found]
        metrics = pd.concat([r.table for r in found], ignore_index=True)
        names = model.metric_names
        guess = np.concatenate([np.array(model.classes)[part["guess"]] for part in parts])
        numbers = numeric(metrics[[n for n in names if n in metrics.columns]], "inputs")
        return save_all(
            {"metric_distributions": plots.distributions(numbers, guess, names)}, folder, config.figure_format
        )
    source = model.folder / "held_out_predictions.csv"
    if not source.is_file():
        raise InputError(
            f"{source}: no such file; the model was not made by unit-refine train. Give units to draw: unit-refine plot MODEL UNITS.csv"
        )
    table = named_anew(pd.read_csv(source, dtype={"unit_id": str, "recording": str}), model.classes, source)
    table = table.dropna(subset=[f"p_{model.classes[0]}"])
    y = np.array([model.classes.index(label) for label in table["label"]])
    p = table[[f"p_{c}" for c in model.classes]].to_numpy()
    calibrated = table[[f"calibrated_{c}" for c in model.classes]].to_numpy()
    groups = table["recording"].to_numpy(dtype=str)
    scores = evaluate.score(y, p, calibrated, groups, model.classes, threshold=model.threshold)
    curve = evaluate.abstention_curve(y, p, model.threshold, groups)
    rows = json.loads((model.folder / "permutation_importance.json").read_text(encoding="utf-8"))
    figures = held_out_figures(table, model.classes, model.threshold, scores, rows, curve)
    return save_all(figures, folder, config.figure_format)


def named_anew(table: pd.DataFrame, classes: Sequence[str], source: Path) -> pd.DataFrame:
    """Return held-out predictions under the class names that a model has now (``--class-names``); its classes stand in one order."""
    own = [c.removeprefix("p_") for c in table.columns if c.startswith("p_")]
    if len(own) != len(classes) or not {f"calibrated_{c}" for c in own} | {"label"} <= set(table.columns):
        raise InputError(
            f"{source}: not the predictions of this model's classes ({', '.join(classes)}); train it again."
        )
    now = dict(zip(own, classes))
    names = {f"{part}_{c}": f"{part}_{n}" for c, n in now.items() for part in ("p", "calibrated")}
    return table.rename(columns=names).assign(label=table["label"].astype(str).map(now))
