"""Untidy recordings get the right labels, impossible ones a single line; either way the recording stays as it was."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import hdf5io

PACKAGE = Path(__file__).resolve().parents[2]


def files_of(folder):
    """Digest of every file below a folder."""
    return {str(p.relative_to(folder)): hdf5io.sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def edit_info(folder, **changes):
    path = folder / "simulated.info"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def folder(recording, tmp_path):
    shutil.copytree(recording, tmp_path / "a copy")
    (tmp_path / "a copy" / "result.json").unlink()
    return tmp_path / "a copy"


def test_an_untidy_recording_gets_the_right_labels(folder, tmp_path, run_command):
    """At once: ragged trials, a dig-in without a role, a silent unit, an empty middle region, an unlisted electrode, a laser trial."""
    with h5py.File(folder / "simulated.h5", "a") as h5:
        ragged = h5["spike_trains/board-DIN-10/spike_array"][:7]
        del h5["spike_trains/board-DIN-10/spike_array"]
        h5["spike_trains/board-DIN-10/spike_array"] = ragged
        h5["spike_trains/board-DIN-15/spike_array"] = ragged
        for name in ("board-DIN-09", "board-DIN-10"):
            h5[f"spike_trains/{name}/spike_array"][:, 1] = 0
    edit_info(folder, electrode_layout={"gc": [[0, 1, 2]], "middle": [[90]], "bla": [[35]]})
    frame = folder / "trial_info_frame.csv"
    lines = frame.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if ",board-DIN-09," in line)
    lines[row] = lines[row].replace(",False,,,0,0", ",True,,,15000,3000")
    frame.write_text("\n".join(lines))
    before, target = files_of(folder), tmp_path / "rates.h5"
    chosen = ["--separate_regions", "--laser", "exclude", "--cv-folds", 0, "--no-plots", "--output", target]
    done = run_command("glm_rates", "infer", folder, *chosen)
    assert done.returncode == 0, done.stderr
    assert files_of(folder) == before
    for said in (
        "board-DIN-15 has spike trains but no taste role",
        "1 unit(s) on no listed electrode",
        "1 of 16 trials have",
    ):
        assert said in done.stderr
    with hdf5io.read(target) as h5:
        assert [r.decode() for r in h5["units/region"][:]] == ["gc", "gc", "gc", "bla", "unassigned"]
        assert h5["units/n_spikes"][1] == 0
        assert np.isnan(h5["units/bits_per_spike"][1])
        assert not h5["regions/taste_0_region_gc_neuron_1/pred_firing"][:].any()
        assert h5["regions/taste_0_region_gc_neuron_0/pred_firing"].shape == (8, 120)  # the laser trial is left out
        assert h5["regions/taste_1_region_unassigned_neuron_4/pred_firing"].shape == (7, 120)


def two_files(folder):
    shutil.copy(folder / "simulated.h5", folder / "second.h5")


def no_file(folder):
    (folder / "simulated.h5").unlink()


def no_trials(folder):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        for name in list(h5["spike_trains"]):
            del h5[f"spike_trains/{name}/spike_array"]
            h5[f"spike_trains/{name}/spike_array"] = np.zeros((0, 5, 7000))


def no_spikes(folder):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        del h5["spike_trains"]


def negative(folder):
    with h5py.File(folder / "simulated.h5", "a") as h5:
        h5["spike_trains/board-DIN-09/spike_array"][0, 0, 2000] = -1


def cut_short(folder):
    path = folder / "simulated.h5"
    path.write_bytes(path.read_bytes()[:5000])


def not_hdf5(folder):
    (folder / "simulated.h5").write_text("not HDF5")


def no_info(folder):
    (folder / "simulated.info").unlink()


def broken_info(folder):
    (folder / "simulated.info").write_text("{")


def tastes_elsewhere(folder):
    edit_info(folder, taste_params={"dig_in_names": ["board-DIN-01"], "tastes": ["water"]})


def only_laser_trials(folder):
    frame = folder / "trial_info_frame.csv"
    frame.write_text(frame.read_text().replace(",False,,,0,0", ",True,,,15000,3000"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (two_files, "2 files end in .h5 (second.h5, simulated.h5); expected exactly one"),
        (no_file, "no file ends in .h5"),
        (no_trials, "no trials in any spike_array"),
        (no_spikes, "no '/spike_trains'. Run blech_make_arrays.py first."),
        (negative, "/spike_trains/board-DIN-09/spike_array has negative or infinite values"),
        (cut_short, "not readable as an HDF5 file"),
        (not_hdf5, "not readable as an HDF5 file"),
        (no_info, "no file ends in .info"),
        (broken_info, "not readable as JSON"),
        (tastes_elsewhere, "no spike_array for board-DIN-01; /spike_trains has board-DIN-09, board-DIN-10"),
        (only_laser_trials, "every trial has the laser on: --laser exclude leaves none"),
    ],
)
def test_an_impossible_recording_is_one_line_exit_2_and_nothing_written(folder, spoil, said, run_command):
    spoil(folder)
    before = files_of(folder)
    done = run_command("glm_rates", "infer", folder, "--laser", "exclude", "--cv-folds", 0)
    assert done.returncode == 2
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert files_of(folder) == before


def test_a_read_only_place_is_named_before_any_work(tmp_path, monkeypatch):
    """Permission bits do not bind the superuser, so the system's answer is replaced."""
    from glm_rates.files import results
    from hdf5io.errors import InputError

    results.may_write(tmp_path / "new" / "rates.h5")
    monkeypatch.setattr(results.os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(InputError, match=r"rates.h5: .* is read-only. Give --output"):
        results.may_write(tmp_path / "new" / "rates.h5")


def test_nothing_is_asked_without_a_terminal(folder, tmp_path):
    """No nemos anywhere: one line and exit 2 at once, although standard input is open and silent."""
    script = (
        "import sys; from glm_rates.fit import environments as e; from glm_rates import cli; from pathlib import Path;"
        "e.nemos_candidates = lambda wanted: []; sys.argv[:] = ['glm-rates', 'infer', sys.argv[1]]; cli.main()"
    )
    read, write = os.pipe()
    env = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], stdin=read, capture_output=True, text=True, timeout=120, env=env
    )
    os.close(read), os.close(write)
    assert done.returncode == 2
    assert (
        "nemos is not installed here and was not found; give --nemos-env PATH" in done.stderr.strip().splitlines()[-1]
    )


def test_a_run_leaves_the_installed_package_as_it_was(recording, tmp_path):
    """The code is copied, run with a bare environment and ``-B``; afterwards its folder holds the same bytes."""
    place = tmp_path / "an install"
    shutil.copytree(PACKAGE / "glm_rates", place / "glm_rates", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PACKAGE / "hdf5io", place / "hdf5io", ignore=shutil.ignore_patterns("__pycache__"))
    before, data = files_of(place), files_of(recording)
    script = (
        f"import sys; sys.path.insert(0, {str(place)!r}); from glm_rates import cli;"
        "sys.argv[0] = 'glm-rates'; import glm_rates; print(glm_rates.__file__, file=sys.stderr); cli.main()"
    )
    chosen = ["infer", str(recording), "--output", str(tmp_path / "rates.h5"), "--cv-folds", "0"]
    env = {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(tmp_path)}  # as ``env -i``: no HOME, no PATH
    done = subprocess.run(
        [sys.executable, "-c", script, *chosen], env=env, capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert str(place) in done.stderr
    assert (tmp_path / "rates_glm_output" / "report.html").is_file()
    assert files_of(place) == before
    assert files_of(recording) == data


def test_what_a_killed_run_left_is_removed_and_what_was_kept_is_not(tmp_path, monkeypatch):
    from glm_rates.fit import pipeline

    monkeypatch.setattr(pipeline.tempfile, "tempdir", str(tmp_path))
    for name in ("glm_rates_999999999_x", f"glm_rates_{os.getpid()}_y", "glm_rates_kept_z", "glm_rates_other"):
        (tmp_path / name).mkdir()
    with pipeline.exchange_folder():
        left = {p.name for p in tmp_path.iterdir()}
    assert "glm_rates_999999999_x" not in left
    assert {f"glm_rates_{os.getpid()}_y", "glm_rates_kept_z", "glm_rates_other"} <= left
