"""May this be written? Folders and files are claimed before any work is done; one process works in a folder at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import hdf5io

from . import bank as banks
from . import config as configs

FIGURES = (".png", ".svg", ".pdf")


def clear_bank(folder: Path, wanted: banks.Recipe, overwrite: bool) -> None:
    """Remove a bank of other options when --overwrite is given; anything else in the way is an InputError."""
    try:
        banks.check_folder(wanted, folder)
    except hdf5io.InputError:
        if not overwrite or not (folder / "bank.json").exists():
            raise
        for path in [*folder.glob("shard-*.h5"), folder / "bank.json"]:
            path.unlink()


def claim_model(config: configs.TrainConfig) -> None:
    """Make way for a model folder: resume, overwrite, or refuse."""
    folder = config.output
    if config.resume or not [path for path in folder.iterdir() if path.name != ".lock"]:
        return
    ours = (folder / "model.json").exists() or (folder / "checkpoint.npz").exists()
    if not ours:
        raise hdf5io.InputError(f"{folder}: exists and is no model folder. Choose another --output.")
    if not config.overwrite:
        raise hdf5io.InputError(
            f"{folder}: holds a model or an unfinished training. Use --resume to continue or --overwrite to replace it."
        )
    for name in ("model.keras", "model.json", "summaries.h5", "history.csv", "checkpoint.npz", "result.json"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "diagnosis", ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; LockedError when a living process of this host holds it."""
    if folder.exists() and not folder.is_dir():
        raise hdf5io.InputError(f"--output {folder}: is a file. Give a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with contextlib.suppress(FileNotFoundError, ValueError):
        host, pid = path.read_text(encoding="utf-8").split()
        if host != socket.gethostname() or _alive(int(pid)):
            raise hdf5io.LockedError(
                f"{folder}: process {pid} on {host} is working there. Wait for it, or remove {path} if it is gone."
            )
        path.unlink()
    with path.open("x", encoding="utf-8") as file:
        file.write(f"{socket.gethostname()} {os.getpid()}")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def claim_folder(folder: Path, overwrite: bool) -> None:
    """Make way for a report folder."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "report.html").exists():
            raise hdf5io.InputError(f"{folder}: not empty and no report of this program. Choose another --output.")
        if not overwrite:
            raise hdf5io.InputError(f"{folder}: exists already. Give another --output, or --overwrite to replace it.")
    folder.mkdir(parents=True, exist_ok=True)


def claim_file(path: Path, overwrite: bool, source: Path | None, suffixes: tuple[str, ...] = (".h5", ".hdf5")) -> Path:
    """Return ``path`` when it may be written: right suffix, not the input, not there (or --overwrite)."""
    if path.suffix.lower() not in suffixes:
        raise hdf5io.InputError(f"--output {path}: expected a name ending in {' or '.join(suffixes)}.")
    if source is not None and path.resolve() == Path(source).resolve():
        raise hdf5io.InputError(f"--output {path}: is the input. Choose another name.")
    if path.exists() and not overwrite:
        raise hdf5io.InputError(f"{path}: exists already. Give another --output, or --overwrite to replace it.")
    if not path.parent.exists():
        raise hdf5io.InputError(f"--output {path}: the folder {path.parent} does not exist. Make it first.")
    return path


def save_figure(figure, path: Path) -> Path:
    """Write a figure atomically in the format of its name."""
    with hdf5io.atomic(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=130)
    return path
