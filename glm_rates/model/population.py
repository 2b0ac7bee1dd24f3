"""What is each unit's rate, and which filters make it? Fit one population under the chosen prior.

``learned``  empirical Bayes with spike-and-slab edges (`prior.learn`), the default
``blocks``   one learned variance per block, every edge kept
``cv``       one ridge strength per block, chosen by inner cross-validation over the same rows
``ridge``    one fixed strength for all coefficients but the constant, nemos' convention: mean loss + strength / 2 |w|^2
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .design import Design, Kernels, Trials, Window, build_design, standard_kernels
from .prior import Prior, grams, learn, map_weights, whiten
from .solver import Problem, Solution, inverse_positive, solve

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
    stimulus: bool = True
    laser: bool = False
    prior: str = "learned"
    penalty: float | None = None
    solver: str = "auto"
    tolerance: float = 1e-9


class Fit(NamedTuple):
    """A fitted population, in the coordinates of the orthonormal kernels."""

    coef: np.ndarray  # (unit, p)
    covariance: np.ndarray  # (unit, p, p) inverse Hessian at the optimum; (unit, 0, 0) where it was not asked for
    fitted: np.ndarray  # (unit,) False: too few spikes, constant rate
    mean_count: np.ndarray  # (unit,) per bin, in the fitted rows
    converged: np.ndarray  # (unit,)
    grad_norm: np.ndarray  # (unit,)
    penalty: np.ndarray  # (unit, p) ridge precision per row in the solver's coordinates; infinite = left out
    prior: Prior | None


def terms_of(settings: Settings) -> tuple[str, ...]:
    """Effects of the full model."""
    return ("stimulus",) * settings.stimulus + ("history",) + ("coupling",) * settings.include_coupling


def nested_terms(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Nested models by name, smallest first; the last is the full model."""
    models: dict[str, tuple[str, ...]] = {"history": ("history",)}
    if settings.stimulus:
        models = {"stimulus": ("stimulus",), **models, "history+stimulus": ("stimulus", "history")}
    if settings.include_coupling:
        models["+".join([list(models)[-1], "coupling"])] = terms_of(settings)
    return models


def make_design(trials: Trials, window: Window, settings: Settings) -> Design:
    """Design of the full model."""
    return build_design(trials, window, kernels_of(settings), terms_of(settings), settings.laser)


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
    return standard_kernels(settings.bin_size, {term: lengths[term] for term in terms_of(settings)}, numbers)


def fit_design(design: Design, settings: Settings, like: Prior | None = None, *, covariance: bool = True) -> Fit:
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

    Returns
    -------
    Fit
    """
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
        strength = settings.penalty if settings.prior == "ridge" else block_strengths(design, settings)
        problem = ridge_problem(design, strength)
        solution = _solve_ridge(problem, settings, design)
        coef = solution.coef
    spread = _inverse_hessians(problem, solution, fitted) if covariance else np.zeros((len(coef), 0, 0))
    coef = np.where(fitted[:, None], coef, 0.0)
    mean = design.counts.sum(axis=1) / np.maximum(design.n_valid, 1)
    return Fit(coef, spread, fitted, mean, solution.converged | ~fitted, solution.grad_norm, problem.penalty, prior)


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


def _inverse_hessians(problem: Problem, solution: Solution, fitted: np.ndarray) -> np.ndarray:
    """Posterior covariance of every fitted unit's weights from the Hessian at its optimum: (unit, p, p), else zeros."""
    n_units, n_coef = problem.penalty.shape
    n_rows, n_shared = problem.shared.shape
    root = np.eye(n_coef) if problem.root is None else problem.root
    root_mu = np.exp(0.5 * (problem.predict(solution.coef) + problem.offset))
    out, weighted = np.zeros((n_units, n_coef, n_coef)), np.empty((n_rows, n_coef))
    for unit in np.flatnonzero(fitted):
        np.multiply(problem.shared, root_mu[unit, :, None], out=weighted[:, :n_shared])
        np.multiply(problem.own[unit], root_mu[unit, :, None], out=weighted[:, n_shared:])
        keep = np.flatnonzero(np.isfinite(problem.penalty[unit]))
        hessian = (root.T @ (weighted.T @ weighted) @ root)[np.ix_(keep, keep)]
        hessian[np.diag_indices_from(hessian)] += n_rows * problem.penalty[unit, keep]
        out[unit] = root[:, keep] @ inverse_positive(hessian) @ root[:, keep].T
    return out


def predict(design: Design, fit: Fit) -> np.ndarray:
    """Expected count in each row, (unit, row); a unit with too few spikes has its mean."""
    eta = Problem(design.shared, design.own, design.counts, fit.coef).predict(fit.coef)
    return np.where(fit.fitted[:, None], np.exp(np.minimum(eta, 30)), fit.mean_count[:, None])


def log_rate_sd(design: Design, fit: Fit, block: int = 1024) -> np.ndarray:
    """Standard deviation of each unit's log rate in each row, (unit, row); zero for a unit with too few spikes."""
    n_rows, n_shared = design.shared.shape
    out = np.zeros(design.counts.shape)
    columns = np.empty((n_rows, design.n_coef), np.float32)
    columns[:, :n_shared] = design.shared
    for unit in np.flatnonzero(fit.fitted):
        columns[:, n_shared:] = design.own[unit]
        covariance = fit.covariance[unit].astype(np.float32)
        for first in range(0, n_rows, block):  # a block stays in cache
            part = columns[first : first + block]
            out[unit, first : first + block] = np.einsum("rp,rp->r", part @ covariance, part)
    return np.sqrt(np.maximum(out, 0))


def filters(design: Design, fit: Fit, bin_ms: int, n_tastes: int) -> dict[str, np.ndarray]:
    """Filters over lag, log rate per spike (history, coupling) or log rate (stimulus), with standard errors.

    Returns
    -------
    dict
        ``<effect>_lag_ms`` (lag,), ``history`` (unit, lag), ``stimulus`` (unit, taste, lag), ``coupling`` (target, source,
        lag), ``laser`` (unit, 1), each with ``<effect>_se``; effects that the model lacks are absent.
    """
    maps: dict[str, np.ndarray] = {}
    n_units = len(fit.coef)
    if "history" in design.columns:
        maps["history"] = _selector(design, {"history": [0]}, "history")[None]
    if "stimulus" in design.columns:
        per_taste = [{"stimulus": [0], "deviation": [taste]} for taste in range(n_tastes)]
        maps["stimulus"] = np.stack([_selector(design, blocks, "stimulus") for blocks in per_taste])
    if "coupling" in design.columns:
        maps["coupling"] = np.stack(
            [_selector(design, {"coupling": [source]}, "coupling") for source in range(n_units)]
        )
    out = {}
    for effect, matrix in maps.items():
        kernels = design.kernels[effect]
        value = np.einsum("rlp,up->url", matrix, fit.coef)
        error = np.stack([np.sqrt(np.maximum(((matrix @ c) * matrix).sum(-1), 0)) for c in fit.covariance])
        squeeze = effect == "history"
        out[effect], out[effect + "_se"] = (value[:, 0], error[:, 0]) if squeeze else (value, error)
        out[effect + "_lag_ms"] = (np.arange(len(kernels.values)) + kernels.first_lag) * bin_ms
    if "laser" in design.columns:
        at = design.columns["laser"]
        out["laser"], out["laser_se"] = fit.coef[:, at], np.array([np.sqrt(c[at, at].ravel()) for c in fit.covariance])
    return out


def _selector(design: Design, blocks: dict[str, list[int]], kernel: str) -> np.ndarray:
    """Matrix (lag, p) that turns coefficients into a filter: the sum of the named draws of the named blocks."""
    values = design.kernels[kernel].values
    out = np.zeros((len(values), design.n_coef))
    for block, draws in blocks.items():
        if block in design.columns:
            for draw in draws:
                start = design.columns[block].start + draw * values.shape[1]
                out[:, start : start + values.shape[1]] += values
    return out
