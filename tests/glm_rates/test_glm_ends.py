"""Starts and ends that files lack or have the wrong way round: told, closed with the recording, or refused; never taken in silence."""

import logging

import h5py
import numpy as np
import pytest

from glm_rates.files import ends, nwb
from glm_rates.files.session import Session
from glm_rates.fit import trials
from hdf5io.errors import InputError

NAN = np.nan


def recording(observed=None, invalid=None):
    times = [np.linspace(0.0, 300.0, 3001)] * 2
    return Session(["0", "1"], times, ["all"] * 2, {}, np.zeros(0), [], [], observed=observed, invalid=invalid)


@pytest.mark.parametrize("missing", [NAN, np.inf])
def test_an_interval_without_an_end_ends_with_the_recording(missing, caplog):
    """A trial after the last spike of all units was not recorded, whatever the missing end is spelled like."""
    data = recording(observed=[np.array([[0, 100], [120, missing]]), None])
    observed, _ = trials.recorded_intervals(data, "s.nwb")
    np.testing.assert_allclose(observed[0], [[0, 100], [120, trials.span_of_spikes(data)[0, 1]]])
    assert not trials.covered(np.array([310.0]), np.array([313.0]), observed[0])[0]
    assert "s.nwb: 1 interval(s) of observed time lack a start or an end" in caplog.text


def test_a_row_of_two_nan_pads_and_observes_nothing(caplog):
    data = recording(observed=[np.array([[0, 100], [NAN, NAN]]), np.array([[NAN, NAN]])], invalid=[[NAN, NAN]])
    observed, invalid = trials.recorded_intervals(data, "s.nwb")
    np.testing.assert_allclose(observed[0], [[0, 100]])
    np.testing.assert_allclose(observed[1], trials.span_of_spikes(data))
    assert not len(invalid)
    assert "2 interval(s) of observed time without start and end left out" in caplog.text
    assert "1 interval(s) of invalid time without start and end left out" in caplog.text


def test_a_unit_that_was_never_observed_stays_so():
    observed, _ = trials.recorded_intervals(recording(observed=[np.zeros((0, 2)), None]), "s.csv")
    assert not len(observed[0])
    assert len(observed[1]) == 1


def test_trials_that_end_before_they_begin_are_told_and_refused_where_ends_are_needed(caplog):
    start, stop = np.array([5.0, 12.0, 19.0]), np.array([8.0, 10.0, NAN])
    with caplog.at_level(logging.WARNING):
        ends.check_ends(start, stop, False, "trials")
    said = "trials: 1 of 3 trials end before they begin, the first from 12 to 10 s"
    assert [r.getMessage().startswith(said) for r in caplog.records] == [True]
    with pytest.raises(InputError, match=said):
        ends.check_ends(start, stop, True, "trials")
    caplog.clear()
    ends.check_ends(start[[0, 2]], stop[[0, 2]], True, "trials")
    assert "1 of 2 trials have no end: their windows are whole" in caplog.text


def test_a_table_of_events_with_such_trials_is_told(tmp_path, caplog):
    from glm_rates import config as options
    from glm_rates.fit import extract

    rows = "".join(f"{u},{t}\n" for u in "ab" for t in np.linspace(0, 60, 601) + 0.0123 * np.sin(np.arange(601)))
    (tmp_path / "spikes.csv").write_text("unit_id,time_s\n" + rows)
    events = "".join(f"{5 + 7 * i},{'xy'[i % 2]},{(8 if i != 3 else 2) + 7 * i}\n" for i in range(7))
    (tmp_path / "events.csv").write_text("time_s,taste,stop_s\n" + events)
    chosen = options.ExtractConfig(data="x", output="y").model_dump(mode="json")
    chosen |= {"events": str(tmp_path / "events.csv")}
    extract.extract_times(tmp_path / "spikes.csv", chosen)
    assert "1 of 7 trials end before they begin, the first from 26 to 23 s" in caplog.text
    with pytest.raises(InputError, match="--to-trial-end needs the end of each trial on the clock of its start"):
        extract.extract_times(tmp_path / "spikes.csv", {**chosen, "to_trial_end": True})


def test_a_second_table_of_units_is_told(tmp_path, caplog):
    path = tmp_path / "s.nwb"
    with h5py.File(path, "w") as file:
        for place in ("units", "processing/ecephys/units_raw"):
            file[f"{place}/id"], file[f"{place}/spike_times"] = np.arange(1), np.arange(3.0)
        assert nwb.units_table(file, path).name == "/units"
    assert "'units' are used; other tables of units are not: processing/ecephys/units_raw" in caplog.text
