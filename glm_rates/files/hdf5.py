"""What is inside an HDF5 file of a laboratory? Through h5py or PyTables, whichever is there and knows the file's compression.

Runs in the blech_clust environment too: numpy, h5py or PyTables, Python 3.8 syntax. Whatever a damaged or foreign file does, it ends
in one line that names the place.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError


@contextlib.contextmanager
def parsing(path, what):
    """Turn whatever a library says of a broken file into one line.

    Parameters
    ----------
    path :
        The file.
    what :
        What it should be, with its article.
    """
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: says that it holds more than this machine's memory. Is it {what}?") from None
    except Exception as error:  # a parser of foreign bytes may raise anything
        raise InputError(f"{path}: not readable as {what} ({first_line(error)}). Is it complete?") from None


def first_line(error):
    """The first line of what an exception says, or its kind."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


class H5:
    """Groups and arrays of an HDF5 file, read-only."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            import h5py

            from hdf5io.reading import refuse_broken_types

            with contextlib.suppress(ImportError):
                import hdf5plugin  # noqa: F401 (registers compressions with h5py)
        except ImportError:
            self.by_h5py, self.file = False, self._open_tables()
        else:
            self.by_h5py = True
            with parsing(path, "an HDF5 file"):
                self.file = h5py.File(str(path), "r")
            refuse_broken_types(self.file)

    def _open_tables(self):
        import tables

        with parsing(self.path, "an HDF5 file"):
            return tables.open_file(str(self.path), "r")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __contains__(self, name):
        with contextlib.suppress(Exception):  # a link that leads nowhere, a damaged node
            self._node(name)
            return True
        return False

    def _node(self, name):
        return self.file[name] if self.by_h5py else self.file.get_node("/" + name.strip("/"))

    def where(self, name):
        """File and place, for a message."""
        return f"{self.path}: '/{name.strip('/')}'"

    def names(self, name):
        """Names of the children of a group."""
        with parsing(self.path, "a file with a group " + name):
            node = self._node(name)
            children = node.keys() if self.by_h5py else node._v_children.keys()
            return list(children)

    def array(self, name, ndim=None, kinds="iufb"):
        """The array at ``name``, unread; slices of it are numpy arrays.

        Raises
        ------
        InputError
            Not there, a group, another number of axes, other elements, or far more values than the file can hold.
        """
        try:
            node = self._node(name)
        except Exception as error:  # missing, damaged, or a link that leads nowhere
            raise InputError(f"{self.where(name)} is missing or damaged ({first_line(error)}).") from None
        with parsing(self.path, f"a file with numbers in {name}"):
            lacking = missing_filter(node) if self.by_h5py and hasattr(node, "id") and hasattr(node, "dtype") else None
            if lacking:
                return self._through_tables(name, ndim, kinds, lacking)
            if not hasattr(node, "dtype") or not hasattr(node, "shape"):
                raise InputError(f"{self.where(name)} is a group, an array is expected.")
            shape, kind, size = node.shape, node.dtype.kind, node.dtype.itemsize
            stored = not self.by_h5py or node.is_virtual or node.external or node.id.get_storage_size()
        if shape is None or (ndim is not None and len(shape) != ndim) or not shape:
            expected = "at least 1" if ndim is None else ndim
            raise InputError(f"{self.where(name)} has shape {shape}, {expected} axes are expected.")
        if kind not in kinds:
            raise InputError(
                f"{self.where(name)} holds {node.dtype}, {'a table' if kinds == 'V' else 'numbers'} expected."
            )
        claimed, real = float(np.prod([float(n) for n in shape])) * size, os.path.getsize(str(self.path))
        if claimed > 2**26 and (claimed > 1000 * real or not stored):
            raise InputError(
                f"{self.where(name)} claims {claimed / 1e9:.1f} GB of which a file of {real / 1e6:.1f} MB holds little or nothing."
            )
        return node

    def _through_tables(self, name, ndim, kinds, filter_name):
        """Open the file again with PyTables, which brings compressions of its own (blosc, bzip2, lzo)."""
        text = f"{self.where(name)} is compressed with {filter_name}, which h5py does not know"
        try:
            other = self._open_tables()
        except ImportError:
            raise InputError(f"{text}; pip install hdf5plugin, or tables.") from None
        self.file.close()
        self.by_h5py, self.file = False, other
        node = self.array(name, ndim, kinds)
        try:
            node[tuple(slice(0, 1) for _ in node.shape)]
        except (OSError, RuntimeError):  # neither library has the filter (HDF5ExtError is a RuntimeError)
            raise InputError(f"{text}, nor does PyTables; pip install hdf5plugin.") from None
        return node

    def read(self, name, ndim=None, kinds="iufb"):
        """All values of the array at ``name``."""
        node = self.array(name, ndim, kinds)
        with parsing(self.path, f"a file with numbers in {name}"):
            return np.asarray(node[:])


def missing_filter(dataset):
    """Name of the first compression of an h5py dataset that is not available here, or an empty text."""
    import h5py

    with contextlib.suppress(Exception):  # a scalar has no filters, a damaged one says so when it is read
        plist = dataset.id.get_create_plist()
        for index in range(plist.get_nfilters()):
            code, _, _, name = plist.get_filter(index)
            if not h5py.h5z.filter_avail(code):
                return (name.decode("ascii", "replace") or "filter") + f" ({code})"
    return ""


def values(dataset, *where):
    """Values of an h5py dataset, through PyTables where h5py lacks its compression."""
    if missing_filter(dataset):
        with H5(dataset.file.filename) as h5:
            node = h5.array(dataset.name, kinds="iufbSO")
            return np.asarray(node[where or slice(None)])
    return np.asarray(dataset[where or ()])
