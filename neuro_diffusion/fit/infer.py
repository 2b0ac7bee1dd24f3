"""Which weights does one recording allow, and which of the estimates should its owner believe?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..model import ridge
from ..model.guidance import guided_prior_samples
from ..model.model import WeightModel
from ..model.ridge import entry_correlation, heldout_log_likelihood
from .refine import refine_weight_matrix

RIDGE_IS_ENOUGH = 0.99  #: expected entry correlation of ridge from which nothing is left to learn


class Inference(NamedTuple):
    """Posterior over the weights of one network."""

    samples: Tensor  #: (S, N, N)
    estimates: dict[str, Tensor]  #: (N, N) by method: diffusion, ridge and those asked for
    ridge_sd: Tensor  #: (N, N)
    noise_std: float
    table: list[dict[str, Any]]  #: a row a method: held-out log-likelihood, expected and (with truth) found correlation
    trusted: str  #: name of the estimate to use
    reason: str


def infer(
    model: WeightModel,
    y: Tensor,
    observed: Tensor,
    a: float,
    noise_std: float | None,
    n_samples: int,
    solver: Mapping[str, Any],
    generator: torch.Generator,
    *,
    guidance: float = 1.0,
    prior: WeightModel | None = None,
    regression: WeightModel | None = None,
    refine: str = "none",
    truth: Tensor | None = None,
) -> Inference:
    """Return the posterior of one recording y (K, T, N), with the baselines beside it.

    With two or more trials each method is fitted again without the last trial and scored on it; the estimate with the larger
    held-out likelihood is trusted. Ridge is trusted outright when it expects a correlation of .99 with the truth.
    """
    fixed = None if noise_std is None else torch.tensor([noise_std])

    def estimate(trials: Tensor, S: int) -> tuple[dict[str, Tensor], Tensor, ridge.Ridge]:
        batch, seen = trials[None], observed[None]
        base = ridge.fit_ridge(batch, a, fixed, seen)
        data = model.prepare(model.likelihood(batch, a, fixed, seen))
        samples = model.sample(data, S, guidance=guidance, generator=generator, **solver)[0]
        found = {"diffusion": samples.mean(0), "ridge": base.mean[0]}
        if regression is not None:
            found["regression"] = regression.regress(regression.likelihood(batch, a, fixed, seen))[0]
        if prior is not None:
            guide = prior.prepare(prior.likelihood(batch, a, fixed, seen))
            found["pigdm"] = guided_prior_samples(prior, guide, S, generator=generator, **solver)[0].mean(0)
        if refine != "none":
            metadata = {"dt": a, "tau": 1.0, "noise_std": noise_std}
            found[f"refined ({refine})"] = refine_weight_matrix(
                found["diffusion"], trials, metadata, method=refine, model=prior or model, generator=generator
            ).W
        return found, samples, base

    estimates, samples, base = estimate(y, n_samples)
    heldout: dict[str, float] = {}
    if len(y) > 1:
        fewer, _, _ = estimate(y[:-1], max(8, n_samples // 2))
        test = ridge.gaussian_likelihood(
            y[None, -1:], a, None, base.noise_std, observed[None], n_relinearise=0
        ).likelihood
        size = y.shape[1] * int(observed.sum())
        heldout = {name: float(heldout_log_likelihood(W[None], test, size)) for name, W in fewer.items()}
    trusted, reason = choose(base, samples, heldout)
    spread = {"diffusion": samples.std(0), "ridge": base.sd[0]}
    block = observed[:, None] & observed[None]
    table = [
        {
            "method": name,
            "held-out log-likelihood per value": heldout.get(name, math.nan),
            "expected correlation": expected_correlation(W, spread[name]) if name in spread else math.nan,
            **({"correlation with truth": float(entry_correlation(W, truth, block))} if truth is not None else {}),
        }
        for name, W in estimates.items()
    ]
    return Inference(samples, estimates, base.sd[0], float(base.noise_std), table, trusted, reason)


def expected_correlation(mean: Tensor, sd: Tensor) -> float:
    """Return the correlation with the truth that a posterior claims: sqrt of explained over total variance."""
    explained = float(mean.var())
    return math.sqrt(explained / (explained + float((sd**2).mean()))) if explained > 0 else 0.0


def choose(base: ridge.Ridge, samples: Tensor, heldout: Mapping[str, float]) -> tuple[str, str]:
    """Return the name of the estimate to trust and why, in one sentence."""
    claim = expected_correlation(base.mean[0], base.sd[0])
    if claim >= RIDGE_IS_ENOUGH:
        return (
            "ridge",
            f"the data determine the weights (ridge expects a correlation of {claim:.3f}); a learned prior is not needed",
        )
    if not heldout:
        return "diffusion", (
            "one trial leaves nothing to hold out: the learned prior is untested on this recording; believe it only if the network "
            "could come from the training family"
        )
    best = max(heldout, key=heldout.__getitem__)
    gain = heldout["diffusion"] - heldout["ridge"]
    return best, f"largest likelihood of the held-out trial; diffusion minus ridge {gain:+.4f} per value"
