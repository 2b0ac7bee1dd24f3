"""The answer of a run that scores, what would narrow it, other programs' criteria, and who does the work."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from unit_refine import simulate
from unit_refine.answer import Answer
from unit_refine.fit import train
from unit_refine.model.pipelines import Setting
from unit_refine.score import baselines, beside, labellers
from unit_refine.units.assemble import Recording

VOTE = Setting("vote", "median", "standard_scaler", {})


def labelled(n_recordings, n_units=60, seed=0):
    """Return metrics, class index (noise is 1) and recording of simulated units."""
    tables = [simulate.metric_table(n_units, 0.0, np.random.default_rng([seed, i])) for i in range(n_recordings)]
    whole = pd.concat(tables, ignore_index=True)
    y = (whole["label"] == "noise").to_numpy().astype(int)
    metrics = whole.drop(columns=["label", "unit_id"], errors="ignore").select_dtypes("number").astype("float32")
    return metrics, y, np.repeat(np.arange(n_recordings), n_units)


def called(rng, n_recordings, n_units=80):
    """Return the labels of recordings and the calls of a model and of a baseline; how good both are differs between recordings."""
    y = rng.integers(0, 2, n_recordings * n_units)
    groups = np.repeat(np.arange(n_recordings), n_units)
    right = rng.beta(30, 6, n_recordings)[groups], rng.beta(20, 8, n_recordings)[groups]
    return y, groups, *(np.where(rng.random(len(y)) < share, y, 1 - y) for share in right)


def test_the_interval_covers_the_gain_and_its_predicted_width_comes_true():
    rng, ratios, covered = np.random.default_rng(1), [], []
    for _ in range(60):
        y, groups, ours, theirs = called(rng, 16)
        some = groups < 8
        now = baselines.against("b", y[some], ours[some], theirs[some], groups[some], 2, bootstraps=300)
        then = baselines.against("b", y, ours, theirs, groups, 2, bootstraps=300)
        predicted = next(
            r["then"] for r in baselines.further(now, int(some.sum())) if r["measurement"].startswith("8 ")
        )
        ratios.append((predicted, (then.high - then.low) / 2))
        covered.append(then.low <= 30 / 36 - 20 / 28 <= then.high)
    predicted, realised = np.array(ratios).T
    assert abs(predicted.mean() / realised.mean() - 1) < 0.1
    assert np.mean(covered) > 0.9


def test_a_model_beats_all_others_only_where_it_beats_each_of_them():
    y, groups, ours, theirs = called(np.random.default_rng(0), 24)
    never = np.full(len(y), -1)

    def verdict(*others):
        voices = [beside.Voice(f"other {i}", o, []) for i, o in enumerate(others)]
        found = beside.against_all(beside.Voice("ours", ours, []), voices, y, groups, 2, 300, 0)
        return found[1].verdict, found[1].against

    assert verdict(theirs, never) == ("yes", "other 0")
    assert verdict(theirs, ours, never) == ("cannot tell", "other 1")
    assert verdict(never, ours, y) == ("no", "other 2")


def test_a_model_that_is_its_baseline_is_not_called_better():
    y, groups, ours, _ = called(np.random.default_rng(0), 6)
    found = baselines.answered(baselines.against("itself", y, ours, ours, groups, 2), "the model")
    assert isinstance(found, Answer)
    assert (found.verdict, found.gain) == ("cannot tell", 0)
    odd = baselines.answered(baselines.against("itself", y, ours, ours, groups, 2), "the model", n_odd=2)
    assert odd.sentence.startswith("2 metrics do not look like")


def test_few_recordings_predict_no_width():
    y, groups, ours, theirs = called(np.random.default_rng(0), 3)
    assert baselines.further(baselines.against("b", y, ours, theirs, groups, 2), len(y)) == []


def test_the_baseline_is_chosen_without_the_units_it_is_scored_on():
    """A metric that tells the class in one recording only is no baseline for that recording."""
    metrics, y, groups = labelled(4)
    metrics = pd.DataFrame(
        {"snr": np.random.default_rng(0).normal(size=len(y)), "firing_rate": np.where(groups == 3, y, 0.0)}
    )
    parts = train.folds(y, groups, 20, 0)
    name, guess = baselines.held_out(metrics, y, groups, parts, 2, None)
    last = groups == 3
    assert baselines.balanced_accuracy(y[last], guess[last]) < 0.75
    assert name != "the best threshold on one metric (firing_rate)"


@pytest.mark.parametrize("hands", [train.Hands(2), train.Hands(1)])
def test_who_works_does_not_change_a_bit(hands):
    metrics, y, groups = labelled(3)
    alone = train.hold_out([VOTE, VOTE._replace(params={"leaves": 8})], metrics, y, groups, 2, 0)
    other = train.hold_out([VOTE, VOTE._replace(params={"leaves": 8})], metrics, y, groups, 2, 0, hands)
    assert np.array_equal(alone.p, other.p, equal_nan=True)
    assert alone.chosen == other.chosen


def test_a_dask_scheduler_gives_the_same_bytes():
    distributed = pytest.importorskip("distributed")
    metrics, y, groups = labelled(3)
    alone = train.hold_out([VOTE], metrics, y, groups, 2, 0)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        other = train.hold_out([VOTE], metrics, y, groups, 2, 0, train.Hands(scheduler=cluster.scheduler_address))
    assert np.array_equal(alone.p, other.p, equal_nan=True)


def units_of(**columns):
    """Return a recording with metrics and without labels."""
    table = pd.DataFrame(columns)
    return Recording("r", Path("r.csv"), [str(i) for i in range(len(table))], table, None, {})


def test_bombcell_agrees_with_spikeinterface():
    curation = pytest.importorskip("spikeinterface.curation")
    rng, names = np.random.default_rng(3), []
    for rules in labellers.CRITERIA["bombcell"].values():
        names += list(rules)
    limits = {m: r for rules in labellers.CRITERIA["bombcell"].values() for m, r in rules.items()}
    columns = {}
    for name in dict.fromkeys(names):
        scale = max(abs(v) for k, v in limits[name].items() if k != "abs")
        safe = (limits[name].get("greater", 0) + limits[name].get("less", 3 * scale)) / 2
        values = np.where(rng.random(400) < 0.08, rng.uniform(0, 2.5 * scale, 400), safe)
        columns[name] = np.where(rng.random(400) < 0.02, np.nan, values)
    own = labellers.ask("bombcell", units_of(**columns))
    theirs = curation.bombcell_label_units(external_metrics=pd.DataFrame(columns).astype("float32"))["bombcell_label"]
    assert set(own.labels) == {"good", "mua", "noise", "non_soma"}
    assert own.labels.tolist() == theirs.tolist()


def test_criteria_say_which_metric_excluded_a_unit():
    units = units_of(
        amplitude_cutoff=[0.05, 0.2, np.nan], presence_ratio=[0.95, 0.95, 0.95], isi_violations_ratio=[0.1, 0.9, 0.1]
    )
    found = labellers.ask("allen", units)
    assert found.labels.tolist() == ["good", "not good", "not good"]
    assert found.excluded_by == ["", "amplitude_cutoff, isi_violations_ratio", "amplitude_cutoff"]
    assert labellers.ask("ibl", units_of(amplitude_median=[-60.0, 40.0])).absent == [
        "sliding_rp_violation",
        "noise_cutoff",
    ]
    with pytest.raises(InputError, match="none of the metrics"):
        labellers.ask("allen", units_of(snr=[1.0]))


def test_thresholds_of_a_file_are_read_as_spikeinterface_reads_them(tmp_path):
    curation = pytest.importorskip("spikeinterface.curation")
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"snr": {"greater": 5}, "amplitude_median": {"greater": 30, "abs": True}}))
    table = pd.DataFrame({"snr": [5.0, 4.9, np.nan], "amplitude_median": [-30.0, -90.0, 50.0]})
    theirs = curation.threshold_metrics_label_units(table, path)["label"]
    assert [label == "good" for label in labellers.ask(str(path), units_of(**table)).labels] == [
        v == "good" for v in theirs
    ]
    path.write_text(json.dumps({"snr": {"more": 5}}))
    with pytest.raises(InputError, match="snr"):
        labellers.ask(str(path), units_of(snr=[1.0]))
    with pytest.raises(InputError, match="kslabel"):
        labellers.ask("nobody", units_of(snr=[1.0]))


def test_kilosorts_labels_are_read_beside_the_table(tmp_path):
    (tmp_path / "cluster_KSLabel.tsv").write_text("cluster_id\tKSLabel\n0\tgood\n1\tmua\n")
    found = labellers.ask("kslabel", units_of(snr=[1.0, 2.0])._replace(source=tmp_path / "m.csv"))
    assert found.labels.tolist() == ["good", "mua"]


def test_labellers_stand_beside_the_model(tables, model, run_command, tmp_path):
    (tables / "cluster_KSLabel.tsv").unlink(missing_ok=True)
    rules = tmp_path / "mine.json"
    rules.write_text(json.dumps({"noise": {"snr": {"greater": 2}}, "mua": {"isi_violations_ratio": {"less": 0.5}}}))
    options = ["--label-column", "label", "--labellers", f"allen,spikeinterface,{rules}", "--json"]
    answer = run_command("unit_refine", "compare", tables / "rec3.csv", "--models", model, *options)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)["results"]
    scores = {row["model"]: row["balanced_accuracy"] for row in found["models"]}
    assert [scores["allen"], scores["spikeinterface"]] == [
        None,
        None,
    ]  # they know no noise, the model has three classes
    assert 0.3 < scores["mine"] <= 1
    table = pd.read_csv(tables / "rec3.csv")
    by_hand = np.where(~(table["snr"] >= 2), "noise", np.where(table["isi_violations_ratio"] > 0.5, "mua", "good"))
    hits = [np.mean(by_hand[table["label"] == c] == c) for c in ("good", "mua", "noise")]
    assert scores["mine"] == pytest.approx(np.mean(hits))
    pair = next(r for r in found["agreement"] if (r["first"], r["second"]) == ("curator", "mine"))
    assert sum(pair["confusion"].values()) == pair["n_units"] == len(table)
    assert found["answer"]["verdict"] in ("yes", "no", "cannot tell")
    assert f"{model} beats {found['answer']['against']}: {found['answer']['verdict']}" in found["answer"]["sentence"]
    own = [r for r in found["excluded_by"] if (r["labeller"], r["metric"]) == ("mine", "snr")]
    assert own[0]["n_excluded"] == int((~(table["snr"] >= 2)).sum())


def test_predictions_say_which_metric_excluded_a_unit(tables, model, run_command, tmp_path):
    out = tmp_path / "p.csv"
    answer = run_command("unit_refine", "predict", model, tables / "bare3.csv", "--labellers", "allen", "--output", out)
    assert answer.returncode == 0, answer.stderr
    table = pd.read_csv(out, keep_default_na=False)
    bare = pd.read_csv(tables / "bare3.csv")
    assert ((table["allen"] == "good") == (table["allen_excluded_by"] == "")).all()
    cut = bare["isi_violations_ratio"] > 0.5
    assert table["allen_excluded_by"][cut.to_numpy()].str.contains("isi_violations_ratio").all()
    assert "consensus" not in table.columns
