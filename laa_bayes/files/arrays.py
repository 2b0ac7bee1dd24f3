"""How are vectors in npz and HDF5 files read? By name, with the unit in the name or in an attribute."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import assemble
from .tables import identify
from .units import EXAMPLE, NAMES, convert


def read_npz(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read arrays named with units (``t_ms``, ``v_mV``, ``i_pA``) from an npz file; no pickled objects are loaded."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if file[name].ndim == 1}
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable npz file ({error}).") from None
    lengths = {len(a) for a in arrays.values()}
    if len(lengths) != 1:
        raise InputError(
            f"{path}: expected vectors of one length named like t_ms, v_mV, i_pA; the file has {', '.join(arrays) or 'none'}."
        )
    return assemble(path, identify(path, list(arrays), np.stack([a.astype(float) for a in arrays.values()], axis=1)))


def read_hdf5(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read datasets time, voltage, current with a ``units`` attribute (or names with units), as ``laa-bayes trace`` writes them."""
    with hdf5io.read(path) as file:
        vectors = {name: item for name, item in file.items() if hasattr(item, "shape") and len(item.shape) == 1}
        found = {}
        for name, item in vectors.items():
            quantity = next(
                (q for q, spellings in NAMES.items() if re.split(r"[_\s(]", name.lower())[0] in spellings), None
            )
            if quantity and quantity not in found:
                unit = item.attrs.get("units", item.attrs.get("unit", "_".join(name.split("_")[1:])))
                found[quantity] = convert(
                    path, name, quantity, unit.decode() if isinstance(unit, bytes) else str(unit), item[()]
                )
        missing = [q for q in ("time", "voltage", "current") if q not in found]
        if missing:
            raise InputError(
                f"{path}: no dataset for {', '.join(missing)}; the file has {', '.join(file) or 'nothing'}. Expected names such as {EXAMPLE}."
            )
    return assemble(path, found)
