"""Which interpreters were found for the two stages, and why."""

from __future__ import annotations

from ..config import EnvsConfig
from ..console import Result, Run
from ..fit import environments
from ..show.pages import text_table


def run(config: EnvsConfig, run: Run) -> Result:
    """Every candidate interpreter and what it said."""
    rows = [("extract", found) for found in environments.extraction_candidates(config.blech_clust_env)]
    rows += [
        ("fit", environments.probe(python, why, environments.PROBE_NEMOS))
        for python, why in environments.nemos_candidates(config.nemos_env)
    ]
    table = [
        {"stage": stage, "python": str(i.python), "found as": i.why, "works with": i.version or "-", "problem": i.problem or "-"}
        for stage, i in rows
    ]  # fmt: skip
    ready = any(stage == "fit" and i.version for stage, i in rows)
    return Result({}, {"candidates": table, "ready": ready}, text_table(table), 0 if ready else 5)
