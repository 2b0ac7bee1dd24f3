"""Which weights does one recording allow, and did such a network make it at all? What `infer` does once all was read and found good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdf5io.errors import InputError

from ..answer import Answer, answer
from ..config import InferConfig
from ..console import Result, Run, log
from ..files import model_folder, posterior_file, recordings
from ..files.asked import Asked
from ..files.beside import tensor_of
from ..fit import infer as inference
from ..fit.further import further
from ..fit.infer_large import infer_large
from ..fit.settings import MAX_SLACK, Choice, Estimated, as_told, estimate, evidence_of
from ..model import explain
from ..model.anatomy import classes_of
from ..model.model import WeightModel, WrittenPrior, differences
from ..model.propagation import Family
from ..rate_network.activity import Regime
from ..score.behaviour import intervals
from ..score.evaluate import t_95, truth_scores
from ..score.verdict import CANNOT_TELL, MISSPECIFIED, NO_NETWORK, TYPICAL, WORDS, Verdict, judge
from ..show import plots
from ..show.figures import save_figure

UNIT = "log-likelihood per value of trials left out in turn, the size of errors fitted"
UNREST = 0.25  #: by how much EP may expect a larger correlation with the truth than ridge
MOST_TO_RUN, MOST_RUNS = 64, 32  #: neurons, and samples, whose fixed points and responses are computed


def infer_one(config: InferConfig, run: Run, asked: Asked) -> Result:
    """Load the models, judge, infer, write posterior and figure."""
    model = model_of(config)
    prior = None if config.prior is None else model_folder.load_model(config.prior, "diffusion")
    regression = None if config.regression is None else model_folder.load_model(config.regression, "regression")
    recording = recordings.as_tensors(asked.recording)
    truth, stimulus = tensor_of(asked.truth), tensor_of(asked.stimulus)
    recorded = inference.Recorded(recording.y, recording.observed, stimulus)
    if config.guidance > 1:
        log.warning(
            "guidance %g is above 1: the posterior is sharper than the data allow, not calibrated.", config.guidance
        )
    if not bool(recording.observed.all()):
        log.warning(
            "%d of %d neurons were not recorded: their weights come from the prior; the intervals of the others allow for them.",
            int((~recording.observed).sum()), len(recording.observed),
        )  # fmt: skip
    spec = model.spec
    told = explain.Settings(config.dt_over_tau or spec.a, process=spec.process, h0_std=spec.h0_std)
    refuse_swapped(config, recording, told, stimulus)
    others = inference.Competitors(prior, regression, config.refine, classes_in(asked.anatomy))
    if config.dry_run:
        K, T, N = recording.y.shape
        line = f"would infer the weights of {N} neurons from {K} trials of {T} steps"
        return Result({}, {"n_trials": K, "n_time": T, "n_neurons": N}, line)
    names = tuple(n for n in config.estimate if n != "none")
    if recording.y.shape[-1] > inference.LARGEST:
        names = tuple(n for n in names if n not in ("kernel", "taus"))
    settings, judged = examine(recorded, told, config.noise_std, names, spec.family or Family())
    choice = as_told(recording.y, told, config.noise_std, recording.observed) if settings is None else settings.best
    found = fitted(config, model, recording, recorded, choice, others, truth)
    gains = gains_of(found, len(recording.y))
    judged = doubted(judged, gains, [*too_sure(found), *unasked(found, recording.y.shape[-1])])
    bad = judged.verdict in (MISSPECIFIED, NO_NETWORK)
    first = "" if judged.verdict == TYPICAL else f"{judged.verdict}: {'; '.join(judged.facts)}"
    final = answer_of(inference.WORDS[found.default], gains, first, bad)
    g = torch.Generator().manual_seed(config.seed + 1)
    results = {
        "answer": final,
        "further": [] if bad else further(found, recorded, choice, found.ep.family, recording.names, g),
        "best_method": found.trusted,
        "reason": f"believe none of the estimates: {'; '.join(judged.facts)}" if bad else found.reason,
        "anatomy": None
        if found.worth is None
        else {"informative": float(found.worth.informative), "density by class": found.worth.classes[0].tolist()},
        "verdict": judged.verdict,
        "facts": judged.facts,
        "residuals": None if judged.residuals is None else judged.residuals._asdict(),
        "settings": settings_of(settings, choice),
        **estimates_of(found, recording),
        "scores": None if truth is None else truth_scores(found.samples, truth),
        "behaviour": behaviour_rows(found.samples, choice, truth),
    }
    outputs = written(config, found, recording, truth, results, run.provenance(config))
    code = 3 if bad and not config.force else 0
    return Result(outputs, results, line_of(judged, results, found.trusted, final), code, config.output)


def model_of(config: InferConfig) -> WeightModel | WrittenPrior:
    """Return the trained model, or for MODEL ``none`` the prior that is written down."""
    if str(config.model) == "none":
        return WrittenPrior()
    return model_folder.load_model(config.model, "diffusion", conditional=True)


def refuse_swapped(
    config: InferConfig, recording: recordings.Activity, told: explain.Settings, stimulus: Tensor | None
) -> None:
    """Raise InputError where axes that nobody names explain a recording no better as (trial, time, neuron) than as (neuron, time, trial)."""
    y = recording.y
    if recording.told or len(y) < 2 or stimulus is not None or not bool(recording.observed.all()):
        return
    ahead = evidence_of(y, told, config.noise_std) - evidence_of(y.transpose(0, 2), told, config.noise_std)
    if not ahead > 0:
        K, T, N = y.shape
        raise InputError(
            f"{config.activity}: {K} x {T} x {N} values without names of axes: {K} trials of {N} neurons, or {K} neurons in {N} trials? A network of"
            f" {K} neurons explains them {'better' if ahead < 0 else 'as well'} (log evidence {-ahead:+.0f}). Name the file's axes, as in --axes"
            " neuron,time,trial or --axes trial,time,neuron."
        )


def gains_of(found: inference.Inference, n_trials: int) -> dict[str, tuple[float, float]]:
    """Return what our estimate predicts trials left out in turn better by, and half of its 95 % interval, against each baseline.

    The estimate is the one that stands before left-out trials are looked at. The interval is over trials, which all neurons share;
    its t is corrected for fits that share trials (Nadeau & Bengio 2003). Empty where no trial could be left out.
    """
    gains = {}
    for name in inference.BASELINES if found.left_out else ():
        gain = found.left_out["ours"] - found.left_out[name]
        error = float(gain.std()) * math.sqrt(1 / len(gain) + 1 / (n_trials - 1))
        gains[name] = (float(gain.mean()), t_95(len(gain)) * error)
    return gains


def too_sure(found: inference.Inference) -> list[str]:
    """Return that expectation propagation is too sure of the weights: it expects far more than ridge does.

    Not where it predicts the held-out trial better than ridge, or, of one trial, came to rest.
    200 neurons, four trials (one network): it expects a correlation with the truth of .67 and has .42.
    """
    expected = {row["method"]: row["expected correlation"] for row in found.table}
    heldout = {row["method"]: row["held-out log-likelihood per value"] for row in found.table}
    spared = found.ep.converged if math.isnan(heldout["ep"]) else heldout["ep"] > heldout["ridge"]
    if spared or not expected["ep"] - expected["ridge"] > UNREST:
        return []
    return [
        f"expectation propagation is too sure: it expects a correlation of {expected['ep']:.2f} with the truth,"
        f" ridge one of {expected['ridge']:.2f}"
    ]


def unasked(found: inference.Inference, N: int) -> list[str]:
    """Return that Dale's law was taken as given, where expectation propagation is what is to be trusted."""
    if N <= inference.LARGEST or not found.ep.family.dale or found.trusted == "ridge":
        return []
    return [
        f"whether columns have one sign each (Dale's law) is not asked beyond {inference.LARGEST} neurons, and EP's intervals stand on it"
    ]


def doubted(judged: Verdict, gains: dict[str, tuple[float, float]], unrest: Sequence[str] = ()) -> Verdict:
    """Return the verdict after the left-out trials were looked at: a network must predict them better than none does.

    ``unrest``: why the posterior itself is not to be believed (`too_sure`).
    """
    if judged.verdict in (TYPICAL, CANNOT_TELL) and unrest:
        judged = Verdict(CANNOT_TELL, [*judged.facts, *unrest], judged.residuals)
    worse = [name for name, (mean, _) in gains.items() if name != inference.RIDGE and mean <= 0]
    if judged.verdict != TYPICAL or not worse:
        return judged
    return Verdict(CANNOT_TELL, [f"trials left out are predicted as well by {worse[-1]}"], judged.residuals)


def answer_of(ours: str, gains: dict[str, tuple[float, float]], first: str, bad: bool = False) -> Answer:
    """Return whether our estimate beats every baseline; the one that is least surely beaten is told."""
    lost = {inference.RIDGE: (math.nan, math.nan)}
    against, (mean, half) = min((gains or lost).items(), key=lambda item: item[1][0] - item[1][1])
    told = "cannot tell" if bad and mean > half else ""
    return answer(ours, against, mean, mean - half, mean + half, UNIT, first=first, verdict=told)


def examine(
    recorded: inference.Recorded, told: explain.Settings, noise: float | None, names: tuple[str, ...], family: Family
) -> tuple[Estimated | None, Verdict]:
    """Return the settings that a recording asks for (None where neurons are missing) and the verdict on it."""
    if not bool(recorded.observed.all()):
        return None, Verdict(CANNOT_TELL, ["neurons that were not recorded drive the others"], None)
    found = estimate(recorded.y, told, noise, names, recorded.stimulus, family)
    for name, values in found.changed.items():
        log.warning("%s: %s.", WORDS[name], ", ".join(f"{k} {v:.3g}" for k, v in values.items()))
    return found, judge(found, len(recorded.y))


def classes_in(matrix: np.ndarray | None) -> Tensor | None:
    """Return the class (N, N) of each connection that anatomy sees (0: none)."""
    return None if matrix is None else classes_of(torch.from_numpy(matrix))


def fitted(
    config: InferConfig, model: WeightModel | WrittenPrior, recording: recordings.Activity, recorded: inference.Recorded, choice: Choice,
    others: inference.Competitors, truth: Tensor | None,
) -> inference.Inference:  # fmt: skip
    """Return the posterior; of many neurons by fewer and shorter runs, of very many by expectation propagation alone."""
    (K, T, N), used, g = recording.y.shape, choice.settings, torch.Generator().manual_seed(config.seed)
    regime = Regime(used.a, used.process if used.process > MAX_SLACK else 0.0, used.h0_std)
    if isinstance(model, WeightModel):
        for line in differences(model.spec, regime, T, N, K, [choice.noise / used.gain]):
            log.warning("%s", line)
    if N > inference.LARGEST:
        if isinstance(model, WeightModel):
            log.warning("%d neurons: the diffusion model is not run beyond %d; the samples are those of expectation propagation.",
                        N, inference.LARGEST)  # fmt: skip
        if choice.settings.input:
            raise InputError(
                f"{config.activity}: a constant input to each neuron explains it better, which is not there for more than"
                f" {inference.LARGEST} neurons. Give --estimate gain,tau,process to go on without."
            )
        family = model.spec.family or Family()
        if family.dale:
            log.warning(
                "whether columns have one sign each (Dale's law) is not asked beyond %d neurons: expectation propagation takes it as given."
                " If it does not hold, believe ridge, not EP's intervals.", inference.LARGEST,
            )  # fmt: skip
        return infer_large(family, recorded, choice, config.n_samples or 8, g, truth)
    steps = config.steps or (18 if N <= 100 else 12)
    n_samples = config.n_samples or max(8, min(64, int(7e8 / (N**3 * steps))))
    if N > 100 and isinstance(model, WeightModel):
        runs = (1 + (K > 1) / 2) * (1 + (config.prior is not None))
        seconds = runs * steps * model.seconds_a_step(N, n_samples)
        log.info("%d neurons: %d samples of %d steps, about %.0f s of a processor.", N, n_samples, steps, seconds)
    if others.refine != "none" and not used.plain:
        log.warning("--refine is left out: it knows of no constant input, no kernel and no time constants that differ.")
        others = others._replace(refine="none")
    solver = {**config.solver, "steps": steps}
    found = inference.infer(
        model, recorded, choice, n_samples, solver, g, guidance=config.guidance, others=others, truth=truth,
    )  # fmt: skip
    if found.ep.family.dale != (model.spec.family or Family()).dale:
        log.warning("Columns have no one sign each: Dale's law is given up (log odds %+.0f).", found.ep.log_odds)
    return found


def written(
    config: InferConfig, found: inference.Inference, recording: recordings.Activity, truth: Tensor | None, results: dict[str, Any],
    provenance: dict[str, str],
) -> dict[str, Path]:  # fmt: skip
    """Write the posterior and its figure; return their paths."""
    attrs = {
        "trust": found.trusted,
        "samples_of": found.samples_of,
        "reason": results["reason"],
        "noise_std": found.noise_std,
        "verdict": results["verdict"],
    }
    grid = ("post", "pre")
    ep = {
        "ep_samples": (found.ep.samples, "samples of expectation propagation", ("sample", *grid)),
        "ep_sd": (found.ep.sd, "its posterior standard deviation", grid),
        "ep_connection_probability": (found.ep.present, "its probability that a connection exists", grid),
    }
    posterior_file.save(
        config.output, found.samples, found.estimates, found.ridge_sd, attrs, provenance, recording.names, ep
    )
    panels = {} if truth is None else {"truth": truth.numpy()}
    panels |= {name: found.estimates[name].numpy() for name in ("ridge", "ep")}
    panels |= {"posterior mean": found.samples.mean(0).numpy(), "posterior sd": found.samples.std(0).numpy()}
    figure = config.output.with_suffix(f".{config.figure_format}")
    title = f"{config.activity.name}, {len(recording.y)} trials"
    save_figure(plots.weights_figure(panels, title), figure)
    drawn = {"posterior": config.output, "figure": figure}
    if results["behaviour"]:
        drawn["behaviour"] = config.output.with_name(f"{config.output.stem}_behaviour.{config.figure_format}")
        shown = min(len(found.samples), MOST_RUNS)
        save_figure(plots.behaviour_figure(results["behaviour"], f"{title}, {shown} samples"), drawn["behaviour"])
    return drawn


def estimates_of(found: inference.Inference, recording: recordings.Activity) -> dict[str, Any]:
    """Return the numbers of the estimates, and of what was read."""
    return {
        "correlation_ridge_self": next(r["expected correlation"] for r in found.table if r["method"] == "ridge"),
        "trial_nll": {r["method"]: -r["held-out log-likelihood per value"] for r in found.table},
        "ep_converged": found.ep.converged,
        "family": {
            **found.ep.family._asdict(),
            "log odds of Dale's law": found.ep.log_odds,
            "asked": recording.y.shape[-1] <= inference.LARGEST,
        },
        "noise_std": found.noise_std,
        "n_trials": len(recording.y),
        "n_neurons": recording.y.shape[-1],
        "names": list(recording.names),
        "n_observed": int(recording.observed.sum()),
        "methods": found.table,
    }


def behaviour_rows(samples: Tensor, choice: Choice, truth: Tensor | None) -> list[dict[str, float | str]]:
    """Return what the networks of the posterior do when they run, with intervals; nothing of networks too large for the search."""
    if choice.settings.taus:
        log.info("neurons with time constants of their own: fixed points and responses are not computed.")
        return []
    if samples.shape[-1] > MOST_TO_RUN:
        log.info("more than %d neurons: fixed points and responses are not computed.", MOST_TO_RUN)
        return []
    return intervals(samples[:MOST_RUNS], choice.settings.a, truth)


def settings_of(found: Estimated | None, choice: Choice) -> dict[str, Any]:
    """Return which settings were used, what was estimated, and how much better every other choice would be."""
    used = {**choice.settings._asdict(), "noise": choice.noise}
    if found is None:
        return {"used": used}
    current = None if found.current is None else found.current.tolist()
    against = {
        "independent neurons": found.independent,
        "no connections": found.decoupled,
        "wrong times": found.shifted,
    }
    return {
        "used": used, "estimated": found.changed, "constant input": current, "offered log evidence": found.offered,
        "log evidence against the network": against,
    }  # fmt: skip


def line_of(judged: Verdict, results: dict[str, Any], trusted: str, final: Answer) -> str:
    """Return verdict, settings that were estimated, which estimate to use, and the answer, in one line."""
    if judged.verdict in (MISSPECIFIED, NO_NETWORK):
        return f"{judged.verdict}: {'; '.join(judged.facts)}"
    estimated = results["settings"].get("estimated")
    using = f" with {', '.join(WORDS[n] for n in estimated)}" if estimated else ""
    told = f"; {final.sentence}" if math.isfinite(final.gain) else ""
    return f"{judged.verdict}{using}; trust {trusted}: {results['reason']}{told}"
