"""Samplers against a posterior known in closed form; equivariance; guidance."""

import pytest
import torch

from neuro_diffusion.fit.refine import refine_weight_matrix
from neuro_diffusion.model import denoiser as network
from neuro_diffusion.model import diffusion
from neuro_diffusion.model.guidance import guided_prior_samples
from neuro_diffusion.model.model import ModelSpec, WeightModel, missing_below
from neuro_diffusion.model.propagation import gaussian_posterior
from neuro_diffusion.model.ridge import Likelihood, posterior, spectrum


def gaussian_problem(B=6, N=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(B, N, N, N, generator=g).double() * torch.logspace(-1, 0.5, B)[:, None, None, None]
    A = root @ root.transpose(-1, -2)
    return spectrum(Likelihood(A, 2 * torch.randn(B, N, N, generator=g).double()))


def test_with_sites_the_skip_is_the_posterior_of_expectation_propagation_in_standard_units():
    g = torch.Generator().manual_seed(0)
    B, N, scale = 2, 4, 0.3
    root = torch.randn(B, N, N, 8, generator=g).double()
    data = Likelihood(root @ root.transpose(-1, -2), torch.randn(B, N, N, generator=g).double())
    tau, nu = 1 + 20 * torch.rand(B, N, N, generator=g).double(), torch.randn(B, N, N, generator=g).double()
    s = diffusion.written(data, scale, (tau, nu))
    mean = scale * (s.vectors @ (s.b / (s.values + 1))[..., None])[..., 0]
    torch.testing.assert_close(mean, gaussian_posterior(data, tau, nu)[2])
    sure, believed = torch.full_like(tau, 1e6), diffusion.SUREST / scale**2
    s = diffusion.written(data, scale, (sure, 1e6 * nu))
    mean = scale * (s.vectors @ (s.b / (s.values + 1))[..., None])[..., 0]
    torch.testing.assert_close(mean, gaussian_posterior(data, sure * 0 + believed, believed * nu)[2])


def exact_sampler(data, sampler, steps, S=2000, schedule="karras"):
    g = torch.Generator().manual_seed(1)
    levels = diffusion.noise_levels(steps, schedule, diffusion.Noise())
    first = diffusion.start(data, S, 10.0, g)
    return diffusion.sample(diffusion.gaussian_denoiser(data), first, levels, sampler, g)


@pytest.mark.parametrize(("sampler", "steps"), [("dpmpp-2m", 24), ("heun", 24)])
def test_second_order_samplers_reproduce_the_exact_posterior(sampler, steps):
    data = gaussian_problem()
    mean, sd = posterior(data, torch.ones(6).double())
    found = exact_sampler(data, sampler, steps)
    correlation = torch.corrcoef(torch.stack([found.mean(1).flatten(), mean.flatten()]))[0, 1]
    assert correlation > 0.99
    assert (found.std(1) / sd).mean().item() == pytest.approx(1.0, abs=0.05)


def test_first_order_samplers_are_too_narrow():
    data = gaussian_problem()
    _, sd = posterior(data, torch.ones(6).double())
    ratio = {s: (exact_sampler(data, s, 16).std(1) / sd).mean().item() for s in ("ddim", "dpmpp-2m")}
    assert ratio["ddim"] < 0.96 < ratio["dpmpp-2m"]


@pytest.mark.parametrize("sampler", ["ancestral", "ddpm"])
def test_noisy_samplers_approach_the_posterior_with_many_steps(sampler):
    data = gaussian_problem()
    _, sd = posterior(data, torch.ones(6).double())
    assert (exact_sampler(data, sampler, 200, S=500).std(1) / sd).mean().item() == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("schedule", ["karras", "cosine", "linear"])
def test_noise_levels_fall_from_sigma_max_to_zero(schedule):
    levels = diffusion.noise_levels(12, schedule, diffusion.Noise())
    assert levels[0].item() == pytest.approx(10, rel=1e-6)
    assert levels[-2].item() == pytest.approx(0.01, rel=1e-6)
    assert levels[-1] == 0
    assert (levels.diff() < 0).all()


def test_the_gaussian_step_without_data_is_the_edm_skip():
    w, sigma = torch.randn(2, 3, 4, 4), torch.full((2, 3), 0.7)
    step = diffusion.gaussian_step(w, sigma, diffusion.without_data(2, 4, w))
    torch.testing.assert_close(step.mean, w / (1 + 0.49))
    torch.testing.assert_close(step.shrinkage, torch.eye(4).expand(2, 3, 4, 4, 4))


def test_what_the_written_prior_does_not_know_fades_with_the_noise_and_is_bounded():
    w, step = torch.zeros(1, 1, 3, 3), lambda sigma: diffusion.gaussian_step(w, sigma, diffusion.without_data(1, 3, w))

    def room(sigma):
        sigma = torch.full((1, 1), sigma)
        plain, doubted = (diffusion.precondition(w, sigma, step(sigma), "edm", known)[1] for known in (False, True))
        return float((doubted**2 - plain**2).mean()) ** 0.5

    assert room(100.0) == pytest.approx(diffusion.DOUBT, rel=0.02)
    assert room(diffusion.DOUBT) == pytest.approx(diffusion.DOUBT / 2**0.5, rel=1e-3)
    assert room(0.01) == pytest.approx(0.01, rel=0.02)


def random_model(arch="pool", **options):
    torch.manual_seed(0)
    model = WeightModel(ModelSpec(arch=arch, width=16, hidden=24, depth=2, **options)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("arch", ["pool", "axial"])
def test_renaming_the_neurons_renames_the_answer(arch):
    g = torch.Generator().manual_seed(2)
    model, p = random_model(arch), torch.randperm(5, generator=g)
    root = torch.randn(1, 5, 5, 5, generator=g).double()
    A, b, w = (
        root @ root.transpose(-1, -2),
        torch.randn(1, 5, 5, generator=g).double(),
        torch.randn(1, 2, 5, 5, generator=g).double(),
    )
    sigma = torch.full((1, 2), 0.6).double()
    before = model(w, sigma, spectrum(Likelihood(A, b)))[0]
    renamed = spectrum(Likelihood(A[:, p][:, :, p][..., p], b[:, p][:, :, p]))
    after = model(w[:, :, p][..., p], sigma, renamed)[0]
    torch.testing.assert_close(after, before[:, :, p][..., p], atol=1e-5, rtol=0)
    assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("arch", ["pool", "axial", "unet"])
@pytest.mark.parametrize("N", [5, 8])
def test_any_network_size_fits(arch, N):
    model = WeightModel(ModelSpec(arch=arch, width=16, hidden=24, depth=1))
    w = torch.randn(2, 3, N, N)
    assert model(w, torch.full((2, 3), 0.5), diffusion.without_data(2, N, w))[0].shape == w.shape


@pytest.mark.parametrize("parameterization", ["edm", "v", "eps"])
def test_every_parameterization_has_the_loss_of_its_own_target(parameterization):
    """An untrained network predicts 0; the scaled error is then the size of the target, about one."""
    model = WeightModel(ModelSpec(parameterization=parameterization, width=16, hidden=24, depth=1))
    w = torch.randn(64, 6, 6, generator=torch.Generator().manual_seed(0))
    loss = model.loss(w, diffusion.without_data(64, 6, w), torch.Generator().manual_seed(1), copies=4)
    assert 0.8 < loss.item() < 1.1


def test_guidance_one_is_the_conditional_model_bit_for_bit():
    model, data = random_model(), gaussian_problem(2)
    w = torch.randn(2, 3, 4, 4).double()
    level = torch.full((2, 1), 0.5).double()
    assert torch.equal(model.denoiser(data, 1.0)(w, 0.5), model(w, level, data)[0])
    free = model.denoiser(data, 0.0)(w, 0.5)
    torch.testing.assert_close(model.denoiser(data, 2.0)(w, 0.5), 2 * model(w, level, data)[0] - free)
    torch.testing.assert_close(free, model(w, level, diffusion.without_data(2, 4, w))[0])


def test_missing_connections_are_parted_from_weak_ones_by_the_training_weights():
    noise, g = diffusion.Noise(), torch.Generator().manual_seed(0)
    normal = torch.randn(50, 16, 16, generator=g)
    present = torch.rand(normal.shape, generator=g) < 0.5
    away_from_zero = torch.where(present, normal.sign() * (1 + normal.abs()), 0.0)
    assert missing_below(normal, noise) == 0
    assert missing_below(torch.where(present, normal, 0.0), noise) == 2 * noise.sigma_min
    assert missing_below(away_from_zero, noise) == pytest.approx(0.5 / float(away_from_zero.std()), rel=0.01)
    model = WeightModel(ModelSpec(atom=0.1, scale=2.0))
    torch.testing.assert_close(
        model.settle(torch.tensor([[0.09, -0.2], [0.3, -0.05]])), 2**0.5 * torch.tensor([[0, -0.2], [0.3, 0]])
    )


def test_samples_do_not_depend_on_the_chunk():
    model, data = random_model(), gaussian_problem(4)
    draw = lambda chunk: model.sample(data, 3, steps=4, chunk=chunk, generator=torch.Generator().manual_seed(0))  # noqa: E731
    torch.testing.assert_close(draw(3), draw(1000), atol=1e-10, rtol=0)

    def guided(chunk):
        g = torch.Generator().manual_seed(0)
        return guided_prior_samples(model, data, 3, steps=4, chunk=chunk, generator=g)

    torch.testing.assert_close(guided(3), guided(1000), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("jacobian", [False, True])
def test_the_guided_prior_is_exact_for_a_gaussian_prior(jacobian):
    """With F = 0 the unconditional denoiser is that of a normal prior, and guidance must give the exact posterior."""
    model, data = WeightModel(ModelSpec(width=16, hidden=24, depth=1, scale=2.0)).double(), gaussian_problem()
    g = torch.Generator().manual_seed(0)
    found = guided_prior_samples(model, data, 300, steps=24, generator=g, jacobian=jacobian) / model.unit(4)
    mean, sd = posterior(data, torch.ones(6).double())
    torch.testing.assert_close(found.mean(1), mean, atol=0.25, rtol=0)
    assert (found.std(1) / sd).mean().item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "expected one of pigdm"),
        ({"method": "pigdm"}, "needs a diffusion model"),
        ({"method": "map", "A_obs": torch.zeros(20, 5)}, "do not fit"),
        ({"method": "pigdm", "model": WeightModel(ModelSpec()), "lambda_prior": 2.0}, "lambda_prior 2: method 'pigdm'"),
    ],
)
def test_refinement_refuses_what_it_cannot_do(options, message):
    arguments = {"A_obs": torch.zeros(20, 4), **options}
    with pytest.raises(ValueError, match=message):
        refine_weight_matrix(torch.zeros(4, 4), metadata={"dt": 0.1, "tau": 1.0}, **arguments)


@pytest.mark.parametrize(("function", "message"), [
    (lambda: diffusion.noise_levels(1, "karras", diffusion.Noise()), "at least 2"),
    (lambda: diffusion.noise_levels(9, "square", diffusion.Noise()), "expected karras"),
    (lambda: network.build_network("mlp", 16, 1, 16), "expected pool"),
])  # fmt: skip
def test_unknown_choices_are_named(function, message):
    with pytest.raises(ValueError, match=message):
        function()
