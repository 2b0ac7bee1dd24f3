"""How is an NWB file read? A current-clamp response with the stimulus that was injected while it was recorded.

Which belongs together stands in ``nwb_pairs``. Response and stimulus are put on one clock by their own rates and starting times.
"""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import uniform_step
from .nwb_pairs import Part, electrode_name, named_stimulus, pairs_of, rate_of, samples, starting_s, text_of
from .request import Request
from .units import convert

N_ZEROS, NEAR_ZERO_MV = 10, 5.0  #: a tail of more zeros, reached by a jump of more millivolts, was not recorded
log = logging.getLogger("laa_bayes")


class Trace(NamedTuple):
    """The samples of a part."""

    values: np.ndarray  #: in mV or pA
    dt_ms: float
    t0_ms: float  #: NaN where the file does not tell


def read_nwb(path: Path, request: Request) -> Recording:
    """Return one sweep; conversion and offset are applied, the amplifier's bias current is added, a tail of NaN is cut.

    Raises
    ------
    InputError
        No current clamp, no such sweep, several electrodes of which none was named, no stimulus, or one of another time.
    """
    with hdf5io.read(path) as file:
        pairs = pairs_of(path, file, request)
        if request.sweep >= len(pairs):
            raise InputError(
                f"{path}: --sweep {request.sweep}, but there are {len(pairs)} current-clamp sweeps (0 to {len(pairs) - 1})."
            )
        pair = pairs[request.sweep]
        response = trace_of(path, pair.response, "voltage")
        source = f"{path}:{pair.response.name}" + (f":sweep {request.sweep}" if len(pairs) > 1 else "")
        notes = [f"voltage: series '{pair.response.name}', electrode '{electrode_name(pair.response)}'"]
        n = finite_length(source, response.values, "voltage")
        v, bias = response.values[:n], bias_pa(pair.response)
        stimulus = named_stimulus(path, file, request) or pair.stimulus
        if request.current_file is not None:
            current = np.zeros(n)
        elif stimulus is None:
            raise InputError(f"{source}: {pair.why}. Give it: --current-from NAME, or --current-file FILE.")
        else:
            current = aligned(source, response, n, trace_of(path, stimulus, "current"), stimulus) + bias
            notes.append(f"current: stimulus '{stimulus.name}'" + (f" + bias current {bias:.4g} pA" if bias else ""))
        notes += compensation_notes(pair.response)
        n = len(current)
    t0 = 0.0 if math.isnan(response.t0_ms) else response.t0_ms
    return Recording(v[:n], current, "pA", response.dt_ms, t0, source, notes=tuple(notes))


def n_sweeps(path: Path, request: Request) -> int:
    """Return the number of current-clamp sweeps of the electrode."""
    with hdf5io.read(path) as file:
        return len(pairs_of(path, file, request))


def trace_of(path: Path, part: Part, quantity: str) -> Trace:
    """Return the samples of a part in mV or pA, on their own clock.

    Raises
    ------
    InputError
        No numbers, no rate, times that are not uniform, or a stretch that the series does not have.
    """
    data = samples(part.series)
    stop = len(data) if part.length is None else part.start + part.length
    if stop > len(data):
        raise InputError(
            f"{path}: the table takes samples {part.start} to {stop} of '{part.name}', which has {len(data)}."
        )
    factor, offset = (float(data.attrs.get(name, missing)) for name, missing in (("conversion", 1.0), ("offset", 0.0)))
    if not (math.isfinite(factor) and factor and math.isfinite(offset)):
        raise InputError(f"{path}: '{part.name}' has conversion {factor:g} and offset {offset:g}.")
    unit = text_of(data.attrs.get("unit", {"voltage": "volts", "current": "amperes"}[quantity]))
    raw = data[part.start : stop].astype(float).ravel()
    raw = raw if is_already_si(data.file) else raw * factor + offset
    values, _ = convert(path, part.name, quantity, unit, raw)
    check_amplitude(path, part, values)
    if "timestamps" in part.series:
        times = hdf5io.array(part.series, "timestamps", ndim=1)[part.start : stop] * 1e3
        if len(times) != len(values):
            raise InputError(f"{path}: '{part.name}' has {len(values)} samples and {len(times)} timestamps.")
        return Trace(values, uniform_step(f"{path}:{part.name}", times), float(times[0]))
    rate, start = rate_of(part), starting_s(part)
    if rate is None:
        raise InputError(f"{path}: '{part.name}' has neither timestamps nor a rate.")
    return Trace(values, float(f"{1e3 / rate:.9g}"), math.nan if start is None else 1e3 * start)


def is_already_si(file: Any) -> bool:
    """Return whether a file is an early one of the Allen Institute, whose samples are in volts and amperes and whose conversion misleads.

    Source: AllenSDK, ``NwbDataSet.get_sweep``: the conversion holds from version 1.1 of the pipeline on.
    """
    presented = file.get("stimulus/presentation")
    if "acquisition/timeseries" not in file or presented is None:
        return False
    if not any("aibs_stimulus_name" in item for item in presented.values()):
        return False
    made = [text_of(x) for x in np.ravel(file["general/generated_by"][()])] if "general/generated_by" in file else []
    version = dict(zip(made[::2], made[1::2], strict=False)).get("version", "0.0")
    numbers = re.findall(r"\d+", version)
    return [int(number) for number in numbers[:2]] < [1, 1]


def check_amplitude(path: Path, part: Part, current_pa: np.ndarray) -> None:
    """Raise InputError where a stimulus is not of the size that its own series states (``aibs_stimulus_amplitude_pa``)."""
    stated = scalar(part, "aibs_stimulus_amplitude_pa")
    largest = float(np.nanmax(np.abs(current_pa))) if len(current_pa) else 0.0
    if stated and not 0.05 < largest / abs(stated) < 20:
        raise InputError(
            f"{path}: stimulus '{part.name}' reaches {largest:.3g} pA, its amplitude is stated as {stated:g} pA: its conversion is "
            "wrong. Give the current: --current-file FILE."
        )


def finite_length(source: str, values: np.ndarray, what: str) -> int:
    """Return the number of samples before a tail of NaN, or of a voltage of exactly 0, which a stopped sweep leaves; it is said."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        raise InputError(f"{source}: the {what} has no finite sample.")
    n, kind = int(known[-1]) + 1, "NaN"
    zeros = n - 1 - int(np.flatnonzero(values[:n])[-1]) if np.any(values[:n]) else 0
    if what == "voltage" and zeros > N_ZEROS and abs(values[n - zeros - 1]) > NEAR_ZERO_MV:
        n, kind = n - zeros, "zero"
    if n < len(values):
        log.warning(
            "%s: the last %d samples of the %s are %s (a stopped sweep); they are cut",
            source, len(values) - n, what, kind,
        )  # fmt: skip
    return n


def aligned(source: str, response: Trace, n: int, stimulus: Trace, part: Part) -> np.ndarray:
    """Return the stimulus at the response's samples, zero where it did not run (said), cut where its own tail is NaN.

    Raises
    ------
    InputError
        The stimulus ran at another time, or neither start is known and the rates differ.
    """
    start = stimulus.t0_ms - response.t0_ms
    if part.template or math.isnan(start):
        if abs(stimulus.dt_ms - response.dt_ms) > 1e-6 * response.dt_ms and not part.template:
            raise InputError(
                f"{source}: neither its start nor that of '{part.name}' is stated, and their rates differ."
            )
        start = 0.0
    usable = finite_length(source, stimulus.values, "stimulus")
    place = np.floor((np.arange(n) * response.dt_ms - start) / stimulus.dt_ms + 1e-6).astype(int)
    inside = (place >= 0) & (place < len(stimulus.values))
    if not inside.any():
        raise InputError(
            f"{source}: stimulus '{part.name}' begins {start:g} ms after the response, which lasts {n * response.dt_ms:g} ms."
        )
    cut = np.flatnonzero(place >= usable) if usable < len(stimulus.values) else np.empty(0, int)
    if len(cut):
        place, inside = place[: cut[0]], inside[: cut[0]]
    missing = int(np.sum(~inside))
    if missing > 1:
        log.warning(
            "%s: stimulus '%s' covers all but %.4g ms of the response; there no command is taken",
            source, part.name, missing * response.dt_ms,
        )  # fmt: skip
    values = stimulus.values[np.clip(place, 0, len(stimulus.values) - 1)]
    return np.where(inside, values, values[-1] if missing == 1 and not inside[-1] else 0.0)


def bias_pa(part: Part) -> float:
    """Return the amplifier's bias (holding) current in pA; 0 where none is stated."""
    value = scalar(part, "bias_current")
    return 0.0 if value is None else 1e12 * value


def scalar(part: Part, name: str) -> float | None:
    """Return a finite number that a series states."""
    if name not in part.series:
        return None
    item = part.series[name]
    if getattr(item, "shape", None) != () or item.dtype.kind not in "iuf":
        return None
    value = float(item[()])
    return value if math.isfinite(value) else None


def compensation_notes(part: Part) -> list[str]:
    """Return what the amplifier compensated: with a balanced bridge, R_s is only what was left."""
    balance, capacitance = scalar(part, "bridge_balance"), scalar(part, "capacitance_compensation")
    notes = [f"bridge balance {1e-6 * balance:.3g} MOhm: R_s is what it left"] if balance else []
    return notes + ([f"capacitance compensation {1e12 * capacitance:.3g} pF"] if capacitance else [])
