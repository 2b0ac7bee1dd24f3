"""What do the weights of a fit say? Rates and their uncertainty, and filters over lag with standard errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .design import Design
from .prior import Prior
from .solver import Problem
from .stimuli import groups_of


class Spread(NamedTuple):
    """Posterior covariance of the weights that a unit's model has."""

    columns: np.ndarray  # (kept,) among the p coefficients
    matrix: np.ndarray  # (kept, kept)


class Fit(NamedTuple):
    """A fitted population, in the coordinates of the orthonormal kernels."""

    coef: np.ndarray  # (unit, p)
    covariance: list[Spread]  # (unit,) inverse Hessian at the optimum; empty where it was not asked for
    fitted: np.ndarray  # (unit,) False: too few spikes, constant rate
    mean_count: np.ndarray  # (unit,) per bin, in the fitted rows
    converged: np.ndarray  # (unit,)
    grad_norm: np.ndarray  # (unit,)
    penalty: np.ndarray  # (unit, p) ridge precision per row in the solver's coordinates; infinite = left out
    prior: Prior | None
    size: np.ndarray | None = None  # (unit,) scatter of the counts about the rate (`observation`); None: all Poisson


def predict(design: Design, fit: Fit) -> np.ndarray:
    """Expected count in each row, (unit, row); a unit with too few spikes has its mean."""
    coef = fit.coef
    if design.sources is not None:
        at = design.all_columns["coupling"]
        through = fit.coef[:, at].astype(np.float32) @ design.sources
        coef = np.delete(fit.coef, np.arange(at.start, at.stop), axis=1)
    eta = Problem(design.shared, design.own, design.counts, coef).predict(coef)
    eta = eta if design.sources is None else eta + through
    return np.where(fit.fitted[:, None], np.exp(np.minimum(eta, 30)), fit.mean_count[:, None])


def log_rate_sd(design: Design, fit: Fit, block: int = 1024) -> np.ndarray:
    """Standard deviation of each unit's log rate in each row, (unit, row); zero for a unit with too few spikes."""
    n_rows = len(design.shared)
    out, groups = np.zeros(design.counts.shape), groups_of(design)
    for unit in np.flatnonzero(fit.fitted):
        if groups is not None:  # a row has the columns of its own stimulus only
            place, matrix = fit.covariance[unit]
            for stimulus, rows in enumerate(groups.rows):
                inside = np.flatnonzero(np.isin(place, groups.wanted(stimulus)))
                part = unit_columns(design, unit, place[inside], rows).astype(float)
                out[unit, rows] = np.einsum("rp,rp->r", part @ matrix[np.ix_(inside, inside)], part)
            continue
        columns = unit_columns(design, unit, fit.covariance[unit].columns)
        covariance = fit.covariance[unit].matrix.astype(np.float32)
        for first in range(0, n_rows, block):  # a block stays in cache
            part = columns[first : first + block]
            out[unit, first : first + block] = np.einsum("rp,rp->r", part @ covariance, part)
    return np.sqrt(np.maximum(out, 0))


def unit_columns(
    design: Design, unit: int | np.integer, wanted: np.ndarray, rows: np.ndarray | slice = slice(None)
) -> np.ndarray:
    """Some columns of one unit's regression in single precision: (row, wanted), numbered as its coefficients."""
    chosen = np.arange(len(design.shared))[rows]
    columns, out = design.all_columns, np.empty((len(chosen), len(wanted)), np.float32)
    for name, at in columns.items():
        inside = np.flatnonzero((wanted >= at.start) & (wanted < at.stop))
        local = wanted[inside] - at.start
        if name == "history":
            out[:, inside] = design.own[unit][rows][:, local]
        elif name == "coupling" and design.sources is not None:
            out[:, inside] = design.sources[local][:, rows].T
        else:
            out[:, inside] = design.shared[np.ix_(chosen, design.columns[name].start + local)]
    return out


def filters(design: Design, fit: Fit, bin_ms: int, n_tastes: int) -> dict[str, np.ndarray]:
    """Filters over lag, log rate per spike (history, coupling) or log rate (stimulus), with standard errors.

    Returns
    -------
    dict
        ``<effect>_lag_ms`` (lag,), ``history`` (unit, lag), ``stimulus`` (unit, taste, lag), ``coupling`` (target, source,
        lag), ``laser`` (unit, 1), each with ``<effect>_se``; effects that the model lacks are absent.
    """
    columns, out = design.all_columns, {}
    tastes = [{"stimulus": [0], "deviation": [taste]} for taste in range(n_tastes)]
    for effect, kinds in {"history": [{"history": [0]}], "stimulus": tastes}.items():
        if effect not in columns:
            continue
        matrix = np.stack(
            [_selector(columns, blocks, design.kernels[effect].values, fit.coef.shape[1]) for blocks in kinds]
        )
        value = np.einsum("rlp,up->url", matrix, fit.coef)
        error = np.stack([_filter_error(matrix, spread) for spread in fit.covariance])
        first = effect == "history"
        out[effect], out[effect + "_se"] = (value[:, 0], error[:, 0]) if first else (value, error)
    if "coupling" in columns:
        out["coupling"], out["coupling_se"] = _coupling(design, fit)
    for effect in [e for e in ("history", "stimulus", "coupling") if e in out]:
        kernels = design.kernels[effect]
        out[effect + "_lag_ms"] = (np.arange(len(kernels.values)) + kernels.first_lag) * bin_ms
    for name, (x, curve) in design.curves.items():
        matrix = np.zeros((1, len(curve), fit.coef.shape[1]))
        matrix[0, :, columns[name]] = curve
        key = "covariate_" + name.replace("/", "-")
        out[key], out[key + "_x"] = fit.coef @ matrix[0].T, x
        out[key + "_se"] = np.stack([_filter_error(matrix, spread)[0] for spread in fit.covariance])
    if "laser" in columns:
        at = columns["laser"]
        one = np.zeros((1, 1, fit.coef.shape[1]))
        one[0, 0, at] = 1
        out["laser"], out["laser_se"] = fit.coef[:, at], np.stack([_filter_error(one, s)[0] for s in fit.covariance])
    return out


def _filter_error(matrix: np.ndarray, spread: Spread) -> np.ndarray:
    """Standard error of a filter ``matrix @ coef``: (kind, lag)."""
    out = np.zeros(matrix.shape[:2])
    used: np.ndarray = np.any(matrix, axis=1)[:, spread.columns]  # a kind has few columns among those of many stimuli
    for kind, mine in enumerate(used):
        at = np.flatnonzero(mine)
        kept = matrix[kind][:, spread.columns[at]]
        out[kind] = ((kept @ spread.matrix[np.ix_(at, at)]) * kept).sum(axis=-1)
    return np.sqrt(np.maximum(out, 0))


def _coupling(design: Design, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Coupling filters and their standard errors: two arrays (target, source, lag)."""
    values, at = design.kernels["coupling"].values, design.all_columns["coupling"]
    n, k = len(fit.coef), values.shape[1]
    value = fit.coef[:, at].reshape(n, -1, k) @ values.T
    error = np.zeros(value.shape)
    for unit, spread in enumerate(fit.covariance):
        inside = np.flatnonzero((spread.columns >= at.start) & (spread.columns < at.stop))
        sources = (spread.columns[inside[::k]] - at.start) // k
        place = inside.reshape(-1, k)
        blocks = spread.matrix[place[:, :, None], place[:, None, :]]
        error[unit, sources] = np.sqrt(np.maximum(np.einsum("lk,skm,lm->sl", values, blocks, values), 0))
    return value, error


def _selector(columns: dict[str, slice], blocks: dict[str, list[int]], values: np.ndarray, n_coef: int) -> np.ndarray:
    """Matrix (lag, p) that turns coefficients into a filter: the sum of the named draws of the named blocks."""
    out = np.zeros((len(values), n_coef))
    for block, draws in blocks.items():
        if block in columns:
            for draw in draws:
                start = columns[block].start + draw * values.shape[1]
                out[:, start : start + values.shape[1]] += values
    return out
