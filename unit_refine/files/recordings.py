"""Which units are in these files, and what did the curator call them?

A recording is a metrics table (CSV, parquet), a Phy folder or a SortingAnalyzer folder; one table may hold many. Labels are joined
to units by unit id, never by position.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from hdf5io.errors import InputError

from ..config import Labelled, Tables
from ..units.assemble import Recording, animal_values, column, id_key, name_apart, split_by
from ..units.labels import LABEL_COLUMNS, meaning, parse_label_map, read_labels, spelled_out
from ..units.metric_names import from_producer
from ..units.metrics import COMPUTED, KNOWN, RENAMED, id_column, squeezed, to_new_names, without_sentinels
from ..units.releases import ANY, of_names, together
from ..units.spelling import read_spellings
from . import alf, analyzers, clusters, folder_labels, folder_tables, nwb, phy
from .label_files import agree, join, labels_for
from .tables import read_table, take_ids

log = logging.getLogger(__package__)

#: Measured: a run needs about this much, and this multiple of the size of its tables, in MB.
BASE_MB, TABLE_FACTOR = 350.0, 25.0


def read_analyzer_recording(path: Path, config: Tables, label_column: str | None) -> Recording:
    """Return the units of a SortingAnalyzer folder; labels are a property of its units."""
    found = read_analyzer(path, config.compute_missing, config.trust_pickles)
    labels = None if label_column is None else property_labels(found, path, label_column)
    id_of = "name" if found.named else "unit"
    return Recording(path.name, path, found.unit_ids, found.table, labels, found.params, id_of, found.release)


def property_labels(found: analyzers.Analyzer, path: Path, label_column: str) -> list[object]:
    """Return the labels that are a property of an analyzer's units."""
    if label_column not in found.property_names:
        known = ", ".join(found.property_names) or "none"
        raise InputError(f"{path}: the analyzer's units have no property '{label_column}'; they have {known}.")
    labels = spelled_out(found.property_values(label_column), label_column)
    if len(labels) != len(found.unit_ids):
        raise InputError(f"{path}: property '{label_column}' has {len(labels)} values for {len(found.unit_ids)} units.")
    return labels


def read_phy_recording(path: Path, config: Tables, label_column: str | None) -> Recording:
    """Return the clusters of a Phy or Kilosort folder, with a person's labels where there are any."""
    compute = config.compute_missing and phy.is_phy(path)
    have = not compute or len(folder_tables.read(path).columns)
    asked = isinstance(config, Labelled) and not config.labels and label_column is None
    found = phy.read(path, asked) if have else None
    ids, table, labels = with_computed(path, config, found, asked) if found is None or compute else found
    if label_column is not None:
        labels, table = folder_column(path, ids, table, label_column)
    return Recording(path.name, path, ids, table, labels, {}, "cluster")


def folder_column(path: Path, ids: list[str], table: pd.DataFrame, name: str) -> tuple[list[object], pd.DataFrame]:
    """Return the labels that are a column of a Phy folder: of its tables, of ``cluster_<name>.tsv``, of Phy's own table; and the table without it."""
    labels = folder_labels.column_of(path, name)
    if name in table.columns:
        own = spelled_out(table[name].tolist(), name)
        n = sum(not agree(meaning(g), meaning((labels or {}).get(i, ""))) for i, g in zip(ids, own))
        if n:
            raise InputError(
                f"{path}: column '{name}' of its metrics differs for {n} clusters from the labels called '{name}' beside it."
                " Give the file of the right ones with --labels."
            )
        return own, table.drop(columns=[name])
    if labels is None:
        known = ", ".join(folder_labels.own_names(path)[:12])
        raise InputError(f"{path}: no column '{name}'; beside metrics its clusters have {known or 'none'}.")
    return folder_labels.of_units(path, labels, ids), table


def with_computed(path: Path, config: Tables, found: phy.Clusters | None, asked: bool) -> phy.Clusters:
    """Return the clusters of a sorter's folder with the metrics that it lacks; None: it has none. What is there stays."""
    from . import kilosort

    have = set() if found is None else set(to_new_names(found.table).columns)
    if found is not None and set(COMPUTED) <= have:
        return found
    try:
        new = kilosort.read(path, config.gain_to_uv)
    except InputError as error:
        if found is None:
            raise
        log.warning("metrics that are not there stay missing: %s", error)
        return found
    if found is None:
        own = folder_labels.read(path, asked, new.table.iloc[:0, :0])
        labels = None if own is None else folder_labels.of_units(path, own, new.unit_ids)
        return phy.Clusters(new.unit_ids, new.table, labels)
    more = new.table.set_axis(new.unit_ids, axis=0)[[c for c in new.table.columns if c not in have]]
    return found._replace(table=pd.concat([found.table, more.reindex(found.unit_ids).reset_index(drop=True)], axis=1))


def read_table_recording(path: Path, config: Tables, label_column: str | None) -> Recording:
    """Return the units of a metrics table."""
    whole, labels = read_table(path), None
    ids, table = take_ids(whole, path, config.group_by)
    id_of = (
        clusters.numbering(path.parent, table, ids, id_column(list(map(str, whole.columns))))
        if config.group_by == "file"
        else "unit"
    )
    if label_column is not None:
        labels = spelled_out(column(table, label_column, path), label_column)
        if alf.share_of_criteria(table.columns, label_column):
            labels = alf.criteria_as_labels(labels, path, bool(getattr(config, "label_map", [])))
        table = table.drop(columns=[label_column])
    ibls = [c for c in table.columns if alf.share_of_criteria(table.columns, str(c))]
    return Recording(path.stem, path, ids, table.drop(columns=ibls), labels, {}, id_of)


def read_alf_recording(path: Path, config: Tables, label_column: str | None) -> Recording:
    """Return the units of a folder of IBL's files: those of its table of metrics."""
    return read_table_recording(alf.metrics_table(path), config, label_column)._replace(name=path.name, source=path)


#: What a path may be, and who reads it; the first that says yes does.
READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path, Tables, str | None], Recording]], ...] = (
    (nwb.is_zarr, read_table_recording),
    (analyzers.is_analyzer, read_analyzer_recording),
    (lambda path: alf.is_alf(path) and not phy.is_phy(path), read_alf_recording),
    (Path.is_dir, read_phy_recording),
    (lambda path: True, read_table_recording),
)


def read_recording(path: Path, config: Tables, label_column: str | None = None) -> Recording:
    """Return the units of one input, whatever its kind, with today's metric names."""
    path = Path(path)
    if label_column is not None and squeezed(label_column) in (
        "kslabel",
        "ks2label",
        "ks4label",
        "kilosortlabel",
        "kilosort2label",
    ):
        log.warning("%s: '%s' holds Kilosort's own labels, not a curator's", path, label_column)
    recording = next(reader for is_this, reader in READERS if is_this(path))(path, config, label_column)
    table, spelled = read_spellings(recording.table, str(path))
    table, notices = from_producer(table)
    for notice in spelled + notices:
        log.warning("%s: %s", path, notice)
    if recording.release == ANY:
        recording = recording._replace(release=of_names(map(str, table.columns)))
    table, notices = without_sentinels(to_new_names(table))
    for notice in notices:
        log.warning("%s: %s", path, notice)
    return recording._replace(table=table.reset_index(drop=True))


def read_analyzer(path: Path, compute_missing: bool, trust_pickles: bool) -> analyzers.Analyzer:
    """Return the units of an analyzer folder; SpikeInterface is needed only where metrics are to be computed."""
    found = analyzers.read(path, trust_pickles)
    whole = len(found.params) == len(analyzers.METRIC_EXTENSIONS)
    if (whole and set(COMPUTED) <= set(to_new_names(found.table).columns)) or (found.params and not compute_missing):
        return found
    if not compute_missing:
        raise InputError(
            f"{path}: the analyzer has no quality or template metrics. Add --compute-missing to compute them."
        )
    from . import compute_metrics

    try:
        computed = compute_metrics.read(path, trust_pickles)
        return computed._replace(release=together([*([found.release] if whole else []), computed.release]))
    except InputError as error:
        if not whole:
            raise
        log.warning("metrics that are not there stay missing: %s", error)
        return found


def check_inputs(config: Tables) -> None:
    """Refuse inputs whose tables would need more memory than the user allows, and options that are about none of them."""
    is_analyzer = [analyzers.is_analyzer(p) and not nwb.is_zarr(p) for p in config.inputs]
    is_sorters = [p.is_dir() and phy.is_phy(p) for p in config.inputs]
    for option, given, fits, kind in (
        ("--compute-missing", config.compute_missing, is_analyzer + is_sorters, "an analyzer or a Kilosort folder"),
        ("--gain-to-uv", config.gain_to_uv is not None, is_sorters, "a Kilosort folder"),
        ("--trust-pickles", config.trust_pickles, is_analyzer, "an analyzer"),
    ):
        if given and not any(fits):
            raise InputError(f"{option}: none of the inputs is {kind}; leave it away.")
    megabytes = sum(p.stat().st_size for p in config.inputs if p.is_file() and not nwb.is_hdf5(p)) / 1e6
    needed = BASE_MB + TABLE_FACTOR * megabytes + BASE_MB * (getattr(config, "jobs", 1) - 1)
    if needed > config.max_memory:
        raise InputError(
            f"inputs: {megabytes:.0f} MB of tables need about {needed:.0f} MB of memory, --max-memory is {config.max_memory}."
            " Give fewer recordings, fewer --jobs, or a higher --max-memory."
        )


def before_computing(config: Tables, inputs: Sequence[Path]) -> list[Recording]:
    """Return the recordings without the metrics that are still to be computed, which takes long: what is asked of them is looked up first.

    None where nothing is computed: all is looked up as it is read.

    Raises
    ------
    InputError : a column, a property or a metric that is asked for is not there.
    """
    if not config.compute_missing:
        return []
    own = getattr(config, "label_column", None) if not getattr(config, "labels", []) else None
    told, log.disabled = log.disabled, True  # the same is told when it is read
    try:
        found = [bare_recording(path, config, own) for path in inputs]
        for bare in found:
            split_by(bare, config.group_by)
        animal_values(name_apart(found), getattr(config, "animal_by", None))
    finally:
        log.disabled = told
    there = KNOWN | {c for bare in found for c in to_new_names(bare.table).columns}
    for name in getattr(config, "metric_names", []):
        if name not in RENAMED and name not in there:
            raise InputError(f"--metric-names: '{name}' is no metric, and no column of the inputs.")
    return found


def bare_recording(path: Path, config: Tables, label_column: str | None) -> Recording:
    """Return the units of one input as they are, with the labels that stand beside them."""
    if analyzers.is_analyzer(path) and not nwb.is_zarr(path):
        found = analyzers.read(path, config.trust_pickles)
        labels = None if label_column is None else property_labels(found, path, label_column)
        return Recording(path.name, path, found.unit_ids, found.table, labels, found.params)
    if not path.is_dir() or nwb.is_zarr(path):
        return read_table_recording(path, config, label_column)
    if alf.is_alf(path) and not phy.is_phy(path):
        return read_alf_recording(path, config, label_column)
    table = folder_tables.read(path)
    ids = list(table.index) if len(table.columns) else sorted(clusters.clusters_of(path) or set(), key=id_key)
    labels, table = None, table.reset_index(drop=True)
    if label_column is not None:
        labels, table = folder_column(path, ids, table, label_column)
    elif isinstance(config, Labelled) and not config.labels:
        own = folder_labels.read(path, True, folder_tables.read(path))
        labels = None if own is None else folder_labels.of_units(path, own, ids)
    return Recording(path.name, path, ids, table, labels, {}, "cluster")


def read_unlabelled(config: Tables, inputs: Sequence[Path]) -> list[Recording]:
    """Return recordings whose labels do not matter, under different names."""
    check_inputs(config)
    before_computing(config, inputs)
    return name_apart([r for path in inputs for r in split_by(read_recording(path, config), config.group_by)])


def read_all(
    config: Labelled, task: str = "three_class", check: Callable[[list[Recording]], None] = lambda found: None
) -> tuple[list[Recording], list[str]]:
    """Return all recordings with raw labels, under different names, and notices.

    Parameters
    ----------
    task : decides what the labels 0 and 1 mean.
    check : refuses recordings whose labels are not enough; asked before metrics are computed.
    """
    check_inputs(config)
    label_map, bare = parse_label_map(config.label_map), list[Recording]()
    for i, found in enumerate(before_computing(config, config.inputs)):
        parts, _ = labelled(found, config, i)
        for part in parts:
            read_labels(part.labels or [], task, str(part.source), label_map)
        bare += parts
    if bare:
        check(name_apart(bare))
    recordings, notices = list[Recording](), list[str]()
    for i, path in enumerate(config.inputs):
        own = None if config.labels else config.label_column  # with --labels it is a column of that file
        parts, more = labelled(read_recording(path, config, own), config, i)
        recordings, notices = [*recordings, *parts], [*notices, *more]
    return name_apart(recordings), notices


def labelled(recording: Recording, config: Labelled, i: int) -> tuple[list[Recording], list[str]]:
    """Return the recordings of input ``i`` with their labels, and notices.

    Raises
    ------
    InputError : no labels; see `join_labels`.
    """
    parts, notices = split_by(recording, config.group_by), list[str]()
    if config.labels:
        parts, notices = join_labels(parts, config, config.labels[i])
    if parts[0].labels is None:
        looks = [c for c in LABEL_COLUMNS if c in parts[0].table.columns]
        looks += folder_labels.with_words(recording.source) if parts[0].id_of == "cluster" and not looks else []
        hint = f" (column '{looks[0]}' looks like labels)" if looks else ""
        raise InputError(
            f"{recording.source}: no labels. Give --labels cluster_group.tsv or --label-column NAME{hint}."
        )
    return parts, notices


def join_labels(parts: Sequence[Recording], config: Labelled, path: Path) -> tuple[list[Recording], list[str]]:
    """Return the recordings of one input with the labels of one file, and notices."""
    found, notices = labels_for(parts[0], path, config.label_category, config.group_by, config.label_column)
    ids = [i for part in parts for i in part.unit_ids]
    if len(parts) == 1 or found.recordings is not None:
        joined = [join(part, found, path) for part in parts]
        return [r for r, _ in joined], [*notices, *(n for _, more in joined for n in more)]
    if len(set(ids)) < len(ids):
        raise InputError(
            f"{path}: unit ids occur in several recordings of {parts[0].source}; the labels need the column '{config.group_by}' too."
        )
    whole, more = join(parts[0]._replace(unit_ids=ids), found, path)
    own = dict(zip(ids, whole.labels or []))
    return [part._replace(labels=[own[i] for i in part.unit_ids]) for part in parts], [*notices, *more]
