"""How is one field of view read from ALF datasets, in a folder or through ONE?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

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
