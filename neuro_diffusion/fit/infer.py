"""Which weights does one recording allow, and which of the estimates should its owner believe?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..model import explain, large, propagation, ridge
from ..model.guidance import guided_prior_samples
from ..model.joint import draw
from ..model.model import WeightModel
from ..model.propagation import Family
from ..model.ridge import RowFit, entry_correlation, heldout_log_likelihood
from .refine import refine_weight_matrix
from .settings import MAX_SLACK, Choice

LARGEST = (
    400  #: neurons up to which the diffusion model runs: beyond, the likelihoods of all rows do not fit into memory
)
WRITTEN = ("ep", "anatomy")  #: estimates of expectation propagation
NOTHING = 1e-3  #: held-out log-likelihood a value by which another estimate must beat expectation propagation
RIDGE_IS_ENOUGH = 0.99  #: expected entry correlation of ridge from which nothing is left to learn


class Inference(NamedTuple):
    """Posterior over the weights of one network."""

    samples: Tensor  #: (S, N, N) of the posterior that is trusted: EP's or the diffusion model's
    samples_of: str  #: its name
    estimates: dict[str, Tensor]  #: (N, N) by method: diffusion, ridge, ep and those asked for
    ridge_sd: Tensor  #: (N, N)
    ep: Written  #: expectation propagation under the family's written-down prior
    noise_std: float
    table: list[dict[str, Any]]  #: a row a method: held-out log-likelihood, expected and (with truth) found correlation
    trusted: str  #: name of the estimate to use
    reason: str


class Written(NamedTuple):
    """The posterior under the prior that is written down (`propagation`), without training."""

    samples: Tensor  #: (S, N, N)
    sd: Tensor  #: (N, N)
    present: Tensor  #: (N, N) probability that a connection exists
    converged: bool


class Competitors(NamedTuple):
    """What is fitted beside the model and ridge."""

    prior: WeightModel | None = None  #: its unconditional score, guided by the likelihood (pigdm)
    regression: WeightModel | None = None
    refine: str = "none"  #: method of `refine_weight_matrix` on the posterior mean
    anatomy: Tensor | None = None  #: (N, N) True where anatomy holds a connection to exist


ALONE = Competitors()


class _Fitted(NamedTuple):
    ep: Written
    estimates: dict[str, Tensor]
    samples: Tensor
    base: ridge.Ridge


def infer(
    model: WeightModel,
    y: Tensor,
    observed: Tensor,
    choice: Choice,
    n_samples: int,
    solver: Mapping[str, Any],
    generator: torch.Generator,
    *,
    guidance: float = 1.0,
    others: Competitors = ALONE,
    truth: Tensor | None = None,
) -> Inference:
    """Return the posterior of one recording y (K, T, N) under given settings, with the baselines beside it.

    With two or more trials each method is fitted again without the last trial and scored on it; the estimate with the larger
    held-out likelihood is trusted. Ridge is trusted when it expects a correlation of .99 with the truth.
    """

    def fit(trials: Tensor, S: int) -> _Fitted:
        return _fit(model, trials, observed, choice, S, solver, generator, guidance, others)

    whole = fit(y, n_samples)
    heldout: dict[str, float] = {}
    if len(y) > 1:
        fewer = fit(y[:-1], max(8 if y.shape[-1] <= 100 else 4, n_samples // 2)).estimates
        test = _test_trial(y[-1:], observed, choice, whole.base.noise_std)
        size = y.shape[1] * int(observed.sum())
        heldout = {name: float(heldout_log_likelihood(W[None], test, size)) for name, W in fewer.items()}
    trusted, reason = choose(whole.base, heldout, "ep" if others.anatomy is None else "anatomy")
    spread = {"diffusion": whole.samples.std(0), "ridge": whole.base.sd[0], "ep": whole.ep.sd, "anatomy": whole.ep.sd}
    block = observed[:, None] & observed[None]
    table = [
        {
            "method": name,
            "held-out log-likelihood per value": heldout.get(name, math.nan),
            "expected correlation": expected_correlation(W, spread[name]) if name in spread else math.nan,
            **({"correlation with truth": float(entry_correlation(W, truth, block))} if truth is not None else {}),
        }
        for name, W in whole.estimates.items()
    ]
    noise = float(whole.base.noise_std) * choice.settings.gain
    written = trusted in WRITTEN
    samples = whole.ep.samples if written else whole.samples
    kind = trusted if written else "diffusion"
    return Inference(samples, kind, whole.estimates, whole.base.sd[0], whole.ep, noise, table, trusted, reason)


def _fit(model, trials, observed, choice: Choice, S, solver, generator, guidance, others: Competitors) -> _Fitted:
    """Fit every method to trials (K, T, N)."""
    likelihood = _likelihoods(trials, observed, choice)
    found = likelihood(None)
    base = ridge.ridge_of(found)
    samples = model.sample(model.prepare(likelihood(model).wide), S, guidance=guidance, generator=generator, **solver)[
        0
    ]
    ep, written = _propagated(model, found, S, generator, None)
    estimates = {"diffusion": samples.mean(0), "ridge": base.mean[0], "ep": ep}
    if others.anatomy is not None:
        estimates["anatomy"], written = _propagated(model, found, S, generator, others.anatomy[None])
    if others.regression is not None:
        estimates["regression"] = others.regression.regress(likelihood(others.regression).wide)[0]
    if others.prior is not None:
        guide = others.prior.decompose(likelihood(others.prior).wide)
        estimates["pigdm"] = guided_prior_samples(others.prior, guide, S, generator=generator, **solver)[0].mean(0)
    if others.refine != "none":
        settings = choice.settings
        metadata = {"dt": settings.a, "tau": 1.0, "noise_std": float(base.noise_std)}
        refined = refine_weight_matrix(
            estimates["diffusion"], settings.rates(trials), metadata, method=others.refine, model=others.prior or model,
            generator=generator,
        )  # fmt: skip
        estimates[f"refined ({others.refine})"] = refined.W
    return _Fitted(written, estimates, samples, base)


def _propagated(
    model: WeightModel, found: RowFit, S: int, generator: torch.Generator, anatomy: Tensor | None
) -> tuple[Tensor, Written]:
    """Return mean and posterior of expectation propagation; of large networks fewer samples, for they take N^4 steps each."""
    family, N = model.spec.family or propagation.Family(), found.wide.b.shape[-1]
    posterior = propagation.propagate(found.wide, family, anatomy=anatomy)
    count = min(S, max(8, int(1.3e8 / N**3)))
    samples = draw(posterior, found.wide, family, count, generator)[0]
    converged = bool(posterior.converged[0])
    return posterior.mean[0], Written(samples, posterior.sd[0], posterior.present[0], converged)


def _likelihoods(trials: Tensor, observed: Tensor, choice: Choice):
    """Return ``likelihood(model)``: what trials say about W, linearised under the scale of a model's prior or, for None, of ridge's."""
    s = choice.settings
    process = s.process if s.process > MAX_SLACK else 0.0
    if not s.input:
        y, seen = s.rates(trials)[None], observed[None]
        noise = torch.tensor([choice.noise / s.gain], dtype=y.dtype)

        def plain(model: WeightModel | None) -> RowFit:
            variance = None if model is None else torch.tensor([model.unit(y.shape[-1]) ** 2], dtype=y.dtype)
            return ridge.gaussian_likelihood(y, s.a, variance, noise, seen, process=process, h0_std=s.h0_std)

        return plain
    found = explain.row_fit(trials.double(), choice.noise, s._replace(process=process))
    return lambda model: found


def _test_trial(trial: Tensor, observed: Tensor, choice: Choice, noise: Tensor) -> ridge.Likelihood:
    s = choice.settings
    if s.input or s.process > MAX_SLACK:
        return explain.test_likelihood(trial.double(), choice.noise, s)
    return ridge.gaussian_likelihood(s.rates(trial)[None], s.a, None, noise, observed[None], n_relinearise=0).likelihood


def expected_correlation(mean: Tensor, sd: Tensor) -> float:
    """Return the correlation with the truth that a posterior claims: sqrt of explained over total variance."""
    explained = float(mean.var())
    return math.sqrt(explained / (explained + float((sd**2).mean()))) if explained > 0 else 0.0


def choose(base: ridge.Ridge, heldout: Mapping[str, float], written: str = "ep") -> tuple[str, str]:
    """Return the name of the estimate to trust and why, in one sentence; only a held-out trial can say that data suffice.

    Expectation propagation, under the family's prior (``ep``) or with ``anatomy`` beside it, is taken unless another is better.
    """
    if not heldout:
        return written, (
            "EP suffices as far as one trial tells: with nothing to hold out the prior is untested on this recording; believe it only "
            "if the network could come from the training family"
        )
    claim = expected_correlation(base.mean[0], base.sd[0])
    if claim >= RIDGE_IS_ENOUGH and heldout["ridge"] > 0:
        return (
            "ridge",
            f"the data determine the weights (ridge expects a correlation of {claim:.3f} and predicts the held-out trial); "
            "a learned prior is not needed",
        )
    best = max(heldout, key=heldout.__getitem__)
    gain = heldout[best] - heldout[written]
    if gain < NOTHING:
        return (
            written,
            f"EP suffices: no estimate predicts the held-out trial better (largest gain {gain:+.4f} per value)",
        )
    return best, f"largest likelihood of the held-out trial; {best} minus EP {gain:+.4f} per value"


def infer_large(
    family: Family, y: Tensor, choice: Choice, n_samples: int, generator: torch.Generator, truth: Tensor | None = None
) -> Inference:
    """Return ridge and expectation propagation of a recording y (K, T, N) of many neurons; the samples are those of the latter."""
    rows, variance = large.rows_of(y, choice.noise, choice.settings)
    base, ep = large.ridge_of(rows, variance), large.propagate(rows, family)
    samples = large.draw(ep, rows, family, n_samples, generator)
    estimates = {"ridge": base.mean.float(), "ep": ep.mean[0]}
    spread = {"ridge": base.sd.float(), "ep": ep.sd[0]}
    heldout: dict[str, float] = {}
    if len(y) > 1:
        fewer, variance = large.rows_of(y[:-1], choice.noise, choice.settings)
        held = {"ridge": large.ridge_of(fewer, variance).mean, "ep": large.propagate(fewer, family).mean[0]}
        heldout = {
            name: large.heldout_log_likelihood(W.double(), y[-1:], choice.noise, choice.settings)
            for name, W in held.items()
        }
    trusted = max(heldout, key=heldout.__getitem__) if heldout else "ep"
    reason = "largest likelihood of the held-out trial" if heldout else "one trial leaves nothing to hold out"
    table = [
        {
            "method": name,
            "held-out log-likelihood per value": heldout.get(name, math.nan),
            "expected correlation": expected_correlation(W, spread[name]),
            **({"correlation with truth": float(entry_correlation(W, truth))} if truth is not None else {}),
        }
        for name, W in estimates.items()
    ]
    written = Written(samples, ep.sd[0], ep.present[0], bool(ep.converged[0]))
    return Inference(samples, "ep", estimates, base.sd.float(), written, choice.noise, table, trusted, reason)
