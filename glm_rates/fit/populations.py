"""Which units are fitted together, and what comes out of fitting them on all trials?"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np

from ..model import effects
from ..model import population as model
from ..model.bases import Covariate
from ..model.design import Design, Trials
from ..model.kernels import Window
from ..model.refit import observed_as
from ..model.widths import misfit

log = logging.getLogger(__name__)
FULL_UP_TO = 60  # units; beyond it arrays of (unit, p, p) are slow and large


class Population(NamedTuple):
    """Units that share a prior and may be coupled, and the trials they are fitted on."""

    name: str  # region, or "all"
    taste: int | None  # with separate tastes: the one taste
    units: np.ndarray
    trials: np.ndarray
    data: Trials


def populations(params: dict, arrays: dict, separate_regions: bool, separate_tastes: bool) -> list[Population]:
    """Split the recording by region and taste as asked; regions without units do not appear."""
    regions = np.array(params["regions"])
    names = list(dict.fromkeys(params["regions"])) if separate_regions else ["all"]
    if separate_regions and len(names) == 1:
        told = "no regions are known" if names == ["all"] else f"all units are in region {names[0]}"
        log.warning("--separate_regions: %s, so the %d units are one population", told, len(regions))
    tastes = range(len(params["tastes"])) if separate_tastes else [None]
    out = []
    for name in names:
        units = np.flatnonzero(regions == name) if separate_regions else np.arange(len(regions))
        for taste in tastes:
            trials = np.flatnonzero(arrays["taste"] == taste) if taste is not None else np.arange(len(arrays["taste"]))
            labels = np.zeros(len(trials), int) if taste is not None else arrays["taste"]
            counts, onset, laser = (
                arrays["counts"][trials][:, :, units],
                arrays["onset"][trials],
                arrays["laser"][trials],
            )
            observed = arrays["observed"][trials][:, :, units] if "observed" in arrays else None
            counted = arrays["counted"][trials] if "counted" in arrays else None
            covariates = arrays["covariates"][trials] if "covariates" in arrays else None
            time = arrays.get("start_s", arrays["trial"])[trials]
            data = Trials(counts, labels, onset, laser, observed, counted, covariates, time)
            out.append(Population(name, taste, units, trials, data))
    return out


def settings_for(params: dict, wanted: dict[str, Any], population: Population) -> model.Settings:
    """Model settings of one population: no stimulus without events, no coupling of a single unit, plain ridge with a penalty."""
    known = {k: v for k, v in {**wanted, **params}.items() if k in model.Settings._fields}
    known["covariates"] = tuple(_covariate(c) for c in params.get("covariates", []))
    settings = model.Settings(**known)
    coupling = settings.include_coupling and len(population.units) > 1
    prior = settings.prior if settings.penalty is None else "ridge"
    method = settings.coupling_method
    if method == "auto":
        method = "screened" if prior == "learned" and len(population.units) > FULL_UP_TO else "full"
    if not coupling:
        method = "full"
    return settings._replace(include_coupling=coupling, prior=prior, coupling_method=method)


def _covariate(stored: dict[str, Any]) -> Covariate:
    """A covariate as the exchange folder describes it; JSON has lists where it has tuples."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return Covariate(**values)


def where_valid(design: Design, values: np.ndarray) -> np.ndarray:
    """Values (unit, row) with NaN where the bin is no observation of the unit."""
    return values if design.valid is None else np.where(design.valid, values, np.nan)


def fit_population(population: Population, window: Window, settings: model.Settings) -> dict[str, np.ndarray]:
    """Fit on all trials: rates, their uncertainty, filters and diagnostics, as arrays by name."""
    trials = population.data
    design = model.make_design(trials, window, settings)
    models, smaller = list(model.nested_terms(settings).values()), None
    if settings.prior == "learned" and len(models) > 1:  # start where a smaller model ended
        smaller = model.fit_design(design.only(models[-2]), settings._replace(tolerance=1e-4), covariance=False)
    fit = model.fit_design(design, settings, None if smaller is None else smaller.prior, base=smaller)
    fit = observed_as(design, settings, fit, np.where(np.isnan(design.counts), 0, design.counts).max(axis=1) <= 1)
    shape = (len(trials.counts), window.stop - window.start)
    n_tastes = int(trials.taste.max()) + 1
    out = effects.filters(design, fit, settings.bin_size, n_tastes)
    rate, sd = effects.predict(design, fit), effects.log_rate_sd(design, fit)
    size = np.full(len(rate), np.inf) if fit.size is None else fit.size
    beyond = misfit(design, rate, sd, trials.taste, size, settings.bin_size)
    sd = np.where(fit.fitted[:, None], np.sqrt(sd**2 + beyond), sd)
    out |= {
        "rate": where_valid(design, rate).T.reshape(*shape, -1),
        "log_rate_sd": where_valid(design, sd).T.reshape(*shape, -1),
        "misfit_sd": np.sqrt([beyond]),
        "fitted": fit.fitted,
        "converged": fit.converged,
        "grad_norm": fit.grad_norm,
        "penalty": fit.penalty * design.counts.shape[1],
        "coef": fit.coef,
        "intercept": fit.coef[:, 0],
    }
    if fit.size is not None:
        out["dispersion"] = 1 / fit.size
    if fit.prior is not None and settings.include_coupling:
        out["edge_probability"] = fit.prior.inclusion
    if fit.prior is not None:
        out |= {f"prior_{block}": value for block, value in fit.prior.covariance.items()}
    return out
