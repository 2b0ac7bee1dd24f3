"""What does a posterior say? Its documented numbers, what it predicts for the trace, and whether the noise covers what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from ..config import PARAMETERS
from ..neuron.dynamics import slope_conductance
from ..neuron.priors import inferred, theta_from_z
from ..neuron.recording import Recording, textbook_fit
from . import answers, likelihood
from .exact import GOOD_K, POOR_ESS
from .importance import Refined
from .likelihood import Observation, Spec
from .rivals import WITH_ACTIVATION, Rival, favoured, membrane, not_excluded
from .typicality import Typicality, prior_surprise

ABSORBED = 0.2  #: share by which C_m may differ between the model and a passive membrane before it is said
NUISANCE = {
    "v0": ("mV", "membrane voltage at the first sample"),
    "R_s": ("MOhm", "series resistance that was left"),
    "sigma": ("mV", "sd of the noise's innovations"),
    "phi": ("1", "correlation of the noise from sample to sample"),
    "I_0": ("pA", "current beside the stimulus in this sweep (drift of leak or holding)"),
}  #: unit and meaning of what a recording adds
COVERED = (0.75, 0.97)  #: share of residuals inside 90 % intervals of a noise that fits
SLOWEST = 10.0  #: time constants longer than this many windows are no measurement
FAR = 1e-4  #: a surprise under the prior below this is a hard fact on recordings (the named priors are broad, cells differ)
FAR_TEXT = "the optimum lies far outside the prior"
DISAGREE = 0.3  #: difference of two SMC populations' means, in sd, that is named
IDENTIFIED = 0.5  #: least contraction of an identified parameter
OF_ACTIVATION = ("k", "k_slope", "V_thr", "G_act")  #: what a membrane without activation does not have
Z_90 = 1.6449  #: half width of a central 90 % interval in sd


class Posterior(NamedTuple):
    """Everything that ``infer`` found."""

    spec: Spec
    observed: Observation
    recording: Recording  #: the analysed window, on the grid and in the units of the analysis
    units: dict[str, str]
    refined: Refined | None  #: None with --refine none
    amortised: np.ndarray | None  #: (n_draws, n_inferred) the network's draws, None where it does not apply
    w: np.ndarray  #: (n_draws, n_w) the answer, in coordinates
    typicality: Typicality
    models: dict[str, Rival]  #: the activation model and its rivals, at their modes
    mv_per_mohm_per_unit: float  #: voltage in mV that one unit of current drops across 1 MOhm

    @property
    def theta(self) -> np.ndarray:
        """Draws of the six parameters (n_draws, 6), k as a width."""
        return theta_from_z(self.spec.prior_table, self.w[:, : len(inferred(self.spec.prior_table))])

    @property
    def contraction(self) -> dict[str, float]:
        """1 - posterior variance / prior variance of each inferred parameter, in coordinates."""
        return {name: float(1 - self.w[:, i].var()) for i, name in enumerate(inferred(self.spec.prior_table))}


class Predictive(NamedTuple):
    """What posterior draws predict for the trace."""

    clean: np.ndarray  #: (n_draws, n_time) noise-free recorded voltages in mV
    replicated: np.ndarray  #: (n_draws, n_time) the same with noise
    band: np.ndarray  #: (2, n_time) 5 % and 95 % quantile of the replicated ones


def nuisance(posterior: Posterior) -> dict[str, np.ndarray]:
    """Return draws of the nuisance parameters: V0 in mV, R_s in MOhm, sigma in mV, phi; white noise has none."""
    _, extra = likelihood.unpack(posterior.spec, posterior.w, np, special)
    if "v0" in extra:
        drop = np.broadcast_to(posterior.observed.mv_per_mohm, posterior.observed.current.shape)[0] * extra.get(
            "R_s", 0.0
        )
        extra["v0"] = posterior.observed.v_mv[0] - drop + extra["v0"]
    return extra


def predictive(posterior: Posterior, seed: int, n_draws: int = 400) -> Predictive:
    """Return what posterior draws predict for the trace itself, without and with noise."""
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
    replicated = clean + noise
    return Predictive(clean, replicated, np.quantile(replicated, [0.05, 0.95], axis=0))


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
    kind = posterior.typicality
    return {
        **estimates(posterior),
        **quality(posterior),
        "verdict": kind.verdict,
        "status": "misspecified" if kind.verdict == "misspecified" else "ok",
        "checks": {
            "tests": {t.name: {"statistic": t.statistic, "p": t.p_value, "flagged": t.flagged} for t in kind.tests},
            "facts": kind.facts,
        },
        "textbook": textbook_fit(posterior.recording),
        **comparison(posterior.models),
        "n_samples": len(posterior.observed.v_mv),
        "grid_ms": posterior.spec.dt_ms,
    }


def against_all(found: dict) -> str:
    """Return why no model is to be believed, in words; nothing where the verdict is typical."""
    if found["verdict"] != "misspecified":
        return ""
    facts = "; ".join(found["checks"]["facts"])
    flagged = ", ".join(name for name, test in found["checks"]["tests"].items() if test["flagged"])
    if facts or found["nuisance"]:
        return f"misspecified, no model here explains the trace ({facts or flagged})"
    return f"misspecified, the residuals are not the white noise that was told ({flagged}): --noise estimate infers it"


def comparison(models: dict[str, Rival]) -> dict:
    """Return which model the trace supports, and every model's parameters, BIC less the best one's, and evidence."""
    best, top = min(m.bic for m in models.values()), max(m.log_evidence for m in models.values())
    left = not_excluded(models)
    return {
        "favoured": favoured(models),
        "not_excluded": left,
        "models": {
            name: {
                "parameters": m.values,
                "sd": dict(m.sd),
                "bic": m.bic - best,
                "log_evidence": m.log_evidence - top,
                "log_evidence_se": m.evidence_error,
                "log_evidence_pareto_k": m.evidence_k,
            }
            for name, m in models.items()
        },
        "activation_bic": models["passive"].bic - models["laa"].bic,
        "activation_supported": {favoured(models), *left} <= set(WITH_ACTIVATION),
        "passive": {name: models["passive"].values[name] for name in PARAMETERS[:3]},
    }


def estimates(posterior: Posterior) -> dict:
    """Return mean, sd, interval, unit and contraction of each parameter, and what else was inferred."""
    theta, free = posterior.theta, inferred(posterior.spec.prior_table)
    columns = {name: theta[:, PARAMETERS.index(name)] for name in free}
    if "k" in columns:
        columns["k_slope"] = 1.0 / columns["k"]
    extra = nuisance(posterior)
    g_start = slope_conductance(extra.get("v0", theta[:, PARAMETERS.index("E_L")]), theta.T)
    return {
        "mean": {name: float(x.mean()) for name, x in columns.items()},
        "sd": {name: float(x.std(ddof=1)) for name, x in columns.items()},
        "interval_90": {name: np.quantile(x, [0.05, 0.95]).tolist() for name, x in columns.items()},
        "units": {name: posterior.units.get(name, "1/mV") for name in columns},
        "contraction": posterior.contraction,
        "identified": {name: value >= IDENTIFIED for name, value in posterior.contraction.items()},
        "slope_conductance": {"mean": float(g_start.mean()), "sd": float(g_start.std())},
        "nuisance": {
            name: {"mean": float(x.mean()), "sd": float(x.std(ddof=1)), "unit": NUISANCE[name][0]}
            for name, x in extra.items()
        },
    }


def quality(posterior: Posterior) -> dict:
    """Return how the draws were found and how far to trust them."""
    refined = posterior.refined
    apart = None if refined is None or refined.disagreement is None else refined.disagreement.tolist()
    return {
        "ess": refined.ess if refined else None,
        "pareto_k": refined.pareto_k if refined else None,
        "disagreement": None if apart is None else dict(zip(posterior.spec.names, apart, strict=True)),
        "refine": refined.method if refined else "none",
        "n_modes": len(refined.modes) if refined else None,
        "network": posterior.amortised is not None,
    }


def results(posterior: Posterior, predicted: Predictive) -> dict:
    """Return the numbers of `summary` with the shares of samples that predictions and noise cover."""
    v, (low, high) = posterior.recording.v_mv, predicted.band
    in_window, one_step = coverage_90(posterior)
    found = summary(posterior) | {
        "predictive_coverage_90": float(np.mean((v >= low) & (v <= high))),
        "in_window_coverage_90": in_window,
        "one_step_coverage_90": one_step,
        "read": list(posterior.recording.notes),
    }
    model = posterior.models[found["favoured"]]
    if posterior.spec.nuisance and found["favoured"] != "laa":  # judged is the fit of the model that answers
        found["in_window_coverage_90"] = coverage_of_mode(model, posterior.observed)
        other = [fact for fact in found["checks"]["facts"] if not fact.startswith(FAR_TEXT)]
        found["checks"]["facts"] = other + surprise(membrane(model))
        found["verdict"] = "misspecified" if found["checks"]["facts"] else "typical"
        found["status"] = "misspecified" if found["checks"]["facts"] else "ok"
    known = units_of_models(posterior.units)
    for one in found["models"].values():
        one["units"] = {name: known[name] for name in one["parameters"]}
    facts = facts_of_fit(found, posterior.spec.dt_ms) if posterior.spec.nuisance else []
    if facts:
        found["checks"]["facts"] = [*found["checks"]["facts"], *facts]
        found["verdict"] = found["status"] = "misspecified"
    return found | answered([posterior], found)


def answered(together: Sequence[Posterior], found: dict) -> dict:
    """Return ``answer`` and ``further`` of one sweep, or of sweeps that share one membrane, and what follows for the models.

    A rival that the favoured model does not beat is not excluded. Nothing is identified or planned without a model; what a model that
    loses says is no answer, nor what only one of two undecided ones has.
    """
    first, best, wrong = together[0], found["favoured"], found["verdict"] == "misspecified"
    units, each = units_of_models(first.units), [p.models for p in together]
    told = answers.answer_of(each, [p.observed for p in together], best, units, against_all(found))
    left = found["not_excluded"]
    left = left if told.verdict == "yes" or told.against in left else [*left, told.against]
    supported, known = {best, *left} <= set(WITH_ACTIVATION), found["identified"]
    if wrong or best != "laa":
        known = dict.fromkeys(known, False)
    elif not supported:
        known = {name: value and name not in OF_ACTIVATION for name, value in known.items()}
    return {
        "answer": told._asdict(),
        "further": [] if wrong else answers.further(first.models, first.observed, best, units),
        "not_excluded": left,
        "activation_supported": supported,
        "identified": known,
    }


def units_of_models(units: dict[str, str]) -> dict[str, str]:
    """Return the unit of everything that any of the compared models has."""
    more = {"C_2": units["C_m"], "C_total": units["C_m"], "g_c": units["g_L"], "g_h": units["g_L"]}
    return {**units, **more, "tau_h": "ms", "R_s": "MOhm"}


def coverage_of_mode(model: Rival, observed: Observation) -> float:
    """Return the share of samples inside the 90 % interval of the noise about a model at its mode."""
    assert isinstance(model.spec, Spec)
    r = observed.v_mv - likelihood.predictions(model.spec, model.w[None], observed)[0]
    _, extra = likelihood.unpack(model.spec, model.w, np, special)
    return float(np.mean(np.abs(r) <= Z_90 * extra["sigma"] / np.sqrt(1 - extra["phi"] ** 2)))


def surprise(z: np.ndarray) -> list[str]:
    """Return the fact that an optimum at coordinates ``z`` (d,) states, where it is too far from the prior."""
    p = prior_surprise(z).p_value
    return [f"{FAR_TEXT} (p = {p:.1e}); is the unit, the offset or the area wrong?"] if p < FAR else []


def facts_of_fit(found: dict, dt_ms: float) -> list[str]:
    """Return what speaks against a fit with estimated noise, for which no chi-square is known.

    Its noise does not cover the residuals (or far too well), the membrane is slower than any window could show, or nothing was
    learned: the activation is not supported and no parameter is better known than before.
    """
    facts, (low, high) = [], COVERED
    if not low <= found["in_window_coverage_90"] <= high:
        facts.append(
            f"the 90 % interval of the noise holds {100 * found['in_window_coverage_90']:.0f} % of the residuals"
        )
    tau_ms, window_ms = found["passive"]["C_m"] / found["passive"]["g_L"], found["n_samples"] * dt_ms
    if tau_ms > SLOWEST * window_ms:
        facts.append(f"the time constant of the best passive fit is {tau_ms:.3g} ms in a window of {window_ms:g} ms")
    if found["activation_bic"] < 0 and not any(value >= IDENTIFIED for value in found["contraction"].values()):
        facts.append("no parameter is better known than before the recording")
    return facts


def doubts(results: dict, noise_mv: float) -> list[str]:
    """Return what a reader must know first: approximate draws, a noise that is not white, activation that stands for something else."""
    found, ess, apart = [], results["ess"], results["disagreement"]
    if apart is not None:
        far = [f"{name} {value:.1f}" for name, value in apart.items() if value > DISAGREE]
        trust = (
            f"means differ, in sd, for {', '.join(far)}: do not trust these"
            if far
            else f"means agree within {DISAGREE} sd"
        )
        found.append(
            f"no proposal follows this posterior (effective sample size {100 * ess:.0f} %): the answer is two populations of SMC "
            f"particles; their {trust}"
        )
    elif ess is not None and (ess < POOR_ESS or (results["pareto_k"] or 0) > GOOD_K):
        k = results["pareto_k"] or np.nan
        found.append(f"the refined posterior is approximate: effective sample size {100 * ess:.0f} %, Pareto k {k:.2f}")
    flagged = {name for name, test in results["checks"]["tests"].items() if test["flagged"]}
    c_model, c_passive, unit = results["mean"].get("C_m"), results["passive"]["C_m"], results["units"].get("C_m", "")
    if results["nuisance"] and c_model is not None and abs(c_model / c_passive - 1) > ABSORBED:
        found.append(
            f"with the activation term C_m is {c_model:.3g} {unit}, a passive membrane has {c_passive:.3g} {unit}: activation may stand for sag "
            "or rectification here"
        )
    if not results["nuisance"] and not results["checks"]["facts"] and {"chi-square", "Ljung-Box"} & flagged:
        found.append(
            f"the residuals are not white noise of {noise_mv:g} mV; is it a recording? Then use --noise estimate"
        )
    return found
