"""A small simulated recording, and its results, made once for all tests of glm_rates."""

import json

import numpy as np
import pytest

from glm_rates import config as options
from glm_rates import simulate
from glm_rates.model import design
from glm_rates.model import population as model

WINDOW = design.Window(60, 180)


def simulated_trials(n_units=12, n_trials=15, n_tastes=2, seed=0, **effects):
    """Return (Trials, Simulated) of a session with known filters."""
    config = options.SimulateConfig(output="unused", n_units=n_units, n_trials=n_trials, n_tastes=n_tastes, **effects)
    session = simulate.simulate(config, np.random.default_rng(seed))
    n_bins = session.counts.shape[2]
    trials = design.Trials(
        session.counts.reshape(-1, n_bins, n_units),
        np.repeat(np.arange(n_tastes), n_trials),
        np.full(n_tastes * n_trials, simulate.BEFORE_MS // simulate.BIN_MS),
        np.zeros((n_tastes * n_trials, n_bins)),
    )
    return trials, session


@pytest.fixture(scope="session")
def make_trials():
    return simulated_trials


@pytest.fixture(scope="session")
def population():
    """Trials and truth of 12 coupled units, 2 tastes x 20 trials."""
    return simulated_trials(n_trials=20)


@pytest.fixture(scope="session")
def learned(population):
    """The learned fit of that population: (Design, Fit)."""
    settings = model.Settings(include_coupling=True)
    made = model.make_design(population[0], WINDOW, settings)
    return made, model.fit_design(made, settings)


@pytest.fixture(scope="session")
def recording(tmp_path_factory, run_command):
    """A simulated blech_clust directory; copy it before changing it."""
    folder = tmp_path_factory.mktemp("glm") / "a recording"  # a space, on purpose
    options_ = ["--n-units", 5, "--n-tastes", 2, "--n-trials", 9, "--seed", 3]
    done = run_command("glm_rates", "simulate", "--output", folder, *options_)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def inferred(tmp_path_factory, run_command, recording):
    """The recording after ``infer`` with everything on: (folder, JSON object)."""
    import shutil

    folder = tmp_path_factory.mktemp("glm") / "inferred"
    shutil.copytree(recording, folder)
    chosen = ["--include_coupling", "--separate_regions", "--cv_folds", 3, "--json"]
    done = run_command("glm_rates", "infer", folder, *chosen)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)
