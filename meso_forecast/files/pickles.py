"""How is an .npy pickle read without running what is in it? Plain containers, numbers, text and numpy arrays; anything else is inert."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io

NUMPY = {"ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer"}
BUILTINS = {
    "dict",
    "list",
    "set",
    "frozenset",
    "tuple",
    "int",
    "float",
    "complex",
    "bool",
    "str",
    "bytes",
    "bytearray",
    "slice",
}


class Inert:
    """Stands for an object of an unknown kind; whatever is done with it does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...

    def append(self, _: Any) -> None:
        """Do nothing."""

    def extend(self, _: Any) -> None:
        """Do nothing."""

    def __setitem__(self, *_: Any) -> None: ...


class Restricted(pickle.Unpickler):
    """Builds numpy arrays and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a constructor of numpy or of a plain container; for anything else one that does nothing."""
        if module.split(".")[0] == "numpy" and name in NUMPY:
            home = {"ndarray": np, "dtype": np}.get(name)
            if home is None:
                import numpy._core.multiarray as multiarray
                import numpy._core.numeric as numeric

                home = multiarray if hasattr(multiarray, name) else numeric
            return getattr(home, name)
        if module == "builtins" and name in BUILTINS:
            return getattr(__import__("builtins"), name)
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        return Inert


def load_pickled_npy(path: Path) -> Any:
    """Return what an .npy file of one pickled object (suite2p's ``ops.npy``, ``stat.npy``) holds; nothing in it is run.

    Raises
    ------
    InputError : it is no such file.
    """
    with hdf5io.parsing(path, "an .npy file"), open(path, "rb") as handle:
        version = np.lib.format.read_magic(handle)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read(handle)
        if not dtype.hasobject:
            handle.seek(0)
            return np.load(handle, allow_pickle=False)
        content = Restricted(handle).load()
    return content.item() if isinstance(content, np.ndarray) and content.ndim == 0 else content
