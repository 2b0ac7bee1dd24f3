"""How does a rate depend on what else was measured? Bases of covariates: linear, spline, cyclic, lagged, and splines of two.

The functions are those of nemos (``BSplineEval``, ``CyclicBSplineEval``, ``RaisedCosineLogConv``), written out because importing nemos
takes longer than most fits; tests hold them equal. Columns are centred: a covariate explains differences, never the mean rate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.interpolate import BSpline

from .kernels import Kernels, Window, convolve_trials, raised_cosine_kernels

ORDER = 4
N_ONSET = 10
N_SPLINES, N_CYCLIC, N_LAGGED, N_PLANE = 8, 6, 8, 6  # functions of each basis; of a plane along each axis
GRID = 50


class Covariate(NamedTuple):
    """One effect: which signals enter, through which basis."""

    name: str
    basis: str
    signals: tuple[int, ...]  # columns of the binned signals
    low: tuple[float, ...]  # range of each signal
    high: tuple[float, ...]
    unit: str = ""


class Expanded(NamedTuple):
    """Columns of a covariate, and the curve that its weights make."""

    columns: np.ndarray  # (trial, bin in window, q)
    x: np.ndarray  # (point,) or (point, 2): values, or lags in bins
    curve: np.ndarray  # (point, q): effect on the log rate = curve @ weights


def splines(values: np.ndarray, low: float, high: float, n: int = N_SPLINES) -> np.ndarray:
    """Cubic B-splines on clamped, equally spaced knots, those of nemos' ``BSplineEval``: (value, n); values are clipped."""
    inner = np.linspace(low, high, n - ORDER + 2)
    knots = np.concatenate([[low] * (ORDER - 1), inner, [high] * (ORDER - 1)])
    clipped = np.clip(np.ravel(values).astype(float), low, high)
    return BSpline.design_matrix(clipped, knots, ORDER - 1).toarray()


def cyclic_splines(values: np.ndarray, low: float, high: float, n: int = N_CYCLIC) -> np.ndarray:
    """Cubic B-splines on a circle, which span what nemos' ``CyclicBSplineEval`` spans: (value, n)."""
    step = (high - low) / n
    knots = low + step * np.arange(-(ORDER - 1), n + ORDER)
    turned = low + np.mod(np.ravel(values).astype(float) - low, high - low)
    wide = BSpline.design_matrix(turned, knots, ORDER - 1).toarray()
    out = wide[:, :n].copy()
    out[:, : ORDER - 1] += wide[:, n:]
    return out


def _pointwise(functions: Callable, signal: np.ndarray, covariate: Covariate, window: Window, lead: int) -> Expanded:
    """A basis of the value in the same bin."""
    here = signal[:, lead + window.start : lead + window.stop, covariate.signals[0]]
    low, high = covariate.low[0], covariate.high[0]
    columns = functions(here, low, high).reshape(*here.shape, -1)
    centre = columns.mean(axis=(0, 1))
    x = np.linspace(low, high, GRID)
    return Expanded(columns - centre, x, functions(x, low, high) - centre)


def linear(signal: np.ndarray, covariate: Covariate, window: Window, lead: int) -> Expanded:
    """The value itself, in standard deviations."""
    here = signal[:, lead + window.start : lead + window.stop, covariate.signals[0]].astype(float)
    mean, sd = here.mean(), max(float(here.std()), 1e-12)
    x = np.linspace(covariate.low[0], covariate.high[0], GRID)
    return Expanded(((here - mean) / sd)[..., None], x, ((x - mean) / sd)[:, None])


def spline(signal: np.ndarray, covariate: Covariate, window: Window, lead: int) -> Expanded:
    """A smooth function of the value."""
    return _pointwise(splines, signal, covariate, window, lead)


def cyclic(signal: np.ndarray, covariate: Covariate, window: Window, lead: int) -> Expanded:
    """A smooth function of an angle."""
    return _pointwise(cyclic_splines, signal, covariate, window, lead)


def plane(signal: np.ndarray, covariate: Covariate, window: Window, lead: int) -> Expanded:
    """A smooth function of two values, such as a position: products of splines."""
    first, second = covariate.signals
    here = signal[:, lead + window.start : lead + window.stop]

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Products of the splines of two signals: (value, N_PLANE squared)."""
        u = splines(a, covariate.low[0], covariate.high[0], N_PLANE)
        v = splines(b, covariate.low[1], covariate.high[1], N_PLANE)
        return (u[:, :, None] * v[:, None, :]).reshape(len(u), -1)

    columns = product(here[:, :, first], here[:, :, second]).reshape(*here.shape[:2], -1)
    centre = columns.mean(axis=(0, 1))
    axes = [np.linspace(covariate.low[i], covariate.high[i], 20) for i in (0, 1)]
    a, b = (g.ravel() for g in np.meshgrid(*axes, indexing="ij"))
    return Expanded(columns - centre, np.stack([a, b], axis=1), product(a, b) - centre)


def lag_kernels(n_lags: int) -> Kernels:
    """Kernels of a lagged covariate: the same bin and those before it."""
    return raised_cosine_kernels(min(N_LAGGED, max(2, n_lags)), max(1, n_lags), 0)


def lagged(signal: np.ndarray, covariate: Covariate, window: Window, lead: int) -> Expanded:
    """The past of the signal, or of events: raised cosines over the covariate window, lag 0 included."""
    kernels = lag_kernels(lead + 1)
    here = signal[:, :, list(covariate.signals)].astype(float)
    sd = float(here.std()) if covariate.unit != "event" else 1.0
    inside = Window(lead + window.start, lead + window.stop)
    columns = convolve_trials(here / max(sd, 1e-12), kernels, inside)[:, :, 0]
    centre = columns.mean(axis=(0, 1))
    return Expanded(columns - centre, np.arange(len(kernels.values)), kernels.values / max(sd, 1e-12))


def onset(signal: np.ndarray, covariate: Covariate, window: Window, lead: int) -> Expanded:
    """A kernel from a moment on: the signal is the number of bins since then, negative where there is none."""
    n_lags = int(covariate.high[0])
    kernels = raised_cosine_kernels(N_ONSET, max(1, n_lags), 0)
    since = signal[:, lead + window.start : lead + window.stop, covariate.signals[0]].astype(int)
    inside = (since >= 0) & (since < len(kernels.values))
    columns = kernels.values[np.where(inside, since, 0)] * inside[..., None]
    centre = columns.mean(axis=(0, 1))
    return Expanded(columns - centre, np.arange(len(kernels.values)), kernels.values)


#: basis by name: one function from binned signals to columns
BASES: dict[str, Callable[[np.ndarray, Covariate, Window, int], Expanded]] = {
    "linear": linear, "spline": spline, "cyclic": cyclic, "lagged": lagged, "plane": plane, "onset": onset,
}  # fmt: skip
NEMOS_NAMES = {"linear": "linear", "spline": "BSplineEval", "cyclic": "CyclicBSplineEval", "lagged": "RaisedCosineLogConv",
               "plane": "BSplineEval * BSplineEval", "onset": "RaisedCosineLogConv"}  # fmt: skip
