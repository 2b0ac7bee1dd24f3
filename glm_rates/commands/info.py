"""What is this file or folder?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ..config import InfoConfig
from ..console import Result, Run, table
from ..files.describe import describe


def run(config: InfoConfig, run: Run) -> Result:
    """Name the kind of an input or output and what is in it."""
    options = config.model_dump(exclude={"data"}, exclude_none=True)
    kind, found = describe(config.data, options)
    rows = [{"what": name.replace("_", " "), "value": _short(value)} for name, value in found.items()]
    return Result(
        {},
        {"kind": kind, **found, "next": next_commands(config.data, kind, found, options)},
        f"{table(rows)}\n{config.data}: {kind}" if rows else f"{config.data}: {kind}",
    )


def next_commands(path: Path, kind: str, found: dict[str, Any], options: dict[str, Any] | None = None) -> list[str]:
    """Return the command lines that one types next; words in capitals are the reader's (``neuropipes doctor`` prints them)."""
    given = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in (options or {}).items()]
    data = " ".join([shlex.quote(str(path)), *given])
    if kind in ("NWB file", "spike table"):
        table = " --events EVENTS.csv" if kind == "spike table" else " --segment-s 10"
        return [f"glm-rates infer {data}{'' if found['n_events'] else table} --output rates.h5"]
    return {
        "blech_clust directory": [f"glm-rates infer {data} --include-coupling --separate-regions"],
        "exchange folder of glm-rates extract": [f"glm-rates fit {data} --output rates.h5"],
        "results of glm-rates infer": [f"glm-rates plot {data} --output figures"],
    }.get(kind, [])


def _short(value: object) -> str:
    """A value in a few words."""
    if not isinstance(value, list):
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    text = ", ".join(map(_short, value[:8]))
    return f"{text}, ... ({len(value)})" if len(value) > 8 else text
