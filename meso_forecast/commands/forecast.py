"""``forecast``: means and quantiles of a trained model."""

from __future__ import annotations

import numpy as np

from hdf5io.errors import InputError

from ..activity.windows import PARTS, TEST, window_origins
from ..config import ForecastConfig
from ..console import Result, Run
from ..files.forecast_file import save_forecast
from ..files.model_folder import forecaster_for, load_model, seen_by
from ..files.recording import Recording, open_recording
from ..fit.registry import warn_if_trained_on
from ..model import conformal
from ..model.forecaster import Forecast, Probabilistic

LEARN_FRAMES = 1000


def run(config: ForecastConfig, run: Run) -> Result:
    """Forecast the windows of a part."""
    saved = load_model(config.model)
    recording = seen_by(saved, open_recording(config.recording))
    if config.part == "last" and config.every > 1:
        raise InputError(f"--every {config.every}: without effect, --part last is one window. Leave out --every.")
    if config.part == "last" and saved.about.get("behaviour") == "known":
        raise InputError(
            f"{config.recording}: the model was trained to know stimuli in advance; those after the end are not in it."
        )
    forecaster, trained = forecaster_for(saved, recording)
    origins = chosen_origins(recording, config.part, saved.about["context"], saved.about["horizon"])[:: config.every]
    results = {"n_windows": len(origins), "n_neurons": recording.panel.x.shape[1], "horizon": saved.about["horizon"],
               "quantiles": config.quantiles, "notes": recording.notes, "n_notes": len(recording.notes)}  # fmt: skip
    if config.dry_run:
        return Result({}, results, f"would forecast {len(origins)} windows; nothing written")
    warn_if_trained_on(trained, recording, origins, saved.about["horizon"])
    forecast = forecaster.forecast(recording.panel, origins)
    half, results["intervals"] = adaptive_half_width(forecaster, recording, origins, forecast)
    about = {
        "model": saved.about["model"],
        "eid": recording.eid,
        "part": config.part,
        "context": saved.about["context"],
        "notes": "\n".join(recording.notes),
    }
    save_forecast(config.output, recording, origins, forecast, config.quantiles, about,
                       run.provenance(config), half)  # fmt: skip
    line = f"{config.output}: {len(origins)} windows x {results['horizon']} frames x {results['n_neurons']} neurons"
    return Result({"forecast": config.output}, results, line, record=config.output)


def adaptive_half_width(
    forecaster: Probabilistic, recording: Recording, origins: np.ndarray, forecast: Forecast
) -> tuple[np.ndarray, dict]:
    """Return half widths (window, horizon, neuron) of 90 % intervals that follow their misses, and how often they held where it is known.

    They learn from test windows before the first origin too (at most ``LEARN_FRAMES``), never from training frames. Where too few targets
    are known, or the share inside is not as promised, they are NaN: no answer.
    """
    p, horizon, context = recording.panel, forecast.mean.shape[1], forecaster.context
    earlier = window_origins(p.usable, p.label, TEST, context, horizon)
    earlier = earlier[(earlier < origins[0]) & (earlier >= origins[0] - LEARN_FRAMES)]
    parts = [forecaster.forecast(p, earlier), forecast] if len(earlier) else [forecast]
    mean, scale = (np.concatenate([getattr(f, k) for f in parts]) for k in ("mean", "scale"))
    every = np.r_[earlier, origins]
    ahead = every[:, None] + np.arange(1, horizon + 1)
    inside = (ahead < len(p.x)) & p.usable[np.minimum(ahead, len(p.x) - 1)]
    truth = np.where(inside[:, :, None], p.x[np.minimum(ahead, len(p.x) - 1)], np.nan)
    ratio = np.abs(truth - mean) / scale
    radius = conformal.radius(ratio, every, forecast.df)
    known = inside.all(1) & (p.label[np.minimum(every + 1, len(p.x) - 1)] == TEST)
    covers = float(np.nanmean(conformal.coverage(ratio[known], radius[known]))) if known.any() else float("nan")
    given = conformal.answered(covers, int(known.sum()))
    half = (radius * scale)[len(earlier) :]
    found = {
        "covers": covers if known.any() else None,
        "n_known": int(known.sum()),
        "answer": "yes" if given else "no answer",
    }
    return half if given else np.full_like(half, np.nan), found


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
