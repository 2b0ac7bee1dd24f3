"""Is a unit there twice? Sorters split neurons, and tables are joined that overlap; each copy counts, and explains the other.

Runs in the blech_clust environment too: numpy only, Python 3.8 syntax.
"""

from __future__ import annotations

import numpy as np

ALIKE = 0.8  # correlation of counts from which two units are taken for copies
MIN_COMMON = 30  # spikes of either, below which chance may do it


def twins(counts, taste, observed=None):
    """Pairs of units with nearly the same spikes: a list of (unit, unit, correlation).

    Counts of each bin less their mean over the trials of the taste are compared, so that a common response is no likeness.

    Parameters
    ----------
    counts : (trial, bin, unit)
    taste : (trial,)
    observed : (trial, bin, unit) bool
        Bins that were recorded; all where it is None.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(0.2, (20, 50, 3))
    >>> twins(np.concatenate([counts, counts[:, :, :1]], axis=2), np.zeros(20))
    [(0, 3, 1.0)]
    """
    rest = np.array(counts, np.float32)
    seen = np.ones(rest.shape, bool) if observed is None else np.asarray(observed, bool)
    rest *= seen
    spikes = rest.sum(axis=(0, 1))
    for k in np.unique(taste):
        at = taste == k
        rest[at] -= rest[at].sum(axis=0) / np.maximum(seen[at].sum(axis=0), 1)
    rest *= seen
    rest = rest.reshape(-1, rest.shape[2])
    rest /= np.maximum(np.sqrt(np.einsum("ij,ij->j", rest, rest)), 1e-6)
    likeness = np.triu(rest.T @ rest, 1) * (np.minimum.outer(spikes, spikes) >= MIN_COMMON)
    return [(int(a), int(b), round(float(likeness[a, b]), 2)) for a, b in np.argwhere(likeness >= ALIKE)]


def told(pairs):
    """What a reader must know of them; empty where there are none."""
    if not pairs:
        return ""
    some = ", ".join(f"{a} and {b} ({r:.2f})" for a, b, r in pairs[:6]) + (" ..." if len(pairs) > 6 else "")
    return (
        f"units {some} have nearly the same spikes (correlation of their counts): the same neuron twice? Each counts, and with coupling "
        "explains the other; --units leaves one out"
    )
