"""Which clusters does a Phy folder have now, and do the ids of a table number its clusters or a sorter's units?"""

from __future__ import annotations

import ast
import contextlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..units.assemble import cluster_text, id_text
from .text import read_cells

log = logging.getLogger(__package__)

SI_IDS = "cluster_si_unit_ids.tsv"
CLUSTERS = ("spike_clusters.npy", "spike_templates.npy")


def clusters_of(folder: Path) -> set[str] | None:
    """Return the clusters that have spikes now; None where the folder does not say."""
    counts = spike_counts(folder)
    return None if counts is None else set(counts)


def params_of(folder: Path) -> dict[str, Any]:
    """Return the literal values of a folder's ``params.py``, which is read as text; empty where there is none."""
    path, found = folder / "params.py", dict[str, Any]()
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for name, value in re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", text, re.MULTILINE):
        with contextlib.suppress(ValueError, SyntaxError):
            found[name] = ast.literal_eval(value)
    return found


def sample_rate(folder: Path) -> float | None:
    """Return the samples a second of a Phy folder; None where ``params.py`` does not say it as a number.

    Raises
    ------
    InputError : a number that is none of Hz.
    """
    rate = None
    with contextlib.suppress(ValueError, TypeError):
        rate = float(params_of(folder).get("sample_rate", ""))
    if rate is not None and not 500 <= rate < np.inf:
        raise InputError(f"{folder / 'params.py'}: sample_rate = {rate:g}; the sampling rate in Hz is expected.")
    return rate


def spike_samples(folder: Path) -> np.ndarray | None:
    """Return the time of each spike in samples; None where the folder has none.

    Raises
    ------
    InputError : no such array; fractions, which are seconds or something else.
    """
    path = folder / "spike_times.npy"
    if not path.is_file():
        return None
    with hdf5io.parsing(path, "a NumPy array of spike times"):
        times = np.load(path, allow_pickle=False)
    if times.dtype.kind not in "iuf" or not np.array_equal(times, np.rint(times)):
        raise InputError(
            f"{path}: its {times.dtype} are no whole numbers; times in samples are expected, not in seconds."
        )
    return times.ravel().astype(np.int64)


def spike_counts(folder: Path) -> dict[str, int] | None:
    """Return how many spikes each cluster has now; None where the folder does not say."""
    for name in CLUSTERS:
        path = folder / name
        if path.is_file():
            ids, counts = np.unique(numbers_of_spikes(path), return_counts=True)
            return dict(zip(map(str, ids.tolist()), counts.tolist()))
    return None


def numbers_of_spikes(path: Path) -> np.ndarray:
    """Return the cluster (or template) number of each spike.

    Raises
    ------
    InputError : no such array.
    """
    with hdf5io.parsing(path, "a NumPy array of cluster ids"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and np.array_equal(array, np.rint(array)))
        if not whole or array.size != max(array.shape, default=0):
            raise InputError(
                f"{path}: holds {array.dtype} of shape {array.shape}; one cluster number a spike is expected."
            )
        return np.asarray(array).ravel().astype(np.int64)


def si_unit_ids(folder: Path) -> dict[str, str]:
    """Return ``{cluster id: SpikeInterface unit id}`` of a Phy folder that SpikeInterface exported; empty for any other."""
    path = folder / SI_IDS
    if not path.is_file():
        return {}
    table = read_cells(path)
    header = [cell.lower() for cell in table.rows[0]]
    if "si_unit_id" not in header or "cluster_id" not in header:
        raise InputError(f"{path}: expected the columns cluster_id and si_unit_id, found {', '.join(table.rows[0])}.")
    cluster, unit = header.index("cluster_id"), header.index("si_unit_id")
    spikes = cluster_of_row(folder)
    found = {spikes.get(c := cluster_text(row[cluster]), c): id_text(row[unit]) for row in table.rows[1:]}
    if len(set(found.values())) < len(found) or len(found) < len(table.rows) - 1:
        raise InputError(f"{path}: a cluster or unit stands in it more than once.")
    return found


def cluster_of_row(folder: Path) -> dict[str, str]:
    """Return ``{cluster id in SpikeInterface's tables: cluster id of the spikes}`` of a Phy folder where the two differ, else nothing.

    SpikeInterface's export leaves units without spikes out of its tables and numbers the rest anew, but its spikes keep the numbers
    of all units: behind an empty unit every row speaks of another cluster than its number says. ``spike_templates.npy``, which Phy never
    changes, tells.
    """
    path = folder / "spike_templates.npy"
    if not path.is_file() or not (folder / SI_IDS).is_file():
        return {}
    there = np.unique(numbers_of_spikes(path))
    if len(there) != len(read_cells(folder / SI_IDS).rows) - 1 or np.array_equal(there, np.arange(len(there))):
        return {}
    log.warning(
        "%s: units without spikes stand before others: its rows number the clusters that have spikes", folder / SI_IDS
    )
    return {str(k): str(c) for k, c in enumerate(there.tolist())}


def numbering(folder: Path, table: pd.DataFrame, ids: Sequence[str], column: str | None) -> str:
    """Return what the ids of a table that stands in a folder number: a sorter's "unit", or Phy's "cluster".

    Only a folder that SpikeInterface exported has both (``cluster_si_unit_ids.tsv``). There the counts of spikes tell, where the
    table has them; then ids that only one of the two has; then the name of the column.

    Raises
    ------
    InputError : nothing tells.
    """
    units = si_unit_ids(folder)
    if not units or units == {i: i for i in units}:
        return "unit"
    counts = spike_counts(folder)
    if counts is not None and "num_spikes" in table.columns:
        of_unit = {unit: counts[cluster] for cluster, unit in units.items() if cluster in counts}
        as_cluster, as_unit = agreement(table, ids, counts), agreement(table, ids, of_unit)
        if abs(as_cluster - as_unit) > 0.25:
            return "cluster" if as_cluster > as_unit else "unit"
    inverse = set(units.values())
    as_cluster, as_unit = sum(i in units for i in ids) / len(ids), sum(i in inverse for i in ids) / len(ids)
    if abs(as_cluster - as_unit) > 0.25:
        return "cluster" if as_cluster > as_unit else "unit"
    name = (column or "").strip().lower()
    if name not in ("cluster_id", "phy_clusterid", "unit_id", "unit_ids"):
        raise InputError(
            f"{folder}: a table of metrics in it has ids in a column '{name}', which could be Phy's clusters or SpikeInterface's units"
            " (cluster_si_unit_ids.tsv). Name the column cluster_id or unit_id."
        )
    return "cluster" if name in ("cluster_id", "phy_clusterid") else "unit"


def agreement(table: pd.DataFrame, ids: Sequence[str], counts: Mapping[str, int]) -> float:
    """Return the share of a table's units whose ``num_spikes`` is, to a tenth, the count of that id."""
    spikes = pd.to_numeric(table["num_spikes"], errors="coerce").to_numpy(dtype=float)
    now = np.array([counts.get(i, np.nan) for i in ids], dtype=float)
    both = np.isfinite(spikes) & np.isfinite(now)
    return float(np.mean(np.abs(spikes - now)[both] <= 0.1 * np.maximum(now[both], 10))) if both.any() else 0.0


def check_counts(folder: Path, table: pd.DataFrame) -> None:
    """Warn where the metrics count other spikes than the clusters of the folder have: metrics of another sorting."""
    counts = spike_counts(folder)
    if counts is None or "num_spikes" not in table.columns or len(table) < 5:
        return
    share = agreement(table, list(table.index), counts)
    if share < 0.5:
        log.warning(
            "%s: for %.0f %% of the clusters num_spikes of the metrics is not the number of spikes in spike_clusters.npy:"
            " metrics of another sorting, or computed before it was changed?", folder, 100 * (1 - share),
        )  # fmt: skip


def with_counts(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return metrics with ``num_spikes`` and ``firing_rate`` (Hz) from the spikes where they lack them, as SpikeInterface's export does."""
    counts, absent = spike_counts(folder), [n for n in ("num_spikes", "firing_rate") if n not in table.columns]
    if counts is None or not absent:
        return table
    spikes = np.array([counts.get(i, np.nan) for i in table.index], dtype=float)
    rate, samples = sample_rate(folder), spike_samples(folder)
    last = 0.0 if rate is None or samples is None else samples.max(initial=0) / rate
    found = {"num_spikes": spikes} | ({"firing_rate": spikes / last} if last > 0 else {})
    found = {n: v for n, v in found.items() if n in absent}
    log.warning(
        "%s: %s counted from the spikes%s",
        folder,
        ", ".join(found),
        " up to the last one" if "firing_rate" in found else "",
    )
    return table.assign(**found)
