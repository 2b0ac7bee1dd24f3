"""Has each neuron a time constant of its own? Expectation propagation with the neuron's own state as one regressor more.

h_i <- (1 - a_i) h_i + a_i W_i x is linear in (1 - u_i) W_i and u_i = 1 - a_i / a (`explain.design`). A weight of the neuron onto itself
imitates u_i but for the bend of tanh, so that ridge can hardly tell the two apart; a prior in words (few connections, one sign a column)
can. Whether the constants differ is asked of the posterior of u_i: the log odds of its density at 0 after and before the data
(Dickey 1971), a row never counting for more than `MOST_OF_ONE`, since one neuron may be odd for another reason. Our definition.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .explain import (
    Path,
    design,
    fit_path,
    fitted_path,
    latent_given,
    precisions,
    row_likelihood_of,
    widened,
)
from .propagation import Family, gaussian_posterior, propagate
from .recording import OWN_SD, Settings
from .ridge import Likelihood

TURNS = 3  #: how often path and time constants are found anew
BENT = (0.2, 3.0)  #: smallest and largest dt/tau of a neuron over that of all
MOST_OF_ONE = 5.0  #: log odds that one neuron may add


class OwnTime(NamedTuple):
    """The neurons' own time constants."""

    ratio: Tensor  #: (N) dt/tau of each over that of all
    sd: Tensor  #: (N)
    log_odds: float  #: that they differ, beyond one value for all


def own_time(y: Tensor, noise: float, s: Settings, family: Family, stimulus: Tensor | None = None) -> OwnTime:
    """Return the time constants of the neurons of a recording y (K, T, N), float64, every neuron recorded.

    Parameters
    ----------
    noise : standard deviation of white noise on y. family : the prior of the weights. stimulus : known input (K, T, N) in units of h.
    """
    N = y.shape[2]
    first = fit_path(y, noise, s, None, TURNS, stimulus)
    h, pv, ratio = first.h, first.prior_variance, y.new_ones(N)
    w = torch.cat([first.w, first.w.new_zeros(N, 1)], 1)
    for turn in range(TURNS + 1):
        s = s._replace(taus=tuple(ratio.tolist()))
        d = design(y, h, noise, s, None, stimulus)
        wide = widened(Path(h, d, 0.0, w, pv), s)
        A, b, *_ = precisions(wide)
        likelihood = row_likelihood_of(wide, s)
        found = propagate(likelihood, family)
        own, moved = latent_given(A, b, s)
        weights = found.mean[0].double() * ratio[:, None]
        latent = moved[..., -1] - (moved[..., :-1] @ weights[..., None])[..., 0]
        covariance = gaussian_posterior(Likelihood(likelihood.A.double(), likelihood.b.double()), *found.sites)[0][0]
        pull = moved[:, -1, :-1] * ratio[:, None]
        variance = torch.linalg.inv(own)[:, -1, -1] + torch.einsum("im,imn,in->i", pull, covariance, pull)
        if turn < TURNS:
            w = torch.cat([weights, latent], 1)
            h = fitted_path(d, w)
            ratio = (1 - latent[:, -1]).clamp(*BENT)
    u = latent[:, -1]
    odds = 0.5 * (u**2 / variance + variance.log()) - math.log(OWN_SD)
    return OwnTime((1 - u).clamp(*BENT), variance.sqrt(), float(odds.clamp_max(MOST_OF_ONE).sum()))
