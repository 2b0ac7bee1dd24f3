"""How are vectors in npz and HDF5 files read? By name, with the unit in the name or in an attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import assemble
from .request import Request
from .units import EXAMPLE, convert, name_and_unit, quantity_of


def read_npz(path: Path, request: Request) -> Recording:
    """Read arrays named with units (``t_ms``, ``v_mV``, ``i_pA``) from an npz file; no pickled objects are loaded."""
    with hdf5io.parsing(path, "an npz file"), np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    vectors = {name: a for name, a in arrays.items() if a.ndim == 1 and a.dtype.kind in "iuf"}
    return from_vectors(path, {name: (name_and_unit(name)[1], a) for name, a in vectors.items()}, list(arrays), request)


def read_hdf5(path: Path, request: Request) -> Recording:
    """Read datasets time, voltage, current with a ``units`` attribute (or names with units), as ``laa-bayes trace`` writes them."""
    with hdf5io.read(path) as file:
        vectors: dict[str, tuple[str, Any]] = {}
        for name in file:
            if quantity_of(name) is not None:
                item = hdf5io.array(file, name, ndim=1)
                unit = item.attrs.get("units", item.attrs.get("unit", name_and_unit(name)[1]))
                vectors[name] = (unit.decode() if isinstance(unit, bytes) else str(unit), item[()])
        names = list(file)
    return from_vectors(path, vectors, names, request)


def from_vectors(
    path: Path, vectors: dict[str, tuple[str, np.ndarray]], names: list[str], request: Request
) -> Recording:
    """Return the recording that named vectors of one length hold.

    Raises
    ------
    InputError
        A quantity that is missing, or there twice and not named, or vectors of different lengths.
    """
    found, notes = {}, []
    for quantity in ("time", "voltage", "current"):
        if quantity == "current" and request.current_file is not None:
            continue
        name = one_of(path, quantity, [n for n in vectors if quantity_of(n) == quantity], names, request)
        found[quantity] = convert(path, name, quantity, *vectors[name])
        notes.append(f"{quantity}: '{name}'")
    found.setdefault("current", (np.zeros(len(found["time"][0])), "pA"))
    lengths = {quantity: len(values) for quantity, (values, _) in found.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{quantity} {n}" for quantity, n in lengths.items())
        raise InputError(f"{path}: vectors of one length are expected; {told} samples.")
    return assemble(path, found)._replace(notes=tuple(notes[1:]))


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
