"""Are fixed points, stability and responses of networks those that theory says, and do intervals hold the truth?"""

import math

import pytest
import torch

from neuro_diffusion.rate_network.weights import sample_weight_matrix_batch
from neuro_diffusion.score.behaviour import behaviour_of, fixed_points, intervals


def test_one_neuron_that_excites_itself_has_three_fixed_points_two_of_them_stable():
    W = torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[0.5, 0.0], [0.0, 0.0]]], dtype=torch.double)
    points, stable = fixed_points(W, torch.Generator().manual_seed(0))
    assert points.tolist() == [3, 1]  # h = 3 tanh h: 0 and about +-2.98; h = .5 tanh h: 0
    assert stable.tolist() == [2, 1]


def test_weak_networks_die_and_strong_ones_are_chaotic():
    weak, strong = (behaviour_of(sample_weight_matrix_batch(3, 60, g, seed=0), 0.1) for g in (0.5, 2.5))
    assert bool((weak.lyapunov_exponent < -0.2).all())
    assert bool((weak.fixed_points == 1).all())
    assert float(strong.lyapunov_exponent.amax()) > 0.02  # one of three may settle
    assert bool((strong.largest_real_part > 1).all())


def test_the_response_of_a_chain_is_that_of_its_linear_part():
    """Neuron 1 hears neuron 0 with weight .1: pushed by .5, x0 settles at tanh(.5), x1 at tanh(.1 tanh(.5)); 1 moves no other."""
    W = torch.tensor([[[0.0, 0.0], [0.1, 0.0]]])
    expected = math.tanh(0.1 * math.tanh(0.5)) / math.sqrt(2)  # two of the four runs push 0: rms over the pushed runs
    assert float(behaviour_of(W, 0.1).response) == pytest.approx(expected, rel=0.02)


def test_the_interval_of_samples_about_the_truth_holds_it():
    truth = sample_weight_matrix_batch(1, 8, 1.3, seed=1)[0]
    samples = truth + 0.02 * torch.randn(24, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = intervals(samples, 0.1, truth)
    assert {row["quantity"] for row in rows} >= {"spectral radius", "lyapunov exponent", "fixed points", "response"}
    held = [row["2.5 %"] - 1e-9 <= row["truth"] <= row["97.5 %"] + 1e-9 for row in rows]
    assert sum(held) >= len(rows) - 1
    assert "truth" not in intervals(samples, 0.1)[0]


def test_an_interval_of_32_samples_reaches_over_all_of_them_as_19_of_20_further_ones_ask():
    """One more sample lies between the smallest and the largest of 32 in 31 of 33 cases."""
    radius = torch.linspace(0.5, 1.5, 32)
    rows = intervals(radius[:, None, None] * torch.eye(2), 0.1)
    assert (rows[0]["2.5 %"], rows[0]["97.5 %"]) == pytest.approx((0.5, 1.5), abs=1e-6)
