"""Does the comparison of models name the one that made the trace?"""

import json

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import expit

from hdf5io.errors import InputError
from laa_bayes import config
from laa_bayes.commands.infer import line_of
from laa_bayes.files import posterior_file
from laa_bayes.neuron import dynamics, recording, simulator
from laa_bayes.posterior import likelihood, rivals, summary

CURRENT = np.where(np.arange(480) >= 80, -100.0, 0.0)
THETA = np.array([90.0, 5.0, -65.0, 6.0, -50.0, 0.0])


def two_compartments(c_2, g_c, current=CURRENT):
    with jax.enable_x64(True):
        return np.asarray(simulator.two_compartment_voltage(THETA, c_2, g_c, current, -65.0, 0.25))


def ar_noise(rng, sd=0.02, phi=0.9):
    noise = np.zeros(480)
    for i in range(1, 480):
        noise[i] = phi * noise[i - 1] + sd * rng.standard_normal()
    return noise


def compared(v):
    spec = likelihood.recording_spec(config.PRIORS["lumped"], 0.25, 2.0**-5, True)
    observed = likelihood.Observation(v, CURRENT, 1.0, 1e-3 * CURRENT)
    starts = np.random.default_rng(2).standard_normal((48, len(spec.names)))
    found = likelihood.fit(spec, starts, observed, 60)
    return rivals.compare(spec, observed, found.w[np.argmin(found.cost)], np.random.default_rng(1), 60)


def test_activation_behind_a_second_compartment_follows_its_equation():
    theta, c_2, g_c = np.array([80.0, 6.0, -66.0, 5.0, -52.0, 300.0]), 20.0, 60.0

    def slope(_, x, current):
        c_m, g_l, e_l, k, v_thr, g_act = theta
        active = g_act * expit((x[1] - v_thr) / k)
        return (current + g_c * (x[1] - x[0])) / c_2, (g_c * (x[0] - x[1]) - g_l * (x[1] - e_l) + active) / c_m

    x, expected = np.array([-65.0, -65.0]), []
    for current in CURRENT:
        expected.append(x[0])
        x = solve_ivp(slope, (0, 0.25), x, args=(current,), rtol=1e-9, atol=1e-9).y[:, -1]
    with jax.enable_x64(True):
        found = simulator.two_compartment_voltage(jnp.asarray(theta), c_2, g_c, jnp.asarray(CURRENT), -65.0, 0.25, 2)
    assert np.asarray(found) == pytest.approx(np.array(expected), abs=0.01)


def test_a_quasi_active_membrane_sags_to_the_conductance_of_both():
    with jax.enable_x64(True):
        theta, current = jnp.asarray([100.0, 5.0, -65.0, 6.0, -50.0, 0.0]), jnp.full(4000, -50.0)
        v = np.asarray(simulator.quasi_active_voltage(theta, 5.0, 40.0, current, -65.0, 0.25))
        alone = np.asarray(simulator.quasi_active_voltage(theta, 1e-12, 40.0, current, -65.0, 0.25))
    assert v[-1] == pytest.approx(-65 - 50 / 10, abs=1e-3)
    assert v.min() < v[-1] - 0.5  # below the steady voltage first
    assert alone[400] == pytest.approx(-65 - 10 * (1 - np.exp(-0.25 * 400 / 20)), abs=1e-3)


def test_a_richer_model_wins_only_where_it_beats_its_special_cases_clearly():
    bic = {"passive": 20.0, "two-compartment": 40.0, "quasi-active h": 30.0, "laa": 1.8, "laa + two-compartment": 0.0}
    models = {name: rivals.Rival(None, np.zeros(1), {}, value, 0.0) for name, value in bic.items()}
    assert rivals.favoured(models) == "laa"
    models["laa"] = models["laa"]._replace(bic=8.0)
    assert rivals.favoured(models) == "laa + two-compartment"
    assert rivals.not_excluded(models) == []
    sag = {**bic, "quasi-active h": 0.0, "laa": 3.0, "laa + two-compartment": 15.0}
    models = {name: rivals.Rival(None, np.zeros(1), {}, value, 0.0) for name, value in sag.items()}
    assert rivals.favoured(models) == "laa"  # sag has to be clearly better than another cause of bending
    assert rivals.not_excluded(models) == ["quasi-active h"]


def test_two_compartments_follow_the_matrix_exponential_of_their_equation():
    c_2, g_c, (c_m, g_l, e_l) = 20.0, 60.0, THETA[:3]
    matrix = np.array([[-g_c / c_2, g_c / c_2], [g_c / c_m, -(g_c + g_l) / c_m]])
    steady = np.linalg.solve(matrix, [100.0 / c_2, 0.0])
    expected = [(steady - expm(matrix * 0.25 * i) @ steady)[0] + e_l for i in range(400)]
    assert two_compartments(c_2, g_c)[80:] == pytest.approx(expected, abs=1e-6)


def test_a_tight_second_compartment_adds_its_capacitance_to_the_membrane():
    tau = (90.0 + 30.0) / 5.0
    v = two_compartments(30.0, 1e5)
    assert v[80:] == pytest.approx(-65 - 20 * (1 - np.exp(-0.25 * np.arange(400) / tau)), abs=0.02)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("passive", lambda: simulator.simulate(THETA[None], CURRENT, 0.25)[0]),
        ("two-compartment", lambda: two_compartments(30.0, 60.0)),
        (
            "laa",
            lambda: simulator.simulate(
                np.array([[62.0, 20.0, -86.5, 6.45, -79.0, 463.0]]), CURRENT, 0.25,
                dynamics.fixed_points((62.0, 20.0, -86.5, 6.45, -79.0, 463.0))[0].v_mv,
            )[0],
        ),
    ],
)  # fmt: skip
def test_the_model_that_made_the_trace_is_favoured(name, clean):
    models = compared(clean() + 0.010 * CURRENT + ar_noise(np.random.default_rng(0)))
    assert rivals.favoured(models) == name
    if name != "laa":
        assert models[name].values["C_total"] == pytest.approx(120.0 if name == "two-compartment" else 90.0, rel=0.05)
        assert summary.comparison(models)["activation_supported"] is False


def test_another_current_is_predicted_with_the_electrodes_drop_in_either_unit():
    w, pa = np.zeros((3, 10)), -50.0 * (np.arange(480) >= 200)
    w[:, 7] = 0.5  # 10 MOhm
    lumped = likelihood.recording_spec(config.PRIORS["lumped"], 0.25, 0.1, True)
    observed = likelihood.Observation(np.full(480, -65.0), CURRENT, 1.0, 1e-3 * CURRENT)
    same = likelihood.predictions_under(lumped, w, observed, CURRENT, 1e-3 * CURRENT)
    assert same == pytest.approx(likelihood.predictions(lumped, w, observed), abs=1e-6)
    with_drop = likelihood.predictions_under(lumped, w, observed, pa, 1e-3 * pa)
    without = likelihood.predictions_under(lumped, w, observed, pa, 0.0 * pa)
    assert (with_drop - without)[:, 300] == pytest.approx(-0.5)


def test_the_fit_of_an_unknown_noise_is_judged_by_facts():
    plain = {
        "in_window_coverage_90": 0.9, "n_samples": 480, "activation_bic": -10.0, "contraction": {"C_m": 0.99},
        "passive": {"C_m": 100.0, "g_L": 5.0},
    }  # fmt: skip
    assert summary.facts_of_fit(plain, 0.25) == []
    assert "holds 47 %" in summary.facts_of_fit(plain | {"in_window_coverage_90": 0.47}, 0.25)[0]
    assert "time constant" in summary.facts_of_fit(plain | {"passive": {"C_m": 2000.0, "g_L": 0.002}}, 0.25)[0]
    assert "better known" in summary.facts_of_fit(plain | {"contraction": {"C_m": 0.3}}, 0.25)[0]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda f: f.attrs.__setitem__("spec", "[" * 100_000), "attributes of the posterior are damaged"),
        (lambda f: f.attrs.__setitem__("spec", "[]"), "attributes of the posterior are damaged"),
        (lambda f: f.__delitem__("w"), "no 'w'"),
        (lambda f: (f.__delitem__("w"), f.__setitem__("w", 1.0)), "has shape"),
        (lambda f: (f.__delitem__("time"), f.__setitem__("time", np.arange(3.0))), "do not belong together"),
        (lambda f: (f.__delitem__("voltage"), f.__setitem__("voltage", h5py.SoftLink("/no"))), "voltage"),
    ],
)
def test_a_damaged_posterior_file_is_one_line(harm, reason, tmp_path):
    spec = likelihood.recording_spec(config.PRIORS["lumped"], 0.25, 2.0**-5, True)
    table = {
        "priors": {name: prior.model_dump() for name, prior in spec.prior_table.items()},
        "nuisance": [[name, prior.model_dump()] for name, prior in spec.nuisance],
        "dt_ms": 0.25, "substeps": 1, "noise_mv": 1.0,
    }  # fmt: skip
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"schema": posterior_file.POSTERIOR, "results": "{}", "mv_per_mohm_per_unit": 1e-3})
        file.attrs["spec"] = json.dumps(table)
        for name in ("time", "voltage", "current", "mv_per_mohm"):
            file[name] = np.zeros(20)
            file[name].attrs["units"] = "pA"
        file["w"], file["predictive_band"] = np.zeros((5, 10)), np.zeros((2, 20))
    assert posterior_file.read_posterior(path).w.shape == (5, 10)
    with h5py.File(path, "r+") as file:
        harm(file)
    with pytest.raises(InputError, match=reason) as told:
        posterior_file.read_posterior(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("sd", [0.0, 8.0, 30.0])
def test_steps_are_found_in_a_recorded_current(sd):
    t = np.arange(0, 600, 0.05)
    current = np.where((t >= 200) & (t < 500), -200.0, 0.0)
    noisy = current + sd * np.random.default_rng(0).standard_normal(len(t)) + (5.0 if sd else 0.0)
    trace = recording.Recording(np.where(current < 0, -75.0, -65.0), noisy, "pA", 0.05, 0.0, "test")
    assert [trace.time_ms[i] for i in recording.step_onsets(trace)] == pytest.approx([200.0, 500.0], abs=0.2)
    assert recording.apply_window(trace, "sub-threshold").t0_ms == pytest.approx(180.0, abs=0.2)
    assert recording.fitting_window(trace) == "sub-threshold"


def test_a_recorded_ramp_is_no_step():
    t = np.arange(0, 600, 0.05)
    ramp = np.interp(t, [0, 100, 500, 600], [0, 0, 100, 100]) + 2 * np.random.default_rng(0).standard_normal(len(t))
    trace = recording.Recording(np.full(len(t), -65.0), ramp, "pA", 0.05, 0.0, "test")
    assert recording.step_onsets(trace) == []


@pytest.mark.parametrize(
    ("nuisance", "facts", "said"),
    [
        ({}, [], "the residuals are not the white noise that was told (chi-square): --noise estimate infers it"),
        ({}, ["no current"], "no model here explains the trace (no current)"),
        ({"sigma": 0.3}, ["no current"], "no model here explains the trace (no current)"),
    ],
)
def test_a_wrong_noise_that_was_told_is_no_verdict_on_the_models(nuisance, facts, said):
    tests = {"chi-square": {"flagged": True}, "Ljung-Box": {"flagged": False}}
    results = {
        "mean": {"C_m": 1.0}, "sd": {"C_m": 0.01}, "units": {"C_m": "uF/cm2"}, "identified": {"C_m": True}, "nuisance": nuisance,
        "favoured": "laa", "not_excluded": [], "models": {}, "refine": "laplace", "ess": 0.9, "verdict": "misspecified",
        "checks": {"tests": tests, "facts": facts},
    }  # fmt: skip
    first = summary.against_all(results)
    assert first == f"misspecified, {said}"
    line = line_of(results | {"answer": {"sentence": f"{first}; the laa model beats passive: yes"}})
    assert line.startswith(f"misspecified, {said}; the laa model beats passive: yes; C_m 1 ± 0.01 uF/cm2")
    assert "identified" not in line
