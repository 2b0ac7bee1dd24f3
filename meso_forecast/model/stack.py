"""Which linear forecaster can be trusted on this recording? A stack, chosen by blocked cross-validation.

Members: an autoregression (AR) and an autoregression with lags of the population's latents (AR+VAR), each around four references
(training mean, last value, context mean, slow mean); where there is behaviour, each also with it; persistence; the training mean. Orders and penalties are chosen by blocked
cross-validation over training and validation together, the members are mixed by convex weights per horizon that minimise the
held-out squared error, and everything is refitted on training and validation. As all members are linear in the same columns the
result is one linear map. The training mean is always a candidate, so that noise is forecast as noise. Where the mixture fitted before
the last block does not beat the last value in it beyond chance, the last value is the forecast: a random walk looks drawn to the mean
of blocks on both sides of it, and is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import nnls

from ..activity.windows import Panel, blocks_of, columns_of, gather, window_origins
from .linear import (
    CHUNK_WINDOWS,
    REFERENCES,
    Columns,
    Design,
    Moments,
    Reduced,
    Series,
    design,
    moments,
    own_columns,
    principal_basis,
    raw_weights,
    reduce,
    ridge,
    row_chunks,
    series_of,
    shared_columns,
    shared_series,
    squared_error,
    take_blocks,
)

ORDERS = (2, 4, 8, 16, 32)
OWN_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
SHAPES = ((32, 4), (16, 8), (8, 16), (24, 12))  # latents, lags
SHARED_PENALTIES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
INPUT_LAGS = 8  #: frames of behaviour that are seen
N_BLOCKS = 5
LATE_BLOCKS, FEWEST_BLOCKS = 10, 4  #: of windows, from which chance is told
CONFIDENCE = 0.975  #: that a gain is none by chance
SELECTION_NEURONS = 128
FIT_NEURONS = 256
RESIDUAL_BYTES = 2**26


class Member(NamedTuple):
    """One regression of the stack and its hyper-parameters."""

    reference: str
    order: int = 0  #: own lags; 0: the reference itself is the forecast
    own_penalty: float = 0.0
    rank: int = 0
    lags: int = 0
    shared_penalty: float = np.inf
    joint: bool = True
    behaviour: bool = False  #: sees behaviour, where there is any

    @property
    def columns(self) -> tuple:
        """Return what the member's columns depend on."""
        return self.reference, self.order, self.rank, self.lags, self.behaviour

    def design(self, c: Columns) -> Design:
        """Return this member's change of columns."""
        return design(c, self.reference, self.order, self.rank, self.lags, self.behaviour)

    def solve(self, r: Reduced, n_own: int, horizon: int):
        """Return own and shared weights fitted on summed moments."""
        if self.order == 0:
            return np.zeros((len(r.xx), r.xx.shape[-1], horizon)), np.zeros((len(r.xx), r.zz.shape[0], horizon))
        return ridge(r, self.own_penalty, self.shared_penalty, self.joint)


LAST = Member("last")  #: persistence


class Plan(NamedTuple):
    """Everything the final fit needs, chosen on a sample of neurons."""

    columns: Columns
    basis: np.ndarray
    members: list[Member]
    weights: np.ndarray
    cv_mse: np.ndarray


def training_windows(panel: Panel, context: int, horizon: int, parts=(0, 1), n_blocks: int = N_BLOCKS):
    """Return origins of all windows used for fitting and their cross-validation block (windows on block edges left out)."""
    origins = window_origins(panel.usable, panel.label, parts, context, horizon)
    return origins, blocks_of(origins, horizon, n_blocks)


def choose(candidates: list[Member], m: Moments, c: Columns) -> Member:
    """Return the member with the least held-out squared error, summed over neurons and horizons."""
    reduced = {member.columns: reduce(m, member.design(c)) for member in candidates}
    return min(candidates, key=lambda member: held_out_error(member, reduced[member.columns], c).sum())


def held_out_error(member: Member, r: Reduced, c: Columns) -> np.ndarray:
    """Return the summed held-out squared error per horizon of one member."""
    total, folds = take_blocks(r, np.arange(len(r.n))), range(len(r.n))
    error = np.zeros(c.horizon)
    for k in folds:
        test = take_blocks(r, [k])
        a, b = member.solve(subtract(total, test), c.n_own, c.horizon)
        error += squared_error(test, a, b).sum(0)
    return error


def subtract(total: Reduced, part: Reduced) -> Reduced:
    """Return the moments of all windows but those of ``part``."""
    return Reduced(*(t - p for t, p in zip(total, part)))


def choose_members(m: Moments, c: Columns, references=REFERENCES) -> list[Member]:
    """Return the stack's members with hyper-parameters chosen by blocked cross-validation."""
    orders = [p for p in ORDERS if p <= c.order] or [c.order]
    shapes = [(min(k, c.rank), min(q, c.lags)) for k, q in SHAPES]
    members, shape = [], None
    for reference in references:
        ar = choose([Member(reference, p, OWN_PENALTIES[1]) for p in orders], m, c)
        ar = choose([ar._replace(own_penalty=penalty) for penalty in OWN_PENALTIES], m, c)
        members.append(ar)
        if c.rank >= 2:
            if shape is None:
                shape = choose(
                    [ar._replace(rank=k, lags=q, shared_penalty=1e-2) for k, q in dict.fromkeys(shapes)], m, c
                )
            var = ar._replace(rank=shape.rank, lags=shape.lags)
            var = choose([var._replace(shared_penalty=penalty) for penalty in SHARED_PENALTIES], m, c)
            members.append(choose([var, var._replace(joint=False)], m, c))
        if c.n_shared > c.n_latent:
            seeing = members[-1]._replace(behaviour=True, joint=True)
            members.append(choose([seeing._replace(shared_penalty=p) for p in SHARED_PENALTIES], m, c))
    return [*members, LAST, Member("mean")]


def error_products(members: list[Member], m: Moments, c: Columns) -> np.ndarray:
    """Return mean products of the members' held-out errors, (horizon, member, member)."""
    n_blocks, n_neurons = m.own.shape[:2]
    parts = [
        (member, (d := member.design(c)), (r := reduce(m, d)), take_blocks(r, np.arange(n_blocks)))
        for member in members
    ]
    products = np.zeros((c.horizon, len(members), len(members)))
    for k in range(n_blocks):
        own = np.zeros((len(members), n_neurons, c.n_own + c.horizon, c.horizon))
        shared = np.zeros((len(members), n_neurons, c.n_shared, c.horizon))
        for i, (member, d, r, total) in enumerate(parts):
            u, s = raw_weights(c, d, *member.solve(subtract(total, take_blocks(r, [k])), c.n_own, c.horizon))
            own[i, :, : c.n_own], shared[i] = -u, -s.swapaxes(0, 1)
            own[i, :, c.n_own + np.arange(c.horizon), np.arange(c.horizon)] = 1
        used = np.flatnonzero(shared.any((0, 1, 3)))  # most shared columns were for shapes that were not chosen
        shared, cross = shared[:, :, used], m.cross[k][:, :, used]
        left = m.own[k] @ own + cross @ shared
        below = cross.swapaxes(1, 2) @ own + m.shared[k][np.ix_(used, used)] @ shared
        products += np.einsum("indh,jndh->hij", own, left, optimize=True)
        products += np.einsum("indh,jndh->hij", shared, below, optimize=True)
    return products / (m.n_windows.sum() * n_neurons)


def convex_weights(products: np.ndarray) -> np.ndarray:
    """Return the weights, non-negative and summing to one, that minimise ``w' products w``.

    >>> convex_weights(np.array([[1.0, 0.0], [0.0, 1.0]])).round(3).tolist()
    [0.5, 0.5]
    """
    scale = np.trace(products) / len(products)
    root = np.linalg.cholesky(products / scale + 1e-10 * np.eye(len(products))).T
    heavy = 1e4
    weights, _ = nnls(np.vstack([root, np.full(len(products), heavy)]), np.r_[np.zeros(len(products)), heavy])
    return weights / weights.sum()


def plan_stack(
    panel: Panel, context: int, horizon: int, seed: int = 0, choose_members=choose_members, population: bool = True
) -> Plan:
    """Choose the stack on a sample of neurons; see the module's docstring.

    Parameters
    ----------
    panel : the recording; only its training and validation frames are used.
    context, horizon : window in frames.
    seed : seed of the sample of neurons and of the principal directions.
    choose_members : ``(moments, columns) -> members``, the rule that chooses.
    population : whether a neuron's forecast may use the others.
    """
    n_neurons = panel.x.shape[1]
    origins, block = training_windows(panel, context, horizon)
    if len(origins) < 10 * N_BLOCKS:
        raise ValueError(f"only {len(origins)} windows of {context} + {horizon} frames for training; 50 are needed")
    rank = min(max(k for k, _ in SHAPES), n_neurons)
    lags = min(max(q for _, q in SHAPES), context)
    inputs, known = (0 if given is None else given.shape[1] for given in (panel.inputs, panel.known))
    if rank < 2 or not population:
        rank = lags = 0
    c = Columns(
        context,
        horizon,
        min(max(ORDERS), context),
        rank,
        lags,
        inputs,
        min(INPUT_LAGS, context) if inputs else 0,
        known,
    )
    frames = np.flatnonzero(panel.usable & (panel.label >= 0) & (panel.label <= 1))
    basis = principal_basis(panel.x, frames, rank, seed)
    sample = np.sort(np.random.default_rng(seed).choice(n_neurons, min(n_neurons, SELECTION_NEURONS), replace=False))
    latents = shared_series(panel, c, basis)
    m = moments(panel, origins, block, c, latents, sample)
    members = choose_members(m, c)
    products = error_products(members, m, c)
    weights = np.stack([convex_weights(p) for p in products], axis=1)
    cv_mse = np.diagonal(products, axis1=1, axis2=2).T
    plan = Plan(c, basis, members, weights, cv_mse)
    if LAST in members and not beats_last(plan, m, panel._replace(x=columns_of(panel.x, sample)), latents):
        alone = np.array([float(member == LAST) for member in members])
        plan = plan._replace(weights=np.repeat(alone[:, None], horizon, axis=1))
    return compact(plan)


def beats_last(plan: Plan, m: Moments, panel: Panel, latents: Series | None) -> bool:
    """Return whether the mixture, fitted on all blocks but the last, beats the last value in that block beyond chance.

    ``m`` and ``panel`` are of the same neurons.
    """
    c = plan.columns
    origins, block = training_windows(panel, c.context, c.horizon)
    late = origins[block == block.max()]
    reduced = [(d := member.design(c), reduce(m, d)) for member in plan.members]
    fold, every = [mixed_weights(plan, reduced, block.max())], slice(0, panel.x.shape[1])
    error = held_out_residuals(c, panel, every, late, np.zeros(len(late), int), latents, fold)
    last = gather(panel.x, late, 1, c.horizon) - panel.x[late][:, None]
    return beyond_chance((last.astype(float) ** 2 - error**2).mean((1, 2)))


def beyond_chance(gain: np.ndarray, n_blocks: int = LATE_BLOCKS) -> bool:
    """Return whether a mean gain (window,) is above zero beyond chance, one-sided, from blocks of time; True where too few can tell.

    >>> beyond_chance(np.ones(40) + np.arange(40) % 2), beyond_chance(-np.ones(40))
    (True, False)
    """
    n_blocks = min(n_blocks, len(gain) // 2)
    if n_blocks < FEWEST_BLOCKS:
        return True
    block = np.arange(len(gain)) * n_blocks // len(gain)
    means = np.bincount(block, gain) / np.bincount(block)
    return bool(means.mean() > stats.t.ppf(CONFIDENCE, n_blocks - 1) * means.std(ddof=1) / np.sqrt(n_blocks))


def compact(plan: Plan) -> Plan:
    """Return the plan without columns that no member with weight uses."""
    used = [m for m, w in zip(plan.members, plan.weights) if w.max() > 1e-6]
    weights = plan.weights[[i for i, w in enumerate(plan.weights) if w.max() > 1e-6]]
    rank, lags = max(m.rank for m in used), max(m.lags for m in used)
    order = max(1, max(m.order for m in used))
    cv = np.stack([e for e, w in zip(plan.cv_mse, plan.weights) if w.max() > 1e-6])
    c = plan.columns._replace(order=order, rank=rank, lags=lags)
    if not any(m.behaviour for m in used):
        c = c._replace(inputs=0, input_lags=0, known=0)
    return plan._replace(
        columns=c, basis=plan.basis[:, :rank], members=used, weights=weights / weights.sum(0), cv_mse=cv
    )


def mixed_weights(plan: Plan, reduced: list[tuple[Design, Reduced]], left_out: int | None):
    """Return raw weights of the mixture, fitted on all blocks but ``left_out``."""
    own = shared = 0
    c = plan.columns
    for member, w, (d, r) in zip(plan.members, plan.weights, reduced):
        total = take_blocks(r, [k for k in range(len(r.n)) if k != left_out])
        u, s = raw_weights(c, d, *member.solve(total, c.n_own, c.horizon))
        own, shared = own + w * u, shared + w * s
    return own, shared


def neurons_at_once(n_windows: int, horizon: int) -> int:
    """Return how many neurons' residuals fit into ``RESIDUAL_BYTES``, at most ``FIT_NEURONS``."""
    return min(FIT_NEURONS, max(1, RESIDUAL_BYTES // (4 * horizon * max(n_windows, 1))))


def fit_chunks(plan: Plan, panel: Panel) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield ``(neurons, own weights, shared weights, held-out residuals)`` chunk by chunk, in bounded memory.

    The residuals (window, horizon, neuron) float32 are targets minus the forecast of the fold that did not see the window's
    block; windows on block edges hold NaN.
    """
    c = plan.columns
    origins, block = training_windows(panel, c.context, c.horizon)
    latents = shared_series(panel, c, plan.basis)
    for part in row_chunks(panel.x.shape[1], neurons_at_once(len(origins), c.horizon)):
        m = moments(panel, origins, block, c, latents, part)
        reduced = [(d := member.design(c), reduce(m, d)) for member in plan.members]
        folds = [mixed_weights(plan, reduced, k) for k in range(len(m.n_windows))]
        residual = held_out_residuals(c, panel, part, origins, block, latents, folds)
        yield part, *mixed_weights(plan, reduced, None), residual


def held_out_residuals(
    c: Columns, panel: Panel, part: slice, origins, block, latents: Series | None, folds
) -> np.ndarray:
    """Return targets minus the forecasts of each block's fold, (window, horizon, neuron) float32; NaN on block edges."""
    residual = np.full((len(origins), c.horizon, part.stop - part.start), np.nan, np.float32)
    for small in row_chunks(part.stop - part.start):
        s = series_of(columns_of(panel.x, slice(part.start + small.start, part.start + small.stop)), panel.usable)
        for k, (own, shared) in enumerate(folds):
            members = np.flatnonzero(block == k)
            for rows in (members[chunk] for chunk in row_chunks(len(members), CHUNK_WINDOWS)):
                v = own_columns(s, origins[rows], c, targets=True)
                error = (v[:, :, c.n_own :] - np.matmul(v[:, :, : c.n_own], own[small])).transpose(1, 2, 0)
                if latents is not None:
                    z = shared_columns(latents, origins[rows], c) @ shared[:, small].reshape(c.n_shared, -1)
                    error = error - z.reshape(len(rows), -1, c.horizon).swapaxes(1, 2)
                residual[rows, :, small] = error
    return residual
