"""Is a recording that no such network made told apart, and are settings that the recording knows better found?"""

import json
import math

import h5py
import numpy as np
import pytest
import torch

from neuro_diffusion.fit.settings import ANY, NAMES, estimate, segments
from neuro_diffusion.model import explain
from neuro_diffusion.model.agreement import entry_correlation
from neuro_diffusion.model.propagation import Family, family_of, propagate
from neuro_diffusion.model.recording import UNSEEN
from neuro_diffusion.model.ridge import estimate_noise, fit_ridge, widen
from neuro_diffusion.rate_network.activity import Regime
from neuro_diffusion.rate_network.simulator import simulate_rate_network
from neuro_diffusion.rate_network.weights import sample_weight_matrix
from neuro_diffusion.score.verdict import judge, residuals_of

A, K, T, N = 0.1, 4, 60, 10
KEPT = 0.8  #: of a step, by the calcium


def states_of(W, h0, a):
    """Return the states (K, T, N) of a network whose neurons have time steps ``a`` (N) in units of their own time constants."""
    path = [h0]
    for _ in range(T - 1):
        path.append((1 - a) * path[-1] + a * (torch.tanh(path[-1]) @ W.T))
    return torch.stack(path, 1)


def recorded(kind, seed=0, structure="dale-sparse-lognormal"):
    """Return (K, T, N) rates of one kind, with noise .02, and the true weights."""
    g = torch.Generator().manual_seed(seed)
    W = sample_weight_matrix(N, 1.3, seed=seed, structure=structure)
    h0, t = torch.randn(K, N, generator=g), torch.arange(T)
    run = lambda a=A, **o: simulate_rate_network(W, h0, T, a, 1.0, generator=g, **o)  # noqa: E731

    def seen_through_calcium():
        c, out = torch.zeros(K, N), []
        for x in run().unbind(1):
            c = KEPT * c + (1 - KEPT) * x
            out.append(c)
        return torch.stack(out, 1)

    def own_times():
        a = A * torch.exp(0.5 * torch.randn(N, generator=g))
        return torch.tanh(states_of(W, h0, a))

    x = {
        "calcium": seen_through_calcium,
        "own time constants": own_times,
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


def verdict_on(y, names=NAMES, family=ANY):
    found = estimate(y, explain.Settings(A), None, names, family=family)
    return judge(found, len(y)), found


def family_like(structure):
    """Return the words of a structure, as a model trained on it holds them."""
    return family_of(torch.stack([sample_weight_matrix(N, 1.3, seed=100 + i, structure=structure) for i in range(60)]))


@pytest.mark.parametrize("structure", ["dale-sparse-lognormal", "dense", "lowrank", "block"])
def test_what_the_family_makes_is_typical_and_its_settings_stay(structure):
    for seed in range(2):
        judged, found = verdict_on(recorded("inside", seed, structure)[0], family=family_like(structure))
        assert judged.verdict == "typical", judged.facts
        assert found.changed == {}
        assert judged.residuals.mean_square == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("structure", ["dense", "lowrank", "block"])
def test_weights_of_another_family_than_the_models_are_noticed(structure):
    """Expectation propagation would claim a correlation of .99 where it has .5."""
    for seed in range(2):
        judged, found = verdict_on(recorded("inside", seed, structure)[0])
        assert judged.verdict == "cannot tell"
        assert "another family than the model's" in judged.facts[0]
        assert found.changed == {}


@pytest.mark.parametrize("seed", [0, 3, 4])
def test_own_time_constants_that_two_trials_cannot_bear_out_are_no_typical_recording(seed):
    judged, _ = verdict_on(recorded("own time constants", seed)[0][:2])
    assert judged.verdict != "typical"


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
    [
        ("rates from 0 to 1", "gain"),
        ("gain", "gain"),
        ("input", "input"),
        ("dynamic noise", "process"),
        ("calcium", "kernel"),
        ("own time constants", "taus"),
    ],
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
        if name == "taus":  # a factor of each row stays uncertain: its size is that of the family
            mean = propagate(fit.wide, Family()).mean[0]
        else:
            mean = torch.linalg.solve(fit.likelihood.A[0] + 10 * torch.eye(N), fit.likelihood.b[0][..., None])[..., 0]
        right.append(float(entry_correlation(mean, W)))
        told.append(float(entry_correlation(fit_ridge(y[None], A).mean[0], W)))
    assert sum(right) > sum(told) + (0.3 if name != "taus" else 0.1)


def test_of_a_hundred_neurons_a_constant_input_is_found_and_nothing_where_none_is():
    N, K = 100, 3
    for current in (0.0, 1.0):
        g = torch.Generator().manual_seed(3)
        W = sample_weight_matrix(N, 1.3, seed=3, structure="dale-sparse-lognormal")
        x = simulate_rate_network(W, torch.randn(K, N, generator=g), T, A, 1.0, current * torch.randn(N, generator=g))
        judged, found = verdict_on(x + 0.02 * torch.randn(x.shape, generator=g))
        assert judged.verdict == "typical", judged.facts
        assert set(found.changed) == ({"input"} if current else set())


def test_intervals_hold_of_a_recording_through_calcium_and_of_time_constants_that_differ():
    for kind in ("calcium", "own time constants"):
        inside = []
        for seed in range(4):
            y, W = recorded(kind, seed)
            best = verdict_on(y)[1].best
            found = propagate(explain.row_fit(y.double(), best.noise, best.settings).wide, Family())
            inside.append((W - found.mean[0]).abs() < 1.96 * found.sd[0] + 1e-4)
        assert float(torch.stack(inside).float().mean()) > 0.85, kind


@pytest.mark.parametrize("kind", ["calcium", "own time constants"])
def test_what_may_not_be_estimated_of_recorder_and_time_constants_is_told(kind):
    judged, found = verdict_on(recorded(kind)[0], names=("input", "gain", "process"))
    assert "kernel" not in found.changed
    assert found.best.settings.taus == ()
    assert judged.verdict == "misspecified"


def test_the_kernel_is_undone_and_the_noise_is_what_that_makes_of_it():
    g = torch.Generator().manual_seed(0)
    s, x = explain.Settings(A, 0.5, 0.2, kernel=KEPT), torch.rand(2, 30, 3, generator=g).double()
    c = [x[:, 0]]
    for step in x.unbind(1)[1:]:
        c.append(KEPT * c[-1] + (1 - KEPT) * step)
    assert torch.allclose(s.rates(0.2 + 0.5 * torch.stack(c, 1)), x)
    noise = 0.04 * torch.randn(1, 12, 200_000, generator=g).double()
    undone = (s.rates(0.2 + noise))[0]
    expected = s.noise_shape(0.04, noise) * (0.04 / 0.5) ** 2
    expected[0, 0] -= UNSEEN**2
    assert torch.allclose(torch.cov(undone), expected, atol=0.02 * float(expected.max()))


def test_a_network_of_differing_time_constants_is_exactly_linear_in_scaled_weights_and_its_own_states():
    g = torch.Generator().manual_seed(0)
    W, h0 = sample_weight_matrix(N, 1.3, seed=0).double(), torch.randn(K, N, generator=g).double()
    ratio = torch.exp(0.5 * torch.randn(N, generator=g)).double()
    h = states_of(W, h0, A * ratio)
    s = explain.Settings(A, taus=tuple(ratio.tolist()))
    d = explain.design(torch.tanh(h), h, 0.01, s)
    w = torch.cat([ratio[:, None] * W, 1 - ratio[:, None]], 1)
    start = (1 - A) ** torch.arange(T).double()[:, None] * h0[:, None]
    assert torch.allclose(d.drive(w) + start, h, atol=1e-10)


def test_a_row_of_uncertain_scale_has_the_covariance_that_says_so():
    g = torch.Generator().manual_seed(0)
    root, sd = torch.randn(3, 3, 12, generator=g).double(), torch.tensor([0.0, 0.2, 1.0]).double()
    A, b = root @ root.mT, torch.randn(3, 3, generator=g).double()
    wide, pull, square = explain.of_uncertain_scale(A, b, torch.ones(3).double(), sd)
    w = torch.linalg.solve(A + 3 * torch.eye(3).double(), b[..., None])
    torch.testing.assert_close(torch.linalg.inv(wide), torch.linalg.inv(A) + (sd**2)[:, None, None] * w @ w.mT)
    torch.testing.assert_close(wide[0], A[0])
    torch.testing.assert_close(pull[0], b[0])
    assert square[0] == 1
    assert (square[1:] < 1).all()


def test_the_general_uncertainty_of_a_path_is_that_of_ridge_where_ridge_knows_it():
    y = recorded("inside")[0].double()
    s = explain.Settings(A)
    found = explain.fit_path(y, 0.02, s, None, 2, None)
    x, d = torch.tanh(found.h)[None], found.d
    narrow, pv = explain.row_likelihood_of(d, s), torch.tensor([found.prior_variance]).double()
    expected = widen(d.p, narrow, found.w[None], x, d.F[None], A, pv)
    added = explain.widened(found, s).kernel.diagonal(dim1=-2, dim2=-1) - d.kernel.diagonal()
    assert torch.allclose(added.transpose(1, 2), (1 / expected.omega - 1 / d.p.omega)[0], rtol=1e-6, atol=1e-12)


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
    Amat, b, size, _ = explain.precisions(d)
    gain, _ = explain.solve(Amat, b, pv, s)
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
    fast = ("--axes", "trial,time,neuron", "--samples", 8, "--steps", 3, "--json")
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
    for kind, name in (("calcium", "kernel"), ("own time constants", "taus")):
        answer = infer(nd_here, nd_model, recorded(kind)[0], tmp_path, "--overwrite", "--force")
        assert answer.returncode == 0, answer.stderr
        results = json.loads(answer.stdout)["results"]
        assert name in results["settings"]["estimated"], results["facts"]
        assert results["further"] == []
    assert len(results["settings"]["used"]["taus"]) == N
    assert results["behaviour"] == []
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
