"""How well does a model fitted to one sweep predict the others? Its noise-free voltage under their currents."""

from __future__ import annotations

import numpy as np

from ..config import InferConfig
from ..fit.infer import mv_per_mohm_per_unit, prepare
from ..neuron.recording import Recording
from ..posterior import likelihood
from ..posterior.likelihood import Observation, Spec
from ..posterior.summary import Posterior


def observation(posterior: Posterior, recording: Recording, config: InferConfig) -> Observation:
    """Return another sweep, cut and resampled as the fitted one was.

    Raises
    ------
    InputError
        The sweep has no such window.
    """
    cut, _, _ = prepare(recording, config, None)
    at_sample = cut.current if cut.current_at_sample is None else cut.current_at_sample
    drop = mv_per_mohm_per_unit(cut, config.area_um2) * at_sample
    return Observation(cut.v_mv, cut.current, posterior.observed.noise_mv, drop)


def errors_mv(posterior: Posterior, others: list[Observation]) -> dict[str, float | None]:
    """Return the root mean squared error in mV of every model over other sweeps; None without any.

    Each sweep begins at its own first sample; nothing else is fitted to it.
    """
    found: dict[str, float | None] = {}
    for name, model in posterior.models.items():
        assert isinstance(model.spec, Spec)
        w = model.w.copy()
        if "v0" in model.spec.names:
            w[model.spec.names.index("v0")] = 0.0
        squares = [
            np.mean((likelihood.predictions(model.spec, w[None], other)[0] - other.v_mv) ** 2) for other in others
        ]
        found[name] = float(np.sqrt(np.mean(squares))) if squares else None
    return found
