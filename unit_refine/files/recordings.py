"""Which units are in these files, and what did the curator call them?

A recording is a metrics table (CSV), a Phy folder or a SortingAnalyzer folder. Labels are joined to units by unit id, never by
position.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdf5io.errors import InputError

from ..config import Labelled, Tables
from ..units.assemble import Recording, column, name_apart
from ..units.labels import LABEL_COLUMNS
from ..units.metrics import to_new_names
from . import analyzers, phy
from .label_files import join, read_label_file
from .tables import read_table, take_ids

#: Measured: a run needs about this much, and this multiple of the size of its tables, in MB.
BASE_MB, TABLE_FACTOR = 350.0, 25.0


def read_recording(path: Path, config: Tables, label_column: str | None = None) -> Recording:
    """Return the units of one input, whatever its kind."""
    path, params = Path(path), dict[str, Any]()
    if analyzers.is_analyzer(path):
        found = read_analyzer(path, config.compute_missing, config.trust_pickles)
        ids, table, params = found.unit_ids, found.table, found.params
        labels = None
        if label_column is not None:
            if label_column not in found.property_names:
                known = ", ".join(found.property_names) or "none"
                raise InputError(f"{path}: the analyzer's units have no property '{label_column}'; they have {known}.")
            labels = found.property_values(label_column)
    elif path.is_dir():
        ids, table, labels = phy.read(path)
        if label_column is not None:
            labels = column(table, label_column, path)
    else:
        ids, table = take_ids(read_table(path), path)
        labels = None if label_column is None else column(table, label_column, path)
    table = to_new_names(table.drop(columns=[label_column], errors="ignore") if label_column else table)
    return Recording(
        path.stem if path.is_file() else path.name, path, ids, table.reset_index(drop=True), labels, params
    )


def read_analyzer(path: Path, compute_missing: bool, trust_pickles: bool) -> analyzers.Analyzer:
    """Return the units of an analyzer folder; SpikeInterface is needed only where metrics are to be computed."""
    found = analyzers.read(path, trust_pickles)
    if len(found.params) == len(analyzers.METRIC_EXTENSIONS) or (found.params and not compute_missing):
        return found
    if not compute_missing:
        raise InputError(
            f"{path}: the analyzer has no quality or template metrics. Add --compute-missing to compute them."
        )
    from . import compute_metrics

    return compute_metrics.read(path, trust_pickles)


def check_memory(config: Tables) -> None:
    """Refuse inputs whose tables would need more memory than the user allows."""
    megabytes = sum(p.stat().st_size for p in config.inputs if p.is_file()) / 1e6
    needed = BASE_MB + TABLE_FACTOR * megabytes + BASE_MB * (getattr(config, "jobs", 1) - 1)
    if needed > config.max_memory:
        raise InputError(
            f"inputs: {megabytes:.0f} MB of tables need about {needed:.0f} MB of memory, --max-memory is {config.max_memory}."
            " Give fewer recordings, fewer --jobs, or a higher --max-memory."
        )


def read_unlabelled(config: Tables, inputs: Sequence[Path]) -> list[Recording]:
    """Return recordings whose labels do not matter, under different names."""
    check_memory(config)
    return name_apart([read_recording(path, config) for path in inputs])


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
