"""The commands, from a data set to a benchmark, as a user types them."""

import csv
import html
import json
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from neuro_diffusion.files import dataset


@pytest.fixture(scope="module")
def recording(nd_data, tmp_path_factory):
    """Return an HDF5 file with three noisy trials of a network and its true weights."""
    network, path = dataset.load_network(nd_data, 5), tmp_path_factory.mktemp("rec") / "activity.h5"
    x = network.activity[0, :3].numpy()
    with h5py.File(path, "w") as file:
        file["activity"] = x + 0.02 * np.random.default_rng(0).standard_normal(x.shape)
        file["W"] = network.W[0].numpy()
    return path


def fast(*arguments):
    return ("--samples", 8, "--steps", 4, *arguments)


def test_neurons_and_trials_that_nobody_names_are_told_apart_by_how_well_a_network_explains_them(
    nd_here, nd_model, recording, tmp_path
):
    with h5py.File(recording) as file:
        x = file["activity"][()]
    np.save(tmp_path / "right.npy", x)
    np.save(tmp_path / "turned.npy", x.transpose(2, 1, 0))
    for name, axes, n_trials in (
        ("right", (), 3),
        ("turned", None, 0),
        ("turned", ("--axes", "neuron,time,trial"), 3),
        ("turned", ("--axes", "trial,time,neuron"), 6),
    ):
        output = ("--output", tmp_path / "p.h5", "--dry-run", "--json")
        answer = nd_here("infer", nd_model, tmp_path / f"{name}.npy", *output, *(axes or ()))
        if n_trials:
            assert answer.returncode == 0, answer.stderr
            assert json.loads(answer.stdout)["results"]["n_trials"] == n_trials
        else:
            assert answer.returncode == 2, answer.stderr
            assert "--axes neuron,time,trial" in answer.stderr


def test_a_model_with_other_sizes_than_the_defaults_reloads_and_samples(
    neuro_diffusion_cli, nd_model, nd_data, tmp_path
):
    answer = neuro_diffusion_cli(
        "sample", nd_model, "--n", 24, "--steps", 6, "--data", nd_data, "--output", tmp_path / "s.h5", "--json"
    )
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert 0.5 < results["against_test_networks"]["radius_ratio"] < 2
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["W"].shape == (24, 6, 6)
        W = file["W"][()]
    assert np.isfinite(W).all()
    spec = json.loads((nd_model / "model.json").read_text())["spec"]
    assert 0.05 < spec["atom"] < 0.12  # half of the weakest connection of this family, in standard units
    smallest = abs(W[W != 0]).min() * 6**0.5 / spec["scale"]
    assert (W == 0).mean() > 0.02
    assert smallest >= 0.999 * spec["atom"]


def test_inference_writes_samples_baselines_and_a_verdict(neuro_diffusion_cli, nd_model, recording, tmp_path):
    out = tmp_path / "posterior.h5"
    answer = neuro_diffusion_cli(
        "infer", nd_model, recording, "--prior", nd_model, "--refine", "map", "--truth", recording, "--output", out, *fast(), "--json"
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert [row["method"] for row in results["methods"]] == ["diffusion", "ridge", "ep", "pigdm", "refined (map)"]
    assert all(row["held-out log-likelihood per value"] is not None for row in results["methods"])
    assert results["noise_std"] == pytest.approx(0.02, rel=0.15)
    with h5py.File(out) as file, h5py.File(recording) as truth:
        radii = np.abs(np.linalg.eigvals(np.stack([*file["samples"][()], truth["W"][()]]))).max(1)
        assert results["scores"]["radius_ratio"] == pytest.approx(radii[:-1].mean() / radii[-1], rel=1e-4)
        assert file.attrs["schema"] == "neuro_diffusion/posterior/1"
        np.testing.assert_allclose(file["samples"][()].mean(0), file["mean"][()], atol=1e-6)
        assert set(file["estimates"]) == {"diffusion", "ridge", "ep", "pigdm", "refined_map"}
        np.testing.assert_allclose(file["connection_probability"][()], (file["samples"][()] != 0).mean(0))
    assert (tmp_path / "posterior.png").stat().st_size > 1000


def test_a_recording_has_an_answer_without_any_training(nd_here, tmp_path):
    drawn = ("--structure", "dale-sparse-lognormal", "--N", 10, "--num_trials", 4, "--T", 60, "--seed", 3)
    assert nd_here("simulate", *drawn, "--output", tmp_path / "x.h5").returncode == 0
    typed = ("infer", "none", tmp_path / "x.h5", "--output", tmp_path / "p.h5")
    for missing, phrase in (((), "it needs --dt-over-tau"), (("--dt-over-tau", 0.1, "--steps", 9), "no --steps")):
        answer = nd_here(*typed, *missing)
        assert answer.returncode == 2
        assert phrase in answer.stderr
    answer = nd_here(*typed, "--dt-over-tau", 0.1, "--truth", tmp_path / "x.h5", "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert results["verdict"] == "typical"
    assert [row["method"] for row in results["methods"]] == ["ridge", "ep"]
    assert results["scores"]["correlation"] > 0.95
    with h5py.File(tmp_path / "p.h5") as file:
        np.testing.assert_array_equal(file["samples"][()], file["ep_samples"][()])
    assert "trained diffusion model" not in (tmp_path / "p.methods.md").read_text()


def test_anatomy_is_joined_by_names_or_order_and_anything_else_refused(
    neuro_diffusion_cli, nd_model, recording, tmp_path
):
    with h5py.File(recording) as file:
        W = file["W"][()]
    np.save(tmp_path / "anatomy.npy", np.abs(W))
    arguments = (
        "infer",
        nd_model,
        recording,
        *fast("--anatomy", tmp_path / "anatomy.npy"),
        "--output",
        tmp_path / "p.h5",
        "--json",
    )
    done = neuro_diffusion_cli(*arguments, "--force")
    assert done.returncode == 0, done.stderr
    assert "in the order of the recording's neurons" in done.stderr
    results = json.loads(done.stdout)["results"]
    assert "anatomy" in {row["method"] for row in results["methods"]}
    assert 0 <= results["anatomy"]["informative"] <= 1
    seen, unseen = results["anatomy"]["density by class"][1], results["anatomy"]["density by class"][0]
    assert seen > unseen
    np.save(tmp_path / "anatomy.npy", np.ones((3, 3)) - np.eye(3))
    refused = neuro_diffusion_cli(*arguments, "--overwrite")
    assert refused.returncode == 2
    assert "3 neurons" in refused.stderr


def test_the_same_seed_gives_the_same_json_and_another_seed_another(
    neuro_diffusion_cli, nd_here, nd_model, recording, tmp_path
):
    found = []
    for name, seed, run in (("a", 1, neuro_diffusion_cli), ("b", 1, nd_here), ("c", 2, nd_here)):
        answer = run("infer", nd_model, recording, "--output", tmp_path / f"{name}.h5", *fast("--seed", seed), "--json")
        assert answer.returncode == 0, answer.stderr
        found.append(json.loads(answer.stdout)["results"])
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("kind", ["csv", "npz", "nwb"])
def test_every_format_gives_the_same_answer(nd_here, nd_model, recording, tmp_path, kind):
    with h5py.File(recording) as file:
        x = file["activity"][0]
    path = tmp_path / f"x.{kind}"
    if kind == "csv":
        path.write_text(
            "\n".join([",".join(f"n{i}" for i in range(6)), *(",".join(map(repr, map(float, row))) for row in x)])
        )
    elif kind == "npz":
        np.savez(path, rates=x)
    else:
        pynwb = pytest.importorskip("pynwb")
        from datetime import UTC, datetime

        nwb = pynwb.NWBFile("rates", "x", datetime(2020, 1, 1, tzinfo=UTC))
        nwb.add_acquisition(pynwb.TimeSeries("rates", data=x, unit="n/a", rate=10.0))
        with pynwb.NWBHDF5IO(path, "w") as io:
            io.write(nwb)
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["activity"] = x
    results = []
    for source in (path, tmp_path / "one.h5"):
        answer = nd_here("infer", nd_model, source, "--output", tmp_path / f"{source.stem}.out.h5", *fast(), "--json")
        assert answer.returncode == 0, answer.stderr
        results.append(json.loads(answer.stdout)["results"])
    assert results[0]["noise_std"] == pytest.approx(results[1]["noise_std"], rel=1e-4)
    assert "untested" in results[0]["reason"]


def test_the_benchmark_holds_ridge_and_oracle_ridge_beside_the_model(nd_here, nd_model, nd_data, tmp_path):
    answer = nd_here(
        "benchmark", nd_model, nd_data, "--trials", "1,3", "--noise", "0.05", "--observed", "1,0.5", "--networks", 8,
        "--prior", nd_model, "--output", tmp_path / "b", *fast(), "--json",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    table = results["table"]
    assert [row["method"] for row in results["rows"]] == [
        "ridge",
        "oracle ridge",
        "ep",
        "combined",
        "diffusion",
        "pigdm",
    ] * 4
    assert results["ep_family"]["dale"] is True
    assert table[0]["ep family"].startswith("Dale's law, density ")
    keys = {"structure", "n", "k", "noise", "observed", "method", "correlation", "se", "coverage"}
    assert set(results["rows"][2]) == keys
    assert results["rows"][4]["coverage"]["80"] == table[0]["coverage 80 %"]
    assert results["rows"][4]["correlation"] == table[0]["diffusion"]
    assert results["rows"][3]["coverage"]["80"] == table[0]["combined coverage 80 %"]
    final = results["answer"]
    assert final["against"] in ("EP", "ridge")
    assert final["gain"] == pytest.approx(
        np.mean([r["combined"] - r["ep" if final["against"] == "EP" else "ridge"] for r in table]), abs=1e-6
    )
    assert final["sentence"] in answer.stdout
    assert (final["verdict"] == "no") == (final["high"] <= 0)
    assert [(row["trials"], row["observed"]) for row in table] == [(1, 1), (3, 1), (1, 0.5), (3, 0.5)]
    for row in table:
        assert row["oracle ridge"] >= row["ridge"] - 1e-6
        assert row["ridge se"] > 0
    assert table[1]["ridge"] > table[0]["ridge"]
    with open(tmp_path / "b" / "benchmark.csv", newline="") as handle:
        assert float(next(csv.DictReader(handle))["ridge"]) == pytest.approx(table[0]["ridge"])
    page = (tmp_path / "b" / "report.html").read_text()
    assert final["sentence"] in html.unescape(page)
    for raw in ("functional_error", "sign_auc", "radius_ratio", "lyapunov_error", " se<"):
        assert raw not in page
    assert "pseudo-inverse guidance" in page


def test_evaluation_takes_the_data_sets_own_conditions_and_runs_the_weights(nd_here, nd_model, nd_data, tmp_path):
    out = tmp_path / "e"
    answer = nd_here(
        "evaluate", nd_model, nd_data, "--networks", 6, "--noise", "0.05", "--output", out, *fast(), "--json"
    )
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert [(r["trials"], r["noise"], r["observed"]) for r in results["table"]] == [(10, 0.05, 1.0)]
    behaviour = {row["method"]: row for row in results["dynamics"][0]}
    assert list(behaviour) == ["ridge", "oracle ridge", "ep", "combined", "diffusion", "diffusion sample"]
    assert 0 < behaviour["ridge"]["functional_error"] < 1
    assert behaviour["ridge"]["lyapunov_error"] > 0
    for name in ("correlation", "weights", "calibration", "trajectories", "eigenvalues"):
        assert (out / f"{name}.png").stat().st_size > 1000
    with open(out / "dynamics.csv", newline="") as handle:
        assert [row["method"] for row in csv.DictReader(handle)] == list(behaviour)
    assert "What the weights do when they run" in (out / "report.html").read_text()
    noiseless = nd_here("evaluate", nd_model, nd_data, "--networks", 2, *fast(), "--json")
    assert "no observation noise" in json.loads(noiseless.stdout)["warnings"][0]


def test_an_empty_and_a_cut_data_set_are_one_line(nd_here, nd_model, nd_data, tmp_path):
    cut = tmp_path / "cut"
    cut.mkdir()
    for path in nd_data.iterdir():
        whole = path.read_bytes()
        (cut / path.name).write_bytes(whole[: len(whole) // 2] if path.suffix == ".h5" else whole)
    (tmp_path / "empty").mkdir()
    for folder, message in ((cut, "shard_00000.h5"), (tmp_path / "empty", "no data set here")):
        for command in ("evaluate", "train-prior"):
            given = (nd_model, folder, "--noise", "0.05") if command == "evaluate" else (folder,)
            answer = nd_here(command, *given, "--output", tmp_path / "out")
            assert answer.returncode == 2, answer.stderr
            assert message in answer.stderr
            assert len(answer.stderr.strip().splitlines()) == 1
            assert not (tmp_path / "out").exists()


def test_a_killed_training_goes_on_and_ends_where_an_unbroken_one_ends(
    neuro_diffusion_cli, nd_data, nd_small, nd_model, tmp_path
):
    command = ["train-conditional", nd_data, "--output", tmp_path / "m", *nd_small, "--save-every", 30]
    process = subprocess.Popen([sys.executable, "-m", "neuro_diffusion", *map(str, command)], stderr=subprocess.DEVNULL)
    end = time.time() + 120
    while not (tmp_path / "m" / "resume.safetensors").exists() and time.time() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "m" / "model.json").exists()
    answer = neuro_diffusion_cli(*command, "--resume", "--json")
    assert answer.returncode == 0, answer.stderr
    resumed = json.loads(answer.stdout)["results"]
    unbroken = json.loads((nd_model / "result.json").read_text())["results"]
    assert resumed.pop("resumed_from") == 30
    unbroken.pop("resumed_from")
    assert resumed == unbroken


def test_fine_tuning_starts_from_the_given_network_in_every_precision(nd_here, nd_data, nd_model, nd_small, tmp_path):
    """Two steps leave the loss where 60 steps had brought it; two steps from scratch do not."""
    found = {}
    for name, options in {
        "tuned": ["--fine-tune", nd_model], "bf16": ["--fine-tune", nd_model, "--precision", "bf16-mixed"], "fresh": []
    }.items():  # fmt: skip
        command = ["train-conditional", nd_data, "--output", tmp_path / name, *nd_small, "--iterations", 2]
        answer = nd_here(*command, *options, "--json")
        assert answer.returncode == 0, answer.stderr
        found[name] = json.loads(answer.stdout)["results"]["validation_loss"]
    before = json.loads((nd_model / "result.json").read_text())["results"]["validation_loss"]
    assert found["tuned"] == pytest.approx(before, abs=0.002)
    assert found["bf16"] == pytest.approx(found["tuned"], abs=0.001)
    assert found["bf16"] != found["tuned"]
    assert found["fresh"] > before + 0.005
    answer = nd_here("train-conditional", nd_data, "--output", tmp_path / "other", "--fine-tune", nd_model)
    assert answer.returncode == 2
    assert "Give --arch pool --width 24 --hidden 40 --depth 2" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_the_regression_baseline_is_trained_and_shown(neuro_diffusion_cli, nd_data, nd_model, nd_small, tmp_path):
    trained = neuro_diffusion_cli(
        "train-conditional",
        nd_data,
        "--objective",
        "regression",
        "--output",
        tmp_path / "r",
        *nd_small[2:],
        "--iterations",
        5,
    )
    assert trained.returncode == 0, trained.stderr
    answer = neuro_diffusion_cli(
        "benchmark", nd_model, nd_data, "--regression", tmp_path / "r", "--trials", "1", "--noise", "0.05", "--networks", 4, *fast(), "--json"
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert 0 < json.loads(answer.stdout)["results"]["table"][0]["regression"] < 1


def write_h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def wave(T=30, N=6):
    return np.sin(np.arange(T * N).reshape(T, N) / 7.0)


def broken(kind, folder, model):
    """Return (model, activity) of one kind of bad input."""
    path, x = folder / "bad.h5", wave()
    if kind == "nan":
        x[4, 2] = np.nan
    if kind == "range":
        x = 5 * x
    if kind == "constant":
        x = 0 * x
    arrays = {"a": x, "b": x} if kind == "ambiguous" else {"activity": x[:4] if kind == "short" else x}
    write_h5(path, **arrays)
    if kind == "text":
        path = folder / "bad.csv"
        path.write_text("one,two\nthree,four\nfive,six\n")
    if kind in ("foreign", "cut"):
        model = model_copy(model, folder / "model")
        if kind == "foreign":
            (model / "model.json").write_text('{"hello": 1}')
        else:
            whole = (model / "model.safetensors").read_bytes()
            (model / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    return model, path


def model_copy(source, target):
    target.mkdir()
    for name in ("model.json", "model.safetensors"):
        (target / name).write_bytes((source / name).read_bytes())
    return target


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "neuron 2 has 1 NaN"),
        ("range", "outside [-1.5, 1.5]"),
        ("constant", "constant"),
        ("short", "at least 6 time steps"),
        ("ambiguous", "Name one with --dataset"),
        ("text", "not a table of numbers"),
        ("foreign", "not a model of this package"),
        ("cut", "not a model of this package, or damaged"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(nd_here, nd_model, tmp_path, kind, message):
    model, activity = broken(kind, tmp_path, nd_model)
    answer = nd_here("infer", model, activity, "--output", tmp_path / "out.h5", *fast())
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out.h5").exists()


def test_an_unrecorded_neuron_is_a_column_of_nan_and_warned_of(nd_here, nd_model, recording, tmp_path):
    with h5py.File(recording) as file:
        x = file["activity"][()]
    x[:, :, 3] = np.nan
    path = write_h5(tmp_path / "part.h5", activity=x)
    answer = nd_here("infer", nd_model, path, "--output", tmp_path / "p.h5", *fast(), "--json")
    assert answer.returncode == 0, answer.stderr
    outcome = json.loads(answer.stdout)
    assert outcome["results"]["n_observed"] == 5
    assert "1 of 6 neurons were not recorded" in outcome["warnings"][0]


def test_guidance_above_one_is_labelled(nd_here, nd_model, recording, tmp_path):
    answer = nd_here("infer", nd_model, recording, "--guidance", 2, "--output", tmp_path / "g.h5", *fast(), "--json")
    assert "not calibrated" in json.loads(answer.stdout)["warnings"][0]


def test_a_regression_network_is_refused_where_samples_are_wanted(nd_here, nd_data, nd_model, tmp_path):
    model = model_copy(nd_model, tmp_path / "model")
    text = (model / "model.json").read_text().replace('"objective": "diffusion"', '"objective": "regression"')
    (model / "model.json").write_text(text)
    answer = nd_here("sample", model, "--output", tmp_path / "s.h5")
    assert answer.returncode == 2
    assert "expected one trained with --objective diffusion" in answer.stderr


def test_a_second_build_is_told_and_an_unfinished_one_of_other_options_is_refused(nd_here, nd_data):
    options = ["--out_dir", nd_data, "--num_networks", 400, "--N", 6, "--T", 30]
    again = nd_here("build-dataset", *options, "--structure", "dale-sparse-lognormal")
    assert again.returncode == 0, again.stderr
    assert "400 networks" in again.stdout
    assert "finished already" in again.stderr
    other = nd_here("build-dataset", *options, "--structure", "dense")
    assert other.returncode == 2
    assert "structure = dale-sparse-lognormal (now dense)" in other.stderr


def test_info_and_plot_know_every_input_and_output(nd_here, nd_model, nd_data, recording, tmp_path):
    posterior, samples, simulated = tmp_path / "p.h5", tmp_path / "s.h5", tmp_path / "sim.h5"
    assert nd_here("infer", nd_model, recording, "--output", posterior, *fast()).returncode == 0
    assert nd_here("sample", nd_model, "--n", 8, "--steps", 3, "--output", samples).returncode == 0
    assert nd_here("simulate", "--output", simulated, "--N", 6, "--seed", 3).returncode == 0
    kinds = {
        nd_data: "data set", nd_model: "diffusion model", recording: "activity", posterior: "posterior",
        samples: "samples of a prior", simulated: "activity", nd_data / "shard_00000.h5": "shard of a data set",
    }  # fmt: skip
    for path, kind in kinds.items():
        answer = nd_here("info", path, "--json")
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)["results"]["kind"] == kind
    for number, path in enumerate((nd_data, recording, posterior, samples)):
        drawn = nd_here("plot", path, "--output", tmp_path / f"{number}.svg")
        assert drawn.returncode == 0, drawn.stderr
        assert (tmp_path / f"{number}.svg").read_text().lstrip().startswith("<?xml")
    refused = nd_here("plot", nd_model, "--output", tmp_path / "m.png")
    assert refused.returncode == 2
    assert "nothing to draw" in refused.stderr
    (tmp_path / "note.txt").write_text("hello\n")
    foreign = nd_here("info", tmp_path / "note.txt")
    assert foreign.returncode == 2
    assert len(foreign.stderr.strip().splitlines()) == 1


def test_the_public_names_come_from_the_root_and_load_nothing_heavy_before():
    code = (
        "import sys, neuro_diffusion as n; assert not {'torch', 'numpy'} & set(sys.modules); "
        "from neuro_diffusion import simulate_rate_network, summary_stats, sample_weight_matrix; "
        "assert all(callable(getattr(n, name)) for name in n.PUBLIC)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_a_network_beyond_the_diffusion_model_is_answered_by_expectation_propagation(
    nd_here, nd_model, tmp_path, monkeypatch
):
    from neuro_diffusion.files import asked
    from neuro_diffusion.fit import infer

    monkeypatch.setattr(infer, "LARGEST", 20)
    monkeypatch.setattr(asked, "LARGEST", 20)
    assert nd_here("simulate", "--output", tmp_path / "s.h5", "--N", 24, "--num-trials", 2, "--T", 20).returncode == 0
    answer = nd_here(
        "infer", nd_model, tmp_path / "s.h5", "--truth", tmp_path / "s.h5", "--output", tmp_path / "p.h5", "--json", "--force"
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert [row["method"] for row in results["methods"]] == ["ridge", "ep"]
    assert all(row["held-out log-likelihood per value"] is not None for row in results["methods"])
    assert results["family"]["asked"] is False  # Dale's law is taken as given there, and that is said
    assert any("Dale's law) is not asked beyond 20 neurons" in line for line in json.loads(answer.stdout)["warnings"])
    assert results["best_method"] == "ridge" or any("Dale's law) is not asked" in fact for fact in results["facts"])
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["samples"].shape == (8, 24, 24)
    refused = nd_here("infer", nd_model, tmp_path / "s.h5", "--refine", "map", "--output", tmp_path / "q.h5")
    assert refused.returncode == 2
    assert "not there for more than 20 neurons" in refused.stderr


def test_a_dry_run_reads_and_writes_nothing(nd_here, nd_model, nd_data, recording, tmp_path):
    for command in (
        ("simulate",), ("build-dataset", "--N", 5), ("train-conditional", nd_data), ("train-prior", nd_data), ("sample", nd_model),
        ("infer", nd_model, recording), ("benchmark", nd_model, nd_data), ("evaluate", nd_model, nd_data, "--noise", 0.1),
    ):  # fmt: skip
        answer = nd_here(*command, "--output", tmp_path / "out.h5", "--dry-run")
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.startswith("would ")
        assert list(tmp_path.iterdir()) == []
    assert (
        nd_here("infer", nd_model, nd_data / "metadata.json", "--output", tmp_path / "o.h5", "--dry-run").returncode
        == 2
    )
