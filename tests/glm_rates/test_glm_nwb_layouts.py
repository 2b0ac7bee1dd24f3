"""Seven public NWB layouts, imitated from the listings of their files: units, regions, trials and labels are those of pynwb."""

import datetime

import h5py
import numpy as np
import pytest

from glm_rates import config as options
from glm_rates.files.nwb import read_nwb
from glm_rates.fit import extract as stage
from hdf5io.errors import InputError

pynwb = pytest.importorskip("pynwb")
N_TRIALS = 24


def request(**changes):
    return {**options.ExtractConfig(data="x", output="y").model_dump(mode="json"), **changes}


def new_file():
    return pynwb.NWBFile("a test", "id", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))


def times(n=300, seed=0, stop=150.0):
    return np.sort(np.random.default_rng(seed).uniform(0, stop, n))


def add_electrodes(nwb, locations, ids=None):
    device = nwb.create_device("probe")
    group = nwb.create_electrode_group("probeA", "a probe", "unknown", device)
    for i, location in enumerate(locations):
        nwb.add_electrode(group=group, location=location, id=i if ids is None else ids[i])
    return group


def add_trials(nwb, **columns):
    for name in columns:
        nwb.add_trial_column(name, name)
    for i in range(N_TRIALS):
        row = {name: column[i] for name, column in columns.items()}
        nwb.add_trial(start_time=5.0 + 6 * i, stop_time=8.0 + 6 * i, **row)


def save(nwb, path):
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path


def steinmetz(path):
    """Peak channels are numbers on their probe, in one column (n, 1); the electrodes of a unit span several regions."""
    nwb = new_file()
    device = nwb.create_device("0")
    groups = [nwb.create_electrode_group(f"Probe{i}", "opt3", "unknown", device) for i in (1, 2)]
    nwb.add_electrode_column("site_id", "number on its probe")
    for i in range(8):
        nwb.add_electrode(
            group=groups[i // 4], location=["VISp", "VISp", "CA1", "CA1", "MOs", "MOs", "ACA", "root"][i], site_id=i % 4
        )
    nwb.add_unit_column("peak_channel", "number on its probe")
    nwb.add_unit_column("phy_annotations", "2 good")
    for unit, (group, peak) in enumerate([(0, 2), (0, 0), (1, 2), (1, 1)]):
        mine = list(range(4 * group, 4 * group + 4))
        nwb.add_unit(
            spike_times=times(seed=unit),
            electrodes=mine,
            electrode_group=groups[group],
            peak_channel=peak,
            phy_annotations=2,
        )
    add_trials(nwb, visual_stimulus_time=[5.5 + 6 * i for i in range(N_TRIALS)], response_choice=[-1.0, 1.0, 0.0] * 8,
               included=[True] * N_TRIALS)  # fmt: skip
    spontaneous = pynwb.epoch.TimeIntervals(name="spontaneous", description="nothing else is going on")
    spontaneous.add_row(start_time=148.0, stop_time=150.0)
    nwb.add_time_intervals(spontaneous)
    save(nwb, path)
    with h5py.File(path, "a") as file:
        peak, attrs = file["units/peak_channel"][:], dict(file["units/peak_channel"].attrs)
        del file["units/peak_channel"]
        file["units/peak_channel"] = peak[:, None]
        file["units/peak_channel"].attrs.update(attrs)
    return (
        path,
        ["CA1", "VISp", "ACA", "MOs"],
        {"align_column": "visual_stimulus_time", "label_column": "response_choice"},
    )


def human_mtl(path):
    """MatNWB: tables of intervals by task, ids in 8 bits, times of 0 where there is none; one microwire a unit."""
    nwb = new_file()
    add_electrodes(nwb, ["Right Hippocampus", "Left Amygdala", "Right Hippocampus"])
    nwb.add_unit_column("origClusterID", "cluster")
    for unit, wire in enumerate([1, 0, 2]):
        nwb.add_unit(spike_times=times(seed=unit), electrodes=[wire], origClusterID=1000 + unit, id=unit + 1)
    for name in ("encoding_table", "recognition_table"):
        table = pynwb.epoch.TimeIntervals(name=name, description=name)
        table.add_column("stimCategory", "1, 2 or 3")
        table.add_column("boundary1_time", "0 if it does not exist")
        for i in range(N_TRIALS):
            at = 5.0 + 6 * i
            table.add_row(
                start_time=at, stop_time=at + 4, stimCategory=1 + i % 3, boundary1_time=0.0 if i % 3 == 0 else at + 2
            )
        nwb.add_time_intervals(table)
    more = {"intervals": "encoding_table", "label_column": "stimCategory", "align_column": "boundary1_time"}
    return save(nwb, path), ["Left Amygdala", "Right Hippocampus", "Right Hippocampus"], more


def svoboda(path):
    """Times of a trial count from its start; hits and errors stand in columns of their own; nothing says where a unit is."""
    nwb = new_file()
    for unit in range(3):
        nwb.add_unit(spike_times=times(seed=unit))
    nwb.add_unit_column(
        "trialsID", "trial of each spike", data=[float(i % N_TRIALS) for i in range(900)], index=[300, 600, 900]
    )
    add_trials(nwb, CueTime=[1.2 + 0.01 * (i % 3) for i in range(N_TRIALS)], HitL=[1, 0] * 12, HitR=[0, 1] * 12,
               StimTrials=[0, 0, 1] * 8)  # fmt: skip
    return save(nwb, path), ["all"] * 3, {"align_column": "CueTime", "label_column": "HitL"}


def buzsaki(path):
    """Sleep states are the only intervals, in single precision and below processing; regions stand with the shanks."""
    nwb = new_file()
    device = nwb.create_device("Implant")
    groups = [nwb.create_electrode_group(f"shank{i}", "s", place, device) for i, place in ((1, "DG"), (2, "CA3"))]
    nwb.add_unit_column("cell_type", "name")
    nwb.add_unit_column("shank_id", "0-indexed")
    for unit in range(4):
        nwb.add_unit(
            spike_times=times(seed=unit), electrode_group=groups[unit // 2], cell_type="granule", shank_id=unit // 2
        )
    states = pynwb.epoch.TimeIntervals(name="states", description="sleep states of animal")
    states.add_column("label", "sleep state")
    for i in range(N_TRIALS):
        states.add_row(
            start_time=np.float32(5 + 6 * i), stop_time=np.float32(11 + 6 * i), label=["wake", "nrem"][i % 2]
        )
    nwb.create_processing_module("behavior", "behaviour").add(states)
    return save(nwb, path), ["DG", "DG", "CA3", "CA3"], {"intervals": "states"}


def openscope(path):
    """The name of the stimulus is that of its table, the images are frames; references to time series and tags in every row."""
    nwb = new_file()
    add_electrodes(nwb, ["VISl", "VISp", "LP"], [1000, 1004, 2000])
    nwb.add_unit_column("peak_channel_id", "id")
    for unit, peak in enumerate([1004, 2000, 1000]):
        nwb.add_unit(spike_times=times(seed=unit), peak_channel_id=peak, id=1_187_000_000 + unit)
    series = pynwb.TimeSeries(name="timestamps", data=np.arange(10.0), unit="s", timestamps=np.arange(10.0))
    nwb.add_stimulus(series)
    table = pynwb.epoch.TimeIntervals(name="ICkcfg0_presentations", description="images")
    for name in ("stimulus_name", "frame", "stimulus_block"):
        table.add_column(name, name)
    for i in range(N_TRIALS):
        table.add_row(start_time=5.0 + 6 * i, stop_time=5.4 + 6 * i, stimulus_name="ICkcfg0_presentations", frame=float(i % 4),
                      stimulus_block=0.0, tags=["stimulus_time_interval"], timeseries=[pynwb.base.TimeSeriesReference(0, 1, series)])  # fmt: skip
    nwb.add_time_intervals(table)
    return save(nwb, path), ["VISp", "LP", "VISl"], {"intervals": "ICkcfg0_presentations", "label_column": "frame"}


def ibl(path):
    """Regions in three atlases, of which the finest named one is used; trials without a stimulus time."""
    nwb = new_file()
    for name in ("cosmos_location", "beryl_location", "allen_location"):
        nwb.add_unit_column(name, name)
    for unit, place in enumerate(["CTX", "HPF", "void"]):
        nwb.add_unit(
            spike_times=times(seed=unit), cosmos_location=place, beryl_location=place + "b", allen_location=place + "a"
        )
    on = [5.5 + 6 * i if i % 5 else np.nan for i in range(N_TRIALS)]
    add_trials(nwb, stim_on_time=on, contrast_left=[1.0, 0.25, np.nan] * 8, choice=[-1.0, 1.0] * 12)
    more = {"align_column": "stim_on_time", "label_column": "choice", "region_column": "cosmos_location"}
    return save(nwb, path), ["CTX", "HPF", "unassigned"], more


def frank(path):
    """Units of one sort interval with their observed time, tetrodes by reference; epochs with tags, no trials."""
    nwb = new_file()
    add_electrodes(nwb, ["ca1", "ca1", "ofc"])
    nwb.add_unit_column("sort_interval", "interval that was sorted")
    for unit, mine in enumerate(([0, 1], [2], [1])):
        spikes = times(seed=unit)
        spikes = spikes[(spikes > 10) & (spikes < 140)]
        nwb.add_unit(spike_times=spikes, electrodes=mine, obs_intervals=[[10.0, 140.0]], sort_interval=[10.0, 140.0])
    for i in range(N_TRIALS):
        nwb.add_epoch(start_time=5.0 + 6 * i, stop_time=8.0 + 6 * i, tags=["01_r1"])
    return save(nwb, path), ["ca1", "ofc", "ca1"], {"intervals": "epochs"}


LAYOUTS = [steinmetz, human_mtl, svoboda, buzsaki, openscope, ibl, frank]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_units_regions_and_trials_are_those_of_pynwb(layout, tmp_path):
    path, regions, more = layout(tmp_path / "s.nwb")
    data = read_nwb(path, request(**more))
    assert data.region == regions
    with pynwb.NWBHDF5IO(path, "r") as io:
        nwb = io.read()
        assert data.unit_id == [str(i) for i in nwb.units.id[:]]
        for unit in range(len(regions)):
            np.testing.assert_array_equal(data.times_s[unit], nwb.units["spike_times"][unit])
        name = more.get("intervals", "trials")
        table = nwb.processing["behavior"][name] if name == "states" else nwb.intervals[name]
        events = table[more.get("align_column", "start_time")][:]
        events = events + table["start_time"][:] if layout is svoboda else np.where(events == 0, np.nan, events)
        kept = np.isfinite(events)
        assert data.trial_id == table.id[:][kept].tolist()
        np.testing.assert_array_equal(data.event_s, events[kept])
        if "label_column" in more:
            labels = table[more["label_column"]][:][kept]
            assert [float(label) for label in data.label] == [float(label) for label in labels]
    params, arrays = stage.extract_times(path, request(**more))
    assert params["units"]["unit_id"] == data.unit_id
    assert set(arrays["trial"].tolist()) <= set(data.trial_id)


def test_one_value_is_no_stimulus_where_another_column_tells_trials_apart(tmp_path):
    path, _, _ = openscope(tmp_path / "s.nwb")
    with pytest.raises(
        InputError, match=r"'stimulus_name' has one value, .* Give --label NAME; candidates: frame \(4 values\)"
    ):
        read_nwb(path, request())
    assert set(read_nwb(path, request(label_column="stimulus_name")).label) == {"ICkcfg0_presentations"}
