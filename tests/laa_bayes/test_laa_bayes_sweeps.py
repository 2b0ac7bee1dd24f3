"""Are whole files answered: every sweep in one table, models compared on sweeps that were not fitted?"""

import csv
import json

import numpy as np
import pytest
from pydantic import ValidationError

from laa_bayes import config
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
    answer = laa_here("infer", "none", family, "--sweeps", "1-9")
    assert answer.returncode == 2
    assert "the file has 3 sweeps (0 to 2)" in answer.stderr


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
