"""Spike tables, tables of events and NWB files as other exporters write them: the right value, or a line that names the place."""

import h5py
import numpy as np
import pandas as pd
import pytest

from glm_rates.files import covariates
from glm_rates.fit import extract as stage
from hdf5io.errors import InputError

N_UNITS, N_TRIALS = 3, 24
EVENTS = 5.0 + 6.0 * np.arange(N_TRIALS)
LABELS = ["water", "sucrose"] * (N_TRIALS // 2)
TIMES = [np.sort(np.random.default_rng(u).uniform(0, 150, 1200)).round(6) for u in range(N_UNITS)]


def request(**changes):
    from glm_rates import config

    return {**config.ExtractConfig(data="x", output="y").model_dump(mode="json"), **changes}


def long_table():
    return pd.DataFrame({"unit_id": np.repeat([0, 1, 2], 1200), "time_s": np.concatenate(TIMES)})


@pytest.fixture
def spikes(tmp_path):
    long_table().to_csv(tmp_path / "spikes.csv", index=False)
    return tmp_path / "spikes.csv"


@pytest.fixture
def events(tmp_path):
    """``events(name=column, ...)``: path of such a table."""

    def write(**columns):
        pd.DataFrame(columns).to_csv(tmp_path / "events.csv", index=False)
        return str(tmp_path / "events.csv")

    return write


def counts(path, **changes):
    params, arrays = stage.extract_times(path, request(**changes))
    return arrays["counts"][:, slice(*params["window"])], params, arrays


@pytest.fixture
def plain(spikes, events):
    return counts(spikes, events=events(time_s=EVENTS, taste=LABELS))[0]


# --- tables of events ---------------------------------------------------------------------------------------------------------


def test_trials_of_nwb_saved_as_a_table_keep_their_clock(spikes, events, plain, caplog):
    """``nwb.trials.to_dataframe().to_csv()``: start_time, stop_time, and a column that counts from each trial's start."""
    table = events(
        id=range(N_TRIALS), start_time=EVENTS - 1, stop_time=EVENTS + 0.5, go_cue=1.0 + 0 * EVENTS, taste=LABELS
    )
    np.testing.assert_array_equal(counts(spikes, events=table, align_column="go_cue")[0], plain)
    assert "go_cue counts from the start of each trial" in caplog.text
    _, params, arrays = counts(spikes, events=table, align_column="go_cue", to_trial_end=True)
    assert (
        arrays["counted"][:, params["window"][0] :].sum(axis=1).tolist() == [20 + 20] * N_TRIALS
    )  # 500 ms before and after the cue


def test_times_far_from_their_trials_are_on_another_clock(spikes, events):
    table = events(start_time=EVENTS, stop_time=EVENTS + 3, go_cue=EVENTS * 1000, taste=LABELS)
    with pytest.raises(
        InputError, match=r"times between 5000 and 143000 s, mostly more than 60 s from their own trials \(5 to 146 s\)"
    ):
        counts(spikes, events=table, align_column="go_cue")


def test_two_columns_of_times_are_asked_for(spikes, events, plain):
    table = events(time_s=EVENTS, start_time=EVENTS - 1.5, taste=LABELS)
    with pytest.raises(InputError, match="events stand in start_time and in time_s; give --align NAME"):
        counts(spikes, events=table)
    np.testing.assert_array_equal(counts(spikes, events=table, align_column="time_s")[0], plain)


def test_a_table_without_times_says_what_is_expected(spikes, events):
    with pytest.raises(InputError, match=r"it has onset, trial_type; give --align NAME"):
        counts(spikes, events=events(onset=EVENTS, trial_type=LABELS))


@pytest.mark.parametrize("name", ["stimulus_id", "odor_index", "Taste"])
def test_a_stimulus_by_number_is_asked_for(spikes, events, name):
    with pytest.raises(InputError, match=rf"Give --label NAME; candidates: {name} \(2 values\)"):
        counts(spikes, events=events(time_s=EVENTS, **{name: [1, 2] * 12}))


def test_few_trials_of_many_stimuli_are_asked_for(spikes, events):
    with pytest.raises(InputError, match=r"candidates: odor_identity \(5 values\)"):
        counts(spikes, events=events(time_s=EVENTS[:8], odor_identity=list("abcdeabc")))


@pytest.mark.parametrize(
    ("name", "ids", "kept"),
    [
        ("trial", [float(i + 100) for i in range(N_TRIALS)], [100, 101, 103]),
        ("trial_number", range(1, N_TRIALS + 1), [1, 2, 4]),
        ("trial", [f"t{i}" for i in range(N_TRIALS)], [0, 1, 3]),  # texts: rows of the table
        ("trial", [0] * N_TRIALS, [0, 1, 3]),
    ],
)
def test_a_trial_keeps_its_number_when_another_is_left_out(spikes, events, name, ids, kept):
    times = np.where(np.arange(N_TRIALS) == 2, np.nan, EVENTS)
    _, _, arrays = counts(spikes, events=events(time_s=times, taste=LABELS, **{name: ids}))
    assert sorted(arrays["trial"].tolist())[:3] == kept


def test_a_column_light_may_be_the_stimulus(spikes, events):
    table = events(time_s=EVENTS, light=["left", "right"] * 12)
    assert counts(spikes, events=table, label_column="light")[1]["tastes"] == ["left", "right"]
    with pytest.raises(InputError, match="'left' does not say whether the laser was on"):
        counts(spikes, events=table, label_column="light", laser="exclude")


def test_laser_times_from_the_start_of_each_trial_are_no_clock(spikes, events):
    lit = np.arange(N_TRIALS) % 2 == 0
    table = events(
        time_s=EVENTS, taste=LABELS, laser_start_s=np.where(lit, 0.7, np.nan), laser_stop_s=np.where(lit, 1.0, np.nan)
    )
    with pytest.raises(InputError, match="laser_start_s lies 70 s from its event"):
        counts(spikes, events=table, laser="regressor")


@pytest.mark.parametrize(
    ("column", "labels", "kind"),
    [
        ("odor", ["A", "B"], "odour"),
        ("odour", ["A", "B"], "odour"),
        ("odor_name", ["A", "B"], "odour"),
        ("taste", ["water", "salt"], "taste"),
        ("condition", ["go", "stop"], "stimulus"),
        ("stimulus", ["odor 1", "odor 2"], "odour"),
    ],
)
def test_labels_are_called_what_they_are(spikes, events, column, labels, kind):
    assert counts(spikes, events=events(time_s=EVENTS, **{column: labels * 12}))[1]["kind"] == kind


# --- tables of spikes ---------------------------------------------------------------------------------------------------------


def test_spikes_that_count_from_each_trial_are_refused(tmp_path, events):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"unit_id": rng.integers(0, 3, 3600), "time_s": rng.uniform(0, 6, 3600), "trial": np.repeat(range(12), 300)}
    )
    table.to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(
        InputError, match=r"spikes of different trials .column 'trial'. lie at the same times, .*Add it"
    ):
        counts(tmp_path / "s.csv", events=events(time_s=EVENTS[:12], taste=LABELS[:12]))


def test_spikes_on_one_clock_may_say_their_trial(tmp_path, events, plain):
    table = long_table()
    table["trial"] = (table.time_s // 6).astype(int)
    table.to_csv(tmp_path / "s.csv", index=False)
    np.testing.assert_array_equal(counts(tmp_path / "s.csv", events=events(time_s=EVENTS, taste=LABELS))[0], plain)


PARQUET = {
    "the unit as index": lambda t: t.set_index("unit_id"),
    "the unit as category": lambda t: t.assign(unit_id=t.unit_id.astype("category")),
    "one row a unit": lambda t: (
        t.groupby("unit_id").time_s.apply(list).reset_index().assign(region=["gc", "gc", "bla"])
    ),
}


@pytest.mark.parametrize("form", PARQUET)
def test_parquet_of_pandas_holds_the_same_counts(tmp_path, events, plain, form):
    PARQUET[form](long_table()).to_parquet(tmp_path / "s.parquet")
    found, params, _ = counts(tmp_path / "s.parquet", events=events(time_s=EVENTS, taste=LABELS))
    np.testing.assert_array_equal(found, plain)
    assert params["regions"] == (["gc", "gc", "bla"] if form == "one row a unit" else ["all"] * 3)


# --- covariates ---------------------------------------------------------------------------------------------------------------


def running(tmp_path, time_s, **more):
    pd.DataFrame({"time_s": time_s, "running": np.sin(np.arange(len(time_s)) / 20), **more}).to_csv(
        tmp_path / "c.csv", index=False
    )
    return [str(tmp_path / "c.csv")]


def test_samples_of_a_covariate_in_milliseconds_are_no_seconds(spikes, events, tmp_path):
    table, time = events(time_s=EVENTS, taste=LABELS), np.arange(0, 150, 0.05)
    assert counts(spikes, events=table, covariates=running(tmp_path, time))[2]["covariates"].any()
    with pytest.raises(
        InputError,
        match=r"'running' has a sample every 50 s between 0 and 149950 s, the trials lie between 3.25 .* is it in seconds",
    ):
        counts(spikes, events=table, covariates=running(tmp_path, time * 1000))


def test_rows_of_a_covariate_that_stand_there_twice_cost_no_bin(spikes, events, tmp_path):
    table, time = events(time_s=EVENTS, taste=LABELS), np.arange(0, 150, 0.05)
    once = counts(spikes, events=table, covariates=running(tmp_path, time))[2]
    twice = running(tmp_path, np.repeat(time, 2), running=np.repeat(np.sin(np.arange(len(time)) / 20), 2))
    found = counts(spikes, events=table, covariates=twice)[2]
    assert "counted" not in found
    np.testing.assert_allclose(found["covariates"], once["covariates"], atol=1e-6)


def test_codes_of_missing_samples_are_missing_and_ordinary_values_are_not(tmp_path, caplog):
    value = np.r_[np.linspace(0, 30, 50), -999, -999]
    pd.DataFrame({"time_s": range(52), "speed": value, "count": np.linspace(0, 2000, 52).round() // 999 * 999}).to_csv(
        tmp_path / "c.csv", index=False
    )
    speed, count = covariates.read_covariates(tmp_path / "c.csv", [], None)
    assert "2 sample(s) of speed are -999" in caplog.text
    np.testing.assert_array_equal(np.isnan(speed.value), value < 0)
    assert np.isfinite(count.value).all()


def test_a_series_of_an_nwb_file_is_in_its_unit(tmp_path):
    with h5py.File(tmp_path / "s.nwb", "w") as file:
        series = file.create_group("acquisition/position")
        series["data"], series["timestamps"] = np.arange(4), np.arange(4.0)
        series["data"].attrs.update({"conversion": 0.01, "offset": 1.0, "unit": "m"})
    (signal,) = covariates.read_covariates(tmp_path / "s.nwb", ["position"], None)
    np.testing.assert_allclose(signal.value, [1, 1.01, 1.02, 1.03])


def test_an_angle_in_turns_is_told(spikes, events, tmp_path, caplog):
    time = np.arange(0, 150, 0.05)
    found = running(tmp_path, time, phase=time % 1)
    counts(spikes, events=events(time_s=EVENTS, taste=LABELS), covariates=found, bases=["phase=cyclic"])
    assert "covariate phase runs from 0 to 0.95, less than half a turn of 6.28319" in caplog.text


# --- NWB ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def nwb(tmp_path):
    """``nwb(edit, **trial columns)``: path of a file of three units and 24 trials, changed by ``edit`` (h5py)."""
    pynwb = pytest.importorskip("pynwb")
    import datetime

    def write(edit=None, obs=None, **trial_columns):
        file = pynwb.NWBFile("a test", "id", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        for part in TIMES:
            file.add_unit(spike_times=part, **({} if obs is None else {"obs_intervals": obs}))
        for name in ("taste", *trial_columns):
            file.add_trial_column(name, name)
        for i, start in enumerate(EVENTS):
            more = {name: column[i] for name, column in trial_columns.items()}
            file.add_trial(start_time=start, stop_time=start + 3, taste=LABELS[i], **more)
        with pynwb.NWBHDF5IO(tmp_path / "s.nwb", "w") as io:
            io.write(file)
        if edit is not None:
            with h5py.File(tmp_path / "s.nwb", "a") as handle:
                edit(handle)
        return tmp_path / "s.nwb"

    return write


def replace(file, name, values):
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = values
    file[name].attrs.update(attributes)


def test_an_align_column_of_nwb_has_the_unit_of_its_name(nwb):
    expected = counts(nwb(cue=EVENTS + 0.5), align_column="cue")[0]
    np.testing.assert_array_equal(counts(nwb(cue_ms=(EVENTS + 0.5) * 1000), align_column="cue_ms")[0], expected)
    np.testing.assert_array_equal(counts(nwb(cue_ms=500.0 + 0 * EVENTS), align_column="cue_ms")[0], expected)


def test_an_index_that_leaves_spikes_over_is_refused(nwb):
    """Starts in place of ends: every unit would get its neighbour's spikes."""
    path = nwb(lambda file: replace(file, "units/spike_times_index", np.array([0, 1200, 2400])))
    with pytest.raises(InputError, match="'/units/spike_times_index' does not fit 'spike_times' of 3600 values"):
        counts(path)


def test_ids_of_trials_as_floats_are_kept(nwb):
    _, _, arrays = counts(nwb(lambda file: replace(file, "intervals/trials/id", np.arange(N_TRIALS) + 100.0)))
    assert sorted(arrays["trial"].tolist()) == list(range(100, 124))


def stub(stop_s):
    """A raw signal that was cut to its first seconds, as conversions for a test are."""

    def edit(file):
        group = file.require_group("acquisition/raw")
        group.attrs["neurodata_type"] = "ElectricalSeries"
        group["data"], group["starting_time"] = np.zeros((int(stop_s * 10), 2)), 0.0
        group["starting_time"].attrs["rate"] = 10.0

    return edit


def test_a_shortened_raw_signal_says_nothing_of_the_spikes(nwb, plain, caplog):
    np.testing.assert_array_equal(counts(nwb(stub(10)))[0], plain)
    assert "94 % of the spikes lie outside the raw signal" in caplog.text
    caplog.clear()
    counts(nwb(stub(149)))
    assert "outside the raw signal" not in caplog.text


@pytest.mark.parametrize("end", [150 * 30_000.0, 60_000.0])
def test_observed_time_in_another_unit_is_told(nwb, plain, end, caplog):
    np.testing.assert_array_equal(counts(nwb(obs=[[0.0, end]]))[0], plain)
    assert f"said to be observed from 0 to {end:g} s, but no unit has a spike" in caplog.text
    caplog.clear()
    counts(nwb(obs=[[0.0, 150.0]]))
    assert "no unit has a spike" not in caplog.text
