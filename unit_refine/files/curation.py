"""How do predictions reach SpikeInterface's curation tools, and labels come back from them?

The file is SpikeInterface's curation JSON, format 2: unit ids, label definitions, manual labels.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

import hdf5io
from hdf5io.errors import InputError

CATEGORY = "quality"


def make(predictions: pd.DataFrame) -> dict:
    """Return the curation dictionary of predictions; units left to a person get no label.

    Parameters
    ----------
    predictions : columns ``unit_id``, ``predicted_quality``, ``abstained``, and one ``p_<class>`` for each class.
    """
    ids = [int(i) if str(i).lstrip("-").isdigit() else str(i) for i in predictions["unit_id"]]
    options = sorted({*(c[2:] for c in predictions.columns if c.startswith("p_")), *predictions["predicted_quality"]})
    labels = [
        {"unit_id": i, "labels": {CATEGORY: [quality]}}
        for i, quality, left in zip(ids, predictions["predicted_quality"], predictions["abstained"])
        if not left
    ]
    definition = {"name": CATEGORY, "label_options": options, "exclusive": True}
    return {
        "format_version": "2",
        "unit_ids": ids,
        "label_definitions": {CATEGORY: definition},
        "manual_labels": labels,
    }


def write(path: Path, content: dict) -> None:
    """Write a curation file."""
    with hdf5io.atomic(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, object]:
    """Return ``{unit id: label}`` of a curation file: the exclusive category called quality, or the only one there is.

    Raises
    ------
    InputError : not a curation file of format 2, no exclusive category.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        definitions = content["label_definitions"]
        names = [n for n, d in definitions.items() if d.get("exclusive")]
        name = CATEGORY if CATEGORY in names else names[0] if len(names) == 1 else None
        labels = {
            str(entry["unit_id"]): entry.get("labels", entry).get(name, [])
            for entry in content.get("manual_labels", [])
        }
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: not a SpikeInterface curation file of format 2 ({type(error).__name__}: {error})."
        ) from None
    if name is None:
        raise InputError(f"{path}: expected one exclusive label category, found {', '.join(names) or 'none'}.")
    return {unit: values[0] if values else "" for unit, values in labels.items()}
