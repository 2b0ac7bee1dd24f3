"""Do trained networks do what the mathematics says? A posterior known in closed form, and every body and target from the command line."""

import json

import h5py
import numpy as np
import pytest
import torch

from neuro_diffusion.model import diffusion
from neuro_diffusion.model.model import ModelSpec, WeightModel
from neuro_diffusion.model.ridge import Likelihood, posterior
from neuro_diffusion.rate_network.simulator import simulate_rate_network
from neuro_diffusion.score.calibration import LEVELS, coverage, random_ranks

A, N, PROCESS_NOISE = 0.1, 8, 0.1


def exact_problem(B, generator, K=2, T=30):
    """Return standardised weights (B, N, N) and their exact likelihood: states observed, Gaussian process noise.

    h(t+1) - (1-a) h(t) = a W tanh(h(t)) + n xi is a linear regression on W, so each row has the precision a^2 sum x x' / n^2.
    """
    w = torch.randn(B, N, N, generator=generator)
    W, h0 = w / N**0.5, torch.randn(B, K, N, generator=generator)
    x, h = simulate_rate_network(W, h0, T, A, 1.0, noise_std=PROCESS_NOISE / A**0.5, return_h=True, generator=generator)
    step, before = (h[:, :, 1:] - (1 - A) * h[:, :, :-1]), A * x[:, :, :-1]
    precision = torch.einsum("bkti,bktj->bij", before, before) / PROCESS_NOISE**2
    pull = torch.einsum("bkti,bktj->bij", step, before) / PROCESS_NOISE**2
    likelihood = Likelihood(precision[:, None].expand(B, N, N, N), pull)
    return w, diffusion.standardise(likelihood, N**-0.5)


@pytest.mark.slow
def test_a_trained_network_gives_the_exact_posterior_where_it_is_known():
    """The network starts wrong (random last layer) and must learn that nothing needs to be added to the Gaussian posterior."""
    torch.manual_seed(0)
    model = WeightModel(ModelSpec(width=24, hidden=40, depth=2, scale=1.0, n_neurons=N))
    torch.nn.init.normal_(model.net.leave.weight, std=0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    g = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(600):
        w, data = exact_problem(32, g)
        loss = model.loss(w, data, g)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 1.2 * sum(losses[-50:]) / 50
    w, data = exact_problem(200, torch.Generator().manual_seed(2))
    samples = model.eval().sample(data, 64, steps=18, generator=torch.Generator().manual_seed(3)) * N**0.5
    mean, sd = posterior(data, torch.ones(200))
    correlation = torch.corrcoef(torch.stack([samples.mean(1).flatten(), mean.flatten()]))[0, 1].item()
    ratio = (samples.std(1) / sd).mean().item()
    covered = coverage(random_ranks(samples, w)).mean(0).numpy()
    print(f"correlation with the exact mean {correlation:.4f}, sd ratio {ratio:.3f}, coverage {covered.round(3)}")
    assert correlation >= 0.98
    assert 0.9 < ratio < 1.1
    assert covered == pytest.approx(LEVELS, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "parameterization", "largest_radius"),
    [("pool", "edm", 1.5), ("pool", "v", 1.5), ("pool", "eps", 10.0), ("axial", "edm", 1.5), ("unet", "edm", 1.5)],
)  # fmt: skip
def test_every_body_and_target_trains_a_prior_that_samples(
    neuro_diffusion_cli, nd_data, tmp_path, arch, parameterization, largest_radius
):
    folder, out = tmp_path / "prior", tmp_path / "samples.h5"
    trained = neuro_diffusion_cli(
        "train-prior", nd_data, "--output", folder, "--arch", arch, "--parameterization", parameterization, "--iterations", 250,
        "--batch", 32, "--width", 24, "--hidden", 40, "--depth", 2, "--json",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    results = json.loads(trained.stdout)["results"]
    assert results["validation_loss"] < 0.97 * results["gaussian_loss"]
    assert json.loads((folder / "model.json").read_text())["spec"]["arch"] == arch
    drawn = neuro_diffusion_cli("sample", folder, "--n", 64, "--data", nd_data, "--output", out, "--json")
    assert drawn.returncode == 0, drawn.stderr
    found = json.loads(drawn.stdout)["results"]["against_test_networks"]
    assert 0.6 < found["radius_ratio"] < largest_radius  # "eps" multiplies its error by sigma: 4.9 after so few steps
    with h5py.File(out) as file:
        assert np.isfinite(file["W"][()]).all()
    refused = neuro_diffusion_cli("benchmark", folder, nd_data, "--json")
    assert refused.returncode == 2
    assert "a prior, trained without activity" in refused.stderr
