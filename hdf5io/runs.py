"""What becomes of an output that is there already? One lock, one rule and one record for every command.

A command holds the lock of its output while it works: a second run is told so at once, and a lock that a killed run left never
blocks. An output that is finished, made by the same command with the same options from the same inputs, is not made again. Other
options or inputs: refused, naming what differs; ``--overwrite`` makes it anew. What a killed run left unfinished goes on, or is
written over, when the same command is typed again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError, LockedError
from .origin import sha256
from .reading import read_json
from .writing import MARKER, write_json

UNFINISHED = "unfinished.json"  #: inside a folder whose making was begun: by which command, with which options


@contextlib.contextmanager
def exclusive(target: Path, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any] | None]:
    """Hold the lock of an output, ``.NAME.lock`` beside it, for the length of a command.

    Yields
    ------
    What a run that was killed here had wanted, or None.

    Raises
    ------
    LockedError : another process holds it. InputError : the folder that the output goes to cannot be made or written.
    """
    import filelock

    path = target.parent / f".{target.name}.lock"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=0)
        lock.acquire()
    except filelock.Timeout:
        who = _content(path).get("process", "")
        raise LockedError(f"{target}: another run is working on it ({who}). Wait for it, then run again.") from None
    except OSError as error:
        raise InputError(f"{target}: cannot be written there ({error.strerror}). Give another output.") from None
    try:
        left = _content(path).get("wanted")
        content = {"process": f"process {os.getpid()} on {socket.gethostname()}", "wanted": wanted}
        path.write_text(json.dumps(content), encoding="utf-8")
        yield left
    finally:
        with contextlib.suppress(OSError):
            if target.is_dir() and [entry.name for entry in target.iterdir()] == [UNFINISHED]:
                shutil.rmtree(target)  # nothing was done
            if not target.exists() or record_path(target).is_file():
                path.unlink(
                    missing_ok=True
                )  # while it is held: who opened it meanwhile sees that it has no name any more
        lock.release()


def _content(path: Path) -> dict[str, Any]:
    """Return what a lock file says; nothing when it is empty or cut."""
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def prepare(
    target: Path, wanted: Mapping[str, Any], inputs: Sequence[Path], left: Mapping[str, Any] | None = None, *,
    overwrite: bool, resumes: bool,
) -> dict[str, Any] | None:  # fmt: skip
    """Return the record of a finished run that needs no repetition, or None when the work is to be done.

    Parameters
    ----------
    target : file or folder that the command makes.
    wanted : ``pipeline``, ``command`` and ``options`` of this run.
    inputs : files and folders that it reads; compared by content.
    left : what a run that was killed here had wanted.
    overwrite : remove what an earlier run made there.
    resumes : the command goes on from what it finds in an unfinished folder.

    Raises
    ------
    InputError : something else is there, or it was made otherwise.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return _begin(target, wanted, resumes)
    record = read_json(record_path(target)) if record_path(target).is_file() else None
    begun = read_json(target / UNFINISHED) if (target / UNFINISHED).is_file() else left
    if overwrite:
        if target.is_dir():
            if record is None and begun is None:
                raise InputError(
                    f"{target}: not replaced, no '{MARKER}' of an earlier run is in it. Give another output."
                )
            shutil.rmtree(target)
        record_path(target).unlink(missing_ok=True)
        return _begin(target, wanted, resumes)
    if record is not None:
        differs = _differences(record, wanted) or _changed_inputs(record, inputs, target)
        if differs:
            raise InputError(f"{target} exists already, {differs}. Give another output, or --overwrite to replace it.")
        return record
    if begun is not None:
        differs = _differences(begun, wanted)
        if differs:
            raise InputError(
                f"{target} holds an unfinished run, {differs}. Type that command again to go on, or --overwrite to begin anew."
            )
        return None
    raise InputError(f"{target} exists already. Give another output, or --overwrite to replace it.")


def _begin(target: Path, wanted: Mapping[str, Any], resumes: bool) -> None:
    if resumes:
        target.mkdir(parents=True, exist_ok=True)
        write_json(target / UNFINISHED, wanted)


def _differences(record: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return in words what an earlier run had otherwise; empty when it was the same."""
    for key in ("pipeline", "command"):
        if record.get(key) != wanted[key]:
            return f"made by '{record.get(key)}'"
    old, new = record.get("options"), json.loads(json.dumps(wanted["options"]))
    if not isinstance(old, dict):
        return "its options are not recorded"
    names = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    return ", ".join(f"made with {name} = {old.get(name)} (now {new.get(name)})" for name in names[:4])


def _changed_inputs(record: Mapping[str, Any], inputs: Sequence[Path], target: Path) -> str:
    provenance = record.get("provenance")
    if not isinstance(provenance, dict):
        return "its inputs are not recorded"
    known = Counter(json.loads(provenance.get("inputs", "{}")).values())
    for path in inputs:
        digest = sha256(path, leave_out=target)
        if not known[digest]:
            return f"made from another '{path}'"
        known[digest] -= 1
    return ""


def record_path(target: Path) -> Path:
    """Return where the record of an output lies: in the folder, or beside the file."""
    return target / MARKER if target.is_dir() else target.with_suffix(".result.json")


def write_record(target: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a finished run; from then on it counts as finished."""
    write_json(record_path(target), record)
    if target.is_dir():
        (target / UNFINISHED).unlink(missing_ok=True)
