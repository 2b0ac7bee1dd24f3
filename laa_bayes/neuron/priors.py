"""How do the parameters map to coordinates in which the prior is a standard normal?

Every inferred parameter has a coordinate z with prior N(0, 1): log-normals through the logarithm, bounded priors through their
distribution function. Networks, optimiser and samplers all work in z; physical units appear at the edges only.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import special

from ..config import PARAMETERS, Prior

Priors = Mapping[str, Prior]


def inferred(priors: Priors) -> tuple[str, ...]:
    """Return the names of the parameters that are not fixed, in the order of ``PARAMETERS``."""
    return tuple(name for name in PARAMETERS if priors[name].distribution != "fixed")


def theta_from_z(priors: Priors, z, xp=np, sp=special):
    """Return physical parameters from standard-normal coordinates.

    Parameters
    ----------
    z : array (..., n_inferred)
    xp, sp : array module and its special functions (numpy/scipy, or ``jax.numpy`` and ``jax.scipy.special``).

    Returns
    -------
    array (..., 6) in the order of ``PARAMETERS``; fixed parameters are filled in.
    """
    names = inferred(priors)
    columns = []
    for name in PARAMETERS:
        prior = priors[name]
        fixed = prior.distribution == "fixed"
        columns.append(
            xp.full(z.shape[:-1], prior.center) if fixed else value_from_z(prior, z[..., names.index(name)], xp, sp)
        )
    return xp.stack(columns, axis=-1)


def value_from_z(prior: Prior, z, xp=np, sp=special):
    """Return the value of one parameter at coordinate ``z`` (any shape)."""
    if prior.distribution == "uniform" and prior.lower is not None and prior.upper is not None:
        return prior.lower + (prior.upper - prior.lower) * sp.ndtr(z)
    low, high = _standard_bounds(prior)
    if np.isfinite(low) or np.isfinite(high):
        inside = special.ndtr(low) + (special.ndtr(high) - special.ndtr(low)) * sp.ndtr(z)
        z = sp.ndtri(xp.clip(inside, 1e-12, 1 - 1e-12))
    return prior.center * xp.exp(prior.sd * z) if prior.distribution == "lognormal" else prior.center + prior.sd * z


def z_from_value(prior: Prior, value: np.ndarray) -> np.ndarray:
    """Return the coordinate of a value; the inverse of ``value_from_z`` (values beyond a bound are clipped to it)."""
    value = np.asarray(value, float)
    if prior.distribution == "uniform" and prior.lower is not None and prior.upper is not None:
        return special.ndtri(np.clip((value - prior.lower) / (prior.upper - prior.lower), 1e-12, 1 - 1e-12))
    z = (
        np.log(value / prior.center) / prior.sd
        if prior.distribution == "lognormal"
        else (value - prior.center) / prior.sd
    )
    low, high = _standard_bounds(prior)
    if np.isfinite(low) or np.isfinite(high):
        span = special.ndtr(high) - special.ndtr(low)
        z = special.ndtri(np.clip((special.ndtr(z) - special.ndtr(low)) / span, 1e-12, 1 - 1e-12))
    return z


def z_from_theta(priors: Priors, theta: np.ndarray) -> np.ndarray:
    """Return coordinates (..., n_inferred) of physical parameters (..., 6)."""
    theta = np.asarray(theta, float)
    return np.stack(
        [z_from_value(priors[name], theta[..., PARAMETERS.index(name)]) for name in inferred(priors)], axis=-1
    )


def sample_z(priors: Priors, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` draws from the prior in coordinates, shape (n, n_inferred)."""
    return rng.standard_normal((n, len(inferred(priors))))


def _standard_bounds(prior: Prior) -> tuple[float, float]:
    """Return the bounds of a (log-)normal prior in standard units, infinite where it has none."""

    def standard(bound: float | None, missing: float) -> float:
        if bound is None:
            return missing
        if prior.distribution == "lognormal":
            return float(np.log(bound / prior.center) / prior.sd) if bound > 0 else -np.inf
        return (bound - prior.center) / prior.sd

    return standard(prior.lower, -np.inf), standard(prior.upper, np.inf)
