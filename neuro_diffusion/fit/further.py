"""Which cheap further measurements would narrow the weights' intervals, and by how much?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..model import ahead
from ..model.propagation import Family
from .infer import Inference, Recorded
from .settings import MAX_SLACK, Choice

MOST = 64  #: neurons up to which experiments are simulated
N_DRAWS, N_RANKED = 6, 4  #: samples of the posterior that are simulated; that experiments are ranked on
PUSH = 1.0  #: known input in units of h
UNIT = "weight (half-width of the 95 % interval of expectation propagation, mean over weights)"


def further(
    found: Inference,
    recorded: Recorded,
    choice: Choice,
    family: Family,
    names: Sequence[str],
    generator: torch.Generator,
) -> list[dict[str, Any]]:
    """Return what more trials, or a push to the neuron that would tell most, would make of the intervals; a row an experiment.

    Empty where it cannot be foretold: neurons that were not recorded, more than `MOST` of them, a recorder's kernel
    or time constants that differ.
    """
    K, T, N = recorded.y.shape
    likelihood = found.likelihood
    if (
        N > MOST
        or not bool(recorded.observed.all())
        or likelihood is None
        or choice.settings.kernel
        or choice.settings.taus
    ):
        return []
    s = choice.settings._replace(process=choice.settings.process if choice.settings.process > MAX_SLACK else 0.0)
    noise, samples = choice.noise / s.gain, found.ep.samples[:N_DRAWS]
    now = ahead.Z95 * float(found.ep.sd.mean())

    def after(experiment: ahead.Experiment) -> float:
        """Return the half-width of the intervals after an experiment."""
        return ahead.half_width_after(likelihood, family, samples, experiment, T, s, noise, generator)

    pushes = ahead.pushes(N, 1, PUSH)
    told = ahead.information(likelihood, found.ep.posterior, samples[:N_RANKED], pushes, T, s, noise, generator)
    best = int(told.argmax())
    name = names[best] if names else str(best)
    plans = {
        f"{K} more trial{'s' if K > 1 else ''}": ahead.Experiment(K),
        "1 more trial": ahead.Experiment(1),
        f"1 more trial with a known input of {PUSH:g} to neuron {name}": pushes[best],
    }
    return [{"measurement": what, "now": now, "then": after(plan), "unit": UNIT} for what, plan in plans.items()]
