"""Directories of blech_clust in every form, and mistakes in them as one line."""

import json
import shutil

import h5py
import numpy as np
import pytest

from glm_rates.files import consistency
from glm_rates.files.blech import read_recording
from glm_rates.fit import extract as stage
from hdf5io.errors import InputError

OPTIONS = {
    "bin_size": 25,
    "time_lims": [1500, 4500],
    "time_lims_from_stimulus": None,
    "laser": "include",
    "history_window": 250,
    "coupling_window": 125,
}


@pytest.fixture
def folder(recording, tmp_path):
    shutil.copytree(recording, tmp_path / "copy")
    (tmp_path / "copy" / "result.json").unlink()
    return tmp_path / "copy"


def edit_info(folder, change):
    path = folder / "simulated.info"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def extract(folder, **changes):
    return stage.extract_blech(folder, {**OPTIONS, **changes})


def test_counts_are_the_spikes_of_the_slice(folder):
    params, arrays = extract(folder)
    with h5py.File(folder / "simulated.h5") as h5:
        spikes = h5["spike_trains/board-DIN-09/spike_array"][:]
    by_hand = spikes[:, :, 1250:4500].reshape(9, 5, -1, 25).sum(axis=3).transpose(0, 2, 1)
    np.testing.assert_array_equal(arrays["counts"][:9], by_hand)
    assert params["window"] == [10, 130]
    assert params["start_ms"] == 1250
    assert arrays["onset"][0] == (2000 - 1250) // 25


def test_the_onset_comes_from_params_and_the_window_may_be_given_from_it(folder):
    (folder / "simulated.params").write_text(json.dumps({"spike_array_durations": [1000, 6000]}))
    _, arrays = extract(folder, time_lims_from_stimulus=[-500, 2500])
    assert arrays["counts"].shape[1] == 130
    assert arrays["onset"][0] == 30  # 10 bins of history and 500 ms before the stimulus


def test_a_window_at_the_very_start_says_that_history_is_missing(folder, caplog):
    with caplog.at_level("WARNING", "glm_rates"):
        params, _ = extract(folder, time_lims=[100, 3100])
    assert params["window"] == [4, 124]
    assert "only 100 ms before the window" in caplog.text


def test_old_info_with_integer_dig_ins_is_read(folder):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        h5["spike_trains"].move("board-DIN-09", "dig_in_12")
        h5["spike_trains"].move("board-DIN-10", "dig_in_13")
    edit_info(folder, lambda info: info.update(taste_params={"dig_ins": [12, 13], "trial_count": 9}))
    assert [t.dig_in for t in read_recording(folder).tastes] == ["dig_in_12", "dig_in_13"]


def test_an_unlisted_electrode_is_unassigned_and_an_empty_region_shifts_nothing(folder, caplog):
    layout = {"Empty": [[90]], "GC": [[0, 1], [2]], "emg": [[32]], "none": [[33]], "bla": [[33]]}
    edit_info(folder, lambda info: info.update(electrode_layout=layout))
    with caplog.at_level("WARNING", "glm_rates"):
        recording = read_recording(folder)
    assert recording.unit_region == ["gc", "gc", "gc", "unassigned", "unassigned"]
    assert recording.regions == ["empty", "gc", "bla"]
    assert "2 unit(s) on no listed electrode" in caplog.text


def test_ragged_trials_and_a_dig_in_without_a_role(folder, caplog):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        array = h5["spike_trains/board-DIN-10/spike_array"][:7]
        del h5["spike_trains/board-DIN-10/spike_array"]
        h5["spike_trains/board-DIN-10/spike_array"] = array
        h5["spike_trains/board-DIN-15/spike_array"] = array
    with caplog.at_level("INFO", "glm_rates"):
        params, arrays = extract(folder)
    assert np.bincount(arrays["taste"]).tolist() == [9, 7]
    assert params["tastes"] == ["water", "sucrose"]
    assert "board-DIN-15 has spike trains but no taste role" in caplog.text


@pytest.mark.parametrize("old", [False, True])
def test_laser_trials_are_found_in_new_and_old_files(folder, old):
    if old:
        (folder / "trial_info_frame.csv").unlink()
        with h5py.File(folder / "simulated.h5", "a") as h5:
            h5["spike_trains/board-DIN-10/laser_durations"] = np.where(np.arange(9) == 2, 500.0, 0.0)
            h5["spike_trains/board-DIN-10/laser_onset_lag"] = np.full(9, 100.0)
    else:
        path = folder / "trial_info_frame.csv"
        lines = path.read_text().splitlines()
        row = next(i for i, line in enumerate(lines) if ",board-DIN-10," in line and line.split(",")[6] == "2")
        lines[row] = lines[row].replace(",False,,,0,0", ",True,,,15000,3000")
        path.write_text("\n".join(lines))
    _, arrays = extract(folder)
    lit = np.flatnonzero(arrays["laser"].any(axis=1))
    assert lit.tolist() == [9 + 2]
    on = np.flatnonzero(arrays["laser"][11])
    assert (on[0], len(on)) == ((2100 - 1250) // 25, 20)
    params, regressor = extract(folder, laser="regressor")
    assert params["laser"]
    assert len(regressor["taste"]) == 18
    params, fewer = extract(folder, laser="exclude")
    assert len(fewer["taste"]) == 17
    assert not params["laser"]


def test_check_finds_permuted_taste_labels(tmp_path, run_command):
    common = ["--n-units", 4, "--n-tastes", 3, "--n-trials", 4]
    assert run_command("glm_rates", "simulate", "--output", tmp_path / "good", *common).returncode == 0
    assert (
        run_command("glm_rates", "simulate", "--output", tmp_path / "bad", *common, "--permute-labels").returncode == 0
    )
    assert consistency.check_recording(tmp_path / "good").problems == []
    problems = consistency.check_recording(tmp_path / "bad").problems
    assert len(problems) == 2
    assert all("taste labels permuted" in p for p in problems)
    done = run_command("glm_rates", "check", tmp_path / "bad")
    assert done.returncode == 3
    assert "2 problem(s)" in done.stdout


def test_check_finds_wrong_counts_unlisted_electrodes_and_silent_units(folder):
    edit_info(folder, lambda info: info["taste_params"].update(trial_count=[9, 30]))
    edit_info(folder, lambda info: info.update(electrode_layout={"gc": [[0, 1, 2]]}))
    with h5py.File(folder / "simulated.h5", "a") as h5:
        for name in h5["spike_trains"]:
            h5[f"spike_trains/{name}/spike_array"][:, 1] = 0
    text = "; ".join(consistency.check_recording(folder).problems)
    assert "9 trials in the spike array, 30 in .info" in text
    assert "units on an unlisted electrode: 3, 4" in text
    assert "silent units (fewer than 2 spikes): 1" in text


def test_a_window_outside_the_trial_names_the_stimulus(folder):
    with pytest.raises(
        InputError, match=r"the window 1500-9000 ms does not fit a trial of 7000 ms \(stimulus at 2000 ms\)"
    ):
        extract(folder, time_lims=[1500, 9000])


def test_stage_one_runs_on_pytables_alone(folder, monkeypatch):
    """The adapter gives the same arrays through PyTables, where h5py is not installed."""
    pytest.importorskip("tables")
    _, by_h5py = extract(folder)
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    _, by_tables = extract(folder)
    np.testing.assert_array_equal(by_h5py["counts"], by_tables["counts"])
