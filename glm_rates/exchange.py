"""What do the two stages hand to each other? A private folder of ``.npy`` arrays and one JSON file each, no pickles.

This file and the two stages may run in interpreters that have little installed: here only numpy and the standard library are
imported, and the syntax is that of Python 3.8.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path

import numpy as np

CONTRACT = 1  # raised whenever a name or meaning in the folder changes


class BadRecording(ValueError):
    """A user's mistake in the recording or the options: one line, exit code 2."""

    exit_code = 2


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
    BadRecording
        Where the folder has no such stage or was written under another contract.
    """
    folder = Path(folder)
    path = folder / (stage + ".json")
    if not path.is_file():
        raise BadRecording(f"{folder}: no {stage}.json; expected a folder written by 'glm-rates {stage}'.")
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadRecording(f"{path}: not JSON ({error}).") from None
    if params.get("contract") != CONTRACT:
        found = params.get("contract")
        raise BadRecording(f"{path}: contract {found}, expected {CONTRACT}. Run the extraction again.")
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


def run_stage(function, arguments):
    """Run ``function(folder)`` as the main of a stage: log to stderr, mistakes as one line, exit code 2.

    The last line on stderr of a failed stage is its error; the process that started it repeats that line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("glm_rates")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    try:
        function(Path(arguments[0]))
    except BadRecording as error:
        print("ERROR " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0
