"""How does a results file stay small? Large arrays compressed, rates at the precision of a float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io import Dataset

LARGE = 4096  # bytes from which chunks and compression cost less than they save
DIGITS = 14  # bits of the mantissa that are kept of a standard deviation


class Packed:
    """An array that is written compressed where the writer can do so; elsewhere it is the plain array."""

    def __init__(self, array: np.ndarray, kind: str = "f8", bits: int = 23) -> None:
        """Keep ``bits`` of the mantissa where it is compressed; ``kind`` is the type on disk there."""
        self.plain, self.kind, self.bits = np.asarray(array), kind, bits

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.plain if dtype is None else self.plain.astype(dtype)

    def __call__(self, group: h5py.Group, name: str) -> h5py.Dataset:
        """Create the dataset in an open group."""
        if self.plain.nbytes < LARGE:
            return group.create_dataset(name, data=self.plain, track_times=False)
        array = rounded(self.plain, self.bits)
        array = array.astype(self.kind) if array.dtype.kind == "f" else array
        return group.create_dataset(
            name, data=array, track_times=False, compression="gzip", compression_opts=4, shuffle=True,
            chunks=chunks_of(array),
        )  # fmt: skip


def rounded(array: np.ndarray, bits: int) -> np.ndarray:
    """Floats with ``bits`` of the float32 mantissa (23) kept, the rest zero; other numbers as they are."""
    if array.dtype.kind != "f":
        return array
    single = np.ascontiguousarray(array, np.float32)
    if bits >= 23:
        return single
    drop = 23 - bits
    whole = single.view(np.uint32)
    kept = ((whole + np.uint32(1 << (drop - 1))) >> np.uint32(drop)) << np.uint32(drop)
    return np.where(np.isfinite(single), kept.view(np.float32), single)


def chunks_of(array: np.ndarray) -> tuple[int, ...]:
    """Whole last axes, as many as make at most a megabyte."""
    shape, size = list(array.shape), array.itemsize
    out = [1] * len(shape)
    for axis in reversed(range(len(shape))):
        out[axis] = max(1, min(shape[axis], (1 << 20) // max(size, 1)))
        size *= out[axis]
    return tuple(out)


def write_file(
    path: Path, schema: str, datasets: Mapping[str, Dataset], attrs: dict[str, Any], provenance: dict[str, Any]
) -> None:
    """Write a results file of its own, large arrays compressed."""
    with hdf5io.create(path, schema, attrs=attrs, provenance=provenance, overwrite=True) as file:
        for name, item in datasets.items():
            if not isinstance(item.data, Packed):
                hdf5io.write_datasets(file, {name: item})
                continue
            dataset = item.data(file, name)
            dataset.attrs["units"], dataset.attrs["description"] = item.units, item.description
            for axis, label in enumerate(item.dims):
                dataset.dims[axis].label = label
