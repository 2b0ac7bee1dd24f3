"""`unit_refine.train_model`: training from Python, with the arguments of SpikeInterface's function of that name."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

import hdf5io
from hdf5io.errors import InputError

from ..config import Classifier, Tables, TrainConfig
from ..files import compute_metrics
from ..files.label_files import LabelFile, join
from ..files.recordings import read_recording
from ..files.save_model import staging, write_model
from ..fit.workflow import assembled, with_base_task
from ..model import pipelines
from ..options import describe_error
from ..score.outcome import Outcome, run_training, training_results
from ..show import pages
from ..units.assemble import Recording, id_text, name_apart
from ..units.labels import MEANING, tidy
from ..units.metrics import to_new_names

log = logging.getLogger(__package__)

MOST = 8  #: settings of our own of each classifier
N_DRAWS = 10  #: settings drawn from each search space of one's own


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
    seed: int | None = 0,
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
    classifiers : names, or as SpikeInterface takes them ``{name: {parameter: list or scipy distribution}}``.
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
    sources = sources_of(mode, metrics_paths, analyzers, labels, folder)
    places = [Path(p) if mode == "csv" else Path(f"analyzer_{i}") for i, p in enumerate(sources)]
    spaces = spaces_of(classifiers)
    given = {
        "metric_names": metric_names, "imputation_strategies": imputation_strategies, "scaling_techniques": scaling_techniques,
        "classifiers": classifiers,
    }  # fmt: skip
    n_draws = int((options.get("search_kwargs") or {}).get("n_iter", N_DRAWS))
    chosen: dict[str, Any] = {k: list(v) for k, v in given.items() if v is not None} | translated(options)
    chosen |= {"inputs": places, "task": task or guess_task(labels or []), "output": Path(folder or ""), "overwrite": overwrite,
               "seed": 0 if seed is None else seed}  # fmt: skip
    config = with_base_task(checked(chosen))
    recordings = [with_labels(read_source(s, p, config), own) for s, p, own in zip(sources, places, labels or [])]
    drawn = pipelines.from_spaces(spaces, config.imputation_strategies, config.scaling_techniques, n_draws, config.seed)
    return train_and_write(config, recordings, seed, drawn)


def train_and_write(
    config: TrainConfig,
    recordings: Sequence[Recording],
    seed: int | None,
    candidates: list[pipelines.Setting] | None = None,
) -> Outcome:
    """Train on recordings in memory and write the model folder; as the command does, without a console."""
    with staging(hdf5io.claim(config.output, config.overwrite)) as part:
        units = assembled(name_apart(recordings), [], config)
        outcome = run_training(config, units, candidates)
        write_model(part, config, outcome, training_results(outcome))
        pages.training(
            part, outcome, [], hdf5io.provenance("unit_refine.train_model", config.model_dump(mode="json"), seed)
        )
        hdf5io.write_json(part / hdf5io.MARKER, training_results(outcome))
    return outcome


def sources_of(mode: str, metrics_paths: Any, analyzers: Any, labels: Any, folder: Any) -> list[Any]:
    """Return what to read, one entry a recording.

    Raises
    ------
    InputError : another mode; nothing to read; labels or a folder are not given.
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
    return sources


def spaces_of(classifiers: Any) -> dict[str, Mapping[str, Any]]:
    """Return search spaces by classifier; empty where only names are given.

    Raises
    ------
    InputError : a classifier that is not among those here.
    """
    known = get_args(Classifier)
    for name in classifiers or ():
        if name not in known:
            told = (
                "its models cannot be loaded without trusting their file"
                if name[:3] in ("XGB", "LGB", "Cat")
                else "not known here"
            )
            raise InputError(f"classifiers: {name}: {told}; there are {', '.join(known)}.")
    if not isinstance(classifiers, Mapping):
        return {}
    return {name: space or {} for name, space in classifiers.items()} if any(classifiers.values()) else {}


def checked(chosen: dict[str, Any]) -> TrainConfig:
    """Return the options of a training run; one line for every mistake at once."""
    try:
        return TrainConfig(**chosen)
    except ValidationError as error:
        raise InputError("; ".join(describe_error(e, TrainConfig) for e in error.errors())) from None


def read_source(source: Any, place: Path, config: TrainConfig) -> Recording:
    """Return the recording of a CSV path or of a SortingAnalyzer in memory."""
    if isinstance(source, (str, Path)):
        unlabelled = Tables(**{name: getattr(config, name) for name in Tables.model_fields})  # labels come from Python
        return read_recording(Path(source), unlabelled)
    found = compute_metrics.describe(source, str(place), config.compute_missing)
    return Recording(place.name, place, found.unit_ids, to_new_names(found.table), None, found.params)


def with_labels(recording: Recording, labels: Any) -> Recording:
    """Return the recording with labels given from Python: a dict by unit id, or a list, array or Series in the order of the units."""
    if isinstance(labels, Mapping):
        found = LabelFile({id_text(k): v for k, v in labels.items()}, {}, None, "")
        joined, notices = join(recording, found, Path("labels"))
        for notice in notices:
            log.warning("%s", notice)
        return joined
    labels = list(labels)
    if len(labels) != len(recording.unit_ids):
        raise InputError(
            f"labels: {len(labels)} labels for the {len(recording.unit_ids)} units of {recording.source}. Give a dict by unit id."
        )
    return recording._replace(labels=labels)


def guess_task(labels: Sequence[Any]) -> str:
    """Return the task that the labels allow: three classes, or the two-class task of the labels there are.

    Raises
    ------
    InputError : numbers, which mean something only within a task.
    """
    found = {
        MEANING.get(tidy(v), tidy(v)) for own in labels for v in (own.values() if isinstance(own, Mapping) else own)
    } - {""}
    numbers = sorted(v for v in found if v.isdigit())
    if numbers:
        raise InputError(
            f"labels: the numbers {', '.join(numbers)} mean something only within a task: give task='noise_vs_neural' (1 is neural) or"
            " task='sua_vs_mua' or 'sua_vs_all' (1 is the single unit), or words (good, mua, noise)."
        )
    if found <= {"good", "mua"}:
        return "sua_vs_mua"
    return "three_class" if {"good", "mua", "noise"} <= found else "noise_vs_neural"


def translated(options: dict[str, Any]) -> dict[str, Any]:
    """Return SpikeInterface's keywords as this program's; those with no counterpart are refused or told.

    Raises
    ------
    InputError : a setting of SpikeInterface's search that this program does not have.
    """
    found = dict(options)
    if (jobs := found.pop("n_jobs", None)) is not None:
        found["jobs"] = int(jobs) if int(jobs) > 0 else os.cpu_count() or 1
    if (verbose := found.pop("verbose", None)) is not None:
        log.setLevel(logging.INFO if verbose else logging.WARNING)
    if (share := found.pop("test_size", None)) is not None:
        log.warning("test_size=%s: whole recordings are held out, each once, instead of a share of the units", share)
    if found.pop("enforce_metric_params", False):
        raise InputError(
            "enforce_metric_params: not checked here; compare the analyzers' metric parameters beforehand."
        )
    search = found.pop("search_kwargs", None) or {}
    known = {"cv": "cv_folds", "n_iter": "search_iterations"}
    foreign = sorted(set(search) - set(known) - {"scoring"})
    if foreign or search.get("scoring", "balanced_accuracy") != "balanced_accuracy":
        raise InputError(
            f"search_kwargs: {', '.join(foreign) or 'scoring'}: only cv, n_iter and scoring='balanced_accuracy' are known here."
        )
    if int(search.get("n_iter", 1)) > MOST:
        log.warning("n_iter=%s: %d settings of each classifier are known here; all are tried", search["n_iter"], MOST)
        search = {**search, "n_iter": MOST}
    return found | {known[k]: v for k, v in search.items() if k in known}
