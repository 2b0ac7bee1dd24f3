"""blech_clust directories as labs have them: lasers in samples, repacked files, other sampling rates, permuted labels, padding."""

import csv
import json
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from glm_rates import config as options
from glm_rates.files import consistency
from glm_rates.fit import extract as stage
from glm_rates.model import design, effects
from glm_rates.model import population as model
from hdf5io.errors import InputError

RATE = 30_000


def request(**changes):
    return {**options.ExtractConfig(data="x", output="y").model_dump(mode="json"), **changes}


@pytest.fixture
def folder(recording, tmp_path):
    shutil.copytree(recording, tmp_path / "copy")
    (tmp_path / "copy" / "result.json").unlink()
    return tmp_path / "copy"


def rows_of(folder):
    with open(folder / "trial_info_frame.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def write_rows(folder, rows):
    with open(folder / "trial_info_frame.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def shine(folder, lag_ms, duration_ms, rate=RATE, ms_columns=False, every=2):
    """Laser on every second trial of each taste, the columns as `_merge_trial_info` of blech_clust computes them."""
    rows = rows_of(folder)
    for row in rows:
        lit = int(row["taste_rel_trial_num"]) % every == 0
        row["laser"] = "True" if lit else ""
        row["laser_duration"] = duration_ms * rate / 1000 if lit else ""
        row["laser_lag"] = lag_ms * rate / 1000 if lit else ""
        if ms_columns:  # corrected towards what .info asks for: these win
            row["laser_duration_ms"], row["laser_lag_ms"] = (duration_ms, lag_ms) if lit else (0, 0)
            row["laser_duration"], row["laser_lag"] = (duration_ms * 31, lag_ms * 31) if lit else ("", "")
    write_rows(folder, rows)


def set_rate(folder, rate):
    path = folder / "simulated.params"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sampling_rate": rate}))


@pytest.mark.parametrize("ms_columns", [False, True])
@pytest.mark.parametrize("rate", [30_000, 20_000])
@pytest.mark.parametrize(("lag", "duration"), [(0, 2500), (700, 300), (-200, 500)])
def test_the_laser_is_on_when_it_was(folder, lag, duration, rate, ms_columns):
    shine(folder, lag, duration, rate, ms_columns)
    set_rate(folder, rate)
    params, arrays = stage.extract_blech(folder, request(laser="regressor"))
    lit = arrays["trial"] % 2 == 0
    on = arrays["laser"] * 25
    first = params["start_ms"]
    expected = np.clip(np.minimum(2000 + lag + duration, first + 130 * 25) - (2000 + lag), 0, None)
    np.testing.assert_allclose(on[lit].sum(axis=1), expected)
    np.testing.assert_allclose(np.flatnonzero(on[0])[0], (2000 + lag - first) // 25)
    assert not on[~lit].any()
    assert params["laser"]
    _, dark = stage.extract_blech(folder, request(laser="exclude"))
    assert set(dark["trial"] % 2) == {1}


def test_the_flag_excludes_and_a_laser_outside_the_trial_is_told(folder, caplog):
    shine(folder, 4800, 1000)  # begins after the trial of 7 s has ended
    with caplog.at_level("WARNING", "glm_rates"):
        _, arrays = stage.extract_blech(folder, request(laser="exclude"))
    assert set(arrays["trial"] % 2) == {1}
    shine(folder, 6000, 1000)
    with caplog.at_level("WARNING", "glm_rates"):
        params, _ = stage.extract_blech(folder, request(laser="regressor"))
    assert "5 laser trial(s) whose laser lies outside the trial of 7000 ms (trial 0: 6000 to 7000 ms" in caplog.text
    assert "the laser is never on within the window" in caplog.text
    assert not params["laser"]


@pytest.mark.parametrize(("lag", "duration"), [(0, 2500), (700, 300), (-200, 500)])
def test_the_laser_coefficient_is_the_true_gain(folder, lag, duration):
    """Spikes in the laser thinned to 15 %: log gain -1.90, within two standard errors."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "simulated.h5", "a") as h5:
        for name in h5["spike_trains"]:
            array = h5[f"spike_trains/{name}/spike_array"]
            spikes = array[:]
            part = spikes[::2, :, 2000 + lag : 2000 + lag + duration]
            part *= rng.random(part.shape) < 0.15
            array[:] = spikes
    shine(folder, lag, duration)
    params, arrays = stage.extract_blech(folder, request(laser="regressor"))
    made = design.Trials(arrays["counts"], arrays["taste"], arrays["onset"], arrays["laser"])
    settings = model.Settings(laser=True)
    whole = model.make_design(made, design.Window(*params["window"]), settings)
    found = effects.filters(whole, model.fit_design(whole, settings), 25, 2)
    error = (found["laser"][:, 0] + 1.90) / found["laser_se"][:, 0]
    assert np.abs(error).max() < 2.8  # five units: two standard errors each, now and then more
    assert np.sqrt((error**2).mean()) < 1.6


def scale_samples(folder, factor):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        for unit in h5["sorted_units"].values():
            samples = (unit["times"][:] * factor).astype(np.int32)
            del unit["times"]
            unit["times"] = samples
    rows = rows_of(folder)
    for row in rows:
        row["start_taste"], row["end_taste"] = (
            int(int(row["start_taste"]) * factor),
            int(int(row["end_taste"]) * factor),
        )
    write_rows(folder, rows)


def permute(folder):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        a, b = (h5[f"spike_trains/board-DIN-{n}/spike_array"][:] for n in ("09", "10"))
        h5["spike_trains/board-DIN-09/spike_array"][:], h5["spike_trains/board-DIN-10/spike_array"][:] = b, a


@pytest.mark.parametrize("rate", [30_000, 20_000])
def test_permuted_labels_are_found_at_any_sampling_rate(folder, rate):
    scale_samples(folder, rate / RATE)
    set_rate(folder, rate)
    assert not [p for p in consistency.check_recording(folder).problems if "permuted" in p]
    permute(folder)
    assert len([p for p in consistency.check_recording(folder).problems if "permuted" in p]) == 2


def test_a_comparison_at_the_wrong_rate_is_no_all_clear(folder):
    scale_samples(folder, 2 / 3)
    assert any(
        "no spike array agrees with /sorted_units at 30000" in note
        for note in consistency.check_recording(folder).notes
    )


def test_infer_tells_permuted_labels_and_stops_with_strict(folder, tmp_path, run_command):
    permute(folder)
    chosen = ["--output", tmp_path / "r.h5", "--cv-folds", 0, "--no-plots"]
    done = run_command("glm_rates", "infer", folder, *chosen, "--strict")
    assert done.returncode == 3
    assert "taste labels permuted" in done.stdout
    assert not (tmp_path / "r.h5").exists()
    done = run_command("glm_rates", "infer", folder, *chosen)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("taste labels permuted") == 2


def test_a_file_repacked_with_blosc_is_read_through_pytables(folder):
    """As blech_clust's own repacking does: ``ptrepack --complevel=9 --complib=blosc``."""
    pytest.importorskip("tables")
    _, before = stage.extract_blech(folder, request())
    path = folder / "simulated.h5"
    start = "from tables.scripts.ptrepack import main; main()"
    command = [sys.executable, "-c", start, "--complevel=9", "--complib=blosc", f"{path}:/", f"{folder / 're.h5'}:/"]
    subprocess.run(command, check=True, capture_output=True)
    path.unlink()
    with h5py.File(folder / "re.h5") as h5, pytest.raises(OSError, match=r"filter|plugin|read"):
        h5["spike_trains/board-DIN-09/spike_array"][:]
    _, after = stage.extract_blech(folder, request())
    np.testing.assert_array_equal(before["counts"], after["counts"])
    assert consistency.check_recording(folder).problems == []


def test_padded_trials_are_not_recorded_and_check_names_them(folder, caplog):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        h5["spike_trains/board-DIN-10/spike_array"][7:] = np.nan
        h5["spike_trains/board-DIN-09/spike_array"][2, :, 5000:] = np.nan
        h5["spike_trains/board-DIN-09/spike_array"][3, 1, 3000:] = np.nan
    problems = "; ".join(consistency.check_recording(folder).problems)
    assert "board-DIN-10: 2 of 9 trials hold NaN (padded, not recorded?): 7, 8" in problems
    with caplog.at_level("WARNING", "glm_rates"):
        _, arrays = stage.extract_blech(folder, request())
    assert np.bincount(arrays["taste"]).tolist() == [9, 7]
    assert arrays["trial"][arrays["taste"] == 1].tolist() == list(range(7))
    assert not arrays["observed"][3, (3000 - 1250) // 25 :, 1].any()
    assert arrays["observed"][3, :, 0].all()
    assert "NaN in trial(s) 7, 8 (all of it in 2): taken as not recorded" in caplog.text


def test_a_trial_in_which_the_headstage_fell_off_is_told(folder, caplog):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        h5["spike_trains/board-DIN-10/spike_array"][4] = 0
    assert "have no spike of any unit (not recorded?): 4" in "; ".join(consistency.check_recording(folder).problems)
    with caplog.at_level("WARNING", "glm_rates"):
        stage.extract_blech(folder, request())
    assert "1 of 18 trials have no spike of any unit" in caplog.text


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("file", "change", "regions"),
    [
        ("params", lambda d: d.update(spike_array_durations=None), {"gc", "bla"}),
        ("info", lambda d: d["electrode_layout"].update(gc2=None), {"gc", "bla"}),
        ("info", lambda d: d["electrode_layout"].update(bla={"0": list(range(32, 64))}), {"gc", "bla"}),
        ("info", lambda d: d.update(electrode_layout=None), {"unassigned"}),
    ],
)
def test_odd_layouts_are_read_and_checked(folder, file, change, regions):
    edit(folder / f"simulated.{file}", change)
    consistency.check_recording(folder)
    params, _ = stage.extract_blech(folder, request())
    assert set(params["regions"]) == regions


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (
            "params",
            lambda d: d.update(spike_array_durations=-1),
            r"spike_array_durations in .params is -1; expected \[ms before",
        ),
        ("params", lambda d: d.update(spike_array_durations=["x", 1]), "spike_array_durations in .params is"),
        (
            "info",
            lambda d: d["electrode_layout"].update(gc=["x"]),
            "electrode_layout of 'gc' holds 'x'; expected electrode numbers",
        ),
        ("info", lambda d: d.update(electrode_layout=[1]), "electrode_layout is list; expected regions"),
        ("info", lambda d: d.update(taste_params=5), "names no tastes"),
        ("info", lambda d: d["taste_params"].update(tastes="water"), "'water' tastes for 2 dig-ins"),
    ],
)
def test_metadata_of_another_type_is_one_line(folder, file, change, said):
    edit(folder / f"simulated.{file}", change)
    for read in (consistency.check_recording, lambda path: stage.extract_blech(path, request())):
        with pytest.raises(InputError, match=said):
            read(folder)


def test_json_nested_thousands_deep_is_one_line(folder):
    (folder / "simulated.info").write_text("[" * 100_000)
    with pytest.raises(InputError, match="not readable as JSON"):
        consistency.check_recording(folder)


def replace_array(folder, make):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        name = "spike_trains/board-DIN-09/spike_array"
        del h5[name]
        make(h5, name)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda h5, n: h5.create_dataset(n, data=np.zeros((9, 7000))), r"has shape \(9, 7000\), 3 axes are expected"),
        (lambda h5, n: h5.create_dataset(n, data=1.0), r"has shape \(\), 3 axes are expected"),
        (lambda h5, n: h5.create_dataset(n, data=h5py.Empty("f8")), "has shape None, 3 axes are expected"),
        (lambda h5, n: h5.create_group(n), "is a group, an array is expected"),
        (lambda h5, n: h5.create_dataset(n, data=np.full((9, 5, 70), b"x")), "holds .S1, numbers expected"),
        (lambda h5, n: h5.create_dataset(n, data=np.zeros((9, 5, 70), [("a", "f4")])), "numbers expected"),
        (
            lambda h5, n: h5.create_dataset(n, (10**6, 5, 7000), "f8", chunks=(1, 5, 7000)),
            "claims 280000 GB|claims 280 GB|claims",
        ),
        (lambda h5, n: h5.__setitem__(n, h5py.SoftLink("/nowhere")), "no spike_array for board-DIN-09"),
        (lambda h5, n: h5.__setitem__(n, h5py.SoftLink("/" + n)), "no spike_array for board-DIN-09"),
        (lambda h5, n: h5.__setitem__(n, h5py.ExternalLink("no.h5", "/x")), "no spike_array for board-DIN-09"),
    ],
)
def test_a_spike_array_of_another_kind_is_one_line(folder, make, said):
    replace_array(folder, make)
    for read in (consistency.check_recording, lambda path: stage.extract_blech(path, request())):
        with pytest.raises(InputError, match=said):
            read(folder)


def test_a_window_that_is_no_multiple_of_the_bin_is_said_and_stored_as_used(folder, tmp_path, run_command):
    chosen = ["--bin_size", 30, "--history_window", 260, "--time_lims", 1500, 4510, "--cv-folds", 0, "--no-plots"]
    done = run_command("glm_rates", "infer", folder, *chosen, "--output", tmp_path / "r.h5")
    assert done.returncode == 0, done.stderr
    assert "history_window of 260 ms is no multiple of 30 ms bins: 240 ms are used" in done.stderr
    assert "the window 1500-4510 ms is no multiple of 30 ms bins: it ends at 4500 ms" in done.stderr
    with h5py.File(tmp_path / "r.h5") as h5:
        assert h5["history_window"][:].tolist() == [240]
        assert h5["time_lims"][:].tolist() == [1500, 4500]
        assert len(h5["populations/all/history_lag_ms"]) == 8


def test_units_are_selected_by_the_columns_of_the_descriptor(folder):
    params, arrays = stage.extract_blech(folder, request(units="electrode_number < 32 and firing_rate > 0"))
    assert params["regions"] == ["gc"] * arrays["counts"].shape[2]
    assert 0 < arrays["counts"].shape[2] < 5
    assert all(number < 32 for number in params["units"]["electrode_number"])


def in_order(folder):
    """Start of each trial's stimulus in s, by dig-in and trial of the dig-in."""
    rows = sorted(rows_of(folder), key=lambda r: (r["dig_in_name_taste"], int(r["taste_rel_trial_num"])))
    return np.array([float(r["start_taste"]) / RATE for r in rows])


@pytest.mark.parametrize("column", ["s", "samples"])
def test_a_unit_that_fell_off_is_no_silent_unit(folder, tmp_path, column):
    """The headstage of unit 1 was off for some trials: no bin of it counts there, all others do."""
    onset = in_order(folder)
    low, high = np.sort(onset)[5] - 3, np.sort(onset)[9] - 3  # between trials, which are 10 s apart
    scale = 1 if column == "s" else RATE
    lines = [
        f"{u},{a * scale},{b * scale}" for u in range(5) for a, b in ([(0, 1e4)] if u != 1 else [(0, low), (high, 1e4)])
    ]
    (tmp_path / "observed.csv").write_text(f"unit_id,start_{column},stop_{column}\n" + "\n".join(lines))
    _, complete = stage.extract_blech(folder, request())
    _, arrays = stage.extract_blech(folder, request(observed=str(tmp_path / "observed.csv")))
    off = (onset > low) & (onset < high)
    assert off.sum() == 4
    np.testing.assert_array_equal(~arrays["observed"][:, :, 1].any(axis=1), off)
    assert arrays["observed"][~off].all()
    assert arrays["observed"][:, :, [0, 2, 3, 4]].all()
    assert not arrays["counts"][off, :, 1].any()
    np.testing.assert_array_equal(arrays["counts"][~off], complete["counts"][~off])


def test_trials_outside_all_observed_time_are_left_out_and_another_clock_is_refused(folder, tmp_path, caplog):
    onset, table = np.sort(in_order(folder)), tmp_path / "observed.csv"
    table.write_text(f"start_s,stop_s\n{onset[3] - 5},1e5\n")
    _, arrays = stage.extract_blech(folder, request(observed=str(table)))
    assert len(arrays["taste"]) == len(onset) - 3
    assert "observed" not in arrays
    assert "3 of 18 trials left out" in caplog.text
    table.write_text("start_s,stop_s\n0,1\n")
    with pytest.raises(InputError, match="same unit of time and the same clock"):
        stage.extract_blech(folder, request(observed=str(table)))
    table.write_text("unit_id,start_s,stop_s\n77,0,1e5\n")
    with pytest.raises(InputError, match="no unit '77'"):
        stage.extract_blech(folder, request(observed=str(table)))
    (folder / "trial_info_frame.csv").unlink()
    with pytest.raises(InputError, match=r"trial_info_frame\.csv lacks"):
        stage.extract_blech(folder, request(observed=str(table)))


def unknown_filter(file, name):
    """Store an array as a compression that nobody here has would: its id in the file, its bytes unreadable."""
    data = np.asarray(file[name])
    attrs = dict(file[name].attrs)
    del file[name]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(data.shape)
    plist.set_filter(32999, h5py.h5z.FLAG_OPTIONAL)
    space, kind = h5py.h5s.create_simple(data.shape), h5py.h5t.py_create(data.dtype)
    made = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, plist))
    made.id.write_direct_chunk((0,) * data.ndim, b"\x01" * 64)
    for key, value in attrs.items():
        made.attrs[key] = value


@pytest.mark.parametrize("kind", ["directory", "nwb"])
def test_a_compression_that_nobody_has_is_one_line(folder, tmp_path, kind, run_command):
    if kind == "nwb":
        pynwb = pytest.importorskip("pynwb")
        import datetime

        nwb = pynwb.NWBFile("a test", "id", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        for unit in range(2):
            nwb.add_unit(spike_times=np.arange(200) * 0.5 + unit)
        for trial in range(12):
            nwb.add_trial(start_time=5.0 + 7 * trial, stop_time=8.0 + 7 * trial)
        with pynwb.NWBHDF5IO(tmp_path / "s.nwb", "w") as io:
            io.write(nwb)
        path, name, more = tmp_path / "s.nwb", "units/spike_times", ["--output", tmp_path / "rates.h5"]
    else:
        path, name, more = folder / "simulated.h5", "spike_trains/board-DIN-09/spike_array", []
    with h5py.File(path, "r+") as file:
        unknown_filter(file, name)
    done = run_command("glm_rates", "infer", folder if kind == "directory" else path, "--cv-folds", 0, *more)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if "32999" in line]
    assert len(lines) == 1
    assert name in lines[0]
    assert "hdf5plugin" in lines[0]
    assert "Traceback" not in done.stderr
