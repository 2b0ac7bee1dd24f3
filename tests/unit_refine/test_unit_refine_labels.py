"""Labels as Phy, Kilosort, SpikeInterface, sortingview and spreadsheets write them, each with the trap that goes with it."""

import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from unit_refine.config import PredictConfig, TrainConfig
from unit_refine.files import folder_labels, label_files, phy, recordings
from unit_refine.files import tables as tables_file
from unit_refine.files import text as text_file
from unit_refine.score import predict
from unit_refine.units import labels, metric_names

ROWS = [("3", "good"), ("7", "mua"), ("12", "noise")]
WANTED = {"3": "good", "7": "mua", "12": "noise"}


def text(separator="\t", header="cluster_id{}group", newline="\n"):
    lines = [header.format(separator)] if header else []
    return newline.join([*lines, *(separator.join(row) for row in ROWS)]) + newline


SPELLINGS = {
    "cluster_group.tsv": text().encode(),
    "cluster_groups.csv": text().encode(),
    "comma.tsv": text(",").encode(),
    "semicolon.csv": text(";").encode(),
    "crlf.tsv": text(newline="\r\n").encode(),
    "bom.tsv": b"\xef\xbb\xbf" + text().encode(),
    "utf16.tsv": text().encode("utf-16"),
    "utf16be.tsv": text().encode("utf-16-be"),
    "case.tsv": text(header="Cluster_ID{}Group").encode(),
    "blanks.csv": text(",", header=" cluster_id {} group ").encode(),
    "headerless.tsv": text(header="").encode(),
    "extra.tsv": b"cluster_id\tcomment\tgroup\n3\tx\tgood\n7\t\tmua\n12\t\tnoise\n",
    "floats.tsv": b"cluster_id\tgroup\n3.0\tgood\n 7\tmua\n12\tnoise\n\n",
}


@pytest.mark.parametrize("name", list(SPELLINGS))
def test_a_label_file_is_read_however_it_is_written(name, tmp_path):
    (tmp_path / name).write_bytes(SPELLINGS[name])
    assert label_files.read_label_file(tmp_path / name).labels == WANTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"cluster_id\tgroup\n", "only a header line"),
        (bytes(range(256)), "no text in UTF-8"),
        (b"cluster_id\n3\n", "one column only"),
        (b"cluster_id\tgroup\n3\tgood\n3.0\tmua\n", "unit id 3 occurs more than once"),
        (b"cluster_id\tgroup\n\tgood\n", "1 labels without an id"),
        (b"cluster_id\ta\tb\n3\tx\ty\n", "which column holds the labels"),
        (b"cluster_id\tKSLabel\n3\tgood\n", "Kilosort's own labels"),
        (b"cluster_id\tgroup\n3\t" + b"x" * 600_000 + b"\n", "not readable as CSV"),
    ],
)
def test_a_label_file_that_cannot_be_read_is_one_line(content, message, tmp_path):
    (tmp_path / "g.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        label_files.read_label_file(tmp_path / "g.tsv")


# --- Phy folders ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(phy_folder):
    """Return a Phy folder of 60 clusters with metrics, groups and spikes."""
    np.save(phy_folder / "spike_clusters.npy", np.repeat(np.arange(60, dtype=np.int32), 5))
    return phy_folder


def answers(model, path, **options):
    return predict.predict_inputs(PredictConfig(model=model, inputs=[path], **options)).table


def test_predictions_of_spikeinterfaces_units_reach_the_clusters_that_are_them(folder, model, tables):
    units = np.random.default_rng(0).permutation(60)
    pd.DataFrame({"cluster_id": range(60), "si_unit_id": units}).to_csv(
        folder / "cluster_si_unit_ids.tsv", sep="\t", index=False
    )
    (folder / "cluster_group.tsv").unlink()
    table = answers(model, tables / "bare3.csv")
    phy.export(folder, table, write_group=True, overwrite=False)
    written = pd.read_csv(folder / "cluster_group.tsv", sep="\t").set_index("cluster_id")["group"]
    quality = dict(zip(table["unit_id"].astype(int), table["predicted_quality"]))
    assert written.to_dict() == {i: quality[units[i]] for i in range(60)}
    config = TrainConfig(inputs=[tables / "bare3.csv"], labels=[folder / "cluster_group.tsv"])
    (back,), notices = recordings.read_all(config)
    assert dict(zip(back.unit_ids, back.labels)) == {str(k): v for k, v in quality.items()}
    assert any("cluster_si_unit_ids.tsv" in n for n in notices)
    own = answers(model, folder)  # the folder's own clusters: no second translation
    phy.export(folder, own, write_group=False, overwrite=True)
    again = pd.read_csv(folder / "cluster_unit_refine.tsv", sep="\t")
    assert again["unit_refine"].tolist() == own["predicted_quality"].tolist()


@pytest.mark.parametrize("column", ["cluster_id", "unit_id", ""])
@pytest.mark.parametrize("of_units", [True, False])
def test_a_table_inside_spikeinterfaces_export_is_read_by_the_ids_it_has(column, of_units, folder, tables):
    """Ids 0 to n - 1 number Phy's clusters or, in another order, SpikeInterface's units: the counts of spikes tell which."""
    units, metrics = np.random.default_rng(0).permutation(60), pd.read_csv(tables / "bare3.csv")
    counts = 20 + 13 * np.arange(
        60
    )  # spikes of each cluster; cluster i is unit units[i], whose row of metrics is units[i]
    np.save(folder / "spike_clusters.npy", np.repeat(np.arange(60), counts))
    names = pd.DataFrame({"cluster_id": range(60), "si_unit_id": units})
    names.to_csv(folder / "cluster_si_unit_ids.tsv", sep="\t", index=False)
    by_cluster = metrics.iloc[units].assign(num_spikes=counts).rename(columns={"unit_id": column})
    by_cluster[column] = units if of_units else np.arange(60)
    by_cluster.sort_values(column).to_csv(folder / "quality_metrics.csv", index=False)
    wanted = {str(i): metrics["snr"].iloc[units[i]] for i in range(60)}
    whole = recordings.read_recording(folder, TrainConfig(inputs=[folder]))
    assert dict(zip(whole.unit_ids, whole.table["snr"])) == pytest.approx(wanted)
    config = TrainConfig(inputs=[folder / "quality_metrics.csv"], labels=[folder / "cluster_group.tsv"])
    (alone,), _ = recordings.read_all(config)
    truth = dict(zip(metrics["snr"].iloc[units].round(6), pd.read_csv(folder / "cluster_group.tsv", sep="\t")["group"]))
    assert {round(v, 6): g for v, g in zip(alone.table["snr"], alone.labels)} == truth


def test_ids_that_could_be_clusters_or_units_are_refused_where_nothing_tells(folder):
    names = pd.DataFrame({"cluster_id": range(60), "si_unit_id": np.random.default_rng(0).permutation(60)})
    names.to_csv(folder / "cluster_si_unit_ids.tsv", sep="\t", index=False)
    table = pd.read_csv(folder / "quality_metrics.csv").rename(columns={"unit_id": ""})
    table.drop(columns=["num_spikes"], errors="ignore").to_csv(folder / "quality_metrics.csv", index=False)
    with pytest.raises(InputError, match="Name the column cluster_id or unit_id"):
        recordings.read_recording(folder / "quality_metrics.csv", TrainConfig(inputs=[folder]))


def test_metrics_of_another_sorting_and_a_second_group_file_are_told(folder, caplog):
    table = pd.read_csv(folder / "quality_metrics.csv").assign(num_spikes=500.0)
    table.to_csv(folder / "quality_metrics.csv", index=False)
    groups = (folder / "cluster_group.tsv").read_text()
    (folder / "cluster_groups.csv").write_text(groups.replace("good", "noise"))
    n = groups.count("good")
    phy.read(folder)
    assert "num_spikes of the metrics is not the number of spikes" in caplog.text
    assert f"{n} labels differ from cluster_group.tsv's, which is read" in caplog.text
    with pytest.raises(InputError, match=f"give {folder}"):
        phy.read(folder.parent)


@pytest.mark.parametrize("values", [[1, 0, 1], [True, False, True], ["True", "False", "true"], [1.0, 0.0, 1.0]])
def test_a_column_named_is_noise_means_noise_where_it_is_true(values, tables, tmp_path):
    table = pd.read_csv(tables / "bare0.csv")
    table["is_noise"] = (values * 20)[:60]
    table["label"] = ([1, 0, 1] * 20)[:60]
    table.to_csv(tmp_path / "t.csv", index=False)
    table[["unit_id", "is_noise"]].to_csv(tmp_path / "labels.csv", index=False)
    shared = {"inputs": [tmp_path / "t.csv"], "task": "noise_vs_neural"}
    for config in (
        TrainConfig(**shared, label_column="is_noise"), TrainConfig(**shared, labels=[tmp_path / "labels.csv"]),
    ):  # fmt: skip
        (found,), _ = recordings.read_all(config)
        assert found.labels == ["noise", "neural", "noise"] * 20
    (found,), _ = recordings.read_all(
        TrainConfig(**shared, label_column="label")
    )  # a name that says nothing: the task's rule
    assert found.labels == [1, 0, 1] * 20


def test_a_missing_label_of_a_nullable_column_is_no_label():
    raw = pd.array(["good", None, "noise"], dtype="string").tolist()
    assert labels.read_labels(raw, "three_class", "here")[0] == ["good", "", "noise"]


def test_predictions_of_other_clusters_are_refused_and_missing_ones_named(folder, model, tables, caplog):
    table = answers(model, tables / "bare3.csv")
    np.save(folder / "spike_clusters.npy", np.arange(12))
    with pytest.raises(InputError, match="12 of 60 ids are among the 12 clusters"):
        phy.export(folder, table, write_group=True, overwrite=False)
    np.save(folder / "spike_clusters.npy", np.r_[np.arange(50), 77, 78])
    phy.export(folder, table, write_group=False, overwrite=False)
    assert any("2 clusters have no prediction: 77, 78" in m for m in caplog.messages)
    assert any("10 clusters are no longer there" in m for m in caplog.messages)
    assert len(pd.read_csv(folder / "cluster_unit_refine.tsv", sep="\t")) == 50


def test_a_persons_label_stays_however_its_id_is_spelled_and_the_file_keeps_its_form(folder, model, tables):
    (folder / "cluster_group.tsv").unlink()
    path = folder / "cluster_groups.csv"
    path.write_bytes(
        b"\xef\xbb\xbfcluster_id\tgroup\tcomment\r\n 12\tnoise\tmine\r\n13.0\tnoise\t\r\n5\tunsorted\tlook\r\n"
    )
    table = answers(model, tables / "bare3.csv").assign(predicted_quality="good")
    written = phy.export(folder, table, write_group=True, overwrite=False)
    raw = path.read_bytes()
    assert raw.startswith(
        b"\xef\xbb\xbfcluster_id\tgroup\tcomment\r\n12\tnoise\tmine\r\n13.0\tnoise\t\r\n5\tgood\tlook\r\n"
    )
    assert written["n_groups_written"] == 58
    assert not (folder / "cluster_group.tsv").exists()


@pytest.mark.parametrize("spelled", ["014", " 14", "14.0", "14.00", "+14"])
def test_a_cluster_number_is_a_number_and_its_label_a_persons(folder, model, tables, spelled):
    (folder / "cluster_group.tsv").write_text(f"cluster_id\tgroup\n{spelled}\tnoise\n")
    table = answers(model, tables / "bare3.csv").assign(predicted_quality="good")
    phy.export(folder, table, write_group=True, overwrite=False)
    groups = pd.read_csv(folder / "cluster_group.tsv", sep="\t", dtype=str)
    assert groups.loc[groups["cluster_id"].astype(float) == 14, "group"].tolist() == ["noise"]
    assert folder_labels.read_groups(folder)["14"] == "noise"


def test_a_cluster_under_two_spellings_is_refused_and_the_file_is_left_alone(folder, model, tables):
    text = "cluster_id\tgroup\n014\tnoise\n14\tunsorted\n"
    (folder / "cluster_group.tsv").write_text(text)
    table = answers(model, tables / "bare3.csv").assign(predicted_quality="good")
    with pytest.raises(InputError, match="two spellings"):
        phy.export(folder, table, write_group=True, overwrite=False)
    assert (folder / "cluster_group.tsv").read_text() == text


def test_kilosorts_labels_are_told_from_a_persons_in_both_ways_of_giving_them(folder, tables, caplog):
    groups = pd.read_csv(folder / "cluster_group.tsv", sep="\t")
    groups.rename(columns={"group": "KSLabel"}).to_csv(folder / "cluster_KSLabel.tsv", sep="\t", index=False)
    groups.loc[:1, "group"] = "noise" if groups.loc[0, "group"] != "noise" else "good"
    groups.loc[1, "group"] = "noise" if groups.loc[1, "group"] != "noise" else "good"
    groups.to_csv(folder / "cluster_group.tsv", sep="\t", index=False)
    inside = recordings.read_recording(folder, TrainConfig(inputs=[folder]))
    assert [label for label in inside.labels if label] == groups["group"][:2].tolist()
    assert any("58 of 60 labels equal Kilosort's own" in m for m in caplog.messages)
    config = TrainConfig(inputs=[tables / "bare3.csv"], labels=[folder / "cluster_group.tsv"])
    (beside,), notices = recordings.read_all(config)
    assert beside.labels == inside.labels
    assert any("58 of 60 labels equal Kilosort's own" in n for n in notices)


def test_metrics_from_before_merges_are_noticed(folder, caplog):
    np.save(folder / "spike_clusters.npy", np.r_[np.arange(50), 60])
    found = recordings.read_recording(folder, TrainConfig(inputs=[folder]))
    assert len(found.unit_ids) == 50
    assert any("1 clusters have no metrics: 60" in m for m in caplog.messages)
    np.save(folder / "spike_clusters.npy", np.arange(55, 100))
    with pytest.raises(InputError, match="5 of 60 ids are among the 45 clusters"):
        recordings.read_recording(folder, TrainConfig(inputs=[folder]))


def test_a_blank_id_in_phys_own_table_does_not_stop_the_rest(folder):
    (folder / "cluster_info.tsv").write_text("cluster_id\tsh\tgroup\n0\t1\tgood\n\t2\tmua\n")
    assert len(recordings.read_recording(folder, TrainConfig(inputs=[folder])).unit_ids) == 60


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", np.array([{}], dtype=object), np.zeros((3, 4), int), np.full(3, 0.5)]
)
def test_broken_spike_clusters_are_one_line(content, folder):
    if isinstance(content, bytes):
        (folder / "spike_clusters.npy").write_bytes(content)
    else:
        np.save(folder / "spike_clusters.npy", content, allow_pickle=True)
    with pytest.raises(InputError, match=r"spike_clusters\.npy"):
        recordings.read_recording(folder, TrainConfig(inputs=[folder]))


# --- tables -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_one_table_of_many_sessions_is_read_by_session_and_id(form, tables, model, tmp_path):
    parts = [pd.read_csv(tables / f"rec{i}.csv").assign(session=f"s{i}") for i in range(2)]
    whole, path = pd.concat(parts, ignore_index=True), tmp_path / f"all.{form}"
    whole.to_csv(path, index=False) if form == "csv" else whole.to_parquet(path)
    with pytest.raises(InputError, match="Name the column that tells them apart with --group-by"):
        recordings.read_all(TrainConfig(inputs=[path], label_column="label"))
    found, _ = recordings.read_all(TrainConfig(inputs=[path], label_column="label", group_by="session"))
    assert [r.name for r in found] == ["s0", "s1"]
    assert found[1].labels == parts[1]["label"].tolist()
    table = answers(model, path, group_by="session")
    assert table.groupby("recording").size().to_dict() == {"s0": 60, "s1": 60}
    one = answers(model, tables / "bare1.csv")
    assert np.allclose(table[table["recording"] == "s1"]["p_good"], one["p_good"])


def test_a_spreadsheets_semicolons_and_decimal_commas_are_read(tables, tmp_path):
    table = pd.read_csv(tables / "bare0.csv")
    table.to_csv(tmp_path / "x.csv", sep=";", decimal=",", index=False, encoding="utf-16")
    found = recordings.read_recording(tmp_path / "x.csv", TrainConfig(inputs=[tmp_path / "x.csv"]))
    assert np.allclose(found.table["snr"], table["snr"])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_a_broken_parquet_is_one_line(content, tmp_path):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.parquet"):
        recordings.read_recording(tmp_path / "x.parquet", TrainConfig(inputs=[tmp_path / "x.parquet"]))


def test_metrics_of_other_programs_are_converted_where_the_definition_is_the_same_and_left_out_where_not():
    allen = pd.DataFrame(
        {"isi_viol": [0.1], "halfwidth": [0.2], "PT_ratio": [0.5], "spread": [60.0], "firing_rate": [3.0]}
    )
    table, notices = metric_names.from_producer(allen)
    assert table.to_dict("list") == {
        "isi_violations_ratio": [0.1], "trough_half_width": [0.2e-3], "peak_after_to_trough_ratio": [0.5], "firing_rate": [3.0],
    }  # fmt: skip
    assert "left out: spread" in notices[1]
    bombcell = pd.DataFrame(
        {"phy_clusterID": [1], "nSpikes": [9], "waveformDuration_peakTrough": [400.0], "nPeaks": [1]}
    )
    table, _ = metric_names.from_producer(bombcell)
    assert table["peak_to_trough_duration"].tolist() == [pytest.approx(4e-4)]
    ours = pd.DataFrame({"spread": [60.0], "snr": [3.0]})
    assert metric_names.from_producer(ours)[0] is ours


# --- does the model apply ---------------------------------------------------------------------------------------------------------


def test_units_without_metrics_are_left_to_a_person_and_say_why(model, tables, tmp_path):
    table = pd.read_csv(tables / "bare3.csv")
    table.loc[:2, table.columns.drop("unit_id")] = np.nan
    table.to_csv(tmp_path / "x.csv", index=False)
    found = answers(model, tmp_path / "x.csv")
    assert found["abstained"].tolist() == [True] * 3 + [False] * 57
    assert found["why"][:3].tolist() == ["no metrics"] * 3


@pytest.mark.parametrize(
    ("change", "metric", "message"),
    [
        (
            lambda t: t.assign(amplitude_median=t["amplitude_median"] * 1e-6),
            "amplitude_median",
            "a factor of about 1e-6",
        ),
        (
            lambda t: t.assign(trough_half_width=t["trough_half_width"] * 1e3),
            "trough_half_width",
            "a factor of about 1e3",
        ),
        (lambda t: t.assign(repolarization_slope=-t["repolarization_slope"]), "repolarization_slope", "the other sign"),
        (lambda t: t.assign(l_ratio=t["l_ratio"] * 1e-3), "l_ratio", "a factor of about 1e-3"),  # near zero anyway
        (
            lambda t: t.assign(rp_contamination=t["rp_contamination"] * 1e-6),
            "rp_contamination",
            "a factor of about 1e-6",
        ),
        (
            lambda t: t.assign(l_ratio=np.where(t.index < 6, -1, 1) * t["l_ratio"]),
            "l_ratio",
            "that no training unit has",
        ),
        (lambda t: t.assign(snr=3.0), "snr", "have the same value"),
        (lambda t: t.assign(snr=np.nan), "snr", "missing in every unit"),
    ],
)
def test_a_metric_in_another_unit_sign_or_definition_is_told(change, metric, message, model, tables, tmp_path):
    config = PredictConfig(model=model, inputs=[tables / "bare3.csv"])
    assert predict.predict_inputs(config).applies[0]["odd_metrics"] == []
    change(pd.read_csv(tables / "bare3.csv")).to_csv(tmp_path / "x.csv", index=False)
    (row,) = predict.predict_inputs(PredictConfig(model=model, inputs=[tmp_path / "x.csv"])).applies
    assert any(odd["metric"] == metric and message in odd["why"] for odd in row["odd_metrics"])


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        ("cluster_id\tgroup\tcomment\n1\tgood\tspät\n2\tnoise\tfür später\n".encode("latin-1"), "cp1252"),
        (b"cluster_id group\n1 good\n2 noise\n", "utf-8"),
        (b"  cluster_id   group\n  1   good\n 12   noise\n", "utf-8"),
        (b"1 good\r\n2 noise\r\n", "utf-8"),
    ],
)
def test_labels_in_latin_1_or_parted_by_blanks_are_read(raw, encoding, tmp_path):
    path = tmp_path / "cluster_group.tsv"
    path.write_bytes(raw)
    assert list(label_files.read_label_file(path).labels.values()) == ["good", "noise"]
    table = text_file.read_cells(path)
    assert table.form.encoding == encoding
    text_file.write_cells(path, table)
    assert list(label_files.read_label_file(path).labels.values()) == ["good", "noise"]
    if encoding == "cp1252":
        assert path.read_bytes() == raw


@pytest.mark.parametrize(
    "raw", [b"cluster_id group\n1 single unit\n2 noise\n", b"\x93NUMPY\x01\x00v\x00\xff", b"\xc8\x00\x03\x80"]
)
def test_what_is_no_table_is_still_refused(raw, tmp_path):
    path = tmp_path / "cluster_group.tsv"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="cluster_group"):
        label_files.read_label_file(path)


def test_metrics_parted_by_blanks_are_numbers(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("cluster_id snr   firing_rate\n0  1.5  2\n1  2.5  3\n")
    found = tables_file.read_table(path)
    assert found.to_dict("list") == {"cluster_id": [0, 1], "snr": [1.5, 2.5], "firing_rate": [2, 3]}
