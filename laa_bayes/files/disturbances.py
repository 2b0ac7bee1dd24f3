"""Is something in a trace that no membrane makes? Hum of the mains and jumps of the electrode's offset pass as noise, and shift the capacitance.

Both are looked for where the current is constant: there the voltage of a membrane relaxes, smoothly and slowly.
"""

from __future__ import annotations

import logging

import numpy as np

from ..neuron.protocols import constant_stretches, idealised
from ..neuron.recording import SPIKE_MV, Recording

MAINS_HZ = (50.0, 60.0)
BESIDE_HZ = (26.0, 30.0, 34.0, 38.0, 72.0, 76.0, 80.0, 84.0)  #: what noise holds near the mains
LEAST_HUM_MV, TIMES = 0.15, 5.0  #: an amplitude that matters, and so many times that of its neighbours
RELAXES_MS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0)  #: time constants of what follows a step
SHORTEST_MS, LONGEST_MS = 100.0, 2000.0  #: of the stretch in which hum is looked for
PIECE_MS = 2000.0  #: jumps are looked for in pieces: a recording of hours takes no more memory
COARSEST_MS = 0.2  #: a coarser sampling interval cannot tell a jump from an onset
HALF_MS, GAP_MS = 0.5, 0.3  #: means on either side of a jump, and its rise
CLEAR_MS, LASTS_MS = 3.0, 8.0  #: distance from steps of the current, and how long a jump has to stay
LEAST_JUMP_MV, SURE = 1.5, 8.0  #: of a jump, also in standard deviations of such differences
SHARP, LASTING = 0.2, 0.8  #: shares of a jump: of what goes on beside its rise, and what is still there after 4 to 8 ms
log = logging.getLogger("laa_bayes")


def warn_of_disturbances(recording: Recording) -> None:
    """Warn of hum, and of jumps of the voltage at a constant current."""
    quiet = quiet_stretches(recording)
    hum = hum_of(recording, quiet)
    if hum is not None:
        log.warning(
            "%s: hum of %.0f Hz, %.2g mV in amplitude: it counts as noise and can move the capacitance; subtract a fitted wave, or record anew",
            recording.source, *hum,
        )  # fmt: skip
    jumps = jumps_of(recording, quiet)
    if jumps:
        at_ms, size_mv = max(jumps, key=lambda jump: abs(jump[1]))
        log.warning(
            "%s: the voltage jumps by %.2g mV at %.6g ms while the current is constant%s: did the electrode's offset change? Choose a --window without it",
            recording.source, size_mv, at_ms, f" (and at {len(jumps) - 1} other times)" if len(jumps) > 1 else "",
        )  # fmt: skip


def quiet_stretches(recording: Recording) -> list[tuple[int, int]]:
    """Return (start, stop) of the stretches of constant current without a spike."""
    clear = round(CLEAR_MS / recording.dt_ms)
    current = idealised(recording.current, recording.dt_ms)
    stretches = constant_stretches(current, tolerance=1e-3, shortest=clear + 1)
    found = [
        (start + clear if start else 0, stop - clear if stop < len(recording.v_mv) else stop)
        for start, stop in stretches
    ]
    return [(start, stop) for start, stop in found if stop > start and recording.v_mv[start:stop].max() < SPIKE_MV]


def hum_of(recording: Recording, quiet: list[tuple[int, int]]) -> tuple[float, float] | None:
    """Return the frequency and amplitude (Hz, mV) of the mains in the longest quiet stretch; None where its neighbours have as much."""
    start, stop = max(quiet, key=lambda part: part[1] - part[0], default=(0, 0))
    stop = min(stop, start + round(LONGEST_MS / recording.dt_ms))
    if (stop - start) * recording.dt_ms < SHORTEST_MS or recording.dt_ms > 1e3 / (4 * MAINS_HZ[1]):
        return None
    skip = max(1, int(1.0 / recording.dt_ms))  # means of 1 ms suffice
    n = (stop - start) // skip
    v = recording.v_mv[start : start + n * skip].reshape(n, skip).mean(axis=1)
    t = skip * recording.dt_ms * np.arange(n)
    relaxation = np.stack([np.ones(n), t / t[-1], *(np.exp(-t / tau) for tau in RELAXES_MS if tau < t[-1])], axis=1)
    basis = np.linalg.qr(relaxation)[0]

    def amplitude(hz: float) -> float:
        waves = np.stack([np.cos(2e-3 * np.pi * hz * t), np.sin(2e-3 * np.pi * hz * t)], axis=1)
        waves -= basis @ (basis.T @ waves)
        return float(np.hypot(*np.linalg.lstsq(waves, v - basis @ (basis.T @ v), rcond=None)[0]))

    size, hz = max((amplitude(hz), hz) for hz in MAINS_HZ)
    beside = np.median([amplitude(other) for other in BESIDE_HZ])
    return (hz, size) if size >= LEAST_HUM_MV and size > TIMES * beside else None


def jumps_of(recording: Recording, quiet: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """Return the time (ms) and size (mV) of each sudden lasting change, piece by piece of the quiet stretches."""
    if recording.dt_ms > COARSEST_MS:
        return []
    overlap, piece = round((2 * LASTS_MS + GAP_MS) / recording.dt_ms), round(PIECE_MS / recording.dt_ms)
    found: list[tuple[float, float]] = []
    for start, stop in quiet:
        for begin in range(start, stop, piece):
            for place, size_mv in sudden(recording.v_mv[begin : min(begin + piece + overlap, stop)], recording.dt_ms):
                at_ms = recording.t0_ms + (begin + place) * recording.dt_ms
                if not found or at_ms - found[-1][0] > LASTS_MS:  # else it lies in the overlap of two pieces
                    found.append((at_ms, size_mv))
    return found


def sudden(v_mv: np.ndarray, dt_ms: float) -> list[tuple[int, float]]:
    """Return the sample and size (mV) of each sudden lasting change; synaptic potentials rise and fall more slowly."""
    half, gap, lasts = (max(1, round(ms / dt_ms)) for ms in (HALF_MS, GAP_MS, LASTS_MS))
    n = len(v_mv) - 2 * lasts - gap
    if n < 1:
        return []
    total = np.concatenate([[0.0], np.cumsum(v_mv - v_mv[0])])

    def mean(offset: int, width: int) -> np.ndarray:
        """Mean of ``width`` samples that begin ``offset`` after the last one before the rise, at every place."""
        first = lasts + offset
        return (total[first + width : first + width + n] - total[first : first + n]) / width

    before, after = mean(-half, half), mean(gap, half)
    step = after - before
    sharp = np.abs(mean(-2 * half, half) - before) + np.abs(mean(gap + half, half) - after)
    stays = mean(lasts // 2, lasts // 2) - mean(-(lasts // 2), lasts // 2)
    least = max(LEAST_JUMP_MV, SURE * 1.4826 * float(np.median(np.abs(step - np.median(step)))))
    size = np.abs(step)
    places = np.flatnonzero((size > least) & (sharp < SHARP * size) & (stays * np.sign(step) > LASTING * size))
    groups = np.split(places, np.flatnonzero(np.diff(places) > lasts) + 1) if len(places) else []
    best = [int(group[np.argmax(size[group])]) for group in groups]
    return [(lasts + place, float(step[place])) for place in best]
