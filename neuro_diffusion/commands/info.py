"""What is this file or folder?"""

from __future__ import annotations

from ..config import InfoConfig
from ..console import Result, Run
from ..files.identify import describe


def run(config: InfoConfig, run: Run) -> Result:
    """Describe it in one line, or with --json in full."""
    found = describe(config.path, config.dataset, config.rows)
    facts = ", ".join(f"{name} {_short(value)}" for name, value in found.items() if name != "kind")
    return Result({}, found, f"{config.path}: {found['kind']}; {facts}")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list) and len(value) > 6:
        return f"{', '.join(map(str, value[:3]))}, ... ({len(value)})"
    return str(value)
