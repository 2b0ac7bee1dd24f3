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

from .hdf5 import parsing

AXES = {
    "counts": (("trial", "bin", "unit"), True), "taste": (("trial",), True), "trial": (("trial",), True), "onset": (("trial",), True),
    "laser": (("trial", "bin"), True), "observed": (("trial", "bin", "unit"), False), "counted": (("trial", "bin"), False),
}  # fmt: skip  # arrays of an extraction: their axes, and whether they must be there
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
    with parsing(path, "a folder of glm-rates " + stage):
        params = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(params, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(params).__name__}.")
    if params.get("contract") != CONTRACT:
        found = params.get("contract")
        raise InputError(f"{path}: contract {found}, expected {CONTRACT}. Run the extraction again.")
    names = params.get("arrays")
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise InputError(f"{path}: 'arrays' is no list of names.")
    arrays = {n: _array(folder / (stage + "." + n + ".npy")) for n in names}
    if stage == "extract":
        _check(path, params, arrays)
    return params, arrays


def _array(path):
    """One array; no pickles, and no more than the file holds."""
    with parsing(path, "an array (.npy) without pickles"):
        np.load(str(path), mmap_mode="r", allow_pickle=False)  # refuses a header that claims more than there is
        return np.load(str(path), allow_pickle=False)


def _check(path, params, arrays):
    """Compare what an extraction must hold with what is there."""
    for name in (
        "tastes",
        "regions",
        "units",
        "bin_size",
        "window",
        "start_ms",
        "onset_bin",
        "history_window",
        "coupling_window",
    ):
        if name not in params:
            raise InputError(f"{path}: no '{name}'. Run the extraction again.")
    missing = [name for name, (_, needed) in AXES.items() if needed and name not in arrays]
    if missing:
        raise InputError(f"{path}: no array '{missing[0]}'. Run the extraction again.")
    shape = arrays["counts"].shape
    if len(shape) != 3 or shape[2] != len(params["regions"]):
        raise InputError(
            f"{path}: counts have shape {shape}, expected trials, bins and {len(params['regions'])} units."
        )
    sizes = dict(zip(("trial", "bin", "unit"), shape))
    for name in [n for n in AXES if n in arrays]:
        expected = tuple(sizes[axis] for axis in AXES[name][0])
        if arrays[name].dtype.kind not in "iufb" or arrays[name].shape != expected:
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise InputError(
                f"{path}: array '{name}' is {found}, expected numbers {expected}. Run the extraction again."
            )
    first, stop = params["window"]
    if not 0 <= first < stop <= arrays["counts"].shape[1]:
        raise InputError(f"{path}: window {params['window']} does not fit {arrays['counts'].shape[1]} bins.")


def digest(arrays, options):
    """Hex digest of data and options: equal exactly when both are equal."""
    sha = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update((f"{name} {array.dtype.str} {array.shape}").encode())
        sha.update(array.tobytes())
    return sha.hexdigest()
