"""What would a user have recorded of a known network? One network, its trials, and the truth behind them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .config import SimulateConfig
from .rate_network.simulator import simulate_rate_network
from .rate_network.weights import random_stream, sample_weight_matrix_batch


class Recording(NamedTuple):
    """A recording and what made it."""

    activity: Tensor  #: (K, T, N); NaN where a neuron was not recorded
    W: Tensor  #: (N, N)
    h0: Tensor  #: (K, N)
    input: Tensor  #: (N) constant input
    stimulus: Tensor | None  #: (K, T, N) known input; None: no neuron was pushed


def simulate(config: SimulateConfig) -> Recording:
    """Return the recording that the options describe: a pure function of them."""
    rng = random_stream(config.seed, 0)
    options: dict[str, Any] = {
        "dale": config.dale,
        "structure": config.structure,
        "density": config.density,
        "rng": rng,
    }
    g = config.g if len(config.g) == 2 else (config.g[0], config.g[0])
    W = sample_weight_matrix_batch(1, config.n_neurons, g, config.ei_ratio, **options)[0]
    generator = torch.Generator().manual_seed(config.seed)
    K, T, N = config.n_trials, config.n_time, config.n_neurons
    h0 = config.h0_std * torch.randn(K, N, generator=generator)
    current = config.input_std * torch.randn(N, generator=generator)
    stimulus = None
    if config.push:
        pushed = torch.nn.functional.one_hot(torch.arange(K) % N, N).to(W)
        stimulus = config.push * pushed[:, None].expand(K, T, N)
    given = current if stimulus is None else current + stimulus
    x = simulate_rate_network(W, h0, T, config.dt, config.tau, given, config.noise_std, generator=generator)
    y = config.offset + config.gain * x
    y = y + config.observation_noise * torch.randn(y.shape, generator=generator)
    hidden = torch.randperm(N, generator=generator)[max(1, round(config.observed * N)) :]
    y[:, :, hidden] = float("nan")
    return Recording(y, W, h0, current, stimulus)
