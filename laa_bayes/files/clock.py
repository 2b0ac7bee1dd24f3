"""Does what a file says of its sampling elsewhere agree with the clock that is read? A doubled clock doubles every capacitance.

A time constant tells nothing of its clock: 20 ms and 40 ms are both those of neurons. What can tell is a second statement in the same
file: a rate beside times, the extent of a graph, the length that a sweep was asked to have, a line of text above a table.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording, upward_crossings
from .units import TIME, unit_key

SLACK = 1e-3  #: share by which two statements of one interval may differ
LONGEST_SPIKE_MS, N_SPIKES = 20.0, 3  #: so long no spike of a neuron stays above -20 mV
RATE = {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "s": 1.0, "sps": 1.0, "sampless": 1.0}  #: samples a second
SENTENCE = re.compile(
    r"(?:\bsampl\w*\s+(?P<what>rate|freq\w*|interval|period)|^interval)\s*(?:[\[(](?P<first>[^\])]*)[\])])?\s*(?:[:=]|is\b|of\b)?\s*"
    r"(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(?P<unit>[a-z\u00b5\u03bc/]*)",
    re.IGNORECASE | re.MULTILINE,
)
STARTS = re.compile(r"SweepStartTimesMS=([\d., ]+)", re.IGNORECASE)  #: a record of Axon text files
NAME = re.compile(
    r"(?P<step>dt|(?:sampling|sample)_?(?:interval|period))|(?P<rate>fs|(?:sampling|sample|acquisition)_?(?:rate|freq(?:uency)?))",
    re.IGNORECASE,
)
log = logging.getLogger("laa_bayes")


def note_of(recording: Recording) -> str:
    """Return which clock was used, in words.

    >>> note_of(Recording(np.zeros(200), np.zeros(200), "pA", 0.05, 0.0, "a"))
    'clock: a sample every 0.05 ms (20 kHz), 10 ms'
    """
    dt_ms, n = recording.dt_ms, len(recording.v_mv)
    return f"clock: a sample every {dt_ms:.6g} ms ({1 / dt_ms:.6g} kHz), {n * dt_ms:.6g} ms"


def intervals_in(text: str) -> Iterator[tuple[str, float]]:
    """Yield what a text says of the sampling interval: the words, and the interval in ms.

    >>> list(intervals_in("Sampling rate: 20 kHz, filtered at 10 kHz"))
    [('Sampling rate: 20 kHz', 0.05)]
    """
    for found in SENTENCE.finditer(text):
        unit, number = unit_key(found["unit"] or found["first"] or ""), float(found["number"])
        interval = (found["what"] or "interval").lower() in ("interval", "period")
        table: Mapping[str, float] = TIME if interval else RATE
        if number > 0 and unit in table:
            yield " ".join(found[0].split()), table[unit] * number if interval else 1e3 / (table[unit] * number)


def differ(stated_ms: float, dt_ms: float) -> bool:
    """Return whether two statements of an interval are not one."""
    return abs(stated_ms / dt_ms - 1) > SLACK


def refuse_text(path: Path, text: str, dt_ms: float, lasts_ms: float) -> None:
    """Raise InputError where no line above the columns that states an interval agrees with the times, or sweeps last beyond the next one's start."""
    stated = dict(intervals_in(text))
    if stated and all(differ(one, dt_ms) for one in stated.values()):
        raise InputError(
            f"{path}: its own text says '{next(iter(stated))}', its times are {dt_ms:.6g} ms apart. Correct one, or take the line out."
        )
    starts = STARTS.search(text)
    apart = np.diff([float(number) for number in re.findall(r"[\d.]+", starts[1])]) if starts else np.empty(0)
    if len(apart) and lasts_ms > apart.min() * (1 + SLACK):
        raise InputError(
            f"{path}: sweeps of {lasts_ms:.6g} ms by their times, which begin {apart.min():.6g} ms apart by the record SweepStartTimesMS."
        )


def refuse_scalars(path: Path, found: Mapping[str, tuple[Any, str]], dt_ms: float) -> None:
    """Raise InputError where a number that is named as a rate or interval (with its unit, where it has one) is not that of the times.

    Without a unit it has to agree in one of s, ms and us, or Hz and kHz. A ``dt`` may be a simulator's own step: it is told.
    """
    for name, (value, unit) in found.items():
        match = NAME.match(name)
        if match is None or np.size(value) != 1 or np.asarray(value).dtype.kind not in "iuf":
            continue
        number, rest = float(np.ravel(value)[0]), unit_key(unit or name[match.end() :])
        table: Mapping[str, float] = TIME if match["step"] else RATE
        factors = [table[rest]] if rest in table else [] if rest else list(table.values())
        stated = [factor * number if match["step"] else 1e3 / (factor * number) for factor in factors if number > 0]
        if not stated or not all(differ(one, dt_ms) for one in stated):
            continue
        told = f"{path}: '{name}' is {number:g}{f' {unit}' if unit else ''}, the times are {dt_ms:.6g} ms apart"
        if match[0].lower() == "dt":
            log.warning("%s: is it the step of a simulator?", told)
            continue
        raise InputError(f"{told}. Which is right? Correct one of them.")


def warn_of_long_spikes(recording: Recording) -> None:
    """Warn where spikes last longer than those of a neuron: the clock is slower than the file says."""
    v, starts = recording.v_mv, upward_crossings(recording.v_mv)
    if len(starts) < N_SPIKES:
        return
    below = np.append(np.flatnonzero(v < -20.0), len(v))
    lasts = (below[np.searchsorted(below, starts)] - starts) * recording.dt_ms
    if np.median(lasts) > LONGEST_SPIKE_MS:
        log.warning(
            "%s: %d spikes last %.3g ms above -20 mV by the clock of the file; is the unit of time right?",
            recording.source, len(starts), np.median(lasts),
        )  # fmt: skip
