"""Which class does a unit get from its probabilities, how sure is that, and how often is it right?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class HeldOut(NamedTuple):
    """Predictions of units by models that had not seen their recording."""

    p: np.ndarray  #: (n, K) class probabilities
    folds: list[tuple[np.ndarray, np.ndarray]]  #: rows (train, test) of each outer fold
    chosen: list[Any]  #: the setting that each outer fold chose
    pipelines: list[Any]  #: the model of each outer fold


def decide(p: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Return the class of each unit: the most probable, or with two classes the second where it reaches the threshold.

    >>> decide(np.array([[0.7, 0.3], [0.6, 0.4]]), threshold=0.35).tolist()
    [0, 1]
    """
    if p.shape[1] == 2:
        return (p[:, 1] >= threshold).astype(int) if threshold != 0.5 else (p[:, 1] > p[:, 0]).astype(int)
    return p.argmax(axis=1)


def distance(p: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Return how far each unit is from the operating point: the smaller, the less sure.

    Two classes: |p1 - threshold|; more: the lead of the first class over the second.
    """
    if p.shape[1] == 2:
        return np.abs(p[:, 1] - threshold)
    return lead(p)


def lead(p: np.ndarray) -> np.ndarray:
    """Return how far the most probable class is ahead of the next."""
    ordered = np.sort(p, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def abstain(p: np.ndarray, threshold: float, fraction: float) -> np.ndarray:
    """Return which units to leave to a person: the least confident ``fraction`` within each predicted class."""
    guess, sure = decide(p, threshold), distance(p, threshold)
    left = np.zeros(len(p), dtype=bool)
    for k in np.unique(guess):
        members = np.flatnonzero(guess == k)
        left[members[np.argsort(sure[members], kind="stable")[: int(np.floor(fraction * len(members)))]]] = True
    return left


def balanced_accuracy(y: np.ndarray, guess: np.ndarray) -> float:
    """Return the mean over the classes that occur of the share found."""
    return float(np.mean([np.mean(guess[y == k] == k) for k in np.unique(y)]))
