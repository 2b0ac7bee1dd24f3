"""Which neighbours matter, among hundreds? Coupling with an active set of sources a target, screened and fitted in rounds.

The full method (`prior`) keeps every edge in every unit's regression: arrays of (unit, p, p) with p growing with the units. Here each
target has at most `MOST` sources:

1. Screen: the score and the information of every pair at the current rates, less what stimulus and own history explain; a Bayes
   factor of a slab N(0, S) against nothing. Probable sources enter.
2. Joint: a quadratic likelihood of each target in its active sources, base effects eliminated; EM over the probability of every
   edge, their common rate pi and S, pooled over targets. Improbable sources leave.
3. Again on the new residual: what a strong neighbour hid comes out.

At the end each target's weights are the exact MAP under the learned prior. The cost of a target does not depend on the number of
units; the screens are a few products of (unit, row) with (row, source).
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve

from .design import Design
from .prior import Prior, grams, model_average_precision, whiten
from .screen import Screen, edge_factors, first_guess, probability_of, symmetric_root
from .solver import inverse_positive
from .sorted_rows import Rows, curvature, gathered, positive_factor, pull, sorted_rows

log = logging.getLogger(__name__)
ROUNDS = 3
MOST = 50  # sources of one target
FIRST = 15  # sources that enter at least in the first round, when the edge rate is not yet known
ENTER = 0.03  # probability from which a source enters, and below which it leaves
EM_STEPS = 8
LARGEST_MOVE = 3.0  # of a bin's log rate in one approximate step


class Target(NamedTuple):
    """One unit's approximate likelihood in its edges, base effects eliminated: exp(natural'w - w'information w / 2)."""

    information: np.ndarray  # (q, q)
    natural: np.ndarray  # (q,)
    base_inverse: np.ndarray  # (p0, p0)
    cross: np.ndarray  # (p0, q)
    base_natural: np.ndarray  # (p0,)


class State(NamedTuple):
    """What is known of the edges."""

    active: list[np.ndarray]  # (unit,) of sources
    weights: list[np.ndarray]  # (unit,) of (source, k)
    base: np.ndarray  # (unit, p0)
    probability: list[np.ndarray]  # (unit,) of (source,)
    precision: list[np.ndarray]  # (unit,) of (source,) in units of the slab's
    slab: np.ndarray  # (k, k) S
    rate: float  # pi
    screened: np.ndarray  # (target, source) probability at the last screen, one source at a time


def enter(state: State, screen: Screen, score: np.ndarray, use: np.ndarray, least: int) -> State:
    """Add probable sources to each target's active set."""
    root = symmetric_root(state.slab)
    active, weights, probability, precision = (
        list(part) for part in (state.active, state.weights, state.probability, state.precision)
    )
    assert screen.information is not None
    screened = np.zeros_like(state.screened)
    for target in use:
        factor, _, _ = edge_factors(screen.information[target].astype(float), score[target].astype(float), root)
        found = probability_of(factor, state.rate)
        found[target] = 0
        screened[target] = found
        found[active[target]] = 0
        order = np.argsort(-found, kind="stable")[: max(MOST - len(active[target]), 0)]
        keep = (found[order] > ENTER) | (np.arange(len(order)) < least - len(active[target]))
        new = order[keep & (order != target) & ~np.isin(order, active[target])]
        active[target] = np.concatenate([active[target], new])
        weights[target] = np.concatenate([weights[target], np.zeros((len(new), screen.k))])
        probability[target] = np.concatenate([probability[target], found[new]])
        precision[target] = np.concatenate([precision[target], 1 / np.maximum(found[new], ENTER)])
    return state._replace(
        active=active, weights=weights, probability=probability, precision=precision, screened=screened
    )


def predictor(rows: Rows, state: State, target: int) -> np.ndarray:
    """Log rate of one unit in every row, the mask included."""
    n_shared, k = rows.cells.shape[1], state.slab.shape[0]
    eta = (rows.cells @ state.base[target, :n_shared])[rows.cell_of]
    eta = eta + state.base[target, n_shared:].astype(np.float32) @ rows.own[target]
    if len(state.active[target]):
        eta = eta + state.weights[target].ravel().astype(np.float32) @ gathered(rows, state.active[target], k)
    mask = rows.mask if isinstance(rows.mask, float) else rows.mask[target]
    return np.minimum(eta, 20.0) + mask


def quadratic(rows: Rows, state: State, target: int, base_precision: np.ndarray, base_mean: np.ndarray) -> Target:
    """The likelihood of one target at its current rates as a quadratic in its edges, base effects eliminated."""
    k, n_shared = state.slab.shape[0], rows.cells.shape[1]
    p0 = state.base.shape[1]
    columns = np.concatenate([rows.own[target], gathered(rows, state.active[target], k)])
    mu = np.exp(predictor(rows, state, target))
    hessian = curvature(rows, target, columns, mu)
    weights = np.concatenate([state.base[target], state.weights[target].ravel()])
    natural = pull(rows, columns, rows.counts[target] - mu) + hessian @ weights
    assert p0 == n_shared + rows.own.shape[1]
    inverse = inverse_positive(hessian[:p0, :p0] + base_precision)
    base_natural = natural[:p0] + base_precision @ base_mean
    cross = hessian[:p0, p0:]
    lean = inverse @ cross
    return Target(
        hessian[p0:, p0:] - cross.T @ lean, natural[p0:] - lean.T @ base_natural, inverse, cross, base_natural
    )


def edge_blocks(matrix: np.ndarray, k: int) -> np.ndarray:
    """Diagonal blocks of a matrix over edges: (edge, k, k)."""
    n = len(matrix) // k
    index = np.arange(n)
    return matrix.reshape(n, k, n, k)[index, :, index]


def expectation(made: Target, precision: np.ndarray, slab_inverse: np.ndarray, root: np.ndarray, rate: float):
    """One step for one target: (weights, probability, precision, sum of second moments in the slab's units)."""
    k, n = len(root), len(precision)
    ridge = precision[:, None, None] * slab_inverse
    whole = made.information.copy()
    index = np.arange(n)
    whole.reshape(n, k, n, k)[index, :, index] += ridge
    covariance = inverse_positive(whole)
    weights = (covariance @ made.natural).reshape(n, k)
    inner = np.linalg.inv(edge_blocks(covariance, k))
    information, natural = inner - ridge, np.einsum("ekl,el->ek", inner, weights)
    factor, mean, spread = edge_factors(information, natural, root)
    probability = probability_of(factor, rate)
    second = np.einsum("e,ekl->kl", probability, mean[:, :, None] * mean[:, None, :] + spread)
    amount = np.trace(root @ information @ root, axis1=1, axis2=2) / k
    return weights, probability, model_average_precision(probability, amount), second


def joint(rows: Rows, state: State, use: np.ndarray, prior: tuple, n_pairs: int, scalar: bool) -> State:
    """EM over edges, their rate and the slab, then new weights; improbable sources leave."""
    made = {target: quadratic(rows, state, target, *prior) for target in use if len(state.active[target])}
    weights, probability, precision = (list(part) for part in (state.weights, state.probability, state.precision))
    slab, rate, k = state.slab, state.rate, len(state.slab)
    for _ in range(EM_STEPS):
        root = symmetric_root(slab)
        inverse, total, second = np.linalg.inv(root @ root), 0.0, np.zeros((k, k))
        for target, part in made.items():
            weights[target], probability[target], precision[target], moments = expectation(
                part, np.minimum(precision[target], 1e6), inverse, root, rate
            )
            total, second = total + probability[target].sum(), second + moments
        rate = float(np.clip(total / max(n_pairs, 1), 1e-4, 0.9))
        if total < 1e-3:  # no edge is left to learn the slab from
            break
        slab = root @ (second / total) @ root
        slab = np.eye(k) * np.trace(slab) / k if scalar else slab
    base, active = state.base.copy(), list(state.active)
    for target, part in made.items():
        keep = probability[target] > ENTER
        left = np.where(keep[:, None], weights[target], 0)
        base[target] = part.base_inverse @ (part.base_natural - part.cross @ left.ravel())
        active[target], weights[target] = active[target][keep], weights[target][keep]
        probability[target], precision[target] = probability[target][keep], precision[target][keep]
    after = State(
        active, weights, base, probability, precision, symmetric_root(slab) @ symmetric_root(slab), rate, state.screened
    )
    return within_reach(rows, state, after, made)


def within_reach(rows: Rows, before: State, after: State, made: dict[int, Target]) -> State:
    """Shorten the approximate step of targets whose log rate would move too far for a quadratic to be right."""
    base, weights = after.base.copy(), list(after.weights)
    for target in made:
        move = np.abs(predictor(rows, after, target) - predictor(rows, before, target)).max()
        if move > LARGEST_MOVE:
            share = LARGEST_MOVE / move
            old = dict(zip(before.active[target].tolist(), before.weights[target]))
            start = np.array([old.get(source, np.zeros(len(after.slab))) for source in after.active[target]])
            base[target] = before.base[target] + share * (base[target] - before.base[target])
            weights[target] = start.reshape(weights[target].shape) + share * (
                weights[target] - start.reshape(weights[target].shape)
            )
    return after._replace(base=base, weights=weights)


class Exact(NamedTuple):
    """MAP of one unit over [shared | own, active sources]."""

    weights: np.ndarray
    covariance: np.ndarray
    grad_norm: float  # of the mean objective


def penalties(state: State, target: int, prior: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Prior precision and mean of one unit's weights, base and active edges: ((p, p), (p,))."""
    k, p0 = len(state.slab), state.base.shape[1]
    size = p0 + k * len(state.active[target])
    penalty, centre = np.zeros((size, size)), np.zeros(size)
    penalty[:p0, :p0], centre[:p0] = prior
    ridge = state.precision[target][:, None, None] * np.linalg.inv(state.slab)
    for edge, block in enumerate(ridge):
        at = slice(p0 + edge * k, p0 + (edge + 1) * k)
        penalty[at, at] = block
    return penalty, centre


def exact(rows: Rows, state: State, target: int, prior: tuple, tolerance: float, covariance: bool = True) -> Exact:
    """Newton's method in double precision, the Hessian from single precision and renewed only where progress is slow."""
    columns = np.concatenate([rows.own[target], gathered(rows, state.active[target], len(state.slab))])
    double, n_rows = columns.astype(float), rows.counts.shape[1]
    penalty, centre = penalties(state, target, prior)
    weights = np.concatenate([state.base[target], state.weights[target].ravel()])
    mask = rows.mask if isinstance(rows.mask, float) else rows.mask[target]
    counts, n_shared = rows.counts[target], rows.cells.shape[1]

    def log_rate(w):
        """Log rate of the target in every row."""
        return (rows.cells @ w[:n_shared])[rows.cell_of] + w[n_shared:] @ double + mask

    def loss(w, eta):
        """Negative log posterior over the number of rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (np.exp(eta).sum() - counts @ eta + 0.5 * (w - centre) @ penalty @ (w - centre)) / n_rows

    eta = log_rate(weights)
    value, factor, norm, before = loss(weights, eta), None, np.inf, np.inf
    for _ in range(60):
        mu = np.exp(eta)
        gradient = pull(rows, double, mu - counts) + penalty @ (weights - centre)
        norm = float(np.abs(gradient).max() / n_rows)
        if norm <= tolerance:
            break
        if factor is None or norm > 0.2 * before:
            factor = positive_factor(curvature(rows, target, columns, mu) + penalty)
        before, move = norm, -cho_solve(factor, gradient, check_finite=False)
        slope, step = float(gradient @ move) / n_rows, 1.0
        d_eta = log_rate(move) - mask
        while step > 1e-6:
            trial = loss(weights + step * move, eta + step * d_eta)
            if trial <= value + 1e-4 * step * slope + 4e-16 * abs(value):
                break
            step /= 2
        else:
            break
        weights, eta, value = weights + step * move, eta + step * d_eta, trial
    if not covariance:
        return Exact(weights, np.zeros((0, 0)), norm)
    return Exact(weights, inverse_positive(curvature(rows, target, columns, np.exp(eta)) + penalty), norm)


def nothing_known(base_coef: np.ndarray, k: int) -> State:
    """No source is active yet; ``base_coef`` (unit, p0) are the weights without coupling."""
    n = len(base_coef)
    none, weights, empty = [np.zeros(0, int)] * n, [np.zeros((0, k))] * n, [np.zeros(0)] * n
    return State(none, weights, base_coef.copy(), empty, list(empty), np.eye(k), 0.1, np.zeros((n, n)))


def learn_screened(
    design: Design, base_coef: np.ndarray, base_prior: Prior, use: np.ndarray, k: int
) -> tuple[Rows, State, tuple]:
    """Rounds of screening and joint EM, from a fit without coupling.

    Parameters
    ----------
    design :
        Rows with ``sources``; its columns are those of the base effects.
    base_coef : (unit, p0)
        Weights of the fit without coupling.
    base_prior :
        Its learned prior, which stays.
    use : (target,)
        Units that are fitted.
    k :
        Weights of an edge.

    Returns
    -------
    (rows, state, (precision, mean) of the base weights)
    """
    rows = sorted_rows(design)
    white = whiten(design, base_prior, grams(design))
    covariance = white.root @ white.covariance @ white.root.T
    inverse_root = np.linalg.inv(white.root)
    base_precision = (inverse_root.T * white.precision[0]) @ inverse_root
    prior = (base_precision, white.mean)
    n = len(design.counts)
    screen = Screen(rows, covariance, k)
    state = nothing_known(base_coef, k)
    off = np.zeros((n, n), bool)
    off[use] = True
    off[np.arange(n), np.arange(n)] = False
    for number in range(ROUNDS):
        mu = np.stack([np.exp(predictor(rows, state, target)) for target in range(n)]).astype(np.float32)
        if number == 0:
            screen.measure(mu)
        score = screen.scores(rows.counts - mu)
        if number == 0:
            assert screen.information is not None
            rate, variance = first_guess(screen.information, score, off)
            state = state._replace(rate=rate, slab=variance * np.eye(k))
        state = enter(state, screen, score, use, FIRST if number == 0 else 0)
        state = joint(rows, state, use, prior, int(off.sum()), scalar=number == 0)
        sizes = [len(state.active[t]) for t in use]
        log.info(
            "coupling, round %d of %d: %.1f sources a unit, edge rate %.3f",
            number + 1,
            ROUNDS,
            np.mean(sizes or [0]),
            state.rate,
        )
    return rows, state, prior
