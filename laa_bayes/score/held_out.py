"""How well does a model fitted to one sweep predict the others? Its noise-free voltage under their currents."""

from __future__ import annotations

import numpy as np

from ..config import InferConfig
from ..fit.infer import mv_per_mohm_per_unit, prepare
from ..neuron.recording import Recording
from ..posterior import likelihood
from ..posterior.likelihood import Observation, Spec
from ..posterior.summary import Posterior

DRIFTS = np.linspace(-5.0, 5.0, 201)  #: coordinates of I_0 that are tried on a sweep
LEAST = 10  #: samples before the first step that tell it


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


def errors_mv(posterior: Posterior, others: list[Observation]) -> dict[str, np.ndarray]:
    """Return the root mean squared error in mV of every model on each other sweep, (n_other,).

    Each sweep begins at its own first sample. Where the sweeps have a current of their own beside the stimulus (``I_0``), it is read off
    the samples before the first step, and the error is that of the samples from the step on; nothing else is fitted.
    """
    found: dict[str, np.ndarray] = {}
    for name, model in posterior.models.items():
        assert isinstance(model.spec, Spec)
        w = model.w.copy()
        if "v0" in model.spec.names:
            w[model.spec.names.index("v0")] = 0.0
        found[name] = np.sqrt([squared_error(model.spec, w, other) for other in others])
    return found


def pooled(errors: dict[str, np.ndarray]) -> dict[str, float | None]:
    """Return the root of the mean squared error over sweeps; None without any."""
    return {name: float(np.sqrt(np.mean(one**2))) if len(one) else None for name, one in errors.items()}


def squared_error(spec: Spec, w: np.ndarray, other: Observation) -> float:
    """Return the mean squared error in mV^2 of coordinates ``w`` (n_w,) over one sweep that was not fitted."""
    if "I_0" not in spec.names:
        return float(np.mean((likelihood.predictions(spec, w[None], other)[0] - other.v_mv) ** 2))
    changes = np.abs(other.current - other.current[0]) > 1e-3 * np.ptp(other.current)
    onset = int(np.argmax(changes)) if changes.any() else 0
    tried = np.repeat(w[None], len(DRIFTS), axis=0)
    tried[:, spec.names.index("I_0")] = DRIFTS
    errors = (likelihood.predictions(spec, tried, other) - other.v_mv) ** 2
    best = int(np.argmin(errors[:, :onset].mean(axis=1))) if onset >= LEAST else len(DRIFTS) // 2
    return float(errors[best, onset:].mean())
