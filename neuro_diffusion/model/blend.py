"""How much of what a network learned is laid over expectation propagation? As much as held-out networks of its family say helps.

Both posteriors are mixed: a share of the samples is the diffusion model's, the rest is that of expectation propagation (stacking of
posteriors: Yao et al. 2018). The share depends on the correlation with the truth that expectation propagation claims, so that it
means the same for any number of trials, neurons and noise. A share of 0 is expectation propagation itself.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Gate = tuple[
    tuple[float, float], ...
]  #: (claimed correlation, share) in rising order; between them the share is linear


def claimed_correlation(mean: Tensor, sd: Tensor) -> Tensor:
    """Return the correlation with the truth (B) that posteriors (B, N, N) claim: sqrt of explained over total variance."""
    explained = mean.flatten(1).var(1)
    return (explained / (explained + (sd**2).flatten(1).mean(1)).clamp_min(1e-30)).sqrt()


def share_of(gate: Gate, claim: Tensor) -> Tensor:
    """Return the share (B) of the network at claims (B); 0 for an empty gate."""
    if not gate:
        return torch.zeros_like(claim)
    at, share = zip(*gate)
    return torch.from_numpy(np.interp(claim.numpy(), at, share)).to(claim)


def blend(written: Tensor, learned: Tensor, share: Tensor) -> Tensor:
    """Return the mean (B, N, N) of the mixture of two posteriors of means (B, N, N), share (B) of the second."""
    return written + share[:, None, None] * (learned - written)


def mix(written: Tensor, learned: Tensor, share: Tensor) -> Tensor:
    """Return samples (B, S, N, N) of the mixture: the first round(share S) are those of ``learned``."""
    S = written.shape[1]
    count = (share * S).round()
    first = torch.arange(S) < count[:, None]
    return torch.where(first[..., None, None], learned, written)


def best_gate(claim: Tensor, scores: Tensor, shares: Tensor, n_bins: int = 4) -> Gate:
    """Return the gate of held-out networks: in each quartile of claims the share whose gain is surest (mean minus standard error).

    Parameters
    ----------
    claim : (M). scores : (M, G) correlation with the truth of the blend at each of ``shares`` (G), the first of which is 0.
    """
    gate = []
    for part in claim.argsort().chunk(n_bins):
        gain = scores[part] - scores[part][:, :1]
        surest = gain.mean(0) - gain.std(0) / len(part) ** 0.5
        gate.append((float(claim[part].median()), float(shares[surest.argmax()])))
    return tuple(gate)
