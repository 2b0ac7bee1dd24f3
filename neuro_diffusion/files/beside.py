"""What stands beside a recording: the known input that the experimenter gave, and the true weights of a simulated one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .connectomes import role_of
from .containers import format_of, load
from .recordings import SCHEMA
from .tables import number, read_table

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("neuro_diffusion")
NAMES = ("stimulus", "stimuli", "input", "current")


def load_stimulus(given: Path | None, activity: Path, shape: Sequence[int]) -> Tensor | None:
    """Return the tensor of `read_stimulus`."""
    return tensor_of(read_stimulus(given, activity, shape))


def tensor_of(values: np.ndarray | None) -> Tensor | None:
    """Return an array as a tensor, nothing as nothing."""
    if values is None:
        return None
    import torch

    return torch.from_numpy(values)


def read_stimulus(given: Path | None, activity: Path, shape: Sequence[int]) -> np.ndarray | None:
    """Return the known input (K, T, N) of a recording of ``shape``: of a file, else the /stimulus of a recording made here, else None.

    (K, T, N), (T, N) for every trial, or (K, N) throughout each trial. What others call stimulus need not be an input in units of h:
    it is named, and used only when it is given.

    Raises
    ------
    InputError : unreadable, not finite, or of another shape.
    """
    path = given or activity
    if given is None and not _holds_stimulus(activity):
        return None
    kind, (K, T, N) = format_of(path), shape
    if kind == "text":
        try:
            values = np.array([[number(cell) for cell in row] for row in read_table(path).rows])
        except ValueError:
            raise InputError(f"{path}: not a table of numbers with a column a neuron.") from None
    else:
        fits = ((K, T, N), (T, N), (K, N))
        values = load(path, kind, None if given else "stimulus", lambda s: s in fits, NAMES, "known input").values
    values = np.asarray(values, np.float32)
    if values.shape == (T, N) == (K, N) and T > 1:
        raise InputError(
            f"{path}: input of shape {values.shape}: time steps or trials by neurons? Give (trial, time, neuron)."
        )
    whole = values[:, None] if values.shape == (K, N) else values
    if whole.shape not in ((K, T, N), (T, N), (K, 1, N)):
        raise InputError(
            f"{path}: input of shape {values.shape}; the recording that is used has {K} trials of {T} steps of {N} neurons. Expected"
            f" ({K}, {T}, {N}), ({T}, {N}) or ({K}, {N}); a recording with trials or frames left out needs an input without them."
        )
    if not np.isfinite(whole).all():
        raise InputError(f"{path}: the input has values that are not finite.")
    return np.array(np.broadcast_to(whole, (K, T, N)))


def _holds_stimulus(path: Path) -> bool:
    if not h5py.is_hdf5(path):
        return False
    with hdf5io.read(path) as file:
        held, ours = file.get("stimulus"), file.attrs.get("schema") == SCHEMA
        there = isinstance(held, h5py.Dataset)
        foreign = there or (isinstance(held, h5py.Group) and any(len(part) for part in held.values()))
    if foreign and not ours:
        log.warning("%s: '/stimulus' is not used; give --stimulus %s if it is the input to each neuron.", path, path)
    return there and ours


def truth_beside(given: Path | None, activity: Path, N: int) -> np.ndarray | None:
    """Return the true weights (N, N): of a file that was given, else those that a simulated recording holds beside it, else None."""
    if given is None:
        if not h5py.is_hdf5(activity):
            return None
        with hdf5io.read(activity) as file:
            if file.attrs.get("schema") != SCHEMA or "W" not in file:
                return None
    return read_truth(given or activity, N)


def load_truth(path: Path, N: int) -> Tensor | None:
    """Return the tensor of `read_truth`."""
    return tensor_of(read_truth(path, N))


def read_truth(path: Path, N: int) -> np.ndarray:
    """Return the true weights (N, N), row = postsynaptic, of a file's array 'W', or of its only square matrix."""
    kind = format_of(path)
    if kind == "text":
        raise InputError(f"{path}: a text file; true weights are read from HDF5, MATLAB or NumPy, row = postsynaptic.")
    found = load(path, kind, None, lambda s: s == (N, N), ("W",), f"true weights ({N}, {N})")
    if found.values.shape != (N, N):
        raise InputError(
            f"{path}: weights of shape {found.values.shape}, expected ({N}, {N}) of the recording's neurons."
        )
    if found.axes and role_of(found.axes[0]) == "pre":
        found = found._replace(values=found.values.T)
    if not np.isfinite(found.values).all():
        raise InputError(f"{path}: '{found.name}' is not finite.")
    return found.values.astype(np.float32)
