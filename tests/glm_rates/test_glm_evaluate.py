"""Scores and calibration."""

import numpy as np
import pytest

from glm_rates.model import population as model
from glm_rates.model.design import Trials
from glm_rates.model.kernels import Window
from glm_rates.score import evaluate, fit_and_score

WINDOW = Window(60, 180)


def test_the_true_rates_reproduce_their_ceiling_by_hand():
    counts = np.array([[[2.0], [0.0]]])
    rate = np.array([[[1.0], [0.5]]])
    by_hand = 2 * np.log(1.0) - 1.0 - np.log(2) + (0 - 0.5)
    assert evaluate.log_likelihood(counts, rate, np.inf).sum() == pytest.approx(by_hand)


def test_a_silent_neuron_scores_nan():
    assert np.isnan(evaluate.bits_per_spike(1.0, 0.0, 0))
    assert np.isnan(evaluate.bits_per_spike(1.0, 0.0, 1))
    assert evaluate.bits_per_spike(np.log(2), 0.0, 2) == pytest.approx(0.5)


def test_every_trial_is_held_out_once_and_tastes_are_balanced():
    taste = np.repeat([0, 1, 2], [10, 7, 5])
    fold = evaluate.fold_of_trials(taste, 5)
    for k in range(3):
        assert np.ptp(np.bincount(fold[taste == k], minlength=5)) <= 1


def test_the_reference_rate_uses_training_trials_only():
    counts = np.zeros((4, 10, 1))
    counts[0] = 1.0
    train = np.array([False, True, True, True])
    rate = evaluate.homogeneous(counts, np.zeros(4, int), train)
    np.testing.assert_allclose(rate, 0.5 / 30)  # silent in training: half a spike


def test_the_rolling_window_never_sees_its_own_bin():
    counts = np.zeros((1, 30, 1))
    counts[0, 20] = 5
    trials = Trials(counts, np.zeros(1, int), np.zeros(1, int), np.zeros((1, 30)))
    rate = evaluate.rolling_window(trials, Window(10, 30), np.full((1, 1), 0.1), 25)[0, :, 0]
    assert rate[10] == pytest.approx(0.1 / 11)
    assert rate[11] == pytest.approx(5.1 / 11)


def test_held_out_rates_do_not_depend_on_the_held_out_spikes(make_trials):
    trials, _ = make_trials(n_units=3, n_trials=6)
    settings = model.Settings()
    before = evaluate.score_fold(trials, WINDOW, settings, 3, 0, nested=False)
    test = evaluate.fold_of_trials(trials.taste, 3) == 0
    counts = trials.counts.copy()
    counts[test, 100:] = np.random.default_rng(1).poisson(2.0, counts[test, 100:].shape)
    after = evaluate.score_fold(trials._replace(counts=counts), WINDOW, settings, 3, 0, nested=False)
    np.testing.assert_allclose(after.rate[test, : 100 - 60], before.rate[test, : 100 - 60], atol=1e-12)


def test_where_stimuli_do_not_differ_one_rate_is_the_baseline_to_beat(make_trials):
    """Else a model that draws the stimuli's rates together would "win" on pure noise."""
    trials, _ = make_trials(6, 10, 4, 36, coupled=False, history=False, stimulus=False)
    folds = [evaluate.score_fold(trials, WINDOW, model.Settings(), 5, k, nested=False) for k in range(5)]
    names = list(folds[0].log_likelihood)
    table = np.stack([sum(f.log_likelihood[name] for f in folds) for name in names])
    counts = trials.counts[:, 60:180].astype(float)
    summary = fit_and_score.summarise(
        counts, trials.taste, None, names, table, evaluate.fold_of_trials(trials.taste, 5)
    )
    assert summary["models"]["one rate"]["pooled"] > 0
    assert summary["against_best"]["baseline"] == "one rate"
    assert summary["against_best"]["pooled_low"] < 0


def test_comparison_is_paired_by_fold():
    score, reference = np.array([[2.0, 3.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 1.0, 2.0]])
    row = evaluate.compare(score * np.log(2), reference * np.log(2), np.full((1, 4), 2.0), np.array([0, 1, 0, 1]))
    assert row.pooled == pytest.approx(0.5)
    assert row.pooled_high - row.pooled_low == pytest.approx(0.0, abs=1e-12)


def test_corrected_rescaling_accepts_the_truth_and_rejects_a_constant_rate():
    rng = np.random.default_rng(0)
    true = np.exp(-1 + 0.9 * np.sin(np.arange(14400) / 30))[:, None] * np.linspace(0.5, 2, 40)
    counts = rng.poisson(true)
    p = {"true": [], "naive": [], "constant": []}
    for unit in range(40):
        y, mu = counts[:, unit].astype(float), true[:, unit]
        p["true"].append(evaluate.time_rescaling(y, mu, rng)[1])
        p["naive"].append(evaluate.time_rescaling(y, mu, rng, corrected=False)[1])
        p["constant"].append(evaluate.time_rescaling(y, np.full_like(mu, y.mean()), rng)[1])
    rejected = {name: np.mean(np.array(values) < 0.05) for name, values in p.items()}
    assert rejected["true"] <= 0.12
    assert rejected["naive"] > 0.8
    assert rejected["constant"] > 0.2


def test_few_spikes_have_no_rescaling_test():
    assert np.isnan(evaluate.time_rescaling(np.eye(1, 50)[0], np.full(50, 0.1), np.random.default_rng(0))[1])


@pytest.mark.parametrize("n", [10, 40, 1000])
def test_the_p_value_is_that_of_the_exact_test(n):
    from scipy.stats import kstest

    rng = np.random.default_rng(n)
    for power in (1.0, 1.0, 1.1, 1.3):
        z = np.sort(rng.random(n) ** power)
        assert evaluate.kolmogorov_smirnov(z) == pytest.approx(kstest(z, "uniform").pvalue, rel=0.03, abs=0.01)


def test_the_error_over_folds_is_that_of_the_mean_of_the_folds():
    gain, spikes = np.array([[1.0, 2.0, 6.0, 0.0], [1.0, 1.0, 1.0, 1.0]]), np.array([[1.0, 1.0, 2.0, 0.0], [2.0] * 4])
    error = evaluate.fold_error(gain, spikes, np.array([0, 1, 2, 3]))
    assert error[0] == pytest.approx(
        np.std([1.0, 2.0, 3.0], ddof=1) / np.sqrt(3)
    )  # the fold without spikes says nothing
    assert error[1] == pytest.approx(0.0)
    assert np.isnan(evaluate.fold_error(gain[:1, :1], spikes[:1, :1], np.array([0])))[0]
