"""Which metrics stand in a Phy or Kilosort folder: in tables, in ``cluster_<metric>.tsv``, in Phy's own ``cluster_info.tsv``?"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..units.assemble import cluster_text
from ..units.metric_names import from_producer
from ..units.metrics import id_column
from ..units.spelling import WANTED, read_spellings
from .clusters import cluster_of_row, numbering, si_unit_ids
from .tables import read_table, take_ids

log = logging.getLogger(__package__)

INFO = "cluster_info.tsv"
#: Tables of metrics in a sorter's folder; SpikeInterface's report has a blank in the name.
TABLES = ("quality_metrics.csv", "quality metrics.csv", "metrics.csv", "template_metrics.csv", "waveform_metrics.csv")
BOMBCELL = tuple(f"{folder}templates._bc_qMetrics" for folder in ("", "bombcell/", "qMetrics/"))


def read(folder: Path) -> pd.DataFrame:
    """Return the metrics of a folder by cluster id; without columns where it has none.

    Where a metric stands in several files the first one's is taken, and told where they differ.
    """
    found: dict[str, pd.Series] = {}
    source: dict[str, str] = {}
    for name, table in metric_tables(folder):
        differ = {c: source[c] for c in table.columns if c in found and differs(table[c], found[c])}
        for first in dict.fromkeys(differ.values()):
            told = ", ".join(c for c, s in differ.items() if s == first)
            log.warning("%s: %s has other values of %s than %s, which is read", folder, name, told, first)
        new = [c for c in table.columns if c not in found]
        found |= {c: table[c] for c in new}
        source |= dict.fromkeys(new, name)
    return pd.concat(found.values(), axis=1, join="outer") if found else pd.DataFrame()


def differs(ours: pd.Series, theirs: pd.Series) -> bool:
    """Return whether a metric of a second file is another than the first one's for a cluster that both have (by more than rounding)."""
    both = pd.concat([pd.to_numeric(v, errors="coerce") for v in (ours, theirs)], axis=1, join="inner").dropna()
    return bool(len(both)) and not np.allclose(both.iloc[:, 0], both.iloc[:, 1], rtol=0.01, atol=1e-3)


def metric_tables(folder: Path) -> list[tuple[str, pd.DataFrame]]:
    """Return the name and the metrics by cluster id of every file of a folder."""
    parts = []
    for path in table_files(folder):
        whole = read_table(path)
        ids, table = take_ids(whole, path)
        clusters = {unit: cluster for cluster, unit in si_unit_ids(folder).items()}
        if clusters and numbering(folder, table, ids, id_column(list(map(str, whole.columns)))) == "unit":
            kept = np.array([i in clusters for i in ids])
            ids, table = [clusters[i] for i in ids if i in clusters], table[kept]
            log.warning("%s: its ids are SpikeInterface's units: read through cluster_si_unit_ids.tsv", path)
        # file by file: another program's names say nothing of this one's
        parts.append((path.name, by_cluster(with_our_names(table, path), ids)))
    files = {p.stem.removeprefix("cluster_"): p for p in sorted(folder.glob("cluster_*.tsv"))}
    rows = cluster_of_row(folder)
    for name in ours(list(files), f"{folder}: cluster_<metric>.tsv"):
        ids, table = take_ids(read_table(files[name]), files[name])
        table = table.set_axis([name], axis=1) if len(table.columns) == 1 else table
        parts.append((files[name].name, by_cluster(table, [rows.get(c := cluster_text(i), c) for i in ids])))
    if (folder / INFO).is_file():
        ids, table = take_ids(info_table(folder / INFO), folder / INFO)
        parts.append((INFO, by_cluster(table[ours(list(table.columns), str(folder / INFO))], ids)))
    return parts


def ours(names: list[str], where: str) -> list[str]:
    """Return which names are metrics of SpikeInterface; those that the names beside them show to be another program's (Bombcell's) are told."""
    left = from_producer(pd.DataFrame(columns=names))[0].columns
    if others := [n for n in names if n in WANTED and n not in left]:
        log.warning(
            "%s: %s left out: of a program that defines them otherwise, as the names beside them show",
            where,
            ", ".join(others),
        )
    return [n for n in names if n in WANTED and n in left]


def with_our_names(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table with SpikeInterface's names (see ``metric_names``), and tell what was done."""
    table, spelled = read_spellings(table, str(path))
    table, notices = from_producer(table)
    for notice in spelled + notices:
        log.warning("%s: %s", path, notice)
    return table


def by_cluster(table: pd.DataFrame, ids: list[str]) -> pd.DataFrame:
    """Return a table whose rows are named by their cluster."""
    return table.set_index(pd.Index(map(cluster_text, ids), name="unit_id"))


def table_files(folder: Path) -> list[Path]:
    """Return the tables of metrics of a folder; ecephys numbers those of later runs (``metrics_1.csv``), of which the last is read.

    Raises
    ------
    InputError : several tables under names of their own.
    """
    found = [folder / n for n in TABLES if (folder / n).is_file()]
    found += [
        p
        for n in BOMBCELL
        if (p := next((f for s in (".parquet", ".csv") if (f := folder / f"{n}{s}").is_file()), None))
    ]
    for stem in ("metrics", "waveform_metrics"):
        later = {int(n): p for p in folder.glob(f"{stem}_*.csv") if (n := p.stem.removeprefix(f"{stem}_")).isdigit()}
        first = folder / f"{stem}.csv"
        if later:
            last = later[max(later)]
            found = [p for p in found if p != first] + [last]
            others = [p.name for p in (first, *later.values()) if p != last and p.is_file()]
            if others:
                log.warning("%s: %s is read, of a later run than %s", folder, last.name, ", ".join(sorted(others)))
    own = sorted(folder.glob("*quality_metrics*.csv"))
    if not found and len(own) > 1:
        raise InputError(
            f"{folder}: {len(own)} tables of metrics ({', '.join(p.name for p in own[:4])}); give one of them as the input."
        )
    return found or own


def info_table(path: Path) -> pd.DataFrame:
    """Return cluster_info.tsv without the rows that Phy leaves without an id after a merge."""
    table = read_table(path)
    name = id_column(list(map(str, table.columns)))
    blank = table[name].isna() if name is not None else pd.Series(False, index=table.index)
    if blank.any():
        log.warning("%s: %d rows without a cluster id left out", path, int(blank.sum()))
    return table[~blank]
