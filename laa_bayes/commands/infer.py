"""Infer the parameters of one recorded trace."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from ..config import UNITS, InferConfig
from ..console import Result, Run
from ..files import model_folder, posterior_file, recordings
from ..files.request import request_of

log = logging.getLogger("laa_bayes")


def run(config: InferConfig, run: Run) -> Result:
    """Read the recording, find its posterior, write draws, figures and report; exit 3 when the model cannot explain it."""
    if config.model != "none":
        model_folder.read_json(Path(config.model))
    recording = recordings.read_recording(config.recording, request_of(config))
    from ..fit.infer import infer
    from ..posterior import summary

    model = None if config.model == "none" else model_folder.load(Path(config.model))
    posterior = infer(recording, config, model)
    predicted = summary.predictive(posterior, config.seed)
    results = summary.results(posterior, predicted)
    for doubt in summary.doubts(results, float(np.max(posterior.observed.noise_mv))):
        log.warning(doubt)
    provenance = run.provenance(config)
    outputs = {
        "posterior": posterior_file.write_posterior(config.target, posterior, results, predicted.band, provenance)
    }
    if config.report:
        from ..show import pages

        outputs |= pages.write_inference(config, posterior, predicted, results, provenance, run.warnings)
    bad = results["status"] == "misspecified" and not config.force
    return Result(outputs, results, line_of(results), 3 if bad else 0, record=config.target)


def line_of(results: dict) -> str:
    """Return one line for a person: estimates, what is not identified, verdict."""
    parts = [
        f"{name} {results['mean'][name]:.3g} ± {results['sd'][name]:.2g} {results['units'][name]}"
        for name in results["identified"]
    ]
    lost = [name for name, known in results["identified"].items() if not known]
    tail = f" (not identified: {', '.join(lost)})" if lost else ""
    flagged = [name for name, t in results["checks"]["tests"].items() if t["flagged"]]
    why = "; ".join(results["checks"]["facts"]) or ", ".join(flagged)
    bad = results["verdict"] == "misspecified"
    other = results["models"].get(results["favoured"], {}).get("parameters", {})
    if results["nuisance"] and results["favoured"] != "laa":
        units = {**UNITS["lumped"], **results["units"]}
        told = ", ".join(f"{n} {other[n]:.3g} {units.get(n, units['C_m'])}" for n in ("C_total", "g_L", "E_L"))
        tail += f"; a {results['favoured']} membrane explains it better: {told}"
    quality = (
        f", {results['refine']} ESS {100 * results['ess']:.0f} %" if results["ess"] is not None else ", not refined"
    )
    estimates = ", ".join(parts) + tail + quality
    return (
        f"misspecified, no model here explains the trace ({why}); {estimates}"
        if bad
        else f"{estimates}; {results['verdict']}"
    )
