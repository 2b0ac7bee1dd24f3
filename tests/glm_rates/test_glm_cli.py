"""The commands as a user types them: results, reuse, mistakes, two interpreters."""

import csv
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import hdf5io

USER_NODES = ("spike_trains", "sorted_units", "unit_descriptor")


def user_data(path):
    """Digest of everything in the recording that is the user's."""
    import hashlib

    digest = hashlib.sha256()
    with h5py.File(path) as h5:

        def visit(name, node):
            if name.split("/")[0] in USER_NODES and isinstance(node, h5py.Dataset):
                digest.update(name.encode() + np.ascontiguousarray(node[()]).tobytes())

        h5.visititems(visit)
    return digest.hexdigest()


def test_the_nodes_of_the_original_module_are_there(inferred, recording):
    folder, _ = inferred
    assert user_data(folder / "simulated.h5") == user_data(recording / "simulated.h5")
    with h5py.File(folder / "simulated.h5") as h5:
        out = h5["glm_output"]
        assert out["bin_size"][()].tolist() == [25]
        assert out["history_window"][:].tolist() == [250]
        assert out["time_lims"][:].tolist() == [1500, 4500]
        assert out["time_lims"].dtype == np.int64
        node = out["regions/taste_1_region_bla_neuron_4"]
        assert node["pred_firing"].shape == node["binned_spikes"].shape == (9, 120)
        assert node["pred_firing"].dtype == np.float64
        assert node["bits_per_spike"].shape == (1,)
        np.testing.assert_allclose(node["pred_firing_hz"][:], node["pred_firing"][:] * 40, rtol=1e-3)  # 10 bits kept
        spikes = h5["spike_trains/board-DIN-10/spike_array"][:, 4, 1500:4500].reshape(9, 120, 25).sum(axis=2)
        np.testing.assert_array_equal(node["binned_spikes"][:], spikes)
        stacked = out["stacked/pred_firing_hz"]
        assert stacked.shape == (2, 9, 5, 120)
        np.testing.assert_allclose(stacked[1, :, 4], node["pred_firing_hz"][:])
        assert stacked.attrs["units"] == "Hz"
        assert len(out["populations/gc/history_lag_ms"]) == 10


def test_the_in_sample_score_is_that_of_the_stored_rates(inferred):
    folder, _ = inferred
    with h5py.File(folder / "simulated.h5") as h5:
        node = h5["glm_output/regions/taste_0_region_gc_neuron_0"]
        y, mu = node["binned_spikes"][:], node["pred_firing"][:]
        bits = (y * np.log2(mu / y.mean()) - (mu - y.mean()) / np.log(2)).sum() / y.sum()
        assert node["bits_per_spike"][0] == pytest.approx(bits, abs=2e-5)


def test_the_summary_begins_with_the_original_columns(inferred):
    folder, answer = inferred
    with open(folder / "glm_output" / "bits_per_spike_summary.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0])[:4] == ["taste", "region", "neuron", "bits_per_spike"]
    assert len(rows) == 2 * 5
    assert answer["results"]["n_units"] == 5
    assert list(answer["results"]["models"])[-1] == "history+stimulus+coupling"
    assert answer["results"]["n_converged"] == 5


def test_the_answer_is_against_the_best_baseline_and_the_same_everywhere(inferred):
    folder, answer = inferred
    found, models, slow = (answer["results"][name] for name in ("answer", "models", "slow"))
    plain = max(0.0, *(models[name]["pooled"] for name in ("one rate", "psth", "rolling window")))
    best = max(row["pooled"] for name, row in slow.items() if name != "model")
    model = slow["model"] if best > plain else models["history+stimulus+coupling"]
    assert found["gain"] == pytest.approx(model["pooled"] - max(best, plain), abs=1e-12)
    assert found["low"] < found["gain"] < found["high"]
    expected = "yes" if found["low"] > 0 else "no" if found["high"] < 0 else "cannot tell"
    assert found["verdict"] == expected
    record = json.loads((folder / "glm_output" / "result.json").read_text())
    assert found["sentence"] in record["line"]
    assert found["sentence"] in (folder / "glm_output" / "report.html").read_text()


def test_what_would_narrow_the_answer_is_foretold(inferred):
    """Half of the answer's interval shrinks with the square root of the number of trials; 9 trials of 2 tastes."""
    found = inferred[1]["results"]
    now = (found["answer"]["high"] - found["answer"]["low"]) / 2
    told = {row["measurement"]: row["then"] for row in found["further"]}
    assert list(told) == ["4 more trials of each taste", "9 more trials of each taste", "27 more trials of each taste"]
    for row, n in zip(found["further"], (13, 18, 36)):
        assert row["now"] == pytest.approx(now)
        assert row["then"] == pytest.approx(now * (9 / n) ** 0.5)
    page = (inferred[0] / "glm_output" / "report.html").read_text()
    assert "What would narrow the answer" in page
    assert "the mean rate of the taste" in page


def test_figures_report_and_models_are_written(inferred):
    folder = inferred[0] / "glm_output"
    names = {
        "bits_per_spike_distribution",
        "bits_per_spike_by_taste_region",
        "model_comparison",
        "goodness_of_fit",
        "coupling_matrix",
    }
    assert names == {p.stem for p in (folder / "plots").glob("*.png")}
    assert len(list((folder / "plots" / "individual_neurons").glob("*.png"))) == 5
    assert (folder / "report.html").stat().st_size > 50_000
    assert {p.name for p in (folder / "artifacts").iterdir()} == {"gc.npz", "bla.npz", "params.json"}
    with np.load(folder / "artifacts" / "gc.npz", allow_pickle=False) as archive:
        assert "item::strkey:coef_" in archive.files


def test_fits_are_reused_until_data_or_options_change(inferred, tmp_path, run_command):
    folder = tmp_path / "again"
    shutil.copytree(inferred[0], folder)
    chosen = ["--include_coupling", "--separate_regions", "--cv_folds", 3, "--json", "--no-plots"]

    def reused(*more):
        done = run_command("glm_rates", "infer", folder, *chosen, *more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["results"]["reused"]

    assert reused("--jobs", 2)  # the number of processes changes no number
    assert not reused("--cv_folds", 0)
    with h5py.File(folder / "simulated.h5", "a") as h5:
        h5["spike_trains/board-DIN-09/spike_array"][0, 0, 2000] += 1
    assert not reused("--cv_folds", 0)
    assert not reused("--cv_folds", 0, "--retrain")


@pytest.mark.slow
def test_reruns_are_identical_and_jobs_change_nothing(recording, tmp_path, run_command):
    rates = []
    for number, jobs in enumerate((1, 1, 2)):
        target = tmp_path / f"{number}.h5"
        done = run_command(
            "glm_rates", "infer", recording, "--output", target, "--cv-folds", 2, "--jobs", jobs, "--no-plots"
        )
        assert done.returncode == 0, done.stderr
        with hdf5io.read(target, "glm_rates/infer/1") as h5:
            rates.append(np.stack([h5["stacked/pred_firing_hz"][:], h5["stacked/pred_firing_cv_hz"][:]]))
    np.testing.assert_array_equal(rates[0], rates[1])
    np.testing.assert_allclose(rates[0], rates[2], rtol=0, atol=1e-10)
    assert "glm_output" not in {p.name for p in recording.iterdir()}
    again = run_command("glm_rates", "infer", recording, "--output", tmp_path / "0.h5", "--cv-folds", 3)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_each_stage_runs_by_hand(recording, tmp_path, run_command):
    steps = [
        ("extract", recording, "--output", tmp_path / "exchange"),
        ("evaluate", tmp_path / "exchange", "--output", tmp_path / "scores.csv", "--cv-folds", 2),
        (
            "fit",
            tmp_path / "exchange",
            "--output",
            tmp_path / "rates.h5",
            "--cv-folds",
            0,
            "--no-plots",
            "--separate-tastes",
        ),
        ("plot", tmp_path / "rates.h5", "--plot-units", "0,2"),
    ]
    for step in steps:
        done = run_command("glm_rates", *step)
        assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "exchange").glob("fit.*"))
    assert len(list((tmp_path / "rates_glm_output" / "plots" / "individual_neurons").glob("*.png"))) == 2
    with open(tmp_path / "scores.csv") as handle:
        assert "cv history+stimulus" in next(csv.DictReader(handle))


@pytest.mark.slow
def test_plain_ridge_with_nemos_own_solver_gives_our_rates(recording, tmp_path, run_command):
    rates = []
    for solver in ("auto", "nemos-lbfgs"):
        target = tmp_path / f"{solver}.h5"
        chosen = ["--penalty", "0.01", "--solver", solver, "--cv-folds", 0, "--no-plots", "--output", target]
        done = run_command("glm_rates", "infer", recording, *chosen)
        assert done.returncode == 0, done.stderr
        with h5py.File(target) as h5:
            rates.append(h5["stacked/pred_firing_hz"][:])
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-4)


def test_a_spike_table_with_events_needs_an_output(tmp_path, run_command):
    rng = np.random.default_rng(0)
    events = np.arange(8) * 10.0 + 5
    spikes = np.sort(rng.uniform(0, 90, 1500))
    (tmp_path / "e.csv").write_text("time_s,label\n" + "\n".join(f"{t},{'ab'[i % 2]}" for i, t in enumerate(events)))
    (tmp_path / "s.csv").write_text("unit_id,time_s\n" + "\n".join(f"{i % 3},{t}" for i, t in enumerate(spikes)))
    chosen = ["glm_rates", "infer", tmp_path / "s.csv", "--events", tmp_path / "e.csv", "--cv-folds", 2, "--no-plots"]
    refused = run_command(*chosen)
    assert refused.returncode == 2
    assert "need --output FILE.h5" in refused.stderr
    done = run_command(*chosen, "--output", tmp_path / "rates.h5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"]["n_units"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--solver", "nemos-lbfgs"], "--solver nemos-lbfgs fits plain ridge only; give --penalty"),
        (["--cv-folds", "1"], "leaves nothing to train on"),
        (["--time_lims", "4500", "1500"], "the first must lie before the second"),
        (["--bin-size", "500"], "must hold at least one bin of 500 ms"),
        (["--plot-units", "x"], "--plot-units x: expected all, none, or indices"),
        (["--plot-units", "0,5"], "units are numbered 0 to 4"),
        (["--time_lims", "1500", "45000"], "does not fit a trial of 7000 ms"),
    ],
)
def test_a_bad_option_is_one_line_and_touches_nothing(recording, run_command, options, said):
    before = hdf5io.sha256(recording / "simulated.h5")
    done = run_command("glm_rates", "infer", recording, "--cv-folds", 0, *options)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert said in last
    assert "Traceback" not in done.stderr
    assert hdf5io.sha256(recording / "simulated.h5") == before


def fake_python(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_extraction_runs_in_the_conda_environment_of_that_name(recording, tmp_path, run_command):
    """A stub ``conda`` lists a prefix with a space; its ``bin/python`` notes that it was used and runs the real one."""
    prefix = tmp_path / "my envs" / "blech_clust"
    fake_python(prefix / "bin" / "python", f'echo used >> "{tmp_path}/used"\nexec "{sys.executable}" "$@"')
    conda = fake_python(tmp_path / "conda", f"""echo '{json.dumps({"envs": [str(tmp_path), str(prefix)]})}'""")
    env = {**os.environ, "CONDA_EXE": str(conda), "HOME": str(tmp_path)}
    done = run_command("glm_rates", "extract", recording, "--output", tmp_path / "x", env=env)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "used").read_text().split()) == 2  # the probe, then the stage
    assert f"conda environment {prefix}" in done.stderr


def test_a_named_environment_that_is_missing_is_exit_5_and_the_default_is_not(recording, tmp_path, run_command):
    env = {**os.environ, "HOME": str(tmp_path)}
    done = run_command(
        "glm_rates", "extract", recording, "--output", tmp_path / "x", "--blech-clust-env", "nowhere", env=env
    )
    assert done.returncode == 5
    assert "no usable environment 'nowhere'" in done.stderr
    done = run_command("glm_rates", "extract", recording, "--output", tmp_path / "x", env=env)
    assert done.returncode == 0
    assert "no conda environment 'blech_clust': extraction runs in this interpreter" in done.stderr


def test_an_interpreter_without_nemos_is_one_line(recording, tmp_path, run_command):
    python = fake_python(tmp_path / "bin" / "python", f'exec "{sys.executable}" -S -I "$@"')
    done = run_command("glm_rates", "infer", recording, "--nemos-env", tmp_path, "--output", tmp_path / "r.h5")
    assert done.returncode == 5
    assert f"--nemos-env {tmp_path}: nemos does not work there ({python}: ModuleNotFoundError" in done.stderr
    assert not (tmp_path / "r.h5").exists()


def test_a_failed_fit_is_exit_1_with_its_last_line_and_writes_nothing(recording, tmp_path, run_command):
    body = f'case "$1" in -c) exec "{sys.executable}" "$@";; *) echo "Killed: out of memory" >&2; exit 9;; esac'
    python = fake_python(tmp_path / "bin" / "python", body)
    done = run_command("glm_rates", "infer", recording, "--nemos-env", python, "--output", tmp_path / "r.h5")
    assert done.returncode == 1
    assert "fit failed with exit code 9" in done.stderr
    assert "Killed: out of memory" in done.stderr.splitlines()[-1]
    assert done.stdout == ""
    assert not (tmp_path / "r.h5").exists()


def test_envs_lists_what_was_found_and_why(tmp_path, run_command):
    done = run_command("glm_rates", "envs", "--json", env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0
    candidates = json.loads(done.stdout)["results"]["candidates"]
    assert {c["stage"] for c in candidates} == {"extract", "fit"}


def test_dry_run_says_what_and_does_nothing(recording, run_command):
    before = sorted(p.name for p in recording.iterdir())
    done = run_command("glm_rates", "infer", recording, "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith("would extract with")
    assert sorted(p.name for p in recording.iterdir()) == before


def test_a_second_run_on_the_same_recording_is_exit_4(recording, run_command):
    from glm_rates.files import results

    with results.alone(recording):
        done = run_command("glm_rates", "infer", recording)
    assert done.returncode == 4
    assert "another glm-rates run works on it" in done.stderr.splitlines()[-1]


def test_an_interrupted_run_is_exit_130_and_leaves_no_folder(recording, tmp_path, hear_ctrl_c):
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "glm_rates", "infer", str(recording), "--output", str(tmp_path / "r.h5")]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    for line in child.stderr:
        if "fit(s) and" in line:
            break
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    rest = child.stderr.read()
    assert child.wait() == 130
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_no_other_file_is_replaced_by_a_result(recording, tmp_path, run_command):
    precious = tmp_path / "precious.h5"
    with h5py.File(precious, "w") as h5:
        h5["data"] = 1
    before = hdf5io.sha256(precious)
    done = run_command("glm_rates", "infer", recording, "--output", precious, "--retrain", "--cv-folds", 0)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert hdf5io.sha256(precious) == before
    before = hdf5io.sha256(recording / "simulated.h5")
    done = run_command("glm_rates", "infer", recording, "--output", recording / "simulated.h5", "--overwrite")
    assert done.returncode == 2
    assert "simulated.h5: not replaced, no 'simulated.result.json' of an earlier run is beside it" in done.stderr
    assert hdf5io.sha256(recording / "simulated.h5") == before


def test_a_file_of_its_own_holds_every_rate_once(recording, tmp_path, run_command):
    """Views of one stack a population, compressed: what a reader of single units sees does not change."""
    copy, target = tmp_path / "copy", tmp_path / "rates.h5"
    shutil.copytree(recording, copy)
    done = run_command("glm_rates", "infer", copy, "--cv_folds", 2, "--no-plots", "--output", target)
    assert done.returncode == 0, done.stderr
    done = run_command("glm_rates", "infer", copy, "--cv_folds", 2, "--no-plots")
    assert done.returncode == 0, done.stderr
    with h5py.File(target) as own, h5py.File(copy / "simulated.h5") as inside:
        for name, group in inside["glm_output/regions"].items():
            assert own["regions/" + name].keys() == group.keys()
            for key, array in group.items():
                found = own[f"regions/{name}/{key}"]
                assert found.dtype == array.dtype
                np.testing.assert_array_equal(found[()], array[()])
        assert own["regions/taste_0_region_all_neuron_0/pred_firing"].is_virtual
        stack = own["stacked/pred_firing"]
        np.testing.assert_array_equal(own["regions/taste_1_region_all_neuron_3/pred_firing"][:], stack[1, :, 3])
        assert stack.compression == "gzip"
    tables = pytest.importorskip("tables")
    with tables.open_file(str(target)) as file:
        assert file.root.regions.taste_1_region_all_neuron_3.pred_firing[:].shape == (9, 120)
