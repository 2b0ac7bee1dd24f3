"""Is the posterior over weights right: close to the truth, honest about its width, and useful for predicting activity?

All scores are for held-out networks. Ridge regression on the same data stands in the same table, twice: as a user can have it
(penalty by marginal likelihood) and with the penalty that suits the true weights best (oracle).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from scipy import special, stats
from torch import Tensor

from ..model.agreement import entry_correlation
from ..rate_network.activity import lyapunov_exponent, summary_stats
from ..rate_network.simulator import simulate_rate_network
from ..rate_network.weights import get_spectral_radius
from .calibration import coverage, likely_connections, random_ranks


class Scores(NamedTuple):
    """One posterior against the truth; each entry has one value a network (B)."""

    correlation: Tensor  #: of the posterior mean with the true entries
    mse: Tensor  #: of the posterior mean over the variance of the true entries
    sign_auc: Tensor  #: area under the curve of P(W > 0) for the sign of the non-zero entries
    crps: Tensor  #: continuous ranked probability score over the sd of the true entries
    coverage: Tensor  #: (B, 3) of the central 50, 80, 95 % intervals
    connection_coverage: Tensor  #: (B, 3) the same over connections that most samples hold to be there
    radius: Tensor  #: mean spectral radius of samples; against the true ones by `ratio_and_error`
    sd: Tensor  #: mean posterior standard deviation over the sd of the true entries


def score(samples: Tensor, W: Tensor) -> Scores:
    """Return the scores of samples (B, S, N, N) for true weights W (B, N, N)."""
    S = samples.shape[1]
    flat, true = samples.flatten(2), W.flatten(1)
    mean, spread = flat.mean(1), true.std(1)
    ranks = random_ranks(samples, W)
    ordered = flat.sort(1).values
    k = torch.arange(1, S + 1, dtype=flat.dtype)[None, :, None]
    pairs = 2 * ((2 * k - S - 1) * ordered).sum(1) / (S * (S - 1))  # unbiased mean |x - x'|
    crps = ((flat - true[:, None]).abs().mean(1) - pairs / 2).mean(1) / spread
    auc = torch.tensor([area_under_curve((f > 0).float().mean(0), t) for f, t in zip(flat, true)])
    few = samples[:, : min(S, 8)]
    return Scores(
        entry_correlation(mean.view_as(W), W),
        ((mean - true) ** 2).mean(1) / spread**2,
        auc,
        crps,
        coverage(ranks),
        coverage(ranks, likely_connections(samples)),
        get_spectral_radius(few).mean(1),
        flat.std(1).mean(1) / spread,
    )


def truth_scores(samples: Tensor, truth: Tensor) -> dict[str, Any]:
    """Return the scores of samples (S, N, N) of one network, its spectral radius as a ratio to that of the truth (N, N)."""
    found = {k: v[0].tolist() for k, v in score(samples[None], truth[None])._asdict().items()}
    found["radius_ratio"] = found.pop("radius") / float(get_spectral_radius(truth))
    return found


def area_under_curve(probability: Tensor, true: Tensor) -> float:
    """Return the probability that a positive entry has the larger P(W > 0) than a negative one, ties half; NaN with one sign only."""
    plus, minus = probability[true > 0], probability[true < 0]
    if not len(plus) or not len(minus):
        return math.nan
    place = stats.rankdata(torch.cat([plus, minus]).numpy())[: len(plus)]
    return float(place.sum() - len(plus) * (len(plus) + 1) / 2) / (len(plus) * len(minus))


def functional_error(estimate: Tensor, W: Tensor, h0: Tensor, T: int, a: float) -> Tensor:
    """Return the relative error (B) of the noise-free activity of estimated weights from the same h0 (B, K, N); the truth scores 0."""
    x, x_hat = (simulate_rate_network(w, h0, T, a, 1.0) for w in (W, estimate))
    return ((x_hat - x) ** 2).mean((1, 2, 3)).sqrt() / x.std((1, 2, 3)).clamp_min(1e-12)


def divergence_horizon(estimate: Tensor, W: Tensor, h0: Tensor, T: int, a: float, tolerance: float = 0.2) -> Tensor:
    """Return the first step (B) at which the root-mean-square difference of rates exceeds ``tolerance``; T when none does."""
    x, x_hat = (simulate_rate_network(w, h0, T, a, 1.0) for w in (W, estimate))
    apart = ((x_hat - x) ** 2).mean((1, 3)).sqrt() > tolerance
    return torch.where(apart.any(1), apart.float().argmax(1), T).float()


class Dynamics(NamedTuple):
    """What estimated weights do when they run, against what the true ones do; a value a network (B). The truth scores 0, T, its radius, 0, 0."""

    functional_error: Tensor  #: relative error of noise-free activity from the same initial states
    divergence_step: Tensor  #: first step at which rates differ by more than .2
    radius: Tensor  #: spectral radius; against the true ones by `ratio_and_error`
    lyapunov_error: Tensor  #: |difference| of the largest Lyapunov exponents along each one's own activity, 1 / tau
    autocorrelation_error: Tensor  #: |difference| of autocorrelation times over the true one


def dynamics(estimate: Tensor, W: Tensor, h0: Tensor, T: int, a: float, longer: int = 4) -> Dynamics:
    """Return how weights (B, N, N) behave from h0 (B, K, N) over T steps; exponents and times over ``longer`` T steps."""
    runs = [simulate_rate_network(w, h0, longer * T, a, 1.0) for w in (W, estimate)]
    exponents = [lyapunov_exponent(w, x, a, 1.0) for w, x in zip((W, estimate), runs)]
    times = [summary_stats(x, dt=a).autocorrelation_time for x in runs]
    return Dynamics(
        functional_error(estimate, W, h0, T, a),
        divergence_horizon(estimate, W, h0, T, a),
        get_spectral_radius(estimate),
        (exponents[1] - exponents[0]).abs(),
        (times[1] / times[0] - 1).abs(),
    )


def t_95(n: int) -> float:
    """Return how many standard errors a 95 % interval of a mean of n values reaches to each side, by Student's t."""
    return float(special.stdtrit(n - 1, 0.975)) if n > 1 else math.nan


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return mean and standard error over networks, without missing values."""
    v = values[torch.isfinite(values)].double()
    if not len(v):
        return math.nan, math.nan
    return float(v.mean()), float(v.std() / math.sqrt(len(v))) if len(v) > 1 else math.nan


def ratio_and_error(values: Tensor, true: Tensor) -> tuple[float, float]:
    """Return the ratio of means over networks (B) and its standard error (delta method).

    Samples of a calibrated posterior have on average the true mean, so their ratio of means is 1; the mean of their ratios is
    larger wherever the posterior is wide (E[1/x] > 1/E[x]).
    """
    values, true = values.double(), true.double()
    ratio = values.mean() / true.mean()
    error = (values - ratio * true).std() / (math.sqrt(len(true)) * true.mean()) if len(true) > 1 else math.nan
    return float(ratio), float(error)
