"""Whose spikes are these, and when was their unit observed? Ids that begin anew, ids of no unit, intervals that lie the other way round."""

import h5py
import numpy as np
import pandas as pd
import pytest

from glm_rates.files import nwb, recordings, session, spike_table
from hdf5io.errors import InputError

TIMES = [np.sort(np.random.default_rng(u).uniform(0, 100, 400)) for u in range(2)]


def read(tmp_path, ending=".csv", **columns):
    table = pd.DataFrame({"time_s": np.arange(40) * 0.1, **columns})
    table.to_csv(tmp_path / "s.csv", index=False) if ending == ".csv" else table.to_parquet(tmp_path / "s.parquet")
    return recordings.read_times(tmp_path / f"s{ending}", {"label_column": None, "align_column": None})


def test_spikes_of_no_unit_are_left_out(tmp_path, caplog):
    found = read(tmp_path, unit_id=np.repeat([-1, 0, 1, 2], 10))
    assert found.unit_id == ["0", "1", "2"]
    assert "10 spike(s) of unit -1" in caplog.text


@pytest.mark.parametrize("ids", [[-1, -2, -3, 4], [-1], ["a-1", "b-1"]])
def test_other_ids_are_ids(tmp_path, ids, caplog):
    assert len(read(tmp_path, unit_id=np.resize(ids, 40)).unit_id) == len(ids)
    assert not caplog.text


@pytest.mark.parametrize("name", ["probe", "Shank", "electrode_group", "channel"])
def test_ids_that_begin_anew_are_refused(tmp_path, name):
    """Plexon and neurosuite number units on each channel or shank: unit 1 of each would become one unit."""
    with pytest.raises(InputError, match=f"unit_id 1 has spikes in 4 of '{name}': are ids counted anew in each"):
        read(tmp_path, unit_id=np.resize([1, 2], 40), **{name: np.repeat([0, 1, 2, 3], 10)})


@pytest.mark.parametrize("name", ["probe", "channel", "electrode_group"])
def test_units_that_stay_on_their_probe_are_read(tmp_path, name):
    place = np.repeat([0, 1, 2, 3], 10) // (1 if name == "channel" else 2)
    if name == "channel":  # the largest channel of a spike is now and then a neighbour
        place[::5] += 1
    assert len(read(tmp_path, unit_id=np.repeat([1, 2, 3, 4], 10), **{name: place}).unit_id) == 4


def test_ids_of_several_units_are_told_and_name_no_observed_time(tmp_path, caplog):
    data = session.Session(["0", "1", "0"], [*TIMES, TIMES[0]], ["all"] * 3, {}, np.zeros(0), [], [])
    assert recordings.of_units(data, "x").unit_id == ["0", "1", "0"]
    assert "1 unit id(s) (0) stand for several units each" in caplog.text
    (tmp_path / "o.csv").write_text("start_s,stop_s,unit_id\n0,5,0\n")
    with pytest.raises(InputError, match="several units of the recording have the id 0"):
        spike_table.read_observed(tmp_path / "o.csv", data.unit_id, None)
    (tmp_path / "o.csv").write_text("start_s,stop_s,unit_id\n0,5,1\n")
    assert [len(part) for part in spike_table.read_observed(tmp_path / "o.csv", data.unit_id, None)] == [0, 1, 0]


INTERVALS = {
    "as NWB says": ([[0, 50], [0, 50], [60, 100]], [1, 3]),
    "as MATLAB may write": ([[0, 0, 60], [50, 50, 100]], [1, 3]),
    "two, turned": ([[0, 0], [100, 50]], [1, 2]),
    "two, spikes tell": ([[0, 40], [50, 100]], [1, 2]),
}


@pytest.mark.parametrize("form", INTERVALS)
def test_observed_time_is_read_either_way_round(form, tmp_path, caplog):
    pairs, index = INTERVALS[form]
    expected = {"two, turned": [[[0, 100]], [[0, 50]]], "two, spikes tell": [[[0, 50]], [[40, 100]]]}.get(
        form, [[[0, 50]], [[0, 50], [60, 100]]]
    )
    times = [np.concatenate([t[(t >= a) & (t <= b)] for a, b in mine]) for t, mine in zip(TIMES, expected)]
    with h5py.File(tmp_path / "u.h5", "w") as file:
        file["obs_intervals"], file["obs_intervals_index"] = np.array(pairs, float), index
        found = nwb.intervals_of_units(file, times, tmp_path / "u.h5")
    assert [part.tolist() for part in found] == expected
    assert ("two rows of starts and ends" in caplog.text) == (form != "as NWB says")


def test_two_intervals_as_nwb_has_them_are_not_turned(tmp_path, caplog):
    with h5py.File(tmp_path / "u.h5", "w") as file:
        file["obs_intervals"], file["obs_intervals_index"] = np.array([[0.0, 60.0], [70.0, 100.0]]), [1, 2]
        times = [TIMES[0][TIMES[0] < 60], TIMES[1][TIMES[1] > 70]]
        assert [p.tolist() for p in nwb.intervals_of_units(file, times, tmp_path)] == [[[0, 60]], [[70, 100]]]
    assert not caplog.text


@pytest.mark.parametrize(
    ("labels", "told"), [([-1, 0, 1, 2], True), ([-1, 1], False), ([-1, 0, 1], False), ([-2, -1, 1, 2], False)]
)
def test_a_label_of_minus_one_among_numbers_is_told(labels, told, caplog):
    assert session.same_spelling([str(v) for v in labels] * 3, "x") == [str(v) for v in labels] * 3
    assert ("have the label -1" in caplog.text) == told


def test_an_empty_cell_among_numbers_of_units_is_no_text(tmp_path):
    table = pd.DataFrame(
        {"time_s": np.arange(40) * 0.1, "unit_id": np.repeat([0, 1], 20), "snr": np.repeat([4.5, np.nan], 20)}
    )
    table.to_csv(tmp_path / "s.csv", index=False)
    found = recordings.read_times(tmp_path / "s.csv", {"label_column": None, "align_column": None, "units": "snr > 3"})
    assert found.unit_id == ["0"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"observed_start_s": np.arange(40), "observed_stop_s": 50},
            "'observed_start_s' differs between spikes of a unit",
        ),
        ({"observed_stop_s": 50}, "'observed_start_s' is missing"),
    ],
)
def test_observed_time_that_cannot_be_used_is_refused(tmp_path, columns, said):
    with pytest.raises(InputError, match=f"{said}; give --observed FILE"):
        read(tmp_path, unit_id=np.repeat([0, 1], 20), **columns)
