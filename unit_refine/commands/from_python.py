"""`unit_refine.train_model`: training from Python, with the arguments of SpikeInterface's function of that name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hdf5io
from hdf5io.errors import InputError

from ..config import TrainConfig
from ..files import compute_metrics
from ..files.label_files import join
from ..files.recordings import read_recording
from ..files.save_model import staging, write_model
from ..fit.workflow import check_size
from ..score.outcome import Outcome, run_training, training_results
from ..show import pages
from ..units.assemble import Recording, assemble, id_text, name_apart
from ..units.labels import MEANING, tidy
from ..units.metrics import to_new_names

log = logging.getLogger(__package__)


def train_model(
    mode: str = "analyzers",
    labels: Sequence[Any] | None = None,
    analyzers: Sequence[Any] | None = None,
    metrics_paths: Sequence[str | Path] | None = None,
    folder: str | Path | None = None,
    metric_names: Sequence[str] | None = None,
    imputation_strategies: Sequence[str] | None = None,
    scaling_techniques: Sequence[str] | None = None,
    classifiers: Sequence[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    task: str | None = None,
    **options: Any,
) -> Outcome:
    """Train a curation model from Python and write its folder.

    Parameters
    ----------
    mode : "csv" or "analyzers".
    labels : one sequence of labels for each recording, in the order of its units, or one mapping ``{unit id: label}``; labels are
        good, mua, noise (or aliases), or 0 and 1 for a two-class task.
    analyzers : SortingAnalyzers, with ``mode="analyzers"``.
    metrics_paths : metrics tables, with ``mode="csv"``.
    folder : model folder to make.
    metric_names, imputation_strategies, scaling_techniques, classifiers : see ``unit-refine train``; None: the defaults there.
    task : see ``unit-refine train``; None: three classes, or what two classes of labels suggest.
    options : further fields of ``unit_refine.config.TrainConfig``.

    Returns
    -------
    Outcome : fitted pipeline (``.trained.pipeline``) and scores on held-out recordings (``.scores``).

    Raises
    ------
    InputError : see ``unit-refine train``.

    Examples
    --------
    >>> from unit_refine import train_model
    >>> train_model(mode="csv", labels=[y], metrics_paths=["quality_metrics.csv"], folder="model")  # doctest: +SKIP
    """
    sources = list((metrics_paths if mode == "csv" else analyzers if mode == "analyzers" else None) or [])
    if not sources:
        raise InputError(
            f"train_model: mode is '{mode}'; expected 'csv' with metrics_paths=[...] or 'analyzers' with analyzers=[...]."
        )
    if labels is None or folder is None or len(labels) != len(sources):
        raise InputError(
            "train_model: give folder=, and labels= with one sequence or mapping of labels for each recording."
        )
    places = [Path(p) if mode == "csv" else Path(f"analyzer_{i}") for i, p in enumerate(sources)]
    given = {
        "metric_names": metric_names, "imputation_strategies": imputation_strategies, "scaling_techniques": scaling_techniques,
        "classifiers": classifiers,
    }  # fmt: skip
    chosen: dict[str, Any] = {k: list(v) for k, v in given.items() if v is not None} | options
    chosen |= {
        "inputs": places,
        "task": task or guess_task(labels),
        "output": Path(folder),
        "overwrite": overwrite,
        "seed": seed,
    }
    config = TrainConfig(**chosen)
    recordings = [with_labels(read_source(s, p, config), own) for s, p, own in zip(sources, places, labels)]
    with staging(hdf5io.claim(config.output, config.overwrite)) as part:
        units = assemble(name_apart(recordings), config, config.task, config.metric_names, config.duplicates)
        for notice in units.notices:
            log.warning("%s", notice)
        check_size(units, config.allow_small)
        outcome = run_training(config, units)
        write_model(part, config, outcome, training_results(outcome))
        pages.training(
            part, outcome, [], hdf5io.provenance("unit_refine.train_model", config.model_dump(mode="json"), seed)
        )
        hdf5io.write_json(part / hdf5io.MARKER, training_results(outcome))
    return outcome


def read_source(source: Any, place: Path, config: TrainConfig) -> Recording:
    """Return the recording of a CSV path or of a SortingAnalyzer in memory."""
    if isinstance(source, (str, Path)):
        return read_recording(Path(source), config)
    found = compute_metrics.describe(source, str(place), config.compute_missing)
    return Recording(place.name, place, found.unit_ids, to_new_names(found.table), None, found.params)


def with_labels(recording: Recording, labels: Any) -> Recording:
    """Return the recording with labels given from Python: by unit id, or in the order of the units."""
    if hasattr(labels, "items"):
        joined, _ = join(recording, {id_text(k): v for k, v in labels.items()}, Path("labels"))
        return joined
    labels = list(labels)
    if len(labels) != len(recording.unit_ids):
        raise InputError(
            f"labels: {len(labels)} labels for the {len(recording.unit_ids)} units of {recording.source}. Give a mapping by unit id."
        )
    return recording._replace(labels=labels)


def guess_task(labels: Sequence[Any]) -> str:
    """Return the task that the labels allow: three classes, or the two-class task of the labels there are."""
    found = {
        MEANING.get(tidy(v), tidy(v))
        for own in labels
        for v in (own.values() if hasattr(own, "values") and callable(own.values) else own)
    } - {""}
    if found <= {"good", "mua"}:
        return "sua_vs_mua"
    return "three_class" if {"good", "mua", "noise"} <= found else "noise_vs_neural"
