"""Do our calibration scores say what BayesFlow's say? Where they differ by definition, the difference is what is tested.

Ours are kept because BayesFlow's null distribution is drawn from numpy's global generator (two calls, two answers), its contraction
divides by the variance of the test truths instead of the known one of the prior, and its calibration error is a median over levels.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

from laa_bayes.score import evaluate

metrics = pytest.importorskip("bayesflow.diagnostics.metrics")


@pytest.fixture(scope="module")
def tested():
    """Return draws (n_trace, n_draws, d) and truths (n_trace, d) of a right, a wide and a shifted posterior of a Gaussian."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(400, 3))
    seen = truth + 0.3 * rng.normal(size=truth.shape)
    sd, mean = 0.3 / np.sqrt(1 + 0.09), seen / (1 + 0.09)
    draws = mean[:, None] + sd * np.array([1, 1.5, 1]) * rng.normal(size=(400, 200, 3)) + np.array([0, 0, 0.2])
    return draws, truth, evaluate.calibration(draws, truth, ["right", "wide", "shifted"])


def test_log_gamma_is_bayesflows_up_to_the_draw_of_its_null(tested):
    draws, truth, ours = tested
    theirs = metrics.calibration_log_gamma(draws, truth, num_null_draws=4000)["values"]
    mine = [score.log_gamma_05 for score in ours.values()]
    np.testing.assert_allclose(mine[0], theirs[0], atol=0.35)
    assert [m < 0 for m in mine] == [t < 0 for t in theirs] == [False, True, True]


def test_contraction_is_bayesflows_where_the_truths_have_the_priors_variance(tested):
    draws, truth, ours = tested
    whitened = truth / truth.std(axis=0, ddof=1)
    theirs = metrics.posterior_contraction(draws, whitened)["values"]
    np.testing.assert_allclose([score.contraction for score in ours.values()], theirs, atol=1e-3)


def test_coverage_by_ranks_is_bayesflows_by_quantiles(tested):
    draws, truth, ours = tested
    theirs = metrics.calibration_error(
        draws, truth, resolution=1, min_quantile=0.5, max_quantile=0.5, aggregation=lambda errors, axis: errors[0]
    )["values"]
    mine = [abs(score.coverage_50 - 0.5) for score in ours.values()]
    np.testing.assert_allclose(
        mine, theirs, atol=0.015
    )  # a truth beside the outermost covered draw: quantiles interpolate


def test_the_z_score_is_bayesflows(tested):
    draws, truth, ours = tested
    theirs = metrics.posterior_z_score(draws, truth)["values"]
    np.testing.assert_allclose([score.median_z for score in ours.values()], theirs, rtol=0.01, atol=1e-3)
