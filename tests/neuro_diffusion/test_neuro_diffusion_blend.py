"""Is the network laid over expectation propagation only where held-out networks say that it helps?"""

import math

import pytest
import torch

from neuro_diffusion.commands.held_out import answer_of, narrower
from neuro_diffusion.files import model_folder
from neuro_diffusion.fit import infer
from neuro_diffusion.fit.settings import Choice
from neuro_diffusion.model.blend import best_gate, blend, claimed_correlation, mix, share_of
from neuro_diffusion.model.recording import Settings
from neuro_diffusion.rate_network.activity import Regime
from neuro_diffusion.rate_network.weights import sample_weight_matrix_batch


def test_a_network_that_only_harms_gets_no_share_and_one_that_helps_all():
    claim, shares = torch.linspace(0.3, 0.99, 80), torch.linspace(0, 1, 11)
    noise = 0.001 * torch.randn(80, 11, generator=torch.Generator().manual_seed(0))
    harm, help_ = (0.8 + sign * 0.1 * shares + noise for sign in (-1, 1))
    assert [share for _, share in best_gate(claim, harm, shares)] == [0.0] * 4
    gate = best_gate(claim, help_, shares)
    assert all(share > 0.85 for _, share in gate)
    assert [at for at, _ in gate] == sorted(at for at, _ in gate)


def test_a_gain_within_its_error_opens_nothing():
    g, shares = torch.Generator().manual_seed(1), torch.linspace(0, 1, 11)
    scores = 0.8 + shares * torch.randn(80, 1, generator=g) * 0.1
    assert max(share for _, share in best_gate(torch.rand(80, generator=g), scores - 0.01 * shares, shares)) <= 0.3


def test_the_share_is_linear_between_claims_and_held_beyond_them():
    gate = ((0.5, 0.2), (0.9, 0.6))
    found = share_of(gate, torch.tensor([0.1, 0.7, 0.99]))
    assert found.tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert share_of((), torch.tensor([0.7])).tolist() == [0.0]


def test_the_mixture_holds_that_share_of_samples_and_its_mean():
    written, learned, share = torch.zeros(2, 10, 3, 3), torch.ones(2, 10, 3, 3), torch.tensor([0.3, 1.0])
    found = mix(written, learned, share)
    torch.testing.assert_close(found.mean(1), blend(written.mean(1), learned.mean(1), share))


def test_a_posterior_claims_the_correlation_that_it_has():
    g = torch.Generator().manual_seed(0)
    mean, sd = torch.randn(4, 100, 100, generator=g), 0.5
    truth = mean + sd * torch.randn(mean.shape, generator=g)
    found = [float(torch.corrcoef(torch.stack([m.flatten(), t.flatten()]))[0, 1]) for m, t in zip(mean, truth)]
    assert claimed_correlation(mean, torch.full_like(mean, sd)).tolist() == pytest.approx(found, abs=0.01)
    assert found[0] == pytest.approx(1 / math.sqrt(1.25), abs=0.01)


def test_the_answer_has_its_interval_over_networks_and_more_networks_narrow_it_as_foretold():
    g = torch.Generator().manual_seed(0)
    gain = 0.03 + 0.05 * torch.randn(400, generator=g)
    few = answer_of(gain[:100], "combined", "ep")
    assert (few.verdict, few.against) == ("yes", "EP")
    assert few.low < 0.03 < few.high
    told = narrower(few, 100)[1]
    whole = answer_of(gain, "combined", "ep")
    assert told["measurement"] == "300 more held-out networks"
    assert told["then"] == pytest.approx((whole.high - whole.low) / 2, rel=0.2)
    shut = answer_of(torch.zeros(8), "combined", "ep")
    assert shut.verdict == "no"
    assert narrower(shut, 8) == []


@pytest.mark.parametrize("shares", [(0.3, 0.0), (0.0, 0.3)])
def test_a_gate_that_opens_for_all_trials_or_for_fewer_only_is_no_error(nd_model, monkeypatch, shares):
    left = list(shares)
    monkeypatch.setattr(
        infer, "share_of", lambda gate, claim: torch.full_like(claim, left.pop(0) if len(left) > 1 else left[0])
    )
    y = Regime().trials(sample_weight_matrix_batch(1, 6, 1.3, seed=0), 3, 30, 0.02, torch.Generator().manual_seed(0))[0]
    model = model_folder.load_model(nd_model, "diffusion", conditional=True)
    recorded = infer.Recorded(y, torch.ones(6, dtype=torch.bool))
    found = infer.infer(model, recorded, Choice(Settings(0.1), 0.02), 8, {"steps": 4}, torch.Generator().manual_seed(0))
    assert found.default == ("combined" if shares[0] else "ep")
    assert {row["method"] for row in found.table} == set(found.estimates)
    assert all(math.isfinite(row["held-out log-likelihood per value"]) for row in found.table)
    assert {len(v) for v in found.left_out.values()} == {3}
