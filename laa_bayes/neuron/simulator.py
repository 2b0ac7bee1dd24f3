"""How does the voltage follow from parameters and current? The LAA simulator in JAX.

Fourth-order Runge-Kutta with fixed substeps, one trace a lane: ``lax.scan`` over the recording grid, ``vmap`` over traces. The
current is piecewise constant: sample i holds from t_i to t_(i+1), and voltage sample i is the state at t_i.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ..config import PROTOCOLS, Model, Prior
from .priors import Priors, sample_z, theta_from_z
from .protocols import current_from_segments

STEP_MS = 0.25  #: largest integration step
SHARP_STEP_MS = 0.05  #: the same where k is below SHARP_K_MV (.1 ms leaves errors of .02 mV at k = .1)
SHARP_K_MV = 1.5
LANES = 128  #: sharp traces are integrated in groups of this size, so that the code is compiled once


def derivative(v, theta, current):
    """Return dV/dt in mV/ms for one state (see ``laa_bayes.dynamics.net_current``)."""
    c_m, g_l, e_l, k, v_thr, g_act = theta
    return (-g_l * (v - e_l) + current + g_act * jax.nn.sigmoid((v - v_thr) / k)) / c_m


def _rk4(v, theta, current, h):
    k1 = derivative(v, theta, current)
    k2 = derivative(v + h / 2 * k1, theta, current)
    k3 = derivative(v + h / 2 * k2, theta, current)
    k4 = derivative(v + h * k3, theta, current)
    return v + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _euler(v, theta, current, h):
    return v + h * derivative(v, theta, current)


def _exponential_euler(v, theta, current, h):
    decay = jnp.exp(-h * theta[1] / theta[0])
    return v * decay + (1 - decay) * (v + derivative(v, theta, current) * theta[0] / theta[1])


STEPS = {"rk4": _rk4, "euler": _euler, "exponential-euler": _exponential_euler}


def voltage_of(theta, current, v0, dt_ms: float, substeps: int, method: str = "rk4"):
    """Return one noise-free trace; differentiable, to be jitted and vmapped by the caller.

    Parameters
    ----------
    theta : array (6,), in the order of ``config.PARAMETERS``
    current : array (n_time,)
    v0 : voltage at the first sample in mV
    dt_ms, substeps : recording grid and integration steps in it

    Returns
    -------
    array (n_time,) in mV
    """
    parameters, h, step = tuple(theta[i] for i in range(6)), dt_ms / substeps, STEPS[method]

    def advance(v, i):
        after = v
        for _ in range(substeps):
            after = step(after, parameters, i, h)
        return after, v

    _, v = jax.lax.scan(advance, jnp.asarray(v0, theta.dtype), current.astype(theta.dtype))
    return v


def two_compartment_voltage(theta, c_2, g_c, current, v0, dt_ms: float, substeps: int = 1):
    """Return one trace of a membrane behind a small compartment at the electrode; exact for a piecewise constant current without activation.

        C_2 dV/dt = I + g_c (U - V),    C_m dU/dt = g_c (V - U) - g_L (U - E_L) + G_act sigma((U - V_thr) / k)

    V is recorded; at the first sample the two are at rest with one another.
    """
    c_m, g_l, e_l = theta[0], theta[1], theta[2]
    zero = jnp.zeros_like(c_m)
    linear = ((-g_c / c_2, g_c / c_2, 1 / c_2, zero), (g_c / c_m, -(g_c + g_l) / c_m, zero, 1 / c_m))
    return _two_states(linear, theta, current, (v0 - e_l, v0 - e_l - current[0] / g_c), dt_ms, substeps)


def quasi_active_voltage(theta, g_h, tau_h, current, v0, dt_ms: float):
    """Return one trace of a passive membrane with a linear sag current (h current about rest), exact for a piecewise constant current.

        C_m dV/dt = I - g_L (V - E_L) - u,    tau_h du/dt = g_h (V - E_L) - u

    Source: the quasi-active membrane (Koch 1984). At the first sample u is at rest with V.
    """
    c_m, g_l, e_l = theta[0], theta[1], theta[2]
    zero = jnp.zeros_like(c_m)
    linear = ((-g_l / c_m, -1 / c_m, 1 / c_m, zero), (g_h / tau_h, -1 / tau_h, zero, zero))
    return _two_states(linear, theta, current, (v0 - e_l, g_h * (v0 - e_l)), dt_ms, 1)


def _two_states(linear, theta, current, start, dt_ms: float, substeps: int):
    """Return the first state of x' = M x + d I + a A(x_2), plus E_L; A is the activation, ``linear`` the rows of (M, d, a).

    The linear part is exact, the activation is taken at the middle of each step (exponential midpoint rule).
    """
    _, _, e_l, k, v_thr, g_act = (theta[i] for i in range(6))
    rows = jnp.stack([jnp.stack(row) for row in linear])
    whole, half = (
        jax.scipy.linalg.expm(h * jnp.concatenate([rows, jnp.zeros_like(rows)]))[:2]
        for h in (dt_ms / substeps, dt_ms / substeps / 2)
    )

    def activation(x):
        return g_act * jax.nn.sigmoid((x + e_l - v_thr) / k)

    def advance(x, i):
        after = x
        for _ in range(substeps):
            middle = half[1, :2] @ after + half[1, 2] * i + half[1, 3] * activation(after[1])
            after = whole[:, :2] @ after + whole[:, 2] * i + whole[:, 3] * activation(middle)
        return after, x[0]

    _, x = jax.lax.scan(advance, jnp.stack(start), current)
    return x + e_l


@functools.partial(jax.jit, static_argnames=("dt_ms", "substeps", "method"))
def _voltages(theta, current, v0, dt_ms, substeps, method):
    single = functools.partial(voltage_of, dt_ms=dt_ms, substeps=substeps, method=method)
    return jax.vmap(single, in_axes=(0, None, 0))(theta, current, v0)


def substeps_for(dt_ms: float, k_mv: float = SHARP_K_MV) -> int:
    """Return how many integration steps one recording interval needs for activation slopes of at least ``k_mv``."""
    limit = STEP_MS if k_mv >= SHARP_K_MV else SHARP_STEP_MS
    return max(1, math.ceil(dt_ms / limit - 1e-9))


def simulate(
    theta: np.ndarray, current: np.ndarray, dt_ms: float, v0=None, method: str = "rk4", dtype=np.float64
) -> np.ndarray:
    """Return noise-free voltages of many neurons under one current.

    Parameters
    ----------
    theta : array (n, 6), k as a width in mV
    current : array (n_time,)
    v0 : array (n,) or float, mV; E_L when None

    Returns
    -------
    array (n, n_time) in mV
    """
    theta = np.atleast_2d(np.asarray(theta, dtype))
    start = theta[:, 2] if v0 is None else np.broadcast_to(np.asarray(v0, dtype), len(theta))
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        run = functools.partial(_voltages, current=jnp.asarray(current, dtype), dt_ms=float(dt_ms), method=method)
        v = np.array(run(jnp.asarray(theta), v0=jnp.asarray(start), substeps=substeps_for(dt_ms)))
        sharp = np.flatnonzero(theta[:, 3] < SHARP_K_MV)
        for first in range(0, len(sharp), LANES):
            part = sharp[first : first + LANES]
            padded = np.resize(part, LANES)
            finer = run(jnp.asarray(theta[padded]), v0=jnp.asarray(start[padded]), substeps=substeps_for(dt_ms, 0.0))
            v[part] = np.asarray(finer)[: len(part)]
    return v


def draw(priors: Priors, current: np.ndarray, dt_ms: float, n: int, rng: np.random.Generator, method: str = "rk4"):
    """Return ``n`` prior draws and their noise-free voltages.

    Returns
    -------
    z : float32 array (n, n_inferred); voltages : float32 array (n, n_time) in mV
    """
    z = sample_z(priors, n, rng)
    theta = theta_from_z(priors, z)
    return z.astype(np.float32), simulate(theta, current, dt_ms, method=method, dtype=np.float32)


def add_noise(v_mv: np.ndarray, noise_mv: float, rng: np.random.Generator) -> np.ndarray:
    """Return voltages with white Gaussian observation noise, float32."""
    return v_mv + np.float32(noise_mv) * rng.standard_normal(v_mv.shape, dtype=np.float32)


def protocol_current(model: Model) -> np.ndarray:
    """Return the current of a built-in protocol or of the config's own segments, scaled to the config's units.

    In lumped units a built-in protocol is multiplied by 100: one uA/cm2 on the 1e-4 cm2 of a 100 pF cell.
    """
    segments = model.segments or PROTOCOLS[model.protocol]
    scale = 100.0 if model.units == "lumped" and not model.segments else 1.0
    return scale * current_from_segments(segments, model.duration_ms, model.dt_ms)


def describe_prior(prior: Prior) -> str:
    """Return one phrase such as ``log-normal, median 1, sd of log 0.3``."""
    text = {
        "normal": f"normal, mean {prior.center:g}, sd {prior.sd:g}",
        "lognormal": f"log-normal, median {prior.center:g}, sd of log {prior.sd:g}",
        "uniform": f"uniform, {prior.lower} to {prior.upper}",
        "fixed": f"fixed at {prior.center:g}",
    }[prior.distribution]
    bounded = prior.distribution in ("normal", "lognormal") and (prior.lower is not None or prior.upper is not None)
    return text + (f", within [{prior.lower}, {prior.upper}]" if bounded else "")
