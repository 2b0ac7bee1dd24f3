"""Which settings was a recording made under, as far as the recording itself can tell?

The time constant, the map from tanh(h) to what was recorded, the recorder's kernel, a constant input and noise of the dynamics are
compared by evidence (`explain`), time constants that differ between neurons by `own_time`. One is taken over from what was told only where that explains the recording far better: within the model the settings
that were told stay, and with them the answer. Greedy: the best one first, refined, then the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..model.explain import MANY, Settings, explain, segments
from ..model.own_time import own_time
from ..model.propagation import Family
from ..model.ridge import estimate_noise
from ..model.rivals import decoupled, independent, shifted

NAMES = ("input", "gain", "tau", "process", "kernel", "taus")  #: what may be estimated
SEARCHED = NAMES[:-1]  #: over values of one number or two
ENOUGH = {
    "input": 15.0,
    "gain": 25.0,
    "tau": 45.0,
    "process": 30.0,
    "kernel": 5.0,
}  #: gain in log evidence from which a setting is taken over
ENOUGH_OF_MANY = {
    "input": 5.0,
    "gain": 25.0,
}  #: where only some rows are looked at: inside the model it is -20 or less there
ANY = Family()  #: where no model tells one
DIFFER, AGREE = (
    3.0,
    1.0,
)  #: log odds that time constants differ beyond which they count; least of that, and of ridge's evidence
MOST_OWN, MOST_OWN_STEPS = 64, 1200  #: neurons, and steps of all trials, that are asked for it
AS_MANY = 3000  #: values for which `ENOUGH` holds; approximations of the likelihood weigh in proportion
LEAST_RATIO = 1.6  #: by which an estimated time constant must differ from the one that was told
SLACK = (0.0, 0.003, 0.01)  #: noise of the dynamics, a step, that stands for the approximations of the likelihood
MAX_SLACK = SLACK[-1]
MAX_ROWS = 400  #: steps of all trials that the search looks at


class Choice(NamedTuple):
    """Settings with the noise that goes with them."""

    settings: Settings
    noise: float  #: standard deviation of white noise on the recorded values


class Estimated(NamedTuple):
    """The settings that a recording asks for, and how well its competitors do."""

    told: Choice
    best: Choice
    changed: dict[str, dict[str, float]]  #: by name: what was told, the estimate, the gain in log evidence
    offered: dict[str, float]  #: by name: largest gain in log evidence over the settings as told
    needed: dict[str, float]  #: by name: the gain from which a setting is taken over
    log_evidence: float
    current: Tensor | None  #: (N) constant input, where it was estimated
    residual: Tensor  #: (K, T, N) whitened residuals under ``best``
    independent: float  #: log evidence of independent smooth neurons beyond that of the network
    decoupled: float  #: of W = 0 or diagonal
    shifted: float  #: of neurons that hear each other at wrong times
    differing: float = (
        -math.inf
    )  #: log odds under the family's prior that time constants differ, beyond `DIFFER`; -inf: not asked


def candidates(name: str, now: Choice) -> Iterator[Choice]:
    """Yield settings that differ from ``now`` in one respect."""
    s, noise = now
    if name == "input" and not s.input:
        yield Choice(s._replace(input=True), noise)
    if name == "tau":
        yield from (Choice(s._replace(a=s.a * r), noise) for r in (0.25, 0.4, 2.0, 3.0, 4.0) if s.a * r < 1.5)
    if name == "gain":
        yield from (Choice(s._replace(gain=g), noise) for g in (0.3, 0.5, 0.7, 0.85, 1.2))
        for g in (0.25, 0.5, 0.75, 1.0):
            for c in (-0.5, -0.2, 0.2, 0.5):
                yield Choice(s._replace(gain=g, offset=c, input=True), noise)
    if name == "kernel" and not s.kernel:
        yield from (Choice(s._replace(kernel=k), noise) for k in (0.3, 0.5, 0.65, 0.78, 0.87, 0.93, 0.97))
    if name == "process":
        yield from (Choice(s._replace(process=q), noise * f) for q in (0.02, 0.06, 0.18) for f in (1.0, 0.5, 0.25))


def refine(name: str, found: Choice, score: Callable[[Choice], float], value: float) -> tuple[float, Choice]:
    """Return a better choice near ``found`` and its evidence: steps of a multiplied size, halved when nothing improves."""
    moves = {"tau": ("a",), "gain": ("gain", "offset"), "process": ("process", "noise"), "kernel": ("kernel",)}.get(
        name, ()
    )
    step = 0.25
    for _ in range(4):
        for what in moves:
            for sign in (1, -1):
                other = _moved(found, what, sign * step)
                new = score(other)
                if new > value:
                    found, value = other, new
                    break
        step *= 0.55
    return value, found


def _moved(c: Choice, what: str, step: float) -> Choice:
    if what == "noise":
        return c._replace(noise=c.noise * math.exp(step))
    if what == "offset":
        return c._replace(settings=c.settings._replace(offset=c.settings.offset + 0.3 * step))
    if what == "kernel":  # its time constant is multiplied
        return c._replace(settings=c.settings._replace(kernel=c.settings.kernel ** math.exp(-step)))
    return c._replace(settings=c.settings._replace(**{what: getattr(c.settings, what) * math.exp(step)}))


def plausible(c: Choice, y: Tensor) -> bool:
    """Return whether nearly all recorded values lie within the range that the settings allow."""
    if not (0.003 < c.settings.a < 1.5 and 0.02 < c.settings.gain < 1.5 and c.noise > 0):
        return False
    spread = c.noise / c.settings.gain * math.sqrt(1 + c.settings.kernel**2) / (1 - c.settings.kernel)
    return float((c.settings.rates(y).abs() > 1 + 4 * spread).double().mean()) < 0.002


def estimate(
    y: Tensor,
    settings: Settings,
    noise: float | None,
    names: Sequence[str] = NAMES,
    stimulus: Tensor | None = None,
    family: Family = ANY,
) -> Estimated:
    """Return the settings under which a recording y (K, T, N), every neuron recorded, is explained best.

    Parameters
    ----------
    settings : as told. noise : white noise on the values; None: estimated. names : what may change.
    stimulus : known input (K, T, N) in units of h. family : prior of the weights.
    """
    y = y.double()
    told = as_told(y, settings, noise)
    part, given = thinned(y), None if stimulus is None else thinned(stimulus)
    known: dict[Choice, float] = {}

    def score(c: Choice) -> float:
        """Return the log evidence of a choice; each is computed once."""
        if c not in known:
            known[c] = evidence(part, c, given) if plausible(c, y) else -math.inf
        return known[c]

    now = max(slackened(told, told.settings.process == 0), key=score)
    offered = {n: max((score(c) for c in candidates(n, now)), default=-math.inf) - score(now) for n in SEARCHED}
    needed = enough(part) | {"taus": AGREE}
    needed["kernel"] *= 1 + 20 * told.noise / told.settings.gain  # inside it gains -60 at noise .02, up to 20 at .2

    def agreed(c: Choice) -> bool:
        """Return whether the neurons' own time constants, under the family's prior, are on the side of another one for all."""
        apart, asked = math.log(c.settings.a / told.settings.a), own_times(y, now, stimulus, family)
        if asked is None:
            return abs(apart) > math.log(LEAST_RATIO)
        shift = math.log(sorted(asked[0].settings.taus)[y.shape[2] // 2])
        return abs(apart) > math.log(LEAST_RATIO) and shift * math.copysign(2, apart) > math.log(LEAST_RATIO)

    now, changed = adopted(now, [n for n in names if n in SEARCHED], score, offered, needed, agreed)
    for _ in range(2 if changed else 0):
        now = max(slackened(now, told.settings.process == 0 and "process" not in changed), key=score)
        value = score(now)
        for name in changed:
            value, now = refine(name, now, score, value)
    differing = own_times(y, now, stimulus, family)
    odds = -math.inf if differing is None else differing[1] - DIFFER
    offered["taus"] = odds if differing is None else min(odds, score(differing[0]) - score(now))
    if differing is not None and offered["taus"] > AGREE and "taus" in names:
        changed["taus"], now = {"gain in log evidence": offered["taus"]}, differing[0]
    for name in changed:
        changed[name] |= values_of(name, told, now)
    return compared(told, now, changed, offered, needed, y, score(now), stimulus)._replace(differing=odds)


def adopted(
    now: Choice, left: list[str], score: Callable[[Choice], float], offered: dict[str, float], needed: dict[str, float],
    agreed: Callable[[Choice], bool],
) -> tuple[Choice, dict[str, dict[str, float]]]:  # fmt: skip
    """Return settings with all that gains enough, the best first, and the gains; ``offered`` of a tau that is not ``agreed`` becomes 0."""
    value, changed = score(now), dict[str, dict[str, float]]()
    while left:
        tried = {
            n: max(((score(c), c) for c in candidates(n, now)), default=(-math.inf, now), key=lambda v: v[0])
            for n in left
        }
        fit = {n: v for n, v in tried.items() if v[0] - value > needed[n]}
        if not fit:
            break
        name = max(fit, key=lambda n: fit[n][0])
        new, choice = refine(name, fit[name][1], score, fit[name][0])
        left.remove(name)
        if name == "tau" and not agreed(choice):
            offered[name] = 0.0  # within what the evidence of a Gaussian prior can tell
            continue
        changed[name] = {"gain in log evidence": new - value}
        now, value = choice, new
        if now.settings.input and "input" in left:
            left.remove("input")
            changed.setdefault("input", dict(changed[name]))
    return now, changed


def own_times(y: Tensor, now: Choice, stimulus: Tensor | None, family: Family) -> tuple[Choice, float] | None:
    """Return settings with a time constant a neuron and the log odds that they differ; None where it is not asked: very many neurons."""
    if y.shape[2] > MOST_OWN:
        return None
    part, given = thinned(y, MOST_OWN_STEPS), None if stimulus is None else thinned(stimulus, MOST_OWN_STEPS)
    try:
        found = own_time(part, now.noise, now.settings, family, given)
    except torch.linalg.LinAlgError:  # settings so wrong that their covariances are singular
        return None
    differing = now.settings._replace(taus=tuple(found.ratio.tolist()), taus_sd=tuple(found.sd.tolist()))
    return now._replace(settings=differing), found.log_odds


def enough(y: Tensor) -> dict[str, float]:
    """Return the gains from which settings are taken over, for a recording y (K, T, N) of which the search sees these steps.

    Of many neurons some rows are looked at, about a path that is not fitted: nothing then drifts in favour of a wrong setting.
    """
    as_many = {n: e * max(1.0, y.numel() / AS_MANY) for n, e in ENOUGH.items()}
    return as_many | ENOUGH_OF_MANY if y.shape[2] > MANY else as_many


def as_told(y: Tensor, settings: Settings, noise: float | None, observed: Tensor | None = None) -> Choice:
    """Return the settings that were told, with the noise of a recording y (K, T, N)."""
    seen = None if observed is None else observed[None]
    return Choice(settings, float(estimate_noise(y[None], seen, settings.process)) if noise is None else noise)


def compared(
    told: Choice,
    now: Choice,
    changed: dict,
    offered: dict,
    needed: dict,
    y: Tensor,
    value: float,
    stimulus: Tensor | None = None,
) -> Estimated:
    """Return the chosen settings with their residuals on the whole recording, and their competitors' evidence."""
    s, part = now.settings, thinned(y)
    whole, given = (None, None) if stimulus is None else (segments(stimulus), thinned(stimulus))
    found = explain(segments(y), now.noise, s, residuals=True, stimulus=whole)
    return Estimated(
        told, now, changed, offered, needed, found.log_evidence, found.current, found.residual,
        independent(part, now.noise, s, given).log_evidence - value, decoupled(part, now.noise, s, given) - value,
        shifted(part, now.noise, s, stimulus=given) - value,
    )  # fmt: skip


def slackened(c: Choice, free: bool) -> list[Choice]:
    """Return a choice and, where no noise of the dynamics was told or found, the same with a little of it."""
    return [c, *(c._replace(settings=c.settings._replace(process=q)) for q in SLACK if free)]


def evidence(y: Tensor, c: Choice, stimulus: Tensor | None = None) -> float:
    """Return the log evidence of one choice."""
    try:
        return explain(y, c.noise, c.settings, stimulus=stimulus).log_evidence
    except torch.linalg.LinAlgError:  # settings so wrong that their covariances are singular
        return -math.inf


def evidence_of(y: Tensor, settings: Settings, noise: float | None) -> float:
    """Return the log evidence of a recording y (K, T, N) read this way round, for all its values: settings as told, with or without an input.

    Another reading of the same values has another; inside the model the right one was ahead in all of 102 recordings.
    """
    y = y.double()
    told, part = as_told(y, settings, noise), thinned(y, MOST_OWN_STEPS)
    ways = [told._replace(settings=told.settings._replace(input=given)) for given in (False, True)]
    tried = [evidence(part, c) for way in ways for c in slackened(way, settings.process == 0)]
    return max(tried) * y.numel() / part.numel()


def thinned(y: Tensor, most: int = MAX_ROWS) -> Tensor:
    """Return so many segments of a recording (K, T, N) as the search looks at, spread over all trials."""
    parts = segments(y)
    n = max(1, most // parts.shape[1])
    return parts[torch.linspace(0, len(parts) - 1, min(n, len(parts))).round().long()]


def values_of(name: str, told: Choice, now: Choice) -> dict[str, Any]:
    """Return what was told and what is estimated for a setting."""
    old, new = told.settings, now.settings
    if name == "tau":
        return {"told dt/tau": old.a, "estimated dt/tau": new.a}
    if name == "gain":
        return {"estimated gain": new.gain, "estimated offset": new.offset}
    if name == "kernel":
        return {"estimated share kept a step": new.kernel, "its time constant in steps": -1 / math.log(new.kernel)}
    if name == "taus":
        return {"smallest dt/tau": new.a * min(new.taus), "largest dt/tau": new.a * max(new.taus)}
    if name == "process":
        return {"estimated process noise a step": new.process, "estimated observation noise": now.noise}
    return {}
