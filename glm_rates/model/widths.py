"""How wide are intervals really? What the posterior given the learned prior leaves out: the prior's own error, and shapes that no kernel has."""

from __future__ import annotations

import numpy as np

from .design import Design
from .effects import Spread
from .prior import Prior

LEFT = (
    0.5  # determined draws added to those of the other units: a direction that hardly any unit determines stays finite
)
MOST = 40  # units, or groups of units, that are left out
MISFIT_MS = 50  # width of the bins in which residuals are compared with their chance


def with_prior_error(
    design: Design, prior: Prior, root: np.ndarray, z: np.ndarray, spread: list[Spread]
) -> list[Spread]:
    """Posterior covariances with what each unit's weights vary by where the prior is learned without one of the units.

    The jackknife over units (groups of them where there are many) to first order. Without unit j the moments of a block, in standard deviations of the prior, change by
    ``E_j = (Gamma_j - z_j z_j') / sum_{i != j} Gamma_i`` and its mean by ``-z_j / sum_{i != j} Gamma_i``, with Gamma the part that data
    determine (the moments solve ``sum_j z_j z_j' = sum_j Gamma_j``); weights answer by ``C (E_j z + mean)``. Edges of the coupling keep
    their prior.

    Parameters
    ----------
    design, prior, root :
        What was fitted, its prior and the root of its covariance (`prior.Whitened`).
    z : (unit, p)
        Weights in standard deviations of the prior.
    spread :
        Covariances given the prior; units without spikes have empty ones.

    Notes
    -----
    The delta method of Kass & Steffey (1989), with the jackknife as the variance of the prior's moments.
    """
    use = [unit for unit, found in enumerate(spread) if len(found.columns)]
    if len(use) < 2:
        return spread
    z, inverse, out = z[use], np.linalg.inv(root), list(spread)
    group = np.arange(len(use)) % MOST
    moments = {}
    for block, at in design.columns.items():
        if block not in ("constant", "coupling"):
            k = len(prior.covariance[block])
            within = np.stack([_within(spread[unit], inverse, at, k) for unit in use])
            moments[block] = _without(z[:, at].reshape(len(use), -1, k), within, group, block == "history")
    for row, unit in enumerate(use):
        pull = np.zeros((group.max() + 1, z.shape[1]))  # (left out, weight): gradient of the prior's penalty
        for block, (change, shift) in moments.items():
            at = design.columns[block]
            draws = z[row, at].reshape(-1, change.shape[1])
            pull[:, at] = (np.einsum("gkl,rl->grk", change, draws) + shift[:, None]).reshape(len(pull), -1)
        columns, matrix = spread[unit]
        moved = matrix @ (inverse[np.ix_(columns, columns)].T @ pull[:, columns].T)  # root C root' root^-T = root C
        out[unit] = Spread(columns, matrix + (1 - 1 / len(pull)) * moved @ moved.T)
    return out


def _within(spread: Spread, inverse: np.ndarray, at: slice, k: int) -> np.ndarray:
    """Covariance, in standard deviations of the prior, of each draw of a block: (draw, k, k)."""
    inside = np.flatnonzero((spread.columns >= at.start) & (spread.columns < at.stop))
    whitening = inverse[at, at]
    matrix = whitening @ spread.matrix[np.ix_(inside, inside)] @ whitening.T
    draws = np.arange(len(inside) // k)
    return matrix.reshape(len(draws), k, len(draws), k)[draws, :, draws]


def _without(z: np.ndarray, within: np.ndarray, group: np.ndarray, centred: bool) -> tuple[np.ndarray, np.ndarray]:
    """How a block's precision (group, k, k) and mean (group, k) change where a group of units is left out.

    ``z`` (unit, draw, k), ``within`` (unit, draw, k, k), ``group`` (unit,).
    """
    member = (group == np.arange(group.max() + 1)[:, None]).astype(float)  # (group, unit)
    determined = np.einsum("gu,ukl->gkl", member, (np.eye(z.shape[2]) - within).sum(axis=1))
    square = np.einsum("gu,urk,url->gkl", member, z, z, optimize=True)
    each = np.diagonal(determined, axis1=1, axis2=2)
    others = np.maximum(each.sum(axis=0) - each, 0) + LEFT
    change = (determined - square) / np.sqrt(others[:, :, None] * others[:, None, :])
    return change, -(member @ z.sum(axis=1)) / others if centred else 0 * others


def misfit(design: Design, rate: np.ndarray, sd: np.ndarray, taste: np.ndarray, size: np.ndarray, bin_ms: int) -> float:
    """Variance of the log rate about the fitted one that chance does not explain, one number a population.

    Residual spikes of a taste, summed over its trials and 50 ms, scatter by ``V - V^2 h`` where the model holds (V expected spikes, h the
    variance of their log rate), and by ``V^2 misfit`` more where it does not: narrow responses that no kernel has. The estimate is drawn
    towards zero by its own error, so that chance gives none.

    Parameters
    ----------
    rate, sd : (unit, row)
        Expected counts and the standard deviation of their log.
    taste : (trial,)
    size : (unit,)
        Scatter of the counts (`observation`), infinite for Poisson.
    """
    width = max(1, MISFIT_MS // bin_ms)
    shape = (len(rate), len(taste), -1)
    rate = rate if design.valid is None else np.where(design.valid, rate, 0)
    chance = rate + rate**2 / size[:, None]
    extra, weight, error = np.zeros(len(rate)), np.zeros(len(rate)), np.zeros(len(rate))
    for k in np.unique(taste):
        residual, expected, scatter, known = (
            _summed(a.reshape(shape)[:, taste == k], width) for a in (design.counts - rate, rate, chance, rate * sd**2)
        )
        extra += (residual**2 - np.maximum(scatter - expected * known, 0)).sum(axis=1)
        weight += (expected**2).sum(axis=1)
        error += (scatter + 2 * scatter**2).sum(axis=1)
    use = (weight > 0) & (error > 0)
    if not use.any():
        return 0.0
    precision = weight[use] ** 2 / error[use]
    found = (extra[use] / weight[use] * precision).sum() / precision.sum()
    return max(found - 1 / precision.sum() / found, 0.0) if found > 0 else 0.0


def _summed(values: np.ndarray, width: int) -> np.ndarray:
    """Values (unit, trial, bin) summed over trials and over ``width`` bins: (unit, wide bin)."""
    total = values.sum(axis=1)
    whole = total.shape[1] // width * width
    return total[:, :whole].reshape(len(total), -1, width).sum(axis=2)
