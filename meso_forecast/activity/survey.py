"""What does one pass over the training part say of each neuron: noise, level, and whether it is one at all?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .made_up import SAMPLED, made_up
from .reading import BLOCK, QUANTILE_FRAMES, Rules, raw_and_corrected
from .traces import Traces

LEAST_CHANGES = 10  #: fewer changes of the trace from frame to frame (five events) say nothing about its scale
LEAST_TRAINING = 100
MOST_EMPTY = 0.5
MOST_ALIKE = 0.2  #: of the neurons that have the value of the first one, in a usual frame
FEWEST_ALIKE = 3  #: neurons that do not show one value by chance


class Survey(NamedTuple):
    """What one pass over a FOV finds about each neuron."""

    noise: np.ndarray  #: standard deviation of frame-to-frame differences / sqrt 2
    level: np.ndarray  #: median of the raw fluorescence (without neuropil correction)
    baseline: np.ndarray  #: low percentile over the training part
    constant: np.ndarray  #: bool, (almost) without variance on observed training frames
    broken: np.ndarray  #: bool, has a value that is not finite at an observed frame


def survey(
    c: Traces, rules: Rules, train: np.ndarray, good: np.ndarray, seen: np.ndarray
) -> tuple[Survey, np.ndarray, np.ndarray]:
    """Return what a pass finds, and the frames that turn out to be empty or made from others.

    Blocks are read in order; at most ``QUANTILE_FRAMES`` evenly spaced training frames are kept for the quantiles.

    Parameters
    ----------
    train : (time,) bool, frames of the training part.
    good : (time,) bool, observed frames.
    seen : (time,) bool, observed frames for which the baseline is warm; fitted statistics use these.

    Returns
    -------
    survey : of every neuron.
    empty : (time,) bool, observed frames without a finite value in most neurons, or with a fluorescence of zero in all of them.
    made : (time,) bool, observed frames that were interpolated, or repeat the one before.
    """
    n, chosen = len(c.rois), np.flatnonzero(train & seen)
    if len(chosen) < LEAST_TRAINING:
        raise InputError(f"{c.where}: only {len(chosen)} observed training frames; {LEAST_TRAINING} are needed.")
    wanted = np.zeros(len(train), bool)
    wanted[chosen[:: -(-len(chosen) // QUANTILE_FRAMES)]] = True
    sample, square, count, missing, lost = [], np.zeros(n), 0, np.zeros(n, int), np.zeros(len(train), int)
    changes, raw_changes = np.zeros(n, int), np.zeros(n, int)
    zero, flat, n_alike = np.zeros(len(train), bool), np.zeros(len(train), bool), 0.0
    low, high, few = np.full(n, np.inf), np.full(n, -np.inf), []
    for start in range(0, len(train), BLOCK):
        rows = slice(start, min(start + BLOCK, len(train)))
        raw, x = raw_and_corrected(c, rules, rows.start, rows.stop)
        here = good[rows]
        bad = ~np.isfinite(x)
        if bad.any():
            missing += bad[here].sum(0)
            lost[rows] = np.where(here, bad.sum(1), 0)
        alike = raw == raw[:, :1]
        flat[rows] = here & alike.all(1)
        zero[rows] = flat[rows] & (raw[:, 0] == 0)
        n_alike += alike[here & ~flat[rows]].mean(1).sum()
        fine = seen[rows] & train[rows]
        both = fine[1:] & fine[:-1]
        step = np.diff(x.astype(float), axis=0)[both]
        square += (step**2).sum(0)
        count += both.sum()
        changes += (step != 0).sum(0)
        raw_changes += (raw[1:] != raw[:-1])[both].sum(0)
        low, high = np.fmin(low, raw[fine].min(0, initial=np.inf)), np.fmax(high, raw[fine].max(0, initial=-np.inf))
        sample.append(x[wanted[rows]])
        few.append(raw[:, :: max(1, n // SAMPLED)].copy())  # a view would keep the whole block
    broken = missing > 0
    values = np.where(broken, 0, np.concatenate(sample))  # a broken neuron is dropped later
    constant = (high - low <= 1e-9 * np.maximum(1, np.abs(high))) | (np.minimum(changes, raw_changes) < LEAST_CHANGES)
    found = Survey(
        np.sqrt(square / max(count, 1) / 2), np.abs(np.nanmedian(values, axis=0)),
        np.nanpercentile(values, rules.percentile, axis=0), constant & ~broken, broken,
    )  # fmt: skip
    lively = n_alike < MOST_ALIKE * (good & ~flat).sum() and n >= FEWEST_ALIKE
    empty = empty_frames(c, rules, lost, zero | flat if lively else zero, missing, good, lively)
    return found, empty, made_up(np.concatenate(few), good & ~empty)


def empty_frames(
    c: Traces, rules: Rules, lost: np.ndarray, zero: np.ndarray, missing: np.ndarray, good: np.ndarray, lively: bool
) -> np.ndarray:
    """Return the frames without a finite value in most neurons, and those filled with one number in all (a closed shutter, laser off).

    Neurons that are missing in most frames do not count. Sparse activity that is used as it is may well be zero everywhere: there a
    filled frame counts only where neurons hardly ever have the same value otherwise (``lively``).
    """
    hopeless = int((missing > MOST_EMPTY * good.sum()).sum())
    left = len(missing) - hopeless
    empty = (lost - hopeless > MOST_EMPTY * left) if left else np.zeros(len(lost), bool)
    fluorescent = rules.signal != "deconvolved" and not c.processed and len(missing) > 1
    return empty | zero if (fluorescent or lively) and zero.sum() < MOST_EMPTY * good.sum() else empty


def floor_of(s: Survey) -> np.ndarray:
    """Return the least baseline that a trace is divided by: its noise, and a tenth of its level; always positive."""
    return np.maximum(np.maximum(3 * s.noise, 0.1 * s.level), 1e-6)
