"""Seven Neuropixels recordings with labels of several curators (outside the repository)."""

import json

import pandas as pd
import pytest

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
