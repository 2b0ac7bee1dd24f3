"""Which spikes, in which bins, around which events, and which of these bins were recorded at all?

A bin is an observation of a unit only where the unit was recorded in all of it. Where a file does not say when it was recorded, the
spikes of all its units bound the recording: a silence of the whole population that its own rate makes implausible is no silence.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from ..files.ends import closed
from ..files.session import Session

log = logging.getLogger("glm_rates.fit.trials")
SILENT = 20.0  # a gap between the population's spikes is implausible beyond this many mean intervals (chance e^-20)
EDGE_S = 1e-6  # rounding of times
IN_NAMES = "time_ms, time_us, time_samples with --sampling-rate"
STRAY = 0.01  # of the spikes may lie outside the span of the raw signal
GAP_S = 1e-3  # between intervals: the last sample of one block to the first of the next
DAY_S = 86400.0
MANY = 50  # different times, from which steps can be told


class Binned(NamedTuple):
    """Trials as counts; masks are None where everything was recorded and belongs to one trial alone."""

    counts: np.ndarray  # (trial, bin, unit)
    observed: np.ndarray | None  # (trial, bin, unit) recorded
    counted: np.ndarray | None  # (trial, bin) belongs to this trial


def check_scale(data: Session, low_s: float, high_s: float, where: str) -> None:
    """Are spikes and events in seconds, on one clock?

    Raises
    ------
    InputError
        Intervals between spikes, rates, or the places of events say no; both ranges are told.
    """
    every = np.concatenate([*data.times_s, np.zeros(0)])
    if len(every) < 2:
        return
    first, last = float(every.min()), float(every.max())
    spikes = f"spikes lie between {first:g} and {last:g}"
    whole = "; all times are whole numbers, are they samples?" if (every == np.floor(every)).all() else ""
    gaps = [np.diff(np.sort(t)) for t in data.times_s if len(t) > 1]
    smallest = min((float(g[g > 0].min()) for g in gaps if (g > 0).any()), default=0.0)
    slow = np.median([len(t) for t in data.times_s if len(t)]) / max(last - first, 1e-12)
    in_nwb = where.lower().endswith(".nwb")
    named = (
        "NWB keeps seconds: export the file anew." if in_nwb else f"Name the unit of time in the column ({IN_NAMES})."
    )
    if len(every) >= 500 and (smallest > 0.2 or (last - first > DAY_S and slow < 0.1)):
        raise InputError(
            f"{where}: {spikes}, {slow:.2g} spikes a second of a unit and none within {smallest:.2g} of the last: these are no "
            f"seconds{whole}. {named}"
        )
    busy = [len(t) / max(last - first, 1e-12) for t in data.times_s if len(t) > 100]
    if busy and np.median(busy) > 400:
        raise InputError(
            f"{where}: {spikes}, which makes {np.median(busy):.0f} spikes a second of a unit: these are no seconds."
        )
    if not len(data.event_s):
        return
    events = f"events between {data.event_s.min():g} and {data.event_s.max():g}"
    inside = ((data.event_s + high_s > first) & (data.event_s + low_s < last)).mean()
    ratio = max(float(np.ptp(data.event_s)), 1.0) / max(last - first, 1e-9)
    if inside == 0 or (inside < 0.2 and not 0.05 < ratio < 20):
        raise InputError(
            f"{where}: {spikes}, {events}: is it the same unit of time and the same clock? Both are expected in seconds{whole}. {named}"
        )


def check_resolution(data: Session, bin_ms: int, where: str) -> None:
    """Are the times of spikes fine enough for the bins? Single precision at a large offset, or few digits, are not.

    Raises
    ------
    InputError
        All spikes lie on steps longer than a fifth of a bin (or 2 ms).
    """
    every = np.unique(np.concatenate([*data.times_s, np.zeros(0)]))
    for part in np.array_split(every, 4):  # steps of floating point grow with the time
        if len(part) < MANY:
            continue
        step = float(np.diff(part).min())
        places = (part - part[0]) / step
        if step > max(bin_ms / 5000, 0.0021) and np.abs(places - np.round(places)).max() < 1e-3:
            raise InputError(
                f"{where}: spikes between {part[0]:g} and {part[-1]:g} s lie on steps of {step:.3g} s, too coarse for bins of {bin_ms} ms: were "
                "the times written in single precision or with few digits? Export them anew, or give a larger --bin-size."
            )


def recorded_intervals(data: Session, where: str) -> tuple[list[np.ndarray], np.ndarray]:
    """When each unit was recorded, and which intervals are invalid for all: ((unit,) of (interval, 2), (interval, 2))."""
    for rows in (data.invalid, *(data.observed or [])):
        pairs = np.zeros((0, 2)) if rows is None else np.reshape(np.asarray(rows, float), (-1, 2))
        if (pairs[:, 1] < pairs[:, 0]).any():
            start, stop = pairs[pairs[:, 1] < pairs[:, 0]][0]
            raise InputError(
                f"{where}: an interval from {start:g} to {stop:g} s ends before it begins; expected start before stop."
            )
    shared = data.recorded if bears_out(data, where) else None
    told = [np.asarray(i, float).ravel() for i in (shared, *(data.observed or [])) if i is not None]
    warn_of_dead_time(data, np.concatenate([*told, np.zeros(0)]), where)
    shared = span_of_spikes(data) if shared is None else shared
    invalid, out = closed_intervals(data, shared, where)
    stray = sum(int((~covered(t, t, intervals)).sum()) for t, intervals in zip(data.times_s, out))
    if stray and stray == sum(map(len, data.times_s)):
        known = np.concatenate([i for i in out if len(i)] or [np.full((1, 2), np.nan)])
        raise InputError(
            f"{where}: spikes lie between {min(t.min() for t in data.times_s if len(t)):g} and "
            f"{max(t.max() for t in data.times_s if len(t)):g} s, the time in which units were observed between {known.min():g} and "
            f"{known.max():g}: is it the same unit of time and the same clock?"
        )
    if stray:
        log.warning(
            "%s: %d spike(s) lie outside the time in which their unit was observed; they are not used", where, stray
        )
    return out, invalid


def closed_intervals(data: Session, shared: np.ndarray, where: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Invalid times, and when each unit was observed, with the recording's own ends where an interval has none."""
    own = [None if mine is None else closed(mine, shared) for mine in data.observed or [None] * len(data.unit_id)]
    invalid = closed(np.zeros((0, 2)) if data.invalid is None else data.invalid, shared)
    for name, found in (("observed", [mine for mine in own if mine is not None]), ("invalid", [invalid])):
        n_open, n_empty = sum(item[1] for item in found), sum(item[2] for item in found)
        if n_open:
            text = "%s: %d interval(s) of %s time lack a start or an end: taken up to the ends of the recording (%g to %g s)"
            log.warning(text, where, n_open, name, shared.min(), shared.max())
        if n_empty:
            log.warning("%s: %d interval(s) of %s time without start and end left out", where, n_empty, name)
    unsaid = [mine is None or (mine[2] > 0 and not len(mine[0])) for mine in own]
    return merged(invalid[0]), [merged(shared if no or mine is None else mine[0]) for no, mine in zip(unsaid, own)]


def bears_out(data: Session, where: str) -> bool:
    """Whether the spikes lie in the time in which the raw signal was recorded; a shortened copy of it (a stub) says nothing of them."""
    every = np.concatenate([*data.times_s, np.zeros(0)])
    if data.recorded is None or not len(every):
        return data.recorded is not None
    outside = 1 - covered(every, every, merged(data.recorded)).mean()
    if outside > STRAY:
        log.warning(
            "%s: %.0f %% of the spikes lie outside the raw signal in the file: its span is not used",
            where,
            100 * outside,
        )
    return bool(outside <= STRAY)


def warn_of_dead_time(data: Session, told: np.ndarray, where: str) -> None:
    """Warn where units are said to be observed long after the last spike of all of them, or before the first."""
    span, told = span_of_spikes(data)[0], told[np.isfinite(told)]
    if np.isfinite(span).all() and len(told) and (told.max() > span[1] or told.min() < span[0]):
        log.warning(
            "%s: units are said to be observed from %g to %g s, but no unit has a spike before %g or after %g s: is it the same unit of "
            "time? Trials there count as silence; --observed FILE says otherwise", where, told.min(), told.max(), *span,
        )  # fmt: skip


def span_of_spikes(data: Session) -> np.ndarray:
    """From the first to the last spike of all units, and as far beyond as a silence is plausible: (1, 2)."""
    every = np.concatenate([*data.times_s, np.zeros(0)])
    if len(every) < 2:
        return np.array([[-np.inf, np.inf]])
    first, last = float(every.min()), float(every.max())
    margin = SILENT * (last - first) / len(every)
    return np.array([[first - margin, last + margin]])


def merged(intervals: np.ndarray) -> np.ndarray:
    """Intervals in order, those that touch made one; NaN ends are open."""
    rows = np.asarray(intervals, float).reshape(-1, 2)
    rows = np.stack(
        [np.nan_to_num(rows[:, 0], nan=-np.inf, neginf=-np.inf), np.nan_to_num(rows[:, 1], nan=np.inf, posinf=np.inf)],
        1,
    )
    rows = rows[rows[:, 1] > rows[:, 0]]
    out: list[list[float]] = []
    for start, stop in rows[np.argsort(rows[:, 0], kind="stable")].tolist():
        if out and start <= out[-1][1] + GAP_S:
            out[-1][1] = max(out[-1][1], stop)
        else:
            out.append([start, stop])
    return np.array(out).reshape(-1, 2)


def covered(start: np.ndarray, stop: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Whether all of ``[start, stop]`` lies in one of the merged intervals."""
    if not len(intervals):
        return np.zeros(np.shape(start), bool)
    at = np.searchsorted(intervals[:, 0], start + EDGE_S, side="right") - 1
    return (at >= 0) & (intervals[np.maximum(at, 0), 1] >= stop - EDGE_S)


def touched(start: np.ndarray, stop: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Whether some of ``[start, stop]`` lies in one of the merged intervals."""
    if not len(intervals):
        return np.zeros(np.shape(start), bool)
    at = np.searchsorted(intervals[:, 0], stop - EDGE_S, side="left") - 1
    return (at >= 0) & (intervals[np.maximum(at, 0), 1] > start + EDGE_S)


def bin_spikes(data: Session, first_s: np.ndarray, n_bins: int, bin_ms: int, where: str) -> Binned:
    """Count spikes in the bins of each trial and note which of them were recorded."""
    edges = first_s[:, None] + np.arange(n_bins + 1) * bin_ms / 1000
    counts = np.zeros((len(first_s), n_bins, len(data.times_s)), np.int16)
    for unit, times in enumerate(data.times_s):
        counts[:, :, unit] = np.diff(np.searchsorted(np.sort(times), edges), axis=1)
    recorded, invalid = recorded_intervals(data, where)
    bad = touched(edges[:, :-1], edges[:, 1:], invalid)
    observed = np.stack([covered(edges[:, :-1], edges[:, 1:], mine) & ~bad for mine in recorded], axis=2)
    if observed.all():
        return Binned(counts, None, None)
    return Binned(np.where(observed, counts, 0).astype(np.int16), observed, None)


def observed_bins(intervals: list[np.ndarray], first_s: np.ndarray, n_bins: int, bin_ms: int, where: str) -> np.ndarray:
    """Which bins of each trial lie in the time in which each unit was recorded: (trial, bin, unit).

    Raises
    ------
    InputError
        None does; both ranges are told.
    """
    edges = first_s[:, None] + np.arange(n_bins + 1) * bin_ms / 1000
    seen = np.stack([covered(edges[:, :-1], edges[:, 1:], merged(mine)) for mine in intervals], axis=2)
    if not seen.any():
        told = np.concatenate([np.reshape(i, (-1, 2)) for i in intervals if len(i)] or [np.full((1, 2), np.nan)])
        raise InputError(
            f"{where}: units were observed between {told.min():g} and {told.max():g} s, the trials lie between {edges.min():g} and "
            f"{edges.max():g} s: is it the same unit of time and the same clock?"
        )
    return seen


def own_bins(
    data: Session,
    first_s: np.ndarray,
    onset_s: np.ndarray,
    window: tuple[int, int],
    bin_ms: int,
    to_trial_end: bool,
    where: str,
) -> np.ndarray | None:
    """Which bins of the analysis window belong to a trial: a moment of several windows to that of the stimulus given last, none after
    the trial's own end.

    Before a trial's stimulus only what no earlier window holds is its own: it would be the response to another stimulus.

    Parameters
    ----------
    first_s, onset_s : (trial,)
        When the first bin of each trial begins, and its stimulus.

    Returns
    -------
    numpy.ndarray (trial, bin up to the end of the window), or None where all do
    """
    start = first_s[:, None] + np.arange(window[1]) * bin_ms / 1000
    stop, opens, closes = start + bin_ms / 1000, first_s + window[0] * bin_ms / 1000, start[:, -1] + bin_ms / 1000
    inside = np.ones(start.shape, bool)
    if to_trial_end:
        if data.stop_s is None:
            raise InputError(f"{where}: --to-trial-end needs the end of each trial (stop_time, stop_s).")
        closes = np.minimum(closes, np.nan_to_num(data.stop_s, nan=np.inf))
        inside = stop <= closes[:, None] + EDGE_S
    order = np.argsort(onset_s, kind="stable")
    following, before = np.full(len(opens), np.inf), np.full(len(opens), -np.inf)
    following[order[:-1]] = np.maximum(onset_s, opens)[order[1:]]
    before[order[1:]] = np.maximum.accumulate(closes[order])[:-1]
    early = start < onset_s[:, None] - EDGE_S
    taken = (stop > following[:, None] + EDGE_S) | (early & (start < before[:, None] - EDGE_S))
    crossed = int((taken & inside)[:, window[0] :].any(axis=1).sum())
    if crossed:
        log.warning(
            "%s: the windows of %d of %d trials overlap others: each moment counts once, for the stimulus given last; what is left of "
            "earlier responses is not in the model (--covariates with a column event gives each kind a kernel)", where, crossed, len(opens),
        )  # fmt: skip
    own = inside & ~taken
    return None if own[:, window[0] :].all() else own


def warn_of_silence(counts: np.ndarray, observed: np.ndarray | None, window: tuple[int, int], where: str) -> None:
    """Warn of trials in which no unit has a spike, where the population's rate makes that implausible."""
    inside = counts[:, window[0] : window[1]]
    total = inside.sum(axis=(1, 2))
    seen = np.ones(len(total), bool) if observed is None else observed[:, window[0] : window[1]].any(axis=(1, 2))
    silent = seen & (total == 0)
    if silent.any() and total[seen].mean() > SILENT:
        log.warning(
            "%s: %d of %d trials have no spike of any unit: was nothing recorded there? They count as silence; --observed FILE says when "
            "units were recorded", where, silent.sum(), len(total),
        )  # fmt: skip


def keep_recorded(arrays: dict[str, Any], window: tuple[int, int], where: str) -> dict[str, Any]:
    """Drop trials without any recorded bin of any unit in the window, and tell what part of the rest was not recorded.

    Raises
    ------
    InputError
        No trial is left.
    """
    observed, counted = arrays.get("observed"), arrays.get("counted")
    if observed is None and counted is None:
        return arrays
    n_trials, inside = len(arrays["taste"]), slice(*window)
    own = np.ones((n_trials, window[1] - window[0]), bool) if counted is None else counted[:, inside]
    seen = (
        np.broadcast_to(own[..., None], (*own.shape, 1)) if observed is None else observed[:, inside] & own[..., None]
    )
    keep = seen.any(axis=(1, 2))
    if not keep.any():
        raise InputError(f"{where}: nothing was recorded in the window of any of {n_trials} trials.")
    if not keep.all():
        log.warning(
            "%s: %d of %d trials left out, nothing was recorded in their windows", where, (~keep).sum(), n_trials
        )
    part = 1 - (observed[keep][:, inside] if observed is not None else np.ones(1)).mean()
    if part > 0:
        log.warning(
            "%s: %.1f %% of the remaining bins x units were not recorded; they count as nothing, not as silence",
            where,
            100 * part,
        )
    arrays = {name: array[keep] for name, array in arrays.items()}
    if observed is not None and arrays["observed"].all():
        del arrays["observed"]
    return arrays


def only_tastes_with_trials(params, arrays):
    """Tastes of which no trial is left go; the others are numbered anew."""
    kept = sorted(set(arrays["taste"].tolist()))
    if len(kept) == len(params["tastes"]):
        return params, arrays
    log.warning("no trials left of %s", ", ".join(t for k, t in enumerate(params["tastes"]) if k not in kept))
    arrays = {**arrays, "taste": np.searchsorted(kept, arrays["taste"])}
    return {**params, **{name: [params[name][k] for k in kept] for name in ("tastes", "dig_ins")}}, arrays
