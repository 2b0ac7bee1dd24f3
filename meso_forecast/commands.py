"""What do the commands do that fit, forecast, score and draw? Check the input, do the work, write, answer with a `Result`."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

import hdf5io
from hdf5io import InputError

from . import comparing, data
from .closed_form import CLOSED_FORM, fit_closed_form
from .console import Result
from .fitting import fit_named, network_of, open_checked, part_origins, trained_spans, warn_if_trained_on
from .model import with_spread
from .recording import Recording, open_recording
from .windows import PARTS, gather, window_origins

log = logging.getLogger(__package__)
ALWAYS = ("persistence", "mean", "ar", "ar16")
BASELINES = ("persistence", "mean", "context-mean", "stimulus-mean", "linear-regression", "ar", "ar16")


def run_train(config, run) -> Result:
    """Fit ``config.model`` on ``config.recordings``; see ``train``."""
    recordings = [open_checked(path, config.context, config.horizon) for path in config.recordings]
    if len(recordings) > 1 and config.model != "informer":
        raise InputError(
            f"--model {config.model} is trained on one recording; several share a network with --model informer only."
        )
    if not config.resume:
        if (config.output / "training.json").is_file() and not (config.output / hdf5io.MARKER).is_file():
            raise InputError(f"{config.output}: an interrupted training. Go on with --resume, or remove the folder.")
        hdf5io.claim(config.output, config.overwrite)
    if config.dry_run:
        return Result({}, {}, f"would train {config.model} on {describe(recordings)}; nothing written")
    work = None
    if config.model not in CLOSED_FORM:
        work = config.output / "training"
        remember(config)
    forecasters = fit_named(config.model, [r.panel for r in recordings], config, work)
    about = {
        "model": config.model, "context": config.context, "horizon": config.horizon, "config": config.model_dump(mode="json"),
        "network": network_of(forecasters[0].point, config.model), "provenance": run.provenance(config, config.recordings),
        "recordings": [
            {"path": r.path.name, "eid": r.eid, "n_neurons": r.panel.x.shape[1], "neurons": data.neuron_key(r),
             "trained_s": trained_spans(r)} for r in recordings
        ],
    }  # fmt: skip
    data.save_model(config.output, about, forecasters)
    info = [{k: v for k, v in f.point.info.items() if k != "members"} for f in forecasters]
    results = {
        "model": config.model,
        "n_neurons": [r.panel.x.shape[1] for r in recordings],
        "mse_held_out": [float(np.mean(i["held_out_mse"])) for i in info],
        "info": info,
    }
    gates = (
        "" if config.model != "informer" else ", gate " + "/".join("open" if i["gate_open"] else "closed" for i in info)
    )
    line = f"{config.output}: {config.model} on {describe(recordings)}{gates}; score it with 'evaluate'"
    return Result({"model": config.output}, results, line, record=config.output)


def remember(config) -> None:
    """Write the settings beside the checkpoints; a resumed training must have the same.

    Raises
    ------
    InputError : nothing to resume, or other settings.
    """
    path = config.output / "training.json"
    free = {"resume", "overwrite", "dry_run", "output", "epochs", "patience"}
    mine = {k: v for k, v in config.model_dump(mode="json").items() if k not in free}
    if config.resume:
        if not path.is_file():
            raise InputError(
                f"{config.output}: no 'training.json'; there is no training to resume. Leave out --resume."
            )
        theirs = json.loads(path.read_text(encoding="utf-8"))
        changed = [k for k in mine if mine[k] != theirs.get(k)]
        if changed:
            raise InputError(
                f"{config.output}: was trained with {changed[0]} = {theirs.get(changed[0])}, not {mine[changed[0]]}."
            )
        return
    config.output.mkdir(parents=True, exist_ok=True)
    with hdf5io.atomic(path) as part:
        part.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")


def describe(recordings: list[Recording]) -> str:
    """Return a short description of recordings."""
    n = sum(r.panel.x.shape[1] for r in recordings)
    return f"{n} neurons" + (f" of {len(recordings)} recordings" if len(recordings) > 1 else "")


def run_forecast(config, run) -> Result:
    """Forecast the windows of a part; see ``forecast``."""
    saved, recording = data.load_model(config.model), open_recording(config.recording)
    forecaster, trained = data.forecaster_for(saved, recording)
    origins = chosen_origins(recording, config.part, saved.about["context"], saved.about["horizon"])[:: config.every]
    hdf5io.claim(config.output, config.overwrite)
    results = {"n_windows": len(origins), "n_neurons": recording.panel.x.shape[1], "horizon": saved.about["horizon"],
               "quantiles": config.quantiles}  # fmt: skip
    if config.dry_run:
        return Result({}, results, f"would forecast {len(origins)} windows; nothing written")
    warn_if_trained_on(trained, recording, origins, saved.about["horizon"])
    forecast = forecaster.forecast(recording.panel, origins)
    about = {
        "model": saved.about["model"],
        "eid": recording.eid,
        "part": config.part,
        "context": saved.about["context"],
    }
    data.save_forecast(config.output, recording, origins, forecast, config.quantiles, about,
                       run.provenance(config, [config.recording, config.model / "model.json"]), config.overwrite)  # fmt: skip
    line = f"{config.output}: {len(origins)} windows x {results['horizon']} frames x {results['n_neurons']} neurons"
    return Result({"forecast": config.output}, results, line, record=config.output)


def chosen_origins(recording: Recording, part: str, context: int, horizon: int) -> np.ndarray:
    """Return the origins to forecast.

    Raises
    ------
    InputError : there is none.
    """
    p = recording.panel
    if part == "last":
        origins = (
            np.array([len(p.usable) - 1])
            if p.usable[-context:].all() and len(p.usable) >= context
            else np.empty(0, int)
        )
    elif part == "all":
        origins = window_origins(p.usable, np.zeros(len(p.usable), np.int8), 0, context, horizon)
    else:
        origins = window_origins(p.usable, p.label, PARTS[part], context, horizon)
    if not len(origins):
        raise InputError(f"{recording.path}: no window of {context} + {horizon} observed frames in part '{part}'.")
    return origins


def run_compare(config, run) -> Result:
    """Fit and rank forecasters; see ``compare``."""
    recording = open_checked(config.recording, config.context, config.horizon)
    hdf5io.claim(config.output, config.overwrite)
    models = list(dict.fromkeys([*BASELINES, *config.models]))
    if recording.panel.stimulus is None and "stimulus-mean" in models:
        models.remove("stimulus-mean")
        log.info("stimulus-mean is left out: this recording has no stimuli")
    judged = config.models[-1] if "informer" not in config.models else "informer"
    models = [m for m in models if m != judged] + [judged]
    if config.dry_run:
        return Result({}, {"models": models}, f"would compare {', '.join(models)}; nothing written")
    outcome = comparing.run(
        models, lambda name: fit_named(name, [recording.panel], config)[0], recording, config.context, config.horizon
    )
    results, line = judged_results(
        outcome, config.context, config.horizon, config.seed, "ar" if judged != "ar" else "persistence"
    )
    results["seeds"] = other_seeds(config, recording, outcome, models)
    made = comparing.figures(outcome, recording, config.context, config.horizon, config.seed)
    question = f"Which forecaster predicts {config.recording.name} best, {config.horizon} frames ahead?"
    comparing.write_folder(
        config.output, results, made, run.warnings, run.provenance(config, [config.recording]), question
    )
    return Result(
        {"folder": config.output, "report": config.output / "report.html"}, results, line, record=config.output
    )


def judged_results(outcome, context: int, horizon: int, seed: int, against: str) -> tuple[dict, str]:
    """Return the results with the verdict in it, and the line for a person."""
    results = comparing.results_of(outcome, context, horizon, seed)
    comparison, better, verdict = comparing.judge(outcome, context, horizon, seed, against)
    results["verdict"], results["beats_ar"] = verdict, better if against == "ar" else None
    results["verdict_interval"] = [comparison.low, comparison.high]
    gate = outcome.info[outcome.judged].get("gate_open")
    results["verdict"] += {True: "; gate open", False: "; gate closed, equal to the stack"}.get(gate, "")
    error = outcome.scores[outcome.judged].mse.mean()
    return results, f"{results['verdict']} (MSE {error:.4f}, {len(outcome.origins)} test windows)"


def other_seeds(config, recording: Recording, outcome, models: list[str]) -> dict[str, list[float]]:
    """Return the mean squared error of each trained model for every seed."""
    errors = {}
    for name in models:
        if name in CLOSED_FORM or config.n_seeds == 1:
            continue
        errors[name] = [float(outcome.scores[name].mse.mean())]
        for i in range(1, config.n_seeds):
            forecaster = fit_named(name, [recording.panel], config, seed=config.seed + i)[0]
            errors[name].append(
                float(((outcome.truth - forecaster.point.forecast(recording.panel, outcome.origins)) ** 2).mean())
            )
    return errors


def run_evaluate(config, run) -> Result:
    """Score a model folder; see ``evaluate``."""
    saved = data.load_model(config.model)
    context, horizon, name = saved.about["context"], saved.about["horizon"], saved.about["model"]
    recording = open_checked(config.recording, context, horizon)
    forecaster, trained = data.forecaster_for(saved, recording)
    if config.output is not None:
        hdf5io.claim(config.output, config.overwrite)
    if config.dry_run:
        return Result({}, {}, f"would score {name} on {config.recording}; nothing written")
    warn_if_trained_on(trained, recording, part_origins(recording, context, horizon), horizon)

    def fit(wanted: str):
        if wanted == name:
            return forecaster
        return with_spread(
            fit_closed_form(wanted, recording.panel, context, horizon, config.seed), recording.panel, context, horizon
        )

    outcome = comparing.run([m for m in ALWAYS if m != name] + [name], fit, recording, context, horizon)
    results, line = judged_results(outcome, context, horizon, config.seed, "ar" if name != "ar" else "persistence")
    outputs = {}
    if config.output is not None:
        made = comparing.figures(outcome, recording, context, horizon, config.seed)
        question = f"How well does {config.model.name} forecast {config.recording.name}?"
        comparing.write_folder(
            config.output, results, made, run.warnings, run.provenance(config, [config.recording]), question
        )
        outputs = {"report": config.output / "report.html"}
    return Result(outputs, results, line, record=config.output)


def run_plot(config) -> Result:
    """Draw a forecast file; see ``plot``."""
    from . import plots

    f, recording = data.open_forecast(config.forecast), open_recording(config.recording)
    n, horizon = f["mean"].shape[2], f["mean"].shape[1]
    if n != recording.panel.x.shape[1]:
        raise InputError(f"{config.recording}: {recording.panel.x.shape[1]} neurons; the forecast has {n}.")
    wrong = [i for i in config.neurons if not 0 <= i < n]
    if wrong:
        raise InputError(f"--neurons {wrong[0]}: rows are 0 to {n - 1}.")
    inside = f["origin"] + horizon < len(recording.times)
    if not inside.any():
        raise InputError(f"{config.forecast}: all forecasts lie after the recording's end; there is no truth to draw.")
    hdf5io.claim(config.output, config.overwrite)
    if config.dry_run:
        return Result({}, {}, f"would draw {inside.sum()} windows; nothing written")
    mean, origins, lead = f["mean"][inside][:400], f["origin"][inside][:400], min(horizon, 4) - 1
    truth = gather(recording.panel.x, origins, 1, horizon)
    error = ((truth - mean) ** 2).mean((0, 1)) / np.maximum(truth.var((0, 1)), 1e-12)
    neurons = np.array(config.neurons or np.argsort(error)[:4])
    levels = np.array([np.argmin(np.abs(f["levels"] - q)) for q in (0.05, 0.25, 0.75, 0.95)])
    bands = f["quantiles"][levels][:, inside][:, :400, lead][:, :, neurons]
    times, seconds = recording.times[origins + lead + 1], float(f["lead"][lead])
    named = [f"neuron {i}" for i in neurons]
    made = {
        "traces": plots.traces(
            times, truth[:, lead][:, neurons], mean[:, lead][:, neurons], bands, named, seconds, f["model"]
        ),
        "rasters": plots.rasters(times, truth[:, lead], mean[:, lead], seconds),
    }
    config.output.mkdir(parents=True, exist_ok=True)
    for name, figure in made.items():
        plots.save(figure, config.output / f"{name}.png")
    outputs = {name: Path(config.output) / f"{name}.png" for name in made}
    return Result(outputs, {"neurons": neurons}, f"{config.output}: {', '.join(made)}", record=config.output)
