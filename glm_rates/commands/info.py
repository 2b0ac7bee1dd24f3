"""What is this file or folder?"""

from __future__ import annotations

from ..config import InfoConfig
from ..console import Result, Run, table
from ..files.describe import describe


def run(config: InfoConfig, run: Run) -> Result:
    """Name the kind of an input or output and what is in it."""
    kind, found = describe(config.data)
    rows = [{"what": name.replace("_", " "), "value": _short(value)} for name, value in found.items()]
    return Result(
        {}, {"kind": kind, **found}, f"{table(rows)}\n{config.data}: {kind}" if rows else f"{config.data}: {kind}"
    )


def _short(value: object) -> str:
    """A list in a few words."""
    if not isinstance(value, list):
        return str(value)
    text = ", ".join(map(str, value[:8]))
    return f"{text}, ... ({len(value)})" if len(value) > 8 else text
