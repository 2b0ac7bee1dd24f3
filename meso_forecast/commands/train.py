"""``train``: one forecaster, fitted on one or several recordings."""

from __future__ import annotations

import numpy as np

from hdf5io.errors import InputError

from ..config import TrainConfig
from ..console import Result, Run
from ..files.model_folder import neuron_key, save_model
from ..files.recording import Recording
from ..fit.feasible import refuse_impossible
from ..fit.options import refuse_unread
from ..fit.registry import FORECASTERS, SEE_BEHAVIOUR, fit_named, open_checked, trained_spans


def run(config: TrainConfig, run: Run) -> Result:
    """Fit ``config.model`` on ``config.recordings``."""
    refuse_unread(config, [config.model])
    if config.behaviour != "none" and config.model not in SEE_BEHAVIOUR:
        raise InputError(
            f"--behaviour {config.behaviour}: {config.model} sees activity alone; {' and '.join(SEE_BEHAVIOUR)} see behaviour."
        )
    recordings = [open_checked(path, config.context, config.horizon, config.behaviour) for path in config.recordings]
    inputs = [r.input_names if config.behaviour != "none" else [] for r in recordings]
    for r, names in zip(recordings, inputs):
        if names != inputs[0]:
            raise InputError(
                f"{r.path}: its behaviour ({', '.join(names)}) is not that of {recordings[0].path} ({', '.join(inputs[0])})."
            )
    refuse_impossible(config, [config.model], [config.context])
    if config.dry_run:
        return Result({}, {}, f"would train {config.model} on {describe(recordings)}; nothing written")
    work = None if FORECASTERS[config.model].closed_form else config.output / "training"
    forecasters = fit_named(config.model, [r.panel for r in recordings], config, work)
    about = {
        "model": config.model, "context": config.context, "horizon": config.horizon, "config": config.model_dump(mode="json"),
        "provenance": run.provenance(config), "behaviour": config.behaviour, "inputs": inputs[0],
        "recordings": [
            {"path": r.path.name, "eid": r.eid, "n_neurons": r.panel.x.shape[1], "neurons": neuron_key(r), "dt_s": r.panel.dt_s,
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
        "n_notes": sum(len(r.notes) for r in recordings),
    }
    gates = (
        "" if config.model != "informer" else ", gate " + "/".join("open" if i["gate_open"] else "closed" for i in info)
    )
    line = f"{config.output}: {config.model} on {describe(recordings)}{gates}; score it with 'evaluate'"
    return Result({"model": config.output}, results, line, record=config.output)


def describe(recordings: list[Recording]) -> str:
    """Return a short description of recordings."""
    n = sum(r.panel.x.shape[1] for r in recordings)
    return f"{n} neurons" + (f" of {len(recordings)} recordings" if len(recordings) > 1 else "")
