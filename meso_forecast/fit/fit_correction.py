"""How is our forecaster fitted? The stack, a network on what the stack left over, its gate, networks that neurons share, weights.

Several recordings train the networks together: each has its own stack, projections, read-in, read-out, gate and weights.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..activity.windows import VALIDATION, Panel, columns_of, gather
from ..model import correction
from ..model.closed_form import fit_stack
from ..model.forecaster import Linear, predict
from ..model.mixture import Mixture, prior_of
from ..model.networks import Correction
from ..model.shared import forecast_shared
from ..model.stack import training_windows
from .fit_shared import Traces, fit_shared, traces_of
from .options import Options
from .train import Source, fit

log = logging.getLogger(__package__)
SAMPLE_NEURONS = 128
SHARED = ("tide", "tide-population")
SEEDS = 2


def fit_informer(panels: Sequence[Panel], context: int, horizon: int, body: str, options: Options) -> list[Mixture]:
    """Return our forecaster for each recording; the networks are shared by all of them.

    Parameters
    ----------
    panels : the recordings.
    context, horizon : window in frames.
    body : ``mlp``, ``informer`` or ``gru``, of the correction.
    options : of the training; ``seed`` seeds the stack's sample of neurons as well.
    """
    prepared = [prepare(panel, context, horizon, options.seed) for panel in panels]
    latents = min(s.inputs.shape[1] for s, _, _ in prepared)
    outputs = min(s.outputs.shape[1] for s, _, _ in prepared)
    prepared = [
        (s._replace(inputs=s.inputs[:, :latents], outputs=s.outputs[:, :outputs]), b, h) for s, b, h in prepared
    ]
    net = fit_network(panels, prepared, body, context, horizon, options)
    sources = traces_of(
        panels, [correction.inputs_of(p, s) for p, (s, _, _) in zip(panels, prepared)], context, horizon, options.seed
    )
    shared = {
        kind: [fit_shared(kind, sources, context, horizon, options.seed + i, options) for i in range(SEEDS)]
        for kind in SHARED
    }
    return [
        mixed(panel, *made, net, shared, traces, i)
        for i, (panel, made, traces) in enumerate(zip(panels, prepared, sources))
    ]


def fit_network(
    panels: Sequence[Panel], prepared: Sequence[tuple], body: str, context: int, horizon: int, options: Options
) -> Correction:  # fmt: skip
    """Return the trained network of the correction."""
    lags = min(correction.BODY_LAGS, context)
    outputs = prepared[0][0].outputs.shape[1]
    sources = [source(panel, s, held, lags, horizon) for panel, (s, _, held) in zip(panels, prepared)]
    torch.manual_seed(options.seed)
    net = Correction(body, lags, sources[0].x.shape[1], horizon, outputs, len(panels))
    with torch.no_grad():  # targets of unit size for the optimiser; predictions are scaled back by the last layer
        unit = float(np.sqrt(np.mean([size_of(s) for s in sources])))
    fitted = fit(net, [s._replace(target=s.target / unit) for s in sources if s.target is not None], options)
    with torch.no_grad():
        net.head.weight.mul_(unit)
        net.head.bias.mul_(unit)
    log.info("correction: %d epochs, validation loss %.4f (1: no correction)", fitted.epochs, fitted.best_loss)
    return net


def size_of(s: Source) -> float:
    """Return the mean square of the training targets."""
    assert s.target is not None
    assert s.rows is not None
    return float(s.target[torch.from_numpy(s.rows[s.train])].square().mean())


class HeldOut(NamedTuple):
    """What the stack leaves for the correction."""

    origins: np.ndarray  #: of all training and validation windows
    projected: np.ndarray  #: (window, horizon, output), held-out residuals on the output basis, NaN on block edges
    sample: np.ndarray  #: (neuron of the sample,)
    residual: np.ndarray  #: (validation window, horizon, neuron of the sample), held-out residuals


class Collector:
    """Collects, while the stack hands out chunks of neurons, projected residuals and those of a sample of neurons on validation windows."""

    def __init__(self, basis: np.ndarray, validating: np.ndarray, sample: np.ndarray) -> None:
        self.projector, self.validating, self.sample = correction.Projector(basis), validating, sample
        self.parts: list[np.ndarray] = []

    def __call__(self, neurons: slice, residual: np.ndarray) -> None:
        self.projector(neurons, residual)
        inside = self.sample[(self.sample >= neurons.start) & (self.sample < neurons.stop)] - neurons.start
        self.parts.append(residual[self.validating][:, :, inside])


def prepare(panel: Panel, context: int, horizon: int, seed: int) -> tuple[correction.Spaces, Linear, HeldOut]:
    """Return projections, the fitted stack and its held-out residuals."""
    s, n = correction.spaces(panel, seed, horizon), panel.x.shape[1]
    origins = training_windows(panel, context, horizon)[0]
    sample = np.sort(np.random.default_rng(seed).choice(n, min(n, SAMPLE_NEURONS), replace=False))
    collector = Collector(s.outputs, panel.label[origins + 1] == VALIDATION, sample)
    base = fit_stack(panel, context, horizon, seed, collector)
    return s, base, HeldOut(origins, collector.projector.total, sample, np.concatenate(collector.parts, axis=2))


def source(panel: Panel, s: correction.Spaces, held: HeldOut, lags: int, horizon: int) -> Source:
    """Return the windows of one recording as the network sees them."""
    q = held.projected[:, :, : s.outputs.shape[1]]
    good = np.isfinite(q).all((1, 2))
    part = panel.label[held.origins + 1]
    rows = np.full(len(panel.x), -1)
    rows[held.origins] = np.arange(len(held.origins))
    x = torch.from_numpy(correction.inputs_of(panel, s))
    target = torch.from_numpy(np.nan_to_num(q).astype(np.float32))
    return Source(x, target, held.origins[good & (part == 0)], held.origins[good & (part == 1)], rows, lags, horizon)


def mixed(
    panel: Panel, s: correction.Spaces, base: Linear, held: HeldOut, net: Correction, shared: dict, traces: Traces, recording: int
) -> Mixture:  # fmt: skip
    """Return the mixture with the weights and the gate that validation windows justify."""
    q = held.projected[:, :, : s.outputs.shape[1]]
    validating = panel.label[held.origins + 1] == VALIDATION
    good = np.isfinite(q).all((1, 2)) & validating
    latents = correction.inputs_of(panel, s)
    g = predict(net, latents, held.origins[good], recording)
    gate = correction.fit_gate(q[good].astype(float), g, panel.x.shape[1])
    residual = held.residual[good[validating]]
    origins, horizon = held.origins[good], residual.shape[1]
    errors = [residual]
    if gate.is_open:
        errors.append(residual - np.matmul(g * gate.shrink, s.outputs[held.sample].T))
    embedded = np.full(panel.x.shape[1], -1)
    embedded[traces.neurons] = traces.first + np.arange(len(traces.neurons))
    x = columns_of(panel.x, held.sample)
    y = gather(x, origins, 1, horizon)
    for nets in shared.values():
        errors.append(y - forecast_shared(nets, x, embedded[held.sample], latents, origins))
    errors.append(y - x[origins][:, None])
    found = Mixture(base, s, gate, prior_of(errors, embedded), net, shared, recording)
    log.info("weights before the test part: %s", ", ".join(f"{k} {w:.2f}" for k, w in found.info["weights"].items()))
    return found
