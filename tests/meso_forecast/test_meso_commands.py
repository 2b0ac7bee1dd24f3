"""Do the commands keep their promises, from a session on disk to a figure?"""

import json
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from meso_forecast.score.verdict import BASELINES

FAST = ["--context", 24, "--horizon", 4, "--epochs", 2, "--batches-per-epoch", 5]


@pytest.fixture(scope="module")
def trained(meso, small_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    answer = meso("train", small_session[1], "--output", folder, *FAST)
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture(scope="module")
def forecast_file(meso, small_session, trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("forecast") / "forecast.h5"
    answer = meso("forecast", trained, small_session[1], "--every", 3, "--output", path)
    assert answer.returncode == 0, answer.stderr
    return path


def test_compare_ranks_on_identical_windows_and_writes_a_report(meso, small_session, tmp_path):
    models = "persistence,ar,var,informer"
    answer = meso("compare", small_session[1], "--models", models, *FAST, "--output", tmp_path / "run", "--json")
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert set(results["models"]) == {*models.split(","), *BASELINES}
    errors = [row["mse_mean"] for row in results["models"].values()]
    assert errors == sorted(errors)
    row = results["models"]["ar"]
    assert row["ci"][0] < row["mse_mean"] < row["ci"][1]
    assert {"mse", "mae", "skill_vs_persistence", "skill_vs_ar", "ci"} <= set(row)
    assert row["skill_vs_ar"] == 0
    assert f"beats the best baseline ({results['best_baseline']}, chosen on validation): " in results["verdict"]
    assert results["verdict_answer"] in ("yes", "no", "cannot tell")
    answer = results["answer"]
    assert (answer["verdict"], answer["sentence"]) == (results["verdict_answer"], results["verdict"])
    assert [answer["low"], answer["high"]] == results["verdict_interval"]
    assert results["verdict"] == json.loads((tmp_path / "run/result.json").read_text())["results"]["verdict"]
    report = (tmp_path / "run/report.html").read_text()
    assert results["verdict"] in report
    assert {p.stem for p in (tmp_path / "run/figures").glob("*.png")} == {
        "error_by_horizon",
        "skill_map",
        "traces",
        "rasters",
        "calibration",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nlinear", "dlinear", "informer-hf", "autoformer-hf"])
def test_every_network_trains_saves_and_forecasts(meso, small_session, tmp_path, name):
    size = ["--d-model", 16] if name.endswith("-hf") else []
    answer = meso("train", small_session[1], "--model", name, *FAST, *size, "--output", tmp_path / "m")
    assert answer.returncode == 0, answer.stderr
    answer = meso("evaluate", tmp_path / "m", small_session[1], "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["results"]["models"][name]["mse_mean"] < 3


def test_a_forecast_file_explains_itself_and_its_quantiles_are_ordered(forecast_file):
    with h5py.File(forecast_file) as file:
        assert file.attrs["schema"] == "meso_forecast/forecast/1"
        assert file["quantiles"].shape == (5, *file["mean"].shape)
        assert (np.diff(file["quantiles"][:], axis=0) > 0).all()
        assert np.abs(file["quantiles"][2] - file["mean"][:]).max() < 1e-5
        assert all(file[name].attrs["description"] for name in ("mean", "quantiles", "origin", "lead"))
        assert "seed" in file["provenance"].attrs


def test_a_saved_model_forecasts_what_it_forecast_before_it_was_saved(trained, small_session):
    from meso_forecast.files import model_folder, recording

    opened = recording.open_recording(small_session[1])
    origins = np.arange(1000, 1010)
    a = model_folder.forecaster_for(model_folder.load_model(trained), opened)[0].forecast(opened.panel, origins)
    folder = trained.with_name("again")
    saved = model_folder.load_model(trained)
    model_folder.save_model(folder, saved.about, saved.forecasters)
    b = model_folder.forecaster_for(model_folder.load_model(folder), opened)[0].forecast(opened.panel, origins)
    assert np.array_equal(a.mean, b.mean)
    assert np.array_equal(a.scale, b.scale)
    assert (trained / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_evaluate_and_plot_and_info_work_on_what_train_made(meso, trained, small_session, forecast_file, tmp_path):
    answer = meso("evaluate", trained, small_session[1], "--output", tmp_path / "score", "--json")
    assert answer.returncode == 0, answer.stderr
    assert list(json.loads(answer.stdout)["results"]["models"])
    assert (tmp_path / "score/report.html").stat().st_size > 10000
    answer = meso("plot", forecast_file, small_session[1], "--neurons", "0,3", "--output", tmp_path / "figures")
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "figures/traces.png").read_bytes()[:4] == b"\x89PNG"
    for path, text in (
        (trained, "model informer, 24 -> 4 frames"),
        (small_session[1], "recording (meso_forecast/recording/1)"),
    ):
        assert text in meso("info", path).stdout


def test_the_future_after_the_end_can_be_forecast(meso, trained, small_session, tmp_path):
    answer = meso("forecast", trained, small_session[1], "--part", "last", "--output", tmp_path / "f.h5")
    assert answer.returncode == 0, answer.stderr
    with h5py.File(tmp_path / "f.h5") as file:
        assert np.isfinite(file["mean"][:]).all()
        assert file["origin"][:].tolist() == [1199]
    answer = meso("plot", tmp_path / "f.h5", small_session[1], "--output", tmp_path / "fan", "--figure-format", "svg")
    assert answer.returncode == 0, answer.stderr
    assert "time after the last frame (s)" in (tmp_path / "fan/fan.svg").read_text()


def test_sessions_are_listed_and_written_as_a_csv_that_opens(meso, small_session, tmp_path):
    from meso_forecast import MesoscopeSession, open_one

    cache = small_session[0].parents[4]
    answer = meso("sessions", cache, "--output", tmp_path / "s.csv", "--json")
    assert answer.returncode == 0, answer.stderr
    row = json.loads(answer.stdout)["results"]["sessions"][0]
    assert row["total_rois"] == 12
    session = MesoscopeSession.from_csv(open_one(cache), tmp_path / "s.csv", index=0)
    assert session.eid == row["eid"]
    assert meso("sessions", cache, "--min-duration-min", 500, "--json").stdout.count('"sessions": []') == 1


def test_extract_writes_what_the_session_reads(meso, small_session, tmp_path):
    from meso_forecast.files.session import MesoscopeSession

    answer = meso("extract", small_session[0], "--output", tmp_path / "a.h5")
    assert answer.returncode == 0, answer.stderr
    activity, times, eid = MesoscopeSession.load_session_from_hdf5(tmp_path / "a.h5")
    expected, clock = MesoscopeSession.from_path(small_session[0]).get_dff_activity_matrix(neucoeff=0.7)
    assert np.array_equal(activity, expected)
    assert np.array_equal(times, clock)
    assert eid


def test_a_forecast_of_what_the_model_was_trained_on_warns(meso, trained, small_session, tmp_path, forecast_file):
    """Model and session by name here; the same command with both by place is the fixture."""
    named = ["--session", small_session[1], "--model", trained]
    answer = meso("forecast", *named, "--part", "validation", "--every", 40, "--output", tmp_path / "f.h5", "--json")
    assert answer.returncode == 0, answer.stderr
    warning = json.loads(answer.stdout)["warnings"][0]
    assert "3 of 3 windows lie in the part of this session that the model was trained on" in warning
    assert json.loads(forecast_file.with_suffix(".result.json").read_text())["warnings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("body", ["mlp", "gru", "informer"])
def test_a_training_killed_with_sigkill_ends_as_if_it_had_not_been(meso, small_session, tmp_path, body):
    options = ["--model", "informer", "--body", body, "--context", 24, "--horizon", 4, "--epochs", 12, "--patience", 50]
    whole = meso("train", small_session[1], *options, "--output", tmp_path / "a")
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "meso_forecast", "train", small_session[1], *options, "--output", tmp_path / "b"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (tmp_path / "b/training/last.ckpt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    assert not (tmp_path / "b/model.safetensors").exists()
    other = meso("train", small_session[1], *options, "--seed", 3, "--output", tmp_path / "b")
    assert other.returncode == 2
    assert "unfinished run, made with seed = 0 (now 3)" in other.stderr
    answer = meso("train", small_session[1], *options, "--output", tmp_path / "b")
    assert answer.returncode == 0, answer.stderr
    assert "resumed from" in answer.stderr
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@pytest.mark.slow
def test_two_sessions_of_other_neurons_train_one_network_and_are_both_forecast(meso, small_session, tmp_path):
    for command in (
        ["simulate", "--output", tmp_path / "one", "--n-fovs", 1, "--n-rois", 50, "--n-frames", 1200, "--seed", 5],
        ["preprocess", tmp_path / "one/simlab/Subjects/SIM_001/2024-05-17/001", "--output", tmp_path / "other.h5"],
        ["train", small_session[1], tmp_path / "other.h5", *FAST, "--output", tmp_path / "m"],
    ):
        answer = meso(*command)
        assert answer.returncode == 0, answer.stderr
    for path, n in ((small_session[1], 12), (tmp_path / "other.h5", 15)):
        results = json.loads(meso("evaluate", tmp_path / "m", path, "--json").stdout)["results"]
        assert results["n_neurons"] == n
        assert results["models"]["informer"]["mse_mean"] < results["models"]["persistence"]["mse_mean"]


def test_a_finished_training_is_not_made_again_and_other_settings_are_refused(meso, small_session, trained):
    before = (trained / "model.safetensors").stat().st_mtime_ns
    again = meso("train", small_session[1], "--output", trained, *FAST)
    assert again.returncode == 0, again.stderr
    assert "is finished already" in again.stderr
    assert (trained / "model.safetensors").stat().st_mtime_ns == before
    other = meso("train", small_session[1], "--output", trained, *FAST, "--seed", 3)
    assert other.returncode == 2
    assert "made with seed = 0 (now 3)" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "SESSION", "--context", "900", "--output", "OUT"], "windows of 900 + 8 frames without a gap"),
        (["forecast", "SESSION", "SESSION", "--output", "OUT"], "is a file, a folder is expected"),
        (["forecast", "FOLDER", "FOLDER", "--output", "OUT"], "is a folder, a file is expected"),
        (["preprocess", "eid:1234", "--output", "OUT"], "--one-cache DIR is needed"),
        (
            ["preprocess", "SESSION", "--fractions", "0.5,0.2,0.2", "--output", "OUT"],
            "three positive numbers that sum to 1",
        ),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(meso, small_session, tmp_path, arguments, message):
    places = {"SESSION": small_session[1], "FOLDER": small_session[0], "OUT": tmp_path / "out"}
    words = [str(places.get(a, a)) for a in arguments]
    answer = meso(*words)
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_model_refuses_a_recording_of_other_neurons(meso, trained, tmp_path):
    for command in (
        ["simulate", "--output", tmp_path / "one", "--n-fovs", 1, "--n-rois", 50, "--n-frames", 600, "--seed", 5],
        ["preprocess", tmp_path / "one/simlab/Subjects/SIM_001/2024-05-17/001", "--output", tmp_path / "other.h5"],
    ):
        assert meso(*command).returncode == 0
    answer = meso("forecast", trained, tmp_path / "other.h5", "--output", tmp_path / "f.h5")
    assert answer.returncode == 2
    assert "are not those the model was trained on" in answer.stderr
    assert not (tmp_path / "f.h5").exists()
