"""What is in a file? The commands ``info``, ``plot`` and ``fixed-points --output``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import hdf5io

from . import bank as banks
from . import config as configs
from . import data, outputs, plots
from . import recording as recordings
from .claims import FIGURES, claim_file, save_figure
from .priors import inferred, theta_from_z


def write_current_voltage(config: configs.FixedPointsConfig, theta: tuple[float, ...]) -> dict[str, Path]:
    """Write the current-voltage figure."""
    path = claim_file(config.output, config.overwrite, None, FIGURES)
    return {"figure": save_figure(plots.current_voltage(theta, config.current), path)}


def describe(config: configs.InfoConfig) -> dict:
    """Return what a model folder, bank, posterior or recording holds."""
    path = config.path
    if (path / "model.json").exists():
        from . import archive

        table = archive.read_json(path)
        keys = ("preset", "versions", "epochs", "training_seconds", "validation_loss", "data_sha256")
        trained = banks.Recipe.from_json(table["recipe"])
        return {"kind": "model", **{key: table[key] for key in keys}, **describe_recipe(trained)}
    if (path / "bank.json").exists():
        found = banks.read_recipe(path)
        finished = sum(banks.is_finished(found, path, i, count) for i, count in found.shards())
        return {
            "kind": "bank",
            "n": found.n,
            "shards": len(found.shards()),
            "finished": finished,
            "seed": found.seed,
            **describe_recipe(found),
        }
    if path.is_dir() or not path.exists():
        raise hdf5io.InputError(
            f"{path}: " + ("neither a model folder nor a bank." if path.is_dir() else "no such file or folder.")
        )
    if path.suffix in (".h5", ".hdf5"):
        with hdf5io.read(path) as file:
            schema = str(file.attrs.get("schema", ""))
        if schema == outputs.POSTERIOR:
            return {"kind": "posterior", **outputs.read_posterior(path)[4]}
    r = data.read_recording(path, config.sweep, config.columns)
    steps = [float(r.time_ms[i]) for i in recordings.step_onsets(r)]
    spikes = len(recordings.upward_crossings(r.v_mv))
    extent = {
        "duration_ms": r.dt_ms * len(r.v_mv),
        "dt_ms": r.dt_ms,
        "voltage_mv": [float(r.v_mv.min()), float(r.v_mv.max())],
    }
    return {
        "kind": "recording",
        **extent,
        "current": [float(r.current.min()), float(r.current.max())],
        "current_unit": r.current_unit,
        "steps_at_ms": steps,
        "spikes": spikes,
    }


def describe_recipe(found: banks.Recipe) -> dict:
    """Return prior, protocol and noise of a recipe in words."""
    from .simulate import describe_prior

    units = configs.UNITS[found.units]
    priors = {f"{name} ({units[name]})": describe_prior(prior) for name, prior in found.priors.items()}
    length = f"{len(found.current)} samples of {found.dt_ms:g} ms"
    return {"prior": priors, "protocol": length, "noise_mv": found.noise_mv, "k_convention": found.k_convention}


def draw_figure(config: configs.PlotConfig) -> Path:
    """Write the figure that fits the file: pairs or fit of a posterior, voltages of a trace or bank, draws of a bank's prior."""
    path = claim_file(config.output, config.overwrite, config.path, FIGURES)
    if (config.path / "bank.json").exists():
        found = banks.load(config.path, 50)
        recipe_ = found.recipe
        unit = configs.UNITS[recipe_.units]["current"]
        if config.kind == "priors":
            names = inferred(recipe_.priors)
            theta = theta_from_z(recipe_.priors, banks.load(config.path, 2000).z.astype(float))
            columns = [configs.PARAMETERS.index(name) for name in names]
            return save_figure(plots.pairs({"prior": theta[:, columns]}, names, configs.UNITS[recipe_.units]), path)
        time_ms = np.arange(len(recipe_.current)) * recipe_.dt_ms
        return save_figure(
            plots.trace(time_ms, found.v_mv, recipe_.current, unit, f"{len(found.v_mv)} simulated traces, noise-free"),
            path,
        )
    if config.path.is_dir() or not config.path.exists():
        raise hdf5io.InputError(f"{config.path}: expected a posterior file, a recording or a bank.")
    schema = ""
    if config.path.suffix in (".h5", ".hdf5"):
        with hdf5io.read(config.path) as file:
            schema = str(file.attrs.get("schema", ""))
    if schema != outputs.POSTERIOR:
        if config.kind not in ("auto", "trace"):
            raise hdf5io.InputError(f"--kind {config.kind}: {config.path} is no posterior file. Use --kind trace.")
        r = data.read_recording(config.path)
        return save_figure(plots.trace(r.time_ms, r.v_mv, r.current, r.current_unit, config.path.name), path)
    return save_figure(posterior_figure(config), path)


def posterior_figure(config: configs.PlotConfig):
    """Return the pair plot, or the trace with its noise-free predictions, of a posterior file."""
    from . import likelihood

    if config.kind in ("auto", "pairs"):
        exact, units = outputs.read_draws(config.path)
        network, _ = outputs.read_draws(config.path, "amortised")
        names = [name for name in configs.PARAMETERS if name in exact]
        sets = {"network": np.stack([network[name] for name in names], axis=1)} if network else {}
        return plots.pairs(sets | {"exact": np.stack([exact[name] for name in names], axis=1)}, names, units)
    spec, observed, w, r, _ = outputs.read_posterior(config.path)
    if config.kind == "trace":
        return plots.trace(r.time_ms, r.v_mv, r.current, r.current_unit, config.path.name)
    if config.kind == "fit":
        with hdf5io.read(config.path) as file:
            band = file["predictive_band"][()]
        clean = likelihood.predictions(spec, w[:200], observed)
        return plots.fit(r.time_ms, r.v_mv, r.current, clean, band, r.current_unit, config.path.name)
    raise hdf5io.InputError(f"--kind {config.kind}: for a posterior file use pairs, fit or trace.")
