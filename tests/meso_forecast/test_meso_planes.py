"""Are planes of a suite2p recording, revisions of ALF and lists of cells read as they mean, or refused?"""

import shutil

import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast import simulate
from meso_forecast.config import PreprocessConfig
from meso_forecast.files.sources import open_source

N, T = 12, 400
F = np.random.default_rng(0).random((N, T)).astype(np.float32) + 10


def opened(source, **given):
    return open_source(PreprocessConfig(source=str(source), output="x", **given))


def plane(folder, f=F, **more):
    """Write what suite2p saves of a plane; ``more`` by the names of its files, None for one that is not there."""
    folder.mkdir(parents=True)
    arrays = {"F": f, "Fneu": f / 4, "spks": f, "iscell": np.c_[np.arange(len(f)) % 2 == 0, np.linspace(0, 1, len(f))]}
    for name, content in (arrays | {"ops": {"fs": 10.0, "nplanes": 1}} | more).items():
        if content is not None:
            np.save(folder / f"{name}.npy", content, allow_pickle=True)
    return folder


def starts(session):
    return [round(float(f.times[0]), 6) for f in session.fovs]


@pytest.mark.parametrize(
    ("planes", "settings", "start"),
    [
        ([0, 1, 2], lambda k: {"nplanes": 3}, [0, 1 / 30, 2 / 30]),
        ([1, 2], lambda k: {"nplanes": 3}, [1 / 30, 2 / 30]),  # plane 0 is the flyback
        ([0, 1, 2, 3], lambda k: {"nplanes": 4, "nrois": 2, "iplane": k // 2, "lines": [k]}, [0, 0, 0.05, 0.05]),
        ([0, 1, 2, 3], lambda k: {"nplanes": 2, "nrois": 2, "iplane": np.int64(k // 2)}, [0, 0, 0.05, 0.05]),
    ],
)
def test_planes_of_a_volume_start_one_after_the_other(tmp_path, planes, settings, start):
    for k in planes:
        plane(tmp_path / f"suite2p/plane{k}", ops={"fs": 10.0} | settings(k))
    session = opened(tmp_path)
    assert starts(session) == pytest.approx(start, abs=1e-6)
    assert session.clock()[0] == pytest.approx(max(start))
    assert len(session.clock()) == T
    assert all((frames == np.arange(T)).all() for frames in session.frames(session.clock()))


@pytest.mark.parametrize("settings", [{}, {"nplanes": 2, "bruker_bidirectional": True}, {"nplanes": 2, "lines": [1]}])
def test_planes_whose_order_in_time_is_not_known_share_a_clock_and_that_is_told(tmp_path, settings, caplog):
    for k in range(2):
        plane(tmp_path / f"suite2p/plane{k}", ops={"fs": 10.0} | settings)
    assert starts(opened(tmp_path)) == [0, 0]
    assert "when it is scanned after the first plane is not known" in caplog.text


def test_a_combined_view_is_refused_beside_its_planes_and_alone_its_padded_frames_are_bad(tmp_path):
    shorter = np.c_[F[:, :-2], np.zeros((N, 2))].astype(np.float32)
    for k in range(2):
        plane(tmp_path / f"suite2p/plane{k}")
    both = plane(tmp_path / "suite2p/combined", np.r_[F, shorter])
    with pytest.raises(InputError, match="view of all planes"):
        opened(both)
    for k in range(2):
        shutil.rmtree(tmp_path / f"suite2p/plane{k}")
    assert np.flatnonzero(opened(both).fovs[0].bad_frames).tolist() == [T - 2, T - 1]


def test_a_root_that_kept_only_the_combined_view_opens_and_says_when_each_plane_was_scanned(tmp_path, caplog):
    """Its `stat` says the plane of each ROI; neither of its settings does, as they are those of the first plane."""
    rows = np.array([{"med": (i, 2 * i), "iplane": i // 4} for i in range(N)], dtype=object)
    plane(tmp_path / "suite2p/combined", ops={"fs": 10.0, "nplanes": 3}, stat=rows)
    (tmp_path / "suite2p/plane0").mkdir()
    np.save(tmp_path / "suite2p/plane0/ops.npy", {"fs": 10.0}, allow_pickle=True)
    for source in (tmp_path, tmp_path / "suite2p", tmp_path / "suite2p/combined"):
        (fov,) = opened(source).fovs
        assert fov.name == "combined"
        assert fov.roi_delay == pytest.approx(np.arange(N) // 4 / 30)
    assert "not known" not in caplog.text
    (tmp_path / "suite2p/combined/stat.npy").unlink()
    assert np.isnan(opened(tmp_path).fovs[0].roi_delay).all()
    assert "when each plane was scanned within a frame is not known" in caplog.text


def test_a_copy_beside_a_plane_is_no_second_field_of_view(tmp_path, caplog):
    for name in ("plane0", "plane10", "plane2", "plane0_backup", "plane0 (copy)"):
        plane(tmp_path / name, ops={"fs": 10.0, "nplanes": 11})
    assert [f.name for f in opened(tmp_path).fovs] == ["plane0", "plane2", "plane10"]
    assert "plane0 (copy), plane0_backup: no name of a plane" in caplog.text


def test_a_plane_without_traces_does_not_vanish(tmp_path):
    plane(tmp_path / "plane0")
    (plane(tmp_path / "plane1") / "F.npy").unlink()
    with pytest.raises(InputError, match=r"plane1/F\.npy: missing.*--skip-bad-fov"):
        opened(tmp_path)
    assert len(opened(tmp_path, skip_bad_fov=True).fovs) == 1


@pytest.mark.parametrize(
    "iscell",
    [np.c_[np.linspace(0.1, 1, N), np.arange(N) % 2], np.arange(N), np.full((N, 2), np.nan)],
    ids=["probability first", "numbers of cells", "unknown"],
)
def test_a_list_of_cells_that_holds_no_flags_is_refused(tmp_path, iscell):
    with pytest.raises(InputError, match="expected to be 0 or 1"):
        opened(plane(tmp_path / "p", iscell=iscell))


def test_traces_of_time_by_roi_without_a_list_of_cells_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"is it \(time, roi\)"):
        opened(plane(tmp_path / "p", F.T, iscell=None))


def test_bad_frames_in_a_list_count_and_folders_that_do_not_add_up_are_told(tmp_path, caplog):
    ops = {"fs": 10.0, "badframes": [True] * 3 + [False] * (T - 3), "frames_per_folder": np.array([200, 201])}
    (fov,) = opened(plane(tmp_path / "p", ops=ops)).fovs
    assert fov.bad_frames.sum() == 3
    assert "401 by their list and 400 in F" in caplog.text


# --- ALF ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path):
    return simulate.simulate_session(tmp_path / "one", 1, 40, 600, seed=2)


@pytest.mark.parametrize(("revision", "n"), [(None, 3), ("2024-01-01", 2), ("#2024-01-01#", 2), ("2023-12-31", 1)])
def test_of_several_partial_revisions_the_newest_that_is_asked_for_counts(session, revision, n):
    types = session / "alf/FOV_00/mpciROIs.mpciROITypes.npy"
    for mark, cells in (("#2023-05-05#", 1), ("#2024-01-01#", 2), ("#2024-01-01a#", 3)):
        (types.parent / mark).mkdir()
        np.save(types.parent / mark / types.name, (np.arange(40) < cells).astype(np.int16))
    (fov,) = opened(session, revision=revision).fovs
    assert fov.roi_type.sum() == n
    assert fov.n_time == 600


def test_a_backup_of_a_field_of_view_is_none(session, caplog):
    shutil.copytree(session / "alf/FOV_00", session / "alf/FOV_00_old")
    assert [f.name for f in opened(session).fovs] == ["FOV_00"]
    assert "FOV_00_old: no name of a field of view" in caplog.text


def test_two_folders_of_one_number_are_refused(tmp_path):
    session = simulate.simulate_session(tmp_path / "one", 1, 12, 300, seed=2)
    shutil.copytree(session / "alf/FOV_00", session / "alf/FOV_0")
    with pytest.raises(InputError, match="FOV_0 and FOV_00 are the same field of view"):
        opened(session)


def test_labels_say_which_value_is_a_cell_in_either_order_of_columns_or_are_refused(session):
    names = session / "alf/FOV_00/mpciROITypes.names.tsv"
    cells = opened(session).fovs[0].roi_type
    names.write_text("roi_labels\troi_values\nno cell\t1\ncell\t0\n")
    assert (opened(session).fovs[0].roi_type == 1 - cells).all()
    names.write_text("roi_values\troi_labels\n0\tdendrite\n1\tneuron\n")
    with pytest.raises(InputError, match="no value is called 'cell'"):
        opened(session)


def test_scan_delays_longer_than_a_frame_are_unknown(session, caplog):
    shift = session / "alf/FOV_00/mpciStack.timeshift.npy"
    np.save(shift, np.load(shift) * 1000)
    assert np.isnan(opened(session).fovs[0].roi_delay).all()
    assert "in ms?" in caplog.text
