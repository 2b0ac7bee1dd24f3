"""Is a data set the same whoever builds it and however often it is killed, and are damaged ones refused?"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import hdf5io
from neuro_diffusion.config import BuildDatasetConfig, ImportConnectomeConfig
from neuro_diffusion.files import dataset
from neuro_diffusion.files import draw as networks
from neuro_diffusion.files import pt_folders as exchange
from neuro_diffusion.files.connectomes import read_connectome
from neuro_diffusion.rate_network.connectome import sample_subnetwork, split_half

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "n_networks": 150, "n_neurons": 8, "n_trials": 2, "n_time": 12, "structure": "dale-sparse-lognormal", "noise_std": 0.1,
    "observation_noise": 0.05, "observed": 0.5, "store": "all", "seed": 3,
}  # fmt: skip


def build(folder, **changes):
    return dataset.build_dataset(BuildDatasetConfig(output=folder, **{**SMALL, **changes}))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nd") / "data", shard_size=60)


def test_the_content_depends_neither_on_shards_nor_on_workers(built, tmp_path):
    assert build(tmp_path / "one", shard_size=37).content == built.content
    assert build(tmp_path / "two", shard_size=37, jobs=2).content == built.content
    assert build(tmp_path / "other", seed=4).content != built.content


def test_a_killed_build_goes_on_and_ends_with_the_same_content(tmp_path):
    typed = [
        "--num_networks",
        "1500",
        "--N",
        "12",
        "--num_trials",
        "4",
        "--T",
        "60",
        "--shard-size",
        "50",
        "--store",
        "all",
        "--seed",
        "3",
    ]
    command = [sys.executable, "-m", "neuro_diffusion", "build-dataset", "--out_dir", str(tmp_path / "killed"), *typed]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while len(list((tmp_path / "killed").glob("shard_*.h5"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    early = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "killed").glob("shard_*.h5")}
    assert 3 <= len(early) < 30
    options = {"n_networks": 1500, "n_neurons": 12, "n_trials": 4, "n_time": 60, "store": "all", "seed": 3}
    again = dataset.build_dataset(BuildDatasetConfig(output=tmp_path / "killed", shard_size=50, **options))
    assert again.n_written == 30 - len(early)
    assert {n: (tmp_path / "killed" / n).stat().st_mtime_ns for n in early} == early
    whole = dataset.build_dataset(BuildDatasetConfig(output=tmp_path / "whole", shard_size=500, **options))
    assert whole.content == again.content


def test_a_finished_data_set_is_not_made_again_and_one_of_other_options_is_refused(built):
    again = build(built.folder, shard_size=60)
    assert (again.n_written, again.content) == (0, built.content)
    with pytest.raises(hdf5io.InputError, match="exists already with a data set of other options"):
        build(built.folder, shard_size=60, n_neurons=9)


def test_a_folder_of_somebody_elses_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(hdf5io.InputError, match="exists already and is no data set"):
        build(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_shard_cut_in_half_is_one_line_when_read_and_made_again_when_built(tmp_path):
    first = build(tmp_path / "d", shard_size=60)
    shard = tmp_path / "d" / "shard_00001.h5"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(hdf5io.InputError, match=r"shard_00001\.h5") as error:
        dataset.load_weights(tmp_path / "d")
    assert "\n" not in str(error.value)
    again = build(tmp_path / "d", shard_size=60)
    assert (again.n_written, again.content) == (1, first.content)


def test_ten_thousand_and_one_networks_list_in_numeric_order(tmp_path):
    built = build(tmp_path / "d", n_networks=10_001, n_neurons=2, structure="dense", store="seeds", observed=1.0)
    assert dataset.list_networks(built.folder) == list(range(10_001))
    for number in (10_000, 9_999, 2):
        torch.save({"W": torch.eye(2)}, tmp_path / f"network_{number}.pt")
    assert [p.name for p in exchange.list_pt(tmp_path)] == ["network_2.pt", "network_9999.pt", "network_10000.pt"]


def test_stored_activity_equals_activity_simulated_again(built, tmp_path):
    light = build(tmp_path / "light", store="W")
    for index in (0, 61, 149):
        a, b = dataset.load_network(built.folder, index), dataset.load_network(light.folder, index)
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)
    assert a.activity.shape == (1, 2, 12, 8)
    assert torch.isnan(a.activity).all(2).all(1)[0].tolist() == (~a.observed[0]).tolist()


def test_weights_made_from_seeds_alone_equal_stored_ones(built, tmp_path):
    seeds = build(tmp_path / "seeds", store="seeds")
    assert torch.equal(dataset.load_weights(seeds.folder), dataset.load_weights(built.folder))


def test_splits_part_the_networks_and_do_not_move_when_a_data_set_grows(built):
    parts = [dataset.load_weights(built.folder, split) for split in dataset.SPLITS]
    assert sum(map(len, parts)) == 150
    split = networks.split_of(np.arange(100_000))
    np.testing.assert_allclose(np.bincount(split) / 1e5, [0.8, 0.1, 0.1], atol=0.005)
    assert (networks.split_of(np.arange(10)) == split[:10]).all()


def test_empty_and_foreign_folders_are_one_line(tmp_path):
    with pytest.raises(hdf5io.InputError, match=r"no data set here \(no metadata.json\)"):
        dataset.load_weights(tmp_path)
    (tmp_path / "metadata.json").write_text('{"schema": "something/else/1"}')
    with pytest.raises(hdf5io.InputError, match="not the metadata of a data set"):
        dataset.load_weights(tmp_path)


def test_pt_files_survive_the_round_trip(built, tmp_path):
    paths = exchange.export_pt(built.folder, tmp_path / "pt", limit=5)
    assert [p.name for p in paths] == [f"network_{i}.pt" for i in range(5)]
    full = build(tmp_path / "full", observed=1.0, n_networks=5)
    exchange.export_pt(full.folder, tmp_path / "pt2")
    back = exchange.import_pt(tmp_path / "pt2", tmp_path / "back", shard_size=2)
    assert back.n_shards == 3
    assert torch.equal(dataset.load_weights(back.folder), dataset.load_weights(full.folder))
    assert torch.equal(dataset.load_network(back.folder, 4).activity, dataset.load_network(full.folder, 4).activity)


def test_what_a_folder_of_pt_files_says_of_its_activity_is_kept(tmp_path):
    for i in range(3):
        torch.save(
            {"W": torch.eye(4) * (i + 1), "activities": torch.zeros(5, 20, 4), "g": 1.2, "dt": 0.05, "tau": 2.0},
            tmp_path / f"network_{i}.pt",
        )
    (tmp_path / "metadata.json").write_text('{"noise_std": 0.1, "h0_std": 0.5, "num_trials": 5}')
    back = exchange.import_pt(tmp_path, tmp_path / "back")
    found = dataset.load_settings(back.folder)
    assert (found.dt, found.tau, found.noise_std, found.h0_std, found.n_trials, found.n_time) == (
        0.05,
        2.0,
        0.1,
        0.5,
        5,
        20,
    )
    assert dataset.load_network(back.folder, 1).g.tolist() == [1.2]
    for path in tmp_path.glob("network_*.pt"):
        torch.save({"W": torch.eye(4)}, path)
    (tmp_path / "metadata.json").unlink()
    assert dataset.load_settings(exchange.import_pt(tmp_path, tmp_path / "silent").folder) is None


def test_pt_files_that_are_unsafe_or_wrong_are_refused(tmp_path):
    torch.save({"W": Path("/")}, tmp_path / "network_0.pt")
    with pytest.raises(hdf5io.InputError, match="not a PyTorch file of plain tensors"):
        exchange.import_pt(tmp_path, tmp_path / "out")
    torch.save({"weights": torch.eye(3)}, tmp_path / "network_0.pt")
    with pytest.raises(hdf5io.InputError, match="expected a dictionary with a tensor 'W'; the file has weights"):
        exchange.import_pt(tmp_path, tmp_path / "out")
    torch.save({"W": torch.full((3, 3), float("nan"))}, tmp_path / "network_0.pt")
    with pytest.raises(hdf5io.InputError, match="is not finite"):
        exchange.import_pt(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_connectomes_are_read_alike_from_an_edge_list_a_matrix_and_matlab(tmp_path):
    matrix = np.array([[0, 2.0, 0, 0], [1, 0, 3, 0], [0, 0, 0, 4], [5, 0, 0, 0]])
    edges = [f"{j},{i},{matrix[i, j]}" for i in range(4) for j in range(4) if matrix[i, j]]
    (tmp_path / "edges.csv").write_text("pre,post,weight\n" + "\n".join(edges) + "\n")
    np.savetxt(tmp_path / "square.csv", matrix, delimiter=",")
    with h5py.File(tmp_path / "m.mat", "w") as file:
        file["connectome"] = matrix.T  # as MATLAB stores it
        file["connectome"].attrs["MATLAB_class"] = np.bytes_("double")
        file["names"] = np.zeros((3, 7))
    for name in ("edges.csv", "square.csv", "m.mat"):
        np.testing.assert_array_equal(read_connectome(tmp_path / name), matrix)


@pytest.mark.parametrize(
    ("text", "message"),
    [("1,2,x\n3,4,y\n5,6,z\n7,8,w\n", "line 2 is '3,4,y'"), ("1,2,3,4\n3,4,5,6\n", "expected a square one"), ("0,nan\n1,0\n", "not finite"), ("0,0\n0,0\n", "no connection"), ("hello\n", "neither an edge list")],
)  # fmt: skip
def test_files_that_are_no_connectome_are_one_line(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(hdf5io.InputError, match=message):
        read_connectome(tmp_path / "c.csv")


def test_a_subnetwork_is_connected_signed_by_column_and_scaled():
    rng = np.random.default_rng(0)
    matrix = (rng.random((60, 60)) < 0.15) * rng.lognormal(size=(60, 60))
    W = sample_subnetwork(matrix, 20, 1.3, 0.75, rng)
    assert not bool(((W > 0).any(0) & (W < 0).any(0)).any())
    assert float(W.sum()) == pytest.approx(0, abs=1e-3)
    assert float(torch.linalg.eigvals(W).abs().max()) == pytest.approx(1.3, rel=0.01)
    with pytest.raises(ValueError, match=r"60 neurons in .* the connectome, 61 wanted"):
        sample_subnetwork(matrix, 61, 1.3, 0.75, rng)


def test_the_two_halves_of_a_connectome_share_no_neuron():
    matrix = np.arange(81.0).reshape(9, 9)
    first, second = (split_half(matrix, p) for p in ("first", "second"))
    assert len(first) + len(second) == 9
    assert not set(first.diagonal()) & set(second.diagonal())


@pytest.mark.real
@pytest.mark.parametrize(("name", "size"), [("fly_larva/matched_left_edgelist.csv", 1384), ("primate_connectomes/connectome_macaque.mat", 82), ("primate_connectomes/connectome_marmoset.mat", 55)])  # fmt: skip
def test_real_connectomes_become_data_sets(real_data, tmp_path, name, size):
    path = real_data("neuro_diffusion") / name
    assert read_connectome(path).shape == (size, size)
    built = dataset.build_dataset(
        ImportConnectomeConfig(connectome=path, output=tmp_path / "d", n_networks=30, part="second")
    )
    W = dataset.load_weights(built.folder)
    assert W.shape == (30, 16, 16)
    assert 0.02 < float((W != 0).float().mean()) < 0.6
    assert torch.isfinite(dataset.load_network(built.folder, 3).activity).all()


@pytest.mark.slow
def test_workers_of_a_dask_cluster_build_the_same_data_set(built, tmp_path):
    """Two worker processes of a scheduler on this machine, reached by its address as a user types it."""
    distributed = pytest.importorskip("distributed", reason="dask's distributed scheduler is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        found = build(tmp_path / "dask", shard_size=37, scheduler=cluster.scheduler_address)
    assert found.n_written == 5
    assert found.content == built.content


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path):
    pytest.importorskip("distributed", reason="dask's distributed scheduler is not installed")
    with pytest.raises(hdf5io.InputError, match="no Dask scheduler answers there"):
        build(tmp_path / "none", scheduler="tcp://127.0.0.1:9")
