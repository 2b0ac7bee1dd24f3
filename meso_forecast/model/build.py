"""How is a network built again from its description (a plain list: its kind, then its sizes) and its weights?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .hugging_face import Architecture, HuggingFace
from .networks import BODIES, POINT_NETWORKS, Correction, PointForecast
from .rivals import RIVALS, Rival
from .shared import SharedMLP

BUILDERS = {
    **{name: lambda *sizes: Correction(*sizes) for name in BODIES},
    **{name: lambda *sizes: PointForecast(*sizes) for name in POINT_NETWORKS},
    **{name: lambda *sizes: Rival(*sizes) for name in RIVALS},
    **{name: lambda *sizes: HuggingFace(Architecture(*sizes)) for name in ("informer-hf", "autoformer-hf")},
    **{name: lambda *sizes: SharedMLP(*sizes) for name in ("tide", "tide-population")},
}


def build_network(description: Sequence[Any], weights: Mapping[str, np.ndarray]) -> nn.Module:
    """Return the network with its weights, ready to forecast."""
    net = BUILDERS[description[0]](*description)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    return net.eval()
