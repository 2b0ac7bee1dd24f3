"""Recordings outside the repository: a blech_clust directory of locust units, Aplysia spike times, an NWB file."""

import json
import shutil

import numpy as np
import pytest

import hdf5io

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_locust_units_are_predicted_on_held_out_trials(real_data, tmp_path, run_command):
    source = real_data("glm_rates") / "locust_20000421"
    before = hdf5io.sha256(source / "locust_20000421.h5")
    chosen = [
        "--time_lims",
        500,
        3500,
        "--include_coupling",
        "--separate_regions",
        "--cv-folds",
        5,
        "--json",
        "--no-plots",
    ]
    done = run_command("glm_rates", "infer", source, "--output", tmp_path / "rates.h5", *chosen)
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)["results"]["models"]
    assert models["history+stimulus"]["mean"] >= 0.27
    assert models["history+stimulus+coupling"]["mean"] >= 0.28
    assert hdf5io.sha256(source / "locust_20000421.h5") == before
    assert "the stimulus is at 1000 ms, not 2000" in done.stderr


def test_locust_is_consistent_and_may_be_written_into(real_data, tmp_path, run_command):
    folder = tmp_path / "locust"
    shutil.copytree(real_data("glm_rates") / "locust_20000421", folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    assert run_command("glm_rates", "check", folder).returncode == 0
    chosen = ["--time_lims_from_stimulus", -500, 500, "--cv-folds", 0, "--no-plots"]
    assert run_command("glm_rates", "infer", folder, *chosen).returncode == 0
    with hdf5io.read(folder / "locust_20000421.h5") as h5:
        assert h5["glm_output/time_lims"][:].tolist() == [500, 1500]


def test_aplysia_spike_times_without_trials(real_data, tmp_path, run_command):
    loadmat = pytest.importorskip("scipy.io").loadmat
    spikes = loadmat(real_data("glm_rates") / "aplysia" / "Jan1912da02spks.mat")["spks"]
    busy = [c for c in np.unique(spikes[:, 0]) if (spikes[:, 0] == c).sum() > 150][:8]
    spikes = spikes[np.isin(spikes[:, 0], busy)]
    np.savez(tmp_path / "aplysia.npz", unit_id=spikes[:, 0].astype(int), time_s=spikes[:, 1])
    chosen = ["--segment-s", 8, "--cv-folds", 3, "--no-plots", "--output", tmp_path / "r.h5", "--json"]
    done = run_command("glm_rates", "infer", tmp_path / "aplysia.npz", *chosen)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert list(results["models"]) == ["psth", "rolling window", "history"]
    assert results["bits_per_spike_cv"]["pooled"] > 0.1


def test_an_nwb_file_without_trials(real_data, tmp_path, run_command):
    pytest.importorskip("pynwb")
    source = real_data("glm_rates") / "A8604-211122.nwb"
    done = run_command(
        "glm_rates", "infer", source, "--cv-folds", 2, "--no-plots", "--output", tmp_path / "r.h5", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"]["n_units"] == 3
