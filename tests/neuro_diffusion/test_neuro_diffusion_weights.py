"""Have random weight matrices the spectra and signs that theory says, and is activity summarised rightly?"""

import numpy as np
import pytest
import torch

from neuro_diffusion.rate_network.activity import (
    generate_activity_trials,
    lyapunov_exponent,
    observation_mask,
    summary_stats,
)
from neuro_diffusion.rate_network.simulator import simulate_rate_network
from neuro_diffusion.rate_network.weights import (
    get_spectral_radius,
    parse_structure,
    random_stream,
    sample_weight_matrix,
    sample_weight_matrix_batch,
)


@pytest.mark.parametrize("structure", ["dense", "sparse", "lognormal", "block", "dale", "dale-sparse"])
def test_the_eigenvalue_bulk_has_radius_g_within_5_percent(structure):
    W = sample_weight_matrix_batch(6, 300, 1.5, seed=0, structure=structure)
    moduli = torch.linalg.eigvals(W).abs()
    inside = (
        moduli.flatten().sort().values[: int(0.97 * moduli.numel())]
    )  # Dale's mean gives a few outliers beyond the edge
    assert float(inside[-1]) == pytest.approx(1.5, rel=0.05)


def test_balanced_dale_columns_keep_one_sign_and_rows_balance_on_average():
    W = sample_weight_matrix_batch(50, 200, 1.5, 0.8, seed=1)
    positive, negative = (W > 0).any(1), (W < 0).any(1)
    assert not bool((positive & negative).any())
    assert bool((positive.sum(1) == 160).all())
    assert abs(float(W.sum(2).mean())) < 0.05
    assert torch.equal(W, sample_weight_matrix_batch(50, 200, 1.5, 0.8, seed=1))


def test_balanced_units_do_not_saturate_and_legacy_ones_do():
    saturated = {}
    for dale in ("balanced", "legacy"):
        W = sample_weight_matrix_batch(4, 200, 1.5, 0.8, seed=2, dale=dale)
        saturated[dale] = float(
            (generate_activity_trials(W, 4, 100, 0.1, 1.0, seed=0).x[:, :, 50:].abs() > 0.99).float().mean()
        )
    assert saturated["balanced"] < 0.05
    assert saturated["legacy"] > 0.5
    assert float(get_spectral_radius(sample_weight_matrix(200, 1.5, 0.8, 0, dale="legacy"))) > 8


def test_a_gain_range_gives_every_network_its_own_radius():
    radius = get_spectral_radius(sample_weight_matrix_batch(60, 80, (0.5, 2.0), seed=3))
    assert float(radius.min()) < 0.8
    assert float(radius.max()) > 1.7


def test_low_rank_networks_carry_outlying_singular_values():
    values = torch.linalg.svdvals(sample_weight_matrix(200, 0.1, seed=0, structure="lowrank", rank=2))
    assert float(values[1] / values[2]) < 6
    assert float(torch.linalg.svdvals(sample_weight_matrix(200, 1.0, seed=0)).diff().abs().max()) < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"structure": "dale-sprase"}, "unknown .'sprase'."),
        ({"g": 0.0}, "0 < g"),
        ({"ei_ratio": 0.01}, "no excitatory or no inhibitory"),
        ({"density": 0.0}, "density in"),
        ({"dale": "other"}, "dale balanced or legacy"),
    ],
)
def test_impossible_weights_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_weight_matrix(**{"N": 10, "g": 1.0, **arguments})


def test_structures_are_parsed_and_streams_depend_on_seed_and_index_only():
    assert parse_structure("dale-sparse-lognormal") == {"dale", "sparse", "lognormal"}
    draws = [random_stream(s, i).random() for s, i in ((0, 5), (0, 5), (0, 6), (1, 5))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_statistics_equal_their_definitions_on_a_small_example():
    x = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    s, flat = summary_stats(x, dt=0.5, max_lag=3), x.reshape(-1, 3).numpy()
    C = np.cov(flat.T, bias=True)
    np.testing.assert_allclose(s.covariance, C)
    np.testing.assert_allclose(s.participation_ratio, np.trace(C) ** 2 / np.trace(C @ C))
    d = x.numpy() - flat.mean(0)
    lag1 = np.einsum("kti,ktj->ij", d[:, 1:], d[:, :-1]) / 16
    np.testing.assert_allclose(s.lag1_covariance, lag1)
    rho = [(d[:, l:] * d[:, : 9 - l]).sum() / (9 - l) for l in range(4)]
    np.testing.assert_allclose(s.autocorrelation, np.array(rho) / rho[0])


def test_the_lyapunov_exponent_of_a_silent_network_is_its_leading_eigenvalue():
    W, tau, dt = torch.diag(torch.tensor([0.6, 0.2, -0.3], dtype=torch.double)), 2.0, 0.05
    x = simulate_rate_network(W, torch.zeros(3, dtype=torch.double), 4000, dt, tau)
    assert float(lyapunov_exponent(W, x[None], dt, tau)) == pytest.approx((0.6 - 1) / tau, rel=0.01)


def test_strong_random_networks_are_chaotic_and_weak_ones_are_not():
    exponents = []
    for g in (0.5, 3.0):
        W = sample_weight_matrix(200, g, seed=0)
        x = generate_activity_trials(W, 1, 600, 0.1, 1.0, seed=1).x
        exponents.append(float(lyapunov_exponent(W, x, 0.1, 1.0)))
    assert exponents[0] < -0.3
    assert exponents[1] > 0.03


def test_statistics_refuse_what_they_cannot_use():
    with pytest.raises(ValueError, match="at least 2 time steps"):
        summary_stats(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="needs tau"):
        summary_stats(torch.zeros(5, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="num_trials must be at least 1"):
        generate_activity_trials(torch.zeros(3, 3), 0, 5, 0.1, 1.0)
    with pytest.raises(ValueError, match="observed fraction"):
        observation_mask(2, 5, 0.0)


def test_observation_noise_and_masks_have_the_size_that_was_asked_for():
    x = generate_activity_trials(
        torch.zeros(2, 40, 40), 5, 50, 0.1, 1.0, h0_std=1e-6, seed=0, observation_noise=torch.tensor([0.1, 0.3])
    ).x
    torch.testing.assert_close(x.std(dim=(1, 2, 3)), torch.tensor([0.1, 0.3]), rtol=0.03, atol=0)
    assert observation_mask(7, 11, 0.5).sum(1).tolist() == [6] * 7
