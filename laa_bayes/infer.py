"""What does a trace say? From a recording to draws from the exact posterior, a verdict on the model, and predicted voltages."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from scipy import special

import hdf5io

from . import likelihood, refine, typicality
from .config import PARAMETERS, PRIORS, UNITS, InferConfig, Prior
from .importance import N_IMPORTANCE
from .likelihood import Observation, Spec
from .model import TrainedModel
from .priors import inferred, theta_from_z
from .protocols import fingerprint
from .recording import AREA_CM2_PER_UM2, Recording, apply_window, as_density, resample, textbook_fit
from .simulate import SHARP_K_MV, substeps_for

DEFAULT_GRID_MS = 0.25
IDENTIFIED = 0.5  #: least contraction of an identified parameter
N_START = 4
Z_90 = 1.6449  #: half width of a central 90 % interval in sd
FAR = 1e-4  #: recordings: a prior surprise below this is a hard fact (the named priors are broad, cells differ)
log = logging.getLogger("laa_bayes")


class Posterior(NamedTuple):
    """Everything that ``infer`` found."""

    spec: Spec
    observed: Observation
    recording: Recording  #: the analysed window, on the grid and in the units of the analysis
    units: dict[str, str]
    refined: refine.Refined | None  #: None with --refine none
    amortised: np.ndarray | None  #: (n_draws, n_inferred) the network's draws, None where it does not apply
    w: np.ndarray  #: (n_draws, n_w) the answer, in coordinates
    typicality: typicality.Typicality
    activation_bic: (
        float  #: BIC of the passive membrane minus BIC of the model; positive: the activation term is supported
    )
    notes: list[str]

    @property
    def theta(self) -> np.ndarray:
        """Draws of the six parameters (n_draws, 6), k as a width."""
        return theta_from_z(self.spec.prior_table, self.w[:, : len(inferred(self.spec.prior_table))])

    @property
    def contraction(self) -> dict[str, float]:
        """1 - posterior variance / prior variance of each inferred parameter, in coordinates."""
        return {name: float(1 - self.w[:, i].var()) for i, name in enumerate(inferred(self.spec.prior_table))}


def prepare(
    recording: Recording, config: InferConfig, model: TrainedModel | None
) -> tuple[Recording, str, dict[str, Prior]]:
    """Return the recording cut, in the analysis's units and on its grid, the name of the units, and the priors.

    Raises
    ------
    InputError
        Units that cannot be converted without a membrane area, or a density where lumped units are wanted.
    """
    if config.area_um2 is not None and recording.current_unit == "pA":
        recording = as_density(recording, config.area_um2)
    system = "lumped" if recording.current_unit == "pA" else "density"
    if model is not None and model.recipe.units != system:
        want, have = UNITS[model.recipe.units]["current"], recording.current_unit
        raise hdf5io.InputError(
            f"{recording.source}: the current is in {have}, the model was trained in {want}. "
            + ("Give the membrane area: --area-um2." if have == "pA" else "Leave --area-um2 out, or train in uA/cm2.")
        )
    if model is not None:
        if config.prior is not None:
            raise hdf5io.InputError(
                f"--prior {config.prior}: the model has its own prior. Leave --prior out, or use MODEL 'none'."
            )
        priors = dict(model.recipe.priors)
    else:
        fallback = "lumped" if system == "lumped" else "measured" if config.area_um2 else "default"
        name = config.prior or fallback
        if (name == "lumped") != (system == "lumped"):
            raise hdf5io.InputError(
                f"--prior {name} does not fit a current in {recording.current_unit}. Choose another prior, or give --area-um2."
            )
        priors = {key: PRIORS[name][key] for key in PARAMETERS}
    grid = config.grid_ms or (model.recipe.dt_ms if model is not None else max(DEFAULT_GRID_MS, recording.dt_ms))
    return resample(apply_window(recording, config.window), grid), system, priors


def network_applies(model: TrainedModel | None, recording: Recording) -> bool:
    """Return whether the trace was recorded under the current, and on the grid, that the network was trained for."""
    if model is None or abs(recording.dt_ms - model.recipe.dt_ms) > 1e-6:
        return False
    trained = model.recipe.current
    if len(trained) != len(recording.current):
        return False
    same = fingerprint(trained, recording.dt_ms) == fingerprint(recording.current, recording.dt_ms)
    return same or float(np.max(np.abs(trained - recording.current))) <= 0.01 * max(float(np.ptp(trained)), 1e-9)


def make_problem(
    recording: Recording, priors: dict[str, Prior], config: InferConfig, known_mv: float | None
) -> tuple[Spec, Observation]:
    """Return the likelihood of a recording: white noise of known sd, or noise, V0 and R_s inferred too (``known_mv`` None)."""
    if known_mv is not None:
        return likelihood.white_spec(priors, recording.dt_ms), Observation(recording.v_mv, recording.current, known_mv)
    at_sample = recording.current if recording.current_at_sample is None else recording.current_at_sample
    area = config.area_um2 * AREA_CM2_PER_UM2 if config.area_um2 else None
    has_unit = recording.current_unit == "pA" or area is not None
    drop = at_sample * (1e-3 if recording.current_unit == "pA" else 1e3 * (area or 0.0))  # mV across 1 MOhm
    wanted = config.series_resistance == "on" or (config.series_resistance == "auto" and has_unit)
    if wanted and not has_unit:
        raise hdf5io.InputError(
            "--series-resistance on: MOhm need a current in pA, or --area-um2 to turn uA/cm2 into pA."
        )
    scale = max(float(np.std(np.diff(recording.v_mv[: max(10, len(recording.v_mv) // 8)]))), 1e-3)
    spec = likelihood.recording_spec(priors, recording.dt_ms, round_up(scale), wanted)
    return spec, Observation(recording.v_mv, recording.current, 1.0, drop)


def round_up(x: float) -> float:
    """Return ``x`` as a power of two, so that equal problems share compiled code."""
    return float(2.0 ** np.round(np.log2(x)))


def infer(recording: Recording, config: InferConfig, model: TrainedModel | None) -> Posterior:
    """Return the posterior of one recording; see ``InferConfig`` for the choices.

    Raises
    ------
    InputError
        The network does not apply and no refinement was asked for, or units do not fit.
    """
    cut, system, priors = prepare(recording, config, model)
    applies, notes = network_applies(model, cut), []
    if not applies and config.refine in ("none", "is"):
        what = (
            "needs the network, and none was given"
            if model is None
            else "uses the network, which is valid for its training current and grid only"
        )
        raise hdf5io.InputError(
            f"--refine {config.refine} {what}. Use --refine laplace, or train with --protocol-from {recording.source.split(':')[0]}."
        )
    if model is not None and not applies:
        notes.append(
            "current or grid differs from the training protocol: the network is left out, the exact likelihood is used from prior starts"
        )
    estimate = config.noise == "estimate" or (
        config.noise == "auto"
        and not applies
        and (model is not None or cut.current_unit == "pA" or bool(config.area_um2))
    )
    trained_mv = 2.0 if model is None else model.recipe.noise_mv
    known = None if estimate else config.noise_mv or trained_mv
    if config.refine in ("none", "is") and known != trained_mv:
        raise hdf5io.InputError(
            f"--refine {config.refine}: the network was trained with {trained_mv:g} mV of white noise. Use --refine laplace."
        )
    spec, observed = make_problem(cut, priors, config, known)
    rng = np.random.default_rng(config.seed)
    amortised = model.sample(cut.v_mv[None].astype(np.float32), config.draws, config.seed)[0] if applies else None
    refined, spec = run_refinement(spec, observed, config, rng, amortised, model)
    w = refined.w if refined is not None else amortised
    optimum = refined.optimum if refined is not None else best_of(spec, amortised, observed)
    verdict = judge(
        spec, observed, optimum, recording_for_facts(recording, config, cut), model if applies else None, config.seed
    )
    units = {name: UNITS[system][name] for name in PARAMETERS}
    for note in notes:
        log.warning("%s", note)
    return Posterior(
        spec, observed, cut, units, refined, amortised, w, verdict, activation_bic(spec, observed, optimum, rng), notes
    )


def run_refinement(spec: Spec, observed: Observation, config: InferConfig, rng, amortised, model):
    """Return the refined posterior (None with --refine none) and the spec, with finer steps where the activation is steep."""
    if config.refine == "none":
        return None, spec
    starts = None if amortised is None else widen(spec, amortised[:N_START], rng)
    flow = None
    if config.refine == "is":
        if spec.nuisance:
            raise hdf5io.InputError(
                "--refine is weighs the network's draws, which have no noise parameters. Use --noise known or --refine laplace."
            )
        flow = model.sample(observed.v_mv[None].astype(np.float32), N_IMPORTANCE, config.seed + 1)[0]
        flow = (flow, model.log_density(flow, observed.v_mv))
    refined = refine.refine(spec, observed, config.refine, rng, config.draws, starts, flow)
    k = theta_from_z(spec.prior_table, refined.optimum[: len(inferred(spec.prior_table))])[PARAMETERS.index("k")]
    finer = substeps_for(spec.dt_ms, 0.0)
    if k < SHARP_K_MV and spec.substeps < finer:
        spec = spec._replace(substeps=finer)
        refined = refine.refine(spec, observed, config.refine, rng, config.draws, refined.modes, flow)
    return refined, spec


def widen(spec: Spec, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return starts in all coordinates from starts in the parameters' coordinates; nuisance parameters start at their priors."""
    return np.concatenate([z, 0.3 * rng.standard_normal((len(z), len(spec.nuisance)))], axis=1)


def best_of(spec: Spec, amortised: np.ndarray, observed: Observation) -> np.ndarray:
    """Return the optimum near the network's draws, for the typicality tests of an unrefined answer."""
    starts = np.concatenate([amortised[:N_START], np.zeros((N_START, len(spec.names) - amortised.shape[1]))], axis=1)
    found = likelihood.fit(spec, starts, observed)
    return found.w[int(np.argmin(found.cost))]


def recording_for_facts(recording: Recording, config: InferConfig, cut: Recording) -> Recording:
    """Return the samples that the hard facts are read from: the window at the recording's own rate (spikes survive no filter)."""
    raw = apply_window(recording, config.window)
    return as_density(raw, config.area_um2) if raw.current_unit != cut.current_unit else raw


def judge(
    spec: Spec, observed: Observation, optimum: np.ndarray, raw: Recording, model: TrainedModel | None, seed: int
) -> typicality.Typicality:
    """Return the verdict: seven tests where the noise is known; where it is estimated, hard facts decide, the tests warn."""
    n = len(inferred(spec.prior_table))
    e, jacobian = typicality.residuals_and_jacobian(spec, optimum, observed)
    tests = typicality.residual_tests(e, jacobian, spec.dt_ms, seed)
    tests.append(typicality.prior_surprise(optimum[:n]))
    if model is not None:
        distance = float(model.summary_distance(observed.v_mv[None].astype(np.float32))[0])
        tests.append(typicality.summary_distance(distance, model.reference.distances))
    noise = float(np.max(observed.noise_mv)) if not spec.nuisance else float(np.std(np.diff(raw.v_mv)) / np.sqrt(2))
    drop = 1e-3 * raw.current if raw.current_unit == "pA" else 0.0 * raw.current
    facts = typicality.hard_facts(
        spec._replace(dt_ms=raw.dt_ms), Observation(raw.v_mv, raw.current, noise, drop), noise
    )
    if not spec.nuisance:
        return typicality.judge(tests, facts)
    odd = [t.name for t in tests if t.flagged and t.name != "prior surprise"]
    if odd:
        log.warning("innovations are not exactly AR(1) noise (%s): intervals may be too narrow", ", ".join(odd))
    surprise = next(t for t in tests if t.name == "prior surprise")
    if surprise.p_value < FAR:
        facts.append(
            f"the optimum lies far outside the prior (p = {surprise.p_value:.1e}); is the unit, the offset or the area wrong?"
        )
    return typicality.judge([], facts)._replace(tests=tests)


def activation_bic(spec: Spec, observed: Observation, optimum: np.ndarray, rng: np.random.Generator) -> float:
    """Return BIC(passive membrane) - BIC(model), each at its posterior mode; positive numbers support the activation term."""
    zero = Prior(distribution="fixed", center=0.0)
    table = spec.prior_table | {
        "G_act": zero,
        "k": Prior(distribution="fixed", center=6.0),
        "V_thr": Prior(distribution="fixed", center=-50.0),
    }
    passive = spec._replace(priors=tuple(table[name] for name in PARAMETERS))
    shared = [i for i, name in enumerate(spec.names) if name in passive.names]
    starts = np.concatenate([optimum[None, shared], 0.5 * rng.standard_normal((3, len(shared)))])
    found = likelihood.fit(passive, starts, observed)
    simple = found.w[int(np.argmin(found.cost))]
    bic = [
        len(w) * np.log(len(observed.v_mv))
        - 2 * (likelihood.log_posteriors(one, w[None], observed)[0] + 0.5 * np.sum(w**2))
        for one, w in ((passive, simple), (spec, optimum))
    ]
    return float(bic[0] - bic[1])


def nuisance(posterior: Posterior) -> dict[str, np.ndarray]:
    """Return draws of the nuisance parameters: V0 in mV, R_s in MOhm, sigma in mV, phi; white noise has none."""
    _, extra = likelihood.unpack(posterior.spec, posterior.w, np, special)
    if "v0" in extra:
        drop = np.broadcast_to(posterior.observed.mv_per_mohm, posterior.observed.current.shape)[0] * extra.get(
            "R_s", 0.0
        )
        extra["v0"] = posterior.observed.v_mv[0] - drop + extra["v0"]
    return extra


def predictive(posterior: Posterior, n_draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise-free recorded voltages of posterior draws and replicated recordings with noise, each (n_draws, n_time)."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 77]))
    w = posterior.w[rng.choice(len(posterior.w), n_draws, replace=n_draws > len(posterior.w))]
    clean = likelihood.predictions(posterior.spec, w, posterior.observed)
    _, extra = likelihood.unpack(posterior.spec, w, np, special)
    sigma = np.broadcast_to(extra.get("sigma", posterior.observed.noise_mv), n_draws)[:, None]
    phi = np.broadcast_to(extra.get("phi", 0.0), n_draws)
    noise = rng.standard_normal(clean.shape) * sigma
    noise[:, 0] /= np.sqrt(1 - phi**2)
    for i in range(1, clean.shape[1]):
        noise[:, i] += phi * noise[:, i - 1]
    return clean, clean + noise


def coverage_90(posterior: Posterior, n_draws: int = 400) -> tuple[float, float]:
    """Return the shares of samples inside 90 % intervals of the noise, over posterior draws: in the window, and one step ahead.

    A posterior draw of all parameters leaves residuals that are, under the model, an ordinary draw of the noise (they and the trace have
    the same joint distribution as the true ones). In the window the interval is that of the stationary noise, sd sigma / sqrt(1 - phi^2);
    one step ahead it is that of the innovation, given the samples before. Both have expectation .9; a band of replicated recordings
    does not, because the fitted curve has already followed the slow part of this recording's noise.
    """
    w = posterior.w[:n_draws]
    r = posterior.observed.v_mv - likelihood.predictions(posterior.spec, w, posterior.observed)
    _, extra = likelihood.unpack(posterior.spec, w, np, special)
    phi = np.broadcast_to(extra.get("phi", 0.0), len(w))[:, None]
    sigma = np.broadcast_to(extra.get("sigma", posterior.observed.noise_mv), len(w))[:, None]
    in_window = np.abs(r) <= Z_90 * sigma / np.sqrt(1 - phi**2)
    one_step = np.abs(r[:, 1:] - phi * r[:, :-1]) <= Z_90 * sigma
    return float(np.mean(in_window)), float(np.mean(one_step))


def summary(posterior: Posterior) -> dict:
    """Return the documented numbers of ``infer``: mean, sd, 90 % interval, contraction, verdict, checks."""
    theta, free = posterior.theta, inferred(posterior.spec.prior_table)
    columns = {name: theta[:, PARAMETERS.index(name)] for name in free}
    if "k" in columns:
        columns["k_slope"] = 1.0 / columns["k"]
    extra = nuisance(posterior)
    refined, kind = posterior.refined, posterior.typicality
    identified = {name: value >= IDENTIFIED for name, value in posterior.contraction.items()}
    return {
        "mean": {name: float(x.mean()) for name, x in columns.items()},
        "sd": {name: float(x.std()) for name, x in columns.items()},
        "interval_90": {name: np.quantile(x, [0.05, 0.95]).tolist() for name, x in columns.items()},
        "units": {name: posterior.units.get(name, "1/mV") for name in columns},
        "contraction": posterior.contraction,
        "identified": identified,
        "nuisance": {name: {"mean": float(x.mean()), "sd": float(x.std())} for name, x in extra.items()},
        "ess": refined.ess if refined else None,
        "pareto_k": refined.pareto_k if refined else None,
        "disagreement": None
        if refined is None or refined.disagreement is None
        else dict(zip(posterior.spec.names, refined.disagreement.tolist(), strict=True)),
        "refine": refined.method if refined else "none",
        "n_modes": len(refined.modes) if refined else None,
        "network": posterior.amortised is not None,
        "verdict": kind.verdict,
        "checks": {
            "tests": {t.name: {"statistic": t.statistic, "p": t.p_value, "flagged": t.flagged} for t in kind.tests},
            "facts": kind.facts,
        },
        "textbook": textbook_fit(posterior.recording),
        "activation_bic": posterior.activation_bic,
        "activation_supported": posterior.activation_bic > 0,
        "n_samples": len(posterior.observed.v_mv),
        "grid_ms": posterior.spec.dt_ms,
    }
