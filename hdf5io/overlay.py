"""How does the HDF5 library write into a recording without touching it? Into an overlay of changed blocks in memory."""

from __future__ import annotations

import io
import os
import zlib
from typing import Any

BLOCK = 4096  #: bytes of one overlay block
SECTOR = 512  #: bytes that a disk writes whole or not at all
SECTORS = BLOCK // SECTOR


class Overlay(io.RawIOBase):
    """A file object over a descriptor that keeps every written block in memory and leaves the file alone."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.base_size = descriptor, os.fstat(descriptor).st_size
        self.size, self.position = self.base_size, 0
        self.blocks: dict[int, bytearray] = {}
        self.originals: dict[int, bytes] = {}  #: what changed blocks inside the file held
        self.failure: OSError | None = None  #: of reading the file; an exception inside HDF5's callback would be lost

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def truncate(self, size: int | None = None) -> int:
        self.size = self.position if size is None else size
        return self.size

    def _base(self, start: int, length: int) -> bytes:
        data = b""
        if start < self.base_size and self.failure is None:
            try:
                data = read_at(self.descriptor, min(length, self.base_size - start), start)
            except OSError as error:
                self.failure = error.with_traceback(None)  # its frames would hold HDF5's property lists beyond the end
        return data.ljust(length, b"\0")

    def base_checksums(self, number: int) -> bytes:
        """Return the CRC-32 of each sector of a block as the file holds it."""
        return checksums(self._base(number * BLOCK, BLOCK))

    def readinto(self, buffer: Any) -> int:
        """Read from the position on: the file's bytes with the changed blocks over them."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self.size - self.position))
        first, last = self.position // BLOCK, (self.position + length - 1) // BLOCK
        view[:length] = self._base(self.position, length)
        for number in (
            self.blocks.keys() & set(range(first, last + 1)) if last - first < len(self.blocks) else self.blocks
        ):
            if first <= number <= last:
                start = max(self.position, number * BLOCK)
                stop = min(self.position + length, (number + 1) * BLOCK)
                view[start - self.position : stop - self.position] = self.blocks[number][
                    start - number * BLOCK : stop - number * BLOCK
                ]
        self.position += length
        return length

    def write(self, data: Any) -> int:
        """Write at the position into changed blocks, never into the file."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            number, offset = divmod(self.position, BLOCK)
            length = min(BLOCK - offset, len(view) - done)
            if number not in self.blocks:
                old = self._base(number * BLOCK, BLOCK)
                if number * BLOCK < self.base_size:
                    self.originals[number] = old[: self.base_size - number * BLOCK]
                self.blocks[number] = bytearray(old)
            self.blocks[number][offset : offset + length] = view[done : done + length]
            self.position, done = self.position + length, done + length
        self.size = max(self.size, self.position)
        return done


def checksums(block: bytes) -> bytes:
    """Return the CRC-32 of each sector of a block."""
    return b"".join(zlib.crc32(block[i : i + SECTOR]).to_bytes(4, "little") for i in range(0, BLOCK, SECTOR))


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    parts = []
    while length and (part := os.read(descriptor, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    while data:
        data = data[os.write(descriptor, data) :]
