"""What if a file does not say when a trial or an interval ends, or says that it ends before it begins?"""

from __future__ import annotations

import logging

import numpy as np

from hdf5io.errors import InputError

log = logging.getLogger("glm_rates.files.ends")


def check_ends(start: np.ndarray, stop: np.ndarray, needed: bool, where: str) -> None:
    """Tell trials that end before they begin; where ends are ``needed``, those without an end too.

    Parameters
    ----------
    start, stop : (trial,)
        In seconds on one clock; NaN where the file has none.
    needed :
        Whether windows stop with their trials (``--to-trial-end``).

    Raises
    ------
    InputError
        Ends are needed and some trials end before they begin.
    """
    early = stop < start
    if early.any():
        first = int(np.argmax(early))
        told = (
            f"{where}: {early.sum()} of {len(start)} trials end before they begin, the first from {start[first]:g} to "
            f"{stop[first]:g} s"
        )
        if needed:
            raise InputError(f"{told}. --to-trial-end needs the end of each trial on the clock of its start.")
        log.warning("%s: are their starts right? Their ends are not used", told)
    endless = np.isfinite(start) & ~np.isfinite(stop)
    if needed and endless.any():
        log.warning("%s: %d of %d trials have no end: their windows are whole", where, endless.sum(), len(start))


def closed(rows: np.ndarray, span: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Intervals whose missing starts and ends are those of the recording, and how many of these and of empty rows there were.

    Parameters
    ----------
    rows : (interval, 2)
        A NaN or infinite start or end is missing; a row of two NaN holds a place and says nothing.
    span : (interval, 2)
        When the recording as a whole was running.

    Examples
    --------
    >>> closed(np.array([[0, 100], [120, np.nan], [np.nan, np.nan]]), np.array([[0.0, 300.0]]))
    (array([[  0., 100.],
           [120., 300.]]), 1, 1)
    """
    pairs = np.reshape(np.asarray(rows, float), (-1, 2))
    nothing = np.isnan(pairs).all(axis=1)
    pairs = pairs[~nothing]
    low, high = ~np.isfinite(pairs[:, 0]), ~np.isfinite(pairs[:, 1])
    out = np.stack([np.where(low, span.min(), pairs[:, 0]), np.where(high, span.max(), pairs[:, 1])], axis=1)
    return out, int((low | high).sum()), int(nothing.sum())
