"""What does a Phy folder say about its units, and how do predictions get into it without touching a person's work?

Files of Phy: ``cluster_group.tsv`` (a person's labels), ``cluster_KSLabel.tsv`` (Kilosort's), ``cluster_info.tsv`` (Phy's own
table), ``cluster_<metric>.tsv`` (SpikeInterface's export). Ours: ``cluster_unit_refine.tsv``, ``cluster_unit_refine_prob.tsv``.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..units.labels import MEANING, tidy
from ..units.metrics import KNOWN, RENAMED
from .tables import read_table, take_ids

log = logging.getLogger(__package__)

GROUP, KSLABEL, INFO = "cluster_group.tsv", "cluster_KSLabel.tsv", "cluster_info.tsv"
OURS = ("cluster_unit_refine.tsv", "cluster_unit_refine_prob.tsv")
TABLES = ("quality_metrics.csv", "metrics.csv", "template_metrics.csv")
#: Phy knows three groups.
PHY_GROUP = {"good": "good", "sua": "good", "mua": "mua", "noise": "noise"}


def read(folder: Path) -> tuple[list[str], pd.DataFrame, list[object] | None]:
    """Return unit ids, metrics and a person's labels (None where nobody curated) of a Phy or Kilosort folder.

    Raises
    ------
    InputError : no metrics in the folder.
    """
    parts: list[pd.DataFrame] = []
    for path in [folder / name for name in TABLES if (folder / name).is_file()] or sorted(
        folder.glob("*quality_metrics*.csv")
    ):
        ids, table = take_ids(read_table(path), path)
        parts.append(table.set_index(pd.Index(ids, name="unit_id")))
    metric_files = [
        p for p in sorted(folder.glob("cluster_*.tsv")) if p.stem.removeprefix("cluster_") in {*KNOWN, *RENAMED}
    ]
    for path in [*metric_files, *([folder / INFO] if (folder / INFO).is_file() else [])]:
        ids, table = take_ids(read_table(path), path)
        table = table[[c for c in table.columns if c in KNOWN or c in RENAMED]]
        parts.append(table.set_index(pd.Index(ids, name="unit_id")))
    parts = [p for p in parts if len(p.columns)]
    if not parts:
        raise InputError(
            f"{folder}: no metrics. Expected quality_metrics.csv, cluster_<metric>.tsv, or metrics in cluster_info.tsv."
            " Compute them with SpikeInterface (a SortingAnalyzer folder is an input too)."
        )
    table = pd.concat(parts, axis=1, join="outer")
    table = table.loc[:, ~table.columns.duplicated()]
    labels = read_groups(folder)
    return (
        list(table.index),
        table.reset_index(drop=True),
        None if labels is None else [labels.get(i, "") for i in table.index],
    )


def read_groups(folder: Path) -> dict[str, object] | None:
    """Return ``{cluster id: group}``; None where no file has groups, or where they only repeat Kilosort's labels."""
    groups = None
    for name in (GROUP, INFO):
        if groups is None and (folder / name).is_file():
            ids, table = take_ids(read_table(folder / name), folder / name)
            groups = dict(zip(ids, table["group"].tolist())) if "group" in table.columns else None
    if groups is None or not any(tidy(g) for g in groups.values()):
        return None
    if (folder / KSLABEL).is_file():
        ids, table = take_ids(read_table(folder / KSLABEL), folder / KSLABEL)
        if {i: tidy(g) for i, g in groups.items()} == {i: tidy(g) for i, g in zip(ids, table.iloc[:, 0])}:
            log.warning("%s: %s only repeats Kilosort's labels: not curated by a person", folder, GROUP)
            return None
    return groups


def export(folder: Path, predictions: pd.DataFrame, write_group: bool, overwrite: bool) -> dict[str, object]:
    """Write predictions into a Phy folder; return the files and how many labels went into ``cluster_group.tsv``.

    Parameters
    ----------
    folder : Phy folder.
    predictions : columns ``unit_id``, ``predicted_quality``, ``prediction_confidence``, ``abstained``.
    write_group : also fill ``cluster_group.tsv``: only clusters without a label of a person, only labels that Phy knows, no unit
        that was left to a person; the old file is kept as ``cluster_group.tsv.backup``.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such Phy folder.")
    if not any((folder / name).exists() for name in ("params.py", GROUP, INFO, KSLABEL, "spike_clusters.npy")):
        raise InputError(f"{folder}: not a Phy folder (no params.py, spike_clusters.npy or cluster_*.tsv).")
    for name in OURS:
        if (folder / name).exists() and not overwrite:
            raise InputError(f"{folder / name} exists already. Give --overwrite to replace the earlier export.")
    columns = {OURS[0]: ("unit_refine", "predicted_quality"), OURS[1]: ("unit_refine_prob", "prediction_confidence")}
    for name, (title, source) in columns.items():
        table = pd.DataFrame({"cluster_id": predictions["unit_id"], title: predictions[source]})
        with hdf5io.atomic(folder / name) as part:
            table.to_csv(part, sep="\t", index=False, float_format="%.6f")
    written = fill_groups(folder, predictions) if write_group else 0
    return {
        "files": [folder / name for name in OURS] + ([folder / GROUP] if write_group else []),
        "n_groups_written": written,
    }


def fill_groups(folder: Path, predictions: pd.DataFrame) -> int:
    """Give clusters without a label of a person their predicted group; return how many."""
    path, manual = folder / GROUP, {}
    if path.is_file():
        old = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        if list(old.columns[:2]) != ["cluster_id", "group"]:
            raise InputError(f"{path}: expected the columns cluster_id and group, found {', '.join(old.columns)}.")
        repeats_kilosort = False
        if (folder / KSLABEL).is_file():
            other = pd.read_csv(folder / KSLABEL, sep="\t", dtype=str, keep_default_na=False)
            repeats_kilosort = dict(zip(old.iloc[:, 0], old.iloc[:, 1])) == dict(
                zip(other.iloc[:, 0], other.iloc[:, 1])
            )
        manual = (
            {}
            if repeats_kilosort
            else {i: g for i, g in zip(old["cluster_id"], old["group"]) if MEANING.get(tidy(g), g)}
        )
        shutil.copy2(path, _free(path.with_name(GROUP + ".backup")))
    groups = dict(manual)
    for unit, quality, left in zip(
        predictions["unit_id"].astype(str), predictions["predicted_quality"], predictions["abstained"]
    ):
        if unit not in manual and quality in PHY_GROUP and not left:
            groups[unit] = PHY_GROUP[quality]
    table = pd.DataFrame({"cluster_id": list(groups), "group": list(groups.values())})
    table = table.sort_values("cluster_id", key=lambda ids: pd.to_numeric(ids, errors="coerce"), kind="stable")
    with hdf5io.atomic(path) as part:
        table.to_csv(part, sep="\t", index=False)
    return len(groups) - len(manual)


def _free(path: Path) -> Path:
    """Return the path, numbered where it is taken: an earlier backup is never overwritten."""
    numbered, i = path, 1
    while numbered.exists():
        numbered, i = path.with_name(f"{path.name}{i}"), i + 1
    return numbered
