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
from .checks import LARGEST_PA, finite_length, uniform_step
from .clock import differ
from .nwb_pairs import (
    Part,
    electrode_name,
    named_stimulus,
    pairs_of,
    rate_of,
    rate_stated,
    samples,
    starting_s,
    text_of,
)
from .request import Request
from .units import CURRENT, TIME, convert, unit_key

SECONDS = {unit for unit, ms in TIME.items() if ms == 1e3} | {""}
LARGEST_BIAS_PA = 5000.0  #: no cell is held with more
SAME_BIAS = 1e-3  #: share by which the start of a stimulus may differ from the bias that it holds
LEAST_BRIDGE_MOHM = 1e-3  #: no pipette has less
AMPLIFIER: dict[str, dict[str, float]] = {
    "bias_current": {**CURRENT, "SI": 1e12},
    "bridge_balance": {"ohm": 1e-6, "ohms": 1e-6, "mohm": 1.0, "SI": 1e-6},
    "capacitance_compensation": {"f": 1e12, "farads": 1e12, "pf": 1.0, "SI": 1e12},
}  #: factor of a unit to pA, MOhm, pF
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
        v = response.values[:n]
        stimulus = named_stimulus(path, file, request) or pair.stimulus
        if request.current_file is not None:
            current = np.zeros(n)
        elif stimulus is None:
            raise InputError(f"{source}: {pair.why}. Give it: --current-from NAME, or --current-file FILE.")
        else:
            current = aligned(source, response, n, trace_of(path, stimulus, "current"), stimulus)
            current, said = with_bias(path, pair.response, current)
            notes.append(f"current: stimulus '{stimulus.name}'{said}")
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
    factor, offset = (
        float(np.ravel(data.attrs.get(name, missing))[0]) for name, missing in (("conversion", 1.0), ("offset", 0.0))
    )
    if not (math.isfinite(factor) and factor and math.isfinite(offset)):
        raise InputError(f"{path}: '{part.name}' has conversion {factor:g} and offset {offset:g}.")
    unit = text_of(data.attrs.get("unit", {"voltage": "volts", "current": "amperes"}[quantity]))
    raw = data[part.start : stop].astype(float).ravel()
    raw = raw if is_already_si(data.file) else raw * factor + offset
    values, _ = convert(path, part.name, quantity, unit, raw)
    check_amplitude(path, part, values)
    refuse_other_clock(path, part)
    if "timestamps" in part.series:
        times = hdf5io.array(part.series, "timestamps", ndim=1)[part.start : stop] * 1e3
        if len(times) != len(values):
            raise InputError(f"{path}: '{part.name}' has {len(values)} samples and {len(times)} timestamps.")
        return Trace(values, uniform_step(f"{path}:{part.name}", times), float(times[0]))
    rate, start = rate_of(part), starting_s(part)
    if rate is None:
        raise InputError(f"{path}: '{part.name}' has neither timestamps nor a rate.")
    return Trace(values, float(f"{1e3 / rate:.9g}"), math.nan if start is None else 1e3 * start)


def refuse_other_clock(path: Path, part: Part) -> None:
    """Raise InputError where times are stated in another unit than the format's seconds, or by a rate and by timestamps that differ."""
    for name in ("timestamps", "starting_time"):
        unit = text_of(part.series[name].attrs.get("unit", "seconds")) if name in part.series else "seconds"
        if unit_key(unit) not in SECONDS:
            raise InputError(
                f"{path}: '{part.name}' states its {name} in '{unit}', the format has seconds. Correct it."
            )
    if "timestamps" not in part.series or "starting_time" not in part.series:
        return
    start, stated = float(np.ravel(part.series["starting_time"][()])[0]), rate_stated(part)
    measured = rate_of(part)
    if stated is None or measured is None:
        return
    apart_s = abs(start - float(part.series["timestamps"][0]))
    if differ(stated, measured) or apart_s > 0.5 / stated:
        raise InputError(
            f"{path}: '{part.name}' has {measured:.6g} samples a second by its timestamps and {stated:.6g} by its rate, and begins "
            f"{apart_s:.4g} s apart by the two. Which is right? Take one of them out."
        )


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
    stated = number(part, "aibs_stimulus_amplitude_pa")
    largest = float(np.nanmax(np.abs(current_pa))) if len(current_pa) else 0.0
    if stated and not 0.05 < largest / abs(stated) < 20:
        raise InputError(
            f"{path}: stimulus '{part.name}' reaches {largest:.3g} pA, its amplitude is stated as {stated:g} pA: its conversion is "
            "wrong. Give the current: --current-file FILE."
        )


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


def bias_pa(path: Path, part: Part) -> float:
    """Return the amplifier's bias (holding) current in pA; 0 where none is stated.

    Raises
    ------
    InputError
        No electrode carries so much: the unit is not what the file says.
    """
    pa = amplifier_value(part, "bias_current") or 0.0
    if abs(pa) <= LARGEST_PA:
        return pa
    raw = number(part, "bias_current") or 0.0
    if 1 <= abs(raw) <= LARGEST_BIAS_PA:  # what the amplifier's software shows, written as if it were amperes
        log.warning("%s: '%s' has a bias current of %g amperes; it is taken as pA", path, part.name, raw)
        return raw
    raise InputError(
        f"{path}: '{part.name}' has bias_current {raw:g}, which is {pa:.3g} pA by its unit and flows through no electrode. Correct it in "
        "the file, or give the whole current: --current-file FILE."
    )


def amplifier_value(part: Part, name: str) -> float | None:
    """Return what a series states of the amplifier, in pA, MOhm or pF; None where it does not.

    The format has SI units. MIES, which is known by its notebook, writes pA, MOhm and pF, newer versions of it with a ``unit`` (source:
    MIES_NeuroDataWithoutBorders.ipf, NWB_AddSweepDataSets, in all versions).
    """
    value, table = number(part, name), AMPLIFIER[name]
    if value is None:
        return None
    unit = unit_key(text_of(part.series[name].attrs.get("unit", "")))
    written_by_mies = "general/labnotebook" in part.series.file
    return value * table.get(unit, 1.0 if written_by_mies else table["SI"])


def number(part: Part, name: str) -> float | None:
    """Return a finite number that a series states, alone or in an array of one (as MIES and MatNWB write it)."""
    item = part.series.get(name)
    if getattr(item, "shape", None) not in ((), (1,)) or item.dtype.kind not in "iuf":
        return None
    value = float(np.ravel(item[()])[0])
    return value if math.isfinite(value) else None


def with_bias(path: Path, response: Part, current_pa: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the current with the amplifier's bias, and what is said of it; a stimulus that begins at the bias holds it already.

    Stimuli rebuilt from a HEKA protocol start at the holding level, which the same files state as bias (ipfx, DatConverter.py).
    """
    bias = bias_pa(path, response)
    if bias and abs(current_pa[0] - bias) < SAME_BIAS * abs(bias):
        return current_pa, f", which begins at the bias current {bias:.4g} pA and holds it already"
    return current_pa + bias, f" + bias current {bias:.4g} pA" if bias else ""


def compensation_notes(part: Part) -> list[str]:
    """Return what the amplifier compensated: with a balanced bridge, R_s is only what was left."""
    balance, capacitance = (amplifier_value(part, name) for name in ("bridge_balance", "capacitance_compensation"))
    if balance and abs(balance) < LEAST_BRIDGE_MOHM:  # the amplifier's MOhm, written as if they were ohm (ipfx)
        balance *= 1e6
    notes = [f"bridge balance {balance:.3g} MOhm: R_s is what it left"] if balance else []
    return notes + ([f"capacitance compensation {capacitance:.3g} pF"] if capacitance else [])
