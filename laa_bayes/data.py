"""How are recordings read? CSV, TSV, npz, HDF5, NWB and ABF, with units from the file, checked, in ms, mV and pA (or uA/cm2)."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import hdf5io

from .recording import Recording

log = logging.getLogger("laa_bayes")
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


def read_recording(path: Path, sweep: int = 0, columns: list[str] | None = None) -> Recording:
    """Return the recording in a file of any supported format.

    Raises
    ------
    InputError
        Missing or empty file, unknown format, missing units, missing samples, irregular time, columns that look swapped.
    """
    path = Path(path)
    if not path.is_file():
        raise hdf5io.InputError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise hdf5io.InputError(f"{path}: the file is empty.")
    readers = {
        ".csv": read_table,
        ".tsv": read_table,
        ".txt": read_table,
        ".npz": read_npz,
        ".abf": read_abf,
        ".nwb": read_nwb,
    }
    readers |= {".h5": read_hdf5, ".hdf5": read_hdf5}
    if path.suffix.lower() not in readers:
        raise hdf5io.InputError(
            f"{path}: unknown format '{path.suffix}'. Expected one of {', '.join(sorted(readers))}."
        )
    if sweep and path.suffix.lower() not in (".abf", ".nwb"):
        raise hdf5io.InputError(f"{path}: --sweep {sweep} is for ABF and NWB files; this one holds a single trace.")
    if columns and readers[path.suffix.lower()] is not read_table:
        raise hdf5io.InputError(f"{path}: --columns is for headerless tables (CSV, TSV).")
    return readers[path.suffix.lower()](path, sweep, columns or [])


def read_current(path: Path) -> tuple[np.ndarray, float, str]:
    """Return a current protocol (n_time,), its grid in ms and its unit (pA or uA/cm2) from a table or recording."""
    path = Path(path)
    if not path.is_file():
        raise hdf5io.InputError(f"{path}: no such file, and no built-in protocol of that name.")
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        found = identify(path, *parse_table(path, []), need=("time", "current"))
        current, unit = found["current"]
        return current, uniform_step(path, found["time"][0]), unit
    recording = read_recording(path)
    return recording.current, recording.dt_ms, recording.current_unit


def read_table(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read a CSV or TSV file whose header names quantities and units, or a headerless one with ``columns``."""
    return assemble(path, identify(path, *parse_table(path, columns)))


def parse_table(path: Path, columns: list[str]) -> tuple[list[str], np.ndarray]:
    """Return column names and numbers (n_row, n_column)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise hdf5io.InputError(f"{path}: not a text table (not UTF-8).") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise hdf5io.InputError(f"{path}: the file has no rows.")
    delimiter = next((d for d in ("\t", ";", ",") if d in lines[0]), ",")
    rows = list(csv.reader(lines, delimiter=delimiter))
    if columns:
        header = columns
    elif any(_is_number(cell) for cell in rows[0]):
        raise hdf5io.InputError(
            f"{path}: the first line has numbers and no names. Name the columns with units: --columns time_ms,voltage_mV,current_pA."
        )
    else:
        header, rows = [cell.strip() for cell in rows[0]], rows[1:]
    if not rows:
        raise hdf5io.InputError(f"{path}: the table has a header and no rows.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise hdf5io.InputError(
                f"{path}: row {number} has {len(row)} values, the header has {len(header)} ({', '.join(header)})."
            )
    try:
        return header, np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows])
    except ValueError as error:
        raise hdf5io.InputError(f"{path}: not a number: {str(error).split(':')[-1].strip()}.") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def identify(
    path: Path, header: list[str], values: np.ndarray, need=("time", "voltage", "current")
) -> dict[str, tuple[np.ndarray, str]]:
    """Return quantity -> (values in ms, mV, pA or uA/cm2; unit) from column names such as ``voltage_mV`` or ``I (nA)``."""
    found: dict[str, tuple[np.ndarray, str]] = {}
    for name, column in zip(header, values.T, strict=True):
        words = re.split(r"[_\s(\[\])/]+", name.strip().lower().replace("µ", "u").replace("²", "2").replace("^", ""))
        words = [word for word in words if word]
        quantity = next((q for q, spellings in NAMES.items() if words and words[0] in spellings), None)
        if quantity is not None and quantity in need and quantity not in found:
            found[quantity] = convert(
                path,
                name,
                quantity,
                "".join(words[1:]) if quantity == "current" else (words[-1] if len(words) > 1 else ""),
                column,
            )
    missing = [q for q in need if q not in found]
    if missing:
        raise hdf5io.InputError(
            f"{path}: no column for {', '.join(missing)}; the file has {', '.join(header)}. Expected names such as {EXAMPLE}."
        )
    return found


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
        raise hdf5io.InputError(f"{path}: '{name}' has {what}. Name it with one of {known}, for instance {EXAMPLE}.")
    base = {"time": "ms", "voltage": "mV", "current": "uA/cm2" if key in DENSITY else "pA"}[quantity]
    return np.asarray(values, float) * table[key], base


def assemble(path: Path, found: Mapping[str, tuple[np.ndarray, str]]) -> Recording:
    """Return a checked recording from time, voltage and current."""
    time, v = found["time"][0], found["voltage"][0]
    current, unit = found["current"]
    return check(Recording(v, current, unit, uniform_step(path, time), float(time[0]), str(path)))


def uniform_step(path: Path | str, time_ms: np.ndarray) -> float:
    """Return the sampling interval in ms; InputError when time is not finite, increasing and uniform to 1 %."""
    if len(time_ms) < 10:
        raise hdf5io.InputError(f"{path}: {len(time_ms)} samples; at least 10 are needed.")
    if not np.all(np.isfinite(time_ms)):
        raise hdf5io.InputError(
            f"{path}: missing value in the time column, row {1 + int(np.argmin(np.isfinite(time_ms)))}."
        )
    steps = np.diff(time_ms)
    step = float(np.median(steps))
    if step <= 0 or np.any(steps <= 0):
        raise hdf5io.InputError(
            f"{path}: time does not increase (row {2 + int(np.argmax(steps <= 0))}). Are the columns swapped?"
        )
    worst = int(np.argmax(np.abs(steps - step)))
    if abs(steps[worst] - step) > 0.01 * step + 1e-9 * abs(time_ms[-1]):
        raise hdf5io.InputError(
            f"{path}: time is not uniform: {steps[worst]:g} ms at row {worst + 2}, elsewhere {step:g} ms. Resample it first."
        )
    exact = (time_ms[-1] - time_ms[0]) / (len(time_ms) - 1)
    return float(f"{exact:.9g}")


def check(recording: Recording) -> Recording:
    """Return the recording when voltage and current are possible; warn where a unit looks wrong.

    Raises
    ------
    InputError
        Missing values, fewer than 10 samples, or columns that look swapped.
    """
    v, current, source = recording.v_mv, recording.current, recording.source
    if len(v) < 10 or len(v) != len(current):
        raise hdf5io.InputError(
            f"{source}: {len(v)} voltage and {len(current)} current samples; at least 10 of each, equally many, are needed."
        )
    for name, values in (("voltage", v), ("current", current)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise hdf5io.InputError(
                f"{source}: {bad.sum()} missing values in the {name}, first at sample {int(np.argmax(bad))}. Cut or repair the trace."
            )
    flat_voltage, rich_current = len(np.unique(v[:5000])) <= 12, len(np.unique(current[:5000])) > 100
    exchanged = np.median(v) > -10 and -120 < np.median(current) < -20 and repeats(v) > repeats(current)
    if (flat_voltage and rich_current) or exchanged or np.median(v) > 100 or np.median(v) < -200:
        raise hdf5io.InputError(
            f"{source}: the voltage has median {np.median(v):.3g} mV and {len(np.unique(v[:5000]))} distinct values, the current "
            f"{len(np.unique(current[:5000]))}. Are voltage and current swapped, or is the unit wrong?"
        )
    if np.ptp(v) < 1.0 or np.median(v) > -10:
        log.warning("%s: voltage %.3g to %.3g mV is unusual; is the unit right?", source, v.min(), v.max())
    if recording.current_unit == "pA" and 0 < np.max(np.abs(current)) < 0.5:
        log.warning("%s: the current is below 0.5 pA; is the unit right?", source)
    if np.max(np.abs(current)) == 0:
        log.warning("%s: the current is zero throughout: k and V_thr are hardly identifiable.", source)
    return recording


def repeats(x: np.ndarray) -> float:
    """Return the share of samples equal to the one before: large for a command current, small for a membrane voltage."""
    return float(np.mean(np.diff(x) == 0))


def read_npz(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read arrays named with units (``t_ms``, ``v_mV``, ``i_pA``) from an npz file; no pickled objects are loaded."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if file[name].ndim == 1}
    except (ValueError, OSError) as error:
        raise hdf5io.InputError(f"{path}: not a readable npz file ({error}).") from None
    lengths = {len(a) for a in arrays.values()}
    if len(lengths) != 1:
        raise hdf5io.InputError(
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
            raise hdf5io.InputError(
                f"{path}: no dataset for {', '.join(missing)}; the file has {', '.join(file) or 'nothing'}. Expected names such as {EXAMPLE}."
            )
    return assemble(path, found)


def read_nwb(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read a CurrentClampSeries with the CurrentClampStimulusSeries of the same sweep; conversion and offset are applied."""
    with hdf5io.read(path) as file:
        responses = series_of(file, ("acquisition",), "CurrentClampSeries")
        stimuli = series_of(file, ("stimulus/presentation", "stimulus/templates"), "CurrentClampStimulusSeries")
        if not responses:
            raise hdf5io.InputError(f"{path}: no CurrentClampSeries in /acquisition. Is it a current-clamp recording?")
        if sweep >= len(responses):
            raise hdf5io.InputError(
                f"{path}: --sweep {sweep}, but the file has {len(responses)} current-clamp series (0 to {len(responses) - 1})."
            )
        response = responses[sweep]
        stimulus = matching_stimulus(response, stimuli, sweep, len(responses))
        if stimulus is None:
            raise hdf5io.InputError(f"{path}: no stimulus for {response.name}. The injected current is needed.")
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


def read_abf(path: Path, sweep: int, columns: list[str]) -> Recording:
    """Read one sweep of an Axon ABF file: the voltage channel, and the current from a channel or from the protocol."""
    import neo

    try:
        reader = neo.io.AxonIO(str(path))
        segments = reader.read_block(signal_group_mode="split-all").segments
    except Exception as error:  # neo raises struct.error, KeyError, ... on damaged files
        raise hdf5io.InputError(f"{path}: not a readable ABF file ({type(error).__name__}: {error}).") from None
    if sweep >= len(segments):
        raise hdf5io.InputError(
            f"{path}: --sweep {sweep}, but the file has {len(segments)} sweeps (0 to {len(segments) - 1})."
        )
    signals = {str(s.units.dimensionality).lower(): s for s in reversed(segments[sweep].analogsignals)}
    voltage = next((s for unit, s in signals.items() if unit in VOLTAGE), None)
    if voltage is None:
        raise hdf5io.InputError(
            f"{path}: no voltage channel (units: {', '.join(signals)}). Is it a current-clamp recording?"
        )
    current = next(((np.asarray(s).ravel() * CURRENT[unit]) for unit, s in signals.items() if unit in CURRENT), None)
    if current is None:
        commands, _, units = reader.read_raw_protocol()
        channel = next((i for i, unit in enumerate(units) if str(unit).lower() in CURRENT), None)
        if channel is None or sweep >= len(commands):
            raise hdf5io.InputError(f"{path}: neither a current channel nor a current command in the protocol.")
        current = np.asarray(commands[sweep][channel], float).ravel() * CURRENT[str(units[channel]).lower()]
    v = np.asarray(voltage).ravel().astype(float) * VOLTAGE[str(voltage.units.dimensionality).lower()]
    n = min(len(v), len(current))
    return check(Recording(v[:n], current[:n], "pA", 1e3 / float(voltage.sampling_rate), 0.0, f"{path}:sweep {sweep}"))
