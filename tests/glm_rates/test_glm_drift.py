"""Rates that change slowly over a session are told, and nothing else is taken for that."""

import numpy as np
import pytest

from glm_rates.score import drift

N_TRIALS, N_BINS, N_UNITS = 40, 120, 200


def pvalues(log_gain, seed=0, taste=None, mean=0.1, time=None, lost=None):
    """p values of units whose counts have a gain (trial, unit) that the rate has not."""
    rng = np.random.default_rng(seed)
    rate = np.full((N_TRIALS, N_BINS, N_UNITS), mean)
    counts = rng.poisson(rate * np.exp(log_gain)[:, None, :]).astype(float)
    if lost is not None:
        counts[lost] = np.nan
    taste = np.arange(N_TRIALS) % 2 if taste is None else taste
    observed = np.stack(
        [np.nanmean(counts[taste == k], axis=(0, 1)) for k in (0, 1)]
    )  # the model's offset of each taste
    return drift.pvalues(
        counts,
        np.broadcast_to(observed[taste][:, None], rate.shape),
        taste,
        np.arange(N_TRIALS) if time is None else time,
    )


@pytest.mark.parametrize("taste", [np.arange(N_TRIALS) % 2, np.arange(N_TRIALS) // 20], ids=["mixed", "blocks"])
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_steady_units_are_found_as_often_as_said(taste, noise):
    gain = np.random.default_rng(1).normal(0, noise, (N_TRIALS, N_UNITS))
    p = pvalues(gain, taste=taste)
    assert abs((p < 0.05).mean() - 0.05) < 3.5 * np.sqrt(0.05 * 0.95 / N_UNITS)
    assert len(drift.drifting(p)) <= 2


def test_a_slow_change_is_found_and_told():
    slope = np.linspace(-0.4, 0.4, N_TRIALS)[:, None] * (np.arange(N_UNITS) < 50)
    p = pvalues(slope)
    found = drift.drifting(p)
    assert (found < 50).sum() >= 48
    assert (found >= 50).sum() <= 8  # 5 % of what is found, by chance
    assert drift.told(p).startswith(f"the rate of {len(found)} of 200 units changes slowly")
    assert drift.told(pvalues(0 * slope)[:20]) == ""


def test_the_order_of_rows_is_not_that_of_time():
    slope, order = np.linspace(-0.4, 0.4, N_TRIALS), np.random.default_rng(2).permutation(N_TRIALS)
    gain = slope[order][:, None] * np.ones(N_UNITS)
    assert np.median(pvalues(gain, time=order)) < 0.001 < np.median(pvalues(gain))


def test_half_a_recording_and_too_few_spikes(caplog):
    gain = np.zeros((N_TRIALS, N_UNITS))
    assert abs((pvalues(gain, lost=np.s_[20:, :, :]) < 0.05).mean() - 0.05) < 0.055
    assert np.isnan(pvalues(gain, lost=np.s_[5:, :, :])).all()
    assert np.isnan(pvalues(gain, mean=1e-4)).mean() > 0.9


def test_whole_trials_of_one_taste_at_a_time_are_not_told_apart_from_it():
    """A drift between blocks of tastes is the taste's own offset: nothing is claimed."""
    taste = np.arange(N_TRIALS) // 20
    step = np.where(taste == 0, -0.4, 0.4)[:, None] * np.ones(N_UNITS)
    assert (pvalues(step, taste=taste) < 0.05).mean() < 0.11


def test_the_answer_says_first_that_rates_drift(inferred):
    from glm_rates.files.stored import read_results
    from glm_rates.score.tables import answer_of

    stored = read_results(next(inferred[0].glob("*.h5")))
    plain = answer_of(stored).sentence
    moved = stored._replace(arrays={**stored.arrays, "drift_pvalue": np.array([1e-6, 0.5, 0.5, 0.5, np.nan])})
    assert answer_of(moved).sentence == f"1 of 4 units drift beyond the model (--drift); {plain}"
