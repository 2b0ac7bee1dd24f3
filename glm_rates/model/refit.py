"""Which scatter do each unit's counts have about their rate? Chosen by held-out likelihood, then fitted again under it."""

from __future__ import annotations

import numpy as np

from hdf5io.errors import InputError

from .design import Design
from .effects import Fit, predict
from .observation import BERNOULLI, log_likelihood, size_of
from .population import Settings, spreads
from .prior import grams, map_weights, whiten
from .solver import Problem, Solution, solve

INNER_FOLDS = 3


def observed_as(design: Design, settings: Settings, fit: Fit, single: np.ndarray, *, covariance: bool = True) -> Fit:
    """The same model under the observation that ``settings`` ask for, from its Poisson fit of the same rows.

    The prior stays. Coupling with screened sources keeps its Poisson weights too; there only the scatter is estimated.

    Parameters
    ----------
    design, settings, fit :
        Rows, options and the Poisson fit.
    single : (unit,)
        The unit never has two spikes in a bin of the recording, so that Bernoulli is possible.
    covariance :
        Also compute inverse Hessians.

    Raises
    ------
    InputError
        Bernoulli is asked for and some unit has bins with several spikes.
    """
    if settings.observation == "poisson":
        return fit
    if settings.observation == "bernoulli" and not single[fit.fitted].all():
        shown = ", ".join(map(str, np.flatnonzero(~single & fit.fitted)[:8]))
        raise InputError(
            f"--observation bernoulli: unit(s) {shown} have bins with several spikes; smaller --bin-size, or auto."
        )
    if settings.observation == "auto":
        kind = chosen(design, settings, fit, single)
    else:
        kind = np.full(len(fit.coef), 1 + (settings.observation == "bernoulli"))
    size = sizes(design, predict(design, fit), kind, fit.fitted)
    if design.sources is not None or np.isinf(size).all():
        return fit._replace(size=size)
    design = design.in_canonical_order()
    start = fit.coef.copy()
    below_one = np.flatnonzero(size == BERNOULLI)  # a start at which no rate reaches 1
    start[below_one] = 0
    start[below_one, 0] = np.log(np.maximum(fit.mean_count[below_one], 1e-9))
    coef, problem, solution = refitted(design, settings, fit, start, size)
    coef = np.where(fit.fitted[:, None], coef, 0.0)
    learned = fit.prior if settings.prior == "learned" else None
    spread = spreads(design, problem, solution, fit.fitted, learned) if covariance else []
    converged = solution.converged | ~fit.fitted
    made = fit._replace(coef=coef, covariance=spread, converged=converged, grad_norm=solution.grad_norm, size=size)
    return made._replace(size=sizes(design, predict(design, made), kind, fit.fitted))


def refitted(design: Design, settings: Settings, fit: Fit, start: np.ndarray, size: np.ndarray | None):
    """MAP weights of some rows under the prior, or the ridge, of a fit: (coef, problem, solution)."""
    method = "newton" if settings.solver == "newton" else "pcg"
    if fit.prior is None:
        problem = Problem(design.shared, design.own, design.counts, fit.penalty, design.mask, size=size)
        solution: Solution = solve(problem, start, method=method, tolerance=settings.tolerance)
        return solution.coef, problem, solution
    white = whiten(design, fit.prior, grams(design))
    white = white._replace(problem=white.problem._replace(size=size))
    solution = map_weights(white, start, tolerance=settings.tolerance, method=method)
    return white.mean + solution.coef @ white.root.T, white.problem, solution


def sizes(design: Design, mu: np.ndarray, kind: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Scatter of each unit given its kind (0 Poisson, 1 negative binomial, 2 Bernoulli) and its rates: (unit,)."""
    out = np.where(kind == 2, BERNOULLI, np.inf)
    for unit in np.flatnonzero((kind == 1) & fitted):
        rows = slice(None) if design.valid is None else design.valid[unit]
        out[unit] = size_of(design.counts[unit, rows], mu[unit, rows])
    return out


def chosen(design: Design, settings: Settings, fit: Fit, single: np.ndarray) -> np.ndarray:
    """The kind of each unit with the highest held-out likelihood within these rows, Poisson where none beats it by its standard error: (unit,).

    Trials are split into three; rates of each part come from a Poisson fit of the others under the prior of all, so the kinds differ in
    their scatter alone. Of a model with screened coupling, the part without coupling is judged.
    """
    if design.sources is not None:
        design = design.only(tuple(t for t in ("stimulus", "history", *design.curves) if t in design.columns))
        coef = np.zeros((len(fit.coef), design.n_coef))
        coef[:, 0] = np.log(np.maximum(fit.mean_count, 1e-9))
        fit = fit._replace(coef=coef)
    design = design.in_canonical_order()
    trials = design.row_trial[
        np.sort(np.unique(design.row_trial, return_index=True)[1])
    ]  # in the order of what they hold
    by_trial: list[np.ndarray] = []
    for fold in range(INNER_FOLDS):
        held = np.zeros(design.row_trial.max() + 1, bool)
        held[trials[fold::INNER_FOLDS]] = True
        train, test = design.rows(~held), design.rows(held)
        coef, _, _ = refitted(train, settings._replace(tolerance=1e-5), fit, fit.coef, None)
        partial = fit._replace(coef=coef)
        within, beyond = predict(train, partial), predict(test, partial)
        scores = []
        for kind in range(3):
            size = sizes(train, within, np.full(len(coef), kind), fit.fitted)
            gained = log_likelihood(test.counts, beyond, size[:, None])
            gained = gained if test.valid is None else np.where(test.valid, gained, 0)
            scores.append(gained.reshape(len(coef), len(np.unique(test.row_trial)), -1).sum(axis=2))
        by_trial.append(np.stack(scores))
    gain = np.concatenate(by_trial, axis=2)  # (kind, unit, trial)
    gain[2, ~single] = -np.inf
    best = gain.sum(axis=2).argmax(axis=0)
    paired = gain[best, np.arange(len(best))] - gain[0]
    certain = paired.sum(axis=1) > np.sqrt(paired.shape[1]) * paired.std(axis=1)
    return np.where(fit.fitted & certain, best, 0)
