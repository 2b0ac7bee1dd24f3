"""What does a trace say? From a recording to draws from the exact posterior, a verdict on the model, and predicted voltages."""

from __future__ import annotations

import logging

import numpy as np

from hdf5io.errors import InputError

from ..config import PARAMETERS, PRIORS, UNITS, InferConfig, Prior
from ..network.trained import TrainedModel
from ..neuron.priors import inferred, theta_from_z
from ..neuron.recording import AREA_CM2_PER_UM2, Recording, apply_window, as_density, resample
from ..neuron.simulator import SHARP_K_MV, substeps_for
from ..posterior import exact, likelihood, rivals, typicality
from ..posterior.importance import N_IMPORTANCE, Refined
from ..posterior.likelihood import Observation, Spec
from ..posterior.summary import Posterior, surprise

DEFAULT_GRID_MS = 0.25
N_START = 4  #: starts from the network's draws
SAME_CURRENT = 0.01  #: currents that differ by less than this share of their range are the same
log = logging.getLogger("laa_bayes")


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
        raise InputError(
            f"{recording.source}: the current is in {have}, the model was trained in {want}. "
            + ("Give the membrane area: --area-um2." if have == "pA" else "Leave --area-um2 out, or train in uA/cm2.")
        )
    if model is not None:
        if config.prior is not None:
            raise InputError(
                f"--prior {config.prior}: the model has its own prior. Leave --prior out, or use MODEL 'none'."
            )
        priors = dict(model.recipe.priors)
    else:
        fallback = "lumped" if system == "lumped" else "measured" if config.area_um2 else "default"
        name = config.prior or fallback
        if (name == "lumped") != (system == "lumped"):
            raise InputError(
                f"--prior {name} does not fit a current in {recording.current_unit}. Choose another prior, or give --area-um2."
            )
        priors = {key: PRIORS[name][key] for key in PARAMETERS}
    grid = config.grid_ms or (model.recipe.dt_ms if model is not None else max(DEFAULT_GRID_MS, recording.dt_ms))
    return resample(apply_window(recording, config.window), grid), system, priors


def network_applies(model: TrainedModel | None, recording: Recording) -> bool:
    """Return whether the trace was recorded under the current, and on the grid, that the network was trained for."""
    return model is not None and mismatch(model, recording) is None


def mismatch(model: TrainedModel, recording: Recording) -> str | None:
    """Return how grid, length or current differ from those of the training; None where the network applies."""
    trained, have, dt_ms = model.recipe.current, recording.current, model.recipe.dt_ms
    if abs(recording.dt_ms - dt_ms) > 1e-6 or len(trained) != len(have):
        return (
            f"{len(have)} samples of {recording.dt_ms:g} ms, the network was trained on {len(trained)} of {dt_ms:g} ms"
        )
    apart = float(np.max(np.abs(trained - have)))
    if apart <= SAME_CURRENT * max(float(np.ptp(trained)), 1e-9):
        return None
    return f"the current is up to {apart:.3g} {recording.current_unit} away from the network's"


def make_problem(
    recording: Recording, priors: dict[str, Prior], config: InferConfig, known_mv: float | None
) -> tuple[Spec, Observation]:
    """Return the likelihood of a recording: white noise of known sd, or noise, V0 and R_s inferred too (``known_mv`` None)."""
    if known_mv is not None:
        return likelihood.white_spec(priors, recording.dt_ms), Observation(recording.v_mv, recording.current, known_mv)
    at_sample = recording.current if recording.current_at_sample is None else recording.current_at_sample
    per_unit = mv_per_mohm_per_unit(recording, config.area_um2)
    has_unit = per_unit > 0
    wanted = config.series_resistance == "on" or (config.series_resistance == "auto" and has_unit)
    if wanted and not has_unit:
        raise InputError("--series-resistance on: MOhm need a current in pA, or --area-um2 to turn uA/cm2 into pA.")
    scale = max(float(np.std(np.diff(recording.v_mv[: max(10, len(recording.v_mv) // 8)]))), 1e-3)
    spec = likelihood.recording_spec(priors, recording.dt_ms, round_up(scale), wanted)
    return spec, Observation(recording.v_mv, recording.current, 1.0, per_unit * at_sample)


def mv_per_mohm_per_unit(recording: Recording, area_um2: float | None) -> float:
    """Return the voltage in mV that one unit of the recording's current drops across 1 MOhm; 0 for a density without an area."""
    if recording.current_unit == "pA":
        return 1e-3
    return 1e3 * area_um2 * AREA_CM2_PER_UM2 if area_um2 else 0.0


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
    if config.refine == "nuts":
        exact.require_numpyro()
    cut, system, priors = prepare(recording, config, model)
    applies = network_applies(model, cut)
    if not applies:
        explain_absence(cut, config, model)
    known = known_noise(cut, config, model, applies)
    spec, observed = make_problem(cut, priors, config, known)
    rng = np.random.default_rng(config.seed)
    amortised = None
    if applies and model is not None:
        amortised = model.sample(cut.v_mv[None].astype(np.float32), config.draws, config.seed)[0]
    facts = facts_of(spec, observed, recording_for_facts(recording, config, cut), config.area_um2)
    climb = exact.IDLE_CLIMB if facts else exact.LONG_CLIMB if spec.nuisance else exact.SHORT_CLIMB
    log.info("%s: %d samples", cut.source, len(cut.v_mv))
    refined, spec = run_refinement(spec, observed, config, rng, amortised, model, climb)
    if refined is not None:
        w, optimum = refined.w, refined.optimum
    else:
        assert amortised is not None  # --refine none was refused without the network
        w, optimum = amortised, best_of(spec, amortised, observed)
    units = {name: UNITS[system][name] for name in PARAMETERS}
    models = rivals.compare(spec, observed, optimum, rng, climb.n_steps)
    verdict = judge(models[rivals.favoured(models)], observed, facts, model if applies else None, config.seed)
    per_unit = mv_per_mohm_per_unit(cut, config.area_um2)
    return Posterior(spec, observed, cut, units, refined, amortised, w, verdict, models, per_unit)


def explain_absence(cut: Recording, config: InferConfig, model: TrainedModel | None) -> None:
    """Warn that the network is left out, and why; InputError where the refinement needs it."""
    source = cut.source.split(":")[0]
    if config.refine in ("none", "is"):
        why = (
            "needs the network, and none was given"
            if model is None
            else f"uses the network, which is valid for its training current and grid only ({mismatch(model, cut)})"
        )
        raise InputError(
            f"--refine {config.refine} {why}. Use --refine laplace, or train with --protocol-from {source}."
        )
    if model is not None:
        log.warning(
            "%s: %s: it is left out, the exact likelihood is used from prior starts. Was it trained with another --window, --sweep "
            "or --area-um2?",
            source,
            mismatch(model, cut),
        )


def known_noise(cut: Recording, config: InferConfig, model: TrainedModel | None, applies: bool) -> float | None:
    """Return the sd in mV of the white noise to rely on, or None where the noise is inferred from the trace.

    Raises
    ------
    InputError
        The network's own draws are wanted, and the network was trained with another noise; a noise is given and not relied on.
    """
    if applies and model is not None:
        recorded = model.info.get("protocol_from") is not None and config.refine not in ("none", "is")
    else:
        recorded = model is not None or cut.current_unit == "pA" or bool(config.area_um2)
    estimate = config.noise == "estimate" or (config.noise == "auto" and recorded)
    trained_mv = 2.0 if model is None else model.recipe.noise_mv
    if estimate and config.noise_mv is not None:
        raise InputError(
            f"--noise-mv {config.noise_mv:g}: without effect, the noise of this recording is estimated. Give --noise known, or leave it out."
        )
    known = None if estimate else config.noise_mv or trained_mv
    if config.refine in ("none", "is") and known != trained_mv:
        raise InputError(
            f"--refine {config.refine}: the network was trained with {trained_mv:g} mV of white noise. Use --refine laplace."
        )
    return known


def run_refinement(spec: Spec, observed: Observation, config: InferConfig, rng, amortised, model, climb: exact.Climb):
    """Return the refined posterior (None with --refine none) and the spec, with finer steps where the activation is steep."""
    if config.refine == "none":
        return None, spec
    if config.refine == "newton":
        refined, why = newton(spec, observed, config, rng, amortised)
        if refined is not None:
            return refined, spec
        log.warning("--refine newton: %s. --refine laplace answers instead.", why)
        config = config.model_copy(update={"refine": "laplace"})
    log.info("%d starts of %d steps each", *climb[:2])
    starts = None if amortised is None else widen(spec, amortised[:N_START], rng, climb.n_starts)
    flow = None
    if config.refine == "is":
        if spec.nuisance:
            raise InputError(
                "--refine is weighs the network's draws, which have no noise parameters. Use --noise known or --refine laplace."
            )
        flow = model.sample(observed.v_mv[None].astype(np.float32), N_IMPORTANCE, config.seed + 1)[0]
        flow = (flow, model.log_density(flow, observed.v_mv))
    refined = exact.refine(spec, observed, config.refine, rng, config.draws, starts, flow, climb)
    finer = substeps_for(spec.dt_ms, 0.0)
    if steepness(spec, refined.optimum) < SHARP_K_MV and spec.substeps < finer:
        spec = spec._replace(substeps=finer)
        refined = exact.refine(spec, observed, config.refine, rng, config.draws, refined.modes, flow, climb)
    return refined, spec


def newton(
    spec: Spec, observed: Observation, config: InferConfig, rng: np.random.Generator, amortised: np.ndarray | None
) -> tuple[Refined | None, str]:
    """Return the answer of `exact.newton`, or why there is none."""
    if amortised is None:
        return None, "it begins at the network's draws, and there is no network for this current"
    if spec.nuisance:
        return (
            None,
            "the network's draws have no noise parameters, which are estimated here (--noise known keeps the network's)",
        )
    refined, why = exact.newton(spec, observed, amortised, rng, config.draws)
    if (
        refined is not None
        and steepness(spec, refined.optimum) < SHARP_K_MV
        and spec.substeps < substeps_for(spec.dt_ms, 0.0)
    ):
        return None, "the activation is steep and needs finer steps"
    return refined, why


def steepness(spec: Spec, w: np.ndarray) -> float:
    """Return k (mV) at coordinates ``w`` (n_w,)."""
    return float(theta_from_z(spec.prior_table, w[: len(inferred(spec.prior_table))])[PARAMETERS.index("k")])


def widen(spec: Spec, z: np.ndarray, rng: np.random.Generator, n_prior: int) -> np.ndarray:
    """Return starts in all coordinates: the network's draws z, and where noise is inferred too ``n_prior`` prior draws."""
    if not spec.nuisance:
        return z
    own = np.concatenate([z, 0.3 * rng.standard_normal((len(z), len(spec.nuisance)))], axis=1)
    return np.concatenate([own, rng.standard_normal((n_prior, own.shape[1]))])


def best_of(spec: Spec, amortised: np.ndarray, observed: Observation) -> np.ndarray:
    """Return the optimum near the network's draws, for the typicality tests of an unrefined answer."""
    starts = np.concatenate([amortised[:N_START], np.zeros((N_START, len(spec.names) - amortised.shape[1]))], axis=1)
    found = likelihood.fit(spec, starts, observed)
    return found.w[int(np.argmin(found.cost))]


def recording_for_facts(recording: Recording, config: InferConfig, cut: Recording) -> Recording:
    """Return the samples that the hard facts are read from: the window at the recording's own rate (spikes survive no filter)."""
    raw = apply_window(recording, config.window)
    return as_density(raw, config.area_um2) if raw.current_unit != cut.current_unit and config.area_um2 else raw


def facts_of(spec: Spec, observed: Observation, raw: Recording, area_um2: float | None) -> list[str]:
    """Return the hard facts of the recorded samples ``raw``, which need no fit."""
    noise = float(np.max(observed.noise_mv)) if not spec.nuisance else float(np.std(np.diff(raw.v_mv)) / np.sqrt(2))
    drop = mv_per_mohm_per_unit(raw, area_um2) * raw.current
    at_own_rate = spec._replace(dt_ms=raw.dt_ms)
    return typicality.hard_facts(at_own_rate, Observation(raw.v_mv, raw.current, noise, drop), noise, raw.t0_ms)


def judge(
    favoured: rivals.Rival, observed: Observation, facts: list[str], model: TrainedModel | None, seed: int
) -> typicality.Typicality:
    """Return the verdict: seven tests where the noise is known; where it is estimated, hard facts decide, the tests warn.

    Judged is the fit of the favoured model: of a passive cell the activation model's parameters are far from the prior, and its
    residuals are not white.
    """
    spec, membrane = favoured.spec, rivals.membrane(favoured)
    assert isinstance(spec, Spec)
    e, jacobian = typicality.residuals_and_jacobian(spec, favoured.w, observed)
    tests = typicality.residual_tests(e, jacobian, spec.dt_ms, seed)
    tests.append(typicality.prior_surprise(membrane))
    if model is not None:
        distance = float(model.summary_distance(observed.v_mv[None].astype(np.float32))[0])
        tests.append(typicality.summary_distance(distance, model.reference.distances))
    if not spec.nuisance:
        return typicality.judge(tests, facts)
    odd = [t.name for t in tests if t.flagged and t.name != "prior surprise"]
    if odd:
        log.warning("innovations are not exactly AR(1) noise (%s): intervals may be too narrow", ", ".join(odd))
    facts = facts + surprise(membrane)
    return typicality.judge([], facts)._replace(tests=tests)
