"""What does an exactly right posterior score when most weights are exactly zero? A spike and slab whose posterior is known."""

import math

import pytest
import torch

from neuro_diffusion.model import diffusion
from neuro_diffusion.model.model import ModelSpec, WeightModel, missing_below
from neuro_diffusion.score.calibration import LEVELS, coverage, likely_connections, random_ranks, rank_histogram
from neuro_diffusion.score.evaluate import score

PRESENT, NOISE = 0.4, 0.3  # probability of a connection; sd of the noise on each weight
SLAB = 1 / math.sqrt(PRESENT)  # entries then have unit variance


def log_normal(x, sd):
    return -0.5 * (x / sd) ** 2 - torch.as_tensor(sd, dtype=x.dtype).log()


def slab_probability(seen, sd):
    """Return P(connection | seen = w + sd z)."""
    odds = log_normal(seen, math.hypot(SLAB, sd)) - log_normal(seen, sd) + math.log(PRESENT / (1 - PRESENT))
    return torch.sigmoid(odds)


def problem(B=250, N=6):
    """Return true weights (B, N, N) of spike and slab and their noisy observations."""
    g = torch.Generator().manual_seed(0)
    W = SLAB * torch.randn(B, N, N, generator=g) * (torch.rand(B, N, N, generator=g) < PRESENT)
    return W, W + NOISE * torch.randn(B, N, N, generator=g)


def exact_samples(y, S=49):
    """Return independent samples (B, S, N, N) of the exact posterior: an atom at 0 and a normal."""
    g = torch.Generator().manual_seed(1)
    shrink = SLAB**2 / (SLAB**2 + NOISE**2)
    shape = (len(y), S, *y.shape[1:])
    slab = shrink * y[:, None] + math.sqrt(shrink) * NOISE * torch.randn(shape, generator=g)
    return torch.where(torch.rand(shape, generator=g) < slab_probability(y, NOISE)[:, None], slab, 0.0)


def diffused_samples(y, S=24, steps=18):
    """Return samples of the package's sampler driven by the exact denoiser E[w0 | w, y]."""

    def denoise(w, sigma):
        precision = 1 / sigma**2 + 1 / NOISE**2
        centre, sd = (w / sigma**2 + y[:, None] / NOISE**2) / precision, precision**-0.5
        return slab_probability(centre, sd) * centre * SLAB**2 / (SLAB**2 + sd**2)

    g = torch.Generator().manual_seed(2)
    levels = diffusion.noise_levels(steps, "karras", diffusion.Noise())
    first = float(levels[0]) * torch.randn((len(y), S, *y.shape[1:]), generator=g)
    return diffusion.sample(denoise, first, levels, "dpmpp-2m", g)


def pooled(samples, W):
    return coverage(random_ranks(samples, W)).mean(0).numpy()


def test_exact_samples_have_nominal_coverage():
    W, y = problem()
    found = score(exact_samples(y), W)
    for values in (found.coverage, found.connection_coverage):
        assert values.nanmean(0).numpy() == pytest.approx(LEVELS, abs=0.015)


def test_smeared_zeros_spoil_the_coverage_of_an_exact_posterior_and_settled_ones_restore_it():
    W, y = problem()
    smeared = exact_samples(y)
    smeared = smeared + 0.005 * torch.randn(smeared.shape, generator=torch.Generator().manual_seed(3))
    assert pooled(smeared, W)[0] > 0.7
    model = WeightModel(ModelSpec(atom=0.02, scale=math.sqrt(W.shape[-1])))
    assert pooled(model.settle(smeared), W) == pytest.approx(LEVELS, abs=0.015)


def test_the_sampler_with_the_exact_score_is_calibrated_once_its_zeros_are_settled():
    W, y = problem()
    model = WeightModel(ModelSpec(atom=missing_below(W, diffusion.Noise()), scale=math.sqrt(W.shape[-1])))
    assert pooled(model.settle(diffused_samples(y)), W) == pytest.approx(LEVELS, abs=0.03)


def test_a_slab_that_is_a_fifth_too_narrow_fails():
    W, y = problem()
    samples = exact_samples(y)
    present = samples != 0
    mean = torch.where(present, samples, 0.0).sum(1, True) / present.sum(1, True).clamp_min(1)
    narrow = torch.where(present, mean + 0.8 * (samples - mean), 0.0)
    assert score(narrow, W).connection_coverage.nanmean(0)[1] < 0.76
    assert pooled(narrow, W)[1] < 0.79


def test_ranks_of_a_right_posterior_are_flat():
    W, y = problem()
    histogram = rank_histogram(random_ranks(exact_samples(y), W), 10)
    assert abs(histogram - 1).max() < 0.12


def test_a_rank_is_drawn_evenly_from_its_step():
    """One sample above, one below: the true rank lies in the middle third."""
    samples = torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1).expand(4000, 2, 1, 1)
    ranks = random_ranks(samples, torch.zeros(4000, 1, 1))
    assert ranks.min() > 1 / 3
    assert ranks.max() < 2 / 3
    assert ranks.mean().item() == pytest.approx(0.5, abs=0.01)


def test_a_network_without_likely_connections_has_no_coverage_of_connections():
    samples = torch.zeros(2, 8, 3, 3)
    ranks = random_ranks(samples, torch.zeros(2, 3, 3))
    assert coverage(ranks, likely_connections(samples)).isnan().all()
    assert ranks.std() > 0.2
