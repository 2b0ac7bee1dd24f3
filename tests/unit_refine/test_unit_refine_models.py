"""Forged, damaged and foreign model folders: refused in one line before anything runs, or read as they mean."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomTreesEmbedding,
    StackingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from hdf5io.errors import InputError
from unit_refine.files import check_model, load_model, save_model

NAMES = [f"m{i}" for i in range(5)]


def table(n=80):
    return pd.DataFrame(np.random.default_rng(0).normal(size=(n, 5)), columns=NAMES).astype("float32")


def fitted(classifier, *steps, classes=2, labels=None):
    """Return a fitted pipeline ``imputer -> ... -> classifier``."""
    y = np.arange(80) % classes if labels is None else np.array(labels)[np.arange(80) % len(labels)]
    return Pipeline([("imputer", SimpleImputer()), *steps, ("classifier", classifier)]).fit(table(), y)


def folder_of(path, pipeline, **info):
    """Write a model folder as SpikeInterface lays it out."""
    path.mkdir(exist_ok=True)
    save_model.dump(pipeline, path / "best_model.skops")
    codes = range(len(pipeline.classes_))
    content = {
        "label_conversion": {str(i): ("noise", "neural", "x")[i] for i in codes},
        "requirements": {},
        "metric_params": {},
    }
    (path / "model_info.json").write_text(json.dumps(content | info))
    return path


def refused(path, message):
    with pytest.raises(InputError, match=message):
        load_model.describe(path)


def tamper(tree, field, value):
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][field][0] = value
    tree.__setstate__(state)


def rewrite(path, change):
    """Change the members of a skops file."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)


@pytest.mark.parametrize(
    "classifier",
    [
        RandomForestClassifier(3),
        ExtraTreesClassifier(3),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        SVC(probability=True),
        StackingClassifier([("a", RandomForestClassifier(2))], final_estimator=RandomForestClassifier(2), cv=2),
    ],
    ids=lambda c: type(c).__name__,
)
@pytest.mark.parametrize("classes", [2, 3])
def test_models_that_spikeinterface_could_train_are_read(classifier, classes, tmp_path):
    found = load_model.load(
        folder_of(tmp_path / "m", fitted(classifier, ("scaler", StandardScaler()), classes=classes))
    )
    assert np.allclose(load_model.predict_proba(found, table()).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("field", "value"), [("left", 60_000), ("right", 0), ("feature_idx", 10_000), ("is_categorical", 1)]
)
def test_a_boosted_tree_that_points_outside_itself_is_refused(tmp_path, field, value):
    pipeline = fitted(HistGradientBoostingClassifier(max_iter=3))
    pipeline["classifier"]._predictors[0][0].nodes[field][0] = value
    refused(folder_of(tmp_path / "m", pipeline), "points outside its own nodes")


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 0), ("right_child", 2**30), ("feature", 5), ("feature", -7)]
)
@pytest.mark.parametrize("place", ["forest", "boosting", "stacked", "calibrated"])
def test_a_tree_that_points_outside_is_found_wherever_it_hides(place, field, value, tmp_path):
    from sklearn.calibration import CalibratedClassifierCV

    if place == "forest":
        pipeline = fitted(RandomForestClassifier(3))
        tree = pipeline["classifier"].estimators_[2].tree_
    elif place == "boosting":
        pipeline = fitted(GradientBoostingClassifier(n_estimators=3))
        tree = pipeline["classifier"].estimators_[1, 0].tree_
    elif place == "stacked":
        stack = StackingClassifier([("a", LogisticRegression())], final_estimator=RandomForestClassifier(2), cv=2)
        pipeline = fitted(stack)
        tree = pipeline["classifier"].final_estimator_.estimators_[1].tree_
    else:
        pipeline = fitted(CalibratedClassifierCV(RandomForestClassifier(2), cv=2))
        tree = pipeline["classifier"].calibrated_classifiers_[1].estimator.estimators_[0].tree_
    tamper(tree, field, value)
    refused(folder_of(tmp_path / "m", pipeline), "points outside its own nodes")


def test_a_forest_whose_trees_claim_other_widths_is_refused(tmp_path):
    pipeline = fitted(RandomForestClassifier(3))
    forest = pipeline["classifier"]
    forest.n_features_in_ = 100
    for tree in forest.estimators_[1:]:
        tree.n_features_in_ = 100
    tamper(forest.estimators_[1].tree_, "feature", 80)
    refused(folder_of(tmp_path / "m", pipeline), "do not fit")


def test_boosting_with_fewer_classes_than_trees_a_stage_is_refused(tmp_path):
    pipeline = fitted(GradientBoostingClassifier(n_estimators=2), classes=3)
    pipeline["classifier"].classes_ = np.array([0, 1])
    refused(folder_of(tmp_path / "m", pipeline), "parts of its GradientBoostingClassifier do not fit")


def test_a_support_vector_machine_with_altered_counts_is_refused(tmp_path):
    pipeline = fitted(SVC(probability=True))
    pipeline["classifier"]._n_support = pipeline["classifier"]._n_support + 100_000
    refused(folder_of(tmp_path / "m", pipeline), "parts of its SVC do not fit")


def test_steps_that_a_curation_model_does_not_have_are_refused_before_they_are_built(tmp_path):
    steps = ("scaler", RandomTreesEmbedding(n_estimators=2))
    refused(folder_of(tmp_path / "a", fitted(RandomForestClassifier(2), steps)), "holds .*RandomTreesEmbedding")
    search = GridSearchCV(RandomForestClassifier(2), {"max_depth": [2]}, cv=2)
    refused(folder_of(tmp_path / "b", fitted(search)), "holds .*GridSearchCV")
    steps = ("scaler", FunctionTransformer(np.save))
    pipeline = Pipeline([("imputer", SimpleImputer()), steps, ("classifier", LogisticRegression())])
    pipeline["imputer"].fit(table())
    pipeline["classifier"].fit(table(), np.arange(80) % 2)
    refused(folder_of(tmp_path / "c", pipeline), "refused")


def test_a_pointer_of_git_lfs_is_told_from_a_broken_file(tmp_path):
    path = folder_of(tmp_path / "m", fitted(LogisticRegression()))
    (path / "best_model.skops").write_text("version 1\noid sha256:4d7a\nsize 12345\n")
    refused(path, r"a pointer of Git LFS, not the model\. Fetch it: git lfs pull")


def test_a_file_that_unpacks_to_more_than_allowed_is_refused(tmp_path):
    path = folder_of(tmp_path / "m", fitted(LogisticRegression()))

    def bomb(content):
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(8_000_000))
        content["more.npy"] = buffer.getvalue()

    rewrite(path / "best_model.skops", bomb)
    with pytest.raises(InputError, match=r"unpacked it has 64 MB in .* --max-memory is 50"):
        load_model.load(path, max_memory=50)
    rewrite(
        path / "best_model.skops",
        lambda c: (c.pop("more.npy"), c.update({"schema.json": c["schema.json"] + b" " * 70_000_000})),
    )
    refused(path, r"its list of parts alone 70 MB")


def test_an_array_whose_header_claims_more_than_there_is_is_refused(tmp_path):
    path = folder_of(tmp_path / "m", fitted(LogisticRegression()))

    def claim(content):
        name = next(n for n in content if n.endswith(".npy"))
        content[name] = re.sub(rb"'shape': \(\d", b"'shape': (9", content[name], count=1)

    rewrite(path / "best_model.skops", claim)
    refused(path, "does not hold what its header says")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ([], "an object is expected"),
        ({"label_conversion": None}, "expected JSON with 'label_conversion'"),
        ({"thresholds": []}, None),
        ({"thresholds": [1]}, "'thresholds' is list"),
        ({"thresholds": {"class_1": "abc"}}, "threshold 'abc'"),
        ({"thresholds": None}, None),
        ({"scores": None}, None),
        ({"scores": 3}, "'scores' is int"),
        ({"calibration": {"slope": [[1]]}}, "calibration is incomplete"),
        ({"calibration": {"slope": [[1, 2]], "intercept": [0], "prior": [0.5, 0.5]}}, "'slope' does not fit 2 classes"),
        (
            {"calibration": {"slope": [[1]], "intercept": [0], "prior": [0.2, 0.3, 0.5]}},
            "'prior' does not fit 2 classes",
        ),
        ({"label_conversion": {"0": "noise", "1": "noise"}}, "two classes have the same name"),
        ({"label_conversion": {"0": "noise"}}, "the model has 0, 1"),
    ],
)
def test_model_info_of_another_shape_is_one_line_or_what_it_means(info, message, tmp_path):
    path = folder_of(tmp_path / "m", fitted(LogisticRegression()))
    content = json.loads((path / "model_info.json").read_text())
    (path / "model_info.json").write_text(json.dumps(content | info if isinstance(info, dict) else info))
    if message is None:
        assert load_model.describe(path)["classes"] == ["noise", "neural"]
    else:
        refused(path, message)


def test_classes_that_are_words_need_no_conversion_and_a_user_can_name_others(tmp_path):
    path = folder_of(tmp_path / "m", fitted(LogisticRegression(), labels=["good", "noise"]))
    assert load_model.load(path).classes == ("good", "noise")
    path = folder_of(tmp_path / "n", fitted(LogisticRegression()), label_conversion={"0": 0, "1": 1})
    assert load_model.load(path).classes == ("0", "1")
    assert load_model.load(path, ["0=noise", "1=neural"]).classes == ("noise", "neural")
    with pytest.raises(
        InputError, match=r"--class-names '7=good': expected CLASS=NAME with one of the model's classes 0, 1"
    ):
        load_model.load(path, ["7=good"])


def test_swapped_class_names_are_noticed(model, tmp_path):
    import shutil

    path = tmp_path / "m"
    shutil.copytree(model, path)
    info = json.loads((path / "model_info.json").read_text())
    info["label_conversion"] = {"0": "noise", "1": "mua", "2": "good"}
    (path / "model_info.json").write_text(json.dumps(info))
    found = load_model.describe(path)
    assert found["reproduces"] is False
    assert found["differs"] == ["class names (were good, mua, noise)", "model_info.json"]
    with pytest.raises(InputError, match="when it was made they were good, mua, noise"):
        load_model.load(path)
    assert load_model.load(path, ["0=good", "1=mua", "2=noise"]).classes == ("good", "mua", "noise")


def test_every_tree_of_a_vote_is_looked_at(tables, quick_train, tmp_path):
    outcome = quick_train([tables / "rec0.csv", tables / "rec1.csv"], tmp_path / "m", classifiers=["vote"])
    pipeline = outcome.trained.pipeline
    kinds = [type(value).__name__ for value, _ in check_model.parts(pipeline)]
    assert kinds.count("Tree") == 120
    assert kinds.count("TreePredictor") == 60 * 3
    check_model.check_parts(pipeline, Path("m"))


@pytest.mark.parametrize("conversion", [{"neural": 1, "noise": 0}, {"neural": "1", "noise": "0"}])
def test_a_label_conversion_written_the_other_way_round_is_read_as_it_means(conversion, tmp_path):
    folder = folder_of(tmp_path / "m", fitted(LogisticRegression()), label_conversion=conversion)
    assert load_model.load(folder).classes == ("noise", "neural")


def test_classes_of_true_and_false_have_the_names_of_1_and_0(tmp_path):
    folder = folder_of(tmp_path / "m", fitted(LogisticRegression(), labels=[False, True]))
    assert load_model.load(folder).classes == ("noise", "neural")
