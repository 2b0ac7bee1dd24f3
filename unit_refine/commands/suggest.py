"""``suggest``: a model and unlabelled units in, those whose labels would teach it most out."""

from __future__ import annotations

from ..config import SuggestConfig
from ..console import Result, Run
from ..files.tables import write_table
from ..score.suggest import suggest


def run(config: SuggestConfig, run: Run) -> Result:
    """Rank units by what their labels would teach."""
    table = suggest(config)
    write_table(table, config.output)
    line = f"{config.output}: label these first: {', '.join(table['unit_id'].astype(str)[:10])}"
    results = {"n_units": len(table), "unit_ids": table["unit_id"].tolist()}
    return Result({"suggestions": config.output}, results, line)
