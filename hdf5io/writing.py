"""How is a result written so that it explains itself and is never half there, also on a disk that fills up?"""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import io
import json
import math
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from .errors import InputError, NoSpace, WorkFailed

_UMASK = os.umask(0)
os.umask(_UMASK)
_HOST = "".join(c for c in socket.gethostname() if c.isalnum()) or "host"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  #: what a system says when there is no room
MARKER = "result.json"  #: a folder that holds this was made by one of the pipelines


class Dataset(NamedTuple):
    """An array with what a reader of the file must know about it.

    ``data`` may be a callable ``(group, name) -> h5py.Dataset`` that makes the dataset itself: compressed, in chunks, or a view of another.
    """

    data: Any
    units: str = ""
    description: str = ""
    dims: tuple[str, ...] = ()


@contextlib.contextmanager
def atomic(path: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder; when the block ends well, force it to disk and rename it to ``path``.

    A reader sees the old file or the new one, never a part. When the block fails, the temporary file is removed.

    Raises
    ------
    NoSpace : the disk is full, whatever the library that met it made of that.
    """
    path = Path(path)
    if not overwrite:
        claim(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    part = path.with_name(f".{path.stem}.{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as handle:
            os.fsync(handle.fileno())
        os.chmod(part, 0o666 & ~_UMASK)  # some writers make files that only their owner can read
        os.replace(part, path)
        _sync_folder(path.parent)
    except Exception as error:
        if not isinstance(error, NoSpace) and _is_full(error, part):
            raise NoSpace(f"{path}: the disk is full. Make room and run again.") from None
        raise
    finally:
        part.unlink(missing_ok=True)


def _is_full(error: Exception, part: Path) -> bool:
    """Return whether a write failed for want of room: by the error's number or words, else by asking for a little more.

    Libraries have errors of their own, and some give the room back before they raise them.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    if os.strerror(errno.ENOSPC) in str(error):
        return True
    with contextlib.suppress(AttributeError), open(part, "ab") as handle:  # AttributeError: no such call on this system
        try:
            os.posix_fallocate(handle.fileno(), handle.tell(), 1 << 16)
        except OSError as refused:
            return refused.errno in FULL
    return False


def _sweep(path: Path) -> None:
    """Remove what killed writers of this file left beside it; those of other machines are left alone."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.{_HOST}-*.part{glob.escape(path.suffix)}"):
        with contextlib.suppress(ValueError, ProcessLookupError, OSError):
            pid = int(left.name[len(f".{path.stem}.{_HOST}-") :].partition("-")[0])
            if not _alive(pid):
                left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def claim(path: str | Path, overwrite: bool = False) -> Path:
    """Return ``path`` when a result may be made there.

    With ``overwrite`` an old file, or an old run folder (one with ``result.json`` in it), is accepted; the folder is removed.
    A folder that no pipeline made is never removed.

    Raises
    ------
    InputError : something is there already.
    """
    path = Path(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return path
    if not overwrite:
        raise InputError(f"{path} exists already. Give another output, or --overwrite to replace it.")
    if path.is_dir():
        if not (path / MARKER).is_file():
            raise InputError(
                f"{path}: not replaced, the folder holds no '{MARKER}' of an earlier run. Give another output."
            )
        shutil.rmtree(path)
    return path


@contextlib.contextmanager
def create(
    path: str | Path,
    schema: str,
    *,
    attrs: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Iterator[h5py.File]:
    """Open a new self-describing HDF5 file that appears under its name only when the block ends well.

    The HDF5 library ends in a signal when a disk fills up under it, so it writes through `_Sink`, which keeps the error for us.

    Raises
    ------
    NoSpace : the disk is full; nothing is left of the new file, an old one is untouched.
    """
    with bare(path, overwrite) as file:
        file.attrs["schema"] = schema
        write_attrs(file, attrs)
        yield file
        write_attrs(file.create_group("provenance"), provenance)


@contextlib.contextmanager
def bare(path: str | Path, overwrite: bool = False, track_order: bool = True) -> Iterator[h5py.File]:
    """Open a new HDF5 file in which nothing of ours stands, for the layouts of other programs; otherwise as `create`."""
    with atomic(path, overwrite) as part, open(part, "wb+", buffering=0) as handle:
        sink = _Sink(handle)
        try:
            with h5py.File(sink, "w", track_order=track_order) as file:
                yield file
        finally:
            if sink.failure is not None:
                raise no_space(path, sink.failure, sink.size) from None


def write(
    path: str | Path,
    schema: str,
    datasets: Mapping[str, Dataset],
    *,
    attrs: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a new self-describing HDF5 file atomically; equal content gives equal bytes outside ``/provenance``.

    Parameters
    ----------
    path : file to make.
    schema : name and version of the layout, ``pipeline/kind/version``.
    datasets : ``{"group/name": Dataset(...)}``; written in the order given.
    attrs : further root attributes.
    provenance : the dict of `provenance`.
    overwrite : replace an existing file; else InputError.
    """
    with create(path, schema, attrs=attrs, provenance=provenance, overwrite=overwrite) as file:
        write_datasets(file, datasets)
    return Path(path)


class _Sink(io.RawIOBase):
    """A file object that HDF5 may write to on a disk that fills up: after the first failure it only pretends to write."""

    def __init__(self, handle: Any) -> None:
        self.handle, self.size = handle, 0
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.handle.seek(offset, whence)

    def tell(self) -> int:
        return self.handle.tell()

    def truncate(self, size: int | None = None) -> int:
        return self._tried(lambda: self.handle.truncate(size), size or 0)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        got = self.handle.readinto(view)
        view[got:] = bytes(len(view) - got)  # what was never written reads as zeros
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.size = max(self.size, self.handle.tell() + len(view))
        return self._tried(lambda: self._whole(view), len(view))

    def _whole(self, view: memoryview) -> int:
        done = 0
        while done < len(view):
            done += self.handle.write(view[done:])
        return done

    def _tried(self, action: Callable[[], int], otherwise: int) -> int:
        if self.failure is None:
            try:
                return action()
            except OSError as error:
                self.failure = error.with_traceback(None)  # see Overlay
        return otherwise


def no_space(path: str | Path, error: OSError, size: int) -> Exception:
    """Return the error that tells of a failed write: a full disk by its name and size, anything else as it is."""
    if error.errno in FULL:
        return NoSpace(f"{path}: the disk is full, it needs {max(size / 1e6, 0.1):.1f} MB. Make room and run again.")
    return WorkFailed(f"{path}: could not be written ({error.strerror}).")


def write_json(path: str | Path, content: Any) -> Path:
    """Write JSON atomically, with NaN and infinity as null."""
    text = json.dumps(plain(content), indent=1, allow_nan=False)
    with atomic(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return Path(path)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: arrays as lists, NaN and infinity as null, named tuples as objects, the rest as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if hasattr(value, "tolist"):  # numpy, torch
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Path:
    """Write rows as comma-separated values atomically; all keys in order of first appearance, NaN and None as empty cells."""
    names = list(columns or dict.fromkeys(key for row in rows for key in row))
    with atomic(path) as part, open(part, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([["" if v is None or v != v else v for v in map(row.get, names)] for row in rows])
    return Path(path)


def write_datasets(group: h5py.Group, datasets: Mapping[str, Dataset]) -> None:
    """Write arrays with units, description and dimension labels into an open group; text becomes fixed-length UTF-8."""
    for name, item in datasets.items():
        dataset = item.data(group, name) if callable(item.data) else _plain(group, name, item.data)
        dataset.attrs["units"], dataset.attrs["description"] = item.units, item.description
        for axis, label in enumerate(item.dims):
            dataset.dims[axis].label = label


def _plain(group: h5py.Group, name: str, data: Any) -> h5py.Dataset:
    data = np.asarray(data)
    if data.dtype.kind == "U":
        data = np.char.encode(data, "utf-8")  # fixed length: PyTables and MATLAB read no other
    return group.create_dataset(name, data=data, track_times=False)


def write_attrs(group: h5py.Group, attrs: Mapping[str, Any] | None) -> None:
    """Write attributes into an open group; what HDF5 has no type for is written as JSON."""
    for name, value in (attrs or {}).items():
        group.attrs[name] = value if isinstance(value, (str, int, float, np.ndarray, np.generic)) else json.dumps(value)


def _sync_folder(folder: Path) -> None:
    """Force a folder's entries to disk (POSIX only; elsewhere a rename is not forced)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
