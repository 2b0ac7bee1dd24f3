"""Does a model forecast better than the best of the simple answers, and may the question be asked of this test part?

The best baseline is the one with the least error on validation windows, so that the test part does not choose its own opponent. A
model beats it where the 95 % interval of its skill excludes zero, and where it also beats the training mean and the last value (where
the test part is another regime, validation may have chosen a poor opponent) and every baseline within two percent of the best on
validation, and where no baseline makes less error on the test part, and the gain is half a percent at least; it does not where the interval leaves no room for a gain
of half a percent; else nobody can tell. Where test activity leaves the range of the training part, that is said in the same sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..activity.windows import TEST, TRAIN, Panel, release
from .scores import Comparison, Scores, compare

BASELINES = (
    "persistence",
    "mean",
    "context-mean",
    "stimulus-mean",
    "linear-regression",
    "ar",
    "ar16",
    "ar-drift",
    "ar-mixture",
    "var",
)
FLOORS = {
    "mean": "the training mean",
    "persistence": "the last value",
}  #: whatever validation chose, these must be beaten too
TIE = 0.02  #: baselines this near to the best on validation windows are as good as it
SAME = 0.001  #: errors this near to each other are the same
WORTHWHILE = 0.005  #: a gain below half a percent of the error is none
SAMPLE_FRAMES = 2000
OUTSIDE_EXPECTED, OUTSIDE_DRIFTED = 0.02, 0.06
SHIFT_DRIFTED = 1.0


class Drift(NamedTuple):
    """How far test activity lies from that of the training part."""

    outside: float  #: share of test values outside the 1st to 99th percentile of the neuron's training values; 2 % are expected
    shift: float  #: mean over neurons of the absolute change of the mean, in training sd

    @property
    def drifted(self) -> bool:
        """Return whether the test part is another regime."""
        return self.outside > OUTSIDE_DRIFTED or self.shift > SHIFT_DRIFTED


class Verdict(NamedTuple):
    """The answer."""

    answer: str  #: yes, no, cannot tell
    sentence: str
    baseline: str
    comparison: Comparison
    drift: Drift
    best_on_test: str = ""  #: the baseline with the least error on the test part, which chooses no opponent


def drift_of(panel: Panel) -> Drift:
    """Return how far the test part lies from the training part, from at most ``SAMPLE_FRAMES`` evenly spaced frames of each."""
    train, test = (sampled(panel, part) for part in (TRAIN, TEST))
    low, high = np.percentile(train, (1, 99), axis=0)
    sd = np.maximum(train.std(0), 1e-9)
    return Drift(
        float(((test < low) | (test > high)).mean()), float(np.abs((test.mean(0) - train.mean(0)) / sd).mean())
    )


def sampled(panel: Panel, part: int) -> np.ndarray:
    """Return evenly spaced observed frames of a part."""
    frames = np.flatnonzero(panel.usable & (panel.label == part))
    values = np.array(panel.x[frames[:: -(-len(frames) // SAMPLE_FRAMES)]])
    release(panel.x)
    return values


def best_baseline(info: Mapping[str, Mapping[str, Any]], judged: str) -> str:
    """Return the baseline with the least mean squared error on validation windows; the judged model is no opponent of itself."""
    errors = {name: np.mean(info[name]["validation_mse"]) for name in BASELINES if name in info and name != judged}
    return min(errors, key=errors.__getitem__)


def ties(info: Mapping[str, Mapping[str, Any]], judged: str) -> list[str]:
    """Return the baselines whose error on validation windows is at most ``TIE`` above the least."""
    errors = {name: np.mean(info[name]["validation_mse"]) for name in BASELINES if name in info and name != judged}
    return [name for name, error in errors.items() if error <= (1 + TIE) * min(errors.values())]


def decide(
    name: str, scores: Mapping[str, Scores], baseline: str, block: int, drift: Drift, tied: Sequence[str] = ()
) -> Verdict:
    """Return the verdict on a model; ``tied``: baselines that validation cannot tell from the best, which must be beaten too."""
    c = compare(scores[name], scores[baseline], block)
    others = [other for other in dict.fromkeys([*FLOORS, *tied]) if other in scores and other not in (name, baseline)]
    floors = {other: compare(scores[name], scores[other], block) for other in others}
    failed = [other for other, floor in floors.items() if floor.low <= 0]
    errors = {other: scores[other].mse.mean() for other in BASELINES if other in scores and other != name}
    least = min(errors, key=errors.__getitem__, default=baseline)
    if c.low > 0 and c.skill >= WORTHWHILE and not failed and scores[name].mse.mean() <= errors.get(least, np.inf):
        answer = "yes"
    elif c.high < WORTHWHILE or (c.low > 0 and any(floors[other].high < WORTHWHILE for other in failed)):
        answer = "no"
    else:
        answer = "cannot tell"
    by = f"{abs(c.skill):.1%} {'less' if c.skill >= 0 else 'more'} squared error, 95 % interval {c.low:+.1%} to {c.high:+.1%}"
    sentence = f"{name} beats the best baseline ({baseline}, chosen on validation): {answer}, {by}"
    if least != baseline and errors[least] < (1 - SAME) * scores[baseline].mse.mean():
        test = compare(scores[name], scores[least], block)
        sentence += f"; on the test part {least} is the best baseline: {test.skill:+.1%} against it ({test.low:+.1%} to {test.high:+.1%})"
    if c.low > 0 and failed:
        sentence += f"; not shown to be better than {' and '.join(FLOORS.get(other, other) for other in failed)}"
    if drift.drifted:
        sentence += (
            f"; the test part drifted: {drift.outside:.0%} of its values lie outside the training part's 1st to 99th percentile"
            f" ({OUTSIDE_EXPECTED:.0%} expected), its means by {drift.shift:.1f} sd"
        )
    return Verdict(answer, sentence, baseline, c, drift, least)
