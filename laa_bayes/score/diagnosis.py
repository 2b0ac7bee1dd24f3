"""Can a trained network be believed? Fresh simulations through calibration, exact posteriors, predictions and typicality tests."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from ..answer import Answer
from ..config import DiagnoseConfig
from ..network.trained import TrainedModel
from ..neuron.priors import inferred, theta_from_z
from ..neuron.simulator import add_noise, draw, simulate
from ..posterior import exact as refining
from ..posterior import likelihood, typicality
from ..posterior.likelihood import Observation
from . import baselines, contraction, evaluate

N_PREDICTIVE, N_PREDICTIVE_DRAWS, N_CURVES = 20, 100, 100
log = logging.getLogger("laa_bayes")


class Diagnosis(NamedTuple):
    """Everything that ``diagnose`` found."""

    names: tuple[str, ...]
    truth: np.ndarray  #: (n_trace, d) coordinates
    draws: np.ndarray  #: (n_trace, n_draws, d) the network's draws
    ranks: np.ndarray  #: (n_trace, d)
    band: tuple  #: see ``evaluate.ecdf_band``
    coverage: np.ndarray  #: (n_level, d)
    table: dict[str, evaluate.Calibration]
    newton: dict[str, evaluate.Calibration]  #: of the draws of ``--refine newton``, its fallbacks included
    newton_ratio: np.ndarray  #: (d,) median sd of these draws / exact sd
    exact: np.ndarray  #: (n_exact, n_draws, d)
    sharpness: evaluate.Sharpness | None
    median_ess: float
    fallbacks: int  #: exact posteriors that needed SMC
    curves: contraction.Curves
    predictive_coverage: float
    n_predictive: int
    example: tuple  #: arguments of ``plots.fit``
    typicality: dict[str, float]  #: share of clean traces flagged, by test and in all
    findings: list[evaluate.Finding]
    verdict: str
    answer: Answer


def fresh_traces(model: TrainedModel, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates and noisy traces that training has not seen."""
    recipe = model.recipe
    rng = np.random.default_rng(np.random.SeedSequence([seed, 990_017]))
    z, v = draw(recipe.priors, recipe.current, recipe.dt_ms, n, rng, recipe.method)
    return z.astype(float), add_noise(v, recipe.noise_mv, rng)


def diagnose(model: TrainedModel, config: DiagnoseConfig) -> Diagnosis:
    """Return scores, findings and verdict of a trained model."""
    names = inferred(model.recipe.priors)
    truth, v = fresh_traces(model, config.n_traces, config.seed)
    log.info("%d posteriors of %d draws", config.n_traces, config.n_draws)
    draws = model.sample(v, config.n_draws, config.seed)
    table = evaluate.calibration(draws, truth, names)
    n_exact = min(config.n_exact, len(v))
    log.info("%d exact posteriors", n_exact)
    exact, ess, fallbacks = exact_posteriors(model, v[:n_exact], draws[:n_exact], config.seed)
    sharp = evaluate.sharpness(model.sample(v[:n_exact], exact.shape[1], config.seed + 1), exact) if n_exact else None
    newton = newton_draws(model, v, draws, config.seed)
    ratio = (
        {} if sharp is None else {n: evaluate.median_and_error(x) for n, x in zip(names, sharp.sd_ratio.T, strict=True)}
    )
    log.info("predictive and typicality checks")
    covered, example = predictive_check(model, v[:N_PREDICTIVE], draws[:N_PREDICTIVE], config.seed)
    findings = evaluate.judge(table, ratio)
    ranks, verdict = evaluate.sbc_ranks(draws, truth), evaluate.worst(findings)
    failed = "the network fails its diagnosis" if verdict == "fail" else ""
    return Diagnosis(
        names,
        truth,
        draws,
        ranks,
        evaluate.ecdf_band(len(v), config.n_draws),
        evaluate.coverage_curve(draws, truth),
        table,
        evaluate.calibration(newton, truth, names),
        np.median(evaluate.sharpness(newton[:n_exact], exact, False).sd_ratio, axis=0) if n_exact else np.empty(0),
        exact,
        sharp,
        float(np.median(ess)) if n_exact else float("nan"),
        fallbacks,
        contraction.curves(model.recipe, truth[:N_CURVES], v[:N_CURVES]),
        covered,
        min(N_PREDICTIVE, len(v)),
        example,
        flagged_shares(model, v[: config.n_typical], draws[: config.n_typical], config.seed),
        findings,
        verdict,
        baselines.answer_of(model, truth, v, config.seed, failed),
    )


def newton_draws(model: TrainedModel, v: np.ndarray, draws: np.ndarray, seed: int) -> np.ndarray:
    """Return draws of the shape of the network's ``draws`` (n_trace, n_draws, d), moved by Gauss-Newton steps on the exact likelihood."""
    spec = likelihood.white_spec(model.recipe.priors, model.recipe.dt_ms)
    observed = Observation(v.astype(float), model.recipe.current, model.recipe.noise_mv)
    optimum = likelihood.fit_many(spec, draws.mean(axis=1), observed, refining.N_NEWTON)
    return refining.gaussian(optimum, np.random.default_rng(np.random.SeedSequence([seed, 59])), draws.shape[1])


def exact_posteriors(
    model: TrainedModel, v: np.ndarray, draws: np.ndarray, seed: int, method: str = "laplace", n_draws: int = 1000
):
    """Return exact draws (n_trace, n_draws, d), the effective sample sizes and how many traces needed the SMC fallback."""
    spec = likelihood.white_spec(model.recipe.priors, model.recipe.dt_ms)
    found = []
    for i, trace in enumerate(v):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 31, i]))
        observed = Observation(trace.astype(float), model.recipe.current, model.recipe.noise_mv)
        found.append(refining.refine(spec, observed, method, rng, n_draws, starts=draws[i, :4]))
    d = len(inferred(model.recipe.priors))
    exact = np.stack([r.w for r in found]) if found else np.empty((0, n_draws, d))
    return exact, np.array([r.ess for r in found]), sum(r.method == "smc" for r in found)


def predictive_check(model: TrainedModel, v: np.ndarray, draws: np.ndarray, seed: int) -> tuple[float, tuple]:
    """Return the share of samples inside pointwise 90 % predictive bands, and the first trace as arguments of ``plots.fit``."""
    recipe, rng, covered = model.recipe, np.random.default_rng(np.random.SeedSequence([seed, 41])), []
    example: tuple = ()
    for i, trace in enumerate(v):
        theta = theta_from_z(recipe.priors, draws[i, :N_PREDICTIVE_DRAWS])
        clean = simulate(theta, recipe.current, recipe.dt_ms, method=recipe.method)
        replicated = clean + recipe.noise_mv * rng.standard_normal(clean.shape)
        band = np.quantile(replicated, [0.05, 0.95], axis=0)
        covered.append(np.mean((trace >= band[0]) & (trace <= band[1])))
        if i == 0:
            unit = "pA" if recipe.units == "lumped" else "uA/cm2"
            time_ms = np.arange(len(trace)) * recipe.dt_ms
            example = (
                time_ms,
                trace,
                recipe.current,
                clean,
                band,
                unit,
                "Held-out trace and posterior prediction of the network",
            )
    return float(np.mean(covered)), example


def flagged_shares(model: TrainedModel, v: np.ndarray, draws: np.ndarray, seed: int) -> dict[str, float]:
    """Return the share of traces that each typicality test flags, and any of them (``any``)."""
    if len(v) == 0:
        return {}
    flags: dict[str, list[bool]] = {}
    for tests in typicality_tests(model, v, draws, seed):
        for test in tests:
            flags.setdefault(test.name, []).append(test.flagged)
        flags.setdefault("any", []).append(any(t.flagged for t in tests))
    return {name: float(np.mean(values)) for name, values in flags.items()}


def typicality_tests(model: TrainedModel, v: np.ndarray, draws: np.ndarray, seed: int) -> list[list[typicality.Check]]:
    """Return the seven tests of each trace, at the optimum reached from the network's mean and from one draw."""
    spec = likelihood.white_spec(model.recipe.priors, model.recipe.dt_ms)
    observed = Observation(v.astype(float), model.recipe.current, model.recipe.noise_mv)
    fits = [likelihood.fit_many(spec, starts, observed) for starts in (draws.mean(axis=1), draws[:, 0])]
    w = np.where((fits[0].cost <= fits[1].cost)[:, None], fits[0].w, fits[1].w)
    distances, tests = model.summary_distance(v), []
    for i in range(len(v)):
        e, jacobian = typicality.residuals_and_jacobian(spec, w[i], observed._replace(v_mv=observed.v_mv[i]))
        own = typicality.residual_tests(e, jacobian, spec.dt_ms, seed + i)
        tests.append(
            [
                *own,
                typicality.prior_surprise(w[i]),
                typicality.summary_distance(distances[i], model.reference.distances),
            ]
        )
    return tests


def results(d: Diagnosis) -> dict:
    """Return the documented numbers of ``diagnose``."""
    sharp = d.sharpness
    parameters = {name: c._asdict() for name, c in d.table.items()}
    for i, name in enumerate(d.names):
        if sharp is not None:
            parameters[name] |= {
                "sd_ratio": float(np.median(sharp.sd_ratio[:, i])),
                "mean_error": float(np.median(sharp.mean_error[:, i])),
                "newton_sd_ratio": float(d.newton_ratio[i]),
            }
        parameters[name] |= {f"newton_{key}": getattr(d.newton[name], key) for key in ("coverage_50", "coverage_90")}
        parameters[name]["verdict"] = evaluate.worst([f for f in d.findings if f.parameter == name])
    return {
        "verdict": d.verdict,
        "answer": d.answer._asdict(),
        "parameters": parameters,
        "sd_ratio": float(np.median(sharp.sd_ratio)) if sharp else None,
        "c2st": float(np.median(sharp.c2st)) if sharp else None,
        "n_traces": len(d.truth),
        "n_exact": len(d.exact),
        "refined_ess": d.median_ess,
        "refined_fallbacks": d.fallbacks,
        "contraction_by_sweeps": {
            name: (1 - np.median(d.curves.by_sweeps[:, :, i], axis=0)).tolist() for i, name in enumerate(d.names)
        },
        "contraction_by_ms": {"ms": d.curves.time_ms.tolist()}
        | {name: (1 - np.median(d.curves.by_time[:, :, i], axis=0)).tolist() for i, name in enumerate(d.names)},
        "predictive_coverage_90": d.predictive_coverage,
        "clean_flagged": d.typicality.get("any"),
        "clean_flagged_by_test": d.typicality,
        "failed": [
            f"{f.parameter}: {f.score} = {f.value:.3g} (expected {f.demand})" for f in d.findings if f.verdict == "fail"
        ],
    }
