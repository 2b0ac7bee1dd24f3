"""Labels, metrics, models and scores against hand-computed numbers, slow oracles and properties."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import balanced_accuracy_score, precision_score, roc_auc_score

from hdf5io import InputError
from unit_refine import simulate
from unit_refine.fit import train
from unit_refine.model import calibration, decisions, pipelines
from unit_refine.score import baselines, evaluate
from unit_refine.units import labels, metrics

# --- labels -------------------------------------------------------------------------------------------------------------------


def test_aliases_case_and_blanks_are_read():
    read, notices = labels.read_labels(
        [" Good", "SUA", "Multi-Unit", "artefact", "", None, float("nan")], "three_class", "f"
    )
    assert read == ["good", "good", "mua", "noise", "", "", ""]
    assert "'SUA' as good" in notices[0]


def test_an_unknown_label_is_named_with_its_count():
    with pytest.raises(InputError, match=r"f\.csv: unknown label 'odd' \(2 units\)"):
        labels.read_labels(["odd", "odd", "good"], "three_class", "f.csv")


def test_a_label_map_wins_over_the_usual_meaning():
    read, _ = labels.read_labels([0, 1], "noise_vs_neural", "f", labels.parse_label_map(["0=neural", "1=noise"]))
    assert read == ["neural", "noise"]
    assert labels.read_labels([0, 1.0], "noise_vs_neural", "f")[0] == ["noise", "neural"]


def test_a_class_without_units_is_an_error_that_says_which():
    with pytest.raises(InputError, match="none is noise; found good"):
        labels.encode(["good", "mua"], "three_class")


def test_units_outside_the_task_are_left_out_and_counted():
    encoded = labels.encode(["good", "noise", "mua", ""], "sua_vs_mua")
    assert encoded.classes == ("mua", "sua")
    assert encoded.y.tolist() == [1, -1, 0, -1]
    assert encoded.notices == [
        "1 units without a label left out",
        "1 units labelled 'noise' left out: no class of sua_vs_mua",
    ]


# --- metrics ------------------------------------------------------------------------------------------------------------------


def test_old_and_new_metric_names_are_one_round_trip_with_the_sign_turned():
    old = pd.DataFrame({"peak_to_valley": [2e-4], "half_width": [1e-4], "peak_trough_ratio": [-0.3], "snr": [5.0]})
    new = metrics.to_new_names(old)
    assert new["peak_after_to_trough_ratio"].tolist() == [0.3]
    pd.testing.assert_frame_equal(metrics.to_old_names(new), old)


def test_infinite_is_missing_and_text_in_a_metric_is_an_error():
    assert np.isnan(metrics.numeric(pd.DataFrame({"snr": [np.inf]}), "f").to_numpy()).all()
    with pytest.raises(InputError, match=r"f: column 'snr' holds 'high' \(row 3\)"):
        metrics.numeric(pd.DataFrame({"snr": ["1.0", "high"]}), "f")


def test_a_column_that_is_no_metric_is_not_used_even_if_numeric():
    table = pd.DataFrame({"snr": [1.0], "firing_rate": [1.0], "d_prime": [1.0], "is_noise": [0], "depth": [3.0]})
    names, notices = metrics.choose_columns([table], [], ["is_noise"])
    assert names == ["d_prime", "firing_rate", "snr"]
    assert "depth" in notices[0]


def test_a_column_that_is_the_label_in_disguise_is_found():
    y = np.array([0, 0, 1, 1])
    table = pd.DataFrame({"flag": [1.0, 1.0, 0.0, 0.0], "snr": [1.0, 2.0, 3.0, 2.5]})
    assert metrics.give_away(table, y) == ["flag"]


def make_table(n=40, m=8, seed=0):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, m)), columns=[f"m{i}" for i in range(m)])


def test_exact_and_near_copies_are_found_and_different_units_are_not():
    table = make_table()
    doubled = pd.concat([table, table, table * (1 + 1e-5)], ignore_index=True)
    groups = np.repeat(["a", "b", "c"], 40)
    original = metrics.duplicates(doubled, groups)
    assert (original[:40] == -1).all()
    assert original[40:80].tolist() == list(range(40))
    assert original[80:].tolist() == list(range(40))


def test_near_equal_units_of_one_recording_are_not_duplicates():
    table = pd.concat([make_table(), make_table() * (1 + 1e-5)], ignore_index=True)
    assert (metrics.duplicates(table, np.repeat("a", 80)) == -1).all()


def test_absent_pca_metrics_are_an_error_and_a_few_absent_others_are_filled():
    expected = ["snr", "firing_rate", "presence_ratio", "d_prime", "l_ratio", "sd_ratio", "spread", "exp_decay"]
    table = pd.DataFrame(1.0, index=range(3), columns=expected)
    assert metrics.match_model(table.drop(columns="sd_ratio"), expected, "f").absent == ["sd_ratio"]
    with pytest.raises(InputError, match="none of the model's PCA metrics"):
        metrics.match_model(table.drop(columns=["d_prime", "l_ratio"]), expected, "f")
    with pytest.raises(InputError, match="3 of the model's 8 metrics are absent"):
        metrics.match_model(table.drop(columns=["snr", "spread", "exp_decay"]), expected, "f")


def test_a_model_with_old_names_reads_a_table_with_new_names():
    table = pd.DataFrame({"peak_after_to_trough_ratio": [0.3], "snr": [1.0]})
    found = metrics.match_model(table, ["snr", "peak_trough_ratio"], "f").metrics
    assert found["peak_trough_ratio"].tolist() == [pytest.approx(-0.3)]


# --- scores -------------------------------------------------------------------------------------------------------------------


def random_scores(seed=0, n=300, k=3, groups=5):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    p = rng.dirichlet(np.ones(k), size=n) + np.eye(k)[y] * 0.4
    return y, p / p.sum(axis=1, keepdims=True), rng.integers(groups, size=n).astype(str)


@pytest.mark.parametrize("k", [2, 3])
def test_scores_equal_scikit_learns(k):
    y, p, groups = random_scores(k=k)
    found = evaluate.score(y, p, p, groups, [str(i) for i in range(k)], bootstraps=100)
    guess = p.argmax(axis=1)
    assert found.values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, guess))
    assert found.values["precision"] == pytest.approx(precision_score(y, guess, average="macro"))
    area = roc_auc_score(y, p[:, 1]) if k == 2 else roc_auc_score(y, p, multi_class="ovr")
    assert found.values["roc_auc"] == pytest.approx(area)
    assert found.values["ece"] == pytest.approx(evaluate.calibration_error(p, y))


def test_a_weighted_roc_area_equals_the_area_of_repeated_recordings():
    y, p, groups = random_scores(k=2, groups=3)
    blocks = groups.astype(int)
    parts = [
        (
            evaluate.pair_wins(p[:, 1], y == 1, blocks, 3),
            np.bincount(blocks[y == 1], minlength=3),
            np.bincount(blocks[y == 0], minlength=3),
        )
    ]
    rows = np.concatenate([np.flatnonzero(blocks == 0)] * 2 + [np.flatnonzero(blocks == 2)])
    assert evaluate.auc_of(np.array([[2.0, 0.0, 1.0]]), parts)[0] == pytest.approx(roc_auc_score(y[rows], p[rows, 1]))


def test_calibration_error_of_a_hand_computed_case():
    p1 = np.repeat([0.2, 0.8], 50)
    y = np.concatenate([np.ones(20, int), np.zeros(30, int), np.ones(35, int), np.zeros(15, int)])
    assert evaluate.calibration_error(np.column_stack([1 - p1, p1]), y) == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)


def test_the_prediction_interval_covers_a_new_recording_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.8, 0.05, size=(2000, 8))
    inside = [low <= row[-1] <= high for row in draws for low, high in [evaluate.new_recording_interval(row[:-1])]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("n_recordings", [2, 4, 7])
def test_the_interval_over_few_recordings_holds_the_truth_as_often_as_it_says(n_recordings):
    rng, inside = np.random.default_rng(0), []
    for seed in range(500):
        x = rng.normal(size=n_recordings)
        weights = evaluate.resample(np.arange(n_recordings), n_recordings, 300, seed).weights
        low, high = evaluate.interval(weights @ x / n_recordings, n_recordings, -9.0, 9.0)
        inside.append(low <= 0 <= high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)  # a bootstrap's own quantiles: .50, .80, .90


def test_a_score_that_no_resampling_has_has_no_interval_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(evaluate.interval(np.full(9, np.nan), 4)).all()


def test_the_opponent_is_not_the_one_that_was_luckier_on_the_scored_units():
    rng = np.random.default_rng(0)
    y, groups = np.tile([0, 1], 120), np.repeat(list("abcdefgh"), 30)

    def called(share):
        return np.where(rng.random(240) < share, y, 1 - y)

    def decided(ours, rule):
        return baselines.beside_both("a rule", y, called(ours), called(rule), groups, 2, 300, 0)

    skilled, useless, worse, failing = decided(0.95, 0.65), decided(0.5, 0.65), decided(0.2, 0.7), decided(0.5, 0.3)
    assert (skilled.baseline, skilled.low > 0) == ("a rule", True)  # beats both, the rule less clearly
    assert useless.low <= 0 <= useless.high  # one label for all is as good: no verdict, however lucky the rule
    assert worse.high < 0  # loses to both
    assert (failing.baseline, failing.low <= 0) == (
        baselines.ALWAYS,
        True,
    )  # a rule that fails on new units is no merit


def test_abstention_takes_the_least_sure_of_each_predicted_class():
    p1 = np.array([0.05, 0.1, 0.3, 0.45, 0.55, 0.9])
    left = decisions.abstain(np.column_stack([1 - p1, p1]), 0.5, 0.5)
    assert left.tolist() == [False, False, True, True, True, False]


def test_permutation_importance_finds_the_metric_that_matters_and_keeps_copies_together():
    rng = np.random.default_rng(0)
    y, groups = rng.integers(2, size=300), np.repeat(["a", "b", "c"], 100)
    signal = y * 2.0 + rng.normal(size=300)
    table = pd.DataFrame({"copy": signal * 3, "other": rng.normal(size=300), "signal": signal})
    held = train.hold_out(
        [pipelines.Setting("LogisticRegression", "median", "standard_scaler", {})], table, y, groups, 3, 0
    )
    rows = evaluate.permutation_importance(held, table, y, 0)
    assert rows[0]["metrics"] == ["copy", "signal"]
    assert rows[0]["drop"] > 0.2 > abs(rows[1]["drop"])


# --- calibration --------------------------------------------------------------------------------------------------------------


def test_the_sigmoid_recovers_known_odds():
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.01, 0.99, 40_000)
    true = 1 / (1 + np.exp(-(0.5 * np.log(raw / (1 - raw)) - 1)))
    y = (rng.random(len(raw)) < true).astype(int)
    found = calibration.fit_sigmoid(np.column_stack([1 - raw, raw]), y)
    assert found.slope[0, 0] == pytest.approx(0.5, abs=0.03)
    assert found.intercept[0] == pytest.approx(-1, abs=0.05)


def test_three_class_calibration_recovers_known_odds():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=30_000)
    world = calibration.Sigmoid(np.array([[0.5, 0.1], [0.0, 0.7]]), np.array([0.4, -0.8]), np.ones(3) / 3)
    true = calibration.apply_sigmoid(world, p)
    y = (rng.random((len(p), 1)) > true.cumsum(axis=1)).sum(axis=1)
    found = calibration.fit_sigmoid(p, y)
    assert np.allclose(found.slope, world.slope, atol=0.05)
    assert np.allclose(found.intercept, world.intercept, atol=0.06)
    assert evaluate.calibration_error(calibration.apply_sigmoid(found, p), y) < 0.02 < evaluate.calibration_error(p, y)


def test_em_finds_the_class_shares_of_new_data():
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.8).astype(int)
    x = rng.normal(y * 2.0)
    odds = np.exp(2 * x - 2)  # the exact posterior odds where both classes are equally frequent
    p = np.column_stack([1 / (1 + odds), odds / (1 + odds)])
    adapted, share = calibration.correct_prior(p, np.array([0.5, 0.5]))
    assert share[1] == pytest.approx(0.8, abs=0.02)
    assert evaluate.calibration_error(adapted, y) < 0.02 < evaluate.calibration_error(p, y)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(float, (6, 3), elements=st.floats(0, 1)))
def test_calibrated_probabilities_sum_to_one(raw):
    p = (raw + 1e-9) / (raw + 1e-9).sum(axis=1, keepdims=True)
    sigmoid = calibration.Sigmoid(np.eye(2) * 2, np.array([0.3, -1.0]), np.ones(3) / 3)
    assert np.allclose(calibration.apply_sigmoid(sigmoid, p).sum(axis=1), 1)


# --- models and folds -----------------------------------------------------------------------------------------------------------


def test_no_fold_has_a_recording_on_both_sides():
    groups = np.random.default_rng(0).integers(7, size=200).astype(str)
    y = np.random.default_rng(1).integers(2, size=200)
    parts = train.folds(y, groups, 20, 0)
    assert len(parts) == 7
    assert all(not set(groups[a]) & set(groups[b]) for a, b in parts)
    assert sorted(np.concatenate([b for _, b in parts])) == list(range(200))


def test_held_out_predictions_do_not_depend_on_the_labels_of_their_recording():
    rng = np.random.default_rng(0)
    table, y, groups = make_table(120, 5), rng.integers(2, size=120), np.repeat(["a", "b", "c"], 40)
    candidates = list(pipelines.settings(["LogisticRegression", "MLPClassifier"], ["median"], ["standard_scaler"], 2))
    before = train.hold_out(candidates, table, y, groups, 2, 0)
    flipped = np.where(groups == "b", 1 - y, y)
    after = train.hold_out(candidates, table, flipped, groups, 2, 0)
    assert np.array_equal(before.p[groups == "b"], after.p[groups == "b"])
    assert not np.array_equal(before.p[groups == "a"], after.p[groups == "a"])


def test_on_labels_that_mean_nothing_the_nested_score_is_chance():
    rng = np.random.default_rng(3)
    table, groups = make_table(240, 20, 3), np.repeat([str(i) for i in range(6)], 40)
    y = rng.integers(2, size=240)
    candidates = list(pipelines.settings(["LogisticRegression"], ["median"], ["standard_scaler", "robust_scaler"], 4))
    held = train.hold_out(candidates, table, y, groups, 3, 0)
    assert decisions.balanced_accuracy(y, decisions.decide(held.p)) == pytest.approx(0.5, abs=0.1)


def test_scaling_is_not_searched_for_trees():
    found = list(
        pipelines.settings(["vote", "LogisticRegression"], ["median"], ["standard_scaler", "robust_scaler"], 1)
    )
    assert [s.classifier for s in found] == ["vote", "LogisticRegression", "LogisticRegression"]


@pytest.mark.parametrize(
    "name", ["vote", "RandomForestClassifier", "GradientBoostingClassifier", "LogisticRegression", "MLPClassifier"]
)
def test_every_classifier_finds_a_rare_class(name):
    rng = np.random.default_rng(0)
    y = (rng.random(600) < 0.1).astype(int)
    table = pd.DataFrame(rng.normal(size=(600, 4)) + 1.3 * y[:, None], columns=list("abcd"))
    table[rng.random(table.shape) < 0.1] = np.nan
    setting = pipelines.Setting(name, "median", "standard_scaler", pipelines.SETTINGS[name][0])
    fitted = pipelines.fit(setting, table.iloc[:400], y[:400], 0)
    guess = fitted.predict(table.iloc[400:])
    assert [step for step, _ in fitted.steps] == ["imputer", "scaler", "classifier"]
    assert np.mean(guess[y[400:] == 1] == 1) > 0.55


@pytest.mark.parametrize("imputation", ["median", "mean", "most_frequent", "knn"])
@pytest.mark.parametrize("scaling", ["standard_scaler", "robust_scaler", "min_max_scaler"])
def test_every_imputation_and_scaling_gives_probabilities_despite_missing_and_huge_values(imputation, scaling):
    table = make_table(80, 5)
    table.iloc[::7, 1], table.iloc[3, 2] = np.nan, 3e15
    y = (table["m0"] > 0).astype(int).to_numpy()
    p = pipelines.fit(pipelines.Setting("LogisticRegression", imputation, scaling, {}), table, y, 0).predict_proba(
        table
    )
    assert np.allclose(p.sum(axis=1), 1)
    assert np.mean(p.argmax(axis=1) == y) > 0.85


def test_a_threshold_is_used_only_when_others_recordings_gain_from_it():
    rng = np.random.default_rng(0)
    y, groups = rng.integers(2, size=600), np.repeat([str(i) for i in range(6)], 100)
    p1 = np.clip(0.5 * y + rng.uniform(0, 0.5, 600), 0, 1)
    fair = np.column_stack([1 - p1, p1])
    assert train.tune_threshold(fair, y, groups)[0] == 0.5
    shifted = np.column_stack([1 - 0.7 * p1, 0.7 * p1])
    threshold, gain = train.tune_threshold(shifted, y, groups)
    assert threshold < 0.45
    assert gain > 0.1


def test_the_threshold_is_what_the_saved_pipeline_decides_by():
    table = make_table(100, 3)
    y = (table["m0"] > 0).astype(int).to_numpy()
    setting = pipelines.Setting("LogisticRegression", "median", "standard_scaler", {})
    fitted = pipelines.fit(setting, table, y, 0, threshold=0.3)
    assert np.array_equal(fitted.predict(table), decisions.decide(fitted.predict_proba(table), 0.3))


def test_simulated_classes_are_told_apart_but_not_perfectly():
    table = simulate.metric_table(900, 0.0, np.random.default_rng(0))
    y = np.array([simulate.CLASSES.index(c) for c in table["label"]])
    x = table.drop(columns=["unit_id", "label"])
    fitted = pipelines.fit(pipelines.Setting("vote", "median", "standard_scaler", {}), x[:600], y[:600], 0)
    score = decisions.balanced_accuracy(y[600:], fitted.predict(x[600:]))
    assert 0.75 < score < 0.97


def test_class_shares_are_corrected_from_an_unequal_training_prior():
    """Probabilities that belong to shares of .2 and .8, units that are half and half: the shares must be found."""
    rng, prior = np.random.default_rng(0), np.array([0.2, 0.8])
    x = np.concatenate([rng.normal(-1, 1, 4000), rng.normal(1, 1, 4000)])
    odds = prior[1] / prior[0] * np.exp(2 * x)
    p = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)
    adapted, shares = calibration.correct_prior(p, prior)
    assert np.allclose(shares, 0.5, atol=0.02)
    assert np.allclose(adapted[:, 1], 1 / (1 + np.exp(-2 * x)), atol=0.03)
