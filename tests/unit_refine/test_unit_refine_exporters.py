"""Folders and tables as other programs write them, each with the trap that goes with it."""

import json

import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from unit_refine.commands import from_python, info
from unit_refine.config import PredictConfig, Tables, TrainConfig
from unit_refine.files import clusters, curation, kilosort, label_files, load_model, phy, pictures, recordings
from unit_refine.files.analyzers import Analyzer
from unit_refine.fit import workflow
from unit_refine.score.predict import predict
from unit_refine.units import labels, metric_names, metrics

METRICS = ("snr", "isi_violations_ratio", "presence_ratio", "amplitude_median")
GROUPS = ["good", "mua", "noise"] * 4


def metrics_of(ids, column="cluster_id"):
    """Return a table in which each metric tells whose it is."""
    ids = list(ids)
    return pd.DataFrame({column: ids} | {m: [i + k / 10 for i in ids] for k, m in enumerate(METRICS)})


def read(path, model):
    return recordings.read_recording(path, PredictConfig(model=model, inputs=[path], output=path.parent / "out.csv"))


def write_spikes(folder, numbers):
    for name in ("spike_clusters", "spike_templates"):
        np.save(folder / f"{name}.npy", np.repeat(numbers, 5)[:, None])
    np.save(folder / "spike_times.npy", np.arange(5 * len(numbers))[:, None])
    (folder / "params.py").write_text("dat_path = None\nsample_rate = 30000.0\n")


@pytest.fixture
def spikeinterface_export(tmp_path):
    """Return SpikeInterface's export of units 100, 101, ... of which the third has no spikes: its spikes keep the numbers of all units,
    its tables number only those with spikes."""
    folder, numbers = tmp_path / "phy", [0, 1, 3, 4, 5]
    folder.mkdir()
    write_spikes(folder, numbers)
    rows = range(len(numbers))
    pd.DataFrame({"cluster_id": rows, "group": "unsorted"}).to_csv(folder / "cluster_group.tsv", sep="\t", index=False)
    units = pd.DataFrame({"cluster_id": rows, "si_unit_id": [100 + i for i in numbers]})
    units.to_csv(folder / "cluster_si_unit_ids.tsv", sep="\t", index=False)
    for m in METRICS:
        table = pd.DataFrame({"cluster_id": rows, m: [float(i) for i in numbers]})
        table.to_csv(folder / f"cluster_{m}.tsv", sep="\t", index=False)
    return folder


def test_behind_an_empty_unit_an_exported_metric_is_that_of_its_own_spikes(spikeinterface_export, model):
    found = read(spikeinterface_export, model)
    assert found.unit_ids == ["0", "1", "3", "4", "5"]
    assert found.table["snr"].tolist() == [0.0, 1.0, 3.0, 4.0, 5.0]


def test_behind_an_empty_unit_a_prediction_reaches_its_own_cluster(spikeinterface_export):
    ids = ["100", "101", "103", "104", "105"]
    table = pd.DataFrame({"unit_id": ids, "predicted_quality": ["good", "mua", "noise", "mua", "good"]})
    phy.export(spikeinterface_export, table.assign(prediction_confidence=0.9, abstained=False), True, False)
    groups = pd.read_csv(spikeinterface_export / "cluster_group.tsv", sep="\t").set_index("cluster_id")["group"]
    assert groups.loc[[0, 1, 3, 4, 5]].tolist() == ["good", "mua", "noise", "mua", "good"]


def test_after_a_merge_in_phy_an_export_without_empty_units_keeps_its_numbers(tmp_path, model):
    write_spikes(tmp_path, [0, 1, 2, 3])
    np.save(tmp_path / "spike_clusters.npy", np.repeat([4, 4, 2, 3], 5))  # 0 and 1 became 4
    units = pd.DataFrame({"cluster_id": range(4), "si_unit_id": [9, 8, 7, 6]})
    units.to_csv(tmp_path / "cluster_si_unit_ids.tsv", sep="\t", index=False)
    metrics_of(range(4)).to_csv(tmp_path / "quality_metrics.csv", index=False)
    assert read(tmp_path, model).unit_ids == ["2", "3"]


@pytest.fixture
def kilosort_folder(tmp_path):
    """Return a folder as Kilosort 4 leaves it: its own labels also stand in cluster_group.tsv, under their own name."""
    folder = tmp_path / "kilosort4"
    folder.mkdir()
    write_spikes(folder, list(range(12)))
    own = pd.DataFrame({"cluster_id": range(12), "KSLabel": ["good", "mua"] * 6})
    for name in ("group", "KSLabel"):
        own.to_csv(folder / f"cluster_{name}.tsv", sep="\t", index=False)
    pd.DataFrame({"cluster_id": range(12), "ContamPct": 9.0}).to_csv(
        folder / "cluster_ContamPct.tsv", sep="\t", index=False
    )
    metrics_of(range(12)).to_csv(folder / "quality_metrics.csv", index=False)
    return folder


def test_a_folder_that_only_kilosort_labelled_is_read_without_labels(kilosort_folder, model):
    found = read(kilosort_folder, model)
    assert len(found.unit_ids) == 12
    assert found.labels is None


def test_groups_come_from_cluster_info_where_the_group_file_is_kilosorts(kilosort_folder, model):
    info = pd.DataFrame({"cluster_id": range(12), "KSLabel": ["good", "mua"] * 6, "group": GROUPS})
    info.to_csv(kilosort_folder / "cluster_info.tsv", sep="\t", index=False)
    assert read(kilosort_folder, model).labels == GROUPS


def test_predictions_fill_a_new_group_file_and_keep_kilosorts(kilosort_folder):
    table = pd.DataFrame({"unit_id": [str(i) for i in range(12)], "predicted_quality": GROUPS})
    phy.export(kilosort_folder, table.assign(prediction_confidence=0.9, abstained=False), True, False)
    assert pd.read_csv(kilosort_folder / "cluster_group.tsv", sep="\t")["group"].tolist() == GROUPS
    assert "KSLabel" in (kilosort_folder / "cluster_group.tsv.backup").read_text()


def test_a_metric_file_under_any_header_is_the_metric_of_its_name(kilosort_folder, model):
    (kilosort_folder / "quality_metrics.csv").unlink()
    for m in METRICS:
        metrics_of(range(12))[["cluster_id", m]].rename(columns={m: "value"}).to_csv(
            kilosort_folder / f"cluster_{m}.tsv", sep="\t", index=False
        )
    assert read(kilosort_folder, model).table["snr"].tolist() == [float(i) for i in range(12)]


def test_metrics_of_ecephys_beside_spikeinterfaces_do_not_drop_these(kilosort_folder, model):
    other = pd.DataFrame({"cluster_id": range(12), "isi_viol": 9.0, "PT_ratio": 0.5, "snr": 99.0, "max_drift": 1.0})
    other.to_csv(kilosort_folder / "metrics.csv")
    table = read(kilosort_folder, model).table
    assert table["snr"].tolist() == [float(i) for i in range(12)]
    assert table["isi_violations_ratio"].tolist() == pytest.approx([i + 0.1 for i in range(12)])
    assert set(table["peak_after_to_trough_ratio"]) == {0.5}


def own_labels(folder, name, values, header=None):
    table = pd.DataFrame({"cluster_id": range(12), header or name: values})
    table.to_csv(folder / f"cluster_{name}.tsv", sep="\t", index=False)


def labels_in(folder, **options):
    (found,), _ = recordings.read_all(TrainConfig(inputs=[folder], **options))
    return found.labels


def test_labels_of_ones_own_column_are_read_and_the_column_is_told(kilosort_folder, caplog):
    own_labels(kilosort_folder, "quality", GROUPS)
    assert labels_in(kilosort_folder) == GROUPS
    assert any("the labels are those of its column 'quality'" in m for m in caplog.messages)


def test_of_two_label_columns_of_a_folder_that_disagree_one_must_be_named(kilosort_folder, model):
    own_labels(kilosort_folder, "quality", GROUPS)
    other = ["mua", *GROUPS[1:]]
    own_labels(kilosort_folder, "group", other)
    with pytest.raises(InputError, match="'group' and 'quality' could be the labels and differ for 1 clusters"):
        labels_in(kilosort_folder)
    assert labels_in(kilosort_folder, label_column="quality") == GROUPS
    assert labels_in(kilosort_folder, label_column="group") == other
    assert len(read(kilosort_folder, model).unit_ids) == 12  # where labels are not wanted nothing is asked
    read_source = from_python.read_source(kilosort_folder, kilosort_folder, TrainConfig(inputs=[kilosort_folder]))
    assert len(read_source.unit_ids) == 12  # nor where they come from Python
    own_labels(kilosort_folder, "group", ["", *GROUPS[1:]])
    assert labels_in(kilosort_folder) == ["", *GROUPS[1:]]  # they agree


def test_groups_that_nobody_gave_do_not_stand_before_a_column_of_labels(kilosort_folder):
    own_labels(kilosort_folder, "group", "unsorted")  # as SpikeInterface's export leaves it
    own_labels(kilosort_folder, "quality", GROUPS)
    assert labels_in(kilosort_folder) == GROUPS


def test_labels_in_a_folders_table_of_metrics_count_like_those_beside_it(kilosort_folder):
    metrics_of(range(12)).assign(quality=GROUPS).to_csv(kilosort_folder / "quality_metrics.csv", index=False)
    assert labels_in(kilosort_folder) == labels_in(kilosort_folder, label_column="quality") == GROUPS
    own_labels(kilosort_folder, "group", ["mua", *GROUPS[1:]])
    with pytest.raises(InputError, match="'group' and 'quality' could be the labels and differ for 1 clusters"):
        labels_in(kilosort_folder)
    own_labels(kilosort_folder, "quality", ["mua", *GROUPS[1:]])
    with pytest.raises(
        InputError, match="'quality' of its metrics differs for 1 clusters from the labels called 'quality'"
    ):
        labels_in(kilosort_folder, label_column="quality")


@pytest.mark.parametrize("content", ["", "cluster_id\tgroup\n"])
def test_a_group_file_without_a_label_stops_nothing_and_is_filled(content, kilosort_folder, model):
    for name in ("group", "KSLabel", "quality"):
        (kilosort_folder / f"cluster_{name}.tsv").write_text(content)
    assert read(kilosort_folder, model).labels is None
    table = pd.DataFrame({"unit_id": [str(i) for i in range(12)], "predicted_quality": GROUPS})
    phy.export(kilosort_folder, table.assign(prediction_confidence=0.9, abstained=False), True, False)
    assert pd.read_csv(kilosort_folder / "cluster_group.tsv", sep="\t")["group"].tolist() == GROUPS


@pytest.mark.parametrize("name", ["group", "label"])
def test_labels_that_cannot_be_read_stop_only_those_who_want_them(name, kilosort_folder, model, caplog):
    (kilosort_folder / f"cluster_{name}.tsv").write_text(f"cluster_id\t{name}\n1\tgood\n1\tmua\n")
    assert len(read(kilosort_folder, model).unit_ids) == 12
    assert any("not read" in m and "occurs more than once" in m for m in caplog.messages)
    with pytest.raises(InputError, match="occurs more than once"):
        labels_in(kilosort_folder)


def test_rows_that_a_spreadsheet_left_empty_are_no_units(tmp_path, model):
    text = metrics_of([7, 3, 5]).to_csv(index=False)
    (tmp_path / "m.csv").write_text(text + "," * len(METRICS) + "\n" + "," * len(METRICS) + "\n")
    assert read(tmp_path / "m.csv", model).unit_ids == ["7", "3", "5"]
    (tmp_path / "m.csv").write_text(text + ",1" + "," * (len(METRICS) - 1) + "\n")
    with pytest.raises(InputError, match="1 units without an id"):
        read(tmp_path / "m.csv", model)


def test_a_session_that_is_spelled_in_two_ways_is_one(tmp_path):
    both = pd.concat([metrics_of([7, 3]).assign(session=s) for s in ("1", "1.0", "b")])
    both.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(InputError, match="unit id 7 occurs more than once"):
        recordings.read_unlabelled(Tables(inputs=[tmp_path / "m.csv"], group_by="session"), [tmp_path / "m.csv"])


def test_a_column_of_any_name_is_read_where_it_is_named(kilosort_folder, caplog):
    own_labels(kilosort_folder, "bc_unitType", ["GOOD", "MUA", "NOISE"] * 4)
    with pytest.raises(InputError, match=r"no labels.*column 'bc_unitType' looks like labels"):
        labels_in(kilosort_folder)
    assert labels_in(kilosort_folder, label_column="bc_unitType") == ["GOOD", "MUA", "NOISE"] * 4
    assert labels_in(kilosort_folder, label_column="KSLabel") == ["good", "mua"] * 6
    assert any("Kilosort's own labels, not a curator's" in m for m in caplog.messages)
    with pytest.raises(
        InputError, match="no column 'quality'; beside metrics its clusters have ContamPct, bc_unitType"
    ):
        labels_in(kilosort_folder, label_column="quality")


def ibl_folder(folder, label):
    """Write IBL's files of a sorting as ONE downloads them."""
    folder.mkdir()
    n = len(label)
    np.save(folder / "spikes.times.npy", np.linspace(0, 9, 50))
    np.save(folder / "spikes.clusters.npy", np.arange(50) % n)
    table = pd.DataFrame({"cluster_id": range(n), "spike_count": range(10, 10 + n), "firing_rate": 1.0, "label": label})
    more = {
        "slidingRP_viol": 1.0,
        "noise_cutoff": 2.0,
        "amp_median": 6e-5,
        "missed_spikes_est": 0.1,
        "presence_ratio": 1.0,
    }
    table.assign(**more, ks2_label="good").to_parquet(folder / "clusters.metrics.pqt")
    return folder


def test_the_share_of_ibls_criteria_is_no_curators_label(tmp_path, model):
    folder = ibl_folder(tmp_path / "alf", [1.0, 0.0, 1.0, 0.0, 1 / 3, 2 / 3])
    found = read(folder, model)
    assert found.unit_ids == list("012345")
    assert found.table["num_spikes"].tolist() == [10, 11, 12, 13, 14, 15]
    assert "presence_ratio" not in found.table.columns  # defined otherwise
    assert info.of_units(folder).results["label_columns"] == []
    for path in (folder, folder / "clusters.metrics.pqt"):
        with pytest.raises(InputError, match=r"share of IBL's three criteria .* no curator's class"):
            labels_in(path, label_column="label", task="sua_vs_mua")
        with pytest.raises(InputError, match=r"share of IBL's three criteria"):
            labels_in(path, labels=[folder / "clusters.metrics.pqt"], task="sua_vs_mua")
        wanted = ["1", "0", "1", "0", "0.33", "0.67"]
        assert labels_in(path, label_column="label", label_map=["1=good", "0.67=mua", "0.33=mua", "0=noise"]) == wanted


def test_ibls_spikes_without_metrics_are_refused_with_the_line_that_makes_them(tmp_path, model):
    folder = ibl_folder(tmp_path / "alf", [1.0, 0.0])
    (folder / "clusters.metrics.pqt").unlink()
    with pytest.raises(InputError, match=r"read_ibl_sorting\(pid=PID"):
        read(folder, model)


@pytest.mark.parametrize("name", ["Cluster ID", "clusterId", "unitID", "Unit Id", "CLUSTER_ID"])
def test_ids_are_found_however_their_column_is_spelled_not_the_row_numbers_before_them(name, tmp_path, model):
    metrics_of([7, 3, 5], name).to_csv(tmp_path / "m.csv")
    assert read(tmp_path / "m.csv", model).unit_ids == ["7", "3", "5"]
    rows = pd.DataFrame({name: [7, 3, 5], "group": ["good", "mua", "noise"]})
    rows.to_csv(tmp_path / "g.csv")
    assert label_files.read_label_file(tmp_path / "g.csv").labels == {"7": "good", "3": "mua", "5": "noise"}


@pytest.mark.parametrize("name", ["si_unit_id", "original_cluster_id", "unit_name", "clusterID"])
def test_a_first_column_without_a_name_beside_other_ids_is_not_guessed_at(name, tmp_path, model):
    metrics_of([7, 3, 5], name).to_csv(tmp_path / "m.csv")
    with pytest.raises(InputError, match=f"first column, which has no name, or '{name}'"):
        read(tmp_path / "m.csv", model)
    pd.DataFrame({name: [7, 3, 5], "group": ["good", "mua", "noise"]}).to_csv(tmp_path / "g.csv")
    with pytest.raises(InputError, match=f"first column, which has no name, or '{name}'"):
        label_files.read_label_file(tmp_path / "g.csv")


def test_a_row_that_sums_up_the_others_is_refused(tmp_path, model):
    table = metrics_of(range(5), "unit_id").set_index("unit_id")
    table.loc["mean"] = table.mean()
    table.to_csv(tmp_path / "m.csv")
    with pytest.raises(InputError, match="the row 'mean' sums up the units"):
        read(tmp_path / "m.csv", model)


def test_a_second_column_of_ids_that_numbers_otherwise_is_told(tmp_path, model, caplog):
    metrics_of([7, 3, 5]).assign(unit_id=[0, 1, 2]).to_csv(tmp_path / "m.csv", index=False)
    assert read(tmp_path / "m.csv", model).unit_ids == ["7", "3", "5"]
    assert "not of 'unit_id'" in caplog.text


@pytest.mark.parametrize("suffix", [".pqt", ".parquet"])
def test_metrics_and_labels_are_read_from_parquet(suffix, tmp_path, model):
    metrics_of([7, 3, 5]).to_parquet(tmp_path / f"m{suffix}", index=False)
    assert read(tmp_path / f"m{suffix}", model).table["snr"].tolist() == [7.0, 3.0, 5.0]
    pd.DataFrame({"cluster_id": [7, 3, 5], "label": ["good", None, "noise"]}).to_parquet(tmp_path / f"g{suffix}")
    assert label_files.read_label_file(tmp_path / f"g{suffix}").labels == {"7": "good", "3": "", "5": "noise"}


@pytest.mark.parametrize(
    ("column", "task", "wanted"),
    [
        ("is_mua", "sua_vs_mua", ["mua", "good", "mua"]),
        ("is_good", "sua_vs_all", ["good", "mua", "good"]),
        ("isSUA", "sua_vs_mua", ["good", "mua", "good"]),
        ("is_noise", "noise_vs_neural", ["noise", "neural", "noise"]),
    ],
)
def test_yes_and_no_answer_the_question_that_their_column_asks(column, task, wanted, tmp_path):
    found = labels.spelled_out([1, 0, 1], column)
    assert labels.read_labels(found, task, "g.csv")[0] == wanted


@pytest.mark.parametrize(("column", "task"), [("is_good", "noise_vs_neural"), ("is_mua", "sua_vs_all")])
def test_a_no_that_leaves_two_classes_open_is_refused(column, task):
    with pytest.raises(InputError, match="unknown label 'not "):
        labels.read_labels(labels.spelled_out([1, 0], column), task, "g.csv")


def test_merges_under_their_first_name_are_heeded(tmp_path):
    file = tmp_path / "curation.json"
    file.write_text(
        '{"format_version": "1", "unit_ids": [1, 2, 3], "label_definitions": {"quality": {"label_options": ["good"]}},'
        ' "manual_labels": [{"unit_id": 1, "quality": ["good"]}], "merged_unit_groups": [[2, 3]], "removed_units": []}'
    )
    assert set(curation.read(file).left_out) == {"2", "3"}


def test_labels_of_a_person_are_read_with_the_metrics_of_the_same_folder(kilosort_folder, tmp_path):
    groups = pd.DataFrame({"cluster_id": range(12), "group": GROUPS})
    groups.to_csv(kilosort_folder / "cluster_group.tsv", sep="\t", index=False)
    found, _ = recordings.read_all(TrainConfig(inputs=[kilosort_folder], output=tmp_path / "m"))
    assert found[0].labels == GROUPS


def test_allen_units_under_either_package_s_names_are_converted():
    table = pd.DataFrame({"PT_ratio": [0.5], "isi_violations": [0.1], "duration": [0.4], "waveform_duration": [0.4],
                          "waveform_halfwidth": [0.2], "snr": [2.0], "waveform_spread": [60.0]})  # fmt: skip
    found = metric_names.from_producer(table)[0].drop(columns="waveform_duration")
    assert found.round(6).to_dict("records") == [
        {"peak_after_to_trough_ratio": 0.5, "isi_violations_ratio": 0.1, "peak_to_trough_duration": 0.0004, "trough_half_width": 0.0002}
    ]  # fmt: skip


@pytest.mark.parametrize("rate", ["30000.", "'30000'", "30_000.0  # Hz", "3e4"])
def test_a_sampling_rate_is_read_however_it_is_written(rate, kilosort_folder):
    (kilosort_folder / "params.py").write_text(f"dat_path = r'C:\\data#1\\x.dat'\nsample_rate = {rate}\n")
    assert clusters.sample_rate(kilosort_folder) == 30000.0
    assert clusters.params_of(kilosort_folder)["dat_path"] == r"C:\data#1\x.dat"


def test_a_sampling_rate_in_khz_is_refused(kilosort_folder):
    (kilosort_folder / "params.py").write_text("sample_rate = 30.0\n")
    with pytest.raises(InputError, match="the sampling rate in Hz is expected"):
        clusters.sample_rate(kilosort_folder)


def test_spike_times_in_seconds_are_refused_and_samples_as_decimals_are_read(kilosort_folder, model):
    times = np.arange(60)[:, None]
    np.save(kilosort_folder / "spike_times.npy", times.astype(float))
    assert read(kilosort_folder, model).table["firing_rate"].iloc[0] == pytest.approx(5 / (59 / 30000))
    np.save(kilosort_folder / "spike_times.npy", times / 30000)
    with pytest.raises(InputError, match="times in samples are expected, not in seconds"):
        read(kilosort_folder, model)


def test_cluster_numbers_as_decimals_are_read(kilosort_folder, model):
    np.save(kilosort_folder / "spike_clusters.npy", np.repeat(np.arange(12.0), 5))
    assert len(read(kilosort_folder, model).unit_ids) == 12


def test_spikes_without_a_template_do_not_count_for_the_last_one(kilosort_folder):
    np.save(kilosort_folder / "templates.npy", np.eye(12)[:, :, None] * np.ones(4))
    numbers = np.repeat(np.arange(12), 5)
    numbers[:2] = -1
    np.save(kilosort_folder / "spike_templates.npy", numbers)
    found = pictures.of_phy(kilosort_folder, [str(i) for i in range(12)])
    assert found.templates[0, 11].max() == 0.0


def test_labels_of_cluster_info_that_differ_are_told(kilosort_folder, model, caplog):
    for name, groups in (("group", GROUPS), ("info", ["unsorted", *GROUPS[2:], GROUPS[0]])):
        table = pd.DataFrame({"cluster_id": range(12), "group": groups})
        table.to_csv(kilosort_folder / f"cluster_{name}.tsv", sep="\t", index=False)
    assert read(kilosort_folder, model).labels == GROUPS
    assert "cluster_info.tsv: 12 labels differ from cluster_group.tsv's, which is read" in caplog.text


@pytest.mark.parametrize("group", ["", "unsorted"])
def test_labels_of_cluster_info_that_mean_the_same_are_not_told(group, kilosort_folder, model, caplog):
    for name, groups in (("group", ["", *GROUPS[1:]]), ("info", [group, *GROUPS[1:]])):
        table = pd.DataFrame({"cluster_id": range(12), "group": groups})
        table.to_csv(kilosort_folder / f"cluster_{name}.tsv", sep="\t", index=False)
    read(kilosort_folder, model)
    assert "differ" not in caplog.text


def test_predictions_go_to_the_clusters_of_a_group_file_not_to_its_row_numbers(kilosort_folder):
    groups = pd.DataFrame({"Cluster ID": range(11, -1, -1), "group": ["good"] * 6 + [""] * 6})
    groups.to_csv(kilosort_folder / "cluster_group.tsv", sep="\t")
    table = pd.DataFrame({"unit_id": [str(i) for i in range(12)], "predicted_quality": ["noise"] * 3 + ["mua"] * 9})
    phy.export(kilosort_folder, table.assign(prediction_confidence=0.9, abstained=False), True, False)
    found = pd.read_csv(kilosort_folder / "cluster_group.tsv", sep="\t").set_index("Cluster ID")["group"]
    assert found.sort_index().tolist() == ["noise"] * 3 + ["mua"] * 3 + ["good"] * 6


@pytest.mark.parametrize("place", ["bombcell", "qMetrics"])
def test_bombcells_table_is_found_in_the_folder_that_it_makes(place, kilosort_folder, model):
    (kilosort_folder / "quality_metrics.csv").unlink()
    (kilosort_folder / place).mkdir()
    table = pd.DataFrame({"phy_clusterID": np.arange(12.0), "clusterID": np.arange(1.0, 13), "nPeaks": 1.0, "nTroughs": 1.0,
                          "isolationDistance": np.arange(12.0), "waveformDuration_peakTrough": 400.0})  # fmt: skip
    table.to_parquet(kilosort_folder / place / "templates._bc_qMetrics.parquet")
    found = read(kilosort_folder, model).table
    assert found["isolation_distance"].tolist() == list(range(12))
    assert set(found["peak_to_trough_duration"].round(9)) == {0.0004}


PADDED = [f"{i:03d}" for i in range(95, 105)]


def test_ids_with_leading_zeros_stay_what_they_are(tmp_path, model):
    metrics_of(range(10)).assign(cluster_id=PADDED).to_csv(tmp_path / "m.csv", index=False)
    pd.DataFrame({"cluster_id": PADDED, "group": GROUPS[:10]}).to_csv(tmp_path / "g.tsv", sep="\t", index=False)
    found = read(tmp_path / "m.csv", model)
    assert found.unit_ids == PADDED
    assert label_files.join(found, label_files.read_label_file(tmp_path / "g.tsv"), tmp_path)[0].labels == GROUPS[:10]


def test_labels_find_units_whose_ids_are_spelled_without_their_zeros(tmp_path, model):
    metrics_of(range(95, 105)).to_csv(tmp_path / "m.csv", index=False)
    pd.DataFrame({"cluster_id": PADDED, "group": GROUPS[:10]}).to_csv(tmp_path / "g.tsv", sep="\t", index=False)
    found = label_files.join(read(tmp_path / "m.csv", model), label_files.read_label_file(tmp_path / "g.tsv"), tmp_path)
    assert found[0].labels == GROUPS[:10]
    assert found[1] == []


@pytest.mark.parametrize("form", ["%.3f", "%.6e", "%d"])
def test_ids_written_as_decimals_are_the_numbers(form, tmp_path, model):
    metrics_of(range(95, 105)).assign(cluster_id=[form % i for i in range(95, 105)]).to_csv(
        tmp_path / "m.csv", index=False
    )
    pd.DataFrame({"cluster_id": range(95, 105), "group": GROUPS[:10]}).to_csv(tmp_path / "g.tsv", sep="\t", index=False)
    found = read(tmp_path / "m.csv", model)
    assert label_files.join(found, label_files.read_label_file(tmp_path / "g.tsv"), tmp_path)[0].labels == GROUPS[:10]


@pytest.fixture
def analyzer_of_names(tmp_path):
    """Return a SortingAnalyzer folder whose unit ids are text, as SpikeInterface 0.101 to 0.105 write it, with two segments."""
    folder = tmp_path / "analyzer"
    for part in ("sorting", "extensions/quality_metrics", "extensions/template_metrics"):
        (folder / part).mkdir(parents=True)
    (folder / "spikeinterface_info.json").write_text('{"version": "0.105.3", "object": "SortingAnalyzer"}')
    info = {"unit_ids": PADDED, "sampling_frequency": 25000.0, "num_segments": 2}
    (folder / "sorting" / "numpysorting_info.json").write_text(json.dumps(info))
    spikes = np.zeros(40, [("sample_index", "i8"), ("unit_index", "i8"), ("segment_index", "i8")])
    spikes["sample_index"], spikes["unit_index"] = np.tile(np.arange(20), 2), np.tile(np.arange(10), 4)
    spikes["segment_index"] = np.repeat([0, 1], 20)
    np.save(folder / "sorting" / "spikes.npy", spikes)
    table = metrics_of(range(10)).assign(cluster_id=PADDED).set_index("cluster_id").rename_axis(None)
    table.iloc[:, :2].to_csv(folder / "extensions" / "quality_metrics" / "metrics.csv")
    table.iloc[:, 2:].to_csv(folder / "extensions" / "template_metrics" / "metrics.csv")
    return folder


def test_metrics_of_units_with_names_like_007_reach_their_units(analyzer_of_names, model):
    found = read(analyzer_of_names, model)
    assert found.unit_ids == PADDED
    assert found.table["snr"].tolist() == list(range(10))


@pytest.mark.parametrize("ids", [PADDED, [str(i) for i in range(10)]])
def test_unit_ids_that_are_text_stay_text_in_a_curation_file(ids, analyzer_of_names, model):
    info = analyzer_of_names / "sorting" / "numpysorting_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"unit_ids": ids}))
    for name in ("quality", "template"):
        file = analyzer_of_names / "extensions" / f"{name}_metrics" / "metrics.csv"
        pd.read_csv(file, index_col=0).set_axis(ids).to_csv(file)
    found = read(analyzer_of_names, model)
    table = pd.DataFrame(
        {"unit_id": found.unit_ids, "predicted_quality": "good", "abstained": False, "id_of": found.id_of}
    )
    assert curation.make(table)["unit_ids"] == ids
    assert curation.make(table.assign(id_of="unit", unit_id=range(10)))["unit_ids"] == list(range(10))


def test_segments_of_an_analyzer_are_drawn_one_after_the_other(analyzer_of_names):
    found = pictures.read(analyzer_of_names, PADDED)
    assert found.samples.tolist() == [*range(20), *range(19 + 25000, 39 + 25000)]


def test_computed_metrics_join_those_of_a_folder_and_change_none(kilosort_folder, monkeypatch):
    ids = [str(i) for i in range(11, -1, -1)]
    table = pd.DataFrame({"snr": 99.0, "spread": [float(i) for i in ids]})
    monkeypatch.setattr(kilosort, "read", lambda *_: Analyzer(ids, table, {}, [], lambda _: []))
    config = Tables(inputs=[kilosort_folder], compute_missing=True, gain_to_uv=1.0)
    found = recordings.read_recording(kilosort_folder, config).table
    assert found["snr"].tolist() == [float(i) for i in range(12)]
    assert found["spread"].tolist() == [float(i) for i in range(12)]


def test_where_the_voltage_is_gone_a_folder_s_own_metrics_are_used(kilosort_folder, caplog):
    config = Tables(inputs=[kilosort_folder], compute_missing=True, gain_to_uv=1.0)
    assert len(recordings.read_recording(kilosort_folder, config).unit_ids) == 12
    assert "metrics that are not there stay missing" in caplog.text


def test_several_raw_files_are_read_one_after_the_other(kilosort_folder):
    pytest.importorskip("spikeinterface")
    volts = np.arange(240, dtype=np.int16).reshape(60, 4)
    for name, part in (("a.dat", volts[:20]), ("b.dat", volts[20:])):
        part.tofile(kilosort_folder / name)
    np.save(kilosort_folder / "channel_positions.npy", np.c_[np.zeros(4), 20.0 * np.arange(4)])
    text = "dat_path = ['a.dat', 'b.dat']\nn_channels_dat = '4'\ndtype = 'int16'\nsample_rate = 30000.\nhp_filtered = 'True'\n"
    (kilosort_folder / "params.py").write_text(text)
    recording = kilosort.recording_of(kilosort_folder, 0.5)
    np.testing.assert_array_equal(recording.get_traces(), volts)
    np.testing.assert_allclose(recording.get_channel_gains(), 0.5)
    (kilosort_folder / "params.py").write_text(text.replace("'4'", "'four'"))
    with pytest.raises(InputError, match="n_channels_dat, offset and sample_rate must be numbers"):
        kilosort.recording_of(kilosort_folder, 0.5)


def test_kilosort_s_labels_as_a_column_are_told(tmp_path, model, caplog):
    metrics_of(range(12)).assign(ks2_label=["good", "mua"] * 6).to_csv(tmp_path / "m.csv", index=False)
    recordings.read_recording(tmp_path / "m.csv", Tables(inputs=[tmp_path / "m.csv"]), "ks2_label")
    assert "'ks2_label' holds Kilosort's own labels" in caplog.text


def test_a_size_with_a_minus_is_predicted_like_the_size_that_was_trained_on(tables, model):
    table = pd.read_csv(tables / "bare3.csv").assign(amplitude_median=lambda t: t["amplitude_median"].abs())
    trained = load_model.load(model)
    wanted = predict(trained, table, "x")
    assert load_model.training_sign(trained) in (0.0, 1.0)
    told = []
    for sign in (1, -1):
        found = predict(trained, table.assign(amplitude_median=sign * table["amplitude_median"]), "x")
        np.testing.assert_array_equal(found["p"], wanted["p"])
        told += [n for n in found["notices"] if "its size is taken" in n]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("values", "negative", "wanted"),
    [
        ([-5.0, 3.0], 0.0, [5.0, 3.0]),
        ([5.0, 3.0], 1.0, [-5.0, -3.0]),
        ([-5.0, 3.0], 1.0, [-5.0, 3.0]),
        ([-5.0, -3.0], 0.5, [-5.0, -3.0]),
        ([-5.0, -3.0], None, [-5.0, -3.0]),
        ([np.nan, np.nan], 0.0, [np.nan, np.nan]),
    ],
)
def test_the_sign_of_a_size_follows_training_only_where_that_has_one_sign(values, negative, wanted):
    found = metrics.with_sign(pd.DataFrame({"amplitude_median": values}), negative)
    np.testing.assert_array_equal(found["amplitude_median"], wanted)


def test_recordings_whose_sizes_have_different_signs_are_trained_on_with_one(tables, tmp_path, caplog):
    paths = [tmp_path / f"rec{i}.csv" for i in range(2)]
    for i, path in enumerate(paths):
        table = pd.read_csv(tables / path.name)
        table.assign(amplitude_median=(-1) ** i * table["amplitude_median"].abs()).to_csv(path, index=False)
    units = workflow.load_units(TrainConfig(inputs=paths, label_column="label", output=tmp_path / "m"))
    assert (units.metrics["amplitude_median"].dropna() < 0).all()
    assert "amplitude_median is positive in rec0, negative in others" in caplog.text


#: As Bombcell's first releases in Python name and define them: like SpikeInterface's, and otherwise.
BOMBCELL_PYTHON = {
    "n_peaks": 1.0,
    "n_troughs": 1.0,
    "fraction_RPVs": 0.1,
    "presence_ratio": 0.123,
    "trough_width": 12.0,
}


@pytest.mark.parametrize("form", ["parquet", "cluster_<metric>.tsv", "cluster_info.tsv"])
def test_metrics_that_bombcell_names_like_spikeinterface_and_defines_otherwise_stay_away(
    form, kilosort_folder, model, caplog
):
    table = pd.DataFrame({"cluster_id": range(12), "isolation_dist": 50.0} | BOMBCELL_PYTHON)
    if form == "parquet":
        (kilosort_folder / "quality_metrics.csv").unlink()
        table.to_parquet(kilosort_folder / "templates._bc_qMetrics.parquet")
    elif form == "cluster_info.tsv":
        table.to_csv(kilosort_folder / form, sep="\t", index=False)
    for name in BOMBCELL_PYTHON if form == "cluster_<metric>.tsv" else ():
        table[["cluster_id", name]].to_csv(kilosort_folder / f"cluster_{name}.tsv", sep="\t", index=False)
    found = read(kilosort_folder, model).table
    if form == "parquet":
        assert set(found["isolation_distance"]) == {50.0}
        assert "presence_ratio" not in found
    else:
        assert found["presence_ratio"].tolist() == pytest.approx([i + 0.2 for i in range(12)])
    assert "trough_width" not in found
    assert "presence_ratio" in caplog.text


def test_of_two_files_that_disagree_about_a_metric_the_one_that_is_read_is_told(kilosort_folder, model, caplog):
    for name, factor in (("snr", 2.0), ("presence_ratio", 1.0001)):
        table = pd.read_csv(kilosort_folder / "quality_metrics.csv")[["cluster_id", name]]
        table.assign(**{name: table[name] * factor}).to_csv(
            kilosort_folder / f"cluster_{name}.tsv", sep="\t", index=False
        )
    assert read(kilosort_folder, model).table["snr"].tolist() == [float(i) for i in range(12)]
    assert "cluster_snr.tsv has other values of snr than quality_metrics.csv, which is read" in caplog.text
    assert "other values of presence_ratio" not in caplog.text


def test_several_tables_of_metrics_in_a_folder_are_not_chosen_from(kilosort_folder, model):
    for name in ("a", "b"):
        (kilosort_folder / f"{name}_quality_metrics.csv").write_text(
            (kilosort_folder / "quality_metrics.csv").read_text()
        )
    (kilosort_folder / "quality_metrics.csv").unlink()
    with pytest.raises(InputError, match="2 tables of metrics"):
        read(kilosort_folder, model)


@pytest.mark.parametrize("more", [[], [400]])
def test_labels_whose_ids_count_from_one_are_refused(more, tmp_path, model):
    ids = [0, 1, 2, 3, 5, 6, 8, 9, 10, 12, 20, 21]
    metrics_of(ids + more).to_csv(tmp_path / "m.csv", index=False)
    pd.DataFrame({"cluster_id": np.array(ids) + 1, "group": GROUPS}).to_csv(tmp_path / "g.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="all ids would fit less 1: counted from one"):
        label_files.join(read(tmp_path / "m.csv", model), label_files.read_label_file(tmp_path / "g.tsv"), tmp_path)


def test_metrics_whose_ids_count_from_one_are_refused_and_a_merge_is_not(kilosort_folder, model):
    metrics_of(range(1, 13)).to_csv(kilosort_folder / "quality_metrics.csv", index=False)
    np.save(kilosort_folder / "spike_clusters.npy", np.repeat([12, *range(1, 11), 12], 5))  # 0 and 11 became 12
    assert len(read(kilosort_folder, model).unit_ids) == 11
    write_spikes(kilosort_folder, list(range(12)))
    with pytest.raises(InputError, match="all ids would fit less 1: counted from one"):
        read(kilosort_folder, model)


def test_of_two_columns_of_labels_that_disagree_one_must_be_named(tmp_path, model):
    metrics_of(range(12)).to_csv(tmp_path / "m.csv", index=False)
    own = pd.DataFrame({"cluster_id": range(12), "label": GROUPS, "is_noise": [g == "noise" for g in GROUPS]})
    own.assign(KSLabel="good").to_csv(tmp_path / "g.csv", index=False)
    assert list(label_files.read_label_file(tmp_path / "g.csv").labels.values()) == GROUPS
    own.assign(quality=["mua", *GROUPS[1:]], KSLabel="good").to_csv(tmp_path / "g.csv", index=False)
    with pytest.raises(InputError, match="'quality' and 'label' could be the labels and differ for 1 units"):
        label_files.read_label_file(tmp_path / "g.csv")
    options = {"inputs": [tmp_path / "m.csv"], "labels": [tmp_path / "g.csv"], "output": tmp_path / "o"}
    found, _ = recordings.read_all(TrainConfig(label_column="Label", **options))
    assert found[0].labels == GROUPS


@pytest.mark.parametrize(
    ("given", "wanted"), [([-1.0, 2.0, -1.0], [None, 2.0, None]), ([-2.0, 2.0, -1.0], [-2.0, 2.0, -1.0])]
)
def test_a_negative_number_that_stands_for_none_is_missing_and_told(given, wanted, tmp_path, model, caplog):
    metrics_of([7, 3, 5]).assign(drift_ptp=given, velocity_above=[-999, -1, 1]).to_csv(tmp_path / "m.csv", index=False)
    found = read(tmp_path / "m.csv", model).table
    assert found["drift_ptp"].astype(object).where(found["drift_ptp"].notna(), None).tolist() == wanted
    assert found["velocity_above"].isna().tolist() == [True, False, False]
    assert "velocity_above of 1 units is -999: taken as missing" in caplog.text


def test_a_file_that_is_cut_off_and_two_columns_of_one_name_are_refused(tmp_path, model):
    path = tmp_path / "m.csv"
    metrics_of([7, 3, 5]).to_csv(path, index=False)
    text = path.read_text()
    path.write_text(text.rstrip())
    assert read(path, model).unit_ids == ["7", "3", "5"]
    path.write_text(text.rstrip().rpartition(",")[0])
    with pytest.raises(InputError, match="last line has 4 of 5 cells"):
        read(path, model)
    path.write_text("cluster_id,snr, snr\n1,2.0,2.0\n2,3.0,3.0\n")
    assert read(path, model).table["snr"].tolist() == [2.0, 3.0]
    path.write_text("cluster_id,snr, snr\n1,2.0,2.0\n2,3.0,4.0\n")
    with pytest.raises(InputError, match="two columns are called 'snr' and differ"):
        read(path, model)


@pytest.mark.parametrize(
    ("name", "told"), [("m.xlsx", "as CSV"), ("s.cell_metrics.cellinfo.mat", "writetable"), ("m.npz", "ids")]
)
def test_tables_of_other_programs_are_refused_with_what_to_do(name, told, tmp_path, model):
    (tmp_path / name).write_bytes(b"\x89HDF")
    with pytest.raises(InputError, match=told):
        read(tmp_path / name, model)
