"""How is a plane read from a suite2p folder, or from its ``Fall.mat``?

``F.npy`` (roi, time), and where they are there ``Fneu, spks, iscell, redcell``; frame rate and bad frames from ``ops.npy``
(``db.npy``, ``settings.npy``, ``reg_outputs.npy`` of newer versions) through an unpickler that runs nothing; positions from ``stat.npy``.
Bad frames also from ``bad_frames.npy``, which suite2p reads beside the raw data, by default two levels above the plane. The planes of a
volume are scanned one after the other: plane k of n starts k / n of a frame late.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, load_npy, make_fov
from .matlab import mat_arrays
from .matrices import LEAST_FRAMES
from .pickles import load_pickled_npy

log = logging.getLogger(__package__)
TERMS = {
    "roi_type": "iscell.npy",
    "probability": "iscell.npy",
    "bad_frames": "the list of bad frames",
    "position": "stat.npy",
}
PLANE = re.compile(r"plane(\d+)")
DESCRIPTIONS = ("ops.npy", "db.npy", "settings.npy", "reg_outputs.npy")
WANTED = (
    "fs",
    "badframes",
    "data_path",
    "frames_per_folder",
    "nplanes",
    "iplane",
    "nrois",
    "lines",
    "bruker_bidirectional",
)
RESULTS = (
    "F.npy",
    "spks.npy",
    "stat.npy",
    "iscell.npy",
)  #: a plane with one of them was processed; a flyback plane has none
RATE_TOLERANCE = 0.01
PAUSE_S = 60.0  #: between recordings that suite2p was given together
MOST_PADDED = 64  #: frames by which planes of one recording differ
LEAST_PADDED = 0.05  #: of the ROIs


def suite2p_planes(folder: Path) -> list[Path]:
    """Return the plane folders of a suite2p folder: itself, ``plane0, plane1, ...`` in it, or in ``suite2p`` below it, by number.

    Where only the view of all planes was kept, that is it.
    """
    if (folder / "F.npy").is_file():
        return [folder]
    for root in (folder, folder / "suite2p"):
        found = [p for p in root.glob("plane*") if any((p / name).is_file() for name in RESULTS)]
        planes = [p for p in found if PLANE.fullmatch(p.name)]
        if len(planes) < len(found):
            other = ", ".join(sorted(p.name for p in found if p not in planes))
            log.warning("%s: %s: no name of a plane (plane0, plane1, ...), left out", root, other)
        if any((p / "F.npy").is_file() for p in planes):  # where some lack it, that is told when they are opened
            return sorted(planes, key=lambda p: (len(p.name), p.name))
    views = [root / "combined" for root in (folder, folder / "suite2p")]
    return [view for view in views if (view / "F.npy").is_file()][:1]


def suite2p_fov(folder: Path, fs_hz: float | None, name: str | None = None, trim_times: bool = False) -> FOVData:
    """Return one suite2p plane. Arrays stored the other way round than ``F`` are recognised by their shape."""
    if folder.name == "combined" and any(folder.parent.glob("plane*/F.npy")):
        raise InputError(
            f"{folder}: suite2p's view of all planes, where shorter ones end in zeros. Give {folder.parent}."
        )
    f = Trace(path=folder / "F.npy", transposed=True)
    n_time, n_rois = f.shape
    ops = described(folder)
    given: dict[str, Any] = {}
    for field, file in (("neuropil", "Fneu.npy"), ("deconvolved", "spks.npy")):
        if (folder / file).is_file():
            shape = load_npy(folder / file, mapped=True).shape
            given[field] = Trace(path=folder / file, transposed=turned(folder / file, shape, n_rois, n_time))
    if (folder / "iscell.npy").is_file():
        given |= cell_columns(load_npy(folder / "iscell.npy"), n_rois, folder / "iscell.npy")
    else:
        all_cells(n_time, n_rois, folder, "iscell.npy")
    if (folder / "redcell.npy").is_file():
        given["red"] = cell_columns(load_npy(folder / "redcell.npy"), n_rois, folder / "redcell.npy")["roi_type"] > 0
    if (folder / "stat.npy").is_file():
        given["position"] = positions(folder / "stat.npy", n_rois)
    given["bad_frames"] = bad_frames_of(folder, ops, n_time) | padded(f)
    fs_hz = frame_rate(fs_hz, ops.get("fs"), folder)
    if folder.name == "combined":
        given["roi_delay"] = shares_of_rois(folder, ops, n_rois) / fs_hz
    times = clock_of(n_time, fs_hz, ops.get("frames_per_folder"), folder) + share_of_frame(folder, ops) / fs_hz
    return make_fov(name or folder.name, f, times, trim_times, terms=TERMS, **given)


def turned(path: Path, shape: tuple[int, ...], n_rois: int, n_time: int) -> bool:
    """Return whether an array is (roi, time), as ``F`` is.

    Raises
    ------
    InputError : it fits neither way round.
    """
    if shape not in ((n_rois, n_time), (n_time, n_rois)):
        raise InputError(f"{path}: shape {shape} fits F {n_rois, n_time} neither way round.")
    return shape == (n_rois, n_time)


def cell_columns(iscell: np.ndarray, n_rois: int, where: Any) -> dict[str, np.ndarray]:
    """Return ``roi_type`` and, where there is a second column, ``probability``."""
    fits = iscell.ndim in (1, 2) and len(iscell) == n_rois and iscell.size
    if not fits or iscell.dtype.kind not in "biuf":
        raise InputError(
            f"{where}: shape {iscell.shape}, expected ({n_rois}, 2) or ({n_rois},) as F has {n_rois} ROIs."
        )
    columns = iscell.reshape(n_rois, -1)
    if not np.isin(columns[:, 0], (0, 1)).all():
        raise InputError(
            f"{where}: the first column is expected to be 0 or 1 (a cell); it has {columns[~np.isin(columns[:, 0], (0, 1)), 0][0]:g}."
        )
    found = {"roi_type": (columns[:, 0] > 0).astype(np.int16)}
    return found | ({"probability": columns[:, 1].astype(float)} if columns.shape[1] > 1 else {})


def all_cells(n_time: int, n_rois: int, where: Any, name: str) -> None:
    """Tell that all ROIs are taken as cells; refuse what is more likely stored (time, roi), as only a list of cells would show.

    Raises
    ------
    InputError : more ROIs than frames, and too few frames.
    """
    if n_time < LEAST_FRAMES <= n_rois:
        raise InputError(f"{where}: F has {n_rois} ROIs and {n_time} frames, and no {name}: is it (time, roi)?")
    log.warning("%s: no %s; all %d ROIs are taken as cells", where, name, n_rois)


def share_of_frame(folder: Path, ops: Mapping[str, Any]) -> float:
    """Return which share of a frame lies between the first plane of a volume and this one; 0, which is told, where it is not known.

    ``nplanes`` counts flyback planes too; with several regions a plane (``nrois``) there are that many folders for each.
    """
    named = PLANE.fullmatch(folder.name)
    if named is None:
        return 0.0
    beside = sum(p.is_dir() for p in folder.parent.glob("plane*"))
    n, regions, plane = (count_of(ops.get(key)) for key in ("nplanes", "nrois", "iplane"))
    n = beside // regions if regions else None if "lines" in ops else n
    plane = int(named[1]) if plane is None else plane
    if n is None or plane >= n or ops.get("bruker_bidirectional"):
        if beside > 1:
            log.warning(
                "%s: when it is scanned after the first plane is not known; it is given that one's clock", folder
            )
        return 0.0
    return plane / n


def shares_of_rois(folder: Path, ops: Mapping[str, Any], n_rois: int) -> np.ndarray:
    """Return which share of a frame lies between the first plane and each ROI's in a view of all planes; NaN, told, where not known."""
    n, planes = count_of(ops.get("nplanes")), np.full(n_rois, np.nan)
    try:
        rows = list(np.asarray(load_pickled_npy(folder / "stat.npy"), dtype=object).reshape(-1))
        planes = np.array([float(row["iplane"]) for row in rows])
    except (InputError, OSError, KeyError, TypeError, ValueError):
        n = None
    if n is None or planes.shape != (n_rois,) or "lines" in ops or ops.get("bruker_bidirectional") or planes.max() >= n:
        log.warning("%s: when each plane was scanned within a frame is not known", folder)
        return np.full(n_rois, np.nan)
    return planes / n


def count_of(value: Any) -> int | None:
    """Return a whole number of suite2p's settings, None where it is none."""
    found = np.asarray(value if value is not None else "")
    return int(found.reshape(-1)[0]) if found.size == 1 and found.dtype.kind in "iu" and found >= 0 else None


def padded(f: Trace) -> np.ndarray:
    """Return the last frames in which many ROIs, but not all, end in zeros, (time,) bool: a combined view fills up shorter planes so."""
    n_time, bad = f.shape[0], np.zeros(f.shape[0], bool)
    if not n_time:
        return bad
    zero = f.read(max(n_time - MOST_PADDED, 0), n_time) == 0
    ends = np.logical_and.accumulate(zero[::-1], axis=0)[::-1] & ~zero.all(0)
    bad[-len(zero) :] = ends.mean(1) > LEAST_PADDED
    return bad


def described(folder: Path) -> dict[str, Any]:
    """Return suite2p's settings of a plane; empty where they are not there or cannot be read, which is said."""
    found: dict[str, Any] = {}
    for name in DESCRIPTIONS:
        if not (folder / name).is_file():
            continue
        try:
            content = load_pickled_npy(folder / name)
        except InputError as error:
            log.warning("%s; its bad frames and frame rate are not known", error)
            continue
        if isinstance(content, Mapping):
            found |= {k: content[k] for k in WANTED if k in content}
        else:
            log.warning("%s: holds no settings; its bad frames and frame rate are not known", folder / name)
    return found


def frame_rate(typed: float | None, said: Any, where: Any) -> float:
    """Return the frame rate in Hz: the typed one, with a warning where the file says another, else the file's.

    Raises
    ------
    InputError : neither is there.
    """
    values = np.asarray(said if said is not None else np.nan)
    stored = float(values.reshape(-1)[0]) if values.size == 1 and values.dtype.kind in "iuf" else np.nan
    if typed is None:
        if not (np.isfinite(stored) and stored > 0):
            raise InputError(f"{where}: its files do not say the frame rate; give --fs-hz.")
        log.info("%s: %g frames a second, as its settings say", where, stored)
        return stored
    if np.isfinite(stored) and abs(typed / stored - 1) > RATE_TOLERANCE:
        log.warning(
            "%s: --fs-hz %g is used, its settings say %g (each plane's own rate); one of the two is wrong",
            where,
            typed,
            stored,
        )
    return typed


def clock_of(n_time: int, fs_hz: float, per_folder: Any, where: Any) -> np.ndarray:
    """Return the time of each frame in s, with a pause of ``PAUSE_S`` where suite2p went on with the frames of another folder.

    How long the pause was is not known; that nothing crosses it is what matters.
    """
    counts = np.asarray([] if per_folder is None else per_folder).reshape(-1)
    if counts.dtype.kind not in "iuf" or len(counts) < 2:
        return np.arange(n_time) / fs_hz
    if counts.sum() != n_time:
        log.warning(
            "%s: frames of %d folders one after another, %d by their list and %d in F: where one ends is not known. Mark it with --bad-frames",
            where, len(counts), counts.sum(), n_time,
        )  # fmt: skip
        return np.arange(n_time) / fs_hz
    log.warning("%s: frames of %d folders one after another; a pause is set between them", where, len(counts))
    return np.arange(n_time) / fs_hz + PAUSE_S * np.repeat(np.arange(len(counts)), counts.astype(int))


def bad_frames_of(folder: Path, ops: Mapping[str, Any], n_time: int) -> np.ndarray:
    """Return the frames that suite2p's settings or a ``bad_frames.npy`` call bad, (time,) bool."""
    bad = np.zeros(n_time, bool)
    flags = np.asarray(ops.get("badframes", ()))
    if flags.size and flags.dtype.kind in "biuf":
        if flags.shape != (n_time,):
            raise InputError(f"{folder}: ops' badframes has shape {flags.shape}, F {n_time} frames.")
        bad |= flags.astype(bool)
    data_paths = ops.get("data_path")
    data_paths = data_paths if isinstance(data_paths, list | tuple) else [data_paths]
    beside = [
        folder,
        folder.parent,
        folder.parent.parent,
        *(Path(p) for p in data_paths[:1] if isinstance(p, str) and p),
    ]
    for path in dict.fromkeys(p.resolve() / "bad_frames.npy" for p in beside):
        if path.is_file():
            bad |= listed_frames(load_npy(path), n_time, path)
            break
    return bad


def listed_frames(values: np.ndarray, n_time: int, where: Any) -> np.ndarray:
    """Return (time,) bool from a list of frame numbers (from 0), or from one flag a frame.

    Raises
    ------
    InputError : neither of the two.
    """
    values = np.asarray(values).reshape(-1)
    flags = values.dtype.kind == "b" or (len(values) == n_time and np.isin(values, (0, 1)).all())
    if flags:
        if len(values) != n_time:
            raise InputError(f"{where}: {len(values)} flags for {n_time} frames.")
        return values.astype(bool)
    whole = values.astype(np.int64) if np.isfinite(values).all() else np.array([-1])
    if len(whole) and ((whole != values).any() or whole.min() < 0 or whole.max() >= n_time):
        raise InputError(f"{where}: expected frame numbers 0 to {n_time - 1} (the recording has {n_time} frames).")
    bad = np.zeros(n_time, bool)
    bad[whole] = True
    return bad


def positions(path: Path, n_rois: int) -> np.ndarray:
    """Return (roi, 3) pixels (x, y, 0) from suite2p's ``stat``; unknown, and said, where it cannot be read."""
    try:
        rows = list(np.asarray(load_pickled_npy(path), dtype=object).reshape(-1))
        if len(rows) != n_rois:
            raise InputError(f"{path}: {len(rows)} ROIs, F has {n_rois}.")
        with hdf5io.parsing(path, "suite2p's table of ROIs"):
            return np.array([[float(r["med"][1]), float(r["med"][0]), 0.0] for r in rows])
    except InputError as error:
        log.warning("positions are unknown: %s", error)
        return np.full((n_rois, 3), np.nan)


def fall_fov(path: Path, fs_hz: float | None) -> FOVData:
    """Return the plane that suite2p saved for MATLAB, ``Fall.mat``."""
    found = mat_arrays(path, ("F", "Fneu", "spks", "iscell", "redcell", "ops"))
    arrays = {name: v for name, v in found.items() if isinstance(v, np.ndarray) and v.size}
    ops = found["ops"] if isinstance(found.get("ops"), dict) else {}
    if "F" not in arrays:
        raise InputError(f"{path}: 'F' is empty.")
    f, iscell = arrays["F"], arrays.get("iscell")
    n_rois = len(iscell) if iscell is not None and len(iscell) in f.shape else f.shape[0]
    by_roi = f.shape[0] == n_rois
    n_time = f.shape[1] if by_roi else f.shape[0]
    given: dict[str, Any] = {}
    for field, name in (("neuropil", "Fneu"), ("deconvolved", "spks")):
        if name in arrays:
            turn = turned(path, arrays[name].shape, n_rois, n_time)
            given[field] = Trace(path=path, transposed=turn, array=arrays[name])
    if iscell is None:
        all_cells(n_time, n_rois, path, "iscell")
    else:
        given |= cell_columns(iscell, n_rois, f"{path}: iscell")
    if "redcell" in arrays:
        given["red"] = cell_columns(arrays["redcell"], n_rois, f"{path}: redcell")["roi_type"] > 0
    flags = ops.get("badframes")
    if isinstance(flags, np.ndarray) and flags.size:
        given["bad_frames"] = listed_frames(flags.astype(bool), n_time, f"{path}: ops.badframes")
    fs_hz = frame_rate(fs_hz, ops.get("fs"), path)
    terms = TERMS | {"roi_type": "iscell", "probability": "iscell"}
    trace = Trace(path=path, transposed=by_roi, array=f)
    given["bad_frames"] = given.get("bad_frames", False) | padded(trace)
    times = clock_of(n_time, fs_hz, ops.get("frames_per_folder"), path)
    return make_fov(path.stem, trace, times, terms=terms, **given)
