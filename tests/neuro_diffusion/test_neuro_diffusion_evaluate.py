"""Scores with known answers."""

import math

import pytest
import torch

from neuro_diffusion.commands.infer_one import answer_of, doubted, gains_of, too_sure
from neuro_diffusion.fit import infer
from neuro_diffusion.fit.infer_large import infer_large
from neuro_diffusion.fit.refine import refine_weight_matrix
from neuro_diffusion.fit.settings import Choice
from neuro_diffusion.model import explain
from neuro_diffusion.model.agreement import heldout_log_likelihood, heldout_score
from neuro_diffusion.model.propagation import Family
from neuro_diffusion.model.recording import Settings
from neuro_diffusion.model.ridge import fit_ridge, gaussian_likelihood
from neuro_diffusion.rate_network.simulator import simulate_rate_network
from neuro_diffusion.rate_network.weights import get_spectral_radius, random_stream, sample_weight_matrix_batch
from neuro_diffusion.score import evaluate
from neuro_diffusion.score.verdict import Verdict


def test_the_truth_has_no_functional_error_and_never_diverges():
    W = sample_weight_matrix_batch(3, 8, 1.5, seed=0)
    h0 = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0))
    assert (evaluate.functional_error(W, W, h0, 40, 0.1) == 0).all()
    assert (evaluate.divergence_horizon(W, W, h0, 40, 0.1) == 40).all()
    assert (evaluate.functional_error(torch.zeros_like(W), W, h0, 40, 0.1) > 0.05).all()


def test_the_truth_runs_like_itself_and_other_weights_do_not():
    W = sample_weight_matrix_batch(4, 8, 1.6, seed=0)
    h0 = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(0))
    same, other = (evaluate.dynamics(v, W, h0, 40, 0.1) for v in (W, 0.5 * W))
    for values, expected in zip(same, (0, 40, get_spectral_radius(W), 0, 0)):
        assert (values == expected).all()
    torch.testing.assert_close(other.radius, get_spectral_radius(W) / 2)
    assert (other.lyapunov_error > 0.05).all()
    assert other.autocorrelation_error.mean() > 0.05


def test_a_posterior_that_contains_the_truth_as_one_of_its_draws_is_calibrated():
    g = torch.Generator().manual_seed(0)
    draws = torch.randn(200, 40, 6, 6, generator=g)
    s = evaluate.score(draws[:, 1:], draws[:, 0])
    assert s.coverage.mean(0).numpy() == pytest.approx([0.5, 0.8, 0.95], abs=0.02)
    assert s.crps.mean().item() == pytest.approx(1 / math.sqrt(math.pi), abs=0.02)  # of a standard normal


def test_a_calibrated_posterior_has_the_true_radius_as_a_ratio_of_means_but_not_as_a_mean_of_ratios():
    gain = torch.linspace(0.8, 1.8, 6)
    W = torch.stack([sample_weight_matrix_batch(200, 8, float(g), seed=i) for i, g in enumerate(gain)]).flatten(0, 1)
    draws = W[torch.randperm(1200, generator=torch.Generator().manual_seed(0))].view(300, 4, 8, 8)  # one is the truth
    radius, true = evaluate.score(draws[:, 1:], draws[:, 0]).radius, get_spectral_radius(draws[:, 0])
    ratio, error = evaluate.ratio_and_error(radius, true)
    assert abs(ratio - 1) < 3 * error < 0.1
    assert (radius / true).mean() > 1.05
    assert evaluate.ratio_and_error(2 * true, true) == pytest.approx((2, 0), abs=1e-12)


def test_a_posterior_half_as_wide_does_not_cover():
    g = torch.Generator().manual_seed(0)
    draws = torch.randn(200, 40, 6, 6, generator=g)
    s = evaluate.score(0.5 * draws[:, 1:], draws[:, 0])
    assert s.coverage.mean(0)[1] < 0.6


def test_area_under_the_curve_counts_ties_half():
    p, w = torch.tensor([0.9, 0.5, 0.5, 0.1]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert evaluate.area_under_curve(p, w) == pytest.approx(3.5 / 4)
    assert math.isnan(evaluate.area_under_curve(p, torch.ones(4)))


def test_mean_and_error_ignore_missing_values():
    mean, error = evaluate.mean_and_error(torch.tensor([1.0, 3.0, math.nan]))
    assert (mean, error) == pytest.approx((2.0, 1.0))


def trials_of(W, K, noise):
    g = torch.Generator().manual_seed(3)
    x = simulate_rate_network(W, torch.randn(K, len(W), generator=g), 50, 0.1, 1.0)
    return x + noise * torch.randn(x.shape, generator=g)


def test_the_true_weights_have_a_larger_heldout_likelihood_than_others():
    W = sample_weight_matrix_batch(2, 6, 1.5, seed=0)
    y = trials_of(W[0], 1, 0.02)[None]
    test = gaussian_likelihood(y, 0.1, None, torch.tensor([0.02]), n_relinearise=0).likelihood
    values = [float(heldout_log_likelihood(w[None], test, 300)) for w in (W[0], W[1], torch.zeros(6, 6))]
    assert values[0] > max(values[1:])
    assert values[2] == 0


@pytest.mark.parametrize("process", [0.0, 0.05])
def test_the_score_of_a_left_out_trial_is_the_size_of_its_whitened_errors(process):
    W = sample_weight_matrix_batch(1, 5, 1.5, seed=0)[0].double()
    y, s = trials_of(W.float(), 1, 0.02).double(), explain.Settings(0.1, process=process)
    d = explain.design(y, explain.first_path(y, 0.02, s), 0.02, s)
    test = explain.heldout_likelihood(y, 0.02, s)
    score = heldout_score(W[None], test, 50)[0]
    for i in range(5):
        covariance = d.kernel + torch.diag(1 / d.p.omega[0, 0, :, i])
        error = d.p.z[0, 0, :, i] - d.F[0] @ W[i]
        size = error @ torch.linalg.solve(covariance, error) / 50
        assert float(score[i]) == pytest.approx(-0.5 * math.log(size), rel=1e-6)
    if process == 0:
        plain = gaussian_likelihood(y[None], 0.1, None, torch.tensor([0.02]).double(), n_relinearise=0).likelihood
        torch.testing.assert_close(heldout_score(W[None], plain, 50)[0], score, atol=1e-6, rtol=1e-6)


def found_with(ours, **others):
    scores = {"ours": ours, infer.RIDGE: 0.0, infer.SELVES: 0.0, infer.NONE: 0.0} | others
    left_out = {
        name: torch.as_tensor(v) + torch.tensor([-0.1, 0.1, -0.1, 0.1]) * (name == "ours") for name, v in scores.items()
    }
    return infer.Inference(*[None] * 9, "ep", left_out)


def test_the_interval_of_the_answer_is_over_trials_that_share_their_fits():
    mean, half = gains_of(found_with(0.5), 4)[infer.RIDGE]
    assert mean == pytest.approx(0.5)
    assert half == pytest.approx(3.182 * 0.11547 * math.sqrt(1 / 4 + 1 / 3), rel=1e-3)
    assert gains_of(infer.Inference(*[None] * 9, "ep", {}), 1) == {}


def test_an_estimate_must_beat_every_baseline_and_a_typical_recording_the_silent_ones():
    typical = Verdict("typical", [], None)
    good = gains_of(found_with(0.5), 4)
    assert answer_of("EP", good, "").verdict == "yes"
    assert answer_of("EP", good, "no network needed: ...", bad=True).verdict == "cannot tell"
    assert doubted(typical, good) is typical
    silent = gains_of(found_with(0.5, **{infer.NONE: 0.6}), 4)
    found = answer_of("EP", silent, "")
    assert (found.verdict, found.against) == ("cannot tell", infer.NONE)
    judged = doubted(typical, silent)
    assert judged.verdict == "cannot tell"
    assert infer.NONE in judged.facts[0]
    assert math.isnan(answer_of("EP", {}, "").gain)


@pytest.mark.parametrize(
    ("structure", "n_trials", "n_time", "sure"),
    [("gaussian", 4, 60, True), ("dale-sparse-lognormal", 4, 60, False)],
)
def test_propagation_that_expects_too_much_is_not_believed(structure, n_trials, n_time, sure):
    """Eighty neurons with weights of another family than told, and of the family told."""
    kind = {"structure": structure, "dale": "balanced", "density": 0.4} if structure != "gaussian" else {}
    W = sample_weight_matrix_batch(1, 80, (1.3, 1.3), None, rng=random_stream(3, 0), **kind)[0]
    g = torch.Generator().manual_seed(3)
    x = simulate_rate_network(W, torch.randn(n_trials, 80, generator=g), n_time, 0.1, 1.0)
    y = x + 0.02 * torch.randn(x.shape, generator=g)
    recorded, choice = infer.Recorded(y, torch.ones(80, dtype=torch.bool)), Choice(Settings(0.1), 0.02)
    found = infer_large(Family(), recorded, choice, 2, g, W)
    expected, has = (
        {row["method"]: row[key] for row in found.table} for key in ("expected correlation", "correlation with truth")
    )
    assert bool(too_sure(found)) is sure
    judged = doubted(Verdict("typical", [], None), {}, too_sure(found))
    assert judged.verdict == ("cannot tell" if sure else "typical")
    if sure:
        assert found.trusted == "ridge"
        assert expected["ep"] > has["ep"] + 0.2
        assert "is too sure" in judged.facts[0]
    else:
        assert expected["ep"] == pytest.approx(has["ep"], abs=0.05)


def test_trials_are_left_out_in_turn_the_last_among_them():
    assert infer.folds(1, 10) == []
    assert infer.folds(3, 10) == [0, 1, 2]
    assert len(infer.folds(40, 10)) == 8
    assert infer.folds(40, 10)[-1] == 39
    assert len(infer.folds(10, 200)) == 3


def test_ridge_is_trusted_when_the_data_determine_the_weights():
    W = sample_weight_matrix_batch(1, 6, 1.5, seed=0)[0]
    base = fit_ridge(trials_of(W, 16, 1e-3)[None], 0.1)
    name, reason = infer.choose(base, {"diffusion": 9.0, "ep": 9.0, "ridge": 1.0})
    assert name == "ridge"
    assert "a learned prior is not needed" in reason


def test_the_larger_heldout_likelihood_is_trusted_otherwise():
    W = sample_weight_matrix_batch(1, 6, 1.5, seed=0)[0]
    base = fit_ridge(trials_of(W, 1, 0.1)[None], 0.1)
    assert infer.choose(base, {"diffusion": 0.2, "ep": 0.1, "ridge": 0.3})[0] == "ridge"
    assert infer.choose(base, {"diffusion": 0.4, "ep": 0.1, "ridge": 0.3})[0] == "diffusion"


def test_expectation_propagation_suffices_unless_another_estimate_predicts_better():
    W = sample_weight_matrix_batch(1, 6, 1.5, seed=0)[0]
    base = fit_ridge(trials_of(W, 1, 0.1)[None], 0.1)
    name, reason = infer.choose(base, {"diffusion": 0.4, "ep": 0.3999, "ridge": 0.3})
    assert name == "ep"
    assert "EP suffices" in reason
    name, reason = infer.choose(base, {})
    assert name == "ep"
    assert "untested" in reason
    assert infer.choose(base, {"anatomy": 0.3, "ep": 0.3005, "ridge": 0.1}, "anatomy")[0] == "anatomy"


def test_the_trajectory_fit_is_kept_only_when_heldout_trials_agree():
    W = sample_weight_matrix_batch(1, 6, 1.5, seed=4)[0]
    y, metadata = trials_of(W, 4, 0.02), {"dt": 0.1, "tau": 1.0, "noise_std": 0.02}
    start = fit_ridge(y[None], 0.1).mean[0]
    worse = start + 0.2 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    found = refine_weight_matrix(worse, y, metadata, 150, 0.02, 0.01, method="map")
    assert found.accepted
    assert found.error_after < found.error_before
    assert (found.W - W).norm() < (worse - W).norm()
    kept = refine_weight_matrix(W, y, metadata, 30, 1.0, 0.0, method="map")
    assert not kept.accepted
    assert torch.equal(kept.W, W)


def test_the_sign_curve_is_that_of_all_pairs_and_needs_no_memory_for_them():
    g = torch.Generator().manual_seed(0)
    p, true = torch.rand(200, generator=g).mul(10).round() / 10, torch.randn(200, generator=g)
    pairs = p[true > 0][:, None] - p[true < 0]
    expected = float((pairs > 0).float().mean() + (pairs == 0).float().mean() / 2)
    assert evaluate.area_under_curve(p, true) == pytest.approx(expected)
    many = torch.randn(600_000, generator=g)
    assert evaluate.area_under_curve((many > 0).float(), many) == 1.0
