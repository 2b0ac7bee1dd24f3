"""What is in a model folder, and is it safe to open?

A model is loaded with skops under a fixed list of scikit-learn types; a file that names anything else is refused by name before
anything of it is built. The folder has the files that SpikeInterface and UnitRefine write, and some more.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import hdf5io
from hdf5io.errors import InputError

from ..model.calibration import Sigmoid
from ..units.assemble import Recording
from ..units.metrics import Checked, match_model, negative_share
from ..units.releases import Release, of_names, told
from ..units.spelling import look_alikes, under_names
from . import check_model
from .model_info import (
    class_names,
    first_line,
    info_digest,
    read_info,
    read_probe,
    read_sigmoid,
    read_threshold,
)

log = logging.getLogger(__package__)

PROBE_TOLERANCE = 1e-6
MAX_MEMORY = 1000  #: MB


class Model(NamedTuple):
    """A model folder in memory."""

    folder: Path
    pipeline: Any  #: scikit-learn pipeline
    metric_names: list[str]  #: columns the pipeline expects, in its own spelling and order
    classes: tuple[str, ...]  #: class names in the order of the probabilities
    info: dict[str, Any]  #: model_info.json
    threshold: float  #: operating point on the probability of class 1 (two classes)
    sigmoid: Sigmoid | None  #: calibration, where the folder has one
    notices: list[str]  #: version skew, translated attributes


def find_skops(folder: Path) -> Path:
    """Return the one skops file of a model folder.

    Raises
    ------
    InputError : no folder, no skops file, or several.
    """
    if folder.is_file() and folder.suffix == ".skops":
        return folder
    if not folder.is_dir():
        raise InputError(f"{folder}: no such model folder. Make one with: unit-refine train ... --output {folder}")
    found = sorted(folder.glob("*.skops"))
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise InputError(
            f"{folder}: expected one .skops file, found {names}. Give the model folder, or the file itself."
        )
    return found[0]


def load_pipeline(path: Path, max_memory: int = MAX_MEMORY) -> tuple[Any, list[str]]:
    """Return a pipeline from a skops file, and notices; refuse every type that is not on the list.

    Raises
    ------
    InputError : not a skops file, too large, a foreign type, a damaged tree, something else than a pipeline.
    """
    from skops import io as skops_io

    try:
        check_model.check_archive(path, max_memory)
        foreign = sorted(set(skops_io.get_untrusted_types(file=path)) - check_model.ALLOWED)
    except InputError:
        raise
    except Exception as error:  # skops raises whatever the broken content makes it raise
        raise InputError(
            f"{path}: not readable as a skops file ({type(error).__name__}: {first_line(error)})."
        ) from None
    if foreign:
        raise check_model.refused(path, foreign)
    with warnings.catch_warnings(record=True) as caught, old_module_names():
        warnings.simplefilter("always")
        try:
            pipeline = skops_io.load(path, trusted=sorted(check_model.ALLOWED))
        except Exception as error:
            raise InputError(f"{path}: scikit-learn cannot build this model ({first_line(error)}).") from None
    if type(pipeline).__name__ != "Pipeline" or not getattr(pipeline, "steps", None):
        raise InputError(f"{path}: holds a {type(pipeline).__name__}; expected a scikit-learn Pipeline.")
    try:
        translate_old_attributes(pipeline)
        check_model.check_parts(pipeline, path)
        probabilistic = hasattr(pipeline, "predict_proba")
    except InputError:
        raise
    except Exception as error:  # an attribute that is absent or of another type
        raise InputError(f"{path}: damaged or forged, its parts cannot be checked ({first_line(error)}).") from None
    if not probabilistic:
        raise InputError(f"{path}: its {type(pipeline.steps[-1][1]).__name__} gives no class probabilities.")
    return pipeline, version_notices(caught)


@contextlib.contextmanager
def old_module_names() -> Iterator[None]:
    """Let the losses be found under the module name that scikit-learn 1.5 wrote for them, ``_loss``, while a model loads."""
    import sklearn._loss._loss as losses

    sys.modules.setdefault("_loss", losses)
    try:
        yield
    finally:
        if sys.modules.get("_loss") is losses:
            del sys.modules["_loss"]


def version_notices(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return one line for all warnings about another scikit-learn version."""
    messages: list[Any] = [w.message for w in caught if hasattr(w.message, "original_sklearn_version")]
    skew = {(m.original_sklearn_version, m.current_sklearn_version) for m in messages}
    return [
        f"the model was saved by scikit-learn {old} and runs under {new}; its probe set, if it has one, tells whether they agree"
        for old, new in sorted(skew)
    ]


def translate_old_attributes(pipeline: Any) -> None:
    """Give imputers the attribute names of both sides of scikit-learn's renaming (``_fill_dtype``, ``_fit_dtype``)."""
    for part, _ in check_model.parts(pipeline):
        if type(part).__name__ == "SimpleImputer" and hasattr(part, "statistics_"):
            known = getattr(part, "_fill_dtype", None) or getattr(part, "_fit_dtype", None) or part.statistics_.dtype
            part._fill_dtype = getattr(part, "_fill_dtype", known)
            part._fit_dtype = getattr(part, "_fit_dtype", known)


def load(folder: Path, names: Sequence[str] = (), max_memory: int = MAX_MEMORY, strict: bool = True) -> Model:
    """Return the model of a folder, checked; nothing in the folder is executed.

    Parameters
    ----------
    names : ``NUMBER=NAME`` of its classes, over what the folder says (``--class-names``).
    strict : refuse a folder whose classes are named otherwise than when it was made.

    Raises
    ------
    InputError : see `load_pipeline`, `read_info` and `class_names`.
    """
    path = find_skops(Path(folder))
    here = path.parent
    if names and not (here / "model_info.json").is_file():
        info: dict[str, Any] = {
            "label_conversion": {},
            "scores": {},
            "requirements": {},
            "thresholds": {},
            "calibration": {},
        }
    else:
        info = read_info(here)
    pipeline, notices = load_pipeline(path, max_memory)
    metrics = getattr(pipeline, "feature_names_in_", None)
    if metrics is None:
        raise InputError(
            f"{path}: the model does not say which metrics it needs (no feature_names_in_). Train it on a table."
        )
    classes = class_names(pipeline, info, names, here)
    told = read_probe(here).get("classes")
    if strict and not names and told is not None and list(told) != list(classes):
        raise InputError(
            f"{here}: model_info.json names the classes {', '.join(classes)}; when it was made they were {', '.join(map(str, told))}."
            " Restore the file, or say with --class-names what they are."
        )
    threshold, sigmoid = read_threshold(info, len(classes), here), read_sigmoid(info, len(classes), here)
    return Model(here, pipeline, [str(n) for n in metrics], classes, info, threshold, sigmoid, notices)


def predict_proba(model: Model, metrics: pd.DataFrame) -> np.ndarray:
    """Return (n, K) probabilities of a loaded model; metrics go in as float32, as SpikeInterface hands them over.

    Raises
    ------
    InputError : the model fails on them, or gives something else than probabilities.
    """
    table = metrics[model.metric_names].astype("float32")
    try:
        chunks = range(0, max(len(table), 1), 20_000)
        p = np.concatenate([model.pipeline.predict_proba(table.iloc[i : i + 20_000]) for i in chunks])
    except Exception as error:  # whatever a damaged model makes scikit-learn raise
        raise InputError(
            f"{model.folder}: the model cannot be applied ({type(error).__name__}: {first_line(error)})."
        ) from None
    if (
        p.shape != (len(table), len(model.classes))
        or not np.isfinite(p).all()
        or not np.allclose(p.sum(axis=1), 1, atol=1e-3)
    ):
        raise InputError(
            f"{model.folder}: the model gives no probabilities of its {len(model.classes)} classes: damaged or forged."
        )
    return p


def read_training_data(model: Model) -> pd.DataFrame | None:
    """Return the metrics of the training units, where the folder holds them."""
    path = model.folder / "training_data.csv"
    if not path.is_file():
        return None
    with hdf5io.parsing(path, "a table of training units"):
        table = pd.read_csv(path)
        return table[[n for n in model.metric_names if n in table.columns]].astype("float32")


def match(model: Model, table: pd.DataFrame, where: str) -> Checked:
    """Return new units' metrics in a model's columns (see `match_model`), sizes in the sign that they had in training."""
    try:
        return match_model(under_names(table, model.metric_names), model.metric_names, where, training_sign(model))
    except InputError as error:
        hint = look_alikes(list(map(str, table.columns)), model.metric_names)
        raise InputError(f"{error} {hint}".strip()) from None


def release_of(model: Model) -> Release:
    """Return which releases of SpikeInterface can have computed the training units' metrics."""
    try:
        return Release(*map(int, model.info["metrics_release"]))
    except (KeyError, TypeError, ValueError, OverflowError):  # a model of another program
        return of_names(model.metric_names)


def tell_releases(model: Model, found: Sequence[Recording]) -> None:
    """Warn where SpikeInterface changed the definition of a metric between the training units' and the new units' release."""
    for recording in found:
        names = set(model.metric_names) & set(recording.table.columns)
        for notice in told(recording.release, release_of(model), names):
            log.warning("%s: %s", recording.source, notice)


def training_sign(model: Model) -> float | None:
    """Return the share of training units whose size has a minus; None where the folder does not say."""
    known = read_training_data(model)
    return None if known is None else negative_share(known)


def read_training_labels(model: Model) -> np.ndarray | None:
    """Return the class index of each training unit, in the order of `read_training_data`; None where the folder does not say."""
    path = model.folder / "labels.csv"
    if not path.is_file():
        return None
    with hdf5io.parsing(path, "a table of training labels"):
        table = pd.read_csv(path)
        y = pd.to_numeric(table[table.columns[-1]], errors="coerce").to_numpy(dtype=float)
    known = len(y) and np.isin(y, np.arange(len(model.classes))).all()
    return y.astype(int) if known and len(np.unique(y)) == len(model.classes) else None


def read_training_groups(model: Model, n: int) -> np.ndarray:
    """Return the recording of each training unit; all of one where the folder does not say."""
    found = _held_out_column(model, n, "recording")
    return np.full(n, "base model") if found is None else found.astype(str).to_numpy(dtype=str)


def read_training_weights(model: Model, n: int) -> np.ndarray:
    """Return what each training unit weighed, 1 where the folder does not say."""
    found = _held_out_column(model, n, "weight")
    return np.ones(n) if found is None else pd.to_numeric(found, errors="coerce").fillna(1.0).clip(1e-3, 1e3).to_numpy()


def read_training_ids(model: Model, n: int) -> list[str]:
    """Return the unit id of each training unit, numbered where the folder does not say."""
    found = _held_out_column(model, n, "unit_id")
    return [str(i) for i in range(n)] if found is None else found.astype(str).tolist()


def _held_out_column(model: Model, n: int, name: str) -> pd.Series | None:
    path = model.folder / "held_out_predictions.csv"
    if not path.is_file():
        return None
    with hdf5io.parsing(path, "a table of held-out predictions"):
        table = pd.read_csv(path, dtype=str)
    return table[name] if name in table.columns and len(table) == n else None


def replay(model: Model) -> float | None:
    """Return the largest change of a probability on the model's probe set; None where the folder has none."""
    probe = read_probe(model.folder)
    if not probe:
        return None
    try:
        rows = pd.DataFrame(probe["rows"], columns=probe["columns"], dtype=float)
        return float(np.abs(predict_proba(model, rows) - np.asarray(probe["probabilities"], dtype=float)).max())
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        where = model.folder / "probe_set.json"
        raise InputError(f"{where}: not a probe set of this model ({first_line(error)}).") from None


def differences(model: Model) -> list[str]:
    """Return what differs from when the model was made: its answers, the names of its classes, model_info.json."""
    probe, change = read_probe(model.folder), replay(model)
    found = [] if change is None or change <= PROBE_TOLERANCE else [f"probabilities by {change:.2g}"]
    if "classes" in probe and list(probe["classes"]) != list(model.classes):
        found.append(f"class names (were {', '.join(map(str, probe['classes']))})")
    if "info_sha256" in probe and probe["info_sha256"] != info_digest(model.folder):
        found.append("model_info.json")
    return found


def describe(folder: Path, names: Sequence[str] = (), max_memory: int = MAX_MEMORY) -> dict[str, Any]:
    """Return what a model is, what it needs, and whether it still answers as it did when it was saved."""
    model = load(folder, names, max_memory, strict=False)
    change = replay(model)
    for notice in model.notices:
        log.warning("%s", notice)
    differs = differences(model)
    return {
        "classes": list(model.classes),
        "metric_names": model.metric_names,
        "steps": [f"{name}: {type(step).__name__}" for name, step in model.pipeline.steps],
        "requirements": model.info["requirements"],
        "task": model.info.get("task"),
        "balanced_accuracy": model.info["scores"].get("balanced_accuracy"),
        "types_allowed": True,
        "probe_set_change": change,
        "differs": differs,
        "reproduces": None if change is None else not differs,
    }
