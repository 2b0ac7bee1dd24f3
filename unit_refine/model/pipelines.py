"""How does a table of metrics become class probabilities?

Every model is a scikit-learn pipeline with the steps ``imputer``, ``scaler`` and ``classifier``, as SpikeInterface expects. The
classes weigh the same in every fit, however rare: by ``class_weight`` where the classifier has it, else by sample weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (the next line needs it)
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC

from hdf5io.errors import InputError

from ..config import TREES

SCALERS = {"standard_scaler": StandardScaler, "robust_scaler": RobustScaler, "min_max_scaler": MinMaxScaler}

#: Settings tried for each classifier, best guess first; ``--search-iterations`` says how many of them.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "vote": [{}, {"leaves": 8}, {"leaves": 20}, {"l2": 20.0}, {"iterations": 120}, {"min_leaf": 5}, {"min_leaf": 2}, {"leaves": 6}],
    "RandomForestClassifier": [
        {"min_samples_leaf": 3}, {"min_samples_leaf": 2}, {"min_samples_leaf": 5}, {"min_samples_leaf": 8},
        {"min_samples_leaf": 3, "max_features": 0.3}, {"min_samples_leaf": 3, "criterion": "entropy"},
        {"min_samples_leaf": 3, "max_features": 0.5}, {"min_samples_leaf": 12},
    ],
    "GradientBoostingClassifier": [
        {}, {"max_depth": 4}, {"learning_rate": 0.05}, {"max_depth": 2}, {"n_estimators": 150, "learning_rate": 0.05},
        {"max_depth": 4, "learning_rate": 0.05}, {"min_samples_leaf": 30}, {"n_estimators": 60},
    ],
    "LogisticRegression": [{"C": c} for c in (1.0, 0.1, 0.01, 10.0, 0.03, 0.3, 3.0, 100.0)],
    "MLPClassifier": [
        {}, {"alpha": 1.0}, {"hidden_layer_sizes": (16,)}, {"alpha": 10.0}, {"hidden_layer_sizes": (64,)},
        {"activation": "tanh"}, {"hidden_layer_sizes": (32, 16)}, {"learning_rate_init": 3e-3},
    ],
    "SVC": [{"C": c} for c in (1.0, 0.3, 3.0, 0.1, 10.0, 0.03, 30.0, 100.0)],
}  # fmt: skip


CLASSIFIERS: dict[str, Any] = {
    c.__name__: c for c in (RandomForestClassifier, GradientBoostingClassifier, LogisticRegression, MLPClassifier, SVC)
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "RandomForestClassifier": {"n_estimators": 120, "class_weight": "balanced"},
    "GradientBoostingClassifier": {"subsample": 0.5, "max_features": "sqrt"},
    "LogisticRegression": {"class_weight": "balanced", "max_iter": 1000},
    "MLPClassifier": {"hidden_layer_sizes": (32,), "alpha": 3.0, "max_iter": 60, "learning_rate_init": 2e-3},
    "SVC": {"class_weight": "balanced", "cache_size": 100},
}


class Setting(NamedTuple):
    """One way to build a model."""

    classifier: str
    imputation: str
    scaling: str
    params: dict[str, Any]


def settings(
    classifiers: Sequence[str], imputations: Sequence[str], scalings: Sequence[str], iterations: int
) -> Iterator[Setting]:
    """Yield every combination to try; trees do not depend on the scaling and get the first one only."""
    for classifier in classifiers:
        for imputation in imputations:
            for scaling in scalings[:1] if classifier in TREES else scalings:
                for params in SETTINGS[classifier][:iterations]:
                    yield Setting(classifier, imputation, scaling, params)


def from_spaces(
    spaces: Mapping[str, Mapping[str, Any]],
    imputations: Sequence[str],
    scalings: Sequence[str],
    iterations: int,
    seed: int,
) -> list[Setting]:
    """Return settings drawn from search spaces of one's own, as SpikeInterface takes them: lists, or distributions of scipy.

    Raises
    ------
    InputError : a parameter that the classifier does not have; a space that is neither a list nor a distribution.
    """
    found = []
    for i, (classifier, space) in enumerate(spaces.items()):
        own = CLASSIFIERS[classifier]().get_params() if classifier in CLASSIFIERS else {}
        for name, values in space.items():
            if name not in own and name != "probability":
                raise InputError(
                    f"classifiers: {classifier} has no parameter '{name}' here; it has {', '.join(own) or 'none to set'}."
                )
            if not hasattr(values, "rvs") and (
                isinstance(values, str) or not isinstance(values, Sequence) or not len(values)
            ):
                raise InputError(
                    f"classifiers: {classifier}: '{name}' needs a list of values or a distribution of scipy.stats."
                )
        rng = np.random.default_rng([seed, i])
        for _ in range(iterations if space else 1):
            drawn = {
                name: values.rvs(random_state=rng) if hasattr(values, "rvs") else values[int(rng.integers(len(values)))]
                for name, values in space.items()
            }
            params = {name: v.item() if hasattr(v, "item") else v for name, v in drawn.items()}
            params = params or SETTINGS[classifier][0]
            found += [
                Setting(classifier, imputation, scaling, params)
                for imputation in imputations
                for scaling in (scalings[:1] if classifier in TREES else scalings)
            ]
    return found


def make_classifier(name: str, params: dict[str, Any], seed: int) -> Any:
    """Return an unfitted classifier; ``params`` stand over what is the default here."""
    if name == "vote":
        return _vote(seed, **params)
    default = DEFAULTS[name]
    if name == "SVC":  # its own probabilities would not agree with its classes
        machine = SVC(**{**default, **{k: v for k, v in params.items() if k != "probability"}})
        return CalibratedClassifierCV(machine, cv=3, ensemble=False)
    seeded = {} if name == "LogisticRegression" else {"random_state": seed}
    return CLASSIFIERS[name](**{**default, **seeded, **params})


def _vote(seed: int, leaves: int = 12, iterations: int = 60, l2: float = 5.0, min_leaf: int = 3) -> VotingClassifier:
    boosting = HistGradientBoostingClassifier(
        learning_rate=0.1, max_iter=iterations, max_leaf_nodes=leaves, min_samples_leaf=30, l2_regularization=l2,
        max_features=0.4, max_bins=64, early_stopping=False, class_weight="balanced", random_state=seed,
    )  # fmt: skip
    trees = ExtraTreesClassifier(120, min_samples_leaf=min_leaf, class_weight="balanced", random_state=seed)
    return VotingClassifier([("boosting", boosting), ("trees", trees)], voting="soft")


def make_pipeline(setting: Setting, seed: int) -> Pipeline:
    """Return an unfitted pipeline ``imputer -> scaler -> classifier``.

    The scaling begins with a signed logarithm (arsinh): some metrics reach 1e15 for single units, and without it a standard
    scaling leaves the other units no distinguishable digits in float32, in which trees and SpikeInterface compute.

    Parameters
    ----------
    setting : what to build.
    seed : seed of the classifier.
    """
    if setting.imputation == "knn":
        imputer: Any = KNNImputer(n_neighbors=5, add_indicator=True)
    elif setting.imputation == "iterative":
        imputer = IterativeImputer(max_iter=5, n_nearest_features=10, random_state=seed, add_indicator=True)
    else:
        strategy = "most_frequent" if setting.imputation == "mode" else setting.imputation
        imputer = SimpleImputer(strategy=strategy, add_indicator=True)
    scaler = Pipeline([("signed_log", FunctionTransformer(np.arcsinh)), ("scaling", SCALERS[setting.scaling]())])
    classifier = make_classifier(setting.classifier, setting.params, seed)
    return Pipeline([("imputer", imputer), ("scaler", scaler), ("classifier", classifier)])


def class_weights(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return a weight for each unit with which all classes weigh the same, mean 1.

    >>> class_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    counts = np.bincount(y, minlength=n_classes)
    return (len(y) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[y]


def fit(
    setting: Setting, metrics: pd.DataFrame, y: np.ndarray, seed: int, threshold: float | None = None,
    weight: np.ndarray | None = None,
) -> Pipeline:  # fmt: skip
    """Return a pipeline fitted with equal class weights.

    Parameters
    ----------
    metrics : (n, m) metrics, missing values allowed.
    y : (n,) class index.
    threshold : probability of class 1 from which a unit is called class 1, two classes only; None: the larger probability wins.
    weight : (n,) weights of the units, taken relative to the others of their class.
    """
    pipeline, extra = make_pipeline(setting, seed), {}
    whole = np.ones(len(y)) if weight is None else within_classes(weight, y)
    if setting.classifier in ("GradientBoostingClassifier", "MLPClassifier", "SVC"):
        extra["classifier__sample_weight"] = class_weights(y, int(y.max()) + 1) * whole
    elif weight is not None:
        extra["classifier__sample_weight"] = whole
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the MLP stops early on purpose
        warnings.filterwarnings("ignore", message="Skipping features without any observed values")
        try:
            pipeline.fit(metrics, y, **extra)
        except (ValueError, TypeError) as error:  # settings of one's own that scikit-learn does not take
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"classifiers: {setting.classifier} with {setting.params or 'its defaults'}: {reason}"
            ) from None
    if threshold is not None:
        name, inner = pipeline.steps[-1]
        outer = FixedThresholdClassifier(inner, threshold=threshold, response_method="predict_proba")
        outer.estimator_ = inner  # fitted already, with weights, which the wrapper does not hand on
        pipeline.steps[-1] = (name, outer)
    return pipeline


def within_classes(weight: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return weights with mean 1 in each class, so that the classes weigh the same.

    >>> within_classes(np.array([1.0, 3.0, 3.0]), np.array([0, 0, 1])).tolist()
    [0.5, 1.5, 1.0]
    """
    return weight / (np.bincount(y, weights=weight) / np.maximum(np.bincount(y), 1))[y]


def probabilities(pipeline: Pipeline, metrics: pd.DataFrame, n_classes: int, chunk: int = 20_000) -> np.ndarray:
    """Return (n, n_classes) class probabilities; a class that a fold did not see has probability 0."""
    parts = [pipeline.predict_proba(metrics.iloc[i : i + chunk]) for i in range(0, len(metrics), chunk)]
    p = np.zeros((len(metrics), n_classes))
    if parts:
        p[:, np.asarray(pipeline.classes_, dtype=int)] = np.concatenate(parts)
    return p
