"""Metrics whose definition SpikeInterface changed under the same name are told, and nothing is told where releases agree or are not known."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from unit_refine.config import PredictConfig, SuggestConfig, TrainConfig
from unit_refine.files import analyzers, load_model, recordings, save_model
from unit_refine.fit.workflow import load_units
from unit_refine.score import outcome, predict, suggest
from unit_refine.units import releases

OLD = {"peak_to_trough_duration": "peak_to_valley", "trough_half_width": "half_width"}


def analyzer(folder, table, version, **info):
    """Make what SpikeInterface's binary_folder holds of metrics, as release ``version`` writes it."""
    for name, columns in (
        ("quality_metrics", ["snr", "isi_violations_ratio"]),
        ("template_metrics", ["num_positive_peaks", "repolarization_slope"]),
    ):
        place = folder / "extensions" / name
        place.mkdir(parents=True)
        table[columns].to_csv(place / "metrics.csv")
        (place / "params.json").write_text(json.dumps({"metric_names": columns}))
        (place / "info.json").write_text(
            json.dumps({"module": "spikeinterface", "version": version, "dev_mode": False} | info)
        )
    (folder / "spikeinterface_info.json").write_text(
        json.dumps({"version": "0.105.3", "dev_mode": False, "object": "SortingAnalyzer"})
    )
    return folder


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    label = np.repeat(["good", "noise"], 40)
    values = {"snr": rng.normal(8, 2, 80) - 4 * (label == "noise"), "isi_violations_ratio": rng.uniform(0, 1, 80)}
    values |= {
        "num_positive_peaks": rng.integers(1, 4, 80),
        "repolarization_slope": rng.normal(size=80),
        "trough_half_width": rng.uniform(1, 2, 80),
    }
    return pd.DataFrame(values | {"label": label}, index=pd.Index(range(80), name="unit_id"))


def trained(path, folder):
    config = TrainConfig(
        inputs=[path],
        label_column="label",
        task="noise_vs_neural",
        classifiers=["LogisticRegression"],
        bootstraps=100,
        output=folder,
    )
    found = outcome.run_training(config, load_units(config))
    folder.mkdir()
    save_model.write_model(folder, config, found, outcome.training_results(found))
    return folder


@pytest.fixture(scope="module")
def old_model(table, tmp_path_factory):
    """Return a model trained on a table with the names of releases before 0.104."""
    place = tmp_path_factory.mktemp("old")
    table.rename(columns=OLD).to_csv(place / "t.csv")
    return trained(place / "t.csv", place / "model")


@pytest.mark.parametrize(
    ("version", "info", "warns"),
    [("0.105.3", {}, True), ("0.104.0", {}, True), ("0.103.2", {}, False), ("0.101.2", {}, False), ("0.104.0", {"dev_mode": True}, False), ("?", {}, False)],
)  # fmt: skip
def test_an_analyzer_of_another_release_is_told_at_predict(version, info, warns, old_model, table, tmp_path, caplog):
    folder = analyzer(tmp_path / "a", table, version, **info)
    with caplog.at_level(logging.WARNING):
        predict.predict_inputs(PredictConfig(model=old_model, inputs=[folder]))
    told = [r.message for r in caplog.records if "SpikeInterface computed them" in r.message]
    assert len(told) == warns
    assert not warns or "num_positive_peaks, snr: SpikeInterface computed them since 0.104" in told[0]
    caplog.clear()
    suggest.suggest(SuggestConfig(model=old_model, inputs=[folder]))
    assert sum("SpikeInterface computed them" in r.message for r in caplog.records) == warns


def test_tables_that_do_not_say_their_release_are_not_judged(old_model, table, tmp_path, caplog):
    table.to_csv(tmp_path / "renamed.csv")  # names may have been converted
    table.rename(columns=OLD).to_csv(tmp_path / "old.csv")
    for name in ("renamed.csv", "old.csv"):
        predict.predict_inputs(PredictConfig(model=old_model, inputs=[tmp_path / name]))
    assert "SpikeInterface computed them" not in caplog.text
    table.assign(trough_width=1.0).to_csv(tmp_path / "new.csv")
    predict.predict_inputs(PredictConfig(model=old_model, inputs=[tmp_path / "new.csv"]))
    assert "since 0.104" in caplog.text


def test_the_model_folder_knows_the_release_and_a_foreign_one_is_read_by_its_names(old_model, table, tmp_path):
    assert json.loads((old_model / "model_info.json").read_text())["metrics_release"] == [0, 103]
    model = load_model.load(old_model)
    assert load_model.release_of(model) == releases.Release(0, 103)
    foreign = model._replace(info={}, metric_names=["half_width", "snr"])
    assert load_model.release_of(foreign) == releases.Release(0, 103)
    assert load_model.release_of(foreign._replace(metric_names=["snr"], info={"metrics_release": "x"})) == releases.ANY


def test_recordings_of_two_releases_trained_together_are_told(table, tmp_path):
    folders = [analyzer(tmp_path / v, table, v) for v in ("0.103.2", "0.105.0")]
    assert [analyzers.read(f).release.low for f in folders] == [103, 105]
    for folder, shift in zip(folders, (0, 1)):
        place = folder / "sorting" / "properties"
        place.mkdir(parents=True)
        np.save(place / "label.npy", table["label"].to_numpy(dtype="U5"))
        file = folder / "extensions" / "quality_metrics" / "metrics.csv"
        (pd.read_csv(file, index_col=0) + shift).to_csv(file)
    config = TrainConfig(inputs=folders, label_column="label", task="noise_vs_neural", output=tmp_path / "m")
    units = load_units(config)
    assert units.release == releases.Release(103, 105)
    assert any(
        "num_positive_peaks, snr: '0.103.2' and '0.105.0' hold them by two definitions" in n for n in units.notices
    )
    same = load_units(config.model_copy(update={"inputs": folders[:1]}))
    assert not any("two definitions" in n for n in same.notices)
    assert recordings.read_recording(folders[0], config).release == releases.Release(103, 103)
