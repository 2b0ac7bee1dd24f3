"""Which frames train, which validate, which test?"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from hdf5io.errors import InputError

from .covariates import Covariates
from .windows import TEST, TRAIN, VALIDATION


class SplitRule(NamedTuple):
    """How frames are dealt to training, validation and test."""

    kind: str = "chronological"  #: chronological, blocks (per condition), stimulus (held-out types)
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    held_out: tuple[str, ...] = ()  #: names of stimuli
    cut_after_last_stimulus: bool = False


def split_label(rule: SplitRule, c: Covariates, n_time: int) -> np.ndarray:
    """Return the part of every frame (see ``windows.PARTS``).

    Raises
    ------
    InputError : a split by stimuli that the session does not have.
    """
    if rule.kind == "chronological":
        return chronological_split(n_time, rule.fractions)
    if rule.kind == "blocks":
        return block_split(
            (c.stimulus > 0).astype(int) if not (c.phase > 0).any() else (c.phase > 0).astype(int), rule.fractions
        )
    if not c.names:
        raise InputError("--split stimulus: this session has no trials table, so no stimulus can be held out.")
    unknown = [n for n in rule.held_out if n not in c.names]
    if unknown or not rule.held_out:
        raise InputError(
            f"--held-out {','.join(unknown) or 'nothing'}: this session's stimuli are {', '.join(c.names)}."
        )
    return held_out_stimulus_split(c.stimulus, tuple(1 + c.names.index(n) for n in rule.held_out), rule.fractions)


def chronological_split(n_time: int, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)) -> np.ndarray:
    """Return the part of each frame: first training, then validation, then test."""
    edges = np.round(np.cumsum(fractions)[:2] * n_time).astype(int)
    label = np.full(n_time, TEST, np.int8)
    label[: edges[1]] = VALIDATION
    label[: edges[0]] = TRAIN
    return label


def block_split(condition: np.ndarray, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)) -> np.ndarray:
    """Return the part of each frame when every run of one condition is split chronologically by itself."""
    label = np.empty(len(condition), np.int8)
    edges = np.r_[0, np.flatnonzero(np.diff(condition)) + 1, len(condition)]
    for start, stop in itertools.pairwise(edges):
        label[start:stop] = chronological_split(stop - start, fractions)
    return label


def held_out_stimulus_split(stimulus: np.ndarray, held_out: tuple[int, ...], fractions=(0.7, 0.1, 0.2)) -> np.ndarray:
    """Return a split whose test frames are those of the held-out stimuli; all other frames train or validate.

    The other frames keep their order: the last ``validation / (train + validation)`` of them are validation.
    """
    label = np.full(len(stimulus), TEST, np.int8)
    rest = np.flatnonzero(~np.isin(stimulus, held_out))
    cut = round(len(rest) * fractions[0] / (fractions[0] + fractions[1]))
    label[rest[:cut]], label[rest[cut:]] = TRAIN, VALIDATION
    return label
