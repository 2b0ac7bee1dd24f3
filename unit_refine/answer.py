"""What does a run find, in one sentence: yes, no, or cannot tell, against the best of the simple answers?

The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Answer(NamedTuple):
    """The answer to a pipeline's question, against the best of its baselines; ``results["answer"]`` of every run that scores.

    ``gain`` is what is better than the baseline by (positive: better), with its 95 % interval.
    """

    verdict: str  #: yes, no, cannot tell
    sentence: str  #: what a person reads: on stdout, at the top of the report
    against: str  #: the baseline, chosen without the test part
    gain: float
    low: float
    high: float
    unit: str


def answer(
    what: str, against: str, gain: float, low: float, high: float, unit: str, *, verdict: str = "", first: str = ""
) -> Answer:
    """Return the answer in the one vocabulary: yes above zero, no below it, cannot tell between (or as the caller decided).

    ``first`` is what a reader must know before it: that the input is not of the model's kind, or drifts.
    """
    known = all(map(math.isfinite, (gain, low, high)))
    verdict = verdict or ("cannot tell" if not known or low <= 0 <= high else "yes" if low > 0 else "no")
    by = "no interval could be had"
    if known:
        half = (high - low) / 2 or abs(gain) or 1.0
        places = max(0, 1 - math.floor(math.log10(abs(half))))  # two digits of the uncertainty, never an exponent
        by = f"{gain:+.{places}f} {unit} (95 % interval {low:+.{places}f} to {high:+.{places}f})"
    return Answer(
        verdict, f"{first and f'{first}; '}{what} beats {against}: {verdict}, {by}", against, gain, low, high, unit
    )
