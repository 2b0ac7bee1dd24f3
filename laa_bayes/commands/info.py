"""Say what a model folder, bank, posterior, prediction or recording holds."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import hdf5io

from ..config import UNITS, InfoConfig
from ..console import Result, Run
from ..files import recordings
from ..files.request import refuse_request, request_of
from ..neuron.recording import against_the_current, step_onsets, upward_crossings

if TYPE_CHECKING:
    from ..neuron.recipe import Recipe  # models and posteriors bring jax: each is imported where it is read

MODEL_KEYS = ("preset", "versions", "epochs", "training_seconds", "validation_loss", "data_sha256")
POSTERIOR_KEYS = ("kind", "mean", "sd", "units", "favoured", "verdict")  #: the line tells these, --json everything


def run(config: InfoConfig, run: Run) -> Result:
    """Describe one file or folder."""
    results = describe(config)
    more = {**results, "next": next_commands(config.path, results)}
    told = (
        {key: results[key] for key in POSTERIOR_KEYS if key in results} if results["kind"] == "posterior" else results
    )
    return Result({}, more, "; ".join(f"{key.replace('_', ' ')}: {in_words(value)}" for key, value in told.items()))


def in_words(value: object) -> str:
    """Return a result as a person reads it: four digits, lists without brackets."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {in_words(v)}" for key, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(in_words, value)) or "none"
    return str(value)


def next_commands(path: Path, found: dict) -> list[str]:
    """Return the command lines that one types next; words in capitals are the reader's (``neuropipes doctor`` prints them)."""
    data = shlex.quote(str(path))
    part = " --window sub-threshold" if found.get("spikes") else ""
    many = f"laa-bayes infer none {data} --sweeps all --output sweeps"
    one = f"laa-bayes infer none {data}{part} --output posterior.h5"
    return {
        "model": [f"laa-bayes diagnose {data}", f"laa-bayes infer {data} RECORDING --output posterior.h5"],
        "bank": [f"laa-bayes train --bank {data} --output MODEL"],
        "posterior": [
            f"laa-bayes plot {data} --kind fit --output fit.png",
            f"laa-bayes posterior-predict {data} --output predicted.h5",
        ],
        "recording": [many, one] if found.get("sweeps", 1) > 1 else [one],
    }.get(str(found["kind"]), [])


def describe(config: InfoConfig) -> dict:
    """Return what there is to know about a path, by the kind of thing that it is."""
    found = describe_made(config.path)
    if found is None:
        return describe_recording(config)
    refuse_request(config, config.path, found["kind"])
    return found


def describe_made(path: Path) -> dict | None:
    """Return what there is to know about what was made here; None for a recording."""
    if (path / "model.json").exists():
        return describe_model(path)
    if (path / "bank.json").exists():
        return describe_bank(path)
    if is_ours(path):
        from ..files import posterior_file

        kind = posterior_file.kind_of(path)
        if kind == "posterior":
            return {"kind": kind, **posterior_file.read_posterior(path).results}
        if kind == "prediction":
            return {"kind": kind, **posterior_file.describe_prediction(path)}
    return None


def is_ours(path: Path) -> bool:
    """Return whether an HDF5 file was made by this pipeline."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return False
    with hdf5io.read(path) as file:
        return str(file.attrs.get("schema", "")).startswith("laa_bayes/")


def describe_model(folder: Path) -> dict:
    """Return how a model was trained and what it assumes."""
    from ..files import model_folder

    table = model_folder.read_json(folder)
    known = {key: table.get(key) for key in MODEL_KEYS}
    return {"kind": "model", **known, **describe_recipe(model_folder.recipe_of(folder, table))}


def describe_bank(folder: Path) -> dict:
    """Return how many traces of which recipe a bank has."""
    from ..files import bank

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
    """Return extent, steps and spikes of a sweep, in the clock of the file (that of --window), and what speaks against its current."""
    r = recordings.read_recording(config.path, request_of(config))
    return {
        "kind": "recording",
        "read": list(r.notes),
        "sweeps": recordings.n_sweeps(config.path, request_of(config)),
        "start_ms": r.t0_ms,
        "duration_ms": r.dt_ms * len(r.v_mv),
        "dt_ms": r.dt_ms,
        "voltage_mv": [float(r.v_mv.min()), float(r.v_mv.max())],
        "current": [float(r.current.min()), float(r.current.max())],
        "current_unit": r.current_unit,
        "steps_at_ms": [float(r.time_ms[i]) for i in step_onsets(r)],
        "spikes": len(upward_crossings(r.v_mv)),
        "facts": against_the_current(r),
    }
