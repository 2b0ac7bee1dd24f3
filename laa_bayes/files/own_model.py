"""How is a file with a neuron model of one's own read? A Python file with PARAMETERS, start and slope; it is run, so trust it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hdf5io.errors import InputError

from ..config import Prior
from ..neuron.own import OwnModel

RESERVED = ("v0", "R_s", "sigma", "phi", "C_2", "g_c", "g_h", "tau_h")  #: names that noise, electrode and rivals have


def read_own_model(path: Path) -> OwnModel:
    """Return the model of a file.

    Raises
    ------
    InputError
        The file cannot be run, or lacks ``PARAMETERS`` (name -> unit, prior), ``start`` or ``slope``.
    """
    try:
        found = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:  # any fault of a person's own file is that file's, not ours
        raise InputError(f"{path}: cannot be run ({type(error).__name__}: {error}).") from None
    missing = [name for name in ("PARAMETERS", "start", "slope") if name not in found]
    if missing or not all(callable(found[name]) for name in ("start", "slope")):
        raise InputError(
            f"{path}: no {', no '.join(missing or ['function start or slope'])}. See 'A model of your own'."
        )
    if not isinstance(found["PARAMETERS"], dict) or not found["PARAMETERS"]:
        raise InputError(f"{path}: PARAMETERS is no table of name: (unit, prior).")
    parameters = [parameter(path, str(name), entry) for name, entry in found["PARAMETERS"].items()]
    priors = tuple((name, prior) for name, _, prior in parameters)
    return OwnModel(path.stem, priors, tuple(unit for _, unit, _ in parameters), found["start"], found["slope"])


def parameter(path: Path, name: str, entry: Any) -> tuple[str, str, Prior]:
    """Return name, unit and prior of one parameter."""
    if name in RESERVED:
        raise InputError(f"{path}: the name '{name}' is taken ({', '.join(RESERVED)}). Choose another.")
    try:
        unit, prior = entry
        return name, str(unit), Prior(**prior)
    except ValidationError as error:
        raise InputError(f"{path}: prior of '{name}': {error.errors()[0]['msg']}.") from None
    except (TypeError, ValueError):
        raise InputError(f"{path}: '{name}' is not (unit, prior).") from None
