"""A base model and a few labels of a new recording: ``train --add``."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hdf5io.errors import InputError, WorkFailed
from unit_refine import train_model
from unit_refine.files import load_model
from unit_refine.fit import add
from unit_refine.fit.train import part_of
from unit_refine.model import pipelines
from unit_refine.model.pipelines import Setting
from unit_refine.score import evaluate
from unit_refine.score.outcome import more_labels
from unit_refine.units.assemble import Units

LOGISTIC = Setting("LogisticRegression", "median", "standard_scaler", {})


@pytest.fixture(scope="module")
def labels(tables, tmp_path_factory):
    """Return a Phy label file with 30 of the fourth recording's units."""
    path = tmp_path_factory.mktemp("labels") / "cluster_group.tsv"
    whole = pd.read_csv(tables / "group3.tsv", sep="\t")
    whole.sample(30, random_state=0).to_csv(path, sep="\t", index=False)
    return path


def train_on(run_command, model, tables, labels, folder, *options):
    return run_command(
        "unit_refine", "train", "--add", model, tables / "bare3.csv", "--labels", labels,
        "--classifiers", "LogisticRegression", "--bootstraps", "100", "--output", folder, *options,
    )  # fmt: skip


def test_a_few_labels_are_added_to_a_base_model(tables, model, labels, run_command, tmp_path):
    answer = train_on(run_command, model, tables, labels, tmp_path / "more", "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)["results"]
    base = len(pd.read_csv(model / "training_data.csv"))
    assert (found["n_units"], found["added"]["n_labels"]) == (base + 30, 30)
    assert found["answer"]["against"] == "the base model"
    assert found["n_recordings"] == 4
    held = pd.read_csv(tmp_path / "more" / "held_out_predictions.csv")
    assert held.groupby("recording")["weight"].unique().map(list).to_dict()["bare3"] == [add.WEIGHT]
    again = train_on(run_command, tmp_path / "more", tables, labels, tmp_path / "twice", "--json")
    assert again.returncode == 0, again.stderr
    assert (
        json.loads(again.stdout)["results"]["n_units"] == base + 30
    )  # the same units, labelled anew, replace the old ones
    assert "30 units of the base model are labelled anew and replaced" in again.stderr


def test_what_does_not_fit_the_base_model_is_refused(tables, model, labels, run_command, tmp_path):
    for options, told in (
        (["--task", "sua_vs_mua"], "--task is sua_vs_mua"),
        (["--metric-names", "snr,firing_rate"], "leave --metric-names away"),
    ):
        answer = train_on(run_command, model, tables, labels, tmp_path / "no", *options)
        assert answer.returncode == 2
        assert told in answer.stderr
        assert not (tmp_path / "no").exists()


def test_weights_count_within_a_class():
    """A unit that weighs three is three units."""
    rng = np.random.default_rng(0)
    metrics = pd.DataFrame(rng.normal(size=(80, 3)).astype("float32"), columns=["snr", "d_prime", "l_ratio"])
    y = (metrics["snr"] + rng.normal(size=80) > 0).astype(int).to_numpy()
    weight = np.where(np.arange(80) < 20, 3.0, 1.0)
    rows = np.repeat(np.arange(80), weight.astype(int))
    setting = Setting(
        "GradientBoostingClassifier", "median", "standard_scaler", {"subsample": 1.0, "max_features": None}
    )
    for s in (LOGISTIC, setting):
        one = pipelines.fit(s, metrics, y, 0, weight=weight)
        scale = np.bincount(y) / np.bincount(y, weights=weight)  # the scale of a class's weights is that of its units
        assert pipelines.within_classes(weight, y)[:20].mean() == pytest.approx(np.mean(3 * scale[y[:20]]))
        three = pipelines.fit(s, metrics.iloc[rows], y[rows], 0)
        assert np.mean(one.predict(metrics) == three.predict(metrics)) > 0.9


@pytest.mark.parametrize("name", ["GradientBoostingClassifier", "LogisticRegression", "vote"])
def test_a_threshold_goes_with_weights(name):
    rng = np.random.default_rng(0)
    metrics = pd.DataFrame(rng.normal(size=(60, 3)).astype("float32"), columns=["snr", "d_prime", "l_ratio"])
    y = (metrics["snr"] > 0).astype(int).to_numpy()
    setting = Setting(name, "median", "standard_scaler", {})
    plain = pipelines.fit(setting, metrics, y, 0, weight=np.ones(60))
    tuned = pipelines.fit(setting, metrics, y, 0, 0.7, np.ones(60))
    p = pipelines.probabilities(plain, metrics, 2)
    assert np.array_equal(pipelines.probabilities(tuned, metrics, 2), p)
    assert np.array_equal(tuned.predict(metrics), (p[:, 1] >= 0.7).astype(int))


def shifted(n_recordings, n_units, seed):
    """Return units whose new recording calls good what the others call multi-unit: its labels must help."""
    rng = np.random.default_rng(seed)
    metrics = pd.DataFrame(rng.normal(size=(n_recordings * n_units, 2)).astype("float32"), columns=["snr", "d_prime"])
    groups = np.repeat([f"r{i}" for i in range(n_recordings)], n_units)
    y = (metrics["snr"] > np.where(groups == f"r{n_recordings - 1}", 1.0, 0.0)).astype(int).to_numpy()
    added = groups == f"r{n_recordings - 1}"
    return Units(
        metrics,
        y,
        ("mua", "sua"),
        list(map(str, range(len(y)))),
        groups,
        None,
        {},
        [],
        0,
        np.where(added, add.WEIGHT, 1),
        added,
    )


def test_added_units_are_judged_without_their_own_label():
    units = shifted(3, 120, 0)
    p = add.adapted(units, LOGISTIC, 0)
    assert np.isnan(p[~units.added]).all()
    base = pipelines.fit(LOGISTIC, units.metrics[~units.added], units.y[~units.added], 0)
    theirs = pipelines.probabilities(base, units.metrics[units.added], 2)
    truth = units.y[units.added]
    assert np.mean(p[units.added].argmax(axis=1) == truth) > np.mean(theirs.argmax(axis=1) == truth)
    other = units._replace(y=np.where(np.arange(len(units.y)) == len(units.y) - 1, 1 - units.y, units.y))
    changed = add.adapted(other, LOGISTIC, 0)
    assert np.array_equal(p[-1], changed[-1])  # its label takes no part in its own probability


def test_the_forecast_of_more_labels_is_a_gain_on_other_recordings():
    units = shifted(6, 240, 1)
    held = np.tile([0.5, 0.5], (len(units.y), 1))
    found = add.forecast(units, LOGISTIC, held, 20, 0)
    assert len(found.gains) == 5
    assert abs(found.gain) < 0.02  # the others are alike: more labels of one of them add nothing
    assert add.forecast(units, LOGISTIC, held, 200, 0) is None  # no half has so many


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        ((0.03, 0.031, 0.029, 0.03), "go on"),
        ((0.001, 0.0, -0.001, 0.0), "they would not pay"),
        ((0.05, -0.03, 0.02, 0.0), "whether they pay here cannot be told"),
        ((0.05, 0.05), "cannot be told from 2 recordings"),
    ],
)
def test_what_more_labels_add_here_is_said_as_an_interval_for_one_recording(gains, told):
    outcome = SimpleNamespace(more=add.Forecast(gains))
    line = more_labels(outcome)
    assert told in line
    low, high = evaluate.prediction_interval(gains)
    assert (f"{low:+.3f} to {high:+.3f}" in line) == (len(gains) > 2)
    assert more_labels(SimpleNamespace(more=None)) == ""


def test_a_prediction_interval_holds_one_further_value_as_often_as_it_says():
    drawn = np.random.default_rng(0).normal(size=(2000, 6))
    held = [low <= row[5] <= high for row in drawn for low, high in [evaluate.prediction_interval(row[:5])]]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_weights_are_cut_like_rows():
    assert part_of(None, np.array([1])) is None
    assert part_of(np.array([1.0, 2.0]), np.array([1])).tolist() == [2.0]


def test_a_base_model_without_its_units_is_refused(tables, model, labels, run_command, tmp_path):
    shutil.copytree(model, tmp_path / "bare")
    (tmp_path / "bare" / "labels.csv").unlink()
    answer = train_on(run_command, tmp_path / "bare", tables, labels, tmp_path / "no")
    assert answer.returncode == 2
    assert "labels.csv" in answer.stderr
    assert load_model.load(tmp_path / "bare").classes == ("good", "mua", "noise")


@pytest.mark.parametrize(
    ("classifiers", "imputation"),
    [
        ({"LogisticRegression": {"C": stats.uniform(0.1, 2.0)}}, "iterative"),
        ({"SVC": {"C": [0.5], "kernel": ["rbf"], "probability": [True]}}, "median"),
        (
            {"RandomForestClassifier": {"n_estimators": stats.randint(10, 20), "class_weight": ["balanced_subsample"]}},
            "median",
        ),
    ],
)
def test_search_spaces_as_spikeinterface_takes_them(classifiers, imputation, tables, tmp_path):
    y = pd.read_csv(tables / "rec0.csv")["label"].tolist(), pd.read_csv(tables / "rec1.csv")["label"].tolist()
    given = {
        "mode": "csv",
        "labels": y,
        "metrics_paths": [tables / "bare0.csv", tables / "bare1.csv"],
        "bootstraps": 100,
        "seed": 3,
    }
    given |= {
        "search_kwargs": {"cv": 2, "n_iter": 2, "scoring": "balanced_accuracy"},
        "imputation_strategies": [imputation],
    }
    outcome = train_model(folder=tmp_path / "a", classifiers=classifiers, verbose=False, n_jobs=1, **given)
    name, space = next(iter(classifiers.items()))
    assert (outcome.trained.setting.classifier, len(outcome.trained.table)) == (name, 2)
    assert set(outcome.trained.setting.params) == set(space)
    loaded = load_model.load(tmp_path / "a")
    p = load_model.predict_proba(loaded, outcome.units.metrics)
    assert np.allclose(p, outcome.best_pipeline.predict_proba(outcome.units.metrics))
    assert np.array_equal(p.argmax(axis=1), outcome.best_pipeline.predict(outcome.units.metrics))
    again = train_model(folder=tmp_path / "b", classifiers=classifiers, **given)
    assert again.trained.setting == outcome.trained.setting


@pytest.mark.parametrize(
    ("classifiers", "told"),
    [
        (["XGBClassifier"], "XGBClassifier: its models cannot be loaded"),
        ({"SVC": {"depth": [1]}}, "SVC has no parameter 'depth'"),
        ({"SVC": {"C": 1.0}}, "'C' needs a list"),
        ({"LogisticRegression": {"solver": ["nonsense"]}}, "LogisticRegression with"),
    ],
)
def test_a_search_space_that_cannot_be_is_refused(classifiers, told, tables, tmp_path):
    y = [pd.read_csv(tables / "rec0.csv")["label"].tolist()]
    with pytest.raises((InputError, WorkFailed), match=told):
        train_model(
            mode="csv", labels=y, metrics_paths=[tables / "bare0.csv"], folder=tmp_path / "m", classifiers=classifiers,
            search_kwargs={"n_iter": 1}, bootstraps=100,
        )  # fmt: skip
    assert not (tmp_path / "m").exists()
