"""Is what stands in a file, but was never recorded, kept out: filled frames, rounded clocks, numbers of cells, columns beside cells?"""

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast.activity.made_up import made_up
from meso_forecast.activity.reading import Rules
from meso_forecast.activity.split import SplitRule
from meso_forecast.activity.windows import frame_interval
from meso_forecast.files.recording import open_recording
from meso_forecast.files.rounded_clock import unrounded
from meso_forecast.files.session import MesoscopeSession
from meso_forecast.files.write_recording import write_recording

T, N = 1200, 12
X = np.random.default_rng(0).standard_normal((T, N)).astype(np.float32)


def activity_file(path, x, times):
    with h5py.File(path, "w") as file:
        file["activity_matrix"], file["timestamps"] = x, times
    return MesoscopeSession.from_activity_file(path)


def not_observed(tmp_path, x):
    session = activity_file(tmp_path / "x.h5", x, np.arange(len(x)) / 10)
    write_recording(session, tmp_path / "y.h5", Rules(), SplitRule(), overwrite=True)
    return np.flatnonzero(~open_recording(tmp_path / "y.h5").panel.usable)


@pytest.mark.parametrize("fill", [0.0, -1.0, 7.5])
def test_frames_filled_with_one_number_in_all_cells_are_not_observed(tmp_path, fill):
    x = X.copy()
    x[500:700] = fill
    assert np.array_equal(not_observed(tmp_path, x), np.arange(500, 700))


def test_silence_of_all_cells_is_observed_where_activity_is_sparse(tmp_path):
    x = np.where(np.random.default_rng(1).random((T, N)) < 0.2, np.abs(X), 0)
    assert (x == 0).all(1).sum() > 10
    assert not len(not_observed(tmp_path, x))


@pytest.mark.parametrize("n", [2, 5])
def test_frames_that_few_cells_repeat_are_told_from_chance(n):
    x = X[:, :n].copy()
    x[501] = x[500]
    assert np.flatnonzero(made_up(x, np.ones(T, bool))).tolist() == [501]
    coarse = np.round(2 * X[:, :n])  # so coarse that cells stay by chance
    assert not made_up(coarse, np.ones(T, bool)).any()


@pytest.mark.parametrize("kind", ["nearest", "down"])
@pytest.mark.parametrize("fs_hz", [7, 8, 13, 15])
def test_a_clock_of_one_digit_is_regular_at_its_own_rate(tmp_path, fs_hz, kind, caplog):
    true = np.arange(T) / fs_hz + 30.0 * (np.arange(T) >= 700)
    shown = np.round(true, 1) if kind == "nearest" else np.floor(10 * true + 1e-9) / 10
    fov = activity_file(tmp_path / "x.h5", X, shown).fovs[0]
    assert frame_interval(fov.times) == pytest.approx(1 / fs_hz, rel=1e-3)
    assert np.flatnonzero(np.diff(fov.times) > 1.5 / fs_hz).tolist() == [699]
    assert np.abs(fov.times - true).max() < 0.11
    assert "was rounded to 0.1 s" in caplog.text


def test_frames_that_were_lost_or_jitter_are_no_rounding():
    rng, times = np.random.default_rng(2), np.arange(2 * T) / 10
    assert unrounded(times) is None
    assert unrounded(times[np.sort(rng.permutation(2 * T)[:1800])]) is None
    assert unrounded(times + rng.uniform(-0.02, 0.02, 2 * T)) is None
    assert unrounded(np.delete(times, [300, 900])) is None


def test_a_typed_rate_is_held_against_the_clock_without_its_rounding(tmp_path):
    table = np.c_[np.round(np.arange(T) / 8, 1), X]
    np.savetxt(
        tmp_path / "x.csv", table, delimiter=",", header="time," + ",".join(f"C{i}" for i in range(N)), comments=""
    )
    fov = MesoscopeSession.from_matrix(tmp_path / "x.csv", fs_hz=8).fovs[0]
    assert frame_interval(fov.times) == pytest.approx(1 / 8, rel=1e-3)
    with pytest.raises(InputError, match="its clock has 8 frames a second"):
        MesoscopeSession.from_matrix(tmp_path / "x.csv", fs_hz=10)


def test_a_clock_that_starts_anew_or_stands_still_is_refused_by_its_frame(tmp_path):
    times = np.arange(T) / 10
    with pytest.raises(InputError, match=r"frame 600 is at 0 s, the one before at 59.9 s .* starts anew"):
        activity_file(tmp_path / "a.h5", X, np.r_[times[:600], times[:600]])
    times[500] = times[499]
    with pytest.raises(InputError, match=r"frame 500 is at 49.9 s, the one before at 49.9 s"):
        activity_file(tmp_path / "b.h5", X, times)
    times[499] = np.nan
    with pytest.raises(InputError, match="frame 499 has no time"):
        activity_file(tmp_path / "c.h5", X, times)


@pytest.mark.parametrize("ids", [np.arange(1, N + 1), np.random.default_rng(3).permutation(900)[:N]])
@pytest.mark.parametrize("kind", ["npy", "csv", "cells in rows"])
def test_numbers_of_cells_are_no_frame(tmp_path, ids, kind):
    x, path = np.r_[ids[None].astype(float), X], tmp_path / ("x.npy" if kind == "npy" else "x.csv")
    if kind == "npy":
        np.save(path, x)
    else:
        np.savetxt(path, x.T if kind == "cells in rows" else x, delimiter=",")
    with pytest.raises(InputError, match=r"the cells' numbers, no frame"):
        MesoscopeSession.from_matrix(path, fs_hz=10)
    with pytest.raises(InputError, match=r"the cells' numbers, no frame"):
        activity_file(tmp_path / "x.h5", x, np.arange(T + 1) / 10)


def test_a_first_frame_of_whole_activity_is_a_frame(tmp_path):
    x = np.round(3 * X)
    x[0] = np.arange(1, N + 1)
    np.save(tmp_path / "x.npy", x)
    assert MesoscopeSession.from_matrix(tmp_path / "x.npy", fs_hz=10).fovs[0].n_time == T


@pytest.mark.parametrize("name", ["TTL", "wheel_ticks", "Puff"])
def test_a_column_that_is_not_called_like_the_cells_is_refused(tmp_path, name):
    names = ["time", *(f"C{i}" for i in range(N)), name]
    table = np.c_[np.arange(T) / 10, X, np.arange(T) // 7 % 2]
    np.savetxt(tmp_path / "x.csv", table, delimiter=",", header=",".join(names), comments="")
    with pytest.raises(InputError, match=f"'{name}' among cells that are called like 'C0'"):
        MesoscopeSession.from_matrix(tmp_path / "x.csv")
