"""Do intervals hold the true rate where the prior is learned from few units, and where no kernel has the response's shape?"""

import numpy as np
import pytest

from glm_rates.fit.populations import Population, fit_population
from glm_rates.model import population as model
from glm_rates.model.design import Trials
from glm_rates.model.kernels import Window
from glm_rates.model.prior import grams, learn, map_weights, whiten
from glm_rates.model.widths import misfit

WINDOW = Window(20, 140)


def recording(seed, amplitude=1.0, n_units=6, n_each=20):
    """Counts and true expected counts: responses drawn at 1 ms, narrow ones among them, and an exponential history."""
    rng = np.random.default_rng(seed)
    taste, ms = rng.permutation(np.repeat([0, 1], n_each)), np.arange(3000)
    true, counts = np.zeros((2 * n_each, 140, n_units)), np.zeros((2 * n_each, 140, n_units))
    for unit in range(n_units):
        base, past = np.exp(rng.uniform(0.7, 3)) / 1000, amplitude * rng.normal(0, 0.2) * np.exp(-np.arange(1, 11) / 2)
        common, log_rate = _bump(rng, ms), np.zeros((2, 3500))
        log_rate[:, 500:] = amplitude * np.stack([common + 0.7 * _bump(rng, ms) for _ in range(2)])
        expected = base * np.exp(log_rate).reshape(2, 140, 25).sum(axis=2)[taste]
        for b in range(140):
            reach = min(b, 10)
            fed = counts[:, b - reach : b, unit][:, ::-1] @ past[:reach]
            true[:, b, unit] = expected[:, b] * np.exp(np.minimum(fed, 0.7))
            counts[:, b, unit] = rng.poisson(true[:, b, unit])
    return Trials(counts, taste, np.full(2 * n_each, 20), np.zeros((2 * n_each, 140))), true[:, slice(*WINDOW)]


def _bump(rng, ms):
    kind, size = rng.integers(3), rng.normal(0, 0.6)
    if kind == 0:
        return 1.5 * size * np.exp(-0.5 * ((ms - rng.uniform(80, 600)) / rng.uniform(25, 60)) ** 2)
    if kind == 1:
        tau = rng.uniform(60, 400)
        return size * (ms / tau) * np.exp(1 - ms / tau)
    return 0.8 * size / (1 + np.exp((50 - ms) / 30)) / (1 + np.exp((ms - rng.uniform(500, 2000)) / 80))


def fitted(seed, amplitude):
    trials, true = recording(seed, amplitude)
    found = fit_population(
        Population("all", None, np.arange(6), np.arange(40), trials), WINDOW, model.Settings(history_window=250)
    )
    return np.abs(np.log(true / found["rate"])) < 1.96 * found["log_rate_sd"]


@pytest.mark.slow
@pytest.mark.parametrize(("amplitude", "low"), [(1.0, 0.92), (0.0, 0.92)])
def test_intervals_of_rates_hold_the_truth_as_often_as_they_say(amplitude, low):
    """Twenty sessions of six units; the standard error over sessions is about .01."""
    assert low < np.mean([fitted(5000 + seed, amplitude).mean() for seed in range(20)]) < 0.98


def test_the_error_of_the_prior_is_that_of_learning_it_without_each_unit():
    """Against the jackknife by hand: prior and weights anew without each unit."""
    trials, _ = recording(1)
    design = model.make_design(trials, WINDOW, model.Settings()).in_canonical_order()
    fit = model.fit_design(design, model.Settings())
    gram, predicted = grams(design), []
    for left in range(6):
        rest = np.delete(np.arange(6), left)
        prior, _ = learn(design._replace(own=design.own[rest], counts=design.counts[rest]), fit.prior, stop_at=1e-3)
        white = whiten(design, fit.prior._replace(covariance=prior.covariance, history_mean=prior.history_mean), gram)
        z = map_weights(white, fit.coef, tolerance=1e-7).coef
        predicted.append(white.mean + z @ white.root.T)
    by_hand = 5 * np.var(predicted, axis=0)
    white = whiten(design, fit.prior, gram)
    solution = map_weights(white, fit.coef, tolerance=1e-7)
    given = model.inverse_hessians(white.problem, solution, fit.fitted)
    added = np.stack([np.diag(whole.matrix) - np.diag(part.matrix) for whole, part in zip(fit.covariance, given)])
    assert added.min() > -1e-12
    at = np.r_[design.columns["stimulus"], design.columns["history"]]
    assert np.corrcoef(np.sqrt(by_hand[:, at]).ravel(), np.sqrt(np.maximum(added[:, at], 0)).ravel())[0, 1] > 0.6
    assert 0.3 < added[:, at].sum() / by_hand[:, at].sum() < 3


@pytest.mark.parametrize("scatter", [0.0, 0.3])
def test_misfit_is_the_variance_of_the_log_rate_that_chance_does_not_explain(scatter):
    rng, n = np.random.default_rng(2), 40
    taste, rate = rng.permutation(np.arange(n) % 2), np.full((8, n * 120), 0.3)
    wrong = np.repeat(rng.normal(0, scatter, (8, 2, 60)), 2, axis=2)  # in 50 ms of each taste
    counts = rng.poisson(rate * np.exp(wrong[:, taste].reshape(8, -1))).astype(float)
    trials = Trials(counts.reshape(8, n, 120).transpose(1, 2, 0), taste, np.zeros(n, int), np.zeros((n, 120)))
    design = model.make_design(trials, Window(0, 120), model.Settings(stimulus=False))
    found = misfit(design, rate, 0 * rate, taste, np.full(8, np.inf), 25)
    assert abs(found - np.expm1(wrong).var()) < 0.01 * (scatter > 0) + 1e-3
