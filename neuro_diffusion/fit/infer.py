"""Which weights does one recording allow, and which of the estimates should its owner believe?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..files.asked import LARGEST as LARGEST
from ..model import explain, propagation, ridge
from ..model.agreement import entry_correlation, heldout_rows, heldout_score
from ..model.anatomy import Reliability, averaged, reliability
from ..model.blend import blend, claimed_correlation, mix, share_of
from ..model.dale import choose as choose_family
from ..model.guidance import guided_prior_samples
from ..model.joint import draw
from ..model.model import WeightModel, WrittenPrior
from ..model.propagation import Family
from ..model.ridge import RowFit
from .refine import refine_weight_matrix
from .settings import MAX_SLACK, Choice

WRITTEN = ("ep", "anatomy")  #: estimates of expectation propagation
WORDS = {"ep": "EP", "anatomy": "EP with anatomy", "combined": "EP with what the network adds"}
MOST_FOLDS, FEW_FOLDS, SMALL = 8, 3, 100  #: trials that are left out in turn; beyond so many neurons; so many
BASELINES = RIDGE, SELVES, NONE = "ridge regression", "neurons that hear only themselves", "no connections"
NOTHING = 1e-3  #: held-out log-likelihood a value by which another estimate must beat expectation propagation
RIDGE_IS_ENOUGH = 0.99  #: expected entry correlation of ridge from which nothing is left to learn


class Inference(NamedTuple):
    """Posterior over the weights of one network."""

    samples: Tensor  #: (S, N, N) of the posterior that is trusted: EP's, the diffusion model's or the mixture of both
    samples_of: str  #: its name
    estimates: dict[str, Tensor]  #: (N, N) by method: diffusion, ridge, ep and those asked for
    ridge_sd: Tensor  #: (N, N)
    ep: Written  #: expectation propagation under the family's written-down prior
    noise_std: float
    table: list[dict[str, Any]]  #: a row a method: held-out log-likelihood, expected and (with truth) found correlation
    trusted: str  #: name of the estimate to use
    reason: str
    default: str  #: name of the estimate that stands before the held-out trial is looked at
    left_out: dict[
        str, Tensor
    ]  #: `heldout_score` of trials left out in turn, of ours and each baseline; empty: none could be
    share: float = 0.0  #: of the diffusion model in the estimate "combined"
    worth: Reliability | None = None  #: of anatomy, where it was given
    likelihood: ridge.Likelihood | None = None  #: of W, leading axis 1; None of very many neurons


class Written(NamedTuple):
    """The posterior under the prior that is written down (`propagation`), without training."""

    samples: Tensor  #: (S, N, N)
    sd: Tensor  #: (N, N)
    present: Tensor  #: (N, N) probability that a connection exists
    converged: bool
    posterior: propagation.Propagated  #: leading axis 1
    family: Family  #: under which it stands: without Dale's law where the evidence says so (`dale`)
    log_odds: float = math.nan  #: of Dale's law, where it was asked


class Competitors(NamedTuple):
    """What is fitted beside the model and ridge."""

    prior: WeightModel | None = None  #: its unconditional score, guided by the likelihood (pigdm)
    regression: WeightModel | None = None
    refine: str = "none"  #: method of `refine_weight_matrix` on the posterior mean
    anatomy: Tensor | None = None  #: (N, N) class of each connection that anatomy sees, 0: none (`anatomy.classes_of`)


class Recorded(NamedTuple):
    """What was measured."""

    y: Tensor  #: (K, T, N) rates
    observed: Tensor  #: (N) True where a neuron was recorded
    stimulus: Tensor | None = None  #: (K, T, N) known input in units of h

    def trials(self, part: slice) -> Recorded:
        """Return some of the trials."""
        return self._replace(y=self.y[part], stimulus=None if self.stimulus is None else self.stimulus[part])

    def without(self, k: int) -> Recorded:
        """Return all trials but one."""
        keep = torch.arange(len(self.y)) != k
        return self._replace(y=self.y[keep], stimulus=None if self.stimulus is None else self.stimulus[keep])


ALONE = Competitors()


class _Fitted(NamedTuple):
    ep: Written
    estimates: dict[str, Tensor]
    samples: Tensor
    base: ridge.Ridge
    share: Tensor  # (1)
    worth: Reliability | None
    default: str
    wide: ridge.Likelihood


def infer(
    model: WeightModel | WrittenPrior,
    recorded: Recorded,
    choice: Choice,
    n_samples: int,
    solver: Mapping[str, Any],
    generator: torch.Generator,
    *,
    guidance: float = 1.0,
    others: Competitors = ALONE,
    truth: Tensor | None = None,
) -> Inference:
    """Return the posterior of one recording under given settings, with the baselines beside it.

    With two or more trials each method is fitted again without the last trial and scored on it; the estimate with the larger
    held-out likelihood is trusted. Ridge is trusted when it expects a correlation of .99 with the truth.
    """

    def fit(trials: Recorded, S: int, lean: bool = False, family: Family | None = None) -> _Fitted:
        """Return every method's fit to some trials, with S samples; lean: only what stands against the baselines."""
        return _fit(model, trials, choice, S, solver, generator, guidance, others, lean, family)

    y, observed, whole = recorded.y, recorded.observed, fit(recorded, n_samples)
    few, heldout, left_out = 8 if y.shape[-1] <= SMALL else 4, dict[str, float](), dict[str, list[Tensor]]()
    for k in folds(*y.shape[::2]):
        last = k == len(y) - 1
        fewer = fit(recorded.without(k), max(few, n_samples // 2) if last else few, not last, whole.ep.family)
        test = _test_trial(recorded.trials(slice(k, k + 1)), choice, whole.base.noise_std)
        if last:
            same = {name: fewer.estimates.get(name, fewer.estimates[fewer.default]) for name in whole.estimates}
            rows = {name: heldout_rows(W[None], test)[0][observed] for name, W in same.items()}
            heldout = {name: float(values.mean()) / y.shape[1] for name, values in rows.items()}
        for name, W in ({"ours": fewer.estimates[fewer.default]} | baselines(fewer.base)).items():
            score = heldout_score(W[None], test, y.shape[1])[0][observed].mean()
            left_out.setdefault(name, []).append(score)
    trusted, reason = choose(whole.base, heldout, whole.default)
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
    samples, kind = whole.samples, "diffusion" if "diffusion" in whole.estimates else "ep"
    if trusted in WRITTEN:
        samples, kind = whole.ep.samples, trusted
    elif trusted == "combined":
        S = min(len(whole.ep.samples), len(samples))
        samples, kind = mix(whole.ep.samples[None, :S], samples[None, :S], whole.share)[0], trusted
    return Inference(
        samples, kind, whole.estimates, whole.base.sd[0], whole.ep, noise, table, trusted, reason, whole.default,
        {name: torch.stack(values) for name, values in left_out.items()},
        float(whole.share), whole.worth, whole.wide,
    )  # fmt: skip


def folds(K: int, N: int) -> list[int]:
    """Return the trials that are left out in turn, the last one among them: of a long recording or a large network only some."""
    n = min(K, MOST_FOLDS if N <= SMALL else FEW_FOLDS) if K > 1 else 0
    return sorted({K - 1 - round(j * K / n) for j in range(n)})


def baselines(base: ridge.Ridge) -> dict[str, Tensor]:
    """Return the baselines: ridge, W diagonal under ridge's prior, W = 0."""
    A, b = (base.likelihood.A[0].diagonal(dim1=1, dim2=2).diagonal(), base.likelihood.b[0].diagonal())
    own = torch.diag(b / (A + 1 / base.prior_variance[0]))
    return {RIDGE: base.mean[0], SELVES: own, NONE: torch.zeros_like(own)}


def _fit(
    model, trials: Recorded, choice: Choice, S, solver, generator, guidance, others: Competitors, lean, family
) -> _Fitted:
    """Fit every method to some trials; ``lean``: only what stands against the baselines. ``family``: None: to be chosen."""
    likelihood = _likelihoods(trials, choice)
    found = likelihood(None)
    base = ridge.ridge_of(found, not lean)
    ep, written = _propagated(model, found, 0 if lean else S, generator, family)
    share = share_of(model.spec.gate, claimed_correlation(ep[None], written.sd[None]))
    estimates, default, samples = {"ridge": base.mean[0], "ep": ep}, "ep", written.samples
    if isinstance(model, WeightModel) and (not lean or float(share) > 0):
        part = model.prepare(likelihood(model).wide)
        samples = model.sample(part, S, guidance=guidance, generator=generator, **solver)[0]
        estimates = {"diffusion": samples.mean(0), **estimates}
    if float(share) > 0:
        default = "combined"
        estimates[default] = blend(ep[None], estimates["diffusion"][None], share)[0]
    worth = None
    if others.anatomy is not None:
        default = "anatomy"
        worth = reliability(written.posterior, others.anatomy[None])
        told = _propagated(model, found, 0 if lean else S, generator, written.family, worth.density)[1]
        estimates["anatomy"], written = _with_anatomy(written, told, worth)
    if lean:
        return _Fitted(written, estimates, samples, base, share, worth, default, found.wide)
    if others.regression is not None:
        estimates["regression"] = others.regression.regress(likelihood(others.regression).wide)[0]
    if others.prior is not None:
        guide = others.prior.decompose(likelihood(others.prior).wide)
        estimates["pigdm"] = guided_prior_samples(others.prior, guide, S, generator=generator, **solver)[0].mean(0)
    if others.refine != "none":
        settings = choice.settings
        metadata = {"dt": settings.a, "tau": 1.0, "noise_std": float(base.noise_std)}
        refined = refine_weight_matrix(
            estimates["diffusion"], settings.rates(trials.y), metadata, method=others.refine, model=others.prior or model,
            generator=generator,
        )  # fmt: skip
        estimates[f"refined ({others.refine})"] = refined.W
    return _Fitted(written, estimates, samples, base, share, worth, default, found.wide)


def _propagated(
    model: WeightModel | WrittenPrior, found: RowFit, S: int, generator: torch.Generator, family: Family | None, density: Tensor | None = None
) -> tuple[Tensor, Written]:  # fmt: skip
    """Return mean and posterior of expectation propagation; of large networks fewer samples, for they take N^4 steps each.

    ``family``: None: the model's, with Dale's law or without it as the evidence says.
    """
    N, odds = found.wide.b.shape[-1], math.nan
    if family is None:
        posterior, family, odds = choose_family(found.wide, model.spec.family or Family())
    else:
        posterior = propagation.propagate(found.wide, family, density=density)
    count = min(S, max(8, int(1.3e8 / N**3)))
    samples = draw(posterior, found.wide, family, count, generator)[0] if count else posterior.mean[:0]
    converged = bool(posterior.converged[0])
    return posterior.mean[0], Written(
        samples, posterior.sd[0], posterior.present[0], converged, posterior, family, odds
    )


def _with_anatomy(without: Written, within: Written, worth: Reliability) -> tuple[Tensor, Written]:
    """Return mean and posterior over both readings of anatomy."""
    mean, sd, present = averaged(without.posterior, within.posterior, worth.informative)
    samples = mix(without.samples[None], within.samples[None], worth.informative)[0]
    return mean[0], Written(
        samples, sd[0], present[0], without.converged and within.converged,
        within.posterior if float(worth.informative) > 0.5 else without.posterior, without.family, without.log_odds,
    )  # fmt: skip


def _likelihoods(trials: Recorded, choice: Choice):
    """Return ``likelihood(model)``: what trials say about W, linearised under the scale of a model's prior or, for None, of ridge's."""
    s = choice.settings
    process = s.process if s.process > MAX_SLACK else 0.0
    if s.plain:
        y, seen = s.rates(trials.y)[None], trials.observed[None]
        given = None if trials.stimulus is None else trials.stimulus[None]
        noise = torch.tensor([choice.noise / s.gain], dtype=y.dtype)

        def plain(model: WeightModel | None) -> RowFit:
            """Return what trials say about W under a model's prior scale, or ridge's."""
            variance = None if model is None else torch.tensor([model.unit(y.shape[-1]) ** 2], dtype=y.dtype)
            return ridge.gaussian_likelihood(
                y, s.a, variance, noise, seen, process=process, h0_std=s.h0_std, stimulus=given
            )

        return plain
    found = explain.row_fit(trials.y.double(), choice.noise, s._replace(process=process), stimulus=trials.stimulus)
    return lambda model: found


def _test_trial(trial: Recorded, choice: Choice, noise: Tensor) -> ridge.Likelihood:
    s = choice.settings
    if not s.plain or s.process > MAX_SLACK:
        return explain.heldout_likelihood(trial.y.double(), choice.noise, s, trial.stimulus)
    given = None if trial.stimulus is None else trial.stimulus[None]
    y, seen = s.rates(trial.y.double())[None], trial.observed[None]
    return ridge.gaussian_likelihood(y, s.a, None, noise.double(), seen, n_relinearise=0, stimulus=given).likelihood


def expected_correlation(mean: Tensor, sd: Tensor) -> float:
    """Return the correlation with the truth that a posterior (N, N) claims."""
    return float(claimed_correlation(mean[None], sd[None]))


def choose(base: ridge.Ridge, heldout: Mapping[str, float], written: str = "ep") -> tuple[str, str]:
    """Return the name of the estimate to trust and why, in one sentence; only a held-out trial can say that data suffice.

    Expectation propagation, under the family's prior (``ep``) or with ``anatomy`` beside it, is taken unless another is better;
    with what the network adds (``combined``) where held-out networks of the training family said that it helps.
    """
    name = WORDS[written]
    if not heldout:
        return written, (
            f"{name} {'suffices as far as one trial tells' if written in WRITTEN else 'was best on held-out networks of the training'}: "
            "with nothing to hold out the prior is untested on this recording; believe it only if the network could come from the "
            "training family"
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
            f"{name} suffices: no estimate predicts the held-out trial better (largest gain {gain:+.4f} per value)",
        )
    return best, f"largest likelihood of the held-out trial; {best} minus {name} {gain:+.4f} per value"
