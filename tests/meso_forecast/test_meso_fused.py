"""Is the fused lag embedding the library's own embedding, weight for weight?"""

import copy

import pytest
import torch

from meso_forecast.model import hugging_face

N, CONTEXT, HORIZON = 12, 24, 4


@pytest.fixture(scope="module")
def networks():
    """Return (plain, fused) networks with the same weights."""
    torch.manual_seed(0)
    plain = hugging_face.HuggingFace(hugging_face.Architecture("informer-hf", N, CONTEXT, HORIZON, 16, 2)).eval()
    quick = copy.deepcopy(plain)
    hugging_face.unfuse(plain.inner)
    hugging_face.fuse(quick.inner)
    return plain, quick


@pytest.fixture
def windows():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, CONTEXT, N, generator=generator), torch.randn(3, HORIZON, N, generator=generator)


def test_the_fused_embedding_equals_the_library_within_1e_5(networks, windows):
    plain, quick = networks
    for a, b in zip(plain.outputs(*windows), quick.outputs(*windows)):
        assert (a - b).abs().max() < 1e-5


def test_the_gradients_are_equal_too(networks, windows):
    for net in networks:
        net.zero_grad()
        net.loss(*windows).backward()
    for (name, a), (_, b) in zip(networks[0].named_parameters(), networks[1].named_parameters()):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or (a.grad - b.grad).abs().max() < 1e-5, name


def test_a_fused_network_still_generates(networks, windows):
    inner, clock = networks[1].inner, torch.zeros(3, CONTEXT + HORIZON, 1)
    inner.config.num_parallel_samples = 2
    out = inner.generate(
        windows[0], clock[:, :CONTEXT], clock[:, CONTEXT:], past_observed_mask=torch.ones_like(windows[0])
    )
    assert out.sequences.shape == (3, 2, HORIZON, N)
