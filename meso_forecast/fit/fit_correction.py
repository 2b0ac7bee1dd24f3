"""How is our forecaster fitted? The stack, then a network on what the stack left over, then the gate.

Several recordings train one body together: each has its own stack, projections, read-in, read-out and gate.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..activity.windows import Panel
from ..model import correction
from ..model.closed_form import fit_stack
from ..model.correction import Corrected
from ..model.forecaster import Linear, predict
from ..model.networks import Correction
from ..model.stack import training_windows
from .options import Options
from .train import Source, fit

log = logging.getLogger(__package__)


def fit_informer(panels: Sequence[Panel], context: int, horizon: int, body: str, options: Options) -> list[Corrected]:
    """Return our forecaster for each recording; one network body for all of them.

    Parameters
    ----------
    panels : the recordings.
    context, horizon : window in frames.
    body : ``mlp``, ``informer`` or ``gru``.
    options : of the training; ``seed`` seeds the stack's sample of neurons as well.
    """
    prepared = [prepare(panel, context, horizon, options.seed) for panel in panels]
    lags = min(correction.BODY_LAGS, context)
    latents = min(s.inputs.shape[1] for s, _, _ in prepared)
    outputs = min(s.outputs.shape[1] for s, _, _ in prepared)
    prepared = [(correction.Spaces(s.inputs[:, :latents], s.outputs[:, :outputs]), b, h) for s, b, h in prepared]
    sources = [source(panel, s, held, lags, horizon) for panel, (s, _, held) in zip(panels, prepared)]
    torch.manual_seed(options.seed)
    net = Correction(body, lags, latents, horizon, outputs, len(panels))
    with torch.no_grad():  # targets of unit size for the optimiser; predictions are scaled back by the last layer
        unit = float(np.sqrt(np.mean([s.target[torch.from_numpy(s.rows[s.train])].square().mean() for s in sources])))
    scaled = [s._replace(target=s.target / unit) for s in sources]
    fitted = fit(net, scaled, options)
    with torch.no_grad():
        net.head.weight *= unit
        net.head.bias *= unit
    log.info("correction: %d epochs, validation loss %.4f (1: no correction)", fitted.epochs, fitted.best_loss)
    return [gated(panel, s, b, held, net, i) for i, (panel, (s, b, held)) in enumerate(zip(panels, prepared))]


class HeldOut(NamedTuple):
    """What the stack leaves for the correction."""

    origins: np.ndarray  #: of all training and validation windows
    projected: np.ndarray  #: (window, horizon, output), held-out residuals on the output basis, NaN on block edges


def prepare(panel: Panel, context: int, horizon: int, seed: int) -> tuple[correction.Spaces, Linear, HeldOut]:
    """Return projections, the fitted stack and its projected held-out residuals."""
    s = correction.spaces(panel, seed)
    projector = correction.Projector(s.outputs)
    base = fit_stack(panel, context, horizon, seed, projector)
    return s, base, HeldOut(training_windows(panel, context, horizon)[0], projector.total)


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


def gated(panel: Panel, s, base: Linear, held: HeldOut, net, recording: int) -> Corrected:
    """Return the corrected forecaster with the gate that validation windows justify."""
    q = held.projected[:, :, : s.outputs.shape[1]]
    chosen = np.isfinite(q).all((1, 2)) & (panel.label[held.origins + 1] == 1)
    g = predict(net, correction.inputs_of(panel, s), held.origins[chosen], recording)
    return Corrected(base, s, correction.fit_gate(q[chosen].astype(float), g, panel.x.shape[1]), net, recording)
