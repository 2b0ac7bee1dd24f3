"""Does every kind of source open as what it is, and does every fault name its file?"""

import hashlib
import os
import warnings

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast import cli, simulate
from meso_forecast.activity import split
from meso_forecast.activity.reading import Rules
from meso_forecast.files import one_cache, recording, write_recording
from meso_forecast.files.session import MesoscopeSession


@pytest.fixture(scope="module")
def alf(tmp_path_factory):
    """Return (cache folder, session folder) of a small simulated session."""
    root = tmp_path_factory.mktemp("alf")
    return root, simulate.simulate_session(root, n_fovs=2, n_rois=40, n_time=900, seed=3)


@pytest.fixture
def own(tmp_path):
    """Return a session folder of one's own, to break."""
    return simulate.simulate_session(tmp_path, n_fovs=2, n_rois=20, n_time=500, seed=1)


def digest(root):
    return {p: hashlib.md5(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def test_a_simulated_session_opens_through_one_equal_in_every_value(alf):
    root, folder = alf
    before = digest(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = one_cache.open_one(root)
        eid = str(one.search()[0])
        for collection in ("alf/FOV_00", "alf/FOV_01"):
            for path in sorted((folder / collection).glob("*.npy")):
                loaded = one.load_dataset(eid, path.name, collection=collection, check_hash=False)
                expected = np.load(path)
                assert loaded.dtype == expected.dtype, path.name
                np.testing.assert_array_equal(loaded, expected)
        opened = MesoscopeSession.from_eid(one, eid)
    assert digest(root) == before
    assert opened.subject == simulate.SUBJECT
    assert [f.name for f in opened.fovs] == ["FOV_00", "FOV_01"]


def test_the_session_id_is_the_same_at_every_indexing(alf):
    root, folder = alf
    ids = {str(one_cache.open_one(root).search()[0]) for _ in range(2)}
    assert ids == {MesoscopeSession.from_path(folder).eid}


def test_a_read_only_cache_can_be_opened(alf):
    root, folder = alf
    folders = [p for p in [root, *root.rglob("*")] if p.is_dir()]
    for p in folders:
        p.chmod(0o555)
    try:
        assert MesoscopeSession.from_eid(one_cache.open_one(root), MesoscopeSession.from_path(folder).eid).n_rois == 80
    finally:
        for p in folders:
            p.chmod(0o755)


def test_dataset_types_are_those_of_public_sessions(alf):
    _, folder = alf
    types = {p.name: np.load(p).dtype.name for p in (folder / "alf" / "FOV_00").glob("*.npy")}
    assert types["mpci.ROIActivityF.npy"] == "float32"
    assert types["mpci.times.npy"] == "float64"
    assert types["mpci.badFrames.npy"] == "bool"
    assert types["mpciROIs.mpciROITypes.npy"] == "int16"
    assert types["mpciROIs.stackPos.npy"] == "int64"
    assert types["mpciStack.timeshift.npy"] == "float64"


def test_simulated_traces_have_the_statistics_of_the_field(tmp_path):
    folder = simulate.simulate_session(tmp_path, n_fovs=1, n_rois=400, n_time=2000, seed=0)
    f = np.load(folder / "alf" / "FOV_00" / "mpci.ROIActivityF.npy")
    z = (f - f.mean(0)) / f.std(0)
    lag_1 = (z[1:] * z[:-1]).mean(0)
    assert abs(f.mean() - 1400) < 200
    assert abs(f.mean(0).std() - 830) < 150
    assert abs(lag_1.mean() - 0.58) < 0.1
    assert abs(lag_1.std() - 0.16) < 0.06
    assert np.load(folder / "alf" / "FOV_00" / "mpciROIs.mpciROITypes.npy").mean() == pytest.approx(0.3)


def test_the_same_seed_writes_the_same_arrays(tmp_path):
    folders = [simulate.simulate_session(tmp_path / name, 1, 20, 400, seed=5) for name in "ab"]
    for path in sorted((folders[0] / "alf").rglob("*.npy")):
        np.testing.assert_array_equal(np.load(path), np.load(folders[1] / path.relative_to(folders[0])))


def test_the_snippets_of_the_original_run(alf, tmp_path):
    root, folder = alf
    one = one_cache.open_one(root)
    csv = tmp_path / "good.csv"
    csv.write_text(f"eid,subject\n{MesoscopeSession.from_path(folder).eid},SIM_001\n")
    opened = MesoscopeSession.from_csv(one, csv, index=0)
    activity, timestamps = opened.get_activity_matrix(time_window=60)
    assert activity.shape == (len(timestamps), 24)
    assert timestamps[-1] - timestamps[0] < 60
    dff, times = opened.get_dff_activity_matrix(neucoeff=0.7)
    opened.save_dff_activity_matrix(tmp_path / "dff.h5", neucoeff=0.7)
    again, times_again, eid = MesoscopeSession.load_session_from_hdf5(tmp_path / "dff.h5")
    np.testing.assert_array_equal(again, dff)
    np.testing.assert_array_equal(times_again, times)
    assert eid == opened.eid


def test_neuropil_is_subtracted_by_hand_computed_numbers(alf):
    _, folder = alf
    opened = MesoscopeSession.from_path(folder)
    dff, times = opened.get_dff_activity_matrix(neucoeff=0.5)
    where = folder / "alf" / "FOV_01"
    cells = np.load(where / "mpciROIs.mpciROITypes.npy") == 1
    expected = (
        np.load(where / "mpci.ROIActivityF.npy") - np.float32(0.5) * np.load(where / "mpci.ROINeuropilActivityF.npy")
    )[:, cells]
    frame = np.searchsorted(np.load(where / "mpci.times.npy"), times + 1e-9, side="right") - 1
    np.testing.assert_allclose(dff[:, -cells.sum() :], expected[frame], rtol=1e-6)


def test_no_fov_is_read_ahead_of_the_common_clock(alf):
    opened = MesoscopeSession.from_path(alf[1])
    clock = opened.clock()
    for fov, frame in zip(opened.fovs, opened.frames(clock)):
        assert (fov.times[frame] <= clock + 1e-9).all()
        following = np.minimum(frame + 1, len(fov.times) - 1)
        assert ((fov.times[following] > clock) | (following == frame)).all()


def test_roi_delay_is_the_timeshift_of_its_line(alf):
    where = alf[1] / "alf" / "FOV_00"
    fov = MesoscopeSession.from_path(alf[1]).fovs[0]
    lines = np.load(where / "mpciROIs.stackPos.npy")[:, 0]
    np.testing.assert_array_equal(fov.roi_delay, np.load(where / "mpciStack.timeshift.npy")[lines])


def test_an_old_activity_file_opens(tmp_path):
    x = np.arange(600, dtype=np.float64).reshape(200, 3)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["activity_matrix"], file["timestamps"] = x, np.arange(200.0)
        file.attrs["eid"] = "abc"
    activity, times, eid = MesoscopeSession.load_session_from_hdf5(tmp_path / "old.h5")
    np.testing.assert_array_equal(activity, x)
    assert (len(times), eid) == (200, "abc")
    assert MesoscopeSession.from_activity_file(tmp_path / "old.h5").fovs[0].processed


def test_a_transposed_old_file_is_turned(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["activity_matrix"], file["timestamps"] = np.ones((3, 200)), np.arange(200.0)
    assert MesoscopeSession.load_activity_matrix(tmp_path / "old.h5")[0].shape == (200, 3)


@pytest.mark.parametrize("turned", [False, True])
def test_suite2p_arrays_open_either_way_round(tmp_path, turned):
    rng = np.random.default_rng(0)
    f, spikes = rng.random((7, 300), np.float32), rng.random((7, 300), np.float32)
    np.save(tmp_path / "F.npy", f)
    np.save(tmp_path / "spks.npy", spikes.T if turned else spikes)
    np.save(tmp_path / "iscell.npy", np.c_[np.arange(7) % 2, np.linspace(0, 1, 7)])
    fov = MesoscopeSession.from_suite2p(tmp_path, 6.0).fovs[0]
    np.testing.assert_array_equal(fov.deconvolved.read(10, 20), spikes.T[10:20])
    np.testing.assert_array_equal(fov.cells(), [1, 3, 5])


def test_nwb_traces_open(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    from datetime import UTC, datetime

    from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

    nwb = pynwb.NWBFile("s", "id", datetime(2024, 5, 17, tzinfo=UTC))
    device = nwb.create_device("scope")
    plane = nwb.create_imaging_plane(
        name="plane", optical_channel=OpticalChannel("c", "d", 500.0), description="d", device=device, excitation_lambda=900.0,
        indicator="GCaMP6s", location="VISp", imaging_rate=5.0,
    )  # fmt: skip
    module = nwb.create_processing_module("ophys", "traces")
    segmentation = ImageSegmentation()
    module.add(segmentation)
    table = segmentation.create_plane_segmentation("rois", plane, "PlaneSegmentation")
    for _ in range(4):
        table.add_roi(pixel_mask=[(1, 1, 1.0)])
    region = table.create_roi_table_region("all", region=list(range(4)))
    traces = np.random.default_rng(0).random((250, 4)).astype(np.float32)
    module.add(Fluorescence([RoiResponseSeries("RoiResponseSeries", traces, "a.u.", region, rate=5.0)]))
    module.add(Fluorescence([RoiResponseSeries("Neuropil", traces / 2, "a.u.", region, rate=5.0)], name="Neuropil"))
    with pynwb.NWBHDF5IO(tmp_path / "x.nwb", "w") as io:
        io.write(nwb)
    fov = MesoscopeSession.from_nwb(tmp_path / "x.nwb").fovs[0]
    np.testing.assert_array_equal(fov.fluorescence.read(0, 250), traces)
    np.testing.assert_array_equal(fov.neuropil.read(0, 5), traces[:5] / 2)
    assert np.median(np.diff(fov.times)) == pytest.approx(0.2)


def shorten(folder, name, n):
    np.save(folder / name, np.load(folder / name)[:n])


FAULTS = {
    "no times": (lambda d: os.remove(d / "mpci.times.npy"), "'mpci.times.npy' is missing"),
    "no cells": (lambda d: np.save(d / "mpciROIs.mpciROITypes.npy", np.zeros(20, np.int16)), "no ROI of 20 is a cell"),
    "all bad": (lambda d: np.save(d / "mpci.badFrames.npy", np.ones(500, bool)), "all 500 frames are bad"),
    "long times": (lambda d: shorten(d, "mpci.ROIActivityF.npy", 490), "mpci.times has 500 frames, the traces 490"),
    "transposed": (
        lambda d: np.save(d / "mpci.ROIActivityF.npy", np.load(d / "mpci.ROIActivityF.npy").T.copy()),
        "is transposed",
    ),
    "not an array": (lambda d: (d / "mpci.times.npy").write_bytes(b"xx"), "not readable as an .npy array"),
    "bad line": (lambda d: shorten(d, "mpciStack.timeshift.npy", 2), "mpciROIs.stackPos has lines"),
    "all constant": (
        lambda d: [
            np.save(d / f"mpci.ROI{n}.npy", np.ones((500, 20), np.float32)) for n in ("ActivityF", "NeuropilActivityF")
        ],
        "cells are constant or not finite",
    ),
    "all NaN": (
        lambda d: np.save(d / "mpci.ROIActivityF.npy", np.full((500, 20), np.nan, np.float32)),
        "cells are constant or not finite",
    ),
    "few types": (lambda d: shorten(d, "mpciROIs.cellClassifier.npy", 3), "cellClassifier has 3 entries"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_the_file_and_the_dataset(own, fault):
    breaks, message = FAULTS[fault]
    breaks(own / "alf" / "FOV_01")
    with pytest.raises(InputError, match=message) as caught:
        write_recording.write_recording(MesoscopeSession.from_path(own), own / "s.h5", Rules(), split.SplitRule())
    assert "FOV_01" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_command_answers_a_fault_with_one_line_and_writes_nothing(own, tmp_path, fault, monkeypatch, capsys):
    breaks, message = FAULTS[fault]
    breaks(own / "alf" / "FOV_01")
    before = digest(tmp_path)
    monkeypatch.setattr("sys.argv", ["meso-forecast", "preprocess", str(own), "--output", str(tmp_path / "s.h5")])
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err
    assert digest(tmp_path) == before


def test_a_bad_fov_is_left_out_only_when_asked_and_is_named(own):
    os.remove(own / "alf" / "FOV_01" / "mpci.times.npy")
    opened = MesoscopeSession.from_path(own, skip_bad_fov=True)
    assert [f.name for f in opened.fovs] == ["FOV_00"]
    assert "mpci.times" in opened.skipped["FOV_01"]


def test_a_bad_fov_is_never_left_out_of_a_session_without_another(own):
    for name in ("FOV_00", "FOV_01"):
        os.remove(own / "alf" / name / "mpci.times.npy")
    with pytest.raises(InputError, match="no FOV is left"):
        MesoscopeSession.from_path(own, skip_bad_fov=True)


def test_an_unfinished_hdf5_is_refused(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        MesoscopeSession.from_activity_file(tmp_path / "x.h5")


def test_a_recording_that_was_cut_short_is_refused(alf, tmp_path):
    path = tmp_path / "s.h5"
    write_recording.write_recording(MesoscopeSession.from_path(alf[1]), path, Rules(), split.SplitRule())
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        recording.open_recording(path)


@pytest.mark.real
@pytest.mark.parametrize(("name", "fs_hz", "n_cells"), [("mesoscope_passive", 6.0, 10), ("suite2p_plane0", 10.0, 20)])
def test_real_suite2p_folders_open_with_transposed_spikes_and_constant_rois(real_data, tmp_path, name, fs_hz, n_cells):
    folder = real_data(f"meso_forecast/{name}")
    opened = MesoscopeSession.from_suite2p(folder, fs_hz)
    fov = opened.fovs[0]
    assert fov.deconvolved.shape == fov.fluorescence.shape
    found = write_recording.write_recording(opened, tmp_path / "s.h5", Rules(), split.SplitRule())
    assert found["n_neurons"] == n_cells
    panel = recording.open_recording(tmp_path / "s.h5").panel
    x = panel.x[panel.usable]
    assert np.isfinite(x).all()
    assert np.abs(x).max() < 100


@pytest.mark.real
def test_real_constant_rois_are_dropped_and_counted(real_data, tmp_path):
    opened = MesoscopeSession.from_suite2p(real_data("meso_forecast/suite2p_plane0"), 10.0)
    opened.fovs[0].roi_type[:] = 1
    found = write_recording.write_recording(opened, tmp_path / "s.h5", Rules(), split.SplitRule())
    dropped = found["dropped"]["suite2p_plane0"]["constant"]
    assert dropped >= 47
    assert found["n_neurons"] == 219 - dropped
