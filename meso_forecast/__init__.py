"""meso_forecast: how well can the next seconds of a mouse cortex be predicted from the last ones, neuron by neuron?

Input: two-photon mesoscope sessions (ONE / ALF, suite2p, NWB, activity HDF5). Model: a cross-validated stack of linear forecasters
plus a gated low-rank correction by a small network; Hugging Face Informer and Autoformer and the usual baselines compete on
identical windows. Output: forecasts with quantiles, comparisons with intervals, a verdict.

Sources: Zhou et al. 2021 (Informer); Wu et al. 2021 (Autoformer); Zeng et al. 2023 (DLinear, NLinear); Breiman 1996 (stacked
regressions); Frisch and Waugh 1933, Lovell 1963; Jordan, Krueger and Lerch 2019 (scoring rules).
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {"MesoscopeSession": "files.session", "FOVData": "files.fov", "open_one": "files.one_cache"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
