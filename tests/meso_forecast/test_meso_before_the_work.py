"""Is a mistake told before the work? Trainings here would take days; each refusal comes first."""

import json

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from hdf5io.errors import InputError
from meso_forecast import config as configs
from meso_forecast.commands import compare, evaluate, export, extract, plot, preprocess, sessions, train, transfer
from meso_forecast.console import Run
from meso_forecast.files.recording import open_recording

RUN = Run("test", "test", 0.0)
LONG = {"context": 24, "horizon": 4, "epochs": 10**9, "patience": 10**9}


@pytest.fixture
def no_work(monkeypatch):
    """Fail where anything is fitted."""

    def refuse(*_, **__):
        raise AssertionError("work had begun")

    for module in (compare, train, transfer):
        monkeypatch.setattr(module, "fit_named", refuse)


def compared(path, tmp_path, **given):
    return compare.run(configs.CompareConfig(recording=path, output=tmp_path / "out", **LONG | given), RUN)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"models": ["nlinear"], "sweep_contexts": [900]}, "windows of 900 "),
        ({"models": ["nlinear"], "sweep_horizons": [4, 200]}, r"24 \+ 200 frames"),
        pytest.param(
            {"models": ["nlinear", "informer-hf"], "d_model": 10},
            "informer-hf cannot be built .* --d-model 10",
            marks=pytest.mark.slow,
        ),
        ({"models": ["ar", "informer-hf"], "sweep_contexts": [4, 24]}, "informer-hf cannot be built for --context 4"),
        ({"models": ["nlinear"], "accelerator": "gpu", "devices": "99"}, "--accelerator gpu, --devices 99: "),
        ({"models": ["nlinear"], "strategy": "foo"}, "--strategy foo: .*invalid strategy"),
        ({"models": ["nlinear"], "devices": "0"}, "--devices 0: "),
        ({"models": ["nlinear"], "num_nodes": 2}, "--num-nodes 2: MASTER_ADDR, MASTER_PORT, NODE_RANK not set"),
        (
            {"models": ["nlinear"], "accelerator": "cpu", "precision": "16-mixed"},
            "--precision 16-mixed: not known here, bf16-mixed would be used",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_fit(small_session, tmp_path, no_work, given, message):
    with pytest.raises(InputError, match=message):
        compared(small_session[1], tmp_path, **given)


def test_training_alone_and_transfer_ask_the_machine_first_too(small_session, tmp_path, no_work):
    given = {**LONG, "output": tmp_path / "out", "strategy": "foo"}
    with pytest.raises(InputError, match="--strategy foo"):
        train.run(configs.TrainConfig(recordings=[small_session[1]], model="nlinear", **given), RUN)
    assert train.run(
        configs.TrainConfig(recordings=[small_session[1]], model="nlinear", output="x", dry_run=True), RUN
    ).line.startswith("would train")


def test_a_published_table_is_read_before_the_first_fit(small_session, tmp_path, no_work, monkeypatch):
    monkeypatch.setattr(compare, "windows_of", lambda config: ([24], [4]))
    row = {"method": "a", "context": 4, "condition": "x", "steps_ahead": 1, "MAE": 0.1}
    table = tmp_path / "combined.json"
    for content, message in (
        ([{k: v for k, v in row.items() if k != "MAE"}], "a JSON table with method"),
        ([row, row | {"steps_ahead": 2, "MAE": None}], r"a \(published\), context 4: .*without a finite MAE"),
    ):
        table.write_text(json.dumps(content))
        config = configs.CompareConfig(
            recording=small_session[1], output=tmp_path / "o", preset="zapbench", published=table, models=["nlinear"]
        ).model_copy(update={"context": 24, "horizon": 4})
        with pytest.raises(InputError, match=message):
            compare.run(config, RUN)


def test_a_model_of_stimuli_is_refused_without_stimuli(small_session, tmp_path, no_work, monkeypatch):
    r = open_recording(small_session[1])
    monkeypatch.setattr(compare, "open_checked", lambda *_: r._replace(panel=r.panel._replace(stimulus=None)))
    with pytest.raises(InputError, match="this recording has no stimuli"):
        compared(small_session[1], tmp_path, models=["nlinear", "stimulus-mean"])


@pytest.mark.parametrize(
    ("minutes", "message"), [(60.0, "are wanted. Give other --minutes"), (0.05, "--minutes 0.05: ")]
)
def test_minutes_that_are_not_there_are_refused_before_others_are_trained_on(
    small_session, tmp_path, no_work, monkeypatch, minutes, message
):
    r = open_recording(small_session[1])
    monkeypatch.setattr(transfer, "open_checked", lambda path, *_: r._replace(subject=path.name))
    monkeypatch.setattr(transfer, "refuse_twins", lambda _: None)
    given = {**LONG, "recordings": [tmp_path / "a", tmp_path / "b"], "output": tmp_path / "out"}
    with pytest.raises(InputError, match=message):
        transfer.run(configs.TransferConfig(minutes=[1.0, minutes], **given), RUN)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (configs.TransferConfig, {"recordings": ["a"], "minutes": ["nan"]}, "finite number"),
        (configs.TransferConfig, {"recordings": ["a"], "minutes": ["inf"]}, "finite number"),
        (configs.TransferConfig, {"recordings": ["a"], "minutes": [5, 5]}, "minutes: 5.0 is given twice"),
        (configs.CompareConfig, {"recording": "a", "models": []}, "at least 1 item"),
        (configs.CompareConfig, {"recording": "a", "sweep_horizons": [4, 4]}, "sweep-horizons: 4 is given twice"),
        (configs.TrainConfig, {"recordings": []}, "recordings: none is given"),
        (configs.TrainConfig, {"recordings": ["a", "a"]}, "recordings: a is given twice"),
        (configs.PreprocessConfig, {"source": "a", "window_s": "inf"}, "finite number"),
        (configs.PreprocessConfig, {"source": "a", "smooth_s": "inf"}, "finite number"),
        (configs.PreprocessConfig, {"source": "a", "fractions": ["nan", 0.1, 0.2]}, "finite number"),
        (configs.PlotConfig, {"forecast": "a", "recording": "b", "neurons": [1, 1]}, "neurons: 1 is given twice"),
    ],
)
def test_numbers_are_finite_and_lists_name_something_once(kind, given, message):
    with pytest.raises(ValidationError, match=message):
        kind(output="out", **given)


def test_options_of_an_output_are_refused_without_one(tmp_path):
    for given, message in (({"figure_format": "svg"}, "--figure-format: "), ({"overwrite": True}, "--overwrite: ")):
        with pytest.raises(InputError, match=message + "nothing is written without --output"):
            evaluate.run(configs.EvaluateConfig(model="m", recording="r", **given), RUN)
    with pytest.raises(InputError, match="--overwrite: nothing is written"):
        sessions.run(configs.SessionsConfig(cache=tmp_path, overwrite=True), RUN)


def test_bands_are_drawn_and_exported_only_from_the_quantiles_they_are_named_after(
    small_session, tmp_path, monkeypatch
):
    """With the median alone the bands of 50 and 90 % were drawn with no width, and 'lower' was 'upper'."""
    from meso_forecast.files.forecast_file import SCHEMA

    n = len(open_recording(small_session[1]).uuid)
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        file.attrs["schema"] = SCHEMA
        file["mean"], file["quantiles"] = np.zeros((1, 2, n)), np.zeros((1, 1, 2, n))
        file["levels"], file["origin"], file["lead"] = [0.5], [900], [0.2, 0.4]
    given = {"forecast": path, "recording": small_session[1], "output": tmp_path / "out", "dry_run": True}
    with pytest.raises(InputError, match=r"its quantiles are 0\.5; the bands need 0\.05, 0\.25, 0\.75, 0\.95 too"):
        plot.run(configs.PlotConfig(**given), RUN)
    with pytest.raises(InputError, match=r"need one below and one above 0\.5"):
        export.run(configs.ExportConfig(**given), RUN)


def test_a_field_of_view_without_neuropil_is_refused_before_any_trace_is_read(small_session, tmp_path, monkeypatch):
    """The first field has it, the last has not: the first was read whole before."""
    from meso_forecast.files import session as opened
    from meso_forecast.files import write_recording

    whole = opened.MesoscopeSession.from_path(small_session[0])
    bare = whole.fovs[0].model_copy(update={"neuropil": None, "name": "FOV_01"})
    two = whole.model_copy(update={"fovs": [whole.fovs[0], bare]})
    monkeypatch.setattr(type(two.fovs[0].fluorescence), "read", lambda *_: pytest.fail("a trace was read"))
    monkeypatch.setattr(write_recording, "observed", lambda *_: pytest.fail("work had begun"))
    for module in (preprocess, extract):
        monkeypatch.setattr(module, "open_source", lambda _: two)
    given = {"source": "x", "output": tmp_path / "out.h5"}
    for dry_run in (True, False):
        with pytest.raises(InputError, match="no neuropil traces"):
            preprocess.run(configs.PreprocessConfig(**given, dry_run=dry_run), RUN)
        with pytest.raises(InputError, match="no neuropil traces"):
            extract.run(configs.ExtractConfig(**given, dry_run=dry_run), RUN)
    with pytest.raises(InputError, match="--held-out what: this session's stimuli are"):
        preprocess.run(
            configs.PreprocessConfig(**given, neucoeff=0, split="stimulus", held_out=["what"], dry_run=True), RUN
        )
