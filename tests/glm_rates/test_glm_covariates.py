"""Running, licks, angles, positions and events of several types: known effects come back, noise adds nothing."""

import datetime
import json

import h5py
import numpy as np
import pytest

from glm_rates import config as options
from glm_rates.files import exchange
from glm_rates.files.covariates import Signal, read_covariates
from glm_rates.fit import covariates as fitting
from glm_rates.fit import extract as stage
from glm_rates.fit.populations import fit_population, populations, settings_for
from glm_rates.model import bases
from glm_rates.model.kernels import Window
from glm_rates.score import fit_and_score
from hdf5io.errors import InputError

SECONDS, BIN_S, N_UNITS = 600, 0.025, 6
ALL = ["lick=lagged", "tone=lagged", "running=spline", "phase=cyclic"]


def request(**changes):
    return {**options.ExtractConfig(data="x", output="y").model_dump(mode="json"), **changes}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Ten minutes of six units driven by running, the phase of a rhythm, and two types of events about 1 s apart."""
    folder, rng = tmp_path_factory.mktemp("covariates"), np.random.default_rng(3)
    n = int(SECONDS / BIN_S)
    t = (np.arange(n) + 0.5) * BIN_S
    running = 10 + 8 * np.convolve(rng.normal(size=n), np.ones(200) / 200**0.5, "same")
    phase = np.mod(2 * np.pi * 0.9 * t + 0.5 * np.sin(t / 7), 2 * np.pi)
    events = np.sort(rng.uniform(2, SECONDS - 2, 600))
    kind = np.where(rng.random(600) < 0.5, "lick", "tone")
    lag = np.arange(40)
    kernel = {"lick": 1.2 * np.exp(-lag / 6), "tone": np.sin(np.pi * lag / 30) * (lag < 30)}
    curve = np.tanh((running - 10) / 8)
    eta = np.log(10 * BIN_S) + np.outer(rng.uniform(0.4, 0.8, N_UNITS), curve) + 0.4 * np.cos(phase - 1.0)
    for name, shape in kernel.items():
        train = np.bincount((events[kind == name] / BIN_S).astype(int), minlength=n)
        eta = eta + np.convolve(train, shape)[:n]
    counts = rng.poisson(np.exp(np.minimum(eta, 1.5)))
    with open(folder / "spikes.csv", "w") as handle:
        handle.write("unit_id,time_s\n")
        for unit, row in enumerate(counts):
            bins = np.repeat(np.arange(n), row)
            handle.writelines(f"u{unit},{s:.5f}\n" for s in (bins + rng.random(len(bins))) * BIN_S)
    noise = rng.normal(size=n)
    with open(folder / "signals.csv", "w") as handle:
        handle.write("time_s,running,phase,noise\n")
        handle.writelines(f"{a:.4f},{b:.5f},{c:.5f},{d:.5f}\n" for a, b, c, d in zip(t, running, phase, noise))
    with open(folder / "events.csv", "w") as handle:
        handle.write("time_s,event\n")
        handle.writelines(f"{a:.5f},{b}\n" for a, b in zip(events, kind))
    return folder, kernel


def fitted(folder, **changes):
    params, arrays = stage.extract_times(folder / "spikes.csv", request(**changes))
    group = populations(params, arrays, False, False)[0]
    wanted = options.FitConfig(folder="x", output="y").model_dump(mode="json")
    return fit_population(group, Window(*params["window"]), settings_for(params, wanted, group)), params, arrays


def test_kernels_of_two_event_types_one_second_apart_are_recovered(world):
    folder, kernel = world
    found, params, _ = fitted(folder, covariates=[str(folder / "events.csv"), str(folder / "signals.csv")], bases=ALL)
    assert [c["basis"] for c in params["covariates"]] == ["lagged", "lagged", "spline", "cyclic"]
    for name, shape in kernel.items():
        every = found["covariate_" + name][:, :40]
        assert min(np.corrcoef(one, shape)[0, 1] for one in every) >= 0.95
        inside = np.abs(every - shape) < 3 * found[f"covariate_{name}_se"][:, :40] + 0.1
        assert inside.mean() > 0.85


def test_curves_of_running_and_phase_are_recovered(world):
    folder, _ = world
    found, _, _ = fitted(folder, covariates=[str(folder / "signals.csv")], bases=["running=spline", "phase=cyclic"])
    x = found["covariate_running_x"]
    often = np.abs(x - 10) < 16  # two standard deviations; beyond, the prior pulls the curve to nothing
    truth = np.tanh((x - 10) / 8)[often]
    assert min(np.corrcoef(one[often], truth)[0, 1] for one in found["covariate_running"]) >= 0.95
    angle = found["covariate_phase_x"]
    assert min(np.corrcoef(one, np.cos(angle - 1.0))[0, 1] for one in found["covariate_phase"]) >= 0.9
    np.testing.assert_allclose(found["covariate_phase"][:, 0], found["covariate_phase"][:, -1], atol=1e-9)  # a circle


def test_each_covariate_is_ablated_and_noise_costs_nothing(world, tmp_path):
    folder, _ = world
    chosen = request(covariates=[str(folder / "signals.csv")], bases=["running=spline", "phase=cyclic", "noise=spline"])
    (tmp_path / "request.json").write_text(json.dumps({"source": str(folder / "spikes.csv"), "options": chosen}))
    stage.run(tmp_path)
    wanted = options.FitConfig(folder="x", output="y", cv_folds=2).model_dump(mode="json")
    (tmp_path / "settings.json").write_text(json.dumps({**wanted, "full_fit": False}))
    fit_and_score.run(tmp_path)
    steps = exchange.load(tmp_path, "fit")[0]["summary"]["steps"]
    full = "history+running+phase+noise over history+"
    assert steps[full + "phase+noise"]["pooled_low"] > 0.01  # without running
    assert steps[full + "running+noise"]["pooled"] > 0.01  # without the phase
    assert steps[full + "running+phase"]["pooled"] > -0.0005  # without the noise


def test_splines_are_those_of_nemos():
    nemos = pytest.importorskip("nemos.basis")
    x = np.linspace(-2, 5, 101)
    theirs = np.asarray(nemos.BSplineEval(8, order=4, bounds=(-2, 5)).compute_features(x))
    np.testing.assert_allclose(bases.splines(x, -2, 5), theirs, atol=1e-5)
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ours = bases.cyclic_splines(angle, 0, 2 * np.pi)
    theirs = np.asarray(nemos.CyclicBSplineEval(6, order=4, bounds=(0, 2 * np.pi)).compute_features(angle))
    inside = theirs @ np.linalg.lstsq(theirs, ours, rcond=None)[0]
    np.testing.assert_allclose(inside, ours, atol=1e-4)
    np.testing.assert_allclose(ours.sum(axis=1), 1)


def test_a_bin_holds_the_mean_of_its_samples_or_what_lies_between():
    fast = Signal("fast", np.arange(0, 1, 0.01), np.arange(100.0))
    np.testing.assert_allclose(fitting.binned(fast, np.array([[0.095, 0.195, 0.295]])), [[14.5, 24.5]])
    slow = Signal("slow", np.array([0.0, 1.0, 2.0, 3.0, 9.0]), np.array([0.0, 10, 20, 30, 90]))
    found = fitting.binned(slow, np.array([[0.1, 0.2, 0.3], [5.0, 5.1, 5.2], [9.5, 9.6, 9.7]]))
    np.testing.assert_allclose(found[0], [1.5, 2.5])
    assert np.isnan(found[1:]).all()  # a gap far wider than the sampling, and after the end
    events = Signal("lick", np.array([0.11, 0.12, 0.25]), None)
    assert fitting.binned(events, np.array([[0.1, 0.2, 0.3]])).tolist() == [[2, 1]]


def test_bins_without_a_value_do_not_count(world, tmp_path):
    folder, _ = world
    lines = (folder / "signals.csv").read_text().splitlines()
    (tmp_path / "s.csv").write_text(
        "\n".join([lines[0], *[line for line in lines[1:] if not 100 < float(line.split(",")[0]) < 130]])
    )
    _, arrays = stage.extract_times(
        folder / "spikes.csv", request(covariates=[str(tmp_path / "s.csv")], bases=["running=linear"])
    )
    lost = (59 - len(arrays["taste"])) * 10 + (~arrays["counted"]).sum() * BIN_S
    assert 29 < lost < 31


def test_a_position_has_an_effect_in_two_dimensions(tmp_path):
    rng = np.random.default_rng(0)
    n = 12_000
    t = (np.arange(n) + 0.5) * BIN_S
    x, y = (50 + 45 * np.sin(t / p) for p in (3.1, 4.7))
    rate = 20 * np.exp(-((x - 30) ** 2 + (y - 60) ** 2) / (2 * 15**2)) + 1
    counts = rng.poisson(rate * BIN_S)
    times = (np.repeat(np.arange(n), counts) + rng.random(counts.sum())) * BIN_S
    (tmp_path / "spikes.csv").write_text("unit_id,time_s\n" + "\n".join(f"a,{v:.5f}" for v in times))
    (tmp_path / "xy.csv").write_text("time_s,x,y\n" + "\n".join(f"{a:.4f},{b:.4f},{c:.4f}" for a, b, c in zip(t, x, y)))
    found, _, _ = fitted(tmp_path, covariates=[str(tmp_path / "xy.csv")], bases=["x*y=plane"])
    points, field = found["covariate_x x y_x"], found["covariate_x x y"][0]
    truth = np.log(20 * np.exp(-((points[:, 0] - 30) ** 2 + (points[:, 1] - 60) ** 2) / (2 * 15**2)) + 1)
    assert np.corrcoef(field, truth)[0, 1] > 0.85


def test_time_series_of_an_nwb_file_are_found_by_name(world, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    nwb = pynwb.NWBFile("a test", "id", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    module = nwb.create_processing_module("behavior", "b")
    module.add(pynwb.TimeSeries(name="speed", data=np.arange(100.0), unit="cm/s", rate=10.0, starting_time=2.0))
    module.add(pynwb.TimeSeries(name="xy", data=np.arange(20.0).reshape(10, 2), unit="cm", timestamps=np.arange(10.0)))
    with pynwb.NWBHDF5IO(tmp_path / "b.nwb", "w") as io:
        io.write(nwb)
    (speed,) = read_covariates(tmp_path / "b.nwb", ["speed"], None)
    assert speed.time_s[:2].tolist() == [2.0, 2.1]
    pair = read_covariates(tmp_path / "b.nwb", ["xy_0", "xy_1"], None)
    assert [s.value[1] for s in pair] == [2.0, 3.0]
    with pytest.raises(InputError, match="no covariate 'pupil'; there are speed, xy_0, xy_1"):
        fitting.signals_of([tmp_path / "b.nwb"], ["pupil"], None)


@pytest.mark.parametrize(
    ("bases_", "said"),
    [
        (["running"], "expected NAME=BASIS with one of linear, spline"),
        (["running=cubic"], "expected NAME=BASIS"),
        (["running=plane"], "a plane is of two signals"),
        (["pupil=linear"], "no covariate 'pupil'; there are running, phase, noise"),
    ],
)
def test_a_wrong_basis_is_one_line(world, bases_, said):
    folder, _ = world
    with pytest.raises(InputError, match=said):
        stage.extract_times(folder / "spikes.csv", request(covariates=[str(folder / "signals.csv")], bases=bases_))


def test_infer_draws_the_effects_of_covariates(world, tmp_path, run_command):
    folder, _ = world
    target = tmp_path / "r.h5"
    chosen = [
        "--covariates",
        folder / "signals.csv",
        "--bases",
        "running=spline",
        "--cv-folds",
        2,
        "--plot-units",
        "none",
    ]
    done = run_command("glm_rates", "infer", folder / "spikes.csv", *chosen, "--output", target)
    assert done.returncode == 0, done.stderr
    with h5py.File(target) as h5:
        node = h5["populations/all"]
        assert node["covariate_running"].shape == node["covariate_running_se"].shape == (N_UNITS, bases.GRID)
        assert node["covariate_running"].attrs["units"] == "log rate"
    assert (tmp_path / "r_glm_output" / "plots" / "covariates.png").is_file()
    assert "history+running over history" in (tmp_path / "r_glm_output" / "report.html").read_text()


def test_covariates_of_a_blech_directory_use_the_times_of_its_trials(recording, tmp_path):
    t = np.arange(0, 220, 0.05)
    (tmp_path / "c.csv").write_text("time_s,ramp\n" + "\n".join(f"{a:.3f},{a:.3f}" for a in t))
    params, arrays = stage.extract_blech(
        recording, request(covariates=[str(tmp_path / "c.csv")], bases=["ramp=linear"])
    )
    lead, onset = params["covariate_lead"], params["onset_bin"]
    import csv

    with open(recording / "trial_info_frame.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    first = next(r for r in rows if r["dig_in_name_taste"] == "board-DIN-10" and r["taste_rel_trial_num"] == "0")
    at = int(np.flatnonzero(arrays["taste"] == 1)[0])
    assert arrays["covariates"][at, lead + onset, 0] == pytest.approx(float(first["start_taste"]) / 30_000, abs=0.05)


def drifting(folder, strength, seed=0):
    """Six units with a slow gain over 60 trials: spikes and events as tables, and the log gain of each trial (unit, trial)."""
    rng = np.random.default_rng(seed)
    n_trials, n_bins = 60, 160
    s = np.linspace(0, 1, n_trials)
    gain = strength * np.stack([np.sin(2 * np.pi * s + u) for u in range(N_UNITS)])
    lines = ["unit_id,time_s"]
    for unit in range(N_UNITS):
        counts = rng.poisson(12 * BIN_S * np.exp(gain[unit])[:, None], (n_trials, n_bins))
        trial, b = np.nonzero(counts)
        trial, b = (np.repeat(a, counts[trial, b]) for a in (trial, b))
        lines += [f"u{unit},{v:.5f}" for v in 4.0 * trial + (b + rng.random(len(b))) * BIN_S]
    (folder / "spikes.csv").write_text("\n".join(lines))
    order = rng.permutation(np.repeat(["a", "b"], n_trials // 2))
    (folder / "events.csv").write_text(
        "time_s,odor\n" + "\n".join(f"{4.0 * i + 0.8:.3f},{k}" for i, k in enumerate(order))
    )
    return gain


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_slow_gain_is_found_and_costs_nothing_where_there_is_none(tmp_path, strength):
    gain = drifting(tmp_path, strength)
    chosen = request(events=str(tmp_path / "events.csv"), drift=True, time_lims_from_stimulus=[-500, 2500])
    (tmp_path / "request.json").write_text(json.dumps({"source": str(tmp_path / "spikes.csv"), "options": chosen}))
    stage.run(tmp_path)
    wanted = options.FitConfig(folder="x", output="y", cv_folds=3).model_dump(mode="json")
    (tmp_path / "settings.json").write_text(json.dumps({**wanted, "full_fit": True}))
    fit_and_score.run(tmp_path)
    meta, found = exchange.load(tmp_path, "fit")
    step = meta["summary"]["steps"]["history+stimulus+drift over history+stimulus"]["pooled"]
    if strength == 0:
        assert step > -0.0005
        return
    assert step > 0.01
    x, curve = found["0.covariate_drift_x"], found["0.covariate_drift"]
    at = 4.0 * np.arange(60)
    recovered = np.stack([np.interp(at, x, one) for one in curve])
    assert min(np.corrcoef(a, b)[0, 1] for a, b in zip(recovered, gain)) > 0.9
