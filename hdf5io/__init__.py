"""HDF5 in, HDF5 out, and who made it: the one piece of code that all five pipelines share.

``errors``: how work ends that did not succeed. ``reading``: how a file is read so that a missing dataset gives a helpful line.
``writing``: how a result is written so that it explains itself and is never half there. ``runs``: what becomes of an output that is
there already. ``origin``: who made it, from what. ``archives``: how equal content becomes equal bytes in a zip archive.
``journal``: how results get into somebody's irreplaceable recording without ever risking it.

Names are looked up when they are used: ``from hdf5io.errors import InputError`` loads neither numpy nor h5py. Needs the standard
library, numpy and h5py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .archives import numbered as numbered
    from .archives import rezip as rezip
    from .errors import EnvironmentMissing as EnvironmentMissing
    from .errors import InputError as InputError
    from .errors import LockedError as LockedError
    from .errors import NoSpace as NoSpace
    from .errors import WorkFailed as WorkFailed
    from .journal import recover as recover
    from .journal import update as update
    from .origin import provenance as provenance
    from .origin import sha256 as sha256
    from .reading import Packing as Packing
    from .reading import array as array
    from .reading import packing as packing
    from .reading import parsing as parsing
    from .reading import read as read
    from .reading import read_json as read_json
    from .reading import refuse_broken_types as refuse_broken_types
    from .reading import require as require
    from .writing import MARKER as MARKER
    from .writing import Dataset as Dataset
    from .writing import atomic as atomic
    from .writing import bare as bare
    from .writing import claim as claim
    from .writing import create as create
    from .writing import plain as plain
    from .writing import write as write
    from .writing import write_attrs as write_attrs
    from .writing import write_csv as write_csv
    from .writing import write_datasets as write_datasets
    from .writing import write_json as write_json

_HOMES = {
    "archives": ("numbered", "rezip"),
    "errors": ("EnvironmentMissing", "InputError", "LockedError", "NoSpace", "WorkFailed"),
    "reading": ("Packing", "array", "packing", "parsing", "read", "read_json", "refuse_broken_types", "require"),
    "writing": (
        "MARKER", "Dataset", "atomic", "bare", "claim", "create", "plain", "write", "write_attrs", "write_csv",
        "write_datasets", "write_json",
    ),
    "journal": ("recover", "update"),
    "origin": ("provenance", "sha256"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"hdf5io.{home}"), name)
    raise AttributeError(f"module 'hdf5io' has no attribute '{name}'")
