"""How are networks fitted that see the activity itself: NLinear, DLinear, Informer and Autoformer of Hugging Face?"""

from __future__ import annotations

import torch

from ..activity.windows import Panel, window_origins
from ..model.forecaster import Network
from ..model.hugging_face import Architecture, HuggingFace
from ..model.networks import PointForecast
from .options import Options
from .train import Source, fit


def fit_time_linear(name: str, panel: Panel, context: int, horizon: int, options: Options, spike_weight=1.0) -> Network:
    """Return ``nlinear`` or ``dlinear`` trained on the activity itself."""
    torch.manual_seed(options.seed)
    net = PointForecast(name, context, horizon, spike_weight)
    train, validation = (window_origins(panel.usable, panel.label, part, context, horizon) for part in (0, 1))
    activity = Source(torch.from_numpy(panel.x), None, train, validation, None, context, horizon, panel.x)
    fitted = fit(net, [activity], options)
    return Network(net, None, {"epochs": fitted.epochs, "validation_loss": fitted.best_loss})


def fit_hugging_face(panel: Panel, a: Architecture, options: Options) -> Network:
    """Train on the training windows, stop on the validation windows."""
    torch.manual_seed(options.seed)
    net = HuggingFace(a)
    train, validation = (window_origins(panel.usable, panel.label, part, a.context, a.horizon) for part in (0, 1))
    activity = Source(torch.from_numpy(panel.x), None, train, validation, None, a.context, a.horizon, panel.x)
    fitted = fit(net, [activity], options)
    return Network(net, None, {"epochs": fitted.epochs, "validation_loss": fitted.best_loss, "architecture": list(a)})
