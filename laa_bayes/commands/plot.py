"""Draw a posterior, its fit, a trace, or the traces of a bank."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hdf5io.errors import InputError

from ..config import PARAMETERS, UNITS, PlotConfig
from ..console import Result, Run
from ..files import bank, posterior_file, recordings
from ..files.request import refuse_request, request_of
from ..neuron.priors import inferred, theta_from_z
from ..show import figures, plots


def run(config: PlotConfig, run: Run) -> Result:
    """Draw the figure that fits the file."""
    path = figures.save_figure(figure_of(config), config.output)
    return Result({"figure": path}, {}, str(path))


def figure_of(config: PlotConfig) -> Figure:
    """Return the figure for a bank, a posterior file or a recording."""
    if (config.path / "bank.json").exists():
        refuse_idle(config, "bank", ("auto", "trace", "priors"))
        return bank_figure(config)
    if config.path.is_dir():
        raise InputError(f"{config.path}: expected a posterior file, a recording or a bank.")
    if posterior_file.kind_of(config.path) == "posterior":
        refuse_idle(config, "posterior file", ("auto", "pairs", "fit", "trace"))
        return posterior_figure(config)
    if config.kind not in ("auto", "trace"):
        raise InputError(f"--kind {config.kind}: {config.path} is no posterior file. Use --kind trace.")
    r = recordings.read_recording(config.path, request_of(config))
    return plots.trace(r.time_ms, r.v_mv, r.current, r.current_unit, config.path.name)


def refuse_idle(config: PlotConfig, what: str, kinds: tuple[str, ...]) -> None:
    """Refuse a figure that there is not of such a file, and options about a recording.

    Raises
    ------
    InputError
        Which option, and what is expected.
    """
    if config.kind not in kinds:
        raise InputError(f"--kind {config.kind}: for a {what} use {', '.join(kinds)}.")
    refuse_request(config, config.path, what)


def bank_figure(config: PlotConfig) -> Figure:
    """Return fifty traces of a bank, or draws of its prior."""
    found = bank.load(config.path, 2000 if config.kind == "priors" else 50)
    recipe = found.recipe
    units = UNITS[recipe.units]
    if config.kind == "priors":
        names = inferred(recipe.priors)
        theta = theta_from_z(recipe.priors, found.z.astype(float))
        return plots.pairs({"prior": theta[:, [PARAMETERS.index(name) for name in names]]}, names, units)
    time_ms = np.arange(len(recipe.current)) * recipe.dt_ms
    title = f"{len(found.v_mv)} simulated traces, noise-free"
    return plots.trace(time_ms, found.v_mv, recipe.current, units["current"], title)


def posterior_figure(config: PlotConfig) -> Figure:
    """Return the pair plot, or the trace with its noise-free predictions, of a posterior file."""
    if config.kind in ("auto", "pairs"):
        exact, units = posterior_file.read_draws(config.path)
        network, _ = posterior_file.read_draws(config.path, "amortised")
        names = [name for name in PARAMETERS if name in exact]
        sets = {"network": np.stack([network[name] for name in names], axis=1)} if network else {}
        return plots.pairs(sets | {"exact": np.stack([exact[name] for name in names], axis=1)}, names, units)
    fitted = posterior_file.read_posterior(config.path)
    r = fitted.recording
    if config.kind == "trace":
        return plots.trace(r.time_ms, r.v_mv, r.current, r.current_unit, config.path.name)
    if config.kind == "fit":
        from ..posterior import likelihood

        clean = likelihood.predictions(fitted.spec, fitted.w[:200], fitted.observed)
        return plots.fit(r.time_ms, r.v_mv, r.current, clean, fitted.band, r.current_unit, config.path.name)
    raise InputError(f"--kind {config.kind}: for a posterior file use pairs, fit or trace.")
