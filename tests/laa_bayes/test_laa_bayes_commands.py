"""Does the command line do what it promises? In processes of its own, with exit codes, streams and files."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile

import h5py
import numpy as np
import pytest

from hdf5io import InputError
from laa_bayes import config
from laa_bayes import simulate as simulations
from laa_bayes.files import bank, model_folder, recordings
from laa_bayes.fit import infer
from laa_bayes.neuron import priors, recording
from laa_bayes.neuron.recipe import in_memory


def arrays(folder):
    """Return the arrays of every shard of a bank as bytes."""
    found = {}
    for path in sorted(folder.glob("shard-*.h5")):
        with h5py.File(path) as file:
            found[path.name] = file["z"][()].tobytes() + file["v_mv"][()].tobytes()
    return found


def test_fixed_points_prints_one_json_object(run_command):
    answer = run_command("laa_bayes", "fixed-points", "--k", "5", "--g-act", "3", "--json")
    assert answer.returncode == 0
    results = json.loads(answer.stdout)["results"]
    assert results["knees"]["i_high"] == pytest.approx(0.2075, abs=1e-4)
    assert [p["stable"] for p in results["fixed_points"]] == [True, False, True]


def test_a_bank_is_byte_equal_for_one_and_two_workers_and_after_a_kill(run_command, tmp_path):
    options = ["--n", 600, "--shard-size", 100, "--seed", 3]
    assert run_command("laa_bayes", "simulate", *options, "--output", tmp_path / "one").returncode == 0
    command = [
        sys.executable,
        "-m",
        "laa_bayes",
        "simulate",
        *map(str, options),
        "--jobs",
        "2",
        "--output",
        str(tmp_path / "two"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not list((tmp_path / "two").glob("shard-*.h5")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = run_command("laa_bayes", "simulate", *options, "--jobs", 2, "--output", tmp_path / "two", "--json")
    results = json.loads(again.stdout)["results"]
    assert results["shards_made"] + results["shards_skipped"] == 6
    assert arrays(tmp_path / "one") == arrays(tmp_path / "two")


def test_a_bank_in_memory_is_the_bank_on_disk(tmp_path):
    options = config.SimulateConfig(output=tmp_path / "bank", n=250, shard_size=100)
    recipe = simulations.recipe(options, 250, 0, 100)
    bank.build(recipe, tmp_path / "bank")
    on_disk, direct = bank.load(tmp_path / "bank"), in_memory(recipe)
    assert np.array_equal(on_disk.v_mv, direct.v_mv)
    assert bank.build(recipe, tmp_path / "bank")["skipped"] == 3
    with pytest.raises(InputError, match="made with other options"):
        bank.build(recipe._replace(seed=4), tmp_path / "bank")
    (tmp_path / "bank" / "shard-00001.h5").unlink()
    with pytest.raises(InputError, match=r"shard-00001.h5: missing or unfinished"):
        bank.load(tmp_path / "bank")


def test_whitened_components_of_noisy_traces_have_unit_variance_and_no_correlation():
    from laa_bayes.network import networks
    from laa_bayes.neuron import simulator

    options = config.SimulateConfig(output="bank", duration_ms=100.0)
    traces = in_memory(simulations.recipe(options, 3000, 0, 3000)).v_mv
    summary = networks.MLPSummary(n_components=20, widths=(8,), summary_dim=4)
    summary(traces[:2])
    summary.set_components(traces[:2000], 2.0)
    noisy = simulator.add_noise(traces, 2.0, np.random.default_rng(0))
    seen = np.asarray(summary.project((noisy - networks.CENTER_MV) / networks.SCALE_MV))
    assert np.cov(seen.T) == pytest.approx(np.eye(20), abs=0.15)
    assert not any("dense" in weight.path and weight.shape == (100, 20) for weight in summary.trainable_weights)


def test_the_cosine_schedule_rises_to_the_learning_rate_and_ends_at_zero():
    from laa_bayes.fit import train

    preset = config.Preset(n_simulations=1000, epochs=1, learning_rate=1e-3, warmup_steps=50)
    rate = train.learning_rate(preset, 1000)
    assert float(rate(0)) == pytest.approx(1e-5)
    assert float(rate(50)) == pytest.approx(1e-3, rel=1e-3)
    assert float(rate(1000)) == pytest.approx(0.0, abs=1e-9)
    assert float(train.learning_rate(preset.model_copy(update={"schedule": "exponential"}), 1000)(1000)) == (
        pytest.approx(1e-5, rel=1e-3)
    )


def test_a_trained_model_infers_a_trace_and_writes_a_self_describing_posterior(
    tiny_model, run_command, laa_here, trace_csv, truth
):
    output = trace_csv.with_name("posterior.h5")
    answer = run_command(
        "laa_bayes", "infer", tiny_model, trace_csv, "--refine", "laplace", "--seed", 1, "--output", output, "--json"
    )
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert results["verdict"] == "typical"
    assert results["network"] is True
    for name, value in zip(("C_m", "g_L", "E_L", "k", "V_thr"), truth, strict=False):
        assert abs(results["mean"][name] - value) < 4.5 * results["sd"][name]
    here = model_folder.load(tiny_model)
    v = recordings.read_recording(trace_csv).v_mv[None].astype(np.float32)
    theta = priors.theta_from_z(here.recipe.priors, here.sample(v, 2000, 1)[0])
    with h5py.File(output) as file:
        # a new process with the same seed draws the same
        assert np.array_equal(file["amortised/V_thr"][()], theta[:, 4])
        assert file.attrs["schema"] == "laa_bayes/posterior/1"
        assert file["posterior/C_m"].attrs["units"] == "uF/cm2"
        assert "provenance" in file
        assert file["posterior/k"][0] * file["posterior/k_slope"][0] == pytest.approx(1.0)
    assert output.with_suffix(".report.html").stat().st_size > 50_000
    refused = laa_here("infer", tiny_model, trace_csv, "--seed", 2, "--output", output)
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr
    predicted = laa_here("posterior-predict", output, "--output", output.with_name("prediction.h5"))
    assert predicted.returncode == 0, predicted.stderr


@pytest.mark.slow
def test_one_epoch_of_the_quick_preset_fails_its_diagnosis_with_exit_3(run_command, tmp_path):
    trained = run_command("laa_bayes", "train", "--preset", "quick", "--epochs", 1, "--output", tmp_path / "model")
    assert trained.returncode == 0, trained.stderr
    options = ["--n-traces", 500, "--n-draws", 200, "--n-exact", 2, "--n-typical", 4]
    answer = run_command("laa_bayes", "diagnose", tmp_path / "model", *options, "--json")
    assert answer.returncode == 3, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert results["verdict"] == "fail"
    assert any("contraction" in line for line in results["failed"])
    assert (tmp_path / "model" / "diagnosis" / "report.html").exists()


@pytest.mark.slow
def test_an_interrupted_training_resumes_to_the_same_weights(run_command, tmp_path):
    options = ["--preset", "demo", "--n-simulations", 4096, "--epochs", 6, "--summary-widths", "64", "--flow-depth", 2]
    assert run_command("laa_bayes", "train", *options, "--output", tmp_path / "whole").returncode == 0
    command = [sys.executable, "-m", "laa_bayes", "train", *map(str, options), "--output", str(tmp_path / "cut")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "cut" / "checkpoint.npz").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = run_command("laa_bayes", "train", *options, "--output", tmp_path / "cut")
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after epoch" in resumed.stderr
    whole, cut = ((tmp_path / name / "history.csv").read_text().splitlines() for name in ("whole", "cut"))
    assert [line.split(",")[:4] for line in whole] == [
        line.split(",")[:4] for line in cut
    ]  # the fifth is how long it took
    assert (tmp_path / "whole" / "model.keras").read_bytes() == (tmp_path / "cut" / "model.keras").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("summary", ["conv", "gru", "lstm", "stats"])
@pytest.mark.parametrize(("flow", "norm"), [("affine", "actnorm"), ("spline", "subnet")])
def test_every_network_trains_saves_and_loads_exactly(summary, flow, norm, tmp_path):
    from laa_bayes.fit import train
    from laa_bayes.neuron import simulator

    preset = config.Preset(
        n_simulations=512,
        epochs=1,
        batch_size=128,
        summary=summary,
        summary_widths=(16, 16),
        summary_dim=8,
        flow=flow,
        flow_depth=2,
        flow_widths=(16,),
        batch_norm=norm,
    )
    options = config.SimulateConfig(output="bank", duration_ms=60.0)
    recipe = simulations.recipe(options, 512, 0, 512)
    model = train.train(in_memory(recipe), preset, 0, tmp_path / "model")
    model_folder.save(model, tmp_path / "model", {})
    v = simulator.add_noise(in_memory(recipe).v_mv[:3], 2.0, np.random.default_rng(0))
    loaded = model_folder.load(tmp_path / "model")
    assert np.array_equal(model.sample(v, 20, 1), loaded.sample(v, 20, 1))
    z = loaded.sample(v[:1], 50, 1)[0]
    assert np.all(np.isfinite(loaded.log_density(z, v[0])))


def test_a_saved_network_is_the_same_bytes_on_another_day_and_at_other_addresses(tiny_model, tmp_path):
    from laa_bayes.network.networks import keras

    models = []  # all live: their objects have different addresses
    for name in "ab":
        keras.utils.clear_session()  # layers are counted from 1 again, as in a process of its own
        models.append(model_folder.load(tiny_model))
        model_folder.save(models[-1], tmp_path / name, {})
    a, b = (tmp_path / name / "model.keras" for name in "ab")
    assert a.read_bytes() == b.read_bytes()
    with zipfile.ZipFile(a) as archive:
        assert {member.date_time[0] for member in archive.infolist()} == {1980}
        assert "1980" in archive.read("metadata.json").decode()


def test_a_model_with_other_weights_or_of_another_format_is_refused(tiny_model, tmp_path):
    import shutil

    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    with (copy / "model.keras").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="sha256 differs"):
        model_folder.load(copy)
    text = (copy / "model.json").read_text()
    (copy / "model.json").write_text(text.replace("laa_bayes/model/1", "laa_bayes/model/9"))
    with pytest.raises(InputError, match="format 'laa_bayes/model/9'"):
        model_folder.load(copy)
    (copy / "model.json").write_text(re.sub(r'"bayesflow": "\d+', '"bayesflow": "1', text))
    shutil.copy(tiny_model / "model.keras", copy / "model.keras")
    with pytest.raises(InputError, match="trained with bayesflow 1"):
        model_folder.load(copy)
    with pytest.raises(InputError, match="no trained model"):
        model_folder.load(tmp_path)


def test_a_passive_cell_under_the_noise_that_was_told_is_typical_and_has_no_activation_to_tell_of(laa_here, tmp_path):
    assert (
        laa_here("trace", "--g-act", 0, "--noise-mv", 2, "--output", tmp_path / "trace.csv", "--quiet").returncode == 0
    )
    answer = laa_here("infer", "none", tmp_path / "trace.csv", "--output", tmp_path / "p.h5", "--quiet")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("the passive model beats laa: yes")
    assert answer.stdout.endswith("typical\n")
    assert "passive membrane: C_m" in answer.stdout
    results = json.loads((tmp_path / "p.result.json").read_text())["results"]
    assert results["models"]["passive"]["parameters"]["C_m"] == pytest.approx(1.0, abs=0.05)
    assert not any(results["identified"].values())
    assert not any(test["flagged"] for test in results["checks"]["tests"].values())


def test_another_keras_backend_is_exit_5(run_command, tiny_model, trace_csv):
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    answer = run_command("laa_bayes", "infer", tiny_model, trace_csv, env=environment)
    assert answer.returncode == 5
    assert "needs 'jax'" in answer.stderr


def options_for(path, **changes):
    return config.InferConfig(model="model", recording=path, **changes)


def test_a_current_in_pa_needs_an_area_for_a_density_model(tiny_model, noisy_trace):
    trace = recording.Recording(*noisy_trace[1:], "pA", 1.0, 0.0, "trace.csv")
    with pytest.raises(InputError, match="--area-um2"):
        infer.infer(trace, options_for("trace.csv"), model_folder.load(tiny_model))


def test_another_current_or_grid_is_refused_without_refinement(tiny_model, noisy_trace):
    model = model_folder.load(tiny_model)
    _, v, current = noisy_trace
    for other in (
        recording.Recording(v, current + 0.5, "uA/cm2", 1.0, 0.0, "trace.csv"),
        recording.Recording(v[:400], current[:400], "uA/cm2", 1.0, 0.0, "trace.csv"),
    ):
        assert not infer.network_applies(model, other)
        with pytest.raises(InputError, match="valid for its training current"):
            infer.infer(other, options_for("trace.csv", refine="none"), model)
    assert infer.network_applies(model, recording.Recording(v, current, "uA/cm2", 1.0, 0.0, "trace.csv"))


@pytest.mark.slow
def test_unrefined_and_weighted_answers_come_from_the_network(tiny_model, noisy_trace):
    model = model_folder.load(tiny_model)
    trace = recording.Recording(*noisy_trace[1:], "uA/cm2", 1.0, 0.0, "trace.csv")
    plain = infer.infer(trace, options_for("trace.csv", refine="none"), model)
    assert np.array_equal(plain.w, plain.amortised)
    weighted = infer.infer(trace, options_for("trace.csv", refine="is"), model)
    assert weighted.refined.method in ("is", "smc")  # a network this small is far too wide, so SMC usually takes over
    laplace = infer.infer(trace, options_for("trace.csv"), model)
    assert weighted.w.std(axis=0) == pytest.approx(laplace.w.std(axis=0), rel=0.2)
    assert np.all(plain.w.std(axis=0) > laplace.w.std(axis=0))


def test_newton_answers_where_a_gaussian_does_and_says_why_laplace_does_elsewhere(
    tiny_model, trace_csv, laa_here, tmp_path
):
    def typed(*more):
        answer = laa_here(
            "infer", *more, "--refine", "newton", "--no-report", "--json", "--output", tmp_path / "p.h5", "--overwrite"
        )
        return json.loads(answer.stdout)["results"], answer.stderr

    found, _ = typed(tiny_model, trace_csv)
    assert found["refine"] == "newton"
    assert (found["mean"]["C_m"], found["mean"]["E_L"]) == pytest.approx((1.0, -65.0), abs=0.4)
    other, told = typed("none", trace_csv, "--noise", "known")
    assert other["refine"] == "laplace"
    assert "--refine newton: it begins at the network's draws, and there is no network" in told
    assert other["mean"]["k"] == pytest.approx(found["mean"]["k"], abs=0.2 * other["sd"]["k"])


def test_a_folder_that_another_run_holds_is_exit_4(laa_here, tmp_path):
    from hdf5io import runs

    folder = tmp_path / "bank"
    with runs.exclusive(folder):
        answer = laa_here("simulate", "--n", 100, "--shard-size", 100, "--output", folder)
    assert answer.returncode == 4
    assert len(answer.stderr.splitlines()) == 1


def test_options_left_out_take_the_presets_values_and_typed_ones_win():
    chosen = config.TrainConfig(output="m", preset="seed", epochs=3, summary_widths=[8, 8]).resolved_preset()
    assert (chosen.epochs, chosen.summary_widths, chosen.learning_rate, chosen.summary) == (3, (8, 8), 1e-4, "lstm")


def test_the_seed_preset_has_every_number_of_the_seed_document():
    seed = config.PRESETS["seed"]
    assert (seed.n_simulations, seed.epochs, seed.batch_size, seed.learning_rate) == (100_000, 300, 256, 1e-4)
    assert seed.summary == "lstm"
    assert len(seed.summary_widths) == 2
    assert all(64 <= width <= 128 for width in seed.summary_widths)
    assert 4 <= seed.flow_depth <= 6
    assert (seed.flow, seed.batch_norm, seed.schedule, seed.offline_noise) == ("affine", "actnorm", "cosine", True)
