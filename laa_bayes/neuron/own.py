"""How is a neuron model that a person wrote simulated? Its own right-hand side, by Runge-Kutta on the recording grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..config import Prior


class OwnModel(NamedTuple):
    """A neuron model of one's own; hashable, so that compiled code is reused."""

    name: str
    parameters: tuple[tuple[str, Prior], ...]
    units: tuple[str, ...]  #: of the parameters
    start: Callable[..., Any]  #: (p, v0, current) -> states at the first sample, the voltage in mV first
    slope: Callable[..., Any]  #: (states, current, p) -> their derivatives by time in ms


def voltage_of_own(model: OwnModel, parameters: dict[str, Any], current, v0, dt_ms: float, substeps: int):
    """Return one noise-free trace (n_time,) in mV; differentiable, the current is constant between samples."""
    h = dt_ms / substeps

    def slope(x, i):
        return jnp.stack(model.slope(tuple(x), i, parameters))

    def advance(x, i):
        after = x
        for _ in range(substeps):
            k1 = slope(after, i)
            k2 = slope(after + h / 2 * k1, i)
            k3 = slope(after + h / 2 * k2, i)
            after = after + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(after + h * k3, i))
        return after, x[0]

    start = jnp.stack([jnp.asarray(x, float) for x in model.start(parameters, v0, current[0])])
    _, v = jax.lax.scan(advance, start, current)
    return v
