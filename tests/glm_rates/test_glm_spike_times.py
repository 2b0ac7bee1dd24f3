"""NWB files and spike tables."""

import csv
import datetime

import numpy as np
import pytest

from glm_rates.fit import extract as stage
from hdf5io.errors import InputError

OPTIONS = {
    "bin_size": 100,
    "time_lims": [1500, 4500],
    "time_lims_from_stimulus": None,
    "trial_window": [-2000, 5000],
    "laser": "include",
    "history_window": 200,
    "coupling_window": 100,
    "segment_s": 5.0,
    "events": None,
    "label_column": None,
    "align_column": None,
}


def extract(path, **changes):
    return stage.extract_times(path, {**OPTIONS, **changes})


def write_table(path, header, rows):
    with open(path, "w", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


@pytest.fixture
def table(tmp_path):
    spikes = [("a", 10.05), ("b", 10.15), ("a", 30.25), ("a", 9.95)]
    events = [(10.0, "sucrose"), (30.0, "water"), (50.0, "sucrose")]
    write_table(tmp_path / "events.csv", ["time_s", "taste"], events)
    return write_table(tmp_path / "spikes.csv", ["unit_id", "time_s"], spikes), tmp_path / "events.csv"


def test_spikes_fall_into_bins_from_the_event(table):
    params, arrays = extract(table[0], events=table[1])
    assert params["tastes"] == ["sucrose", "water"]
    assert arrays["taste"].tolist() == [0, 0, 1]
    onset = arrays["onset"][0]
    assert arrays["counts"][0, onset - 1 : onset + 2].tolist() == [[1, 0], [1, 0], [0, 1]]
    assert arrays["counts"][2, onset + 2].tolist() == [1, 0]
    assert arrays["counts"].sum() == 4


def test_without_events_the_recording_is_cut_into_segments(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "s.npz", unit_id=np.repeat([3, 12], 300), time_s=rng.uniform(0, 30, 600))
    params, arrays = extract(tmp_path / "s.npz")
    assert not params["stimulus"]
    assert params["units"]["unit_id"] == ["3", "12"]
    assert arrays["counts"].shape[1:] == (50, 2)
    assert len(arrays["counts"]) == 5  # the last, incomplete segment is left out


def test_nwb_units_and_trials_are_read(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    nwb = pynwb.NWBFile("a test", "id", start)
    nwb.add_unit_column("location", "region")
    nwb.add_unit(spike_times=[10.05, 30.25], location="gc")
    nwb.add_unit(spike_times=[10.15], location="bla")
    nwb.add_trial_column("stimulus", "taste")
    for time, label in ((10.0, "sucrose"), (30.0, "water")):
        nwb.add_trial(start_time=time, stop_time=time + 1, stimulus=label)
    with pynwb.NWBHDF5IO(tmp_path / "s.nwb", "w") as io:
        io.write(nwb)
    params, arrays = extract(tmp_path / "s.nwb")
    assert params["regions"] == ["gc", "bla"]
    assert params["tastes"] == ["sucrose", "water"]
    assert arrays["counts"].sum(axis=(0, 1)).tolist() == [2, 1]
    with pytest.raises(InputError, match="trials has no column 'odour'; it has stimulus"):
        extract(tmp_path / "s.nwb", label_column="odour")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "unit,time_s\n1,2\n", "no column 'unit_id'; it has unit, time_s"),
        ("b.csv", "unit_id,time_s\n1,x\n", "time_s holds something that is no number"),
        ("c.csv", "unit_id,time_s\n", "no rows"),
        ("d.doc", "", "cannot read '.doc' files"),
        ("e.npz", "no zip", "not readable as an .npz without pickles"),
        ("f.csv", "unit_id,time_s\n1,2.0\n", "do not fill two segments of 5 s"),
        ("g.nwb", "no nwb", "not a readable HDF5 file"),
    ],
)
def test_a_broken_table_is_one_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        extract(tmp_path / name)
