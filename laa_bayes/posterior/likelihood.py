"""How probable are parameters, given the trace? The exact log posterior, its residuals and Levenberg-Marquardt in JAX.

Coordinates ``w`` = the inferred parameters' z (see ``priors``) followed by nuisance parameters, each with a standard-normal prior:
the initial voltage ``v0``, the series resistance ``R_s``, the innovation sd ``sigma`` and the AR(1) coefficient ``phi`` of the
noise. On simulations there are none: the noise is white with a known sd and v0 = E_L.

    y_t = V_t(theta, v0) + R_s I_t + r_t,    r_t = phi r_(t-1) + e_t,    e_t ~ N(0, sigma^2)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special as jsp
from scipy import special

from ..config import PARAMETERS, Prior
from ..neuron.own import OwnModel, voltage_of_own
from ..neuron.priors import inferred, theta_from_z, value_from_z
from ..neuron.simulator import (
    SHARP_K_MV,
    quasi_active_voltage,
    simulate,
    substeps_for,
    two_compartment_voltage,
    voltage_of,
)

NO_ACTIVATION = Prior(distribution="fixed", center=0.0)
OWN = ("v0", "sigma", "phi", "I_0")  #: what every sweep has for itself, where several share one membrane and electrode
CHUNK = 512  #: log posteriors are evaluated in batches of this size (compiled once)


class Spec(NamedTuple):
    """What is fixed for a family of traces; hashable, so that compiled code is reused."""

    priors: tuple[Prior, ...]  #: of the six parameters
    nuisance: tuple[
        tuple[str, Prior], ...
    ]  #: (name, prior) of ``v0``, ``R_s``, ``sigma``, ``phi`` where they are inferred
    dt_ms: float
    substeps: int
    own: OwnModel | None = None  #: a person's model in place of the six parameters, which are all fixed then

    @property
    def prior_table(self) -> dict[str, Prior]:
        """The six priors by name."""
        return dict(zip(PARAMETERS, self.priors, strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates of ``w``."""
        return inferred(self.prior_table) + tuple(name for name, _ in self.nuisance)


class Joint(NamedTuple):
    """Several sweeps of one membrane behind one electrode; each has its own initial voltage and noise.

    Coordinates: those that the sweeps share, then `OWN` of every sweep. Observations are stacked along a first axis.
    """

    single: Spec  #: of one sweep
    n_sweeps: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates of ``w``."""
        own = [name for name in self.single.names if name in OWN]
        return self.shared + tuple(f"{name}.{i}" for i in range(self.n_sweeps) for name in own)

    @property
    def shared(self) -> tuple[str, ...]:
        """Names of the coordinates that the sweeps share."""
        return tuple(name for name in self.single.names if name not in OWN)

    @property
    def nuisance(self) -> tuple[tuple[str, Prior], ...]:
        """The nuisance parameters of one sweep."""
        return self.single.nuisance

    def places(self) -> np.ndarray:
        """Return where in ``w`` the coordinates of each sweep stand, (n_sweeps, n_single)."""
        names = self.names
        return np.array(
            [
                [names.index(name if name in self.shared else f"{name}.{i}") for name in self.single.names]
                for i in range(self.n_sweeps)
            ]
        )


class Observation(NamedTuple):
    """One trace (or, stacked, many)."""

    v_mv: np.ndarray  #: (n_time,)
    current: np.ndarray  #: (n_time,)
    noise_mv: np.ndarray | float  #: sd of the white noise, where sigma is not inferred
    mv_per_mohm: np.ndarray | float = (
        0.0  #: (n_time,) voltage that the current drops across 1 MOhm, where R_s is inferred
    )


def on_device(observed: Observation) -> Observation:
    """Return an observation as arrays of JAX, in double precision where that is enabled."""
    arrays: Any = (jnp.asarray(x, float) for x in observed)
    return Observation(*arrays)


class Optimum(NamedTuple):
    """Where Levenberg-Marquardt ended, for each start."""

    w: np.ndarray  #: (n_start, n_w)
    cost: np.ndarray  #: (n_start,) minus log posterior, without the constant of the prior
    precision: np.ndarray  #: (n_start, n_w, n_w) Gauss-Newton precision


def nuisance_priors(noise_scale_mv: float = 0.1, series_resistance: bool = True) -> tuple[tuple[str, Prior], ...]:
    """Return the priors for recordings: v0 about the first sample, R_s about 0 MOhm, sigma log-normal, phi uniform."""
    resistance = (("R_s", Prior(distribution="normal", center=0.0, sd=20.0)),) if series_resistance else ()
    return (
        ("v0", Prior(distribution="normal", center=0.0, sd=3.0)),
        *resistance,
        ("sigma", Prior(distribution="lognormal", center=noise_scale_mv, sd=1.5)),
        ("phi", Prior(distribution="uniform", lower=-0.5, upper=0.9995)),
    )


def white_spec(priors: Mapping[str, Prior], dt_ms: float, k_mv: float = SHARP_K_MV) -> Spec:
    """Return the spec of simulations: white noise of known sd, v0 = E_L, steps fine enough for slopes down to ``k_mv``."""
    return Spec(tuple(priors[name] for name in PARAMETERS), (), float(dt_ms), substeps_for(dt_ms, k_mv))


def recording_spec(priors: dict[str, Prior], dt_ms: float, noise_scale_mv: float, series_resistance: bool) -> Spec:
    """Return the spec of recordings, with every nuisance parameter inferred."""
    return white_spec(priors, dt_ms)._replace(nuisance=nuisance_priors(noise_scale_mv, series_resistance))


def unpack(spec: Spec, w, xp=jnp, sp=jsp):
    """Return theta (..., 6) and the nuisance values (name -> array) of coordinates ``w``."""
    n = len(inferred(spec.prior_table))
    theta = theta_from_z(spec.prior_table, w[..., :n], xp, sp)
    return theta, {name: value_from_z(prior, w[..., n + i], xp, sp) for i, (name, prior) in enumerate(spec.nuisance)}


def predict(spec: Spec, w, observed: Observation):
    """Return the noise-free recorded voltage (n_time,) of one coordinate vector: membrane plus series resistance."""
    theta, extra = unpack(spec, w)
    drop = extra.get("R_s", 0.0) * observed.mv_per_mohm + jnp.zeros_like(observed.current)
    v0 = observed.v_mv[0] - drop[0] + extra["v0"] if "v0" in extra else theta[2]
    if "I_0" in extra:  # what flows beside the stimulus, through the membrane alone
        observed = observed._replace(current=observed.current + extra["I_0"])
    if spec.own is not None:
        return voltage_of_own(spec.own, extra, observed.current, v0, spec.dt_ms, 2 * spec.substeps) + drop
    if "C_2" in extra:
        steps = 1 if spec.prior_table["G_act"] == NO_ACTIVATION else 2 * spec.substeps
        second = (extra["C_2"], extra["g_c"])
        return two_compartment_voltage(theta, *second, observed.current, v0, spec.dt_ms, steps) + drop
    if "g_h" in extra:
        return quasi_active_voltage(theta, extra["g_h"], extra["tau_h"], observed.current, v0, spec.dt_ms) + drop
    return voltage_of(theta, observed.current, v0, spec.dt_ms, spec.substeps) + drop


def innovations(spec: Spec | Joint, w, observed: Observation):
    """Return the standardised innovations (n_time,), of several sweeps one after the other, and the log-determinant of the noise."""
    if isinstance(spec, Joint):
        each = jax.vmap(lambda own, one: innovations(spec.single, w[own], one))
        e, log_det = each(jnp.asarray(spec.places()), observed)
        return e.ravel(), log_det.sum()
    r = observed.v_mv - predict(spec, w, observed)
    _, extra = unpack(spec, w)
    sigma, phi = extra.get("sigma", observed.noise_mv), extra.get("phi", 0.0)
    first = r[:1] * jnp.sqrt(1 - phi**2)  # stationary start
    e = jnp.concatenate([first, r[1:] - phi * r[:-1]]) / sigma
    return e, len(r) * jnp.log(sigma) - 0.5 * jnp.log(1 - phi**2)


def log_likelihood(spec: Spec | Joint, w, observed: Observation):
    """Return the exact log likelihood (natural log, with all constants)."""
    e, log_det = innovations(spec, w, observed)
    return -0.5 * jnp.sum(e**2) - log_det - 0.5 * e.shape[0] * math.log(2 * math.pi)


def log_posterior(spec: Spec | Joint, w, observed: Observation):
    """Return log likelihood + log prior, up to the prior's constant."""
    return log_likelihood(spec, w, observed) - 0.5 * jnp.sum(w**2)


@functools.partial(jax.jit, static_argnums=0)
def _log_posteriors(spec, w, observed):
    value = jax.vmap(lambda one: log_posterior(spec, one, observed))(w)
    return jnp.where(jnp.isfinite(value), value, -jnp.inf)


@functools.partial(jax.jit, static_argnums=0)
def _predictions(spec, w, observed):
    return jax.vmap(lambda one: predict(spec, one, observed))(w)


def log_posteriors(spec: Spec | Joint, w: np.ndarray, observed: Observation) -> np.ndarray:
    """Return the log posterior of many coordinate vectors (n, n_w) -> (n,); -inf where the simulation diverges."""
    return _in_chunks(_log_posteriors, spec, w, observed)


def predictions(spec: Spec, w: np.ndarray, observed: Observation) -> np.ndarray:
    """Return noise-free recorded voltages (n, n_time) of many coordinate vectors."""
    return _in_chunks(_predictions, spec, w, observed)


def predictions_under(
    spec: Spec, w: np.ndarray, observed: Observation, current: np.ndarray, mv_per_mohm: np.ndarray
) -> np.ndarray:
    """Return noise-free recorded voltages (n, n_time) under another ``current``, from the state in which ``observed`` began.

    The membrane starts where each draw says that it was at the recording's first sample; the electrode drops R_s times the new
    current (``mv_per_mohm``: across 1 MOhm).
    """
    theta, extra = unpack(spec, w, np, special)
    r_s = np.broadcast_to(extra.get("R_s", 0.0), len(w))
    drop = np.broadcast_to(observed.mv_per_mohm, np.shape(observed.current))
    v0 = observed.v_mv[0] - r_s * drop[0] + extra["v0"] if "v0" in extra else theta[:, 2]
    if "I_0" in extra:  # a constant current is a shift of the leak's reversal
        theta = theta + np.outer(extra["I_0"] / theta[:, 1], np.arange(theta.shape[1]) == 2)
    return simulate(theta, current, spec.dt_ms, v0) + r_s[:, None] * mv_per_mohm


def _in_chunks(function, spec: Spec | Joint, w: np.ndarray, observed: Observation) -> np.ndarray:
    """Evaluate in batches of one size, padding the last one."""
    parts = []
    with jax.enable_x64(True):
        observed = on_device(observed)
        for first in range(0, len(w), CHUNK):
            part = np.asarray(w[first : first + CHUNK], float)
            padded = np.concatenate([part, np.repeat(part[-1:], CHUNK - len(part), axis=0)])
            parts.append(np.asarray(function(spec, jnp.asarray(padded), observed))[: len(part)])
    return np.concatenate(parts)


def gauss_newton(spec: Spec | Joint, w, observed: Observation):
    """Return cost, gradient and Gauss-Newton precision of minus the log posterior.

    The squares see half of the information on log sigma (n of 2 n); the slope of the determinant, n d(log sigma), gives the rest.
    """
    e, log_det = innovations(spec, w, observed)
    jacobian = jax.jacfwd(lambda x: innovations(spec, x, observed)[0])(w)
    slope = jax.grad(lambda x: _log_determinant(spec, x, observed))(w)
    cost = 0.5 * jnp.sum(e**2) + log_det + 0.5 * jnp.sum(w**2)
    return cost, jacobian.T @ e + slope + w, jacobian.T @ jacobian + jnp.outer(slope, slope) / len(e) + jnp.eye(len(w))


def _log_determinant(spec: Spec | Joint, w, observed: Observation):
    if isinstance(spec, Joint):
        each = jax.vmap(lambda own, one: _log_determinant(spec.single, w[own], one))
        return each(jnp.asarray(spec.places()), observed).sum()
    _, extra = unpack(spec, w)
    sigma, phi = extra.get("sigma", observed.noise_mv), extra.get("phi", 0.0)
    return observed.v_mv.shape[0] * jnp.log(sigma) - 0.5 * jnp.log(1 - phi**2)


def _levenberg_marquardt(spec: Spec | Joint, start, observed: Observation, n_iterations: int):
    """Minimise minus the log posterior from one start (Marquardt 1963, multiplicative damping)."""

    def step(_, state):
        """Take a proposal that is better, and propose the next."""
        w, proposal, damping, local = state
        candidate = gauss_newton(spec, proposal, observed)
        better = candidate[0] < local[0]
        w, local = jax.tree.map(lambda new, old: jnp.where(better, new, old), (proposal, candidate), (w, local))
        damping = jnp.where(better, damping / 5, damping * 4).clip(1e-9, 1e9)
        _, gradient, precision = local
        move = -jnp.linalg.solve(precision + damping * jnp.diag(jnp.diag(precision)), gradient)
        move = move * jnp.minimum(1.0, 3.0 / jnp.maximum(jnp.max(jnp.abs(move)), 1e-12))  # at most 3 prior sd
        return w, jnp.where(jnp.isfinite(move).all(), w + move, w), damping, local

    nowhere = (jnp.asarray(jnp.inf, start.dtype), jnp.zeros_like(start), jnp.eye(len(start), dtype=start.dtype))
    w, _, _, (cost, _, precision) = jax.lax.fori_loop(
        0, n_iterations, step, (start, start, jnp.asarray(0.05, start.dtype), nowhere)
    )
    return w, cost, precision


@functools.partial(jax.jit, static_argnums=(0, 3))
def _fit_starts(spec, starts, observed, n_iterations):
    return jax.vmap(lambda w: _levenberg_marquardt(spec, w, observed, n_iterations))(starts)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _fit_traces(spec, starts, observed, n_iterations):
    return jax.vmap(
        lambda w, one: _levenberg_marquardt(spec, w, one, n_iterations), in_axes=(0, Observation(0, None, None, None))
    )(starts, observed)


def fit(spec: Spec | Joint, starts: np.ndarray, observed: Observation, n_iterations: int = 30) -> Optimum:
    """Return the optimum reached from each start (n_start, n_w) for one trace."""
    return _run_fit(_fit_starts, spec, starts, observed, n_iterations)


def fit_many(spec: Spec, starts: np.ndarray, observed: Observation, n_iterations: int = 25) -> Optimum:
    """Return the optimum of each of many traces (``observed.v_mv`` (n, n_time)) from one start each (n, n_w)."""
    parts = []
    for first in range(0, len(starts), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(starts)))
        padded = np.resize(rows, CHUNK if len(starts) > CHUNK else len(rows))
        part = observed._replace(v_mv=observed.v_mv[padded])
        parts.append(
            Optimum(*(x[: len(rows)] for x in _run_fit(_fit_traces, spec, starts[padded], part, n_iterations)))
        )
    return Optimum(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def _run_fit(function, spec, starts, observed, n_iterations) -> Optimum:
    with jax.enable_x64(True):
        observed = on_device(observed)
        return Optimum(*(np.asarray(x) for x in function(spec, jnp.asarray(starts, float), observed, n_iterations)))
