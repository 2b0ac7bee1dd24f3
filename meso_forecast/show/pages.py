"""What does the page of a comparison show? Figures and a report of what `score.compare` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io

from ..config import CompareConfig, EvaluateConfig
from ..console import Run
from ..files.recording import Recording
from ..model import probability
from ..score.compare import LEVELS, Outcome
from ..score.scores import LEAST_PREDICTING, block_length, rank
from ..score.scores import interval as error_interval
from ..score.sweep import ZAPBENCH_STEPS
from ..score.verdict import BASELINES
from . import plots
from .figures import save_figure
from .report import Section, write_report


def figures(outcome: Outcome, recording: Recording, context: int, horizon: int) -> dict[str, Any]:
    """Return all figures of a comparison by file name."""
    block = block_length(context, horizon, len(outcome.origins))
    limits = {name: error_interval(s.window_mse, block) for name, s in outcome.scores.items()}
    order = rank(outcome.scores)
    mse = {name: outcome.scores[name].mse for name in order}
    low, high = ({name: limits[name][i] for name in order} for i in (0, 1))
    made = {"error_by_horizon": plots.error_by_horizon(mse, low, high, recording.panel.dt_s, len(outcome.origins))}
    judged = outcome.scores[outcome.judged]
    if "ar" in outcome.scores and outcome.judged != "ar":
        skill = 1 - judged.neuron_mse.mean(0) / np.maximum(outcome.scores["ar"].neuron_mse.mean(0), 1e-12)
        made["skill_map"] = plots.skill_map(recording.position, skill, recording.fov, "AR")
    lead = min(horizon, 4) - 1
    best = np.argsort(judged.neuron_mse.mean(0) / np.maximum(outcome.truth.var((0, 1)), 1e-12))[:4]
    made |= window_figures(outcome, recording, best, lead)
    chosen = {
        name: outcome.calibration[name]
        for name in dict.fromkeys([outcome.judged, "ar", "persistence"])
        if name in outcome.calibration
    }
    made["calibration"] = plots.calibration(LEVELS, chosen, outcome.truth.size)
    return made


def window_figures(outcome: Outcome, recording: Recording, neurons: np.ndarray, lead: int, most: int = 400) -> dict:
    """Return example traces and rasters of the judged model for windows of one lead time (index ``lead``)."""
    forecast, truth, origins = outcome.forecast, outcome.truth, outcome.origins
    rows = slice(0, min(len(origins), most))
    times = recording.times[np.minimum(origins[rows] + lead + 1, len(recording.times) - 1)]
    df = forecast.df[lead]
    bands = [
        probability.quantile(
            forecast.mean[rows, lead][:, neurons], forecast.scale[rows, lead][:, neurons], df[neurons], q
        )
        for q in (0.05, 0.25, 0.75, 0.95)
    ]
    names = [f"neuron {i}" for i in neurons]
    seconds = (lead + 1) * recording.panel.dt_s
    return {
        "traces": plots.traces(times, truth[rows, lead][:, neurons], forecast.mean[rows, lead][:, neurons], np.array(bands), names, seconds, outcome.judged),
        "rasters": plots.rasters(times, truth[rows, lead], forecast.mean[rows, lead], seconds),
    }  # fmt: skip


CAPTIONS = {
    "error_by_horizon": "Squared error against time ahead; bars are 95 % intervals over blocks of time, those of the thin lines stand in the table.",
    "skill_map": "For which neurons the judged model beats AR (positive), by place in the cortex where it is known.",
    "traces": "The four neurons that are forecast best, with 50 and 90 % intervals: not a typical neuron.",
    "rasters": "Truth, forecast and residual; neurons ordered by their loading on the first principal component.",
    "calibration": "A calibrated forecast lies on zero; an overconfident one above it at the left and below it at the right.",
}


def cell_rows(recording: Recording, cells: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for each cell: which it is, where, and its skill with limits."""
    return [
        {"cell": i, "uuid": str(recording.uuid[i]), "fov": int(recording.fov[i]), "region": str(recording.region[i]),
         "skill": float(row[0]), "low": float(row[1]), "high": float(row[2])}
        for i, row in enumerate(cells)
    ]  # fmt: skip


def write_folder(
    folder: Path, recording: Recording, cells: np.ndarray, results: Mapping, made: Mapping, run: Run, config: CompareConfig | EvaluateConfig, question: str
) -> None:  # fmt: skip
    """Write the figures in the wanted format, the table of cells, and the report."""
    hdf5io.write_csv(folder / "cells.csv", cell_rows(recording, cells))
    for name, figure in made.items():
        save_figure(figure, folder / "figures" / f"{name}.{config.figure_format}")
    table = [
        {
            "model": name, "role": role_of(name, results), "MSE": row["mse_mean"], "95 % interval": "{:.4f} to {:.4f}".format(*row["ci"]),
            **{f"h={h}": row["mse"][h - 1] for h in sorted({1, (len(row["mse"]) + 1) // 2, len(row["mse"])})},
            "skill vs AR": row.get("skill_vs_ar", float("nan")), "skill vs persistence": row.get("skill_vs_persistence", float("nan")),
            "MSE on validation": float("nan") if row["validation_mse"] is None else float(np.mean(row["validation_mse"])),
            "R²": float(np.mean(row["r2"])), "CRPS": float(np.mean(row["crps"])), "90 % covers": float(np.mean(row["coverage_90"])),
            "event AUC": float(np.nanmean(row["event_auc"])) if np.isfinite(row["event_auc"]).any() else float("nan"), "CPU s": row["seconds"],
        }
        for name, row in results["models"].items()
    ]  # fmt: skip
    best = next(iter(results["models"]))
    write_report(
        folder / "report.html", title="Forecasting cortex", question=question,
        verdict=results["verdict"],
        headline={"least error": best, "its MSE (z²)": results["models"][best]["mse_mean"],
                  "test windows": results["n_test_windows"], "neurons": results["n_neurons"]},
        sections=[
            Section("Comparison", "Errors are on z-scored activity (training mean and sd), on the same test windows for every model.", table),
            *where_sections(results["where"], results["best_baseline"]),
            interval_section(results),
            *sweep_sections(results.get("sweep")),
            *behaviour_section(results.get("behaviour")),
            further_section(results["further"], results["verdict_blocks"]),
            Section("Figures", figures={CAPTIONS[k]: figure for k, figure in made.items()}),
        ],
        warnings=run.warnings, provenance=run.provenance(config),
    )  # fmt: skip


def role_of(name: str, results: Mapping[str, Any]) -> str:
    """Return what a model is to the verdict."""
    if name == results["judged"]:
        return "judged"
    chosen, least = name == results["best_baseline"], name == results["best_baseline_on_test"]
    told = [*(["chosen on validation"] if chosen else []), *(["best on test"] if least else [])]
    return ", ".join(["baseline", *told]) if name in BASELINES else ""


def where_sections(found: Mapping[str, Any], baseline: str) -> list[Section]:
    """Return the tables of skill by region and by time ahead."""
    interval = lambda row: f"{row['low']:+.1%} to {row['high']:+.1%}"  # noqa: E731
    regions = [
        {"region": row["region"], "cells": row["cells"], f"less error than {baseline}": f"{row['skill']:+.1%}", "95 % interval": interval(row)}
        for row in found["by_region"]
    ]  # fmt: skip
    ahead = [
        {"time ahead (s)": row["seconds"], f"less error than {baseline}": f"{row['skill']:+.1%}", "interval (95 % for all rows together)": interval(row)}
        for row in found["by_horizon"]
    ]  # fmt: skip
    text = "Intervals draw blocks of time and cells. Every cell stands in cells.csv, drawn towards its region."
    said = found["sentence"]
    return [
        Section("Where it forecasts better", text, regions),
        Section("How far ahead", said[0].upper() + said[1:] + ".", ahead),
    ]


def further_section(rows: Sequence[Mapping[str, Any]], n_blocks: int) -> Section:
    """Return the table of what would narrow the answer, or why that cannot be told."""
    title = "What would narrow the answer"
    if not rows:
        why = (
            f"More of the session to test on, by how much cannot be told: the interval rests on {n_blocks} blocks of time, and fewer than"
            f" {LEAST_PREDICTING} do not say how much blocks differ."
        )
        return Section(title, why)
    text = (
        "Half of the answer's 95 % interval, now and with more of the same session to test on. Other days and animals may differ more."
        f" From {n_blocks} blocks of time it is known to about {(2 * (n_blocks - 1)) ** -0.5:.0%}."
    )
    table = [
        {"further measurement": r["measurement"], f"now ({r['unit']})": r["now"], "then, predicted": r["then"]}
        for r in rows
    ]
    return Section(title, text, table)


def sweep_sections(found: Mapping[str, Any] | None) -> list[Section]:
    """Return the tables of a sweep; with the preset the errors at the benchmark's steps, published ones beside them."""
    if not found:
        return []
    rows = [
        {"frames seen": row["context"], "frames forecast": row["horizon"], "model": row["model"], "MSE (z²)": row["mse"],
         "MSE, common horizons (z²)": row["mse_common"],
         "against the best baseline": f"{row['skill']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%})" if "skill" in row else ""}
        for row in found["rows"]
    ]  # fmt: skip
    sections = [Section("How much is seen, how far is forecast", "The same test windows for every row.", rows)]
    if found["preset"] == "zapbench":
        every = [*found["rows"], *found.get("published", [])]
        steps = [
            {"frames seen": row["context"], "model": row["model"], "mean": float(np.mean(row["mae_by_step"])),
             **{f"step {s}": row["mae_by_step"][s - 1] for s in ZAPBENCH_STEPS if s <= len(row["mae_by_step"])}}
            for row in every
        ]  # fmt: skip
        text = (
            "Mean absolute error in units of the activity at steps ahead, each stretch of test frames counting the same, as in ZAPBench"
            " (Lueckmann et al. 2025, arXiv 2503.02618)."
        )
        if "published" not in found:
            text += " Its published errors (gs://zapbench-release/dataframes/20250131/combined.json) stand beside with --published FILE."
        sections.append(Section("ZAPBench's protocol", text, steps))
    return sections


def interval_section(results: Mapping[str, Any]) -> Section:
    """Return how often the judged model's 90 % intervals hold the truth, and whether they are an answer."""
    row, found = results["models"][results["judged"]], results["intervals"]
    names = {
        "student_t": ("Student's t", "interval_score_t"),
        "adaptive": ("adaptive conformal", "interval_score_adaptive"),
    }
    rows = [
        {"90 % interval": names[kind][0], "holds the truth": f"{share:.1%}", "87 to 93 % promised": found["answer"][kind],
         "interval score (z, smaller is better)": row.get(names[kind][1], float("nan"))}
        for kind, share in found["covers"].items()
    ]  # fmt: skip
    text = "Student's t comes from errors before the test part; the adaptive interval widens after its own misses and narrows after hits."
    return Section(f"Intervals of {results['judged']}", text, rows)


def behaviour_section(found: Mapping[str, Any] | None) -> list[Section]:
    """Return the table of what behaviour adds; nothing where forecasters saw activity alone."""
    if not found:
        return []
    rows = [
        {"model": row["model"], "MSE without behaviour (z²)": row["mse_without"], "MSE with it (z²)": row["mse_with"],
         "less error": f"{row['adds']:+.1%}", "95 % interval": f"{row['low']:+.1%} to {row['high']:+.1%}"}
        for row in found["models"]
    ]  # fmt: skip
    known = " The stimuli of the forecast frames were known in advance." if found["use"] == "known" else ""
    text = f"The same forecaster fitted with and without behaviour ({', '.join(found['inputs'])}), on the same test windows.{known}"
    return [Section("What behaviour adds", text, rows)]
