"""What does a recording say of a neuron model that a person wrote? The exact posterior, with the noise and electrode of any recording."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from scipy import special

from ..config import PARAMETERS, InferConfig, OwnConfig
from ..neuron.own import OwnModel
from ..neuron.recording import Recording
from ..posterior import exact, likelihood, rivals
from ..posterior.importance import Refined
from ..posterior.likelihood import NO_ACTIVATION, Observation, Spec
from ..posterior.summary import surprise
from ..posterior.typicality import facts_of_any
from .infer import make_problem, prepare, recording_for_facts

CLIMB = exact.Climb(64, 80)  #: starts and steps
log = logging.getLogger("laa_bayes")


class OwnPosterior(NamedTuple):
    """The posterior of a person's own model."""

    spec: Spec
    observed: Observation
    cut: Recording
    refined: Refined
    bic: float
    passive: rivals.Rival
    fit_mv: np.ndarray  #: (n_time,) at the mode
    facts: list[str]  #: what speaks against the recording, or for a wrong unit

    @property
    def rmse_mv(self) -> float:
        """Root mean squared residual at the mode."""
        return float(np.sqrt(np.mean((self.cut.v_mv - self.fit_mv) ** 2)))

    def values(self) -> dict[str, np.ndarray]:
        """Return the draws (n_draws,) of every coordinate by name, v0 as the membrane's voltage in mV at the first sample."""
        _, extra = likelihood.unpack(self.spec, self.refined.w, np, special)
        drop = np.ravel(self.observed.mv_per_mohm)[0] * extra.get("R_s", 0.0)
        return extra | {"v0": self.cut.v_mv[0] - drop + extra["v0"]}


def infer_own(model: OwnModel, recording: Recording, config: OwnConfig) -> OwnPosterior:
    """Return the posterior of a model of one's own under AR(1) noise, an own initial voltage and a series resistance."""
    reading = {name: getattr(config, name) for name in ("area_um2", "window", "grid_ms")}
    asked = InferConfig(model="none", recording=config.recording, seed=config.seed, draws=config.draws, **reading)
    cut, _, priors = prepare(recording, asked, None)
    plain, observed = make_problem(cut, priors, asked, None)
    fixed = (NO_ACTIVATION,) * len(PARAMETERS)
    spec = plain._replace(priors=fixed, nuisance=(*plain.nuisance, *model.parameters), own=model)
    rng = np.random.default_rng(config.seed)
    log.info(
        "%s: %d samples, %d coordinates, %d starts of %d steps", cut.source, len(cut.v_mv), len(spec.names), *CLIMB[:2]
    )
    refined = exact.refine(spec, observed, "laplace", rng, config.draws, climb=CLIMB)
    mode = refined.optimum[None]
    best = likelihood.log_posteriors(spec, mode, observed)[0] + 0.5 * np.sum(mode**2)
    simple = rivals.passive(plain)
    starts = rng.standard_normal((rivals.N_START, len(simple.names)))
    passive = rivals.rival(simple, starts, observed, CLIMB.n_steps, rng)
    bic = float(mode.shape[1] * np.log(len(cut.v_mv)) - 2 * best)
    own_w = mode[0, [spec.names.index(name) for name, _ in model.parameters]]
    facts = facts_of_any(recording_for_facts(recording, asked, cut)) + surprise(own_w)
    fit_mv = likelihood.predictions(spec, mode, observed)[0]
    return OwnPosterior(spec, observed, cut, refined, bic, passive, fit_mv, facts)
