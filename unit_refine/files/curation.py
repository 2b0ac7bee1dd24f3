"""How do predictions reach SpikeInterface's curation tools, and labels come back from them?

Written: SpikeInterface's curation JSON, format 2. Read: formats 1 and 2, sequences of them, and sortingview's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..units.assemble import id_text, json_ids
from ..units.labels import MEANING, tidy

CATEGORY = "quality"
ALL = "all_labels"  #: SpikeInterface's name for the labels of sortingview, which has no categories
MERGED = "merged with others"
#: Keys of the formats -> what happens to the units under them.
CHANGES = {
    ("removed", "removed_units"): "removed",
    ("splits", "split_units"): "split",
    ("merges", "merge_unit_groups", "merged_unit_groups", "mergeGroups"): MERGED,
}


class Curation(NamedTuple):
    """What a curation file says about units."""

    labels: dict[str, object]
    left_out: dict[str, str]  #: unit id -> why its metrics do not stand for what the label means
    category: str


class Step(NamedTuple):
    """One curation of a file."""

    labels: dict[str, dict[str, list[object]]]  #: by unit id and category
    left_out: dict[str, str]  #: unit id -> why
    categories: list[str]


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

    Of a sequence of curations the labels of the last one that has the category stand, as SpikeInterface applies them; a unit that
    any of them removes, merges or splits is left out, since its metrics may be those before or after.

    Parameters
    ----------
    category : label category; None: ``quality``, or the only one whose labels tell the quality of a unit.

    Raises
    ------
    InputError : not a curation file; no such category, or several to choose from; two qualities for one unit.
    """
    content = hdf5io.read_json(path, object)
    try:
        steps = [read_step(step) for step in steps_of(content)]
        if not steps:
            raise ValueError("no curation steps")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        keys = f"; it has {', '.join(map(repr, list(content)[:6])) or 'nothing'}" if isinstance(content, dict) else ""
        raise InputError(
            f"{path}: no curation file of SpikeInterface or sortingview ({type(error).__name__}: {error}{keys})."
        ) from None
    given: dict[str, dict[str, list[object]]] = {}
    for step in steps:
        given = {i: {c: v for c, v in own.items() if c not in step.categories} for i, own in given.items()}
        for i, own in step.labels.items():
            given[i] = given.get(i, {}) | own
    categories = list(dict.fromkeys(c for step in steps for c in step.categories))
    name = choose_category(given, categories, category, path)
    why = {i: f"{reason} in this curation" for step in steps for i, reason in step.left_out.items()}
    return Curation({i: one_label(i, own.get(name, []), path) for i, own in given.items()}, why, name)


def steps_of(content: Any) -> list[dict[str, Any]]:
    """Return the curations of a file in their order: one, those of SpikeInterface's ``SequentialCuration``, or figpack's annotation."""
    if isinstance(content, dict) and "annotations" in content:
        state = content["annotations"]["/"]["sorting_curation"]
        content = json.loads(state) if isinstance(state, str) else state
    if isinstance(content, dict):
        content = content.get("curation_steps", [content])
    return [dict(step) for step in content]


def read_step(content: Mapping[str, Any]) -> Step:
    """Return what one curation says: SpikeInterface's format 2 or 1, the first drafts of 1, or sortingview's (0).

    Raises
    ------
    ValueError, KeyError, AttributeError, TypeError : it is none.
    """
    version = id_text(content.get("format_version", 0))
    if version not in ("0", "1", "2"):
        raise ValueError(f"format_version {version}, 0 to 2 are known")
    entries = list(content.get("manual_labels") or [])
    entries += [{"unit_id": i, "labels": {ALL: v}} for i, v in (content.get("labelsByUnit") or {}).items()]
    labels: dict[str, dict[str, list[object]]] = {}
    for entry in entries:  # the first drafts have an entry for each category of a unit
        own = labels.setdefault(id_text(entry["unit_id"]), {})
        for name, values in labels_of(entry).items():
            own[name] = own.get(name, []) + values
    left_out: dict[str, str] = {}
    for keys, why in CHANGES.items():
        for key in keys:
            left_out |= changed(content.get(key) or [], why)
    definitions = content.get("label_definitions") or []
    names = definitions if isinstance(definitions, dict) else [entry["name"] for entry in definitions]
    if not {"label_definitions", "manual_labels", "labelsByUnit"} & set(content) and not left_out:
        raise KeyError("label_definitions")
    return Step(labels, left_out, list(dict.fromkeys([*map(str, names), *(c for own in labels.values() for c in own)])))


def labels_of(entry: Mapping[str, Any]) -> dict[str, list[object]]:
    """Return a unit's labels by category: of format 2 (under ``labels``), of 1 (beside ``unit_id``), of its drafts (``label_category``)."""
    found = {k: v for k, v in entry.items() if k not in ("unit_id", "labels", "label_category")}
    own = entry.get("labels")
    if "label_category" in entry:
        own = {entry["label_category"]: own}
    elif own is not None and not isinstance(own, dict):
        own = {"labels": own}
    found |= own or {}
    return {str(k): list(v) if isinstance(v, (list, tuple)) else [v] for k, v in found.items()}


def changed(groups: list | dict, why: str) -> dict[str, str]:
    """Return the units that are removed (ids), merged (groups of ids, or objects with ``unit_ids``) or split (objects with ``unit_id``).

    SpikeInterface also takes objects instead of lists: merges by the id of the new unit, splits by the id of the unit.
    """
    if isinstance(groups, dict):
        groups = list(groups.values()) if why == MERGED else list(groups)
    found: list[object] = []
    for group in groups:
        if isinstance(group, dict):
            found += group["unit_ids"] if why == MERGED else [group["unit_id"]]
        else:
            found += group if isinstance(group, list) else [group]
    return dict.fromkeys(map(id_text, found), why)


def choose_category(given: Mapping, names: Sequence[str], wanted: str | None, path: Path) -> str:
    """Return the category whose labels are wanted."""
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"{path}: no label category '{wanted}'; it has {', '.join(names) or 'none'}.")
        return wanted
    used = {name: {tidy(v) for own in given.values() for v in own.get(name, [])} for name in names}
    telling = [name for name in names if used[name] & {k for k, v in MEANING.items() if v}]
    if CATEGORY in names and (used[CATEGORY] - {""} or not telling):
        return CATEGORY
    if len(names) == 1 or len(telling) == 1:
        return (telling or names)[0]
    raise InputError(
        f"{path}: {len(names)} label categories ({', '.join(names) or 'none'}): name one with --label-category."
    )


def one_label(unit: str, values: Sequence[object], path: Path) -> object:
    """Return the quality among a unit's labels as it is spelled; others (``accept``, ``reviewed``) may stand beside it.

    Where none is a quality it is all of them (``accept + reviewed``), for --label-map.

    Raises
    ------
    InputError : two qualities.
    """
    told = [v for v in dict.fromkeys(map(str, values)) if MEANING.get(tidy(v), v)]
    telling = [v for v in told if tidy(v) in MEANING]
    if len({MEANING[tidy(v)] for v in telling}) > 1:
        raise InputError(f"{path}: unit {unit} has the labels {', '.join(told)}; one of them is expected.")
    return telling[0] if telling else " + ".join(told)
