"""From which files can a session be read? ALF folders, suite2p folders, NWB files and activity HDF5 files become lists of FOVs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

import hdf5io
from hdf5io import InputError

from .fov import FOVData, Trace, load_npy, make_fov

Finder = Callable[[str], Path | None]  #: ALF dataset name -> file, None when the session has none


def folder_finder(folder: Path) -> Finder:
    """Return a finder of ALF datasets in a FOV folder; UUIDs inside file names are allowed."""

    def find(name: str) -> Path | None:
        if (folder / name).is_file():
            return folder / name
        stem, _, extension = name.rpartition(".")
        found = sorted(folder.glob(f"{stem}.*.{extension}"))
        return found[-1] if found else None

    return find


def alf_fov(name: str, find: Finder, where: Path, line_axis: int = 0) -> FOVData:
    """Return one FOV from ALF datasets.

    Parameters
    ----------
    name : ``FOV_00``.
    find : dataset name -> file.
    where : for messages: the folder the datasets belong to.
    line_axis : column of ``mpciROIs.stackPos`` that is the scan line.
    """

    def need(dataset: str) -> Path:
        path = find(dataset)
        if path is None:
            raise InputError(
                f"{where}: '{dataset}' is missing; every FOV needs it. Leave this FOV out with --skip-bad-fov."
            )
        return path

    def either(*names: str) -> np.ndarray | None:
        return next((load_npy(p) for n in names if (p := find(n)) is not None), None)

    times, bad = load_npy(need("mpci.times.npy")), either("mpci.badFrames.npy")
    qc, place = either("mpci.mpciFrameQC.npy"), either("mpciROIs.mlapdv.npy", "mpciROIs.mlapdv_estimate.npy")
    flagged = np.zeros(len(times), bool) if bad is None else bad.astype(bool)
    if qc is not None:
        if len(qc) != len(flagged):
            raise InputError(f"{where}: mpci.mpciFrameQC has {len(qc)} frames, mpci.badFrames {len(flagged)}.")
        flagged = flagged | (qc != 0)
    given = {"bad_frames": flagged, "roi_type": load_npy(need("mpciROIs.mpciROITypes.npy"))}
    stack, shift = either("mpciROIs.stackPos.npy"), either("mpciStack.timeshift.npy")
    if stack is not None and shift is not None:
        line = stack[:, line_axis].astype(int)
        if line.min() < 0 or line.max() >= len(shift):
            raise InputError(
                f"{where}: mpciROIs.stackPos has lines {line.min()}..{line.max()}, mpciStack.timeshift {len(shift)} lines."
            )
        given["roi_delay"] = shift[line]
    if place is not None or stack is not None:
        given["position"] = np.asarray(place if place is not None else stack[:, [1, 0, 2]], float)
    for field, names in (
        ("probability", ["cellClassifier"]),
        ("region", ["brainLocationIds_ccf_2017", "brainLocationIds_ccf_2017_estimate"]),
    ):
        if (values := either(*(f"mpciROIs.{n}.npy" for n in names))) is not None:
            given[field] = values
    if (ids := find("mpciROIs.uuids.csv")) is not None:
        given["uuids"] = np.array(ids.read_text(encoding="utf-8").split()[1:])
    for field, dataset in (
        ("neuropil", "mpci.ROINeuropilActivityF.npy"),
        ("deconvolved", "mpci.ROIActivityDeconvolved.npy"),
    ):
        if (path := find(dataset)) is not None:
            given[field] = Trace(path=path)
    return make_fov(name, Trace(path=need("mpci.ROIActivityF.npy")), times, **given)


def suite2p_fov(folder: Path, fs_hz: float, name: str | None = None) -> FOVData:
    """Return one suite2p plane: ``F.npy`` (roi, time), and where they are there ``Fneu, spks, iscell``.

    Arrays stored the other way round than ``F`` are recognised by their shape. ``stat.npy`` and ``ops.npy`` are pickles and are
    not opened: positions stay unknown.
    """
    if not fs_hz > 0:
        raise InputError(f"{folder}: a suite2p folder does not say its frame rate; give --fs-hz.")
    f = Trace(path=folder / "F.npy", transposed=True)
    n_time, n_rois = f.shape
    given = {}
    for field, file in (("neuropil", "Fneu.npy"), ("deconvolved", "spks.npy")):
        if (folder / file).is_file():
            shape = load_npy(folder / file, mapped=True).shape
            if shape not in ((n_rois, n_time), (n_time, n_rois)):
                raise InputError(f"{folder / file}: shape {shape} fits F.npy {n_rois, n_time} neither way round.")
            given[field] = Trace(path=folder / file, transposed=shape == (n_rois, n_time))
    if (folder / "iscell.npy").is_file():
        iscell = np.atleast_2d(load_npy(folder / "iscell.npy"))
        if len(iscell) != n_rois or iscell.shape[1] < 2:
            raise InputError(
                f"{folder / 'iscell.npy'}: shape {iscell.shape}, expected ({n_rois}, 2) as F.npy has {n_rois} ROIs."
            )
        given |= {"roi_type": (iscell[:, 0] > 0).astype(np.int16), "probability": iscell[:, 1].astype(float)}
    return make_fov(name or folder.name, f, np.arange(n_time) / fs_hz, **given)


def nwb_fovs(path: Path) -> list[FOVData]:
    """Return one FOV for each ``RoiResponseSeries`` of fluorescence in an NWB file.

    Neuropil and deconvolved series are matched by name and plane. Files are read with h5py; the NWB schema says where things lie.
    """
    with hdf5io.read(path) as file:
        series: list[tuple[str, dict]] = []

        def visit(name: str, item) -> None:
            if isinstance(item, h5py.Group) and item.attrs.get("neurodata_type") == "RoiResponseSeries":
                series.append((name, read_series(path, name, item)))

        file.visititems(visit)
    groups: dict[str, dict[str, dict]] = {}
    for name, found in series:
        lower = name.lower()
        role = "neuropil" if "neuropil" in lower else "deconvolved" if "deconv" in lower else "fluorescence"
        groups.setdefault(found["plane"], {})[role] = found
    fovs = []
    for plane, roles in groups.items():
        main = roles.get("fluorescence") or roles.get("deconvolved")
        if main is None:
            continue
        extra = {r: roles[r]["trace"] for r in ("neuropil", "deconvolved") if r in roles}
        dff = (
            "dff" in main["trace"].dataset.lower()
            or "df_over_f" in main["trace"].dataset.lower()
            or "fluorescence" not in roles
        )
        fovs.append(make_fov(plane, main["trace"], main["times"], processed=dff, **extra, **main["table"]))
    if not fovs:
        raise InputError(
            f"{path}: no RoiResponseSeries in this NWB file; two-photon traces are expected under processing/ophys."
        )
    return fovs


def read_series(path: Path, name: str, item: h5py.Group) -> dict:
    """Return trace, times and ROI table of one NWB series."""
    data = hdf5io.require(item, "data")
    if "timestamps" in item:
        times = item["timestamps"][:]
    else:
        start = hdf5io.require(item, "starting_time")
        times = float(start[()]) + np.arange(len(data)) / float(start.attrs["rate"])
    rows = item["rois"][:] if "rois" in item else None
    target = item.file[item["rois"].attrs["table"]] if rows is not None and "table" in item["rois"].attrs else None
    table = {}
    key = next((k for k in ("iscell", "Accepted", "accepted") if target is not None and k in target), None)
    if key is not None:
        values = np.asarray(target[key][:], float)[rows].reshape(len(rows), -1)
        table["roi_type"] = (values[:, 0] > 0).astype(np.int16)
        if values.shape[1] > 1:
            table["probability"] = values[:, 1]
    plane = target.name.rsplit("/", 1)[-1] if target is not None else "plane0"
    return {"trace": Trace(path=path, dataset=name + "/data"), "times": times, "plane": plane, "table": table}


def activity_fov(path: Path) -> tuple[FOVData, dict[str, str]]:
    """Return the FOV and text attributes of an activity file: ours, the original's ``/activity_matrix`` + ``/timestamps``."""
    with hdf5io.read(path) as file:
        name = next((n for n in ("activity", "activity_matrix", "dff_activity", "data") if n in file), None)
        if name is None:
            hdf5io.require(file, "activity_matrix")
        if file[name].ndim != 2:
            raise InputError(f"{path}: '/{name}' has shape {file[name].shape}, expected (time, neuron).")
        stamp = next((n for n in ("timestamps", "times") if n in file), None)
        if stamp is None:
            hdf5io.require(file, "timestamps")
        times, shape = file[stamp][:], file[name].shape
        attrs = {k: v for k, v in file.attrs.items() if isinstance(v, (str, bytes))}
    transposed = shape[1] == len(times) != shape[0]
    fov = make_fov("FOV_00", Trace(path=path, dataset=name, transposed=transposed), times, processed=True)
    return fov, {k: v.decode() if isinstance(v, bytes) else v for k, v in attrs.items()}
