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


def answer_of(
    each: Sequence[Mapping[str, Rival]],
    observed: Sequence[Observation],
    favoured: str,
    units: Mapping[str, str],
    first: str = "",
) -> Answer:
    """Return by how much the favoured model beats its best rival, over the sweeps of one cell.

    Where the evidence prefers another model than BIC the answer is "cannot tell", whatever the interval, and says both. Wherever two
    models cannot be told apart, the capacitance by each is said.

    Parameters
    ----------
    each : the models at the coordinates of each sweep (their BIC is that of all sweeps)
    units : of the models' parameters
    first : what speaks against every model, told before
    """
    models = each[0]
    rival, more = rivals.best_rival(models, favoured), rivals.of_more_evidence(models, favoured)
    gain = (each[0][rival].bic - each[0][favoured].bic) / 2
    variance = sum(
        variance_of_ratio(whitened(models[favoured], one), whitened(models[rival], one))
        for models, one in zip(each, observed, strict=True)
    )
    half, forced = Z_95 * float(np.sqrt(variance)), "cannot tell" if more else ""
    told = answer(f"the {favoured} model", rival, gain, gain - half, gain + half, UNIT, verdict=forced, first=first)
    return told if told.verdict == "yes" else told._replace(sentence=told.sentence + undecided(models, favoured, units))


def undecided(models: Mapping[str, Rival], favoured: str, units: Mapping[str, str]) -> str:
    """Return what to add where the favoured model and its best rival are not told apart: the evidence, and the capacitance by each."""
    rival = rivals.best_rival(models, favoured)
    mine, other, text = models[favoured], models[rival], ""
    if rivals.of_more_evidence(models, favoured):
        error = np.hypot(mine.evidence_error, other.evidence_error)
        text = f"; the evidence prefers {rival} by {other.log_evidence - mine.log_evidence:.1f} ± {error:.1f}"
    if "C_total" not in mine.sd or "C_total" not in other.sd:
        return text
    by_each = [f"{m.values['C_total']:.3g} ± {m.sd['C_total']:.2g}" for m in (mine, other)]
    return f"{text}; C_total is {by_each[0]} {units['C_total']} by the one, {by_each[1]} by the other"


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


def answer_of_sweeps(each: Sequence[Mapping[str, Mapping[str, float]]]) -> Answer:
    """Return by how much the best model beats the next one a sweep, from ``bic`` and ``log_evidence`` of each model on each sweep.

    Where the summed evidence prefers another model than the summed BIC, that one is the rival, and the answer is "cannot tell".
    """
    bic, evidence = ({n: sum(one[n][key] for one in each) for n in each[0]} for key in ("bic", "log_evidence"))
    best, rival = sorted(bic, key=lambda name: bic[name])[:2]
    top = max(evidence, key=lambda name: evidence[name])
    rival, forced = (rival, "") if top == best else (top, "cannot tell")
    mean, low, high = over_sweeps(np.array([(one[rival]["bic"] - one[best]["bic"]) / 2 for one in each]))
    told = answer(f"the {best} model", rival, mean, low, high, f"{UNIT} a sweep", verdict=forced)
    more = f"; the evidence prefers {top} by {(evidence[top] - evidence[best]) / len(each):.1f} a sweep"
    return told._replace(sentence=told.sentence + more) if forced else told


def answer_held_out(errors: Mapping[str, np.ndarray], rival: str, favoured: str, first: str = "") -> Answer:
    """Return by how much the favoured model predicts sweeps that were not fitted better than its best rival does.

    Parameters
    ----------
    errors : root mean squared error in mV of every model on each held-out sweep, (n_sweep,)
    rival : the one that the fitted sweeps chose
    """
    mean, low, high = over_sweeps(errors[rival] - errors[favoured])
    unit = f"mV of error on {len(errors[rival])} sweeps that were not fitted"
    return answer(f"the {favoured} model", rival, mean, low, high, unit, first=first)


def over_sweeps(gains: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of gains (n_sweep,) and its 95 % interval by Student's t; NaN limits of a single sweep."""
    n, mean = len(gains), float(gains.mean())
    half = float(stats.t.ppf(0.975, n - 1) * gains.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return mean, mean - half, mean + half


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
