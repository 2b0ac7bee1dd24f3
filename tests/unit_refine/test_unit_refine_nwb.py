"""Units tables of NWB files as pynwb writes them, and as Allen's, IBL's and SpikeInterface's converters fill them; UnitMatch's files."""

import datetime

import h5py
import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from unit_refine.config import PredictConfig, Tables, TrainConfig
from unit_refine.files import label_files, nwb, recordings
from unit_refine.fit.workflow import load_units
from unit_refine.score import predict

TEXT = h5py.string_dtype()


def written(path, columns, ids=None, more=lambda units: None):
    """Write a units table as pynwb lays it out."""
    n = len(next(iter(columns.values())))
    with h5py.File(path, "w") as file:
        units = file.create_group("units")
        units.attrs["neurodata_type"] = "Units"
        units["id"] = np.arange(n) if ids is None else ids
        units["spike_times"], units["spike_times_index"] = np.arange(3.0 * n), 3 * np.arange(1, n + 1)
        units["waveform_mean"] = np.zeros((n, 5))
        units.create_dataset("electrode_group", (n,), h5py.ref_dtype)
        for name, values in columns.items():
            text = np.asarray(values).dtype.kind in "OU"
            units.create_dataset(
                name, data=np.asarray(values, dtype=object if text else None), dtype=TEXT if text else None
            )
        names = [*columns, "spike_times", "waveform_mean", "electrode_group"]
        units.attrs.create("colnames", np.array(names, dtype=object), dtype=TEXT)
        more(units)
    return path


def recording(path, **options):
    return recordings.read_recording(path, Tables(inputs=[path]), **options)


def test_a_file_of_pynwb_gives_what_its_table_as_csv_gives(model, tables, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    table = pd.read_csv(tables / "rec3.csv")
    ids = [f"u{i}" for i in table["unit_id"]] if "unit_id" in table else [f"u{i}" for i in table.iloc[:, 0]]
    metrics = [
        c
        for c in table.columns
        if pd.api.types.is_numeric_dtype(table[c]) and c not in ("unit_id", "cluster_id", table.columns[0])
    ]
    file = pynwb.NWBFile("s", "i", datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))
    for name in [*metrics, "unit_name", "quality"]:
        file.add_unit_column(name, name)
    for i, row in table.iterrows():
        file.add_unit(
            spike_times=[0.1, 0.2], unit_name=ids[i], quality=row["label"], **{m: float(row[m]) for m in metrics}
        )
    path = tmp_path / "session.nwb"
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    table[metrics].assign(unit_id=ids).to_csv(tmp_path / "same.csv", index=False)
    found = [
        predict.predict_inputs(PredictConfig(model=model, inputs=[p])).table for p in (path, tmp_path / "same.csv")
    ]
    assert found[0]["unit_id"].tolist() == ids
    same = found[0].drop(columns="recording"), found[1].drop(columns="recording")
    pd.testing.assert_frame_equal(*same)
    units = load_units(TrainConfig(inputs=[path], label_column="quality", output=tmp_path / "m"))
    assert np.array(units.classes)[units.y].tolist() == [table["label"][ids.index(i)] for i in units.unit_ids]
    assert label_files.read_label_file(path).labels == dict(zip(ids, table["label"]))


def test_columns_that_are_not_one_number_a_unit_stay_away(tmp_path):
    def more(units):
        units["amplitudes"], units["amplitudes_index"] = np.ones(12), 3 * np.arange(1, 5)
        units["quality"], units["quality_elements"] = (
            np.array([1, 0, 1, 2], "u1"),
            np.array(["good", "mua", "noise"], dtype=TEXT),
        )
        units["kept"] = np.array([True, False, True, True])
        units.attrs.create("colnames", np.array(["snr", "quality", "kept", "amplitudes"], dtype=object), dtype=TEXT)

    table = nwb.read(written(tmp_path / "a.nwb", {"snr": np.arange(4.0)}, ids=[7, 3, 12, 5], more=more))
    assert table.to_dict("list") == {
        "unit_id": [7, 3, 12, 5], "snr": [0.0, 1.0, 2.0, 3.0], "quality": ["mua", "good", "mua", "noise"], "kept": [True, False, True, True],
    }  # fmt: skip


def test_metrics_of_allen_and_ibl_are_not_taken_for_spikeinterfaces(tmp_path, caplog):
    allen = {
        "PT_ratio": np.full(4, 0.5),
        "waveform_duration": np.full(4, 0.4),
        "isi_violations": np.full(4, 0.1),
        "snr": np.full(4, 3.0),
    }
    table = recording(written(tmp_path / "allen.nwb", allen, ids=[951, 952, 953, 954])).table
    assert np.allclose(table["peak_to_trough_duration"], 4e-4)
    assert "snr" not in table
    ibl = {
        "sliding_rp_violation": [1.0, 0.0, 1.0, 1.0], "presence_ratio": np.ones(4), "noise_cutoff": np.ones(4), "missed_spikes_estimate": np.zeros(4),
        "ibl_quality_score": np.ones(4), "kilosort2_label": ["good", "mua", "good", "good"], "spike_count": [5, 6, 7, 8], "firing_rate": np.ones(4),
    }  # fmt: skip
    table = recording(written(tmp_path / "ibl.nwb", ibl)).table
    assert not {"sliding_rp_violation", "presence_ratio", "noise_cutoff"} & set(table)
    assert table["num_spikes"].tolist() == [5, 6, 7, 8]
    recording(tmp_path / "ibl.nwb", label_column="kilosort2_label")
    assert "Kilosort's own labels" in caplog.text


@pytest.mark.parametrize(("columns", "ids"), [
    ({"cluster_id": [0, 1, 0, 1], "snr": np.ones(4)}, ["951", "952", "953", "954"]),  # two probes
    ({"cluster_id": [4, 7, 9, 11], "snr": np.ones(4)}, ["4", "7", "9", "11"]),
    ({"unit_name": ["4", "7", "a", "b"], "snr": np.ones(4)}, ["4", "7", "a", "b"]),
])  # fmt: skip
def test_ids_are_those_that_are_unique(columns, ids, tmp_path):
    assert recording(written(tmp_path / "a.nwb", columns, ids=[951, 952, 953, 954])).unit_ids == ids
    if "cluster_id" in columns:  # the same as a table of the AllenSDK
        pd.DataFrame(columns).assign(unit_id=[951, 952, 953, 954]).to_csv(tmp_path / "a.csv", index=False)
        assert recording(tmp_path / "a.csv").unit_ids == ids


def test_ids_that_repeat_everywhere_are_still_refused(tmp_path):
    pd.DataFrame({"cluster_id": [0, 1, 0], "unit_id": [5, 5, 6], "snr": 1.0}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match="occurs more than once in column 'cluster_id'"):
        recording(tmp_path / "a.csv")


def test_another_hdf5_file_and_a_broken_table_are_one_line(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = np.ones(3)
    with pytest.raises(InputError, match="no units table"):
        recording(tmp_path / "x.h5")
    written(tmp_path / "a.nwb", {"snr": np.ones(4)}, ids=[1, 2, 3])
    with pytest.raises(InputError, match=r"'units/snr' has 4 values for 3 units"):
        recording(tmp_path / "a.nwb")
    whole = written(tmp_path / "b.nwb", {"snr": np.ones(4)}).read_bytes()
    (tmp_path / "cut.nwb").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(InputError, match=r"cut\.nwb"):
        recording(tmp_path / "cut.nwb")


def test_the_size_of_an_nwb_file_is_not_the_memory_its_table_needs(tmp_path):
    path = written(
        tmp_path / "a.nwb",
        {"snr": np.ones(4)},
        more=lambda units: units.file.create_dataset("raw", data=np.zeros(3_000_000)),
    )
    recordings.check_inputs(Tables(inputs=[path], max_memory=500))


def test_files_of_unitmatch_are_refused_with_what_to_give(tmp_path):
    pairs = {
        "ID1": [0, 0],
        "ID2": [0, 1],
        "RecSes 1": [1, 1],
        "RecSes 2": [1, 2],
        "Matches": [1, 0],
        "UM Probabilities": [0.9, 0.1],
    }
    pd.DataFrame(pairs).to_csv(tmp_path / "MatchTable.csv")
    with pytest.raises(InputError, match=r"pairs of units .*Give the metrics of each session"):
        recording(tmp_path / "MatchTable.csv")
    (tmp_path / "ClusInfo.pickle").write_bytes(b"\x80\x04}.")
    with pytest.raises(InputError, match="a pickle is never opened"):
        recording(tmp_path / "ClusInfo.pickle")


def test_numbered_tables_of_ecephys_are_found_and_the_last_run_is_read(tmp_path, caplog):
    (tmp_path / "params.py").write_text("sample_rate = 30000.\n")

    def write(name, value):
        pd.DataFrame({"cluster_id": range(4), "isi_viol": value, "PT_ratio": 0.5}).to_csv(tmp_path / name, index=False)

    write("metrics_1.csv", 0.1)
    write("waveform_metrics_x.csv", 0.7)  # no number
    assert recording(tmp_path).table["isi_violations_ratio"].tolist() == [0.1] * 4
    assert "later run" not in caplog.text
    write("metrics.csv", 0.2)
    write("metrics_10.csv", 0.3)
    assert recording(tmp_path).table["isi_violations_ratio"].tolist() == [0.3] * 4
    assert "metrics_10.csv is read, of a later run than metrics.csv, metrics_1.csv" in caplog.text


@pytest.mark.parametrize("pickled", [False, True])
def test_an_nwb_file_in_zarr_format_is_read_and_nothing_of_it_is_unpickled(pickled, tmp_path, caplog):
    zarr, numcodecs = pytest.importorskip("zarr"), pytest.importorskip("numcodecs")
    path = tmp_path / "session.nwb.zarr"  # as hdmf-zarr lays it out
    units = zarr.open_group(str(path), mode="w").create_group("units")
    units.attrs["colnames"] = ["snr", "unit_name", "decoder_label", "default_qc", "electrode_group", "spike_times"]
    codec = numcodecs.Pickle() if pickled else numcodecs.VLenUTF8()
    words = {"unit_name": [f"u{i}" for i in range(6)], "decoder_label": ["sua", "mua", "noise"] * 2}
    for name, values in words.items():
        units.array(name, np.array(values, dtype=object), dtype=object, object_codec=codec)
    units.array("id", np.arange(6))
    units.array("snr", np.arange(6.0))
    units.array("default_qc", np.arange(6) > 2)
    units.array("electrode_group", np.array(["{}"] * 6)).attrs["zarr_dtype"] = "object"
    units.array("spike_times", np.arange(12.0))
    units.array("spike_times_index", 2 * np.arange(1, 7))
    found = recording(path, label_column=None if pickled else "decoder_label")
    assert found.unit_ids == ([str(i) for i in range(6)] if pickled else words["unit_name"])
    assert found.labels == (None if pickled else words["decoder_label"])
    assert found.table["snr"].tolist() == list(range(6))
    assert set(found.table.columns) == {"snr", "default_qc"}
    assert ("unit_name, decoder_label" in caplog.text) == pickled
    units.array("firing_rate", np.arange(5.0))
    units.attrs["colnames"] = ["snr", "firing_rate"]
    with pytest.raises(InputError, match="'units/firing_rate' has 5 values for 6 units"):
        recording(path)
