"""Are whole files answered: every sweep in one table, models compared on sweeps that were not fitted?"""

import csv
import json

import numpy as np
import pytest
from pydantic import ValidationError

from laa_bayes import config
from laa_bayes.files import recordings
from laa_bayes.neuron import simulator


def export(path, spikes):
    """Write a text export of three sweeps of a passive cell of 100 pF and 5 nS; with ``spikes`` it spikes all along the last."""
    t, rng = np.arange(0, 200, 0.25), np.random.default_rng(0)
    header, columns = ["Time (ms)"], [t]
    for i, pa in enumerate((-50.0, 40.0, -30.0), 1):
        current = np.where((t >= 30) & (t < 180), pa, 0.0)
        v = simulator.simulate(np.array([[100.0, 5.0, -70.0, 6.0, -40.0, 0.0]]), current, 0.25)[0]
        v = v + 0.05 * rng.standard_normal(len(t))
        if i == 3 and spikes:
            v[20::60], v[24::60] = 30.0, -70.0
        header += [f"Trace #{i} (mV)", f"Trace #{i} (pA)"]
        columns += [v, current]
    np.savetxt(path, np.column_stack(columns), delimiter="\t", header="\t".join(header), comments="", fmt="%.6g")
    return path


@pytest.fixture
def family(tmp_path):
    """Return a file of three sweeps, the last of which only spikes."""
    return export(tmp_path / "cell.txt", spikes=True)


@pytest.mark.parametrize(
    ("text", "expected"), [("all", [0, 1, 2, 3]), ("0-2", [0, 1, 2]), ("3,0-1", [0, 1, 3]), ("7", [7])]
)
def test_sweeps_are_named_by_ranges(text, expected):
    assert config.InferConfig(model="none", recording="a.abf", sweeps=text).chosen_sweeps(4) == expected


def test_sweeps_that_are_no_numbers_and_outputs_of_another_kind_are_refused():
    with pytest.raises(ValidationError, match="expected all, or numbers such as 0-5,8"):
        config.InferConfig(model="none", recording="a.abf", sweeps="first")
    with pytest.raises(ValidationError, match=r"name ending in .h5"):
        config.InferConfig(model="none", recording="a.abf", output="a.txt")
    with pytest.raises(ValidationError, match="exclude each other"):
        config.InferConfig(model="none", recording="a.abf", sweeps="all", sweep=3)
    with pytest.raises(ValidationError, match="begins at a network's draws, and --together has no network"):
        config.InferConfig(model="none", recording="a.abf", sweeps="all", together=True, refine="newton")


def test_sweeps_beyond_the_file_are_one_line(laa_here, family):
    for typed in (["infer", "none"], ["compare"]):
        for named in (["--sweeps", "1-9"], ["--sweeps", "7"], ["--sweeps", "1-9", "--dry-run"]):
            answer = laa_here(*typed, family, *named)
            assert answer.returncode == 2
            assert "the file has 3 sweeps (0 to 2)" in answer.stderr


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        (["--window", "5000:6000"], "sweep 0 lasts from 0 to 199.75 ms"),
        (["--current-from", "Trace #7"], "--current-from 'Trace #7' is none of the current columns"),
        (["--area-um2", "8600", "--prior", "lumped"], "--prior lumped does not fit a current in uA/cm2"),
    ],
)
def test_a_mistake_that_leaves_out_every_sweep_is_one_line_and_no_folder(laa_here, family, mistake, reason):
    """It was exit 3, the verdict of a recording that no model explains, beside a table of nothing."""
    answer = laa_here("infer", "none", family, "--sweeps", "0-1", *mistake)
    told = answer.stderr.splitlines()[-1]
    assert answer.returncode == 2
    assert "none of 2 sweeps can be fitted (the file has sweeps 0 to 2). sweep 0: " in told
    assert reason in told
    assert "sweep 1: " not in told  # the same reason once
    assert not family.with_suffix(".sweeps").exists()


def test_a_rehearsal_tells_which_sweeps_have_no_window(laa_here, family):
    answer = laa_here("infer", "none", family, "--sweeps", "all", "--dry-run", "--json")
    results = json.loads(answer.stdout)["results"]
    assert results["sweeps"] == [0, 1]
    assert "13 spikes, and no step" in results["left_out"][0]["reason"]
    assert laa_here("infer", "none", family, "--window", "5000:6000", "--dry-run").returncode == 2


def test_a_current_taken_from_a_file_of_several_sweeps_is_said_to_be_the_first(laa_here, family, tmp_path, caplog):
    """The verbs that take a current from a file have no --sweep."""
    args = ["--C_m", 100, "--g_L", 5, "--E_L", -70, "--k", 6, "--V_thr", -40, "--g-act", 0]
    answer = laa_here("trace", *args, "--current", family, "--output", tmp_path / "t.csv")
    assert answer.returncode == 0, answer.stderr
    assert "holds 3 sweeps; the current of sweep 0 is taken" in answer.stderr


def test_more_sweeps_than_one_fit_holds_are_refused_before_the_work(monkeypatch, family, laa_here):
    monkeypatch.setattr(recordings, "n_sweeps", lambda *_: 30)
    answer = laa_here("compare", family, "--sweeps", "all")
    assert answer.returncode == 2
    assert "--sweeps all are 30 sweeps, at most 12 are fitted together" in answer.stderr


def test_a_comparison_on_every_sweep_says_that_none_is_left_to_be_predicted(laa_here, family):
    told = "every sweep of the file is fitted, none is left that the models have not seen"
    assert told in laa_here("compare", family, "--sweeps", "all", "--dry-run").stderr
    assert told in laa_here("compare", family, "--sweeps", "0-2", "--dry-run").stderr
    assert told not in laa_here("compare", family, "--sweeps", "all", "--held-out", 0, "--dry-run").stderr
    assert told not in laa_here("compare", family, "--sweeps", "0-1", "--dry-run").stderr
    one = laa_here("compare", family, "--sweeps", "1", "--dry-run")  # one sweep is no fit of several
    assert "of sweep 1 of 0 to 2" in one.stdout


@pytest.mark.slow
def test_every_sweep_has_a_row_and_a_spiking_one_is_left_out_with_the_reason(laa_here, family):
    answer = laa_here("infer", "none", family, "--sweeps", "all", "--draws", 200, "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert (results["n_sweeps"], results["n_fitted"]) == (3, 2)
    with family.with_suffix(".sweeps").joinpath("sweeps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["typical", "typical", "left out"]
    assert "spikes" in rows[2]["reason"]
    assert [row["favoured"] for row in rows[:2]] == ["passive", "passive"]
    assert [float(row["favoured C_total (pF)"]) for row in rows[:2]] == pytest.approx([100.0, 100.0], rel=0.05)
    assert "2 of 3: sweep" in answer.stderr


@pytest.mark.slow
def test_models_are_compared_on_a_sweep_that_was_not_fitted(laa_here, family):
    answer = laa_here("compare", family, "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert (results["favoured"], results["n_held_out"]) == ("passive", 1)
    passive = results["models"]["passive"]
    assert passive["parameters"]["C_m"] == pytest.approx(100.0, rel=0.05)
    assert passive["held_out_rmse_mv"] < 0.2
    assert results["answer"]["unit"] == "log units (half of the BIC difference)"  # one held-out sweep has no interval
    assert results["answer"]["sentence"].startswith("the passive model beats ")


@pytest.mark.slow
def test_two_sweeps_that_were_not_fitted_answer(laa_here, tmp_path):
    """The answer is the error on sweeps that were not fitted, in the line, the file and the result."""
    path = export(tmp_path / "cell.txt", spikes=False)
    done = laa_here("compare", path, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    told = results["answer"]
    assert (results["favoured"], results["n_held_out"]) == ("passive", 2)
    assert told["unit"] == "mV of error on 2 sweeps that were not fitted"
    assert told["low"] < told["gain"] < told["high"]
    written = json.loads(path.with_suffix(".models").joinpath("models.json").read_text())
    assert written["answer"] == told
