"""In which bins was the laser on, and as what does it enter the model: one term, or a kernel of its own and one with the stimulus?

Runs in the blech_clust environment too: numpy, Python 3.8 syntax.
"""

from __future__ import annotations

import logging

import numpy as np

from hdf5io.errors import InputError

log = logging.getLogger("glm_rates.fit.laser")
KERNEL_MS = 2500  # how long after a stimulus a laser trial may respond otherwise


def laser_on(intervals, start, stop, width):
    """Fraction of each bin during which the laser is on: (trial, bin); ``intervals`` (trial, 2) ms from trial start."""
    edges = np.arange(start, stop, width)
    low = np.maximum(intervals[:, :1], edges)
    high = np.minimum(intervals[:, 1:], edges + width)
    return np.maximum(high - low, 0) / width


def warn_of_lasers(laser, dig_in, before_ms, trial_ms):
    """Warn of flagged trials whose laser lies outside the trial, or lasts no time."""
    low, high = laser.intervals[:, 0] + before_ms, laser.intervals[:, 1] + before_ms
    missed = laser.on & ((high <= 0) | (low >= trial_ms) | (high <= low))
    if missed.any():
        first = int(np.flatnonzero(missed)[0])
        text = "%s: %d laser trial(s) whose laser lies outside the trial of %d ms (trial %d: %g to %g ms from the stimulus)"
        log.warning(text, dig_in, missed.sum(), trial_ms, first, *laser.intervals[first])


def laser_of_events(laser, order, first_ms, wanted, where):
    """When the laser was on, ms from the first bin (trial, 2), and flagged trials; ``first_ms`` of the first bin from the event.

    Raises
    ------
    InputError
        Trials are to be left out, or a regressor made, and the file does not say which or when.
    """
    dark = np.zeros((len(order), 2))
    if laser is None:
        if wanted != "include":
            raise InputError(
                f"{where}: --laser {wanted}: no column of the events is called laser (or opto, photostim, light)."
            )
        return dark, None
    laser = laser.of(order)
    if (wanted in ("regressor", "kernel") and laser.interval_s is None) or (
        wanted == "exclude" and laser.where and not laser.on.any()
    ):
        raise InputError(f"{where}: --laser {wanted}: {laser.where}.")
    if laser.interval_s is None:
        return dark, laser.on
    return (laser.interval_s * 1000 - first_ms) * laser.on[:, None], laser.on


def add_laser_effects(params, arrays, options, intervals, flagged, window, onset):
    """Add the laser's own kernel and its interaction with the stimulus as covariates (``--laser kernel``).

    ``laser kernel`` is lagged: it runs over the past and present of the laser, sums to the gain of a long pulse and goes on after its end.
    ``laser x stimulus`` is what the stimulus kernel of flagged trials has beyond that of the others.

    Parameters
    ----------
    intervals : (trial, 2)
        Laser on and off, ms from the first bin.
    flagged : (trial,)
    onset : (trial,)
        Bin of the stimulus.
    """
    if options["laser"] != "kernel":
        return
    width, n_bins = options["bin_size"], arrays["counts"].shape[1]
    lead = options["covariate_window"] // width
    on = laser_on(intervals, -lead * width, n_bins * width, width) * flagged[:, None]
    if not on[:, : lead + window[1]].any():
        log.warning("the laser is never on within reach of the window: no laser kernel")
        return
    others = arrays.get("covariates", np.zeros((*on.shape, 0), np.float32))
    signals, named = [on], [("laser kernel", "lagged", 0.0, 1.0)]
    lags = min(KERNEL_MS // width, n_bins)
    if params.get("stimulus", True) and not flagged.all():
        since = np.arange(-lead, n_bins) - np.asarray(onset)[:, None]
        signals.append(np.where(flagged[:, None], since, -1))
        named.append(("laser x stimulus", "onset", 0.0, float(lags)))
    elif flagged.all():
        log.warning("every trial has the laser on: no interaction with the stimulus")
    first = others.shape[2]
    arrays["covariates"] = np.concatenate([others, np.stack(signals, axis=2).astype(np.float32)], axis=2)
    params["covariates"] = params.get("covariates", []) + [
        {"name": name, "basis": basis, "signals": [first + i], "low": [low], "high": [high], "unit": "event"}
        for i, (name, basis, low, high) in enumerate(named)
    ]
    params["covariate_lead"] = lead
