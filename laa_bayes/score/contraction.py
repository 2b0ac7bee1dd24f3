"""What do more data teach? How much of the prior variance is left after the first t ms of the current, and after several sweeps of it.

At the true parameters the log likelihood is nearly quadratic; its precision is a sum over samples, so one Jacobian a trace gives the
posterior variance after every sample. Where a parameter is hardly seen the posterior is not normal and this is an approximation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..config.assumptions import UNITS
from ..neuron.priors import inferred
from ..neuron.recipe import Recipe
from ..posterior import likelihood, typicality
from ..posterior.likelihood import Observation

N_TIMES = 50  #: points of the curve
SWEEPS = (1, 2, 4, 8, 16)


class Curves(NamedTuple):
    """Posterior variance over prior variance, 1 - contraction, of each test trace."""

    names: tuple[str, ...]
    time_ms: np.ndarray  #: (n_time,) how much of the current was seen
    by_time: np.ndarray  #: (n_trace, n_time, n_parameter)
    by_sweeps: np.ndarray  #: (n_trace, n_sweeps, n_parameter) for ``SWEEPS`` of the whole current
    current: np.ndarray  #: (n_sample,) on the model's grid
    dt_ms: float
    current_unit: str


def curves(recipe: Recipe, truth: np.ndarray, v: np.ndarray) -> Curves:
    """Return what is left of the prior variance of traces ``v`` (n_trace, n_sample) at their true coordinates (n_trace, d)."""
    spec = likelihood.white_spec(recipe.priors, recipe.dt_ms)
    stops = np.unique(np.linspace(1, v.shape[1], N_TIMES).round().astype(int))
    by_time, by_sweeps = [], []
    for w, trace in zip(truth, v, strict=True):
        observed = Observation(trace.astype(float), recipe.current, recipe.noise_mv)
        _, jacobian = typicality.residuals_and_jacobian(spec, w, observed)
        precision = np.cumsum(jacobian[:, :, None] * jacobian[:, None, :], axis=0)
        by_time.append(variances(precision[stops - 1]))
        by_sweeps.append(variances(np.multiply.outer(SWEEPS, precision[-1])))
    names = inferred(recipe.priors)
    unit = UNITS[recipe.units]["current"]
    return Curves(
        names, stops * recipe.dt_ms, np.array(by_time), np.array(by_sweeps), recipe.current, recipe.dt_ms, unit
    )


def variances(precision: np.ndarray) -> np.ndarray:
    """Return the posterior variances (..., d) under precisions of the data (..., d, d) and a prior of variance 1."""
    return np.diagonal(np.linalg.inv(precision + np.eye(precision.shape[-1])), axis1=-2, axis2=-1)
