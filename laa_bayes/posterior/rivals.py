"""Which model does a trace support? The activation model beside a passive membrane of one and of two compartments.

All have the same noise, initial voltage and series resistance. The second compartment stands for what charges fast beside the
membrane (dendrites, pipette): a capacitance ``C_2`` at the electrode, coupled by ``g_c``; its priors keep it small where the trace
says nothing about it. Compared by BIC at the posterior mode, and by Laplace's evidence there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from ..config import PARAMETERS, Prior
from . import likelihood
from .likelihood import Observation, Spec

N_START = 24  #: starts of each fit, besides the optimum of the activation model
CLEAR = 6.0  #: difference of BIC from which on a model is favoured over a simpler one
MEMBRANE = {"passive": ("C_m", "g_L", "E_L"), "two-compartment": ("C_m", "g_L", "E_L"), "laa": PARAMETERS}


class Rival(NamedTuple):
    """One model at its posterior mode."""

    spec: Spec
    w: np.ndarray  #: (n_w,) coordinates of the mode
    values: dict[str, float]  #: its parameters, C_total included
    bic: float
    log_evidence: float  #: Laplace's approximation at the mode, up to a constant that all models share


def passive(spec: Spec) -> Spec:
    """Return the model without activation."""
    table = spec.prior_table | {
        "G_act": Prior(distribution="fixed", center=0.0),
        "k": Prior(distribution="fixed", center=6.0),
        "V_thr": Prior(distribution="fixed", center=-50.0),
    }
    return spec._replace(priors=tuple(table[name] for name in PARAMETERS))


def two_compartment(spec: Spec) -> Spec:
    """Return the passive membrane with a small second compartment at the electrode."""
    table = spec.prior_table
    second = (
        ("C_2", Prior(distribution="lognormal", center=0.15 * table["C_m"].center, sd=1.0)),
        ("g_c", Prior(distribution="lognormal", center=8.0 * table["g_L"].center, sd=1.2)),
    )
    simple = passive(spec)
    return simple._replace(nuisance=(*simple.nuisance, *second))


MODELS: dict[str, Callable[[Spec], Spec]] = {"passive": passive, "two-compartment": two_compartment}


def compare(
    spec: Spec, observed: Observation, optimum: np.ndarray, rng: np.random.Generator, n_steps: int
) -> dict[str, Rival]:
    """Return every model at its mode: the activation model at ``optimum``, its rivals from there and from the prior."""
    found = {"laa": rival("laa", spec, optimum[None], observed, 0)}
    names = MODELS if spec.nuisance else ("passive",)
    for name in names:
        other = MODELS[name](spec)
        shared = [spec.names.index(n) for n in other.names if n in spec.names]
        own = np.array([n in spec.names for n in other.names])
        starts = rng.standard_normal((N_START + 1, len(other.names)))
        starts[0, own], starts[0, ~own] = optimum[shared], 0.0
        if name == "two-compartment":  # half of the starts from the passive mode, with any second compartment
            starts[: N_START // 2, own] = found["passive"].w
        found[name] = rival(name, other, starts, observed, n_steps)
    return found


def rival(name: str, spec: Spec, starts: np.ndarray, observed: Observation, n_steps: int) -> Rival:
    """Return a model at the best mode that the starts lead to."""
    mode = likelihood.fit(spec, starts, observed, max(n_steps, 1))
    best = int(np.argmin(np.where(np.isfinite(mode.cost), mode.cost, np.inf)))
    w = mode.w[best] if n_steps else starts[0]
    log_likelihood = likelihood.log_posteriors(spec, w[None], observed)[0] + 0.5 * np.sum(w**2)
    _, log_det = np.linalg.slogdet(mode.precision[best])
    theta, extra = likelihood.unpack(spec, w[None], np, special)
    values = {n: float(theta[0, PARAMETERS.index(n)]) for n in MEMBRANE[name]}
    values |= {n: float(np.ravel(extra[n])[0]) for n in ("R_s", "C_2", "g_c") if n in extra}
    values["C_total"] = values["C_m"] + values.get("C_2", 0.0)
    bic = len(w) * np.log(len(observed.v_mv)) - 2 * log_likelihood
    return Rival(spec, w, values, float(bic), float(log_likelihood - 0.5 * np.sum(w**2) - 0.5 * log_det))


def favoured(models: dict[str, Rival]) -> str:
    """Return the model that the trace supports: the passive membrane unless another beats it clearly, then the best of these."""
    best = min(models, key=lambda name: models[name].bic)
    return best if models[best].bic < models["passive"].bic - CLEAR else "passive"


def not_excluded(models: dict[str, Rival]) -> list[str]:
    """Return the models that the favoured one does not beat clearly."""
    best = favoured(models)
    return [name for name in models if name != best and models[name].bic < models[best].bic + CLEAR]
