"""``train``: one forecaster, fitted on one or several recordings."""

from __future__ import annotations

import json

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import TrainConfig
from ..console import Result, Run
from ..files.model_folder import neuron_key, save_model
from ..files.recording import Recording
from ..fit.registry import FORECASTERS, fit_named, open_checked, trained_spans


def run(config: TrainConfig, run: Run) -> Result:
    """Fit ``config.model`` on ``config.recordings``."""
    recordings = [open_checked(path, config.context, config.horizon) for path in config.recordings]
    if len(recordings) > 1 and not FORECASTERS[config.model].several:
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
    if not FORECASTERS[config.model].closed_form:
        work = config.output / "training"
        remember(config)
    forecasters = fit_named(config.model, [r.panel for r in recordings], config, work)
    about = {
        "model": config.model, "context": config.context, "horizon": config.horizon, "config": config.model_dump(mode="json"),
        "provenance": run.provenance(config, config.recordings),
        "recordings": [
            {"path": r.path.name, "eid": r.eid, "n_neurons": r.panel.x.shape[1], "neurons": neuron_key(r),
             "trained_s": trained_spans(r)} for r in recordings
        ],
    }  # fmt: skip
    save_model(config.output, about, forecasters)
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
