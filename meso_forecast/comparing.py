"""How do several forecasters compare on one recording? Fit, forecast, score, draw: the work behind ``compare`` and ``evaluate``."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import plots, probability
from .evaluate import Comparison, Scores, block_draws, block_length, block_sums, compare, interval, rank, score, verdict
from .fitting import part_origins
from .model import Forecast, Probabilistic
from .recording import Recording
from .report import Section, write_report
from .windows import gather

log = logging.getLogger(__package__)
LEVELS = np.array([0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975])


class Outcome(NamedTuple):
    """Everything a comparison found."""

    scores: dict[str, Scores]
    calibration: dict[str, np.ndarray]  #: share of truths below each of ``LEVELS``
    info: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    forecast: Forecast  #: of the judged model
    truth: np.ndarray
    origins: np.ndarray
    judged: str


def score_model(forecaster: Probabilistic, recording: Recording, origins: np.ndarray, truth: np.ndarray):
    """Return (forecast, scores, calibration) on the given windows."""
    forecast = forecaster.forecast(recording.panel, origins)
    rows = slice(None, None, max(1, truth.size // 2_000_000))
    below = [
        (truth[rows] <= probability.quantile(forecast.mean[rows], forecast.scale[rows], forecast.df, q)).mean()
        for q in LEVELS
    ]
    return forecast, score(truth, forecast), np.array(below)


def run(models: list[str], fit, recording: Recording, context: int, horizon: int) -> Outcome:
    """Fit and score models on identical test windows; ``fit(name)`` returns a forecaster. The last of ``models`` is judged."""
    origins = part_origins(recording, context, horizon)
    truth = gather(recording.panel.x, origins, 1, horizon)
    scores, calibration, info, seconds = {}, {}, {}, {}
    for name in models:
        began = time.process_time()
        forecaster = fit(name)
        forecast, scores[name], calibration[name] = score_model(forecaster, recording, origins, truth)
        seconds[name] = time.process_time() - began
        info[name] = getattr(forecaster.point, "info", {})
        log.info("%-18s mse %.4f, %.1f CPU s", name, scores[name].mse.mean(), seconds[name])
    return Outcome(scores, calibration, info, seconds, forecast, truth, origins, models[-1])


def judge(outcome: Outcome, context: int, horizon: int, seed: int, against: str) -> tuple[Comparison, bool, str]:
    """Return the judged model against a baseline, whether it beats it, and the verdict line."""
    block = block_length(context, horizon, len(outcome.origins))
    judged, mean = outcome.scores[outcome.judged], outcome.scores.get("mean")
    result = compare(judged, outcome.scores[against], block, seed)
    above_mean = compare(judged, mean, block, seed) if mean is not None and judged is not mean else None
    better, line = verdict(outcome.judged, result, above_mean)
    return result, better, line.replace("beats AR:", f"beats {against.upper()}:")


def horizon_interval(window_mse: np.ndarray, block: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 95 % block-bootstrap limits of the error at each horizon."""
    draws = block_draws(len(window_mse), block, seed)
    means = draws @ block_sums(window_mse, block) / (draws @ block_sums(np.ones(len(window_mse)), block))[:, None]
    return tuple(np.quantile(means, (0.025, 0.975), axis=0))


def results_of(outcome: Outcome, context: int, horizon: int, seed: int) -> dict[str, Any]:
    """Return the machine-readable table: per model errors per horizon, skills, intervals."""
    block, models = block_length(context, horizon, len(outcome.origins)), {}
    for name in rank(outcome.scores):
        s = outcome.scores[name]
        row = {
            "mse": s.mse, "mae": s.mae, "r2": s.r2, "correlation": s.correlation, "crps": s.crps, "coverage_50": s.coverage_50,
            "coverage_90": s.coverage_90, "event_auc": s.event_auc, "mse_mean": s.mse.mean(),
            "ci": interval(s.window_mse, block, seed), "seconds": round(outcome.seconds[name], 2),
        }  # fmt: skip
        for other in ("persistence", "ar", "ar16", "mean"):
            if other in outcome.scores:
                against = compare(s, outcome.scores[other], block, seed)
                row[f"skill_vs_{other}"] = against.skill
                row[f"skill_vs_{other}_ci"] = [against.low, against.high]
                row[f"skill_vs_{other}_by_horizon"] = against.per_horizon
        row["info"] = {k: v for k, v in outcome.info[name].items() if k != "members"}
        models[name] = row
    return {"models": models, "n_test_windows": len(outcome.origins), "n_neurons": outcome.truth.shape[2],
            "context": context, "horizon": horizon, "block_frames": block}  # fmt: skip


def figures(outcome: Outcome, recording: Recording, context: int, horizon: int, seed: int) -> dict[str, Any]:
    """Return all figures of a comparison by file name."""
    block = block_length(context, horizon, len(outcome.origins))
    limits = {name: horizon_interval(s.window_mse, block, seed) for name, s in outcome.scores.items()}
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
    "error_by_horizon": "Squared error against time ahead; bars are 95 % block-bootstrap intervals, those of the thin lines stand in the table.",
    "skill_map": "For which neurons the judged model beats AR (positive), by place in the cortex where it is known.",
    "traces": "The four neurons that are forecast best, with 50 and 90 % intervals: not a typical neuron.",
    "rasters": "Truth, forecast and residual; neurons ordered by their loading on the first principal component.",
    "calibration": "A calibrated forecast lies on zero; an overconfident one above it at the left and below it at the right.",
}


def write_folder(
    folder: Path, results: Mapping, made: Mapping, warnings: list[str], provenance: Mapping, question: str
) -> None:
    """Write figures as PNG and the report."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, figure in made.items():
        plots.save(figure, folder / "figures" / f"{name}.png")
    table = [
        {
            "model": name, "MSE": row["mse_mean"], "95 % interval": "{:.4f} to {:.4f}".format(*row["ci"]),
            **{f"h={h}": row["mse"][h - 1] for h in sorted({1, (len(row["mse"]) + 1) // 2, len(row["mse"])})},
            "skill vs AR": row.get("skill_vs_ar", float("nan")), "skill vs persistence": row.get("skill_vs_persistence", float("nan")),
            "R²": float(np.mean(row["r2"])), "CRPS": float(np.mean(row["crps"])), "90 % covers": float(np.mean(row["coverage_90"])),
            "event AUC": float(np.nanmean(row["event_auc"])) if np.isfinite(row["event_auc"]).any() else float("nan"), "CPU s": row["seconds"],
        }
        for name, row in results["models"].items()
    ]  # fmt: skip
    best = next(iter(results["models"]))
    write_report(
        folder / "report.html", title="Forecasting cortex", question=question,
        headline={"verdict": results["verdict"], "least error": best, "its MSE (z²)": results["models"][best]["mse_mean"],
                  "test windows": results["n_test_windows"], "neurons": results["n_neurons"]},
        sections=[
            Section("Comparison", "Errors are on z-scored activity (training mean and sd), on the same test windows for every model.", table),
            Section("Figures", figures={CAPTIONS[k]: folder / "figures" / f"{k}.png" for k in made}),
        ],
        warnings=warnings, provenance=provenance,
    )  # fmt: skip
