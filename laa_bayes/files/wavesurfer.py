"""How is a WaveSurfer file read? HDF5 with ``header`` and ``sweep_0001/analogScans`` in counts of the converter.

Source: PyWaveSurfer (``ws.py``): volts at the input are a polynomial of the counts, the channel's own unit is that over its scale;
before version .913 the stated rate is not the one that the clock could make. Commands are not recorded: a current must be a channel.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .clock import SLACK
from .request import Request
from .units import CURRENT, VOLTAGE, convert, unit_key

FIELDS = {
    "names": ("AIChannelNames", "Acquisition/AnalogChannelNames", "Acquisition/ChannelNames"),
    "units": ("AIChannelUnits", "Acquisition/AnalogChannelUnits", "Acquisition/ChannelUnits"),
    "scales": ("AIChannelScales", "Acquisition/AnalogChannelScales", "Acquisition/ChannelScales"),
    "active": ("IsAIChannelActive", "Acquisition/IsAnalogChannelActive", "Acquisition/IsChannelActive"),
    "coefficients": ("AIScalingCoefficients", "Acquisition/AnalogScalingCoefficients"),
    "rate": ("AcquisitionSampleRate", "Acquisition/SampleRate"),
    "duration": ("SweepDuration", "Acquisition/Duration"),
}  #: the same in newer and older files
CLOCK_HZ = 100e6  #: time base of the boards; old files state a rate that it cannot make


class Channels(NamedTuple):
    """The active inputs of a file."""

    names: list[str]
    units: list[str]
    scales: np.ndarray  #: (n_channel,) volts a unit
    coefficients: np.ndarray  #: (n_channel, n_coefficient) of the polynomial from counts to volts, lowest first
    dt_ms: float
    duration_s: float = math.inf  #: that a sweep was asked to have; infinite where it had no end


def is_wavesurfer(file: Any) -> bool:
    """Return whether an open HDF5 file is WaveSurfer's."""
    return "header" in file and bool(sweeps_in(file))


def sweeps_in(file: Any) -> list[str]:
    """Return the names of the sweeps in the order of their numbers."""
    named = [n for n in file if re.fullmatch(r"(sweep|trial)_\d+", n) and "analogScans" in file[n]]
    return sorted(named, key=lambda name: int(name.rpartition("_")[2]))


def read_wavesurfer(path: Path, file: Any, request: Request) -> Recording:
    """Return one sweep: the only voltage channel and the only current channel, or those that are named.

    Raises
    ------
    InputError
        No such sweep or channel, several of which none was named, or no recorded current.
    """
    sweeps, channels = sweeps_in(file), channels_of(path, file)
    if request.sweep >= len(sweeps):
        raise InputError(
            f"{path}: --sweep {request.sweep}, but the file has {len(sweeps)} sweeps (0 to {len(sweeps) - 1})."
        )
    counts = hdf5io.array(file, f"{sweeps[request.sweep]}/analogScans", ndim=2)[()].astype(float)
    if len(counts) != len(channels.names):
        raise InputError(
            f"{path}: {len(counts)} channels of samples, {len(channels.names)} active ones in the header. Is it damaged?"
        )
    lasts, asked = 1e-3 * counts.shape[1] * channels.dt_ms, channels.duration_s
    if math.isfinite(asked) and lasts > asked * (1 + SLACK) + 2e-3 * channels.dt_ms:
        raise InputError(
            f"{path}: a sweep of {lasts:.6g} s by the sampling rate of the header, which asked for {asked:.6g} s. Is it damaged?"
        )
    labels = list(zip(channels.names, channels.units, strict=True))
    place = chosen(path, labels, VOLTAGE, request.channel, "voltage", "--channel")
    found = {"voltage": place}
    if request.current_file is None:
        found["current"] = chosen(path, labels, CURRENT, request.current_from, "current", "--current-from")
    values = {}
    for quantity, i in found.items():
        volts = np.polynomial.polynomial.polyval(counts[i], channels.coefficients[i])
        values[quantity], _ = convert(path, channels.names[i], quantity, channels.units[i], volts / channels.scales[i])
    notes = tuple(f"{quantity}: channel '{channels.names[i]}'" for quantity, i in found.items())
    current = values.get("current", np.zeros(counts.shape[1]))
    source = f"{path}:sweep {request.sweep}"
    return Recording(values["voltage"], current, "pA", channels.dt_ms, 0.0, source, notes=notes)


def channels_of(path: Path, file: Any) -> Channels:
    """Return the active inputs of a file; InputError where the header lacks what their scale needs."""
    header = file["header"]
    table: dict[str, Any] = {
        key: next((header[n][()] for n in names if n in header), None) for key, names in FIELDS.items()
    }
    missing = [key for key in ("names", "units", "scales", "coefficients", "rate") if table[key] is None]
    if missing:
        raise InputError(f"{path}: the header of the WaveSurfer file has no {', no '.join(missing)}.")
    names, units = (
        [n.decode() if isinstance(n, bytes) else str(n) for n in np.ravel(table[k])] for k in ("names", "units")
    )
    active = np.ones(len(names), bool) if table["active"] is None else np.ravel(table["active"]).astype(bool)
    scales, coefficients = np.ravel(table["scales"]).astype(float), np.atleast_2d(table["coefficients"]).astype(float)
    if not len(names) == len(units) == len(active) == len(scales) or len(coefficients) != active.sum():
        raise InputError(f"{path}: the header of the WaveSurfer file has lists of different lengths. Is it damaged?")
    rate = float(np.ravel(table["rate"])[0])
    if "Acquisition/SampleRate" in header:
        rate = CLOCK_HZ / np.floor(CLOCK_HZ / rate + 1e-9)
    kept = np.flatnonzero(active)
    asked = math.inf if table["duration"] is None else float(np.ravel(table["duration"])[0])
    return Channels([names[i] for i in kept], [units[i] for i in kept], scales[kept], coefficients, 1e3 / rate, asked)


def chosen(
    path: Path, labels: list[tuple[str, str]], units: dict[str, float], wanted: str | None, what: str, option: str
) -> int:
    """Return the channel of a quantity among names and units: the only one, or the one that was named."""
    places = [i for i, (_, unit) in enumerate(labels) if unit_key(unit) in units]
    named = [i for i in places if wanted in (None, labels[i][0])]
    if len(named) == 1:
        return named[0]
    told = ", ".join(f"'{labels[i][0]}' ({labels[i][1]})" for i in places) or "none"
    if not places and what == "current":
        raise InputError(f"{path}: no channel recorded a current, and commands are not kept: --current-file FILE.")
    if not places:
        have = ", ".join(f"'{name}' ({unit or 'no unit'})" for name, unit in labels) or "none"
        raise InputError(f"{path}: no voltage channel; the channels are {have}.")
    raise InputError(f"{path}: the {what} channels are {told}. Name one: {option} NAME.")
