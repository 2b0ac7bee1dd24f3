"""How is an activity HDF5 file read: ours, or the original's ``/activity_matrix`` and ``/timestamps``?"""

from __future__ import annotations

from pathlib import Path

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, make_fov


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
