"""Can this be a recording? Uniform time, finite samples, voltage and current that are not exchanged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording, cut

LARGEST_PA, SMALLEST_PA = (
    1e6,
    1e-3,
)  #: beyond these a current is in another unit than the file says: no electrode carries 1 uA
LEAST_PA, MOST_PA = 0.5, 2e4  #: a command of steps below this moves no cell; one above it is for an oocyte or an axon
LEAST_MOHM, MOST_MOHM = 3.0, 2e4  #: no patched cell's resistance is below the former, or above the latter
LEAST_MOVE_PA, SLOW_MS = 1000.0, 20.0  #: smaller currents are in pA whatever the cell does; what lasts charges it
SHORTEST_MS, LONGEST_MS = 1e-3, 5.0  #: no recording samples faster than 1 MHz, none of a membrane slower than this
N_ZEROS, NEAR_ZERO_MV = 10, 5.0  #: a tail of more zeros, reached by a jump of more millivolts, was not recorded
SETTLED_MS = 0.5  #: a clamped voltage has reached its step by then; a membrane has hardly begun
log = logging.getLogger("laa_bayes")


def assemble(path: Path, found: Mapping[str, tuple[np.ndarray, str]]) -> Recording:
    """Return a recording from time, voltage and current on a uniform grid."""
    time, v = found["time"][0], found["voltage"][0]
    current, unit = found["current"]
    return Recording(v, current, unit, uniform_step(path, time), float(time[0]), str(path))


def finite_length(source: str, values: np.ndarray, what: str) -> int:
    """Return the number of samples before a tail of NaN, or of a voltage of exactly 0, which a stopped sweep leaves; it is said.

    Raises
    ------
    InputError
        No finite sample.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        raise InputError(f"{source}: the {what} has no finite sample.")
    n, kind = int(known[-1]) + 1, "NaN"
    zeros = n - 1 - int(np.flatnonzero(values[:n])[-1]) if np.any(values[:n]) else 0
    if what == "voltage" and zeros > N_ZEROS and abs(values[n - zeros - 1]) > NEAR_ZERO_MV:
        n, kind = n - zeros, "zero"
    if n < len(values):
        log.warning(
            "%s: the last %d samples of the %s are %s (a stopped sweep); they are cut",
            source, len(values) - n, what, kind,
        )  # fmt: skip
    return n


def without_tail(recording: Recording) -> Recording:
    """Return the samples before the tail that a stopped sweep, or a shorter one among longer ones, leaves."""
    source = recording.source
    ends = (finite_length(source, recording.v_mv, "voltage"), finite_length(source, recording.current, "current"))
    return cut(recording, 0, min(ends))


def uniform_step(path: Path | str, time_ms: np.ndarray) -> float:
    """Return the sampling interval in ms; InputError when time is not finite, increasing and uniform to 1 %."""
    if len(time_ms) < 10:
        raise InputError(f"{path}: {len(time_ms)} samples; at least 10 are needed.")
    if not np.all(np.isfinite(time_ms)):
        raise InputError(f"{path}: missing value in the time column, row {1 + int(np.argmin(np.isfinite(time_ms)))}.")
    steps = np.diff(time_ms)
    step = float(np.median(steps))
    if step <= 0 or np.any(steps <= 0):
        raise InputError(
            f"{path}: time does not increase (row {2 + int(np.argmax(steps <= 0))}). Are the columns swapped?"
        )
    worst = int(np.argmax(np.abs(steps - step)))
    if abs(steps[worst] - step) > 0.01 * step + 1e-9 * abs(time_ms[-1]):
        raise InputError(
            f"{path}: time is not uniform: {steps[worst]:g} ms at row {worst + 2}, elsewhere {step:g} ms. Resample it first."
        )
    exact = (time_ms[-1] - time_ms[0]) / (len(time_ms) - 1)
    return float(f"{exact:.9g}")


def warn_of_odd_clock(path: Path, dt_ms: float) -> None:
    """Warn where a sampling interval is neither a multiple of 10 ns nor that of a whole rate: a damaged byte leaves such a one."""
    us, hz = 1e3 * dt_ms, 1e3 / dt_ms
    if min(abs(us - 0.01 * round(us / 0.01)) / us, abs(hz - round(hz)) / hz) > 1e-6:
        log.warning("%s: a sample every %.9g us, an unusual interval; is the file damaged?", path, us)


def check(recording: Recording, confirmed: bool = False) -> Recording:
    """Return the recording when voltage and current are possible (a size of the current that was confirmed is); warn where a unit looks wrong.

    Raises
    ------
    InputError
        Missing values, fewer than 10 samples, or columns that look swapped.
    """
    v, current, source = recording.v_mv, recording.current, recording.source
    if len(v) < 10 or len(v) != len(current):
        raise InputError(
            f"{source}: {len(v)} voltage and {len(current)} current samples; at least 10 of each, equally many, are needed."
        )
    for name, values in (("voltage", v), ("current", current)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise InputError(
                f"{source}: {bad.sum()} missing values in the {name}, first at sample {int(np.argmax(bad))}. Cut or repair the trace."
            )
    flat_voltage, rich_current = len(np.unique(v[:5000])) <= 12, len(np.unique(current[:5000])) > 100
    stepped = repeats(v) > repeats(current) or sharpest(v) > 2 * sharpest(current)
    exchanged = np.median(v) > -10 and -120 < np.median(current) < -20 and stepped
    if (flat_voltage and rich_current) or exchanged or np.median(v) > 100 or np.median(v) < -200:
        raise InputError(
            f"{source}: the voltage has median {np.median(v):.3g} mV and {len(np.unique(v[:5000]))} distinct values, the current "
            f"{len(np.unique(current[:5000]))}. Are voltage and current swapped, or is the unit wrong?"
        )
    if recording.current_unit == "pA":
        if not confirmed:
            check_size(source, current)
            check_resistance(recording)
        refuse_clamp(recording)
    if not SHORTEST_MS <= recording.dt_ms <= LONGEST_MS:
        other = "seconds" if recording.dt_ms < SHORTEST_MS else "ms or us"
        raise InputError(f"{source}: a sample every {recording.dt_ms:g} ms, by the unit of time. Is it in {other}?")
    if -0.2 < np.median(v) < -0.01 and np.ptp(v) < 0.2:
        raise InputError(f"{source}: voltage {v.min():.3g} to {v.max():.3g} mV, by its unit. Is it in volts?")
    if np.ptp(v) < 1.0 or np.median(v) > -10:
        log.warning("%s: voltage %.3g to %.3g mV is unusual; is the unit right?", source, v.min(), v.max())
    if np.max(np.abs(current)) == 0:
        log.warning("%s: the current is zero throughout: k and V_thr are hardly identifiable.", source)
    return recording


def check_size(source: Path | str, current_pa: np.ndarray) -> None:
    """Raise InputError where a current is so large or small that its unit is hardly the one that the file states."""
    largest = float(np.max(np.abs(current_pa)))
    advice = "multiply it: --current-scale FACTOR (1 if it is right), or give the current: --current-file FILE."
    if largest > LARGEST_PA or 0 < largest < SMALLEST_PA:
        raise InputError(
            f"{source}: the current reaches {largest:.3g} pA by the unit that the file states, which no electrode of a small cell carries. "
            f"Correct the unit in the file, {advice}"
        )
    if largest > MOST_PA:
        raise InputError(
            f"{source}: the current reaches {1e-3 * largest:.3g} nA by the unit that the file states. Is it in pA? Then {advice}"
        )
    if 0 < largest < LEAST_PA and np.ptp(current_pa) > 0:
        if np.mean(np.diff(current_pa) != 0) < 0.01:
            raise InputError(
                f"{source}: steps of {largest:.3g} pA, by the unit that the file states. Is it in nA? Then {advice}"
            )
        log.warning("%s: the current is below %g pA; is the unit right?", source, LEAST_PA)


def check_resistance(recording: Recording) -> None:
    """Raise InputError where the voltage moves less per current than any cell's (warn where more): one of the units is wrong.

    Both are averaged over 20 ms: brief strong pulses only charge the membrane.
    """
    n = round(SLOW_MS / recording.dt_ms)
    if n < 1 or len(recording.v_mv) < 3 * n:
        return
    ends = np.arange(0, len(recording.v_mv) + 1, max(1, n // 4))
    v, i = (np.concatenate([[0.0], np.cumsum(x - x[0])])[ends] for x in (recording.v_mv, recording.current))
    v, i = ((x[4:] - x[:-4]) / (ends[4] - ends[0]) for x in (v, i))
    mv, pa = float(np.ptp(v)), float(np.ptp(i))
    told = f"{recording.source}: the voltage moves by {mv:.3g} mV, the current by {pa:.4g} pA, {1e3 * mv / max(pa, 1e-9):.3g} MOhm"
    if pa > LEAST_MOVE_PA and mv < LEAST_MOHM * 1e-3 * pa:
        raise InputError(
            f"{told}: is the current in pA, by the unit that the file states? If so confirm it: --current-scale 1 (.001 for nA that are pA)."
        )
    if pa > LEAST_PA and mv > MOST_MOHM * 1e-3 * pa:
        log.warning("%s: is the current in nA?", told)


def refuse_clamp(recording: Recording) -> None:
    """Raise InputError where the voltage was clamped."""
    if is_clamped(recording):
        raise InputError(
            f"{recording.source}: the voltage steps at once and stays, and the current overshoots: a voltage clamp, to which this model does not "
            "apply. Are voltage and current those of a current clamp?"
        )


def is_clamped(recording: Recording, least_mv: float = 2.0) -> bool:
    """Return whether the voltage was commanded: each of its jumps is complete within half a millisecond, under a current that is no step.

    A membrane charges over its time constant, and the drop of a step across the electrode comes with a current that is constant
    before and after. Under a clamp the current charges the membrane: it overshoots where the voltage jumps.
    """
    v, current, dt = recording.v_mv, recording.current, recording.dt_ms
    n, late = max(1, round(SETTLED_MS / dt)), round(10.0 / dt)
    if dt > SETTLED_MS or len(v) < 4 * late:
        return False
    jump = v[2 * n :] - v[: -2 * n]
    least = max(least_mv, 0.5 * float(np.max(np.abs(jump))))
    edges = np.flatnonzero(np.abs(jump) > least) + n
    edges = edges[np.diff(edges, prepend=-late) > late]  # the first sample of each jump
    edges = edges[(edges > late) & (edges < len(v) - late - 3 * n)]
    for edge in edges:
        before, soon = np.median(v[edge - late : edge - n]), np.median(v[edge + n : edge + 3 * n])
        after = np.median(v[edge + late // 2 : edge + late])
        i_before, i_after = (
            np.median(current[edge - late : edge - n]),
            np.median(current[edge + late // 2 : edge + late]),
        )
        noise = 1.4826 * np.median(np.abs(current[edge - late : edge - n] - i_before))
        overshoot = np.max(np.abs(current[edge : edge + 3 * n] - i_after))
        settled = abs(after - before) > least_mv and abs(soon - after) < 0.1 * abs(after - before)
        if not settled or overshoot < max(8 * noise, 2 * abs(i_after - i_before)):
            return False
    return len(edges) > 0


def repeats(x: np.ndarray) -> float:
    """Return the share of samples equal to the one before: large for a command current, small for a membrane voltage."""
    return float(np.mean(np.diff(x) == 0))


def sharpest(x: np.ndarray) -> float:
    """Return the largest change between two samples as a share of the range: large for a current, small for a membrane that charges."""
    return float(np.max(np.abs(np.diff(x))) / max(np.ptp(x), 1e-9))
