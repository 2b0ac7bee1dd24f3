"""How is an Axon ABF file read? The voltage channel of a sweep, and the current that its protocol commanded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import check
from .units import CURRENT, VOLTAGE


def read_abf(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read one sweep of an Axon ABF file: the voltage channel, and the current from a channel or from the protocol."""
    import neo

    try:
        reader = neo.io.AxonIO(str(path))
        segments = reader.read_block(signal_group_mode="split-all").segments
    except Exception as error:  # neo raises struct.error, KeyError, ... on damaged files
        raise InputError(f"{path}: not a readable ABF file ({type(error).__name__}: {error}).") from None
    if sweep >= len(segments):
        raise InputError(
            f"{path}: --sweep {sweep}, but the file has {len(segments)} sweeps (0 to {len(segments) - 1})."
        )
    signals = {str(s.units.dimensionality).lower(): s for s in reversed(segments[sweep].analogsignals)}
    voltage = next((s for unit, s in signals.items() if unit in VOLTAGE), None)
    if voltage is None:
        raise InputError(f"{path}: no voltage channel (units: {', '.join(signals)}). Is it a current-clamp recording?")
    current = next(((np.asarray(s).ravel() * CURRENT[unit]) for unit, s in signals.items() if unit in CURRENT), None)
    if current is None:
        commands, _, units = reader.read_raw_protocol()
        channel = next((i for i, unit in enumerate(units) if str(unit).lower() in CURRENT), None)
        if channel is None or sweep >= len(commands):
            raise InputError(f"{path}: neither a current channel nor a current command in the protocol.")
        current = np.asarray(commands[sweep][channel], float).ravel() * CURRENT[str(units[channel]).lower()]
    v = np.asarray(voltage).ravel().astype(float) * VOLTAGE[str(voltage.units.dimensionality).lower()]
    n = min(len(v), len(current))
    return check(Recording(v[:n], current[:n], "pA", 1e3 / float(voltage.sampling_rate), 0.0, f"{path}:sweep {sweep}"))
