"""How are two-photon traces read from an NWB file?"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, make_fov


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


def is_nwb(path: Path) -> bool:
    """Return whether an HDF5 file is NWB."""
    with hdf5io.read(path) as file:
        return "nwb_version" in file.attrs or isinstance(file.get("processing"), h5py.Group)
