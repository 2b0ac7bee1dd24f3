"""How do several forecasters compare on one recording? Fit, forecast, score on identical windows, judge."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..activity.windows import gather
from ..answer import Answer
from ..files.recording import Recording
from ..fit.registry import part_origins
from ..model import conformal, probability
from ..model.forecaster import Forecast, Probabilistic
from . import where
from .scores import Scores, block_length, compare, further, interval, rank, score
from .verdict import best_baseline, decide, drift_of, ties

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


def score_model(
    forecaster: Probabilistic, recording: Recording, origins: np.ndarray, truth: np.ndarray, adaptive: bool = False
):
    """Return (forecast, scores, calibration) on the given windows; ``adaptive``: also of intervals that follow their misses."""
    forecast = forecaster.forecast(recording.panel, origins)
    block = block_length(forecaster.context, truth.shape[1], len(origins))
    rows = slice(None, None, max(1, truth.size // 2_000_000))
    below = [
        (truth[rows] <= probability.quantile(forecast.mean[rows], forecast.scale[rows], forecast.df, q)).mean()
        for q in LEVELS
    ]
    return forecast, score(truth, forecast, origins if adaptive else None, block), np.array(below)


def run(models: list[str], fit, recording: Recording, context: int, horizon: int) -> Outcome:
    """Fit and score models on identical test windows; ``fit(name)`` returns a forecaster. The last of ``models`` is judged."""
    origins = part_origins(recording, context, horizon)
    truth = gather(recording.panel.x, origins, 1, horizon)
    scores, calibration, info, seconds = {}, {}, {}, {}
    for name in models:
        began = time.process_time()
        forecaster = fit(name)
        forecast, scores[name], calibration[name] = score_model(
            forecaster, recording, origins, truth, name == models[-1]
        )
        seconds[name] = time.process_time() - began
        info[name] = getattr(forecaster.point, "info", {})
        log.info("%-18s mse %.4f, %.1f CPU s", name, scores[name].mse.mean(), seconds[name])
    return Outcome(scores, calibration, info, seconds, forecast, truth, origins, models[-1])


def results_of(outcome: Outcome, context: int, horizon: int) -> dict[str, Any]:
    """Return the machine-readable table: per model errors per horizon, skills, intervals."""
    block, models = block_length(context, horizon, len(outcome.origins)), {}
    for name in rank(outcome.scores):
        s = outcome.scores[name]
        row = {
            "mse": s.mse, "mae": s.mae, "r2": s.r2, "correlation": s.correlation, "crps": s.crps, "coverage_50": s.coverage_50,
            "coverage_90": s.coverage_90, "event_auc": s.event_auc, "mse_mean": s.mse.mean(),
            "ci": [float(v) for v in interval(s.window_mse.mean(1), block)], "seconds": round(outcome.seconds[name], 2),
        }  # fmt: skip
        if s.adaptive_90 is not None and s.interval_score is not None:
            row |= {
                "adaptive_90": s.adaptive_90,
                "interval_score_t": s.interval_score[0],
                "interval_score_adaptive": s.interval_score[1],
            }
        row["validation_mse"] = outcome.info[name].get("validation_mse")
        for other in ("persistence", "ar", "ar16", "mean"):
            if other in outcome.scores:
                against = compare(s, outcome.scores[other], block)
                row[f"skill_vs_{other}"] = against.skill
                row[f"skill_vs_{other}_ci"] = [against.low, against.high]
                row[f"skill_vs_{other}_by_horizon"] = against.per_horizon
        row["info"] = {k: v for k, v in outcome.info[name].items() if k not in ("members", "validation_mse")}
        models[name] = row
    return {"models": models, "n_test_windows": len(outcome.origins), "n_neurons": outcome.truth.shape[2],
            "context": context, "horizon": horizon, "block_frames": block}  # fmt: skip


def judged_results(
    outcome: Outcome, recording: Recording, context: int, horizon: int, seed: int
) -> tuple[dict[str, Any], str]:
    """Return the results with the verdict in it, and the line for a person: one sentence, the same everywhere."""
    results = results_of(outcome, context, horizon)
    block = block_length(context, horizon, len(outcome.origins))
    best, tied = best_baseline(outcome.info, outcome.judged), ties(outcome.info, outcome.judged)
    v = decide(outcome.judged, outcome.scores, best, block, drift_of(recording.panel), tied)
    gate = outcome.info[outcome.judged].get("gate_open")
    sentence = v.sentence + ("" if gate is None else f"; gate {'open' if gate else 'closed'}")
    gain = (v.comparison.skill, v.comparison.low, v.comparison.high)
    results |= {
        "answer": Answer(v.answer, sentence, v.baseline, *gain, "of the baseline's squared error"),
        "verdict": sentence, "verdict_answer": v.answer, "judged": outcome.judged, "best_baseline": v.baseline, "best_baseline_on_test": v.best_on_test,
        "verdict_interval": [v.comparison.low, v.comparison.high], "verdict_blocks": v.comparison.n_blocks, "drift": v.drift._asdict() | {"drifted": v.drift.drifted},
    }  # fmt: skip
    results |= {"intervals": intervals_of(outcome), "notes": recording.notes, "n_notes": len(recording.notes)}
    results["further"] = further(v.comparison, len(outcome.origins) * recording.panel.dt_s / 60)
    results["where"] = where.where(
        outcome.scores[outcome.judged], outcome.scores[v.baseline], recording.region, recording.panel.dt_s, seed
    )
    results["where"]["sentence"] = where.sentence(results["where"], v.baseline)
    error = outcome.scores[outcome.judged].mse.mean()
    return results, f"{sentence} (MSE {error:.4f}, {len(outcome.origins)} test windows)"


def behaviour_adds(
    outcome: Outcome, blind: Mapping[str, Probabilistic], recording: Recording, use: str, context: int
) -> dict[str, Any]:
    """Return how much less error each model makes with behaviour than the same model fitted without it: a paired ablation.

    Parameters
    ----------
    outcome : scores of the models that saw behaviour.
    blind : the same models, fitted on activity alone.
    use : ``past`` or ``known``.
    """
    panel, horizon = recording.panel.without_behaviour(), outcome.truth.shape[1]
    block, rows = block_length(context, horizon, len(outcome.origins)), []
    for name, forecaster in blind.items():
        without = score(outcome.truth, forecaster.forecast(panel, outcome.origins))
        c = compare(outcome.scores[name], without, block)
        rows.append({"model": name, "adds": c.skill, "low": c.low, "high": c.high, "by_horizon": c.per_horizon.tolist(),
                     "mse_without": float(without.mse.mean()), "mse_with": float(outcome.scores[name].mse.mean())})  # fmt: skip
    last = rows[-1]
    known = "; the stimuli of the forecast frames were given as known in advance" if use == "known" else ""
    said = f"behaviour adds {last['adds']:+.1%} ({last['low']:+.1%} to {last['high']:+.1%}) to {last['model']}{known}"
    return {"use": use, "inputs": recording.input_names, "models": rows, "sentence": said}


def intervals_of(outcome: Outcome) -> dict[str, Any]:
    """Return how often 90 % intervals of the judged model hold the truth, and whether they are an answer: 87 to 93 %."""
    s, n = outcome.scores[outcome.judged], len(outcome.origins)
    covers = {"student_t": float(s.coverage_90.mean())}
    if s.adaptive_90 is not None:
        covers["adaptive"] = float(s.adaptive_90.mean())
    return {
        "covers": covers,
        "answer": {k: "yes" if conformal.answered(v, n) else "no answer" for k, v in covers.items()},
    }
