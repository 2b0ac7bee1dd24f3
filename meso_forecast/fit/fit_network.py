"""How are networks fitted that see the activity itself: NLinear, DLinear, the rivals, Informer and Autoformer of Hugging Face?

A network that does not depend on how many neurons there are, or that has embeddings for those of each recording, is shared by several
recordings; of the others each recording has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from ..activity.windows import Panel, window_origins
from ..model.forecaster import Network
from ..model.hugging_face import Architecture, HuggingFace
from ..model.networks import PointForecast
from ..model.rivals import SHARED, Rival
from .options import Options
from .train import Source, fit


def fit_shared_net(net: nn.Module, panels: Sequence[Panel], context: int, horizon: int, options: Options, about: dict):
    """Train one network on the training windows of all recordings, stop on the validation windows; one forecaster a recording."""
    sources = []
    for panel in panels:
        train, validation = (window_origins(panel.usable, panel.label, part, context, horizon) for part in (0, 1))
        sources.append(Source(torch.from_numpy(panel.x), None, train, validation, None, context, horizon, panel.x))
    fitted = fit(net, sources, options)
    info = {"epochs": fitted.epochs, "validation_loss": fitted.best_loss, **about}
    return [Network(net, None, dict(info), i) for i in range(len(panels))]


def fit_each(make: Callable[[Panel], nn.Module], panels: Sequence[Panel], context: int, horizon: int, options: Options):
    """Train a network of its own on each recording."""
    found = []
    for i, panel in enumerate(panels):
        torch.manual_seed(options.seed)
        folder = options.folder / str(i) if options.folder is not None and len(panels) > 1 else options.folder
        net = make(panel)
        about = {"architecture": list(net.architecture)} if isinstance(net, HuggingFace) else {}
        found += fit_shared_net(net, [panel], context, horizon, options._replace(folder=folder), about)
    return found


def fit_time_linear(
    name: str, panels: Sequence[Panel], context: int, horizon: int, options: Options, spike_weight: float = 1.0
) -> list[Network]:
    """Return ``nlinear`` or ``dlinear`` trained on the activity itself."""
    torch.manual_seed(options.seed)
    net = PointForecast(name, context, horizon, spike_weight)
    return fit_shared_net(net, panels, context, horizon, options, {})


def fit_rival(
    name: str, panels: Sequence[Panel], context: int, horizon: int, options: Options, spike_weight: float = 1.0
) -> list[Network]:
    """Return a rival, see `model.rivals`."""
    if name not in SHARED:
        return fit_each(
            lambda p: Rival(name, context, horizon, [p.x.shape[1]], spike_weight), panels, context, horizon, options
        )
    torch.manual_seed(options.seed)
    net = Rival(name, context, horizon, [p.x.shape[1] for p in panels], spike_weight)
    return fit_shared_net(net, panels, context, horizon, options, {})


def fit_hugging_face(panels: Sequence[Panel], shapes: Sequence[Architecture], options: Options) -> list[Network]:
    """Train on the training windows, stop on the validation windows."""
    sizes = {id(p): a for p, a in zip(panels, shapes)}
    return fit_each(lambda p: HuggingFace(sizes[id(p)]), panels, shapes[0].context, shapes[0].horizon, options)
