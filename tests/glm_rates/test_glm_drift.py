"""Rates that change slowly over a session are told, and nothing else is taken for that."""

import numpy as np
import pytest

from glm_rates.model.design import Trials
from glm_rates.model.kernels import Window
from glm_rates.model.population import Settings
from glm_rates.score import drift, evaluate, fit_and_score

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


@pytest.mark.parametrize("gains", [False, True])
def test_the_answer_names_what_tells_and_the_report_shows_every_rival_that_may_decide(inferred, gains):
    """A gain of each trial alone, without any response, is told as history's, not the stimulus'."""
    from glm_rates.files.stored import read_results
    from glm_rates.score.tables import answer_of, compared

    stored = read_results(next(inferred[0].glob("*.h5")))
    rng, taste = np.random.default_rng(1), np.arange(40) % 2
    gain = np.exp(rng.normal(0, 0.5, (40, 1, 6))) if gains else 1 + np.zeros((40, 1, 6))
    shape = (
        0.25 * np.ones((2, 120))
        if gains
        else 0.25 * np.exp(1.5 * np.exp(-(((np.arange(120) - [[12], [30]]) / 10) ** 2)))
    )
    counts = rng.poisson(gain * np.pad(shape, ((0, 0), (60, 0)), mode="edge")[taste][..., None]).astype(np.uint8)
    trials = Trials(counts, taste, np.full(40, 60), np.zeros((40, 180)), time=10.0 * np.arange(40))
    folds = [evaluate.score_fold(trials, Window(60, 180), Settings(), 5, k) for k in range(5)]
    names = list(folds[0].log_likelihood)
    table = np.stack([sum(f.log_likelihood[name] for f in folds) for name in names])
    slow = {name: sum(f.slow[name] for f in folds) for name in folds[0].slow}
    rest = (counts[:, 60:].astype(float), taste, None, names, table, evaluate.fold_of_trials(taste, 5))
    stored = stored._replace(summary=fit_and_score.summarise(*rest, slow), kind="taste")
    told = answer_of(stored)
    silent, does = ("stimulus", "history") if gains else ("history", "stimulus")
    assert told.verdict == "yes"
    assert f"({does} alone does it, {silent} adds nothing that shows) beats" in told.sentence
    assert {"PSTH, slow gain", "one mean rate for every taste, slow gain", "history+stimulus, slow gain"} < set(
        compared(stored)
    )


def scored(log_gain, seed=5):
    """What the summary says of pure noise with a gain (trial, unit) in six units: with and without slow rivals."""
    rng = np.random.default_rng(seed)
    n = len(log_gain)
    counts = rng.poisson(0.25 * np.exp(log_gain)[:, None] * np.ones((n, 180, log_gain.shape[1]))).astype(np.uint8)
    taste, onset, laser = rng.permutation(np.arange(n) % 2), np.full(n, 60), np.zeros((n, 180))
    trials = Trials(counts, taste, onset, laser, time=10.0 * np.arange(n))
    folds = [evaluate.score_fold(trials, Window(60, 180), Settings(), 5, k, nested=False) for k in range(5)]
    names = list(folds[0].log_likelihood)
    table = np.stack([sum(f.log_likelihood[name] for f in folds) for name in names])
    slow = {name: sum(f.slow[name] for f in folds) for name in folds[0].slow}
    rest = (counts[:, 60:].astype(float), taste, None, names, table, evaluate.fold_of_trials(taste, 5))
    return [fit_and_score.summarise(*rest, tables)["against_best"] for tables in (slow, {})]


def test_a_model_whose_history_foretells_the_drift_beats_nothing():
    found, blind = scored(np.linspace(-0.9, 0.9, 40)[:, None] * np.array([1, -1, 1, 1, -1, 0.5]))
    assert blind["pooled_low"] > 0  # what the verdict was: yes, of nothing but the drift
    assert (found["slow"], found["both"], found["pooled_low"] < 0) == (True, True, True)


def test_steady_rates_are_judged_as_before():
    found, blind = scored(np.zeros((40, 6)))
    assert (found["baseline"], found["pooled"], found["slow"]) == (blind["baseline"], blind["pooled"], False)


def test_the_slow_gain_follows_the_training_trials_in_time_alone():
    time = np.random.default_rng(3).permutation(60)
    truth = np.stack([np.exp(np.linspace(-1, 1, 60))[time], np.ones(60)], axis=1)
    n = np.random.default_rng(4).poisson(30 * truth).astype(float)
    train = np.arange(60) % 5 > 0
    gain = drift.slow_gain(n, np.full((60, 2), 30.0), time, train)
    assert np.abs(np.log(gain[~train, 0] / truth[~train, 0])).max() < 0.35
    assert np.abs(np.log(gain[:, 1])).max() < 0.15
    n[~train] = 1e6
    np.testing.assert_array_equal(drift.slow_gain(n, np.full((60, 2), 30.0), time, train), gain)


def test_a_no_of_a_model_that_lacks_the_drift_is_cannot_tell(inferred):
    from glm_rates.files.stored import read_results
    from glm_rates.score.tables import answer_of

    stored = read_results(next(inferred[0].glob("*.h5")))
    row = {**stored.summary["against_best"], "baseline": "psth", "slow": True, "both": True, "pooled": -0.02, "pooled_low": -0.03, "pooled_high": -0.01}  # fmt: skip
    steady = stored._replace(summary={**stored.summary, "against_best": row}, arrays={**stored.arrays, "drift_pvalue": np.full(5, 0.5)})  # fmt: skip
    assert answer_of(steady).verdict == "no"
    moved = steady._replace(arrays={**stored.arrays, "drift_pvalue": np.array([1e-6, 0.5, 0.5, 0.5, np.nan])})
    assert answer_of(moved).verdict == "cannot tell"
    assert "beats the PSTH, with a slow gain over trials: cannot tell" in answer_of(moved).sentence
