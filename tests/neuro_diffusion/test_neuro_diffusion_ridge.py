"""The Gaussian likelihood of the rows of W, and ridge regression."""

import pytest
import torch

from neuro_diffusion import ridge
from neuro_diffusion.activity import generate_activity_trials
from neuro_diffusion.weights import sample_weight_matrix_batch


def networks(B=8, N=10, seed=0):
    return sample_weight_matrix_batch(B, N, (0.8, 1.8), structure="dale-sparse-lognormal", seed=seed)


def trials(W, K, noise, T=50, seed=1):
    g = torch.Generator().manual_seed(seed)
    return generate_activity_trials(W, K, T, 0.1, 1.0, observation_noise=noise, generator=g)


def test_the_filter_form_is_exact():
    W = networks().double()
    x, h0 = trials(W, 3, 0.0)
    f = ridge.exponential_filter(x, 0.1)
    decay = (0.9 ** torch.arange(50, dtype=torch.float64))[:, None]
    h = f @ W[:, None].transpose(-1, -2) + decay * h0[:, :, None]
    torch.testing.assert_close(torch.tanh(h), x, atol=1e-12, rtol=0)


def test_the_likelihood_is_that_of_a_dense_weighted_regression_with_h0_integrated_out():
    W = networks(1, 4).double()
    y, _ = trials(W, 2, 0.05)
    noise = torch.tensor([0.05], dtype=torch.float64)
    x = ridge.smooth(y, noise, 0.1)
    f = ridge.exponential_filter(x, 0.1)
    found, omega, z = ridge.row_likelihood(y, x, f, noise, 0.1)
    decay = 0.9 ** torch.arange(50, dtype=torch.float64)
    A, b = torch.zeros(4, 4, 4).double(), torch.zeros(4, 4).double()
    for i in range(4):
        for k in range(2):
            precision = torch.linalg.inv(torch.diag(1 / omega[0, k, :, i]) + torch.outer(decay, decay))
            A[i] += f[0, k].T @ precision @ f[0, k]
            b[i] += f[0, k].T @ precision @ z[0, k, :, i]
    torch.testing.assert_close(found.A[0], A, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.b[0], b, rtol=1e-8, atol=1e-8)


def test_a_vanishing_unseen_drive_gives_the_white_likelihood():
    W = networks(2, 5).double()
    y, _ = trials(W, 2, 0.05)
    noise = torch.full((2,), 0.05).double()
    x = ridge.smooth(y, noise, 0.1)
    f = ridge.exponential_filter(x, 0.1)
    white, _, _ = ridge.row_likelihood(y, x, f, noise, 0.1)
    coloured, _, _ = ridge.row_likelihood(y, x, f, noise, 0.1, drive_variance=torch.zeros(2).double())
    torch.testing.assert_close(coloured.A, white.A, rtol=1e-3, atol=1e-3)


def test_evidence_equals_the_log_determinant_formula():
    g = torch.Generator().manual_seed(0)
    root = torch.randn(1, 3, 3, 3, generator=g).double()
    A, b = root @ root.transpose(-1, -2), torch.randn(1, 3, 3, generator=g).double()
    found = ridge.log_evidence(ridge.spectrum(ridge.Likelihood(A, b)), torch.tensor([[0.7]]).double())
    expected = 0.0
    for i in range(3):
        P = A[0, i] + torch.eye(3).double() / 0.7
        expected += 0.5 * (b[0, i] @ torch.linalg.solve(P, b[0, i]) - torch.logdet(0.7 * P))
    assert found.item() == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.1])
def test_noise_is_estimated_within_three_percent(noise):
    y, _ = trials(networks(), 4, noise)
    assert ridge.estimate_noise(y).mean().item() == pytest.approx(noise, rel=0.03)


def test_plentiful_data_determine_the_weights():
    W = networks(N=8)
    y, _ = trials(W, 16, 1e-3)
    assert ridge.entry_correlation(ridge.fit_ridge(y, 0.1).mean, W).mean() > 0.99


def test_the_oracle_is_never_below_the_marginal_likelihood_on_the_same_grid():
    W = networks()
    fit = ridge.fit_ridge(trials(W, 2, 0.05).x, 0.1)
    oracle = ridge.oracle_ridge(fit.likelihood, W)
    assert (ridge.entry_correlation(oracle, W) >= ridge.entry_correlation(fit.mean, W) - 1e-5).all()


def test_rows_and_columns_of_unobserved_neurons_say_nothing():
    W = networks(2, 6)
    seen = torch.tensor([[True] * 4 + [False] * 2] * 2)
    y = trials(W, 2, 0.05).x
    likelihood, _ = ridge.gaussian_likelihood(y, 0.1, torch.full((2,), 0.2), observed=seen)
    assert (likelihood.A[:, 4:] == 0).all()
    assert likelihood.A[:, :4, 4:].abs().max() < 1e-6
    filled = y.clone()
    filled[..., 4:] = 0.3
    again, _ = ridge.gaussian_likelihood(filled, 0.1, torch.full((2,), 0.2), observed=seen)
    torch.testing.assert_close(again.b, likelihood.b)


def test_too_short_a_recording_is_refused():
    with pytest.raises(ValueError, match="at least 6 are needed"):
        ridge.estimate_noise(torch.zeros(1, 1, 5, 3))
