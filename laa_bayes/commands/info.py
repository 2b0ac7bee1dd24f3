"""Say what a model folder, bank, posterior, prediction or recording holds."""

from __future__ import annotations

from pathlib import Path

from ..config import UNITS, InfoConfig
from ..console import Result, Run
from ..files import bank, model_folder, posterior_file, recordings
from ..files.request import request_of
from ..neuron.recipe import Recipe
from ..neuron.recording import step_onsets, upward_crossings

MODEL_KEYS = ("preset", "versions", "epochs", "training_seconds", "validation_loss", "data_sha256")


def run(config: InfoConfig, run: Run) -> Result:
    """Describe one file or folder."""
    results = describe(config)
    return Result({}, results, "; ".join(f"{key}: {value}" for key, value in results.items()))


def describe(config: InfoConfig) -> dict:
    """Return what there is to know about a path, by the kind of thing that it is."""
    path = config.path
    if (path / "model.json").exists():
        return describe_model(path)
    if (path / "bank.json").exists():
        return describe_bank(path)
    kind = posterior_file.kind_of(path)
    if kind == "posterior":
        return {"kind": kind, **posterior_file.read_posterior(path).results}
    if kind == "prediction":
        return {"kind": kind, **posterior_file.describe_prediction(path)}
    return describe_recording(config)


def describe_model(folder: Path) -> dict:
    """Return how a model was trained and what it assumes."""
    table = model_folder.read_json(folder)
    known = {key: table.get(key) for key in MODEL_KEYS}
    return {"kind": "model", **known, **describe_recipe(model_folder.recipe_of(folder, table))}


def describe_bank(folder: Path) -> dict:
    """Return how many traces of which recipe a bank has."""
    found = bank.read_recipe(folder)
    finished = sum(bank.is_finished(found, folder, i, count) for i, count in found.shards())
    counts = {"n": found.n, "shards": len(found.shards()), "finished": finished, "seed": found.seed}
    return {"kind": "bank", **counts, **describe_recipe(found)}


def describe_recipe(found: Recipe) -> dict:
    """Return prior, protocol and noise of a recipe in words."""
    from ..neuron.simulator import describe_prior

    units = UNITS[found.units]
    priors = {f"{name} ({units[name]})": describe_prior(prior) for name, prior in found.priors.items()}
    length = f"{len(found.current)} samples of {found.dt_ms:g} ms"
    return {"prior": priors, "protocol": length, "noise_mv": found.noise_mv, "k_convention": found.k_convention}


def describe_recording(config: InfoConfig) -> dict:
    """Return extent, steps and spikes of a sweep."""
    r = recordings.read_recording(config.path, request_of(config))
    return {
        "kind": "recording",
        "read": list(r.notes),
        "sweeps": recordings.n_sweeps(config.path, request_of(config)),
        "duration_ms": r.dt_ms * len(r.v_mv),
        "dt_ms": r.dt_ms,
        "voltage_mv": [float(r.v_mv.min()), float(r.v_mv.max())],
        "current": [float(r.current.min()), float(r.current.max())],
        "current_unit": r.current_unit,
        "steps_at_ms": [float(r.time_ms[i]) for i in step_onsets(r)],
        "spikes": len(upward_crossings(r.v_mv)),
    }
