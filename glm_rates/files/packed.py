"""How do results stay small? Arrays compressed at the precision that their uncertainty allows, and views of one array a population.

A rate keeps 10 bits of its mantissa (relative error below 5e-4; its own standard error is some percent), a standard deviation 7.
"""

from __future__ import annotations

import h5py
import numpy as np

LARGE = 4096  # bytes from which chunks and compression cost less than they save
RATE_BITS, SPREAD_BITS, EXACT = 10, 7, 23  # of the mantissa


class Packed:
    """An array that makes its own dataset: compressed where it is large, else as it is."""

    def __init__(self, array: np.ndarray, kind: str = "f8", bits: int = EXACT) -> None:
        """Keep ``bits`` of the mantissa where it is compressed; ``kind`` is the type on disk there."""
        self.plain, self.kind, self.bits = np.asarray(array), kind, bits

    def __call__(self, group: h5py.Group, name: str) -> h5py.Dataset:
        """Create the dataset in an open group."""
        if self.plain.nbytes < LARGE:
            return group.create_dataset(name, data=self.plain, track_times=False)
        array = rounded(self.plain, self.bits)
        array = array.astype(self.kind) if array.dtype.kind == "f" else array
        return group.create_dataset(
            name, data=array, track_times=False, compression="gzip", compression_opts=6, shuffle=True,
            chunks=chunks_of(array),
        )  # fmt: skip


class View:
    """One unit's trials of one taste as a view of a stack (taste, trial, unit, bin) in the same file.

    The view names the stack by its path, so it belongs in a file whose groups are never moved.
    """

    def __init__(self, stack: str, shape: tuple[int, ...], taste: int, unit: int, n_trials: int) -> None:
        """``stack`` is the path of the stack in the file, ``shape`` its own."""
        self.stack, self.shape, self.taste, self.unit, self.n_trials = stack, shape, taste, unit, n_trials

    def __call__(self, group: h5py.Group, name: str) -> h5py.Dataset:
        """Create the virtual dataset (trial, bin) in an open group."""
        parent, _, own = name.rpartition("/")
        if parent and parent not in group:
            group.create_group(
                parent, track_order=True
            )  # also the compact form: a third of the bytes of thousands of groups
        layout = h5py.VirtualLayout((self.n_trials, self.shape[3]), "f8")
        source = h5py.VirtualSource(".", self.stack, shape=self.shape)
        layout[...] = source[self.taste, : self.n_trials, self.unit, :]
        return (group[parent] if parent else group).create_virtual_dataset(own, layout)


def rounded(array: np.ndarray, bits: int) -> np.ndarray:
    """Floats with ``bits`` of the float32 mantissa (23) kept, the rest zero; other numbers as they are."""
    if array.dtype.kind != "f":
        return array
    single = np.ascontiguousarray(array, np.float32)
    if bits >= EXACT:
        return single
    drop = EXACT - bits
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
