"""Metric names as other people write them: capitals, prefixes, units in the name, header lines of two levels."""

import logging
import re

import numpy as np
import pandas as pd
import pytest

from hdf5io.errors import InputError
from unit_refine.config import PredictConfig, TrainConfig
from unit_refine.files import load_model
from unit_refine.files.recordings import read_recording
from unit_refine.units.spelling import metric_of, read_spellings, under_names


def read(path, model):
    return read_recording(path, PredictConfig(model=model, inputs=[path]))


@pytest.fixture
def bare(tables):
    return pd.read_csv(tables / "bare3.csv").set_index("unit_id")


WAYS = {
    "capitals": str.upper,
    "blanks": lambda c: c.replace("_", " "),
    "qm_": "qm_{}".format,
    "quality_metrics.": "quality_metrics.{}".format,
    "tuple": "('quality', '{}')".format,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_metric_is_read_however_its_name_is_written_and_told(way, bare, tables, tmp_path, model, caplog):
    bare.rename(columns=WAYS[way]).to_csv(tmp_path / "new.csv")
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path / "new.csv", model)
    wanted = read(tables / "bare3.csv", model)
    assert found.unit_ids == wanted.unit_ids
    pd.testing.assert_frame_equal(found.table, wanted.table, check_like=True)
    assert f"{WAYS[way]('firing_rate')} as firing_rate" in caplog.text


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_header_lines_of_two_levels_are_one_name(suffix, bare, tables, tmp_path, model):
    two = bare.set_axis(pd.MultiIndex.from_product([["quality"], bare.columns]), axis=1)
    path = tmp_path / f"two.{suffix}"
    two.to_csv(path) if suffix == "csv" else two.to_parquet(path)
    wanted = read(tables / "bare3.csv", model)
    pd.testing.assert_frame_equal(read(path, model).table, wanted.table, check_like=True)


def test_header_lines_of_another_programs_metrics_are_not_taken_for_ours(bare, tmp_path, model):
    bare.set_axis(pd.MultiIndex.from_product([["bombcell"], bare.columns]), axis=1).to_csv(tmp_path / "two.csv")
    found = read(tmp_path / "two.csv", model)
    assert "bombcell.snr" in found.table.columns
    assert "snr" not in found.table.columns


@pytest.mark.parametrize(
    ("name", "metric", "factor"),
    [("half_width_ms", "trough_half_width", 1e-3), ("Peak to Valley (us)", "peak_to_trough_duration", 1e-6),
     ("amplitude_median_uV", "amplitude_median", 1.0), ("Drift PTP [um]", "drift_ptp", 1.0)],
)  # fmt: skip
def test_a_unit_in_a_name_is_converted(name, metric, factor, tmp_path, model):
    pd.DataFrame({"unit_id": [1, 2], "snr": [3.0, 4.0], name: [250.0, 300.0]}).to_csv(tmp_path / "u.csv", index=False)
    found = read(tmp_path / "u.csv", model).table
    np.testing.assert_allclose(found[metric], np.array([250.0, 300.0]) * factor)


@pytest.mark.parametrize("name", ["log_snr", "bombcell_snr", "snr_imec0", "presenceRatio", "snr_ms", "quality"])
def test_a_name_that_may_mean_another_number_is_not_read(name):
    assert metric_of(name) is None


def test_of_two_columns_that_could_be_one_metric_none_is_chosen():
    table = pd.DataFrame({"SNR": [1.0, 2.0], "qm_snr": [1.0, 3.0]})
    with pytest.raises(InputError, match="'SNR' and 'qm_snr' could both be the metric snr"):
        read_spellings(table, "t.csv")
    equal, _ = read_spellings(table.assign(qm_snr=table["SNR"]), "t.csv")
    assert equal.to_dict("list") == {"snr": [1.0, 2.0]}


def test_an_exact_name_wins_in_any_release():
    table = pd.DataFrame({"half_width": [1.0], "Trough_Half_Width": [9.0], "snr": [2.0], "SNR": [5.0]})
    assert read_spellings(table, "t.csv")[0].equals(table)


def test_names_of_other_programs_keep_their_meaning_behind_a_prefix():
    table = pd.DataFrame({"metrics_PT_ratio": [0.4], "metrics_isi_viol": [0.1], "metrics_snr": [3.0]})
    assert list(read_spellings(table, "t.csv")[0]) == ["PT_ratio", "isi_viol", "snr"]


def test_a_models_own_spelling_is_given_in_its_own_unit():
    table = pd.DataFrame({"trough_half_width": [2e-4], "snr": [3.0], "peak_after_to_trough_ratio": [0.5]})
    found = under_names(table, ["half_width_ms", "SNR", "QM_peak_trough_ratio"])
    np.testing.assert_allclose(found[["half_width_ms", "SNR", "QM_peak_trough_ratio"]], [[0.2, 3.0, -0.5]])


def test_where_metrics_are_missed_a_column_like_one_is_named(bare, tmp_path, model):
    bare.rename(columns=lambda c: f"{c}_imec0").to_csv(tmp_path / "new.csv")
    with pytest.raises(InputError, match=r"Its column '\w+_imec0' looks like"):
        load_model.match(load_model.load(model), read(tmp_path / "new.csv", model).table, "new.csv")


def test_metrics_in_rows_and_long_tables_are_refused_with_what_to_do(bare, tmp_path, model):
    bare.T.to_csv(tmp_path / "turned.csv")
    with pytest.raises(InputError, match="its rows are metrics"):
        read(tmp_path / "turned.csv", model)
    bare.reset_index().melt(id_vars="unit_id", var_name="metric").to_csv(tmp_path / "long.csv", index=False)
    with pytest.raises(InputError, match="one row for each unit and metric"):
        read(tmp_path / "long.csv", model)


@pytest.mark.parametrize(("metric", "factor", "told"), [("amplitude_median", 1e-6, "1e-06"), ("trough_half_width", 1e3, "1e+03"), ("presence_ratio", 100, "1e+02"), (None, 1, None)])  # fmt: skip
def test_training_tables_in_different_units_are_told(metric, factor, told, tables, tmp_path):
    from unit_refine.fit.workflow import load_units

    table, paths = pd.read_csv(tables / "rec1.csv"), [tables / "rec0.csv", tmp_path / "rec1.csv", tables / "rec2.csv"]
    if metric is not None:
        table[metric] *= factor
    table.to_csv(paths[1], index=False)
    units = load_units(TrainConfig(inputs=paths, label_column="label", output=tmp_path / "m"))
    found = [n for n in units.notices if "unit of measure" in n]
    assert len(found) == (metric is not None)
    if metric is not None:
        size = re.search(r"is (\S+) times", found[0])[1]
        assert f"{metric} of 'rec1'" in found[0]
        assert float(size) == pytest.approx(float(told), rel=0.5)
