"""Which regions of interest does a column call cells, in numbers, truth values or words?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from hdf5io.errors import InputError

log = logging.getLogger(__package__)
#: names of columns; a number above zero, "true", "accepted", ... is a cell
CELL_COLUMNS = (
    "iscell", "is_cell", "is_neuron", "is_soma", "accepted", "keep", "valid_roi", "is_valid", "valid", "selected", "status", "cell_status",
    "mask_type", "roi_type",
)  # fmt: skip
#: names of columns; the same is no cell
EXCLUDED = ("exclude", "excluded", "is_excluded", "exclude_code", "is_rejected", "discard", "discarded")
YES = ("true", "t", "yes", "y", "accepted", "accept", "cell", "neuron", "soma", "good", "keep", "included", "include", "valid", "excluded",
       "exclude", "rejected")  # fmt: skip
NO = ("false", "f", "no", "n", "", "none", "not cell", "not_cell", "not a cell", "non-cell", "noncell", "noise", "bad",
      "artifact", "artefact", "axon", "dendrite", "neuropil", "blood vessel", "vessel", "apical", "bouton", "glia", "astrocyte",
      "invalid", "discard")  # fmt: skip
REJECTED = ("rejected", "reject", "exclude", "excluded")
UNDECIDED = ("undecided", "unknown", "unsure", "unclear", "unsorted", "unlabeled", "unlabelled", "?", "nan")


def is_status(name: str) -> bool:
    """Return whether a name is that of a column (or line) that says which are cells."""
    key = name.strip().lower()
    return key in (*CELL_COLUMNS, *EXCLUDED) or "cell status" in key


def cells_said(values: Sequence[Any] | np.ndarray, name: str, where: Any) -> np.ndarray:
    """Return which are cells, (roi,) bool.

    Those that nobody decided on count where nobody accepted any, which is said; rejected ones never.

    Raises
    ------
    InputError : a word that is not known, or a number that is no flag (a probability, a number of a cell).

    >>> cells_said(["accepted", "rejected", "undecided"], "Cell Status", "x.csv").tolist()
    [True, False, False]
    >>> cells_said([0, 1, 0], "exclude", "x.csv").tolist()
    [True, False, True]
    """
    values, negated = np.asarray(values), name.strip().lower() in EXCLUDED
    if values.dtype.kind in "biuf":
        other = values[~np.isin(np.nan_to_num(values), (0, 1))]
        if len(other) and not negated:
            raise InputError(f"{where}: '{name}' holds {other[0]:g}; a column that says which are cells holds 0 and 1.")
        return (np.nan_to_num(values) > 0) != negated
    flags, undecided = [], []
    for value in values.tolist():
        word = (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip().lower()
        number = number_of(word)
        if number is None and word not in (*YES, *NO, *REJECTED, *UNDECIDED):
            raise InputError(f"{where}: '{name}' holds '{word}', which says neither cell nor no cell; write 1 and 0.")
        said = number > 0 if number is not None else word in YES and (negated or word not in REJECTED)
        flags.append(said != negated)
        undecided.append(number is None and word in UNDECIDED)
    cells, open_ones = np.array(flags, bool), np.array(undecided, bool)
    cells &= ~open_ones
    if open_ones.any() and not cells.any():
        log.warning("%s: '%s' accepts none; the %d that are undecided are taken as cells", where, name, open_ones.sum())
        return open_ones
    return cells


def number_of(word: str) -> float | None:
    """Return a word as a number, None where it is none."""
    try:
        value = float(word)
    except ValueError:
        return None
    return None if np.isnan(value) else value
