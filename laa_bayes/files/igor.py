"""How is an Igor binary wave (``.ibw``) read? One quantity with its unit and the scale of its rows: a voltage, beside a current of its own file.

The layout is that of versions 1, 2, 3 and 5 in either byte order; columns are sweeps. The header has a check sum. Source: WaveMetrics'
Technical Note 3, "Igor Binary Format" (``IgorBin.h``).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import warn_of_odd_clock
from .request import Request
from .units import CURRENT, TIME, VOLTAGE, convert, unit_key

HEADS = {1: 8, 2: 16, 3: 20, 5: 64}  #: bytes before the header of the wave
OLD, NEW = 110, 320  #: bytes of that header up to version 3, and in version 5
TYPES = {2: "f4", 4: "f8", 0x08: "i1", 0x10: "i2", 0x20: "i4", 0x80: "i8"}
COMPLEX, UNSIGNED = 0x01, 0x40


class Wave(NamedTuple):
    """What a file holds."""

    name: str
    values: np.ndarray  #: (n_rows, n_columns)
    unit: str
    dt_ms: float
    t0_ms: float


def open_ibw(path: Path) -> Wave:
    """Return the wave of a file; InputError where it is none, is damaged, or does not tell its units."""
    raw = path.read_bytes()
    order = "<" if raw[:1] != b"\0" else ">"
    version = struct.unpack_from(f"{order}h", raw)[0] if len(raw) > 1 else 0
    size = HEADS.get(version, 0) + (NEW if version == 5 else OLD)
    checked = size + (0 if version == 5 else 16)  # the first 16 bytes of samples were part of the old header
    if version not in HEADS or len(raw) < size:
        raise InputError(f"{path}: not readable as an Igor binary wave (version {version}).")
    if int(np.sum(np.frombuffer(raw[:checked], f"{order}i2", count=min(checked, len(raw)) // 2))) & 0xFFFF:
        raise InputError(f"{path}: the check sum of the Igor binary wave is wrong: its header is damaged.")
    head = HEADS[version]
    if version == 5:
        n, kind = struct.unpack_from(f"{order}lh", raw, head + 12)
        name, shape = raw[head + 28 : head + 60], struct.unpack_from(f"{order}4l", raw, head + 68)
        step, start = (struct.unpack_from(f"{order}d", raw, head + at)[0] for at in (84, 116))
        unit, x_unit = raw[head + 148 : head + 152], raw[head + 152 : head + 156]
        sizes = struct.unpack_from(f"{order}4l", raw, 8)  # of formula, note, and units that are longer than 3 letters
        after = size + n * np.dtype(TYPES.get(kind & ~UNSIGNED, "f4")).itemsize + sizes[0] + sizes[1]
        unit = raw[after : after + sizes[2]] or unit
        x_unit = raw[after + sizes[2] : after + sizes[2] + sizes[3]] or x_unit
    else:
        kind, name = struct.unpack_from(f"{order}h", raw, head)[0], raw[head + 6 : head + 26]
        unit, x_unit = raw[head + 34 : head + 38], raw[head + 38 : head + 42]
        n, step, start = struct.unpack_from(f"{order}l2xdd", raw, head + 42)
        shape = (n, 0, 0, 0)
    return wave_of(path, raw[size:], order, kind, shape, n, (step, start), [text(x) for x in (name, unit, x_unit)])


def text(raw: bytes) -> str:
    """Return a text of fixed length up to its end."""
    return raw.partition(b"\0")[0].decode("utf-8", "replace")


def wave_of(
    path: Path, raw: bytes, order: str, kind: int, shape: tuple[int, ...], n: int, scale: tuple[float, float], words: list[str]
) -> Wave:  # fmt: skip
    """Return the samples with their clock.

    Raises
    ------
    InputError
        Complex numbers or texts, layers, a file that is cut off, rows that are in no unit of time.
    """
    name, unit, x_unit = words
    if kind & COMPLEX or kind & ~UNSIGNED not in TYPES or any(shape[2:]):
        raise InputError(
            f"{path}: wave '{name}' holds complex numbers, texts or layers; rows and columns of real numbers are expected."
        )
    if unit_key(x_unit) not in TIME:
        raise InputError(
            f"{path}: the rows of wave '{name}' are in '{x_unit}', no unit of time. In Igor: SetScale/P x 0, 5e-5, \"s\", {name}"
        )
    dtype = np.dtype(order + (TYPES[kind & ~UNSIGNED].replace("i", "u") if kind & UNSIGNED else TYPES[kind]))
    n_rows, n_columns = shape[0], max(shape[1], 1)
    if n != n_rows * n_columns or len(raw) < n * dtype.itemsize or n_rows < 1:
        raise InputError(
            f"{path}: wave '{name}' has {n} points in {n_rows} rows and {n_columns} columns. Is the file complete?"
        )
    factor = TIME[unit_key(x_unit)]
    dt_ms, t0_ms = float(f"{factor * scale[0]:.12g}"), factor * scale[1]
    if not (np.isfinite(dt_ms) and dt_ms > 0 and np.isfinite(t0_ms)):
        raise InputError(f"{path}: the rows of wave '{name}' are {dt_ms:g} ms apart and begin at {t0_ms:g} ms.")
    warn_of_odd_clock(path, dt_ms)
    values = np.frombuffer(raw, dtype, n).reshape(n_columns, n_rows).T.astype(float)
    return Wave(name, values, unit, dt_ms, t0_ms)


def n_sweeps(path: Path, request: Request) -> int:
    """Return the number of columns."""
    return open_ibw(path).values.shape[1]


def column(path: Path, wave: Wave, sweep: int) -> np.ndarray:
    """Return one column (n_rows,); InputError where there is no such."""
    n = wave.values.shape[1]
    if sweep >= n:
        raise InputError(
            f"{path}: --sweep {sweep}, but wave '{wave.name}' has {n} sweep{'s' * (n > 1)} (0 to {n - 1})."
        )
    return wave.values[:, sweep]


def read_ibw(path: Path, request: Request) -> Recording:
    """Return one sweep of a voltage whose current is another file's; InputError for another quantity, or without that file."""
    wave = open_ibw(path)
    if request.channel not in (None, wave.name):
        raise InputError(f"{path}: --channel '{request.channel}', but the file holds the wave '{wave.name}' alone.")
    if unit_key(wave.unit) not in VOLTAGE:
        raise InputError(
            f"{path}: wave '{wave.name}' is in '{wave.unit}', a voltage is expected. In Igor: SetScale d 0, 0, \"V\", {wave.name}"
        )
    if request.current_file is None:
        raise InputError(
            f"{path}: an Igor binary wave holds one quantity. Give the injected current: --current-file Im.ibw."
        )
    v = convert(path, wave.name, "voltage", wave.unit, column(path, wave, request.sweep))[0]
    source = f"{path}:sweep {request.sweep}"
    return Recording(v, np.zeros(len(v)), "pA", wave.dt_ms, wave.t0_ms, source, notes=(f"voltage: wave '{wave.name}'",))


def refuse_other_start(path: Path, recording: Recording) -> None:
    """Raise InputError where a current begins at another time than the voltage does, by the scale of its rows."""
    start = open_ibw(path).t0_ms
    if abs(start - recording.t0_ms) >= recording.dt_ms * (1 - 1e-6):
        raise InputError(
            f"--current-file {path}: begins at {start:g} ms, the voltage at {recording.t0_ms:g} ms by their own scales. Let both begin together."
        )


def read_current(path: Path, request: Request) -> tuple[np.ndarray, float, str]:
    """Return a current (n_time,), its grid in ms and its unit: the column of the sweep, or the only one for every sweep."""
    wave = open_ibw(path)
    if request.current_from not in (None, wave.name):
        raise InputError(
            f"{path}: --current-from '{request.current_from}', but the file holds the wave '{wave.name}' alone."
        )
    if unit_key(wave.unit) not in CURRENT:
        raise InputError(
            f"{path}: wave '{wave.name}' is in '{wave.unit}', a current is expected. In Igor: SetScale d 0, 0, \"A\", {wave.name}"
        )
    values = column(path, wave, request.sweep if wave.values.shape[1] > 1 else 0)
    current, unit = convert(path, wave.name, "current", wave.unit, values)
    return current if request.current_scale is None else request.current_scale * current, wave.dt_ms, unit
