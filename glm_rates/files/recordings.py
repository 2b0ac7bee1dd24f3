"""Which reader takes this file of spike times? One function a format, by the file's ending."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from hdf5io.errors import InputError

from .foreign import how_to_convert
from .selection import select
from .session import Session
from .tables import READERS as TABLES

log = logging.getLogger("glm_rates.files.recordings")
FEW = 5  # times that a clock may begin again; an unsorted list goes back far more often
READERS = dict.fromkeys(TABLES, ("spike_table", "read_spike_table"))
READERS[".nwb"] = ("nwb", "read_nwb")


def read_times(source: Path, options: dict[str, Any]) -> Session:
    """Spike times and events of a file, only of the units that ``--units`` selects.

    Raises
    ------
    InputError
        No reader for this ending, no units, or what the reader says.
    """
    ending = source.suffix.lower()
    if ending not in READERS:
        expected = "a blech_clust directory, .nwb, or a spike table (.csv, .tsv, .txt, .parquet, .npz: unit_id, time_s)"
        raise InputError(f"{source}: cannot read '{ending}' files; expected {expected}.{how_to_convert(source)}")
    module, function = READERS[ending]
    data = getattr(importlib.import_module(f"{__package__}.{module}"), function)(source, options)
    if not data.unit_id:
        raise InputError(f"{source}: no units.")
    if options.get("observed") and ending == ".nwb":
        from .spike_table import read_observed

        data = data._replace(observed=read_observed(Path(options["observed"]), data.unit_id, None))
    data = of_units(data, source.name)
    must_run_forward(data.times_s, source.name)
    data = data._replace(times_s=once_each(data.times_s, source.name))
    return only(data, chosen_units(options.get("units"), unit_columns(data), len(data.unit_id)))


def of_units(data: Session, where: str) -> Session:
    """The session without what a sorter gave to no unit (id -1 among others); tells ids that several units have."""
    lost = [i for i, name in enumerate(data.unit_id) if name == "-1"]
    if (
        lost
        and not any(name.startswith("-") for name in data.unit_id if name != "-1")
        and len(lost) < len(data.unit_id)
    ):
        n_spikes = sum(len(data.times_s[i]) for i in lost)
        log.warning("%s: %d spike(s) of unit -1, which sorters call what belongs to no unit: left out", where, n_spikes)
        data = only(data, np.setdiff1d(np.arange(len(data.unit_id)), lost))
    twice = sorted({name for name in data.unit_id if data.unit_id.count(name) > 1})
    if twice:
        text = "%s: %d unit id(s) (%s) stand for several units each (of several probes?): they stay apart, by their place in the file"
        log.warning(text, where, len(twice), ", ".join(twice[:5]) + (" ..." if len(twice) > 5 else ""))
    return data


def must_run_forward(times_s: list[np.ndarray], where: str) -> None:
    """Refuse spikes whose times, as they are written, begin again and overlap: a counter that wrapped, or recordings one after the other.

    Raises
    ------
    InputError
        Most units go back, each at most `FEW` times, to times that they have passed.
    """
    back = []
    for times in times_s:
        turns = np.flatnonzero(np.diff(times) < 0) + 1
        if not 0 < len(turns) <= FEW < len(times) / 8 or len(np.unique(times)) < 0.9 * len(times):
            continue  # unsorted, or the same list twice (`once_each`)
        low, high = (np.array([end(run) for run in np.split(times, turns)]) for end in (np.min, np.max))
        overlap = np.minimum(high[1:], high[:-1]) - np.maximum(low[1:], low[:-1])
        if (overlap > (high - low)[1:] / 2).any():
            back.append((high[0], low[1]))
    if len(back) > 1 and len(back) > len(times_s) / 2:
        raise InputError(
            f"{where}: the spikes of {len(back)} of {len(times_s)} units go on to {back[0][0]:g} s and begin again at {back[0][1]:g} s: a clock that "
            "wraps, or recordings one after the other? All times are expected on one clock; where they are, sort each unit's spikes by time."
        )


def once_each(times_s: list[np.ndarray], where: str) -> list[np.ndarray]:
    """Spikes of each unit in order, those that stand there twice used once: no unit fires twice at one time.

    Times that are whole milliseconds are no evidence of that, unless all spikes stand there equally often.
    """
    every = [np.sort(t) for t in times_s]
    repeated = sum(int((np.diff(t) == 0).sum()) for t in every)
    if not repeated:
        return every
    times_each = {int(n) for t in every for n in np.unique(np.unique(t, return_counts=True)[1])}
    coarse = all(np.abs(t * 1000 - np.round(t * 1000)).max(initial=0) < 1e-6 for t in every)
    if coarse and min(times_each) == 1:
        return every
    log.warning("%s: %d spike(s) stand there more than once; each is used once", where, repeated)
    return [np.unique(t) for t in every]


def unit_columns(data: Session) -> dict[str, list[Any]]:
    """What ``--units`` may ask of: the file's own columns, and id, region, number of spikes and rate where it has none."""
    every = np.concatenate([*data.times_s, np.zeros(0)])
    seconds = max(float(np.ptp(every)), 1e-9) if len(every) else 1.0
    n_spikes = [len(t) for t in data.times_s]
    computed: dict[str, list[Any]] = {
        "unit_id": data.unit_id,
        "region": data.region,
        "n_spikes": n_spikes,
        "firing_rate": [n / seconds for n in n_spikes],
    }
    return {**computed, **data.columns}


def chosen_units(expression: str | None, columns: dict[str, list[Any]], n: int) -> np.ndarray:
    """Indices of the units that an expression selects; all without one.

    Raises
    ------
    InputError
        It selects none.
    """
    if not expression:
        return np.arange(n)
    chosen = select(expression, columns, n)
    if not len(chosen):
        raise InputError(f"--units {expression}: holds for none of {n} units.")
    log.info("--units %s: %d of %d units", expression, len(chosen), n)
    return chosen


def only(data: Session, chosen: np.ndarray) -> Session:
    """The same session with these units."""
    if len(chosen) == len(data.unit_id):
        return data
    return data._replace(
        unit_id=[data.unit_id[i] for i in chosen],
        times_s=[data.times_s[i] for i in chosen],
        region=[data.region[i] for i in chosen],
        columns={name: [column[i] for i in chosen] for name, column in data.columns.items()},
        observed=None if data.observed is None else [data.observed[i] for i in chosen],
    )
