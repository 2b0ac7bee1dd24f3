"""How is an activity HDF5 file read: ours, or the original's ``/activity_matrix`` and ``/timestamps``?"""

from __future__ import annotations

import logging
from pathlib import Path

import h5py

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, make_fov
from .matrices import refuse_clocks, refuse_ids

log = logging.getLogger(__package__)
NAMES = ("activity", "activity_matrix", "dff_activity", "data")
CLOCKS = ("timestamps", "times")
PREPROCESSED = "meso_forecast/recording/1"


def activity_fov(path: Path, trim_times: bool = False) -> tuple[FOVData, dict[str, str]]:
    """Return the FOV and text attributes of an activity file; the activity is used as it is."""
    with hdf5io.read(path) as file:
        if file.attrs.get("schema") == PREPROCESSED:
            raise InputError(f"{path}: is preprocessed already; train, compare and forecast read it as it is.")
        name, stamp = found(file, NAMES, "activity_matrix"), found(file, CLOCKS, "timestamps")
        activity, clock = hdf5io.array(file, name, ndim=2), hdf5io.array(file, stamp, ndim=1)
        shape, packing = activity.shape, hdf5io.packing(activity)
        times = hdf5io.packing(clock).unpack(clock[:])
        said = {k: v for k, v in file.attrs.items() if isinstance(v, (str, bytes))}
    transposed = shape[1] == len(times) != shape[0]
    trace = Trace(path=path, dataset=name, transposed=transposed, **packing._asdict())
    refuse_clocks(trace)
    refuse_ids(trace)
    attrs = {str(k): v.decode(errors="replace") if isinstance(v, bytes) else v for k, v in said.items()}
    given = {"processed": True, "ahead": attrs.get("ahead", ""), "terms": {"times": f"'/{stamp}'"}}
    return make_fov("FOV_00", trace, times, trim_times, **given), attrs


def found(file: h5py.File, names: tuple[str, ...], expected: str) -> str:
    """Return the first of several names that a file has, or refuse by the expected one."""
    name = next((n for n in names if n in file), None)
    if name is None:
        hdf5io.require(file, expected)
    return name or expected
