"""What is one field of view, and which of its files are wrong?

`FOVData` holds the small arrays of a field of view (FOV) and knows where the large ones lie. Large arrays are read a block of frames at
a time and never kept. Every check raises an `InputError` that names the file and the dataset.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

import hdf5io
from hdf5io.errors import InputError

from ..activity.traces import Traces
from .rounded_clock import regular_again

log = logging.getLogger(__package__)
#: what a reader's format calls the parts of a FOV, for messages
GENERIC = {
    "times": "the clock", "bad_frames": "the list of bad frames", "roi_type": "the column that says which ROIs are cells",
    "probability": "the classifier's probability", "position": "the positions", "region": "the regions", "uuids": "the ids",
    "roi_delay": "the scan delays",
}  # fmt: skip
MOST_TRIMMED = 0.1
SHORTEST_FRAME_S = 1 / 150  #: a shorter one is told
LONGEST_DELAY = 1.5  #: of a frame; an ROI is scanned within its frame
LONGEST_FRAME_S = 10.0  #: a longer step between frames is a clock in another unit


class Trace(BaseModel):
    """Where a (time, roi) array lies: an .npy file, a dataset of an HDF5 (NWB) file, or memory (small text and MATLAB files)."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    path: Path
    dataset: str | None = None
    transposed: bool = False  #: stored as (roi, time), as suite2p does
    array: np.ndarray | None = Field(None, repr=False)
    scale: float = 1.0  #: stored numbers times this, plus ``offset``, are the activity
    offset: float = 0.0
    columns: tuple[int, ...] | None = None  #: stored ROIs that are the trace's, in its order; all as they are
    missing: tuple[float, ...] = ()  #: stored numbers that mean that there is none

    @property
    def shape(self) -> tuple[int, int]:
        """Return (time, roi)."""
        with self.opened() as data:
            shape = data.shape
        if len(shape) != 2:
            raise InputError(f"{self}: expected two axes, found shape {tuple(shape)}.")
        n_time, n_rois = shape[::-1] if self.transposed else shape
        return n_time, n_rois if self.columns is None else len(self.columns)

    def opened(self):
        """Return a context manager with the array, nothing read yet."""
        return _Opened(self)

    def read(self, start: int, stop: int, rois: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return a block of frames of some ROIs, (time, roi) float32; a copy, so that no mapping stays."""
        with self.opened() as data:
            block = np.asarray(data[:, start:stop]).T if self.transposed else np.asarray(data[start:stop])
        block = (block if self.columns is None else block[:, self.columns])[:, rois]
        block = hdf5io.Packing(self.scale, self.offset, self.missing).unpack(block)
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, and their neurons are dropped as such
            return np.ascontiguousarray(block, dtype=np.float32)

    def __str__(self) -> str:
        return f"{self.path}" + (f", dataset '{self.dataset}'" if self.dataset else "")


class _Opened:
    """Opens an array for one read; a mapping is dropped at the end, so its pages do not count as ours."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.file = trace, None

    def __enter__(self):
        if self.trace.array is not None:
            return self.trace.array
        if self.trace.dataset is None:
            return load_npy(self.trace.path, mapped=True)
        try:
            self.file = h5py.File(self.trace.path, "r")
        except OSError as error:
            said = str(error).splitlines()[0]
            raise InputError(f"{self.trace.path}: not a readable HDF5 file ({said}). Is it complete?") from None
        return hdf5io.array(self.file, self.trace.dataset)

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if self.file is not None:
            self.file.close()
        if isinstance(error, OSError | RuntimeError) and self.trace.dataset is not None:
            raise InputError(f"{self.trace}: damaged ({str(error).splitlines()[0]}).") from None


def load_npy(path: Path, mapped: bool = False, kinds: str = "biuf") -> np.ndarray:
    """Return an .npy array of numbers, refusing pickles; InputError names a missing, broken or foreign file."""
    path = Path(path)
    if not path.is_file():
        folder = path.parent
        there = ", ".join(sorted(p.name for p in folder.glob("*.npy"))[:12]) if folder.is_dir() else "no such folder"
        raise InputError(f"{path}: missing; the folder has {there or 'no .npy files'}.")
    with hdf5io.parsing(path, "an .npy array"), open(path, "rb") as handle:
        version = np.lib.format.read_magic(handle)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(handle)
        left = os.path.getsize(path) - handle.tell()
    if dtype.kind not in kinds:
        raise InputError(f"{path}: holds {dtype}, an .npy array of numbers is expected.")
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    if size > left:
        raise InputError(
            f"{path}: not readable as an .npy array (shape {shape} needs {size} bytes, the file has {left})."
        )
    return np.load(path, mmap_mode="r" if mapped and size else None, allow_pickle=False)


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
    probability: np.ndarray = Field(description="(roi,) classifier probability of being a cell, NaN where unknown")
    position: np.ndarray = Field(description="(roi, 3) micrometres (ml, ap, dv), or pixels (x, y, 0)")
    region: np.ndarray = Field(description="(roi,) Allen CCF 2017 region id, 0 unknown")
    region_name: np.ndarray = Field(
        description="(roi,) name of the region as the file has it, empty where it says none"
    )
    uuids: np.ndarray = Field(description="(roi,) text")
    roi_delay: np.ndarray = Field(
        description="(roi,) seconds after the frame's start at which the ROI's line is scanned"
    )
    red: np.ndarray = Field(description="(roi,) bool, labelled in the red channel")
    processed: bool = Field(False, description="the activity is used as it is: no neuropil, no dF/F")
    ahead: str = Field(
        "", description="why activity that is used as it is depends on later frames, as far as that is known"
    )
    terms: dict[str, str] = Field(GENERIC, description="what the format calls each part, for messages")

    @property
    def n_time(self) -> int:
        """Return the number of frames."""
        return self.fluorescence.shape[0]

    @property
    def n_rois(self) -> int:
        """Return the number of regions of interest."""
        return self.fluorescence.shape[1]

    @property
    def where(self) -> str:
        """Return file and FOV, for messages."""
        return f"{self.fluorescence} ({self.name})"

    def check(self) -> FOVData:
        """Return self, or raise an InputError that names what does not fit."""
        n_time, n_rois = self.fluorescence.shape
        what, terms = self.where, self.terms
        if n_rois == len(self.times) != n_time and n_time == len(self.roi_type):
            raise InputError(f"{what}: shape {n_time, n_rois} is transposed; expected (time, roi) = {n_rois, n_time}.")
        if self.times.ndim != 1 or self.times.dtype.kind not in "iuf":
            raise InputError(f"{what}: {terms['times']} has shape {self.times.shape}, expected one number a frame.")
        if len(self.times) != n_time:
            raise InputError(
                f"{what}: {terms['times']} has {len(self.times)} frames, the traces {n_time}. {self.advice()}"
            )
        if len(self.bad_frames) != n_time:
            raise InputError(f"{what}: {terms['bad_frames']} has {len(self.bad_frames)} frames, the traces {n_time}.")
        for label in ("roi_type", "probability", "position", "region", "region_name", "uuids", "roi_delay", "red"):
            size = len(getattr(self, label))
            if size != n_rois:
                raise InputError(f"{what}: {terms.get(label, label)} has {size} entries, the traces {n_rois} ROIs.")
        for label, trace in (("neuropil", self.neuropil), ("deconvolved", self.deconvolved)):
            if trace is not None and trace.shape != (n_time, n_rois):
                raise InputError(f"{trace} ({self.name}): {label} has shape {trace.shape}, F has {n_time, n_rois}.")
        refuse_disorder(self.times, f"{what}: {terms['times']}")
        step = float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0
        if step > LONGEST_FRAME_S:
            raise InputError(
                f"{what}: {terms['times']} has {step:g} s between frames: is it in ms or in samples? Give seconds."
            )
        if self.bad_frames.all():
            raise InputError(
                f"{what}: all {n_time} frames are bad ({terms['bad_frames']}). Leave this FOV out with --skip-bad-fov."
            )
        return self

    def advice(self) -> str:
        """Return what to do about a clock that is longer than the traces."""
        extra, n_time = len(self.times) - self.n_time, self.n_time
        if abs(len(self.times) - 2 * n_time) <= 2:
            return "Twice as many: each frame has two times (ibllib issue 916); correct the clock first."
        if 0 < extra <= MOST_TRIMMED * n_time:
            return f"They must be equal; --trim-times drops the last {extra}, as is done where acquisition outlived the recording."
        return "They must be equal."

    def cells(self, least_probability: float = 0.0) -> np.ndarray:
        """Return the ROIs that are cells with at least the given classifier probability."""
        if least_probability > 0 and np.isnan(self.probability).all():
            raise InputError(
                f"{self.where}: --least-probability {least_probability:g}: the file says no probabilities."
            )
        likely = (self.probability >= least_probability) if least_probability > 0 else True
        chosen = np.flatnonzero((self.roi_type == 1) & likely)
        if not len(chosen):
            rule = f"{self.terms['roi_type']} 1, probability >= {least_probability:g}"
            raise InputError(
                f"{self.where}: no ROI of {self.n_rois} is a cell ({rule}). Leave it out with --skip-bad-fov."
            )
        return chosen

    def with_bad_frames(self, bad: np.ndarray) -> FOVData:
        """Return the FOV with further bad frames."""
        return self.model_copy(update={"bad_frames": self.bad_frames | bad}).check()

    def traces(self, rois: np.ndarray, frame: np.ndarray) -> Traces:
        """Return some cells on the common clock; ``frame`` is this FOV's frame at each of its times."""
        arrays = (self.fluorescence, self.neuropil, self.deconvolved)
        return Traces(self.name, self.where, *arrays, self.times, self.bad_frames, self.processed, rois, frame)


def refuse_disorder(times: np.ndarray, where: str) -> None:
    """Refuse a clock that is not finite and increasing, by its first frame that is not.

    Raises
    ------
    InputError : which frame, and whether the clock starts anew there.
    """
    if not np.isfinite(times).all():
        raise InputError(
            f"{where} is not finite and increasing: frame {np.flatnonzero(~np.isfinite(times))[0]} has no time."
        )
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        i = int(back[0])
        anew = times[i + 1] - times[0] < 0.1 * (times[i] - times[0])
        advice = " It starts anew there: give each recording a file of its own." if anew else ""
        raise InputError(
            f"{where} is not finite and increasing: frame {i + 1} is at {times[i + 1]:.10g} s, the one before at {times[i]:.10g} s"
            f" ({len(back)} such frames).{advice}"
        )


def doubt_clock(times: np.ndarray, where: str) -> None:
    """Tell of a clock in seconds that looks like frame numbers or minutes."""
    if times.ndim != 1 or len(times) < 2 or times.dtype.kind not in "iuf":
        return
    step = float(np.median(np.diff(times)))
    if times[0] in (0, 1) and (np.diff(times) == 1).all():
        log.warning(
            "%s counts frames (%g, %g, ...); a frame is taken to last 1 s. Write seconds if it does not.",
            where,
            *times[:2],
        )
    elif 0 < step < SHORTEST_FRAME_S:
        log.warning("%s has %.3g frames a second. Is it in minutes? Seconds are expected.", where, 1 / step)


def make_fov(name: str, fluorescence: Trace, times: np.ndarray, trim_times: bool = False, **given: Any) -> FOVData:
    """Return a checked FOV; what is not given is unknown (all ROIs are cells, no bad frames).

    ``trim_times`` drops times after the last frame (at most a tenth of them), and what was said about those frames.
    """
    n_time, n_rois = fluorescence.shape
    times = np.asarray(times, float) if np.asarray(times).dtype.kind in "biuf" else np.asarray(times)
    if trim_times and n_time < len(times) <= (1 + MOST_TRIMMED) * n_time:
        if len(given.get("bad_frames", ())) == len(times):
            given["bad_frames"] = given["bad_frames"][:n_time]
        times = times[:n_time]
    filled = {
        "bad_frames": np.zeros(len(times), bool), "roi_type": np.ones(n_rois, np.int16), "probability": np.full(n_rois, np.nan),
        "position": np.full((n_rois, 3), np.nan), "region": np.zeros(n_rois, np.int64), "region_name": np.full(n_rois, ""),
        "uuids": np.array([f"{name}/{i}" for i in range(n_rois)]), "roi_delay": np.zeros(n_rois), "red": np.zeros(n_rois, bool),
    }  # fmt: skip
    terms = GENERIC | given.pop("terms", {})
    times = regular_again(times, f"{fluorescence}: {terms['times']}")
    delay, frame_s = given.get("roi_delay", np.zeros(0)), float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    if len(times) > 1 and (np.abs(delay[np.isfinite(delay)]) > LONGEST_DELAY * frame_s).any():
        log.warning("%s: %s of up to %g s, a frame lasts %g s: left out (in ms?)", fluorescence, terms["roi_delay"], np.nanmax(delay), frame_s)  # fmt: skip
        given["roi_delay"] = np.full(n_rois, np.nan)
    doubt_clock(times, f"{fluorescence}: {terms['times']}")
    return FOVData(name=name, fluorescence=fluorescence, times=times, terms=terms, **(filled | given)).check()
