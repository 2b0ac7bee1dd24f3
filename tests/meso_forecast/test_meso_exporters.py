"""Are cells, series and sessions what the exporters meant? Each file here has the layout that an exporter writes, or the trap in it."""

import json
import shutil
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from hdf5io.errors import InputError
from meso_forecast import simulate
from meso_forecast.config import PreprocessConfig
from meso_forecast.files.sources import open_source

pynwb = pytest.importorskip("pynwb")
ophys = pynwb.ophys

N, T = 12, 300
RNG = np.random.default_rng(0)
GREEN, RED, NEUROPIL, DECONVOLVED = (RNG.random((T, N)).astype(np.float32) for _ in range(4))


def opened(source, **given):
    return open_source(PreprocessConfig(source=str(source), output="x", **given))


class Nwb:
    """A file being written: one imaging plane, tables of ROIs, series in containers."""

    def __init__(self):
        self.file = pynwb.NWBFile("s", "id", datetime(2024, 5, 17, tzinfo=UTC))
        channel = ophys.OpticalChannel(name="c", description="d", emission_lambda=500.0)
        self.plane = self.file.create_imaging_plane(
            name="ImagingPlane", optical_channel=channel, description="d", device=self.file.create_device("scope"),
            excitation_lambda=900.0, indicator="GCaMP6s", location="VISp", imaging_rate=5.0,
        )  # fmt: skip
        self.module = self.file.create_processing_module("ophys", "traces")
        self.segmentation = ophys.ImageSegmentation()
        self.module.add(self.segmentation)
        self.containers = {}

    def table(self, n=N, name="PlaneSegmentation", **columns):
        table = self.segmentation.create_plane_segmentation("rois", self.plane, name)
        for i in range(n):
            table.add_roi(pixel_mask=[(i, 2 * i, 1.0), (i + 2, 2 * i, 1.0)])
        for key, values in columns.items():
            table.add_column(key, key, data=list(values))
        return table

    def series(self, container, name, data, table, rows=None, kind=ophys.Fluorescence, **clock):
        rows = range(data.shape[1]) if rows is None else rows
        region = table.create_roi_table_region("all", region=list(rows))
        one = ophys.RoiResponseSeries(name=name, data=data, unit="a.u.", rois=region, **(clock or {"rate": 5.0}))
        if container in self.containers:
            self.containers[container].add_roi_response_series(one)
            return
        self.containers[container] = kind(name=container)
        self.module.add(self.containers[container])
        self.containers[container].add_roi_response_series(one)

    def write(self, path):
        with pynwb.NWBHDF5IO(str(path), "w") as io:
            io.write(self.file)
        return path


def values(fov, rois=slice(None)):
    return fov.fluorescence.read(0, fov.n_time, rois)


def suite2p_nwb(path, channels=1, planes=1):
    """As suite2p's ``save_nwb``: one table with ``iscell``, containers by role, series ``plane0, plane1``; short planes padded."""
    nwb = Nwb()
    table = nwb.table(N * planes, iscell=[[float(i % 2), i / (N * planes)] for i in range(N * planes)])
    roles = {"Fluorescence": GREEN, "Neuropil": NEUROPIL, "Deconvolved": DECONVOLVED}
    roles |= {"Fluorescence_chan2": RED, "Neuropil_chan2": RED / 2} if channels == 2 else {}
    for role, data in roles.items():
        for plane in range(planes):
            shown = data + plane
            shown[T - plane * 3 :] = 0
            nwb.series(role, f"plane{plane}", shown, table, range(plane * N, (plane + 1) * N))
    return nwb.write(path)


def test_a_second_channel_of_suite2p_is_never_taken_for_the_first(tmp_path):
    path = suite2p_nwb(tmp_path / "two.nwb", channels=2)
    (fov,) = opened(path).fovs
    assert np.array_equal(values(fov), GREEN)
    assert np.array_equal(fov.neuropil.read(0, T), NEUROPIL)
    assert fov.cells().tolist() == list(range(1, N, 2))
    (red,) = opened(path, series="Fluorescence_chan2").fovs
    assert np.array_equal(values(red), RED)
    assert np.array_equal(red.neuropil.read(0, T), RED / 2)


def test_planes_of_suite2p_on_one_table_are_fields_of_view(tmp_path):
    fovs = opened(suite2p_nwb(tmp_path / "planes.nwb", planes=3)).fovs
    assert [f.name for f in fovs] == ["plane0", "plane1", "plane2"]
    assert np.array_equal(values(fovs[1])[: T - 3], GREEN[: T - 3] + 1)
    assert len({u for f in fovs for u in f.uuids}) == 3 * N


def caiman_nwb(path, by_hand=False):
    """As CaImAn's ``save_NWB``: neurons and backgrounds on one table; ``accepted`` all False unless sorted by hand."""
    nwb = Nwb()
    keep = [i % 3 == 0 for i in range(N)] + [False, False]
    accepted = [by_hand and i < 4 for i in range(N)] + [False, False]
    table = nwb.table(N + 2, r=np.ones(N + 2), keep=keep, accepted=accepted, rejected=[False] * (N + 2))
    stamps = np.arange(T) / 5.0
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, table, range(N), timestamps=stamps)
    nwb.series("Fluorescence", "Background_Fluorescence_Response", RED[:, :2], table, [N, N + 1], timestamps=stamps)
    nwb.module.add(pynwb.TimeSeries(name="residuals", data=RED, unit="NA", timestamps=stamps))
    return nwb.write(path)


@pytest.mark.parametrize(("by_hand", "cells"), [(False, [0, 3, 6, 9]), (True, [0, 1, 2, 3])])
def test_components_that_caiman_kept_are_cells_and_backgrounds_are_no_field_of_view(tmp_path, by_hand, cells):
    (fov,) = opened(caiman_nwb(tmp_path / "c.nwb", by_hand)).fovs
    assert np.array_equal(values(fov), GREEN)
    assert fov.cells().tolist() == cells
    assert fov.processed


def ibl_nwb(path, column, background=True):
    """As neuroconv does for IBL: a table a FOV, neuropil on a background table of its own, ``classifier`` and ``UUID`` columns."""
    nwb = Nwb()
    chance = np.linspace(0, 1, N)
    for i in range(2):
        ids = [f"{i}-{k}" for k in range(N)]
        columns = {"classifier": chance, "UUID": ids, "time_offset": chance / 20}
        columns |= {} if column is None else {column: (chance > 0.75).astype(np.uint8)}
        table = nwb.table(name=f"PlaneSegmentationFOV0{i}", **columns)
        nwb.series(
            "Fluorescence", f"RAWROIResponseSeriesFOV0{i}", GREEN + i, table, timestamps=np.arange(T) / 5 + 0.05 * i
        )
        other = nwb.table(name=f"BackgroundPlaneSegmentationFOV0{i}") if background else table
        nwb.series(
            "Fluorescence",
            f"NEUROPILROIResponseSeriesFOV0{i}",
            NEUROPIL + i,
            other,
            timestamps=np.arange(T) / 5 + 0.05 * i,
        )
    return nwb.write(path)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(("column", "n"), [("Accepted", 3), ("is_cell", 3), (None, 6)])
def test_ibl_tables_have_cells_ids_clocks_and_neuropil(tmp_path, column, n, background):
    fovs = opened(ibl_nwb(tmp_path / "i.nwb", column, background)).fovs
    assert [len(f.cells()) for f in fovs] == [n, n]
    for i, fov in enumerate(fovs):
        assert np.array_equal(fov.neuropil.read(0, T), NEUROPIL + i)
        assert fov.uuids[3] == f"{i}-3"
        assert fov.times[0] == pytest.approx(0.05 * i)
        assert fov.roi_delay[-1] == pytest.approx(0.05)
        assert fov.position[3].tolist() == [4.0, 6.0, 0.0]


def test_a_table_that_says_nothing_of_cells_is_told(tmp_path, caplog):
    nwb = Nwb()
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, nwb.table())
    assert len(opened(nwb.write(tmp_path / "x.nwb")).fovs[0].cells()) == N
    assert (
        "no column of '/processing/ophys/ImageSegmentation/PlaneSegmentation' says which ROIs are cells" in caplog.text
    )


@pytest.mark.parametrize("cells", [True, False])
@pytest.mark.parametrize("clock", [{"rate": 5.0}, {"timestamps": np.arange(T) / 5.0}])
def test_transposed_data_are_told_by_the_number_of_rois(tmp_path, cells, clock):
    nwb = Nwb()
    table = nwb.table(**({"iscell": [[1.0, 0.9]] * N} if cells else {}))
    nwb.series("Fluorescence", "plane0", GREEN, table, **clock)
    with h5py.File(nwb.write(tmp_path / "t.nwb"), "r+") as file:
        series = file["processing/ophys/Fluorescence/plane0"]
        about = dict(series["data"].attrs)
        del series["data"]
        series["data"] = GREEN.T
        series["data"].attrs.update(about)
    fov = opened(tmp_path / "t.nwb").fovs[0]
    assert np.array_equal(values(fov), GREEN)


def test_two_candidates_are_listed_and_a_name_chooses(tmp_path):
    nwb = Nwb()
    table = nwb.table()
    nwb.series("Fluorescence", "Session1", GREEN, table)
    nwb.series("Fluorescence", "Another", RED, table)
    path = nwb.write(tmp_path / "x.nwb")
    with pytest.raises(InputError, match=r"several series could be .*Another'.*Session1'.* Give --series NAME"):
        opened(path)
    assert np.array_equal(values(opened(path, series="Session1").fovs[0]), GREEN)
    with pytest.raises(InputError, match="--series Third: no such series; there are"):
        opened(path, series="Third")


@pytest.mark.parametrize("names", [("Denoised", "Deconvolved", "Baseline"), ("ADenoised", "ZBaseline", "Deconvolved")])
def test_raw_fluorescence_is_taken_whatever_else_is_called(tmp_path, names):
    nwb = Nwb()
    table = nwb.table()
    for name, data in zip(names, (RED, DECONVOLVED, RED + 1)):
        nwb.series("Fluorescence", name, data, table)
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, table)
    nwb.series("Traces", "RoiResponseSeries", RED + 2, table, kind=ophys.DfOverF)
    fov = opened(nwb.write(tmp_path / "x.nwb")).fovs[0]
    assert np.array_equal(values(fov), GREEN)
    assert not fov.processed


def test_df_over_f_alone_is_used_as_it_is(tmp_path):
    nwb = Nwb()
    nwb.series("DfOverF", "RoiResponseSeries", GREEN, nwb.table(), kind=ophys.DfOverF)
    assert opened(nwb.write(tmp_path / "x.nwb")).fovs[0].processed


def test_invalid_times_trials_and_wheel_of_a_file_are_read(tmp_path):
    nwb = Nwb()
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, nwb.table())
    nwb.file.add_invalid_time_interval(start_time=10.0, stop_time=12.0)
    nwb.file.add_trial_column("gabor_stimulus_onset_time", "on")
    nwb.file.add_trial_column("contrast_left", "left")
    nwb.file.add_trial_column("contrast_right", "right")
    for k, (left, right) in enumerate([(1.0, np.nan), (np.nan, 0.25)]):
        nwb.file.add_trial(
            start_time=5.0 + 10 * k, stop_time=9.0 + 10 * k, gabor_stimulus_onset_time=6.0 + 10 * k, contrast_left=left,
            contrast_right=right,
        )  # fmt: skip
    wheel = pynwb.TimeSeries(name="WheelPosition", data=np.arange(60.0), unit="rad", rate=1.0)
    nwb.file.create_processing_module("wheel", "w").add(wheel)
    session = opened(nwb.write(tmp_path / "x.nwb"))
    assert session.fovs[0].bad_frames.sum() == 10
    behaviour = session.behaviour()
    assert behaviour.trials[0].kind == ["left 1.0", "right 0.25"]
    assert behaviour.trials[0].stimulus_on.tolist() == [6.0, 16.0]
    assert behaviour.wheels[0].position[-1] == 59


def test_a_typed_rate_that_the_file_contradicts_is_refused(tmp_path):
    with pytest.raises(InputError, match="--fs-hz 30, but its clock has 5 frames a second"):
        opened(suite2p_nwb(tmp_path / "x.nwb"), fs_hz=30.0)


# --- CaImAn HDF5, MATLAB, plain matrices --------------------------------------------------------------------------------------


def caiman_h5(path, f_dff=True, kept=True, rate=5.0):
    with h5py.File(path, "w") as file:
        e = file.create_group("estimates")
        e["C"], e["S"], e["f"] = GREEN.T, DECONVOLVED.T, RED[:, :2].T
        e["F_dff"] = GREEN.T / 2 if f_dff else np.bytes_("NoneType")
        e["idx_components"] = np.arange(0, N, 3) if kept else np.bytes_("NoneType")
        e["accepted_list"] = np.bytes_("NoneType")
        file.create_group("params/data")["fr"] = rate
    return path


@pytest.mark.parametrize("f_dff", [True, False])
def test_a_caiman_file_opens_with_its_kept_components(tmp_path, f_dff):
    fov = opened(caiman_h5(tmp_path / "c.hdf5", f_dff)).fovs[0]
    assert np.array_equal(values(fov), GREEN / 2 if f_dff else GREEN)
    assert fov.cells().tolist() == [0, 3, 6, 9]
    assert np.array_equal(fov.deconvolved.read(0, T), DECONVOLVED)
    assert np.median(np.diff(fov.times)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("name", "listed", "cells"),
    [
        ("idx_components_bad", np.arange(1, N), [0]),  # the list of what was kept was not saved
        ("idx_components", np.arange(0, N, 4).astype(float), [0, 4, 8]),
        ("idx_components", np.array([0.5, 0.9]), None),
    ],
)
def test_lists_of_components_count_whatever_form_they_have(tmp_path, name, listed, cells, caplog):
    path = caiman_h5(tmp_path / "c.hdf5", kept=False)
    with h5py.File(path, "r+") as file:
        if name in file["estimates"]:
            del file[f"estimates/{name}"]
        file[f"estimates/{name}"] = listed
    if cells is None:
        with pytest.raises(InputError, match="numbers of components are expected"):
            opened(path)
    else:
        assert opened(path).fovs[0].cells().tolist() == cells
        assert "taken as cells" not in caplog.text


def test_caiman_traces_the_other_way_round_than_their_masks_are_refused(tmp_path):
    path = caiman_h5(tmp_path / "c.hdf5")
    with h5py.File(path, "r+") as file:
        file["estimates/A/shape"] = [100, T]
    with pytest.raises(InputError, match=r"'/estimates/A' has 300 components"):
        opened(path)


def test_a_caiman_file_without_a_selection_says_so(tmp_path, caplog):
    assert len(opened(caiman_h5(tmp_path / "c.hdf5", kept=False)).fovs[0].cells()) == N
    assert "all 12 components are taken as cells" in caplog.text


@pytest.mark.parametrize("version", [5, 7.3])
def test_fall_mat_opens_in_both_versions(tmp_path, version):
    path = tmp_path / "Fall.mat"
    iscell = np.c_[np.arange(N) % 2, np.linspace(0, 1, N)]
    if version == 5:
        from scipy.io import savemat

        content = {"F": GREEN.T, "Fneu": NEUROPIL.T, "spks": DECONVOLVED.T, "iscell": iscell, "ops": {"fs": 5.0}}
        savemat(path, content | {"stat": np.array([{"med": 1}], dtype=object), "redcell": iscell})
    else:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["F"], file["Fneu"], file["spks"], file["iscell"] = GREEN, NEUROPIL, DECONVOLVED, iscell.T
            file["ops/fs"] = np.array([[5.0]])
    fov = opened(path).fovs[0]
    assert np.array_equal(values(fov), GREEN)
    assert np.array_equal(fov.neuropil.read(0, T), NEUROPIL)
    assert fov.cells().tolist() == list(range(1, N, 2))


def test_a_matrix_says_which_axis_is_time_by_its_shape_or_is_asked(tmp_path):
    for name, data in (("rows", GREEN), ("columns", GREEN.T)):
        np.save(tmp_path / f"{name}.npy", data)
        np.savetxt(tmp_path / f"{name}.csv", data, delimiter=",", fmt="%.9g")
        for suffix in ("npy", "csv"):
            fov = opened(tmp_path / f"{name}.{suffix}", fs_hz=5.0).fovs[0]
            assert np.array_equal(values(fov), GREEN), (name, suffix)
            assert fov.processed
    np.save(tmp_path / "square.npy", np.zeros((250, 300)))
    with pytest.raises(InputError, match=r"rows or columns could be time\. Give --time-axis"):
        opened(tmp_path / "square.npy", fs_hz=5.0)
    assert opened(tmp_path / "square.npy", fs_hz=5.0, time_axis="columns").fovs[0].n_time == 300
    with pytest.raises(InputError, match="does not say its frame rate; give --fs-hz"):
        opened(tmp_path / "rows.npy")


def test_a_table_with_a_clock_needs_no_rate_and_its_header_names_the_neurons(tmp_path):
    import pandas as pd

    table = pd.DataFrame(GREEN, columns=[f"cell {i}" for i in range(N)])
    table.insert(0, "time", np.arange(T) * 0.2)
    table.to_csv(tmp_path / "x.csv")  # with a column of row numbers, as pandas writes it
    fov = opened(tmp_path / "x.csv").fovs[0]
    assert np.allclose(values(fov), GREEN)
    assert fov.uuids[2] == "cell 2"
    assert fov.times[5] == pytest.approx(1.0)


def test_an_unknown_format_says_what_is_known(tmp_path):
    (tmp_path / "x.docx").write_bytes(b"PK\3\4")
    with pytest.raises(InputError, match=r"'.docx' is no format that is read; expected an ALF session folder"):
        opened(tmp_path / "x.docx")
    (tmp_path / "x.h5").write_bytes(b"")
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        opened(tmp_path / "x.h5")


# --- ALF ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path):
    return simulate.simulate_session(tmp_path / "one", 1, 30, 600, seed=2)


def by_folder_and_by_id(session, tmp_path, **given):
    from meso_forecast import MesoscopeSession

    cache = session.parents[4]
    eid = MesoscopeSession.from_path(session, skip_bad_fov=True).eid
    return opened(session, **given), opened(f"eid:{eid}", one_cache=cache, **given)


@pytest.mark.parametrize("only", [True, False])
def test_the_newest_revision_is_taken_by_folder_and_by_id(session, tmp_path, only):
    fov = session / "alf/FOV_00"
    old = np.load(fov / "mpci.ROIActivityF.npy")
    for mark, factor in (("#2025-02-04#", 2), ("#2025-06-30#", 3)):
        (fov / mark).mkdir()
        np.save(fov / mark / "mpci.ROIActivityF.npy", factor * old)
    if only:
        for path in [p for p in fov.iterdir() if p.is_file()]:
            path.rename(fov / "#2025-02-04#" / path.name) if path.name != "mpci.ROIActivityF.npy" else path.unlink()
    for one in by_folder_and_by_id(session, tmp_path):
        assert np.array_equal(values(one.fovs[0]), 3 * old)
    for one in by_folder_and_by_id(session, tmp_path, revision="2025-03-01"):
        assert np.array_equal(values(one.fovs[0]), 2 * old)


def test_ids_of_a_downloaded_cache_are_its_own(session, tmp_path, meso):
    """The tables that come with a download know ids that no index could invent."""
    from iblutil.io import parquet
    from one.alf.cache import make_parquet_db

    cache, real = session.parents[4], "7be8fec4-406b-4e74-8548-d2885dcc3d5e"
    make_parquet_db(cache, cache)
    sessions, about = parquet.load(cache / "sessions.pqt")
    datasets, about_datasets = parquet.load(cache / "datasets.pqt")
    sessions.index = [real]
    sessions.index.name = "id"
    datasets.index = datasets.index.__class__.from_tuples(
        [(real, b) for _, b in datasets.index], names=datasets.index.names
    )
    parquet.save(cache / "sessions.pqt", sessions, about)
    parquet.save(cache / "datasets.pqt", datasets, about_datasets)
    assert opened(f"eid:{real}", one_cache=cache).eid == real
    answer = meso("sessions", cache, "--output", tmp_path / "s.csv")
    assert answer.returncode == 0, answer.stderr
    assert real in (tmp_path / "s.csv").read_text()
    with pytest.raises(InputError, match="eid"):
        opened("eid:7be8fec4-406b-4e74-8548-d2885dcc3d5f", one_cache=cache)


def ibl_trials(folder):
    """The 13 columns of ibllib's extractors: ``stimOff_times`` is none of them."""
    import pandas as pd

    table = pd.read_parquet(folder / "_ibl_trials.table.pqt").drop(columns="stimOff_times", errors="ignore")
    assert table.shape[1] == 13
    table.to_parquet(folder / "_ibl_trials.table.pqt")
    return table


def test_a_real_trials_table_opens_with_and_without_its_stimulus_ends(session):
    folder = session / "alf/task_00"
    table = ibl_trials(folder)
    trials = opened(session).behaviour().trials[0]
    assert np.array_equal(trials.stimulus_off, table["feedback_times"])
    ends = table["stimOn_times"].to_numpy() + 1
    ends[3] = np.nan
    np.save(folder / "_ibl_trials.stimOff_times.npy", ends)
    trials = opened(session).behaviour().trials[0]
    assert trials.stimulus_off[2] == ends[2]
    assert trials.stimulus_off[3] == table["feedback_times"].iloc[3]


@pytest.mark.parametrize("break_it", ["cut table", "no column", "odd wheel", "text wheel"])
def test_optional_covariates_never_stop_the_traces(session, tmp_path, meso, break_it):
    import pandas as pd

    folder = session / "alf/task_00"
    table = folder / "_ibl_trials.table.pqt"
    if break_it == "cut table":
        table.write_bytes(table.read_bytes()[:200])
    elif break_it == "no column":
        pd.DataFrame({"x": [1.0]}).to_parquet(table)
    else:
        np.save(folder / "_ibl_wheel.timestamps.npy", np.array(["a"]) if break_it == "text wheel" else np.arange(3.0))
    answer = meso("preprocess", session, "--output", tmp_path / "r.h5")
    assert answer.returncode == 0, answer.stderr
    assert "left out, the traces do not need it" in answer.stderr


def test_protocols_come_from_the_experiment_description_and_labs_may_be_missing(session, tmp_path, meso):
    import shutil

    (session / "_ibl_experiment.description.yaml").write_text(
        "devices:\n  mesoscope:\n    mesoscope: {}\ntasks:\n- _biasedChoiceWorld:\n    collection: raw_task_data_00\n"
    )
    shutil.copytree(session.parents[3], tmp_path / "bare" / "Subjects")
    answer = meso("sessions", tmp_path / "bare", "--protocol", "BiasedChoiceWorld", "--json")
    assert answer.returncode == 0, answer.stderr
    assert '"task_protocol": "biasedChoiceWorld"' in answer.stdout


def test_a_session_whose_data_lie_in_a_revision_is_listed(session, tmp_path, meso):
    fov = session / "alf/FOV_00"
    (fov / "#2025-02-04#").mkdir()
    for path in [p for p in fov.iterdir() if p.is_file()]:
        path.rename(fov / "#2025-02-04#" / path.name)
    answer = meso("sessions", session.parents[4], "--json")
    assert '"total_rois": 9' in answer.stdout


# --- suite2p folders ----------------------------------------------------------------------------------------------------------


def test_a_session_root_and_a_cell_list_of_one_column_open(tmp_path):
    for plane in (0, 1):
        folder = tmp_path / "root" / "suite2p" / f"plane{plane}"
        folder.mkdir(parents=True)
        np.save(folder / "F.npy", GREEN.T)
        np.save(folder / "iscell.npy", (np.arange(N) % 2).astype(float))
        np.save(
            folder / "stat.npy", np.array([{"med": (i, 2 * i), "ypix": np.arange(3)} for i in range(N)], dtype=object)
        )
    fovs = opened(tmp_path / "root", fs_hz=5.0).fovs
    assert [f.name for f in fovs] == ["plane0", "plane1"]
    assert fovs[0].cells().tolist() == list(range(1, N, 2))
    assert fovs[0].position[3].tolist() == [6.0, 3.0, 0.0]
    with pytest.raises(InputError, match="the file says no probabilities"):
        fovs[0].cells(0.5)
    np.save(tmp_path / "root/suite2p/plane0/iscell.npy", np.ones(N - 1))
    with pytest.raises(InputError, match=r"shape \(11,\), expected \(12, 2\) or \(12,\)"):
        opened(tmp_path / "root", fs_hz=5.0)


def test_an_option_that_a_source_does_not_read_is_refused(tmp_path, session):
    with pytest.raises(InputError, match=r"--series: .* is of kind ALF, which does not read it"):
        opened(session, series="x")


@pytest.mark.parametrize("column", ["brain_area", "acronym", "location", "brain_location_ids"])
def test_regions_of_an_nwb_table_written_as_text_are_names(tmp_path, column):
    nwb = Nwb()
    names = ["VISp", "MOs", "unknown", "RSPd"] * (N // 4)
    table = nwb.table(N, iscell=[[1.0, 1.0]] * N, **{column: names})
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, table)
    (fov,) = opened(nwb.write(tmp_path / "r.nwb")).fovs
    assert fov.region_name.tolist() == ["VISp", "MOs", "", "RSPd"] * (N // 4)
    assert not fov.region.any()


def test_numbers_written_as_text_are_region_ids_and_a_plane_s_location_names_what_its_table_does_not(tmp_path):
    nwb = Nwb()
    table = nwb.table(N, iscell=[[1.0, 1.0]] * N, region_id=["385", "993", "0"] * (N // 3))
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, table)
    (fov,) = opened(nwb.write(tmp_path / "ids.nwb")).fovs
    assert fov.region.tolist() == [385, 993, 0] * (N // 3)
    assert set(fov.region_name) == {""}
    nwb = Nwb()
    table = nwb.table(N, iscell=[[1.0, 1.0]] * N)
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, table)
    (fov,) = opened(nwb.write(tmp_path / "plane.nwb")).fovs
    assert set(fov.region_name) == {"VISp"}


@pytest.mark.parametrize("name", ["Neuropil_subtracted", "NeuropilCorrected", "neuropil_corrected_F"])
def test_a_trace_without_neuropil_is_not_taken_for_the_neuropil(name, tmp_path):
    nwb = Nwb()
    table = nwb.table()
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, table)
    nwb.series("Fluorescence", name, RED, table)
    (fov,) = opened(nwb.write(tmp_path / "x.nwb")).fovs
    assert np.array_equal(values(fov), GREEN)
    assert fov.neuropil is None


@pytest.mark.parametrize(("name", "processed"), [("zscored_traces", True), ("Normalized", True), ("raw_traces", False)])
def test_scores_are_used_as_they_are(name, processed, tmp_path):
    nwb = Nwb()
    nwb.series("Fluorescence", name, GREEN, nwb.table())
    assert opened(nwb.write(tmp_path / "x.nwb")).fovs[0].processed is processed


def test_stored_counts_become_the_numbers_that_they_stand_for(tmp_path):
    nwb = Nwb()
    table = nwb.table()
    region = table.create_roi_table_region("all", region=list(range(N)))
    for name, data, more in (
        ("Fluorescence", (GREEN * 1000).astype(np.int16), {"conversion": 0.001, "offset": 2.0}),
        ("Neuropil", NEUROPIL, {}),
    ):
        box = ophys.Fluorescence(name=name)
        nwb.module.add(box)
        box.add_roi_response_series(
            ophys.RoiResponseSeries(name="R", data=data, unit="a.u.", rois=region, rate=5.0, **more)
        )
    (fov,) = opened(nwb.write(tmp_path / "x.nwb")).fovs
    assert values(fov) == pytest.approx(GREEN + 2, abs=0.0011)
    assert fov.neuropil.read(0, T) == pytest.approx(NEUROPIL)


@pytest.mark.parametrize("column", ["valid_roi", "is_neuron", "Selected", "is_valid"])
def test_rois_that_a_column_calls_no_cells_are_none(column, tmp_path):
    nwb = Nwb()
    nwb.series("dff", "traces", GREEN, nwb.table(**{column: [i % 3 == 0 for i in range(N)]}), kind=ophys.DfOverF)
    assert opened(nwb.write(tmp_path / "x.nwb")).fovs[0].cells().tolist() == [0, 3, 6, 9]


def test_a_clock_in_milliseconds_is_told_by_the_rate_of_its_imaging_plane(tmp_path):
    nwb = Nwb()
    nwb.plane = nwb.file.create_imaging_plane(
        name="fast", optical_channel=ophys.OpticalChannel(name="c2", description="d", emission_lambda=500.0), description="d",
        device=nwb.file.devices["scope"], excitation_lambda=900.0, indicator="G", location="V1", imaging_rate=200.0,
    )  # fmt: skip
    nwb.series("Fluorescence", "F", GREEN, nwb.table(), timestamps=np.arange(T) * 1000 / 200)
    with pytest.raises(InputError, match=r"F' has 0\.2 frames a second, its imaging plane 200: is its clock in ms"):
        opened(nwb.write(tmp_path / "x.nwb"))


@pytest.mark.parametrize(("clock", "told"), [({"rate": 30.0}, "its imaging plane 5"), ({"rate": 5.0}, ""),
                                             ({"timestamps": np.arange(T, dtype=float)}, "counts frames")])  # fmt: skip
def test_a_clock_that_something_contradicts_is_told(clock, told, tmp_path, caplog):
    nwb = Nwb()
    nwb.series("Fluorescence", "R", GREEN, nwb.table(iscell=[1.0] * N), **clock)
    opened(nwb.write(tmp_path / "x.nwb"))
    assert told in caplog.text
    assert bool(told) == ("imaging plane" in caplog.text or "counts frames" in caplog.text)


def test_what_values_mean_is_read_from_their_tables_of_labels(session):
    fov = session / "alf/FOV_00"
    types = np.load(fov / "mpciROIs.mpciROITypes.npy")
    qc = np.load(fov / "mpci.mpciFrameQC.npy")
    before = opened(session).fovs[0]
    np.save(fov / "mpciROIs.mpciROITypes.npy", np.where(types == 1, 3, 1))
    np.save(fov / "mpci.mpciFrameQC.npy", np.where(qc == 0, 2, qc))
    (fov / "mpciROITypes.names.tsv").write_text("roi_values\troi_labels\n1\tdendrite\n3\tcell\n")
    (fov / "mpciFrameQC.names.tsv").write_text("qc_values\tqc_labels\n2\tok\n3\thigh signal\n")
    after = opened(session).fovs[0]
    assert np.array_equal(before.roi_type, after.roi_type)
    assert np.array_equal(before.bad_frames, after.bad_frames)
    assert before.bad_frames.any()


def test_an_roi_without_a_place_has_an_unknown_delay_and_stops_nothing(session):
    path = session / "alf/FOV_00/mpciROIs.stackPos.npy"
    place = np.load(path).astype(float)
    place[3] = np.nan
    np.save(path, place)
    delay = opened(session).fovs[0].roi_delay
    assert np.flatnonzero(np.isnan(delay)).tolist() == [3]


def test_info_tells_of_a_broken_field_of_view_and_describes_the_others(session, meso):
    shutil.copytree(session / "alf/FOV_00", session / "alf/FOV_01")
    (session / "alf/FOV_00/mpci.times.npy").unlink()
    answer = meso("info", session, "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)["results"]
    assert [f["name"] for f in found["fovs"]] == ["FOV_01"]
    assert "mpci.times.npy" in found["skipped"]["FOV_00"]


def suite2p_plane(folder, n_cells=3, **more):
    folder.mkdir(parents=True)
    for name, values in (("F", GREEN.T), ("Fneu", NEUROPIL.T)):
        np.save(folder / f"{name}.npy", values)
    np.save(folder / "iscell.npy", np.c_[np.arange(N) < n_cells, np.full(N, 0.5)])
    for name, content in more.items():
        np.save(folder / f"{name}.npy", content, allow_pickle=True)
    return folder


def test_a_plane_without_cells_can_be_left_out(tmp_path, caplog):
    suite2p_plane(tmp_path / "suite2p/plane0", ops={"fs": 5.0})
    suite2p_plane(tmp_path / "suite2p/plane1", 0, ops={"fs": 5.0})
    with pytest.raises(InputError, match=r"plane1.*no ROI of 12 is a cell.*--skip-bad-fov"):
        opened(tmp_path)
    session = opened(tmp_path, skip_bad_fov=True)
    assert ([f.name for f in session.fovs], list(session.skipped)) == (["plane0"], ["plane1"])
    assert "plane1 is left out" in caplog.text


def test_a_plane_of_an_nwb_file_without_cells_can_be_left_out(tmp_path):
    nwb = Nwb()
    for name, cells in (("A", [1] * N), ("B", [0] * N)):
        nwb.series(f"Fluorescence{name}", f"series{name}", GREEN, nwb.table(name=f"Table{name}", is_cell=cells))
    path = nwb.write(tmp_path / "x.nwb")
    with pytest.raises(InputError, match=r"no ROI of 12 is a cell.*--skip-bad-fov"):
        opened(path)
    assert [f.name for f in opened(path, skip_bad_fov=True).fovs] == ["TableA"]


def test_settings_that_newer_suite2p_spreads_over_files_are_all_read(tmp_path):
    """Version 1.0: ``settings`` the rate, ``db`` which folders were joined, ``reg_outputs`` the bad frames."""
    bad = np.arange(T) < 7
    more = {
        "settings": {"fs": 5.0},
        "db": {"frames_per_folder": np.array([100, 200])},
        "reg_outputs": {"badframes": bad},
    }
    (fov,) = opened(suite2p_plane(tmp_path / "plane0", **more)).fovs
    assert np.flatnonzero(np.diff(fov.times) > 1).tolist() == [99]
    assert np.diff(fov.times)[0] == pytest.approx(0.2)
    assert np.array_equal(fov.bad_frames, bad)


def test_a_plane_without_a_list_of_cells_says_that_all_are_taken(tmp_path, caplog):
    folder = suite2p_plane(tmp_path / "plane0", ops={"fs": 5.0})
    (folder / "iscell.npy").unlink()
    assert opened(folder).fovs[0].cells().size == N
    assert "no iscell.npy; all 12 ROIs are taken as cells" in caplog.text


@pytest.mark.parametrize(
    ("names", "main", "neuropil"),
    [
        (("F0", "dF_F0"), "dF_F0", None),
        (("F_0", "F"), "F", None),
        (("F_minus_F0", "f0_traces"), "F_minus_F0", None),
        (("raw_F", "np_F"), "raw_F", "np_F"),
        (("roi_traces", "surround_traces"), "roi_traces", "surround_traces"),
        (("F", "firing_rate", "inferred_prob"), "F", None),
        (("firing_rate",), "firing_rate", None),
        (("ROIf05", "npil"), "ROIf05", "npil"),
    ],
)
def test_a_baseline_a_surround_and_a_rate_are_not_taken_for_the_fluorescence(names, main, neuropil, tmp_path):
    nwb = Nwb()
    table = nwb.table()
    for name in names:
        nwb.series("Fluorescence", name, GREEN, table)
    (fov,) = opened(nwb.write(tmp_path / "x.nwb")).fovs
    assert fov.fluorescence.dataset.split("/")[-2] == main
    assert fov.processed == (main in ("dF_F0", "F_minus_F0", "firing_rate"))
    assert (fov.neuropil and fov.neuropil.dataset.split("/")[-2]) == neuropil


@pytest.mark.parametrize(
    ("names", "main", "processed"),
    [
        (("fissa_traces",), "fissa_traces", True),
        (("fissa_traces", "neuropil"), "fissa_traces", True),
        (("fissa_result", "calcium_raw"), "calcium_raw", False),
        (("fissa_raw", "fissa_result"), "fissa_raw", False),
        (("decontaminated", "np_traces"), "decontaminated", True),
        (("fissa_neuropil", "fissa_result"), "fissa_result", True),
        (("fissa_deltaf",), "fissa_deltaf", True),
    ],
)
def test_what_fissa_made_has_no_neuropil_left_to_subtract(names, main, processed, tmp_path):
    nwb = Nwb()
    table = nwb.table()
    for name in names:
        nwb.series("Fluorescence", name, GREEN, table)
    (fov,) = opened(nwb.write(tmp_path / "x.nwb")).fovs
    assert fov.fluorescence.dataset.split("/")[-2] == main
    assert fov.processed == processed
    assert ("baseline" in fov.ahead) == (main == "fissa_deltaf")


@pytest.mark.parametrize(
    ("names", "said", "main", "note"),
    [
        (("calcium_smoothed",), "", "calcium_smoothed", True),
        (("calcium_smoothed", "calcium_raw"), "", "calcium_raw", False),
        (("dff_smoothed",), "", "dff_smoothed", True),
        (("traces",), "smoothed with a Gaussian of 0.2 s", "traces", True),
        (("traces",), "unfiltered fluorescence", "traces", False),
        (("dff",), "F0: smoothed minimum", "dff", False),
        (("F", "neuropil_smoothed"), "", "F", True),
        (("F", "neuropil_smoothed", "neuropil"), "", "F", False),
        (("dff", "neuropil_smoothed"), "", "dff", False),
    ],
)
def test_smoothed_traces_are_said_to_know_later_frames(names, said, main, note, tmp_path):
    nwb = Nwb()
    table = nwb.table()
    for name in names:
        nwb.series("Fluorescence", name, GREEN, table)
        nwb.containers["Fluorescence"][name].fields["description"] = said or "no description"
    (fov,) = opened(nwb.write(tmp_path / "x.nwb")).fovs
    assert fov.fluorescence.dataset.split("/")[-2] == main
    assert ("smoothed" in fov.ahead) == note
    assert (not fov.processed) == (not main.startswith("dff"))


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ({"mask_type": ["soma", "axon", "unknown", "artifact"] * 3}, [0, 4, 8]),
        ({"is_cell": ["yes", "no", "no", "no"] * 3}, [0, 4, 8]),
        ({"is_soma": [1, 0, 0, 0] * 3, "soma_probability": np.linspace(0, 1, N)}, [0, 4, 8]),
        ({"exclude": [False, True, True, True] * 3}, [0, 4, 8]),
        ({"is_cell": [1, 0] * 6, "excluded": [0, 0, 1, 0] * 3}, [0, 4, 8]),
        ({"status": ["accepted", "rejected", "undecided", "rejected"] * 3}, [0, 4, 8]),
        ({"status": ["active", "silent", "silent", "silent"] * 3}, list(range(N))),
    ],
)
def test_words_and_exclusions_say_which_rois_are_cells(columns, cells, tmp_path):
    nwb = Nwb()
    nwb.series("dff", "traces", GREEN, nwb.table(**columns), kind=ophys.DfOverF)
    assert opened(nwb.write(tmp_path / "x.nwb")).fovs[0].cells().tolist() == cells


def test_numbers_that_point_at_words_are_the_words(tmp_path):
    nwb = Nwb()
    table = nwb.table()
    table.add_column("mask_type", "what it is", data=[k % 3 for k in range(N)], enum=["artifact", "soma", "axon"])
    nwb.series("dff", "traces", GREEN, table, kind=ophys.DfOverF)
    assert opened(nwb.write(tmp_path / "x.nwb")).fovs[0].cells().tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize(
    ("said", "unit", "role", "processed"),
    [
        ("no description", "dF/F", "dff", True),
        ("ΔF/F of each cell", "a.u.", "dff", True),
        ("neuropil corrected fluorescence", "a.u.", "corrected", True),
        ("spikes inferred by OASIS deconvolution", "a.u.", "deconvolved", True),
        ("raw fluorescence, before dF/F", "a.u.", "fluorescence", False),
        ("motion corrected fluorescence", "a.u.", "fluorescence", False),
    ],
)
def test_what_names_do_not_say_a_description_or_a_unit_says(said, unit, role, processed, tmp_path, caplog):
    caplog.set_level("INFO")
    nwb = Nwb()
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, nwb.table())
    one = nwb.containers["Fluorescence"]["RoiResponseSeries"]
    path = nwb.write(tmp_path / "x.nwb")
    with h5py.File(path, "a") as file:
        file[f"processing/ophys/Fluorescence/{one.name}"].attrs["description"] = said
        file[f"processing/ophys/Fluorescence/{one.name}/data"].attrs["unit"] = unit
    (fov,) = opened(path).fovs
    assert fov.processed is processed
    assert f"({role}) is the activity" in caplog.text


@pytest.mark.parametrize("change", [{"data": NEUROPIL[1:]}, {"data": NEUROPIL, "rate": 5.0, "starting_time": 0.2}])
def test_neuropil_of_other_frames_is_not_subtracted(change, tmp_path, caplog):
    nwb = Nwb()
    table, clock = nwb.table(), {k: v for k, v in change.items() if k != "data"}
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, table)
    nwb.series("Neuropil", "Neuropil", change["data"], table, **clock)
    (fov,) = opened(nwb.write(tmp_path / "x.nwb")).fovs
    assert fov.neuropil is None
    assert "of other frames than" in caplog.text


@pytest.mark.parametrize("rows", [np.arange(N) - 1, np.arange(N) // 2])
def test_rows_below_zero_or_named_twice_are_refused(rows, tmp_path):
    nwb = Nwb()
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, nwb.table())
    path = nwb.write(tmp_path / "x.nwb")
    with h5py.File(path, "a") as file:
        file["processing/ophys/Fluorescence/RoiResponseSeries/rois"][:] = rows
    with pytest.raises(InputError, match="names a row of its table twice, or one below 0"):
        opened(path)


def test_a_column_of_cells_that_holds_probabilities_is_refused(tmp_path):
    nwb = Nwb()
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, nwb.table(is_cell=[i / N for i in range(N)]))
    with pytest.raises(InputError, match=r"'is_cell' holds 0\.08"):
        opened(nwb.write(tmp_path / "x.nwb"))


def test_components_rejected_by_hand_are_no_cells(tmp_path):
    path = tmp_path / "c.hdf5"
    with h5py.File(path, "w") as file:
        file["estimates/C"], file["params/data/fr"] = GREEN.T, 5.0
        file["estimates/idx_components"], file["estimates/rejected_list"] = np.arange(0, N, 2), np.array([0, 2])
        file["estimates/accepted_list"] = np.zeros(0, int)
    assert opened(path).fovs[0].cells().tolist() == [4, 6, 8, 10]


@pytest.mark.parametrize("extra", ["mean", "Background"])
def test_a_mean_or_background_beside_the_cells_is_none(extra, tmp_path, caplog):
    rows = [",".join(["time", "c0", "c1", extra])] + [f"{i / 5},{i % 7},{i % 5},{i % 3}" for i in range(T)]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    assert opened(tmp_path / "a.csv").fovs[0].n_rois == 2
    assert extra in caplog.text


def test_neuropil_columns_among_cells_are_refused(tmp_path):
    rows = ["time,c0,c1,c0_neuropil"] + [f"{i / 5},{i % 7},{i % 5},{i % 3}" for i in range(T)]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    with pytest.raises(InputError, match="c0_neuropil"):
        opened(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("processed", "signal", "said"),
    [
        (True, "fluorescence", "as the file has it"),
        (True, "dff", "as the file has it"),
        (False, "fluorescence", "F - 0.7 Fneu"),
        (False, "dff", "dF/F"),
    ],
)
def test_a_recording_says_what_its_activity_is(processed, signal, said, tmp_path, meso):
    source = suite2p_plane(tmp_path / "plane0", n_cells=12, ops={"fs": 5.0})
    if processed:
        np.save(source := tmp_path / "a.npy", np.load(tmp_path / "plane0/F.npy").T)
    given = ["--fs-hz", 5] if processed else []
    answer = meso("preprocess", source, *given, "--signal", signal, "--output", tmp_path / "s.h5", "--json")
    assert json.loads(answer.stdout)["results"]["signal"] == said
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["normalization/scale"].attrs["units"] == said
    if processed:
        meso("extract", source, *given, "--signal", "raw", "--output", tmp_path / "x.h5")
        with h5py.File(tmp_path / "x.h5") as file:
            assert file["activity_matrix"].attrs["description"] == f"activity of all cells, {said}"


@pytest.mark.parametrize("rows", [np.arange(8), np.arange(N)[::-1], np.random.default_rng(5).permutation(N)])
@pytest.mark.parametrize("role", ["Deconvolved", "DfOverF"])
def test_series_of_other_rows_of_one_table_are_no_further_cells(tmp_path, rows, role):
    """Events of valid ROIs alone, or in another order: joined by row, or left out where some cells have none."""
    nwb = Nwb()
    table = nwb.table(Accepted=[1] * 8 + [0] * 4)
    nwb.series("Fluorescence", "RoiResponseSeries", GREEN, table)
    nwb.series("Fluorescence", "Neuropil", NEUROPIL[:, ::-1], table, rows=np.arange(N)[::-1])
    kind = ophys.DfOverF if role == "DfOverF" else ophys.Fluorescence
    nwb.series(role, role, DECONVOLVED[:, rows], table, rows=rows, kind=kind)
    fovs = opened(nwb.write(tmp_path / "x.nwb")).fovs
    assert [f.n_rois for f in fovs] == [N]
    assert np.array_equal(fovs[0].fluorescence.read(0, T), GREEN)
    assert np.array_equal(fovs[0].neuropil.read(0, T, np.array([3, 1])), NEUROPIL[:, [3, 1]])
    if role == "Deconvolved" and len(rows) == N:
        assert np.array_equal(fovs[0].deconvolved.read(0, T), DECONVOLVED)
    else:
        assert fovs[0].deconvolved is None
