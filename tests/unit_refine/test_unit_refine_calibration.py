"""Is a recording calibrated without its own labels, and does a sigmoid know the class shares it was learned with?"""

import numpy as np
import pytest

from unit_refine.model.calibration import apply_sigmoid, cross_fit, fit_sigmoid


@pytest.fixture
def predicted():
    """Return overconfident probabilities (300, 3), labels that they were drawn for, and three recordings."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, 300, p=(0.5, 0.3, 0.2))
    logits = 1.5 * np.eye(3)[y] + rng.normal(size=(300, 3))
    p = np.exp(3 * logits)
    return p / p.sum(axis=1, keepdims=True), y, np.repeat(["a", "b", "c"], 100)


def test_a_recordings_own_labels_do_not_enter_its_calibration(predicted):
    p, y, groups = predicted
    other = np.where(groups == "b", (y + 1) % 3, y)
    before, after = cross_fit(p, y, groups), cross_fit(p, other, groups)
    np.testing.assert_array_equal(before[groups == "b"], after[groups == "b"])
    assert np.abs(before - after)[groups != "b"].max() > 0.01
    rest = groups != "c"
    np.testing.assert_array_equal(before[~rest], apply_sigmoid(fit_sigmoid(p[rest], y[rest]), p[~rest]))


def test_the_only_recording_with_a_class_is_calibrated_by_all(predicted):
    p, y, groups = predicted
    y = np.where((groups != "a") & (y == 2), 1, y)
    np.testing.assert_array_equal(cross_fit(p, y, groups)[groups == "a"], apply_sigmoid(fit_sigmoid(p, y), p)[:100])
    rest = groups != "b"
    expected = apply_sigmoid(fit_sigmoid(p[rest], y[rest]), p[~rest])
    np.testing.assert_array_equal(cross_fit(p, y, groups)[~rest], expected)


def test_a_sigmoid_holds_the_class_shares_of_its_units(predicted):
    p, y, _ = predicted
    np.testing.assert_allclose(fit_sigmoid(p, y).prior, np.bincount(y) / 300)
    weight = np.where(y == 0, 3.0, 1.0)
    shares = np.bincount(y, weights=weight)
    np.testing.assert_allclose(fit_sigmoid(p, y, weight).prior, shares / shares.sum())
