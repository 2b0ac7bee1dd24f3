"""What do the two stages hand to each other? A private folder of ``.npy`` arrays and one JSON file each, no pickles.

This file and the two stages may run in interpreters that have little installed: here only numpy, ``hdf5io.errors`` and the standard
library are imported, and the syntax is that of Python 3.8.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

CONTRACT = 2  # raised whenever a name or meaning in the folder changes


class Fitted(NamedTuple):
    """What both stages handed over."""

    params: dict  # of the extraction
    extracted: dict  # its arrays
    meta: dict  # of the fit
    arrays: dict  # its arrays

    def window_counts(self):
        """Counts in the analysis window, NaN where a bin is no observation: (trial, bin, unit)."""
        first, stop = self.params["window"]
        counts = self.extracted["counts"][:, first:stop].astype(float)
        return np.where(self.arrays["valid"], counts, np.nan) if "valid" in self.arrays else counts


def save(folder, stage, params, arrays):
    """Write one stage's output: ``<stage>.json`` and ``<stage>.<name>.npy`` for every array.

    Parameters
    ----------
    folder : path
        Existing folder.
    stage : str
        ``extract`` or ``fit``.
    params : dict
        Plain JSON values.
    arrays : dict of numpy.ndarray
        Numeric arrays.
    """
    folder = Path(folder)
    for name, array in arrays.items():
        np.save(str(folder / (stage + "." + name + ".npy")), np.asarray(array), allow_pickle=False)
    document = dict(params, contract=CONTRACT, arrays=sorted(arrays))
    (folder / (stage + ".json")).write_text(json.dumps(document, indent=1), encoding="utf-8")


def load(folder, stage):
    """Read one stage's output: (params, arrays).

    Raises
    ------
    InputError
        Where the folder has no such stage or was written under another contract.
    """
    folder = Path(folder)
    path = folder / (stage + ".json")
    if not path.is_file():
        raise InputError(f"{folder}: no {stage}.json; expected a folder written by 'glm-rates {stage}'.")
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}).") from None
    if params.get("contract") != CONTRACT:
        found = params.get("contract")
        raise InputError(f"{path}: contract {found}, expected {CONTRACT}. Run the extraction again.")
    names = params["arrays"]
    return params, {n: np.load(str(folder / (stage + "." + n + ".npy")), allow_pickle=False) for n in names}


def digest(arrays, options):
    """Hex digest of data and options: equal exactly when both are equal."""
    sha = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update((f"{name} {array.dtype.str} {array.shape}").encode())
        sha.update(array.tobytes())
    return sha.hexdigest()
