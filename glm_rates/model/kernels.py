"""Which shapes may a filter have? Raised cosines on a log axis, orthonormal, and their convolution within trials.

The kernels are those of nemos' ``RaisedCosineLogConv`` (Pillow et al. 2008), orthonormalised, because with few bins they are
rank-deficient. No history crosses a trial's edge.
"""

from __future__ import annotations

import functools
import logging
from typing import NamedTuple

import numpy as np

log = logging.getLogger(__name__)


class Kernels(NamedTuple):
    """Orthonormal kernels: column k of ``values`` (lag, kernel) spans the same space as the raw raised cosines."""

    values: np.ndarray
    first_lag: int
    spread: (
        np.ndarray
    )  # (kernel,) variance of each kernel's weight where those of all raw cosines vary alike; their sum is 1

    @property
    def size(self) -> int:
        """Number of independent kernels (the rank of the raised cosines)."""
        return self.values.shape[1]


class Window(NamedTuple):
    """Bins of the analysis window, ``start`` included, ``stop`` not."""

    start: int
    stop: int


def raised_cosines(n_kernels: int, n_lags: int) -> np.ndarray:
    """Raised cosines on a log axis, (lag, kernel): those of nemos' ``RaisedCosineLogConv`` with its defaults.

    Written out because every process would spend seconds on compiling them; a test holds them equal to nemos.
    """
    width, stretch = 2.0, 50.0
    axis = np.log(stretch * np.linspace(0, 1, n_lags) + 1) / np.log(stretch + 1)
    peaks = np.linspace(0, 1 - width / (n_kernels + width - 1), n_kernels)
    phase = np.pi * (axis[:, None] - peaks) / ((peaks[1] - peaks[0]) * width)
    return 0.5 * (np.cos(np.clip(phase, -np.pi, np.pi)) + 1)


def raised_cosine_kernels(n_kernels: int, n_lags: int, first_lag: int = 1, cut: float = 1e-2) -> Kernels:
    """Raised-cosine log kernels of nemos on ``n_lags`` bins, reduced to an orthonormal set.

    Parameters
    ----------
    n_kernels :
        Number of raised cosines, at least 2.
    n_lags :
        Length of the kernels in bins.
    first_lag :
        Lag of the first row: 1 for spike history, 0 for a stimulus.
    cut :
        Singular values below ``cut`` times the largest are dropped: directions that the bins cannot tell apart.

    Returns
    -------
    Kernels
        ``values`` (n_lags, rank), orthonormal columns.

    Examples
    --------
    >>> raised_cosine_kernels(8, 10).values.shape
    (10, 5)
    """
    if n_lags == 1:
        return Kernels(np.ones((1, 1)), first_lag, np.ones(1))
    raw = raised_cosines(n_kernels, n_lags)
    left, singular, _ = np.linalg.svd(raw, full_matrices=False)
    rank = int((singular > cut * singular[0]).sum())
    kernels = left[:, :rank] * np.sign(left[:, :rank].sum(axis=0) + 1e-12)
    return Kernels(kernels, first_lag, singular[:rank] ** 2 / (singular[:rank] ** 2).sum())


def convolve_trials(signal: np.ndarray, kernels: Kernels, window: Window, kind: type = float) -> np.ndarray:
    """Causal convolution within each trial: ``out[i, b, n, k] = sum_l kernel[l, k] signal[i, b - first_lag - l, n]``.

    Parameters
    ----------
    signal : (trial, bin, unit)
        Whole trials; bins before the first count as zero.
    kernels :
        Kernels whose row l is lag ``first_lag + l``.
    window :
        Bins b of the output.
    kind :
        Type of its numbers.

    Returns
    -------
    numpy.ndarray (trial, bin in window, unit, kernel)
    """
    n_trials, _, n_units = signal.shape
    n_lags, reverse = len(kernels.values), np.ascontiguousarray(kernels.values[::-1])
    reach = n_lags - 1 + kernels.first_lag
    out: np.ndarray = np.empty((n_trials, window.stop - window.start, n_units, kernels.size), kind)
    for trial in range(n_trials):
        padded = np.pad(signal[trial].astype(float), ((reach, 0), (0, 0)))
        lagged = np.lib.stride_tricks.sliding_window_view(padded, n_lags, axis=0)[window.start : window.stop]
        out[trial] = np.ascontiguousarray(lagged) @ reverse
    return out


@functools.cache
def _cached_kernels(bin_ms: int, effect: str, length_ms: int, n_kernels: int) -> Kernels:
    kernels = raised_cosine_kernels(n_kernels, max(1, length_ms // bin_ms), 0 if effect == "stimulus" else 1)
    if kernels.size < n_kernels:
        log.info(
            "%s: %d raised cosines reduced to the %d that %d ms bins can tell apart",
            effect,
            n_kernels,
            kernels.size,
            bin_ms,
        )
    return kernels


def standard_kernels(bin_ms: int, length_ms: dict[str, int], n_kernels: dict[str, int]) -> dict[str, Kernels]:
    """Kernels of each effect; says once where the bins cannot carry all the cosines that were asked for."""
    return {effect: _cached_kernels(bin_ms, effect, length_ms[effect], n_kernels[effect]) for effect in length_ms}
