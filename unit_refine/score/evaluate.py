"""How good is the classifier on recordings it has not seen, how sure is that number, and which metrics does it rest on?

All scores compare known labels with predictions for units whose whole recording was held out. Intervals resample recordings (not
units: units of one recording are alike).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import norm
from scipy.stats import t as student_t

from ..model.decisions import HeldOut, abstain, balanced_accuracy, decide
from ..model.pipelines import probabilities

BINS = 10
SCORES = ("balanced_accuracy", "precision", "recall", "roc_auc", "ece")


class Scores(NamedTuple):
    """Scores with their 95 % intervals."""

    values: dict[str, float]  #: SCORES, and per class ``precision_<class>``, ``recall_<class>``
    low: dict[str, float]  #: lower ends, see `interval`
    high: dict[str, float]  #: upper ends
    confusion: np.ndarray  #: (K, K) units, rows the curator's class, columns the predicted one
    by_group: list[dict[str, Any]]  #: the same scores for each recording
    new_recording: tuple[float, float]  #: 95 % prediction interval for the balanced accuracy of one further recording
    resampled: str  #: what the interval resamples: recordings, or units where there is only one recording


def confusion_matrix(y: np.ndarray, guess: np.ndarray, n_classes: int) -> np.ndarray:
    """Return (K, K) counts, rows truth, columns prediction."""
    return np.bincount(y * n_classes + guess, minlength=n_classes**2).reshape(n_classes, n_classes).astype(float)


def from_confusion(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return per-class precision and recall, (..., K) each, of confusion matrices (..., K, K).

    A class without units has NaN recall; a class that is never predicted has precision 0 (NaN where it has no units either).
    """
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    truth, called = matrix.sum(axis=-1), matrix.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(truth > 0, hits / truth, np.nan)
        precision = np.where(called > 0, hits / called, np.where(truth > 0, 0.0, np.nan))
    return precision, recall


def pair_wins(score: np.ndarray, positive: np.ndarray, blocks: np.ndarray, n_blocks: int) -> np.ndarray:
    """Return (B, B) wins: entry gh counts pairs (positive of block g, negative of block h) in which the positive scores higher.

    A tie counts one half. The sum over all entries, divided by the number of pairs, is the area under the ROC curve; weighting
    rows and columns gives the area for resampled blocks without sorting again.
    """
    wins = np.zeros((n_blocks, n_blocks))
    for h in range(n_blocks):
        negatives = np.sort(score[~positive & (blocks == h)])
        s = score[positive]
        below = np.searchsorted(negatives, s, "left") + np.searchsorted(negatives, s, "right")
        wins[:, h] = np.bincount(blocks[positive], weights=below / 2, minlength=n_blocks)
    return wins


def auc_of(weights: np.ndarray, parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return macro one-against-rest ROC areas, (R,), for block weights (R, B)."""
    areas = []
    for wins, n_positive, n_negative in parts:
        with np.errstate(invalid="ignore", divide="ignore"):
            pairs = (weights @ n_positive) * (weights @ n_negative)
            areas.append(np.einsum("rg,gh,rh->r", weights, wins, weights) / np.where(pairs > 0, pairs, np.nan))
    return np.nanmean(np.array(areas), axis=0) if len(areas) > 1 else areas[0]


def bin_edges(p: np.ndarray) -> np.ndarray:
    """Return inner edges of bins that hold equally many units."""
    return np.unique(np.quantile(p, np.linspace(0, 1, BINS + 1)[1:-1]))


def calibration_parts(p: np.ndarray, y: np.ndarray, blocks: np.ndarray, n_blocks: int) -> list[np.ndarray]:
    """Return for each class (B, bins): sum of (occurrence - probability) over the units of a block in a probability bin."""
    parts = []
    for k in range(p.shape[1]):
        where = np.searchsorted(bin_edges(p[:, k]), p[:, k], "right")
        flat = np.bincount(blocks * BINS + where, weights=(y == k) - p[:, k], minlength=n_blocks * BINS)
        parts.append(flat.reshape(n_blocks, BINS))
    return parts


def calibration_error(p: np.ndarray, y: np.ndarray) -> float:
    """Return the expected calibration error: mean over classes and ten equally filled bins of |frequency - mean probability|."""
    parts = calibration_parts(p, y, np.zeros(len(y), int), 1)
    return float(np.mean([np.abs(part.sum(axis=0)).sum() for part in parts]) / len(y))


def balanced_calibration_error(p: np.ndarray, y: np.ndarray) -> float:
    """Return the calibration error in a world where all classes are equally frequent."""
    shares = np.bincount(y, minlength=p.shape[1]) / len(y)
    q = p / np.maximum(shares, 1e-9)
    q /= q.sum(axis=1, keepdims=True)
    weight = (1 / np.maximum(shares, 1e-9))[y]
    errors = []
    for k in range(p.shape[1]):
        where = np.searchsorted(bin_edges(q[:, k]), q[:, k], "right")
        gap = np.bincount(where, weights=weight * ((y == k) - q[:, k]), minlength=BINS)
        errors.append(np.abs(gap).sum() / weight.sum())
    return float(np.mean(errors))


class Resampled(NamedTuple):
    """What an interval resamples."""

    block: np.ndarray  #: (n,) block of each unit
    n_blocks: int
    kind: str  #: recordings, or units where there is one recording only (in up to fifty blocks)
    weights: np.ndarray  #: (1 + R, B) how often each block is drawn; the first row: each once


def resample(groups: np.ndarray, n_units: int, draws: int, seed: int) -> Resampled:
    """Return blocks of units and R draws of them with replacement: recordings, since units of one recording are alike."""
    names, block = np.unique(groups, return_inverse=True)
    n_blocks, kind, rng = len(names), "recordings", np.random.default_rng(seed)
    if n_blocks == 1:
        n_blocks, kind = min(n_units, 50), "units"
        block = np.random.default_rng(seed).permutation(n_units) % n_blocks
    drawn = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=draws)
    return Resampled(block, n_blocks, kind, np.concatenate([np.ones((1, n_blocks)), drawn]))


def interval(values: np.ndarray, n_blocks: int, lowest: float = 0.0, highest: float = 1.0) -> tuple[float, float]:
    """Return the 95 % interval of values[0], an estimate, from values[1:], the same of resampled blocks; NaN with one block.

    The quantiles' distances from the median are stretched by sqrt(G / (G - 1)) t(G - 1) / z for G blocks, t and z the 97.5 %
    quantiles: a bootstrap divides by G, and has no doubt about the spread that it sees. For the mean of four recordings its own
    quantiles hold the truth in about 80 %. The estimate itself always lies inside.
    """
    if n_blocks < 2 or np.isnan(values[1:]).all():  # one recording, or a class that nobody has
        return float("nan"), float("nan")
    stretch = np.sqrt(n_blocks / (n_blocks - 1)) * student_t.ppf(0.975, n_blocks - 1) / norm.ppf(0.975)
    low, middle, high = np.nanquantile(values[1:], [0.025, 0.5, 0.975])
    low, high = min(middle - stretch * (middle - low), values[0]), max(middle + stretch * (high - middle), values[0])
    return float(max(low, lowest)), float(min(high, highest))


def score(
    y: np.ndarray, p: np.ndarray, calibrated: np.ndarray, groups: np.ndarray, classes: Sequence[str], *,
    threshold: float = 0.5, bootstraps: int = 1000, seed: int = 0,
) -> Scores:  # fmt: skip
    """Return all scores with intervals over recordings.

    Parameters
    ----------
    y : (n,) class index.
    p : (n, K) probabilities behind the decision (class-balanced).
    calibrated : (n, K) calibrated probabilities, for the calibration error.
    groups : (n,) recording of each unit.
    """
    guess, k = decide(p, threshold), len(classes)
    names, of_group = np.unique(groups, return_inverse=True)
    blocks, n_blocks, resampled, weights = resample(groups, len(y), bootstraps, seed)
    matrices = np.stack([confusion_matrix(y[blocks == b], guess[blocks == b], k) for b in range(n_blocks)])
    auc_parts = []
    for c in range(k) if k > 2 else [1]:
        positive = y == c
        counts = [np.bincount(blocks[mask], minlength=n_blocks).astype(float) for mask in (positive, ~positive)]
        auc_parts.append((pair_wins(p[:, c], positive, blocks, n_blocks), *counts))
    gaps = calibration_parts(calibrated, y, blocks, n_blocks)
    sizes = np.bincount(blocks, minlength=n_blocks).astype(float)
    all_values = _values(weights, matrices, auc_parts, gaps, sizes, classes)
    ends = {name: interval(v, n_blocks) for name, v in all_values.items()}
    by_group = [_group_row(name, y, guess, p, calibrated, of_group == i, k) for i, name in enumerate(names)]
    return Scores(
        {name: float(v[0]) for name, v in all_values.items()},
        {name: low for name, (low, _) in ends.items()},
        {name: high for name, (_, high) in ends.items()},
        matrices.sum(axis=0), by_group, new_recording_interval([r["balanced_accuracy"] for r in by_group]), resampled,
    )  # fmt: skip


def _values(weights, matrices, auc_parts, gaps, sizes, classes) -> dict[str, np.ndarray]:
    """Return each score for each row of block weights."""
    precision, recall = from_confusion(np.einsum("rb,bij->rij", weights, matrices))
    values = {
        "balanced_accuracy": np.nanmean(recall, axis=1),
        "precision": np.nanmean(precision, axis=1),
        "recall": np.nanmean(recall, axis=1),
        "roc_auc": auc_of(weights, auc_parts),
        "ece": np.mean([np.abs(weights @ gap).sum(axis=1) for gap in gaps], axis=0) / (weights @ sizes),
    }
    for i, name in enumerate(classes):
        values[f"precision_{name}"], values[f"recall_{name}"] = precision[:, i], recall[:, i]
    return values


def _group_row(name, y, guess, p, calibrated, inside, k) -> dict[str, Any]:
    precision, recall = from_confusion(confusion_matrix(y[inside], guess[inside], k))
    one = np.zeros(int(inside.sum()), int)
    parts = []
    for c in range(k) if k > 2 else [1]:
        positive = y[inside] == c
        if 0 < positive.sum() < len(positive):
            wins = pair_wins(p[inside, c], positive, one, 1)
            parts.append((wins, np.array([positive.sum()]), np.array([(~positive).sum()])))
    return {
        "group": str(name),
        "n_units": int(inside.sum()),
        "balanced_accuracy": float(np.nanmean(recall)),
        "precision": float(np.nanmean(precision)),
        "recall": float(np.nanmean(recall)),
        "roc_auc": float(auc_of(np.ones((1, 1)), parts)[0]) if parts else float("nan"),
        "ece": calibration_error(calibrated[inside], y[inside]),
    }


def new_recording_interval(scores: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % prediction interval for the score of one further recording, NaN below three recordings."""
    low, high = np.clip(prediction_interval(scores), 0, 1)
    return float(low), float(high)


def prediction_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return where one further value will lie in 95 of a hundred cases: mean +- t sd sqrt(1 + 1/G), NaN below three values.

    >>> [round(v, 3) for v in prediction_interval([0.0, 1.0, 2.0])]
    [-3.968, 5.968]
    """
    known = np.asarray([v for v in values if np.isfinite(v)])
    if len(known) < 3:
        return (float("nan"), float("nan"))
    half = student_t.ppf(0.975, len(known) - 1) * known.std(ddof=1) * np.sqrt(1 + 1 / len(known))
    return float(known.mean() - half), float(known.mean() + half)


def abstention_curve(
    y: np.ndarray, p: np.ndarray, threshold: float = 0.5, groups: np.ndarray | None = None
) -> list[dict[str, float]]:
    """Return coverage and balanced accuracy of the units kept, for fractions 0 to .5; recordings as they would be used, one by one."""
    guess, rows = decide(p, threshold), []
    for fraction in np.arange(0, 0.51, 0.05):
        kept = np.ones(len(y), bool)
        for inside in [groups == g for g in np.unique(groups)] if groups is not None else [np.ones(len(y), bool)]:
            kept[inside] = ~abstain(p[inside], threshold, float(fraction))
        rows.append(
            {
                "fraction": float(round(fraction, 2)),
                "coverage": float(kept.mean()),
                "balanced_accuracy": balanced_accuracy(y[kept], guess[kept]),
            }
        )
    return rows


def metric_clusters(metrics: pd.DataFrame, correlation: float = 0.6) -> list[list[str]]:
    """Return metrics in groups that carry the same information: average linkage on 1 - |Spearman correlation|."""
    names = list(metrics.columns)
    if len(names) < 2:
        return [names]
    ranks = metrics.rank().fillna(metrics.rank().mean()).to_numpy()
    constant = ranks.std(axis=0) == 0
    ranks[:, constant] = np.random.default_rng(0).normal(size=(len(ranks), int(constant.sum())))
    gap = np.clip(1 - np.abs(np.corrcoef(ranks, rowvar=False)), 0, None)
    np.fill_diagonal(gap, 0)
    labels = fcluster(linkage(squareform(gap, checks=False), "average"), 1 - correlation, "distance")
    return sorted(
        ([n for n, c in zip(names, labels) if c == cluster] for cluster in np.unique(labels)), key=lambda g: g[0]
    )


def permutation_importance(
    held_out: HeldOut, metrics: pd.DataFrame, y: np.ndarray, seed: int, repeats: int = 3
) -> list[dict[str, Any]]:
    """Return what balanced accuracy loses on held-out recordings when a cluster of metrics is shuffled among their units.

    Correlated metrics are shuffled together, so that one cannot stand in for the other.
    """
    n_classes, clusters = held_out.p.shape[1], metric_clusters(metrics)
    seen = np.isfinite(held_out.p[:, 0])
    base = balanced_accuracy(y[seen], decide(held_out.p[seen]))
    guess = np.zeros((len(clusters), repeats, len(y)), int)
    for fold, ((_, test), pipeline) in enumerate(zip(held_out.folds, held_out.pipelines)):
        copies = []  # all shuffled copies go through the model at once: a call has a cost of its own
        for i, cluster in enumerate(clusters):
            for repeat in range(repeats):
                part = metrics.iloc[test].copy()
                order = np.random.default_rng([seed, fold, i, repeat]).permutation(len(test))
                part[cluster] = part[cluster].to_numpy()[order]
                copies.append(part)
        answer = decide(probabilities(pipeline, pd.concat(copies, ignore_index=True), n_classes))
        guess[:, :, test] = answer.reshape(len(clusters), repeats, len(test))
    rows = []
    for cluster, own in zip(clusters, guess):
        drops = [base - balanced_accuracy(y[seen], g[seen]) for g in own]
        rows.append({"metrics": cluster, "drop": float(np.mean(drops)), "sd": float(np.std(drops, ddof=1))})
    return sorted(rows, key=lambda row: -row["drop"])
