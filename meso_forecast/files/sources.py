"""Which reader opens a source? Whatever a command's ``source`` names becomes a session."""

from __future__ import annotations

from pathlib import Path

from hdf5io.errors import InputError

from .nwb import is_nwb
from .one_cache import open_one
from .session import MesoscopeSession


def open_source(config) -> MesoscopeSession:
    """Return the session that a command's ``source`` names.

    Raises
    ------
    InputError : nothing there, or nothing that is known.
    """
    given = {"skip_bad_fov": config.skip_bad_fov, "line_axis": config.line_axis}
    if config.source.startswith("eid:"):
        if config.one_cache is None:
            raise InputError(f"{config.source}: --one-cache DIR is needed to look up an eid.")
        return MesoscopeSession.from_eid(open_one(config.one_cache), config.source.removeprefix("eid:"), **given)
    path = Path(config.source)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.")
    if path.is_dir() and (path / "alf").is_dir():
        return MesoscopeSession.from_path(path, **given)
    if path.is_dir():
        if config.fs_hz is None and ((path / "F.npy").is_file() or any(path.glob("plane*/F.npy"))):
            raise InputError(f"{path}: a suite2p folder does not say its frame rate; give --fs-hz.")
        return MesoscopeSession.from_suite2p(path, config.fs_hz or 1.0)
    return MesoscopeSession.from_nwb(path) if is_nwb(path) else MesoscopeSession.from_activity_file(path)
