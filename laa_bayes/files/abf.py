"""How is an Axon ABF file read? The voltage of one electrode, and the current that was really injected through it.

The current is a recorded channel, or the command that the protocol's epochs describe. Which input belongs to which output is told
by their numbers; where two answers remain, both are named and the person is asked.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..neuron.recording import Recording
from . import abf_stimulus
from .abf_clock import check_clock, missing_sweeps, read_clock
from .abf_header import EPISODIC, FILE, Header, Input, Output, read_header
from .abf_stimulus import Column
from .abf_waveform import NoWaveform, waveform
from .request import Request
from .units import CURRENT, VOLTAGE, unit_key

AGREE, AGREE_PA = (
    0.1,
    10.0,
)  #: a recorded current and the command are the same within this share of the largest step, or pA
FOLLOWS = 0.9  #: correlation of a voltage with a commanded voltage from which on it is its monitor
log = logging.getLogger("laa_bayes")


class Abf(NamedTuple):
    """A file that was opened: its header and the samples of every sweep."""

    path: Path
    header: Header
    sweeps: list[np.ndarray]  #: (n_samples, n_inputs) in the inputs' units, not yet read from disk
    dt_ms: float
    gaps: bool  #: sweeps were taken out before the last one


class Source(NamedTuple):
    """One candidate for the injected current."""

    name: str
    text: str  #: what it is, for a person
    current_pa: np.ndarray | None  #: (n_samples,); None where ``why`` says why it cannot be had
    why: str = ""


def open_abf(path: Path) -> Abf:
    """Return header and sweeps of a file; InputError where it is no ABF file."""
    known = path.stat()
    return _open(path, known.st_mtime_ns, known.st_size)


@functools.lru_cache(maxsize=2)  # with its stimulus file; the sweeps of a file are asked for one after the other
def _open(path: Path, mtime_ns: int, size: int) -> Abf:
    with hdf5io.parsing(path, "an ABF file"):
        from neo.rawio import AxonRawIO

        reader = AxonRawIO(str(path))
        reader.parse_header()
        info: Any = reader._axon_info
        channels = reader.header["signal_channels"]
        n_sweeps, rate = reader.segment_count(0), float(reader.get_signal_sampling_rate(0))
    header = read_header(path, info)
    clock = read_clock(path, info)
    check_clock(path, clock, header.mode, 1e3 / rate)
    if len(channels) != len(header.inputs):
        raise InputError(
            f"{path}: {len(channels)} channels of data, {len(header.inputs)} in the header. Is it complete?"
        )

    def values(sweep: int) -> np.ndarray:
        with hdf5io.parsing(path, "an ABF file"):
            raw = reader.get_analogsignal_chunk(block_index=0, seg_index=sweep, stream_index=0)
            return np.asarray(reader.rescale_signal_raw_to_float(raw, dtype="float64", stream_index=0))

    sweeps = [values(i) for i in range(n_sweeps)]
    n = header.n_samples
    if n_sweeps == 1 and header.n_episodes > 1 and len(sweeps[0]) == n * header.n_episodes:  # without a table of sweeps
        sweeps = np.split(sweeps[0], header.n_episodes)
    return Abf(path, header, sweeps, 1e3 / rate, bool(missing_sweeps(clock, header.mode)))


def n_sweeps(path: Path, request: Request) -> int:
    """Return the number of sweeps of a file."""
    return len(open_abf(path).sweeps)


def read_abf(path: Path, request: Request) -> Recording:
    """Return one sweep: the voltage of one electrode and its injected current.

    Raises
    ------
    InputError
        No such sweep, no voltage, a voltage clamp, several electrodes or currents of which none was named, or a command that cannot
        be rebuilt.
    """
    abf, sweep = open_abf(path), request.sweep
    if sweep >= len(abf.sweeps):
        raise InputError(
            f"{path}: --sweep {sweep}, but the file has {len(abf.sweeps)} sweeps (0 to {len(abf.sweeps) - 1})."
        )
    where = f"{path}:sweep {sweep}"
    if not np.size(abf.sweeps[sweep]):
        raise InputError(f"{where}: holds no samples.")
    column = voltage_column(abf, request.channel)
    channel = abf.header.inputs[column]
    v = abf.sweeps[sweep][:, column] * VOLTAGE[unit_key(channel.unit)]
    if request.current_file is not None:
        source = Source(str(request.current_file), "zero until it is replaced", np.zeros(len(v)))
    else:
        refuse_voltage_clamp(abf, channel, v, sweep, request.current_from)
        source = chosen_source(abf, channel, sweep, request.current_from)
    if source.current_pa is None:
        raise InputError(f"{where}: {source.why}. Give the injected current: --current-file FILE.")
    notes = (f"voltage: channel '{channel.name}'", f"current: {source.text}")
    return Recording(v, source.current_pa, "pA", abf.dt_ms, 0.0, where, notes=notes)


def voltage_column(abf: Abf, wanted: str | None) -> int:
    """Return the place of the voltage channel: the only one, or the one that was named (by name or place)."""
    inputs = abf.header.inputs
    voltages = [i for i, channel in enumerate(inputs) if unit_key(channel.unit) in VOLTAGE]
    if not voltages:
        units = ", ".join(channel.unit or "no unit" for channel in inputs)
        raise InputError(f"{abf.path}: no voltage channel (units: {units}). Is it a current-clamp recording?")
    if wanted is not None:
        named = [i for i in voltages if wanted in (inputs[i].name, str(i))]
        if len(named) == 1:
            return named[0]
        raise InputError(
            f"{abf.path}: --channel '{wanted}' is none of the voltage channels {listed(inputs, voltages)}."
        )
    if len(voltages) > 1:
        raise InputError(
            f"{abf.path}: {len(voltages)} voltage channels: {listed(inputs, voltages)}. Name one: --channel NAME."
        )
    return voltages[0]


def listed(inputs: Sequence[Input], places: Sequence[int]) -> str:
    """Return channels as text: name, place and unit."""
    return ", ".join(f"'{inputs[i].name}' ({i}, {inputs[i].unit})" for i in places)


def outputs_in(abf: Abf, units: dict[str, float]) -> list[Output]:
    """Return the outputs that command a quantity of these units."""
    return [output for output in abf.header.outputs if unit_key(output.unit) in units]


def in_use(output: Output) -> bool:
    """Return whether an output did something: a waveform, or a holding level."""
    return (output.enabled and output.source > 0) or output.holding != 0


def refuse_voltage_clamp(abf: Abf, channel: Input, v_mv: np.ndarray, sweep: int, current_from: str | None) -> None:
    """Raise InputError where the electrode was in voltage clamp: by the amplifier's telegraph, or by the unit of the command; or at I = 0."""
    advice = "In voltage clamp the membrane follows the command and this model does not apply."
    where = f"{abf.path}: channel '{channel.name}'"
    if channel.clamp == 0:
        raise InputError(f"{where} was recorded in voltage clamp (the amplifier says so). {advice}")
    if channel.clamp == 2 and current_from is None:
        raise InputError(
            f"{where} was recorded at I = 0 (the amplifier says so): the command did not reach the cell. If a current did, name it: "
            "--current-from NAME, or --current-file FILE."
        )
    currents = [output for output in outputs_in(abf, CURRENT) if in_use(output)]
    voltages = [output for output in outputs_in(abf, VOLTAGE) if in_use(output)]
    if channel.clamp == 1 or not voltages or current_from is not None:
        return
    own = [output for output in voltages if output.number == channel.number]
    if currents and not own:
        return
    for output in own or voltages:
        command = VOLTAGE[unit_key(output.unit)] * command_or_holding(abf, output, sweep, len(v_mv))
        if follows(v_mv, command) or not outputs_in_file(abf, CURRENT):
            raise InputError(
                f"{where} was recorded in voltage clamp: output '{output.name}' commands {output.unit} "
                f"({command.min():g} to {command.max():g} mV). {advice} If a channel holds an injected current, name it: --current-from NAME."
            )


def outputs_in_file(abf: Abf, units: dict[str, float]) -> bool:
    """Return whether a quantity of these units was recorded, or is commanded by an output in use."""
    recorded = any(unit_key(channel.unit) in units for channel in abf.header.inputs)
    return recorded or any(in_use(output) for output in outputs_in(abf, units))


def command_or_holding(abf: Abf, output: Output, sweep: int, n: int) -> np.ndarray:
    """Return the command of an output, its holding level where the waveform cannot be rebuilt."""
    try:
        return waveform(abf.header, output, sweep, n)
    except NoWaveform:
        return np.full(n, output.holding)


def follows(v_mv: np.ndarray, command_mv: np.ndarray) -> bool:
    """Return whether a voltage is that of a clamp: it lies at the command, or moves with its steps one to one."""
    if abs(np.median(v_mv) - np.median(command_mv)) > 10 + 0.1 * np.ptp(command_mv):
        return False
    if np.ptp(command_mv) == 0:
        return np.ptp(v_mv) < 2.0
    slope = np.polyfit(command_mv, v_mv, 1)[0]
    return float(np.corrcoef(command_mv, v_mv)[0, 1]) > FOLLOWS and 0.8 < slope < 1.25


def chosen_source(abf: Abf, channel: Input, sweep: int, wanted: str | None) -> Source:
    """Return the injected current of an electrode: the one that was named, or the only one that its number and the data allow."""
    recorded, commanded = recorded_sources(abf, sweep), command_sources(abf, channel, sweep, wanted)
    if recorded and wanted is None and not any(in_use(output) for output in outputs_in(abf, CURRENT)):
        commanded = []  # no output did anything: what was recorded came from the amplifier itself
    if wanted is not None:
        named = [source for source in [*recorded, *commanded] if source.name == wanted]
        if len(named) == 1:
            return named[0]
        names = ", ".join(f"'{source.name}'" for source in [*recorded, *commanded]) or "none"
        raise InputError(f"{abf.path}: --current-from '{wanted}' is none of the currents of the file ({names}).")
    found = [*recorded, *commanded]
    if not found:
        raise InputError(f"{abf.path}: neither a current channel nor a command in a unit of current.")
    if len(found) == 1:
        return found[0]
    if len(recorded) == len(commanded) == 1 and agree(abf, recorded[0], commanded[0]):
        return recorded[0]
    raise InputError(
        f"{abf.path}: {len(found)} currents for channel '{channel.name}', which do not agree: "
        + "; ".join(f"'{source.name}' ({source.text})" for source in found)
        + ". Name the injected one: --current-from NAME."
    )


def recorded_sources(abf: Abf, sweep: int) -> list[Source]:
    """Return the channels that recorded a current."""
    found = []
    for i, channel in enumerate(abf.header.inputs):
        if unit_key(channel.unit) in CURRENT:
            current = abf.sweeps[sweep][:, i] * CURRENT[unit_key(channel.unit)]
            found.append(Source(channel.name, f"recorded, median {np.median(current):.3g} pA", current))
    return found


def command_sources(abf: Abf, channel: Input, sweep: int, wanted: str | None) -> list[Source]:
    """Return the commands that may have driven an electrode: that of the output with its number, else every one in use."""
    outputs = outputs_in(abf, CURRENT)
    active = [output for output in outputs if in_use(output)]
    own = [output for output in outputs if output.number == channel.number]
    several = sum(unit_key(other.unit) in VOLTAGE for other in abf.header.inputs) > 1
    if wanted is not None:
        chosen = outputs
    elif own and (own[0] in active or not active):
        chosen = own
    elif several or (own and active):
        chosen = [*own, *active] if len(own) + len(active) > 1 else []
    else:
        chosen = active or outputs[:1]
    if not chosen and wanted is None and active:
        names = ", ".join(f"'{output.name}'" for output in active)
        raise InputError(
            f"{abf.path}: no output has the number of channel '{channel.name}'. Name the one that drove it ({names}): --current-from NAME."
        )
    return [command_source(abf, output, sweep) for output in chosen]


def command_source(abf: Abf, output: Output, sweep: int) -> Source:
    """Return the command of one output as a candidate."""
    n, factor = len(abf.sweeps[sweep]), CURRENT[unit_key(output.unit)]
    if abf.header.mode != EPISODIC:
        return Source(
            output.name,
            "command, not recorded",
            None,
            "the recording is gap-free or event-driven: its command was not recorded",
        )
    if output.enabled and output.source == FILE:
        return from_stimulus_file(abf, output, sweep)
    try:
        current = factor * waveform(abf.header, output, sweep, n)
        if abf.gaps and any(
            np.any(waveform(abf.header, output, i, n) != waveform(abf.header, output, 0, n))
            for i in range(1, abf.header.n_episodes)
        ):
            raise NoWaveform(
                f"sweeps were taken out (the starts leave gaps) and the command of output '{output.name}' changes from sweep to "
                "sweep: which one this sweep had is not told. Take the whole file"
            )
    except NoWaveform as reason:
        return Source(output.name, "command", None, str(reason))
    kind = "the protocol's epochs" if output.enabled and output.source else "holding level"
    text = f"command of output '{output.name}', {kind}, {current.min():.4g} to {current.max():.4g} pA"
    return Source(output.name, text, current)


def from_stimulus_file(abf: Abf, output: Output, sweep: int) -> Source:
    """Return a command that was played from a file, where the file lies beside the recording and fits it."""
    path = abf_stimulus.beside(abf.path, output)
    if path is None:
        why = f"output '{output.name}' played the stimulus file '{output.path or 'without a name'}', which is not here"
        return Source(output.name, "stimulus file", None, why)
    try:
        if path.suffix.lower() == ".abf":
            stimulus = open_abf(path)
            columns = [Column(one[:, 0], stimulus.header.inputs[0].unit, stimulus.dt_ms) for one in stimulus.sweeps]
            if len(stimulus.header.inputs) != 1:
                raise NoWaveform(f"stimulus file {path} has {len(stimulus.header.inputs)} channels")
        else:
            columns = abf_stimulus.text_columns(path)
        n = len(abf.sweeps[sweep])
        command = abf_stimulus.played(path, columns, output, sweep, len(abf.sweeps), n, abf.dt_ms)
    except (NoWaveform, InputError) as reason:
        return Source(output.name, "stimulus file", None, f"output '{output.name}' played a file: {reason}")
    current = CURRENT[unit_key(output.unit)] * command
    scaled = (
        f" x {output.file_scale:g} + {output.file_offset:g}"
        if (output.file_scale, output.file_offset) != (1, 0)
        else ""
    )
    text = f"command of output '{output.name}', stimulus file '{path.name}'{scaled}, {current.min():.4g} to {current.max():.4g} pA"
    return Source(output.name, text, current)


def agree(abf: Abf, recorded: Source, commanded: Source) -> bool:
    """Return whether a recorded current is the command: the same level wherever the command is constant for 2 ms or longer."""
    if commanded.current_pa is None or recorded.current_pa is None:
        return False
    command, n = commanded.current_pa, max(1, round(2.0 / abf.dt_ms))
    output = next(o for o in abf.header.outputs if o.name == commanded.name)
    everywhere = [
        command_or_holding(abf, output, i, len(sweep)) * CURRENT[unit_key(output.unit)]
        for i, sweep in enumerate(abf.sweeps)
    ]
    tolerance = max(AGREE * max(float(np.ptp(one)) for one in everywhere), AGREE_PA)
    edges = np.flatnonzero(np.diff(command)) + 1
    for part in np.split(np.arange(len(command)), edges) if len(edges) < 500 else [np.arange(len(command))]:
        if len(part) < n:
            continue
        apart = np.median(recorded.current_pa[part]) - np.median(command[part])
        if abs(apart) > tolerance:
            return False
    return True
