"""What does a Phy or Kilosort folder say about its clusters, and how do predictions get into it without touching a person's work?

Files of Phy: ``cluster_group.tsv`` (a person's labels; Phy 1: ``cluster_groups.csv``, with tabs), ``cluster_KSLabel.tsv`` (Kilosort's),
``cluster_info.tsv`` (Phy's own table), ``cluster_<metric>.tsv`` and ``cluster_si_unit_ids.tsv`` (SpikeInterface's export),
``spike_clusters.npy`` (which clusters there are now). Ours: ``cluster_unit_refine.tsv``, ``cluster_unit_refine_prob.tsv``.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..units.assemble import cluster_text, id_key, id_text, off_by_one
from ..units.labels import meaning, tidy
from . import folder_labels, folder_tables
from .clusters import CLUSTERS, check_counts, clusters_of, si_unit_ids, with_counts
from .folder_labels import GROUPS, OURS, group_file, is_kilosorts, shown
from .folder_tables import INFO
from .label_files import (
    KSLABEL,
    id_place,
    kilosort_labels,
    read_label_file,
    split_header,
)
from .text import Form, TextTable, read_cells, write_cells

log = logging.getLogger(__package__)

THERE = "exists already. Give --overwrite to replace the earlier export."
#: Phy knows three groups.
PHY_GROUP = {"good": "good", "sua": "good", "mua": "mua", "noise": "noise"}


class Clusters(NamedTuple):
    """The clusters of a folder that have metrics."""

    unit_ids: list[str]
    table: pd.DataFrame
    labels: list[object] | None  #: a person's; None where nobody curated


def is_phy(folder: Path) -> bool:
    """Return whether a folder is one of Phy or Kilosort."""
    return any((folder / name).exists() for name in ("params.py", *GROUPS, INFO, KSLABEL, *CLUSTERS))


def read(folder: Path, asked: bool = False) -> Clusters:
    """Return the clusters, their metrics and a person's labels.

    Clusters that are gone (merged or split since the metrics were computed) are left out, clusters without metrics are named.

    Parameters
    ----------
    asked : the labels are what is wanted (see `folder_labels.read`).

    Raises
    ------
    InputError : no metrics in the folder; metrics or labels of other clusters than those there are.
    """
    table = folder_tables.read(folder)
    if not len(table.columns):
        inner = next((p for p in sorted(folder.glob("*/")) if is_phy(p)), None) if not is_phy(folder) else None
        if inner is not None:
            raise InputError(f"{folder}: no Phy folder itself; it holds one: give {inner}.")
        raise InputError(
            f"{folder}: no metrics. Expected quality_metrics.csv, cluster_<metric>.tsv, or metrics in cluster_info.tsv."
            " Compute them with SpikeInterface (a SortingAnalyzer folder is an input too)."
        )
    there = clusters_of(folder)
    check_counts(folder, table)
    table = with_counts(folder, table)
    if there is not None:
        table = table.loc[compare(list(table.index), there, f"{folder}: its metrics", "metrics")]
    labels = folder_labels.read(folder, asked, table)
    ids = list(table.index)
    own = None if labels is None else folder_labels.of_units(folder, labels, ids)
    return Clusters(ids, table.reset_index(drop=True), own)


def compare(ids: Sequence[str], there: set[str], what: str, noun: str) -> list[str]:
    """Return the ids that are clusters of the folder; name those that are not, and the clusters without any.

    Raises
    ------
    InputError : less than half of either side is on the other.
    """
    known = [i for i in ids if i in there]
    without = sorted(there - set(ids), key=id_key)
    if told := off_by_one(ids, there):
        raise InputError(
            f"{what}: {len(known)} of {len(ids)} ids are among the clusters of the folder; {told} Correct them."
        )
    if len(known) < 0.5 * len(ids) or len(known) < 0.5 * len(there):
        raise InputError(
            f"{what}: {len(known)} of {len(ids)} ids are among the {len(there)} clusters of the folder: another recording, or clusters"
            " were merged and split since. Compute the metrics again."
        )
    if len(known) < len(ids):
        gone = sorted(set(ids) - there, key=id_key)
        log.warning(
            "%s: %d clusters are no longer there (merged or split since), left out: %s", what, len(gone), shown(gone)
        )
    if without:
        log.warning("%s: %d clusters have no %s: %s", what, len(without), noun, ", ".join(without))
    return known


def check_target(folder: Path, write_group: bool, free: bool) -> None:
    """Raise an InputError where predictions cannot go into a folder: it is not Phy's, it is read-only, its group file cannot be filled.

    Parameters
    ----------
    free : an earlier export must not be there either.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such Phy folder.")
    if not is_phy(folder):
        raise InputError(f"{folder}: not a Phy folder (no params.py, spike_clusters.npy or cluster_*.tsv).")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: no permission to write into it. Change the permissions, or export to a copy.")
    earlier = [folder / name for name in OURS if (folder / name).exists()]
    if free and earlier:
        raise InputError(f"{earlier[0]} {THERE}")
    path = group_file(folder) if write_group else None
    if path is not None and not is_kilosorts(path):
        read_group_file(path)


def columns_of(
    folder: Path, predictions: pd.DataFrame, write_group: bool, overwrite: bool
) -> tuple[pd.DataFrame, dict[Path, str]]:
    """Return predictions by cluster, and what Phy's columns of them will hold, by file.

    A file that holds just that is left of a run that was killed, and no obstacle.

    Raises
    ------
    InputError : see `check_target`; another export is there already; predictions of other clusters.
    """
    check_target(folder, write_group, False)
    table = as_clusters(predictions, folder)
    there = clusters_of(folder)
    if there is None:
        log.warning("%s: no spike_clusters.npy: not checked whether the predictions are of these clusters", folder)
    else:
        table = table.loc[compare(list(table.index), there, "predictions", "prediction")]
    columns = {OURS[0]: ("unit_refine", "predicted_quality"), OURS[1]: ("unit_refine_prob", "prediction_confidence")}
    texts = {}
    for name, (title, source) in columns.items():
        part = pd.DataFrame({"cluster_id": table.index, title: table[source].to_numpy()})
        texts[folder / name] = part.to_csv(sep="\t", index=False, float_format="%.6f", lineterminator="\n")
    for path, text in texts.items():
        if path.exists() and not overwrite and path.read_bytes() != text.encode():
            raise InputError(f"{path} {THERE}")
    return table, texts


def export(folder: Path, predictions: pd.DataFrame, write_group: bool, overwrite: bool) -> dict[str, Any]:
    """Write predictions into a Phy folder; return the files and how many labels went into the group file.

    Parameters
    ----------
    folder : Phy folder.
    predictions : columns ``unit_id``, ``predicted_quality``, ``prediction_confidence``, ``abstained``; ``id_of`` says whether the ids
        are Phy's clusters or SpikeInterface's units.
    write_group : also fill the group file: only clusters without a label of a person, only labels that Phy knows, no unit
        that was left to a person; the old file is kept with ``.backup`` at the end of its name.

    Raises
    ------
    InputError : not a Phy folder; an earlier export; predictions of other clusters.
    """
    return write_columns(folder, *columns_of(folder, predictions, write_group, overwrite), write_group)


def write_columns(folder: Path, table: pd.DataFrame, texts: dict[Path, str], write_group: bool) -> dict[str, Any]:
    """Write what `columns_of` returned; returns what `export` does."""
    for path, text in texts.items():
        with hdf5io.atomic(path) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    written = fill_groups(folder, table) if write_group else 0
    files = [*texts] + ([group_file(folder)] if write_group else [])
    return {"files": files, "n_groups_written": written}


def as_clusters(predictions: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return predictions by cluster id: through cluster_si_unit_ids.tsv where they are of SpikeInterface's units."""
    ids = [id_text(i) for i in predictions["unit_id"]]
    units = si_unit_ids(folder)
    of_clusters = "id_of" in predictions.columns and (predictions["id_of"] == "cluster").all()
    table = predictions.set_axis(ids, axis=0)
    if not table.index.is_unique:
        raise InputError(f"predictions: unit {table.index[table.index.duplicated()][0]} stands in them more than once.")
    if not units or of_clusters:
        clusters_only = table.rename(index=cluster_text)
        if not clusters_only.index.is_unique:
            raise InputError("predictions: a cluster stands in them under two spellings, such as 14 and 014.")
        return clusters_only
    clusters = {unit: cluster for cluster, unit in units.items()}
    known = [i for i in ids if i in clusters]
    if len(known) < 0.5 * len(ids):
        raise InputError(
            f"{folder}: {len(known)} of {len(ids)} predicted units are among its {len(clusters)} SpikeInterface units"
            " (cluster_si_unit_ids.tsv): predictions of another recording."
        )
    log.info("%s: SpikeInterface's unit ids became cluster ids (cluster_si_unit_ids.tsv)", folder)
    return table.loc[known].rename(index=clusters)


def fill_groups(folder: Path, predictions: pd.DataFrame) -> int:
    """Give clusters without a label of a person their predicted group; return how many. The file keeps its form and columns."""
    path = group_file(folder)
    wanted = {
        i: PHY_GROUP[quality]
        for i, quality, left in zip(predictions.index, predictions["predicted_quality"], predictions["abstained"])
        if quality in PHY_GROUP and not left
    }
    if path is None:
        rows = [["cluster_id", "group"], *([i, g] for i, g in sorted(wanted.items(), key=lambda item: id_key(item[0])))]
        write_cells(folder / GROUPS[0], TextTable(Form("utf-8", b"", "\n", "\t"), rows))
        return len(wanted)
    if is_kilosorts(path):
        shutil.move(path, _free(path.with_name(path.name + ".backup")))
        return fill_groups(folder, predictions)
    table, header, body, id_at, group_at = read_group_file(path)
    own = kilosort_labels(folder)
    now = {cluster_text(row[id_at]): row[group_at] for row in body}
    repeats = bool(own) and all(tidy(own.get(i)) == tidy(g) for i, g in now.items())
    written = 0
    for row in body:
        unit = cluster_text(row[id_at])
        manual = bool(meaning(row[group_at])) and not repeats
        if not manual and unit in wanted:
            row[group_at], written = wanted[unit], written + 1
    for unit in sorted(set(wanted) - set(now), key=id_key):
        row = [""] * len(header)
        row[id_at], row[group_at] = unit, wanted[unit]
        table.rows.append(row)
        written += 1
    if written:
        shutil.copy2(path, _free(path.with_name(path.name + ".backup")))
        write_cells(path, table)
    return written


def read_group_file(path: Path) -> tuple[TextTable, list[str], list[list[str]], int, int]:
    """Return a group file: all of it, its column names, the rows below them, and which columns hold the ids and the groups.

    Raises
    ------
    InputError : it cannot be filled: no such columns; an id that stands there twice.
    """
    table = read_cells(path)
    header, body = split_header(table, path)
    id_at = id_place(table.rows[0] if body is not table.rows else header, body, path)
    if "group" not in header:
        raise InputError(f"{path}: expected the columns cluster_id and group, found {', '.join(table.rows[0])}.")
    read_label_file(path, wanted="group")  # refuses an id that stands there twice
    if len({cluster_text(row[id_at]) for row in body}) < len(body):
        raise InputError(f"{path}: a cluster stands in it under two spellings, such as 14 and 014. Remove one.")
    return table, header, body, id_at, header.index("group")


def _free(path: Path) -> Path:
    """Return the path, numbered where it is taken: an earlier backup is never overwritten."""
    numbered, i = path, 1
    while numbered.exists():
        numbered, i = path.with_name(f"{path.name}{i}"), i + 1
    return numbered
