"""Do several sweeps of one membrane have the posterior of one membrane?"""

import json

import h5py
import numpy as np
import pytest

from laa_bayes import config
from laa_bayes.commands.infer import line_of
from laa_bayes.fit import joint
from laa_bayes.neuron import dynamics, simulator
from laa_bayes.posterior import likelihood, summary
from laa_bayes.score import held_out

THETA = (90.0, 6.0, -68.0, 5.0, -50.0, 150.0)


def sweep(pa, seed, n=480):
    """Return current (pA) and voltage (mV) of one step on a .25 ms grid behind 10 MOhm, with AR(1) noise."""
    rng, current, noise = np.random.default_rng(seed), np.where(np.arange(n) >= 80, float(pa), 0.0), np.zeros(n)
    v = simulator.simulate(np.array([THETA]), current, 0.25, dynamics.fixed_points(THETA)[0].v_mv)[0]
    for i in range(1, n):
        noise[i] = 0.9 * noise[i - 1] + 0.02 * rng.standard_normal()
    return current, v + 0.01 * current + noise


def joint_problem(n_sweeps=3):
    single = likelihood.recording_spec(config.PRIORS["lumped"], 0.25, 2.0**-5, True)
    current, v = (np.stack(x) for x in zip(*(sweep(pa, pa) for pa in (20, 60, 80)[:n_sweeps]), strict=True))
    return likelihood.Joint(single, n_sweeps), likelihood.Observation(v, current, np.ones(n_sweeps), 1e-3 * current)


def test_the_joint_likelihood_is_the_product_of_the_sweeps():
    spec, observed = joint_problem()
    assert spec.shared == ("C_m", "g_L", "E_L", "k", "V_thr", "G_act", "R_s")
    assert len(spec.names) == 7 + 3 * 3
    w = 0.3 * np.random.default_rng(0).standard_normal((4, len(spec.names)))
    alone = np.zeros(4)
    for i, place in enumerate(spec.places()):
        one = likelihood.Observation(*(x[i] for x in observed))
        own = w[:, place]
        alone += likelihood.log_posteriors(spec.single, own, one) + 0.5 * np.sum(own**2, axis=1)
    joint = likelihood.log_posteriors(spec, w, observed) + 0.5 * np.sum(w**2, axis=1)
    assert joint == pytest.approx(alone, rel=1e-10)


def test_a_sweep_of_the_joint_model_has_its_own_start_and_noise_only():
    spec, _ = joint_problem()
    first, second = spec.places()[:2]
    names = spec.single.names
    assert [name for i, name in enumerate(names) if first[i] != second[i]] == ["v0", "sigma", "phi"]


def test_another_current_is_predicted_with_the_sweeps_own_drift():
    spec = likelihood.recording_spec(config.PRIORS["lumped"], 0.25, 2.0**-5, True)
    spec = spec._replace(nuisance=(*spec.nuisance, joint.DRIFT))
    current, v = sweep(60, 0)
    observed = likelihood.Observation(v, current, 1.0, 1e-3 * current)
    w = 0.3 * np.random.default_rng(1).standard_normal((5, len(spec.names)))
    w[:, spec.names.index("I_0")] = np.linspace(-2, 2, 5)
    same = likelihood.predictions_under(spec, w, observed, current, 1e-3 * current)
    assert same == pytest.approx(likelihood.predictions(spec, w, observed), abs=1e-3)


def test_the_drift_of_a_held_out_sweep_is_read_before_its_step():
    spec = likelihood.recording_spec(config.PRIORS["lumped"], 0.25, 2.0**-5, True)
    spec = spec._replace(nuisance=(*spec.nuisance, joint.DRIFT))
    current, _ = sweep(60, 0)
    w = 0.3 * np.random.default_rng(1).standard_normal(len(spec.names))
    w[spec.names.index("v0")] = 0.0
    drifted = w.copy()
    drifted[spec.names.index("I_0")] = 1.5
    at = likelihood.Observation(np.full(480, -65.0), current, 1.0, 1e-3 * current)
    v = likelihood.predictions(spec, drifted[None], at)[0]
    error = held_out.squared_error(spec, w, at._replace(v_mv=v))
    without = np.mean((likelihood.predictions(spec, w[None], at)[0] - v) ** 2)
    assert error < 0.01 * without


def family(path, levels=(20, 60, 80, 40)):
    """Write sweeps below one another, as a table with a column of sweep numbers."""
    rows = ["sweep,time_ms,voltage_mV,current_pA"]
    for i, pa in enumerate(levels):
        rows += [f"{i},{0.25 * k},{v:.6f},{c:g}" for k, (c, v) in enumerate(zip(*sweep(pa, i), strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_sweeps_without_a_common_window_or_too_few_are_one_line(laa_here, tmp_path):
    path = family(tmp_path / "cell.csv", (20, 60))
    answer = laa_here("infer", "none", path, "--sweeps", "0", "--together")
    assert answer.returncode == 2
    assert "--together takes 2 to 12 sweeps, 1 can be used" in answer.stderr
    answer = laa_here("infer", "none", path, "--together")
    assert answer.returncode == 2
    assert "--together belongs to --sweeps" in answer.stderr


@pytest.mark.slow
def test_sweeps_together_share_their_membrane_and_find_the_truth(laa_here, tmp_path):
    path = family(tmp_path / "cell.csv")
    answer = laa_here("infer", "none", path, "--sweeps", "0-2", "--together", "--draws", 300, "--json")
    assert answer.returncode == 0, answer.stderr
    rows = json.loads(answer.stdout)["results"]["sweeps"]
    assert [row["favoured"] for row in rows] == ["laa"] * 3
    draws = []
    for i in range(3):
        with h5py.File(path.with_suffix(".sweeps") / f"sweep_00{i}.posterior.h5") as file:
            draws.append(file["posterior/k"][()])
    assert draws[0] == pytest.approx(draws[2])
    for name, unit, true in zip(("C_m", "g_L", "k"), ("pF", "nS", "mV"), (90.0, 6.0, 5.0), strict=True):
        mean, sd = rows[0][f"{name} ({unit})"], rows[0][f"{name} sd ({unit})"]
        assert abs(mean - true) < 4 * sd
        assert sd < 0.05 * true


@pytest.mark.parametrize("lead", ["44 BIC worse", "44 BIC better, which is no clear gain"])
def test_the_line_of_a_lost_activation_model_holds_the_winners_numbers_only(lead):
    sign = 1 if "worse" in lead else -1
    best = {"C_m": 81.0, "g_L": 5.7, "E_L": -66.6, "R_s": 11.0, "C_2": 15.0, "g_c": 40.0, "C_total": 96.0}
    models = {
        "two-compartment": {
            "parameters": best,
            "sd": dict.fromkeys(best, 0.5),
            "bic": 0.0,
            "units": summary.units_of_models(config.UNITS["lumped"]),
        },
        "laa": {"parameters": {"C_m": 57.0}, "sd": {"C_m": 3.0}, "bic": 44.0 * sign},
    }
    results = {
        "mean": {"C_m": 57.3}, "sd": {"C_m": 3.0}, "units": {"C_m": "pF"}, "identified": {"C_m": False}, "nuisance": {"v0": 0.0},
        "checks": {"tests": {}, "facts": []}, "favoured": "two-compartment", "not_excluded": [], "models": models,
        "refine": "smc", "ess": 0.4, "verdict": "typical", "answer": {"sentence": "the two-compartment model beats laa: yes"},
    }  # fmt: skip
    line = line_of(results)
    assert line.startswith(
        "the two-compartment model beats laa: yes; two-compartment membrane: C_total 96 ± 0.5 pF, C_m 81 ± 0.5 pF, g_L 5.7 ± 0.5 nS"
    )
    assert lead in line
    assert "57" not in line
    assert "no k, V_thr, G_act" in line
    both = models["two-compartment"] | {"parameters": best | {"k": 5.0}, "sd": dict.fromkeys([*best, "k"], 0.5)}
    both["units"] = both["units"] | {"k": "mV"}
    line = line_of(results | {"favoured": "laa + two-compartment", "models": models | {"laa + two-compartment": both}})
    assert "no k" not in line  # the favoured model has an activation
    assert "without the second compartment" in line
    assert ", k 5 ± 0.5 mV" in line
    undecided = results | {"favoured": "laa + two-compartment", "models": models | {"laa + two-compartment": both}}
    line = line_of(undecided | {"not_excluded": ["two-compartment"]})
    assert ", k 5" not in line  # what only one of two undecided models has
    assert "C_total 96 ± 0.5 pF" in line
    assert "not told apart from two-compartment" in line
