"""Can this be a recording? Uniform time, finite samples, voltage and current that are not exchanged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording

log = logging.getLogger("laa_bayes")


def assemble(path: Path, found: Mapping[str, tuple[np.ndarray, str]]) -> Recording:
    """Return a recording from time, voltage and current on a uniform grid."""
    time, v = found["time"][0], found["voltage"][0]
    current, unit = found["current"]
    return Recording(v, current, unit, uniform_step(path, time), float(time[0]), str(path))


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


def check(recording: Recording) -> Recording:
    """Return the recording when voltage and current are possible; warn where a unit looks wrong.

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
    exchanged = np.median(v) > -10 and -120 < np.median(current) < -20 and repeats(v) > repeats(current)
    if (flat_voltage and rich_current) or exchanged or np.median(v) > 100 or np.median(v) < -200:
        raise InputError(
            f"{source}: the voltage has median {np.median(v):.3g} mV and {len(np.unique(v[:5000]))} distinct values, the current "
            f"{len(np.unique(current[:5000]))}. Are voltage and current swapped, or is the unit wrong?"
        )
    if np.ptp(v) < 1.0 or np.median(v) > -10:
        log.warning("%s: voltage %.3g to %.3g mV is unusual; is the unit right?", source, v.min(), v.max())
    if recording.current_unit == "pA" and 0 < np.max(np.abs(current)) < 0.5:
        log.warning("%s: the current is below 0.5 pA; is the unit right?", source)
    if np.max(np.abs(current)) == 0:
        log.warning("%s: the current is zero throughout: k and V_thr are hardly identifiable.", source)
    return recording


def repeats(x: np.ndarray) -> float:
    """Return the share of samples equal to the one before: large for a command current, small for a membrane voltage."""
    return float(np.mean(np.diff(x) == 0))
