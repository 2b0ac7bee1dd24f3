"""What is in a table of units (CSV, TSV), and how is one written?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..units.assemble import id_text
from ..units.metrics import ID_COLUMNS


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


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, atomically."""
    with hdf5io.atomic(path) as part:
        table.to_csv(part, index=False, float_format="%.9g")


def read_predictions(path: Path) -> pd.DataFrame:
    """Return a table that `predict` wrote, unit ids as text.

    Raises
    ------
    InputError : absent, another kind of table, or units of several recordings in one table.
    """
    read_table(path)  # says in one line what is wrong with the file
    table = pd.read_csv(path, dtype={"unit_id": str, "why": str, "recording": str})
    needed = ["unit_id", "predicted_quality", "prediction_confidence", "abstained"]
    absent = [name for name in needed if name not in table.columns]
    if absent:
        raise InputError(f"{path}: no column '{absent[0]}'; expected a table made by unit-refine predict.")
    if "recording" in table.columns and table["recording"].nunique() > 1:
        raise InputError(
            f"{path}: units of {table['recording'].nunique()} recordings; predict one recording to export it."
        )
    return table
