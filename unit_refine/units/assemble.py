"""Which labelled units do the recordings give together: checked, deduplicated, in canonical order?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..config import Labelled
from .labels import LABEL_COLUMNS, encode, parse_label_map, read_labels, tidy
from .metrics import KNOWN, SIZE, choose_columns, drop_empty, duplicates, give_away, negative_share, numeric, with_sign
from .releases import ANY, Release, difference, together
from .spelling import as_read

#: Metrics with a unit of measure whose size hardly differs between recordings.
MEASURED = frozenset({
    "peak_to_trough_duration", "trough_half_width", "peak_half_width", "repolarization_slope", "recovery_slope", "velocity_above",
    "velocity_below", "exp_decay", "spread", SIZE, "drift_ptp", "drift_std", "drift_mad", "presence_ratio",
})  # fmt: skip
OTHER_UNIT = 1.7  #: decades
MIN_SIZES = 10  #: fewer units tell nothing about the size of a metric


class Recording(NamedTuple):
    """The units of one input as its files give them."""

    name: str
    source: Path
    unit_ids: list[str]
    table: pd.DataFrame  #: every column of the file, today's metric names
    labels: list[object] | None  #: as spelled in the file; None where the input has none
    params: dict  #: metric_params of an analyzer, for model_info.json
    id_of: str = "unit"  #: what the ids are: numbers of a sorter's "unit", a unit's "name" (text for SpikeInterface), or Phy's "cluster"
    release: Release = ANY  #: of SpikeInterface, that computed the metrics


class Units(NamedTuple):
    """Labelled units of all recordings, checked, in canonical order (recording, unit id; metrics by name)."""

    metrics: pd.DataFrame  #: (n, m) float32
    y: np.ndarray  #: (n,) class index
    classes: tuple[str, ...]
    unit_ids: list[str]
    groups: np.ndarray  #: (n,) what is held out together
    animals: np.ndarray | None  #: (n,) animal, where it is known
    params: dict
    notices: list[str]
    n_duplicates: int
    weight: np.ndarray | None = None  #: (n,) weight of each unit in a fit, where they differ
    added: np.ndarray | None = None  #: (n,) units that are added to those of a base model
    release: Release = ANY  #: of SpikeInterface, that computed the metrics


def id_text(value: object) -> str:
    """Return a unit id as text; a whole number written as a decimal one becomes that number.

    >>> id_text(12.0), id_text(" a3 "), id_text("1.200e+01"), id_text("012")
    ('12', 'a3', '12', '012')
    """
    text = str(value).strip()
    decimal = re.fullmatch(r"-?\d+\.\d*(e\+?\d\d?)?", text, re.IGNORECASE)
    return str(int(float(text))) if decimal and float(text).is_integer() else text


def cluster_text(value: object) -> str:
    """Return the id of a Phy cluster as text. Clusters are integers, however they are spelled; SpikeInterface's ids need not be.

    >>> cluster_text(" 014"), cluster_text("12.00"), cluster_text("+3"), cluster_text("a3")
    ('14', '12', '3', 'a3')
    """
    text = str(value).strip()
    return str(int(text.partition(".")[0])) if re.fullmatch(r"[+-]?\d+(\.0*)?", text) else text


def off_by_one(ids: Iterable[str], there: Iterable[str]) -> str:
    """Return in words that ids are those that are there plus or minus one: counted from one, as MATLAB does; empty where not.

    Two ids at least must be unknown as they are: one alone can be a cluster that a merge made.

    >>> off_by_one(["1", "3", "4"], ["0", "2", "3"]), off_by_one(["1", "2"], ["0", "1", "2"])
    ('all ids would fit less 1: counted from one?', '')
    """
    ours, theirs = set(ids), set(there)
    if not all(re.fullmatch(r"-?\d{1,15}", i) for i in ours) or not ours:
        return ""
    for step, told in ((-1, "less 1: counted from one?"), (1, "plus 1: counted from zero?")):
        moved = {str(int(i) + step) for i in ours}
        if ours != theirs and (moved == theirs or (moved <= theirs and len(ours - theirs) > 1)):
            return f"all ids would fit {told}"
    return ""


def json_ids(texts: Sequence[str], named: bool = False) -> list[int | str]:
    """Return unit ids as SpikeInterface's JSON holds them: all numbers, or all text where one is text (``named``: they are).

    >>> json_ids(["3", "12"]), json_ids(["3", "4-7"]), json_ids(["03"]), json_ids(["3"], named=True)
    ([3, 12], ['3', '4-7'], ['03'], ['3'])
    """
    numbers = not named and all(re.fullmatch(r"0|-?[1-9]\d{0,14}", text) for text in texts)
    return [int(text) if numbers else text for text in texts]


def id_key(text: str) -> tuple[int, int, str]:
    """Sort key of unit ids: numbers by value, then text."""
    return (0, int(text), "") if re.fullmatch(r"-?\d{1,18}", text) else (1, 0, text)


def column(table: pd.DataFrame, name: str, path: Path) -> list[object]:
    """Return a column's values, or say which columns there are."""
    if name not in table.columns:
        text = [str(c) for c in table.columns if not pd.api.types.is_numeric_dtype(table[c])] or list(
            map(str, table.columns)
        )
        raise InputError(f"{path}: no column '{name}'; columns with text: {', '.join(text[:12])}.")
    return table[name].tolist()


def name_apart(recordings: Sequence[Recording]) -> list[Recording]:
    """Return recordings whose names differ: the folder is added where files are called the same."""
    seen: Counter[str] = Counter()
    repeated = {name for name, n in Counter(r.name for r in recordings).items() if n > 1}
    result = []
    for recording in recordings:
        name = (
            f"{recording.source.resolve().parent.name}/{recording.name}"
            if recording.name in repeated
            else recording.name
        )
        seen[name] += 1
        result.append(recording._replace(name=name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return result


def split_by(recording: Recording, by: str) -> list[Recording]:
    """Return the recordings that one table holds, told apart by a column; the recording itself for "file".

    Raises
    ------
    InputError : no such column; units without a value in it.
    """
    if by == "file":
        return [recording]
    values = np.array(group_values(recording, by, "--group-by"))
    parts = []
    for value in dict.fromkeys(values.tolist()):
        rows = np.flatnonzero(values == value)
        labels = None if recording.labels is None else [recording.labels[i] for i in rows]
        table = recording.table.iloc[rows].reset_index(drop=True)
        ids = [recording.unit_ids[i] for i in rows]
        parts.append(recording._replace(name=value, unit_ids=ids, table=table, labels=labels))
    return parts


def group_values(recording: Recording, by: str, option: str) -> list[str]:
    """Return what each unit of a recording is held out with."""
    if by == "file":
        return [recording.name] * len(recording.unit_ids)
    values = column(recording.table, by, recording.source)
    if by in KNOWN:
        raise InputError(f"{option} '{by}': a metric, which tells no recordings or animals apart; name another column.")
    if any(pd.isna(v) for v in values):
        raise InputError(
            f"{recording.source}: {option} '{by}': {sum(map(pd.isna, values))} units have no value in this column."
        )
    return [id_text(v) for v in values]


def animal_values(recordings: Sequence[Recording], by: str | None) -> list[str] | None:
    """Return the animal of each unit: from a column, or from the part of the file's name that matches an expression."""
    if by is None:
        return None
    if all(by in r.table.columns for r in recordings):
        return [a for r in recordings for a in group_values(r, by, "--animal-by")]
    animals = []
    for recording in recordings:
        try:
            match = re.search(by, recording.name)
        except re.error as error:
            raise InputError(f"--animal-by '{by}': neither a column nor a regular expression ({error}).") from None
        if match is None:
            raise InputError(
                f"--animal-by '{by}': no column of {recording.source}, and no match in its name '{recording.name}'."
            )
        animals += [match.group(match.lastindex or 0)] * len(recording.unit_ids)
    return animals


def assemble(
    recordings: Sequence[Recording], config: Labelled, task: str, metric_names: Sequence[str], on_duplicates: str,
    classes: Sequence[str] | None = None,
) -> Units:  # fmt: skip
    """Return labelled units of all recordings, checked, deduplicated and in canonical order.

    Parameters
    ----------
    classes : a model's class names in its own order, one for each class of the task; some may have no unit then.

    Raises
    ------
    InputError : see the functions it calls; a column that gives the label away; duplicates where they are refused.
    """
    recordings, notices = one_sign(recordings)
    labels: list[str] = []
    label_map, by_animal = parse_label_map(config.label_map), getattr(config, "animal_by", None)  # of train only
    notices = [*notices, *unused(label_map, recordings)]
    for recording in recordings:
        canonical, more = read_labels(recording.labels or [], task, str(recording.source), label_map)
        labels, notices = labels + canonical, notices + more
    encoded = encode(labels, task, classes)
    excluded = [*LABEL_COLUMNS, *filter(None, (config.group_by, config.label_column, by_animal))]
    metric_names = as_read(metric_names, [r.table.columns for r in recordings])
    columns, more = choose_columns([r.table for r in recordings], metric_names, excluded)
    notices += encoded.notices + more
    metrics = pd.concat([numeric(r.table[columns], str(r.source)) for r in recordings], ignore_index=True)
    groups = np.array([g for r in recordings for g in group_values(r, config.group_by, "--group-by")], dtype=str)
    animals = animal_values(recordings, by_animal)
    ids = [i for r in recordings for i in r.unit_ids]
    recording_of = np.repeat(np.arange(len(recordings)), [len(r.unit_ids) for r in recordings])
    order: list[int] = sorted(
        np.flatnonzero(encoded.y >= 0).tolist(),
        key=lambda i: (groups[i], id_key(ids[i]), recordings[int(recording_of[i])].name),
    )
    metrics, y = metrics.iloc[order].reset_index(drop=True), encoded.y[order]
    keep, more = unique_rows(
        metrics, y, recording_of[order], [recordings[int(i)].name for i in recording_of[order]], on_duplicates
    )
    notices += more
    order = [i for i, k in zip(order, keep) if k]
    metrics, empty = drop_empty(metrics[keep].reset_index(drop=True))
    notices += [f"metrics missing for every unit left out: {', '.join(empty)}"] if empty else []
    if metrics.empty or not len(metrics.columns):
        raise InputError("inputs: no metric has a value for any labelled unit.")
    disguised = give_away(metrics, y[keep])
    if disguised and classes is None:
        raise InputError(
            f"column '{disguised[0]}' tells the label of every unit: a label in disguise. Leave it out with --metric-names."
        )
    params = next((r.params for r in recordings if r.params), {})
    notices += mixed_releases(recordings, list(metrics.columns)) + mixed_units(recordings, list(metrics.columns))
    return Units(
        metrics, y[keep], encoded.classes, [ids[i] for i in order], groups[order],
        None if animals is None else np.array(animals, dtype=str)[order], params, notices, int((~keep).sum()),
        release=together([r.release for r in recordings]),
    )  # fmt: skip


def unused(label_map: Iterable[str], recordings: Sequence[Recording]) -> list[str]:
    """Return a notice where ``--label-map`` names spellings that no unit has."""
    there = {tidy(label) for r in recordings for label in r.labels or []}
    absent = [s for s in label_map if s not in there]
    return [f"--label-map: no unit is labelled {', '.join(map(repr, absent))}"] if absent else []


def mixed_releases(recordings: Sequence[Recording], names: Sequence[str]) -> list[str]:
    """Return a notice where SpikeInterface changed the definition of metrics between recordings that are taken together."""
    for other in recordings[1:]:
        found = difference(recordings[0].release, other.release, names)
        if found is not None:
            return [
                f"{', '.join(found[1])}: '{recordings[0].name}' and '{other.name}' hold them by two definitions of SpikeInterface"
                f" (changed with {found[0] // 1000}.{found[0] % 1000}): compute the metrics with one release"
            ]
    return []


def mixed_units(recordings: Sequence[Recording], names: Sequence[str]) -> list[str]:
    """Return notices of metrics whose size in one recording is that of another unit of measure (V for µV, ms for s, percent for shares).

    Over the seven public recordings medians of a metric in `MEASURED` lie within a factor of 6; a unit is off by 100 or more.
    """
    notices = []
    for name in [n for n in names if n in MEASURED]:
        sizes = {}
        for recording in recordings:
            values = numeric(recording.table[[name]], str(recording.source))[name].abs()
            values = values[values > 0]
            if len(values) >= MIN_SIZES:
                sizes[recording.name] = float(np.log10(values.median()))
        order = sorted(sizes, key=sizes.__getitem__)
        gap, at = max(((sizes[b] - sizes[a], i + 1) for i, (a, b) in enumerate(pairwise(order))), default=(0.0, 0))
        if gap > OTHER_UNIT:
            odd, rest = sorted((order[:at], order[at:]), key=len)
            times = 10 ** (np.median([sizes[n] for n in odd]) - np.median([sizes[n] for n in rest]))
            notices.append(
                f"{name} of {', '.join(map(repr, odd[:8]))} is {times:.2g} times that of the other recordings: another unit of measure?"
                " SpikeInterface's are s, uV, um, Hz and shares of 1"
            )
    return notices


def one_sign(recordings: Sequence[Recording]) -> tuple[Sequence[Recording], list[str]]:
    """Return recordings whose sizes (``metrics.SIZE``) have one sign, today's minus, where some had none; and a notice."""
    shares = [negative_share(r.table) for r in recordings]
    bare = [r.name for r, share in zip(recordings, shares) if share == 0]
    if not bare or not any(share is not None and share > 0.5 for share in shares):
        return recordings, []
    notice = f"{SIZE} is positive in {', '.join(bare[:8])}, negative in others: the minus is put before it there"
    return [r._replace(table=with_sign(r.table, 1.0)) for r in recordings], [notice]


def unique_rows(
    metrics: pd.DataFrame, y: np.ndarray, source: np.ndarray, names: list[str], on_duplicates: str
) -> tuple[np.ndarray, list[str]]:
    """Return which rows to keep, and one notice that names the recordings that repeat others."""
    original = duplicates(metrics, source)
    repeats = original >= 0
    if not repeats.any():
        return ~repeats, []
    pairs = Counter((names[i], names[original[i]]) for i in np.flatnonzero(repeats))
    (copy, first), n = pairs.most_common(1)[0]
    conflicts = int((y[repeats] != y[original[repeats]]).sum())
    text = f"{int(repeats.sum())} units stand in the data more than once (most: {n} units of '{copy}' repeat '{first}'; {conflicts} with another label)"
    if on_duplicates == "refuse":
        raise InputError(f"inputs: {text}. Leave one copy out, or use --duplicates remove.")
    return ~repeats, [f"{text}: the later copies were removed"]
