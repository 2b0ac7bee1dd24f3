"""Poisson regression of a whole population at once: exact damped Newton for few columns, Newton-PCG for many.

Each unit n minimises (for Poisson counts; `observation` has the others)

    f(w) = mean_t( exp(eta_t) - y_t eta_t ) + 1/2 sum_j penalty_nj w_j^2,   eta = offset + shared w[:P] + own_n w[P:]

The units share the columns of ``shared``, so gradients and Hessian-vector products of all units are two matrix products.
Newton's direction comes from preconditioned conjugate gradients in float32; objective, gradient and line search are float64,
so the optimum is that of the float64 problem. References: Nocedal & Wright (2006) ch. 7.1 (inexact Newton, CG).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.linalg.lapack import dpotrf, dpotri

from .observation import loss, slope_and_weight

EXACT_UP_TO = 48  # columns; beyond it conjugate gradients are cheaper (measured)


class Solution(NamedTuple):
    """Optimum of every unit."""

    coef: np.ndarray  # (unit, P + K)
    objective: np.ndarray  # (unit,)
    grad_norm: np.ndarray  # (unit,) max |gradient|
    converged: np.ndarray  # (unit,) bool
    n_newton: int
    n_products: int  # gradients and Hessian-vector products, summed over units: 4 rows (P + K) operations each


#: rows, the columns of ``shared`` that may differ from 0 there, and these (column, row); every row is in one part
Parts = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


class Columns(NamedTuple):
    """Columns of a regression in one precision, rows last, which makes the thin products of few units with many rows fast.

    With ``root`` the regression's columns are ``[shared, own] @ root``, without ever being computed.
    """

    shared: np.ndarray  # (P, row)
    own: np.ndarray  # (unit, K, row)
    root: np.ndarray | None = None  # (P + K, P + K)
    parts: Parts | None = None  # of ``shared``, where most of it is 0

    def predict(self, coef: np.ndarray, units=slice(None)) -> np.ndarray:
        """Linear predictor without the offset: (unit, row)."""
        coef = (coef if self.root is None else coef @ self.root.T).astype(self.shared.dtype, copy=False)
        n_shared = len(self.shared)
        if self.parts is None:
            eta = coef[:, :n_shared] @ self.shared
        else:
            eta = np.empty((len(coef), self.shared.shape[1]), coef.dtype)
            for rows, at, block in self.parts:
                eta[:, rows] = coef[:, at] @ block
        if self.own.shape[1]:
            eta += np.matmul(coef[:, None, n_shared:], _pick(self.own, units))[:, 0]
        return eta

    def pull_back(self, residual: np.ndarray, units=slice(None)) -> np.ndarray:
        """Transpose of `predict`: (unit, P + K)."""
        residual = residual.astype(self.shared.dtype, copy=False)
        if self.parts is None:
            out = residual @ self.shared.T
        else:
            out = np.zeros((len(residual), len(self.shared)), residual.dtype)
            for rows, at, block in self.parts:
                out[:, at] += residual[:, rows] @ block.T
        if self.own.shape[1]:
            own = np.matmul(_pick(self.own, units), residual[:, :, None])[..., 0]
            out = np.concatenate([out, own], axis=1)
        return out if self.root is None else out @ self.root


def single_precision(shared: np.ndarray, own: np.ndarray, parts: Parts | None = None) -> Columns:
    """Contiguous float32 copy of ``shared`` (row, P), ``own`` (unit, row, K) and parts."""
    thin = None if parts is None else [(rows, at, block.astype(np.float32)) for rows, at, block in parts]
    first, second = np.ascontiguousarray(shared.T, np.float32), np.ascontiguousarray(own.transpose(0, 2, 1), np.float32)
    return Columns(first, second, None, thin)


class Problem(NamedTuple):
    """A population regression; ``penalty`` is infinite where a coefficient is held at zero."""

    shared: np.ndarray  # (row, P), column 0 constant and unpenalised
    own: np.ndarray  # (unit, row, K)
    counts: np.ndarray  # (unit, row)
    penalty: np.ndarray  # (unit, P + K)
    offset: np.ndarray | float = 0.0  # (unit, row)
    root: np.ndarray | None = None  # (P + K, P + K), see `Columns`
    parts: Parts | None = None  # of ``shared``, see `Columns`
    size: np.ndarray | None = None  # (unit,) scatter of the counts (`observation`); None: all Poisson

    def size_at(self, units) -> np.ndarray | None:
        """Scatter of some units, as `observation` wants it: (unit, 1)."""
        return None if self.size is None else self.size[units][:, None]

    @property
    def columns(self) -> Columns:
        """The columns in double precision."""
        return Columns(self.shared.T, self.own.transpose(0, 2, 1), self.root, self.parts)

    def predict(self, coef: np.ndarray) -> np.ndarray:
        """Linear predictor without the offset: (unit, row)."""
        return self.columns.predict(coef)

    def unit_columns(self, unit: int) -> np.ndarray:
        """Columns of one unit, the root applied: (row, P + K)."""
        columns = np.concatenate([self.shared, self.own[unit]], axis=1)
        return columns if self.root is None else columns @ self.root


def solve(
    problem: Problem,
    start: np.ndarray | None = None,
    *,
    method: str = "auto",
    tolerance: float = 1e-9,
    max_newton: int = 50,
    precondition: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    single: Columns | None = None,
    coarse: bool = False,
) -> Solution:
    """Fit every unit.

    Parameters
    ----------
    problem :
        Design, counts and penalties.
    start : (unit, P + K), optional
        Warm start; by default log mean count and zeros.
    method :
        ``auto``, ``newton`` (Cholesky), ``pcg``.
    tolerance : float
        A unit is frozen when max |gradient of the mean objective| is below it.
    precondition :
        ``(units, vectors) -> vectors`` approximating the inverse Hessian; by default `shared_preconditioner`, which a
        problem with a root cannot use.
    single, coarse :
        The problem's columns in float32 where the caller has them; gradients in float32 too, enough for tolerances of 1e-5 and above.

    Returns
    -------
    Solution
        ``converged`` is False where ``max |gradient| > max(tolerance, 1e-8)``.
    """
    n_units, n_coef = problem.penalty.shape
    method = ("newton" if n_coef <= EXACT_UP_TO else "pcg") if method == "auto" else method
    free = np.isfinite(problem.penalty)
    problem = problem._replace(penalty=np.where(free, problem.penalty, 0.0))
    coef = _default_start(problem) if start is None else np.where(free, start, 0.0)
    columns, direction = _prepare(problem, free, method, precondition, single, coarse)
    eta = columns.predict(coef) + np.broadcast_to(problem.offset, problem.counts.shape)
    objective = _objective(problem, slice(None), coef, eta)
    grad_norm, stuck, products, step = np.full(n_units, np.inf), np.zeros(n_units, bool), 0, 0
    for step in range(max_newton + 1):
        active = np.flatnonzero((grad_norm > tolerance) & ~stuck)
        gradient, mu = _gradient(problem, columns, free, active, coef, eta)
        grad_norm[active] = np.abs(gradient).max(axis=1)
        keep = grad_norm[active] > tolerance
        if not keep.any() or step == max_newton:
            break
        active, mu, gradient = active[keep], mu[keep], gradient[keep]
        move, used = direction(active, mu, gradient)
        products += (used + 1) * len(active)
        d_eta = columns.predict(move, active)
        length, value = _armijo(problem, active, coef, eta, move, d_eta, objective, (gradient * move).sum(axis=1))
        stuck[active] = length == 0
        coef[active] += length[:, None] * move
        eta[active] += length[:, None] * d_eta
        objective[active] = value
    return Solution(coef, objective, grad_norm, grad_norm <= max(tolerance, 1e-8), step, products)


def _gradient(
    problem: Problem, columns: Columns, free: np.ndarray, active: np.ndarray, coef: np.ndarray, eta: np.ndarray
):
    """Gradient of some units' objectives, and the weight of each row in their Hessians (for Poisson, the rate)."""
    counts = _pick(problem.counts, active)
    slope, weight = slope_and_weight(counts, np.exp(_pick(eta, active)), problem.size_at(active))
    gradient = columns.pull_back(slope, active) / problem.counts.shape[1]
    return np.where(free[active], gradient + problem.penalty[active] * coef[active], 0.0), weight


def _prepare(problem: Problem, free: np.ndarray, method: str, precondition, single: Columns | None, coarse: bool):
    """Columns that gradients are taken with, and the function that gives Newton's direction."""
    if method == "newton" and not coarse:
        return problem.columns, _exact_direction(problem, free)
    single = single or single_precision(problem.shared, problem.own, problem.parts)
    single = single._replace(root=None if problem.root is None else problem.root.astype(np.float32))
    columns = single if coarse else problem.columns
    if method == "newton":
        return columns, _exact_direction(problem, free)
    return columns, _cg_direction(problem, free, precondition or shared_preconditioner(problem, free), single)


def _pick(array: np.ndarray, units) -> np.ndarray:
    """``array[units]`` without a copy where that is everything."""
    return array if isinstance(units, slice) or len(units) == len(array) else array[units]


def _default_start(problem: Problem) -> np.ndarray:
    coef = np.zeros(problem.penalty.shape)
    offset = np.broadcast_to(problem.offset, problem.counts.shape)
    scale = np.exp(offset).mean(axis=1)
    coef[:, 0] = np.log(np.maximum(problem.counts.mean(axis=1), 0.5 / problem.counts.shape[1]) / scale)
    return coef


def _objective(problem: Problem, units, coef: np.ndarray, eta: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        if problem.size is None:
            value = (np.exp(eta).sum(axis=1) - np.einsum("nt,nt->n", _pick(problem.counts, units), eta)) / eta.shape[1]
        else:
            value = loss(_pick(problem.counts, units), eta, problem.size_at(units)).mean(axis=1)
    return value + 0.5 * (problem.penalty[units] * coef**2).sum(axis=1)


def _armijo(problem, units, coef, eta, move, d_eta, objective, slope):
    """Largest step 1, 1/2, 1/4, ... with sufficient decrease, each unit on its own; 0 where there is none."""
    length, value = np.ones(len(units)), objective[units].copy()
    open_ = np.arange(len(units))
    for _ in range(30):
        at = units[open_]
        t = length[open_, None]
        trial = _objective(problem, at, coef[at] + t * move[open_], eta[at] + t * d_eta[open_])
        slack = 4e-16 * np.abs(objective[at])  # rounding of the objective itself
        good = trial <= objective[at] + 1e-4 * length[open_] * slope[open_] + slack
        value[open_[good]] = trial[good]
        open_ = open_[~good]
        if not len(open_):
            break
        length[open_] *= 0.5
    length[open_] = 0.0
    return length, value


def _exact_direction(problem: Problem, free: np.ndarray):
    """Newton direction by a Cholesky factor of each unit's Hessian."""
    n_rows = problem.counts.shape[1]

    def direction(active, mu, gradient):
        """Newton step of the active units, and the products it took."""
        move = np.zeros_like(gradient)
        for row, unit in enumerate(active):
            keep = free[unit]
            columns = problem.unit_columns(unit)[:, keep]
            hessian = (columns.T * mu[row]) @ columns / n_rows
            hessian[np.diag_indices_from(hessian)] += problem.penalty[unit, keep]
            move[row, keep] = -solve_positive(hessian, gradient[row, keep])
        return move, 0

    return direction


def solve_positive(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with a symmetric positive (semi-)definite matrix; a singular one gets the least-norm solution."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix * scale[:, None] * scale
    try:
        factor = cho_factor(scaled, check_finite=False)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(matrix, right, rcond=1e-12)[0]
    return scale * cho_solve(factor, scale * right, check_finite=False)


def inverse_positive(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a symmetric positive definite matrix (half the work of a general one); pseudo-inverse where it is singular."""
    factor, failed = dpotrf(matrix, lower=1)
    inverse, singular = dpotri(factor, lower=1) if not failed else (factor, failed)
    if failed or singular:
        return np.linalg.pinv(matrix, hermitian=True)
    full = inverse + inverse.T  # the upper triangle of `inverse` is zero
    full[np.diag_indices_from(full)] *= 0.5
    return full


def shared_preconditioner(problem: Problem, free: np.ndarray):
    """Inverse Hessian at each unit's mean rate from one eigendecomposition of the shared Gram matrix.

    The columns are centred first, which makes the constant independent of the rest. Penalties are taken as their median
    over units; the own-history block has its own small inverse and its correlation with the shared block is ignored.
    """
    n_rows, n_shared = problem.shared.shape
    centre = problem.shared[:, 1:].mean(axis=0)
    gram = problem.shared[:, 1:].T @ problem.shared[:, 1:] / n_rows - np.outer(centre, centre)
    ridge = np.median(problem.penalty[:, 1:n_shared], axis=0) if n_shared > 1 else np.zeros(0)
    floor = 1e-9 * max(np.trace(gram), 1e-300) / max(n_shared - 1, 1)
    scale = 1 / np.sqrt(np.maximum(ridge, floor))
    values, vectors = eigh(gram * scale[:, None] * scale, check_finite=False) if n_shared > 1 else (np.zeros(0), gram)
    vectors = (vectors * scale[:, None]).astype(np.float32)
    mean_rate = np.maximum(problem.counts.mean(axis=1), 0.5 / n_rows)
    n_own = problem.own.shape[2]
    own_gram = np.matmul(problem.own.transpose(0, 2, 1), problem.own) / n_rows
    own_hessian = mean_rate[:, None, None] * own_gram
    own_hessian[:, range(n_own), range(n_own)] += problem.penalty[:, n_shared:] + 1e-12
    own_inverse = np.linalg.inv(own_hessian).astype(np.float32) if n_own else own_hessian
    centre, weights = centre.astype(np.float32), (np.maximum(values, 0)).astype(np.float32)

    def apply(units, residual):
        """Approximate inverse Hessians of these units times their residuals: (unit, p)."""
        rate = mean_rate[units].astype(np.float32)[:, None]
        out = np.empty_like(residual)
        inner = residual[:, 1:n_shared] - residual[:, :1] * centre
        inner = ((inner @ vectors) / (rate * weights + 1)) @ vectors.T
        out[:, 1:n_shared] = inner
        out[:, :1] = residual[:, :1] / rate - inner @ centre[:, None]
        out[:, n_shared:] = np.matmul(own_inverse[units], residual[:, n_shared:, None])[..., 0]
        return np.where(free[units], out, np.float32(0))

    return apply


def _cg_direction(problem: Problem, free: np.ndarray, precondition, single: Columns):
    """Inexact Newton direction of all active units by preconditioned conjugate gradients in float32."""
    penalty = problem.penalty.astype(np.float32)
    n_rows = problem.counts.shape[1]

    def direction(active, mu, gradient):
        """Newton step of the active units, and the products it took."""
        scale = np.sqrt((gradient**2).sum(axis=1))
        residual = (-gradient / scale[:, None]).astype(np.float32)
        target = np.minimum(0.1, np.sqrt(scale)) ** 2  # forcing term, on squared norms
        solution, weight = np.zeros_like(residual), (mu / n_rows).astype(np.float32)
        z = precondition(active, residual)
        p, rz, used = z, (residual * z).sum(axis=1), 0
        going = np.ones(len(active), bool)
        for used in range(1, 101):  # noqa: B007 (counts the products)
            product = single.pull_back(weight * single.predict(p, active), active)
            product = np.where(free[active], product + penalty[active] * p, 0)
            curvature = (p * product).sum(axis=1)
            going &= (curvature > 0) & (rz > 0)
            step = np.where(going, rz / np.where(curvature > 0, curvature, 1), 0).astype(np.float32)[:, None]
            solution += step * p
            residual -= step * product
            going &= (residual**2).sum(axis=1) > np.maximum(target, 1e-11)
            if not going.any():
                break
            z = precondition(active, residual)
            rz_next = (residual * z).sum(axis=1)
            p, rz = z + (rz_next / np.where(rz > 0, rz, 1))[:, None] * p, rz_next
        return solution.astype(float) * scale[:, None], used

    return direction
