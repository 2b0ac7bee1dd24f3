"""The command line as a user meets it: whole jobs, bad input, interrupted and repeated runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from pydantic import ValidationError

from hdf5io.errors import InputError
from unit_refine import config
from unit_refine.files import recordings


def one_line(answer):
    """Return whether a command refused its input with one line on stderr, exit 2, nothing on stdout."""
    return answer.returncode == 2 and answer.stdout == "" and answer.stderr.count("\n") == 1


def test_from_model_to_curation_file(model, tables, run_command, tmp_path):
    table, curated = tmp_path / "p.csv", tmp_path / "c.json"
    answer = run_command(
        "unit_refine", "predict", model, tables / "bare3.csv", "--abstain", "0.1", "-o", table, "--json"
    )
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert set(results) == {"n_units", "counts", "n_abstained", "n_without_metrics", "applies"}
    assert results["n_units"] == sum(results["counts"].values()) == 60
    assert results["n_abstained"] == pd.read_csv(table)["abstained"].sum() > 0
    assert list(pd.read_csv(table).columns[:3]) == ["unit_id", "predicted_quality", "prediction_confidence"]
    answer = run_command("unit_refine", "export-curation", table, "-o", curated)
    assert answer.stdout == f"{curated}: {60 - results['n_abstained']} units labelled\n"


def test_evaluate_prints_the_documented_keys_and_leaves_a_report(model, tables, run_command, tmp_path):
    arguments = [
        "evaluate",
        model,
        tables / "rec3.csv",
        "--label-column",
        "label",
        "-o",
        tmp_path / "e",
        "--bootstraps",
        "100",
    ]
    answer = run_command("unit_refine", *arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert {"balanced_accuracy", "precision", "recall", "roc_auc", "ece", "n_units", "by_group"} <= set(results)
    assert 0.6 < results["balanced_accuracy"] <= 1
    assert "http" not in (tmp_path / "e" / "report.html").read_text().replace("http-equiv", "")
    assert json.loads((tmp_path / "e" / "result.json").read_text())["results"] == results


def test_compare_inspect_suggest_plot_and_convert(model, tables, run_command, tmp_path):
    answer = run_command(
        "unit_refine",
        "compare",
        tables / "rec3.csv",
        "--models",
        f"{model},{shutil.copytree(model, tmp_path / 'again')}",
        "--label-column",
        "label",
        "--json",
    )
    rows = json.loads(answer.stdout)["results"]["models"]
    assert rows[0]["balanced_accuracy"] == rows[1]["balanced_accuracy"]
    inspected = json.loads(run_command("unit_refine", "inspect", model, "--json").stdout)["results"]
    assert inspected["reproduces"] is True
    assert inspected["classes"] == ["good", "mua", "noise"]
    answer = run_command("unit_refine", "suggest", model, tables / "bare3.csv", "--n", "5", "-o", tmp_path / "s.csv")
    assert len(pd.read_csv(tmp_path / "s.csv")) == 5
    answer = run_command("unit_refine", "plot", model, "--format", "svg", "-o", tmp_path / "figures")
    assert len(list((tmp_path / "figures").glob("*.svg"))) == 6, answer.stderr
    answer = run_command(
        "unit_refine", "convert-metrics", tables / "rec0.csv", "--spelling", "old", "-o", tmp_path / "old.csv"
    )
    assert answer.returncode == 0, answer.stderr
    old, new = pd.read_csv(tmp_path / "old.csv"), pd.read_csv(tables / "rec0.csv")
    assert old["half_width"].to_numpy() == pytest.approx(new["trough_half_width"].to_numpy(), rel=1e-6)


def test_a_phy_folder_gets_its_files(model, tables, run_command, tmp_path):
    shutil.copy(tables / "group3.tsv", tmp_path / "cluster_group.tsv")
    run_command("unit_refine", "predict", model, tables / "bare3.csv", "-o", tmp_path / "p.csv")
    answer = run_command("unit_refine", "export-phy", tmp_path / "p.csv", tmp_path, "--write-group", "--json")
    assert json.loads(answer.stdout)["results"]["n_groups_written"] == 0
    written = pd.read_csv(tmp_path / "cluster_group.tsv", sep="\t")
    pd.testing.assert_frame_equal(written, pd.read_csv(tables / "group3.tsv", sep="\t"))


def test_an_export_to_phy_follows_the_one_rule_for_outputs(model, tables, run_command, tmp_path):
    """Again: finished already. After a kill, at any file: goes on. Other predictions: refused without --overwrite."""
    shutil.copy(tables / "group3.tsv", tmp_path / "cluster_group.tsv")
    run_command("unit_refine", "predict", model, tables / "bare3.csv", "-o", tmp_path / "p.csv")
    typed = ["unit_refine", "export-phy", tmp_path / "p.csv", tmp_path]
    assert run_command(*typed).returncode == 0
    files = [tmp_path / f"cluster_unit_refine{name}.tsv" for name in ("", "_prob")]
    whole = [path.read_bytes() for path in files]
    assert "finished already" in run_command(*typed).stderr
    record = tmp_path / "cluster_unit_refine.result.json"
    begun = {key: json.loads(record.read_text())[key] for key in ("pipeline", "command", "options")}
    record.unlink()
    files[1].unlink()
    (tmp_path / ".cluster_unit_refine.tsv.lock").write_text(json.dumps({"process": "killed", "wanted": begun}))
    answer = run_command(*typed)
    assert answer.returncode == 0, answer.stderr
    assert [path.read_bytes() for path in files] == whole
    names, rows = (tmp_path / "p.csv").read_text().split("\n", 1)
    (tmp_path / "p.csv").write_text(f"{names}\n" + rows.replace("good", "mua"))
    assert run_command(*typed).returncode == 2
    assert run_command(*typed, "--overwrite").returncode == 0
    assert files[0].read_bytes() != whole[0]


@pytest.mark.slow
def test_the_hash_seed_of_python_does_not_change_the_model(tables, run_command, tmp_path):
    inputs = [tables / "rec0.csv", tables / "rec1.csv"]
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        answer = run_command("unit_refine", "train", *inputs, "--label-column", "label", "-o", tmp_path / seed, env=env)
        assert answer.returncode == 0, answer.stderr
    for name in ("held_out_predictions.csv", "training_data.csv", "probe_set.json", "model_accuracies.csv"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_an_interrupted_training_leaves_nothing_and_says_so_in_one_line(tables, tmp_path, hear_ctrl_c):
    inputs = [str(tables / f"rec{i}.csv") for i in range(4)]
    command = [
        sys.executable,
        "-m",
        "unit_refine",
        "train",
        *inputs,
        "--label-column",
        "label",
        "-o",
        str(tmp_path / "m"),
    ]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in child.stderr:
        if "settings" in line:
            break
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "unit-refine: train: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_an_existing_model_is_kept_unless_overwriting_is_asked_for(model, tables, run_command):
    before = (model / "best_model.skops").read_bytes()
    answer = run_command("unit_refine", "train", tables / "rec0.csv", "--label-column", "label", "--output", model)
    assert one_line(answer)
    assert "exists already" in answer.stderr
    assert (model / "best_model.skops").read_bytes() == before


def test_dry_run_counts_and_writes_nothing(tables, run_command, tmp_path):
    answer = run_command(
        "unit_refine",
        "train",
        tables / "rec0.csv",
        tables / "rec1.csv",
        "--label-column",
        "label",
        "--dry-run",
        "-o",
        tmp_path / "m",
    )
    assert answer.stdout.startswith("would train on 120 units (")
    assert list(tmp_path.iterdir()) == []


# --- bad input: one line, exit 2, nothing written -----------------------------------------------------------------------------------

BAD = {
    "empty file": ("", "the file is empty"),
    "header only": ("unit_id,snr,label\n", "no units"),
    "malformed": ("unit_id,snr,label\n1,2,good\n2,3,good,9,9\n", "not readable as CSV"),
    "no ids": ("snr,d_prime,label\n1,2,good\n", "no column cluster_id, unit_id"),
    "duplicate ids": ("unit_id,snr,label\n1,2,good\n1,3,mua\n", "unit id 1 occurs more than once"),
    "missing id": ("unit_id,snr,label\n1,2,good\n,3,mua\n", "1 units without an id"),
    "no such label column": ("unit_id,snr,quality\n1,2,good\n", "no column 'label'; columns with text: quality"),
    "unknown label": ("unit_id,snr,label\n1,2,odd\n", "unknown label 'odd' (1 units)"),
    "no label at all": ("unit_id,snr,label\n1,2,\n2,3,\n", "none is good"),
    "one class": ("unit_id,snr,label\n" + "".join(f"{i},{i},good\n" for i in range(80)), "none is mua, noise; found good (80)"),
    "text in a metric": ("unit_id,snr,d_prime,l_ratio,label\n1,x,1,1,good\n2,1,1,1,mua\n3,1,1,1,noise\n", "column 'snr' holds 'x'"),
    "label in disguise": (
        "unit_id,snr,d_prime,l_ratio,label\n" + "".join(f"{i},{i % 3},{i * 1.1},{i * 1.3},{('good', 'mua', 'noise')[i % 3]}\n" for i in range(90)),
        "column 'snr' tells the label of every unit",
    ),
    "forty units": (
        "unit_id,snr,d_prime,l_ratio,label\n" + "".join(f"{i},{(i * 7) % 11},{i * 1.1},{i * 1.3},{('good', 'mua', 'noise')[i % 3]}\n" for i in range(40)),
        "40 labelled units (14 good, 13 mua, 13 noise): more than 50",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(BAD))
def test_a_bad_table_is_one_line_exit_2_and_nothing_written(case, run_command, tmp_path):
    content, message = BAD[case]
    (tmp_path / "units.csv").write_text(content)
    answer = run_command(
        "unit_refine", "train", "units.csv", "--label-column", "label", "-o", "m", "--quiet", cwd=tmp_path
    )
    assert message in answer.stderr
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert len([line for line in answer.stderr.splitlines() if "warning:" not in line]) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["units.csv"]


def test_a_binary_file_is_one_line(run_command, tmp_path):
    (tmp_path / "x.csv").write_bytes(bytes(range(256)) * 10)
    answer = run_command("unit_refine", "train", "x.csv", "--label-column", "label", "-o", "m", cwd=tmp_path)
    assert one_line(answer), answer.stderr


def test_infinite_metrics_are_missing_and_no_error(tables, run_command, tmp_path):
    table = pd.read_csv(tables / "rec0.csv")
    table.loc[::5, "isolation_distance"] = float("inf")
    table.to_csv(tmp_path / "units.csv", index=False)
    inputs = [tmp_path / "units.csv", tables / "rec1.csv"]
    answer = run_command(
        "unit_refine",
        "train",
        *inputs,
        "--label-column",
        "label",
        "-o",
        tmp_path / "m",
        "--classifiers",
        "LogisticRegression",
    )
    assert answer.returncode == 0, answer.stderr
    assert pd.read_csv(tmp_path / "m" / "training_data.csv")["isolation_distance"].isna().sum() == 12


@pytest.mark.parametrize("damage", ["no model_info", "no skops", "not a skops", "not json"])
def test_a_broken_model_folder_is_one_line(damage, model, tables, run_command, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    if damage == "no model_info":
        (folder / "model_info.json").unlink()
    elif damage == "no skops":
        (folder / "best_model.skops").unlink()
    elif damage == "not a skops":
        (folder / "best_model.skops").write_bytes(b"PK not really")
    else:
        (folder / "model_info.json").write_text("{")
    answer = run_command("unit_refine", "predict", folder, tables / "bare3.csv", "-o", tmp_path / "p.csv")
    assert one_line(answer), answer.stderr
    assert str(folder) in answer.stderr
    assert not (tmp_path / "p.csv").exists()


def test_options_that_exclude_each_other_or_do_not_fit_are_one_line(tables, run_command, tmp_path):
    two = run_command(
        "unit_refine",
        "train",
        tables / "bare0.csv",
        tables / "bare1.csv",
        "--labels",
        tables / "group0.tsv",
        cwd=tmp_path,
    )
    assert one_line(two)
    assert "1 label files for 2 inputs" in two.stderr
    none = run_command("unit_refine", "train", tables / "rec0.csv", cwd=tmp_path)
    assert one_line(none)
    assert "column 'label' looks like labels" in none.stderr
    assert list(tmp_path.iterdir()) == []


def test_more_memory_than_allowed_is_refused_before_reading(tables, run_command, tmp_path):
    answer = run_command(
        "unit_refine", "train", tables / "rec0.csv", "--label-column", "label", "--max-memory", "60", cwd=tmp_path
    )
    assert one_line(answer)
    assert "--max-memory is 60" in answer.stderr


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        (config.TrainConfig, {"gain_to_uv": 2.0}, "--gain-to-uv: nothing is computed"),
        (config.TrainConfig, {"label_category": "quality"}, "--label-category: only a curation JSON"),
        (config.EvaluateConfig, {"figure_format": "svg", "model": "m"}, "--figure-format: nothing is written"),
        (config.SimulateConfig, {"kind": "tables", "noise_uv": 5.0}, "--noise-uv: --kind tables has no voltage"),
        (config.PlotConfig, {"group_by": "session", "model": "m", "inputs": []}, "--group-by: it is about new units"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(command, options, told, tmp_path):
    inputs = {"inputs": [tmp_path / "m.csv"]} if "inputs" in command.model_fields else {}
    with pytest.raises(ValidationError, match=told):
        command(**(inputs | options))


@pytest.mark.parametrize("option", ["compute_missing", "trust_pickles"])
def test_options_about_analyzers_are_refused_where_there_is_none(option, tables):
    with pytest.raises(InputError, match="none of the inputs is an analyzer"):
        recordings.check_inputs(config.Tables(inputs=[tables / "rec0.csv"], **{option: True}))
