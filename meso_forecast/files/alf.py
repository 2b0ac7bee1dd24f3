"""How is one field of view read from ALF datasets, in a folder or through ONE? The newest revision of each dataset counts."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, load_npy, make_fov

log = logging.getLogger(__package__)
Finder = Callable[[str], Path | None]  #: ALF dataset name -> file, None when the session has none
FOV = re.compile(r"FOV_\d+")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
TERMS = {
    "times": "mpci.times", "bad_frames": "mpci.badFrames, mpci.mpciFrameQC", "roi_type": "mpciROIs.mpciROITypes",
    "probability": "mpciROIs.cellClassifier", "position": "mpciROIs.stackPos or mlapdv", "region": "mpciROIs.brainLocationIds",
    "uuids": "mpciROIs.uuids.csv",
}  # fmt: skip


def fov_names(names: Iterable[str], where: object) -> list[str]:
    """Return the names of fields of view, by number; what else is called ``FOV_...`` (a copy, a backup) is left out and told."""
    found = sorted(set(names), key=lambda n: (len(n), n))
    other = [n for n in found if not FOV.fullmatch(n)]
    for a, b in itertools.combinations([n for n in found if n not in other], 2):
        if int(a[4:]) == int(b[4:]):
            raise InputError(f"{where}: {a} and {b} are the same field of view by their number. Take one of them away.")
    if other:
        log.warning("%s: %s: no name of a field of view (FOV_00, FOV_01, ...), left out", where, ", ".join(other))
    return [n for n in found if n not in other]


def plain_name(name: str) -> str:
    """Return a dataset's name without the UUID that a download may have put before its extension."""
    parts = name.split(".")
    return ".".join(p for i, p in enumerate(parts) if not (i == len(parts) - 2 and UUID.fullmatch(p)))


def revised_finder(folder: Path, names: Iterable[str], revision: str | None = None) -> Finder:
    """Return a finder of the newest revision of each dataset, at most ``revision``.

    Parameters
    ----------
    folder : of the collection; revisions lie in ``#REVISION#`` below it.
    names : paths below ``folder``, ``mpci.times.npy`` or ``#2025-02-04#/mpci.times.npy``.
    revision : the newest to take; None takes the newest of all. Where a dataset has only newer ones it is not there.
    """
    newest: dict[str, tuple[str, str]] = {}
    revision = None if revision is None else revision.strip("#")
    for name in names:
        place, _, file = name.rpartition("/")
        mark = place.strip("#") if place.startswith("#") else ""
        if "/" in place or (place and not place.startswith("#")) or (revision is not None and mark > revision):
            continue
        if newest.get(plain_name(file), ("", ""))[:1] <= (mark,):
            newest[plain_name(file)] = (mark, name)
    return lambda dataset: folder / newest[dataset][1] if dataset in newest else None


def folder_finder(folder: Path, revision: str | None = None) -> Finder:
    """Return a finder of ALF datasets in a folder and its revisions; UUIDs inside file names are allowed."""
    files = [p for p in [*folder.glob("*"), *folder.glob("#*#/*")] if p.is_file()]
    return revised_finder(folder, sorted(p.relative_to(folder).as_posix() for p in files), revision)


def alf_fov(name: str, find: Finder, where: Path, line_axis: int = 0, trim_times: bool = False) -> FOVData:
    """Return one FOV from ALF datasets.

    Parameters
    ----------
    name : ``FOV_00``.
    find : dataset name -> file.
    where : for messages: the folder the datasets belong to.
    line_axis : column of ``mpciROIs.stackPos`` that is the scan line.
    trim_times : drop times after the last frame.
    """

    def need(dataset: str) -> Path:
        """Return a dataset's file, or refuse."""
        path = find(dataset)
        if path is None:
            raise InputError(
                f"{where}: '{dataset}' is missing; every FOV needs it. Leave this FOV out with --skip-bad-fov."
            )
        return path

    def either(*names: str, ndim: int = 1) -> np.ndarray | None:
        """Return the first dataset of several that is there, None without any."""
        path = next((p for n in names if (p := find(n)) is not None), None)
        if path is None:
            return None
        values = load_npy(path)
        if values.ndim != ndim:
            raise InputError(f"{path}: shape {values.shape}, {ndim} axes are expected.")
        return values

    need("mpci.times.npy")
    times = either("mpci.times.npy")
    assert times is not None
    bad, qc = either("mpci.badFrames.npy"), either("mpci.mpciFrameQC.npy")
    fine = labelled(find, "mpciFrameQC", "ok", 0) if qc is not None else [0]
    given: dict[str, Any] = {"bad_frames": flagged_frames(len(times), bad, qc, where, fine)}
    need("mpciROIs.mpciROITypes.npy")
    types = either("mpciROIs.mpciROITypes.npy")
    assert types is not None
    given["roi_type"] = np.isin(types, labelled(find, "mpciROITypes", "cell", 1)).astype(np.int16)
    given |= places(either, where, line_axis)
    for field, names in (
        ("probability", ["cellClassifier"]),
        ("region", ["brainLocationIds_ccf_2017", "brainLocationIds_ccf_2017_estimate"]),
    ):
        if (values := either(*(f"mpciROIs.{n}.npy" for n in names))) is not None:
            given[field] = values
    if (ids := find("mpciROIs.uuids.csv")) is not None:
        given["uuids"] = read_uuids(ids)
    for field, datasets in (
        ("neuropil", ["mpci.ROINeuropilActivityF.npy", "mpci.ROIActivityNeuropilF.npy"]),
        ("deconvolved", ["mpci.ROIActivityDeconvolved.npy"]),
    ):
        if (path := next((p for d in datasets if (p := find(d)) is not None), None)) is not None:
            given[field] = Trace(path=path)
    return make_fov(name, Trace(path=need("mpci.ROIActivityF.npy")), times, trim_times, terms=TERMS, **given)


def places(either: Callable[..., np.ndarray | None], where: Path, line_axis: int) -> dict[str, np.ndarray]:
    """Return the ROIs' positions and scan delays, as far as they are known."""
    given: dict[str, np.ndarray] = {}
    place = either("mpciROIs.mlapdv.npy", "mpciROIs.mlapdv_estimate.npy", ndim=2)
    stack, shift = either("mpciROIs.stackPos.npy", ndim=2), either("mpciStack.timeshift.npy")
    if stack is not None and stack.shape[1] < 2:
        raise InputError(f"{where}: mpciROIs.stackPos has shape {stack.shape}, expected (roi, 3).")
    if stack is not None and shift is not None:
        line = stack[:, line_axis]
        known = np.isfinite(line)
        if known.any() and (line[known].min() < 0 or line[known].max() >= len(shift)):
            raise InputError(
                f"{where}: mpciROIs.stackPos has lines {line[known].min():g}..{line[known].max():g}, mpciStack.timeshift {len(shift)} lines."
            )
        given["roi_delay"] = np.full(len(line), np.nan)
        given["roi_delay"][known] = shift[line[known].astype(int)]
    if place is not None or stack is not None:
        flat = None if stack is None else np.c_[stack[:, [1, 0]], np.zeros(len(stack))]
        given["position"] = np.asarray(place if place is not None else flat, float)
    return given


def labelled(find: Finder, table: str, label: str, default: int) -> list[int]:
    """Return the values that a table of labels (``mpciROITypes.names.tsv``) calls ``label``; ``default`` without a table.

    Raises
    ------
    InputError : the table does not have the label and calls ``default`` something else.
    """
    path = find(f"{table}.names.tsv")
    if path is None:
        return [default]
    with hdf5io.parsing(path, "a table of labels"):
        rows = [line.strip().split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [sorted(r, key=lambda word: not word.lstrip("-").isdigit()) for r in rows if len(r) == 2]
    known = {int(value): word.strip().lower() for value, word in pairs if value.lstrip("-").isdigit()}
    found = [value for value, word in known.items() if word == label]
    if not found and default in known:
        raise InputError(f"{path}: no value is called '{label}'; there are {', '.join(map(repr, known.values()))}.")
    return found or [default]


def flagged_frames(
    n: int, bad: np.ndarray | None, qc: np.ndarray | None, where: Path, fine: Sequence[int] = (0,)
) -> np.ndarray:
    """Return the frames that are bad or flagged, (time,) bool; an empty list of flags says nothing. ``fine``: values of QC."""
    flagged = np.zeros(n, bool)
    for name, values, good in (("mpci.badFrames", bad, (0,)), ("mpci.mpciFrameQC", qc, fine)):
        if values is None or len(values) == 0:
            continue
        if len(values) != n:
            raise InputError(f"{where}: {name} has {len(values)} frames, mpci.times {n}.")
        if name == "mpci.badFrames" and not np.isin(values, (0, 1)).all():
            raise InputError(f"{where}: {name} holds other values than 0 and 1: one flag a frame is expected.")
        flagged = flagged | ~np.isin(values, good)
    return flagged


def read_uuids(path: Path) -> np.ndarray:
    """Return the ids of a one-column CSV, header left out."""
    with hdf5io.parsing(path, "a text table"):
        lines = [line.strip().strip('"').split(",")[-1] for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line]
    if not lines or lines[0].lower() not in ("uuids", "uuid"):
        raise InputError(f"{path}: the first line is expected to be 'uuids', it is '{lines[0] if lines else ''}'.")
    return np.array(lines[1:], dtype=str)
