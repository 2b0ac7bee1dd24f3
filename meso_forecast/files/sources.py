"""Which reader opens a source? Whatever a command's ``source`` names becomes a session."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..activity.windows import frame_interval
from ..config import Source
from .caiman import is_caiman
from .fov import load_npy
from .matlab import is_mat5
from .nwb import is_nwb
from .one_cache import open_one
from .session import MesoscopeSession
from .suite2p import listed_frames, suite2p_planes
from .text_table import PARQUET
from .toolboxes import is_minian, is_toolbox

KNOWN = "an ALF session folder, eid:ID, a suite2p folder, a .mat file of suite2p, CNMF-E, EXTRACT or MIN1PIPE, an NWB, CaImAn, Minian or activity HDF5 file, an .npy, .csv or .parquet matrix"
UNUSED = {  #: options that only some sources read
    "series": ("NWB",), "time_axis": ("matrix",), "revision": ("ALF", "eid"), "one_cache": ("eid",),
    "fs_hz": ("suite2p", "MATLAB", "NWB", "CaImAn", "Minian", "matrix"), "trim_times": ("ALF", "eid", "suite2p", "NWB", "activity"),
    "skip_bad_fov": ("ALF", "eid", "suite2p", "NWB"), "line_axis": ("ALF", "eid"),
}  # fmt: skip
DFF = ("neucoeff", "baseline", "window_s", "percentile")  #: options of dF/F


class Given(NamedTuple):
    """What a reader is told besides the source."""

    fs_hz: float | None = None
    series: str | None = None
    time_axis: str | None = None
    revision: str | None = None
    trim_times: bool = False
    skip_bad_fov: bool = False
    line_axis: int = 0


def kind_of(source: str) -> str:
    """Return which kind of source this is, by what is in it; the suffix tells only files without a mark of their own.

    Raises
    ------
    InputError : nothing there, or nothing that is known.
    """
    if source.startswith("eid:"):
        return "eid"
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.")
    if path.is_dir():
        if (path / "alf").is_dir():
            return "ALF"
        if suite2p_planes(path):
            return "suite2p"
        if (
            path.suffix == ".zarr"
            or any(path.glob(".z*"))
            or any(path.glob("*.zarr"))
            or (path / "zarr.json").is_file()
        ):
            raise InputError(
                f"{path}: a zarr store, which is not read. Minian: open_minian('{path}')[['C', 'S']].to_netcdf('x.nc'); NWB: export it"
                " as HDF5."
            )
        there = ", ".join(sorted(p.name for p in path.iterdir())[:8])
        raise InputError(
            f"{path}: neither alf/FOV_XX nor F.npy, plane*/F.npy or suite2p/plane*/F.npy; it has {there or 'nothing'}."
        )
    if h5py.is_hdf5(path):
        return kind_of_hdf5(path)
    if path.suffix.lower() == ".npy":
        return "matrix"
    if path.suffix.lower() in (".csv", ".tsv", ".txt", ".dat", *PARQUET):
        return "matrix"
    if path.suffix.lower() == ".mat" and is_mat5(path):
        return "MATLAB"
    if path.suffix.lower() == ".mat":
        raise InputError(f"{path}: a MATLAB file of version 4, or damaged; save it with -v7 or -v7.3.")
    if path.suffix.lower() in (".h5", ".hdf5", ".nwb"):
        raise InputError(f"{path}: not a readable HDF5 file. Is it complete?")
    if path.suffix.lower() == ".nc":
        raise InputError(f"{path}: netCDF of version 3, or damaged; write it with to_netcdf(..., format='NETCDF4').")
    what = (
        "a zip archive; take the array out of it"
        if zipfile.is_zipfile(path)
        else f"'{path.suffix}' is no format that is read"
    )
    raise InputError(f"{path}: {what}; expected {KNOWN}.")


def kind_of_hdf5(path: Path) -> str:
    """Return which kind of HDF5 file this is."""
    if is_nwb(path):
        return "NWB"
    with hdf5io.read(path) as file:
        kinds = {"CaImAn": is_caiman, "Minian": is_minian, "MATLAB": is_toolbox}
        return next((kind for kind, known in kinds.items() if known(file)), "activity")


READERS = {
    "ALF": lambda path, g: MesoscopeSession.from_path(
        path, skip_bad_fov=g.skip_bad_fov, line_axis=g.line_axis, revision=g.revision, trim_times=g.trim_times
    ),
    "suite2p": lambda path, g: MesoscopeSession.from_suite2p(
        path, g.fs_hz, trim_times=g.trim_times, skip_bad_fov=g.skip_bad_fov
    ),
    "MATLAB": lambda path, g: MesoscopeSession.from_fall(path, g.fs_hz),
    "Minian": lambda path, g: MesoscopeSession.from_minian(path, g.fs_hz),
    "NWB": lambda path, g: MesoscopeSession.from_nwb(
        path, series=g.series, fs_hz=g.fs_hz, trim_times=g.trim_times, skip_bad_fov=g.skip_bad_fov
    ),
    "CaImAn": lambda path, g: MesoscopeSession.from_caiman(path, g.fs_hz),
    "activity": lambda path, g: MesoscopeSession.from_activity_file(path, trim_times=g.trim_times),
    "matrix": lambda path, g: MesoscopeSession.from_matrix(path, g.fs_hz, g.time_axis),
}


def open_source(config: Source) -> MesoscopeSession:
    """Return the session that a command's ``source`` names.

    Raises
    ------
    InputError : nothing there, nothing that is known, or an option that this kind of source does not read.
    """
    kind = kind_of(config.source)
    for name, kinds in UNUSED.items():
        if getattr(config, name) and kind not in kinds and not (name == "fs_hz" and kind in ("ALF", "eid", "activity")):
            raise InputError(f"--{name.replace('_', '-')}: {config.source} is of kind {kind}, which does not read it.")
    given = Given(**{name: getattr(config, name) for name in Given._fields})
    if kind == "eid":
        if config.one_cache is None:
            raise InputError(f"{config.source}: --one-cache DIR is needed to look up an eid.")
        rest: dict[str, Any] = {"skip_bad_fov": given.skip_bad_fov, "line_axis": given.line_axis}
        rest |= {"revision": given.revision, "trim_times": given.trim_times}
        session = MesoscopeSession.from_eid(open_one(config.one_cache), config.source.removeprefix("eid:"), **rest)
    else:
        session = READERS[kind](Path(config.source), given)
    if config.fs_hz is not None:
        check_rate(session, config.fs_hz)
    refuse_unread(config, session)
    return session if config.bad_frames is None else with_bad_frames(session, config.bad_frames)


def refuse_unread(config: Source, session: MesoscopeSession) -> None:
    """Refuse options of dF/F that were given and that mean nothing to this activity (``--neucoeff 0`` says what is done anyway).

    Raises
    ------
    InputError : which ones, and why they would do nothing.
    """
    signal, baseline = (getattr(config, name, "") for name in ("signal", "baseline"))
    found = {
        f"--signal {signal} is used as it is": DFF if signal == "deconvolved" else (),
        f"{config.source} holds activity that is used as it is": DFF if all(f.processed for f in session.fovs) else (),
        "--signal fluorescence is not divided by a baseline": DFF[1:] if signal == "fluorescence" else (),
        "--signal raw keeps the neuropil": ("neucoeff",) if signal == "raw" else (),
        f"--baseline {baseline} reads none": {"training": ("window_s",), "maximin": ("percentile",)}.get(baseline, ()),
    }
    for why, names in found.items():
        unread = [f"--{n.replace('_', '-')}" for n in config.given(*names) if n != "neucoeff" or getattr(config, n)]
        if unread:
            raise InputError(f"{', '.join(unread)}: without effect, {why}. Leave out {', '.join(unread)}.")


def check_rate(session: MesoscopeSession, fs_hz: float) -> None:
    """Refuse a typed frame rate that a clock contradicts (where the typed one makes the clock, it cannot)."""
    for fov in session.fovs:
        found = 1 / frame_interval(fov.times)
        if abs(fs_hz / found - 1) > 0.01:
            raise InputError(
                f"{fov.where}: --fs-hz {fs_hz:g}, but its clock has {found:.4g} frames a second. Leave out --fs-hz."
            )


def with_bad_frames(session: MesoscopeSession, path: Path) -> MesoscopeSession:
    """Return the session with frames of a list not to be used, in every FOV."""
    if path.suffix.lower() == ".npy":
        values = load_npy(path)
    else:
        with hdf5io.parsing(path, "a list of frame numbers"):
            values = np.array([float(v) for v in path.read_text(encoding="utf-8").replace(",", " ").split()])
    fovs = [f.with_bad_frames(listed_frames(values, f.n_time, path)) for f in session.fovs]
    return session.model_copy(update={"fovs": fovs})
