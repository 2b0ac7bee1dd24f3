"""How do predictions reach SpikeInterface's curation tools, and labels come back from them?

Written: SpikeInterface's curation JSON, format 2. Read: formats 1 and 2, and sortingview's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..units.assemble import id_text, json_ids
from ..units.labels import MEANING, tidy

CATEGORY = "quality"


class Curation(NamedTuple):
    """What a curation file says about units."""

    labels: dict[str, object]
    left_out: dict[str, str]  #: unit id -> why its metrics do not stand for what the label means
    category: str


def make(predictions: pd.DataFrame) -> dict:
    """Return the curation dictionary of predictions; units left to a person get no label.

    Parameters
    ----------
    predictions : columns ``unit_id``, ``predicted_quality``, ``abstained``, one ``p_<class>`` for each class, ``id_of`` where it is known.
    """
    named = "id_of" in predictions.columns and (predictions["id_of"] == "name").all()
    ids = json_ids([str(i) for i in predictions["unit_id"]], named)
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


def read(path: Path, category: str | None = None) -> Curation:
    """Return the labels of one category of a curation file, and the units it removes, merges or splits.

    Parameters
    ----------
    category : label category; None: ``quality``, or the only one whose labels tell the quality of a unit.

    Raises
    ------
    InputError : not a curation file; no such category, or several to choose from; two qualities for one unit.
    """
    content = hdf5io.read_json(path)
    try:
        if "labelsByUnit" in content:
            given = {id_text(i): {"labels": list(v)} for i, v in content["labelsByUnit"].items()}
            left_out = changed(content.get("mergeGroups") or [], "merged with others")
        else:
            given = {id_text(entry["unit_id"]): labels_of(entry) for entry in content.get("manual_labels") or []}
            named = [content[k] for k in ("merges", "merge_unit_groups", "merged_unit_groups") if content.get(k)]
            merges = named[0] if named else []
            splits = content.get("splits", content.get("split_units")) or []
            left_out = changed(merges, "merged with others") | changed(splits, "split")
            removed = content.get("removed", content.get("removed_units")) or []
            left_out |= dict.fromkeys(map(id_text, removed), "removed")
            if "label_definitions" not in content and not given and not left_out:
                raise KeyError("label_definitions")
        definitions = dict(content.get("label_definitions") or {})
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: no curation file of SpikeInterface or sortingview ({type(error).__name__}: {error})."
        ) from None
    name = choose_category(given, definitions, category, path)
    why = {i: f"{reason} in this curation" for i, reason in left_out.items()}
    return Curation({i: one_label(i, own.get(name, []), path) for i, own in given.items()}, why, name)


def labels_of(entry: Mapping[str, Any]) -> dict[str, list[object]]:
    """Return a unit's labels by category, of format 2 (under ``labels``) or 1 (beside ``unit_id``)."""
    found = (
        entry["labels"] if isinstance(entry.get("labels"), dict) else {k: v for k, v in entry.items() if k != "unit_id"}
    )
    return {str(k): list(v) if isinstance(v, (list, tuple)) else [v] for k, v in found.items()}


def changed(groups: list | dict, why: str) -> dict[str, str]:
    """Return the units of merge groups or splits: lists of ids, or objects with ``unit_ids`` or ``unit_id``.

    SpikeInterface also takes objects instead of lists: merges by the id of the new unit, splits by the id of the unit.
    """
    found: dict[str, str] = {}
    if isinstance(groups, dict):
        groups = [{"unit_id": i} for i in groups] if why == "split" else list(groups.values())
    for group in groups:
        ids = (
            group.get("unit_ids", [group["unit_id"]] if "unit_id" in group else [])
            if isinstance(group, dict)
            else group
        )
        found |= dict.fromkeys(map(id_text, ids), why)
    return found


def choose_category(given: Mapping, definitions: Mapping, wanted: str | None, path: Path) -> str:
    """Return the category whose labels are wanted."""
    names = list(dict.fromkeys([*map(str, definitions), *(name for own in given.values() for name in own)]))
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"{path}: no label category '{wanted}'; it has {', '.join(names) or 'none'}.")
        return wanted
    if CATEGORY in names:
        return CATEGORY
    used = {name: {tidy(v) for own in given.values() for v in own.get(name, [])} for name in names}
    telling = [name for name in names if used[name] & {k for k, v in MEANING.items() if v}]
    if len(names) == 1 or len(telling) == 1:
        return (telling or names)[0]
    raise InputError(
        f"{path}: {len(names)} label categories ({', '.join(names) or 'none'}): name one with --label-category."
    )


def one_label(unit: str, values: list[object], path: Path) -> object:
    """Return the quality among a unit's labels; other labels (``accept``, ``reviewed``) may stand beside it.

    Raises
    ------
    InputError : two qualities.
    """
    telling = list(dict.fromkeys(MEANING[tidy(v)] for v in values if MEANING.get(tidy(v))))
    if len(telling) > 1:
        raise InputError(f"{path}: unit {unit} has the labels {', '.join(map(str, values))}; one of them is expected.")
    return telling[0] if telling else (values[0] if len(values) == 1 else "")
