"""How does a forecaster of other animals serve a new session? Its shared networks stay as they are; a read-in and a read-out are fitted.

The read-in is an embedding of eight numbers for each new neuron, the read-out the closed-form stack of the new session and the weights of
the mixture. What neurons have in common, the networks' dynamics, comes from the other animals. The correction on the population's latents
does not travel: latents of two sessions are not the same directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..activity.windows import TEST, TRAIN, VALIDATION, Panel, columns_of, gather
from ..model import correction
from ..model.closed_form import fit_stack
from ..model.mixture import Mixture, prior_of
from ..model.shared import SharedMLP, forecast_shared
from .fit_correction import Collector, HeldOut
from .fit_shared import fit_shared, traces_of
from .options import Options

TRAVELS = "tide"
VALIDATION_SHARE = 0.2
SAMPLE_NEURONS = 128


def limited(panel: Panel, minutes: float) -> Panel:
    """Return a panel that has only so many minutes before its test part to learn from: the last fifth validates, the test part stays.

    Raises
    ------
    ValueError : there are not as many.
    """
    first = int(np.flatnonzero(panel.label == TEST)[0])
    n = round(60 * minutes / panel.dt_s)
    if n > first:
        raise ValueError(f"{first * panel.dt_s / 60:.1f} minutes lie before the test part, {minutes:g} are wanted")
    label = np.where(panel.label == TEST, TEST, -1).astype(np.int8)
    label[first - n : first] = TRAIN
    label[first - round(VALIDATION_SHARE * n) : first] = VALIDATION
    return panel._replace(label=label)


def adapt(nets: Sequence[SharedMLP], panel: Panel, context: int, horizon: int, options: Options) -> Mixture:
    """Return the mixture for a new session from the networks of other animals.

    Parameters
    ----------
    nets : networks that neurons share, trained elsewhere with the same context and horizon.
    panel : the new session.
    """
    s, n = correction.spaces(panel, options.seed, horizon), panel.x.shape[1]
    latents = correction.inputs_of(panel, s)
    traces = traces_of([panel], [latents], context, horizon, options.seed)
    own = [
        fit_shared(TRAVELS, traces, context, horizon, options.seed + i, options, start) for i, start in enumerate(nets)
    ]
    sample = np.sort(np.random.default_rng(options.seed).choice(n, min(n, SAMPLE_NEURONS), replace=False))
    held, base = held_out(panel, s, context, horizon, options.seed, sample)
    embedded = np.full(n, -1)
    embedded[traces[0].neurons] = np.arange(len(traces[0].neurons))
    x = columns_of(panel.x, sample)
    good = np.isfinite(held.residual).all((1, 2))
    origins, residual = held.origins[good], held.residual[good]
    y = gather(x, origins, 1, horizon)
    errors = [residual, y - forecast_shared(own, x, embedded[sample], None, origins), y - x[origins][:, None]]
    shut = correction.Gate(False, np.zeros(horizon), 0.0, np.zeros((horizon, s.outputs.shape[1])), np.zeros(horizon))
    return Mixture(base, s, shut, prior_of(errors, embedded), None, {TRAVELS: own})


def held_out(panel: Panel, s, context: int, horizon: int, seed: int, sample: np.ndarray):
    """Return what the new session's stack leaves on validation windows of a sample of neurons, and the stack."""
    from ..model.stack import training_windows

    origins = training_windows(panel, context, horizon)[0]
    validating = panel.label[origins + 1] == VALIDATION
    collector = Collector(s.outputs, validating, sample)
    base = fit_stack(panel, context, horizon, seed, collector)
    return HeldOut(
        origins[validating], collector.projector.total, sample, np.concatenate(collector.parts, axis=2)
    ), base
