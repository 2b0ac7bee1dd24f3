"""One tiny data set and one model for all tests of unit_refine."""

import shutil

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """Return the folder of four simulated recordings (tables and Phy labels)."""
    from unit_refine.simulate import metric_table

    folder = tmp_path_factory.mktemp("tables")
    for i, seed in enumerate(np.random.SeedSequence(1).spawn(4)):
        table = metric_table(60, 0.05, np.random.default_rng(seed))
        table.to_csv(folder / f"rec{i}.csv", index=False)
        table.drop(columns="label").to_csv(folder / f"bare{i}.csv", index=False)
        groups = pd.DataFrame({"cluster_id": table["unit_id"], "group": table["label"]})
        groups.to_csv(folder / f"group{i}.tsv", sep="\t", index=False)
    return folder


@pytest.fixture(scope="session")
def quick_train():
    """Return ``train(inputs, folder, **options) -> Outcome`` with a cheap classifier, through the Python functions."""

    def train(inputs, folder, report=False, **options):
        from unit_refine.config import TrainConfig
        from unit_refine.files import save_model
        from unit_refine.fit.workflow import load_units
        from unit_refine.score.outcome import run_training, training_results
        from unit_refine.show import pages

        options = {"label_column": "label", "classifiers": ["LogisticRegression"], "bootstraps": 100, **options}
        config = TrainConfig(inputs=inputs, output=folder, **options)
        with save_model.staging(config.output) as part:
            outcome = run_training(config, load_units(config))
            save_model.write_model(part, config, outcome, training_results(outcome))
            if report:
                pages.training(part, outcome, [], {})
        return outcome

    return train


@pytest.fixture
def phy_folder(tables, tmp_path):
    """Return a Phy folder with metrics and a person's groups."""
    folder = tmp_path / "phy"
    folder.mkdir()
    (folder / "params.py").write_text("dat_path = 'x.dat'\n")
    shutil.copy(tables / "bare3.csv", folder / "quality_metrics.csv")
    shutil.copy(tables / "group3.tsv", folder / "cluster_group.tsv")
    return folder


@pytest.fixture(scope="session")
def model(tables, tmp_path_factory, run_command):
    """Return the folder of a three-class model (quick to load) trained by the command line on three of the recordings."""
    folder = tmp_path_factory.mktemp("model") / "three"
    inputs = [tables / f"rec{i}.csv" for i in range(3)]
    options = ["--label-column", "label", "--classifiers", "LogisticRegression", "--bootstraps", "200"]
    answer = run_command("unit_refine", "train", *inputs, *options, "--output", folder)
    assert answer.returncode == 0, answer.stderr
    return folder
