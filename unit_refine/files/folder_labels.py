"""What did a person call the clusters of a Phy folder: in its group file, in Phy's own table, in a column of one's own?

Phy keeps a person's labels in ``cluster_group.tsv``; a laboratory's own label (``:l quality good`` in Phy) and the properties that
SpikeInterface exports are ``cluster_<name>.tsv``. Kilosort's ``cluster_KSLabel.tsv`` is nobody's curation.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hdf5io.errors import InputError

from ..units.assemble import cluster_text, id_key
from ..units.labels import LABEL_COLUMNS, meaning, spelled_out, tidy
from .alf import share_of_criteria
from .clusters import SI_IDS, cluster_of_row
from .folder_tables import INFO, WANTED, info_table
from .label_files import KILOSORT_SHARE, KSLABEL, agree, kilosort_labels, read_label_file, without_kilosorts
from .tables import take_ids
from .text import is_blank, read_cells

log = logging.getLogger(__package__)

GROUPS = ("cluster_group.tsv", "cluster_groups.csv", "cluster_group.csv", "cluster_groups.tsv")
OURS = ("cluster_unit_refine.tsv", "cluster_unit_refine_prob.tsv")
#: Columns of Phy's own table that hold no label of anybody.
PHYS_OWN = frozenset({"amp", "ch", "channel", "depth", "fr", "n_spikes", "sh", "shank", "group", "kslabel", "unit_refine", "unit_refine_prob"})  # fmt: skip


def read(folder: Path, asked: bool, metrics: pd.DataFrame) -> dict[str, object] | None:
    """Return ``{cluster id: label}`` of a person; None where nobody labelled.

    Groups are read, and columns under a usual name (``quality``, ``label``, ...); of several that agree the first.

    Parameters
    ----------
    asked : the labels are what is wanted: the column is told, and several that disagree are refused. Else labels that cannot be read
        are told and stop nothing.
    metrics : the folder's tables of metrics by cluster id, in which labels may stand too.

    Raises
    ------
    InputError : two columns disagree, and neither was named; a file of labels that cannot be read.
    """
    try:
        return _read(folder, asked, metrics)
    except InputError as error:
        if asked:
            raise
        log.warning("labels that are there are not read: %s", error)
        return None


def _read(folder: Path, asked: bool, metrics: pd.DataFrame) -> dict[str, object] | None:
    groups, found = read_groups(folder), dict[str, dict[str, object]]()
    if groups is not None:
        found["group"] = groups
    usual = {n.lower() for n in LABEL_COLUMNS} - {"group", "kslabel"}
    for name in [n for n in own_names(folder) if n.lower() in usual]:
        values = own_column(folder, name)
        if any(meaning(v) for v in values.values()):
            found[name] = values
    for name in [
        c for c in map(str, metrics.columns) if c.lower() in usual and not share_of_criteria(metrics.columns, c)
    ]:
        values = dict(zip(map(str, metrics.index), spelled_out(metrics[name].tolist(), name)))
        if any(meaning(v) for v in values.values()):
            found[f"{name} of the metrics" if name in found else name] = values
    if not found:
        return None
    first, *others = found
    for other in others:
        n = sum(not agree(meaning(g), meaning(found[other].get(i, ""))) for i, g in found[first].items())
        if n and asked:
            raise InputError(
                f"{folder}: its columns '{first}' and '{other}' could be the labels and differ for {n} clusters."
                " Name the right one with --label-column."
            )
    if asked:
        log.warning("%s: the labels are those of its column '%s'", folder, first)
    return found[first]


def column_of(folder: Path, name: str) -> dict[str, object] | None:
    """Return ``{cluster id: label}`` of a column that was named; None where the folder has none of that name."""
    if name.lower() == "group":
        return read_groups(folder) or {}
    if name.lower() == "kslabel":
        return kilosort_labels(folder) or None
    own = next((n for n in own_names(folder) if n.lower() == name.lower()), None)
    return None if own is None else own_column(folder, own)


def own_names(folder: Path) -> list[str]:
    """Return the columns that a laboratory, or another program, gave the clusters: no metrics, nothing of Phy's, Kilosort's or ours."""
    taken = {SI_IDS, INFO, KSLABEL, *GROUPS, *OURS}
    names = [
        p.stem.removeprefix("cluster_")
        for p in sorted(folder.glob("cluster_*.tsv"))
        if p.name not in taken and not is_blank(p)
    ]
    if (folder / INFO).is_file():
        names += [str(c) for c in take_ids(info_table(folder / INFO), folder / INFO)[1].columns]
    return [n for n in dict.fromkeys(names) if n not in WANTED and n.lower() not in PHYS_OWN]


def with_words(folder: Path) -> list[str]:
    """Return those of `own_names` that hold words, as labels do."""
    return [n for n in own_names(folder) if any(re.search("[a-z]{2}", tidy(v)) for v in own_column(folder, n).values())]


def own_column(folder: Path, name: str) -> dict[str, object]:
    """Return ``{cluster id: value}`` of one of `own_names`: of its file, else of Phy's table."""
    path, rows = folder / f"cluster_{name}.tsv", cluster_of_row(folder)
    if not path.is_file():
        ids, table = take_ids(info_table(folder / INFO), folder / INFO)
        return dict(zip(map(cluster_text, ids), spelled_out(table[name].tolist(), name)))
    header = [cell.lower() for cell in read_cells(path).rows[0]]
    labels = read_label_file(path, wanted=name if name.lower() in header else None).labels
    values = dict(zip(labels, spelled_out(list(labels.values()), name)))
    return {rows.get(c := cluster_text(i), c): value for i, value in values.items()}


def of_units(folder: Path, labels: Mapping[str, object], ids: Sequence[str]) -> list[object]:
    """Return the label of each cluster that has metrics, and tell which labels are for clusters without.

    Raises
    ------
    InputError : these are more than half.
    """
    labelled = [i for i, g in labels.items() if meaning(g)]
    absent = sorted(set(labelled) - set(ids), key=id_key)
    if len(absent) > 0.5 * len(labelled):
        raise InputError(
            f"{folder}: {len(absent)} of {len(labelled)} labelled clusters have no metrics: these were computed before clusters were"
            " merged or split. Compute them again."
        )
    if absent:
        log.warning("%s: %d labels are for clusters without metrics: %s", folder, len(absent), shown(absent))
    return [labels.get(i, "") for i in ids]


def shown(ids: Sequence[str]) -> str:
    """Return ids as text, the first twenty."""
    return ", ".join(ids[:20]) + (", ..." if len(ids) > 20 else "")


def group_file(folder: Path) -> Path | None:
    """Return the file that holds a person's labels; None where there is none, or nothing in it."""
    return next((p for name in GROUPS if (p := folder / name).is_file() and not is_blank(p)), None)


def is_kilosorts(path: Path) -> bool:
    """Return whether a group file is the one that Kilosort 2.5 to 4 write: their own labels under their own name."""
    header = [cell.lower() for cell in read_cells(path).rows[0]]
    return "kslabel" in header and "group" not in header


def read_groups(folder: Path) -> dict[str, object] | None:
    """Return ``{cluster id: group}``; None where no file has groups, or where they only repeat Kilosort's labels."""
    path, groups = group_file(folder), dict[str, object]()
    if path is not None and is_kilosorts(path):
        log.info("%s: Kilosort's own labels, not a person's", path)
        path = None
    if path is not None:
        labels = read_label_file(path).labels
        groups = {cluster_text(i): group for i, group in labels.items()}
        if len(groups) < len(labels):
            raise InputError(f"{path}: a cluster stands in it under two spellings, such as 14 and 014. Remove one.")
    elif (folder / INFO).is_file():
        groups = info_groups(folder / INFO)
    if not any(meaning(g) for g in groups.values()):
        return None
    source = path or folder / INFO
    for other in [f for n in (*GROUPS, INFO) if (f := folder / n).is_file() and f != source and not is_blank(f)]:
        if other.name == INFO or not is_kilosorts(other):
            found = info_groups(other) if other.name == INFO else read_label_file(other).labels
            theirs = {cluster_text(i): meaning(g) for i, g in found.items()}
            n = sum(meaning(g) != theirs[i] for i, g in groups.items() if i in theirs)
            if n:
                log.warning("%s: %d labels differ from %s's, which is read", other, n, source.name)
    warn_of_predictions(groups, folder, source)
    labels, notices = without_kilosorts(groups, folder, source)
    for notice in notices:
        log.warning("%s", notice)
    return labels if any(meaning(g) for g in labels.values()) else None


def warn_of_predictions(groups: Mapping[str, object], folder: Path, source: Path) -> None:
    """Warn where labels may be a model's own: its export filled the group file, and nearly all groups still are what it said."""
    path = folder / OURS[0]
    said = {cluster_text(i): meaning(g) for i, g in read_label_file(path).labels.items()} if path.is_file() else {}
    shared = [i for i, g in groups.items() if i in said and tidy(g)]
    n = sum(meaning(groups[i]) == said[i] for i in shared)
    if shared and n >= KILOSORT_SHARE * len(shared):
        log.warning(
            "%s: %d of %d labels are what unit-refine predicted (%s): taken for a person's, who should have looked at them",
            source, n, len(shared), path.name,
        )  # fmt: skip


def info_groups(path: Path) -> dict[str, object]:
    """Return ``{cluster id: group}`` of cluster_info.tsv; empty where it has no groups."""
    ids, table = take_ids(info_table(path), path)
    return dict(zip(map(cluster_text, ids), table["group"].tolist())) if "group" in table.columns else {}
