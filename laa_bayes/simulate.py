"""Which simulations were asked for? Options become the recipe of a bank, or the trace of one neuron whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from . import config as configs
from .files.bank import read_recipe
from .files.recordings import read_current, read_recording
from .files.request import request_of
from .neuron.protocols import current_from_segments
from .neuron.recipe import Recipe
from .neuron.recording import Recording, against_the_current, apply_window, as_density, resample
from .neuron.simulator import protocol_current, simulate

FINEST_MS = 0.25  #: grid of a current taken from a recording, unless --dt-ms is typed


def recipe(config: configs.Model, n: int, seed: int, shard_size: int) -> Recipe:
    """Return everything that decides a bank's content, from the options."""
    current, dt_ms, unit = current_of(config)
    assumptions = (config.noise_mv, config.k_convention, config.method)
    return Recipe(config.resolved_priors(), current, dt_ms, unit, seed, n, shard_size, *assumptions)


def current_of(config: configs.Model) -> tuple[np.ndarray, float, str]:
    """Return current, grid and units (density or lumped) of --protocol, --protocol-from or the config's own segments.

    Raises
    ------
    InputError
        A current whose unit does not fit the prior's.
    """
    source = config.protocol_from if isinstance(config, configs.TrainConfig) else None
    if isinstance(config, configs.TrainConfig) and source is not None:
        current, dt_ms, unit = current_of_recording(config, source)
    elif config.segments or config.protocol in configs.PROTOCOLS:
        return protocol_current(config), config.dt_ms, config.units
    else:
        current, dt_ms, unit = read_current(Path(config.protocol))
    if (unit == "pA") != (config.units == "lumped"):
        raise InputError(
            f"{source or config.protocol}: the current is in {unit}, prior '{config.prior}' in {configs.UNITS[config.units]['current']}. "
            + ("Use --prior lumped, or give --area-um2." if unit == "pA" else "Use --prior default or measured.")
        )
    return current, dt_ms, config.units


def current_of_recording(config: configs.TrainConfig, source: Path) -> tuple[np.ndarray, float, str]:
    """Return current, grid and unit of the window of a recording that a network is to be trained for.

    Raises
    ------
    InputError
        The voltage says that the current is not the one that was injected.
    """
    whole = read_recording(source, request_of(config))
    if config.area_um2 and whole.current_unit == "pA":
        whole = as_density(whole, config.area_um2)
    part = apply_window(whole, config.window)
    wrong = against_the_current(part)
    if wrong:
        raise InputError(
            f"{part.source}: {wrong[0]} If the file is right, give the current as a table: --protocol FILE."
        )
    wanted = config.dt_ms if "dt_ms" in config.model_fields_set else FINEST_MS
    part = resample(part, max(wanted, part.dt_ms))
    return part.current, part.dt_ms, part.current_unit


def training_recipe(config: configs.TrainConfig) -> Recipe:
    """Return the recipe of the simulations that a training will use: those of --bank, or the ones its options describe."""
    if config.bank is not None:
        return read_recipe(config.bank)
    n = config.resolved_preset().n_simulations
    return recipe(config, n, config.seed, min(10_000, n))


def trace(config: configs.TraceConfig) -> Recording:
    """Return the simulated trace of one neuron."""
    if config.current in configs.PROTOCOLS:
        current = current_from_segments(configs.PROTOCOLS[config.current], config.duration_ms, config.dt_ms)
        dt_ms, unit = config.dt_ms, "uA/cm2"
    else:
        current, dt_ms, unit = read_current(Path(config.current))
    v = simulate(np.array([config.theta()]), current, dt_ms, config.v0_mv, config.method)[0]
    v = v + config.noise_mv * np.random.default_rng(config.seed).standard_normal(len(v))
    return Recording(v, current, unit, dt_ms, 0.0, "simulation")
