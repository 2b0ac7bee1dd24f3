"""How is a plane read from a suite2p folder?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from .fov import FOVData, Trace, load_npy, make_fov


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
