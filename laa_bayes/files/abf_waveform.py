"""Which current did the protocol of an ABF file command, sample by sample?

As Axon's own code builds it (ABFHWAVE.CPP, PopulateEpoch.cpp, UserList.cpp): a first holding of 1/64 of the sweep, the epochs of the
table one after the other, then the holding level or, with the option for it, the level of the last epoch, also before the next
sweep. Ramps, triangles and cosines run from the level before to their own, both included; the last pulse of a train is played where
its width fits into the epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .abf_header import EPISODIC, N_EPOCHS_1, TABLE, Epoch, Header, Output

#: codes of parameters that a user list may vary, counted in tables of ``n`` epochs
LEVEL, DURATION, PERIOD, WIDTH = "level", "duration", "period", "width"


class NoWaveform(ValueError):
    """The command cannot be rebuilt; the message says why."""


def waveform(header: Header, output: Output, sweep: int, n_samples: int) -> np.ndarray:
    """Return the command (n_samples,) of one output in one sweep (counted from 0), in the output's unit.

    Raises
    ------
    NoWaveform
        An epoch of unknown type, a stimulus file, a user list that cannot be read, a sweep that the protocol does not have.
    """
    if not output.enabled or output.source == 0:
        return np.full(n_samples, output.holding)
    if header.mode != EPISODIC:
        raise NoWaveform("the recording is not episodic: its command was not recorded")
    if output.source != TABLE:
        raise NoWaveform(f"output '{output.name}' was driven by the stimulus file '{output.path or 'without a name'}'")
    if 0 < header.sweeps_per_run <= sweep:
        raise NoWaveform(f"the protocol has {header.sweeps_per_run} sweeps, this one was added later")
    whole = max(n_samples, header.n_samples)
    before = level_before(header, output, sweep)
    first = 6 * (whole // 512) if header.clampex_6 else max(1, whole // 64)
    parts, start, left = [np.full(first, before)], before, whole - first
    for epoch in output.epochs:
        duration = int(value_of(header, output, epoch, DURATION, sweep))
        if epoch.kind == 0 or duration <= 0:
            continue
        left -= duration
        level = value_of(header, output, epoch, LEVEL, sweep)
        parts.append(chunk_of(header, output, epoch, sweep, duration, start, level, before))
        start = level
    if left < 0:
        raise NoWaveform(f"the epochs of output '{output.name}' are {-left} samples longer than the sweep")
    parts.append(np.full(left, start if output.holds_last else output.holding))
    return np.concatenate(parts)[:n_samples]


def level_before(header: Header, output: Output, sweep: int) -> float:
    """Return the level that flows when a sweep begins."""
    if output.train_level is not None:
        return output.train_level
    used = [epoch for epoch in output.epochs if epoch.kind]
    if not output.holds_last or sweep == 0 or not used:
        return output.holding
    return value_of(header, output, used[-1], LEVEL, sweep - 1)


def value_of(header: Header, output: Output, epoch: Epoch, what: str, sweep: int) -> float:
    """Return level, duration, period or width of an epoch in a sweep: from the user list, or by its step a sweep."""
    listed = output.user_list
    if listed is not None and varied_by_list(header, output) == (what, epoch.number):
        n = len(listed.values)
        return listed.values[sweep % n if listed.repeats else min(sweep, n - 1)]
    if what == LEVEL:
        return epoch.level + epoch.level_step * sweep
    if what == DURATION:
        return epoch.duration + epoch.duration_step * sweep
    return epoch.period if what == PERIOD else epoch.width


def varied_by_list(header: Header, output: Output) -> tuple[str, int] | None:
    """Return which parameter of which epoch the output's user list varies; None where it varies nothing of the waveform.

    Raises
    ------
    NoWaveform
        The list varies something else that the current depends on, or its values cannot be read.
    """
    listed = output.user_list
    both = listed is not None and header.n_epochs > N_EPOCHS_1 and 21 <= listed.parameter < 11 + header.n_epochs
    if listed is not None and both:  # digital outputs by the newer numbers, the waveform by the older ones
        raise NoWaveform(f"output '{output.name}' has a user list whose parameter {listed.parameter} has two meanings")
    if listed is None or (7 <= listed.parameter < 11 + header.n_epochs and listed.parameter != 8):
        return None  # time between sweeps, digital outputs, P/N
    code = listed.parameter - 11
    if code < 0 or not listed.values or code >= 5 * header.n_epochs:
        raise NoWaveform(
            f"output '{output.name}' has a user list (parameter {listed.parameter}) that cannot be followed"
        )
    return (LEVEL, DURATION, PERIOD, WIDTH)[code // header.n_epochs - 1], code % header.n_epochs


def chunk_of(
    header: Header, output: Output, epoch: Epoch, sweep: int, n: int, start: float, level: float, holding: float
) -> np.ndarray:
    """Return the samples of one epoch that begins at level ``start``."""
    resting = (0, 1)[sweep % 2 == 0]  # of two outputs that take turns, the one that rests in this sweep
    if header.alternates and output.number == resting:
        return np.full(n, holding)
    if epoch.kind not in SHAPES:
        raise NoWaveform(f"epoch {chr(65 + epoch.number)} of output '{output.name}' has the unknown type {epoch.kind}")
    period, width = (int(value_of(header, output, epoch, what, sweep)) for what in (PERIOD, WIDTH))
    if epoch.kind in TRAINS and period <= 0:
        raise NoWaveform(f"epoch {chr(65 + epoch.number)} of output '{output.name}' is a train without a period")
    return SHAPES[epoch.kind](n, start, level, period, width, holding)


def _step(n, start, level, period, width, holding):
    return np.full(n, level)


def _ramp(n, start, level, period, width, holding):
    return np.linspace(start, level, n)


def _phase(n: int, period: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the place in the period of every sample, and whether the sample belongs to a pulse that is played to its end."""
    within, rest = np.arange(n) % period, n % period
    return within, np.arange(n) < (n - rest if rest < width else n)


def _pulses(n, start, level, period, width, holding):
    within, played = _phase(n, period, width)
    return np.where(played & (within < width), level, start)


def _biphasic(n, start, level, period, width, holding):
    within, played = _phase(n, period, width)
    second = np.where(played & (within < width), 2 * start - level, start)
    return np.where(played & (within < width // 2), level, second)


def _triangle(n, start, level, period, width, holding):
    within, whole = np.arange(n) % period, np.arange(n) < n - n % period
    rise = start + (level - start) * within / max(width - 1, 1)
    fall = level + (start - level) * (within - width) / max(period - width - 1, 1)
    return np.where(whole, np.where(within < width, rise, fall), start)


def _cosine(n, start, level, period, width, holding):
    within, whole = np.arange(n) % period, np.arange(n) < n - n % period
    phase = np.linspace(0, n // period, n) if n % period == 0 else within / period
    return np.where(whole, start + (level - start) * (0.5 - 0.5 * np.cos(2 * np.pi * phase)), start)


def _resistance(n, start, level, period, width, holding):
    return np.where(np.arange(n) < n // 2, holding, level)


SHAPES: dict[int, Callable[..., np.ndarray]] = {
    1: _step,
    2: _ramp,
    3: _pulses,
    4: _triangle,
    5: _cosine,
    6: _resistance,
    7: _biphasic,
}
TRAINS = (3, 4, 5, 7)
