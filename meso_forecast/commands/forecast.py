"""``forecast``: means and quantiles of a trained model."""

from __future__ import annotations

import numpy as np

from hdf5io.errors import InputError

from ..activity.windows import PARTS, window_origins
from ..config import ForecastConfig
from ..console import Result, Run
from ..files.forecast_file import save_forecast
from ..files.model_folder import forecaster_for, load_model, seen_by
from ..files.recording import Recording, open_recording
from ..fit.registry import warn_if_trained_on


def run(config: ForecastConfig, run: Run) -> Result:
    """Forecast the windows of a part."""
    saved = load_model(config.model)
    recording = seen_by(saved, open_recording(config.recording))
    if config.part == "last" and saved.about.get("behaviour") == "known":
        raise InputError(
            f"{config.recording}: the model was trained to know stimuli in advance; those after the end are not in it."
        )
    forecaster, trained = forecaster_for(saved, recording)
    origins = chosen_origins(recording, config.part, saved.about["context"], saved.about["horizon"])[:: config.every]
    results = {"n_windows": len(origins), "n_neurons": recording.panel.x.shape[1], "horizon": saved.about["horizon"],
               "quantiles": config.quantiles}  # fmt: skip
    if config.dry_run:
        return Result({}, results, f"would forecast {len(origins)} windows; nothing written")
    warn_if_trained_on(trained, recording, origins, saved.about["horizon"])
    forecast = forecaster.forecast(recording.panel, origins)
    about = {
        "model": saved.about["model"],
        "eid": recording.eid,
        "part": config.part,
        "context": saved.about["context"],
    }
    save_forecast(config.output, recording, origins, forecast, config.quantiles, about,
                       run.provenance(config))  # fmt: skip
    line = f"{config.output}: {len(origins)} windows x {results['horizon']} frames x {results['n_neurons']} neurons"
    return Result({"forecast": config.output}, results, line, record=config.output)


def chosen_origins(recording: Recording, part: str, context: int, horizon: int) -> np.ndarray:
    """Return the origins to forecast.

    Raises
    ------
    InputError : there is none.
    """
    p = recording.panel
    if part == "last":
        origins = (
            np.array([len(p.usable) - 1])
            if p.usable[-context:].all() and len(p.usable) >= context
            else np.empty(0, int)
        )
    elif part == "all":
        origins = window_origins(p.usable, np.zeros(len(p.usable), np.int8), 0, context, horizon)
    else:
        origins = window_origins(p.usable, p.label, PARTS[part], context, horizon)
    if not len(origins):
        raise InputError(f"{recording.path}: no window of {context} + {horizon} observed frames in part '{part}'.")
    return origins
