"""Which labelled units does a training learn from, and are they enough?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..config import TrainConfig
from ..files import load_model, recordings
from ..units.assemble import Recording, Units, animal_values, assemble, group_values
from ..units.labels import TASKS, classes_of, encode, parse_label_map, read_labels
from ..units.metrics import duplicates, to_new_names, with_sign
from ..units.releases import together
from .add import WEIGHT
from .train import check_folds

log = logging.getLogger(__package__)

MIN_UNITS, MIN_CLASS, GOOD_CLASS = 50, 6, 100


def load_units(config: TrainConfig) -> Units:
    """Return the labelled units of a training run; log every notice; refuse too few of them."""
    found, notices = recordings.read_all(config, config.task, lambda bare: check_labels(bare, config))
    return assembled(found, notices, config)


def check_labels(found: Sequence[Recording], config: TrainConfig) -> None:
    """Refuse labels that are not enough to learn from, before the metrics of their units are computed.

    Raises
    ------
    InputError : see `check_size` and `train.check_folds`.
    """
    if config.add is not None:
        return  # a base model knows all classes
    label_map = parse_label_map(config.label_map)
    labels = [label for r in found for label in read_labels(r.labels or [], config.task, str(r.source), label_map)[0]]
    encoded, animals = encode(labels, config.task), animal_values(found, config.animal_by)
    there = encoded.y >= 0
    groups = np.array([g for r in found for g in group_values(r, config.group_by, "--group-by")])[there]
    y, known = encoded.y[there], None if animals is None else np.array(animals)[there]
    check_size(y, encoded.classes, config.allow_small, False)
    check_folds(y, groups, known, encoded.classes, config.group_by, config.seed)


def assembled(found: Sequence[Recording], notices: Sequence[str], config: TrainConfig) -> Units:
    """Return the labelled units of recordings, with a base model's where there is one; log every notice; refuse too few."""
    if config.add is None:
        units = assemble(found, config, config.task, config.metric_names, config.duplicates)
    else:
        units = with_base(found, config, load_model.load(config.add, max_memory=config.max_memory))
    for notice in [*notices, *units.notices]:
        log.warning("%s", notice)
    check_size(units.y, units.classes, config.allow_small)
    check_folds(units.y, units.groups, units.animals, units.classes, config.group_by, config.seed)
    return units


def with_base_task(config: TrainConfig) -> TrainConfig:
    """Return the config with the base model's task, where units are added to one.

    Raises
    ------
    InputError : another task was asked for, or metrics; the base model's classes are those of none.
    """
    if config.add is None:
        return config
    model = load_model.load(config.add, max_memory=config.max_memory)
    task = next((t for t in TASKS if classes_of(t) == model.classes), None)
    if task is None or ("task" in config.model_fields_set and config.task != task):
        raise InputError(f"--add {config.add}: it tells apart {', '.join(model.classes)}; --task is {config.task}.")
    if config.metric_names:
        raise InputError(f"--add {config.add}: the model has its metrics; leave --metric-names away.")
    base_units(model)
    return config.model_copy(update={"task": task})


def base_units(model: load_model.Model) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the metrics and the classes of a base model's training units.

    Raises
    ------
    InputError : its folder does not hold them.
    """
    known, y = load_model.read_training_data(model), load_model.read_training_labels(model)
    if known is None or y is None or len(known) != len(y):
        raise InputError(
            f"--add {model.folder}: no training_data.csv and labels.csv of its units. Train it with unit-refine."
        )
    return to_new_names(known), y


def with_base(found: Sequence[Recording], config: TrainConfig, model: load_model.Model) -> Units:
    """Return a base model's training units and the new ones, which weigh `WEIGHT` times as much.

    A base unit that is labelled anew is replaced.

    Raises
    ------
    InputError : the base model's folder does not hold its training units; see `match_model`.
    """
    known, y = base_units(model)
    load_model.tell_releases(model, found)
    for r in found:
        load_model.match(model, r.table, str(r.source))
    tables = [with_sign(r.table, load_model.training_sign(model)) for r in found]
    tables = [t.reindex(columns=[*t.columns, *(n for n in known if n not in t)]) for t in tables]
    new = assemble(
        [r._replace(table=t) for r, t in zip(found, tables)],
        config,
        config.task,
        list(known.columns),
        config.duplicates,
        model.classes,
    )
    groups = load_model.read_training_groups(model, len(y)).astype(str)
    old_ids = load_model.read_training_ids(model, len(y))
    metrics = pd.concat([known, new.metrics.reindex(columns=known.columns)], ignore_index=True)
    both = np.r_[np.zeros(len(y), int), np.ones(len(new.y), int)]
    again = duplicates(metrics, both)
    replaced = np.zeros(len(metrics), bool)
    replaced[again[(again >= 0) & (both == 1)]] = True
    replaced &= both == 0
    clash = np.isin(np.where(both == 0, np.r_[groups, new.groups], ""), new.groups)
    named = np.where(
        clash, np.char.add(np.r_[groups, new.groups].astype(str), " (base model)"), np.r_[groups, new.groups]
    )
    weight = np.r_[load_model.read_training_weights(model, len(y)), np.full(len(new.y), WEIGHT)]
    notices = [
        *new.notices,
        f"{len(new.y)} labelled units added to {len(y)} of {model.folder}, each weighs {WEIGHT:g} times as much",
    ]
    notices += (
        [f"{int(replaced.sum())} units of the base model are labelled anew and replaced"] if replaced.any() else []
    )
    keep = np.flatnonzero(~replaced)
    ids = [*old_ids, *new.unit_ids]
    return Units(
        metrics.iloc[keep].reset_index(drop=True), np.r_[y, new.y][keep], new.classes, [ids[i] for i in keep], named[keep],
        None, model.info.get("metric_params", {}), notices, new.n_duplicates, weight[keep], both[keep] == 1,
        together([load_model.release_of(model), new.release]),
    )  # fmt: skip


def check_size(y: np.ndarray, classes: Sequence[str], allow_small: bool, tell: bool = True) -> None:
    """Refuse, or with ``allow_small`` warn of (``tell``), fewer units than a classifier can learn from."""
    counts = np.bincount(y, minlength=len(classes))
    shown = ", ".join(f"{n} {name}" for name, n in zip(classes, counts))
    if len(y) <= MIN_UNITS or counts.min() < MIN_CLASS:
        text = (
            f"{len(y)} labelled units ({shown}): more than {MIN_UNITS} in all and {MIN_CLASS} of each class are needed"
        )
        if not allow_small or counts.min() < 2:
            raise InputError(f"{text}. Label more units, or go on with --allow-small (at least 2 of each class).")
        if tell:
            log.warning("%s; going on because of --allow-small", text)
    elif counts.min() < GOOD_CLASS and tell:
        log.warning("%s: below %d units of a class the scores are uncertain", shown, GOOD_CLASS)


def counts_of(units: Units) -> dict[str, Any]:
    """Return how many units and recordings a training run would use."""
    counts = dict(zip(units.classes, np.bincount(units.y, minlength=len(units.classes)).tolist()))
    return {
        "n_units": len(units.y), "counts": counts, "n_metrics": units.metrics.shape[1],
        "n_recordings": len(np.unique(units.groups)), "n_duplicates": units.n_duplicates,
    }  # fmt: skip


def describe(units: Units) -> str:
    """Return the same in words."""
    c = counts_of(units)
    return f"{c['n_units']} units ({', '.join(f'{n} {k}' for k, n in c['counts'].items())}) of {c['n_recordings']} recording{'s' * (c['n_recordings'] > 1)}, {c['n_metrics']} metrics"
