"""How is a block of frames read from raw traces, and what is subtracted?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .traces import Traces

BLOCK = 1024
QUANTILE_FRAMES = 4000


class Rules(NamedTuple):
    """What is done to the traces."""

    signal: str = "dff"  #: dff, fluorescence (F - neucoeff Fneu), deconvolved
    neucoeff: float = 0.7
    baseline: str = (
        "maximin"  #: maximin (causal), percentile (causal, of the past), training (low percentile of the training part)
    )
    window_s: float = 60.0
    percentile: float = 10.0
    normalise: str = "zscore"  #: zscore, percentile (0 - 99.5), none
    smooth_s: float = 0.0  #: causal exponential smoothing; 0: none
    least_probability: float = 0.0


def require_signal(c: Traces, rules: Rules) -> None:
    """Refuse a field of view that lacks what the rules read.

    Raises
    ------
    InputError : the wanted signal, or the neuropil, is not there.
    """
    if rules.signal == "deconvolved":
        if c.deconvolved is None:
            raise InputError(f"{c.where}: no deconvolved traces; use --signal dff.")
    elif not c.processed and rules.neucoeff and c.neuropil is None:
        raise InputError(f"{c.where}: no neuropil traces; use --neucoeff 0 to go without.")


def raw_and_corrected(c: Traces, rules: Rules, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of the common clock, (time, neuron) float32: the signal as recorded, and without neuropil.

    Raises
    ------
    InputError : the wanted signal, or the neuropil, is not there.
    """
    require_signal(c, rules)
    frame = c.frame[start:stop]
    first, last = int(frame[0]), int(frame[-1]) + 1
    if rules.signal == "deconvolved" and c.deconvolved is not None:
        raw = c.deconvolved.read(first, last, c.rois)[frame - first]
        return raw, raw
    raw = c.fluorescence.read(first, last, c.rois)
    x = raw
    if not c.processed and rules.neucoeff and c.neuropil is not None:
        x = raw - np.float32(rules.neucoeff) * c.neuropil.read(first, last, c.rois)
    return raw[frame - first], x[frame - first]
