"""Which interpreters were found for the two stages, and why."""

from __future__ import annotations

from ..config import EnvsConfig
from ..console import Result, Run, table
from ..fit import environments


def run(config: EnvsConfig, run: Run) -> Result:
    """Every candidate interpreter and what it said."""
    rows = [("extract", candidate) for candidate in environments.extraction_candidates(config.blech_clust_env)]
    rows += [
        ("fit", environments.probe(python, why, environments.PROBE_NEMOS))
        for python, why in environments.nemos_candidates(config.nemos_env)
    ]
    found = [
        {"stage": stage, "python": str(i.python), "found as": i.why, "works with": i.version or "-", "problem": i.problem or "-"}
        for stage, i in rows
    ]  # fmt: skip
    ready = any(stage == "fit" and i.version for stage, i in rows)
    return Result({}, {"candidates": found, "ready": ready}, table(found), 0 if ready else 5)
