"""What would a further experiment tell? Asked of networks that the posterior holds possible, before anything is measured.

Samples of the posterior are simulated under the experiment, its likelihood is added to that of the recording, and expectation
propagation says how wide the weights then are: the expected posterior. To rank many experiments their expected information is
enough: half the log determinant of I + C A, C the present covariance of a row and A what the experiment adds to its precision
(Bayesian D-optimality: Chaloner & Verdinelli 1995).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..rate_network.simulator import simulate_rate_network
from .explain import Settings
from .propagation import Family, Propagated, gaussian_posterior, propagate
from .ridge import Likelihood, gaussian_likelihood

Z95 = 1.96


class Experiment(NamedTuple):
    """Further trials, with a known constant input to each neuron."""

    trials: int
    current: Tensor | None = None  #: (N) in units of h


def of_experiment(
    W: Tensor, experiment: Experiment, n_time: int, s: Settings, noise: float, generator: torch.Generator | None = None
) -> Likelihood:
    """Return what an experiment on networks W (B, N, N) would say about them; ``noise`` is that of a rate."""
    B, N, _ = W.shape
    K = experiment.trials
    h0 = s.h0_std * torch.randn(B, K, N, generator=generator)
    given = None if experiment.current is None else experiment.current.to(W).expand(B, K, n_time, N)
    x = simulate_rate_network(W, h0, n_time, s.a, 1.0, given, s.process / s.a**0.5, generator=generator)
    y = x + noise * torch.randn(x.shape, generator=generator)
    spread = W.new_full((B,), noise)
    return gaussian_likelihood(y, s.a, None, spread, process=s.process, h0_std=s.h0_std, stimulus=given).wide


def half_width_after(
    present: Likelihood, family: Family, samples: Tensor, experiment: Experiment, n_time: int, s: Settings, noise: float,
    generator: torch.Generator | None = None,
) -> float:  # fmt: skip
    """Return the expected half-width of a weight's 95 % interval, mean over weights, after an experiment.

    Parameters
    ----------
    present : likelihood of the recording, leading axis 1. samples : (S, N, N) of its posterior.
    """
    added = of_experiment(samples, experiment, n_time, s, noise, generator)
    both = Likelihood(present.A + added.A, present.b + added.b)
    return Z95 * float(propagate(both, family).sd.mean())


def information(
    present: Likelihood, found: Propagated, samples: Tensor, experiments: list[Experiment], n_time: int, s: Settings, noise: float,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Return the expected information (nats) of each experiment under the Gaussian posterior of expectation propagation."""
    data = Likelihood(present.A.double(), present.b.double())
    C = gaussian_posterior(data, *found.sites)[0]  # (1, N, N, N)
    eye, told = torch.eye(C.shape[-1], dtype=C.dtype), []
    seed = 0 if generator is None else int(torch.randint(2**31, (1,), generator=generator))
    for experiment in experiments:
        same = torch.Generator().manual_seed(seed)  # the same initial states and noise: only the input differs
        A = of_experiment(samples, experiment, n_time, s, noise, same).A.double()
        told.append(0.5 * torch.linalg.slogdet(eye + C @ A)[1].sum(-1).mean())
    return torch.stack(told)


def pushes(N: int, trials: int, size: float) -> list[Experiment]:
    """Return the experiments that give a constant input of ``size`` to one neuron each."""
    return [Experiment(trials, size * unit) for unit in torch.eye(N)]
