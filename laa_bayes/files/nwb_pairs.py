"""Which stimulus was injected while a response was recorded? By table, electrode, sweep number or time; never by the order of names.

Files of version 1 (the Allen Institute's cell types, old MIES) hold responses in ``acquisition/timeseries``, name the type of a series
in ``ancestry`` and its electrode in ``electrode_name``; a response and its stimulus have one name there.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .request import Request
from .units import CURRENT, unit_key

RESPONSE, STIMULUS = "CurrentClampSeries", "CurrentClampStimulusSeries"
TABLE = "general/intracellular_ephys/intracellular_recordings"
log = logging.getLogger("laa_bayes")


class Part(NamedTuple):
    """A stretch of a series: ``length`` samples from ``start`` on, all of it where ``length`` is None."""

    series: Any
    start: int = 0
    length: int | None = None
    template: bool = False  #: a waveform without a time of its own

    @property
    def name(self) -> str:
        """Name of the series in the file."""
        return str(self.series.name).rpartition("/")[2]


class Pair(NamedTuple):
    """One sweep: a response and, where the file tells it, its stimulus."""

    response: Part
    stimulus: Part | None
    why: str = "the file names no stimulus for it"  #: where there is none


def pairs_of(path: Path, file: Any, request: Request) -> list[Pair]:
    """Return the sweeps of one electrode, in the order of sweep number, starting time and name.

    Raises
    ------
    InputError
        No current-clamp response, or several electrodes of which none was named.
    """
    pairs = pairs_by_table(file) or pairs_by_series(file)
    if not pairs:
        kinds = sorted({kind for _, kind in series_in(file, acquired(file)) if "Series" in kind})
        clamp = " It is a voltage-clamp recording." if "VoltageClampSeries" in kinds else ""
        raise InputError(f"{path}: no {RESPONSE} in /acquisition (there are {', '.join(kinds) or 'no series'}).{clamp}")
    electrodes = sorted({electrode_name(pair.response) for pair in pairs})
    if request.channel is not None:
        chosen = [p for p in pairs if request.channel in (electrode_name(p.response), p.response.name)]
        if not chosen:
            names = ", ".join(f"'{name}'" for name in electrodes)
            raise InputError(f"{path}: --channel '{request.channel}' is no electrode ({names}) and no response series.")
        return in_order(path, chosen)
    if len(electrodes) > 1:
        names = ", ".join(f"'{name}'" for name in electrodes)
        raise InputError(f"{path}: {len(electrodes)} electrodes: {names}. Name one: --channel NAME.")
    return in_order(path, pairs)


def in_order(path: Path, pairs: list[Pair]) -> list[Pair]:
    """Return the pairs of one electrode as sweeps; InputError where two responses are of one sweep (voltage and monitor, as ABF converters write)."""
    pairs = sorted(pairs, key=place_of)
    for a, b in itertools.pairwise(pairs):
        one = sweep_number(a.response) is not None and place_of(a)[:3] == place_of(b)[:3]
        if one and a.response.series != b.response.series:
            raise InputError(
                f"{path}: two responses of electrode '{electrode_name(a.response)}' in sweep {sweep_number(a.response)}: "
                f"'{a.response.name}', '{b.response.name}'. Name the voltage: --channel NAME."
            )
    return pairs


def place_of(pair: Pair) -> tuple:
    """Return what the order of sweeps goes by: sweep number, starting time, place in the series, name with its numbers as numbers."""
    part = pair.response
    number, start = sweep_number(part), starting_s(part)
    words = [(int(w), "") if w.isdigit() else (-1, w) for w in re.split(r"(\d+)", part.name) if w]
    return (
        math.inf if number is None else number,
        math.inf if start is None or math.isnan(start) else start,
        part.start,
        words,
    )


def sweep_number(part: Part) -> int | None:
    """Return the sweep number of a series; None where it has none."""
    number = part.series.attrs.get("sweep_number")
    return None if number is None else int(np.ravel(number)[0])


def series_in(file: Any, group: str) -> Iterator[tuple[Any, str]]:
    """Yield the objects of a group that can be opened, with their NWB type."""
    if group not in file:
        return
    for name in file[group]:
        try:
            item = file[group][name]
        except (KeyError, OSError, RuntimeError):
            log.warning("/%s/%s: leads nowhere; it is left out", group, name)
            continue
        yield item, kind_of(item)


def acquired(file: Any) -> str:
    """Return the group of the recorded series: that of version 1 where it is there."""
    return "acquisition/timeseries" if "acquisition/timeseries" in file else "acquisition"


def pairs_by_table(file: Any) -> list[Pair]:
    """Return the pairs of the table of intracellular recordings; none where the file has no such table."""
    if TABLE not in file:
        return []
    table, pairs = hdf5io.require(file, TABLE), []
    responses = references(file, table, "responses", "response")
    stimuli = references(file, table, "stimuli", "stimulus") or [None] * len(responses)
    why = "its row in the table of intracellular recordings has no current-clamp stimulus"
    for response, stimulus in zip(responses, stimuli, strict=False):
        if response is None or kind_of(response.series) != RESPONSE:
            continue
        if stimulus is not None and kind_of(stimulus.series) == STIMULUS:
            pairs.append(Pair(response, stimulus._replace(template="/templates/" in stimulus.series.name)))
        else:
            pairs.append(Pair(response, None, why))
    listed = {pair.response.series.name for pair in pairs}
    others = [x.name for x, kind in series_in(file, acquired(file)) if kind == RESPONSE and x.name not in listed]
    if pairs and others:
        log.warning(
            "%d responses are in no row of the table of recordings; they are left out: %s", len(others), others[:6]
        )
    return pairs


def references(file: Any, table: Any, category: str, column: str) -> list[Part | None]:
    """Return a column of references to stretches of series, by row."""
    if category not in table or column not in table[category]:
        return []
    cells = hdf5io.array(table[category], column, ndim=1, kinds="V")
    if cells.dtype.names is None or not {"idx_start", "count", "timeseries"} <= set(cells.dtype.names):
        raise InputError(f"{file.filename}: '{cells.name}' holds no references to time series.")
    found: list[Part | None] = []
    for start, count, reference in zip(*(cells[name] for name in ("idx_start", "count", "timeseries")), strict=True):
        found.append(Part(file[reference], int(start), int(count)) if start >= 0 and count > 0 and reference else None)
    return found


def kind_of(item: Any) -> str:
    """Return the NWB type of an object; in version 1 the last of its ancestry."""
    labels: Any = np.ravel(item.attrs.get("ancestry", item.attrs.get("neurodata_type", "")))
    return text_of(labels[-1]) if len(labels) else ""


def text_of(value: Any) -> str:
    """Return a text that HDF5 holds as bytes or as text, alone or in an array of one."""
    value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def pairs_by_series(file: Any) -> list[Pair]:
    """Return every response with the stimulus of its electrode and sweep number, else of its electrode and time."""
    responses = [Part(item) for item, kind in series_in(file, acquired(file)) if kind == RESPONSE]
    stimuli = all_stimuli(file)
    if acquired(file) == "acquisition":
        return [pair_of(response, responses, stimuli) for response in responses]
    named = {s.name: s for s in stimuli}
    pairs = [(response, named.get(response.name)) for response in responses]
    return [Pair(r, s) if s is not None and same_electrode(r, s) else pair_of(r, responses, stimuli) for r, s in pairs]


def all_stimuli(file: Any) -> list[Part]:
    """Return the current-clamp stimuli of a file: presented ones, else plain series in a unit of current, else templates."""
    presented = list(series_in(file, "stimulus/presentation"))
    plain = [Part(item) for item, kind in presented if kind == "TimeSeries" and unit_key(unit_of(item)) in CURRENT]
    templates = (Part(item, template=True) for item, kind in series_in(file, "stimulus/templates") if kind == STIMULUS)
    return [Part(item) for item, kind in presented if kind == STIMULUS] or plain or list(templates)


def unit_of(series: Any) -> str:
    """Return the unit that a series states; nothing where it does not."""
    try:
        return text_of(series["data"].attrs.get("unit", ""))
    except (KeyError, OSError, RuntimeError):  # no data, or a link that leads nowhere
        return ""


def samples(series: Any) -> Any:
    """Return the dataset of a series' samples, (n,) or (n, 1)."""
    shape: tuple[int, ...] = ()
    with contextlib.suppress(KeyError, OSError, RuntimeError):  # a link that leads nowhere: said below
        shape = getattr(series.get("data"), "shape", None) or ()
    return hdf5io.array(series, "data", ndim=2 if len(shape) == 2 and shape[1] == 1 else 1)


def pair_of(response: Part, responses: list[Part], stimuli: list[Part]) -> Pair:
    """Return a response with the one stimulus that its electrode, sweep number and time allow."""
    own = [s for s in stimuli if same_electrode(response, s)]
    if len({electrode_name(r) for r in responses}) > 1:  # a stimulus without an electrode may be any one's
        own = [s for s in own if electrode_name(s) == electrode_name(response)]
    number = sweep_number(response)
    numbered = [s for s in own if number is not None and sweep_number(s) == number]
    if len(numbered) == 1:
        return Pair(response, numbered[0])
    if numbered:
        own = numbered
    elif number is not None and own and all(sweep_number(s) is not None for s in own):
        return Pair(response, None, f"no stimulus of its electrode has its sweep number {number}")
    alone = sum(same_electrode(response, other) for other in responses) == 1
    if len(own) == 1 and alone:
        return Pair(response, own[0])
    same_time = [s for s in own if overlap_s(response, s) > 0]
    rivals = [r for r in responses if same_electrode(response, r) and overlap_s(response, r) > 0]
    if len(same_time) == 1 and len(rivals) == 1:
        return Pair(response, same_time[0])
    names = ", ".join(f"'{s.name}'" for s in own[:6]) + (", ..." if len(own) > 6 else "")
    why = f"{len(own)} stimuli ({names}) may belong to it, and no table, sweep number or time tells which"
    return Pair(response, None, why if own else "its electrode has no stimulus")


def same_electrode(a: Part, b: Part) -> bool:
    """Return whether two series link to one electrode; series without a link are taken as the only electrode's."""
    named = [electrode_name(part) for part in (a, b) if "electrode_name" in part.series]
    if len(named) == 2:
        return named[0] == named[1]
    first, second = (part.series.get("electrode") for part in (a, b))
    return first is None or second is None or first == second


def electrode_name(part: Part) -> str:
    """Return the name of a series' electrode."""
    if "electrode_name" in part.series:
        return text_of(part.series["electrode_name"][()])
    link = part.series.get("electrode")
    if link is None:
        return "unnamed"
    target = part.series.get("electrode", getlink=True)
    path = getattr(target, "path", None) or link.name
    return str(path).rpartition("/")[2]


def overlap_s(a: Part, b: Part) -> float:
    """Return how long two series lasted together, in seconds; NaN starts overlap with nothing."""
    spans = []
    for part in (a, b):
        start, rate = starting_s(part), rate_of(part)
        if start is None or rate is None or math.isnan(start):
            return 0.0
        spans.append((start, start + len(samples(part.series)) / rate))
    return min(spans[0][1], spans[1][1]) - max(spans[0][0], spans[1][0])


def starting_s(part: Part) -> float | None:
    """Return when a series begins, in seconds; None where the file does not tell."""
    if "timestamps" in part.series:
        times = hdf5io.array(part.series, "timestamps", ndim=1)
        return float(times[part.start]) if part.start < len(times) else None
    if "starting_time" not in part.series:
        return None
    start, rate = float(np.ravel(part.series["starting_time"][()])[0]), rate_of(part)
    return start if rate is None else start + part.start / rate


def rate_of(part: Part) -> float | None:
    """Return the sampling rate in Hz; None where it is not stated."""
    if "timestamps" in part.series:
        times = part.series["timestamps"][: min(1000, len(part.series["timestamps"]))]
        return 1.0 / float(np.median(np.diff(times))) if len(times) > 1 else None
    return rate_stated(part)


def rate_stated(part: Part) -> float | None:
    """Return the sampling rate in Hz that stands beside the starting time; None where it is not stated."""
    if "starting_time" not in part.series:
        return None
    rate = float(np.ravel(part.series["starting_time"].attrs.get("rate", math.nan))[0])
    return rate if rate > 0 else None


def named_stimulus(path: Path, file: Any, request: Request) -> Part | None:
    """Return the stimulus that was named with --current-from."""
    if request.current_from is None:
        return None
    stimuli = all_stimuli(file)
    named = [s for s in stimuli if s.name == request.current_from]
    if not named:
        names = ", ".join(f"'{s.name}'" for s in stimuli[:12]) or "none"
        raise InputError(f"{path}: --current-from '{request.current_from}' is none of the stimuli ({names}).")
    return named[0]
