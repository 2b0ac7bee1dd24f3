"""Priors learned from the population: what they recover, and that they add nothing where there is nothing."""

import numpy as np
import pytest

from glm_rates.model import effects, prior
from glm_rates.model import kernels as shapes
from glm_rates.model import population as model
from glm_rates.model.kernels import Window
from glm_rates.score import evaluate

WINDOW = Window(60, 180)


def test_model_average_precision_shrinks_to_the_average():
    r, information = 0.4, 7.0
    ridge = prior.model_average_precision(np.array([r]), np.array([information]))[0]
    assert information / (information + ridge) == pytest.approx(r * information / (information + 1))
    assert prior.model_average_precision(np.array([1.0]), np.array([3.0]))[0] == 1
    assert np.isinf(prior.model_average_precision(np.array([1e-4]), np.array([3.0])))[0]


def log_evidence(hessian, natural, precision, keep):
    """Log of the integral of a Gaussian likelihood over the kept weights, without what the prior's own normalisation adds."""
    inner = (hessian + np.diag(np.where(np.isfinite(precision), precision, 0)))[np.ix_(keep, keep)]
    return 0.5 * natural[keep] @ np.linalg.solve(inner, natural[keep]) - 0.5 * np.linalg.slogdet(inner)[1]


def test_edge_probability_is_the_ratio_of_marginal_likelihoods(learned):
    """Each edge's odds against the evidence of all kept weights with the edge (slab N(0, 1)) over that without it, by brute force."""
    design, fit = learned
    n_units, columns, k = len(design.counts), design.columns["coupling"], len(fit.prior.covariance["coupling"])
    rng = np.random.default_rng(0)
    precision = np.where(rng.random((n_units, n_units)) < 0.5, 2.0, np.inf)
    np.fill_diagonal(precision, np.inf)
    white = prior.whiten(design, fit.prior._replace(edge_precision=precision), prior.grams(design))
    z = prior.map_weights(white, tolerance=1e-9).coef
    odds = rng.normal(size=(n_units, n_units))
    for unit in range(n_units):
        every = np.hstack([design.shared, design.own[unit]]) @ white.root
        residual = design.counts[unit] - np.exp(
            every @ z[unit] + np.broadcast_to(white.problem.offset, design.counts.shape)[unit]
        )
        finite = np.isfinite(white.precision[unit])
        natural = (white.hessian[unit] + np.diag(np.where(finite, white.precision[unit], 0))) @ z[unit]
        natural[~finite] += residual @ every[:, ~finite]  # of a dropped edge the likelihood's slope where it is 0
        for source in range(n_units):
            edge = np.arange(columns.start + source * k, columns.start + (source + 1) * k)
            without = np.setdiff1d(np.flatnonzero(finite), edge)
            slab = white.precision[unit].copy()
            slab[edge] = 1
            odds[unit, source] = log_evidence(white.hessian[unit], natural, slab, np.append(without, edge))
            odds[unit, source] -= log_evidence(white.hessian[unit], natural, slab, without)
    found = prior.edge_posterior(white, z, columns, k, 0.2).probability
    off = ~np.eye(n_units, dtype=bool)
    expected = 1 / (1 + np.exp(-(odds + np.log(0.2 / 0.8))))
    np.testing.assert_allclose(found[off], expected[off], rtol=1e-3, atol=1e-9)
    assert found[off].min() < 0.1
    assert found[off].max() > 0.9
    assert not np.diag(found).any()


def test_the_spread_of_history_filters_is_recovered(learned, population):
    design, fit = learned
    filters = effects.filters(design, fit, 25, 2)
    truth = population[1].truth.history
    rate_hz = design.counts.mean(axis=1) * 40
    busy = np.flatnonzero(rate_hz > 8)
    assert len(busy) >= 3
    found = [np.corrcoef(filters["history"][u], truth[u])[0, 1] for u in busy]
    assert np.median(found) >= 0.95


def test_coupled_pairs_are_more_probable_than_uncoupled(learned, population):
    _, fit = learned
    edge = (population[1].truth.coupling != 0).any(axis=2)
    off = ~np.eye(len(edge), dtype=bool)
    inside, outside = fit.prior.inclusion[edge & off], fit.prior.inclusion[~edge & off]
    auc = np.mean(inside[:, None] > outside) + 0.5 * np.mean(inside[:, None] == outside)
    assert auc >= 0.72
    assert not np.diag(fit.prior.inclusion).any()


def test_standard_errors_cover_the_true_history(learned, population):
    design, fit = learned
    filters = effects.filters(design, fit, 25, 2)
    inside = np.abs(filters["history"] - population[1].truth.history) < 2.5 * filters["history_se"] + 0.02
    assert inside.mean() > 0.9


def test_shuffling_trials_leaves_the_coefficients(population):
    trials, _ = population
    settings = model.Settings()
    order = np.random.default_rng(0).permutation(len(trials.taste))
    mixed = trials._replace(counts=trials.counts[order], taste=trials.taste[order])
    a, b = (
        model.fit_design(model.make_design(t, WINDOW, settings), settings, covariance=False) for t in (trials, mixed)
    )
    np.testing.assert_allclose(a.coef, b.coef, atol=1e-8)


def test_pure_noise_scores_nothing_and_coupling_does_no_harm(make_trials):
    trials, _ = make_trials(n_trials=20, coupled=False, history=False, stimulus=False)
    settings = model.Settings(include_coupling=True)
    folds = [evaluate.score_fold(trials, WINDOW, settings, 3, k) for k in range(3)]
    total = {name: sum(f.log_likelihood[name] for f in folds) for name in folds[0].log_likelihood}
    spikes = trials.counts[:, 60:180].sum(axis=1).T
    fold = evaluate.fold_of_trials(trials.taste, 3)
    full = evaluate.compare(total["history+stimulus+coupling"], total["homogeneous"], spikes, fold)
    step = evaluate.compare(total["history+stimulus+coupling"], total["history+stimulus"], spikes, fold)
    assert abs(full.pooled) < 0.005
    assert abs(full.median) < 0.005
    assert step.pooled > -0.002


@pytest.mark.parametrize("seed", [0, 5])
def test_few_units_and_trials_of_pure_noise_cost_nothing(make_trials, seed):
    """Six units, 40 trials: a covariance of ten weights cannot be read off six units, and must not follow their noise."""
    trials, _ = make_trials(6, 10, 4, seed, coupled=False, history=False, stimulus=False)
    settings = model.Settings(include_coupling=True)
    folds = [evaluate.score_fold(trials, WINDOW, settings, 5, k) for k in range(5)]
    total = {name: sum(f.log_likelihood[name] for f in folds) for name in folds[0].log_likelihood}
    spikes = trials.counts[:, 60:180].sum(axis=1).T
    against = {n: evaluate.compare(t, total["homogeneous"], spikes, np.arange(40) % 5).pooled for n, t in total.items()}
    assert against["history+stimulus+coupling"] > -0.002  # -.0055 and -.0109 where the covariance was the units' own
    assert against["history+stimulus+coupling"] > against["history+stimulus"] - 0.002


def test_a_covariance_of_few_draws_is_drawn_towards_smooth_filters():
    shape = np.diag([0.7, 0.2, 0.1])
    found = np.diag([0.0, 0.0, 3.0])
    np.testing.assert_allclose(prior.towards_smooth(found, shape, 0.0), 3 * shape)
    np.testing.assert_allclose(prior.towards_smooth(found, shape, 2.0), (found + 3 * shape) / 2)
    np.testing.assert_allclose(prior.towards_smooth(found, shape, 1e9), found, atol=1e-7)
    assert np.trace(prior.towards_smooth(found, shape, 5.0)) == pytest.approx(3)


def test_the_shape_towards_which_a_covariance_is_drawn_has_trace_one(learned):
    design, fit = learned
    for block, covariance in fit.prior.covariance.items():
        assert np.trace(prior.shape_of(design, block, len(covariance))) == pytest.approx(1), block
    assert np.trace(prior.shape_of(design, "a covariate", 4)) == pytest.approx(1)


def test_moments_are_those_of_the_draws_where_the_data_determine_them_and_stay_where_the_prior_is_right():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 6)) * ([2, 1, 0.5] * 2)
    mean, new = prior._moments(z, np.zeros((50, 6, 6)), 3, centred=False, isotropic=False)
    draws = z.reshape(-1, 3)
    np.testing.assert_allclose(new, draws.T @ draws / 100, rtol=1e-12)
    assert not mean.any()
    half = np.sqrt(0.5) * np.array(
        [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]
    )  # and half of the variance unknown
    new = prior._moments(half, np.tile(0.5 * np.eye(2), (4, 1, 1)), 2, centred=True, isotropic=False)[1]
    np.testing.assert_allclose(new, np.eye(2), atol=1e-12)


def test_the_smooth_shape_is_that_of_independent_raw_cosines():
    made = shapes.raised_cosine_kernels(10, 100)
    raw = shapes.raised_cosines(10, 100)
    weights = np.random.default_rng(0).normal(size=(20_000, 10)) @ raw.T @ made.values
    variance = weights.var(axis=0)
    np.testing.assert_allclose(made.spread, variance / variance.sum(), rtol=0.05)


@pytest.mark.parametrize("rule", ["blocks", "cv", "ridge"])
def test_every_rule_fits_and_beats_the_mean_rate_on_the_rows_it_saw(rule, make_trials):
    trials, _ = make_trials(n_units=4, n_trials=6)
    settings = model.Settings(prior=rule, penalty=1e-2 if rule == "ridge" else None, include_coupling=True)
    made = model.make_design(trials, WINDOW, settings)
    fit = model.fit_design(made, settings)
    counts, rate = made.counts, effects.predict(made, fit)
    gain = (counts * np.log(rate / counts.mean(axis=1, keepdims=True)) - rate).sum() + counts.sum()
    assert gain > 0
    assert fit.converged.all()


def test_a_silent_unit_gets_rate_zero_and_stops_nobody(make_trials):
    trials, _ = make_trials(n_units=4, n_trials=6)
    silent = trials.counts.copy()
    silent[:, :, 2] = 0
    settings = model.Settings(include_coupling=True)
    made = model.make_design(trials._replace(counts=silent), WINDOW, settings)
    fit = model.fit_design(made, settings)
    rate = effects.predict(made, fit)
    assert (rate[2] == 0).all()
    assert not fit.fitted[2]
    assert fit.fitted[[0, 1, 3]].all()
    assert np.isfinite(rate).all()
