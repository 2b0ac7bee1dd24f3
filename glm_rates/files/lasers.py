"""When was the laser on? From the tables of blech_clust, or from columns of an events table or of NWB trials.

Runs in the blech_clust environment too: numpy, standard library, Python 3.8 syntax.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .blech import Recording, Taste
from .blech_trials import cell, taste_rows
from .hdf5 import H5
from .session import FAR_S, NO_LABEL, EventLasers, text_of

log = logging.getLogger("glm_rates.files.lasers")
ON, OFF = ("true", "t", "yes", "y", "on"), ("false", "f", "no", "n", "off", *NO_LABEL)
SHORT_S = 1e-3  # no laser pulse of a behavioural experiment is shorter
STEMS = ("laser", "opto", "photostim", "optogenetics", "light")


class Lasers(NamedTuple):
    """Laser of each trial of a taste."""

    on: np.ndarray  # (trial,) the trial is flagged
    intervals: np.ndarray  # (trial, 2) ms from the stimulus


def is_on(value: Any, where: str) -> bool:
    """Whether a cell says that the laser was on: true, yes, on, or a number that is not 0.

    Raises
    ------
    InputError
        It says neither.
    """
    text = text_of(value).lower()
    if text in ON or text in OFF:
        return text in ON
    try:
        return float(text) != 0
    except ValueError:
        raise InputError(
            f"{where}: '{text_of(value)}' does not say whether the laser was on; expected true or false."
        ) from None


def event_lasers(columns: dict[str, list[Any]], event_s: np.ndarray, where: str) -> EventLasers | None:
    """Laser of each event: a column ``laser`` (or opto, photostim, ...; with ``_on``), and when it was on where columns say so.

    ``laser_lag_ms``, ``laser_duration_ms`` count from the event; ``laser_start_s``, ``laser_stop_s`` (``laser_start_time``,
    ``laser_stop_time``) are on the clock of the events. None where no column is called like that.
    """
    like = [name for name in columns if name.lower().split("_")[0] in STEMS or name.lower().startswith("is_")]
    like = [name for name in like if name.lower().removeprefix("is_").split("_")[0] in STEMS]
    flags = [name for name in like if name.lower().removeprefix("is_").removesuffix("_on") in STEMS]
    if not like:
        return None
    n, stem = len(event_s), (flags or like)[0].lower().removeprefix("is_").split("_")[0]
    by_name = {name.lower(): np.array([_number(v) for v in columns[name]]) for name in like if name not in flags}
    interval, clock = None, ""
    for start, stop in (("_start_s", "_stop_s"), ("_start_time", "_stop_time")):
        if stem + start in by_name and stem + stop in by_name:
            interval, clock = (
                np.stack([by_name[stem + start], by_name[stem + stop]], 1) - event_s[:, None],
                stem + start,
            )
    if f"{stem}_lag_ms" in by_name and f"{stem}_duration_ms" in by_name:
        lag, lasts = by_name[f"{stem}_lag_ms"] / 1000, by_name[f"{stem}_duration_ms"] / 1000
        interval = np.stack([lag, lag + lasts], axis=1)
    if len(flags) == 1:
        try:
            on = np.array([is_on(v, f"column '{flags[0]}'") for v in columns[flags[0]]], bool)
        except InputError as error:  # it may be a stimulus, and matters only where the laser is asked for
            return EventLasers(np.zeros(n, bool), None, str(error))
    elif interval is not None and not flags:
        on = np.isfinite(interval).all(axis=1) & (interval[:, 1] > interval[:, 0])
    else:
        told = f"which trials had the laser on is not said by one column 'laser' (there are {', '.join(like)})"
        return EventLasers(np.zeros(n, bool), None, told)
    lit = interval[on & np.isfinite(interval).all(axis=1)] if interval is not None else np.zeros((0, 2))
    if clock and len(lit) and np.median(np.abs(lit[:, 0])) > FAR_S:
        told = f"{clock} lies {np.median(np.abs(lit[:, 0])):.0f} s from its event (median); expected on the clock of the events"
        return EventLasers(on, None, told)
    if len(lit) and 0 < (lasts_s := float(np.median(lit[:, 1] - lit[:, 0]))) < SHORT_S:
        log.warning("%s: the laser lasts %.3g ms (median): are its times in ms, and not in s?", where, lasts_s * 1000)
    if interval is not None:
        interval = np.where(on[:, None], np.nan_to_num(interval), 0.0)
        return EventLasers(on, interval, "")
    wanted = f"{stem}_lag_ms and {stem}_duration_ms (from the event), or {stem}_start_s and {stem}_stop_s"
    return EventLasers(on, None, f"when the laser was on is not said; expected the columns {wanted}")


def _number(value: Any) -> float:
    try:
        return float(text_of(value))
    except ValueError:
        return float("nan")


def lasers(recording: Recording, taste: Taste, n_trials: int, h5: H5) -> Lasers:
    """Which trials of a taste have the laser, and when.

    ``trial_info_frame.csv`` decides: its columns ``laser_lag``, ``laser_duration`` are samples, ``laser_lag_ms``,
    ``laser_duration_ms`` milliseconds, which win. Where it has no laser on any trial, ``laser_durations`` and ``laser_onset_lag`` (ms)
    beside the spikes, as older versions write them.
    """
    on, out = np.zeros(n_trials, bool), np.zeros((n_trials, 2))
    if any(_flagged(row) for row in recording.trials):
        for trial, row in taste_rows(recording, taste):
            if not _flagged(row):
                continue
            if not 0 <= trial < n_trials:
                log.warning("trial_info_frame.csv: laser on trial %d of %s, which has no spikes", trial, taste.dig_in)
                continue
            on[trial] = True
            begin, lasts = (
                _milliseconds(row, name, recording.sampling_rate) for name in ("laser_lag", "laser_duration")
            )
            pulse = np.array([begin, begin + lasts])
            first = not out[trial].any()  # several pulses of one trial: from the first to the last
            out[trial] = pulse if first else [min(out[trial, 0], pulse[0]), max(out[trial, 1], pulse[1])]
        return Lasers(on, out)
    group = f"spike_trains/{taste.dig_in}/"
    if group + "laser_durations" in h5:
        length, lag = (_of_trials(h5, group + name, n_trials) for name in ("laser_durations", "laser_onset_lag"))
        if recording.trials and (length > 0).any():
            log.warning(
                "%s: trial_info_frame.csv has no laser, laser_durations beside the spikes have: used", taste.dig_in
            )
        return Lasers(length > 0, np.stack([lag, lag + length], axis=1) * (length > 0)[:, None])
    return Lasers(on, out)


def _flagged(row: dict[str, str]) -> bool:
    """Whether a row of the table of trials has the laser: its flag, or where it has none a duration above 0."""
    if "laser" in row:
        return is_on(row["laser"], "trial_info_frame.csv, laser")
    return any((cell(row, name) or 0) > 0 for name in ("laser_duration_ms", "laser_duration"))


def _of_trials(h5: H5, name: str, n_trials: int) -> np.ndarray:
    """A number for each trial, 0 where the file has none: (trial,)."""
    out = np.zeros(n_trials)
    if name in h5:
        found = h5.read(name).astype(float).ravel()
        if len(found) != n_trials:
            log.warning("%s has %d values for %d trials: the first count", h5.where(name), len(found), n_trials)
        out[: len(found)] = np.nan_to_num(found[:n_trials])
    return out


def _milliseconds(row: dict[str, str], name: str, rate: float) -> float:
    """A time of the table in ms: from its column in ms, else from samples."""
    exact = cell(row, name + "_ms")
    if exact is not None:
        return exact
    samples = cell(row, name)
    return 0.0 if samples is None else samples * 1000 / rate
