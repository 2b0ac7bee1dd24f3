"""How far can anatomy be believed about who hears whom? As far as the recording itself bears it out, class by class of connections.

Anatomy sorts the entries of W into classes (nothing seen, weak, middling, strong). Without anatomy expectation propagation gives the
odds of each connection, hence what the recording alone says for it (a Bayes factor B). A class of density r then has the
likelihood prod (r B + 1 - r). Two readings are compared by their evidence: anatomy is informative, each class has a density of its
own about what was told; or it is useless, all classes have the network's density. The posterior is the mean over
both readings. Entries are taken for independent given the recording. Our definition.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .blend import blend
from .propagation import Propagated

HIT, FALSE = 0.85, 0.05  #: how often a connection is there where anatomy sees one, and where it does not, before data
WEIGHT = 5.0  #: of the told densities: so many entries
#: between which a connection's probability is told to expectation propagation: nearer to 0 and 1 its sweeps swing and run away
SURE = (0.05, 0.8)
GRID = torch.linspace(0.005, 0.995, 100, dtype=torch.double)


class Reliability(NamedTuple):
    """What anatomy turned out to be worth."""

    density: Tensor  #: (B, N, N) probability of each connection before its own data, where anatomy is informative, within SURE
    informative: Tensor  #: (B) probability that anatomy says anything
    classes: Tensor  #: (B, C) density of each class


def classes_of(matrix: Tensor, parts: int = 3) -> Tensor:
    """Return the class (N, N) of each entry of an anatomical matrix: 0 nothing seen, then weak to strong where sizes differ."""
    size = matrix.abs()
    seen = size[size > 0]
    if len(seen) < 20 * parts or len(seen.unique()) < parts:
        return (size > 0).long()
    edges = torch.quantile(seen.double(), torch.linspace(0, 1, parts + 1, dtype=torch.double)[1:-1])
    return torch.where(size > 0, 1 + torch.bucketize(size.double(), edges), 0)


def reliability(found: Propagated, anatomy: Tensor) -> Reliability:
    """Return how far classes (B, N, N) of anatomy bear out, given the posterior without them."""
    p, prior = (v.double().clamp(1e-6, 1 - 1e-6) for v in (found.present, found.density))
    bayes = torch.exp(torch.logit(p) - torch.logit(prior))
    n_classes = int(anatomy.max()) + 1
    apart, means = torch.zeros(len(p), dtype=torch.double), []
    common = torch.log1p(prior * (bayes - 1))
    for c in range(n_classes):
        member = (anatomy == c).double()
        told = FALSE if c == 0 else HIT
        log_prior = (WEIGHT * told - 1) * GRID.log() + (WEIGHT * (1 - told) - 1) * (1 - GRID).log()
        log_prior = log_prior - log_prior.logsumexp(0)
        fit = torch.stack([(torch.log1p(r * (bayes - 1)) * member).sum((1, 2)) for r in GRID], 1) + log_prior
        apart = apart + fit.logsumexp(1) - (common * member).sum((1, 2))
        means.append((fit.softmax(1) * GRID).sum(1))
    classes = torch.stack(means, 1)
    density = torch.gather(classes, 1, anatomy.flatten(1)).view(p.shape).clamp(*SURE)
    return Reliability(density, torch.sigmoid(apart), classes)


def averaged(without: Propagated, within: Propagated, informative: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, sd and probability of a connection, (B, N, N) each, over both readings; ``informative`` (B)."""
    share = informative.to(without.mean)
    p = share[:, None, None]
    variance = (1 - p) * without.sd**2 + p * within.sd**2 + p * (1 - p) * (within.mean - without.mean) ** 2
    return (
        blend(without.mean, within.mean, share),
        variance.sqrt(),
        blend(without.present, within.present, share),
    )
