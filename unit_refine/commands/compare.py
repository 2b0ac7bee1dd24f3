"""``compare``: several models and the same labelled units in, their scores side by side out."""

from __future__ import annotations

from ..config import CompareConfig
from ..console import Result, Run
from ..files.tables import write_table
from ..score.compare import compare


def run(config: CompareConfig, run: Run) -> Result:
    table = compare(config)
    if config.output is not None:
        write_table(table, config.output)
    rows = table.to_dict("records")
    line = "; ".join(f"{r['model']}: {r['balanced_accuracy']:.3f} ({r['low']:.3f} to {r['high']:.3f})" for r in rows)
    return Result({"table": config.output} if config.output else {}, {"models": rows}, line, record=config.output)
