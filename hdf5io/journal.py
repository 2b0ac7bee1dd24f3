"""How do results get into somebody's irreplaceable recording without ever risking it?

`update` never lets the HDF5 library write into the recording. The library works on an overlay in memory (`Overlay`); the blocks
that changed go into a checksummed redo journal beside the file, which is forced to disk before the first byte of the recording is
touched. Killed before that point, the recording is as it was; killed after it, `recover` (called by every `read` and `update`)
finishes the work from the journal. Tested by killing processes on a local Linux disk; NFS, Windows and power loss are untested.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from .errors import InputError, LockedError, WorkFailed
from .overlay import BLOCK, SECTOR, SECTORS, Overlay, checksums, read_at, write_at
from .reading import _first_line
from .writing import Dataset, _sync_folder, no_space, write_attrs, write_datasets

try:
    import fcntl
except ImportError:  # Windows has no flock; there the journal protects against kills, not against two writers
    fcntl = None  # type: ignore[assignment]

MAGIC = b"NPJOURN2"
PREVIOUS, ORIGINAL = "_previous", "_original"
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def update(
    path: str | Path,
    group: str,
    datasets: Mapping[str, Dataset],
    *,
    attrs: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Replace ``group`` inside an existing file; killed at any moment, the file holds the old group or the new one.

    The group that was there stays for one generation as ``<group>_previous``; what stood there and was not written by `update` stays
    for good, as ``<group>_original``. Nothing else in the file changes.

    Raises
    ------
    InputError : no such file, no HDF5, no permission to write, or something else stands under all of these names.
    LockedError : another process has the file open, or has died while it wrote.
    NoSpace : the disk is too full; the file is as it was and nothing is left beside it.
    WorkFailed : the disk gives an error; the file is as it was, or `recover` finishes or discards what was begun.
    """
    path, group = Path(path), group.strip("/")
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    with _locked(path) as descriptor:
        _recover(path, descriptor)
        overlay = Overlay(descriptor)
        try:
            with h5py.File(overlay, "r+") as file:
                _keep_previous(file, group, path)
                target = file.create_group(group, track_order=True)
                write_attrs(target, attrs)
                write_datasets(target, datasets)
                write_attrs(target.create_group("provenance"), provenance)
        except (OSError, RuntimeError, KeyError, ValueError, AttributeError) as error:
            if overlay.failure is None:
                if isinstance(error, (ValueError, AttributeError)):
                    raise
                raise InputError(f"{path}: not a writable HDF5 file ({_first_line(error)}).") from None
        if overlay.failure is not None:
            raise WorkFailed(f"{path}: could not be read ({overlay.failure.strerror}); nothing was changed.")
        _commit(path, descriptor, overlay)


def _commit(path: Path, descriptor: int, overlay: Overlay) -> None:
    """Bring the overlay into the file; whatever fails, the file is the old one or the new one when this returns or raises."""
    journal = _journal_of(path)
    needed = len(overlay.blocks) * (BLOCK + 8 + SECTORS * 4) + max(0, overlay.size - overlay.base_size)
    try:
        _write_journal(journal, overlay)
        _reserve(descriptor, overlay.base_size, overlay.size, sorted(overlay.blocks))
    except OSError as error:
        _truncate(descriptor, overlay.base_size)
        journal.unlink(missing_ok=True)
        raise no_space(path, error, needed) from None
    try:
        try:
            done = _recover(path, descriptor)
        except OSError:  # the space is ours, so this is no full disk: once more, for what fails only once
            done = _recover(path, descriptor)
        if done == "discarded":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        _undo(descriptor, overlay)
        journal.unlink(missing_ok=True)
        raise no_space(path, error, needed) from None


def _undo(descriptor: int, overlay: Overlay) -> None:
    """Write back what the blocks held before, from memory."""
    for number, old in overlay.originals.items():
        write_at(descriptor, old, number * BLOCK)
    _truncate(descriptor, overlay.base_size)
    os.fsync(descriptor)


def _truncate(descriptor: int, size: int) -> None:
    if os.fstat(descriptor).st_size != size:
        os.ftruncate(descriptor, size)


def _reserve(descriptor: int, base_size: int, size: int, blocks: Sequence[int]) -> None:
    """Take the space that writing will need, so that a full disk is met before the first byte is changed.

    The file grows by zeros, which HDF5 does not look at; the blocks inside it get their place where the file is sparse.
    """
    if not hasattr(os, "posix_fallocate"):  # Windows, macOS: the growth is written as zeros instead
        _write_zeros(descriptor, base_size, size)
        return
    for number in blocks:
        if number * BLOCK < base_size:
            os.posix_fallocate(descriptor, number * BLOCK, min(BLOCK, base_size - number * BLOCK))
    if size > base_size:
        os.posix_fallocate(descriptor, base_size, size - base_size)


def _write_zeros(descriptor: int, start: int, stop: int) -> None:
    for offset in range(start, stop, 1 << 20):
        write_at(descriptor, bytes(min(1 << 20, stop - offset)), offset)


def recover(path: str | Path) -> str | None:
    """Finish or discard an `update` that was interrupted; return ``"replayed"``, ``"discarded"`` or None (nothing to do)."""
    path = Path(path)
    if not _journal_of(path).exists():
        return None
    with _locked(path) as descriptor:
        return _recover(path, descriptor)


def _keep_previous(file: h5py.File, group: str, path: Path) -> None:
    """Make room for a group: an older result of ours for one generation, anything else for good."""
    if file.get(group, getlink=True) is None:
        return
    kept = group + (PREVIOUS if _is_ours(file, group) else ORIGINAL)
    if file.get(kept, getlink=True) is not None:
        if not (kept == group + PREVIOUS and _is_ours(file, kept)):
            raise InputError(
                f"{path}: '/{group}' and '/{kept}' are not results of ours; rename one of them, or give --output FILE."
            )
        del file[kept]
    file.move(group, kept)


def _is_ours(file: h5py.File, name: str) -> bool:
    """Return whether a name holds a group that `update` wrote, and no link to one elsewhere."""
    link = file.get(name, getlink=True)
    return isinstance(link, h5py.HardLink) and isinstance(file[name], h5py.Group) and "provenance" in file[name]


def _journal_of(path: Path) -> Path:
    real = path.resolve()
    return real.with_name(f".{real.name}.journal")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the file open for writing under an exclusive lock (the one that HDF5 itself takes on files it has open)."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    except PermissionError:
        raise InputError(f"{path}: no permission to write. Give --output FILE to write results beside it.") from None
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(f"{path} is open in another program. Close it there and run again.") from None
            except OSError as error:
                raise InputError(
                    f"{path}: its file system gives no lock ({error}). Give --output FILE on a local disk."
                ) from None
        try:
            _refuse_while_written(path, descriptor)
        except OSError as error:
            raise WorkFailed(f"{path}: could not be read ({error.strerror}); nothing was changed.") from None
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_while_written(path: Path, descriptor: int) -> None:
    """Refuse a file whose superblock says that it is open for writing: a writer that lets others read (SWMR) holds no lock.

    The flags are bits 0 (write) and 2 (SWMR) of byte 11 of a superblock of version 3, which begins at byte 0, 512, 1024, 2048, ...
    """
    start, size = 0, os.fstat(descriptor).st_size
    while start < size and read_at(descriptor, len(SIGNATURE), start) != SIGNATURE:
        start = 2 * start or 512
    head = read_at(descriptor, 12, start) if start < size else b""
    if len(head) == 12 and head[8] >= 3 and head[11] & 0b101:
        raise LockedError(
            f"{path} is being written by another program, or one died while it wrote. If none runs: h5clear -s {path.name}"
        )


def _write_journal(journal: Path, overlay: Overlay) -> None:
    """Write what changed to a file beside the recording; it counts only once its last 32 bytes, the checksum, are on disk."""
    with open(journal, "wb") as handle:
        digest = hashlib.sha256()

        def put(data: bytes) -> None:
            digest.update(data)
            handle.write(data)

        put(MAGIC + _pack(overlay.base_size, overlay.size, len(overlay.blocks)))
        for number in sorted(overlay.blocks):
            put(_pack(number * BLOCK) + overlay.base_checksums(number))
            put(bytes(overlay.blocks[number]))
        handle.write(digest.digest())
        handle.flush()
        os.fsync(handle.fileno())
    _sync_folder(journal.parent)


def _recover(path: Path, descriptor: int) -> str | None:
    """Replay a complete journal into the file or drop an incomplete one. Replaying twice gives the same bytes."""
    journal = _journal_of(path)
    if not journal.exists():
        return None
    complete = _is_complete(journal)
    if complete:
        base_size, size, entries = _journal_entries(journal)
        if not _belongs(descriptor, entries):
            raise InputError(
                f"{path} was changed by another program after an interrupted update. Check it, then delete {journal}."
            )
        try:
            _reserve(descriptor, base_size, size, [offset // BLOCK for offset, _, _ in entries])
        except OSError as error:
            if not _is_untouched(descriptor, entries):
                raise no_space(path, error, size - base_size) from None
            complete = False  # nothing of it is in the file yet and there is no place for it: the old results stay
            _truncate(descriptor, base_size)
    if complete:
        for offset, _, data in entries:
            write_at(descriptor, data[: max(0, size - offset)], offset)
        _truncate(descriptor, size)
        os.fsync(descriptor)
    journal.unlink()
    _sync_folder(journal.parent)
    return "replayed" if complete else "discarded"


def _is_complete(journal: Path) -> bool:
    """Return whether the journal was written to its end."""
    length = journal.stat().st_size
    if length < len(MAGIC) + 24 + 32:
        return False
    with open(journal, "rb") as handle:
        digest, left = hashlib.sha256(), length - 32
        starts_right = handle.read(len(MAGIC)) == MAGIC
        handle.seek(0)
        while left:
            chunk = handle.read(min(1 << 20, left))
            digest.update(chunk)
            left -= len(chunk)
        return starts_right and handle.read() == digest.digest()


def _journal_entries(journal: Path) -> tuple[int, int, list[tuple[int, bytes, bytes]]]:
    """Return the file's old and new size and, for each block, its offset, the checksums of its old sectors, its new content."""
    with open(journal, "rb") as handle:
        handle.seek(len(MAGIC))
        base_size, size, count = _unpack(handle, 3)
        entries = []
        for _ in range(count):
            (offset,) = _unpack(handle, 1)
            entries.append((offset, handle.read(SECTORS * 4), handle.read(BLOCK)))
        return base_size, size, entries


def _belongs(descriptor: int, entries: Sequence[tuple[int, bytes, bytes]]) -> bool:
    """Return whether each sector still has the content the journal was made for, or already the new one."""
    for offset, old, new in entries:
        now = read_at(descriptor, BLOCK, offset)
        found = checksums(now.ljust(BLOCK, b"\0"))
        for i in range(SECTORS):
            piece = now[i * SECTOR : (i + 1) * SECTOR]
            is_old = found[4 * i : 4 * i + 4] == old[4 * i : 4 * i + 4]
            if not is_old and new[i * SECTOR : i * SECTOR + len(piece)] != piece:
                return False
    return True


def _is_untouched(descriptor: int, entries: Sequence[tuple[int, bytes, bytes]]) -> bool:
    """Return whether no block has been written yet."""
    return all(checksums(read_at(descriptor, BLOCK, at).ljust(BLOCK, b"\0")) == old for at, old, _ in entries)


def _pack(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def _unpack(handle: Any, count: int) -> tuple[int, ...]:
    return tuple(int.from_bytes(handle.read(8), "little") for _ in range(count))
