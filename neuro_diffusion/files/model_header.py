"""Which kind of model is in a folder? Its JSON says so; neither torch nor the weights are loaded for that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hdf5io
from hdf5io.errors import InputError

MODEL_SCHEMA = "neuro_diffusion/model/1"


def header_of(folder: Path, objective: str | None = None, conditional: bool = False) -> dict[str, Any]:
    """Return what ``model.json`` says of a model.

    Parameters
    ----------
    objective : "diffusion" or "regression" if only that will do. conditional : it must have been trained with activity.

    Raises
    ------
    InputError : no model, a foreign or damaged one, or one of another kind.
    """
    path = Path(folder) / "model.json"
    if not path.is_file():
        raise InputError(f"{folder}: no model here (no model.json). Train one with train-prior or train-conditional.")
    try:
        found = hdf5io.read_json(path)
        if found["schema"] != MODEL_SCHEMA:
            raise ValueError(f"schema {found['schema']!r}, expected {MODEL_SCHEMA!r}")
        spec = dict(found["spec"])
        kind, told = str(spec["objective"]), bool(spec["conditional"])
        _check_size(path.with_name("model.safetensors"))
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise damaged(folder, error) from None
    if objective is not None and kind != objective:
        raise InputError(f"{folder}: a {kind} model, expected one trained with --objective {objective}.")
    if conditional and not told:
        raise InputError(f"{folder}: a prior, trained without activity. Train with train-conditional.")
    return spec


def _check_size(path: Path) -> None:
    """Raise ValueError where a file of safetensors is not as long as its head says: eight bytes of length, JSON with places, numbers."""
    if not path.is_file():
        raise ValueError(f"no {path.name}")
    size = path.stat().st_size
    with open(path, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if length > size:
            raise ValueError(f"{path.name} is cut short")
        places = json.loads(handle.read(length))
    ends = [entry["data_offsets"][1] for name, entry in places.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise ValueError(f"{path.name} has {size} bytes, its head tells of {8 + length + max(ends, default=0)}")


def damaged(folder: Path, error: Exception) -> InputError:
    """Return the error of a folder that holds no model that can be read."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(f"{folder}: not a model of this package, or damaged ({reason}).")
