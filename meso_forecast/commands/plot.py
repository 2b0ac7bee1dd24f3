"""``plot``: figures of a forecast file."""

from __future__ import annotations

import numpy as np

from hdf5io.errors import InputError

from ..activity.windows import gather
from ..config import PlotConfig
from ..console import Result, Run
from ..files.forecast_file import open_forecast
from ..files.recording import open_recording
from ..show import plots
from ..show.figures import save_figure


def run(config: PlotConfig, run: Run) -> Result:
    """Draw a forecast file."""
    f, recording = open_forecast(config.forecast), open_recording(config.recording)
    n, horizon = f["mean"].shape[2], f["mean"].shape[1]
    if n != recording.panel.x.shape[1]:
        raise InputError(f"{config.recording}: {recording.panel.x.shape[1]} neurons; the forecast has {n}.")
    wrong = [i for i in config.neurons if not 0 <= i < n]
    if wrong:
        raise InputError(f"--neurons {wrong[0]}: rows are 0 to {n - 1}.")
    inside = f["origin"] + horizon < len(recording.times)
    if not inside.any():
        raise InputError(f"{config.forecast}: all forecasts lie after the recording's end; there is no truth to draw.")
    if config.dry_run:
        return Result({}, {}, f"would draw {inside.sum()} windows; nothing written")
    mean, origins, lead = f["mean"][inside][:400], f["origin"][inside][:400], min(horizon, 4) - 1
    truth = gather(recording.panel.x, origins, 1, horizon)
    error = ((truth - mean) ** 2).mean((0, 1)) / np.maximum(truth.var((0, 1)), 1e-12)
    neurons = np.array(config.neurons or np.argsort(error)[:4])
    levels = np.array([np.argmin(np.abs(f["levels"] - q)) for q in (0.05, 0.25, 0.75, 0.95)])
    bands = f["quantiles"][levels][:, inside][:, :400, lead][:, :, neurons]
    times, seconds = recording.times[origins + lead + 1], float(f["lead"][lead])
    named = [f"neuron {i}" for i in neurons]
    made = {
        "traces": plots.traces(
            times, truth[:, lead][:, neurons], mean[:, lead][:, neurons], bands, named, seconds, f["model"]
        ),
        "rasters": plots.rasters(times, truth[:, lead], mean[:, lead], seconds),
    }
    outputs = {
        name: save_figure(figure, config.output / f"{name}.{config.figure_format}") for name, figure in made.items()
    }
    return Result(outputs, {"neurons": neurons}, f"{config.output}: {', '.join(made)}", record=config.output)
