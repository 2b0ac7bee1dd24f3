"""How is a WinWCP file read? Text of ``KEY=value``, then records: a block that begins with the record's own ranges, and counts.

neo scales every record with the ranges of the last one and takes channels by place; here each record has its ranges (0: the file's
``AD``) and each channel its place ``YOn`` in a scan. The zero level of WinWCP's display (``YZn``) is not subtracted.
Source: WinWCP's own ``WCPFileUnit`` (format 9; older ones it converts).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .checks import warn_of_odd_clock

SECTOR = 512  #: bytes
FIXED = 24  #: bytes of a record before its ranges: status (8), type (4), group, time, sampling interval
STATES = (b"acce", b"reje")  #: how the status of a record begins


class Wcp(NamedTuple):
    """A file that was opened."""

    path: Path
    names: list[str]
    units: list[str]
    places: list[int]  #: of the channels in a scan
    gains: np.ndarray  #: (n_channel,) volts at the converter a unit
    ranges: np.ndarray  #: (n_record, n_channel) volts of the largest count
    largest: int  #: count
    dt_ms: float
    starts: list[int]  #: bytes before the counts of each record
    n_samples: int  #: of a channel in a record

    def values(self, record: int, channel: int) -> np.ndarray:
        """Return one record (n_samples,) of a channel in its unit."""
        shape = (self.n_samples, len(self.names))
        counts = np.memmap(self.path, "<i2", "r", self.starts[record], shape)[:, self.places[channel]]
        return counts.astype(float) * self.ranges[record, channel] / (self.largest * self.gains[channel])


def open_wcp(path: Path) -> Wcp:
    """Return header and places of the records; to be held in `hdf5io.parsing`.

    Raises
    ------
    InputError
        Another version, no record, records of different rates, channels that share a place.
    """
    with path.open("rb") as file:
        header = header_of(file.read(1024))
        if header.get("VER", "").split(".")[0] != "9":
            raise InputError(
                f"{path}: WinWCP format {header.get('VER', 'unknown')}, 9 is read. WinWCP converts it when it opens it."
            )
        n, stated = int(header["NC"]), int(header.get("NBH", 1024))
        size = stated if stated >= SECTOR else SECTOR * stated
        file.seek(0)
        header = header_of(file.read(size))
        before, data = (SECTOR * int(header[key]) for key in ("NBA", "NBD"))
        n_records, steps, ranges, starts = int(header["NR"]), [], [], []
        for k in range(n_records):
            at = size + k * (before + data)
            file.seek(at)
            block = file.read(FIXED + 4 * n)
            if block[:4].lower() not in STATES:
                raise InputError(f"{path}: no record where the header places record {k}. Is it complete?")
            steps.append(struct.unpack_from("<f", block, FIXED - 4)[0])
            ranges.append(struct.unpack_from(f"<{n}f", block, FIXED))
            starts.append(at + before)
    if not starts:
        raise InputError(f"{path}: the file holds no record.")
    if n_records == 1 or not any(steps):  # of several records, each confirms the others
        steps.append(number(header["DT"]))
    told = np.array([step for step in steps if step > 0])
    if np.ptp(told) > 1e-5 * told.min():
        raise InputError(
            f"{path}: records are sampled every {1e3 * told.min():g} to {1e3 * told.max():g} ms. Export those of one rate."
        )
    warn_of_odd_clock(path, 1e3 * float(np.median(told)))
    places = [int(header.get(f"YO{c}", n - 1 - c)) for c in range(n)]
    if sorted(places) != list(range(n)):
        raise InputError(f"{path}: the channels stand at {places} of a scan of {n}. Is it damaged?")
    volts = np.array(ranges)
    names, units = ([header.get(f"{key}{c}", "") for c in range(n)] for key in ("YN", "YU"))
    gains = np.array([number(header[f"YG{c}"]) for c in range(n)])
    if not np.all(gains > 0):
        raise InputError(f"{path}: calibration factors of {gains} V a unit. Calibrate the channels in WinWCP.")
    return Wcp(
        path, names, units, places, gains, np.where(volts > 0, volts, number(header["AD"])), int(header["ADCMAX"]),
        float(f"{1e3 * np.median(told):.7g}"), starts, data // 2 // n,
    )  # fmt: skip


def header_of(block: bytes) -> dict[str, str]:
    """Return the values of a header by their keys."""
    lines = block.split(b"\0")[0].decode("latin-1").replace("==", "=").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def number(text: str) -> float:
    """Return a number with a decimal point or comma."""
    return float(text.replace(",", "."))
