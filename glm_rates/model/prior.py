"""Which kernels are typical of this population, and which pairs of units are coupled? Empirical Bayes over units.

Every unit of a population draws its weights from shared Gaussians whose moments are estimated from all units:

    offset ~ N(0, s_o^2)   stimulus ~ N(0, S_c)   deviation ~ N(0, S_d)   history ~ N(m_h, S_h)
    each coupling edge ~ pi N(0, S_e) + (1 - pi) delta_0

Iterate: covariance of each unit, (mean rate x Gram + prior precision)^-1 -> MAP weights (Newton-PCG, preconditioned by that
covariance) -> moments, by EM sped up with MacKay's (1992) fixed point -> inclusion of each edge by its Savage-Dickey Bayes
factor (Dickey 1971). A covariance that few weights determine is drawn towards one of smooth filters, or noise would choose its shape.
Everything is estimated from the rows it is given: who passes training trials only leaks nothing.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from .design import EFFECT_OF, Design
from .solver import Problem, Solution, inverse_positive, single_precision, solve
from .stimuli import arrow_inverse, groups_of, shared_parts

log = logging.getLogger(__name__)

START_VARIANCE = {"offset": 0.05, "stimulus": 0.5, "deviation": 0.2, "laser": 0.1, "coupling": 0.01, "history": 0.05}
EDGES_FROM = 3  # iterations before edges may be dropped: S_e has to be roughly right first
MAP_ERROR = (
    0.1  # gradient that the iterations leave, per prior standard deviation; at 1 variances of noise never vanish
)
ALIKE = 2.0  # determined draws that filters of alike raw cosines count as, in the covariance of a block
UNITS_PER_WEIGHT = 2  # units for each weight of a covariate from which their covariance is learned
DROPPED = 0.01  # edges less probable than this leave the fit


class Prior(NamedTuple):
    """Moments shared by the units of one population, in the coordinates of the orthonormal kernels."""

    covariance: dict[str, np.ndarray]  # block -> (k, k)
    history_mean: np.ndarray  # (K,)
    edge_rate: float  # pi
    inclusion: np.ndarray  # (target, source) posterior probability of each edge; diagonal 0
    edge_precision: (
        np.ndarray
    )  # (target, source) in units of S_e^-1: shrinks an edge to its model average; inf = dropped
    n_iterations: int = 0


class Whitened(NamedTuple):
    """The regression in units of the prior's standard deviations: ``w = mean + root z``, z ~ N(0, 1 / precision)."""

    problem: Problem  # penalties are precision / rows
    root: np.ndarray  # (p, p) block diagonal
    mean: np.ndarray  # (p,)
    precision: np.ndarray  # (unit, p): 0 for the constant, infinite for dropped edges
    hessian: np.ndarray  # (unit, p, p) of the likelihood at the mean rate
    covariance: np.ndarray  # (unit, p, p) posterior; zero rows for dropped edges


class Grams(NamedTuple):
    """X'X, X'H_n and H_n'H_n: computed once for a set of rows, whitened afresh in each iteration."""

    shared: np.ndarray
    cross: np.ndarray
    own: np.ndarray


def grams(design: Design) -> Grams:
    """Gram matrices of a design's rows."""
    n_units, n_rows, n_own = design.own.shape
    flat = design.own.transpose(1, 0, 2).reshape(n_rows, n_units * n_own)
    cross = (design.shared.T @ flat).reshape(design.n_shared, n_units, n_own).transpose(1, 0, 2)
    return Grams(design.shared.T @ design.shared, cross, np.matmul(design.own.transpose(0, 2, 1), design.own))


def kernel_size(design: Design, block: str) -> int:
    """Number of coefficients that ``block`` draws together from its Gaussian.

    Those of a covariate are drawn one by one where the population is too small to tell their covariance.
    """
    if block in design.curves:
        size = design.curves[block][1].shape[1]
        return size if UNITS_PER_WEIGHT * size <= len(design.counts) else 1
    return design.kernels[EFFECT_OF[block]].size if block in EFFECT_OF else 1


def initial_prior(design: Design, like: Prior | None = None) -> Prior:
    """A broad start; blocks that a smaller model of the same trials has learned are taken from ``like``."""
    n_units = len(design.counts)
    blocks = [block for block in design.columns if block != "constant"]
    covariance = {block: START_VARIANCE.get(block, 0.1) * np.eye(kernel_size(design, block)) for block in blocks}
    mean = np.zeros(design.own.shape[2])
    if like is not None:
        covariance |= {block: value for block, value in like.covariance.items() if block in covariance}
        mean = like.history_mean if len(like.history_mean) == len(mean) else mean
    every_edge = np.ones((n_units, n_units)) - np.eye(n_units)
    return Prior(covariance, mean, 0.1, every_edge, np.where(every_edge > 0, 1.0, np.inf))


def _root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric square root with a floor that keeps whitening invertible."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, max(values[-1], 1e-10) * 1e-6))) @ vectors.T


def whiten(design: Design, prior: Prior, gram: Grams) -> Whitened:
    """Express the regression in units of the prior and compute each unit's covariance at its mean rate."""
    root, mean = np.eye(design.n_coef), np.zeros(design.n_coef)
    for block, columns in design.columns.items():
        if block == "constant":
            continue
        part = _root(prior.covariance[block])
        root[columns, columns] = np.kron(np.eye((columns.stop - columns.start) // len(part)), part)
        if block == "history":
            mean[columns] = prior.history_mean
    precision = np.ones((len(design.counts), design.n_coef))
    precision[:, 0] = 0
    if "coupling" in design.columns:
        precision[:, design.columns["coupling"]] = np.repeat(
            prior.edge_precision, kernel_size(design, "coupling"), axis=1
        )
    offset = (design.own @ prior.history_mean if design.own.shape[2] else 0.0) + design.mask
    penalty, parts = precision / design.counts.shape[1], shared_parts(design)
    problem = Problem(design.shared, design.own, design.counts, penalty, offset, root, parts)
    return Whitened(problem, root, mean, precision, *_covariances(design, gram, root, precision))


def _covariances(design: Design, gram: Grams, root: np.ndarray, precision: np.ndarray):
    """Likelihood Hessian and posterior covariance of every unit at its mean rate, both (unit, p, p)."""
    n_units, n_shared, n_coef = len(design.counts), design.n_shared, design.n_coef
    left, right = root[:n_shared, :n_shared], root[n_shared:, n_shared:]
    hessian = np.empty((n_units, n_coef, n_coef))
    hessian[:, :n_shared, :n_shared] = left.T @ gram.shared @ left
    hessian[:, :n_shared, n_shared:] = left.T @ gram.cross @ right
    hessian[:, n_shared:, :n_shared] = hessian[:, :n_shared, n_shared:].transpose(0, 2, 1)
    hessian[:, n_shared:, n_shared:] = right.T @ gram.own @ right
    hessian *= np.maximum(design.counts.mean(axis=1), 0.5 / design.counts.shape[1])[:, None, None]
    covariance, groups = np.zeros_like(hessian), groups_of(design)
    for unit in range(n_units):
        keep = np.flatnonzero(np.isfinite(precision[unit]))
        inner = hessian[unit][np.ix_(keep, keep)]
        inner[np.diag_indices_from(inner)] += precision[unit, keep]
        found = inverse_positive(inner) if groups is None else arrow_inverse(inner, groups, keep)
        covariance[unit][np.ix_(keep, keep)] = found
    return hessian, covariance


def map_weights(
    white: Whitened, start: np.ndarray | None = None, *, tolerance: float, method: str = "pcg", **how: Any
) -> Solution:
    """MAP weights z under a fixed prior, starting from weights w; `Solution.coef` is in whitened coordinates.

    ``how`` goes on to `solver.solve`.
    """
    z = None if start is None else np.linalg.solve(white.root, (start - white.mean).T).T
    n_rows = white.problem.counts.shape[1]
    inverse = (n_rows * white.covariance).astype(np.float32)

    def precondition(units, vectors):
        """Posterior covariance of each unit times its vector: (unit, p)."""
        chosen = inverse if len(units) == len(inverse) else inverse[units]
        return np.matmul(chosen, vectors[..., None])[..., 0]

    return solve(white.problem, z, method=method, tolerance=tolerance, precondition=precondition, **how)


def learn(
    design: Design,
    like: Prior | None = None,
    *,
    edges: bool = True,
    isotropic: bool = False,
    max_iterations: int = 20,
    stop_at: float = 0.03,
) -> tuple[Prior, np.ndarray | None]:
    """Estimate the prior from the rows of ``design``.

    Parameters
    ----------
    design :
        Training rows of one population.
    like :
        Prior of a smaller model of the same rows, as the starting point.
    edges :
        Spike-and-slab coupling; False keeps every edge.
    isotropic :
        One variance for each block instead of a full covariance, and no mean history ("blocks").
    max_iterations, stop_at :
        Stop when no block's variance changes by more than this fraction.

    Returns
    -------
    (Prior, coef)
        ``coef`` (unit, p), the weights at the last iteration: a warm start.
    """
    prior, gram = initial_prior(design, like), grams(design)
    coef: np.ndarray | None = None
    use = np.flatnonzero(design.counts.sum(axis=1) >= 2)
    if not len(use):
        return prior, np.zeros((len(design.counts), design.n_coef))
    single = single_precision(design.shared, design.own, shared_parts(design))
    for iteration in range(max_iterations):
        white = whiten(design, prior, gram)
        solution = map_weights(white, coef, tolerance=MAP_ERROR / len(design.shared), single=single, coarse=True)
        coef = white.mean + solution.coef @ white.root.T
        select = edges and iteration >= EDGES_FROM and "coupling" in design.columns
        update = _update(design, prior, white, solution.coef, use, select, isotropic)
        change = [abs(np.trace(new) / np.trace(prior.covariance[b]) - 1) for b, new in update.covariance.items()]
        change.append(abs(update.edge_rate / prior.edge_rate - 1))
        prior = update._replace(n_iterations=iteration + 1)
        if not change or (max(change) < stop_at and iteration > EDGES_FROM):
            break
    log.debug("prior after %d iterations, edge rate %.3f", prior.n_iterations, prior.edge_rate)
    return prior, coef


def _update(design, prior, white, z, use, select, isotropic) -> Prior:
    covariance, mean = {}, prior.history_mean
    edge_rate, inclusion, edge_precision = prior.edge_rate, prior.inclusion, prior.edge_precision
    for block, columns in design.columns.items():
        if block == "constant":
            continue
        k = len(prior.covariance[block])
        if block == "coupling":
            edge = edge_posterior(white, z, columns, k, prior.edge_rate if select else 1.0)
            probability, second = edge.probability[use], edge.second_moment[use]
            draws = probability.sum()
            new = np.einsum("us,uskl->kl", probability, second) / max(probability.sum(), 1e-9)
            if select:
                n_pairs = max(len(use) * (len(inclusion) - 1), 1)
                edge_rate = float(np.clip(probability.sum() / n_pairs, 1e-3, 0.9))
                inclusion = np.zeros_like(inclusion)
                inclusion[use] = probability
                edge_precision = model_average_precision(inclusion, edge.information)
            if isotropic:
                new = np.eye(k) * np.trace(new) / k
        else:
            centred, spread = block == "history" and not isotropic, white.covariance[use, columns, columns]
            shift, new = _moments(z[use, columns], spread, k, centred, isotropic)
            draws = (
                spread.shape[1] - np.trace(spread, axis1=1, axis2=2)
            ).sum() / k  # as far as the data determine them
        root = _root(prior.covariance[block])
        covariance[block] = root @ new @ root
        if not isotropic:
            covariance[block] = towards_smooth(covariance[block], shape_of(design, block, k), draws)
        if block == "history":
            mean = prior.history_mean + root @ shift
    return Prior(covariance, mean, edge_rate, inclusion, edge_precision)


def shape_of(design: Design, block: str, k: int) -> np.ndarray:
    """Covariance, of trace 1, of a block's weights where all raw cosines (or all columns of a covariate) vary alike: (k, k)."""
    spread = design.kernels[EFFECT_OF[block]].spread if block in EFFECT_OF else np.full(k, 1 / k)
    return np.diag(spread)


def towards_smooth(covariance: np.ndarray, shape: np.ndarray, draws: float) -> np.ndarray:
    """Draw a covariance that ``draws`` determined weights have estimated towards ``shape``, its trace kept.

    The mean of an inverse Wishart whose centre counts as `ALIKE` draws: from few units, or units whose data say little, the estimate
    would else follow the one direction in which noise happens to lie.
    """
    weight = ALIKE / (max(draws, 0.0) + ALIKE)
    return (1 - weight) * covariance + weight * np.trace(covariance) * shape


def _moments(z, covariance, k: int, centred: bool, isotropic: bool):
    """New (mean, second moment) of a Gaussian block in whitened coordinates: EM times MacKay's ratio, clipped.

    ``z`` (unit, repeats x k), ``covariance`` (unit, repeats x k, repeats x k).
    """
    repeats = z.shape[1] // k
    draws = z.reshape(-1, k)
    diagonal = np.arange(repeats)
    spread = covariance.reshape(len(z), repeats, k, repeats, k)[:, diagonal, :, diagonal].reshape(-1, k, k).mean(axis=0)
    mean = draws.mean(axis=0) if centred else np.zeros(k)
    square = (draws - mean).T @ (draws - mean) / len(draws)
    em = square + spread
    determined = max(k - np.trace(spread), 1e-3)  # MacKay's gamma, for one draw
    ratio = np.clip((np.trace(square) / determined) / (np.trace(em) / k), 0.2, 1.5)
    return mean, ratio * (np.eye(k) * np.trace(em) / k if isotropic else em)


class Edges(NamedTuple):
    """What the data say about every edge; the diagonal, a unit's edge to itself, has probability 0."""

    probability: np.ndarray  # (target, source)
    second_moment: np.ndarray  # (target, source, k, k) under the slab
    information: np.ndarray  # (target, source) mean over the k weights


def model_average_precision(probability: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Ridge precision whose MAP weight equals ``probability`` times the slab's posterior mean.

    With information J and slab N(0, 1): J / (J + lambda) = r J / (J + 1), so lambda = (1 + J (1 - r)) / r.
    """
    r = np.maximum(probability, DROPPED)
    return np.where(probability > DROPPED, (1 + np.maximum(information, 0) * (1 - r)) / r, np.inf)


def edge_posterior(white: Whitened, z: np.ndarray, columns: slice, k: int, edge_rate: float) -> Edges:
    """Posterior probability of each edge and second moment of its weights, given the other weights' posterior.

    For edge e the likelihood of its k weights, the others integrated out, is Gaussian with information J and natural
    mean b. With a slab N(0, I), log BF = -1/2 log|I + J| + 1/2 b' (I + J)^-1 b.
    """
    n_units = len(z)
    problem = white.problem
    residual = problem.counts - np.exp(problem.predict(z) + problem.offset)
    score = problem.columns.pull_back(residual)[:, columns].reshape(n_units, -1, k)
    information, natural = np.empty((n_units, n_units, k, k)), np.empty((n_units, n_units, k))
    index = np.arange(n_units)
    for unit in range(n_units):
        precision = white.precision[unit, columns][::k]
        kept, hessian = np.isfinite(precision), white.hessian[unit]
        spread = white.covariance[unit, columns, columns].reshape(n_units, k, n_units, k)[index, :, index]
        inverse = np.linalg.inv(np.where(kept[:, None, None], spread, np.eye(k)))
        lean = (white.covariance[unit] @ hessian[:, columns]).reshape(-1, n_units, k)
        through = np.einsum("psk,psl->skl", hessian[:, columns].reshape(-1, n_units, k), lean)
        alone = hessian[columns, columns].reshape(n_units, k, n_units, k)[index, :, index] - through
        own = np.where(kept, precision, 0)[:, None, None] * np.eye(k)
        information[unit] = np.where(kept[:, None, None], inverse - own, alone)
        value = z[unit, columns].reshape(n_units, k)
        natural[unit] = np.where(kept[:, None], np.einsum("skl,sl->sk", inverse, value), score[unit])
    slab = np.linalg.inv(information + np.eye(k))
    mean = np.einsum("uskl,usl->usk", slab, natural)
    log_factor = 0.5 * np.linalg.slogdet(slab)[1] + 0.5 * (natural * mean).sum(axis=-1)
    prior_odds = np.log(edge_rate) - np.log1p(-min(edge_rate, 1 - 1e-12))
    probability = 1 / (1 + np.exp(-np.clip(prior_odds + log_factor, -500, 500)))
    if edge_rate == 1.0:
        probability = np.ones_like(probability)
    probability[index, index] = 0
    second = mean[..., None] * mean[..., None, :] + slab
    return Edges(probability, second, np.trace(information, axis1=2, axis2=3) / k)
