"""blech_clust's table of trials in the forms that its versions and its users leave: found, joined by dig-in, or refused by name."""

import csv
import json
import re
import shutil

import h5py
import numpy as np
import pytest

from glm_rates import config as options
from glm_rates.files import consistency
from glm_rates.files.blech import read_recording
from glm_rates.files.blech_trials import number_of
from glm_rates.fit import extract as stage
from hdf5io.errors import InputError

FRAME = "trial_info_frame.csv"


def request(**changes):
    return {**options.ExtractConfig(data="x", output="y").model_dump(mode="json"), **changes}


@pytest.fixture
def folder(recording, tmp_path):
    """A recording with the laser from the stimulus on for 2.5 s in every second trial of each taste."""
    shutil.copytree(recording, tmp_path / "copy")
    (tmp_path / "copy" / "result.json").unlink()
    change_rows(
        tmp_path / "copy",
        lambda row: row.update(laser="True" if lit(row) else "", laser_lag=0, laser_duration=75_000 * lit(row)),
    )
    return tmp_path / "copy"


def lit(row):
    return int(row["taste_rel_trial_num"]) % 2 == 0


def change_rows(folder, edit, mark=","):
    """Change each row in place; an edit that returns rows replaces it by them."""
    with open(folder / FRAME, newline="") as handle:
        rows = [new for row in csv.DictReader(handle) for new in (edit(row) or [row])]
    with open(folder / FRAME, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), delimiter=mark)
        writer.writeheader()
        writer.writerows(rows)


def change_info(folder, **taste_params):
    path = folder / "simulated.info"
    info = json.loads(path.read_text())
    info["taste_params"] = {**info["taste_params"], **taste_params}
    info["taste_params"] = {k: v for k, v in info["taste_params"].items() if v is not None}
    path.write_text(json.dumps(info))


def as_numbered_groups(folder):
    """The form of today's blech_clust: ``taste_params.dig_in_nums`` and groups ``dig_in_9``; the table has both number and name."""
    change_info(folder, dig_in_names=None, dig_in_nums=[9, 10])
    with h5py.File(folder / "simulated.h5", "a") as h5:
        for number in (9, 10):
            h5.move(f"spike_trains/board-DIN-{number:02d}", f"spike_trains/dig_in_{number}")
    change_rows(folder, lambda row: row.update(dig_in_num_taste=number_of(row["dig_in_name_taste"])))


def in_metadata(folder):
    (folder / "metadata").mkdir()
    (folder / FRAME).rename(folder / "metadata" / FRAME)


def without_flag(folder):
    change_rows(folder, lambda row: row.pop("laser") and None)


FORMS = {
    "dig_in_nums": as_numbered_groups,
    "in metadata/": in_metadata,
    "no flag, durations": without_flag,
    "semicolons": lambda folder: change_rows(folder, lambda row: None, ";"),
    "capital letters": lambda folder: (folder / FRAME).write_text((folder / FRAME).read_text().replace(",laser,", ",Laser,")),
    "byte order mark": lambda folder: (folder / FRAME).write_text("\ufeff" + (folder / FRAME).read_text()),
    "dig-ins by number alone": lambda folder: change_rows(
        folder, lambda row: row.update(dig_in_num_taste=float(number_of(row.pop("dig_in_name_taste"))), taste="")
    ),
    "dig-ins without board-": lambda folder: change_rows(
        folder, lambda row: row.update(dig_in_name_taste=row["dig_in_name_taste"].replace("board-", ""))
    ),
    "two pulses in a trial": lambda folder: change_rows(
        folder, lambda row: [row, {**row, "laser_lag": 3000, "laser_duration": 3000}] if row["laser"] else None
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_laser_trials_and_labels_are_found_in_every_form(folder, form):
    FORMS[form](folder)
    params, arrays = stage.extract_blech(folder, request(laser="exclude"))
    assert sorted(zip(arrays["taste"].tolist(), arrays["trial"].tolist())) == [
        (k, t) for k in (0, 1) for t in (1, 3, 5, 7)
    ]
    assert params["tastes"] == ["water", "sucrose"]
    found = consistency.check_recording(folder)
    assert not found.problems
    assert not found.notes  # the labels were checked
    assert [row["laser_trials"] for row in found.tastes] == [5, 5]


@pytest.mark.parametrize("form", ["dig_in_nums", "in metadata/", "dig-ins without board-", "dig-ins by number alone"])
def test_permuted_labels_are_found_in_every_form(folder, form):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        a, b = (h5[f"spike_trains/board-DIN-{n}/spike_array"][:] for n in ("09", "10"))
        h5["spike_trains/board-DIN-09/spike_array"][:], h5["spike_trains/board-DIN-10/spike_array"][:] = b, a
    FORMS[form](folder)
    params, _ = stage.extract_blech(folder, request())
    assert len(params["label_problems"]) == 2


def test_numbers_of_dig_ins_that_could_be_others_name_none(folder):
    """Indices 0 and 1 beside groups 9 and 10 are no numbers of dig-ins; the label joins them."""
    change_rows(folder, lambda row: row.update(dig_in_num_taste=int(row.pop("dig_in_name_taste") == "board-DIN-10")))
    assert len(stage.extract_blech(folder, request(laser="exclude"))[1]["trial"]) == 8
    change_rows(folder, lambda row: row.update(taste="x"))
    with pytest.raises(InputError, match=r"\.info calls them board-DIN-09, board-DIN-10"):
        stage.extract_blech(folder, request(laser="exclude"))


@pytest.mark.parametrize(
    ("name", "number"), [("board-DIN-09", "9"), ("dig_in_9", "9"), ("9.0", "9"), ("taste", "taste")]
)
def test_the_number_of_a_dig_in(name, number):
    assert number_of(name) == number


def test_places_that_count_all_trials_are_refused(folder):
    change_rows(folder, lambda row: row.update(taste_rel_trial_num=row["abs_trial_num"]))
    with pytest.raises(
        InputError,
        match=r"taste_rel_trial_num of board-DIN-\d+ reaches 1\d; expected the place of each trial among the 9",
    ):
        stage.extract_blech(folder, request(laser="exclude"))
    assert any("reaches" in problem for problem in consistency.check_recording(folder).problems)


def test_trials_that_were_cut_off_stay_in_the_table(folder, caplog):
    """The headstage fell off: arrays hold fewer trials than the table."""
    with h5py.File(folder / "simulated.h5", "a") as h5:
        for name in list(h5["spike_trains"]):
            short = h5[f"spike_trains/{name}/spike_array"][:6]
            del h5[f"spike_trains/{name}/spike_array"]
            h5[f"spike_trains/{name}/spike_array"] = short
    _, arrays = stage.extract_blech(folder, request(laser="exclude"))
    assert sorted(arrays["trial"].tolist()) == [1, 1, 3, 3, 5, 5]


def test_lasers_beside_the_spikes_count_where_the_table_has_none(folder, caplog):
    change_rows(folder, lambda row: row.update(laser="False", laser_duration=""))
    with h5py.File(folder / "simulated.h5", "a") as h5:
        for group in h5["spike_trains"].values():
            group["laser_durations"] = 2500.0 * (np.arange(10) % 2 == 0)  # one more than there are trials
            group["laser_onset_lag"] = np.zeros(10)
    _, arrays = stage.extract_blech(folder, request(laser="exclude"))
    assert set(arrays["trial"] % 2) == {1}
    assert "trial_info_frame.csv has no laser, laser_durations beside the spikes have: used" in caplog.text
    assert "has 10 values for 9 trials: the first count" in caplog.text


def test_an_option_for_lasers_that_finds_none_is_told(folder, caplog):
    change_rows(folder, lambda row: row.update(laser="", laser_duration=""))
    assert len(stage.extract_blech(folder, request(laser="exclude"))[1]["trial"]) == 18
    assert "no trial has the laser on: --laser exclude changes nothing" in caplog.text


def spoil_chunk(path, name, which):
    """Change the compressed bytes of one chunk, as a bad disk does."""
    with h5py.File(path) as h5:
        chunk = h5[name].id.get_chunk_info(which)
    content = bytearray(path.read_bytes())
    for at in range(chunk.byte_offset + 2, chunk.byte_offset + chunk.size):
        content[at] ^= 0x5A
    path.write_bytes(content)


def rechunk(path, name, chunks):
    with h5py.File(path, "a") as h5:
        values = h5[name][:]
        del h5[name]
        h5.create_dataset(name, data=values, chunks=chunks, compression="gzip")


@pytest.mark.parametrize("verb", ["check", "extract"])
@pytest.mark.parametrize("dig_in", ["board-DIN-09", "board-DIN-10"])
def test_a_damaged_compressed_chunk_is_one_line(folder, tmp_path, run_command, verb, dig_in):
    spoil_chunk(folder / "simulated.h5", f"spike_trains/{dig_in}/spike_array", 5)
    more = ["--output", tmp_path / "x", "--blech-clust-env", "none"] if verb == "extract" else []
    done = run_command("glm_rates", verb, folder, *more)
    assert done.returncode == 2
    assert "not readable as a recording whose spikes can be read" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_damaged_chunk_outside_the_window_leaves_the_labels_unchecked(folder, caplog):
    """Chunks along time: the counts are read, the comparison of the whole first trial is not possible, and `check` says so."""
    path, name = folder / "simulated.h5", "spike_trains/board-DIN-09/spike_array"
    whole = stage.extract_blech(folder, request())[1]["counts"]
    rechunk(path, name, (9, 5, 1000))
    spoil_chunk(path, name, 6)
    np.testing.assert_array_equal(stage.extract_blech(folder, request())[1]["counts"], whole)
    with pytest.raises(InputError, match="whose spikes can be read"):
        consistency.check_recording(folder)


def test_check_names_trials_with_impossible_counts(folder):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        h5["spike_trains/board-DIN-09/spike_array"][3] = 255
    said = "board-DIN-09: 1 of 9 trials hold negative values or more spikes in a millisecond than can be: 3"
    assert said in consistency.check_recording(folder).problems


def test_two_groups_of_one_number_are_not_guessed(folder):
    change_info(folder, dig_in_names=["DIN-09", "board-DIN-10"])
    with h5py.File(folder / "simulated.h5", "a") as h5:
        h5.copy("spike_trains/board-DIN-09", "spike_trains/dig_in_9")
    with pytest.raises(InputError, match="no spike_array for DIN-09"):
        read_recording(folder)


def test_a_table_without_numbers_of_trials_is_joined_by_time(folder):
    """Without ``taste_rel_trial_num`` the laser was lost without a word."""
    expected = stage.extract_blech(folder, request(laser="exclude"))[1]["trial"]
    change_rows(folder, lambda row: row.pop("taste_rel_trial_num") and None)
    lines = (folder / FRAME).read_text().splitlines()
    (folder / FRAME).write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    np.testing.assert_array_equal(stage.extract_blech(folder, request(laser="exclude"))[1]["trial"], expected)
    assert consistency.check_recording(folder).problems == []
    (folder / FRAME).write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(
        InputError, match=r"no taste_rel_trial_num, and start_taste of board-DIN-.* has 8 times for 9 trials"
    ):
        stage.extract_blech(folder, request(laser="exclude"))


def test_names_of_tastes_in_two_files_are_compared(folder, caplog):
    change_info(folder, tastes=json.loads((folder / "simulated.info").read_text())["taste_params"]["tastes"][::-1])
    stage.extract_blech(folder, request())
    assert (
        "taste labels disagree: .info calls board-DIN-09 'sucrose', trial_info_frame.csv calls its trials 'water'"
        in caplog.text
    )
    change_info(folder, tastes=["Water ", "suc 0.3M"])  # another spelling is no contradiction
    assert consistency.check_recording(folder).problems == []


def test_units_in_another_order_in_one_taste_are_found(folder):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        node = h5["spike_trains/board-DIN-09/spike_array"]
        node[...] = node[:][:, ::-1]
    (problem,) = consistency.check_recording(folder).problems
    assert "the spikes of board-DIN-09 at the first presentation agree with no array" in problem


@pytest.mark.parametrize("by", ["hash", "unit_number"])
def test_rows_of_units_are_joined_by_their_ids(folder, by, caplog):
    """Rows are appended as units are saved; with a list of units to sort that is not the order of their names."""
    plain = read_recording(folder).unit_region
    with h5py.File(folder / "simulated.h5", "a") as h5:
        table = h5["unit_descriptor"][:]
        del h5["unit_descriptor"]
        if by == "hash":
            for row in table:
                h5[f"sorted_units/unit{row['unit_number']:03d}/hash"] = np.array([row["hash"]])
            table["unit_number"] = 0
        names = [name for name in table.dtype.names if by == "hash" or name != "hash"]
        h5["unit_descriptor"] = np.array(
            [tuple(row) for row in table[names][::-1]], [(n, table.dtype[n]) for n in names]
        )
    assert read_recording(folder).unit_region == plain
    assert "rows of /unit_descriptor are in another order than the units: joined by their ids" in caplog.text


def without_a_row(folder):
    rows = (folder / FRAME).read_text().splitlines(keepends=True)
    (folder / FRAME).write_text("".join(rows[:-1]))


def other_names(folder):
    names = {"taste": "x", "laser": "", "laser_duration": 0}
    change_rows(folder, lambda row: row.update(names, dig_in_name_taste=f"valve {row['dig_in_name_taste'][-1]}"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_a_row, r"trials in the spike array, \d+ in trial_info_frame"),
        (other_names, "not checked: .*are called valve"),
    ],
)
def test_a_table_that_does_not_fit_the_arrays_is_a_warning_of_infer_too(folder, change, said, caplog):
    stage.extract_blech(folder, request())
    assert "trial_info_frame" not in caplog.text
    change(folder)
    stage.extract_blech(folder, request())
    assert re.search(said, caplog.text)
    assert caplog.text.count("trial_info_frame.csv") == 1  # told once
