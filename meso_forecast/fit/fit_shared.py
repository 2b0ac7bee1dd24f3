"""How are the networks trained that neurons share? On batches of traces of a bounded number of neurons, with a bounded budget.

The cost does not grow with the number of neurons: at most ``MOST_NEURONS`` are seen, a batch holds ``ROWS`` traces, an epoch at most
``BATCHES`` batches. The best weights on validation windows are kept.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..activity.windows import TRAIN, VALIDATION, Panel, columns_of, window_origins
from ..model.shared import SharedMLP, population_of
from .options import Options

log = logging.getLogger(__package__)
MOST_NEURONS = 512
ROWS, BATCHES, EPOCHS, PATIENCE = 2048, 40, 14, 3
VALIDATION_ROWS = 20000


class Traces(NamedTuple):
    """What one recording gives to the training."""

    x: np.ndarray  #: (time, neuron), a bounded number of neurons
    neurons: np.ndarray  #: (neuron,), which of the recording they are
    first: int  #: embedding of its first neuron
    latents: np.ndarray | None  #: (time, latent)
    train: np.ndarray  #: origins
    validation: np.ndarray


def traces_of(
    panels: Sequence[Panel], latents: Sequence[np.ndarray], context: int, horizon: int, seed: int
) -> list[Traces]:
    """Return the traces of each recording; at most ``MOST_NEURONS`` neurons of each, drawn from a seed."""
    found, first = [], 0
    for panel, z in zip(panels, latents):
        n = panel.x.shape[1]
        chosen = np.sort(np.random.default_rng(seed).choice(n, min(n, MOST_NEURONS), replace=False))
        parts = (window_origins(panel.usable, panel.label, part, context, horizon) for part in (TRAIN, VALIDATION))
        found.append(Traces(columns_of(panel.x, chosen), chosen, first, z.astype(np.float32), *parts))
        first += len(chosen)
    return found


def fit_shared(
    kind: str, sources: Sequence[Traces], context: int, horizon: int, seed: int, options: Options, start: SharedMLP | None = None
) -> SharedMLP:  # fmt: skip
    """Return one trained network for all recordings.

    ``start``: a network of other recordings; then all of it stays as it is but the embeddings, which the neurons here get anew.
    """
    torch.manual_seed(seed)
    latents = sources[0].latents.shape[1] if kind == "tide-population" and sources[0].latents is not None else 0
    net = SharedMLP(kind, context, horizon, sum(len(s.neurons) for s in sources), latents)
    trained = list(net.parameters())
    if start is not None:
        kept = {name: value for name, value in start.state_dict().items() if not name.startswith("embedding")}
        net.load_state_dict(kept, strict=False)
        trained = list(net.embedding.parameters())
    epochs = min(options.epochs, EPOCHS)
    optimizer = torch.optim.AdamW(trained, 2 * options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    held = [
        drawn(net, s, s.validation, VALIDATION_ROWS // len(sources), horizon, np.random.default_rng(seed))
        for s in sources
    ]
    best, kept, waited = np.inf, copy.deepcopy(net.state_dict()), 0
    limit = min(options.batches_per_epoch or BATCHES, BATCHES)
    for epoch in range(epochs):
        rng = np.random.default_rng([seed, epoch])
        net.train()
        for _ in range(limit):
            s = sources[int(rng.integers(len(sources)))]
            *inputs, target = drawn(net, s, s.train, ROWS, horizon, rng)
            loss = (net(*inputs) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        schedule.step()
        net.eval()
        with torch.inference_mode():
            error = float(np.mean([(net(*i) - y).square().mean() for *i, y in held]))
        if error < best:
            best, kept, waited = error, copy.deepcopy(net.state_dict()), 0
        elif (waited := waited + 1) >= PATIENCE:
            break
    net.load_state_dict(kept)
    log.info("%s, seed %d: %d epochs, validation error %.4f", kind, seed, epoch + 1, best)
    return net.eval()


def drawn(net: SharedMLP, s: Traces, origins: np.ndarray, rows: int, horizon: int, rng: np.random.Generator):
    """Return (traces, neurons, population, targets) of random windows of random neurons."""
    at = rng.choice(origins, rows)
    column = rng.integers(0, len(s.neurons), rows)
    frames = at[:, None] + np.arange(1 - net.lags, horizon + 1)
    values = torch.from_numpy(s.x[frames, column[:, None]])
    population = population_of(net, s.latents, at)
    ids = torch.from_numpy(s.first + column)
    return (
        values[:, : net.lags],
        ids,
        None if population is None else torch.from_numpy(population),
        values[:, net.lags :],
    )
