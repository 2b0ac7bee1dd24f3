"""Is a mistake told before the work: before metrics are computed, before a model is fitted, before models are scored?"""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from hdf5io.errors import InputError
from unit_refine.commands import predict as predict_command
from unit_refine.config import (
    CompareConfig,
    PlotConfig,
    PredictConfig,
    ReviewConfig,
    SimulateConfig,
    SuggestConfig,
    Tables,
    TrainConfig,
)
from unit_refine.files import analyzers, load_model, phy, recordings, save_model
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
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("it was fitted"))
    with pytest.raises(InputError, match=r"no class may stand in one file only \(noise in 'a'\)"):
        outcome.run_training(config, load_units(config))


def of_animals(tables, folder, *without):
    """Write three recordings of two animals; return their paths. ``without``: the animals that have no noise."""
    for i, animal in enumerate(["m1", "m1", "m2"]):
        table = pd.read_csv(tables / f"rec{i}.csv").assign(animal=animal)
        table[(table["label"] != "noise") | (animal not in without)].to_csv(folder / f"{i}.csv", index=False)
    return [folder / f"{i}.csv" for i in range(3)]


def test_a_class_of_one_animal_is_refused_before_anything_is_fitted(tables, tmp_path, run_command):
    typed = ["unit_refine", "train", *of_animals(tables, tmp_path, "m2"), "--label-column", "label"]
    answer = run_command(*typed, "--animal-by", "animal", "--dry-run", "--output", tmp_path / "model")
    assert answer.returncode == 2
    assert "no class may stand in one animal only, for none could be held out (noise in 'm1')" in answer.stderr
    assert run_command(*typed, "--dry-run", "--output", tmp_path / "model").returncode == 0  # the recordings suffice
    units = load_units(TrainConfig(inputs=of_animals(tables, tmp_path), label_column="label", animal_by="animal"))
    assert set(units.animals) == {"m1", "m2"}


def test_labels_that_are_not_enough_are_refused_before_metrics_are_computed(no_metrics, tmp_path, monkeypatch):
    bare = analyzers.read(no_metrics)._replace(unit_ids=list(map(str, range(60))), table=pd.DataFrame(index=range(60)))
    monkeypatch.setattr(analyzers, "read", lambda *_: bare)
    other = tmp_path / "b.analyzer"
    other.mkdir()
    good = tmp_path / "good.tsv", tmp_path / "few.tsv", tmp_path / "none.tsv"
    for path, words in zip(good, (["good", "mua", "noise"], ["good", "mua"], ["good"])):
        labels = pd.DataFrame({"cluster_id": range(60), "group": (words * 60)[:60]})
        labels.to_csv(path, sep="\t", index=False)
    given = {"inputs": [no_metrics, other], "compute_missing": True}
    with pytest.raises(InputError, match=r"no class may stand in one file only \(noise in 'a.analyzer'\)"):
        load_units(TrainConfig(labels=good[:2], **given))
    second = tmp_path / "a2.analyzer"
    second.mkdir()
    animals = {"inputs": [no_metrics, second, other], "labels": [good[0], good[0], good[1]], "animal_by": "^[ab]"}
    with pytest.raises(InputError, match=r"no class may stand in one animal only.* \(noise in 'a'\)"):
        load_units(TrainConfig(compute_missing=True, **animals))
    with pytest.raises(InputError, match="needs units of every class"):
        load_units(TrainConfig(labels=[good[2], good[2]], **given))
    with pytest.raises(InputError, match=r"no labels\. Give --labels"):
        load_units(TrainConfig(**given))
    labels = pd.read_csv(good[0], sep="\t")
    labels.assign(group=labels["group"].where(labels.index < 20, "")).to_csv(good[0], sep="\t", index=False)
    with pytest.raises(InputError, match="20 labelled units"):
        load_units(TrainConfig(labels=[good[0]], inputs=[no_metrics], compute_missing=True))


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


def test_a_model_whose_metrics_are_not_there_is_refused_before_another_is_scored(tables, model, tmp_path, monkeypatch):
    first, second = load_model.load(model), load_model.load(model)
    more = second._replace(folder=tmp_path, metric_names=[*second.metric_names, *(f"metric {i}" for i in range(9))])
    monkeypatch.setattr(load_model, "load", lambda path, **_: first if path == model else more)
    monkeypatch.setattr(compare, "evaluate_model", lambda *_: pytest.fail("a model was scored"))
    with pytest.raises(InputError, match="metrics are absent"):
        compare.compare(CompareConfig(inputs=[tables / "rec3.csv"], label_column="label", models=[model, tmp_path]))


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


@pytest.mark.parametrize(
    ("name", "content", "more", "message"),
    [
        ("cluster_unit_refine.tsv", "cluster_id\tunit_refine\n0\tgood\n", {}, "exists already. Give --overwrite"),
        ("cluster_unit_refine_prob.tsv", "cluster_id\tunit_refine_prob\n0\t1\n", {}, "exists already. Give --overwrite"),
        ("cluster_group.tsv", "cluster_id\tquality\n0\tgood\n", {"write_group": True}, "expected the columns cluster_id and group"),
        ("cluster_group.tsv", "cluster_id\tgroup\n0\tgood\n0\tmua\n", {"write_group": True}, "occurs more than once"),
        ("cluster_group.tsv", "cluster_id\tgroup\n1\tgood\n01\tmua\n", {"write_group": True}, "under two spellings"),
        (None, "", {"twice": True}, "a folder is given twice"),
    ],
)  # fmt: skip
def test_a_phy_folder_that_cannot_take_predictions_is_refused_before_units_are_read(
    name, content, more, message, phy_folder, model, tmp_path, monkeypatch
):
    if name:
        (phy_folder / name).write_text(content)
    before = {path: path.read_bytes() for path in phy_folder.iterdir()}
    inputs = [phy_folder] * (1 + more.pop("twice", False))
    monkeypatch.setattr(recordings, "read_recording", lambda *_: pytest.fail("units were read"))
    config = PredictConfig(model=model, inputs=inputs, write_phy=True, output=tmp_path / "p.csv", **more)
    with pytest.raises(InputError, match=message):
        predict_command.run(config, None)
    assert {path: path.read_bytes() for path in phy_folder.iterdir()} == before
    assert not config.output.exists()


def test_a_group_file_that_cannot_be_filled_leaves_the_folder_as_it_was(phy_folder):
    (phy_folder / "cluster_group.tsv").write_text("cluster_id\tquality\n0\tgood\n")
    before = sorted(phy_folder.iterdir())
    table = pd.DataFrame({"unit_id": range(60), "predicted_quality": "good", "prediction_confidence": 0.9})
    with pytest.raises(InputError, match="expected the columns cluster_id and group"):
        phy.export(phy_folder, table.assign(abstained=False), write_group=True, overwrite=False)
    assert sorted(phy_folder.iterdir()) == before


def test_predictions_that_a_killed_run_left_in_a_phy_folder_are_no_obstacle_to_the_same_command(
    phy_folder, model, tmp_path, run_command
):
    typed = ["unit_refine", "predict", model, phy_folder, "--write-phy", "--output", tmp_path / "p.csv"]
    assert run_command(*typed).returncode == 0
    record = tmp_path / "p.result.json"
    begun = {key: json.loads(record.read_text())[key] for key in ("pipeline", "command", "options")}
    record.unlink()
    (phy_folder / "cluster_unit_refine_prob.tsv").unlink()
    (tmp_path / ".p.csv.lock").write_text(json.dumps({"process": "killed", "wanted": begun}))
    answer = run_command(*typed)
    assert answer.returncode == 0, answer.stderr
    assert (phy_folder / "cluster_unit_refine_prob.tsv").exists()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda m, out: PredictConfig(model=m, inputs=[m], output=out), "a folder; a file is made"),
        (lambda m, out: SuggestConfig(model=m, inputs=[m], output=out), "a folder; a file is made"),
        (lambda m, out: ReviewConfig(model=m, inputs=[m], output=out), "a folder; a file is made"),
        (lambda m, out: TrainConfig(inputs=[m], output=out / "file"), "a file; a folder is made"),
        (lambda m, out: PlotConfig(model=m, output=out / "file"), "a file; a folder is made"),
        (lambda m, out: SimulateConfig(output=out / "file"), "a file; a folder is made"),
    ],
)
def test_an_output_of_the_other_kind_is_refused_before_the_work(make, kind, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValidationError, match=kind):
        make(tmp_path, tmp_path)


def test_a_folder_is_made_where_a_link_leads(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with save_model.staging(tmp_path / "link") as part:
        (part / "x").write_text("made")
    assert (tmp_path / "disk" / "x").read_text() == "made"
    assert (tmp_path / "link").is_symlink()


def test_groups_that_are_the_models_own_predictions_are_told(phy_folder, caplog):
    table = pd.read_csv(phy_folder / "cluster_group.tsv", sep="\t")
    for share, told in ((1.0, True), (0.5, False)):
        own = table["group"].where(np.arange(len(table)) < share * len(table), "noise")
        own.to_frame("unit_refine").assign(cluster_id=table["cluster_id"])[["cluster_id", "unit_refine"]].to_csv(
            phy_folder / "cluster_unit_refine.tsv", sep="\t", index=False
        )
        caplog.clear()
        assert recordings.read_recording(phy_folder, TrainConfig(inputs=[phy_folder])).labels == table["group"].tolist()
        assert any("are what unit-refine predicted" in m for m in caplog.messages) == told
