"""The sentence of an answer: its verdict follows the interval, its numbers can be read."""

import math

import pytest

from glm_rates.answer import answer


@pytest.mark.parametrize(
    ("gain", "low", "high", "says"),
    [
        (0.030512, 0.0255, 0.0356, "yes, +0.0305 bits (95 % interval +0.0255 to +0.0356)"),
        (1742, 1610, 1870, "yes, +1742 bits (95 % interval +1610 to +1870)"),
        (9.41e-5, -0.000734, 0.000922, "cannot tell, +0.00009 bits (95 % interval -0.00073 to +0.00092)"),
        (-1.5, -2, -1, "no, -1.50 bits (95 % interval -2.00 to -1.00)"),
        (0, 0, 0, "cannot tell, +0.0 bits (95 % interval +0.0 to +0.0)"),
        (0.1, math.nan, 0.2, "cannot tell, no interval could be had"),
    ],
)
def test_two_digits_of_the_uncertainty_stand_and_no_exponent(gain, low, high, says):
    assert answer("A", "B", gain, low, high, "bits").sentence == f"A beats B: {says}"


def test_what_must_be_known_first_comes_first():
    assert answer("A", "B", 1, 0.5, 1.5, "bits", first="the input drifts").sentence.startswith("the input drifts; A")
