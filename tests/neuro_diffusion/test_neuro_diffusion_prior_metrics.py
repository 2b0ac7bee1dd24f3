"""Do the prior metrics see what differs, and only that?"""

import math

import numpy as np
import pytest
import torch

from neuro_diffusion.rate_network.weights import sample_weight_matrix_batch
from neuro_diffusion.score.prior_metrics import (
    c2st,
    circular_law_ks,
    invariant_features,
    ks_distance,
    prior_metrics,
    sign_violation,
)


def draw(seed, count=200, structure="dale-sparse-lognormal"):
    return sample_weight_matrix_batch(count, 12, (0.8, 1.8), structure=structure, seed=seed)


def test_two_draws_of_one_law_lie_within_their_band():
    m = prior_metrics(draw(0), draw(1), n_bands=10)
    assert abs(m.radius_ratio - 1) < 3 * m.radius_ratio_se
    assert m.radial_ks < 1.5 * m.band["radial"]
    assert 0.4 < m.c2st < 0.6
    assert 0.4 < m.c2st_spectrum < 0.6
    assert m.sign_violation == m.sign_violation_real == 0


def test_a_law_without_structure_is_told_apart():
    m = prior_metrics(
        torch.randn(200, 12, 12, generator=torch.Generator().manual_seed(0)) / math.sqrt(12), draw(1), n_bands=10
    )
    assert m.c2st > 0.95
    assert m.radial_ks > 3 * m.band["radial"]
    assert m.sign_violation > 0.3


def test_smeared_zeros_are_told_apart_by_their_entries_and_not_by_their_spectrum():
    g = torch.Generator().manual_seed(0)
    W = draw(0)
    m = prior_metrics(W + 0.005 * torch.randn(W.shape, generator=g), draw(1), n_bands=2)
    assert m.c2st > 0.95
    assert 0.4 < m.c2st_spectrum < 0.6


def test_scaled_samples_show_in_the_radius_alone():
    m = prior_metrics(1.2 * draw(0), draw(0), n_bands=2)
    assert m.radius_ratio == pytest.approx(1.2)
    assert m.radial_ks < 2e-3  # rounding reorders nearly equal moduli


def test_relabelling_changes_no_feature():
    W, p = draw(2, 30).double(), torch.randperm(12, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(invariant_features(W[:, p][:, :, p]), invariant_features(W), atol=1e-8)


def test_the_ks_distance_equals_a_hand_computed_one():
    assert ks_distance(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6])) == 0.5
    assert ks_distance(np.array([0.0, 0, 0, 1]), np.array([0.0, 1, 1, 1])) == 0.5
    assert ks_distance(np.arange(5.0), np.arange(5.0)) == 0


def test_large_gaussian_matrices_follow_the_circular_law():
    W = sample_weight_matrix_batch(4, 300, 1.5, seed=0)
    assert circular_law_ks(W, 1.5) < 0.04
    assert circular_law_ks(W, 1.8) > 0.2


def test_one_wrong_sign_among_ten_is_counted():
    W = torch.ones(1, 10, 10)
    W[0, 0] = -1.0
    assert sign_violation(W) == pytest.approx(0.1)


def test_equal_sets_leave_a_classifier_at_chance():
    W = draw(3, 100)
    assert c2st(W, W, np.random.default_rng(0)) <= 0.6


def test_too_few_or_broken_matrices_are_refused():
    with pytest.raises(ValueError, match="at least 20 finite matrices"):
        prior_metrics(draw(0, 10), draw(1))
    with pytest.raises(ValueError, match="at least 20 finite matrices"):
        prior_metrics(draw(0) * float("nan"), draw(1))
    with pytest.raises(ValueError, match="differ in size"):
        prior_metrics(draw(0)[:, :5, :5], draw(1))
