"""The laser as a kernel of its own and with the stimulus: known kernels are found again, a laser that does nothing costs nothing."""

import csv
import json
import shutil

import h5py
import numpy as np
import pytest

from glm_rates.fit import laser
from glm_rates.fit.populations import Population, fit_population, settings_for
from glm_rates.model.design import Trials
from glm_rates.model.kernels import Window
from glm_rates.score import evaluate

N_UNITS, N_TRIALS, N_BINS, WINDOW, ONSET = 16, 100, 200, Window(40, 160), 60
OPTIONS = {"laser": "kernel", "bin_size": 25, "covariate_window": 500}


def session(gain, seed=0):
    """Units at 20 Hz with a taste response; every second trial has the laser for 250 ms somewhere, and ``gain`` of its true effects."""
    rng = np.random.default_rng(seed)
    lag, bins = np.arange(20), np.arange(N_BINS)
    own = -0.5 * np.exp(-lag / 4) + 0.06 * np.exp(-(((lag - 14) / 3) ** 2))
    response = np.where(bins >= ONSET, np.exp(-np.maximum(bins - ONSET, 0) / 15.0), 0)
    flagged = np.arange(N_TRIALS) % 2 == 0
    start = rng.uniform(1000, 2500, N_TRIALS)
    intervals = np.stack([start, start + 250], axis=1) * flagged[:, None]
    on = laser.laser_on(intervals, -500, N_BINS * 25, 25)
    drive = np.stack([np.convolve(trial, own)[20 : 20 + N_BINS] for trial in on])
    with_stimulus = -0.8 * flagged[:, None] * response
    rate = 0.5 * np.exp(0.8 * response + gain * (drive + with_stimulus))
    counts = rng.poisson(np.repeat(rate[:, :, None], N_UNITS, axis=2)).astype(np.int16)
    arrays = {"counts": counts, "taste": np.zeros(N_TRIALS, int), "onset": np.full(N_TRIALS, ONSET)}
    params = {"bin_size": 25, "history_window": 250, "coupling_window": 125, "stimulus": True, "laser": False}
    laser.add_laser_effects(params, arrays, OPTIONS, intervals, flagged, (WINDOW.start, WINDOW.stop), arrays["onset"])
    data = Trials(
        counts, arrays["taste"], arrays["onset"], np.zeros((N_TRIALS, N_BINS)), covariates=arrays["covariates"]
    )
    group = Population("all", None, np.arange(N_UNITS), np.arange(N_TRIALS), data)
    return group, settings_for(params, {}, group), own, -0.8 * response[ONSET : ONSET + 100]


def test_the_kernels_of_the_laser_are_found_again():
    group, settings, own, with_stimulus = session(1.0)
    found = fit_population(group, WINDOW, settings)
    assert [c.name for c in settings.covariates] == ["laser kernel", "laser x stimulus"]
    for name, truth in (("laser kernel", own), ("laser x stimulus", with_stimulus)):
        value, error = found[f"covariate_{name}"].mean(axis=0), found[f"covariate_{name}_se"]
        n = min(len(truth), len(value))
        assert np.corrcoef(value[:n], truth[:n])[0, 1] > 0.95
        assert error.shape == found[f"covariate_{name}"].shape
    total = found["covariate_laser kernel"].sum(axis=1)
    assert abs(total.mean() - own.sum()) < 0.3  # the gain of a long pulse, -1.9 or so


def held_out(group, settings):
    parts = [evaluate.score_fold(group.data, WINDOW, settings, 3, fold) for fold in range(3)]
    spikes = group.data.counts[:, slice(*WINDOW)].sum()
    scores = {n: sum(p.log_likelihood[n].sum() for p in parts) / np.log(2) / spikes for n in parts[0].log_likelihood}
    return scores["history+stimulus+laser kernel+laser x stimulus"], scores


def test_each_effect_of_the_laser_is_left_out_once_and_noise_costs_little():
    group, settings, *_ = session(1.0)
    full, scores = held_out(group, settings)
    assert full > scores["history+stimulus+laser kernel"] + 0.005
    assert full > scores["history+stimulus+laser x stimulus"] + 0.02
    full, scores = held_out(*session(0.0)[:2])
    assert full > scores["history+stimulus"] - 5e-4


def test_the_command_draws_them(recording, tmp_path, run_command):
    folder = tmp_path / "copy"
    shutil.copytree(recording, folder)
    with open(folder / "trial_info_frame.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        lit = int(row["taste_rel_trial_num"]) % 2 == 0
        row.update(laser=str(lit), laser_lag_ms=200 if lit else 0, laser_duration_ms=800 if lit else 0)
    with open(folder / "trial_info_frame.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    target = tmp_path / "r.h5"
    chosen = ["--laser", "kernel", "--cv-folds", 2, "--plot-units", "none", "--json", "--output", target]
    done = run_command("glm_rates", "infer", folder, *chosen)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["results"]["steps"]
    assert "history+stimulus+laser kernel+laser x stimulus over history+stimulus+laser x stimulus" in steps
    with h5py.File(target) as h5:
        assert h5["populations/all/covariate_laser kernel"].shape == (5, 41)
    assert (tmp_path / "r_glm_output" / "plots" / "covariates.png").is_file()


def test_a_laser_that_is_never_on_gives_no_kernel(caplog):
    params, arrays = {"covariates": []}, {"counts": np.zeros((4, 20, 1))}
    flagged = np.array([True, False, True, False])
    laser.add_laser_effects(params, arrays, OPTIONS, np.zeros((4, 2)), flagged, (10, 20), np.full(4, 12))
    assert params["covariates"] == []
    assert "no laser kernel" in caplog.text


@pytest.fixture(autouse=True)
def _told(caplog):
    caplog.set_level("WARNING", "glm_rates")
