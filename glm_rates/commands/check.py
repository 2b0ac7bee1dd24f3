"""Is a blech_clust directory consistent? Exit code 3 when it is not."""

from __future__ import annotations

from ..config import CheckConfig
from ..console import Result, Run, table
from ..files.consistency import check_recording
from ..files.results import recording_file


def run(config: CheckConfig, run: Run) -> Result:
    """Consistency of a recording, as tables."""
    recording_file(config.data, config.h5)
    found = check_recording(config.data, config.h5)
    notes = [*[f"note: {n}" for n in found.notes], *[f"PROBLEM: {p}" for p in found.problems]]
    verdict = f"{len(found.problems)} problem(s)" if found.problems else "consistent"
    lines = [table(found.tastes), "", table(found.units), "", *notes, f"{config.data}: {verdict}"]
    return Result({}, found._asdict(), "\n".join(lines), 3 if found.problems else 0)
