"""Which synaptic weight matrices could have produced the activity of a recurrent network?

A differentiable rate-network simulator, data sets of random and anatomical networks, a diffusion model that is prior p(W) and
posterior p(W | activity) at once, refinement, and a benchmark that always shows Bayesian ridge regression, which is enough when
data are plenty. Start with ``neuro-diffusion --help`` or the README beside this file.

``from neuro_diffusion import simulate_rate_network`` and the other names of `PUBLIC` load what they need when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

PUBLIC = {
    "simulate_rate_network": "rate_network.simulator",
    "summary_stats": "rate_network.activity",
    "generate_activity_trials": "rate_network.activity",
    "compute_trial_summary": "rate_network.activity",
    "sample_weight_matrix": "rate_network.weights",
    "sample_weight_matrix_batch": "rate_network.weights",
    "get_spectral_radius": "rate_network.weights",
    "build_dataset": "files.dataset",
    "load_network": "files.dataset",
    "load_metadata": "files.dataset",
    "list_networks": "files.dataset",
    "refine_weight_matrix": "fit.refine",
}


def __getattr__(name: str) -> Any:
    """Return a public function, loaded now (PEP 562)."""
    if name in PUBLIC:
        return getattr(importlib.import_module(f".{PUBLIC[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names beside the module's own."""
    return sorted([*globals(), *PUBLIC])
