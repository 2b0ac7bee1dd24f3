"""Do forecasts leave the house in forms that ONE and NWB read back as they were?"""

import contextlib

import h5py
import numpy as np
import pytest

from meso_forecast import console
from meso_forecast.cli import main
from meso_forecast.config import CompareConfig
from meso_forecast.files.recording import open_recording


@pytest.fixture(scope="module")
def forecasts(meso, small_session, tmp_path_factory):
    """Return (folder, path by part) of forecasts of an autoregression."""
    folder = tmp_path_factory.mktemp("export")
    fast = ["--context", 24, "--horizon", 3]
    assert meso("train", small_session[1], "--model", "ar", *fast, "--output", folder / "m").returncode == 0
    paths = {}
    for part in ("test", "last"):
        paths[part] = folder / f"{part}.h5"
        done = meso("forecast", folder / "m", small_session[1], "--part", part, "--output", paths[part])
        assert done.returncode == 0, done.stderr
    return folder, paths


def test_alf_objects_are_read_by_one_with_the_cells_uuids(meso, small_session, forecasts, tmp_path):
    alf = pytest.importorskip("one.alf.io")
    done = meso("export", forecasts[1]["test"], small_session[1], "--output", tmp_path / "alf")
    assert done.returncode == 0, done.stderr
    recording = open_recording(small_session[1])
    made, cells = (alf.load_object(tmp_path / "alf", name) for name in ("mpciForecast", "mpciROIs"))
    with h5py.File(forecasts[1]["test"]) as file:
        assert np.array_equal(made["mean"], file["mean"][:])
        assert np.array_equal(made["lower"], file["quantiles"][0])
        assert np.array_equal(made["times"], file["origin_time"][:])
        origins, mean = file["origin"][:], file["mean"][:]
    assert np.ravel(cells["uuids"]).tolist() == recording.uuid.tolist()
    assert len(cells["uuids"]) == len(cells["forecastMSE"]) == mean.shape[2]
    error = (recording.panel.x[origins + 2] - mean[:, 1]) ** 2
    assert cells["forecastMSE"][:, 1] == pytest.approx(error.mean(0), rel=1e-5)
    assert alf.load_object(tmp_path / "alf", "mpciForecastLeads")["times"].shape == (3,)


@pytest.mark.parametrize("part", ["test", "last"])
def test_an_nwb_file_is_valid_and_holds_every_step(meso, small_session, forecasts, tmp_path, part):
    pynwb = pytest.importorskip("pynwb")
    done = meso("export", forecasts[1][part], small_session[1], "--format", "nwb", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "out" / "forecast.nwb"
    assert pynwb.validate(path=str(path)) in ([], ([], 0))
    recording = open_recording(small_session[1])
    with pynwb.NWBHDF5IO(str(path), "r") as io, h5py.File(forecasts[1][part]) as file:
        nwb = io.read()
        series = nwb.processing["forecast"]["Forecasts"]["upper_step_03"]
        assert np.array_equal(series.data[:], file["quantiles"][-1][:, 2])
        assert series.timestamps[:] == pytest.approx(file["origin_time"][:] + file["lead"][2])
        cells = nwb.processing["ophys"]["ImageSegmentation"]["Cells"]
        assert list(cells["uuid"][:]) == recording.uuid.tolist()
        assert np.isnan(cells["forecast_mse"][0]).all() == (part == "last")


def test_a_forecast_of_other_cells_is_refused(meso, small_session, forecasts, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(forecasts[1]["test"].read_bytes())
    with h5py.File(other, "r+") as file:
        ids = file["uuid"][:]
        file["uuid"][...] = ids[::-1]
    done = meso("export", other, small_session[1], "--output", tmp_path / "no")
    assert done.returncode == 2
    assert "its cells are not those" in done.stderr


def test_a_forecast_is_neither_scored_nor_drawn_on_the_same_cells_preprocessed_in_another_way(
    meso, small_session, forecasts, tmp_path
):
    other = tmp_path / "other.h5"
    assert meso("preprocess", small_session[0], "--neucoeff", 0.2, "--output", other).returncode == 0
    for words in (["export", "--output", tmp_path / "no"], ["plot", "--output", tmp_path / "no"]):
        done = meso(words[0], forecasts[1]["test"], other, *words[1:])
        assert done.returncode == 2
        assert "was made from another file of these cells" in done.stderr


def test_a_model_is_not_used_at_another_frame_rate(meso, small_session, forecasts, tmp_path):
    slow = tmp_path / "slow.h5"
    slow.write_bytes(small_session[1].read_bytes())
    with h5py.File(slow, "r+") as file:
        file.attrs["dt_s"] = 2 * file.attrs["dt_s"]
    done = meso("forecast", forecasts[0] / "m", slow, "--output", tmp_path / "no.h5")
    assert done.returncode == 2
    assert "frames a second, the model was trained on" in done.stderr


ALF, SESSION, MATRIX = "ALF", "SESSION", ["preprocess", "MATRIX", "--fs-hz", "5", "--time-axis", "rows"]
UNREAD = (
    (["preprocess", ALF, "--held-out", "a"], "no stimulus is held out by --split chronological"),
    (["preprocess", ALF, "--signal", "deconvolved", "--window-s", 30], "--window-s: without effect, --signal deconvolved"),
    (["preprocess", ALF, "--signal", "deconvolved", "--neucoeff", 0.5], "--neucoeff: without effect"),
    (["preprocess", ALF, "--signal", "fluorescence", "--baseline", "training"], "--baseline: without effect"),
    (["preprocess", ALF, "--baseline", "training", "--window-s", 30], "--window-s: without effect, --baseline training"),
    (["preprocess", ALF, "--percentile", 20], "--percentile: without effect, --baseline maximin"),
    ([*MATRIX, "--neucoeff", 0.5, "--window-s", 30], "--neucoeff, --window-s: without effect, MATRIX holds activity that is"),
    ([*MATRIX, "--line-axis", 1], "--line-axis: MATRIX is of kind matrix, which does not read it"),
    (["extract", ALF, "--signal", "raw", "--neucoeff", 0.5], "--neucoeff: without effect, --signal raw keeps"),
    (["compare", SESSION, "--preset", "zapbench", "--sweep-contexts", 8], "leave out --sweep-contexts"),
    (["compare", SESSION, "--preset", "zapbench", "--context", 48, "--horizon", 8], "leave out --context 48, --horizon 8"),
    (["compare", SESSION, "--models", "stack,ar", "--epochs", 3, "--n-seeds", 2], "without effect on stack, ar"),
    (["compare", SESSION, "--models", "nlinear", "--body", "gru"], "--body (read by informer): without effect on nlinear"),
    (["train", SESSION, "--model", "persistence", "--accelerator", "cpu"], "--accelerator (read by informer, nlinear"),
    (["train", SESSION, "--spike-weight", 3], "--spike-weight (read by nlinear, "),
    (["train", SESSION, "--model", "autoformer-hf", "--attention", "prob"], "--attention (read by informer-hf)"),
    (["transfer", SESSION, "MATRIX", "--d-model", 16], "--d-model (read by informer-hf, autoformer-hf)"),
    (["transfer", SESSION, "MATRIX", "--behaviour", "past"], "transfer sees activity alone"),
)  # fmt: skip


@pytest.fixture(scope="module")
def places(small_session, tmp_path_factory):
    """Return the paths behind the words in capitals."""
    matrix = tmp_path_factory.mktemp("matrix") / "x.npy"
    np.save(matrix, np.random.default_rng(0).standard_normal((600, 5)).astype(np.float32))
    return {"ALF": str(small_session[0]), "SESSION": str(small_session[1]), "MATRIX": str(matrix)}


def typed(words, places, monkeypatch, *more):
    """Run the command line in this process (a process for each would take minutes); return its exit code."""
    monkeypatch.setattr(console, "watch_signals", list)  # the handlers and the log stay those of the tests
    monkeypatch.setattr(console, "logging_to_stderr", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr("sys.argv", ["meso-forecast", *(places.get(str(w), str(w)) for w in (*words, *more))])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize(("words", "said"), UNREAD, ids=lambda v: " ".join(map(str, v)) if isinstance(v, list) else "")
def test_options_that_would_do_nothing_are_refused(words, said, places, tmp_path, monkeypatch, capsys):
    assert typed(words, places, monkeypatch, "--output", tmp_path / "no") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert said.replace("MATRIX", places["MATRIX"]) in line
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["preprocess", ALF, "--baseline", "percentile", "--percentile", 20, "--window-s", 30],
        ["preprocess", ALF, "--signal", "fluorescence", "--neucoeff", 0.5],
        [*MATRIX, "--neucoeff", 0, "--normalise", "none"],
        ["preprocess", ALF, "--signal", "deconvolved", "--window-s", 60],  # the default, as who repeats a run gives it
        ["compare", SESSION, "--models", "ar,informer", "--epochs", 3, "--body", "gru", "--n-seeds", 2],
        ["compare", SESSION, "--models", "ar,nlinear", "--spike-weight", 3],
        ["train", SESSION, "--model", "informer-hf", "--d-model", 16, "--attention", "prob"],
        ["train", SESSION, "--model", "ar", "--epochs", 60, "--seed", 3],
    ],
)
def test_options_that_do_something_or_are_the_defaults_are_taken(words, places, tmp_path, monkeypatch):
    assert typed(words, places, monkeypatch, "--dry-run", "--output", tmp_path / "no") == 0


def test_the_last_window_is_one(forecasts, small_session, places, tmp_path, monkeypatch, capsys):
    words = ["forecast", forecasts[0] / "m", SESSION, "--part", "last", "--every", 2, "--output", tmp_path / "no.h5"]
    assert typed(words, places, monkeypatch) == 2
    assert "--every 2: without effect, --part last is one window" in capsys.readouterr().err


def test_a_preset_says_the_window_that_its_record_then_holds():
    given = CompareConfig(recording="x", output="y", preset="zapbench")
    assert (given.context, given.horizon) == (256, 32)
    assert CompareConfig(**given.model_dump()) == given
