"""How are vectors in npz and HDF5 files read? By name, with the unit in the name or in an attribute; matrices hold sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import assemble
from .clock import NAME, refuse_scalars
from .request import Request
from .units import EXAMPLE, TABLES, convert, name_and_unit, other_electrodes, quantity_of, refuse_factor, unit_key
from .wavesurfer import is_wavesurfer, read_wavesurfer, sweeps_in

SCALES = ("gain", "scale", "scaling", "conversion", "factor", "multiplier", "offset")  #: attributes that may be factors
Vectors = dict[str, tuple[str, np.ndarray]]  #: unit and values by name


def read_npz(path: Path, request: Request) -> Recording:
    """Read arrays named with units (``t_ms``, ``v_mV``, ``i_pA``) from an npz file; no pickled objects are loaded."""
    recording = from_vectors(path, *npz_vectors(path), request)
    refuse_scalars(path, npz_scalars(path), recording.dt_ms)
    return recording


def npz_vectors(path: Path) -> tuple[Vectors, list[str]]:
    """Return the numeric vectors and matrices of an npz file with their units, and the names of all arrays."""
    with hdf5io.parsing(path, "an npz file"), np.load(path, allow_pickle=False) as file:
        names = list(file.files)
        arrays = {name: file[name] for name in names if quantity_of(name) is not None}
    vectors = {name: a for name, a in arrays.items() if a.ndim in (1, 2) and a.dtype.kind in "iuf"}
    return {name: (name_and_unit(name)[1], as_vector(a)) for name, a in vectors.items()}, names


def npz_scalars(path: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Return the single numbers of an npz file."""
    with hdf5io.parsing(path, "an npz file"), np.load(path, allow_pickle=False) as file:
        named = {name: file[name] for name in file.files if NAME.match(name)}
    return {name: (value, "") for name, value in named.items()}


def hdf5_scalars(file: Any) -> dict[str, tuple[Any, str]]:
    """Return the single numbers of an HDF5 file with their units: datasets, and attributes of the file."""
    found: dict[str, tuple[Any, str]] = {name: (value, "") for name, value in file.attrs.items() if NAME.match(name)}
    for name in file:
        item = file[name]
        if NAME.match(name) and getattr(item, "shape", None) in ((), (1,)):
            unit = item.attrs.get("units", item.attrs.get("unit", ""))
            found[name] = (item[()], unit.decode() if isinstance(unit, bytes) else str(unit))
    return found


def as_vector(values: np.ndarray) -> np.ndarray:
    """Return a matrix of one row or column, as MATLAB writes vectors, as a vector; others as they are."""
    return values.ravel() if 1 in values.shape else values


def read_hdf5(path: Path, request: Request) -> Recording:
    """Read datasets time, voltage, current with a ``units`` attribute (or names with units), as ``laa-bayes trace`` writes them; or WaveSurfer's."""
    with hdf5io.read(path) as file:
        if is_wavesurfer(file):
            return read_wavesurfer(path, file, request)
        vectors, names = hdf5_vectors(path, file)
        scalars = hdf5_scalars(file)
    recording = from_vectors(path, vectors, names, request)
    refuse_scalars(path, scalars, recording.dt_ms)
    return recording


def hdf5_vectors(path: Path, file: Any) -> tuple[Vectors, list[str]]:
    """Return the datasets of an HDF5 file that are named after a quantity, with their units, and the names of all."""
    vectors: Vectors = {}
    for name in file:
        quantity = quantity_of(name)
        if quantity is not None:
            shape = getattr(file[name], "shape", None) or ()
            item = hdf5io.array(file, name, ndim=2 if len(shape) == 2 else 1)
            refuse_scales(path, name, item)
            vectors[name] = (unit_of(path, name, quantity, item), as_vector(hdf5io.packing(item).unpack(item[()])))
    return vectors, list(file)


def unit_of(path: Path, name: str, quantity: str, item: Any) -> str:
    """Return the unit of a dataset, by its attribute or its name; InputError where these are two."""
    named = name_and_unit(name)[1]
    told = np.ravel(next((value for key, value in item.attrs.items() if key.lower() in ("unit", "units")), named))
    unit = "" if not len(told) else told[0].decode() if isinstance(told[0], bytes) else str(told[0])
    table = TABLES[quantity]
    if table.get(unit_key(named), table.get(unit_key(unit))) != table.get(unit_key(unit)):
        raise InputError(f"{path}: '{name}' is in {named} by its name and in {unit} by its attribute. Which is right?")
    return unit


def refuse_scales(path: Path, name: str, item: Any) -> None:
    """Raise InputError where an attribute may be a factor of the samples: whether it was applied, no rule of the format says."""
    for key, value in item.attrs.items():
        neutral = {"offset": 0.0}.get(key.lower(), 1.0)
        if key.lower() in SCALES and np.size(value) and np.any(np.ravel(value) != neutral):
            raise InputError(
                f"{path}: '{name}' has an attribute '{key}' ({np.ravel(value)[0]}). Write the samples in their unit, without it."
            )


def n_sweeps(path: Path, request: Request) -> int:
    """Return the number of traces: the rows (or columns) of a matrix of voltages, else one."""
    if path.suffix.lower() == ".npz":
        vectors, names = npz_vectors(path)
    else:
        with hdf5io.read(path) as file:
            if is_wavesurfer(file):
                return len(sweeps_in(file))
            vectors, names = hdf5_vectors(path, file)
    found = {
        q: one_of(path, q, [n for n in vectors if quantity_of(n) == q], names, request) for q in ("time", "voltage")
    }
    voltage, n_time = vectors[found["voltage"]][1], vectors[found["time"]][1].shape[-1]
    return 1 if voltage.ndim == 1 else voltage.shape[1 - time_axis(path, found["voltage"], voltage, n_time)]


def time_axis(path: Path, name: str, values: np.ndarray, n_time: int) -> int:
    """Return the axis of a matrix along which time runs; InputError where its shape does not tell."""
    axes = [i for i, n in enumerate(values.shape) if n == n_time]
    if len(axes) != 1:
        raise InputError(f"{path}: '{name}' has shape {values.shape}, there are {n_time} times: which axis is time?")
    return axes[0]


def sweep_of(path: Path, name: str, values: np.ndarray, n_time: int, sweep: int) -> np.ndarray:
    """Return one trace of a vector (that of every sweep) or of a matrix of sweeps."""
    if values.ndim == 1:
        return values
    rows = np.moveaxis(values, time_axis(path, name, values, n_time), 1)
    if sweep >= len(rows):
        raise InputError(f"{path}: --sweep {sweep}, but '{name}' has {len(rows)} sweeps (0 to {len(rows) - 1}).")
    return rows[sweep]


def from_vectors(path: Path, vectors: Vectors, names: list[str], request: Request) -> Recording:
    """Return the recording that named vectors of one length hold, or one row of matrices of sweeps.

    Raises
    ------
    InputError
        A quantity that is missing, or there twice and not named, vectors of different lengths, no such sweep.
    """
    found, notes, n_time, n = {}, [], 0, 1
    chosen: dict[str, str] = {}
    for quantity in ("time", "voltage", "current"):
        if quantity == "current" and request.current_file is not None:
            continue
        name = one_of(path, quantity, [n for n in vectors if quantity_of(n) == quantity], names, request)
        if quantity == "current" and request.current_from is None and other_electrodes(chosen["voltage"], name):
            raise InputError(
                f"{path}: does the current '{name}' belong to '{chosen['voltage']}'? Then --current-from {name}."
            )
        chosen[quantity] = name
        refuse_factor(path, name)
        unit, values = vectors[name]
        n_time = n_time or values.shape[-1]
        if quantity == "voltage":
            n = 1 if values.ndim == 1 else values.shape[1 - time_axis(path, name, values, n_time)]
        if quantity == "voltage" and request.sweep and n == 1:
            raise InputError(f"{path}: --sweep {request.sweep}, but this file holds a single trace.")
        if (
            quantity == "current"
            and values.ndim == 2
            and (m := values.shape[1 - time_axis(path, name, values, n_time)]) != n
        ):
            raise InputError(f"{path}: '{name}' has {m} sweeps, the voltage {n}: which belong together?")
        found[quantity] = convert(path, name, quantity, unit, sweep_of(path, name, values, n_time, request.sweep))
        notes.append(f"{quantity}: '{name}'")
    found.setdefault("current", (np.zeros(len(found["time"][0])), "pA"))
    lengths = {quantity: len(values) for quantity, (values, _) in found.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{quantity} {n}" for quantity, n in lengths.items())
        raise InputError(f"{path}: vectors of one length are expected; {told} samples.")
    recording = assemble(path, found)._replace(notes=tuple(notes[1:]))
    return recording._replace(source=f"{path}:sweep {request.sweep}") if n > 1 else recording


def one_of(path: Path, quantity: str, candidates: list[str], names: list[str], request: Request) -> str:
    """Return the vector of a quantity: the only one, or the one that was named."""
    wanted = {"voltage": request.channel, "current": request.current_from}.get(quantity)
    if wanted is not None and wanted in candidates:
        return wanted
    if len(candidates) == 1 and wanted is None:
        return candidates[0]
    if not candidates:
        have = ", ".join(names[:12]) or "nothing"
        raise InputError(f"{path}: no vector for {quantity}; the file has {have}. Expected names such as {EXAMPLE}.")
    option = "--channel" if quantity == "voltage" else "--current-from"
    raise InputError(
        f"{path}: {len(candidates)} vectors for {quantity}: {', '.join(candidates)}. Name one: {option} NAME."
    )
