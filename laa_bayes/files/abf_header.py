"""What does the header of an ABF file say about the current that was commanded? ABF 1 and ABF 2 in one form.

Sources: the structures of Axon's own header files (ABFHEADR.H, ProtocolStructs.h), as far as they concern inputs, outputs, the
epoch table and user lists. The samples themselves are read by neo.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hdf5io.errors import InputError

EPISODIC = 5  #: operation mode in which a waveform is commanded
TABLE, FILE = 1, 2  #: sources of a waveform
N_EPOCHS_1, N_EPOCHS_2 = 10, 50  #: epochs of a table: before file version 2.9, and from there on
MULTICLAMP = (23, 24)  #: telegraphing instruments that tell the clamp mode: 0 voltage clamp, 1 current clamp, 2 I = 0
BLOCK = 512


class Epoch(NamedTuple):
    """One column of the waveform editor; durations, periods and widths in samples."""

    number: int
    kind: int
    level: float
    level_step: float
    duration: int
    duration_step: int
    period: int
    width: int


class UserList(NamedTuple):
    """Values that replace one parameter of the waveform, sweep by sweep."""

    parameter: int
    repeats: bool
    values: tuple[float, ...]


class Output(NamedTuple):
    """An analogue output: what it commands, and how."""

    number: int
    name: str
    unit: str
    holding: float
    enabled: bool
    source: int
    holds_last: bool  #: between sweeps the level of the last epoch stays on
    train_level: float | None  #: level that a conditioning train leaves; None without one
    path: str  #: of the stimulus file
    file_scale: float
    file_offset: float
    file_sweep: int  #: 0: every sweep has its own, > 0: that one, -1: the first is skipped
    epochs: tuple[Epoch, ...]
    user_list: UserList | None


class Input(NamedTuple):
    """An analogue input."""

    number: int
    name: str
    unit: str
    clamp: int | None  #: telegraphed mode of a MultiClamp: 0 voltage clamp, 1 current clamp, 2 I = 0


class Header(NamedTuple):
    """What is known about the command of a file."""

    version: float
    mode: int
    n_samples: int  #: of one channel in one sweep of the protocol
    sweeps_per_run: int
    n_episodes: int
    alternates: bool  #: outputs 0 and 1 take turns
    clampex_6: bool  #: an older file type with another length of the first holding
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    @property
    def n_epochs(self) -> int:
        """Number of epochs of a table, on which the codes of user lists depend."""
        return N_EPOCHS_2 if self.version >= 2.895 else N_EPOCHS_1


def read_header(path: Path, info: Mapping[str, Any]) -> Header:
    """Return the header of a file that neo has opened (``info``: neo's own parse of it).

    Raises
    ------
    InputError
        A header that is cut or contradicts itself.
    """
    content = path.read_bytes()
    try:
        return _abf2(content, info) if content[:4] == b"ABF2" else _abf1(content, info)
    except (struct.error, IndexError, KeyError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path}: the header of the ABF file is damaged ({type(error).__name__}: {error}).") from None


def _abf2(content: bytes, info: Mapping[str, Any]) -> Header:
    protocol, strings = info["protocol"], _strings(content, info["sections"]["StringsSection"])
    lists = _user_lists(content, info["sections"]["UserListSection"], strings)
    inputs = []
    for adc in info["listADCInfo"]:
        telegraphed = adc["nTelegraphEnable"] and adc["nTelegraphInstrument"] in MULTICLAMP
        clamp = int(adc["nTelegraphMode"]) if telegraphed else None
        inputs.append(Input(int(adc["nADCNum"]), _text(adc["ADCChNames"]), _text(adc["ADCChUnits"]), clamp))
    outputs = []
    for dac in info["listDACInfo"]:
        number = int(dac["nDACNum"])
        table = info["dictEpochInfoPerDAC"].get(number, {})
        conditioned = dac["nConditEnable"] and dac["fPostTrainPeriod"] > 0
        outputs.append(
            Output(
                number,
                _text(dac["DACChNames"]),
                _text(dac["DACChUnits"]),
                float(dac["fDACHoldingLevel"]),
                bool(dac["nWaveformEnable"]),
                int(dac["nWaveformSource"]),
                bool(dac["nInterEpisodeLevel"]),
                float(dac["fPostTrainLevel"]) if conditioned else None,
                strings[dac["lDACFilePathIndex"]] if 0 < dac["lDACFilePathIndex"] < len(strings) else "",
                float(dac["fDACFileScale"]),
                float(dac["fDACFileOffset"]),
                int(dac["lDACFileEpisodeNum"]),
                tuple(_epoch2(table[key]) for key in sorted(table)),
                lists.get(number),
            )
        )
    n_inputs = max(1, len(inputs))
    return Header(
        float(info["fFileVersionNumber"]),
        int(protocol["nOperationMode"]),
        int(protocol["lNumSamplesPerEpisode"]) // n_inputs,
        int(protocol["lEpisodesPerRun"]),
        int(info["lActualEpisodes"]),
        bool(protocol["nAlternateDACOutputState"]),
        False,
        tuple(inputs),
        tuple(outputs),
    )


def _epoch2(e: Mapping[str, Any]) -> Epoch:
    names = ("nEpochNum", "nEpochType", "fEpochInitLevel", "fEpochLevelInc", "lEpochInitDuration", "lEpochDurationInc")
    values: Any = [e[name] for name in (*names, "lEpochPulsePeriod", "lEpochPulseWidth")]
    return Epoch(*values)


def _strings(content: bytes, section: Mapping[str, int]) -> list[str]:
    """Return the numbered texts of an ABF 2 file."""
    start = section["uBlockIndex"] * BLOCK
    block = content[start : start + section["uBytes"]]
    return [_text(part) for part in block[block.rfind(b"\x00\x00") :].split(b"\x00")[1:]]


def _user_lists(content: bytes, section: Mapping[str, int], strings: list[str]) -> dict[int, UserList]:
    """Return the user list of each output that has one."""
    found = {}
    for i in range(section["llNumEntries"]):
        start = section["uBlockIndex"] * BLOCK + i * section["uBytes"]
        number, enabled, parameter, repeats, index = struct.unpack_from("<hhhhi", content, start)
        if not enabled and parameter <= 0:
            continue
        texts = [strings[index]] if 0 <= index < len(strings) and _numbers(strings[index]) else strings
        values = [numbers for text in texts if (numbers := _numbers(text))]
        found[number] = UserList(parameter, bool(repeats), values[0] if len(values) == 1 else ())
    return found


def _numbers(text: str) -> tuple[float, ...]:
    """Return the numbers of a user list; none where the text is no list of numbers."""
    try:
        return tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        return ()


def _abf1(content: bytes, info: Mapping[str, Any]) -> Header:
    def at(code: str, offset: int) -> tuple:
        return struct.unpack_from("<" + code, content, offset)

    version, n_channels = float(info["fFileVersionNumber"]), int(info["nADCNumChannels"])
    extended = at("f", 32)[0] > 1.595 or version > 1.595  # the second half of the header
    sampled = [number for number in at("16h", 410) if number >= 0][:n_channels]
    names, units = (_words(content, start, size, 16) for start, size in ((442, 10), (602, 8)))
    modes = [None] * 16
    if extended:
        told = zip(at("16h", 4512), at("16h", 4544), at("16h", 4768), strict=True)
        modes = [mode if on and instrument in MULTICLAMP else None for on, instrument, mode in told]
    inputs = tuple(Input(number, names[number], units[number], modes[number]) for number in sampled)
    dac_names, dac_units, holding = _words(content, 1306, 10, 4), _words(content, 1346, 8, 4), at("4f", 1394)
    outputs = []
    for number in range(4):
        plan = _plan1_6(content, at, number) if extended else _plan1_5(at, number)
        outputs.append(Output(number, dac_names[number], dac_units[number], float(holding[number]), *plan))
    return Header(
        version,
        int(info["nOperationMode"]),
        at("i", 138)[0] // max(1, n_channels),
        at("i", 146)[0],
        at("i", 16)[0],
        bool(extended and version > 1.795 and at("h", 5876)[0]),
        at("h", 36)[0] == 3,
        inputs,
        tuple(outputs),
    )


def _plan1_6(content: bytes, at: Callable[..., tuple], number: int) -> tuple:
    """Return what an output of a file of version 1.6 to 1.8 does, in the order of `Output`; only two have waveforms."""
    if number > 1:
        return (False, 0, False, None, "", 1.0, 0.0, 0, (), None)
    enabled, source, last = (at("2h", offset)[number] for offset in (2296, 2300, 2304))
    rows = slice(10 * number, 10 * number + 10)
    columns = [at(code, offset)[rows] for code, offset in (("20h", 2308), ("20f", 2348), ("20f", 2428))]
    columns += [at(code, offset)[rows] for code, offset in (("20i", 2508), ("20i", 2588), ("20i", 2136), ("20i", 2216))]
    epochs = tuple(Epoch(i, *values) for i, values in enumerate(zip(*columns, strict=True)) if values[0])
    conditioned = at("2h", 3260)[number] and at("2f", 3304)[number] > 0
    path = _text(content[2736 + 256 * number : 2992 + 256 * number])
    values = _numbers(_text(content[3376 + 256 * number : 3632 + 256 * number]))
    listed = UserList(at("4h", 3368)[number], bool(at("4h", 4400)[number]), values)
    return (
        bool(enabled),
        source,
        bool(last),
        at("2f", 3312)[number] if conditioned else None,
        path,
        at("2f", 2708)[number],
        at("2f", 2716)[number],
        at("2i", 2724)[number],
        epochs,
        listed if at("4h", 3360)[number] else None,
    )


def _plan1_5(at: Callable[..., tuple], number: int) -> tuple:
    """Return what an output of a file before version 1.6 does: only the active one has a waveform, of steps and ramps."""
    source, active, last = at("3h", 1438)
    if number != active or not source:
        return (False, 0, False, None, "", 1.0, 0.0, 0, (), None)
    columns = [at("10h", 1444), at("10f", 1464), at("10f", 1504), at("10h", 1544), at("10h", 1564)]
    rows: Any = [(i, *values, 0, 0) for i, values in enumerate(zip(*columns, strict=True)) if values[0]]
    epochs = tuple(Epoch(*row) for row in rows)
    return (True, source, bool(last), None, "", 1.0, 0.0, 0, epochs, None)


def _words(content: bytes, start: int, size: int, n: int) -> list[str]:
    return [_text(content[start + size * i : start + size * (i + 1)]) for i in range(n)]


def _text(raw: bytes | str) -> str:
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    return text.replace("\xb5", "u").strip(" \x00")
