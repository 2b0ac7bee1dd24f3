"""How sure is a forecast? A student-t for each neuron and horizon, with a scale that follows the recent errors.

The t is fitted in closed form (moments) to residuals the forecaster did not see in its fit. Its scale is multiplied by the causal
square root of a moving average of squared one-step errors, raised to a power (0, 1/2, 1) that the held-out residuals choose.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.signal import lfilter
from scipy.special import betaln

SCALE_FRAMES = 100
POWERS = (0.0, 0.5, 1.0)
MIN_DF, MAX_DF = 4.5, 60.0


class StudentT(NamedTuple):
    """Spread of the forecast errors around the point forecast."""

    scale: np.ndarray  #: (horizon, neuron), in units of the activity
    df: np.ndarray  #: (horizon, neuron), degrees of freedom
    one_step: np.ndarray  #: (neuron,), root mean square of the one-step errors behind the fit
    power: np.ndarray  #: (neuron,), exponent of the relative causal scale


def causal_mean_square(error: np.ndarray, frames: float = SCALE_FRAMES, start: float | np.ndarray = 1.0) -> np.ndarray:
    """Return the exponential mean of squared errors up to and including each row, (time, neuron); NaN rows carry over.

    Parameters
    ----------
    error : (time, neuron), one-step errors by the frame they became known; NaN where there was none.
    frames : length of the memory in frames.
    start : value before the first row, a number or (neuron,).
    """
    keep, known = 1 - 1 / frames, ~np.isnan(error[:, 0])
    first = np.broadcast_to(np.asarray(start, float), error.shape[1:])[None]
    level, _ = lfilter([1 - keep], [1, -keep], np.square(error[known], dtype=float), axis=0, zi=keep * first)
    return np.concatenate([first, level])[np.cumsum(known)]


def known_errors(one_step: np.ndarray, origins: np.ndarray, n_time: int) -> np.ndarray:
    """Return one-step errors (window, neuron) laid out by the frame at which they are known, (time, neuron), NaN elsewhere."""
    error = np.full((n_time, one_step.shape[1]), np.nan, np.float32)
    error[origins + 1] = one_step
    return error


def fit_student_t(residual: np.ndarray, origins: np.ndarray) -> StudentT:
    """Fit the t from held-out residuals.

    Parameters
    ----------
    residual : (window, horizon, neuron), target minus forecast; NaN rows are left out.
    origins : (window,), last frame each forecast saw.
    """
    square = np.nanmean(residual[:, 0] ** 2, axis=0)
    one_step = np.sqrt(np.maximum(square, 1e-12))
    first = origins[0]
    known = known_errors(residual[:, 0] / one_step, origins - first, origins[-1] - first + 2)
    level = causal_mean_square(known)[origins - first]
    good = np.flatnonzero(np.isfinite(residual).all((1, 2)))
    relative = np.sqrt(np.maximum(level, 1e-6))[good]
    few = slice(None, None, max(1, len(good) // 500))  # enough to choose between three powers
    fits, likelihood = np.empty((len(POWERS), 2, *residual.shape[1:])), np.zeros((len(POWERS), residual.shape[2]))
    for i, power in enumerate(POWERS):
        size = relative**power
        for h in range(residual.shape[1]):
            standardised = residual[good, h] / size
            scale, df = fits[i, :, h] = moment_fit(standardised)
            likelihood[i] += (stats.t.logpdf(standardised[few], df, scale=scale) - np.log(size[few])).sum(0)
    best, columns = np.argmax(likelihood, axis=0), np.arange(residual.shape[2])
    scale, df = fits[best, 0, :, columns].T, fits[best, 1, :, columns].T
    return StudentT(scale, df, one_step, np.take(POWERS, best))


def joined(parts: list[StudentT]) -> StudentT:
    """Return the spread of all neurons from those of chunks of neurons."""
    return StudentT(*(np.concatenate(field, axis=-1) for field in zip(*parts)))


def moment_fit(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and degrees of freedom of a centred t from second and fourth moments over axis 0 (kurtosis 3 + 6 / (df - 4))."""
    square = np.square(x, dtype=float)
    variance = np.maximum(square.mean(0), 1e-12)
    excess = np.square(square).mean(0) / variance**2 - 3
    df = np.clip(4 + 6 / np.maximum(excess, 1e-3), MIN_DF, MAX_DF)
    return np.sqrt(variance * (df - 2) / df), df


def window_scale(t: StudentT, known_error: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Return the scale of each forecast, (window, horizon, neuron) float32; uses errors known at each origin only.

    ``known_error`` is (time, neuron) as in `known_errors`, from the first frame of the recording.
    """
    level = causal_mean_square(known_error / t.one_step)[origins]
    relative = np.sqrt(np.clip(level, 1e-2, 1e2)) ** t.power
    return (relative[:, None] * t.scale).astype(np.float32)


def quantile(mean: np.ndarray, scale: np.ndarray, df: np.ndarray, level: float) -> np.ndarray:
    """Return the quantile of the forecast at a level between 0 and 1."""
    return mean + scale * stats.t.ppf(level, df)


def crps_student_t(y: np.ndarray, mean: np.ndarray, scale: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of a student-t forecast (Jordan, Krueger and Lerch 2019, closed form).

    >>> round(float(crps_student_t(0.0, 0.0, 1.0, 1e6)), 4)  # standard normal at its centre
    0.2337
    """
    z = (y - mean) / scale
    tail = 2 * np.sqrt(df) / (df - 1) * np.exp(betaln(0.5, df - 0.5) - 2 * betaln(0.5, df / 2))
    density = stats.t.pdf(z, df)
    return scale * (z * (2 * stats.t.cdf(z, df) - 1) + 2 * density * (df + z**2) / (df - 1) - tail)
