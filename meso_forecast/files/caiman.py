"""How are components read from a CaImAn HDF5 file (``cnmf.save``)?

Traces are (component, time). Activity is ``F_dff`` where it was computed, else the demixed traces ``C``; both are used as they are.
``S`` is deconvolved. Cells are ``idx_components``, the components that were kept, less the ``rejected_list``; CaImAn writes absent values as the text "NoneType".
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
from .suite2p import frame_rate

AHEAD = {
    "F_dff": "CaImAn's F_dff takes its baseline from frames before and after each one",
    "C": "CaImAn's C is denoised by a fit to frames before and after each one",
}
log = logging.getLogger(__package__)


def is_caiman(file: h5py.File) -> bool:
    """Return whether an HDF5 file is CaImAn's."""
    estimates = file.get("estimates")
    return isinstance(estimates, h5py.Group) and "C" in estimates


def is_matrix(group: h5py.Group, name: str) -> bool:
    """Return whether an optional matrix is there (and not "NoneType")."""
    item = group.get(name)
    return isinstance(item, h5py.Dataset) and item.shape is not None and item.ndim == 2 and item.dtype.kind in "iuf"


def caiman_fov(path: Path, fs_hz: float | None) -> FOVData:
    """Return the components of a CaImAn file."""
    with hdf5io.read(path) as file:
        estimates = file["estimates"]
        n, n_time = hdf5io.array(estimates, "C", ndim=2).shape
        masks = estimates.get("A/shape")  # (pixel, component)
        if isinstance(masks, h5py.Dataset) and masks.shape == (2,) and masks[1] != n:
            raise InputError(
                f"{path}: '/estimates/C' is {n, n_time}, '/estimates/A' has {masks[1]} components; (component, time) is expected."
            )
        main = "F_dff" if is_matrix(estimates, "F_dff") else "C"
        if estimates[main].shape != (n, n_time):
            raise InputError(
                f"{path}: '/estimates/{main}' has shape {estimates[main].shape}, '/estimates/C' {n, n_time}."
            )
        given: dict[str, Any] = {}
        if is_matrix(estimates, "S") and estimates["S"].shape == (n, n_time):
            given["deconvolved"] = Trace(path=path, dataset="estimates/S", transposed=True)
        given |= cells_of(estimates, n, path)
        if is_matrix(estimates, "center") and estimates["center"].shape == (n, 2):
            given["position"] = np.c_[estimates["center"][:][:, ::-1].astype(float), np.zeros(n)]
        rate = file.get("params/data/fr")
        said = rate[()] if isinstance(rate, h5py.Dataset) and rate.shape == () else None
    fs_hz = frame_rate(fs_hz, said, path)
    log.info("%s: '/estimates/%s' is the activity, used as it is", path.name, main)
    trace = Trace(path=path, dataset=f"estimates/{main}", transposed=True)
    given |= {"terms": {"roi_type": "idx_components"}, "processed": True, "ahead": AHEAD[main]}
    return make_fov(path.stem, trace, np.arange(n_time) / fs_hz, **given)


def cells_of(estimates: h5py.Group, n: int, path: Path) -> dict[str, np.ndarray]:
    """Return which components are cells: those accepted by hand, else ``idx_components`` less those rejected by hand, else all, which is said."""
    kept = listed(estimates, "accepted_list", n, path)
    if kept is None or not len(kept):
        names = ("idx_components", "idx_components_bad", "rejected_list")
        kept, bad, rejected = (listed(estimates, name, n, path) for name in names)
        if kept is None and bad is not None and len(bad):
            kept = np.setdiff1d(np.arange(n), bad)
        if kept is None:
            log.warning("%s: '/estimates/idx_components' is not there; all %d components are taken as cells", path, n)
            kept = np.arange(n)
        kept = kept if rejected is None else np.setdiff1d(kept, rejected)
    roi_type = np.zeros(n, np.int16)
    roi_type[kept] = 1
    return {"roi_type": roi_type}


def listed(estimates: h5py.Group, name: str, n: int, path: Path) -> np.ndarray | None:
    """Return a list of components, by number or as one flag each; None where it is not there.

    Raises
    ------
    InputError : a component that there is not.
    """
    item = estimates.get(name)
    if not (isinstance(item, h5py.Dataset) and item.shape is not None and item.dtype.kind in "iubf" and item.ndim == 1):
        return None
    if item.dtype.kind == "f" and (item[:] % 1 != 0).any():
        raise InputError(
            f"{path}: '/estimates/{name}' holds {item[:][item[:] % 1 != 0][0]:g}, numbers of components are expected."
        )
    if item.dtype.kind == "b" and len(item) != n:
        raise InputError(f"{path}: '/estimates/{name}' has {len(item)} flags, there are {n} components.")
    found = np.flatnonzero(item[:]) if item.dtype.kind == "b" else item[:].astype(int)
    wrong = found[(found < 0) | (found >= n)]
    if len(wrong):
        raise InputError(f"{path}: '/estimates/{name}' names component {wrong[0]}, there are {n}.")
    return found
