"""``compare``: several forecasters on one recording, on identical test windows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import CompareConfig
from ..console import Result, Run
from ..files.recording import Recording
from ..fit.feasible import refuse_impossible
from ..fit.options import refuse_unread
from ..fit.registry import FORECASTERS, SEE_BEHAVIOUR, check_windows, fit_named, open_checked
from ..score import compare, sweep
from ..score.verdict import BASELINES
from ..show import pages

log = logging.getLogger(__package__)


def run(config: CompareConfig, run: Run) -> Result:
    """Fit and rank forecasters."""
    refuse_unread(config, config.models)
    recording = open_checked(config.recording, config.context, config.horizon, config.behaviour)
    models = list(dict.fromkeys([*BASELINES, *config.models]))
    if recording.panel.stimulus is None and "stimulus-mean" in models:
        models.remove("stimulus-mean")
        if "stimulus-mean" in config.models:
            raise InputError(
                f"{config.recording}: --models stimulus-mean: this recording has no stimuli. Leave it out."
            )
        log.info("stimulus-mean is left out: this recording has no stimuli")
    seeing = [m for m in models if m in SEE_BEHAVIOUR] if config.behaviour != "none" else []
    if config.behaviour != "none" and not seeing:
        raise InputError(
            f"--behaviour {config.behaviour}: none of --models sees behaviour; {' and '.join(SEE_BEHAVIOUR)} do."
        )
    judged = config.models[-1] if "informer" not in config.models else "informer"
    models = [m for m in models if m != judged] + [judged]
    contexts, horizons = windows_of(config)
    check_windows(recording, max(contexts), max(horizons))
    refuse_impossible(config, models, [config.context, *(contexts if judged in config.models else [])])
    published = None if config.published is None else read_published(config.published)
    if config.dry_run:
        return Result({}, {"models": models}, f"would compare {', '.join(models)}; nothing written")
    outcome = compare.run(
        models, lambda name: fit_named(name, [recording.panel], config)[0], recording, config.context, config.horizon
    )
    results, line = compare.judged_results(outcome, recording, config.context, config.horizon, config.seed)
    if seeing:
        blind = recording._replace(panel=recording.panel.without_behaviour())
        fits = {name: fit_named(name, [blind.panel], config)[0] for name in seeing}
        results["behaviour"] = compare.behaviour_adds(outcome, fits, recording, config.behaviour, config.context)
        line += "; " + results["behaviour"]["sentence"]
    if config.preset == "zapbench" or config.sweep_contexts or config.sweep_horizons:
        results["sweep"] = swept(config, recording, judged, published)
    results["seeds"] = other_seeds(config, recording, outcome, models)
    cells = results["where"].pop("by_cell")
    made = pages.figures(outcome, recording, config.context, config.horizon)
    question = f"Which forecaster predicts {config.recording.name} best, {config.horizon} frames ahead?"
    pages.write_folder(config.output, recording, cells, results, made, run, config, question)
    return Result(
        {"folder": config.output, "report": config.output / "report.html"}, results, line, record=config.output
    )


def windows_of(config: CompareConfig) -> tuple[list[int], list[int]]:
    """Return the contexts and horizons that are asked for; those of the comparison itself where nothing is swept."""
    if config.preset == "zapbench":
        return list(sweep.ZAPBENCH_CONTEXTS), [sweep.ZAPBENCH_HORIZON]
    return config.sweep_contexts or [config.context], config.sweep_horizons or [config.horizon]


def read_published(path: Path) -> list[dict[str, Any]]:
    """Return published errors in the form of a sweep's rows.

    Raises
    ------
    InputError : no JSON table, or one that lacks a column.
    """
    with hdf5io.parsing(path, "a JSON table with method, context, condition, steps_ahead, MAE"):
        content = hdf5io.read_json(path, object)
        columns = content if isinstance(content, dict) else {k: [row[k] for row in content] for k in content[0]}
        columns = {k: list(v.values()) if isinstance(v, dict) else v for k, v in columns.items()}
        rows = sweep.published_rows(columns)
    missing = [row for row in rows if not np.isfinite(row["mae_by_step"]).all()]
    if missing:
        raise InputError(
            f"{path}: {missing[0]['model']}, context {missing[0]['context']}: a step and condition without a finite MAE."
        )
    return rows


def swept(config: CompareConfig, recording: Recording, judged: str, published: list | None) -> dict[str, Any]:
    """Return the errors of the judged model and of simple ones over contexts and horizons, and published ones beside them."""
    contexts, horizons = windows_of(config)

    def fit(name: str, context: int, horizon: int):
        """Return a forecaster fitted for one context and horizon."""
        return fit_named(name, [recording.panel], config.model_copy(update={"context": context, "horizon": horizon}))[0]

    found: dict[str, Any] = {"rows": sweep.sweep(recording, contexts, horizons, judged, fit), "preset": config.preset}
    return found if published is None else found | {"published": published}


def other_seeds(config, recording: Recording, outcome, models: list[str]) -> dict[str, list[float]]:
    """Return the mean squared error of each trained model for every seed."""
    errors = {}
    for name in models:
        if FORECASTERS[name].closed_form or config.n_seeds == 1:
            continue
        errors[name] = [float(outcome.scores[name].mse.mean())]
        for i in range(1, config.n_seeds):
            forecaster = fit_named(name, [recording.panel], config, seed=config.seed + i)[0]
            errors[name].append(
                float(((outcome.truth - forecaster.point.forecast(recording.panel, outcome.origins)) ** 2).mean())
            )
    return errors
