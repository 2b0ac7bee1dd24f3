"""Is a mistake told before the work, and is no option ignored in silence?"""

import pytest
from pydantic import ValidationError

from hdf5io.errors import InputError
from laa_bayes import config as configs
from laa_bayes.commands import info, plot, train
from laa_bayes.console import Run

RUN = Run("test", "test", 0.0)
SEGMENT = {"kind": "step", "start_ms": 40, "stop_ms": 120, "amplitude": -1.5}


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("InferConfig", {"sweeps": "5-3"}, "the smaller number of a span comes first"),
        ("CompareConfig", {"sweeps": "0,5-3"}, "the smaller number of a span comes first"),
        ("InferConfig", {"refine": "is"}, "--refine is needs the network, and none was given"),
        ("InferConfig", {"jobs": 2}, "--jobs: without effect, workers are for --sweeps"),
        ("InferConfig", {"report": False, "figure_format": "svg"}, "--figure-format: without effect"),
        ("InferConfig", {"noise": "estimate", "noise_mv": 3}, "--noise-mv: without effect"),
        ("InferConfig", {"noise": "known", "series_resistance": "on"}, "--series-resistance: without effect"),
        ("InferConfig", {"area_um2": "inf"}, "finite number"),
        ("TraceConfig", {"current": "mine.csv", "dt_ms": 0.5}, "--dt-ms: without effect, the file of --current"),
        ("TraceConfig", {"v0_mv": "nan"}, "finite number"),
        ("FixedPointsConfig", {"overwrite": True, "output": None}, "--overwrite: without effect"),
        ("FixedPointsConfig", {"current": "nan"}, "finite number"),
        ("SimulateConfig", {"protocol": "mine.csv", "duration_ms": 100}, "--duration-ms: without effect"),
        ("SimulateConfig", {"segments": [SEGMENT], "protocol": "zero"}, "--protocol: without effect"),
        ("SimulateConfig", {"segments": [SEGMENT | {"stop_ms": 40}]}, "from 40 to 40 ms is empty"),
        ("SimulateConfig", {"segments": [SEGMENT | {"start_ms": 600, "stop_ms": 700}]}, "begins at 600 ms"),
        ("TrainConfig", {"channel": "Vm"}, "--channel: without effect, it belongs to --protocol-from"),
        ("TrainConfig", {"current_scale": 2}, "--current-scale: without effect"),
        ("TrainConfig", {"bank": "b", "noise_mv": 5}, "--noise-mv: without effect, the bank has its own"),
        ("TrainConfig", {"bank": "b", "n_simulations": 4000}, "--n-simulations: without effect, the bank"),
        ("TrainConfig", {"protocol_from": "r.csv", "protocol": "zero"}, "--protocol: without effect"),
        ("TrainConfig", {"frame": 5}, "--frame: without effect, only --summary lstm and gru"),
    ],
)
def test_options_that_would_do_nothing_or_mean_nothing_are_refused(kind, given, message):
    base = {
        "InferConfig": {"model": "none", "recording": "r.csv"}, "CompareConfig": {"recording": "r.csv"},
        "TraceConfig": {"output": "t.h5"}, "SimulateConfig": {"output": "b"}, "TrainConfig": {"output": "m"}, "FixedPointsConfig": {},
    }[kind]  # fmt: skip
    with pytest.raises(ValidationError, match=message):
        getattr(configs, kind)(**base | given)


def test_options_that_do_something_are_not_refused():
    infer = {"model": "none", "recording": "r.csv"}
    for given in ({"sweeps": "all", "jobs": 2}, {"noise": "known", "noise_mv": 3}, {"sweeps": "0-3,8"}):
        config = configs.InferConfig(**infer | given)
        assert {name: getattr(config, name) for name in given} == given
    assert configs.TrainConfig(output="m", summary="lstm", frame=5).frame == 5
    assert configs.TrainConfig(output="m", protocol_from="r.csv", channel="Vm", dt_ms=0.5).channel == "Vm"
    assert configs.SimulateConfig(output="b", segments=[SEGMENT], duration_ms=150).duration_ms == 150


def test_a_span_far_beyond_the_file_makes_no_list_of_its_length():
    config = configs.CompareConfig(recording="r.csv", sweeps="2-99999999999999")
    assert config.chosen_sweeps(5) == [2, 3, 4, 5]  # 5 is none of the file's, which is said
    assert configs.CompareConfig(recording="r.csv", sweeps="0-2,4").chosen_sweeps(5) == [0, 1, 2, 4]
    assert configs.CompareConfig(recording="r.csv", sweeps="7-9").chosen_sweeps(5) == [7]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 1_000_000}, "less than two batches of 1000000"),
        ({"summary_widths": [64, 0]}, "--summary-widths 64,0: one positive number or more"),
        ({"summary_widths": []}, "one positive number or more"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_cannot_be_trained_is_refused_before_anything_is_simulated(given, message, dry_run, monkeypatch, tmp_path):
    monkeypatch.setattr(train, "in_memory", lambda _: pytest.fail("it was simulated"))
    with pytest.raises(InputError, match=message):
        train.run(configs.TrainConfig(output=tmp_path / "m", dry_run=dry_run, **given), RUN)


def test_a_bank_has_no_fit_and_no_channel(tmp_path):
    (tmp_path / "bank.json").write_text("{}")
    where = {"path": tmp_path, "output": "f.png"}
    with pytest.raises(InputError, match="--kind fit: for a bank use auto, trace, priors"):
        plot.run(configs.PlotConfig(kind="fit", **where), RUN)
    with pytest.raises(InputError, match=r"--channel: .* is a bank, no recording"):
        plot.run(configs.PlotConfig(channel="Vm", **where), RUN)


def test_info_refuses_options_of_a_recording_about_what_was_made_here(tmp_path, laa_here):
    made = laa_here("simulate", "--n", 100, "--shard-size", 100, "--duration-ms", 20, "--output", tmp_path / "bank")
    assert made.returncode == 0, made.stderr
    with pytest.raises(InputError, match=r"--sweep: .* is a bank, no recording"):
        info.run(configs.InfoConfig(path=tmp_path / "bank", sweep=3), RUN)
    assert info.run(configs.InfoConfig(path=tmp_path / "bank"), RUN).results["kind"] == "bank"


def test_a_noise_that_is_not_relied_on_is_refused_before_the_fit(noisy_trace, tmp_path, laa_here):
    """With a current in pA the noise is estimated, and the typed one was ignored."""
    time_ms, v, current = noisy_trace
    path = tmp_path / "r.csv"
    rows = [f"{t},{a},{100 * i}" for t, a, i in zip(time_ms, v, current, strict=True)]
    path.write_text("\n".join(["time_ms,voltage_mV,current_pA", *rows]))
    answer = laa_here("infer", "none", path, "--noise-mv", 3, "--output", tmp_path / "p.h5")
    assert answer.returncode == 2
    assert "--noise-mv 3: without effect, the noise of this recording is estimated" in answer.stderr
