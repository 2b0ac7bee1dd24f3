"""What does a recording of spike times hold? Units, spikes, events, and when anything was recorded at all."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .tables import is_number

log = logging.getLogger("glm_rates.files.session")
REGION_COLUMNS = ("region", "location", "brain_area", "brain_region", "area", "ecephys_structure_acronym", "structure_acronym",
                  "brain_structure", "anatomical_location", "beryl_location", "cosmos_location", "allen_location")  # fmt: skip
LABELS = (
    "taste",
    "stimulus",
    "odor",
    "odour",
    "condition",
    "trial_type",
    "label",
    "stimulus_name",
    "stim_name",
    "odor_name",
)
KINDS = {
    "taste": ("taste", "tastant"),
    "odour": ("odor", "odour", "smell"),
}  # what labels name, by the name of their column
NO_LABEL = ("", "nan", "nat", "none", "<na>", "n/a", "#n/a", "null", "<undefined>", "<missing>")
FAR_S = 60.0  # between a time and its own trial: such times are on another clock
JITTER_S = 0.05  # so far outside its own trial a time may lie without a word
UNKNOWN = ("", "nan", "none", "unknown", "n/a", "na", "void", "unassigned", "null")


class Session(NamedTuple):
    """Spikes of every unit and the events that trials are aligned to; times in seconds on one clock."""

    unit_id: list[str]
    times_s: list[np.ndarray]
    region: list[str]
    columns: dict[str, list[Any]]  # further columns of the units
    event_s: np.ndarray  # empty: no events
    label: list[str]
    trial_id: list[Any]  # as the file names its trials
    stop_s: np.ndarray | None = None  # (event,) each trial's own end
    observed: list[np.ndarray | None] | None = None  # (unit,) of (interval, 2); None: the file does not say
    recorded: np.ndarray | None = None  # (interval, 2) for all units
    invalid: np.ndarray | None = None  # (interval, 2) for all units
    laser: EventLasers | None = None  # of each event; None: the file has no such column
    kind: str = "stimulus"  # what the labels name: stimulus, taste, odour


class EventLasers(NamedTuple):
    """Laser of each event."""

    on: np.ndarray  # (event,) the event is flagged
    interval_s: np.ndarray | None  # (event, 2) from the event; None: the file does not say when
    where: str  # columns that say so, or what is missing

    def of(self, kept: np.ndarray) -> EventLasers:
        """Those of some events."""
        return EventLasers(self.on[kept], None if self.interval_s is None else self.interval_s[kept], self.where)


def kind_of(*texts: str) -> str:
    """What labels name, by the name of their column or themselves: a taste, an odour, or just a stimulus.

    Examples
    --------
    >>> kind_of("odor_name"), kind_of("tastant"), kind_of("condition")
    ('odour', 'taste', 'stimulus')
    """
    found = [kind for text in texts for kind, stems in KINDS.items() if any(stem in text.lower() for stem in stems)]
    return found[0] if found else "stimulus"


def choose_label(columns: dict[str, list[Any]], wanted: str | None, where: str, n: int) -> tuple[list[str], str]:
    """Label of each event, from the column that was named or the one that is known to hold stimuli, and what labels name.

    Raises
    ------
    InputError
        No such column; or several could be meant, or only unknown ones are there: their names are listed.
    """
    names = ", ".join(columns)
    if wanted == "none":
        return ["stimulus"] * n, "stimulus"
    if wanted is not None:
        if wanted not in columns:
            raise InputError(f"{where} has no column '{wanted}'; it has {names}.")
        labels = same_spelling([text_of(value) for value in columns[wanted]], where)
        if len(set(labels)) > max(n / 2, 10):
            raise InputError(
                f"{where}: column '{wanted}' has {len(set(labels))} values in {n} rows; expected one of some stimuli in each row."
            )
        return labels, kind_of(wanted, *labels)
    known = [name for name in LABELS if name in columns]
    if known:
        texts = {name: [text_of(v) for v in columns[name]] for name in known}
        different = [name for name in known if _partition(texts[name]) != _partition(texts[known[0]])]
        if different:
            asked = ", ".join([known[0], *different])
            raise InputError(f"{where}: which column holds the stimulus, {asked}? Give --label NAME, or --label none.")
        if len(_labels(texts[known[0]])) == 1 and _candidates({k: v for k, v in columns.items() if k not in known}, n):
            told = _told(_candidates({k: v for k, v in columns.items() if k not in known}, n))
            raise InputError(
                f"{where}: column '{known[0]}' has one value, '{texts[known[0]][0]}'. Give --label NAME; candidates: {told}; or "
                f"--label {known[0]}."
            )
        log.info("%s: the stimulus is in column '%s'", where, known[0])
        labels = same_spelling(texts[known[0]], where)
        return labels, kind_of(*known, *labels)
    candidates = _candidates(columns, n)
    if candidates:
        told = _told(candidates)
        raise InputError(
            f"{where}: no column is known to hold the stimulus. Give --label NAME; candidates: {told}; or --label none."
        )
    log.info("%s: no column with labels, every trial has the same stimulus", where)
    return ["stimulus"] * n, "stimulus"


def _candidates(columns: dict[str, list[Any]], n: int) -> dict[str, int]:
    """Columns that tell some trials apart and repeat, with their numbers of values."""
    values = {name: _labels(text_of(v) for v in column) for name, column in columns.items()}
    most = {name: max(2, n // 2 if all(map(is_number, texts)) else n - 1) for name, texts in values.items()}
    return {name: len(texts) for name, texts in values.items() if 2 <= len(texts) <= most[name] and not _is_time(name)}


def _labels(texts: Iterable[str]) -> set[str]:
    """The different labels, without those that say that there is none."""
    return {text for text in texts if text.casefold() not in NO_LABEL}


def _told(candidates: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count} values)" for name, count in candidates.items())


def same_spelling(labels: list[str], where: str) -> list[str]:
    """Labels with one spelling for each number (1, 1.0, 01); those that differ in case or spaces alone are told."""
    spelled: dict[float, str] = {}
    out = []
    for label in labels:
        try:
            number = float(label)
        except ValueError:
            out.append(label)
            continue
        out.append(spelled.setdefault(number, text_of(number)) if math.isfinite(number) else label)
    negative = [text for text in spelled.values() if text.startswith("-")]
    if len(negative) == 1 and len(spelled) > 3:  # -1 and 1, or -1, 0, 1, are a choice or a sign
        n = out.count(negative[0])
        log.warning(
            "%s: %d trial(s) have the label %s, the only one below 0: is it 'none'? It counts as a stimulus",
            where,
            n,
            negative[0],
        )
    alike: dict[str, set[str]] = {}
    for label in _labels(out):
        alike.setdefault("".join(label.casefold().split()), set()).add(label)
    for names in alike.values():
        if len(names) > 1:
            told = ", ".join(f"'{name}'" for name in sorted(names))
            log.warning("%s: the labels %s differ only in case or spaces: they are %d stimuli", where, told, len(names))
    return out


def on_clock(events: np.ndarray, start: np.ndarray, stop: np.ndarray, where: str) -> np.ndarray:
    """Times of a column of a table of trials on the recording's clock; times from each trial's start become that.

    A time inside its own trial is on the clock; one that only its trial's start plus it puts there is counted from that start.
    """
    known = np.isfinite(events) & np.isfinite(start) & np.isfinite(stop)
    at, low, high = events[known], start[known] - 1e-6, stop[known] + 1e-6
    inside = (at >= low) & (at <= high)
    from_start = (at >= -1e-6) & (at <= high - low)
    if len(at) > 1 and inside.mean() < 0.5 and from_start.all():
        log.warning("%s counts from the start of each trial (0 to %g s): added to it", where, at.max())
        return events + start
    away = np.maximum(np.maximum(low - at, at - high), 0)
    if len(at) > 1 and inside.mean() < 0.5 and np.median(away) > FAR_S:
        raise InputError(
            f"{where}: times between {at.min():g} and {at.max():g} s, mostly more than {FAR_S:g} s from their own trials ({low.min():g} to "
            f"{high.max():g} s): is it the same unit of time and the same clock?"
        )
    absent = known & ((events == 0) | (events == -1))
    absent[known] &= ~inside
    astray = (away > JITTER_S) & ~absent[known]
    if astray.any():
        text = "%s: %d of %d times lie outside their own trials, the first at %g s (trial from %g to %g s)"
        log.warning(text, where, astray.sum(), len(at), *(values[astray][0] for values in (at, low, high)))
    if absent.any():
        log.warning("%s: %d time(s) of 0 or -1 outside their trials are taken as none", where, absent.sum())
    return np.where(absent, np.nan, events)


def _partition(labels: list[str]) -> list[int]:
    """Labels as numbers in order of appearance: equal where two columns tell the same trials apart."""
    number: dict[str, int] = {}
    return [number.setdefault(label, len(number)) for label in labels]


def _is_time(name: str) -> bool:
    return name.lower().endswith(("time", "times", "_s", "_ms", "_us", "start", "stop", "timeseries", "samples"))


def row_ids(column: Iterable[Any], n: int) -> list[int] | None:
    """A column as ids of rows: whole numbers, each once; None where it holds something else."""
    try:
        numbers = [float(text_of(value)) for value in column]
    except ValueError:
        return None
    if len(set(numbers)) != n or not all(map(float.is_integer, numbers)):
        return None
    return [int(number) for number in numbers]


def text_of(value: Any) -> str:
    """A cell as text; a whole number without its decimal point."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, (list, tuple, np.ndarray)):
        return " ".join(text_of(v) for v in np.ravel(np.asarray(value, object)))
    if isinstance(value, (float, np.floating)) and math.isfinite(value) and float(value).is_integer():
        return str(int(value))
    return str(value.item() if isinstance(value, np.generic) else value).strip()


def clean_events(data: Session, where: str) -> Session:
    """Leave out events without a time or a label, and repeated ones; say how many.

    Raises
    ------
    InputError
        Two events at the same time have different labels.
    """
    keep = np.isfinite(data.event_s)
    if not keep.all():
        log.warning("%s: %d event(s) without a time left out", where, (~keep).sum())
    named = np.array([label.lower() not in NO_LABEL for label in data.label], bool)
    if not named.all():
        kinds = sorted({repr(label) for label, good in zip(data.label, named) if not good})
        log.warning("%s: %d event(s) without a label (%s) left out", where, (~named).sum(), ", ".join(kinds))
    keep &= named
    seen: dict[int, str] = {}
    repeated = 0
    for index in np.flatnonzero(keep):
        at = round(float(data.event_s[index]) * 1e4)
        if at not in seen:
            seen[at] = data.label[index]
            continue
        if seen[at] != data.label[index]:
            raise InputError(
                f"{where}: two events at {data.event_s[index]:g} s with the labels '{seen[at]}' and '{data.label[index]}'; "
                "expected one stimulus at a time."
            )
        keep[index], repeated = False, repeated + 1
    if repeated:
        log.warning("%s: %d event(s) stand there more than once; each is used once", where, repeated)
    kept = np.flatnonzero(keep)
    return data._replace(
        event_s=data.event_s[kept],
        label=[data.label[i] for i in kept],
        trial_id=[data.trial_id[i] for i in kept],
        stop_s=None if data.stop_s is None else data.stop_s[kept],
        laser=None if data.laser is None else data.laser.of(kept),
    )
