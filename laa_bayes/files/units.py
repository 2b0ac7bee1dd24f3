"""Which unit has a number? Times in ms, voltages in mV, currents in pA or uA/cm2, from the units that a file names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

TIME = {"s": 1e3, "sec": 1e3, "seconds": 1e3, "ms": 1.0, "us": 1e-3}
VOLTAGE = {"v": 1e3, "volts": 1e3, "volt": 1e3, "mv": 1.0, "uv": 1e-3}
CURRENT = {"a": 1e12, "amperes": 1e12, "amps": 1e12, "ma": 1e9, "ua": 1e6, "na": 1e3, "pa": 1.0}
DENSITY = {"uacm2": 1.0, "macm2": 1e3, "nacm2": 1e-3, "am2": 100.0}
NAMES = {
    "time": ("time", "t"),
    "voltage": ("voltage", "v", "vm", "membrane", "potential"),
    "current": ("current", "i", "stimulus", "command", "iext"),
}
EXAMPLE = "time_ms, voltage_mV, current_pA (or current_uA_cm2)"


def convert(path: Path, name: str, quantity: str, unit: str, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return values in ms, mV, pA or uA/cm2, and the unit.

    Raises
    ------
    InputError
        No unit, or one that is unknown.
    """
    table: Mapping[str, float] = {"time": TIME, "voltage": VOLTAGE, "current": CURRENT | DENSITY}[quantity]
    key = re.sub(r"[^a-z0-9]", "", unit.lower().replace("µ", "u").replace("μ", "u"))
    if key not in table:
        known = {"time": "s, ms, us", "voltage": "V, mV", "current": "pA, nA, A, uA_cm2"}[quantity]
        what = f"unknown unit '{unit}'" if unit else "no unit"
        raise InputError(f"{path}: '{name}' has {what}. Name it with one of {known}, for instance {EXAMPLE}.")
    base = {"time": "ms", "voltage": "mV", "current": "uA/cm2" if key in DENSITY else "pA"}[quantity]
    return np.asarray(values, float) * table[key], base
