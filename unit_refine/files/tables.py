"""What is in a table of units (CSV, TSV, parquet, NWB), and how is one written?"""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..units.assemble import cluster_text, id_text
from ..units.metrics import ID_COLUMNS, id_column, other_ids
from ..units.spelling import WANTED as METRICS
from ..units.spelling import metric_of
from . import nwb
from .text import decimal_mark, read_text

log = logging.getLogger(__package__)
SUMMARIES = (
    "mean", "average", "median", "std", "sd", "sem", "min", "max", "count", "sum", "total", "25%", "50%", "75%",
)  # ids of rows that are no units  # fmt: skip
NAMES = r"\s*([+-]?0\d+|\d+[eE]\d+)\s*"  #: ids that a number would not be written as: 007, 1e5
#: Files that hold tables for other programs -> what to do.
FOREIGN = {
    (".pickle", ".pkl"): "a pickle is never opened. Give its metrics as CSV or parquet, or the sorter's folder.",
    (".xlsx", ".xls", ".ods"): "a spreadsheet. Save its sheet of units as CSV.",
    (
        ".mat",
    ): "a MATLAB file. Write one row a unit from MATLAB: writetable(struct2table(METRICS), 'metrics.csv'), with the ids in a column unit_id.",
    (
        ".npy",
        ".npz",
    ): "NumPy arrays, whose units nothing names. Write a table with the ids in a column unit_id, as CSV or parquet.",
    (".json", ".feather", ".gz", ".zip"): "no table that is read here. Give it as plain CSV or parquet.",
}
PARQUET = (".parquet", ".pqt", ".pq", ".parq")


def read_table(path: Path) -> pd.DataFrame:
    """Return a table of text (see `text`) or of parquet, or the units table of an NWB file.

    Raises
    ------
    InputError : absent, empty, binary or malformed.
    """
    if not path.is_file() and not nwb.is_zarr(path):
        raise InputError(
            f"{path}: no such file. Expected a metrics table (CSV, parquet, NWB), a Phy folder or a SortingAnalyzer folder."
        )
    how = next((told for suffixes, told in FOREIGN.items() if path.suffix.lower() in suffixes), None)
    if how is not None:
        raise InputError(f"{path}: {how}")
    if path.suffix.lower() in PARQUET:
        table = read_parquet(path)
    elif nwb.is_zarr(path):
        table = nwb.read_zarr(path)
    else:
        table = nwb.read(path) if nwb.is_hdf5(path) else read_csv(path)
    if table.empty:
        raise InputError(f"{path}: no units, only a header line.")
    if {"ID1", "ID2"} <= set(table.columns):
        raise InputError(
            f"{path}: pairs of units (UnitMatch's MatchTable), not units. Give the metrics of each session: its Phy or Bombcell folder, or a table."
        )
    if len(table.columns) < 2:
        raise InputError(
            f"{path}: one column only ('{table.columns[0]}'); expected metrics parted by commas, with a header line."
        )
    return table


def read_csv(path: Path) -> pd.DataFrame:
    """Return a text table whose first line names its columns."""
    text, form = read_text(path)
    text = under_one_header(text, form.separator)
    how: dict[str, Any] = {
        "sep": form.separator, "decimal": decimal_mark(text, form.separator), "low_memory": False, "skipinitialspace": True,
    }  # fmt: skip
    try:
        table = pd.read_csv(io.StringIO(text), **how)
        ids = id_column(list(map(str, table.columns))) or table.columns[0]
        if isinstance(table.index, pd.RangeIndex) and pd.api.types.is_numeric_dtype(table[ids]):
            written = pd.read_csv(io.StringIO(text), usecols=[ids], dtype=str, **how)[ids]
            if written.str.fullmatch(NAMES).any():
                table[ids] = written
        ends = ends_of(text, form.separator)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the file is empty; expected a header line and one line for each unit.") from None
    except (pd.errors.ParserError, csv.Error, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: not readable as CSV: {str(error).strip().splitlines()[0]}") from None
    if not isinstance(table.index, pd.RangeIndex):  # more cells than names: the extra ones would become an index
        raise InputError(f"{path}: not readable as CSV: lines have more cells than the header names columns.")
    return named_once(table, path, *ends).dropna(how="all").reset_index(drop=True)  # Excel saves rows that were emptied


def under_one_header(text: str, separator: str) -> str:
    """Return a text table whose two header lines (pandas' ``quality``, ``snr`` above each other) became one, ``quality.snr``."""
    lines = text.split("\n", 3)
    if len(lines) < 4:
        return text
    above, names, below = csv.reader(lines[:3], delimiter=separator)
    if len(above) != len(names) or any(map(metric_of, above)) or sum(metric_of(n) is not None for n in names) < 3:
        return text
    named = bool(below and below[0]) and not any(below[1:])  # a third line that only names the index
    joined = [".".join(filter(None, pair)) for pair in zip(above, names)]
    joined[0] = below[0] if named else joined[0]
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="\n").writerow(joined)
    return line.getvalue() + ("" if named else lines[2] + "\n") + lines[3]


def ends_of(text: str, separator: str) -> tuple[list[str], list[str]]:
    """Return the cells of a text's first line, and of the last one where nothing ends it (the file may be cut off there)."""
    lines = [line.strip(" ") for line in text.splitlines() if line.strip()]
    cut = [lines[-1]] if len(lines) > 1 and not text.endswith(("\n", "\r")) else []
    first, *last = csv.reader([lines[0], *cut], delimiter=separator, skipinitialspace=True)
    return [cell.strip() for cell in first], last[0] if last else first


def named_once(table: pd.DataFrame, path: Path, header: list[str], last: list[str]) -> pd.DataFrame:
    """Return a table under the names of its header, of equal columns of one name the first.

    Raises
    ------
    InputError : different columns of one name; a last line that stops amid its cells.
    """
    if len(last) < len(header):
        raise InputError(
            f"{path}: its last line has {len(last)} of {len(header)} cells and no end: the file is cut off. Copy it again."
        )
    if len(header) != len(table.columns):
        return table.rename(columns=lambda name: str(name).strip())
    kept: dict[str, int] = {}
    for i, (name, own) in enumerate(zip(header, table.columns)):
        first = kept.setdefault(name or str(own), i)
        if not table.iloc[:, first].equals(table.iloc[:, i]):
            raise InputError(f"{path}: two columns are called '{name}' and differ. Take one of them out.")
    return table.iloc[:, list(kept.values())].set_axis(list(kept), axis=1)


def read_parquet(path: Path) -> pd.DataFrame:
    """Return a parquet table; an index that holds the unit ids becomes a column."""
    with hdf5io.parsing(path, "a parquet table"):
        table = pd.read_parquet(path)
    if table.columns.nlevels > 1:  # ('quality', 'snr')
        table.columns = [".".join(str(part) for part in name if str(part)) for name in table.columns]
    if not isinstance(table.index, pd.RangeIndex) or table.index.name is not None:
        known = id_column(list(map(str, table.columns))) is not None
        table = table.reset_index(drop=known and table.index.name is None and table.index.nlevels == 1)
        table = table.rename(columns={"index": "unit_id"})
    return table.rename(columns=str)


def take_ids(table: pd.DataFrame, path: Path, group_by: str = "file") -> tuple[list[str], pd.DataFrame]:
    """Return unit ids as text and the table without its id columns.

    Parameters
    ----------
    group_by : column that tells apart the recordings of the table; ids are unique within each. "file": there is only one.

    Raises
    ------
    InputError : no id column, a missing id, an id that occurs twice, a row that sums up the others.
    """
    name = unique_ids(table, group_by)
    if name is None:
        first = str(table.columns[0])
        other = other_ids({str(c): table[c].tolist() for c in table.columns[1:]})
        if first.startswith("Unnamed") and other is not None:
            raise InputError(
                f"{path}: the ids could be its first column, which has no name, or '{other}'. Call the one that holds them 'unit_id'."
            )
        if not first.startswith("Unnamed"):
            raise InputError(
                f"{path}: no column {', '.join(ID_COLUMNS)}; the first column is '{first}'. Name the unit ids 'unit_id'."
            )
        name = first
    if table[name].isna().any():
        raise InputError(f"{path}: {int(table[name].isna().sum())} units without an id in column '{name}'.")
    ids = [id_text(value) for value in table[name]]
    refuse_turned(path, table, ids)
    summaries = [text for text in ids if text.strip().lower() in SUMMARIES]
    if summaries:
        raise InputError(f"{path}: the row '{summaries[0]}' sums up the units and is none; take such rows out.")
    groups = [id_text(v) for v in table[group_by]] if group_by in table.columns else [""] * len(ids)
    repeated = [key for key, n in Counter(zip(groups, ids)).items() if n > 1]
    others = [
        c
        for c in table.columns
        if c != name
        and str(c).lower() in ID_COLUMNS
        and list(map(cluster_text, table[c])) != list(map(cluster_text, ids))
    ]
    if others:
        log.warning("%s: the ids are those of column '%s', not of %s", path, name, ", ".join(map(repr, others)))
    if repeated:
        raise InputError(
            f"{path}: unit id {repeated[0][1]} occurs more than once in column '{name}' ({len(repeated)} such ids)."
            " Several recordings in one table? Name the column that tells them apart with --group-by."
        )
    drop = [c for c in table.columns if str(c).lower() in ID_COLUMNS or str(c).startswith("Unnamed") or c == name]
    return ids, table.drop(columns=[c for c in drop if c != group_by])


def refuse_turned(path: Path, table: pd.DataFrame, ids: list[str]) -> None:
    """Refuse a table whose rows are metrics, or numbers of one metric each."""
    if len(METRICS & set(ids)) > 2:
        raise InputError(
            f"{path}: its rows are metrics and its columns units. Turn it: one row a unit (pandas: table.T)."
        )
    for name in table.columns[1:]:
        if not pd.api.types.is_numeric_dtype(table[name]) and len(METRICS & set(table[name].astype(str))) > 2:
            raise InputError(
                f"{path}: one row for each unit and metric (its column '{name}'). Make one row a unit (pandas: table.pivot)."
            )


def unique_ids(table: pd.DataFrame, group_by: str) -> str | None:
    """Return the column of unit ids: the surest one, or ``unit_id`` where that one repeats itself (clusters of several probes) and ``unit_id`` does not."""
    name = id_column(list(map(str, table.columns)))
    within = [group_by] if group_by in table.columns else []
    other = id_column([str(c) for c in table.columns if str(c).lower() in ("unit_id", "ecephys_unit_id")])
    if name is not None and other is not None and table.duplicated([*within, name]).any():
        return name if table.duplicated([*within, other]).any() else other
    return name


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, atomically."""
    with hdf5io.atomic(path) as part:
        table.to_csv(part, index=False, float_format="%.9g")


def read_predictions(path: Path, recording: str | None = None) -> pd.DataFrame:
    """Return the predictions of one recording from a table that ``predict`` wrote, unit ids as text.

    Raises
    ------
    InputError : absent, another kind of table, or units of several recordings and none of them chosen.
    """
    read_table(path)  # says in one line what is wrong with the file
    with hdf5io.parsing(path, "a table of predictions"):
        table = pd.read_csv(path, dtype={"unit_id": str, "why": str, "recording": str})
    needed = ["unit_id", "predicted_quality", "prediction_confidence", "abstained"]
    absent = [name for name in needed if name not in table.columns]
    if absent:
        raise InputError(f"{path}: no column '{absent[0]}'; expected a table made by unit-refine predict.")
    names = table["recording"].dropna().unique().tolist() if "recording" in table.columns else []
    if recording is not None and recording not in names:
        raise InputError(f"{path}: no recording '{recording}'; it has {', '.join(names) or 'no names of recordings'}.")
    if recording is None and len(names) > 1:
        raise InputError(
            f"{path}: units of {len(names)} recordings; choose one with --recording: {', '.join(names[:8])}."
        )
    if not pd.api.types.is_bool_dtype(table["abstained"]):
        raise InputError(f"{path}: column 'abstained' holds '{table['abstained'].iloc[0]}'; expected True or False.")
    table["unit_id"] = [id_text(i) for i in table["unit_id"]]
    return (table if recording is None else table[table["recording"] == recording]).reset_index(drop=True)
