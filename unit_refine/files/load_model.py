"""What is in a model folder, and is it safe to open?

A model is loaded with skops under a fixed list of scikit-learn types; a file that names anything else is refused by name before
anything of it is built. The folder has the files that SpikeInterface and UnitRefine write, and some more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hdf5io.errors import InputError

from ..model.calibration import Sigmoid

log = logging.getLogger(__package__)

#: Types beyond those skops trusts by itself. They hold numbers only; building them executes nothing of the file.
ALLOWED = frozenset(
    {
        "numpy.dtype",
        "numpy.random.mtrand.RandomState",
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.link.Interval",
        "sklearn.ensemble._gb_losses.BinomialDeviance",
        "sklearn.ensemble._gb_losses.MultinomialDeviance",
        "_loss.CyHalfBinomialLoss",  # so named by scikit-learn 1.5
        "_loss.CyHalfMultinomialLoss",
        "sklearn.utils._bunch.Bunch",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.metrics._scorer._Scorer",
    }
)
PROBE_TOLERANCE = 1e-6


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


def load_pipeline(path: Path) -> tuple[Any, list[str]]:
    """Return a pipeline from a skops file, and notices; refuse every type that is not on the list.

    Raises
    ------
    InputError : not a skops file, a foreign type, a damaged tree, something else than a pipeline.
    """
    from skops import io as skops_io

    try:
        foreign = sorted(set(skops_io.get_untrusted_types(file=path)) - ALLOWED)
    except Exception as error:  # skops raises whatever the broken content makes it raise
        raise InputError(
            f"{path}: not readable as a skops file ({type(error).__name__}: {first_line(error)})."
        ) from None
    if foreign:
        raise InputError(
            f"{path}: refused, it holds {', '.join(foreign[:4])}{', ...' if len(foreign) > 4 else ''}, which a curation model does"
            " not need. Nothing of it was executed. Train the model again, or ask who made it."
        )
    with warnings.catch_warnings(record=True) as caught, old_module_names():
        warnings.simplefilter("always")
        try:
            pipeline = skops_io.load(path, trusted=sorted(ALLOWED))
        except Exception as error:
            raise InputError(f"{path}: scikit-learn cannot build this model ({first_line(error)}).") from None
    notices = version_notices(caught)
    if not hasattr(pipeline, "steps") or not hasattr(pipeline, "predict_proba"):
        raise InputError(
            f"{path}: holds a {type(pipeline).__name__}; expected a scikit-learn Pipeline with class probabilities."
        )
    translate_old_attributes(pipeline)
    check_trees(pipeline, path)
    return pipeline, notices


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


def first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:160]


def version_notices(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return one line for all warnings about another scikit-learn version."""
    messages: list[Any] = [w.message for w in caught if hasattr(w.message, "original_sklearn_version")]
    skew = {(m.original_sklearn_version, m.current_sklearn_version) for m in messages}
    return [
        f"the model was saved by scikit-learn {old} and runs under {new}; its probe set, if it has one, tells whether they agree"
        for old, new in sorted(skew)
    ]


def walk(estimator: Any, depth: int = 0) -> Any:
    """Yield an estimator and every estimator inside it."""
    if depth > 8:
        return
    yield estimator
    inner: list[Any] = [step for _, step in getattr(estimator, "steps", [])]
    for name in ("estimators_", "estimator_", "estimator", "calibrated_classifiers_", "_predictors"):
        value = getattr(estimator, name, None)
        inner += (
            list(np.ravel(np.asarray(value, dtype=object))) if isinstance(value, (list, tuple, np.ndarray)) else [value]
        )
    for item in inner:
        if item is not None and not isinstance(item, (str, int, float)):
            yield from walk(item, depth + 1)


def translate_old_attributes(pipeline: Any) -> None:
    """Give imputers the attribute names of both sides of scikit-learn's renaming (``_fill_dtype``, ``_fit_dtype``)."""
    for part in walk(pipeline):
        if type(part).__name__ == "SimpleImputer" and hasattr(part, "statistics_"):
            known = getattr(part, "_fill_dtype", None) or getattr(part, "_fit_dtype", None) or part.statistics_.dtype
            part._fill_dtype = getattr(part, "_fill_dtype", known)
            part._fit_dtype = getattr(part, "_fit_dtype", known)


def check_trees(pipeline: Any, path: Path) -> None:
    """Check that no tree points outside itself or its table, or runs in a circle: the compiled code does not.

    Raises
    ------
    InputError : a child, feature or category index out of range.
    """
    width = classifier_width(pipeline)
    for part in walk(pipeline):
        if isinstance(getattr(part, "nodes", None), np.ndarray) and "left" in (part.nodes.dtype.names or ()):
            bad = is_bad_boosted_tree(part, width)
        elif hasattr(part, "tree_"):
            bad = is_bad_tree(part.tree_, width)
        else:
            continue
        if bad:
            raise InputError(
                f"{path}: refused, a tree points outside its own nodes or metrics: the file is damaged or forged."
            )


def classifier_width(pipeline: Any) -> int:
    """Return how many columns the classifier gets: what the steps before it really make, not what the file says."""
    first = pipeline[0]
    row = np.zeros((1, first.n_features_in_))
    names = getattr(first, "feature_names_in_", None)
    return pipeline[:-1].transform(row if names is None else pd.DataFrame(row, columns=names)).shape[1]


def is_bad_boosted_tree(predictor: Any, width: int) -> bool:
    """Return whether a tree of HistGradientBoosting would read outside its nodes, its categories or ``width`` columns."""
    nodes, rows = predictor.nodes, np.arange(len(predictor.nodes))
    inner = nodes["is_leaf"] == 0
    categorical = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
    children = np.stack([nodes["left"], nodes["right"]])[:, inner].astype(np.int64)
    feature = nodes["feature_idx"][inner].astype(np.int64)
    return bool(
        ((children <= rows[inner]) | (children >= len(nodes))).any()
        or ((feature < 0) | (feature >= width)).any()
        or (categorical >= len(predictor.raw_left_cat_bitsets)).any()
    )


def is_bad_tree(tree: Any, width: int) -> bool:
    """Return whether a decision tree would read outside its nodes or ``width`` columns."""
    children, rows = np.stack([tree.children_left, tree.children_right]), np.arange(tree.node_count)
    inner = children[0] != -1
    feature = tree.feature[inner]
    return bool(
        ((children[:, inner] <= rows[inner]) | (children[:, inner] >= tree.node_count)).any()
        or ((feature < 0) | (feature >= width)).any()
    )


def read_info(folder: Path) -> dict[str, Any]:
    """Return model_info.json.

    Raises
    ------
    InputError : the file is absent or not what it should be.
    """
    path = folder / "model_info.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: no 'model_info.json' beside the model; without it the meaning of its classes is unknown."
            " Copy it from where the model was made, or train again."
        )
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        conversion = {int(code): str(name) for code, name in info["label_conversion"].items()}
    except (ValueError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: expected JSON with 'label_conversion' (class number to name): {first_line(error)}."
        ) from None
    return {**info, "label_conversion": conversion}


def load(folder: Path) -> Model:
    """Return the model of a folder, checked; nothing in the folder is executed.

    Raises
    ------
    InputError : see `load_pipeline` and `read_info`.
    """
    path = find_skops(Path(folder))
    info = read_info(path.parent)
    pipeline, notices = load_pipeline(path)
    names = getattr(pipeline, "feature_names_in_", None)
    if names is None:
        raise InputError(
            f"{path}: the model does not say which metrics it needs (no feature_names_in_). Train it on a table."
        )
    codes = [int(code) for code in pipeline.classes_]
    if not set(codes) <= set(info["label_conversion"]):
        raise InputError(
            f"{path.parent}: model_info.json names classes {sorted(info['label_conversion'])}, the model has {codes}."
        )
    sigmoid = info.get("calibration")
    return Model(
        path.parent, pipeline, [str(n) for n in names], tuple(info["label_conversion"][c] for c in codes), info,
        float(info.get("thresholds", {}).get("class_1", 0.5)),
        Sigmoid(*(np.asarray(sigmoid[key], dtype=float) for key in Sigmoid._fields)) if sigmoid else None, notices,
    )  # fmt: skip


def predict_proba(model: Model, metrics: pd.DataFrame) -> np.ndarray:
    """Return (n, K) probabilities of a loaded model, in float64."""
    data = metrics[model.metric_names].astype("float64")
    return np.concatenate(
        [model.pipeline.predict_proba(data.iloc[i : i + 20_000]) for i in range(0, max(len(data), 1), 20_000)]
    )


def replay(model: Model) -> float | None:
    """Return the largest change of a probability on the model's probe set; None where the folder has none."""
    path = model.folder / "probe_set.json"
    if not path.is_file():
        return None
    try:
        probe = json.loads(path.read_text(encoding="utf-8"))
        rows = pd.DataFrame(probe["rows"], columns=probe["columns"], dtype=float)
        return float(np.abs(predict_proba(model, rows) - np.asarray(probe["probabilities"])).max())
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a probe set of this model ({first_line(error)}).") from None


def describe(folder: Path) -> dict[str, Any]:
    """Return what a model is, what it needs, and whether it still answers as it did when it was saved."""
    model = load(folder)
    change = replay(model)
    for notice in model.notices:
        log.warning("%s", notice)
    return {
        "classes": list(model.classes),
        "metric_names": model.metric_names,
        "steps": [f"{name}: {type(step).__name__}" for name, step in model.pipeline.steps],
        "requirements": model.info.get("requirements", {}),
        "task": model.info.get("task"),
        "balanced_accuracy": model.info.get("scores", {}).get("balanced_accuracy"),
        "types_allowed": True,
        "probe_set_change": change,
        "reproduces": None if change is None else change <= PROBE_TOLERANCE,
    }
