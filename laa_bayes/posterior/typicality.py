"""Could the model have made this trace? Seven tests at .007 each, and hard facts that no parameter can explain.

Under the model the residuals at the optimum are white noise seen through the projector I - H of the fit; that null is simulated for each
trace, so the tests need no table. Together the seven tests reject about 4-5 % of clean traces. Undetectable, because parameters
absorb them: a voltage offset of 10 mV, a gain of 1.05, a current that is 10 % too large.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ..neuron.priors import value_from_z
from ..neuron.protocols import constant_stretches, idealised
from ..neuron.recording import Recording, against_the_current, upward_crossings
from .likelihood import Observation, Spec, innovations, on_device

LEVEL = 0.007  #: of each test
N_NULL = 4000
N_LAGS = 20
BLOCK_MS = 25.0


class Check(NamedTuple):
    """One typicality test."""

    name: str
    statistic: float
    p_value: float

    @property
    def flagged(self) -> bool:
        """Whether the test rejects."""
        return self.p_value < LEVEL


class Typicality(NamedTuple):
    """The tests, the hard facts and the verdict."""

    tests: list[Check]
    facts: list[str]  #: hard facts against the model
    verdict: str  #: typical or misspecified


def judge(tests: list[Check], facts: list[str]) -> Typicality:
    """Return the verdict: the worst test decides, any hard fact suffices."""
    return Typicality(tests, facts, "misspecified" if facts or any(t.flagged for t in tests) else "typical")


def residuals_and_jacobian(spec: Spec, w: np.ndarray, observed: Observation) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised innovations (n_time,) at ``w`` and their Jacobian (n_time, n_w)."""
    with jax.enable_x64(True):
        data = on_device(observed)
        e, jacobian = _linearise(spec, jnp.asarray(w, float), data)
    return np.asarray(e), np.asarray(jacobian)


def _linearise_uncompiled(spec, w, observed):
    def e_of(x):
        return innovations(spec, x, observed)[0]

    return e_of(w), jax.jacfwd(e_of)(w)


_linearise = jax.jit(_linearise_uncompiled, static_argnums=0)


def residual_tests(e: np.ndarray, jacobian: np.ndarray, dt_ms: float, seed: int = 0) -> list[Check]:
    """Return the five tests of the residuals: chi-square, Ljung-Box, block means, largest residual, periodogram."""
    null = np.random.default_rng(seed).standard_normal((N_NULL, len(e)))
    gain = np.linalg.solve(jacobian.T @ jacobian + np.eye(jacobian.shape[1]), jacobian.T)
    null = null - (null @ gain.T) @ jacobian.T
    here, there = statistics_of(e[None], dt_ms), statistics_of(null, dt_ms)
    tests = []
    for name, values in there.items():
        above = (1 + np.sum(values >= here[name][0])) / (N_NULL + 1)
        below = (1 + np.sum(values <= here[name][0])) / (N_NULL + 1)
        tests.append(
            Check(name, float(here[name][0]), float(min(1, 2 * min(above, below)) if name == "chi-square" else above))
        )
    return tests


def statistics_of(e: np.ndarray, dt_ms: float) -> dict[str, np.ndarray]:
    """Return the five statistics of standardised residuals (n, n_time), each (n,)."""
    n_time = e.shape[1]
    spectrum = np.abs(np.fft.rfft(e, 2 * n_time, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, axis=1)[:, : N_LAGS + 1]
    correlation = covariance[:, 1:] / covariance[:, :1]
    weight = n_time * (n_time + 2) / (n_time - np.arange(1, N_LAGS + 1))
    block = max(1, round(BLOCK_MS / dt_ms))
    n_blocks = max(1, n_time // block)
    means = e[:, : n_blocks * block].reshape(len(e), n_blocks, -1).mean(axis=2)
    periodogram = np.abs(np.fft.rfft(e - e.mean(axis=1, keepdims=True), axis=1)[:, 1:]) ** 2
    return {
        "chi-square": np.sum(e**2, axis=1),
        "Ljung-Box": np.sum(weight * correlation**2, axis=1),
        "block means": block * np.sum(means**2, axis=1),
        "largest residual": np.max(np.abs(e), axis=1),
        "periodogram": periodogram.max(axis=1) / periodogram.sum(axis=1),
    }


def prior_surprise(w: np.ndarray) -> Check:
    """Return the test that the optimum is no rare draw from the prior: |w|^2 against chi-square."""
    squared = float(np.sum(w**2))
    return Check("prior surprise", squared, float(stats.chi2.sf(squared, len(w))))


def summary_distance(distance: float, reference: np.ndarray) -> Check:
    """Return the test that a summary lies among those of clean simulations (``reference``: their sorted distances)."""
    return Check("summary distance", float(distance), float((1 + np.sum(reference >= distance)) / (len(reference) + 1)))


def facts_of_any(recording: Recording) -> list[str]:
    """Return what no model of a membrane can explain: missing or impossible voltages, a voltage that moves against its current."""
    v = recording.v_mv
    if not np.all(np.isfinite(v)):
        return ["the voltage has missing or infinite values"]
    outside = v.min() < -150 or v.max() > 100
    facts = [f"voltage from {v.min():.0f} to {v.max():.0f} mV is outside -150 to 100 mV"] if outside else []
    return facts + against_the_current(recording)


def hard_facts(spec: Spec, observed: Observation, noise_mv: float, t0_ms: float = 0.0) -> list[str]:
    """Return what no parameter can explain: `facts_of_any`, impossible slopes, repeated firing under constant current; ``t0_ms``: first sample."""
    v, current = observed.v_mv, observed.current
    facts = facts_of_any(Recording(v, current, "", spec.dt_ms, t0_ms, ""))
    if not np.all(np.isfinite(v)):
        return facts
    steepest, bound = np.max(np.abs(np.diff(v))) / spec.dt_ms, slope_bound(spec, observed, noise_mv)
    if steepest > bound:
        facts.append(f"dV/dt reaches {steepest:.0f} mV/ms, the model at most {bound:.0f}")
    for start, stop in constant_stretches(idealised(current, spec.dt_ms)):
        n = len(upward_crossings(v[start:stop]))
        if n >= 2:
            place = f"{t0_ms + start * spec.dt_ms:.0f}-{t0_ms + stop * spec.dt_ms:.0f} ms"
            facts.append(f"{n} upward crossings under constant current ({place}): the model cannot fire repeatedly")
            break
    return facts


def slope_bound(spec: Spec, observed: Observation, noise_mv: float) -> float:
    """Return the steepest dV/dt in mV/ms that the prior's extremes (3.5 sd) and six sd of noise allow."""
    table = spec.prior_table

    def at(name: str, z: float) -> float:
        prior = table[name]
        return prior.center if prior.distribution == "fixed" else float(value_from_z(prior, np.float64(z)))

    drive = np.max(np.abs(observed.current)) + at("G_act", 3.5) + at("g_L", 3.5) * np.ptp(observed.v_mv)
    jump = (
        20 * 3.5 * float(np.max(observed.mv_per_mohm * np.abs(np.diff(observed.current, prepend=observed.current[0]))))
    )
    return drive / at("C_m", -3.5) + (6 * np.sqrt(2) * noise_mv + jump) / spec.dt_ms
