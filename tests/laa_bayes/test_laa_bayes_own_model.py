"""Is a neuron model that a person wrote inferred like ours? Shown with the adaptive exponential neuron of the README."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import laa_bayes
from hdf5io.errors import InputError
from laa_bayes.files import own_model
from laa_bayes.neuron.own import voltage_of_own

TRUE = {"C": 120.0, "g_L": 7.0, "E_L": -68.0, "V_T": -50.0, "Delta_T": 2.5, "a": 3.0, "tau_w": 80.0}
N, DT = 1200, 0.25
CURRENT = np.where((np.arange(N) >= 200) & (np.arange(N) < 800), 90.0, 0.0)


@pytest.fixture(scope="module")
def adex(tmp_path_factory):
    """Return the file that the README shows."""
    text = (Path(laa_bayes.__file__).parent / "README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path = tmp_path_factory.mktemp("own") / "adex.py"
    path.write_text(block)
    return path


def reference():
    """Return the voltage by a solver of its own (tolerance 1e-9)."""
    p = TRUE

    def slope(_, x, i):
        v, w = x
        up = p["g_L"] * p["Delta_T"] * np.exp((v - p["V_T"]) / p["Delta_T"])
        return (-p["g_L"] * (v - p["E_L"]) + up - w + i) / p["C"], (p["a"] * (v - p["E_L"]) - w) / p["tau_w"]

    x, v = np.array([-68.0, 0.0]), []
    for i in CURRENT:
        v.append(x[0])
        x = solve_ivp(slope, (0, DT), x, args=(i,), rtol=1e-9, atol=1e-9).y[:, -1]
    return np.array(v)


def test_the_readmes_neuron_follows_its_equation(adex):
    model = own_model.read_own_model(adex)
    assert model.units == ("pF", "nS", "mV", "mV", "mV", "nS", "ms")
    v = voltage_of_own(model, TRUE, CURRENT, -68.0, DT, 2)
    assert np.asarray(v) == pytest.approx(reference(), abs=1e-3)


@pytest.mark.slow
def test_the_parameters_of_a_simulated_adaptive_neuron_are_found(adex, laa_here, tmp_path):
    rng, noise = np.random.default_rng(0), np.zeros(N)
    for i in range(1, N):
        noise[i] = 0.9 * noise[i - 1] + 0.02 * rng.standard_normal()
    columns = np.column_stack([DT * np.arange(N), reference() + 0.01 * CURRENT + noise, CURRENT])
    np.savetxt(tmp_path / "a.csv", columns, delimiter=",", header="time_ms,voltage_mV,current_pA", comments="")
    answer = laa_here("own", adex, tmp_path / "a.csv", "--window", "all", "--draws", 300, "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    rows = {row["parameter"]: row for row in results["parameters"]}
    for name in ("C", "g_L", "E_L", "a", "tau_w"):
        assert abs(rows[name]["mean"] - TRUE[name]) < 4 * rows[name]["sd"]
        assert rows[name]["identified"]
    assert rows["R_s"]["mean"] == pytest.approx(10.0, abs=1.0)
    assert rows["v0"]["mean"] == pytest.approx(-68.0, abs=0.3)
    assert results["bic_over_passive"] > 50


@pytest.mark.slow
def test_a_current_of_turned_sign_is_told_of_a_model_of_ones_own(adex, laa_here, tmp_path):
    noisy = reference() + 0.02 * np.random.default_rng(0).standard_normal(N)
    columns = np.column_stack([5000 + DT * np.arange(N), noisy, -CURRENT])
    np.savetxt(tmp_path / "a.csv", columns, delimiter=",", header="time_ms,voltage_mV,current_pA", comments="")
    answer = laa_here("own", adex, tmp_path / "a.csv", "--window", "+0:200", "--draws", 200, "--json")
    assert answer.returncode == 3, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert results["verdict"] == "misspecified"
    assert "moves against the current at its step (5050 ms)" in results["facts"][0]
    assert not any(row["identified"] for row in results["parameters"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_of_this_name", "cannot be run (ModuleNotFoundError"),
        ("def start(p, v0, current):\n    return (v0,)", "no PARAMETERS, no slope"),
        ("PARAMETERS = {'R_s': ('MOhm', {})}\nstart = slope = print", "the name 'R_s' is taken"),
        ("PARAMETERS = {'C': 'pF'}\nstart = slope = print", "'C' is not (unit, prior)"),
        (
            "PARAMETERS = {'C': ('pF', {'distribution': 'cauchy'})}\nstart = slope = print",
            "prior of 'C': Input should be",
        ),
        ("PARAMETERS = {}\nstart = slope = print", "PARAMETERS is no table"),
    ],
)
def test_a_file_that_is_no_model_is_one_line(text, reason, tmp_path):
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(InputError, match=re.escape(reason)):
        own_model.read_own_model(tmp_path / "a.py")
