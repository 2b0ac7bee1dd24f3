"""NWB as exporters write it: regions, trials and spikes equal to pynwb's, and each layout with its trap."""

import datetime
import json

import h5py
import numpy as np
import pytest

from glm_rates import config as options
from glm_rates.files.nwb import read_nwb
from glm_rates.files.recordings import read_times
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


def allen_visual_coding(path):
    """Peak channels by id (ids do not count up from 0), presentations in tables of their own, invalid times with tags."""
    nwb = new_file()
    add_electrodes(nwb, ["VISp2/3", "CA1", "VISp2/3", "unknown"], [850, 12, 851, 7])
    nwb.add_unit_column("peak_channel_id", "id of the peak channel")
    nwb.add_unit_column("quality", "good or noise")
    for unit, peak in enumerate([12, 850, 7, 851]):
        nwb.add_unit(
            spike_times=times(seed=unit), peak_channel_id=peak, quality="noise" if unit == 3 else "good", id=950 - unit
        )
    for name in ("flashes_presentations", "gabors_presentations"):
        table = pynwb.epoch.TimeIntervals(name=name, description="stimuli")
        table.add_column("stimulus_name", "stimulus")
        for i in range(N_TRIALS):
            table.add_row(start_time=5.0 + 6 * i, stop_time=5.25 + 6 * i, stimulus_name=["light", "dark"][i % 2])
        nwb.add_time_intervals(table)
    nwb.add_invalid_time_interval(start_time=20.0, stop_time=30.0, tags=["probeA"])
    return save(nwb, path), ["CA1", "VISp2/3", "unassigned", "VISp2/3"], {"intervals": "flashes_presentations"}


def electrode_references(path):
    """The standard form: rows of the electrodes table; several of one unit, the largest mean waveform decides."""
    nwb = new_file()
    add_electrodes(nwb, ["CA1", "CA3", "DG"])
    wave = np.zeros((20, 2))
    wave[5] = [0.1, -3.0]
    for unit, mine in enumerate(([2, 1], [0, 1], [1, 0])):
        nwb.add_unit(spike_times=times(seed=unit), electrodes=mine, waveform_mean=wave)
    add_trials(nwb, odor=["a", "b"] * 12)
    return save(nwb, path), ["CA3", "CA3", "CA1"], {}


def own_region_column(path):
    """A column of the units wins over electrodes; units without a region are unassigned."""
    nwb = new_file()
    add_electrodes(nwb, ["x", "y", "z"])
    nwb.add_unit_column("brain_area", "area")
    for unit, area in enumerate(["MOs2/3", "nan", "Süß – 0.3"]):
        nwb.add_unit(spike_times=times(seed=unit), electrodes=[unit], brain_area=area)
    add_trials(nwb, condition=["a", "b", "c"] * 8)
    return save(nwb, path), ["MOs2/3", "unassigned", "Süß – 0.3"], {}


def electrode_groups(path):
    """Regions stand in the groups; ids of units and trials do not begin at 0; silent units first and last."""
    nwb = new_file()
    device = nwb.create_device("probe")
    groups = [
        nwb.create_electrode_group(f"tetrode{i}", "t", place, device) for i, place in enumerate(["hpc", "unknown"])
    ]
    for unit, spikes in enumerate([[], times(), times(seed=2), []]):
        nwb.add_unit(spike_times=spikes, electrode_group=groups[unit % 2], id=100 + 7 * unit)
    nwb.add_trial_column("trial_type", "type")
    for i in range(N_TRIALS):
        nwb.add_trial(start_time=5.0 + 6 * i, stop_time=8.0 + 6 * i, trial_type=["left", "right"][i % 2], id=1000 + i)
    return save(nwb, path), ["hpc", "tetrode1", "hpc", "tetrode1"], {}


LAYOUTS = [allen_visual_coding, electrode_references, own_region_column, electrode_groups]


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
        table = nwb.intervals[more["intervals"]] if more else nwb.trials
        assert data.trial_id == table.id[:].tolist()
        np.testing.assert_array_equal(data.event_s, table["start_time"][:])
    params, arrays = stage.extract_times(path, request(**more))
    assert params["units"]["unit_id"] == data.unit_id
    assert set(arrays["trial"].tolist()) <= set(data.trial_id)


def test_several_tables_of_intervals_are_listed(tmp_path):
    path, _, more = allen_visual_coding(tmp_path / "s.nwb")
    with pytest.raises(
        InputError, match=r"flashes_presentations \(24 rows\), gabors_presentations .* Give --intervals NAME"
    ):
        read_nwb(path, request())
    with pytest.raises(InputError, match="no intervals 'else'"):
        read_nwb(path, request(intervals="else"))
    _, arrays = stage.extract_times(path, request(**more))
    assert len(arrays["taste"]) < N_TRIALS  # one window lies in the invalid time


def test_trials_keep_the_ids_of_the_file_when_others_are_left_out(tmp_path):
    path, _, _ = electrode_groups(tmp_path / "s.nwb")
    with h5py.File(path, "a") as file:
        file["intervals/trials/start_time"][3] = np.nan
    _, arrays = stage.extract_times(path, request())
    assert sorted(arrays["trial"].tolist()) == [1000 + i for i in range(N_TRIALS) if i != 3]
    assert set(arrays["trial"][arrays["taste"] == 1] % 2) == {1}  # right: odd rows


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"contrast": [0.1, 0.5] * 12, "rewarded": [True, False, True] * 8},
            r"Give --label NAME; candidates: contrast \(2 values\), rewarded",
        ),
        (
            {"odor": ["a", "b"] * 12, "condition": ["x", "y", "z"] * 8},
            "which column holds the stimulus, odor, condition",
        ),
    ],
)
def test_a_stimulus_column_that_is_not_known_is_asked_for(tmp_path, columns, said):
    nwb = new_file()
    nwb.add_unit(spike_times=times())
    add_trials(nwb, **columns)
    path = save(nwb, tmp_path / "s.nwb")
    with pytest.raises(InputError, match=said):
        read_nwb(path, request())
    named = next(iter(columns))
    data = read_nwb(path, request(label_column=named))
    assert len(set(data.label)) == 2
    assert set(read_nwb(path, request(label_column="none")).label) == {"stimulus"}


def test_two_columns_that_tell_the_same_trials_apart_are_one(tmp_path):
    nwb = new_file()
    nwb.add_unit(spike_times=times())
    add_trials(nwb, odor=["a", "b"] * 12, condition=["x", "y"] * 12)
    assert read_nwb(save(nwb, tmp_path / "s.nwb"), request()).label[:2] == ["a", "b"]


def test_units_are_selected_by_an_expression_and_nothing_is_executed(tmp_path):
    path, _, more = allen_visual_coding(tmp_path / "s.nwb")
    data = read_times(
        path, request(units="quality == 'good' and firing_rate > .5 and peak_channel_id in (12, 850)", **more)
    )
    assert data.unit_id == ["950", "949"]
    for bad, said in (
        ("__import__('os').system('true')", "only columns, numbers, texts"),
        ("quality.upper() == 'GOOD'", "only columns, numbers, texts"),
        ("depth > 3", "units have no column 'depth'; they have unit_id, region"),
        ("quality > 3", "one is text"),
        ("quality ==", "not an expression"),
        ("n_spikes > 1e9", "holds for none of 4 units"),
        ("(" * 5000 + "1" + ")" * 5000, "not an expression"),
    ):
        with pytest.raises(InputError, match=said):
            read_times(path, request(units=bad, **more))


def test_spike_times_in_milliseconds_are_read_by_their_attribute(tmp_path):
    path, _, _ = electrode_groups(tmp_path / "s.nwb")
    before = read_nwb(path, request()).times_s[1]
    with h5py.File(path, "a") as file:
        file["units/spike_times"][:] = file["units/spike_times"][:] * 1000
        file["units/spike_times"].attrs["unit"] = "milliseconds"
    np.testing.assert_allclose(read_nwb(path, request()).times_s[1], before)


def spoil_group(file):
    del file["units/spike_times"]
    file.create_group("units/spike_times")


def spoil_scalar(file):
    del file["units/spike_times"]
    file["units/spike_times"] = 1.0


def spoil_empty(file):
    del file["units/spike_times"]
    file["units/spike_times"] = h5py.Empty("f8")


def spoil_text(file):
    del file["units/spike_times"]
    file["units/spike_times"] = np.array([b"a", b"b"])


def spoil_soft_link(file):
    del file["units/spike_times"]
    file["units/spike_times"] = h5py.SoftLink("/nowhere")


def spoil_self_link(file):
    del file["units/spike_times"]
    file["units/spike_times"] = h5py.SoftLink("/units/spike_times")


def spoil_external(file):
    del file["intervals/trials/start_time"]
    file["intervals/trials/start_time"] = h5py.ExternalLink("nowhere.h5", "/x")


def spoil_index(file):
    file["units/spike_times_index"][1] = 700


def spoil_axes(file):
    flat = file["units/spike_times"][:]
    del file["units/spike_times"]
    file["units/spike_times"] = flat.reshape(-1, 2)


def spoil_compound(file):
    del file["intervals/trials/start_time"]
    file["intervals/trials/start_time"] = np.zeros(24, [("a", "f8")])


def spoil_length(file):
    del file["intervals/trials/id"]
    file["intervals/trials/id"] = np.arange(5)


@pytest.mark.parametrize("spoil", [f for name, f in sorted(globals().items()) if name.startswith("spoil_")])
def test_a_damaged_file_is_one_line(tmp_path, spoil):
    path, _, _ = electrode_groups(tmp_path / "s.nwb")
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(InputError, match=r"s\.nwb"):
        stage.extract_times(path, request())


def test_original_ids_and_true_region_names_reach_the_results(tmp_path, run_command):
    path, _, more = allen_visual_coding(tmp_path / "s.nwb")
    target = tmp_path / "r.h5"
    chosen = [
        "--intervals",
        more["intervals"],
        "--separate-regions",
        "--cv-folds",
        2,
        "--output",
        target,
        "--plot-units",
        "1",
    ]
    done = run_command("glm_rates", "infer", path, *chosen)
    assert done.returncode == 0, done.stderr
    with h5py.File(target) as h5:
        assert h5["units/unit_id"].asstr()[:].tolist() == ["950", "949", "948", "947"]
        assert "taste_0_region_VISp2-3_neuron_1" in h5["regions"]
        assert h5["units/region"].asstr()[:].tolist() == ["CA1", "VISp2/3", "unassigned", "VISp2/3"]
        assert json.loads(h5.attrs["region_names"]) == {"CA1": "CA1", "VISp2-3": "VISp2/3", "unassigned": "unassigned"}
        ids = h5["stacked/trial_index"][2]
        assert len(set(ids.tolist())) == len(ids) == N_TRIALS - 1
    assert (tmp_path / "r_glm_output" / "artifacts" / "VISp2-3.npz").is_file()
    assert (tmp_path / "r_glm_output" / "plots" / "individual_neurons" / "neuron_001_VISp2-3.png").is_file()


def test_results_go_back_into_a_copy_that_the_validator_accepts(tmp_path, run_command):
    path, _, _ = electrode_groups(tmp_path / "s.nwb")
    before = path.read_bytes()
    done = run_command("glm_rates", "infer", path, "--cv-folds", 2, "--no-plots", "--output", tmp_path / "r.h5")
    assert done.returncode == 0, done.stderr
    done = run_command("glm_rates", "export-nwb", tmp_path / "r.h5", "--nwb", path, "--output", tmp_path / "out.nwb")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before
    with pynwb.NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        assert pynwb.validate(io=io) == []
        nwb = io.read()
        module = nwb.processing["glm_rates"]
        rate = module["firing_rate"]
        assert rate.data.shape == (N_TRIALS * 120, 4)
        assert rate.unit == "Hz"
        assert json.loads(rate.comments)["unit_ids"] == ["100", "107", "114", "121"]
        assert module["unit_scores"]["unit_id"][:].tolist() == [100, 107, 114, 121]
        first = rate.timestamps[:]
        assert (np.diff(first) > 0).all()
        with h5py.File(tmp_path / "r.h5") as h5:
            taste, place, trial = h5["stacked/trial_index"][:]
            row = int(np.flatnonzero(trial == 1005)[0])
            hz = h5["stacked/pred_firing_hz"][taste[row], place[row]]
        at = np.searchsorted(first, 5.0 + 6 * 5 - 0.5)
        np.testing.assert_allclose(rate.data[at : at + 120].T, hz, rtol=1e-5)
    other, _, _ = electrode_references(tmp_path / "other.nwb")
    done = run_command("glm_rates", "export-nwb", tmp_path / "r.h5", "--nwb", other, "--output", tmp_path / "no.nwb")
    assert done.returncode == 2
    assert "has no unit 100 of the results" in done.stderr


def test_pynapple_reads_the_rates_of_the_copy(tmp_path, run_command):
    nap = pytest.importorskip("pynapple")
    path, _, _ = electrode_groups(tmp_path / "s.nwb")
    run_command("glm_rates", "infer", path, "--cv-folds", 0, "--no-plots", "--output", tmp_path / "r.h5")
    run_command("glm_rates", "export-nwb", tmp_path / "r.h5", "--nwb", path, "--output", tmp_path / "out.nwb")
    rate = nap.load_file(str(tmp_path / "out.nwb"))["firing_rate"]
    assert rate.shape == (N_TRIALS * 120, 4)


def test_epochs_alone_are_no_trials_unless_named(tmp_path, caplog):
    nwb = new_file()
    nwb.add_unit(spike_times=times())
    for i in range(3):
        nwb.add_epoch(start_time=10.0 + 40 * i, stop_time=40.0 + 40 * i)
    path = save(nwb, tmp_path / "s.nwb")
    with caplog.at_level("INFO", "glm_rates"):
        assert len(read_nwb(path, request()).event_s) == 0
    assert "epochs are used as trials with --intervals epochs" in caplog.text
    assert read_nwb(path, request(intervals="epochs")).event_s.tolist() == [10.0, 50.0, 90.0]


def test_fewer_trials_than_folds_is_one_line(tmp_path, run_command):
    path, _, _ = electrode_groups(tmp_path / "s.nwb")
    done = run_command("glm_rates", "infer", path, "--cv-folds", 13, "--no-plots", "--output", tmp_path / "r.h5")
    assert done.returncode == 2
    assert "no stimulus has more than 12 trial(s), fewer than 13 folds" in done.stderr.splitlines()[-1]
