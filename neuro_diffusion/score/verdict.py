"""Was the recording made by a network of this kind at all? What a posterior claims of itself is no answer to that.

typical: the residuals are white noise of the stated or estimated size, and a network explains more than neurons that do not hear
each other. misspecified: they are not. no network needed: independent neurons, or none at all, explain the recording as well. cannot
tell: one trial, or unrecorded neurons, leave the question open. Thresholds were chosen on simulations (MEASURED.md).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from ..fit.settings import Estimated

TYPICAL, MISSPECIFIED, NO_NETWORK, CANNOT_TELL = "typical", "misspecified", "no network needed", "cannot tell"
NEGLIGIBLE = -20.0  #: log evidence by which a network must beat neurons that do not hear each other
MOST_SQUARE, MOST_LAG = 1.15, 0.12
ENOUGH_FOR_TAUS = 4  #: trials; with 2 the 95 % intervals beside estimated time constants cover .77, with 4 .91
DOUBT = {True: 5.0, False: 1.0}  #: log odds of `Estimated.differing` that raise it, with enough trials and with fewer
MOST_PROCESS = 0.015  #: noise of the dynamics, a step, beyond which it is more than an approximation


class Residuals(NamedTuple):
    """Whitened residuals, which are independent standard normal where the model holds."""

    n_values: int
    mean_square: float
    lag_1: float  #: autocorrelation from one step to the next
    lag_2: float
    kurtosis: float


class Verdict(NamedTuple):
    """Whether the recording is of the kind that the pipeline knows."""

    verdict: str
    facts: list[str]  #: what speaks against it, in words
    residuals: Residuals | None


def residuals_of(u: Tensor) -> Residuals:
    """Return the statistics of whitened residuals u (K, T, N)."""
    square = float((u**2).mean())
    first, second = (float((u[:, l:] * u[:, :-l]).mean()) / max(square, 1e-12) for l in (1, 2))
    return Residuals(u.numel(), square, first, second, float((u**4).mean()) / max(square, 1e-12) ** 2)


def judge(found: Estimated, n_trials: int) -> Verdict:
    """Return the verdict on a recording.

    Parameters
    ----------
    found : the settings that explain it best, and its competitors.
    """
    r = residuals_of(found.residual)
    facts = network_facts(found)
    if facts:
        return Verdict(NO_NETWORK, facts, r)
    facts = residual_facts(r)
    bent = [WORDS[n] for n in ("gain", "tau", "process", "kernel", "taus") if n in found.changed]
    if len(bent) > 1:
        facts.append(
            f"it takes {' and '.join(bent)} at once to explain it, which another kind of neuron would ask for as well"
        )
    elif bent == [WORDS["tau"]]:
        told, asked = found.told.settings.a, found.best.settings.a
        facts.append(f"it asks for dt/tau {asked:.3g} (told {told:.3g}); give --dt-over-tau if that can be")
    if not found.changed:
        better = {n: g for n, g in found.offered.items() if g > found.needed[n]}
        facts += [f"{WORDS[n]} would explain the recording better (log evidence {g:+.0f})" for n, g in better.items()]
    if facts:
        return Verdict(MISSPECIFIED, facts, r)
    unsure = undecided(found, n_trials)
    return Verdict(CANNOT_TELL if unsure else TYPICAL, unsure, r)


WORDS = {
    "input": "a constant input",
    "gain": "another scale of the rates",
    "tau": "another time constant",
    "process": "noise of the dynamics",
    "kernel": "an exponential kernel of the recorder",
    "taus": "time constants that differ between neurons",
}


def undecided(found: Estimated, n_trials: int) -> list[str]:
    """Return why residuals that are right do not yet make a recording typical."""
    if n_trials == 1:
        return ["one trial leaves nothing to hold out"]
    if "taus" in found.changed and n_trials < ENOUGH_FOR_TAUS:
        return [f"{WORDS['taus']}, estimated of {n_trials} trials: intervals of the weights are too narrow"]
    if "taus" not in found.changed and found.differing > DOUBT[n_trials >= ENOUGH_FOR_TAUS]:
        return [
            f"{WORDS['taus']}, or weights of another family than the model's, may be behind it (log odds {found.differing:+.0f} under"
            " that family, which ridge does not bear out)"
        ]
    return []


def network_facts(found: Estimated) -> list[str]:
    """Return why no network is needed; empty where it is."""
    facts = []
    if found.independent > 10:
        facts.append(f"independent smooth neurons explain it better (log evidence {found.independent:+.0f})")
    if found.decoupled > NEGLIGIBLE:
        facts.append(f"neurons without connections explain it as well (log evidence {found.decoupled:+.0f})")
    if found.shifted > NEGLIGIBLE:
        facts.append(f"neurons heard at wrong times explain it as well (log evidence {found.shifted:+.0f})")
    return facts


def residual_facts(r: Residuals) -> list[str]:
    """Return how the residuals differ from white noise."""
    if r.mean_square < 0.3:  # noise below what the likelihood assumes at least: nothing can be said of its form
        return []
    chance = 3 / math.sqrt(r.n_values)
    facts = []
    if r.mean_square > MOST_SQUARE + chance:
        facts.append(f"residuals {r.mean_square:.2f} times the noise (mean square)")
    if max(r.lag_1, r.lag_2) > MOST_LAG + chance / 3:
        facts.append(f"residuals go on from step to step (correlation {max(r.lag_1, r.lag_2):.2f})")
    if r.kurtosis > 3.4 + 2.5 * math.sqrt(24 / r.n_values):
        facts.append(f"residuals have outliers (kurtosis {r.kurtosis:.1f}, normal 3)")
    return facts
