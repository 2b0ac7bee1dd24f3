"""Which network is number i of a data set? A pure function of the options and i, in whatever order and by whomever it is asked.

Network i has a Philox stream with the key (seed, i) for its weights and a jumped one for its activity. Activity is simulated in
blocks of `BLOCK` consecutive networks that do not depend on shards or workers, so that the last bit is the same as well.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hdf5io.errors import InputError

from ..config import BLOCK, BuildDatasetConfig, ImportConnectomeConfig
from ..rate_network.connectome import connected, half_of, signed_subnetwork
from ..rate_network.simulator import simulate_rate_network, step_of
from ..rate_network.weights import jumped_stream, random_stream, sample_weight_matrix_batch
from .connectomes import load_connectome
from .metadata import Source


class Networks(NamedTuple):
    """Consecutive networks of a data set."""

    number: np.ndarray  #: (B) its place in the data set
    W: Tensor  #: (B, N, N) float32
    g: np.ndarray  #: (B) radius that was drawn; NaN when unknown
    activity: Tensor | None = None  #: (B, K, T, N) recorded rates with noise; NaN where a neuron was not observed
    h0: Tensor | None = None  #: (B, K, N) true initial states
    observed: np.ndarray | None = None  #: (B, N) True where a neuron was recorded
    neuron: np.ndarray | None = None  #: (B, N) place of each neuron in the connectome; None for random networks


class Weights(NamedTuple):
    """Weights of consecutive networks."""

    W: Tensor  #: (B, N, N)
    g: np.ndarray  #: (B)
    neuron: np.ndarray | None  #: (B, N) places in the connectome


def draw_weights(config: Source, first: int, count: int) -> Weights:
    """Return the weights and radii of networks ``first .. first + count - 1``."""
    matrix, half, ratio = None, np.arange(0), config.ei_ratio
    if isinstance(config, ImportConnectomeConfig):
        whole = load_connectome(config.connectome, config.dataset, config.rows).matrix
        half = half_of(len(whole), config.part)
        ratio = None if (whole < 0).any() else ratio  # a piece without inhibition keeps its signs
        matrix = whole[np.ix_(half, half)]
    W, g, neurons = [], [], []
    for index in range(first, first + count):
        rng = random_stream(config.seed, index)
        g.append(float(rng.uniform(min(config.g), max(config.g))))
        if isinstance(config, BuildDatasetConfig):
            W.append(_random_weights(config, g[-1], rng))
        elif matrix is not None:
            chosen = connected(matrix, config.n_neurons, rng)
            W.append(signed_subnetwork(matrix, chosen, g[-1], ratio, rng, config.transform))
            neurons.append(half[chosen])
    return Weights(torch.stack(W), np.array(g), np.array(neurons) if neurons else None)


def _random_weights(config: BuildDatasetConfig, g: float, rng: np.random.Generator) -> Tensor:
    options: dict[str, Any] = {
        "dale": config.dale,
        "structure": config.structure,
        "density": config.density,
        "rng": rng,
    }
    return sample_weight_matrix_batch(1, config.n_neurons, g, config.ei_ratio, **options)[0]


def draw_networks(config: Source, first: int, count: int, with_activity: bool = True) -> Networks:
    """Return networks ``first .. first + count - 1`` of a data set, with their activity if wanted."""
    if not with_activity:
        drawn = draw_weights(config, first, count)
        return Networks(np.arange(first, first + count), drawn.W, drawn.g, neuron=drawn.neuron)
    blocks = [_block(config, b) for b in range(first // BLOCK, (first + count - 1) // BLOCK + 1)]
    start = first % BLOCK
    cut = slice(start, start + count)
    joined = {name: _join([getattr(b, name) for b in blocks], cut) for name in Networks._fields}
    return Networks(**joined)


def _join(parts: list[Any], cut: slice) -> Any:
    if parts[0] is None:
        return None
    whole = torch.cat(parts) if isinstance(parts[0], Tensor) else np.concatenate(parts)
    return whole[cut]


def _block(config: Source, block: int) -> Networks:
    """Return the whole block of networks, simulated together."""
    index = np.arange(block * BLOCK, (block + 1) * BLOCK)
    W, g, neuron = draw_weights(config, int(index[0]), BLOCK)
    K, T, N = config.n_trials, config.n_time, config.n_neurons
    h0, xi, eta = np.empty((BLOCK, K, N), np.float32), None, None
    observed = np.zeros((BLOCK, N), bool)
    xi = np.empty((BLOCK, K, T - 1, N), np.float32) if config.noise_std > 0 else None
    eta = np.empty((BLOCK, K, T, N), np.float32) if config.observation_noise > 0 else None
    for row, i in enumerate(index):
        rng = jumped_stream(config.seed, int(i))
        h0[row] = config.h0_std * rng.standard_normal((K, N), np.float32)
        observed[row, rng.permutation(N)[: max(1, round(config.observed * N))]] = True
        for path in (xi, eta):
            if path is not None:
                path[row] = rng.standard_normal(path.shape[1:], np.float32)
    noise = None if xi is None else torch.from_numpy(xi)
    start = torch.from_numpy(h0)
    x = simulate_rate_network(W, start, T, config.dt, config.tau, None, config.noise_std, noise=noise)
    if eta is not None:
        x = x + config.observation_noise * torch.from_numpy(eta)
    x = x.masked_fill(~torch.from_numpy(observed)[:, None, None], float("nan"))
    return Networks(index, W, g, x.contiguous(), start, observed, neuron)


def check(config: Source) -> None:
    """Raise ValueError where the options cannot be simulated, InputError where one is of no use; read the connectome once."""
    if isinstance(config, ImportConnectomeConfig):
        check_signs(config)
    step_of(config.dt, config.tau, config.noise_std)
    draw_weights(config, 0, 1)


def check_signs(config: ImportConnectomeConfig) -> None:
    """Raise InputError where the share of excitatory neurons is not needed, or leaves columns of one sign."""
    given, N = config.ei_ratio, config.n_neurons
    default = type(config).model_fields["ei_ratio"].default
    whole = load_connectome(config.connectome, config.dataset, config.rows).matrix
    if (whole < 0).any():
        if given not in (None, default):
            raise InputError(f"--ei-ratio: without effect, {config.connectome} has signs of its own. Leave it out.")
    elif given is not None and not 0 < round(given * N) < N:
        raise InputError(f"--ei-ratio {given:g}: leaves no excitatory or no inhibitory neuron among {N}. Give another.")


def split_of(index: np.ndarray) -> np.ndarray:
    """Return the split of each index: 0 train (80 %), 1 validation, 2 test, by a hash that ignores the size of the data set."""
    z = np.asarray(index, np.uint64) + np.uint64(0x9E3779B97F4A7C15)  # splitmix64, Steele, Lea & Flood 2014
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z ^= z >> np.uint64(31)
    tenth = z % np.uint64(10)
    return np.where(tenth == 0, 2, np.where(tenth == 1, 1, 0))
