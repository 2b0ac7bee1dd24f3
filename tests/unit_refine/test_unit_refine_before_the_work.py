"""Is a mistake told before the work: before metrics are computed, before a model is fitted, before models are scored?"""

import shutil

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from hdf5io.errors import InputError
from unit_refine.config import CompareConfig, PredictConfig, ReviewConfig, SimulateConfig, Tables, TrainConfig
from unit_refine.files import analyzers, load_model, recordings
from unit_refine.fit import train as training
from unit_refine.fit.workflow import load_units, with_base_task
from unit_refine.score import compare, outcome
from unit_refine.score.predict import predict_inputs
from unit_refine.score.review import content
from unit_refine.units.labels import parse_label_map


@pytest.fixture
def no_metrics(monkeypatch, tmp_path):
    """Return a folder that is an analyzer of six units without metrics; computing them fails."""
    bare = analyzers.Analyzer(
        list("012345"), pd.DataFrame(index=range(6)), {}, ["quality"],
        lambda name: ["good", "mua", "noise", "axon", "good", "mua"],
    )  # fmt: skip
    monkeypatch.setattr(analyzers, "is_analyzer", lambda path: path.suffix == ".analyzer")
    monkeypatch.setattr(analyzers, "read", lambda *_: bare)
    monkeypatch.setattr(recordings, "read_analyzer", lambda *_: pytest.fail("metrics were computed"))
    folder = tmp_path / "a.analyzer"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label_column": "curator"}, "the analyzer's units have no property 'curator'; they have quality"),
        ({"label_column": "quality"}, r"unknown label 'axon' \(1 units\)"),
        ({"label_column": "quality", "label_map": ["axon"]}, "--label-map 'axon': expected SPELLING=LABEL"),
        ({"label_column": "quality", "group_by": "day"}, "no column 'day'"),
        ({"label_column": "quality", "animal_by": "mouse[0-9]"}, "--animal-by 'mouse"),
        ({"label_column": "quality", "metric_names": ["snr", "snrr"]}, "--metric-names: 'snrr' is no metric"),
    ],
)
def test_what_is_asked_of_an_analyzer_is_looked_up_before_its_metrics_are_computed(no_metrics, given, message):
    with pytest.raises(InputError, match=message):
        load_units(TrainConfig(inputs=[no_metrics], compute_missing=True, **given))


def test_a_label_file_of_other_units_is_refused_before_metrics_are_computed(no_metrics, tmp_path):
    path = tmp_path / "group.tsv"
    for ids, message in ((range(90, 96), "the files do not belong together"), ((0, 0), "occurs more than once")):
        path.write_text("cluster_id\tgroup\n" + "".join(f"{i}\tgood\n" for i in ids))
        with pytest.raises(InputError, match=message):
            load_units(TrainConfig(inputs=[no_metrics], compute_missing=True, labels=[path]))
    with pytest.raises(InputError, match="no column 'day'"):
        recordings.read_unlabelled(Tables(inputs=[no_metrics], compute_missing=True, group_by="day"), [no_metrics])


def test_a_class_of_one_recording_is_refused_before_anything_is_fitted(tables, tmp_path, monkeypatch):
    table = pd.read_csv(tables / "rec0.csv")
    table.to_csv(tmp_path / "a.csv", index=False)
    pd.read_csv(tables / "rec1.csv").query("label != 'noise'").to_csv(tmp_path / "b.csv", index=False)
    config = TrainConfig(inputs=[tmp_path / "a.csv", tmp_path / "b.csv"], label_column="label")
    units = load_units(config)
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("it was fitted"))
    with pytest.raises(InputError, match="no class may stand in one file only"):
        outcome.run_training(config, units)


def test_a_labeller_that_is_none_is_refused_before_units_are_read_and_models_scored(tables, model, monkeypatch):
    given = {"inputs": [tables / "rec3.csv"], "label_column": "label", "models": [model]}
    monkeypatch.setattr(compare, "evaluate_model", lambda *_: pytest.fail("a model was scored"))
    with pytest.raises(InputError, match="no column KSLabel"):
        compare.compare(CompareConfig(labellers=["kslabel"], **given))
    monkeypatch.setattr(recordings, "read_recording", lambda *_: pytest.fail("units were read"))
    for names, message in ((["bombcel"], "--labellers 'bombcel': expected"), (["ibl", "ibl"], "'ibl' is named twice")):
        with pytest.raises(InputError, match=message):
            compare.compare(CompareConfig(labellers=names, **given))
        with pytest.raises(InputError, match=message):
            predict_inputs(PredictConfig(model=model, inputs=[tables / "bare3.csv"], labellers=names))


def test_what_a_model_is_not_is_told_before_units_are_read(tables, model, tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "read_recording", lambda *_: pytest.fail("units were read"))
    given = {"model": model, "inputs": [tables / "bare3.csv"]}
    with pytest.raises(InputError, match="--cascade: expected a noise_vs_neural model"):
        predict_inputs(PredictConfig(cascade=model, **given))
    loaded = load_model.load(model)
    monkeypatch.setattr(load_model, "load", lambda *_, **__: loaded._replace(sigmoid=None))
    with pytest.raises(InputError, match="--prior-correction needs a calibrated model"):
        predict_inputs(PredictConfig(prior_correction=True, **given))
    with pytest.raises(InputError, match="one page is for one recording"):
        content(ReviewConfig(model=model, inputs=[tables / "bare2.csv", tables / "bare3.csv"]))
    monkeypatch.undo()
    bare = shutil.copytree(model, tmp_path / "bare")
    (bare / "training_data.csv").unlink()
    with pytest.raises(InputError, match=r"no training_data\.csv"):
        with_base_task(TrainConfig(inputs=[tables / "rec3.csv"], add=bare, label_column="label"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CompareConfig(inputs=["a"], models=["m", "m"]), "m is given twice"),
        (lambda: TrainConfig(inputs=["a"], add="m", animal_by="day"), "--animal-by: not used with --add"),
        (lambda: Tables(inputs=["a"], compute_missing=True, gain_to_uv="inf"), "finite number"),
        (lambda: SimulateConfig(noise_uv="inf"), "finite number"),
    ],
)
def test_options_that_mean_nothing_are_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()


def test_a_spelling_and_a_class_are_said_once(model):
    assert parse_label_map(["0=noise", "0=artifact"]) == {"0": "noise"}
    with pytest.raises(InputError, match="'0' is said to be noise too; say it once"):
        parse_label_map(["0=noise", "0=good"])
    with pytest.raises(InputError, match="class 0 is named twice"):
        load_model.load(model, ["0=good", "0=mua", "1=noise", "2=mua"])


def test_models_are_compared_on_units_that_are_read_once(tables, model, tmp_path, monkeypatch):
    other, read = shutil.copytree(model, tmp_path / "other"), recordings.read_all
    seen = []
    monkeypatch.setattr(recordings, "read_all", lambda *given: seen.append(1) or read(*given))
    config = CompareConfig(
        inputs=[tables / "rec3.csv"], label_column="label", models=[model, other], labellers=["ibl"], bootstraps=100
    )
    found = compare.compare(config)
    assert len(seen) == 1
    scores = found.table.set_index("model")["balanced_accuracy"]
    assert np.isclose(scores[str(model)], scores[str(other)])
