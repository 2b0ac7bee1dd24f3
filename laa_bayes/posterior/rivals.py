"""Which model does a recording support? The activation model beside simpler and richer membranes.

All have the same noise, initial voltage and series resistance, over one sweep or over several of one membrane. The second compartment
stands for what charges fast beside the membrane (dendrites, pipette): a capacitance ``C_2`` at the electrode, coupled by ``g_c``. The
quasi-active membrane has a linear sag current (``g_h``, ``tau_h``). Their priors keep them small where the trace says nothing about
them. Compared by BIC at the posterior mode; the evidence is importance-sampled about the mode, with its standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from scipy import special

from ..config import PARAMETERS, Prior
from ..neuron.priors import inferred
from . import likelihood
from .importance import evidence
from .likelihood import NO_ACTIVATION, OWN, Joint, Observation, Optimum, Spec

N_START = 24  #: starts of each fit, besides the optimum of the activation model
CLEAR = 6.0  #: difference of BIC from which on a model is favoured over a simpler one
PREFERS = 1.0  #: log evidence by which another model has to be better, besides two standard errors, before it is said
WITH_ACTIVATION = ("laa", "laa + two-compartment")
SIMPLER: dict[str, tuple[str, ...]] = {
    "passive": (),
    **dict.fromkeys(("two-compartment", "laa"), ("passive",)),
    "quasi-active h": ("passive", "two-compartment", "laa"),
    "laa + two-compartment": ("two-compartment", "laa", "passive"),
}  #: what each model has to beat clearly: its special cases; sag, which a window of 100 ms hardly shows, the other causes of bending too
EXTRA = ("R_s", "C_2", "g_c", "g_h", "tau_h")  #: what a model may have beside the membrane's own parameters


class Rival(NamedTuple):
    """One model at its posterior mode."""

    spec: Spec | Joint
    w: np.ndarray  #: (n_w,) coordinates of the mode
    values: dict[str, float]  #: its parameters, C_total included
    bic: float
    log_evidence: float  #: up to a constant that all models share
    sd: Mapping[str, float] = MappingProxyType(
        {}
    )  #: standard deviations of the parameters, from the curvature at the mode
    evidence_error: float = float("nan")  #: standard error of the log evidence
    evidence_k: float = float("nan")  #: Pareto k of its weights: above .7 the error is not to be trusted
    information: np.ndarray | None = None  #: (n_shared, n_shared) of one sweep on what sweeps share, without the prior
    n_sweeps: int = 1


def passive(spec: Spec) -> Spec:
    """Return the model without activation."""
    table = spec.prior_table | {
        "G_act": NO_ACTIVATION,
        "k": Prior(distribution="fixed", center=6.0),
        "V_thr": Prior(distribution="fixed", center=-50.0),
    }
    return spec._replace(priors=tuple(table[name] for name in PARAMETERS))


def with_second(spec: Spec) -> Spec:
    """Return a model with a small second compartment at the electrode."""
    table = spec.prior_table
    second = (
        ("C_2", Prior(distribution="lognormal", center=0.15 * table["C_m"].center, sd=1.0)),
        ("g_c", Prior(distribution="lognormal", center=8.0 * table["g_L"].center, sd=1.2)),
    )
    return spec._replace(nuisance=(*spec.nuisance, *second))


def two_compartment(spec: Spec) -> Spec:
    """Return the passive membrane with a small second compartment at the electrode."""
    return with_second(passive(spec))


def quasi_active(spec: Spec) -> Spec:
    """Return the passive membrane with a linear sag current."""
    sag = (
        ("g_h", Prior(distribution="lognormal", center=0.2 * spec.prior_table["g_L"].center, sd=1.0)),
        ("tau_h", Prior(distribution="lognormal", center=60.0, sd=0.7)),
    )
    simple = passive(spec)
    return simple._replace(nuisance=(*simple.nuisance, *sag))


MODELS: dict[str, Callable[[Spec], Spec]] = {
    "passive": passive,
    "two-compartment": two_compartment,
    "quasi-active h": quasi_active,
    "laa + two-compartment": with_second,
}


def changed(spec: Spec | Joint, model: Callable[[Spec], Spec]) -> Spec | Joint:
    """Return another model of the same sweeps."""
    return Joint(model(spec.single), spec.n_sweeps) if isinstance(spec, Joint) else model(spec)


def compare(
    spec: Spec | Joint, observed: Observation, optimum: np.ndarray, rng: np.random.Generator, n_steps: int
) -> dict[str, Rival]:
    """Return every model at its mode: the activation model at ``optimum``, its rivals from there and from the prior."""
    found = {"laa": rival(spec, optimum[None], observed, 1 if n_steps else 0, rng)}
    names = MODELS if spec.nuisance else ("passive",)
    for name in names:
        other = changed(spec, MODELS[name])
        shared = [spec.names.index(n) for n in other.names if n in spec.names]
        own = np.array([n in spec.names for n in other.names])
        starts = rng.standard_normal((N_START + 1, len(other.names)))
        starts[0, own], starts[0, ~own] = optimum[shared], 0.0
        if "passive" in found:  # half of the starts from a simpler model's mode, with anything beside it
            simple = found["laa" if name in WITH_ACTIVATION else "passive"]
            known = [other.names.index(n) for n in simple.spec.names]
            starts[1 : N_START // 2, known] = simple.w
        found[name] = rival(other, starts, observed, n_steps, rng)
    return found


def rival(
    spec: Spec | Joint, starts: np.ndarray, observed: Observation, n_steps: int, rng: np.random.Generator
) -> Rival:
    """Return a model at the best mode that the starts lead to."""
    mode = likelihood.fit(spec, starts, observed, max(n_steps, 1))
    best = int(np.argmin(np.where(np.isfinite(mode.cost), mode.cost, np.inf)))
    w = mode.w[best] if n_steps else starts[0]
    log_likelihood = likelihood.log_posteriors(spec, w[None], observed)[0] + 0.5 * np.sum(w**2)
    at_mode = Optimum(w[None], mode.cost[[best]], mode.precision[[best]])
    log_evidence, error, k = evidence(spec, observed, at_mode, rng)
    near = rng.multivariate_normal(w, np.linalg.inv(mode.precision[best]), 400, method="eigh")
    values, spread = values_of(spec, w[None]), values_of(spec, near)
    bic = len(w) * np.log(np.size(observed.v_mv)) - 2 * log_likelihood
    return Rival(
        spec, w, {name: float(x[0]) for name, x in values.items()}, float(bic), log_evidence,
        {name: float(np.std(x)) for name, x in spread.items()}, error, k,
        shared_information(spec, mode.precision[best]), spec.n_sweeps if isinstance(spec, Joint) else 1,
    )  # fmt: skip


def shared_information(spec: Spec | Joint, precision: np.ndarray) -> np.ndarray:
    """Return what one sweep tells of the coordinates that sweeps share, from the precision of all: its own ones are taken out."""
    shared = [i for i, name in enumerate(spec.names) if name.split(".")[0] not in OWN]
    own = [i for i in range(len(precision)) if i not in shared]
    rest = precision[np.ix_(own, own)]
    cross = precision[np.ix_(shared, own)]
    whole = precision[np.ix_(shared, shared)] - np.eye(len(shared))
    if own:
        whole = whole - cross @ np.linalg.solve(rest, cross.T)
    return whole / (spec.n_sweeps if isinstance(spec, Joint) else 1)


def values_of(spec: Spec | Joint, w: np.ndarray) -> dict[str, np.ndarray]:
    """Return the parameters of coordinates (n, n_w), each (n,), with the whole capacitance ``C_total``."""
    single, own = (spec.single, w[:, spec.places()[0]]) if isinstance(spec, Joint) else (spec, w)
    theta, extra = likelihood.unpack(single, own, np, special)
    active = single.prior_table["G_act"] != NO_ACTIVATION
    values = {n: theta[:, PARAMETERS.index(n)] for n in (PARAMETERS if active else PARAMETERS[:3])}
    values |= {n: np.broadcast_to(extra[n], len(w)) for n in EXTRA if n in extra}
    return values | {"C_total": values["C_m"] + values.get("C_2", 0.0)}


def membrane(model: Rival) -> np.ndarray:
    """Return the coordinates (d,) of the inferred membrane parameters of a model of one sweep."""
    assert isinstance(model.spec, Spec)
    return model.w[: len(inferred(model.spec.prior_table))]


def favoured(models: dict[str, Rival]) -> str:
    """Return the model that the trace supports: the best by BIC, unless it does not beat clearly what it has to (`SIMPLER`)."""
    best = min(models, key=lambda name: models[name].bic)
    while simpler := [n for n in SIMPLER[best] if n in models and models[n].bic <= models[best].bic + CLEAR]:
        best = min(simpler, key=lambda name: models[name].bic)
    return best


def of_more_evidence(models: Mapping[str, Rival], favoured_one: str) -> str | None:
    """Return the model whose evidence exceeds the favoured one's by `PREFERS` and two standard errors; None where none does.

    BIC is the evidence only where many samples tell of every parameter.
    """
    top = max(models, key=lambda name: models[name].log_evidence)
    mine, other = models[favoured_one], models[top]
    error = float(np.hypot(mine.evidence_error, other.evidence_error))
    return top if other.log_evidence - mine.log_evidence > max(PREFERS, 2 * error) else None


def best_rival(models: Mapping[str, Rival], favoured_one: str) -> str:
    """Return the model that the favoured one has to be told apart from: the one of more evidence, else the nearest by BIC."""
    nearest = min((name for name in models if name != favoured_one), key=lambda name: models[name].bic)
    return of_more_evidence(models, favoured_one) or nearest


def not_excluded(models: dict[str, Rival]) -> list[str]:
    """Return the models that the favoured one does not beat clearly, by BIC or by evidence."""
    best = favoured(models)
    more = of_more_evidence(models, best)
    return [name for name in models if name != best and (models[name].bic < models[best].bic + CLEAR or name == more)]
