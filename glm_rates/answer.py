"""What does a run find, in one sentence: yes, no, or cannot tell, against the best of the simple answers?

The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

VERDICTS = ("yes", "no", "cannot tell")


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
    verdict = verdict or by_interval(low, high)
    by = "no interval could be had"
    if known:
        half = (high - low) / 2 or abs(gain) or 1.0
        places = max(0, 1 - math.floor(math.log10(abs(half))))  # two digits of the uncertainty, never an exponent
        by = f"{gain:+.{places}f} {unit} (95 % interval {low:+.{places}f} to {high:+.{places}f})"
    return Answer(
        verdict, f"{first and f'{first}; '}{what} beats {against}: {verdict}, {by}", against, gain, low, high, unit
    )


def by_interval(low: float, high: float) -> str:
    """Return the verdict that an interval of the gain alone gives."""
    return "yes" if low > 0 else "no" if high < 0 else "cannot tell"


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, standard error and half of the 95 % interval (Student's t) of two or more values."""
    from scipy.stats import t

    n, mean = len(values), sum(values) / len(values)
    error = (sum((v - mean) ** 2 for v in values) / (n - 1) / n) ** 0.5
    return mean, error, float(t.ppf(0.975, n - 1)) * error


def over_recordings(answers: Sequence[tuple[str, Mapping[str, Any]]], what: str, unit: str) -> Answer | None:
    """Return the answer of a study: the mean gain over animals, or recordings, of which each counts once; None for fewer than two.

    Parameters
    ----------
    answers : animal (or recording) and ``results["answer"]`` of each recording. One whose verdict is not what its interval says
        (data that are not of the model's kind, or drift) is left out, and counted in the sentence.
    what : the pipeline and verb.
    unit : "animals" or "recordings".
    """
    groups: dict[str, list[float]] = {}
    kept = [(group, a) for group, a in answers if None not in (a["gain"], a["low"], a["high"])]
    kept = [(group, a) for group, a in kept if a["verdict"] == by_interval(a["low"], a["high"])]
    for group, a in kept:
        groups.setdefault(group, []).append(a["gain"])
    if len(groups) < 2 or len({a["unit"] for _, a in kept}) > 1:
        return None
    mean, _, half = spread([sum(gains) / len(gains) for gains in groups.values()])
    against = " or ".join(sorted({a["against"] for _, a in kept}))
    left_out = len(answers) - len(kept)
    first = f"{left_out} of {len(answers)} recordings left out, which have no answer of their own" if left_out else ""
    over = f"over {len(groups)} {unit}" + (f" ({len(kept)} recordings)" if unit == "animals" else "")
    return answer(f"{over} {what}", against, mean, mean - half, mean + half, kept[0][1]["unit"], first=first)
