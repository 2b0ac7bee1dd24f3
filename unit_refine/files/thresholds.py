"""Which thresholds does a file of SpikeInterface's or Bombcell's set?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hdf5io
from hdf5io.errors import InputError


def read_thresholds(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the thresholds of a JSON file by section; a plain one says what a good unit is.

    Raises
    ------
    InputError : no JSON; other keys than greater, less and abs; no number.
    """
    found = hdf5io.read_json(path)
    sections = found if set(found) <= {"noise", "mua", "non-somatic", "good"} else {"good": found}
    for section, rules in sections.items():
        for metric, rule in rules.items() if isinstance(rules, dict) else [(section, rules)]:
            if not isinstance(rule, dict) or not set(rule) <= {"greater", "less", "abs"} or any(
                not isinstance(v, (int, float, type(None))) for v in rule.values()
            ):  # fmt: skip
                raise InputError(
                    f'{path}: {metric}: expected {{"greater": number, "less": number}}, found {str(rule)[:60]}.'
                )
    return sections
