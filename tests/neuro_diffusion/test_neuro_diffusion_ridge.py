"""Is the Gaussian likelihood of W the regression it claims to be, and is its ridge calibrated where that is possible?"""

import math

import numpy as np
import pytest
import torch

from neuro_diffusion.model.agreement import entry_correlation
from neuro_diffusion.model.ridge import (
    Likelihood,
    Pseudo,
    best_prior_variance,
    decay_matrix,
    decay_of,
    estimate_noise,
    exponential_filter,
    factor_of,
    fit_ridge,
    fitted_states,
    gaussian_likelihood,
    linearise,
    log_evidence,
    oracle_ridge,
    posterior,
    posterior_mean,
    process_noise,
    ridge_of,
    row_likelihood,
    smooth,
    spectrum,
    widen,
)
from neuro_diffusion.rate_network.activity import generate_activity_trials
from neuro_diffusion.rate_network.weights import sample_weight_matrix_batch

A = 0.1


@pytest.fixture(scope="module")
def task():
    """Return (W, y) of 24 networks with 4 trials at noise .02."""
    W = sample_weight_matrix_batch(24, 10, 1.2, structure="dale-sparse-lognormal", seed=0)
    y = generate_activity_trials(W, 4, 50, A, 1.0, seed=1, observation_noise=0.02).x
    return W, y


def test_the_filter_form_reproduces_the_states_exactly():
    W = sample_weight_matrix_batch(2, 6, 1.5, seed=0).double()
    g = torch.Generator().manual_seed(0)
    from neuro_diffusion.rate_network.simulator import simulate_rate_network

    h0 = torch.randn(2, 3, 6, generator=g, dtype=torch.double)
    x, h = simulate_rate_network(W, h0, 40, A, 1.0, return_h=True)
    decay = (1 - A) ** torch.arange(40, dtype=torch.double)
    filtered = exponential_filter(x, A)
    torch.testing.assert_close(decay[:, None] * h0[:, :, None] + filtered @ W[:, None].mT, h)


def test_the_likelihood_equals_a_dense_weighted_regression_with_h0_integrated_out(task):
    _, y = task
    y = y[:1].double()
    x, noise = y.clamp(-0.9, 0.9), torch.tensor([0.05], dtype=torch.double)
    f = exponential_filter(x, A)
    z, omega = linearise(y, x, noise)
    found = row_likelihood(Pseudo(z, omega), f, decay_of(50, A, y))
    decay, i = (1 - A) ** np.arange(50), 3
    A_i, b_i = np.zeros((10, 10)), np.zeros(10)
    for k in range(4):
        covariance = np.diag(1 / omega[0, k, :, i].numpy()) + np.outer(decay, decay)
        F, precision = f[0, k].numpy(), np.linalg.inv(covariance)
        A_i += F.T @ precision @ F
        b_i += F.T @ precision @ z[0, k, :, i].numpy()
    np.testing.assert_allclose(found.A[0, i], A_i, rtol=1e-6)
    np.testing.assert_allclose(found.b[0, i], b_i, rtol=1e-6)


def test_the_evidence_differs_between_prior_variances_as_the_dense_gaussian_says():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((7, 3)), rng.standard_normal(7)
    like = Likelihood(
        torch.from_numpy(X.T @ X)[None, None].repeat(1, 3, 1, 1), torch.from_numpy(X.T @ y)[None, None].repeat(1, 3, 1)
    )

    def dense(pv):
        C = np.eye(7) + pv * X @ X.T
        return -0.5 * (y @ np.linalg.solve(C, y) + np.linalg.slogdet(C)[1])

    found = log_evidence(spectrum(like), torch.tensor([[0.3], [2.0]], dtype=torch.double))
    assert float(found[1] - found[0]) == pytest.approx(3 * (dense(2.0) - dense(0.3)))


def test_the_posterior_is_the_textbook_formula_in_every_row():
    g = torch.Generator().manual_seed(1)
    root = torch.randn(2, 4, 4, 6, generator=g, dtype=torch.double)
    like = Likelihood(root @ root.mT, torch.randn(2, 4, 4, generator=g, dtype=torch.double))
    mean, sd = posterior(spectrum(like), torch.tensor([0.5, 2.0], dtype=torch.double))
    covariance = torch.linalg.inv(like.A + torch.eye(4) / torch.tensor([0.5, 2.0])[:, None, None, None])
    torch.testing.assert_close(mean, (covariance @ like.b[..., None])[..., 0])
    torch.testing.assert_close(sd, covariance.diagonal(dim1=-2, dim2=-1).sqrt())


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_the_noise_is_estimated_within_3_percent(noise):
    W = sample_weight_matrix_batch(16, 16, 1.3, seed=2)
    y = generate_activity_trials(W, 8, 50, A, 1.0, seed=3, observation_noise=noise).x
    assert float(estimate_noise(y).mean()) == pytest.approx(noise, rel=0.03)


def test_ridge_recovers_w_and_little_noise_and_many_trials_recover_nearly_all_of_it():
    W = sample_weight_matrix_batch(8, 10, 1.2, seed=4)
    y = generate_activity_trials(W, 10, 50, A, 1.0, seed=5, observation_noise=1e-3).x
    assert float(entry_correlation(fit_ridge(y, A).mean, W).mean()) > 0.99


def test_marginal_likelihood_stays_near_the_penalty_that_an_oracle_would_choose(task):
    W, y = task
    found = fit_ridge(y, A)
    own = entry_correlation(found.mean, W)
    best = entry_correlation(oracle_ridge(found.likelihood, W), W)
    assert bool((best >= own - 1e-3).all())
    assert float((best - own).mean()) < 0.03


def test_intervals_of_ridge_cover_w_drawn_from_its_own_prior():
    g = torch.Generator().manual_seed(6)
    W = torch.randn(40, 10, 10, generator=g) / math.sqrt(10)
    y = generate_activity_trials(W, 4, 50, A, 1.0, seed=7, observation_noise=0.05).x
    found = fit_ridge(y, A)
    covered = ((W - found.mean).abs() < 1.96 * found.sd).float().mean()
    assert float(covered) == pytest.approx(0.95, abs=0.04)
    assert float(found.prior_variance.median()) == pytest.approx(0.1, rel=0.5)


def test_intervals_of_ridge_stay_honest_where_the_path_is_the_main_uncertainty():
    g = torch.Generator().manual_seed(8)
    W = torch.randn(40, 12, 12, generator=g) / math.sqrt(12)
    y = generate_activity_trials(W, 8, 50, A, 1.0, seed=9, observation_noise=0.02).x
    found = fit_ridge(y, A)
    variance = torch.full((40,), 1 / 12)
    mean, too_narrow = posterior(spectrum(found.likelihood), variance)
    share = lambda m, sd: float(((W - m).abs() < 1.96 * sd).float().mean())  # noqa: E731
    assert share(found.mean, found.sd) == pytest.approx(0.95, abs=0.02)
    assert share(mean, too_narrow) < 0.92


def test_the_variance_of_the_path_is_the_row_sum_of_its_dense_covariance(task):
    """For one row: the joint normal of weights and initial state of each presynaptic neuron, through tanh, filter and W."""
    W, y = (v[:1].double() for v in task)
    noise, variance, decay = torch.tensor([0.05]).double(), torch.tensor([0.1]).double(), decay_of(50, A, y)
    x = y.clamp(-0.9, 0.9)
    f, p = exponential_filter(x, A), linearise(y, x, noise)
    likelihood = row_likelihood(p, f, decay)
    found = 1 / widen(p, likelihood, W, x, f, A, variance).omega - 1 / p.omega
    F, k, i, expected = decay_matrix(50, A, y), 2, 3, torch.zeros(50).double()
    for j in range(10):
        design = torch.zeros(4 * 50, 10 + 4).double()  # weights of row j, then the initial state of each trial
        for trial in range(4):
            rows = slice(50 * trial, 50 * trial + 50)
            design[rows, :10], design[rows, 10 + trial] = f[0, trial], decay
        prior = torch.diag(torch.tensor([1 / 0.1] * 10 + [1.0] * 4)).double()
        covariance = torch.linalg.inv(design.T @ (p.omega[0, :, :, j].reshape(-1, 1) * design) + prior)
        path = (design @ covariance @ design.T)[50 * k : 50 * k + 50, 50 * k : 50 * k + 50]
        slope = 1 - x[0, k, :, j] ** 2
        presynaptic = torch.linalg.inv(likelihood.A[0, i] + 10 * torch.eye(10))[j, j]
        expected += (W[0, i, j] ** 2 + presynaptic) * (F @ (slope[:, None] * path * slope) @ F.T).sum(1)
    torch.testing.assert_close(found[0, k, :, i], expected.clamp_min(0))


def test_rows_of_unseen_neurons_carry_no_information_and_their_columns_none_either(task):
    W, y = task
    observed = torch.ones(len(W), 10, dtype=torch.bool)
    observed[:, 7:] = False
    hidden = y.masked_fill(~observed[:, None, None], 0.0)
    like = gaussian_likelihood(hidden, A, torch.full((len(W),), 0.1), observed=observed).likelihood
    assert float(like.A[:, 7:].abs().max()) == 0
    assert float(like.b[:, 7:].abs().max()) == 0
    assert float(like.A[:, :7, 7:].abs().max()) == 0
    whole = fit_ridge(y, A, observed=torch.ones_like(observed))
    assert torch.equal(whole.mean, fit_ridge(y, A).mean)


def test_the_most_probable_prior_variance_lies_where_the_evidence_is_highest(task):
    s = spectrum(fit_ridge(task[1], A).likelihood)
    best, evidence = best_prior_variance(s)
    for factor in (0.3, 3.0):
        assert bool((log_evidence(s, factor * best) <= evidence + 1e-3).all())


def test_one_trial_of_fifty_neurons_leaves_directions_without_information_and_the_spectrum_says_so():
    W = sample_weight_matrix_batch(2, 50, 1.3, seed=0)
    g = torch.Generator().manual_seed(0)
    y = generate_activity_trials(W, 1, 50, 0.1, 1.0, observation_noise=0.05, generator=g).x
    found = gaussian_likelihood(y, 0.1, torch.full((2,), 0.03)).wide
    values = spectrum(found).values
    exact = torch.linalg.eigvalsh(found.A.double()).clamp_min(0)
    assert float((values - exact).abs().max() / exact.max()) < 1e-7
    assert float((values[..., 0] - exact[..., 0]).abs().max() / exact.max()) < 1e-12


def test_the_unseen_drive_has_the_variance_that_weights_of_one_over_n_give_unless_told():
    W = sample_weight_matrix_batch(2, 10, 1.2, seed=0)
    y = generate_activity_trials(W, 2, 30, A, 1.0, seed=1, observation_noise=0.02).x
    observed = (torch.arange(10) < 6).expand(2, 10)
    default, told, tenfold = (
        gaussian_likelihood(y, A, variance, observed=observed).likelihood.A
        for variance in (None, torch.full((2,), 0.1), torch.full((2,), 1.0))
    )
    torch.testing.assert_close(default, told)
    assert (
        float(tenfold[:, :6].diagonal(dim1=-2, dim2=-1).sum() / default[:, :6].diagonal(dim1=-2, dim2=-1).sum()) < 0.7
    )


def test_linearising_anew_about_the_fitted_path_gains_correlation():
    W = sample_weight_matrix_batch(16, 10, 1.3, structure="dale-sparse-lognormal", seed=0)
    y = generate_activity_trials(W, 8, 50, A, 1.0, seed=1, observation_noise=0.1).x
    once, anew = (
        entry_correlation(ridge_of(gaussian_likelihood(y, A, n_relinearise=n)).mean, W).mean() for n in (0, 2)
    )
    assert float(anew - once) > 0.02
    torch.testing.assert_close(entry_correlation(fit_ridge(y, A).mean, W).mean(), anew)


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_the_linearisation_is_renewed_as_often_as_asked(task, turns):
    y, noise, variance = task[1][:2], torch.full((2,), 0.05), torch.full((2,), 0.1)
    x, decay = smooth(y, noise, A), decay_of(50, A, y)
    for _ in range(turns):
        f, p = exponential_filter(x, A), linearise(y, x, noise)
        x = torch.tanh(fitted_states(posterior_mean(row_likelihood(p, f, decay), variance), f, p, decay))
    expected = row_likelihood(linearise(y, x, noise), exponential_filter(x, A), decay)
    found = gaussian_likelihood(y, A, variance, noise, n_relinearise=turns).likelihood
    torch.testing.assert_close(found.A, expected.A)
    torch.testing.assert_close(found.b, expected.b)


def test_with_noise_of_the_dynamics_each_row_is_a_regression_with_the_random_path_integrated_out(task):
    y, noise, process = task[1][:1].double(), torch.tensor([0.05]).double(), 0.1
    variance, decay = torch.tensor([0.1]).double(), decay_of(50, A, y)
    found = gaussian_likelihood(y, A, variance, noise, n_relinearise=0, process=process).likelihood
    x, i = smooth(y, noise, A, process), 3
    f, p = exponential_filter(x, A), linearise(y, x, noise)
    A_i, b_i = np.zeros((10, 10)), np.zeros(10)
    path = np.outer(decay, decay) + process**2 * process_noise(50, A, y).numpy()
    for k in range(4):
        F, precision = f[0, k].numpy(), np.linalg.inv(np.diag(1 / p.omega[0, k, :, i].numpy()) + path)
        A_i += F.T @ precision @ F
        b_i += F.T @ precision @ p.z[0, k, :, i].numpy()
    np.testing.assert_allclose(found.A[0, i], A_i, rtol=1e-6)
    np.testing.assert_allclose(found.b[0, i], b_i, rtol=1e-6)


def test_the_noise_of_the_dynamics_has_the_covariance_of_simulated_paths():
    rng, paths = np.random.default_rng(0), np.zeros((40_000, 12))
    for t in range(1, 12):
        paths[:, t] = (1 - A) * paths[:, t - 1] + rng.standard_normal(len(paths))
    np.testing.assert_allclose(process_noise(12, A, torch.zeros(1).double()), np.cov(paths.T), atol=0.15)


def test_the_mean_of_w_is_that_of_the_textbook_posterior(task):
    likelihood = fit_ridge(task[1][:2], A).likelihood
    variance = torch.tensor([0.05, 0.4])
    torch.testing.assert_close(
        posterior_mean(likelihood, variance), posterior(spectrum(likelihood), variance)[0], atol=1e-4, rtol=1e-3
    )


def test_a_precision_that_rounding_left_not_positive_is_lifted_by_no_more_than_it_takes():
    g = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(6, 6, generator=g).double())[0]

    def lift(lowest):
        M = Q * torch.tensor([lowest, 1, 1, 2, 2, 4.0]) @ Q.mT
        return factor_of(M).square().sum(-1) - M.diagonal()

    torch.testing.assert_close(lift(0.5), torch.zeros(6).double())
    for lowest, most in ((-1e-8, 1e-7), (-1e-6, 1e-6), (-1e-5, 1e-5), (-1e-4, 1e-4)):
        assert -lowest < float(lift(lowest).min()) < float(lift(lowest).max()) < 4.1 * most


def test_too_short_trials_are_refused():
    with pytest.raises(ValueError, match="4 time steps: at least 6"):
        estimate_noise(torch.zeros(1, 1, 4, 3))
