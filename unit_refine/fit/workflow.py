"""Which labelled units does a training learn from, and are they enough?"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from ..config import TrainConfig
from ..files import recordings
from ..units.assemble import Units, assemble

log = logging.getLogger(__package__)

MIN_UNITS, MIN_CLASS, GOOD_CLASS = 50, 6, 100


def load_units(config: TrainConfig) -> Units:
    """Return the labelled units of a training run; log every notice; refuse too few of them."""
    found, notices = recordings.read_all(config)
    units = assemble(found, config, config.task, config.metric_names, config.duplicates)
    for notice in notices + units.notices:
        log.warning("%s", notice)
    check_size(units, config.allow_small)
    return units


def check_size(units: Units, allow_small: bool) -> None:
    """Refuse, or with ``allow_small`` warn of, fewer units than a classifier can learn from."""
    counts = np.bincount(units.y, minlength=len(units.classes))
    shown = ", ".join(f"{n} {name}" for name, n in zip(units.classes, counts))
    if len(units.y) <= MIN_UNITS or counts.min() < MIN_CLASS:
        text = f"{len(units.y)} labelled units ({shown}): more than {MIN_UNITS} in all and {MIN_CLASS} of each class are needed"
        if not allow_small or counts.min() < 2:
            raise InputError(f"{text}. Label more units, or go on with --allow-small (at least 2 of each class).")
        log.warning("%s; going on because of --allow-small", text)
    elif counts.min() < GOOD_CLASS:
        log.warning("%s: below %d units of a class the scores are uncertain", shown, GOOD_CLASS)


def counts_of(units: Units) -> dict[str, Any]:
    """Return how many units and recordings a training run would use."""
    counts = dict(zip(units.classes, np.bincount(units.y, minlength=len(units.classes)).tolist()))
    return {
        "n_units": len(units.y), "counts": counts, "n_metrics": units.metrics.shape[1],
        "n_recordings": len(np.unique(units.groups)), "n_duplicates": units.n_duplicates,
    }  # fmt: skip


def describe(units: Units) -> str:
    """Return the same in words."""
    c = counts_of(units)
    return f"{c['n_units']} units ({', '.join(f'{n} {k}' for k, n in c['counts'].items())}) of {c['n_recordings']} recording{'s' * (c['n_recordings'] > 1)}, {c['n_metrics']} metrics"
