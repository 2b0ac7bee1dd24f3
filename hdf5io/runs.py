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
from .writing import MARKER, no_space, write_json

UNFINISHED = "unfinished.json"  #: inside a folder whose making was begun: by which command, with which options


class Claim:
    """A held lock: what a run that was killed here had wanted, and a place to say what this one wants."""

    def __init__(self, path: Path) -> None:
        left = _content(path).get("wanted")
        self.path, self.left, self.begun = path, left if isinstance(left, dict) else None, False
        self.write(self.left)

    def begin(self, wanted: Mapping[str, Any]) -> None:
        """Note, before the first byte of the output is written, what will be there."""
        self.begun = True
        self.write(wanted)

    def write(self, wanted: Mapping[str, Any] | None) -> None:
        """Write the lock file: who holds it, and what is in the making; over the old text, which a full disk has room for."""
        content = {"process": f"process {os.getpid()} on {socket.gethostname()}", "wanted": wanted}
        try:
            with open(self.path, "r+", encoding="utf-8") as handle:
                handle.write(json.dumps(content))
                handle.truncate()
        except OSError as error:
            raise no_space(self.path, error, 4096) from None


@contextlib.contextmanager
def exclusive(target: Path) -> Iterator[Claim]:
    """Hold the lock of an output, ``.NAME.lock`` beside it, for the length of a command.

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
    claim = None
    try:
        claim = Claim(path)
        yield claim
    finally:
        with contextlib.suppress(OSError):
            if target.is_dir() and [entry.name for entry in target.iterdir()] == [UNFINISHED]:
                shutil.rmtree(target)  # nothing was done
            unfinished = claim is not None and (claim.begun or claim.left is not None)
            if not unfinished or not target.exists() or record_path(target).is_file():
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
    target: Path,
    wanted: Mapping[str, Any],
    inputs: Sequence[Path],
    claim: Claim,
    *,
    overwrite: bool,
    resumes: bool,
    grows: Sequence[str] = (),
) -> dict[str, Any] | None:
    """Return the record of a finished run that needs no repetition, or None when the work is to be done.

    Parameters
    ----------
    target : file or folder that the command makes.
    wanted : ``pipeline``, ``command`` and ``options`` of this run.
    inputs : files and folders that it reads; compared by content.
    claim : the lock that is held on the target.
    overwrite : remove what an earlier run made there.
    resumes : the command goes on from what it finds in an unfinished folder.
    grows : options of which a larger value adds to what is there, finished or not.

    Raises
    ------
    InputError : something else is there, or it was made otherwise.
    """
    _refuse_input(target, inputs)
    if resumes:  # what is there already is gone on with, so it must be of these inputs
        wanted = {**wanted, "inputs": {str(path): sha256(path, leave_out=target) for path in inputs}}
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        finished, begun_here = record_path(target).is_file(), (target / UNFINISHED).is_file()
        if overwrite:
            _remove(target, finished or begun_here, claim.left is not None)
        elif finished:
            record = read_json(record_path(target))
            if _asks_for_more(record, wanted, grows) and not _changed_inputs(record, inputs, target):
                write_json(target / UNFINISHED, wanted)
                record_path(target).unlink()
                claim.begin(wanted)
                return None
            differs = _differences(record, wanted) or _changed_inputs(record, inputs, target) or _lost(record)
            if differs:
                raise InputError(
                    f"{target} exists already, {differs}. Give another output, or --overwrite to replace it."
                )
            return record
        elif begun_here or claim.left is not None:
            begun = read_json(target / UNFINISHED) if begun_here else claim.left or {}
            differs = "" if _asks_for_more(begun, wanted, grows) else _differences(begun, wanted)
            if differs := differs or _begun_with_others(begun, wanted):
                raise InputError(
                    f"{target} holds an unfinished run, {differs}. Type that command again to go on, or --overwrite to begin anew."
                )
        else:
            raise InputError(f"{target} exists already. Give another output, or --overwrite to replace it.")
    claim.begin(wanted)
    if resumes and not (target / UNFINISHED).is_file():
        target.mkdir(parents=True, exist_ok=True)
        write_json(target / UNFINISHED, wanted)
    return None


def _refuse_input(target: Path, inputs: Sequence[Path]) -> None:
    """Raise InputError where an output that is there already is an input, or a folder with an input in it."""
    for path in inputs:
        if target.exists() and path.exists() and target.resolve() in (path.resolve(), *path.resolve().parents):
            what = "is the input itself" if target.samefile(path) else f"holds the input '{path}'"
            raise InputError(f"{target} {what}. Give another output.")


def _remove(target: Path, ours: bool, begun: bool) -> None:
    """Make way for a new output, where a run of ours made the old one: a folder goes, a file is replaced when the new one is complete."""
    if target.is_dir():
        if not ours and not begun:
            raise InputError(f"{target}: not replaced, no '{MARKER}' of an earlier run is in it. Give another output.")
        strange = _not_of_the_run(target)
        if strange:
            raise InputError(
                f"{target}: not replaced, the run that made it did not make '{strange[0]}'. Move that, or give another output."
            )
        if ours:
            shutil.rmtree(target)
    elif ours or begun:
        record_path(target).unlink(missing_ok=True)
    else:
        raise InputError(
            f"{target}: not replaced, no '{record_path(target).name}' of an earlier run is beside it. Move it, or give another output."
        )


def _not_of_the_run(target: Path) -> list[str]:
    """Return the files of a finished folder that somebody put there since; what another of our commands made has a record of its own."""
    made = _content(target / MARKER).get("files")
    if not isinstance(made, list):
        return []
    known = set(made)
    strange = [target / name for name in _files_in(target) if name not in known]
    recorded = {folder for folder in target.rglob("*") if (folder / MARKER).is_file()}
    return [
        str(path.relative_to(target))
        for path in strange
        if not recorded & set(path.parents) and not path.name.endswith(MARKER) and not record_path(path).is_file()
    ]


def _files_in(folder: Path) -> list[str]:
    """Return the files of a folder and of all in it, sorted, without hidden ones."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


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


def _asks_for_more(record: Mapping[str, Any], wanted: Mapping[str, Any], grows: Sequence[str]) -> bool:
    """Return whether the same command was typed with nothing changed but larger values of options that add to its output."""
    old, new = record.get("options"), wanted["options"]
    if not grows or not isinstance(old, dict):
        return False
    sizes = {name: (old.get(name), new.get(name)) for name in grows if old.get(name) != new.get(name)}
    larger = all(isinstance(was, int) and isinstance(now, int) and now > was for was, now in sizes.values())
    return (
        bool(sizes)
        and larger
        and not _differences(record, {**wanted, "options": {**new, **{n: old[n] for n in sizes}}})
    )


def _begun_with_others(begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return in words which input an unfinished run was begun with that is another now; empty when it is the same, or not known."""
    old, new = begun.get("inputs"), wanted.get("inputs")
    if not isinstance(old, dict) or new is None or list(old.values()) == list(new.values()):
        return ""
    other = [path for path, digest in new.items() if digest not in old.values()]
    return f"begun with another '{other[0]}'" if other else "begun with other inputs"


def _changed_inputs(record: Mapping[str, Any], inputs: Sequence[Path], target: Path) -> str:
    """Return in words which input an earlier run had otherwise: by content, each in its place; empty when they are the same.

    Inputs that no option named, which the run found by itself, are looked at where they still lie.
    """
    recorded = made_from(record)
    if recorded is None:
        return "its inputs are not recorded"
    now = {str(path): sha256(path, leave_out=target) for path in inputs}
    known = Counter(recorded.values())
    known.subtract(now.values())
    for path, digest in now.items():
        if known[digest] < 0:
            return f"made from another '{path}'"
    named = _texts(made_with(record) or {})
    before = {path: digest for path, digest in recorded.items() if path in named}
    if list(before.values()) != list(now.values()):
        gone = [path for path, digest in before.items() if digest not in now.values()]
        return f"made from '{gone[0]}' as well" if gone else "made from these inputs in other places"
    after = record.get("inputs_after")
    for path, digest in recorded.items():
        same = (digest, after.get(path) if isinstance(after, dict) else None)
        if path not in named and Path(path).exists() and sha256(path, leave_out=target) not in same:
            return f"made from another '{path}'"
    return ""


def _texts(value: Any) -> set[str]:
    """Return all texts in a config, as paths are written."""
    if isinstance(value, (dict, list)):
        return {text for item in (value.values() if isinstance(value, dict) else value) for text in _texts(item)}
    return {str(Path(value))} if isinstance(value, str) and value else set()


def _lost(record: Mapping[str, Any]) -> str:
    """Return in words what a finished run made that is not there any more, or that its record is not whole."""
    outputs = record.get("outputs")
    if not isinstance(outputs, dict) or not {"line", "exit_code", "results", "warnings"} <= set(record):
        return "but its record is not whole"
    gone = [name for name, path in outputs.items() if Path(str(path)).is_absolute() and not Path(str(path)).exists()]
    return f"but its {gone[0]} is gone" if gone else ""


def made_from(record: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the inputs of a recorded run, path -> SHA-256, or None where the record does not say."""
    return _parsed(record, "inputs")


def made_with(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the config of a recorded run, or None where the record does not say."""
    return _parsed(record, "config")


def _parsed(record: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    provenance = record.get("provenance")
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        found = json.loads(provenance[key]) if isinstance(provenance, dict) and key in provenance else None
        return found if isinstance(found, dict) else None
    return None


def record_path(target: Path) -> Path:
    """Return where the record of an output lies: ``result.json`` in a folder, ``NAME.result.json`` beside ``NAME.h5``.

    Figures, and a second output of the same name with another suffix, keep their suffix: ``NAME.png.result.json``.
    """
    if target.is_dir():
        return target / MARKER
    whole, short = target.with_name(target.name + ".result.json"), target.with_suffix(".result.json")
    if target.suffix.lower() in (".png", ".svg", ".pdf") or whole.is_file():
        return whole
    made = _content(short).get("outputs")
    taken = isinstance(made, dict) and target.name not in [Path(str(path)).name for path in made.values()]
    return whole if taken else short


def write_record(target: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a finished run, with the files of a folder; from then on it counts as finished."""
    if target.is_dir():
        record = {**record, "files": [name for name in _files_in(target) if name not in (MARKER, UNFINISHED)]}
    write_json(record_path(target), record)
    if target.is_dir():
        (target / UNFINISHED).unlink(missing_ok=True)
