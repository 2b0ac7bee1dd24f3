"""When do rates tell which stimulus it was, and how palatable? Cross-validated decoding in each bin against a permutation null.

The rates must come from a model that never saw the labels: rates fitted with a kernel for each taste hold the answer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Course(NamedTuple):
    """A statistic in each time bin against labels shuffled over trials."""

    value: np.ndarray  # (bin,)
    null_mean: np.ndarray  # (bin,)
    null_high: np.ndarray  # (bin,) 95th percentile
    p: np.ndarray  # (bin,) one-sided, (1 + number of shuffles at or above) / (1 + shuffles)
    p_largest: (
        np.ndarray
    )  # (bin,) the same against the largest value of each shuffle over bins: corrected for looking at all


def course(value: np.ndarray, null: np.ndarray) -> Course:
    """Compare a statistic (bin,) with its values under shuffled labels (shuffle, bin)."""
    n = len(null)
    largest = null.max(axis=1)
    p = (1 + (null >= value).sum(axis=0)) / (1 + n)
    corrected = (1 + (largest[:, None] >= value).sum(axis=0)) / (1 + n)
    return Course(value, null.mean(axis=0), np.quantile(null, 0.95, axis=0), p, corrected)


def identity(features: np.ndarray, label: np.ndarray, n_folds: int, n_shuffles: int, seed: int) -> Course:
    """Held-out accuracy (mean over stimuli) of a shrinkage linear discriminant in each bin.

    Parameters
    ----------
    features : (trial, bin, unit)
        Log rates.
    label : (trial,)
        Stimulus of each trial.
    n_folds, n_shuffles, seed :
        Stratified folds, shuffles of the labels, and what decides both.
    """
    rng = np.random.default_rng(seed)
    folds = stratified(label, n_folds, rng)
    value = accuracy(features, label, folds)
    null = []
    for _ in range(n_shuffles):
        mixed = rng.permutation(label)
        null.append(accuracy(features, mixed, stratified(mixed, n_folds, rng)))
    return course(value, np.array(null))


def stratified(label: np.ndarray, n_folds: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Test trials of each fold, every stimulus spread evenly."""
    from sklearn.model_selection import StratifiedKFold

    split = StratifiedKFold(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
    return [test for _, test in split.split(np.zeros(len(label)), label)]


def accuracy(features: np.ndarray, label: np.ndarray, folds: list[np.ndarray]) -> np.ndarray:
    """Balanced held-out accuracy in each bin: (bin,)."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    kinds, given = np.unique(label, return_inverse=True)
    right = np.zeros((features.shape[1], len(label)))
    for test in folds:
        train = np.setdiff1d(np.arange(len(label)), test)
        for b in range(features.shape[1]):
            model = LinearDiscriminantAnalysis(
                solver="lsqr", shrinkage="auto", priors=np.full(len(kinds), 1 / len(kinds))
            )
            model.fit(features[train, b], given[train])
            right[b, test] = model.predict(features[test, b]) == given[test]
    return np.mean([right[:, given == k].mean(axis=1) for k in range(len(kinds))], axis=0)


def palatability(features: np.ndarray, rank: np.ndarray, n_shuffles: int, seed: int) -> Course:
    """Mean over units of the squared Spearman correlation with the palatability of the stimulus, in each bin.

    Parameters
    ----------
    features : (trial, bin, unit)
        Log rates.
    rank : (trial,)
        Palatability of each trial's stimulus.
    """
    from scipy.stats import rankdata

    rng = np.random.default_rng(seed)
    ranks = rankdata(features, axis=0)
    ranks -= ranks.mean(axis=0)
    scale = np.sqrt((ranks**2).sum(axis=0))
    ranks = np.divide(ranks, scale, out=np.zeros_like(ranks), where=scale > 0)

    def squared(order: np.ndarray) -> np.ndarray:
        """Mean over units of the squared rank correlation of their rates with an order of the trials: (window,)."""
        target = rankdata(order) - (len(order) + 1) / 2
        target = target / np.sqrt((target**2).sum())
        return (np.einsum("tbu,t->bu", ranks, target) ** 2).mean(axis=1)

    return course(squared(rank), np.array([squared(rng.permutation(rank)) for _ in range(n_shuffles)]))


def in_windows(rate: np.ndarray, width: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Log of the mean rate in windows of ``width`` bins every ``step``: (trial, window, unit), and each window's first bin."""
    first = np.arange(0, rate.shape[1] - width + 1, step)
    mean = np.stack([np.nanmean(rate[:, b : b + width], axis=1) for b in first], axis=1)
    return np.log(np.maximum(mean, 1e-6)), first
