"""Which units are in these files, and what did the curator call them?

A recording is a metrics table (CSV), a Phy folder or a SortingAnalyzer folder. Labels are joined to units by unit id, never by
position.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hdf5io import InputError

from . import analyzers, curation, phy
from .config import Labelled, Tables
from .labels import encode, parse_label_map, read_labels
from .metrics import ID_COLUMNS, choose_columns, drop_empty, duplicates, give_away, numeric, to_new_names

LABEL_COLUMNS = (
    "majority_vote",
    "is_noise",
    "group",
    "KSLabel",
    "quality",
    "label",
    "labels",
    "curator",
    "ground_truth",
)
RAW_LABELS = "label of the curator"
#: Measured: a run needs about this much, and this multiple of the size of its tables, in MB.
BASE_MB, TABLE_FACTOR = 350.0, 25.0


class Recording(NamedTuple):
    """The units of one input as its files give them."""

    name: str
    source: Path
    unit_ids: list[str]
    table: pd.DataFrame  #: every column of the file, today's metric names
    labels: list[object] | None  #: as spelled in the file; None where the input has none
    params: dict  #: metric_params of an analyzer, for model_info.json


class Units(NamedTuple):
    """Labelled units of all recordings, checked, in canonical order (recording, unit id; metrics by name)."""

    metrics: pd.DataFrame  #: (n, m) float64
    y: np.ndarray  #: (n,) class index
    classes: tuple[str, ...]
    unit_ids: list[str]
    groups: np.ndarray  #: (n,) what is held out together
    animals: np.ndarray | None  #: (n,) animal, where it is known
    params: dict
    notices: list[str]
    n_duplicates: int


def read_table(path: Path) -> pd.DataFrame:
    """Return a CSV or TSV file.

    Raises
    ------
    InputError : absent, empty, binary or malformed.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such file. Expected a metrics table (CSV), a Phy folder or a SortingAnalyzer folder."
        )
    separator = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    try:
        table = pd.read_csv(path, sep=separator, low_memory=False)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the file is empty; expected a header line and one line for each unit.") from None
    except (pd.errors.ParserError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: not readable as CSV: {str(error).strip().splitlines()[0]}") from None
    if table.empty:
        raise InputError(f"{path}: no units, only a header line.")
    if len(table.columns) < 2:
        raise InputError(
            f"{path}: one column only ('{table.columns[0]}'); expected comma-separated metrics with a header line."
        )
    return table


def take_ids(table: pd.DataFrame, path: Path) -> tuple[list[str], pd.DataFrame]:
    """Return unit ids as text and the table without its id columns.

    Raises
    ------
    InputError : no id column, a missing id, an id that occurs twice.
    """
    name = next((c for c in ID_COLUMNS if c in table.columns), None)
    if name is None:
        first = str(table.columns[0])
        if not first.startswith("Unnamed"):
            raise InputError(
                f"{path}: no column {', '.join(ID_COLUMNS)}; the first column is '{first}'. Name the unit ids 'unit_id'."
            )
        name = first
    if table[name].isna().any():
        raise InputError(f"{path}: {int(table[name].isna().sum())} units without an id in column '{name}'.")
    ids = [id_text(value) for value in table[name]]
    repeated = [i for i, n in Counter(ids).items() if n > 1]
    if repeated:
        raise InputError(
            f"{path}: unit id {repeated[0]} occurs more than once in column '{name}' ({len(repeated)} such ids);"
            " give each recording its own file."
        )
    drop = [c for c in table.columns if c in ID_COLUMNS or str(c).startswith("Unnamed")]
    return ids, table.drop(columns=drop)


def id_text(value: object) -> str:
    """Return a unit id as text; 12.0 becomes 12.

    >>> id_text(12.0), id_text(" a3 ")
    ('12', 'a3')
    """
    text = str(value).strip()
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def read_recording(path: Path, config: Tables, label_column: str | None = None) -> Recording:
    """Return the units of one input, whatever its kind."""
    path, params = Path(path), dict[str, Any]()
    if analyzers.is_analyzer(path):
        ids, table, properties, params = analyzers.read(path, config.compute_missing, config.trust_pickles)
        labels = None
        if label_column is not None:
            if label_column not in properties:
                known = ", ".join(sorted(properties)) or "none"
                raise InputError(f"{path}: the analyzer's units have no property '{label_column}'; they have {known}.")
            labels = list(properties[label_column])
    elif path.is_dir():
        ids, table, labels = phy.read(path, read_table, take_ids)
        if label_column is not None:
            labels = column(table, label_column, path)
    else:
        ids, table = take_ids(read_table(path), path)
        labels = None if label_column is None else column(table, label_column, path)
    table = to_new_names(table.drop(columns=[label_column], errors="ignore") if label_column else table)
    return Recording(
        path.stem if path.is_file() else path.name, path, ids, table.reset_index(drop=True), labels, params
    )


def column(table: pd.DataFrame, name: str, path: Path) -> list[object]:
    """Return a column's values, or say which columns there are."""
    if name not in table.columns:
        text = [str(c) for c in table.columns if not pd.api.types.is_numeric_dtype(table[c])] or list(
            map(str, table.columns)
        )
        raise InputError(f"{path}: no column '{name}'; columns with text: {', '.join(text[:12])}.")
    return table[name].tolist()


def read_label_file(path: Path) -> dict[str, object]:
    """Return ``{unit id: label}`` of a Phy group file, a table with an id and a label column, or a curation JSON."""
    if path.suffix.lower() == ".json":
        return curation.read(path)
    table = read_table(path)
    ids, rest = take_ids(table, path)
    named = [c for c in rest.columns if c in ("group", *LABEL_COLUMNS)]
    if not named and len(rest.columns) != 1:
        raise InputError(
            f"{path}: which column holds the labels? Expected cluster_id and group, found {', '.join(map(str, table.columns))}."
        )
    return dict(zip(ids, rest[named[0] if named else rest.columns[0]].tolist()))


def join(recording: Recording, labels: dict[str, object], where: Path) -> tuple[Recording, list[str]]:
    """Return the recording with labels joined by unit id, and notices about units on one side only.

    Raises
    ------
    InputError : fewer than half of the labelled ids are units of the recording: the files do not belong together.
    """
    found = sum(i in labels for i in recording.unit_ids)
    if found < 0.5 * len(labels):
        raise InputError(
            f"{where}: {found} of its {len(labels)} unit ids are units of {recording.source} (which has {len(recording.unit_ids)}):"
            " the files do not belong together. Check the order of --labels."
        )
    notices = []
    if found < len(labels):
        notices.append(
            f"{where}: {len(labels) - found} labels are for units that {recording.source.name} does not have"
        )
    return recording._replace(labels=[labels.get(i, "") for i in recording.unit_ids]), notices


def check_memory(config: Tables) -> None:
    """Refuse inputs whose tables would need more memory than the user allows."""
    megabytes = sum(p.stat().st_size for p in config.inputs if p.is_file()) / 1e6
    needed = BASE_MB + TABLE_FACTOR * megabytes + BASE_MB * (getattr(config, "jobs", 1) - 1)
    if needed > config.max_memory:
        raise InputError(
            f"inputs: {megabytes:.0f} MB of tables need about {needed:.0f} MB of memory, --max-memory is {config.max_memory}."
            " Give fewer recordings, fewer --jobs, or a higher --max-memory."
        )


def read_all(config: Labelled) -> tuple[list[Recording], list[str]]:
    """Return all recordings with raw labels, under different names, and notices."""
    check_memory(config)
    recordings, notices = [], []
    for i, path in enumerate(config.inputs):
        recording = read_recording(path, config, config.label_column)
        if config.labels:
            recording, more = join(recording, read_label_file(config.labels[i]), config.labels[i])
            notices += more
        if recording.labels is None:
            looks = [c for c in LABEL_COLUMNS if c in recording.table.columns]
            hint = f" (column '{looks[0]}' looks like labels)" if looks else ""
            raise InputError(f"{path}: no labels. Give --labels cluster_group.tsv or --label-column NAME{hint}.")
        recordings.append(recording)
    return name_apart(recordings), notices


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


def group_values(recording: Recording, by: str, option: str) -> list[str]:
    """Return what each unit of a recording is held out with."""
    if by == "file":
        return [recording.name] * len(recording.unit_ids)
    values = column(recording.table, by, recording.source)
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
    recordings: Sequence[Recording], config: Labelled, task: str, metric_names: Sequence[str], on_duplicates: str
) -> Units:
    """Return labelled units of all recordings, checked, deduplicated and in canonical order.

    Raises
    ------
    InputError : see the functions it calls; a column that gives the label away; duplicates where they are refused.
    """
    notices: list[str] = []
    labels: list[str] = []
    label_map = parse_label_map(config.label_map)
    for recording in recordings:
        canonical, more = read_labels(recording.labels or [], task, str(recording.source), label_map)
        labels, notices = labels + canonical, notices + more
    encoded = encode(labels, task)
    excluded = [
        *LABEL_COLUMNS,
        config.group_by,
        *([config.label_column] if config.label_column else []),
        *([config.animal_by] if config.animal_by else []),
    ]
    columns, more = choose_columns([r.table for r in recordings], metric_names, excluded)
    notices += encoded.notices + more
    metrics = pd.concat([numeric(r.table[columns], str(r.source)) for r in recordings], ignore_index=True)
    groups = np.array([g for r in recordings for g in group_values(r, config.group_by, "--group-by")], dtype=str)
    animals = animal_values(recordings, config.animal_by)
    ids = [i for r in recordings for i in r.unit_ids]
    recording_of = np.repeat(np.arange(len(recordings)), [len(r.unit_ids) for r in recordings])
    order = sorted(
        np.flatnonzero(encoded.y >= 0).tolist(),
        key=lambda i: (groups[i], id_key(ids[i]), recordings[recording_of[i]].name),
    )
    metrics, y = metrics.iloc[order].reset_index(drop=True), encoded.y[order]
    keep, more = unique_rows(
        metrics, y, recording_of[order], [recordings[i].name for i in recording_of[order]], on_duplicates
    )
    notices += more
    order = [i for i, k in zip(order, keep) if k]
    metrics, empty = drop_empty(metrics[keep].reset_index(drop=True))
    notices += [f"metrics missing for every unit left out: {', '.join(empty)}"] if empty else []
    if metrics.empty or not len(metrics.columns):
        raise InputError("inputs: no metric has a value for any labelled unit.")
    disguised = give_away(metrics, y[keep])
    if disguised:
        raise InputError(
            f"column '{disguised[0]}' tells the label of every unit: a label in disguise. Leave it out with --metric-names."
        )
    params = next((r.params for r in recordings if r.params), {})
    return Units(
        metrics, y[keep], encoded.classes, [ids[i] for i in order], groups[order],
        None if animals is None else np.array(animals, dtype=str)[order], params, notices, int((~keep).sum()),
    )  # fmt: skip


def id_key(text: str) -> tuple[int, int, str]:
    """Sort key of unit ids: numbers by value, then text."""
    return (0, int(text), "") if re.fullmatch(r"-?\d{1,18}", text) else (1, 0, text)


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
