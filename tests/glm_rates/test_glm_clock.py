"""Are times fine enough, on one clock, and of the table that holds the trials? As exporters write them, and with the trap."""

import contextlib

import h5py
import numpy as np
import pandas as pd
import pytest

from glm_rates import config as options
from glm_rates.files import covariates, describe, nwb, recordings
from glm_rates.files.lasers import event_lasers
from glm_rates.files.session import Session, on_clock
from glm_rates.fit import pipeline, trials
from hdf5io.errors import InputError

TIMES = np.sort(np.random.default_rng(0).uniform(0, 150, 2000))


def session(times):
    return Session(["0"], [np.unique(times)], ["all"], {}, np.zeros(0), [], [])


COARSE = {
    "few digits": TIMES.round(1),
    "half precision": TIMES.astype("f2").astype(float),
    "single precision at a large offset": (TIMES + 2e5).astype("f4").astype(float),
    "frames of a camera": np.round(TIMES * 30) / 30,
}
FINE = {
    "samples": np.round(TIMES * 30_000) / 30_000,
    "milliseconds": TIMES.round(3),
    "single precision": TIMES.astype("f4").astype(float),
    "Unix time": TIMES + 1.6e9,
    "a pacemaker": np.arange(0, 150, 0.1) + np.random.default_rng(1).normal(0, 0.004, 1500),
    "few spikes": TIMES[::60].round(1),
}


@pytest.mark.parametrize("form", COARSE)
def test_times_that_are_coarser_than_bins_are_refused(form):
    with pytest.raises(InputError, match=r"lie on steps of 0\.\d+ s, too coarse for bins of 25 ms"):
        trials.check_resolution(session(COARSE[form]), 25, "x")


def refused(times, bin_ms):
    try:
        trials.check_resolution(session(times), bin_ms, "x")
    except InputError:
        return True
    return False


@pytest.mark.parametrize("form", FINE)
def test_times_that_are_fine_enough_are_read(form):
    assert not refused(FINE[form], 25)


def test_how_fine_times_must_be_goes_by_the_bin():
    assert [refused(COARSE["few digits"], bin_ms) for bin_ms in (25, 500)] == [True, False]


def read(path):
    return recordings.read_times(path, {"label_column": None, "align_column": None})


def test_segments_that_begin_anew_are_refused(tmp_path):
    """SpikeInterface's spike vector has ``segment_index`` beside samples that count from each segment."""
    table = pd.DataFrame(
        {"unit_id": np.arange(2000) % 3, "time_s": TIMES % 75, "segment_index": (TIMES // 75).astype(int)}
    )
    table.to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(
        InputError, match=r"spikes of different segments .column 'segment_index'. lie at the same times"
    ):
        read(tmp_path / "s.csv")
    table.assign(time_s=TIMES).to_csv(tmp_path / "s.csv", index=False)
    assert sum(map(len, read(tmp_path / "s.csv").times_s)) == 2000


def test_tables_of_ibl_end_in_pqt(tmp_path):
    pd.DataFrame({"unit_id": np.arange(2000) % 3, "time_s": TIMES}).to_parquet(tmp_path / "s.pqt")
    assert sum(map(len, read(tmp_path / "s.pqt").times_s)) == 2000
    assert describe.describe(tmp_path / "s.pqt")[0] == "spike table"


@pytest.mark.parametrize(("name", "applies"), [("A.NWB", True), ("a.nwb", True), ("A.CSV", False)])
def test_an_ending_in_capitals_is_the_same_format(tmp_path, name, applies):
    given = options.ExtractConfig(data="x", output="y", intervals="epochs")
    with contextlib.nullcontext() if applies else pytest.raises(InputError, match="--intervals is for an NWB file"):
        assert pipeline.must_apply(tmp_path / name, given) is None


def table_of(file, name, n):
    group = file.create_group(f"intervals/{name}")
    group.attrs.update({"neurodata_type": "TimeIntervals", "colnames": ["start_time", "stop_time"]})
    group["id"], group["start_time"], group["stop_time"] = np.arange(n), np.arange(n) * 5.0, np.arange(n) * 5.0 + 1


def test_a_table_of_trials_without_rows_hides_no_other(tmp_path, caplog):
    """NeuroConv may write an empty ``trials`` beside the presentations of stimuli."""
    with h5py.File(tmp_path / "s.nwb", "w") as file:
        table_of(file, "trials", 0)
        table_of(file, "presentations", 4)
        found = nwb.interval_table(file, None, tmp_path / "s.nwb")
        assert found.name == "/intervals/presentations"
        assert "no rows in trials" in caplog.text
        with pytest.raises(InputError, match="no intervals 'trials'; there are presentations"):
            nwb.interval_table(file, "trials", tmp_path / "s.nwb")


@pytest.mark.parametrize(
    ("spans", "told"), [(((0, 150), (60, 150)), True), (((0, 70), (80, 150)), False), (((0, 150), (0.2, 150.1)), False)]
)
def test_probes_that_ran_at_different_times_are_told(tmp_path, spans, told, caplog):
    with h5py.File(tmp_path / "s.nwb", "w") as file:
        for name, (first, last) in zip("AB", spans):
            group = file.create_group(f"acquisition/{name}")
            group.attrs["neurodata_type"] = "ElectricalSeries"
            group["data"], group["starting_time"] = np.zeros(round((last - first) * 10)), float(first)
            group["starting_time"].attrs["rate"] = 10.0
        assert len(nwb.recorded_span(file)) == 2
    assert ("raw signals of different times (A 0 to 150 s, B 60 to 150 s)" in caplog.text) == told


def test_rates_of_windows_that_overlap_go_back_to_nwb_whole():
    """Flashes every 250 ms: each bin of the session is in one trial's window, NaN in those of the others."""
    pytest.importorskip("pynwb")
    from glm_rates.files.nwb_module import processing_module
    from glm_rates.files.stored import Stored

    onsets, n_bins = 10 + 0.25 * np.arange(8), 120
    start = onsets - 0.5
    time = start[:, None] + 0.025 * np.arange(n_bins)
    data = Session(["3"], [TIMES], ["all"], {}, onsets, ["a"] * 8, list(range(8)))
    own = trials.own_bins(data, start, onsets, (0, n_bins), 25, False, "x")
    rate = np.where(own, time, np.nan)[..., None]  # the rate tells its bin
    arrays = {"taste": np.zeros(8, int), "start_s": start, "rate": rate, "log_rate_sd": rate}
    stored = Stored(["a"], ["all"], 25, np.arange(n_bins) * 25, True, arrays, [], {}, {}, {}, {})
    module, n = processing_module(stored, ["3"])
    found = module["firing_rate"]
    assert n == len(found.timestamps) == round((onsets[-1] + 2.5 - start[0]) / 0.025)
    np.testing.assert_allclose(found.data[:, 0] / 40, found.timestamps - 0.0125)


def test_events_of_a_covariate_that_stand_there_twice_are_used_once(tmp_path, caplog):
    (tmp_path / "c.csv").write_text("time_s,event\n" + "1.5,lick\n2.5,lick\n1.5,lick\n1.5,tone\n3.0,nan\n")
    lick, tone = covariates.read_covariates(tmp_path / "c.csv", [], None)
    assert (lick.time_s.tolist(), tone.time_s.tolist()) == ([1.5, 2.5], [1.5])
    assert "1 event(s) lick stand there more than once" in caplog.text


@pytest.mark.parametrize(("scale", "told"), [(1.0, False), (1e-3, True)])
def test_a_laser_of_less_than_a_millisecond_is_told(scale, told, caplog):
    columns = {"laser": [1, 0, 1], "laser_lag_ms": [700 * scale] * 3, "laser_duration_ms": [300 * scale] * 3}
    event_lasers(columns, np.arange(3.0), "x")
    assert ("the laser lasts 0.3 ms" in caplog.text) == told


def test_one_time_far_from_its_own_trial_is_told_and_a_little_jitter_is_not(caplog):
    start = np.arange(40) * 9.5
    events = start + 0.5
    events[5] = start[5] - 0.01  # a reward that ended the trial before
    assert (on_clock(events, start, start + 4, "x: cue") == events).all()
    assert not caplog.text
    events[3] = start[3] + 50
    on_clock(events, start, start + 4, "x: cue")
    assert (
        "x: cue: 1 of 40 times lie outside their own trials, the first at 78.5 s (trial from 28.5 to 32.5 s)"
        in caplog.text
    )
