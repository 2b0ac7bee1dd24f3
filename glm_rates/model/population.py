"""What is each unit's rate, and which filters make it? Fit one population under the chosen prior.

``learned``  empirical Bayes with spike-and-slab edges (`prior.learn`), the default
``blocks``   one learned variance per block, every edge kept
``cv``       one ridge strength per block, chosen by inner cross-validation over the same rows
``ridge``    one fixed strength for all coefficients but the constant, nemos' convention: mean loss + strength / 2 |w|^2
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .bases import BASES, Covariate
from .design import Design, Trials, build_design
from .effects import Fit, Spread
from .kernels import Kernels, Window, standard_kernels
from .observation import slope_and_weight
from .prior import Prior, grams, learn, map_weights, whiten
from .screened import ENTER, exact, learn_screened
from .solver import Problem, Solution, inverse_positive, solve
from .stimuli import Groups, arrow_inverse, groups_of, sandwich, weighted_gram
from .widths import with_prior_error

log = logging.getLogger(__name__)
MIN_SPIKES = 2  # a unit with fewer spikes in the fitted rows gets its mean rate and no filters
CV_GRID = (1e-4, 1e-3, 1e-2, 1e-1)


class Settings(NamedTuple):
    """Everything that decides a fit, besides the spikes."""

    bin_size: int = 25  # ms
    history_window: int = 250  # ms
    n_basis_funcs: int = 8
    coupling_window: int = 125  # ms
    n_coupling_funcs: int = 4
    stimulus_window: int = 2500  # ms
    n_stimulus_funcs: int = 10
    include_coupling: bool = False
    coupling_method: str = "full"  # or "screened"
    covariates: tuple[Covariate, ...] = ()
    covariate_lead: int = 0  # bins of the covariates before the first bin of the counts
    stimulus: bool = True
    laser: bool = False
    prior: str = "learned"
    penalty: float | None = None
    solver: str = "auto"
    tolerance: float = 1e-9
    observation: str = "poisson"  # or negative-binomial, bernoulli, auto


def terms_of(settings: Settings) -> tuple[str, ...]:
    """Effects of the full model."""
    covariates = tuple(c.name for c in settings.covariates)
    return ("stimulus",) * settings.stimulus + ("history", *covariates) + ("coupling",) * settings.include_coupling


def nested_terms(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Nested models by name, smallest first; the last is the full model. Of several covariates, each is left out once."""
    models: dict[str, tuple[str, ...]] = {"history": ("history",)}
    if settings.stimulus:
        models = {"stimulus": ("stimulus",), **models, "history+stimulus": ("stimulus", "history")}
    names = [c.name for c in settings.covariates]
    before, terms = list(models.items())[-1]
    for left_out in names if len(names) > 1 else []:
        rest = [name for name in names if name != left_out]
        models["+".join([before, *rest])] = (*terms, *rest)
    if names:
        models["+".join([before, *names])] = (*terms, *names)
    if settings.include_coupling:
        models["+".join([list(models)[-1], "coupling"])] = terms_of(settings)
    return models


def make_design(trials: Trials, window: Window, settings: Settings) -> Design:
    """Design of the full model."""
    apart = settings.coupling_method == "screened"
    signals = np.zeros((0, 0, 0)) if trials.covariates is None else trials.covariates
    found = {c.name: BASES[c.basis](signals, c, window, settings.covariate_lead) for c in settings.covariates}
    extra = {name: expanded.columns for name, expanded in found.items()}
    design = build_design(trials, window, kernels_of(settings), terms_of(settings), settings.laser, apart, extra)
    return design._replace(curves={name: (expanded.x, expanded.curve) for name, expanded in found.items()})


def kernels_of(settings: Settings) -> dict[str, Kernels]:
    """Kernels of each effect of the full model."""
    lengths = {
        "history": settings.history_window,
        "coupling": settings.coupling_window,
        "stimulus": settings.stimulus_window,
    }
    numbers = {
        "history": settings.n_basis_funcs,
        "coupling": settings.n_coupling_funcs,
        "stimulus": settings.n_stimulus_funcs,
    }
    return standard_kernels(
        settings.bin_size, {term: lengths[term] for term in terms_of(settings) if term in lengths}, numbers
    )


def fit_design(
    design: Design,
    settings: Settings,
    like: Prior | None = None,
    *,
    covariance: bool = True,
    base: Fit | None = None,
) -> Fit:
    """Fit every unit of a population on the rows of ``design``.

    Parameters
    ----------
    design :
        Rows to fit (training trials only, when scoring).
    settings :
        Prior, penalty and solver.
    like :
        Prior of a nested model of the same rows, as starting point.
    covariance :
        Also compute the inverse Hessian of each unit (standard errors, intervals).
    base :
        Fit without coupling of the same rows, which screened coupling begins with; made here where there is none.

    Returns
    -------
    Fit
    """
    if design.sources is not None:
        return _fit_screened(design, settings, like, base, covariance)
    design = design.in_canonical_order()
    fitted = design.counts.sum(axis=1) >= MIN_SPIKES
    if settings.prior in ("learned", "blocks"):
        learned = settings.prior == "learned"
        prior, start = learn(design, like, edges=learned, isotropic=not learned)
        white = whiten(design, prior, grams(design))
        method = "newton" if settings.solver == "newton" else "pcg"
        solution = map_weights(white, start, tolerance=settings.tolerance, method=method)
        coef, problem = white.mean + solution.coef @ white.root.T, white.problem
    else:
        prior = None
        strength = (settings.penalty or 0.0) if settings.prior == "ridge" else block_strengths(design, settings)
        problem = ridge_problem(design, strength)
        solution = _solve_ridge(problem, settings, design)
        coef = solution.coef
    spread = (
        spreads(design, problem, solution, fitted, prior if settings.prior == "learned" else None) if covariance else []
    )
    coef = np.where(fitted[:, None], coef, 0.0)
    converged, grad_norm = solution.converged | ~fitted, solution.grad_norm
    return Fit(coef, spread, fitted, mean_counts(design), converged, grad_norm, problem.penalty, prior)


def mean_counts(design: Design) -> np.ndarray:
    """Mean count of each unit over its observations: (unit,)."""
    return design.counts.sum(axis=1) / np.maximum(design.n_valid, 1)


def _fit_screened(design: Design, settings: Settings, like: Prior | None, base: Fit | None, covariance: bool) -> Fit:
    """Fit with an active set of sources a unit; coefficients and penalties in the layout of the full method."""
    if settings.prior != "learned":
        raise InputError(
            "screened coupling needs --prior learned; other priors keep every edge (--coupling-method full)."
        )
    terms = tuple(term for term in ("stimulus", "history", *design.curves) if term in design.columns)
    plain = design.only(terms)
    if base is None or base.prior is None:
        base = fit_design(plain, settings._replace(tolerance=1e-4), like, covariance=False)
    assert base.prior is not None
    design = design.in_canonical_order()
    use, k = np.flatnonzero(base.fitted), design.kernels["coupling"].size
    rows, state, prior = learn_screened(design, base.coef, base.prior, use, k)
    n, columns = len(design.counts), design.all_columns
    n_coef = max(at.stop for at in columns.values())
    own = np.concatenate([np.arange(at.start, at.stop) for name, at in columns.items() if name != "coupling"])
    coef, penalty = np.zeros((n, n_coef)), np.full((n, n_coef), np.inf)
    inclusion, precision = np.minimum(state.screened, ENTER), np.full((n, n), np.inf)
    grad_norm, spread = np.zeros(n), [Spread(np.zeros(0, int), np.zeros((0, 0)))] * n
    base_penalty = np.diag(prior[0]) / design.counts.shape[1]
    for unit in progress(use, "units"):
        active = state.active[unit]
        edges = (columns["coupling"].start + active[:, None] * k + np.arange(k)).ravel()
        kept = np.concatenate([own, edges])
        found = exact(rows, state, unit, prior, settings.tolerance, covariance)
        coef[unit, kept], grad_norm[unit] = found.weights, found.grad_norm
        penalty[unit, own] = base_penalty
        penalty[unit, edges] = np.repeat(state.precision[unit], k) / design.counts.shape[1]
        inclusion[unit, active], precision[unit, active] = state.probability[unit], state.precision[unit]
        if covariance:
            spread[unit] = Spread(kept, found.covariance)
    converged = grad_norm <= max(settings.tolerance, 1e-8)
    blocks = {**base.prior.covariance, "coupling": state.slab}
    learned = Prior(blocks, base.prior.history_mean, state.rate, inclusion, precision)
    return Fit(
        coef, spread if covariance else [], base.fitted, mean_counts(design), converged, grad_norm, penalty, learned
    )


def progress(units: np.ndarray, what: str) -> Iterator[int]:
    """Yield units with one log line a minute."""
    began = told = time.monotonic()
    for done, unit in enumerate(units.tolist()):
        yield unit
        now = time.monotonic()
        if now - told > 60:
            log.info(
                "%d of %d %s, about %.0f s to go",
                done + 1,
                len(units),
                what,
                (now - began) / (done + 1) * (len(units) - done - 1),
            )
            told = now


def ridge_problem(design: Design, strength: float | dict[str, float]) -> Problem:
    """Plain ridge: one strength, or one for each block; the constant is free and no unit is coupled to itself."""
    penalty = np.zeros((len(design.counts), design.n_coef))
    for block, columns in design.columns.items():
        if block != "constant":
            penalty[:, columns] = strength[block] if isinstance(strength, dict) else strength
    if "coupling" in design.columns:
        n_units = len(design.counts)
        edges = penalty[:, design.columns["coupling"]].reshape(n_units, n_units, -1)
        edges[np.arange(n_units), np.arange(n_units)] = np.inf
        penalty[:, design.columns["coupling"]] = edges.reshape(n_units, -1)
    penalty = (
        penalty * (np.maximum(design.n_valid, 1) / design.counts.shape[1])[:, None]
    )  # the loss is a mean over all rows
    return Problem(design.shared, design.own, design.counts, penalty, design.mask)


def _solve_ridge(problem: Problem, settings: Settings, design: Design) -> Solution:
    if settings.solver == "nemos-lbfgs":
        if design.valid is not None:
            raise InputError(
                "--solver nemos-lbfgs cannot leave out bins of single units, and some were not recorded; use another."
            )
        from .nemos_bridge import solve_with_nemos

        return solve_with_nemos(problem)
    return solve(problem, method=settings.solver, tolerance=settings.tolerance)


def block_strengths(design: Design, settings: Settings, n_folds: int = 3) -> dict[str, float]:
    """Ridge strength of each block by inner cross-validation over the trials of ``design``, one block after the other."""
    trial = np.unique(design.row_trial)
    group = {"offset": "stimulus", "deviation": "stimulus"}
    names = [b for b in design.columns if b != "constant"]
    strength = dict.fromkeys(names, 0.01)
    parts = []
    for fold in range(n_folds):
        held = np.zeros(design.row_trial.max() + 1, bool)
        held[trial[fold::n_folds]] = True
        parts.append((design.rows(~held), design.rows(held), [None]))
    for block in dict.fromkeys(group.get(b, b) for b in names):
        losses = []
        for value in CV_GRID:
            tried = {b: value if group.get(b, b) == block else s for b, s in strength.items()}
            losses.append(sum(_held_out_loss(*part, tried) for part in parts))
        best = CV_GRID[int(np.argmin(losses))]
        strength = {b: best if group.get(b, b) == block else s for b, s in strength.items()}
    return strength


def _held_out_loss(train: Design, test: Design, warm: list, strength: dict[str, float]) -> float:
    solution = solve(ridge_problem(train, strength), warm[0], tolerance=1e-5)
    warm[0] = solution.coef
    eta = ridge_problem(test, strength).predict(solution.coef)
    loss = np.exp(np.minimum(eta, 30)) - test.counts * eta
    return float(loss.sum() if test.valid is None else loss[test.valid].sum())


def spreads(
    design: Design, problem: Problem, solution: Solution, fitted: np.ndarray, learned: Prior | None
) -> list[Spread]:
    """Posterior covariance of every fitted unit's weights, with the error of the prior where that was learned from the units."""
    given = inverse_hessians(problem, solution, fitted, groups_of(design))
    if learned is None or problem.root is None:
        return given
    return with_prior_error(design, learned, problem.root, solution.coef, given)


def inverse_hessians(
    problem: Problem, solution: Solution, fitted: np.ndarray, groups: Groups | None = None
) -> list[Spread]:
    """Posterior covariance of every fitted unit's weights from the Hessian at its optimum; nothing of the others."""
    n_units, n_coef = problem.penalty.shape
    n_rows, n_shared = problem.shared.shape
    root = np.eye(n_coef) if problem.root is None else problem.root
    mu = np.exp(problem.predict(solution.coef) + problem.offset)
    root_mu = np.sqrt(slope_and_weight(problem.counts, mu, problem.size_at(slice(None)))[1])
    out, weighted = (
        [Spread(np.zeros(0, int), np.zeros((0, 0)))] * n_units,
        np.empty((n_rows * (groups is None), n_coef)),
    )
    for unit in np.flatnonzero(fitted):
        keep = np.flatnonzero(np.isfinite(problem.penalty[unit]))
        if groups is None:
            np.multiply(problem.shared, root_mu[unit, :, None], out=weighted[:, :n_shared])
            np.multiply(problem.own[unit], root_mu[unit, :, None], out=weighted[:, n_shared:])
            hessian = (root.T @ (weighted.T @ weighted) @ root)[np.ix_(keep, keep)]
        else:
            gram = weighted_gram(problem.shared, problem.own[unit], root_mu[unit] ** 2, groups)
            hessian = sandwich(root, gram)[np.ix_(keep, keep)]
        hessian[np.diag_indices_from(hessian)] += n_rows * problem.penalty[unit, keep]
        kept = root[np.ix_(keep, keep)]  # blocks of the prior are kept or dropped as a whole
        if groups is None:
            out[unit] = Spread(keep, kept @ inverse_positive(hessian) @ kept.T)
        else:
            out[unit] = Spread(keep, sandwich(kept.T, arrow_inverse(hessian, groups, keep)))
    return out
