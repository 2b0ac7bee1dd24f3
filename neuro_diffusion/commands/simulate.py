"""Simulate one network's recording with its true weights beside it."""

from __future__ import annotations

from ..config import SimulateConfig
from ..console import Result, Run
from ..files import recordings
from ..rate_network.weights import get_spectral_radius
from ..simulate import simulate


def run(config: SimulateConfig, run: Run) -> Result:
    """Simulate and write."""
    if config.dry_run:
        size = {"n_trials": config.n_trials, "n_time": config.n_time, "n_neurons": config.n_neurons}
        return Result(
            {}, size, f"would simulate {config.n_trials} trials of {config.n_neurons} neurons to {config.output}"
        )
    found = simulate(config)
    recordings.save(
        config.output, found.activity, found.W, found.h0, found.input, run.provenance(config), found.stimulus
    )
    K, T, N = found.activity.shape
    radius = float(get_spectral_radius(found.W))
    results = {
        "n_trials": K,
        "n_time": T,
        "n_neurons": N,
        "spectral_radius": radius,
        "dt_over_tau": config.dt / config.tau,
    }
    line = f"{K} trials of {T} steps, {N} neurons, spectral radius {radius:.2f}: {config.output}"
    return Result({"recording": config.output}, results, line, record=config.output)
