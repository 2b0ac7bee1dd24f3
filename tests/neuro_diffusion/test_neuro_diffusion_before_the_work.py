"""Is a mistake told before the work, before torch is loaded, and is no option ignored in silence?"""

import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from hdf5io.errors import InputError, WorkFailed
from neuro_diffusion import config as configs
from neuro_diffusion.commands import evaluate, infer, sample, train_prior
from neuro_diffusion.console import Run
from neuro_diffusion.files import dataset, held_out
from neuro_diffusion.files.connectomes import load_connectome
from neuro_diffusion.files.identify import describe
from neuro_diffusion.files.recordings import read_activity

RUN = Run("test", "test", 0.0)
BASE = {
    "BuildDatasetConfig": {"output": "d"}, "ImportConnectomeConfig": {"output": "d", "connectome": "c.csv"}, "SimulateConfig": {"output": "r.h5"},
    "TrainConditionalConfig": {"data": "d", "output": "m"}, "TrainPriorConfig": {"data": "d", "output": "m"},
    "EvaluateConfig": {"model": "m", "data": "d"}, "BenchmarkConfig": {"model": "m", "data": "d"},
    "InferConfig": {"model": "none", "activity": "a.h5", "output": "p.h5", "dt_over_tau": 0.1}, "CheckSimulatorConfig": {}, "PlotConfig": {"path": "a.h5"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("BuildDatasetConfig", {"density": 0.2}, "--density: without effect, only sparse networks"),
        ("BuildDatasetConfig", {"dale": "legacy"}, "--dale: without effect, the columns have no sign"),
        ("BuildDatasetConfig", {"dale": "legacy", "structure": "dale-sparse"}, "--dale legacy draws dense normal weights"),
        ("SimulateConfig", {"dale": "legacy"}, "--dale legacy draws dense normal weights"),
        ("BuildDatasetConfig", {"structure": "dense-sparse"}, "dense or sparse, not both"),
        ("BuildDatasetConfig", {"structure": "dale-dale"}, "each part once"),
        ("BuildDatasetConfig", {"jobs": 2, "scheduler": "tcp://a:1"}, "--jobs: without effect, the workers are those of --scheduler"),
        ("BuildDatasetConfig", {"g": (1e300,)}, "at most 1000"),
        ("ImportConnectomeConfig", {"g": (3, 1)}, "one value or LOW,HIGH"),
        ("ImportConnectomeConfig", {"g": (0,)}, "above 0"),
        ("ImportConnectomeConfig", {"g": (-1, 1)}, "above 0"),
        ("BuildDatasetConfig", {"noise_std": "inf"}, "finite number"),
        ("BuildDatasetConfig", {"seed": 2**70}, "less than or equal to"),
        ("BuildDatasetConfig", {"n_neurons": 10**6}, "this machine has"),
        ("BuildDatasetConfig", {"n_trials": 10**9, "store": "all"}, "this machine has"),
        ("CheckSimulatorConfig", {"n_neurons": 10**6}, "this machine has"),
        ("SimulateConfig", {"n_time": 10**9}, "this machine has"),
        ("SimulateConfig", {"n_neurons": 2}, "--ei-ratio 0.75 leaves no excitatory or no inhibitory neuron among 2"),
        ("SimulateConfig", {"offset": "nan"}, "finite number"),
        ("TrainConditionalConfig", {"objective": "regression", "null_fraction": 0.3}, "--null-fraction: without effect"),
        ("TrainConditionalConfig", {"objective": "regression", "copies": 2}, "--copies: without effect"),
        ("TrainConditionalConfig", {"noise": (0.1, "inf")}, "finite number"),
        ("TrainPriorConfig", {"learning_rate": 1e30}, "less than or equal to 1"),
        ("EvaluateConfig", {"figure_format": "svg"}, "--figure-format: without effect, nothing is drawn"),
        ("EvaluateConfig", {"overwrite": True}, "--overwrite: without effect"),
        ("EvaluateConfig", {"noise": "inf"}, "finite number"),
        ("BenchmarkConfig", {"trials": (1, 1)}, "--trials 1,1: each value once"),
        ("BenchmarkConfig", {"noise": (0.1, 0.1)}, "--noise 0.1,0.1: each value once"),
        ("InferConfig", {"estimate": ("none", "input")}, "none, or what is to be estimated"),
        ("PlotConfig", {"output": "f.xyz"}, "figures are written as .png, .svg, .pdf"),
        ("PlotConfig", {"output": "f.png", "figure_format": "svg"}, "--figure-format svg and --output f.png name two formats"),
        ("InferConfig", {"output": "p.png"}, "the figure beside it would have this name"),
    ],
)  # fmt: skip
def test_options_that_would_do_nothing_or_mean_nothing_are_refused(kind, given, message):
    with pytest.raises(ValidationError, match=message):
        getattr(configs, kind)(**BASE[kind] | given)


def test_options_that_do_something_are_not_refused():
    for kind, given in (
        ("BuildDatasetConfig", {"density": 0.2, "structure": "dale-sparse"}),
        ("BuildDatasetConfig", {"dale": "legacy", "ei_ratio": 0.5}),
        ("BuildDatasetConfig", {"structure": "dense-lowrank"}),
        ("EvaluateConfig", {"figure_format": "svg", "output": "e"}),
        ("TrainConditionalConfig", {"null_fraction": 0.3}),
        ("InferConfig", {"estimate": ("none",)}),
    ):
        config = getattr(configs, kind)(**BASE[kind] | given)
        assert {name: str(getattr(config, name)) for name in given} == {
            name: str(value) for name, value in given.items()
        }


def test_a_data_set_of_options_that_are_refused_now_is_still_read(tmp_path):
    config = configs.BuildDatasetConfig(output=tmp_path / "d", n_networks=4, n_neurons=4, n_time=8)
    dataset.build_dataset(config)
    path = tmp_path / "d" / "metadata.json"
    path.write_text(path.read_text().replace('"density": 0.4', '"density": 0.3').replace('"dense"', '"dense-sparse"'))
    assert dataset.load_config(tmp_path / "d").density == 0.3


def test_signs_of_a_connectome_are_kept_and_no_network_is_empty(tmp_path):
    """A piece without inhibition of a connectome with signs was given drawn ones; a share that leaves no excitatory neuron made weights of 0."""
    rng = np.random.default_rng(0)
    M = np.abs(rng.standard_normal((12, 12))) * (rng.random((12, 12)) < 0.6)
    np.fill_diagonal(M, 0)
    M[:, 11] *= -1
    np.save(tmp_path / "signed.npy", M)
    np.save(tmp_path / "plain.npy", np.abs(M))
    given = {"output": tmp_path / "d", "n_networks": 40, "n_neurons": 4, "n_time": 8}
    dataset.build_dataset(configs.ImportConnectomeConfig(connectome=tmp_path / "signed.npy", **given))
    negative = (dataset.load_weights(tmp_path / "d") < 0).any(1).sum(1)
    assert int(negative.max()) == 1
    assert int(negative.min()) == 0
    config = configs.ImportConnectomeConfig(connectome=tmp_path / "signed.npy", ei_ratio=0.5, **given)
    with pytest.raises(InputError, match=r"--ei-ratio: without effect, .* has signs of its own"):
        dataset.check_options(config)
    config = configs.ImportConnectomeConfig(connectome=tmp_path / "plain.npy", ei_ratio=0.01, **given)
    with pytest.raises(InputError, match="leaves no excitatory or no inhibitory neuron among 4"):
        dataset.check_options(config)


def test_how_a_file_is_read_is_not_said_in_vain(tmp_path, nd_data):
    edges, rates = tmp_path / "edges.csv", tmp_path / "rates.csv"
    edges.write_text("pre,post,weight\na,b,1\nb,c,2\n")
    np.savetxt(rates, np.tanh(np.random.default_rng(0).standard_normal((20, 3))), delimiter=",")
    for call, message in (
        (lambda: load_connectome(edges, rows="pre"), "--rows pre: without effect, .* is a list of edges"),
        (lambda: load_connectome(edges, "W"), "--dataset W: without effect, .* holds one array or table"),
        (lambda: read_activity(rates, "x"), "--dataset x: without effect"),
        (lambda: describe(nd_data, rows="time"), "--rows: without effect, .* is a data set"),
        (lambda: describe(edges, rows="neurons"), "--rows: without effect, .* is a connectome"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def no_work(*_, **__):
    pytest.fail("it was begun")


def test_what_cannot_be_scored_is_told_before_models_are_loaded(nd_data, nd_model, tmp_path, monkeypatch):
    from neuro_diffusion.files import model_folder

    monkeypatch.setattr(model_folder, "load_model", no_work)
    given = {"model": nd_model, "data": nd_data}
    for kind, more, message in (
        ("EvaluateConfig", {"observed": 0.1}, "--observed 0.1: leaves less than 2 of 6 neurons"),
        ("EvaluateConfig", {"regression": nd_model}, "a diffusion model, expected one trained with --objective regression"),
        ("EvaluateConfig", {"model": nd_data}, "no model here"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            evaluate.run(getattr(configs, kind)(**given | more), RUN)
    with pytest.raises(InputError, match=r"--observed 0\.1"):
        held_out.check_held_out(configs.BenchmarkConfig(**given), [0.1])
    for more, message in (
        ({"n_neurons": 10**6}, "--n-samples: 256 samples of 1000000 neurons takes"),
        ({"n_neurons": 5, "data": nd_data}, "networks of 6 neurons, the samples have 5"),
    ):
        with pytest.raises(InputError, match=message):
            sample.run(configs.SampleConfig(model=nd_model, output=tmp_path / "s.h5", **more), RUN)


def test_what_cannot_be_trained_is_told_before_networks_are_loaded(nd_data, nd_model, tmp_path, monkeypatch):
    given = {"data": nd_data, "output": tmp_path / "m"}
    monkeypatch.setattr(dataset, "load_weights", no_work)
    for more, message in (
        (
            {"fine_tune": nd_model},
            "another width and hidden and depth. Give --arch pool --width 24 --hidden 40 --depth 2",
        ),
        ({"resume": True}, "--resume: no interrupted training"),
        ({"n_time": 10**9}, "--batch, --trials or --n-time: a step"),
        ({"data": nd_model}, "no data set here"),
    ):
        with pytest.raises(InputError, match=message):
            train_prior.run(configs.TrainConditionalConfig(**given | more), RUN)


def test_a_training_that_diverged_is_no_model(nd_data, tmp_path, monkeypatch):
    from neuro_diffusion.fit import train

    monkeypatch.setattr(train, "validation_loss", lambda *_: float("nan"))
    tiny = {"iterations": 1, "width": 8, "hidden": 8, "depth": 1}
    with pytest.raises(WorkFailed, match=r"the training diverged .* Give a smaller --learning-rate"):
        train_prior.run(configs.TrainPriorConfig(data=nd_data, output=tmp_path / "m", **tiny), RUN)
    assert not (tmp_path / "m" / "model.json").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"refine": "map", "model": "MODEL", "stimulus": "S"}, "--refine: does not know of a known input"),
        ({"truth": "W"}, r"W.npy: weights of shape \(5, 5\), expected \(6, 6\)"),
        ({"anatomy": "C"}, "3 neurons .* for 6 recorded ones"),
        ({"stimulus": "W"}, "input of shape"),
        ({"regression": "MODEL"}, "expected one trained with --objective regression"),
        (
            {"activity": "MANY", "rows": "time", "steps": 4, "model": "MODEL"},
            "--steps: not there for more than 400 neurons",
        ),
        (
            {"activity": "MANY", "rows": "time", "estimate": ("kernel",)},
            "--estimate kernel: not there for more than 400 neurons",
        ),
        ({"activity": "HALF", "estimate": ("input",)}, "--estimate: without effect where neurons were not recorded"),
        ({"activity": "ONE"}, "one neuron was recorded"),
        ({"n_samples": 10**9}, "--n-samples: 1000000000 samples of 6 neurons takes"),
    ],
)
def test_what_does_not_fit_a_recording_is_told_before_anything_is_inferred(
    given, message, nd_model, tmp_path, monkeypatch
):
    from neuro_diffusion.commands import infer_one

    monkeypatch.setattr(infer_one, "infer_one", no_work)
    rng = np.random.default_rng(0)
    y = np.tanh(rng.standard_normal((2, 12, 6))).cumsum(1) / 12
    half, one = y.copy(), y.copy()
    half[..., :3], one[..., 1:] = np.nan, np.nan
    arrays = {
        "Y": y,
        "HALF": half,
        "ONE": one,
        "MANY": np.tanh(rng.standard_normal((1, 8, 401))),
        "W": np.ones((5, 5)),
        "S": y,
    }
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)
    (tmp_path / "C.csv").write_text("pre,post,weight\na,b,1\nb,c,2\n")
    places = {"MODEL": nd_model, "C": tmp_path / "C.csv", **{name: tmp_path / f"{name}.npy" for name in arrays}}
    asked = {"activity": "Y", "model": "none", "dt_over_tau": 0.1, "output": tmp_path / "p.h5"} | given
    asked = {k: places.get(v, v) if isinstance(v, str) else v for k, v in asked.items()}
    with pytest.raises(InputError, match=message):
        infer.run(configs.InferConfig(**asked), RUN)


@pytest.mark.parametrize("verb", ["infer", "evaluate", "benchmark", "train_prior", "train_conditional", "sample"])
def test_a_command_loads_torch_only_after_what_it_reads_was_checked(verb):
    told = f"import sys, neuro_diffusion.commands.{verb}; print([m for m in ('torch', 'pytorch_lightning', 'scipy.stats') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_one_test_network_is_refused_before_models_run(nd_model, tmp_path, monkeypatch):
    from neuro_diffusion.commands import held_out as scoring

    monkeypatch.setattr(dataset, "load_weights", lambda *_: torch.zeros(1, 6, 6))
    config = configs.BenchmarkConfig(model=nd_model, data=tmp_path)
    with pytest.raises(InputError, match="one network in the test split"):
        scoring.score(config, RUN, [])


def test_a_baseline_told_dales_law_says_so_where_test_networks_do_not_keep_it(nd_model, nd_data, monkeypatch, caplog):
    from neuro_diffusion.commands import held_out as scoring

    W = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(dataset, "load_weights", lambda *_: W)
    monkeypatch.setattr(scoring.conditions, "benchmark_cell", no_work)
    config = configs.BenchmarkConfig(model=nd_model, data=nd_data)
    monkeypatch.setattr(scoring.log, "propagate", True)
    scoring_grid = [scoring.conditions.Condition(1, 0.02, 1.0)]
    with pytest.raises(pytest.fail.Exception, match="it was begun"):
        scoring.score(config, RUN, scoring_grid)
    assert "EP is told Dale's law" in caplog.text
