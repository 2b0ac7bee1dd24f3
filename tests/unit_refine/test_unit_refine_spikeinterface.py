"""SpikeInterface reads our models, we read its analyzers, and a simulated recording is curated end to end."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("spikeinterface.curation")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, run_command):
    folder = tmp_path_factory.mktemp("simulated") / "s"
    options = ["--n-recordings", "2", "--n-units", "30", "--duration-s", "30", "--n-channels", "8", "--seed", "3"]
    answer = run_command("unit_refine", "simulate", *options, "-o", folder)
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture(scope="module")
def analyzer_model(simulated, tmp_path_factory, run_command):
    folder = tmp_path_factory.mktemp("model") / "m"
    inputs = [simulated / f"recording{i}_analyzer" for i in (1, 2)]
    answer = run_command(
        "unit_refine", "train", *inputs, "--label-column", "ground_truth", "-o", folder, "--bootstraps", "100"
    )
    assert answer.returncode == 0, answer.stderr
    return folder


def test_a_simulated_recording_is_curated_far_better_than_chance(analyzer_model):
    scores = json.loads((analyzer_model / "result.json").read_text())["results"]
    assert scores["balanced_accuracy"] > 0.6
    assert scores["n_units"] == 60


def test_an_analyzer_and_its_table_give_the_same_model(simulated, analyzer_model, run_command, tmp_path):
    inputs = [simulated / f"recording{i}_metrics.csv" for i in (1, 2)]
    labels = ",".join(str(simulated / f"recording{i}_cluster_group.tsv") for i in (1, 2))
    answer = run_command(
        "unit_refine", "train", *inputs, "--labels", labels, "-o", tmp_path / "m", "--bootstraps", "100"
    )
    assert answer.returncode == 0, answer.stderr
    ours, theirs = (pd.read_csv(f / "training_data.csv") for f in (tmp_path / "m", analyzer_model))
    shared = [c for c in ours.columns if c in theirs.columns]
    assert len(shared) >= 30
    assert np.allclose(ours[shared], theirs[shared], rtol=1e-6, equal_nan=True)


def test_spikeinterface_gives_the_same_labels_and_probabilities(simulated, analyzer_model, run_command, tmp_path):
    import spikeinterface.core as core
    from spikeinterface.curation import model_based_label_units

    path = simulated / "recording1_analyzer"
    answer = run_command("unit_refine", "predict", analyzer_model, path, "-o", tmp_path / "p.csv")
    assert answer.returncode == 0, answer.stderr
    ours = pd.read_csv(tmp_path / "p.csv")
    theirs = model_based_label_units(core.load_sorting_analyzer(path), model_folder=analyzer_model, trust_model=True)
    assert theirs["prediction"].tolist() == ours["predicted_quality"].tolist()
    assert np.abs(theirs["probability"].to_numpy() - ours["prediction_confidence"].to_numpy()).max() < 1e-6


def test_missing_metrics_are_computed_without_touching_the_analyzer(simulated, analyzer_model, run_command, tmp_path):
    path = tmp_path / "analyzer"
    shutil.copytree(simulated / "recording1_analyzer", path)
    for name in ("quality_metrics", "template_metrics"):
        shutil.rmtree(path / "extensions" / name)
    before = sorted(str(p) for p in path.rglob("*"))
    refused = run_command("unit_refine", "predict", analyzer_model, path, "-o", tmp_path / "p.csv")
    assert refused.returncode == 2
    assert "Add --compute-missing" in refused.stderr
    answer = run_command("unit_refine", "predict", analyzer_model, path, "--compute-missing", "-o", tmp_path / "p.csv")
    assert answer.returncode == 0, answer.stderr
    assert sorted(str(p) for p in path.rglob("*")) == before
    whole = run_command(
        "unit_refine", "predict", analyzer_model, simulated / "recording1_analyzer", "-o", tmp_path / "q.csv"
    )
    assert whole.returncode == 0, whole.stderr
    a, b = (pd.read_csv(tmp_path / name)["predicted_quality"] for name in ("p.csv", "q.csv"))
    assert (a == b).mean() > 0.9


def test_single_metrics_that_an_extension_lacks_are_computed_and_the_others_stay(tmp_path):
    import spikeinterface.core as core

    from unit_refine.config import Tables
    from unit_refine.files import recordings

    recording, sorting = core.generate_ground_truth_recording([20.0], num_channels=12, num_units=6, seed=0)
    path = tmp_path / "a"
    analyzer = core.create_sorting_analyzer(
        sorting, recording.save(folder=tmp_path / "r", chunk_duration="60s"), "binary_folder", path
    )
    analyzer.compute({n: {} for n in ("random_spikes", "noise_levels", "waveforms", "templates", "template_metrics")})
    analyzer.compute("quality_metrics", metric_names=["snr"])
    kept = path / "extensions" / "quality_metrics" / "metrics.csv"
    changed = pd.read_csv(kept, index_col=0)
    (changed + 100).to_csv(kept)
    plain, more = (recordings.read_recording(path, Tables(inputs=[path], compute_missing=c)) for c in (False, True))
    assert not {"exp_decay", "velocity_above", "firing_rate"} & set(plain.table.columns)
    assert {"exp_decay", "spread", "velocity_above", "firing_rate", "isolation_distance"} <= set(more.table.columns)
    assert more.table["snr"].tolist() == plain.table["snr"].tolist()
    assert more.table["snr"].min() > 100
    shutil.rmtree(tmp_path / "r")
    assert recordings.read_recording(path, Tables(inputs=[path], compute_missing=True)).unit_ids == plain.unit_ids


def test_everything_is_computed_from_the_recording_of_a_bare_analyzer(analyzer_model, run_command, tmp_path):
    import spikeinterface.core as core

    from unit_refine import simulate
    from unit_refine.config import SimulateConfig
    from unit_refine.files import recordings

    config = SimulateConfig(n_units=12, duration_s=20, n_channels=8)
    made = simulate.ground_truth(config, np.random.SeedSequence(7))
    recording = made.recording.save(
        folder=tmp_path / "recording", format="binary", n_jobs=1, chunk_duration="60s", progress_bar=False
    )
    for name in ("bare", "bare.zarr"):
        kind = "zarr" if name.endswith("zarr") else "binary_folder"
        core.create_sorting_analyzer(made.sorting, recording, format=kind, folder=tmp_path / name, progress_bar=False)
    tables = [recordings.read_analyzer(tmp_path / name, True, False).table for name in ("bare", "bare.zarr")]
    assert {"snr", "sd_ratio", "d_prime", "peak_to_trough_duration"} <= set(tables[0].columns)
    assert tables[0]["sd_ratio"].notna().mean() > 0.8
    assert not list((tmp_path / "bare" / "extensions").glob("*"))
    shutil.rmtree(tmp_path / "recording")
    answer = run_command(
        "unit_refine", "predict", analyzer_model, tmp_path / "bare", "--compute-missing", "-o", tmp_path / "p.csv"
    )
    assert answer.returncode == 2
    assert "must be computed from the recording, which the analyzer cannot find" in answer.stderr


def test_what_an_analyzer_would_execute_is_neither_needed_for_its_metrics_nor_loaded_to_compute_them(
    simulated, run_command, tmp_path
):
    """Imitates what SpikeInterface builds or unpickles when it opens a folder: each file leaves a trace when it does."""
    trace = tmp_path / "executed"

    class Attack:
        def __reduce__(self):
            return (open, (str(trace), "w"))

    def popen(path):
        call = {
            "class": "subprocess.Popen",
            "module": "subprocess",
            "version": "0.105.3",
            "kwargs": {"args": ["touch", str(trace)]},
        }
        call |= {"annotations": {}, "properties": {}, "relative_paths": False}
        (path / "recording.json").write_text(json.dumps(call))

    def nested(path):
        popen(path)
        inner = json.loads((path / "recording.json").read_text())
        outer = {**inner, "class": "spikeinterface.core.channelslice.ChannelSliceRecording", "module": "spikeinterface"}
        (path / "recording.json").write_text(json.dumps({**outer, "kwargs": {"parent_recording": inner}}))

    def named_folder(path):
        other = tmp_path / "elsewhere"
        (other / "properties").mkdir(parents=True, exist_ok=True)
        np.save(other / "properties" / "gain.npy", np.array([Attack()], dtype=object), allow_pickle=True)
        call = {
            "class": "spikeinterface.core.binaryfolder.BinaryFolderRecording",
            "module": "spikeinterface",
            "version": "0.105.3",
        }
        call |= {"kwargs": {"folder_path": str(other)}, "annotations": {}, "properties": {}, "relative_paths": False}
        (path / "recording.json").write_text(json.dumps(call))

    def pickled_recording(path):
        (path / "recording.pickle").write_bytes(pickle.dumps(Attack()))

    def pickled_property(path):
        np.save(
            path / "sorting" / "properties" / "notes.npy", np.array([Attack()] * 30, dtype=object), allow_pickle=True
        )

    def link(path):
        shutil.move(path / "sorting" / "properties", tmp_path / "outside")
        np.save(tmp_path / "outside" / "notes.npy", np.array([Attack()] * 30, dtype=object), allow_pickle=True)
        (path / "sorting" / "properties").symlink_to(tmp_path / "outside")

    for i, attack in enumerate((popen, nested, named_folder, pickled_recording, pickled_property, link)):
        path = tmp_path / f"analyzer{i}"
        shutil.copytree(simulated / "recording1_analyzer", path)
        attack(path)
        answer = run_command("unit_refine", "convert-metrics", path, "-o", tmp_path / f"m{i}.csv")
        assert answer.returncode == (2 if attack is link else 0), answer.stderr
        shutil.rmtree(path / "extensions" / "quality_metrics")
        refused = run_command("unit_refine", "convert-metrics", path, "--compute-missing", "-o", tmp_path / "n.csv")
        assert refused.returncode == 2
        assert "not opened, " in refused.stderr
        assert not trace.exists()


def test_train_model_takes_analyzers_from_python(simulated, tmp_path):
    import spikeinterface.core as core

    from unit_refine import train_model

    analyzers = [core.load_sorting_analyzer(simulated / f"recording{i}_analyzer") for i in (1, 2)]
    labels = [a.sorting.get_property("ground_truth").tolist() for a in analyzers]
    outcome = train_model(
        mode="analyzers",
        analyzers=analyzers,
        labels=labels,
        folder=tmp_path / "m",
        classifiers=["LogisticRegression"],
        bootstraps=100,
    )
    assert outcome.units.classes == ("good", "mua", "noise")
    info = json.loads((tmp_path / "m" / "model_info.json").read_text())
    assert "snr" in info["metric_params"]["quality_metric_params"]["metric_params"]


def test_a_model_that_spikeinterface_trained_is_read(tables, run_command, tmp_path):
    from spikeinterface.curation import train_model

    table = pd.concat([pd.read_csv(tables / f"rec{i}.csv") for i in range(3)], ignore_index=True)
    table.drop(columns=["unit_id", "label"]).to_csv(tmp_path / "metrics.csv")
    train_model(
        mode="csv", labels=[table["label"].tolist()], metrics_paths=[tmp_path / "metrics.csv"], folder=tmp_path / "m",
        metric_names=[c for c in table.columns if c not in ("unit_id", "label")], imputation_strategies=["median"],
        scaling_techniques=["standard_scaler"], search_kwargs={"cv": 2, "n_iter": 1}, seed=0, verbose=False,
    )  # fmt: skip
    answer = run_command(
        "unit_refine", "evaluate", tmp_path / "m", tables / "rec3.csv", "--label-column", "label", "--json"
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["results"]["balanced_accuracy"] > 0.6


@pytest.mark.slow
def test_a_kilosort_folder_goes_in_and_a_labelled_phy_folder_comes_out(tmp_path, run_command):
    """The voltage is named by params.py, with dead channels left out; nothing has computed metrics yet."""
    import spikeinterface.core as core

    from hdf5io.errors import InputError
    from unit_refine import simulate
    from unit_refine.config import SimulateConfig, Tables
    from unit_refine.files import kilosort, recordings

    config = SimulateConfig(n_units=12, duration_s=30, n_channels=8)
    made = simulate.ground_truth(config, np.random.SeedSequence(0))
    folder, gain = tmp_path / "kilosort4", 0.195
    folder.mkdir()
    volts = made.recording.get_traces()
    raw = np.zeros((len(volts), 9), dtype=np.int16)  # channel 0 is dead and not in the map
    raw[:, 1:] = np.round(volts / gain)
    raw.tofile(tmp_path / "raw.bin")
    spikes = made.sorting.to_spike_vector()
    np.save(folder / "spike_times.npy", spikes["sample_index"])
    for name in ("spike_clusters", "spike_templates"):
        np.save(folder / f"{name}.npy", spikes["unit_index"].astype(np.int32))
    np.save(folder / "channel_map.npy", np.arange(1, 9))
    np.save(folder / "channel_positions.npy", made.recording.get_channel_locations())
    text = "dat_path = '../raw.bin'\nn_channels_dat = 9\ndtype = 'int16'\noffset = 0\nsample_rate = 25000.0\nhp_filtered = True\n"
    (folder / "params.py").write_text(text + "import os\nos.system('touch executed')\n")
    (folder / "cluster_KSLabel.tsv").write_text("cluster_id\tKSLabel\n" + "".join(f"{i}\tgood\n" for i in range(12)))
    with pytest.raises(InputError, match="give --gain-to-uv"):
        kilosort.read(folder, None)
    read = recordings.read_recording(folder, Tables(inputs=[folder], compute_missing=True, gain_to_uv=gain))
    again = recordings.read_recording(folder, Tables(inputs=[folder], compute_missing=True, gain_to_uv=gain))
    pd.testing.assert_frame_equal(again.table, read.table)  # what is drawn at random is drawn alike
    rounded = core.NumpyRecording([np.round(volts / gain) * gain], 25000.0)
    rounded.set_channel_gains(1.0)
    rounded.set_channel_offsets(0.0)
    placed = rounded.set_probe(made.recording.get_probe())
    rounded = rounded if placed is None else placed
    direct = simulate.write_analyzer(made._replace(recording=rounded), tmp_path / "direct")
    for name in ("amplitude_median", "num_spikes", "isi_violations_ratio"):
        np.testing.assert_allclose(read.table[name], direct[name], rtol=0.03, atol=0.5, err_msg=name)  # uV
    for name in ("snr", "peak_to_trough_duration"):  # rest on a random choice of stretches and spikes
        assert np.median(read.table[name] / direct[name].to_numpy()) == pytest.approx(1, abs=0.03)
    many = pd.concat([read.table * (1 + k / 100) for k in range(5)], ignore_index=True)
    many.assign(unit_id=range(len(many)), label=list(made.labels) * 5).to_csv(tmp_path / "units.csv", index=False)
    train = ["--label-column", "label", "--classifiers", "LogisticRegression", "--bootstraps", "100", "--allow-small"]
    answer = run_command("unit_refine", "train", tmp_path / "units.csv", *train, "--output", tmp_path / "model")
    assert answer.returncode == 0, answer.stderr
    options = [
        "--compute-missing",
        "--gain-to-uv",
        gain,
        "--write-phy",
        "--write-group",
        "--output",
        tmp_path / "p.csv",
    ]
    answer = run_command("unit_refine", "predict", tmp_path / "model", folder, *options)
    assert answer.returncode == 0, answer.stderr
    groups = pd.read_csv(folder / "cluster_group.tsv", sep="\t").set_index("cluster_id")["group"]
    assert groups.to_dict() == dict(enumerate(made.labels))
    assert not list(tmp_path.rglob("executed"))
    (tmp_path / "raw.bin").unlink()
    with pytest.raises(InputError, match="is not there"):
        kilosort.read(folder, gain)
