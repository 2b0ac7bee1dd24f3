"""What is the answer, how sure is it, and what would make it surer? The favoured model against its best rival, and further sweeps.

The answer is half of the difference in BIC (a log Bayes factor to first order; Schwarz 1978). Its interval is that of recordings of the
same cell with other noise: under the favoured model the log likelihood ratio has the variance of `variance_of_ratio`. What further
sweeps would bring follows from the information (Gauss-Newton) that each sweep has on what the sweeps share, its own start, drift and
noise taken out; the prior is added once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from ..answer import Answer, answer
from . import likelihood, rivals
from .likelihood import OWN, Observation, Spec
from .rivals import Rival

Z_95 = 1.96
MORE_SWEEPS = (1, 3)  #: numbers of further sweeps that are predicted
UNIT = "log units (half of the BIC difference)"


def best_rival(models: Mapping[str, Rival], favoured: str) -> str:
    """Return the name of the model that comes nearest to the favoured one."""
    return min((name for name in models if name != favoured), key=lambda name: models[name].bic)


def answer_of(
    each: Sequence[Mapping[str, Rival]], observed: Sequence[Observation], favoured: str, first: str = ""
) -> Answer:
    """Return by how much the favoured model beats its best rival, over the sweeps of one cell.

    Parameters
    ----------
    each : the models at the coordinates of each sweep (their BIC is that of all sweeps)
    first : what speaks against every model, told before
    """
    rival = best_rival(each[0], favoured)
    gain = (each[0][rival].bic - each[0][favoured].bic) / 2
    variance = sum(
        variance_of_ratio(whitened(models[favoured], one), whitened(models[rival], one))
        for models, one in zip(each, observed, strict=True)
    )
    half = Z_95 * float(np.sqrt(variance))
    return answer(f"the {favoured} model", rival, gain, gain - half, gain + half, UNIT, first=first)


def whitened(model: Rival, observed: Observation) -> np.ndarray:
    """Return the standardised innovations (n_time,) that a model leaves of one sweep at its mode."""
    assert isinstance(model.spec, Spec)
    r = observed.v_mv - likelihood.predictions(model.spec, model.w[None], observed)[0]
    _, extra = likelihood.unpack(model.spec, model.w, np, special)
    sigma, phi = extra.get("sigma", np.max(observed.noise_mv)), extra.get("phi", 0.0)
    return np.concatenate([r[:1] * np.sqrt(1 - phi**2), r[1:] - phi * r[:-1]]) / sigma


def variance_of_ratio(mine: np.ndarray, other: np.ndarray) -> float:
    """Return the variance of the log likelihood ratio over new noise, where ``mine`` (n,) is white noise and ``other`` = a mine + d.

    The ratio is the sum of (other^2 - mine^2) / 2 and a constant; with white ``mine`` its variance is n (a^2 - 1)^2 / 2 + a^2 sum d^2.
    """
    a = float(other @ mine / (mine @ mine))
    return len(mine) * (a**2 - 1) ** 2 / 2 + a**2 * float(np.sum((other - a * mine) ** 2))


def answer_of_sweeps(bic: Sequence[Mapping[str, float]], first: str = "") -> Answer:
    """Return by how much the best model beats the next one a sweep, from the BIC of each model on sweeps fitted each for itself."""
    total = {name: sum(one[name] for one in bic) for name in bic[0]}
    best, rival = sorted(total, key=lambda name: total[name])[:2]
    gains = np.array([(one[rival] - one[best]) / 2 for one in bic])
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
    mean = float(gains.mean())
    return answer(f"the {best} model", rival, mean, mean - half, mean + half, f"{UNIT} a sweep", first=first)


def answer_held_out(
    errors: Mapping[str, np.ndarray], bic: Mapping[str, float], favoured: str, first: str = ""
) -> Answer:
    """Return by how much the favoured model predicts sweeps that were not fitted better than its best rival does.

    Parameters
    ----------
    errors : root mean squared error in mV of every model on each held-out sweep, (n_sweep,)
    bic : of the fitted sweeps, which choose the rival
    """
    rival = min((name for name in bic if name != favoured), key=lambda name: bic[name])
    gains = errors[rival] - errors[favoured]
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
    mean = float(gains.mean())
    unit = f"mV of error on {len(gains)} sweeps that were not fitted"
    return answer(f"the {favoured} model", rival, mean, mean - half, mean + half, unit, first=first)


def further(models: Mapping[str, Rival], observed: Observation, favoured: str, units: Mapping[str, str]) -> list[dict]:
    """Return what would narrow the main parameter: half of its 95 % interval now, and predicted for further sweeps.

    The main parameter is the capacitance, or where the activation model is favoured the parameter that is least known. Nothing is
    predicted where no information was kept.
    """
    model = models[favoured]
    if model.information is None:
        return []
    assert isinstance(model.spec, Spec)
    name = main_parameter(model, favoured)
    slope, now = slope_of(model, name), Z_95 * model.sd[name]
    eye, n = np.eye(len(slope)), model.n_sweeps
    spread = functools.partial(spread_of, slope)
    before = spread(n * model.information + eye)
    rows: list[dict[str, Any]] = []

    def add(measurement: str, precision: np.ndarray) -> None:
        then = now * spread(precision) / before
        rows.append(
            {"measurement": measurement, "of": name, "now": now, "then": float(then), "unit": units.get(name, "mV")}
        )

    for more in MORE_SWEEPS:
        add(f"{more} more sweep{'s' if more > 1 else ''} under this current", (n + more) * model.information + eye)
    if n == 1:
        add(
            "a window twice as long, the last current going on",
            information_of(model.spec, model.w, longer(model, observed)) + eye,
        )
    return rows


def main_parameter(model: Rival, favoured: str) -> str:
    """Return the name of the parameter that further measurements are planned for."""
    if favoured != "laa":
        return "C_total"
    free = likelihood.inferred(model.spec.prior_table)  # type: ignore[union-attr]
    precision = np.linalg.inv(model.n_sweeps * model.information + np.eye(len(model.information)))  # type: ignore[arg-type, operator]
    return free[int(np.argmax(np.diag(precision)[: len(free)]))]


def slope_of(model: Rival, name: str, step: float = 1e-4) -> np.ndarray:
    """Return the derivative (n_shared,) of a parameter by the coordinates that sweeps share."""
    assert isinstance(model.spec, Spec)
    places = [i for i, key in enumerate(model.spec.names) if key not in OWN]
    w = model.w + step * np.concatenate([np.eye(len(model.w))[places], -np.eye(len(model.w))[places]])
    values = np.broadcast_to(rivals.values_of(model.spec, w)[name], len(w))
    return (values[: len(places)] - values[len(places) :]) / (2 * step)


def spread_of(slope: np.ndarray, precision: np.ndarray) -> float:
    """Return the sd of a parameter with this slope under a precision of the coordinates."""
    return float(np.sqrt(slope @ np.linalg.solve(precision, slope)))


def longer(model: Rival, observed: Observation) -> Observation:
    """Return a sweep twice as long: the last current goes on, the membrane does what the model says."""
    n = len(observed.v_mv)
    current, drop = (np.concatenate([x, np.full(n, x[-1])]) for x in (
        np.asarray(observed.current), np.broadcast_to(observed.mv_per_mohm, n)
    ))  # fmt: skip
    ahead = Observation(np.full(2 * n, observed.v_mv[0]), current, observed.noise_mv, drop)
    v = likelihood.predictions(model.spec, model.w[None], ahead)[0]  # type: ignore[arg-type]
    return ahead._replace(v_mv=np.concatenate([observed.v_mv, v[n:]]))


@functools.partial(jax.jit, static_argnums=0)
def _precision(spec: Spec, w, observed: Observation):
    return likelihood.gauss_newton(spec, w, observed)[2]


def information_of(spec: Spec, w: np.ndarray, observed: Observation) -> np.ndarray:
    """Return the information of one sweep on what sweeps share, at coordinates ``w``."""
    with jax.enable_x64(True):
        precision = np.asarray(_precision(spec, jnp.asarray(w, float), likelihood.on_device(observed)))
    return rivals.shared_information(spec, precision)
