"""Seven Neuropixels recordings with labels of several curators (outside the repository)."""

import json

import pandas as pd
import pytest

from unit_refine.config import PredictConfig, TrainConfig
from unit_refine.files import recordings, save_model
from unit_refine.model import pipelines
from unit_refine.score import predict
from unit_refine.units.assemble import assemble
from unit_refine.units.metrics import to_new_names

pytestmark = [pytest.mark.real, pytest.mark.slow]
FLOOR = {"noise_vs_neural": 0.84, "sua_vs_mua": 0.80, "three_class": 0.75}
GAIN = {"noise_vs_neural": 0.04, "sua_vs_mua": 0.04, "three_class": 0.03}


@pytest.mark.parametrize("task", list(FLOOR))
def test_unseen_animals_are_labelled_as_well_as_promised(task, real_data, run_command, tmp_path):
    inputs = sorted(real_data("unit_refine").glob("*.csv"))
    options = ["--label-column", "majority_vote", "--task", task, "--animal-by", "mouse[0-9]+"]
    answer = run_command("unit_refine", "train", *inputs, *options, "-o", tmp_path / "m", "--json")
    assert answer.returncode == 0, answer.stderr
    r = json.loads(answer.stdout)["results"]
    assert r["n_duplicates"] == 0
    assert r["balanced_accuracy_animals"] >= FLOOR[task]
    assert abs(r["balanced_accuracy"] - r["balanced_accuracy_animals"]) < 0.06
    curve = {row["fraction"]: row["balanced_accuracy"] for row in r["abstention"]}
    assert curve[0.2] - curve[0.0] >= GAIN[task]
    assert r["ece"] <= 0.05


def test_a_doubled_recording_does_not_raise_the_score(real_data, run_command, tmp_path):
    path = real_data("unit_refine") / "mouse2b_imec0.csv"
    answer = run_command(
        "unit_refine",
        "train",
        path,
        path,
        "--label-column",
        "majority_vote",
        "--task",
        "noise_vs_neural",
        "-o",
        tmp_path / "m",
        "--json",
    )
    assert answer.returncode == 0, answer.stderr
    outcome = json.loads(answer.stdout)
    assert outcome["results"]["n_duplicates"] == outcome["results"]["n_units"] == 559
    assert outcome["results"]["balanced_accuracy"] < 0.95
    assert any("559 units stand in the data more than once" in w for w in outcome["warnings"])


def test_a_shuffled_file_trains_the_same_model(real_data, run_command, tmp_path):
    folder = real_data("unit_refine") / "phy_form"
    table = pd.read_csv(folder / "mouse1a_imec0_quality_metrics.csv").sample(frac=1, random_state=0)
    table.to_csv(tmp_path / "mouse1a_imec0_quality_metrics.csv", index=False)
    second = folder / "mouse2b_imec0_quality_metrics.csv"
    labels = ",".join(str(folder / f"{name}_imec0_cluster_group.tsv") for name in ("mouse1a", "mouse2b"))
    scores = []
    for first in (folder / "mouse1a_imec0_quality_metrics.csv", tmp_path / "mouse1a_imec0_quality_metrics.csv"):
        answer = run_command(
            "unit_refine", "train", first, second, "--labels", labels, "-o", tmp_path / f"m{len(scores)}", "--json"
        )
        assert answer.returncode == 0, answer.stderr
        scores.append(json.loads(answer.stdout)["results"])
    assert scores[0] == scores[1]


@pytest.mark.parametrize("task", ["noise_vs_neural", "sua_vs_mua"])
def test_spikeinterface_labels_every_unit_of_seven_unseen_recordings_alike(task, real_data, tmp_path):
    core, curation = (pytest.importorskip(f"spikeinterface.{name}") for name in ("core", "curation"))
    inputs = sorted(real_data("unit_refine").glob("*.csv"))
    config = TrainConfig(inputs=inputs, label_column="majority_vote", animal_by="mouse[0-9]+", task=task)
    units = assemble(recordings.read_all(config)[0], config, task, [], "remove")
    assert len(set(units.animals)) == 3
    for animal in sorted(set(units.animals)):
        out = units.animals == animal
        folder = tmp_path / animal
        folder.mkdir()
        setting = pipelines.Setting("vote", "median", "standard_scaler", {})
        save_model.dump(pipelines.fit(setting, units.metrics[~out], units.y[~out], 0), folder / "best_model.skops")
        names = {str(i): c for i, c in enumerate(units.classes)}
        (folder / "model_info.json").write_text(
            json.dumps({"label_conversion": names, "requirements": {}, "metric_params": {}})
        )
        for path in [p for p in inputs if animal in p.name]:
            ours = predict.predict_inputs(PredictConfig(model=folder, inputs=[path])).table
            table = to_new_names(pd.read_csv(path, index_col="cluster_id"))
            sorting = core.generate_sorting(num_units=len(table), durations=[0.1]).rename_units(table.index.to_numpy())
            recording = core.generate_recording(num_channels=2, durations=[0.1])
            analyzer = core.create_sorting_analyzer(sorting, recording, sparse=False)
            analyzer.get_metrics_extension_data = lambda table=table: table  # as if it had computed them
            theirs = curation.model_based_label_units(analyzer, model_folder=folder, trust_model=True)
            assert theirs["prediction"].tolist() == ours["predicted_quality"].tolist()
            gap = theirs["probability"].to_numpy() - ours["prediction_confidence"].to_numpy()
            assert abs(gap).max() < 1e-6
