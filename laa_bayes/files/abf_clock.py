"""Does the sampling interval of an ABF file agree with what else the file says of time?

Every sweep has its start and length in the synch array, in units of ``fSynchTimeUnit`` (us), which in all files seen divides the time
between two samples. Old acquisition boxes could change their rate within a sweep. Source: Axon's ABFHEADR.H and ProtocolStructs.h.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .abf_header import BLOCK, EPISODIC

SLACK = 0.01  #: share by which two times of one clock may differ
EXACT = 1e-3  #: share of a period within which the starts of a protocol lie on its multiples
log = logging.getLogger("laa_bayes")


class Clock(NamedTuple):
    """What a file says of time beside the sampling interval."""

    unit_us: float  #: of the starts; 0 where they are in samples
    apart_ms: np.ndarray  #: (n_sweep - 1,) from start to start
    lengths: np.ndarray  #: (n_sweep,) samples of all inputs
    starts_ms: np.ndarray  #: (n_sweep,)
    period_ms: float  #: from start to start as the protocol asked; 0 where one sweep follows the other
    second_us: float  #: interval of all inputs behind a change of rate, 0 where there is none
    n_inputs: int


def read_clock(path: Path, info: Mapping[str, Any]) -> Clock:
    """Return the times of a file that neo has opened (``info``: neo's parse of its header)."""
    old = "protocol" not in info
    with path.open("rb") as file:
        head = file.read(BLOCK)
        section = info if old else info["sections"]["SynchArraySection"]
        block, n = (
            section[k] for k in (("lSynchArrayPtr", "lSynchArraySize") if old else ("uBlockIndex", "llNumEntries"))
        )
        file.seek(BLOCK * max(block, 0))
        raw = file.read(8 * max(n, 0) if block > 0 else 0)
    starts, lengths = np.frombuffer(raw[: len(raw) // 8 * 8], "<i4").reshape(-1, 2).T.astype(float)
    unit_us = float((info if old else info["protocol"])["fSynchTimeUnit"])
    n_inputs = max(1, info["nADCNumChannels"] if old else len(info["listADCInfo"]))
    second_us, change = struct.unpack_from("<f", head, 126)[0], struct.unpack_from("<i", head, 194)[0]
    return Clock(
        unit_us,
        1e-3 * unit_us * np.diff(starts),
        lengths,
        1e-3 * unit_us * starts,
        1e3 * float(0.0 if old else info["protocol"]["fEpisodeStartToStart"]),
        second_us * n_inputs if old and change > 0 else 0.0,
        n_inputs,
    )


def check_clock(path: Path, clock: Clock, mode: int, dt_ms: float) -> None:
    """Warn where a sampling interval is odd beside the other times of a file.

    Raises
    ------
    InputError
        A rate that changes within a sweep, or sweeps that last longer than from start to start.
    """
    if clock.second_us > 0 and abs(1e-3 * clock.second_us - dt_ms) > SLACK * dt_ms:
        raise InputError(
            f"{path}: the rate changes within a sweep (a sample every {clock.second_us:g} us behind it). Export it as text."
        )
    if mode != EPISODIC or not clock.unit_us > 0 or not len(clock.lengths):
        return
    lasts = clock.lengths[:-1] / clock.n_inputs * dt_ms
    if np.any(lasts > clock.apart_ms * (1 + SLACK)):
        raise InputError(
            f"{path}: sweeps of {lasts.max():.6g} ms at a sample every {dt_ms:g} ms, which begin {clock.apart_ms.min():.6g} ms apart: "
            "the clock in the file is damaged."
        )
    ticks = 1e3 * dt_ms / clock.n_inputs / clock.unit_us
    if abs(ticks - round(ticks)) > 1e-3 * max(ticks, 1.0) or ticks < 0.5:
        log.warning(
            "%s: a sample every %.6g us, which is no multiple of the file's unit of time (%.6g us); is the clock damaged?",
            path, 1e3 * dt_ms / clock.n_inputs, clock.unit_us,
        )  # fmt: skip


def missing_sweeps(clock: Clock, mode: int) -> list[int]:
    """Return the numbers of sweeps that were taken out of a file before its last one; none where a trigger started the sweeps.

    Sweeps that a protocol starts itself begin at whole multiples of one period; what was taken out leaves a gap.
    """
    periods = [clock.period_ms, *clock.apart_ms[clock.apart_ms > 0]]
    period = periods[0] or min(periods[1:], default=0.0)
    if mode != EPISODIC or not clock.unit_us > 0 or not period > 0 or not len(clock.starts_ms):
        return []
    first = clock.starts_ms[0]
    numbers = (clock.starts_ms - (first if first < period * (1 - EXACT) else 0.0)) / period
    whole = np.rint(numbers)
    if np.any(np.abs(numbers - whole) > EXACT) or np.any(np.diff(whole) < 1):
        return []
    return sorted(set(range(int(whole[-1]))) - set(whole.astype(int).tolist()))
