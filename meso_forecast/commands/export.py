"""``export``: a forecast as ALF objects or as an NWB file."""

from __future__ import annotations

import numpy as np

from hdf5io.errors import InputError

from ..activity.windows import gather
from ..config import ExportConfig
from ..console import Result, Run
from ..files.forecast_export import write_alf, write_nwb
from ..files.forecast_file import check_recording, open_forecast
from ..files.recording import Recording, open_recording


def run(config: ExportConfig, run: Run) -> Result:
    """Write a forecast for others."""
    f, recording = open_forecast(config.forecast), open_recording(config.recording)
    check_recording(config.forecast, f, recording)
    if not f["levels"][0] < 0.5 < f["levels"][-1]:
        raise InputError(
            f"{config.forecast}: its quantiles are {', '.join(f'{q:g}' for q in f['levels'])}; 'lower' and 'upper' need one below and one"
            " above 0.5. Forecast it again with other --quantiles."
        )
    n = recording.panel.x.shape[1]
    results = {"n_windows": len(f["origin"]), "n_neurons": n, "horizon": len(f["lead"]), "format": config.format,
               "notes": recording.notes}  # fmt: skip
    if config.dry_run:
        return Result({}, results, f"would export {len(f['origin'])} windows; nothing written")
    scores = errors_of(f, recording)
    if config.format == "alf":
        paths = write_alf(config.output, f, recording, scores)
    else:
        paths = [write_nwb(config.output / "forecast.nwb", f, recording, scores, recording.date)]
    line = (
        f"{config.output}: {len(f['origin'])} windows x {len(f['lead'])} steps x {n} cells as {config.format.upper()}"
    )
    return Result({p.name: p for p in paths}, results, line, record=config.output)


def errors_of(f: dict, recording: Recording) -> dict[str, np.ndarray]:
    """Return the mean squared errors (horizon, cell) of the forecast and of the last value; NaN where nothing came after."""
    mean, origins = f["mean"], f["origin"]
    p, horizon = recording.panel, mean.shape[1]
    whole = origins + horizon < len(p.x)
    ahead = np.minimum(origins[:, None] + np.arange(1, horizon + 1), len(p.x) - 1)
    whole &= p.usable[ahead].all(1)
    if not whole.any():
        nothing = np.full(mean.shape[1:], np.nan)
        return {"forecast": nothing, "persistence": nothing}
    y = gather(p.x, origins[whole], 1, horizon)
    parts = {"forecast": mean[whole], "persistence": p.x[origins[whole]][:, None]}
    return {name: np.square(y - v, dtype=float).mean(0) for name, v in parts.items()}
