"""Predict voltages from a posterior, for the recorded current or another one."""

from __future__ import annotations

import logging

import numpy as np

from hdf5io.errors import InputError

from ..config import PosteriorPredictConfig
from ..console import Result, Run
from ..files import posterior_file, recordings

log = logging.getLogger("laa_bayes")


def run(config: PosteriorPredictConfig, run: Run) -> Result:
    """Simulate posterior draws and write the predicted voltages."""
    fitted = posterior_file.read_posterior(config.posterior)
    if fitted.results.get("verdict") == "misspecified":
        log.warning(
            "%s: no model here explains its recording; what it predicts is not to be relied on", config.posterior
        )
    current, spec = fitted.recording.current, fitted.spec
    from ..posterior import likelihood

    rng = np.random.default_rng(config.seed)
    w = fitted.w[rng.choice(len(fitted.w), config.draws, replace=config.draws > len(fitted.w))]
    if config.current is None:
        v = likelihood.predictions(spec, w, fitted.observed)
    else:
        current, dt_ms, unit = recordings.read_current(config.current)
        if unit != fitted.recording.current_unit or abs(dt_ms - spec.dt_ms) > 1e-6:
            raise InputError(
                f"{config.current}: {unit} every {dt_ms:g} ms; the posterior needs {fitted.recording.current_unit} every {spec.dt_ms:g} ms."
            )
        v = likelihood.predictions_under(spec, w, fitted.observed, current, fitted.mv_per_mohm_per_unit * current)
    path = posterior_file.write_prediction(config.output, v, current, fitted.recording, run.provenance(config))
    spread = float(np.mean(np.quantile(v, 0.95, axis=0) - np.quantile(v, 0.05, axis=0)))
    results = {"n_draws": len(v), "n_time": v.shape[1], "mean_band_width_mv": spread}
    return Result({"prediction": path}, results, f"{len(v)} predictions of {v.shape[1]} samples in {path}", record=path)
