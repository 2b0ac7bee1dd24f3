"""``convert-metrics``: units of any kind in, one metrics table with new or old metric names out."""

from __future__ import annotations

import pandas as pd

from ..config import ConvertMetricsConfig
from ..console import Result, Run
from ..files.recordings import read_unlabelled
from ..files.tables import write_table
from ..units.metrics import KNOWN, numeric, to_old_names


def run(config: ConvertMetricsConfig, run: Run) -> Result:
    """Write the metrics of all inputs as one table."""
    table = convert(config)
    write_table(table, config.output)
    line = f"{config.output}: {len(table)} units, {len(table.columns) - 1} columns"
    return Result({"metrics": config.output}, {"n_units": len(table), "columns": list(table.columns)}, line)


def convert(config: ConvertMetricsConfig) -> pd.DataFrame:
    """Return the metrics of all inputs in one table, in the wanted spelling; other columns stay as they are."""
    recordings = read_unlabelled(config, config.inputs)
    parts = []
    for recording in recordings:
        known = [c for c in recording.table.columns if c in KNOWN]
        table = recording.table.assign(**{c: numeric(recording.table[known], str(recording.source))[c] for c in known})
        table.insert(0, "unit_id", recording.unit_ids)
        parts.append(table.assign(recording=recording.name) if len(recordings) > 1 else table)
    table = pd.concat(parts, ignore_index=True)
    return to_old_names(table) if config.spelling == "old" else table
