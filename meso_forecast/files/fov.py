"""What is one field of view, and which of its files are wrong?

`FOVData` holds the small arrays of a field of view (FOV) and knows where the large ones lie. Large arrays are read a block of frames at
a time and never kept. Every check raises an `InputError` that names the file and the dataset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hdf5io.errors import InputError

from ..activity.traces import Traces


class Trace(BaseModel):
    """Where a (time, roi) array lies: an .npy file, or a dataset of an HDF5 (NWB) file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: Path
    dataset: str | None = None
    transposed: bool = False  #: stored as (roi, time), as suite2p does
    first: int = 0  #: first column of a table that several FOVs share
    count: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Return (time, roi)."""
        with self.opened() as data:
            shape = data.shape
        if len(shape) != 2:
            raise InputError(f"{self}: expected two axes, found shape {tuple(shape)}.")
        n_time, n_rois = shape[::-1] if self.transposed else shape
        return n_time, n_rois if self.count is None else self.count

    def opened(self):
        """Return a context manager with the array, nothing read yet."""
        return _Opened(self)

    def read(self, start: int, stop: int, rois: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return a block of frames of some ROIs, (time, roi) float32; a copy, so that no mapping stays."""
        with self.opened() as data:
            block = np.asarray(data[:, start:stop]).T if self.transposed else np.asarray(data[start:stop])
        if self.count is not None:
            block = block[:, self.first : self.first + self.count]
        return np.ascontiguousarray(block[:, rois], dtype=np.float32)

    def __str__(self) -> str:
        return f"{self.path}" + (f", dataset '{self.dataset}'" if self.dataset else "")


class _Opened:
    """Opens an array for one read; a mapping is dropped at the end, so its pages do not count as ours."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.file = trace, None

    def __enter__(self):
        if self.trace.dataset is None:
            return load_npy(self.trace.path, mapped=True)
        try:
            self.file = h5py.File(self.trace.path, "r")
        except OSError as error:
            raise InputError(
                f"{self.trace.path}: not a readable HDF5 file ({str(error).splitlines()[0]}). Is it complete?"
            ) from None
        return self.file[self.trace.dataset]

    def __exit__(self, *_: Any) -> None:
        if self.file is not None:
            self.file.close()


def load_npy(path: Path, mapped: bool = False) -> np.ndarray:
    """Return an .npy array, refusing pickles; InputError names a missing or broken file."""
    if not Path(path).is_file():
        folder = Path(path).parent
        there = ", ".join(sorted(p.name for p in folder.glob("*.npy"))[:12]) if folder.is_dir() else "no such folder"
        raise InputError(f"{path}: missing; the folder has {there or 'no .npy files'}.")
    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not a readable .npy array ({str(error).splitlines()[0]}).") from None


class FOVData(BaseModel):
    """One field of view."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    name: str = Field(description="FOV_00, plane0, ...")
    fluorescence: Trace = Field(description="raw fluorescence F, or activity that is to be used as it is")
    neuropil: Trace | None = Field(None, description="neuropil fluorescence")
    deconvolved: Trace | None = Field(None, description="deconvolved activity")
    times: np.ndarray = Field(description="(time,) seconds, start of each frame")
    bad_frames: np.ndarray = Field(description="(time,) bool: bad, or flagged by quality control")
    roi_type: np.ndarray = Field(description="(roi,) 0 no cell, 1 cell")
    probability: np.ndarray = Field(description="(roi,) classifier probability of being a cell")
    position: np.ndarray = Field(description="(roi, 3) micrometres (ml, ap, dv), or pixels (x, y, 0)")
    region: np.ndarray = Field(description="(roi,) Allen CCF 2017 region id, 0 unknown")
    uuids: np.ndarray = Field(description="(roi,) text")
    roi_delay: np.ndarray = Field(
        description="(roi,) seconds after the frame's start at which the ROI's line is scanned"
    )
    processed: bool = Field(False, description="the activity is used as it is: no neuropil, no dF/F")

    @property
    def n_time(self) -> int:
        """Return the number of frames."""
        return self.fluorescence.shape[0]

    @property
    def n_rois(self) -> int:
        """Return the number of regions of interest."""
        return self.fluorescence.shape[1]

    def check(self) -> FOVData:
        """Return self, or raise an InputError that names what does not fit."""
        n_time, n_rois = self.fluorescence.shape
        what = f"{self.fluorescence} ({self.name})"
        if n_rois == len(self.times) != n_time and n_time == len(self.roi_type):
            raise InputError(f"{what}: shape {n_time, n_rois} is transposed; expected (time, roi) = {n_rois, n_time}.")
        if len(self.times) != n_time:
            raise InputError(
                f"{what}: mpci.times has {len(self.times)} frames, the traces {n_time}. They must be equal."
            )
        for label, size in (("badFrames", len(self.bad_frames)),):
            if size != n_time:
                raise InputError(f"{what}: mpci.{label} has {size} frames, the traces {n_time}.")
        for label, values in (
            ("mpciROITypes", self.roi_type),
            ("cellClassifier", self.probability),
            ("stackPos", self.position),
        ):
            if len(values) != n_rois:
                raise InputError(f"{what}: mpciROIs.{label} has {len(values)} entries, the traces {n_rois} ROIs.")
        for label, trace in (("neuropil", self.neuropil), ("deconvolved", self.deconvolved)):
            if trace is not None and trace.shape != (n_time, n_rois):
                raise InputError(f"{trace} ({self.name}): {label} has shape {trace.shape}, F has {n_time, n_rois}.")
        if not np.isfinite(self.times).all() or (np.diff(self.times) <= 0).any():
            raise InputError(f"{what}: mpci.times is not finite and increasing.")
        if self.bad_frames.all():
            raise InputError(
                f"{what}: all {n_time} frames are bad (mpci.badFrames, mpci.mpciFrameQC). Leave this FOV out with --skip-bad-fov."
            )
        return self

    def cells(self, least_probability: float = 0.0) -> np.ndarray:
        """Return the ROIs that are cells with at least the given classifier probability."""
        chosen = np.flatnonzero((self.roi_type == 1) & (self.probability >= least_probability))
        if not len(chosen):
            raise InputError(
                f"{self.fluorescence} ({self.name}): no ROI of {self.n_rois} is a cell (mpciROITypes 1, probability >= {least_probability:g})."
            )
        return chosen

    def traces(self, rois: np.ndarray, frame: np.ndarray) -> Traces:
        """Return some cells on the common clock; ``frame`` is this FOV's frame at each of its times."""
        where = f"{self.fluorescence} ({self.name})"
        arrays = (self.fluorescence, self.neuropil, self.deconvolved)
        return Traces(self.name, where, *arrays, self.times, self.bad_frames, self.processed, rois, frame)


def make_fov(name: str, fluorescence: Trace, times: np.ndarray, **given: Any) -> FOVData:
    """Return a checked FOV; what is not given is unknown (all ROIs are cells, no bad frames)."""
    n_rois = fluorescence.shape[1]
    filled = {
        "bad_frames": np.zeros(len(times), bool), "roi_type": np.ones(n_rois, np.int16), "probability": np.ones(n_rois),
        "position": np.full((n_rois, 3), np.nan), "region": np.zeros(n_rois, np.int64),
        "uuids": np.array([f"{name}/{i}" for i in range(n_rois)]), "roi_delay": np.zeros(n_rois),
    }  # fmt: skip
    return FOVData(name=name, fluorescence=fluorescence, times=np.asarray(times, float), **(filled | given)).check()
