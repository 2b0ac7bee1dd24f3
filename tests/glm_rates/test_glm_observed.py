"""Only what was recorded counts: unrecorded time in every form that files have it, against the complete recording."""

import csv
import datetime
import json

import numpy as np
import pytest

from glm_rates import config as options
from glm_rates import simulate
from glm_rates.fit import extract as stage
from glm_rates.fit import trials
from glm_rates.model import design
from glm_rates.model import population as model
from glm_rates.model.design import Trials
from glm_rates.model.kernels import Window
from glm_rates.score import evaluate, fit_and_score
from hdf5io.errors import InputError

N_UNITS, N_TRIALS, TRIAL_S = 6, 60, 7.0


@pytest.fixture(scope="module")
def spikes():
    """Spike times of six units, event times and labels of 60 trials that follow one another every 7 s."""
    chosen = options.SimulateConfig(output="unused", n_units=N_UNITS, n_trials=N_TRIALS // 2, n_tastes=2)
    rng = np.random.default_rng(1)
    session = simulate.simulate(chosen, rng)
    counts = session.counts.reshape(N_TRIALS, -1, N_UNITS).astype(int)
    order = rng.permutation(N_TRIALS)
    times = []
    for unit in range(N_UNITS):
        parts = []
        for place, trial in enumerate(order):
            bins = np.repeat(np.arange(counts.shape[1]), counts[trial, :, unit])
            parts.append(place * TRIAL_S + (bins + rng.random(len(bins))) * 0.025)
        times.append(np.sort(np.concatenate(parts)))
    events = np.arange(N_TRIALS) * TRIAL_S + 2.0
    label = np.where(order < N_TRIALS // 2, "water", "sucrose").tolist()
    return times, events, label


def write_tables(folder, times, events, label, **more):
    with open(folder / "spikes.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["unit_id", "time_s"])
        writer.writerows([(f"u{u}", f"{t:.6f}") for u, part in enumerate(times) for t in part])
    with open(folder / "events.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["time_s", "taste", *more])
        writer.writerows(zip([f"{e:.6f}" for e in events], label, *more.values()))
    return folder / "spikes.csv"


def write_nwb(path, times, events, label, obs=None, invalid=()):
    pynwb = pytest.importorskip("pynwb")
    nwb = pynwb.NWBFile("a test", "id", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    for unit, part in enumerate(times):
        nwb.add_unit(spike_times=part, **({} if obs is None else {"obs_intervals": obs[unit]}))
    nwb.add_trial_column("taste", "taste")
    for time, name in zip(events, label):
        nwb.add_trial(start_time=float(time), stop_time=float(time) + 3, taste=name)
    for start, stop in invalid:
        nwb.add_invalid_time_interval(start_time=start, stop_time=stop)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path


def request(**changes):
    chosen = options.ExtractConfig(data="x", output="y").model_dump(mode="json")
    return {**chosen, **changes}


def score(path, tmp_path, **changes):
    """Summary of two held-out folds, and the extracted parameters and arrays."""
    folder = tmp_path / f"x{len(list(tmp_path.glob('x*')))}"
    folder.mkdir()
    if "events" not in changes and path.suffix == ".csv":
        changes["events"] = str(path.with_name("events.csv"))
    (folder / "request.json").write_text(json.dumps({"source": str(path), "options": request(**changes)}))
    stage.run(folder)
    wanted = options.FitConfig(folder="x", output="y", cv_folds=2, nested=False).model_dump(mode="json")
    (folder / "settings.json").write_text(json.dumps({**wanted, "full_fit": False}))
    fit_and_score.run(folder)
    from glm_rates.files import exchange

    meta, fitted = exchange.load(folder, "fit")
    return meta["summary"]["models"]["history+stimulus"]["pooled"], *exchange.load(folder, "extract"), fitted


@pytest.fixture(scope="module")
def complete(spikes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("complete")
    return score(write_tables(folder, *spikes), folder)


def between(times, start, stop):
    return [t[(t >= start) & (t < stop)] for t in times]


def unrecorded(times, gaps):
    for start, stop in gaps:
        times = [t[(t < start) | (t >= stop)] for t in times]
    return times


GAPS = ((100.0, 175.0), (300.0, 322.0))


def observed_60_to_300(folder, times, events, label):
    obs = [np.array([[60.0, 300.0]])] * N_UNITS
    return write_nwb(folder / "s.nwb", between(times, 60, 300), events, label, obs)


def observed_trial_by_trial(folder, times, events, label):
    """As some laboratories export: every unit's intervals are the trials it was held for, here without every fourth."""
    held = np.arange(N_TRIALS) % 4 != 0
    obs = np.stack([events[held] - 2.0, events[held] + 5.0], axis=1)
    gaps = [(e - 2.0, e + 5.0) for e in events[~held]]
    return write_nwb(folder / "s.nwb", unrecorded(times, gaps), events, label, [obs] * N_UNITS)


def invalid_times(folder, times, events, label):
    return write_nwb(folder / "s.nwb", unrecorded(times, GAPS), events, label, invalid=GAPS)


def units_of_their_own(folder, times, events, label):
    """Half of the units were lost after 250 s."""
    cut = [t[t < 250] if u % 2 else t for u, t in enumerate(times)]
    obs = [np.array([[0.0, 250.0 if u % 2 else 420.0]]) for u in range(N_UNITS)]
    return write_nwb(folder / "s.nwb", cut, events, label, obs)


def events_after_the_end(folder, times, events, label):
    return write_tables(folder, [t[t < 280] for t in times], events, label)


def recording_began_late(folder, times, events, label):
    return write_tables(folder, [t[t >= 62] for t in times], events, label)


@pytest.mark.parametrize(
    "leave_out",
    [
        observed_60_to_300,
        observed_trial_by_trial,
        invalid_times,
        units_of_their_own,
        events_after_the_end,
        recording_began_late,
    ],
)
def test_unrecorded_time_changes_no_score(leave_out, spikes, tmp_path):
    """The same trials of the complete recording are the measure: what is left out must not look like silence."""
    times, events, label = spikes
    pooled, _, arrays, _ = score(leave_out(tmp_path, *spikes), tmp_path)
    kept = sorted(arrays["trial"].tolist())
    (tmp_path / "whole").mkdir()
    same = write_tables(tmp_path / "whole", times, events[kept], [label[i] for i in kept])
    expected, _, whole, _ = score(same, tmp_path)
    seen = arrays["observed"][:, 10:130].sum(axis=(0, 1)) if "observed" in arrays else len(kept) * 120
    rate = arrays["counts"][:, 10:130].sum(axis=(0, 1)) / seen
    np.testing.assert_allclose(rate, whole["counts"][:, 10:130].mean(axis=(0, 1)), rtol=0.1)
    assert abs(pooled - expected) < (
        0.004 if leave_out is not units_of_their_own else 0.01
    )  # there, half the data is gone


def test_the_sibling_that_reads_gaps_as_silence_is_far_off(spikes, complete, tmp_path):
    """The same gaps without a word about them: the score is a different one, and the log says why."""
    times, events, label = spikes
    pooled, *_ = score(write_tables(tmp_path, unrecorded(times, ((100.0, 240.0),)), events, label), tmp_path)
    assert pooled > complete[0] + 0.02


def test_trials_without_any_spike_are_told(spikes, tmp_path, caplog):
    times, events, label = spikes
    path = write_tables(tmp_path, unrecorded(times, ((100.0, 175.0),)), events, label)
    with caplog.at_level("WARNING", "glm_rates"):
        stage.extract_times(path, request(events=str(tmp_path / "events.csv")))
    assert "of 60 trials have no spike of any unit" in caplog.text
    (tmp_path / "observed.csv").write_text("start_s,stop_s\n0,100\n175,420\n")
    with caplog.at_level("WARNING", "glm_rates"):
        _, arrays = stage.extract_times(
            path, request(events=str(tmp_path / "events.csv"), observed=str(tmp_path / "observed.csv"))
        )
    assert 45 <= len(arrays["taste"]) < 60
    assert "trials left out, nothing was recorded in their windows" in caplog.text


def test_an_observed_unit_is_named_by_its_id(spikes, tmp_path):
    path = write_tables(tmp_path, *spikes)
    (tmp_path / "observed.csv").write_text(
        "unit_id,start_s,stop_s\nu1,0,100\nu0,0,420\nu2,0,420\nu3,0,420\nu4,0,420\nu5,0,420\n"
    )
    _, arrays = stage.extract_times(
        path, request(events=str(tmp_path / "events.csv"), observed=str(tmp_path / "observed.csv"))
    )
    seen = arrays["observed"][:, 10:130].mean(axis=(0, 1))
    assert seen[1] == pytest.approx(0.235, abs=0.03)
    assert seen[[0, 2, 3, 4, 5]].min() == 1
    (tmp_path / "observed.csv").write_text("unit_id,start_s,stop_s\nelse,0,100\n")
    with pytest.raises(InputError, match="the recording has no unit 'else'"):
        stage.extract_times(path, request(events=str(tmp_path / "events.csv"), observed=str(tmp_path / "observed.csv")))


def test_a_masked_bin_says_nothing_and_hides_the_history_behind_it():
    counts = np.zeros((1, 30, 2))
    observed = np.ones((1, 30, 2), bool)
    observed[0, 10, 0] = False
    made = Trials(counts, np.zeros(1, int), np.zeros(1, int), np.zeros((1, 30)), observed)
    valid = design.observations(made, Window(5, 30), 4)
    assert np.flatnonzero(~valid[0, :, 0]).tolist() == [5, 6, 7, 8, 9]  # bins 10 to 14
    assert valid[0, :, 1].all()


def test_a_fit_with_masked_trials_is_the_fit_without_them(make_trials):
    """Slow oracle: whole trials masked for all units against the same trials left out."""
    whole, _ = make_trials(n_units=3, n_trials=8)
    settings, window = model.Settings(prior="ridge", penalty=1e-2), Window(60, 180)
    gone = np.arange(16) % 4 == 0
    observed = np.ones(whole.counts.shape, bool)
    observed[gone] = False
    masked = whole._replace(counts=np.where(observed, whole.counts, 0), observed=observed)
    fewer = Trials(*(field[~gone] for field in whole[:4]))
    a, b = (model.fit_design(model.make_design(t, window, settings), settings) for t in (masked, fewer))
    np.testing.assert_allclose(a.coef, b.coef, atol=1e-6)
    for one, other in zip(a.covariance, b.covariance):
        np.testing.assert_allclose(one.matrix, other.matrix, atol=1e-8)
    np.testing.assert_allclose(a.mean_count, b.mean_count)


def test_overlapping_windows_count_each_spike_once(spikes, tmp_path, caplog):
    times, _, _ = spikes
    events = np.arange(10, 400, 1.0)
    path = write_tables(tmp_path, times, events, ["tone"] * len(events))
    with caplog.at_level("WARNING", "glm_rates"):
        _, arrays = stage.extract_times(path, request(events=str(tmp_path / "events.csv")))
    assert "the windows of 390 of 390 trials overlap others" in caplog.text
    inside = arrays["counts"][:, 10:130] * arrays["counted"][:, 10:130, None]
    expected = sum(((t >= events[0] - 0.5) & (t < events[-1] + 2.5)).sum() for t in times)
    assert inside.sum() == expected


@pytest.mark.parametrize("gap", [0.25, 1.3, 2.7])
def test_a_response_belongs_to_its_own_stimulus(spikes, tmp_path, gap):
    """Flashes that follow one another (Allen: every 250 ms): what follows a stimulus is not the time before the next."""
    events = 10 + gap * np.arange(40)
    path = write_tables(tmp_path, spikes[0], events, ["a", "b"] * 20)
    _, arrays = stage.extract_times(path, request(events=str(tmp_path / "events.csv")))
    own = arrays["counted"][:, 10:130]
    for row, first in zip(own, arrays["start_s"]):
        from_onset = (np.flatnonzero(row) - 20) * 0.025  # s
        last = first + 0.5 > events[-1] - 0.01
        expected = np.arange(0, 2.5 if last else min(gap, 2.5) - 1e-9, 0.025)
        if gap > 2.5:  # time that no earlier window holds is its baseline
            expected = np.concatenate([np.arange(2.5 - gap, -1e-9, 0.025), expected])
        if first + 0.5 < 10.01:
            expected = np.concatenate([np.arange(-0.5, 0, 0.025), expected[expected >= 0]])
        np.testing.assert_allclose(from_onset, expected, atol=1e-6)


def test_to_trial_end_stops_at_each_trials_own_end(spikes, tmp_path):
    times, events, label = spikes
    ends = events + np.where(np.arange(len(events)) % 2, 1.0, 5.0)
    path = write_tables(tmp_path, times, events, label, stop_s=[f"{e:.3f}" for e in ends])
    _, arrays = stage.extract_times(path, request(events=str(tmp_path / "events.csv"), to_trial_end=True))
    n = arrays["counted"][:, 10:130].sum(axis=1)
    assert sorted(set(n.tolist())) == [60, 120]  # 500 ms before and 1 s after the event, or all 3 s


def test_repeated_and_empty_events_are_told(spikes, tmp_path, caplog):
    times, events, label = spikes
    path = write_tables(tmp_path, times, [*events, events[3], 4.0], [*label, label[3], ""])
    with caplog.at_level("WARNING", "glm_rates"):
        params, arrays = stage.extract_times(path, request(events=str(tmp_path / "events.csv")))
    assert len(arrays["taste"]) == 60
    assert sorted(params["tastes"]) == ["sucrose", "water"]
    assert "1 event(s) without a label ('') left out" in caplog.text
    assert "1 event(s) stand there more than once" in caplog.text
    other = "water" if label[3] == "sucrose" else "sucrose"
    path = write_tables(tmp_path, times, [*events, events[3]], [*label, other])
    with pytest.raises(InputError, match="two events at 23 s with the labels"):
        stage.extract_times(path, request(events=str(tmp_path / "events.csv")))


@pytest.mark.parametrize(
    ("spike_scale", "event_scale", "said"),
    [
        (30_000, 1, "these are no seconds"),
        (1e6, 1, "these are no seconds"),
        (1, 1000, "the same unit of time and the same clock"),
        (1000, 1000, "these are no seconds"),
        (1 / 60, 1 / 60, "these are no seconds"),
    ],
)
def test_a_wrong_unit_of_time_is_exit_2_with_both_ranges(spikes, tmp_path, spike_scale, event_scale, said):
    times, events, label = spikes
    path = write_tables(tmp_path, [t * spike_scale for t in times], events * event_scale, label)
    with pytest.raises(InputError, match=said):
        stage.extract_times(path, request(events=str(tmp_path / "events.csv")))


@pytest.mark.parametrize("unit", ["ms", "us", "samples"])
def test_the_unit_of_time_stands_in_the_name_of_the_column(spikes, complete, tmp_path, unit):
    times, events, label = spikes
    scale = {"ms": 1e3, "us": 1e6, "samples": 30_000}[unit]
    path = write_tables(tmp_path, [t * scale for t in times], events, label)
    path.write_text(path.read_text().replace("time_s", f"time_{unit}", 1))
    given = request(events=str(tmp_path / "events.csv"))
    if unit == "samples":
        with pytest.raises(InputError, match="needs --sampling-rate"):
            stage.extract_times(path, given)
    _, arrays = stage.extract_times(path, {**given, "sampling_rate": 30_000.0})
    np.testing.assert_array_equal(arrays["counts"], complete[2]["counts"])


def test_a_population_of_slow_units_is_in_seconds_all_the_same(tmp_path):
    """The sibling: few spikes at long intervals are no reason to doubt the unit of time."""
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 600, 60)) for _ in range(10)]
    path = write_tables(tmp_path, times, np.arange(10, 590, 10.0), ["a", "b"] * 29)
    _, arrays = stage.extract_times(path, request(events=str(tmp_path / "events.csv")))
    assert len(arrays["taste"]) == 58


def test_merged_intervals_cover_what_their_parts_cover():
    intervals = trials.merged(np.array([[5, 6], [0, 2], [1, 3], [3, 4], [np.nan, np.nan], [8, 7]]))
    np.testing.assert_array_equal(intervals, [[-np.inf, np.inf]])
    intervals = trials.merged(np.array([[5, 6], [0, 2], [1, 3], [3, 4], [8, 7]]))
    np.testing.assert_array_equal(intervals, [[0, 4], [5, 6]])
    assert trials.covered(np.array([0.5, 3.5, 5.0]), np.array([4.0, 5.5, 6.0]), intervals).tolist() == [
        True,
        False,
        True,
    ]
    assert trials.touched(np.array([4.2, 3.9, 6.0]), np.array([4.8, 4.5, 7.0]), intervals).tolist() == [
        False,
        True,
        False,
    ]


def test_scores_leave_out_what_was_not_observed():
    counts = np.full((2, 4, 1), 2.0)
    counts[0, 2:] = np.nan
    rate = evaluate.homogeneous(counts, np.zeros(2, int), np.array([True, True]))
    np.testing.assert_allclose(rate, 2.0)
    assert evaluate.in_sample_gain(counts, np.full(counts.shape, 2.0)) == pytest.approx(0.0)
