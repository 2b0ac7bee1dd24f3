"""Can this skops file hurt? Sizes and names are checked before anything of it is built, trees and tables before anything runs.

Compiled code follows the indices of a tree without looking, so a forged or damaged file could read outside its memory. Trees are
therefore looked for everywhere in the model, in whatever estimator they hide.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

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
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn.ensemble._gb_losses.BinomialDeviance",
        "sklearn.ensemble._gb_losses.MultinomialDeviance",
        "_loss.CyHalfBinomialLoss",  # so named by scikit-learn 1.5
        "_loss.CyHalfMultinomialLoss",
        "_loss.CyHalfSquaredError",
        "sklearn.utils._bunch.Bunch",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.impute._iterative._ImputerTriplet",
    }
)
#: Estimators that a curation model consists of: skops trusts every estimator of scikit-learn, this program only these.
ESTIMATORS = frozenset(
    {
        "Pipeline", "SimpleImputer", "KNNImputer", "IterativeImputer", "MissingIndicator", "StandardScaler", "RobustScaler",
        "MinMaxScaler", "MaxAbsScaler", "PowerTransformer", "FunctionTransformer", "LabelEncoder", "LabelBinarizer",
        "RandomForestClassifier", "ExtraTreesClassifier", "GradientBoostingClassifier", "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor", "AdaBoostClassifier", "BaggingClassifier", "VotingClassifier", "StackingClassifier",
        "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor", "LogisticRegression",
        "BayesianRidge", "SVC", "MLPClassifier", "KNeighborsClassifier", "GaussianNB", "DummyClassifier", "CalibratedClassifierCV",
        "FixedThresholdClassifier", "LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis",
    }
)  # fmt: skip
#: Ensembles that hand their own input on to their members without looking again how wide it is.
SAME_INPUT = frozenset(
    {"RandomForestClassifier", "ExtraTreesClassifier", "GradientBoostingClassifier", "HistGradientBoostingClassifier",
     "HistGradientBoostingRegressor", "AdaBoostClassifier", "BaggingClassifier"}
)  # fmt: skip
MAX_FILES, MAX_SCHEMA_MB = 100_000, 64


class Part(NamedTuple):
    """An object inside a model, and what is known of the table that reaches it."""

    value: Any
    width: int | None  #: columns of its input


def check_archive(path: Path, max_memory: int) -> None:
    """Check sizes and names inside a skops file; nothing of it is built.

    Raises
    ------
    InputError : unpacked it needs more memory than allowed; an array claims more than the file holds; a foreign class; only a
        pointer of Git LFS.
    """
    with path.open("rb") as file:
        if b"oid sha256:" in file.read(200):
            raise InputError(f"{path}: a pointer of Git LFS, not the model. Fetch it: git lfs pull.")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        megabytes = sum(m.file_size for m in members) / 1e6
        schema = archive.getinfo("schema.json")
        if megabytes > max_memory or schema.file_size > MAX_SCHEMA_MB * 1e6 or len(members) > MAX_FILES:
            raise InputError(
                f"{path}: refused, unpacked it has {megabytes:.0f} MB in {len(members)} parts (its list of parts alone"
                f" {schema.file_size / 1e6:.0f} MB); --max-memory is {max_memory}. Is it a model of unit curation?"
            )
        for member in members:
            if member.filename.endswith(".npy"):
                check_array_size(archive, member, path)
        foreign = sorted(foreign_estimators(json.loads(archive.read(schema))))
    if foreign:
        raise refused(path, foreign)


def refused(path: Path, names: list[str]) -> InputError:
    """Return the error that names what a model holds and should not."""
    return InputError(
        f"{path}: refused, it holds {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}, which a curation model does"
        " not need. Nothing of it was executed. Train the model again, or ask who made it."
    )


def check_array_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Check that an array's header claims as many bytes as follow."""
    with archive.open(member) as handle:
        version = np.lib.format.read_magic(handle)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(handle)
        claimed = dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object))
        if dtype.hasobject or claimed != member.file_size - handle.tell():
            raise InputError(
                f"{path}: refused, '{member.filename}' does not hold what its header says: damaged or forged."
            )


def foreign_estimators(schema: Any) -> set[str]:
    """Return classes of scikit-learn in a skops schema that are neither `ESTIMATORS` nor `ALLOWED`."""
    found, stack = set(), [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            name, module = str(item.get("__class__")), str(item.get("__module__"))
            known = name in ESTIMATORS or f"{module}.{name}" in ALLOWED or module.startswith(("sklearn._loss", "_loss"))
            if module.partition(".")[0] == "sklearn" and not known:
                found.add(f"{module}.{name}")
            stack += list(item.values())
        elif isinstance(item, list):
            stack += item
    return found


def parts(model: Any) -> Iterator[Part]:
    """Yield every object inside a model: estimators, trees and their nodes, each once."""
    seen: set[int] = set()
    stack = [Part(model, None)]
    while stack:
        value, width = stack.pop()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, type)) or value is None:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            stack += [Part(v, width) for v in value.values()]
        elif isinstance(value, (list, tuple, set)) or (isinstance(value, np.ndarray) and value.dtype == object):
            stack += [Part(v, width) for v in (value.ravel().tolist() if isinstance(value, np.ndarray) else value)]
        elif hasattr(value, "__dict__") or type(value).__name__ in ("Tree", "TreePredictor"):
            yield Part(value, width)
            stack += inside(value, width)


def inside(value: Any, width: int | None) -> list[Part]:
    """Return the attributes of an object with the width of the table that reaches them."""
    attributes = getattr(value, "__dict__", {})
    own = attributes.get("n_features_in_")
    if own is not None:
        widths = [int(own), *([int(attributes["_n_features"])] if "_n_features" in attributes else [])]
        width = min(widths if width is None else [*widths, width])
    if "tree_" in attributes and own is None:
        width = None  # nothing would check the table that reaches it
    handed_on = width if type(value).__name__ in SAME_INPUT or "tree_" in attributes or "nodes" in attributes else None
    return [Part(v, handed_on) for v in attributes.values()]


def check_parts(pipeline: Any, path: Path) -> None:
    """Check that no tree points outside itself or its table, or runs in a circle, and that compiled code gets the sizes it expects.

    Raises
    ------
    InputError : a child, feature or category index out of range; tables of an estimator that do not fit each other.
    """
    for value, width in parts(pipeline):
        name, attributes = type(value).__name__, getattr(value, "__dict__", {})
        if name == "TreePredictor":
            bad = is_bad_boosted_tree(value, width)
        elif name == "Tree":
            bad = is_bad_tree(value, width)
        elif name in ("RandomForestClassifier", "ExtraTreesClassifier") and "estimators_" in attributes:
            bad = any(getattr(t, "n_features_in_", None) != value.n_features_in_ for t in value.estimators_)
        elif name == "GradientBoostingClassifier" and "estimators_" in attributes:
            bad = is_bad_boosting(value)
        elif name == "SVC" and "support_" in attributes:
            bad = is_bad_svc(value)
        elif name == "FunctionTransformer":
            bad = any(not (f is None or isinstance(f, np.ufunc)) for f in (value.func, value.inverse_func))
        else:
            continue
        if bad:
            what = (
                "a tree points outside its own nodes or metrics"
                if "Tree" in name
                else f"the parts of its {name} do not fit"
            )
            raise InputError(f"{path}: refused, {what}: the file is damaged or forged.")


def is_bad_boosted_tree(predictor: Any, width: int | None) -> bool:
    """Return whether a tree of HistGradientBoosting would read outside its nodes or ``width`` columns; categories have no place."""
    nodes, rows = predictor.nodes, np.arange(len(predictor.nodes))
    inner = nodes["is_leaf"] == 0
    children = np.stack([nodes["left"], nodes["right"]])[:, inner].astype(np.int64)
    feature = nodes["feature_idx"][inner].astype(np.int64)
    return bool(
        width is None
        or nodes.ndim != 1
        or not len(nodes)
        or ((children <= rows[inner]) | (children >= len(nodes))).any()
        or ((feature < 0) | (feature >= width)).any()
        or (nodes["is_categorical"][inner] != 0).any()
    )


def is_bad_tree(tree: Any, width: int | None) -> bool:
    """Return whether a decision tree would read outside its nodes or ``width`` columns."""
    children, rows = np.stack([tree.children_left, tree.children_right]), np.arange(tree.node_count)
    inner = children[0] != -1
    feature = tree.feature[inner]
    return bool(
        width is None
        or not tree.node_count
        or ((children[:, inner] <= rows[inner]) | (children[:, inner] >= tree.node_count)).any()
        or ((feature < 0) | (feature >= width)).any()
    )


def is_bad_boosting(boosting: Any) -> bool:
    """Return whether the stages of a GradientBoostingClassifier do not fit its classes: it writes one column a tree."""
    stages, k = boosting.estimators_, len(boosting.classes_)
    trees = 1 if k == 2 else k
    return bool(
        getattr(stages, "ndim", 0) != 2
        or stages.shape[1] != trees
        or getattr(boosting, "n_trees_per_iteration_", trees) != trees
        or any(not hasattr(t, "tree_") or t.tree_.value.shape[1:] != (1, 1) for t in stages.ravel())
    )


def is_bad_svc(svc: Any) -> bool:
    """Return whether the tables that libsvm follows do not fit each other."""
    k, n = len(svc.classes_), len(svc.support_)
    pairs = k * (k - 1) // 2
    fitted = getattr(svc, "_sparse", False), svc.shape_fit_[1] == svc.support_vectors_.shape[1] == svc.n_features_in_
    return bool(
        fitted != (False, True)
        or svc.support_vectors_.shape[0] != n
        or list(svc._n_support.shape) != [k]
        or (svc._n_support < 0).any()
        or svc._n_support.sum() != n
        or svc._dual_coef_.shape != (k - 1, n)
        or svc._intercept_.shape != (pairs,)
        or any(len(a) not in (0, pairs) for a in (svc._probA, svc._probB))
        or (svc.support_ < 0).any()
    )
