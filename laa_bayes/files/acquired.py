"""How are AxoGraph's and Spike2's binary files read, and WinWCP's? The former through neo; units tell voltage from current, names tell channels apart.

None of them says which amplifier mode was on: as in tables, a voltage clamp is seen by its traces alone (`checks.is_clamped`).
Sources: AxoGraph_ReadWrite.h and CED's SON filing system as neo's ``axographrawio`` and ``spike2rawio`` describe them.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..neuron.recording import Recording
from .checks import warn_of_odd_clock
from .clock import differ, intervals_in
from .request import Request
from .units import CURRENT, TIME, VOLTAGE, convert, name_and_unit, other_electrodes, unit_key
from .wavesurfer import chosen
from .winwcp import open_wcp

FAR = 1.5  #: a rate is the nearest that the clock could make; this far from the one asked for, the file is damaged
FLOATS = {6: ">f4", 7: ">f8"}  #: AxoGraph's types of columns that list every time
log = logging.getLogger("laa_bayes")


class Part(NamedTuple):
    """Where neo keeps one sweep of a channel."""

    segment: int
    stream: int
    column: int


class Channel(NamedTuple):
    """One channel of a file with its sweeps."""

    name: str
    unit: str
    dt_ms: float
    parts: list[Part]
    starts_ms: list[float]  #: start of each sweep on the file's clock


class Acquired(NamedTuple):
    """A file that was opened: no sample has been read."""

    path: Path
    what: str  #: which format, with its article
    values: Callable[[Part], np.ndarray]  #: samples (n_time,) in the channel's unit
    channels: list[Channel]


def open_acquired(path: Path) -> Acquired:
    """Return a file that was opened by the reader of its suffix."""
    return {".smr": open_spike2, ".wcp": open_winwcp}.get(path.suffix.lower(), open_axograph)(path)


def n_sweeps(path: Path, request: Request) -> int:
    """Return the number of sweeps of the voltage: AxoGraph's episodes, Spike2's stretches between pauses."""
    return len(voltage_of(open_acquired(path), request).parts)


def open_axograph(path: Path) -> Acquired:
    """Return the columns of a file: those of one title are one channel's episodes, in the order of the file.

    neo's own episodes are not taken: it has them only where the newest metadata are there, and then by place alone. InputError where
    time is in no unit of time, for four-byte integers (neo takes eight), and where columns are not one an episode.
    """
    what = "an AxoGraph file"
    with hdf5io.parsing(path, what):
        from neo.rawio import AxographRawIO

        reader = AxographRawIO(str(path), force_single_segment=True)
        reader.parse_header()
        headers = reader.header["signal_channels"]
        info: Any = reader.info
    start_ms, dt_ms = axograph_clock(path, info)
    check_axograph_clock(path, reader, dt_ms)
    columns: dict[tuple[str, str], list[Part]] = {}
    for i, header in enumerate(headers):
        if str(header["dtype"]).endswith("l"):
            raise InputError(f"{path}: '{header['name']}' is kept as long integers, which are not read. Save as text.")
        columns.setdefault((str(header["name"]), str(header["units"])), []).append(Part(0, 0, i))
    told = info.get("n_episodes")
    for (name, unit), parts in columns.items():
        if told and len(parts) != told and unit_key(unit) in VOLTAGE | CURRENT:
            raise InputError(
                f"{path}: {len(parts)} traces '{name}' ({unit}), the file tells {told} episodes: which trace is of which episode? "
                "Name the traces of each electrode alike, or export one as text."
            )
    found = [Channel(*key, dt_ms, parts, [start_ms] * len(parts)) for key, parts in columns.items()]
    return Acquired(path, what, neo_values(reader), found)


def axograph_clock(path: Path, info: Any) -> tuple[float, float]:
    """Return start and step of the first column in ms, by the unit in its title, which neo does not look at (seconds if none)."""
    old = info["format_ver"] < 3
    with hdf5io.parsing(path, "an AxoGraph file"), path.open("rb") as file:
        file.seek(8 if old else 12)
        if old:
            n, title, kind = *struct.unpack(">l80p", file.read(84)), 6 if info["format_ver"] == 1 else 0
            text = title.decode()
        else:
            n, kind, length = struct.unpack(">lll", file.read(12))
            text = file.read(max(length, 0)).decode("utf-16-be")
        start, step = float(info["t_start"]), float(info["sampling_period"])
        if kind in FLOATS:  # neo's median of rounded differences is off by up to 1e-3
            times = np.frombuffer(file.read(n * np.dtype(FLOATS[kind]).itemsize), FLOATS[kind]).astype(float)
            start, step = float(times[0]), float((times[-1] - times[0]) / (n - 1))
    unit = name_and_unit(text)[1] or "s"
    if unit_key(unit) not in TIME:
        raise InputError(f"{path}: the first column is '{text}', time is expected. Is it a recording?")
    info["n_times"], info["unit_of_time"] = n, unit
    factor = TIME[unit_key(unit)]  # below: 7 digits of what is kept in four bytes
    dt_ms = float(f"{factor * step:.{7 if kind in (0, 6) else 12}g}")
    warn_of_odd_clock(path, dt_ms)
    return factor * start, dt_ms


def check_axograph_clock(path: Path, reader: Any, dt_ms: float) -> None:
    """Compare the clock with what the file says beside it: lengths of columns, other columns of time, headers of traces; notes warn.

    Raises
    ------
    InputError
        Columns of other lengths, traces over another column than the first, another interval or extent.
    """
    info, headers, signals = reader.info, reader.header["signal_channels"], reader._raw_signals[0]
    n, factor = info["n_times"], TIME[unit_key(info["unit_of_time"])]
    for header, values in zip(headers, signals, strict=True):
        name, unit = str(header["name"]), str(header["units"])
        if len(values) != n and unit_key(unit) in VOLTAGE | CURRENT:
            raise InputError(f"{path}: '{name}' has {len(values)} samples, the column of time {n}. Which is right?")
        if name.lower() == "time" and unit_key(unit) in TIME and len(values) > 1:
            scaled = np.asarray(values[:2], float) * header["gain"] + header["offset"]
            if differ(TIME[unit_key(unit)] * float(scaled[1] - scaled[0]), dt_ms):
                raise InputError(f"{path}: two columns of time that differ. Save the traces of one of them.")
    for number, trace in info.get("trace_header_info_list", {}).items():
        if trace["x_index"] != 0:
            raise InputError(
                f"{path}: trace {number} is drawn over column {trace['x_index']}, not over the first. Save it with its own time, or as text."
            )
        stated = factor * trace["x_interval_if_regularly_spaced"] if trace["x_is_regularly_spaced"] else 0.0
        extent = factor * (trace["max_x"] - trace["min_x"]) / max(n - 1, 1)
        for what, other in (("interval", stated), ("extent", extent)):
            if other > 0 and differ(other, dt_ms):
                raise InputError(
                    f"{path}: a sample every {dt_ms:.6g} ms by the column of time, every {other:.6g} ms by the {what} that the header of trace "
                    f"{number} states: the clock in the file is damaged."
                )
    for words, other in intervals_in(f"{info.get('comment', '')}\n{info.get('notes', '')}"):
        if differ(other, dt_ms):
            log.warning("%s: its notes say '%s', its samples are %.6g ms apart: which is right?", path, words, dt_ms)


def open_spike2(path: Path) -> Acquired:
    """Return the waveform channels of a file; a pause begins a new sweep, and InputError tells where it is not one of all channels."""
    what = "a 16-bit Spike2 file"
    with hdf5io.parsing(path, what):
        from neo.rawio import Spike2RawIO

        reader = Spike2RawIO(str(path), try_signal_grouping=False)
        try:
            with np.errstate(over="raise"):
                reader.parse_header()
        except (OverflowError, FloatingPointError):  # neo multiplies clocks in 16 bits
            raise InputError(
                f"{path}: a channel is too slow for neo's clock (33 ms or more). Export without it."
            ) from None
        headers = reader.header["signal_channels"]
        check_spike2_clock(path, reader, headers)
        n = reader.segment_count(0)
        starts = [[1e3 * float(reader.get_signal_t_start(0, k, i)) for k in range(n)] for i in range(len(headers))]
    names = unique([str(h["name"]).strip() for h in headers], [int(h["id"]) + 1 for h in headers])  # counted from 1
    found = []
    for i, (name, header) in enumerate(zip(names, headers, strict=True)):
        dt_ms = float(f"{1e3 / float(header['sampling_rate']):.12g}")
        found.append(Channel(name, str(header["units"]), dt_ms, [Part(k, i, 0) for k in range(n)], starts[i]))
    return Acquired(path, what, neo_values(reader), found)


def check_spike2_clock(path: Path, reader: Any, headers: Any) -> None:
    """Raise InputError where a rate is not that of the blocks' own times, or far from the one that was asked for."""
    for header in headers:
        key, rate = int(header["id"]), float(header["sampling_rate"])
        blocks, asked = reader._all_data_blocks[key], float(reader._channel_infos[key]["ideal_rate"])
        ticks, spans = 1 / (rate * reader._time_factor), blocks["end_time"] - blocks["start_time"]
        if np.any(np.abs(spans - (blocks["size"] - 1) * ticks) > 0.5 * ticks):
            raise InputError(
                f"{path}: channel '{header['name']}' has {rate:.6g} samples a second, its blocks have other times. Is it damaged?"
            )
        if asked > 0 and not 1 / FAR < rate / asked < FAR:
            raise InputError(
                f"{path}: channel '{header['name']}' has {rate:.6g} samples a second, {asked:.6g} were asked for: the clock in the file is "
                "damaged."
            )


def open_winwcp(path: Path) -> Acquired:
    """Return the channels of a WinWCP file; its records are the sweeps."""
    with hdf5io.parsing(path, "a WinWCP file"):
        wcp = open_wcp(path)
    names = unique(wcp.names, range(len(wcp.names)))
    n = len(wcp.starts)
    found = [
        Channel(name, unit, wcp.dt_ms, [Part(k, 0, i) for k in range(n)], [0.0] * n)
        for i, (name, unit) in enumerate(zip(names, wcp.units, strict=True))
    ]
    return Acquired(path, "a WinWCP file", lambda part: wcp.values(part.segment, part.column), found)


def unique(names: Sequence[str], numbers: Iterable[int]) -> list[str]:
    """Return names, with the channel's number where one is empty or given twice."""
    again = Counter(names)
    return [
        name if name and again[name] == 1 else f"{name}#{number}" for name, number in zip(names, numbers, strict=True)
    ]


def neo_values(reader: Any) -> Callable[[Part], np.ndarray]:
    """Return the function that reads and scales the samples of a channel through neo."""

    def values(part: Part) -> np.ndarray:
        where = {"stream_index": part.stream, "channel_indexes": [part.column]}
        raw = reader.get_analogsignal_chunk(block_index=0, seg_index=part.segment, **where)
        return np.asarray(reader.rescale_signal_raw_to_float(raw, dtype="float64", **where))[:, 0]

    return values


def voltage_of(file: Acquired, request: Request) -> Channel:
    """Return the voltage channel: the only one, or the one that was named; InputError otherwise."""
    labels = [(channel.name, channel.unit) for channel in file.channels]
    return file.channels[chosen(file.path, labels, VOLTAGE, request.channel, "voltage", "--channel")]


def read_acquired(path: Path, request: Request) -> Recording:
    """Return one sweep: the only voltage and current channel, or those that are named.

    Raises
    ------
    InputError
        No such sweep or channel, several of which none was named, different rates, starts or numbers of sweeps.
    """
    file, sweep = open_acquired(path), request.sweep
    voltage = voltage_of(file, request)
    n = len(voltage.parts)
    if sweep >= n:
        raise InputError(f"{path}: --sweep {sweep}, but the file has {n} sweeps (0 to {n - 1}).")
    source, notes = f"{path}:sweep {sweep}", [f"voltage: channel '{voltage.name}'"]
    v, start = samples(file, voltage, "voltage", sweep), voltage.starts_ms[sweep]
    if request.current_file is not None:
        return Recording(v, np.zeros(len(v)), "pA", voltage.dt_ms, start, source, notes=tuple(notes))
    labels = [(channel.name, channel.unit) for channel in file.channels]
    current = file.channels[chosen(path, labels, CURRENT, request.current_from, "current", "--current-from")]
    pair = f"'{voltage.name}' and '{current.name}'"
    if request.current_from is None and other_electrodes(voltage.name, current.name):
        raise InputError(
            f"{path}: does the current '{current.name}' belong to '{voltage.name}'? Then --current-from {current.name}."
        )
    if len(current.parts) != n:
        raise InputError(f"{path}: {pair} have {n} and {len(current.parts)} sweeps: which belong together?")
    if abs(voltage.dt_ms / current.dt_ms - 1) > 1e-6:
        raise InputError(
            f"{path}: {pair} are sampled at {1e3 / voltage.dt_ms:g} and {1e3 / current.dt_ms:g} Hz. Resample one to the rate of the "
            "other, or give the current on its own clock: --current-file FILE."
        )
    if abs(current.starts_ms[sweep] - start) >= voltage.dt_ms * (1 - 1e-6):
        raise InputError(
            f"{source}: {pair} begin at {start:g} and {current.starts_ms[sweep]:g} ms. Export what both hold."
        )
    i = samples(file, current, "current", sweep)
    both, notes = min(len(v), len(i)), [*notes, f"current: channel '{current.name}'"]
    if len(v) != len(i):
        notes.append(f"{len(v)} samples of voltage, {len(i)} of current: the first {both} are taken")
    return Recording(v[:both], i[:both], "pA", voltage.dt_ms, start, source, notes=tuple(notes))


def samples(file: Acquired, channel: Channel, quantity: str, sweep: int) -> np.ndarray:
    """Return one sweep (n_time,) of a channel in mV or pA."""
    with hdf5io.parsing(file.path, file.what):
        values = file.values(channel.parts[sweep])
    return convert(file.path, channel.name, quantity, channel.unit, values)[0]
