"""Habits of laboratories that are no faults: each is read as it was meant, or named; none changes a number in silence."""

import csv
import datetime
import json
import shutil

import h5py
import numpy as np
import pytest

from glm_rates import config as options
from glm_rates.files.nwb import read_nwb
from glm_rates.files.recordings import read_times
from glm_rates.fit import extract as stage
from glm_rates.fit import pipeline
from hdf5io.errors import InputError

N_UNITS, N_TRIALS = 3, 24
EVENTS = 5.0 + 6.0 * np.arange(N_TRIALS)
LABELS = ["water", "sucrose"] * (N_TRIALS // 2)
TIMES = [np.sort(np.random.default_rng(u).uniform(0, 150, 1200)) for u in range(N_UNITS)]


def request(**changes):
    return {**options.ExtractConfig(data="x", output="y").model_dump(mode="json"), **changes}


def spikes(path, ids=("u0", "u1", "u2"), times=TIMES, encoding="utf-8", before="", mark=",", **more):
    lines = [mark.join(("unit_id", "time_s", *more))]
    for unit, part in enumerate(times):
        lines += [mark.join((ids[unit], f"{t:.6f}", *[v(unit, i) for v in more.values()])) for i, t in enumerate(part)]
    path.write_text(before + "\n".join(lines) + "\n", encoding=encoding)
    return path


def events(path, times=EVENTS, labels=LABELS, name="time_s", **more):
    with open(path, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([name, "taste", *more])
        writer.writerows(zip([f"{t:.6f}" for t in times], labels, *more.values()))
    return str(path)


def counts(path, **changes):
    """Counts in the window, (trial, bin, unit), and parameters and arrays."""
    params, arrays = stage.extract_times(path, request(**changes))
    return arrays["counts"][:, slice(*params["window"])], params, arrays


@pytest.fixture
def plain(tmp_path):
    return counts(spikes(tmp_path / "plain.csv"), events=events(tmp_path / "plain_events.csv"))[0]


@pytest.mark.parametrize(
    "how",
    [
        {"encoding": "utf-16", "mark": "\t"},
        {"encoding": "cp1252", "remark": lambda u, i: "Süß"},
        {"before": "# made by a script\n% and by another\n"},
        {"times": [np.concatenate([t, t]) for t in TIMES]},
        {"ids": ("0.0", "1.0", "2.0")},
    ],
    ids=["Excel's unicode text", "Windows", "comments", "every row twice", "ids as floats"],
)
def test_a_table_however_it_was_exported_holds_the_same_counts(tmp_path, plain, how):
    (tmp_path / "observed.csv").write_text("unit_id,start_s,stop_s\n" + "".join(f"{u},0,150\n" for u in range(3)))
    more = {"observed": str(tmp_path / "observed.csv")} if "ids" in how else {}
    found, *_ = counts(spikes(tmp_path / "s.csv", **how), events=events(tmp_path / "e.csv"), **more)
    np.testing.assert_array_equal(found, plain)


def test_spikes_at_whole_milliseconds_may_coincide(tmp_path):
    times = [np.array([1.0, 1.0, 2.0, 3.0])] * 3
    assert [len(t) for t in read_times(spikes(tmp_path / "s.csv", times=times), request()).times_s] == [4, 4, 4]
    fine = [np.array([1.00004, 1.00004, 2.0, 3.0])] * 3
    assert [len(t) for t in read_times(spikes(tmp_path / "s.csv", times=fine), request()).times_s] == [3, 3, 3]


def test_a_region_is_that_of_the_whole_unit(tmp_path, caplog):
    names = ["gc", "nan", "BLA"]
    path = spikes(tmp_path / "s.csv", brain_area=lambda u, i: "" if i < 3 else names[u], size=lambda u, i: str(i))
    data = read_times(path, request())
    assert data.region == ["gc", "unassigned", "BLA"]
    assert "1 unit(s) without a region" in caplog.text
    assert list(data.columns) == ["brain_area"]  # a size that every spike has of its own says nothing of a unit
    with pytest.raises(InputError, match="spikes of unit u0 are in bla and in gc"):
        read_times(spikes(tmp_path / "s.csv", region=lambda u, i: "gc" if i % 2 else "bla"), request())
    with pytest.raises(InputError, match="no column 'area'"):
        read_times(path, request(region_column="area"))


def test_spikes_of_no_unit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"1200 spike\(s\) without a unit_id \('nan'\)"):
        read_times(spikes(tmp_path / "s.csv", ids=("0", "nan", "2")), request())


def test_a_clock_that_begins_again_is_refused_and_an_unsorted_list_is_not(tmp_path, plain):
    table = events(tmp_path / "e.csv")
    with pytest.raises(InputError, match=r"spikes of 3 of 3 units go on to 79.* s and begin again at 0"):
        counts(spikes(tmp_path / "s.csv", times=[t % 80 for t in TIMES]), events=table)
    mixed = [np.random.default_rng(0).permutation(t) for t in TIMES]
    np.testing.assert_array_equal(counts(spikes(tmp_path / "s.csv", times=mixed), events=table)[0], plain)
    later_first = [
        np.concatenate([t[t > 80], t[t <= 80]]) for t in TIMES
    ]  # two files of one clock, joined the wrong way round
    np.testing.assert_array_equal(counts(spikes(tmp_path / "s.csv", times=later_first), events=table)[0], plain)
    twice = [np.concatenate([t, t]) for t in TIMES]
    np.testing.assert_array_equal(counts(spikes(tmp_path / "s.csv", times=twice), events=table)[0], plain)


def test_edges_that_are_rows_of_their_own_are_refused(tmp_path):
    table = events(tmp_path / "e.csv", edge=["On", "off"] * (N_TRIALS // 2))
    with pytest.raises(InputError, match="column 'edge' tells beginnings from ends"):
        counts(spikes(tmp_path / "s.csv"), events=table)


def test_an_interval_that_ends_before_it_begins_is_refused(tmp_path):
    from glm_rates.fit.trials import recorded_intervals

    data = read_times(spikes(tmp_path / "s.csv"), request())
    for spoiled in ({"invalid": np.array([[50.0, 40.0]])}, {"observed": [np.array([[0, 90], [150, 100]]), None, None]}):
        with pytest.raises(InputError, match=r"from (50|150) to (40|100) s ends before it begins"):
            recorded_intervals(data._replace(**spoiled), "s.csv")


def test_units_are_selected_whatever_blanks_their_cells_end_with(tmp_path):
    path = spikes(tmp_path / "s.csv", quality=lambda u, i: ("good ", "good", "mua")[u])
    assert len(read_times(path, request(units="quality == 'good'")).unit_id) == 2


def test_labels_are_one_stimulus_however_a_number_is_spelled(tmp_path, caplog):
    path = spikes(tmp_path / "s.csv")
    labels = [("1", "1.0", "2", "02")[i % 4] for i in range(N_TRIALS)]
    _, params, _ = counts(path, events=events(tmp_path / "e.csv", labels=labels))
    assert params["tastes"] == ["1", "2"]
    labels = [("Water", "water ", "n/a", "<undefined>")[i % 4] for i in range(N_TRIALS)]
    _, params, arrays = counts(path, events=events(tmp_path / "e.csv", labels=labels))
    assert params["tastes"] == ["Water", "water"]
    assert len(arrays["taste"]) == N_TRIALS // 2
    assert "the labels 'Water', 'water' differ only in case or spaces: they are 2 stimuli" in caplog.text


def test_the_align_column_has_the_unit_of_its_name(tmp_path, plain):
    path = spikes(tmp_path / "s.csv")
    table = events(tmp_path / "e.csv", times=EVENTS * 1000, name="odor_on_ms")
    np.testing.assert_array_equal(counts(path, events=table, align_column="odor_on_ms")[0], plain)
    table = events(tmp_path / "e.csv", times=EVENTS * 30_000, name="on_samples")
    found = counts(path, events=table, align_column="on_samples", sampling_rate=30_000.0)[0]
    np.testing.assert_array_equal(found, plain)


def laser_columns(kind):
    lit = np.arange(N_TRIALS) % 3 == 0
    if kind == "lag":
        return {"laser": lit, "laser_lag_ms": 700 * lit, "laser_duration_ms": 300 * lit}
    if kind == "clock":
        start = np.where(lit, EVENTS + 0.7, np.nan)
        return {"opto": lit.astype(int), "opto_start_time": start, "opto_stop_time": start + 0.3}
    return {"laser_start_s": np.where(lit, EVENTS + 0.7, np.nan), "laser_stop_s": np.where(lit, EVENTS + 1, np.nan)}


@pytest.mark.parametrize("kind", ["lag", "clock", "times alone"])
def test_the_laser_of_an_events_table_is_used(tmp_path, kind):
    path, table = spikes(tmp_path / "s.csv"), events(tmp_path / "e.csv", **laser_columns(kind))
    _, params, arrays = counts(path, events=table, laser="regressor")
    lit = arrays["trial"] % 3 == 0
    assert params["laser"]
    np.testing.assert_allclose(arrays["laser"].sum(axis=1), 12 * lit, atol=1e-6)
    assert np.flatnonzero(arrays["laser"][lit][0] > 1e-6).tolist() == [params["onset_bin"] + 28 + i for i in range(12)]
    _, _, dark = counts(path, events=table, laser="exclude")
    assert sorted(dark["trial"].tolist()) == [i for i in range(N_TRIALS) if i % 3]


def test_a_laser_option_without_a_laser_column_is_refused(tmp_path):
    path = spikes(tmp_path / "s.csv")
    with pytest.raises(InputError, match="--laser exclude: no column of the events is called laser"):
        counts(path, events=events(tmp_path / "e.csv"), laser="exclude")
    flagged = events(tmp_path / "e.csv", laser=["yes", "no"] * 12)
    assert len(counts(path, events=flagged, laser="exclude")[0]) == 12
    with pytest.raises(InputError, match="expected the columns laser_lag_ms and laser_duration_ms"):
        counts(path, events=flagged, laser="regressor")
    with pytest.raises(InputError, match="'maybe' does not say whether the laser was on"):
        counts(path, events=events(tmp_path / "e.csv", laser=["yes", "maybe"] * 12), laser="exclude")
    assert (
        len(counts(path, events=events(tmp_path / "e.csv", light=["left", "right"] * 12))[0]) == N_TRIALS
    )  # a stimulus
    with pytest.raises(InputError, match=r"is not said by one column 'laser' .there are photostim_power"):
        counts(path, events=events(tmp_path / "e.csv", photostim_power=["5", "N/A"] * 12), laser="exclude")


def new_nwb(path, obs=None, electrodes=None, unit_columns=None, **trial_columns):
    pynwb = pytest.importorskip("pynwb")
    nwb = pynwb.NWBFile("a test", "id", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    for probe, place in electrodes or ():
        device = nwb.create_device(probe)
        group = nwb.create_electrode_group(probe, "a probe", "unknown", device)
        for i in range(3):
            nwb.add_electrode(group=group, location=place, id=i, enforce_unique_id=False)
    for name in unit_columns or {}:
        nwb.add_unit_column(name, name)
    for unit, part in enumerate(TIMES):
        more = {} if obs is None else {"obs_intervals": obs}
        nwb.add_unit(spike_times=part, **more, **{name: v[unit] for name, v in (unit_columns or {}).items()})
    for name in ("taste", *trial_columns):
        nwb.add_trial_column(name, name)
    for i, start in enumerate(EVENTS):
        row = {name: column[i] for name, column in trial_columns.items()}
        nwb.add_trial(start_time=start, stop_time=start + 3, taste=LABELS[i], **row)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path


@pytest.mark.parametrize(
    "obs", [[[0.0, 0.0]], [[10.0 * i, 10 * i + 10 - 1 / 30000] for i in range(16)], [[0.0, np.inf]], [[np.nan, np.nan]]]
)
def test_intervals_that_leave_nothing_out_change_nothing(tmp_path, plain, obs):
    """Placeholders of no length, blocks that end at their last sample, open ends."""
    found, _, arrays = counts(new_nwb(tmp_path / "s.nwb", obs=obs))
    assert "observed" not in arrays
    np.testing.assert_array_equal(found, plain)


def test_intervals_without_an_index_are_one_a_unit(tmp_path):
    path = new_nwb(tmp_path / "s.nwb")
    with h5py.File(path, "a") as file:
        file["units/obs_intervals"] = np.array([[0.0, 60.0], [0, 150], [0, 150]])
    _, params, arrays = counts(path)
    seen = arrays["observed"][:, slice(*params["window"])].any(axis=1)
    assert seen.sum(axis=0).tolist() == [10, N_TRIALS, N_TRIALS]  # the tenth window begins at 58.5 s


def test_intervals_on_another_clock_are_refused_with_both_ranges(tmp_path):
    path = new_nwb(tmp_path / "s.nwb", obs=[[60_000.0, 150_000.0]])
    with pytest.raises(InputError, match="observed between 60000 and 150000: is it the same unit of time"):
        counts(path)


def test_vectors_of_matlab_are_columns(tmp_path, plain):
    path = new_nwb(tmp_path / "s.nwb")
    with h5py.File(path, "a") as file:
        for name, shape in (("intervals/trials/start_time", (-1, 1)), ("units/spike_times", (1, -1)),
                            ("units/spike_times_index", (-1, 1)), ("intervals/trials/id", (-1, 1))):  # fmt: skip
            values, attrs = file[name][:], dict(file[name].attrs)
            del file[name]
            file[name] = values.reshape(shape)
            for key, value in attrs.items():
                file[name].attrs[key] = value
    np.testing.assert_array_equal(counts(path)[0], plain)


def test_times_from_the_start_of_each_trial_are_put_on_the_clock(tmp_path, caplog):
    after = [0.3 + 0.01 * i for i in range(N_TRIALS)]
    path = new_nwb(tmp_path / "s.nwb", odor_on=after, odor_clock=EVENTS + after)
    expected = counts(path, align_column="odor_clock")[0]
    assert "counts from the start of each trial" not in caplog.text
    np.testing.assert_array_equal(counts(path, align_column="odor_on")[0], expected)
    assert "odor_on counts from the start of each trial (0 to 0.53 s)" in caplog.text


@pytest.mark.parametrize("columns", [{"location": [100.5, 101.5, 102.5]}, {"location": [[1.0, 2.0, 3.0]] * 3},
                                     {"peak_channel_id": [0, 1, 2]}])  # fmt: skip
def test_what_names_no_region_gives_none(tmp_path, caplog, columns):
    """Depths, positions in space, and channel numbers that two probes have."""
    path = new_nwb(tmp_path / "s.nwb", electrodes=[("A", "CA1"), ("B", "V1")], unit_columns=columns)
    assert read_nwb(path, request()).region == ["all"] * 3
    assert "regions cannot be read from" in caplog.text


def test_the_laser_of_nwb_trials_is_excluded(tmp_path):
    path = new_nwb(tmp_path / "s.nwb", laser=[i % 2 == 0 for i in range(N_TRIALS)])
    assert len(counts(path, laser="exclude")[0]) == N_TRIALS // 2


@pytest.fixture
def folder(recording, tmp_path):
    shutil.copytree(recording, tmp_path / "copy")
    return tmp_path / "copy"


def change(folder, ending, **changes):
    path = folder / f"simulated{ending}"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_rows(folder, edit):
    with open(folder / "trial_info_frame.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        lit = int(row["taste_rel_trial_num"]) % 2 == 0
        row.update(laser="True" if lit else "", laser_lag=0, laser_duration=75000 if lit else "")
        edit(row, lit)
    with open(folder / "trial_info_frame.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    "edit",
    [
        lambda row, lit: row.update(laser="yes" if lit else "no"),
        lambda row, lit: row.update(laser="2" if lit else "0"),
        lambda row, lit: row.update(dig_in_name_taste=row["dig_in_name_taste"].replace("board-", "")),
        lambda row, lit: row.update(taste_rel_trial_num=int(row["taste_rel_trial_num"]) + 1),
    ],
    ids=["yes", "a number", "dig-ins called otherwise", "trials from 1"],
)
def test_laser_trials_are_left_out_however_they_are_written(folder, edit):
    change_rows(folder, edit)
    _, arrays = stage.extract_blech(folder, request(laser="exclude"))
    assert set(arrays["trial"] % 2) == {1}
    assert len(arrays["trial"]) == 8


def test_a_table_of_trials_that_names_other_tastes_is_refused(folder):
    change_rows(folder, lambda row, lit: row.update(dig_in_name_taste="x", taste="y"))
    with pytest.raises(InputError, match=r"dig-ins are called x; \.info calls them board-DIN-09, board-DIN-10"):
        stage.extract_blech(folder, request(laser="exclude"))


def test_parameters_in_other_units_are_checked_against_the_arrays(folder, caplog):
    whole = stage.extract_blech(folder, request())
    change(folder, ".params", spike_array_durations=[2, 5], sampling_rate=30)
    params, arrays = stage.extract_blech(folder, request())
    np.testing.assert_array_equal(arrays["counts"], whole[1]["counts"])
    assert params["onset_bin"] == whole[0]["onset_bin"]
    assert "are seconds: 2 s before the stimulus" in caplog.text
    assert "sampling_rate in .params is 30: taken as kHz" in caplog.text
    change(folder, ".params", spike_array_durations=[1000, 5000])
    with pytest.raises(InputError, match="1000 and 5000 ms, the spike arrays have 7000 columns"):
        stage.extract_blech(folder, request())


def test_arrays_of_rates_are_no_spikes(folder):
    with h5py.File(folder / "simulated.h5", "a") as file:
        file["spike_trains/board-DIN-09/spike_array"][0] *= 1000
    with pytest.raises(InputError, match="values up to 1000 in a millisecond; expected 0 and 1"):
        stage.extract_blech(folder, request())


def test_an_electrode_in_two_regions_has_none(folder, caplog):
    change(folder, ".info", electrode_layout={"gc": [list(range(34))], "bla": [list(range(33, 64))]})
    params, _ = stage.extract_blech(folder, request())
    assert "electrode(s) 33 stand in two regions" in caplog.text
    assert "bla" not in params["regions"][:3]


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("dir", {"events": "o.csv"}, "is a blech_clust directory; --events is for a spike table"),
        ("dir", {"label_column": "x"}, "--label is for an NWB file or a spike table with --events"),
        ("s.nwb", {"events": "e.csv"}, "is an NWB file; --events is for a spike table"),
        ("s.csv", {"intervals": "x"}, "is a spike table; --intervals is for an NWB file"),
        ("s.csv", {"align_column": "x"}, "--align is for an NWB file or a spike table with --events"),
    ],
)
def test_an_option_that_says_nothing_of_the_input_is_refused(tmp_path, name, more, said):
    (tmp_path / "dir").mkdir()
    config = options.ExtractConfig(data=tmp_path / name, output=tmp_path / "out", **more)
    with pytest.raises(InputError, match=said):
        pipeline.extract(config.data, config, tmp_path)
