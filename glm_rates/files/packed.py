"""How do results stay small? Arrays compressed at the precision that their uncertainty allows, views of one array a population, and
thousands of small groups without the room that HDF5 keeps free in each.

A rate keeps 10 bits of its mantissa (relative error below 5e-4; its own standard error is some percent), a filter 12, a standard
deviation 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import h5py
import numpy as np

import hdf5io
from hdf5io import Dataset

LARGE = 4096  # bytes from which chunks and compression cost less than they save
LARGE_IN_TREE = 512  # the same among `UnitGroups`, where a single chunk needs no index
MANY = (
    1000  # groups above which the texts of each array are left to their parent: they would take as much as the arrays
)
RATE_BITS, FILTER_BITS, SPREAD_BITS, EXACT = 10, 12, 7, 23  # of the mantissa
STACKED = (3, 1, 0, 2)  # axes of (taste, trial, unit, bin) as chunks take them: one unit's values lie together
FORMAT = ("v110", "v110")  # of HDF5; views need 1.10 anyhow, and its headers are half as large


class Packed:
    """An array that makes its own dataset: compressed where it is large, else as it is."""

    def __init__(
        self,
        array: np.ndarray,
        kind: str = "f8",
        bits: int = EXACT,
        axes: Sequence[int] | None = None,
        large: int = LARGE,
    ) -> None:
        """Keep ``bits`` of the mantissa where it is compressed; ``kind`` is the type on disk there, ``axes`` those of `chunks_of`."""
        self.plain, self.kind, self.bits, self.axes, self.large = np.asarray(array), kind, bits, axes, large

    def __call__(self, group: h5py.Group, name: str) -> h5py.Dataset:
        """Create the dataset in an open group."""
        if self.plain.nbytes < self.large:
            return group.create_dataset(name, data=self.plain, track_times=False)
        array = rounded(self.plain, self.bits)
        array = array.astype(self.kind) if array.dtype.kind == "f" else array
        return group.create_dataset(
            name, data=array, track_times=False, compression="gzip", compression_opts=6, shuffle=True,
            chunks=chunks_of(array, self.axes),
        )  # fmt: skip


class View:
    """One unit's trials of one taste as a view of a stack (taste, trial, unit, bin) in the same file.

    The view names the stack by its path, so it belongs in a file whose groups are never moved.
    """

    def __init__(self, stack: str, shape: tuple[int, ...], taste: int, unit: int, n_trials: int) -> None:
        """``stack`` is the path of the stack in the file, ``shape`` its own."""
        self.stack, self.shape, self.taste, self.unit, self.n_trials = stack, shape, taste, unit, n_trials

    def __call__(self, group: h5py.Group, name: str) -> h5py.Dataset:
        """Create the virtual dataset (trial, bin) in an open group; through h5py's lower interface, six times faster."""
        n_bins = self.shape[3]
        here, there = h5py.h5s.create_simple((self.n_trials, n_bins)), h5py.h5s.create_simple(self.shape)
        there.select_hyperslab((self.taste, 0, self.unit, 0), (1, self.n_trials, 1, n_bins))
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_obj_track_times(False)
        plan.set_virtual(here, b".", self.stack.encode(), there)
        return h5py.Dataset(h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F64LE, here, plan))


class UnitGroups:
    """A group of thousands of groups that each hold a few small arrays.

    HDF5 keeps room for attributes free in each object, twice what it holds; a copy leaves that out. So the groups are made in memory
    and copied into the file.
    """

    def __init__(self, groups: Mapping[str, Mapping[str, Dataset]]) -> None:
        """``groups``: the arrays of each group, by the names of both."""
        self.groups = groups

    def __call__(self, group: h5py.Group, name: str) -> h5py.Group:
        """Create the group of groups in an open group.

        Where there are `MANY`, units and descriptions of the arrays are attributes of the whole: ``<array> units``,
        ``<array> description``.
        """
        with h5py.File(name, "w", driver="core", backing_store=False, libver=FORMAT) as memory:
            whole = memory.create_group(name, track_order=True)
            for own, arrays in self.groups.items():
                inner = whole.create_group(own)
                if len(self.groups) <= MANY:
                    hdf5io.write_datasets(inner, arrays)
                    continue
                for key, item in arrays.items():
                    if callable(item.data):
                        item.data(inner, key)
                    else:
                        inner.create_dataset(key, data=item.data, track_times=False)
            if len(self.groups) > MANY:
                for key, item in next(iter(self.groups.values())).items():
                    whole.attrs[key + " units"], whole.attrs[key + " description"] = item.units, item.description
            memory.copy(whole, group, name)
        return group[name]


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


def chunks_of(array: np.ndarray, axes: Sequence[int] | None = None) -> tuple[int, ...]:
    """As many whole axes as make at most a megabyte, the last first.

    With ``axes`` they are taken in that order and make at most an eighth of it: who reads one unit unpacks little else.

    Examples
    --------
    >>> chunks_of(np.zeros((60, 4, 200, 120), np.float32))
    (2, 4, 200, 120)
    >>> chunks_of(np.zeros((60, 4, 200, 120), np.float32), STACKED)
    (60, 4, 1, 120)
    """
    shape, size, room = list(array.shape), array.itemsize, 1 << (20 if axes is None else 17)
    out = [1] * len(shape)
    for axis in reversed(range(len(shape))) if axes is None else axes:
        out[axis] = max(1, min(shape[axis], room // max(size, 1)))
        size *= out[axis]
    return tuple(out)
