"""How is an NWB file read? A current-clamp series with the stimulus that was injected while it was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import check, uniform_step
from .units import convert


def read_nwb(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read a CurrentClampSeries with the CurrentClampStimulusSeries of the same sweep; conversion and offset are applied."""
    with hdf5io.read(path) as file:
        responses = series_of(file, ("acquisition",), "CurrentClampSeries")
        stimuli = series_of(file, ("stimulus/presentation", "stimulus/templates"), "CurrentClampStimulusSeries")
        if not responses:
            raise InputError(f"{path}: no CurrentClampSeries in /acquisition. Is it a current-clamp recording?")
        if sweep >= len(responses):
            raise InputError(
                f"{path}: --sweep {sweep}, but the file has {len(responses)} current-clamp series (0 to {len(responses) - 1})."
            )
        response = responses[sweep]
        stimulus = matching_stimulus(response, stimuli, sweep, len(responses))
        if stimulus is None:
            raise InputError(f"{path}: no stimulus for {response.name}. The injected current is needed.")
        v, unit_v = series_values(response, "volts")
        current, unit_i = series_values(stimulus, "amperes")
        dt_ms, t0_ms = series_times(path, response)
        n = min(len(v), len(current))
        found = {
            "voltage": convert(path, response.name, "voltage", unit_v, v[:n]),
            "current": convert(path, stimulus.name, "current", unit_i, current[:n]),
        }
        source = f"{path}:{response.name}"
    return check(Recording(found["voltage"][0], *found["current"], dt_ms, t0_ms, source))


def series_of(file, groups: tuple[str, ...], kind: str) -> list:
    """Return the NWB series of a type, by name."""
    found = []
    for group in groups:
        for name in sorted(file[group]) if group in file else ():
            item = file[group][name]
            label = item.attrs.get("neurodata_type", "")
            if (label.decode() if isinstance(label, bytes) else label) == kind:
                found.append(item)
    return found


def matching_stimulus(response, stimuli: list, sweep: int, n_responses: int):
    """Return the stimulus with the response's sweep number, else with its start and length, else the one at its place in the file."""
    number = response.attrs.get("sweep_number")
    if number is not None:
        same = [s for s in stimuli if s.attrs.get("sweep_number") == number]
        if same:
            return same[0]
    if "starting_time" in response:
        start, length = response["starting_time"][()], len(response["data"])
        same = [
            s for s in stimuli if "starting_time" in s and s["starting_time"][()] == start and len(s["data"]) == length
        ]
        if len(same) == 1:
            return same[0]
    return stimuli[sweep] if len(stimuli) == n_responses else None


def series_values(series, default_unit: str) -> tuple[np.ndarray, str]:
    """Return the data of an NWB series with conversion and offset applied, and its unit."""
    data = series["data"]
    unit = data.attrs.get("unit", default_unit)
    values = data[()].astype(float) * float(data.attrs.get("conversion", 1.0)) + float(data.attrs.get("offset", 0.0))
    return values, unit.decode() if isinstance(unit, bytes) else str(unit)


def series_times(path: Path, series) -> tuple[float, float]:
    """Return sampling interval and start of an NWB series in ms."""
    if "timestamps" in series:
        time_ms = series["timestamps"][()] * 1e3
        return uniform_step(path, time_ms), float(time_ms[0])
    return 1e3 / float(series["starting_time"].attrs["rate"]), float(series["starting_time"][()]) * 1e3
