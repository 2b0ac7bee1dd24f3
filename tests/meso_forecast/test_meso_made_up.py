"""Is it told where activity was made from later frames, or a cell stands in a recording twice?"""

import csv

import h5py
import numpy as np
import pytest

from meso_forecast.activity.made_up import LEAST_CELLS, copies, made_up
from meso_forecast.activity.reading import Rules
from meso_forecast.activity.split import SplitRule
from meso_forecast.files.recording import open_recording
from meso_forecast.files.session import MesoscopeSession
from meso_forecast.files.write_recording import write_recording

N = 1200


@pytest.fixture
def noise():
    return 1000 + 100 * np.random.default_rng(0).standard_normal((N, 12))


def preprocessed(x, tmp_path, **rules):
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    session = MesoscopeSession.from_matrix(tmp_path / "x.npy", 5.0, "rows")
    found = write_recording(session, tmp_path / "x.h5", Rules(**rules), SplitRule())
    recording = open_recording(tmp_path / "x.h5")
    assert list(recording.notes) == found["notes"]
    return found, recording


def between(x, lost):
    """Return traces with some frames filled in from those around them, as pandas does."""
    kept = np.setdiff1d(np.arange(len(x)), lost)
    return np.stack([np.interp(np.arange(len(x)), kept, row[kept]) for row in x.T], axis=1)


def test_a_frame_that_was_filled_in_from_its_neighbours_is_not_observed(noise, tmp_path):
    lost = np.array([100, 101, 102, 400, 777])
    found, recording = preprocessed(between(noise, lost), tmp_path)
    assert np.flatnonzero(~recording.panel.usable).tolist() == lost.tolist()
    assert found["not_observed"]["x"]["made up"] == 5
    assert found["notes"] == []


def test_a_frame_that_was_held_is_not_observed(noise, tmp_path):
    noise[[50, 51, 600]] = noise[[49, 49, 599]]
    assert np.flatnonzero(~preprocessed(noise, tmp_path)[1].panel.usable).tolist() == [50, 51, 600]


@pytest.mark.parametrize("how", ["interpolated", "repeated"])
def test_traces_that_were_resampled_to_a_higher_rate_are_told(noise, tmp_path, how):
    lost = np.arange(1, N - 1, 2)
    x = between(noise, lost) if how == "interpolated" else np.repeat(noise[: N // 2], 2, axis=0)
    found, recording = preprocessed(x, tmp_path)
    assert "50% of the frames" in found["notes"][0]
    assert recording.panel.usable.all()


@pytest.mark.parametrize("kind", ["noise", "smooth", "sparse", "counts", "few cells"])
def test_nothing_is_said_of_frames_as_they_were_recorded(kind):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((N, 12))
    x = {
        "noise": x, "smooth": np.cumsum(np.cumsum(x, 0), 0), "sparse": np.where(rng.random(x.shape) < 0.02, x, 0),
        "counts": rng.poisson(1.0, x.shape), "few cells": rng.integers(0, 2, (N, LEAST_CELLS - 1)),
    }[kind]  # fmt: skip
    assert not made_up(x, np.ones(N, bool)).any()
    assert copies(x, 8) == []


@pytest.mark.parametrize("later", [0, 1, 3])
def test_a_cell_that_stands_there_twice_is_named(noise, tmp_path, later):
    rng = np.random.default_rng(2)
    noise[later:, 7] = 0.5 * noise[: N - later, 2] + rng.standard_normal(N - later)
    assert copies(noise, 4) == [(7, 2, later)]
    (note,) = preprocessed(noise, tmp_path)[0]["notes"]
    assert "such as x/7 that of x/2" in note
    assert ("some frames later" in note) == (later > 0)


def test_cells_that_share_most_of_what_they_do_are_no_copies():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((N, 1)) * 2 + rng.standard_normal((N, 12))
    assert copies(x, 4) == []


def test_deconvolved_activity_is_said_to_know_later_frames(tmp_path, meso, small_session):
    answer = meso("preprocess", small_session[0], "--signal", "deconvolved", "--output", tmp_path / "x.h5")
    assert answer.returncode == 0, answer.stderr
    said = "deconvolved activity was computed from frames before and after each one"
    assert said in answer.stderr
    assert open_recording(small_session[1]).notes == ()
    repeat = [
        ["train", tmp_path / "x.h5", "--model", "ar", "--output", tmp_path / "m"],
        ["forecast", tmp_path / "m", tmp_path / "x.h5", "--every", 40, "--output", tmp_path / "f.h5"],
        ["plot", tmp_path / "f.h5", tmp_path / "x.h5", "--output", tmp_path / "figures"],
        ["export", tmp_path / "f.h5", tmp_path / "x.h5", "--format", "nwb", "--output", tmp_path / "nwb"],
        ["info", tmp_path / "x.h5"],
    ]
    for words in repeat:
        answer = meso(*words)
        assert answer.stderr.count(f"x.h5: {said}") == 1, words
    with h5py.File(tmp_path / "f.h5") as forecast, h5py.File(tmp_path / "nwb" / "forecast.nwb") as exported:
        assert said in forecast.attrs["notes"]
        assert said in exported["session_description"][()].decode()


def test_a_study_counts_what_is_to_be_known_of_each_recording(tmp_path, meso, small_session):
    options = ["--options", "signal=deconvolved", "--output", tmp_path / "study"]
    answer = meso("batch", small_session[0], "--command", "preprocess", *options)
    assert answer.returncode == 0, answer.stderr
    (row,) = csv.DictReader((tmp_path / "study" / "summary.csv").open())
    assert row["n_notes"] == "1"


@pytest.mark.parametrize("name", ["F_dff", "C"])
def test_what_caiman_computed_with_later_frames_is_said_also_after_extract(tmp_path, name, meso):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for place in {"C", name}:
            file[f"estimates/{place}"] = np.random.default_rng(0).standard_normal((6, 500))
        file["params/data/fr"] = 5.0
    answer = meso("extract", tmp_path / "x.hdf5", "--output", tmp_path / "x.h5")
    assert answer.returncode == 0, answer.stderr
    for source in ("x.hdf5", "x.h5"):
        answer = meso("preprocess", tmp_path / source, "--output", tmp_path / f"{source}.p.h5")
        assert answer.returncode == 0, answer.stderr
        assert f"CaImAn's {name} " in answer.stderr
