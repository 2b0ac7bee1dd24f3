"""Does a trained network add anything to expectation propagation, and where? Asked of held-out networks once, after training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..config import TrainConditionalConfig
from ..model.agreement import entry_correlation
from ..model.blend import Gate, best_gate, blend, claimed_correlation
from ..model.model import WeightModel
from ..model.propagation import Family, propagate
from ..model.ridge import gaussian_likelihood

SHARES = torch.linspace(0, 1, 11)
MOST, LEAST, LARGEST = (
    64,
    12,
    64,
)  #: networks a number of trials; neurons beyond which sampling costs more than training
N_SAMPLES, N_STEPS = 16, 14


@torch.no_grad()
def learn_gate(model: WeightModel, W: Tensor, config: TrainConditionalConfig) -> Gate:
    """Return which share of a diffusion model goes over expectation propagation on held-out networks W (B, N, N); empty: never asked.

    Every number of trials of the training counts alike, its noise is drawn as in training.
    """
    N, regime = W.shape[-1], model.spec.regime
    if config.objective != "diffusion" or N > LARGEST or len(W) < LEAST:
        return ()
    W = W[: max(LEAST, min(MOST, 16384 // N**2))]
    claims, scores = [], []
    low, high = (math.log(v) for v in config.noise)
    for k, K in enumerate(config.trials):
        g = torch.Generator().manual_seed(config.seed * 1000 + 500 + k)
        noise = torch.exp(low + (high - low) * torch.rand(len(W), generator=g))
        y = regime.trials(W, K, model.spec.n_time, noise, g)
        found = gaussian_likelihood(y, regime.a, process=regime.process, h0_std=regime.h0_std)
        ep = propagate(found.wide, model.spec.family or Family())
        learned = model.sample(model.prepare(model.likelihood(y)), N_SAMPLES, steps=N_STEPS, generator=g).mean(1)
        claims.append(claimed_correlation(ep.mean, ep.sd))
        blends = [entry_correlation(blend(ep.mean, learned, s.expand(len(W))), W) for s in SHARES]
        scores.append(torch.stack(blends, 1))
    return best_gate(torch.cat(claims), torch.cat(scores), SHARES)
