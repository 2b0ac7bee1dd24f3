"""Which numbers describe a unit, are they comparable between versions, and does any unit stand in the data twice?

Metrics carry the names of SpikeInterface 0.104.0 and later; tables with the older names are translated on reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

PCA_METRICS = (
    "isolation_distance", "l_ratio", "d_prime", "nn_hit_rate", "nn_miss_rate", "silhouette", "nn_isolation", "nn_noise_overlap",
)  # fmt: skip
QUALITY_METRICS = (
    "num_spikes", "firing_rate", "presence_ratio", "snr", "isi_violations_ratio", "isi_violations_count", "rp_contamination",
    "rp_violations", "sliding_rp_violation", "sync_spike_2", "sync_spike_4", "sync_spike_8", "firing_range",
    "amplitude_cv_median", "amplitude_cv_range", "amplitude_cutoff", "noise_cutoff", "noise_ratio", "amplitude_median",
    "drift_ptp", "drift_std", "drift_mad", "sd_ratio", *PCA_METRICS,
)  # fmt: skip
TEMPLATE_METRICS = (
    "peak_to_trough_duration", "trough_half_width", "peak_half_width", "repolarization_slope", "recovery_slope",
    "num_positive_peaks", "num_negative_peaks", "main_to_next_extremum_duration", "peak_before_to_trough_ratio",
    "peak_after_to_trough_ratio", "peak_before_to_peak_after_ratio", "main_peak_to_trough_ratio", "trough_width",
    "peak_before_width", "peak_after_width", "waveform_baseline_flatness", "velocity_above", "velocity_below", "exp_decay",
    "spread",
)  # fmt: skip
#: Metrics that are computed where they lack; two of SpikeInterface's take as long as all others together.
COMPUTED = tuple(n for n in QUALITY_METRICS + TEMPLATE_METRICS if n not in ("nn_isolation", "nn_noise_overlap"))
KNOWN = frozenset(QUALITY_METRICS + TEMPLATE_METRICS)
#: Old name -> (new name, sign): SpikeInterface 0.104.0 renamed three template metrics and turned the sign of one.
RENAMED = {
    "peak_to_valley": ("peak_to_trough_duration", 1.0),
    "half_width": ("trough_half_width", 1.0),
    "peak_trough_ratio": ("peak_after_to_trough_ratio", -1.0),
}
#: The size of a unit's spikes: SpikeInterface (0.101 to 0.105) gives it the sign of the spike, the public UnitRefine tables do not.
SIZE = "amplitude_median"
#: Metrics that cannot be negative (the public recordings' are not): a minus stands for "none".
NEVER_NEGATIVE = frozenset({
    "num_spikes", "firing_rate", "presence_ratio", "snr", "isi_violations_ratio", "isi_violations_count", "rp_contamination", "rp_violations",
    "sliding_rp_violation", "sync_spike_2", "sync_spike_4", "sync_spike_8", "firing_range", "amplitude_cv_median", "amplitude_cv_range",
    "amplitude_cutoff", "drift_ptp", "drift_std", "drift_mad", "sd_ratio", "isolation_distance", "l_ratio", "nn_hit_rate", "nn_miss_rate",
    "num_positive_peaks", "num_negative_peaks", "spread",
})  # fmt: skip
SENTINELS = (-999.0, -9999.0, -99999.0)  #: what other programs write for "none" in any metric
#: Names of the column of unit ids, in lower case, the surest first.
ID_COLUMNS = ("cluster_id", "unit_id", "phy_clusterid", "unit_ids", "ecephys_unit_id", "cluster", "unit", "id")
#: Share of a model's metrics that may be missing from new data.
MISSING_SHARE = 0.2


class Checked(NamedTuple):
    """New units in the shape a model expects."""

    metrics: pd.DataFrame  #: (n, m) float32, columns as the model knows them
    absent: list[str]  #: metrics the new data do not have, filled by the model's imputer
    notices: list[str]


def id_column(names: Sequence[str]) -> str | None:
    """Return the column that holds the unit ids, in whatever case and with whatever parts its words ("Cluster ID"), or None.

    MATLAB's Bombcell counts ``clusterID`` from one; it is never taken.

    >>> id_column(["snr", "Cluster ID"]), id_column(["clusterID", "phy_clusterID"]), id_column(["clusterID"])
    ('Cluster ID', 'phy_clusterID', None)
    """
    exact = {name.strip().lower(): name for name in reversed(names)}
    loose = {squeezed(name): name for name in reversed(names) if name != "clusterID"}
    found = (exact.get(n) or loose.get(n.replace("_", "")) for n in ID_COLUMNS)
    return next((name for name in found if name is not None), None)


def squeezed(name: str) -> str:
    """Return a column's name as small letters and digits only."""
    return re.sub("[^a-z0-9]", "", name.lower())


def other_ids(columns: Mapping[str, Sequence[object]]) -> str | None:
    """Return a column that may hold the ids of a table whose first column has no name and may number its rows, or None.

    >>> other_ids({"si_unit_id": [4, 7], "snr": [1.0, 2.0]}), other_ids({"num_units": [4, 7]})
    ('si_unit_id', None)
    """
    for name, values in columns.items():
        looks = re.search("(unit|cluster|neuron|cell)(id|name|number|index|nr|no)?$", squeezed(name))
        if looks and len({str(v) for v in values}) == len(values):
            return name
    return None


def to_new_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with today's metric names, signs turned where the definition was.

    >>> to_new_names(pd.DataFrame({"peak_trough_ratio": [-0.5]})).to_dict("list")
    {'peak_after_to_trough_ratio': [0.5]}
    """
    return _rename(table, {old: (new, sign) for old, (new, sign) in RENAMED.items() if new not in table.columns})


def to_old_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the metric names of SpikeInterface before 0.104.0 (inverse of `to_new_names`)."""
    return _rename(table, {new: (old, sign) for old, (new, sign) in RENAMED.items() if old not in table.columns})


def _rename(table: pd.DataFrame, names: dict[str, tuple[str, float]]) -> pd.DataFrame:
    present = {name: target for name, target in names.items() if name in table.columns}
    table = table.rename(columns={name: new for name, (new, _) in present.items()})
    for new, sign in present.values():
        if sign < 0:
            table[new] = -pd.to_numeric(table[new], errors="coerce")
    return table


def negative_share(table: pd.DataFrame) -> float | None:
    """Return the share of units whose size has a minus; None where no unit has a size."""
    sizes = pd.to_numeric(table[SIZE], errors="coerce").dropna() if SIZE in table.columns else pd.Series(dtype=float)
    return float((sizes < 0).mean()) if len(sizes) else None


def with_sign(table: pd.DataFrame, negative: float | None) -> pd.DataFrame:
    """Return the table with sizes (see `SIZE`) in the sign of other units; itself where that is the case, or not known.

    Parameters
    ----------
    negative : the other units' `negative_share`; only where all of them have one sign can it be told.

    >>> with_sign(pd.DataFrame({SIZE: [-50.0, -20.0]}), negative=0.0)[SIZE].tolist()
    [50.0, 20.0]
    """
    own = negative_share(table)
    if own is None or negative is None or not ((negative < 0.01 and own > 0) or (negative > 0.99 and own == 0)):
        return table
    sizes = pd.to_numeric(table[SIZE], errors="coerce").abs()
    return table.assign(**{SIZE: sizes if negative < 0.01 else -sizes})


def without_sentinels(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return a table in which numbers that stand for "none" are missing, and what was done.

    Those are `SENTINELS`, and one and the same negative number in a metric that cannot be negative; several different ones are
    another fault (a sign), and stay.

    >>> without_sentinels(pd.DataFrame({"drift_ptp": [-1.0, 3.5], "velocity_above": [-1.0, -999.0]}))[0].isna().sum().tolist()
    [1, 1]
    """
    notices, changed = [], {}
    for name in [c for c in table.columns if c in KNOWN]:
        values = pd.to_numeric(table[name], errors="coerce")
        negative = set(values[(values < 0) & np.isfinite(values)])
        found = negative if name in NEVER_NEGATIVE and len(negative) == 1 else negative & {*SENTINELS}
        if found:
            changed[name] = table[name].mask(values.isin(found))
            shown = ", ".join(f"{v:g}" for v in sorted(found))
            notices.append(f"{name} of {int(values.isin(found).sum())} units is {shown}: taken as missing")
    return (table.assign(**changed) if changed else table), notices


def numeric(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the metrics as float32, infinite values as missing.

    SpikeInterface hands metrics to a model in float32, and everything after that (imputing, scaling, trees' thresholds) is
    computed in the precision of its input. Training and predicting in float32 too gives the same answer there, also where many
    units share a value and a threshold lies on it.

    Raises
    ------
    InputError : a metric column holds text.
    """
    columns = {}
    for name in table.columns:
        values = table[name]
        if values.dtype == bool or str(values.dtype) == "boolean":
            values = values.astype(float)
        column = pd.to_numeric(values, errors="coerce")
        bad = (
            column.isna()
            & values.notna()
            & ~values.astype(str).str.strip().str.lower().isin(["", "nan", "none", "inf", "-inf"])
        )
        if bad.any():
            raise InputError(
                f"{where}: column '{name}' holds '{values[bad].iloc[0]}' (row {int(np.flatnonzero(bad)[0]) + 2});"
                " expected a number. Correct the cell or leave the column out with --metric-names."
            )
        columns[name] = column.to_numpy(dtype=float, na_value=np.nan)
    data = pd.DataFrame(columns, index=table.index)
    with np.errstate(over="ignore"):
        return data.astype("float32").replace([np.inf, -np.inf], np.nan)


def choose_columns(
    tables: Sequence[pd.DataFrame], names: Sequence[str], labels_like: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the metric columns that all recordings have in common, and notices.

    Without names, only metrics that SpikeInterface defines are used: a table's other columns (``is_noise``, channels, depths, a
    sorter's own label) may hold the answer. A table with fewer than three known metrics is taken at its word: every number in it.

    Raises
    ------
    InputError : a name that a recording lacks; recordings without a metric in common.
    """
    common = [c for c in tables[0].columns if all(c in t.columns for t in tables[1:])]
    if names:
        wanted = [RENAMED[n][0] if n in RENAMED else n for n in names]
        absent = [n for n, w in zip(names, wanted) if w not in common]
        if absent:
            raise InputError(f"--metric-names: no '{absent[0]}' in every input; they share {', '.join(common[:60])}.")
        return sorted(dict.fromkeys(wanted)), []
    known = sorted(c for c in common if c in KNOWN)
    notices = []
    everywhere = {c for t in tables for c in t.columns}
    if len(known) < 3:
        excluded = {*ID_COLUMNS, *labels_like}
        known = sorted(
            c for c in common if c not in excluded and pd.to_numeric(tables[0][c], errors="coerce").notna().any()
        )
        notices.append(f"no SpikeInterface metric names found: every numeric column is used: {', '.join(known)}")
    if not known:
        raise InputError(
            f"inputs: no metric that all recordings have; the first has {', '.join(map(str, tables[0].columns))}."
        )
    ignored = sorted(str(c) for c in everywhere - set(known) - set(ID_COLUMNS) - set(labels_like))
    if ignored:
        notices.append(f"columns not used (no known metric, or not in every input): {', '.join(ignored)}")
    return known, notices


def give_away(metrics: pd.DataFrame, y: np.ndarray) -> list[str]:
    """Return columns of at most three different values that determine the class of every unit: labels in disguise."""
    found = []
    for name in metrics.columns:
        codes = pd.factorize(metrics[name].round(6), use_na_sentinel=False)[0]
        if codes.max() > 2 or codes.max() == 0:
            continue
        if all(len(np.unique(y[codes == c])) == 1 for c in np.unique(codes)):
            found.append(name)
    return found


def drop_empty(metrics: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table without columns that are missing for every unit, and the names of these."""
    empty = [str(c) for c in metrics.columns if metrics[c].isna().all()]
    return metrics.drop(columns=empty), empty


def match_model(table: pd.DataFrame, expected: Sequence[str], where: str, negative: float | None = None) -> Checked:
    """Return the new units' metrics in the model's columns and order.

    Parameters
    ----------
    table : the new units, today's metric names.
    expected : the model's metrics, in its own spelling and order.
    where : file name for messages.
    negative : the training units' `negative_share`.

    Raises
    ------
    InputError : more than a fifth of the model's metrics, or all its PCA metrics, are absent (a metric that is there but missing
        for every unit counts as absent).
    """
    old = [name for name in expected if name in RENAMED]
    renamed = to_old_names(table) if old else to_new_names(table)
    table = with_sign(renamed, negative)
    told = [] if table is renamed else [f"{where}: {SIZE} has the other sign than in training: its size is taken"]
    present = [n for n in expected if n in table.columns]
    metrics = numeric(table[present], where).reindex(columns=list(expected))
    absent = [n for n in expected if metrics[n].isna().all()]
    pca = [n for n in expected if n in PCA_METRICS]
    if pca and set(pca) <= set(absent):
        raise InputError(
            f"{where}: none of the model's PCA metrics ({', '.join(pca)}) is there; without them about .10 balanced accuracy is"
            " lost. Compute them (analyzer: --compute-missing) or train a model without them (--metric-names)."
        )
    if len(absent) > MISSING_SHARE * len(expected):
        raise InputError(
            f"{where}: {len(absent)} of the model's {len(expected)} metrics are absent ({', '.join(absent[:8])}"
            f"{', ...' if len(absent) > 8 else ''}); at most a fifth can be filled in. Compute them, or train without them."
        )
    return Checked(metrics, absent, told if SIZE in expected else [])


def duplicates(metrics: pd.DataFrame, groups: np.ndarray, tolerance: float = 1e-3, share: float = 0.9) -> np.ndarray:
    """Return for each unit the row of the earlier unit that it repeats, or -1.

    A unit repeats another when all its metrics are equal, or, across recordings, when ``share`` of the metrics that either has
    agree to ``tolerance`` (relative). Near-equal rows are neighbours in the order of almost any metric, so only neighbours in
    these orders are compared: O(m^2 n log n) for m metrics of n units.

    Parameters
    ----------
    metrics : (n, m) metrics.
    groups : (n,) recording of each unit.
    """
    values = metrics.to_numpy(dtype=float)
    n = len(values)
    original = np.full(n, -1)
    if n < 2:
        return original
    first = pd.DataFrame(values).groupby(list(range(values.shape[1])), dropna=False, sort=False).ngroup().to_numpy()
    row_of_first = np.full(first.max() + 1, n)
    np.minimum.at(row_of_first, first, np.arange(n))
    exact = row_of_first[first] < np.arange(n)
    original[exact] = row_of_first[first][exact]
    for j in range(values.shape[1]):
        finite = np.flatnonzero(np.isfinite(values[:, j]))
        order = finite[np.argsort(values[finite, j], kind="stable")]
        a, b = order[:-1], order[1:]
        other = groups[a] != groups[b]
        a, b = np.minimum(a, b)[other], np.maximum(a, b)[other]
        va, vb = values[a], values[b]
        either = np.isfinite(va) | np.isfinite(vb)
        same = np.abs(va - vb) <= tolerance * np.maximum(np.abs(va), np.abs(vb))
        agree = same.sum(axis=1) >= np.maximum(share * either.sum(axis=1), 5)
        for i, k in zip(a[agree], b[agree]):
            if original[k] < 0 and original[i] < 0:
                original[k] = i
    return original
