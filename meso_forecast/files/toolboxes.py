"""How are traces read as other toolboxes for calcium imaging save them? CNMF-E, EXTRACT, MIN1PIPE (MATLAB) and Minian (netCDF).

CNMF-E keeps (cell, time) in a struct ``neuron`` (``C_raw``, else the fit ``C``; ``S``), EXTRACT (time, cell) in ``output.temporal_weights``,
MIN1PIPE (cell, time) in ``sigfn`` and ``spkfn``, Minian (unit, frame) in ``C`` and ``S`` with the units' labels (-1: rejected by hand).
Of these only CNMF-E (``neuron.Fs``) and MIN1PIPE (``Params.Fsi_new``) say the frame rate.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, make_fov
from .matlab import OBJECT, mat_variables
from .matrices import LEAST_FRAMES, required_rate
from .suite2p import fall_fov, frame_rate

log = logging.getLogger(__package__)
AHEAD = "{} is a fit to frames before and after each one"
STRUCTS = ("neuron", "Data", "results")  #: names of CNMF-E's struct
WANTED = ("F", *STRUCTS, "output", "sigfn", "spkfn", "Params", "C_raw", "C", "S", "Fs")


def is_toolbox(file: h5py.File) -> bool:
    """Return whether an HDF5 file is one of MATLAB with variables that are known here."""
    return (
        "C_raw" in file
        or "sigfn" in file
        or any(n in file for n in ("neuron", "output"))
        or ("F" in file and "iscell" in file)
    )


def mat_fov(path: Path, fs_hz: float | None) -> FOVData:
    """Return the traces of a MATLAB file: suite2p's ``Fall.mat``, or those of CNMF-E, EXTRACT, MIN1PIPE.

    Raises
    ------
    InputError : none of these, or an object of a class, which MATLAB alone can read.
    """
    found = mat_variables(path, WANTED)
    if isinstance(found.get("F"), np.ndarray):
        return fall_fov(path, fs_hz)
    opaque = [name for name in found if found[name] is OBJECT]
    if opaque:
        name = opaque[0]
        raise InputError(
            f"{path}: '{name}' is an object of a class, which MATLAB alone reads. In MATLAB: s = struct({name}); save('x.mat', '-struct', 's',"
            " 'C_raw', 'C', 'S', 'Fs')"
        )
    struct = next(
        (found[n] for n in STRUCTS if isinstance(found.get(n), dict) and {"C", "C_raw"} & set(found[n])), found
    )
    extract, params = found.get("output"), found.get("Params")
    if isinstance(extract, dict) and is_matrix(extract.get("temporal_weights")):
        weights = extract["temporal_weights"]
        masks = extract.get("spatial_weights")
        n = masks.shape[2] if isinstance(masks, np.ndarray) and masks.ndim == 3 else None
        turned = n is not None and weights.shape[0] == n != weights.shape[1]
        return fov_of(path, {"main": weights}, "output.temporal_weights", fs_hz, None, by_cell=turned)
    if is_matrix(found.get("sigfn")):
        rate = params.get("Fsi_new") if isinstance(params, dict) else None
        arrays = {"main": found["sigfn"], "deconvolved": found.get("spkfn")}
        return fov_of(path, arrays, "sigfn", fs_hz, rate, ahead=AHEAD.format("MIN1PIPE's sigfn"))
    for name in ("C_raw", "C"):
        if is_matrix(struct.get(name)):
            ahead = AHEAD.format("CNMF-E's C") if name == "C" else ""
            arrays = {"main": struct[name], "deconvolved": struct.get("S")}
            return fov_of(path, arrays, name, fs_hz, struct.get("Fs"), ahead=ahead)
    there = ", ".join(f"'{k}'" for k in found)
    raise InputError(
        f"{path}: no traces that are known: F (suite2p), neuron.C_raw or C (CNMF-E), output.temporal_weights (EXTRACT), sigfn (MIN1PIPE);"
        f" the file has {there or 'nothing'}."
    )


def is_matrix(value: Any) -> bool:
    """Return whether a variable is a matrix with something in it."""
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.size > 0


def fov_of(
    path: Path, arrays: dict[str, Any], name: str, fs_hz: float | None, said: Any, *, by_cell: bool = True, ahead: str = ""
) -> FOVData:  # fmt: skip
    """Return a FOV of arrays (cell, time), or (time, cell) where not ``by_cell``; used as they are."""
    main, spikes = arrays["main"], arrays.get("deconvolved")
    n_time = main.shape[1 if by_cell else 0]
    if n_time < LEAST_FRAMES <= max(main.shape):
        order = "(cell, time)" if by_cell else "(time, cell)"
        raise InputError(
            f"{path}: '{name}' has shape {main.shape}; {order} is expected, with {LEAST_FRAMES} frames at least."
        )
    given: dict[str, Any] = {"processed": True, "ahead": ahead}
    if spikes is not None and is_matrix(spikes) and spikes.shape == main.shape:
        given["deconvolved"] = Trace(path=path, transposed=by_cell, array=spikes)
    elif spikes is not None:
        log.warning("%s: the deconvolved activity is sparse or of another shape, and is left out; save full(S)", path)
    times = np.arange(n_time) / frame_rate(fs_hz, said, path)
    log.info(
        "%s: '%s' is the activity, used as it is; all %d are taken as cells",
        path.name,
        name,
        main.shape[0 if by_cell else 1],
    )
    return make_fov(path.stem, Trace(path=path, transposed=by_cell, array=main), times, **given)


def is_minian(file: h5py.File) -> bool:
    """Return whether an HDF5 file is Minian's netCDF."""
    return all(name in file for name in ("C", "unit_id", "frame"))


def minian_fov(path: Path, fs_hz: float | None) -> FOVData:
    """Return the units of Minian's netCDF file; a frame that is not there makes a pause."""
    with hdf5io.read(path) as file:
        units, frames = (hdf5io.array(file, name, ndim=1)[:] for name in ("unit_id", "frame"))
        shapes = (len(units), len(frames)), (len(frames), len(units))
        traces: dict[str, Trace] = {}
        for name in ("C", "S"):
            if name not in file:
                continue
            data = hdf5io.array(file, name, ndim=2)
            if data.shape not in shapes:
                raise InputError(
                    f"{path}: '/{name}' has shape {data.shape}; there are {len(units)} units and {len(frames)} frames."
                )
            packing = hdf5io.packing(data)._asdict()
            traces[name] = Trace(path=path, dataset=name, transposed=data.shape == shapes[0], **packing)
        given: dict[str, Any] = {"uuids": np.array([str(u) for u in units]), "deconvolved": traces.get("S")}
        if "unit_labels" in file:
            labels = hdf5io.array(file, "unit_labels", ndim=1)[:]
            given |= {"roi_type": (labels >= 0).astype(np.int16), "terms": {"roi_type": "'/unit_labels' -1 is none,"}}
            if len(set(labels[labels >= 0].tolist())) < (labels >= 0).sum():
                log.warning(
                    "%s: several units have one label: Minian means to merge them; each counts as a cell here", path
                )
    given |= {"processed": True, "ahead": AHEAD.format("Minian's C")}
    times = frames.astype(float) / required_rate(fs_hz, path)
    return make_fov(path.stem, traces["C"], times, **given)
