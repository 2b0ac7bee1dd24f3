"""Results stay small where there are many stimuli, and readers of single units see what they saw."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import hdf5io
from glm_rates.files import packed, results
from glm_rates.files.exchange import Fitted

BINS = 40


def a_fit(n_stimuli: int, n_trials: int, n_units: int) -> tuple[Fitted, list[dict]]:
    """Rates without any regularity, the worst that compression can meet."""
    rng = np.random.default_rng(0)
    taste = np.repeat(np.arange(n_stimuli), n_trials)
    rate = rng.gamma(2.0, 0.1, (len(taste), BINS, n_units))
    params = {"bin_size": 25, "window": [0, BINS], "history_window": 250, "start_ms": 0, "onset_bin": 0, "dig_ins": [],
              "tastes": [str(k) for k in range(n_stimuli)], "regions": ["all"] * n_units}  # fmt: skip
    extracted = {"taste": taste, "trial": np.arange(len(taste)), "counts": rng.poisson(rate)}
    arrays = {"rate": rate, "log_rate_sd": rng.gamma(4.0, 0.05, rate.shape), "ks_curve": np.zeros((n_units, 101))}
    rows = [
        {"taste": k, "region": "all", "neuron": u, "bits_per_spike": k + u / 7} for k in range(n_stimuli) for u in range(n_units)
    ]  # fmt: skip
    return Fitted(params, extracted, {"populations": [], "scored": []}, arrays), rows


def written(path, done: Fitted, rows: list[dict], views: bool) -> int:
    """Write results as a file of its own (views) or as a recording holds them; returns the size in bytes."""
    datasets = results.result_datasets(done, {}, rows, views)
    if views:
        hdf5io.write(path, results.SCHEMA, datasets, overwrite=True)
        return path.stat().st_size
    with h5py.File(path, "w") as file:
        file["spikes"] = np.zeros(1000)
    before = path.stat().st_size
    hdf5io.update(path, results.GROUP, datasets)
    return path.stat().st_size - before


@pytest.mark.parametrize(("views", "allowed"), [(True, 1150), (False, 1350)])
def test_many_stimuli_cost_little_more_than_their_rates(tmp_path, views, allowed):
    """Bytes of each further group of one stimulus and unit; 2300 and, in a recording, 5300 where HDF5 makes them in the file."""
    done, rows = a_fit(60, 2, 20)
    assert len(rows) > packed.MANY
    few = written(tmp_path / "few.h5", done, rows[:1], views)
    assert written(tmp_path / "many.h5", done, rows, views) - few < allowed * (len(rows) - 1)


def test_single_units_read_the_same_from_a_file_of_its_own_and_from_a_recording(tmp_path):
    done, rows = a_fit(60, 2, 20)
    written(tmp_path / "own.h5", done, rows, True)
    written(tmp_path / "inside.h5", done, rows, False)
    with h5py.File(tmp_path / "own.h5") as own, h5py.File(tmp_path / "inside.h5") as inside:
        assert list(own["regions"]) == list(inside["glm_output/regions"])  # in the order of the rows
        assert list(own["regions"])[10] == "taste_0_region_all_neuron_10"
        for row, (name, group) in list(zip(rows, own["regions"].items(), strict=True))[::17]:
            other = inside["glm_output/regions/" + name]
            assert list(group) == list(other)
            at = done.extracted["taste"] == row["taste"]
            np.testing.assert_array_equal(group["binned_spikes"][:], done.extracted["counts"][at][:, :, row["neuron"]])
            np.testing.assert_allclose(group["pred_firing"][:], done.arrays["rate"][at][:, :, row["neuron"]], 5e-4)
            assert group["bits_per_spike"][:].tolist() == [row["bits_per_spike"]]
            for key, array in group.items():
                assert array.dtype == other[key].dtype == np.float64
                np.testing.assert_array_equal(array[:], other[key][:])
    tables = pytest.importorskip("tables")
    for place, root in (("own.h5", "/regions"), ("inside.h5", "/glm_output/regions")):
        with tables.open_file(str(tmp_path / place)) as file:
            assert file.get_node(root + "/taste_59_region_all_neuron_19/pred_firing")[:].shape == (2, BINS)


def test_units_and_descriptions_stand_at_each_array_or_once_above_where_there_are_many(tmp_path):
    for n_stimuli, n_groups in ((2, 40), (60, 1200)):
        done, rows = a_fit(n_stimuli, 2, 20)
        written(tmp_path / "own.h5", done, rows, True)
        with h5py.File(tmp_path / "own.h5") as own:
            regions, array = own["regions"], own["regions/taste_1_region_all_neuron_3/pred_firing_hz"]
            assert len(regions) == n_groups
            found = array.attrs["units"] if n_groups < packed.MANY else regions.attrs["pred_firing_hz units"]
            assert found == "Hz"
            text = array.attrs if n_groups < packed.MANY else regions.attrs
            key = "description" if n_groups < packed.MANY else "bits_per_spike description"
            assert ("estimated rate" if n_groups < packed.MANY else "in-sample") in text[key]


def test_a_unit_is_read_without_the_others(tmp_path):
    """One chunk of a stack holds all stimuli and trials of a few units."""
    done, rows = a_fit(60, 4, 60)
    written(tmp_path / "own.h5", done, rows[:1], True)
    with h5py.File(tmp_path / "own.h5") as own:
        chunks = own["stacked/pred_firing_hz"].chunks
    assert (chunks[:2], chunks[3]) == ((60, 4), BINS)
    assert chunks[2] == 3
