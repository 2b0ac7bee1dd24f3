"""Does what is foretold of a further experiment come true, and do known inputs count as data?"""

import json

import h5py
import numpy as np
import pytest
import torch

from neuro_diffusion.files.beside import load_stimulus
from neuro_diffusion.model import ahead, explain
from neuro_diffusion.model.joint import draw
from neuro_diffusion.model.propagation import family_of, propagate
from neuro_diffusion.model.ridge import Likelihood, fit_ridge, gaussian_likelihood
from neuro_diffusion.rate_network.simulator import simulate_rate_network
from neuro_diffusion.rate_network.weights import sample_weight_matrix_batch

A, T, NOISE = 0.1, 40, 0.02


@pytest.fixture(scope="module")
def networks():
    W = sample_weight_matrix_batch(24, 8, (0.8, 1.6), 0.75, seed=0, structure="dale-sparse-lognormal")
    return W, family_of(W)


def recorded(W, K, seed, current=None):
    g = torch.Generator().manual_seed(seed)
    x = simulate_rate_network(W, torch.randn(len(W), K, W.shape[-1], generator=g), T, A, 1.0, current)
    return x + NOISE * torch.randn(x.shape, generator=g)


def test_the_predicted_half_width_is_what_more_trials_bring(networks):
    """Mean over 24 networks of the foretold half-width after two more trials, against that of the trials when they are made."""
    W, family = networks
    y, spread = recorded(W, 2, 0), torch.full((len(W),), NOISE)
    now = gaussian_likelihood(y, A, None, spread).wide
    found, s = propagate(now, family), explain.Settings(A)
    samples = draw(found, now, family, 4, torch.Generator().manual_seed(1))
    told = []
    for k in range(len(W)):
        own, g = Likelihood(now.A[k : k + 1], now.b[k : k + 1]), torch.Generator().manual_seed(k)
        told.append(ahead.half_width_after(own, family, samples[k], ahead.Experiment(2), T, s, NOISE, g))
    more = gaussian_likelihood(recorded(W, 2, 5), A, None, spread).wide
    real = ahead.Z95 * propagate(Likelihood(now.A + more.A, now.b + more.b), family).sd.mean((1, 2))
    before = ahead.Z95 * found.sd.mean((1, 2))
    assert np.mean(told) == pytest.approx(float(real.mean()), rel=0.2)
    assert np.mean(told) < 0.8 * float(before.mean())


def test_a_known_input_is_taken_off_and_an_unknown_one_misleads(networks):
    W = networks[0][:6]
    given = torch.zeros(6, 8, T, 8)
    given[:, torch.arange(8), :, torch.arange(8)] = 1.0
    y, spread = recorded(W, 8, 3, given), torch.full((6,), NOISE)
    told, untold, process = (
        fit_ridge(y, A, spread, **options)
        for options in ({"stimulus": given}, {}, {"stimulus": given, "process": 0.003})
    )
    error = lambda found: float((found.mean - W).square().mean().sqrt())  # noqa: E731
    assert error(told) < 0.5 * error(untold)
    assert error(process) < 0.6 * error(untold)
    s = explain.Settings(A)
    known, unknown = (explain.explain(y[0].double(), NOISE, s, stimulus=v) for v in (given[0], None))
    assert known.log_evidence > unknown.log_evidence + 50


def test_a_push_to_a_neuron_that_nobody_knows_of_tells_more_than_one_whose_outputs_are_known():
    """Precision of all weights from neuron 0 is large: pushing it tells less than pushing neuron 1, of which nothing is known."""
    N = 4
    precision = torch.eye(N).repeat(1, N, 1, 1)
    precision[..., 0, 0] = 1e6
    now = Likelihood(precision, torch.zeros(1, N, N))
    W, family = 0.01 * torch.eye(N)[None], family_of(sample_weight_matrix_batch(20, N, 1.0, seed=0))
    found = propagate(now, family)
    quiet = explain.Settings(A, h0_std=0.01)
    told = ahead.information(now, found, W, ahead.pushes(N, 1, 1.0), T, quiet, NOISE, torch.Generator().manual_seed(0))
    assert float(told[0]) < float(told[1:].min())


def test_pushed_recordings_go_through_the_commands(nd_here, nd_model, tmp_path):
    path = tmp_path / "pushed.h5"
    made = nd_here("simulate", "--output", path, "--N", 6, "--num-trials", 6, "--T", 30, "--push", 1, "--seed", 4)
    assert made.returncode == 0, made.stderr
    fast = ("--samples", 8, "--steps", 4, "--json", "--force")
    answer = nd_here("infer", nd_model, path, "--output", tmp_path / "p.h5", *fast)
    assert answer.returncode == 0, answer.stderr
    results = json.loads(answer.stdout)["results"]
    assert results["answer"]["verdict"] in ("yes", "no", "cannot tell")
    assert [row["measurement"] for row in results["further"]][:2] == ["6 more trials", "1 more trial"]
    assert all(0 < row["then"] < row["now"] for row in results["further"][:2])
    assert all("truth" in row for row in results["behaviour"])  # the file holds it
    with h5py.File(path, "r+") as file:
        given = file["stimulus"][()]
        del file["stimulus"], file["W"]
    blind = json.loads(nd_here("infer", nd_model, path, "--output", tmp_path / "q.h5", *fast).stdout)["results"]
    assert (
        blind["residuals"]["mean_square"] > 1.3 * results["residuals"]["mean_square"] or blind["settings"]["estimated"]
    )
    assert "truth" not in blind["behaviour"][0]
    np.save(tmp_path / "given.npy", given)
    told = nd_here("infer", nd_model, path, "--stimulus", tmp_path / "given.npy", "--output", tmp_path / "r.h5", *fast)
    assert json.loads(told.stdout)["results"]["trial_nll"] == results["trial_nll"]
    np.save(tmp_path / "given.npy", given[:, :, :4])
    refused = nd_here("infer", nd_model, path, "--stimulus", tmp_path / "given.npy", "--output", tmp_path / "s.h5")
    assert refused.returncode == 2
    assert "(6, 30, 6)" in refused.stderr


def test_a_foreign_stimulus_is_named_and_not_taken_for_the_input(tmp_path, caplog):
    """A file of others may hold the stimulus on the screen under this name, even with a value for each step and neuron."""
    path = tmp_path / "others.h5"
    with h5py.File(path, "w") as file:
        file["rates"], file["stimulus"] = np.zeros((2, 30, 6), np.float32), np.ones((30, 6), np.float32)
    assert load_stimulus(None, path, (2, 30, 6)) is None
    assert "'/stimulus' is not used; give --stimulus" in caplog.text
    assert load_stimulus(path, path, (2, 30, 6)).shape == (2, 30, 6)
