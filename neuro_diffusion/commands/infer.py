"""Which weights does one recording allow?"""

from __future__ import annotations

import torch

from ..config import InferConfig
from ..console import Result, Run, log
from ..files import model_folder, posterior_file, recordings
from ..fit import infer as inference
from ..score.evaluate import truth_scores
from ..show import plots
from ..show.figures import save_figure


def run(config: InferConfig, run: Run) -> Result:
    """Load model and recording, infer, write posterior and figure."""
    model = model_folder.load_model(config.model, "diffusion", conditional=True)
    prior = None if config.prior is None else model_folder.load_model(config.prior, "diffusion")
    regression = None if config.regression is None else model_folder.load_model(config.regression, "regression")
    recording = recordings.load_activity(config.activity, config.dataset)
    truth = None if config.truth is None else recordings.load_truth(config.truth, recording.y.shape[-1])
    if config.guidance > 1:
        log.warning(
            "guidance %g is above 1: the posterior is sharper than the data allow, not calibrated.", config.guidance
        )
    if not bool(recording.observed.all()):
        log.warning(
            "%d of %d neurons were not recorded: their weights come from the prior, and intervals are too narrow.",
            int((~recording.observed).sum()), len(recording.observed),
        )  # fmt: skip
    found = inference.infer(
        model, recording.y, recording.observed, config.dt_over_tau or model.spec.a, config.noise_std, config.n_samples,
        config.solver, torch.Generator().manual_seed(config.seed), guidance=config.guidance, prior=prior,
        regression=regression, refine=config.refine, truth=truth,
    )  # fmt: skip
    attrs = {"trust": found.trusted, "reason": found.reason, "noise_std": found.noise_std}
    posterior_file.save(config.output, found.samples, found.estimates, found.ridge_sd, attrs, run.provenance(config))
    panels = {} if truth is None else {"truth": truth.numpy()}
    panels |= {
        "ridge": found.estimates["ridge"].numpy(),
        "posterior mean": found.estimates["diffusion"].numpy(),
        "posterior sd": found.samples.std(0).numpy(),
    }
    figure = config.output.with_suffix(f".{config.figure_format}")
    save_figure(plots.weights_figure(panels, f"{config.activity.name}, {len(recording.y)} trials"), figure)
    results = {
        "best_method": found.trusted,
        "reason": found.reason,
        "correlation_ridge_self": next(r["expected correlation"] for r in found.table if r["method"] == "ridge"),
        "trial_nll": {r["method"]: -r["held-out log-likelihood per value"] for r in found.table},
        "noise_std": found.noise_std,
        "n_trials": len(recording.y),
        "n_neurons": recording.y.shape[-1],
        "n_observed": int(recording.observed.sum()),
        "methods": found.table,
        "scores": None if truth is None else truth_scores(found.samples, truth),
    }
    outputs = {"posterior": config.output, "figure": figure}
    return Result(outputs, results, f"trust {found.trusted}: {found.reason}", record=config.output)
