"""Can these values be rates of neurons? Labels, counts, spikes, copies and means among them are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hdf5io.errors import InputError

SAME = 0.01  #: largest difference, in sd, of a column from the mean or sum of the others that it is


def refuse_counts(path: Path, y: np.ndarray) -> None:
    """Raise InputError where a column changes in whole numbers only, as labels, events and counts do, while the others do not."""
    flat = y.reshape(-1, y.shape[2])
    steps = np.diff(flat, axis=0)
    whole = np.array([np.isfinite(c).all() and (c == np.round(c)).all() for c in flat.T])
    if whole.all() and len(np.unique(flat)) == 2:
        raise InputError(
            f"{path}: only the values {', '.join(f'{v:g}' for v in np.unique(flat))}: spikes or events, no rates. Smooth them."
        )
    counts = whole & (steps != 0).any(0)
    if counts.any() and not whole.all():
        column = int(np.flatnonzero(counts)[0])
        raise InputError(
            f"{path}: column {column + 1} counts {flat[:, column].min():g} to {flat[:, column].max():g}: no rate of a neuron. Name it"
            " 'trial' in a header if it numbers trials, leave it out if not."
        )


def refuse_copies(path: Path, y: np.ndarray, recorded: np.ndarray) -> None:
    """Raise InputError where a column repeats another, or is the mean or the sum of all others: no neuron, though it would be heard as one."""
    flat, n = y[:, :, recorded].reshape(-1, len(recorded)).astype(float), len(recorded)
    moving = np.flatnonzero(flat.std(0) > 0)
    _, first, place = np.unique(flat[:, moving].T, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[place.ravel()] != np.arange(len(moving)))
    if len(again):
        one, other = (int(recorded[moving[i]]) + 1 for i in (first[place.ravel()[again[0]]], again[0]))
        raise InputError(
            f"{path}: columns {one} and {other} hold the same values, so they are one neuron. Leave one out."
        )
    rest = flat.sum(1, keepdims=True) - flat
    for what, made in (("mean", rest / max(n - 1, 1)), ("sum", rest)):
        same = np.abs(flat - made).max(0) < SAME * flat.std(0)
        if n > 3 and same.any():
            raise InputError(
                f"{path}: column {int(recorded[np.argmax(same)]) + 1} is the {what} of the others, no neuron. Leave it out."
            )


def check_values(path: Path, seen: np.ndarray) -> None:
    share = float((np.abs(seen) > 1.5).mean())
    if share > 0:
        raise InputError(
            f"{path}: {share:.1%} of the values lie outside [-1.5, 1.5]; rates x = tanh(h) are expected. Rescale them."
        )
    if float(seen.std()) < 1e-6:
        raise InputError(f"{path}: the activity is constant; nothing can be inferred from it.")
