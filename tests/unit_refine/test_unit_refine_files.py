"""Model folders, forged models, Phy and curation files, joining, duplicates, determinism."""

import json
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest

import hdf5io
from hdf5io.errors import InputError
from unit_refine import train_model
from unit_refine.config import EvaluateConfig, PredictConfig, SuggestConfig, TrainConfig
from unit_refine.files import curation, label_files, load_model, phy, recordings, save_model
from unit_refine.score import compare, predict, suggest
from unit_refine.units.assemble import assemble


def read(paths, **options):
    config = TrainConfig(inputs=paths, **options)
    found, _ = recordings.read_all(config)
    return assemble(found, config, config.task, config.metric_names, config.duplicates)


# --- joining ------------------------------------------------------------------------------------------------------------------


def test_labels_are_joined_by_unit_id_whatever_the_order_of_rows_and_columns(tables, tmp_path):
    table = pd.read_csv(tables / "rec0.csv").sample(frac=1, random_state=0)
    table[table.columns[::-1]].to_csv(tmp_path / "rec0.csv", index=False)
    groups = pd.read_csv(tables / "group0.tsv", sep="\t").sample(frac=1, random_state=1)
    groups.to_csv(tmp_path / "g.tsv", sep="\t", index=False)
    straight = read([tables / "rec0.csv"], label_column="label")
    shuffled = read([tmp_path / "rec0.csv"], label_column="label")
    table.drop(columns="label").to_csv(tmp_path / "rec0.csv", index=False)
    joined = read([tmp_path / "rec0.csv"], labels=[tmp_path / "g.tsv"])
    for other in (shuffled, joined):
        pd.testing.assert_frame_equal(other.metrics, straight.metrics)
        assert np.array_equal(other.y, straight.y)
        assert other.unit_ids == straight.unit_ids


def test_label_files_of_another_recording_are_refused(tables, tmp_path):
    groups = pd.read_csv(tables / "group0.tsv", sep="\t")
    groups.assign(cluster_id=groups["cluster_id"] + 50).to_csv(tmp_path / "g.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="10 of its 60 unit ids are units of"):
        read([tables / "bare0.csv"], labels=[tmp_path / "g.tsv"])


def test_a_doubled_file_is_removed_with_a_notice_or_refused(tables, tmp_path):
    shutil.copy(tables / "rec0.csv", tmp_path / "again.csv")
    paths = [tables / "rec0.csv", tables / "rec1.csv", tmp_path / "again.csv"]
    units = read(paths, label_column="label")
    assert units.n_duplicates == 60
    assert len(units.y) == 120
    assert any("60 units stand in the data more than once" in n for n in units.notices)
    with pytest.raises(InputError, match="60 units stand in the data more than once"):
        read(paths, label_column="label", duplicates="refuse")


def test_an_all_missing_metric_is_left_out_by_name(tables, tmp_path):
    pd.read_csv(tables / "rec0.csv").assign(drift_ptp=np.nan).to_csv(tmp_path / "r.csv", index=False)
    units = read([tmp_path / "r.csv"], label_column="label")
    assert "drift_ptp" not in units.metrics
    assert "metrics missing for every unit left out: drift_ptp" in units.notices


def test_groups_and_animals_come_from_columns_or_the_file_name(tables):
    units = read([tables / "rec0.csv", tables / "rec1.csv"], label_column="label", animal_by="rec([0-9])")
    assert sorted(set(units.groups)) == ["rec0", "rec1"]
    assert sorted(set(units.animals)) == ["0", "1"]
    with pytest.raises(InputError, match="no match in its name"):
        read([tables / "rec0.csv"], label_column="label", animal_by="mouse")


# --- model folder ---------------------------------------------------------------------------------------------------------------


def test_a_model_folder_has_the_files_spikeinterface_and_unitrefine_write(model):
    names = {p.name for p in model.iterdir()}
    assert {"best_model.skops", "model_info.json", "model_accuracies.csv", "training_data.csv", "labels.csv"} <= names
    assert {"probe_set.json", "README.md", "report.html", "result.json"} <= names
    info = json.loads((model / "model_info.json").read_text())
    assert {"metric_params", "requirements", "label_conversion"} <= set(info)
    assert info["label_conversion"] == {"0": "good", "1": "mua", "2": "noise"}
    assert pd.read_csv(model / "training_data.csv").columns[0] == "unit_id"
    assert list(pd.read_csv(model / "labels.csv").columns) == ["unit_index", "0"]
    expected = [
        "classifier name",
        "imputation_strategy",
        "scaling_strategy",
        "balanced_accuracy",
        "precision",
        "recall",
        "model_id",
        "best_params",
    ]
    assert list(pd.read_csv(model / "model_accuracies.csv", index_col=0).columns) == expected
    assert len(list((model / "figures").glob("*.png"))) == 7


def test_saving_and_loading_changes_no_probability(model, tables, quick_train, tmp_path):
    outcome = quick_train(
        [tables / "rec0.csv", tables / "rec1.csv"], tmp_path / "m", classifiers=["vote"], allow_small=True
    )
    loaded = load_model.load(tmp_path / "m")
    again = load_model.predict_proba(loaded, outcome.units.metrics)
    assert np.array_equal(again, outcome.trained.pipeline.predict_proba(outcome.units.metrics))
    assert load_model.replay(loaded) == 0


@pytest.mark.parametrize(
    "name", ["RandomForestClassifier", "GradientBoostingClassifier", "LogisticRegression", "MLPClassifier"]
)
def test_every_classifier_is_loaded_under_the_fixed_list_of_types(name, tables, quick_train, tmp_path):
    quick_train(
        [tables / "rec0.csv", tables / "rec1.csv"], tmp_path / "m", classifiers=[name], imputation_strategies=["knn"]
    )
    assert load_model.describe(tmp_path / "m")["reproduces"]


class Foreign:
    """A type that no curation model needs."""

    def __init__(self):
        self.x = 1


def test_a_foreign_type_is_refused_by_name(model, tmp_path):
    from sklearn.pipeline import Pipeline
    from skops import io as skops_io

    shutil.copy(model / "model_info.json", tmp_path)
    skops_io.dump(Pipeline([("classifier", Foreign())]), tmp_path / "best_model.skops")
    with pytest.raises(InputError, match=r"refused, it holds .*Foreign.*Nothing of it was executed"):
        load_model.load(tmp_path)


def test_a_model_with_the_attribute_names_of_an_older_scikit_learn_answers_alike(model, tables, tmp_path):
    shutil.copytree(model, tmp_path / "m")
    loaded = load_model.load(tmp_path / "m")
    imputer = loaded.pipeline["imputer"]
    del imputer._fill_dtype  # 1.5 and 1.6 wrote _fit_dtype only
    save_model.dump(loaded.pipeline, tmp_path / "m" / "best_model.skops")
    again = load_model.load(tmp_path / "m")
    assert again.pipeline["imputer"]._fill_dtype == imputer._fit_dtype
    assert load_model.replay(again) == 0


def test_a_saved_model_is_the_same_bytes_on_another_day_and_at_other_addresses(model, tmp_path):
    loaded = [load_model.load(model).pipeline for _ in range(2)]  # both live: their objects have different addresses
    for name, pipeline in zip("ab", loaded):
        save_model.dump(pipeline, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (model / "best_model.skops").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert {member.date_time[0] for member in archive.infolist()} == {1980}


def test_a_schema_that_names_a_system_function_is_refused(model, tmp_path):
    shutil.copytree(model, tmp_path / "m")
    path = tmp_path / "m" / "best_model.skops"
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(content["schema.json"])
    schema["content"] = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": "os.system",
        "__id__": 1,
    }
    content["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    with pytest.raises(InputError, match=r"refused, it holds|not readable"):
        load_model.load(tmp_path / "m")


def test_a_changed_probe_set_is_noticed(model, tmp_path):
    shutil.copytree(model, tmp_path / "m")
    probe = json.loads((tmp_path / "m" / "probe_set.json").read_text())
    probe["probabilities"][0][0] += 0.01
    (tmp_path / "m" / "probe_set.json").write_text(json.dumps(probe))
    found = load_model.describe(tmp_path / "m")
    assert found["reproduces"] is False
    assert found["probe_set_change"] == pytest.approx(0.01)


# --- prediction -------------------------------------------------------------------------------------------------------------------


def predictions(model, path, **options):
    return predict.predict_inputs(PredictConfig(model=model, inputs=[path], **options)).table


def test_predictions_do_not_depend_on_the_order_of_rows_and_columns(model, tables, tmp_path):
    table = pd.read_csv(tables / "bare3.csv").sample(frac=1, random_state=0)
    table[table.columns[::-1]].to_csv(tmp_path / "bare3.csv", index=False)
    straight = predictions(model, tables / "bare3.csv").set_index("unit_id")
    shuffled = predictions(model, tmp_path / "bare3.csv").set_index("unit_id").loc[straight.index]
    pd.testing.assert_frame_equal(straight, shuffled)


def test_probabilities_sum_to_one_and_the_label_is_the_most_probable(model, tables):
    table = predictions(model, tables / "bare3.csv")
    for prefix in ("p_", "calibrated_"):
        part = table[[c for c in table if c.startswith(prefix)]]
        assert np.allclose(part.sum(axis=1), 1)
    p = table[["p_good", "p_mua", "p_noise"]]
    assert (p.idxmax(axis=1).str.removeprefix("p_") == table["predicted_quality"]).all()
    assert np.allclose(p.max(axis=1), table["prediction_confidence"])


def test_prior_correction_changes_probabilities_and_no_label(model, tables):
    plain, adapted = (predictions(model, tables / "bare3.csv", prior_correction=c) for c in (False, True))
    assert (plain["predicted_quality"] == adapted["predicted_quality"]).all()
    assert not np.allclose(plain["calibrated_good"], adapted["calibrated_good"])


def test_abstaining_says_why(model, tables):
    table = predictions(model, tables / "bare3.csv", abstain=0.2, min_confidence=0.5)
    assert set(table.loc[table["abstained"], "why"]) <= {
        "confidence below 0.5",
        "among the least confident 20% of its class",
    }
    assert (table.loc[~table["abstained"], "why"] == "").all()
    assert table["abstained"].mean() >= 0.15


def test_the_cascade_gives_the_first_model_the_noise_and_the_second_the_rest(tables, quick_train, tmp_path):
    inputs = [tables / f"rec{i}.csv" for i in range(3)]
    quick_train(inputs, tmp_path / "noise", task="noise_vs_neural")
    quick_train(inputs, tmp_path / "sua", task="sua_vs_mua")
    both = predictions(tmp_path / "noise", tables / "bare3.csv", cascade=tmp_path / "sua")
    first, second = (predictions(tmp_path / name, tables / "bare3.csv") for name in ("noise", "sua"))
    assert (
        both["predicted_quality"]
        == first["predicted_quality"].where(first["predicted_quality"] == "noise", second["predicted_quality"])
    ).all()
    assert np.allclose(both[["p_noise", "p_mua", "p_sua"]].sum(axis=1), 1)
    with pytest.raises(InputError, match="expected a noise_vs_neural model, then a sua_vs_mua model"):
        predictions(tmp_path / "sua", tables / "bare3.csv", cascade=tmp_path / "noise")


def test_scoring_units_of_the_training_set_is_warned_of(model, tables, caplog):
    config = EvaluateConfig(model=model, inputs=[tables / "rec0.csv"], label_column="label")
    compare.evaluate_model(load_model.load(model), config, 100, 0)
    assert any("60 of 60 units are units the model was trained on" in m for m in caplog.messages)


def test_a_held_out_recording_scores_within_the_interval_the_model_promised(model, tables):
    config = EvaluateConfig(model=model, inputs=[tables / "rec3.csv"], label_column="label")
    found = compare.evaluate_model(load_model.load(model), config, 100, 0)
    promised = load_model.load(model).info["scores"]
    assert promised["new_recording_low"] <= found.scores.values["balanced_accuracy"] <= promised["new_recording_high"]


def test_suggested_units_are_unsure_and_unlike_each_other(model, tables):
    table = suggest.suggest(SuggestConfig(model=model, inputs=[tables / "bare3.csv"], n_units=10))
    everyone = predictions(model, tables / "bare3.csv")
    assert table["unit_id"].is_unique
    assert table["prediction_confidence"].mean() < everyone["prediction_confidence"].mean()


def test_copies_of_a_suggested_unit_are_not_suggested():
    points = np.array([[0.0], [0.0], [0.5], [1.0]])
    assert suggest.spread_out(np.array([0.9, 0.9, 0.5, 0.4]), points, 3) == [0, 3, 2]


# --- determinism ------------------------------------------------------------------------------------------------------------------


def test_workers_and_order_of_files_do_not_change_the_model(tables, quick_train, tmp_path):
    inputs = [tables / f"rec{i}.csv" for i in range(3)]
    options = {"classifiers": ["RandomForestClassifier", "LogisticRegression"], "cv_folds": 2}
    one = quick_train(inputs, tmp_path / "a", jobs=1, **options)
    two = quick_train(inputs[::-1], tmp_path / "b", jobs=2, max_memory=2000, **options)
    assert np.array_equal(one.trained.held_out.p, two.trained.held_out.p)
    assert np.array_equal(
        one.trained.pipeline.predict_proba(one.units.metrics), two.trained.pipeline.predict_proba(one.units.metrics)
    )


def test_a_failed_training_leaves_nothing_behind(tables, tmp_path):
    def fail():
        with save_model.staging(tmp_path / "new" / "m") as part:
            (part / "x").write_text("1")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert list(tmp_path.iterdir()) == []


# --- Phy and curation ---------------------------------------------------------------------------------------------------------------


def test_a_phy_folder_is_read_with_its_labels(phy_folder, tables):
    recording = recordings.read_recording(phy_folder, TrainConfig(inputs=[phy_folder]))
    table = pd.read_csv(tables / "rec3.csv")
    assert recording.unit_ids == [str(i) for i in table["unit_id"]]
    assert recording.labels == table["label"].tolist()


def test_metrics_are_read_from_the_files_spikeinterface_exports_to_phy(phy_folder, tables):
    table = pd.read_csv(phy_folder / "quality_metrics.csv").rename(columns={"unit_id": "cluster_id"})
    (phy_folder / "quality_metrics.csv").unlink()
    for name in ("snr", "d_prime", "firing_rate"):
        table[["cluster_id", name]].to_csv(phy_folder / f"cluster_{name}.tsv", sep="\t", index=False)
    recording = recordings.read_recording(phy_folder, TrainConfig(inputs=[phy_folder]))
    assert sorted(recording.table.columns) == ["d_prime", "firing_rate", "snr"]
    assert np.allclose(recording.table["snr"], table["snr"])


def test_groups_that_repeat_kilosorts_labels_are_no_curation(phy_folder, caplog):
    groups = pd.read_csv(phy_folder / "cluster_group.tsv", sep="\t")
    groups.rename(columns={"group": "KSLabel"}).to_csv(phy_folder / "cluster_KSLabel.tsv", sep="\t", index=False)
    assert recordings.read_recording(phy_folder, TrainConfig(inputs=[phy_folder])).labels is None
    assert any("not curated by a person" in m for m in caplog.messages)


def test_a_persons_label_is_never_overwritten_and_the_old_file_is_kept(phy_folder, model, tables):
    old = pd.read_csv(phy_folder / "cluster_group.tsv", sep="\t")
    old.loc[10:, "group"] = "unsorted"
    old.to_csv(phy_folder / "cluster_group.tsv", sep="\t", index=False)
    before = (phy_folder / "cluster_group.tsv").read_bytes()
    table = predictions(model, tables / "bare3.csv", abstain=0.1)
    written = phy.export(phy_folder, table, write_group=True, overwrite=False)
    assert (phy_folder / "cluster_group.tsv.backup").read_bytes() == before
    new = pd.read_csv(phy_folder / "cluster_group.tsv", sep="\t").set_index("cluster_id")["group"]
    assert (new.loc[range(10)] == old["group"][:10].to_numpy()).all()
    filled = table[10:][~table["abstained"][10:]]
    assert written["n_groups_written"] == len(filled)
    assert (new.loc[filled["unit_id"].astype(int)].to_numpy() == filled["predicted_quality"].to_numpy()).all()


def test_predictions_come_back_from_phy(phy_folder, model, tables):
    (phy_folder / "cluster_group.tsv").unlink()
    table = predictions(model, tables / "bare3.csv")
    phy.export(phy_folder, table, write_group=True, overwrite=False)
    assert (
        recordings.read_recording(phy_folder, TrainConfig(inputs=[phy_folder])).labels
        == table["predicted_quality"].tolist()
    )
    back = pd.read_csv(phy_folder / "cluster_unit_refine.tsv", sep="\t")
    assert back["unit_refine"].tolist() == table["predicted_quality"].tolist()
    phy.export(phy_folder, table, write_group=False, overwrite=False)  # the same once more, as after a kill
    with pytest.raises(InputError, match="exists already"):
        phy.export(phy_folder, table.assign(predicted_quality="mua"), write_group=False, overwrite=False)


def test_a_curation_file_goes_out_and_comes_back_and_spikeinterface_accepts_it(model, tables, tmp_path):
    table = predictions(model, tables / "bare3.csv", abstain=0.1)
    content = curation.make(table)
    hdf5io.write_json(tmp_path / "c.json", content)
    kept = table[~table["abstained"]]
    assert label_files.read_label_file(tmp_path / "c.json").labels == dict(
        zip(kept["unit_id"], kept["predicted_quality"])
    )
    formats = pytest.importorskip("spikeinterface.curation.curation_format")
    formats.validate_curation_dict(content)
    vectors = formats.curation_label_to_vectors(content)
    assert vectors["quality"].tolist() == table["predicted_quality"].where(~table["abstained"], "").tolist()


# --- Python -------------------------------------------------------------------------------------------------------------------------


def test_train_model_takes_labels_by_position_or_by_unit_id(tables, tmp_path):
    paths = [tables / "bare0.csv", tables / "bare1.csv"]
    given = [pd.read_csv(tables / f"rec{i}.csv") for i in (0, 1)]
    options = {
        "classifiers": ["LogisticRegression"],
        "imputation_strategies": ["median", "mean"],
        "scaling_techniques": ["standard_scaler"],
        "bootstraps": 100,
    }
    by_place = train_model(
        mode="csv", labels=[t["label"].tolist() for t in given], metrics_paths=paths, folder=tmp_path / "a", **options
    )
    by_id = train_model(
        mode="csv",
        labels=[dict(zip(t["unit_id"], t["label"])) for t in given],
        metrics_paths=paths,
        folder=tmp_path / "b",
        **options,
    )
    assert np.array_equal(by_place.trained.held_out.p, by_id.trained.held_out.p)
    assert len(pd.read_csv(tmp_path / "a" / "model_accuracies.csv")) == 2
    with pytest.raises(InputError, match="exists already"):
        train_model(
            mode="csv",
            labels=[t["label"].tolist() for t in given],
            metrics_paths=paths,
            folder=tmp_path / "a",
            **options,
        )
    with pytest.raises(InputError, match="59 labels for the 60 units"):
        train_model(
            mode="csv",
            labels=[given[0]["label"].tolist()[1:]],
            metrics_paths=paths[:1],
            folder=tmp_path / "c",
            **options,
        )


def test_train_model_takes_zeros_and_ones_only_with_a_task(tables, tmp_path):
    given = [(pd.read_csv(tables / f"rec{i}.csv")["label"] != "noise").astype(int).tolist() for i in (0, 1)]
    with pytest.raises(InputError, match=r"the numbers 0, 1 mean something only within a task"):
        train_model(
            mode="csv", labels=given, metrics_paths=[tables / "bare0.csv", tables / "bare1.csv"], folder=tmp_path / "n"
        )
    outcome = train_model(
        task="noise_vs_neural",
        mode="csv",
        labels=given,
        metrics_paths=[tables / "bare0.csv", tables / "bare1.csv"],
        folder=tmp_path / "m",
        classifiers=["LogisticRegression"],
    )
    assert outcome.units.classes == ("neural", "noise")
    assert np.bincount(outcome.units.y).tolist() == [sum(map(sum, given)), 120 - sum(map(sum, given))]
