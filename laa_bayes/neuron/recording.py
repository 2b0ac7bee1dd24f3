"""Which part of a recording is analysed, on which grid? Windows about current steps, spikes, anti-aliased resampling."""

from __future__ import annotations

import itertools
import warnings
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .protocols import constant_stretches, idealised

BEFORE_MS, AFTER_MS = 20.0, 100.0  #: sub-threshold window about a step's onset
SPIKE_BEFORE_MS, SPIKE_MARGIN_MS = 60.0, 4.0  #: first-spike window: from before the step to before the spike
AREA_CM2_PER_UM2 = 1e-8
SMOOTH_MS = 2.0  #: moving average that finds the peak of a response
LEAST_MV, SPIKE_MV = (
    3.0,
    -20.0,
)  #: responses that are large enough to tell a step's sign, and small enough to be no spike


class Recording(NamedTuple):
    """A current-clamp trace on a uniform grid."""

    v_mv: np.ndarray  #: (n_time,)
    current: np.ndarray  #: (n_time,), sample i holds from t_i to t_(i+1)
    current_unit: str  #: pA or uA/cm2
    dt_ms: float
    t0_ms: float
    source: str
    current_at_sample: np.ndarray | None = None  #: the current filtered like the voltage, after resampling
    notes: tuple[str, ...] = ()  #: what was read: which channel, which current

    @property
    def time_ms(self) -> np.ndarray:
        """Times of the samples."""
        return self.t0_ms + self.dt_ms * np.arange(len(self.v_mv))


def as_density(recording: Recording, area_um2: float) -> Recording:
    """Return the recording with its current in uA/cm2 of a membrane of ``area_um2``."""
    factor = 1e-6 / (area_um2 * AREA_CM2_PER_UM2)  # pA -> uA, per cm2
    return recording._replace(current=recording.current * factor, current_unit="uA/cm2")


def cut(recording: Recording, start: int, stop: int) -> Recording:
    """Return samples ``start`` to ``stop``."""
    own = recording.current_at_sample
    return recording._replace(
        v_mv=recording.v_mv[start:stop],
        current=recording.current[start:stop],
        t0_ms=recording.t0_ms + start * recording.dt_ms,
        current_at_sample=None if own is None else own[start:stop],
    )


def apply_window(recording: Recording, window: str) -> Recording:
    """Return the part named by ``window``: all, auto, sub-threshold, first-spike, or t0:t1 in ms of the file's clock (+t0:t1: from the sweep's start).

    Raises
    ------
    InputError
        No such part: no step without a spike, no spike, or times outside the recording.
    """
    if window == "all":
        return recording
    if window == "auto":
        return apply_window(recording, fitting_window(recording))
    if window == "sub-threshold":
        return cut(recording, *sub_threshold(recording))
    if window == "first-spike":
        return cut(recording, *before_first_spike(recording))
    begin = 0.0 if window.startswith("+") else recording.t0_ms
    try:
        start, stop = (round((float(part) - begin) / recording.dt_ms) for part in window.split(":"))
    except (ValueError, OverflowError):
        raise InputError(
            f"--window '{window}': expected all, auto, sub-threshold, first-spike, t0:t1 or +t0:t1 in ms."
        ) from None
    if not 0 <= start < stop <= len(recording.v_mv) + 1:
        last = recording.time_ms[-1]
        raise InputError(
            f"--window {window}: {recording.source} lasts from {recording.t0_ms:.12g} to {last:.12g} ms. Choose t0 < t1 within"
            + (", or +t0:t1 from its start." if recording.t0_ms and begin else ".")
        )
    return cut(recording, start, stop)


def upward_crossings(v_mv: np.ndarray, above_mv: float = -20.0, rearm_mv: float = -40.0) -> np.ndarray:
    """Return the samples where the voltage rises above ``above_mv`` after having been below ``rearm_mv``."""
    state = np.where(v_mv > above_mv, 1, np.where(v_mv < rearm_mv, -1, 0))
    events = np.flatnonzero(state)
    signs = state[events]
    return events[1:][(signs[1:] == 1) & (signs[:-1] == -1)]


def fitting_window(recording: Recording) -> str:
    """Return the window that one membrane equation can fit: about a step without a spike, else all where there is no spike.

    Raises
    ------
    InputError
        Every step is followed by spikes at once.
    """
    for name, find in (("sub-threshold", sub_threshold), ("first-spike", before_first_spike)):
        try:
            start, stop = find(recording)
        except InputError:
            continue
        if (stop - start) * recording.dt_ms >= SPIKE_BEFORE_MS + BEFORE_MS:
            return name
    spikes = len(upward_crossings(recording.v_mv))
    if spikes:
        raise InputError(f"{recording.source}: {spikes} spikes, and no step with {BEFORE_MS:g} ms of quiet after it.")
    return "all"


def step_onsets(recording: Recording, shortest_ms: float = 20.0) -> list[int]:
    """Return the samples at which a constant current begins that differs from the one before by 2 % of the range or more."""
    current = idealised(recording.current, recording.dt_ms)
    stretches = constant_stretches(current, tolerance=1e-3)
    least = 0.02 * max(np.ptp(current), 1e-12)
    onsets = []
    for start, stop in stretches[1:]:
        jump = abs(current[start] - current[start - 1])
        if (stop - start) * recording.dt_ms >= shortest_ms and jump >= least:
            onsets.append(start)
    return onsets


def sub_threshold(recording: Recording) -> tuple[int, int]:
    """Return the samples from 20 ms before to 100 ms after the first step away from the holding current that has no spike and no other step."""
    before, after = round(BEFORE_MS / recording.dt_ms), round(AFTER_MS / recording.dt_ms)
    spikes, onsets = upward_crossings(recording.v_mv), step_onsets(recording)
    current = idealised(recording.current, recording.dt_ms)
    baseline, same = current[0], 1e-9 + 1e-3 * np.ptp(current)
    for onset in onsets:
        start, stop = onset - before, onset + after
        away = abs(current[onset] - baseline) > abs(current[onset - 1] - baseline)
        quiet = not np.any((spikes >= start - before) & (spikes < stop))
        steady = np.ptp(current[max(start, 0) : onset]) < same
        alone = np.ptp(current[onset:stop]) < same
        if start >= 0 and stop <= len(recording.v_mv) and away and quiet and steady and alone:
            return start, stop
    raise InputError(
        f"{recording.source}: no current step with {BEFORE_MS:g} ms before and {AFTER_MS:g} ms after it and no spike "
        f"({len(onsets)} steps, {len(spikes)} spikes). Choose another --sweep or --window t0:t1."
    )


def before_first_spike(recording: Recording) -> tuple[int, int]:
    """Return the samples from 60 ms before the last step before the first spike to 4 ms before that spike."""
    spikes = upward_crossings(recording.v_mv)
    onsets = [onset for onset in step_onsets(recording) if len(spikes) and onset < spikes[0]]
    if not onsets:
        raise InputError(
            f"{recording.source}: {len(spikes)} spikes, none after a current step. Use --window sub-threshold or t0:t1."
        )
    start = max(0, onsets[-1] - round(SPIKE_BEFORE_MS / recording.dt_ms))
    stop = spikes[0] - round(SPIKE_MARGIN_MS / recording.dt_ms)
    if stop - start < 10:
        raise InputError(f"{recording.source}: the first spike comes too soon after the step. Use --window t0:t1.")
    return start, int(stop)


def against_the_current(recording: Recording) -> list[str]:
    """Return the fact that the voltage moves against the current at its steps, at all that it answers: the sign of one is turned.

    A membrane charges with the step, whatever its conductances do later. Compared are the medians of the 10 ms before a step and of 10
    to 20 ms behind it; a change counts beyond `LEAST_MV` and five times the drift before the step.
    """
    v_mv, current, dt_ms = recording.v_mv, recording.current, recording.dt_ms
    n, steps = round(10.0 / dt_ms), []
    steady = constant_stretches(idealised(current, dt_ms), tolerance=1e-3)
    for (start, edge), (_, stop) in itertools.pairwise(steady):
        if edge - start < n or stop - edge < 2 * n or n < 4:
            continue
        before, behind = v_mv[edge - n : edge], v_mv[edge + n : edge + 2 * n]
        drift = abs(np.median(before[n // 2 :]) - np.median(before[: n // 2]))
        moved = float(np.median(behind) - np.median(before))
        spiked = v_mv[edge - n : edge + 2 * n].max() > SPIKE_MV
        if abs(moved) > LEAST_MV + 5 * drift and not spiked:
            steps.append((edge, moved * float(current[edge + n] - current[edge - 2])))
    if not steps or any(product >= 0 for _, product in steps):
        return []
    when = recording.t0_ms + steps[0][0] * dt_ms
    return [f"the voltage moves against the current at its step ({when:.0f} ms): is the sign of one turned?"]


def resample(recording: Recording, grid_ms: float) -> Recording:
    """Return the recording on a coarser grid: voltage low-pass filtered, current averaged over each interval (its charge is kept).

    Raises
    ------
    InputError
        The recording is coarser than the grid.
    """
    ratio = grid_ms / recording.dt_ms
    if abs(ratio - 1) < 1e-4:
        return recording
    if ratio < 1:
        raise InputError(
            f"{recording.source}: recorded every {recording.dt_ms:g} ms, the grid is {grid_ms:g} ms. A recording cannot be refined; "
            "use --grid-ms or a model with a coarser grid."
        )
    n_time = int((len(recording.v_mv) - 1) / ratio + 1e-6) + 1
    time = np.arange(len(recording.v_mv) + 1) * recording.dt_ms
    charge = np.concatenate([[0.0], np.cumsum(recording.current) * recording.dt_ms])
    edges = np.interp(np.arange(n_time + 1) * grid_ms, time, charge)
    last = time[-1] - (n_time - 1) * grid_ms  # the last interval may be cut short by the end of the recording
    width = np.append(np.full(n_time - 1, grid_ms), min(grid_ms, last))
    return recording._replace(
        v_mv=decimate(recording.v_mv, ratio)[:n_time],
        current=np.diff(edges) / width,
        dt_ms=grid_ms,
        current_at_sample=decimate(recording.current, ratio)[:n_time],
    )


def decimate(x: np.ndarray, ratio: float) -> np.ndarray:
    """Return ``x`` at every ``ratio``-th sample after a zero-phase anti-aliasing filter (edges held)."""
    fraction = Fraction(ratio).limit_denominator(200)
    pad = int(np.ceil(20 * ratio)) // fraction.numerator * fraction.numerator + fraction.numerator
    padded = np.pad(x, pad, mode="edge")
    from scipy import signal  # here, since it takes half a second to load

    filtered = signal.resample_poly(padded, fraction.denominator, fraction.numerator)
    skip = pad * fraction.denominator // fraction.numerator
    return filtered[skip : skip + int((len(x) - 1) / ratio + 1e-6) + 1]


def textbook_fit(recording: Recording) -> dict[str, float] | None:
    """Return what one exponential says about the window's only current step, or None without such a step.

    As electrophysiologists do it (the Allen Institute's feature extraction, for one): the exponential is fitted from 10 % of the
    deflection, behind the drop across the electrode, to its peak, before sag or drift. An ideal membrane answers a step of current
    with an exponential of amplitude step / g, so g is the step over the amplitude at the step's onset (what is missing from the whole
    deflection is the electrode's) and C = tau g.

    Returns
    -------
    dict
        ``tau_ms``; ``g_L`` and ``C_m`` of the membrane; ``g_input``, the step over the whole steady deflection, electrode included;
        ``rise_63_ms``, when the smoothed response has covered 63 % of its peak: equal to tau where the response is an exponential.
        Units follow the current: pA gives nS and pF, uA/cm2 gives mS/cm2 and uF/cm2.
    """
    onsets = step_onsets(recording)
    if len(onsets) != 1 or onsets[0] < 5 or len(recording.v_mv) - onsets[0] < 20:
        return None
    onset, dt = onsets[0], recording.dt_ms
    step = float(np.median(recording.current[onset + 2 :]) - np.median(recording.current[: onset - 1]))
    response = (recording.v_mv[onset:] - recording.v_mv[: onset - 1].mean()) / step  # positive whatever the step's sign
    from scipy import ndimage, optimize  # here, since they take half a second to load

    smooth = ndimage.uniform_filter1d(response, max(1, round(SMOOTH_MS / dt)), mode="nearest")
    peak = int(np.argmax(smooth))
    first = int(np.argmax(smooth > 0.1 * smooth[peak]))
    if smooth[peak] <= 0 or peak - first < 10:
        return None
    time = np.arange(len(response)) * dt
    start = (response[peak], response[peak], time[peak] / 4)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optimize.OptimizeWarning)
            (last, change, tau), _ = optimize.curve_fit(
                exponential_rise, time[first : peak + 1], response[first : peak + 1], start, maxfev=5000
            )
    except RuntimeError:
        return None
    if min(last, change, tau) <= 0:
        return None
    rise = float(time[np.argmax(smooth > (1 - np.exp(-1)) * smooth[peak])])
    found = {"tau_ms": tau, "g_L": 1 / change, "C_m": tau / change, "g_input": 1 / last, "rise_63_ms": rise}
    return {name: float(value) for name, value in found.items()}


def exponential_rise(time_ms, last: float, change: float, tau_ms: float):
    """Return ``last`` - ``change`` exp(-t / tau)."""
    return last - change * np.exp(-time_ms / tau_ms)
