"""Can a network be trained for the current of one's own recording, and does it then answer that recording and no other?"""

import json
import sys

import numpy as np
import pytest

from laa_bayes.neuron import simulator

TINY = ("--preset", "demo", "--n-simulations", 1024, "--epochs", 1, "--summary-widths", 16, "--flow-depth", 1)
CURRENT_OF = ("--window", "20:80", "--area-um2", 10_000)  # 1e-4 cm2: 100 pA are 1 uA/cm2


@pytest.fixture(scope="module")
def cell_csv(tmp_path_factory):
    """Return a CSV file of a membrane of 100 pF and 10 nS behind a step of -50 pA, with slow noise of .1 mV."""
    t, rng = np.arange(0, 120, 0.25), np.random.default_rng(0)
    current = np.where(t >= 40, -50.0, 0.0)
    v = simulator.simulate(np.array([[1.0, 0.1, -65.0, 5.0, -40.0, 3.0]]), current / 100, 0.25)[0]
    noise = np.zeros(len(t))
    for i in range(1, len(t)):
        noise[i] = 0.9 * noise[i - 1] + 0.04 * rng.standard_normal()
    path = tmp_path_factory.mktemp("own") / "cell.csv"
    table = np.column_stack([t, v + noise, current])
    np.savetxt(path, table, delimiter=",", header="time_ms,voltage_mV,current_pA", comments="")
    return path


@pytest.fixture
def own_model(laa_here, cell_csv):
    """Return the folder of a tiny network trained for the current of ``cell_csv``, made once."""
    folder = cell_csv.with_name("model")
    if not folder.exists():
        options = ("--noise-mv", 0.1, "--protocol-from", cell_csv, *CURRENT_OF)
        answer = laa_here("train", *TINY, *options, "--output", folder, "--json")
        assert answer.returncode == 0, answer.stderr
        results = json.loads(answer.stdout)["results"]
        assert results["estimated_seconds"] > 0
        assert "seconds for 1 epochs" in answer.stderr
    return folder


def test_a_recording_whose_current_is_turned_gives_no_current_and_info_says_so(laa_here, cell_csv, tmp_path):
    t, v, current = np.loadtxt(cell_csv, delimiter=",", skiprows=1, unpack=True)
    path = tmp_path / "turned.csv"
    table = np.column_stack([1000 + t, v, -current])
    np.savetxt(path, table, delimiter=",", header="time_ms,voltage_mV,current_pA", comments="")
    options = ("--protocol-from", path, "--window", "+20:80", "--area-um2", 10_000)
    answer = laa_here("train", *TINY, *options, "--output", tmp_path / "m", "--dry-run")
    assert answer.returncode == 2
    assert "the voltage moves against the current at its step (1040 ms)" in answer.stderr
    told = laa_here("info", path, "--json")
    results = json.loads(told.stdout)["results"]
    assert "(1040 ms)" in results["facts"][0]
    assert (results["start_ms"], results["steps_at_ms"]) == (1000.0, [1040.0])
    assert json.loads(laa_here("info", cell_csv, "--json").stdout)["results"]["facts"] == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--window", "20:80"], "Use --prior lumped, or give --area-um2"),
        ([*CURRENT_OF, "--sweep", 3], "--sweep 3, but the table holds 1 trace"),
        (["--window", "20:900", "--area-um2", 10_000], "lasts from 0 to 119.75 ms"),
        (["--window", "first-spike", "--area-um2", 10_000], "0 spikes, none after a current step"),
    ],
)
@pytest.mark.parametrize("how", [[], ["--dry-run"]])
def test_a_recording_that_cannot_give_the_current_is_refused_before_a_folder_is_made(
    options, reason, how, laa_here, cell_csv, tmp_path
):
    answer = laa_here("train", *TINY, "--protocol-from", cell_csv, *options, *how, "--output", tmp_path / "m")
    assert answer.returncode == 2
    assert reason in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not (tmp_path / "m").exists()


def test_the_network_answers_its_recording_in_its_own_white_noise(laa_here, own_model, cell_csv):
    output = cell_csv.with_name("none.h5")
    how = ("--refine", "none", "--no-report", "--output", output, "--overwrite", "--force", "--json")
    answer = laa_here("infer", own_model, cell_csv, *CURRENT_OF, *how)
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert (results["network"], results["refine"], results["nuisance"]) == (True, "none", {})
    assert (results["n_samples"], results["grid_ms"], results["units"]["C_m"]) == (240, 0.25, "uF/cm2")


@pytest.mark.slow
def test_refined_the_noise_of_the_recording_is_estimated_and_the_truth_is_found(laa_here, own_model, cell_csv):
    output = cell_csv.with_name("refined.h5")
    answer = laa_here("infer", own_model, cell_csv, *CURRENT_OF, "--no-report", "--output", output, "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert results["network"] is True
    assert set(results["nuisance"]) == {"v0", "R_s", "sigma", "phi"}
    for name, value in (("C_m", 1.0), ("g_L", 0.1), ("E_L", -65.0)):
        assert abs(results["mean"][name] - value) < 4 * results["sd"][name]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--window", "20:80"], "Give the membrane area: --area-um2"),
        (["--window", "20:90", "--area-um2", 10_000], "280 samples of 0.25 ms, the network was trained on 240"),
        (["--window", "20:80", "--area-um2", 20_000], "the current is up to 0.25 uA/cm2 away from the network's"),
    ],
)
def test_another_window_or_area_than_the_networks_is_named(options, reason, laa_here, own_model, cell_csv):
    answer = laa_here("infer", own_model, cell_csv, *options, "--refine", "none", "--output", "never.h5")
    assert answer.returncode == 2
    assert reason in answer.stderr


def test_nuts_without_numpyro_is_exit_5_and_one_line(laa_here, trace_csv, monkeypatch):
    for name in ("numpyro", "numpyro.infer"):
        monkeypatch.setitem(sys.modules, name, None)
    answer = laa_here("infer", "none", trace_csv, "--noise", "known", "--refine", "nuts")
    assert answer.returncode == 5
    assert answer.stderr == (
        "laa-bayes: infer: --refine nuts needs numpyro: pip install numpyro. The default, laplace, does not.\n"
    )
    assert not trace_csv.with_suffix(".posterior.h5").exists()
