"""Write a simulated blech_clust directory with known filters."""

from __future__ import annotations

import numpy as np

from .. import simulate as simulation
from ..config import SimulateConfig
from ..console import Result, Run
from ..files.results import may_write


def run(config: SimulateConfig, run: Run) -> Result:
    """A directory that ``infer`` reads."""
    may_write(config.output)
    if config.dry_run:
        n_trials = config.n_tastes * config.n_trials
        return Result(
            {},
            {"n_units": config.n_units, "n_trials": n_trials},
            f"would simulate {config.n_units} units in {n_trials} trials into {config.output}",
        )
    rng = np.random.default_rng(config.seed)
    session = simulation.simulate(config, rng)
    path = simulation.write_blech_directory(config.output, config, session, rng)
    n_trials, n_spikes = config.n_tastes * config.n_trials, int(session.counts.sum())
    found = {"n_units": config.n_units, "n_trials": n_trials, "n_spikes": n_spikes}
    line = f"{config.n_units} units, {n_trials} trials, {n_spikes} spikes; {config.output}"
    return Result({"recording": path, "truth": config.output / "truth.npz"}, found, line, record=config.output)
