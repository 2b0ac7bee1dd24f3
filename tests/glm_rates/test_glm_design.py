"""Kernels and designs: orthonormal, causal, never across a trial's edge."""

import numpy as np
import pytest

from glm_rates.model import design
from glm_rates.model import kernels as shapes


def test_kernels_span_the_raised_cosines_of_nemos():
    from nemos.basis import RaisedCosineLogConv

    raw = np.asarray(RaisedCosineLogConv(10, window_size=100).evaluate_on_grid(100)[1])
    np.testing.assert_allclose(shapes.raised_cosines(10, 100), raw, atol=2e-6)  # nemos computes in single precision
    few = np.asarray(RaisedCosineLogConv(4, window_size=5).evaluate_on_grid(5)[1])
    np.testing.assert_allclose(shapes.raised_cosines(4, 5), few, atol=2e-6)
    kernels = shapes.raised_cosine_kernels(10, 100).values
    np.testing.assert_allclose(kernels.T @ kernels, np.eye(10), atol=1e-10)
    np.testing.assert_allclose(kernels @ (kernels.T @ raw), raw, atol=1e-5)


def test_rank_deficient_bases_are_reduced_and_said_once(caplog):
    assert shapes.raised_cosine_kernels(8, 10).size == 5
    assert shapes.raised_cosine_kernels(4, 5).size == 3
    shapes._cached_kernels.cache_clear()
    lengths, numbers = {"history": 250}, {"history": 8}
    with caplog.at_level("INFO", "glm_rates"):
        shapes.standard_kernels(25, lengths, numbers)
        shapes.standard_kernels(25, lengths, numbers)
    assert [r.getMessage() for r in caplog.records] == [
        "history: 8 raised cosines reduced to the 5 that 25 ms bins can tell apart"
    ]


@pytest.mark.parametrize("first_lag", [0, 1])
def test_convolution_equals_the_sum_over_lags(first_lag):
    rng = np.random.default_rng(0)
    signal = rng.poisson(0.5, (2, 30, 3))
    kernels = shapes.raised_cosine_kernels(4, 6, first_lag)
    window = shapes.Window(3, 25)
    found = shapes.convolve_trials(signal, kernels, window)
    for trial, b, unit in [(0, 3, 0), (1, 10, 2), (1, 24, 1)]:
        expected = np.zeros(kernels.size)
        for row, weights in enumerate(kernels.values):
            if b - row - first_lag >= 0:
                expected += weights * signal[trial, b - row - first_lag, unit]
        np.testing.assert_allclose(found[trial, b - 3, unit], expected, atol=1e-12)


def test_no_spike_reaches_another_trial_or_its_own_bin():
    counts = np.zeros((3, 20, 1))
    counts[1, 10] = 1
    out = shapes.convolve_trials(counts, shapes.raised_cosine_kernels(8, 10), shapes.Window(0, 20))
    assert not out[[0, 2]].any()
    assert not out[1, :11].any()
    assert out[1, 11].any()


def test_the_stimulus_kernel_begins_at_the_onset_even_before_the_window():
    trials = design.Trials(np.zeros((2, 20, 1)), np.zeros(2, int), np.array([5, -3]), np.zeros((2, 20)))
    kernels = shapes.Kernels(np.arange(1.0, 5.0)[:, None], 0, np.ones(1))
    features = design.stimulus_features(trials, shapes.Window(0, 20), kernels)[..., 0]
    np.testing.assert_array_equal(features[0, 4:10], [0, 1, 2, 3, 4, 0])
    np.testing.assert_array_equal(features[1, :3], [4, 0, 0])


def test_rows_of_a_nested_design_equal_a_design_built_nested(population):
    trials, _ = population
    kernels = shapes.standard_kernels(
        25, {"history": 250, "coupling": 125, "stimulus": 2500}, {"history": 8, "coupling": 4, "stimulus": 10}
    )
    window = shapes.Window(60, 180)
    whole = design.build_design(trials, window, kernels)
    for terms in (("history",), ("stimulus",), ("stimulus", "history")):
        nested, built = whole.only(terms), design.build_design(trials, window, kernels, terms)
        assert nested.columns == built.columns
        np.testing.assert_array_equal(nested.shared, built.shared)
        np.testing.assert_array_equal(nested.own, built.own)
