"""What is in a user's recording?"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor

import hdf5io
from hdf5io.errors import InputError

SCHEMA = "neuro_diffusion/recording/1"


class Activity(NamedTuple):
    """A recording."""

    y: Tensor  #: (K, T, N) rates, 0 where not recorded
    observed: Tensor  #: (N) True where a neuron was recorded


def load_activity(path: Path, dataset: str | None = None) -> Activity:
    """Return the rates of a recording; see ``InferConfig.activity`` for the formats.

    Raises
    ------
    InputError : unreadable file, several candidate arrays, wrong shape, NaN inside a recorded neuron, rates outside [-1, 1].
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    if path.suffix.lower() == ".csv":
        array = _from_csv(path)
    elif path.suffix.lower() == ".npz":
        array = _from_npz(path, dataset)
    else:
        array = _from_hdf5(path, dataset)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim not in (2, 3):
        raise InputError(f"{path}: activity has shape {array.shape}, expected (time, neuron) or (trial, time, neuron).")
    y = np.asarray(array if array.ndim == 3 else array[None], np.float32)
    if y.shape[1] < 6 or y.shape[2] < 2:
        raise InputError(f"{path}: activity has shape {array.shape}; at least 6 time steps and 2 neurons are needed.")
    return _checked(path, y)


def _checked(path: Path, y: np.ndarray) -> Activity:
    missing = np.isnan(y)
    observed = ~missing.all((0, 1))
    if not observed.any():
        raise InputError(f"{path}: every value is NaN.")
    bad = np.flatnonzero(missing.any((0, 1)) & observed)
    if len(bad) or np.isinf(y).any():
        where = (
            f"neuron {bad[0]} has {int(missing[:, :, bad[0]].sum())} NaN" if len(bad) else "there are infinite values"
        )
        raise InputError(f"{path}: {where}. A neuron is recorded throughout, or its whole column is NaN.")
    share = float((np.abs(y[:, :, observed]) > 1.5).mean())
    if share > 0:
        raise InputError(
            f"{path}: {share:.1%} of the values lie outside [-1.5, 1.5]; rates x = tanh(h) are expected. Rescale them."
        )
    if float(y[:, :, observed].std()) < 1e-6:
        raise InputError(f"{path}: the activity is constant; nothing can be inferred from it.")
    return Activity(torch.from_numpy(np.nan_to_num(y)), torch.from_numpy(observed))


def _from_csv(path: Path) -> np.ndarray:
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file.") from None
    cells = [line.replace(";", ",").replace("\t", ",").split(",") for line in lines]
    for skip in (0, 1):  # a header line may stand above
        try:
            rows = [[float(c) if c.strip() else np.nan for c in row] for row in cells[skip:]]
        except ValueError:
            continue
        if rows and len({len(r) for r in rows}) == 1:
            return np.array(rows)
    raise InputError(f"{path}: not a table of numbers with a row a time step and a column a neuron.")


def _from_npz(path: Path, dataset: str | None) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            name = _choose(path, {k: file[k].ndim for k in file.files}, dataset)
            return np.asarray(file[name], float)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a readable npz file of plain arrays ({error}).") from None


def _from_hdf5(path: Path, dataset: str | None) -> np.ndarray:
    with hdf5io.read(path) as file:
        found: dict[str, int] = {}

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
                found[name] = item.ndim

        file.visititems(visit)
        return np.asarray(file[_choose(path, found, dataset)][()], float)


def _choose(path: Path, dimensions: Mapping[str, int], wanted: str | None) -> str:
    """Return the array that holds the activity: the one asked for, 'activity', or the only one with two or three axes."""
    fit = [name for name, n in dimensions.items() if n in (2, 3)]
    if wanted is not None:
        if wanted.strip("/") in dimensions:
            return wanted.strip("/")
        raise InputError(f"{path}: no '{wanted}'; there are {', '.join(dimensions) or 'no arrays'}.")
    if "activity" in dimensions:
        return "activity"
    if len(fit) == 1:
        return fit[0]
    raise InputError(
        f"{path}: {len(fit)} arrays could be the activity ({', '.join(fit[:8])}). Name one with --dataset."
    )


def load_truth(path: Path, N: int) -> Tensor:
    """Return the true weights (N, N) of a file's dataset 'W'."""
    with hdf5io.read(path, required=["W"]) as file:
        W = np.asarray(file["W"][()], np.float32).squeeze()
    if W.shape != (N, N) or not np.isfinite(W).all():
        raise InputError(f"{path}: 'W' has shape {W.shape}, expected finite ({N}, {N}).")
    return torch.from_numpy(W)


def save(path: Path, activity: Tensor, W: Tensor, h0: Tensor, current: Tensor, provenance: dict[str, str]) -> Path:
    """Write a simulated recording (K, T, N) with the truth behind it."""
    D = hdf5io.Dataset
    sets = {
        "activity": D(activity.numpy(), "rate", "recorded rates, NaN: not recorded", ("trial", "time", "neuron")),
        "W": D(W.numpy(), "", "true weights, row = postsynaptic", ("post", "pre")),
        "h0": D(h0.numpy(), "", "true initial states", ("trial", "neuron")),
        "input": D(current.numpy(), "", "true constant input", ("neuron",)),
    }
    return hdf5io.write(path, SCHEMA, sets, provenance=provenance, overwrite=True)
