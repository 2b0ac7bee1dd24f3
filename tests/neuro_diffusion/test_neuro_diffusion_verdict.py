"""Is a recording that no such network made told apart, and are settings that the recording knows better found?"""

import json
import math

import h5py
import numpy as np
import pytest
import torch

from neuro_diffusion.fit.settings import estimate, segments
from neuro_diffusion.model import explain
from neuro_diffusion.model.agreement import entry_correlation
from neuro_diffusion.model.ridge import estimate_noise, fit_ridge
from neuro_diffusion.rate_network.activity import Regime
from neuro_diffusion.rate_network.simulator import simulate_rate_network
from neuro_diffusion.rate_network.weights import sample_weight_matrix
from neuro_diffusion.score.verdict import judge, residuals_of

A, K, T, N = 0.1, 4, 60, 10


def recorded(kind, seed=0, structure="dale-sparse-lognormal"):
    """Return (K, T, N) rates of one kind, with noise .02, and the true weights."""
    g = torch.Generator().manual_seed(seed)
    W = sample_weight_matrix(N, 1.3, seed=seed, structure=structure)
    h0, t = torch.randn(K, N, generator=g), torch.arange(T)
    run = lambda a=A, **o: simulate_rate_network(W, h0, T, a, 1.0, generator=g, **o)  # noqa: E731
    x = {
        "inside": run,
        "rates from 0 to 1": lambda: (1 + run()) / 2,
        "gain": lambda: 0.7 * run(),
        "input": lambda: run(I=torch.randn(N, generator=g)),
        "dynamic noise": lambda: run(noise_std=0.3),
        "time constant": lambda: run(0.3),
        "rectified": lambda: run().clamp_min(0),
        "clipped": lambda: run(phi=lambda h: h.clamp(-1, 1)),
        "sines": lambda: (
            0.8
            * torch.sin(t[:, None] * (0.05 + 0.25 * torch.rand(N, generator=g)) + 6 * torch.rand(K, 1, N, generator=g))
        ),
        "white": lambda: 0.3 * torch.randn(K, T, N, generator=g),
        "decaying alone": lambda: simulate_rate_network(torch.zeros(N, N), h0, T, A, 1.0),
        "wandering alone": lambda: torch.tanh(0.05 * torch.randn(K, T, N, generator=g).cumsum(1)),
    }[kind]()
    return x + 0.02 * torch.randn(x.shape, generator=g), W


def verdict_on(y, names=("input", "gain", "tau", "process")):
    found = estimate(y, explain.Settings(A), None, names)
    return judge(found, len(y)), found


@pytest.mark.parametrize("structure", ["dale-sparse-lognormal", "dense", "lowrank", "block"])
def test_what_the_family_makes_is_typical_and_its_settings_stay(structure):
    for seed in range(2):
        judged, found = verdict_on(recorded("inside", seed, structure)[0])
        assert judged.verdict == "typical", judged.facts
        assert found.changed == {}
        assert judged.residuals.mean_square == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize(("kind", "expected"), [
    ("rectified", "misspecified"), ("clipped", "misspecified"), ("time constant", "misspecified"), ("sines", "no network needed"),
    ("white", "no network needed"), ("decaying alone", "no network needed"), ("wandering alone", "no network needed"),
])  # fmt: skip
def test_what_no_such_network_made_is_flagged(kind, expected):
    judged, _ = verdict_on(recorded(kind)[0])
    assert judged.verdict == expected
    assert judged.facts


@pytest.mark.parametrize(
    ("kind", "name"),
    [("rates from 0 to 1", "gain"), ("gain", "gain"), ("input", "input"), ("dynamic noise", "process")],
)
def test_a_setting_that_the_recording_knows_better_is_found_and_the_weights_with_it(kind, name):
    told, right = [], []
    for seed in range(3):
        y, W = recorded(kind, seed)
        judged, found = verdict_on(y)
        assert judged.verdict == "typical", judged.facts
        assert name in found.changed
        s = found.best.settings
        fit = explain.row_fit(y.double(), found.best.noise, s)
        mean = torch.linalg.solve(fit.likelihood.A[0] + 10 * torch.eye(N), fit.likelihood.b[0][..., None])[..., 0]
        right.append(float(entry_correlation(mean, W)))
        told.append(float(entry_correlation(fit_ridge(y[None], A).mean[0], W)))
    assert sum(right) > sum(told) + 0.3


def test_of_a_hundred_neurons_a_constant_input_is_found_and_nothing_where_none_is():
    N, K = 100, 3
    for current in (0.0, 1.0):
        g = torch.Generator().manual_seed(3)
        W = sample_weight_matrix(N, 1.3, seed=3, structure="dale-sparse-lognormal")
        x = simulate_rate_network(W, torch.randn(K, N, generator=g), T, A, 1.0, current * torch.randn(N, generator=g))
        judged, found = verdict_on(x + 0.02 * torch.randn(x.shape, generator=g))
        assert judged.verdict == "typical", judged.facts
        assert set(found.changed) == ({"input"} if current else set())


def test_what_may_not_be_estimated_is_told_as_a_reason_instead():
    judged, found = verdict_on(recorded("gain")[0], names=())
    assert found.changed == {}
    assert judged.verdict == "misspecified"
    assert any("another scale of the rates would explain" in fact for fact in judged.facts)


def test_estimated_values_are_near_the_true_ones():
    s = verdict_on(recorded("rates from 0 to 1")[0])[1].best.settings
    assert (s.gain, s.offset) == pytest.approx((0.5, 0.5), abs=0.03)
    s = verdict_on(recorded("dynamic noise")[0])[1].best.settings
    assert s.process == pytest.approx(0.3 * math.sqrt(A), rel=0.15)
    found = verdict_on(recorded("input")[0])[1]
    g = torch.Generator().manual_seed(0)
    torch.randn(K, N, generator=g)
    assert float(torch.corrcoef(torch.stack([found.current.float(), torch.randn(N, generator=g)]))[0, 1]) > 0.9


def test_one_trial_cannot_tell():
    judged, _ = verdict_on(recorded("inside")[0][:1])
    assert judged.verdict == "cannot tell"


def test_the_evidence_is_that_of_the_dense_gaussian():
    """Weights, initial states, an input and process noise integrated out, against the covariance written out for one neuron."""
    y = recorded("inside")[0].double()[:2, :12, :3]
    s, noise, pv = explain.Settings(A, 0.9, 0.05, True, 0.05), 0.03, 0.2
    h = explain.first_path(y, noise, s)
    d = explain.design(y, h, noise, s)
    Amat, b, size = explain.precisions(d)
    gain, _ = explain.solve(Amat, b, pv, True)
    i, z = 1, d.p.z[0, :, :, 1].reshape(-1)
    F = d.F.reshape(24, 4)
    prior = torch.diag(torch.tensor([pv] * 3 + [explain.INPUT_SD**2]).double())
    C = F @ prior @ F.T + torch.block_diag(d.kernel, d.kernel) + torch.diag(1 / d.p.omega[0, :, :, i].reshape(-1))
    expected = torch.distributions.MultivariateNormal(torch.zeros(24).double(), C).log_prob(z)
    assert float(gain[i] + size[i]) == pytest.approx(float(expected), rel=1e-8)


def test_whitened_residuals_of_the_model_itself_are_white():
    y, _ = recorded("inside")
    found = explain.explain(y.double(), float(estimate_noise(y[None])), explain.Settings(A), residuals=True)
    r = residuals_of(found.residual)
    assert r.mean_square == pytest.approx(1, abs=0.1)
    assert abs(r.lag_1) < 0.08
    assert r.kurtosis == pytest.approx(3, abs=0.5)


def test_long_trials_are_cut_into_equal_segments():
    y = torch.arange(2 * 250 * 3).view(2, 250, 3)
    parts = segments(y)
    assert parts.shape == (6, 83, 3)
    assert torch.equal(parts[1, 0], y[0, 83])


def test_noise_of_the_dynamics_that_is_told_makes_ridge_right():
    regime, g = Regime(A, 0.3 * math.sqrt(A)), torch.Generator().manual_seed(0)
    W = torch.stack([sample_weight_matrix(N, 1.2, seed=i) for i in range(20)])
    y = regime.trials(W, K, T, 0.02, g)
    share = lambda f: float(((W - f.mean).abs() < 1.96 * f.sd).float().mean())  # noqa: E731
    told, not_told = fit_ridge(y, A, process=regime.process), fit_ridge(y, A)
    assert float(told.noise_std.mean()) == pytest.approx(0.02, rel=0.3)
    assert share(told) == pytest.approx(0.95, abs=0.03)
    assert share(not_told) < 0.6
    assert float(entry_correlation(told.mean, W).mean()) > float(entry_correlation(not_told.mean, W).mean()) + 0.15


# --- from the command line -----------------------------------------------------------------------------------------------------


def infer(run, model, y, folder, *options):
    with h5py.File(folder / "y.h5", "w") as file:
        file["activity"] = np.asarray(y)
    fast = ("--samples", 8, "--steps", 3, "--json")
    return run("infer", model, folder / "y.h5", "--output", folder / "p.h5", *fast, *options)


@pytest.fixture
def small(monkeypatch):
    """Make recordings of six neurons, as the small model knows them."""
    monkeypatch.setattr(__import__("sys").modules[__name__], "N", 6)


def test_a_recording_of_no_network_exits_3_and_says_why_unless_forced(nd_here, nd_model, small, tmp_path):
    y, _ = recorded("sines")
    answer = infer(nd_here, nd_model, y, tmp_path)
    assert answer.returncode == 3, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert results["verdict"] == "no network needed"
    assert "believe none of the estimates" in results["reason"]
    assert "determine the weights" not in answer.stdout
    with h5py.File(tmp_path / "p.h5") as file:
        assert file.attrs["verdict"] == "no network needed"
    assert infer(nd_here, nd_model, y, tmp_path, "--force", "--overwrite").returncode == 0


def test_estimated_settings_stand_in_the_result_and_a_model_says_what_it_was_not_trained_on(
    nd_here, nd_model, small, tmp_path
):
    answer = infer(nd_here, nd_model, recorded("rates from 0 to 1")[0], tmp_path)
    outcome = json.loads(answer.stdout)
    assert outcome["results"]["verdict"] == "typical", outcome["results"]["facts"]
    assert outcome["results"]["settings"]["estimated"]["gain"]["estimated gain"] == pytest.approx(0.5, abs=0.05)
    assert any("another scale of the rates: " in line for line in outcome["warnings"])
    told = infer(nd_here, nd_model, recorded("inside")[0], tmp_path, "--dt-over-tau", "0.13", "--overwrite")
    assert any("trained on other settings: dt/tau" in line for line in json.loads(told.stdout)["warnings"])


def test_a_data_sets_settings_reach_the_model_and_the_evaluation(nd_here, nd_small, tmp_path):
    build = ["build-dataset", "--N", 5, "--T", 24, "--num_networks", 120, "--structure", "dale-sparse-lognormal"]
    assert (
        nd_here(
            *build, "--out_dir", tmp_path / "d", "--noise_std", 0.3, "--h0_std", 0.6, "--dt", 0.2, "--tau", 2
        ).returncode
        == 0
    )
    train = [
        "train-conditional",
        tmp_path / "d",
        "--output",
        tmp_path / "m",
        *nd_small,
        "--iterations",
        2,
        "--batch",
        4,
    ]
    trained = nd_here(*train)
    assert trained.returncode == 0, trained.stderr
    spec = json.loads((tmp_path / "m" / "model.json").read_text())["spec"]
    assert (spec["a"], spec["process"], spec["h0_std"]) == pytest.approx((0.1, 0.3 * math.sqrt(0.2), 0.6))
    score = ("--noise", 0.05, "--trials", 3, "--networks", 4, "--samples", 8, "--steps", 3, "--json")
    own = nd_here("evaluate", tmp_path / "m", tmp_path / "d", *score)
    assert own.returncode == 0, own.stderr
    assert not any("other settings" in line for line in json.loads(own.stdout)["warnings"])
    assert nd_here(*build, "--out_dir", tmp_path / "quiet").returncode == 0
    other = nd_here("evaluate", tmp_path / "m", tmp_path / "quiet", *score)
    assert any(
        "noise of the dynamics 0 a step (trained at 0.134)" in line for line in json.loads(other.stdout)["warnings"]
    )
