"""How are arrays read from a MATLAB file, of version 5 (its own layout) or 7.3 (HDF5, axes the other way round)?

Version 5 is parsed here, matrices of numbers and the numbers in structs only: a damaged file ends scipy's reader with a signal. Layout:
MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED = 14, 15
STRUCT, FIRST_NUMBER, LAST_NUMBER = 2, 6, 15  #: classes of arrays
OBJECTS = (3, 17)  #: classes of objects
OBJECT = "object"  #: stands for one, which MATLAB alone can read
COMPLEX = 0x0800
MOST_BYTES = 1 << 34  #: of one variable, unpacked


class Element(NamedTuple):
    """One tagged piece of a file."""

    kind: int
    data: memoryview


class Layout(NamedTuple):
    """Byte order of a file: ``<`` or ``>``."""

    order: Literal["<", ">"]

    def elements(self, data: memoryview) -> Iterator[Element]:
        """Yield the elements of a piece in order."""
        at = 0
        while at + 8 <= len(data):
            kind, size = struct.unpack_from(f"{self.order}II", data, at)
            if kind >> 16:  # four bytes or fewer, beside their tag
                yield Element(kind & 0xFFFF, data[at + 4 : at + 4 + min(kind >> 16, 4)])
                at += 8
                continue
            if at + 8 + size > len(data):
                raise ValueError(f"an element of {size} bytes ends beyond the file")
            yield Element(kind, data[at + 8 : at + 8 + size])
            at += 8 + size + (0 if kind == COMPRESSED else -size % 8)

    def numbers(self, element: Element) -> np.ndarray:
        """Return the numbers of an element."""
        return np.frombuffer(element.data, np.dtype(TYPES[element.kind]).newbyteorder(self.order))

    def matrix(self, data: memoryview) -> tuple[str, Any]:
        """Return (name, value) of a matrix: an array of numbers, a dict of a struct's arrays, None for anything else."""
        parts = list(self.elements(data))
        flags = int(self.numbers(parts[0])[0])
        if flags & 0xFF == OBJECTS[1]:  # has no shape
            return bytes(parts[1].data).decode("latin-1"), OBJECT
        shape = [int(v) for v in self.numbers(parts[1])]
        name, kind = bytes(parts[2].data).decode("latin-1"), flags & 0xFF
        if kind == STRUCT and math.prod(shape) == 1:
            width, names = int(self.numbers(parts[3])[0]), bytes(parts[4].data)
            fields = [
                names[i : i + width].split(b"\0")[0].decode("latin-1") for i in range(0, len(names), max(width, 1))
            ]
            values = [self.matrix(p.data)[1] if len(p.data) else None for p in parts[5 : 5 + len(fields)]]
            return name, dict(zip(fields, values))
        if kind in OBJECTS:
            return name, OBJECT
        if not FIRST_NUMBER <= kind <= LAST_NUMBER or flags & COMPLEX:
            return name, None
        return name, self.numbers(parts[3]).reshape(shape, order="F")


def is_mat5(path: Path) -> bool:
    """Return whether a file begins as MATLAB's version 5 (and 7) does."""
    with open(path, "rb") as handle:
        return handle.read(19) == b"MATLAB 5.0 MAT-file"


def read_mat5(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return variables of a version 5 file; those of another kind or name are None."""
    data = memoryview(path.read_bytes())
    layout = Layout("<" if bytes(data[126:128]) == b"IM" else ">")
    found = {}
    for element in layout.elements(data[128:]):
        body = element.data
        if element.kind == COMPRESSED:
            unpacked = zlib.decompressobj().decompress(bytes(body), MOST_BYTES)
            body = next(iter(layout.elements(memoryview(unpacked)))).data
        elif element.kind != MATRIX:
            continue
        name, value = layout.matrix(body)
        found[name] = value if name in names else None
    return found


def mat_variables(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return variables of a MATLAB file by name, as `mat_arrays` does, others as None, objects as `OBJECT`."""
    if is_mat5(path):
        with hdf5io.parsing(path, "a MATLAB file"):
            return read_mat5(path, names)
    with hdf5io.read(path) as file:
        return {name: variable(file, name) if name in names else None for name in file if not name.startswith("#")}


def mat_arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return variables of a MATLAB file: arrays of numbers with MATLAB's axes, and the arrays of structs as a dict.

    Raises
    ------
    InputError : it cannot be read, or the first name is missing or no matrix of numbers.
    """
    found = mat_variables(path, names)
    first = found.get(names[0])
    if not isinstance(first, np.ndarray) or first.ndim != 2:
        there = ", ".join(k for k, v in found.items() if v is not None)
        raise InputError(
            f"{path}: no matrix of numbers '{names[0]}'; there are {there or 'no variables that are known'}."
        )
    return {name: value for name, value in found.items() if value is not None and value is not OBJECT}


def variable(file: h5py.File, name: str) -> Any:
    """Return a variable of a version 7.3 file: an array with MATLAB's axes, a dict of a struct's arrays, None for anything else."""
    item = file[name]
    if isinstance(item, h5py.Group):
        return {key: variable(item, key) for key in item if isinstance(item[key], h5py.Dataset)}
    if "MATLAB_object_decode" in item.attrs:
        return OBJECT
    if item.shape is None or item.dtype.kind not in "biuf" or not item.ndim:
        return None
    return hdf5io.array(item.parent, item.name, kinds="biuf")[()].T
