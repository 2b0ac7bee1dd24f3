"""``plot``: figures of a forecast file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hdf5io.errors import InputError

from ..activity.windows import gather
from ..config import PlotConfig
from ..console import Result, Run
from ..files.forecast_file import check_recording, open_forecast
from ..files.recording import Recording, open_recording
from ..show import plots
from ..show.figures import save_figure

MOST = 400  #: windows that are drawn
HISTORY = 60  #: frames before a forecast beyond the end
DRAWN = (0.05, 0.25, 0.75, 0.95)  #: levels of the bands of 90 and 50 %


def run(config: PlotConfig, run: Run) -> Result:
    """Draw a forecast file."""
    f, recording = open_forecast(config.forecast), open_recording(config.recording)
    n, horizon = f["mean"].shape[2], f["mean"].shape[1]
    check_recording(config.forecast, f, recording)
    wrong = [i for i in config.neurons if not 0 <= i < n]
    if wrong:
        raise InputError(f"--neurons {wrong[0]}: rows are 0 to {n - 1}.")
    absent = [f"{q:g}" for q in DRAWN if not np.isclose(f["levels"], q).any()]
    if absent:
        there = ", ".join(f"{q:g}" for q in f["levels"])
        raise InputError(
            f"{config.forecast}: its quantiles are {there}; the bands need {', '.join(absent)} too. Forecast it again with these --quantiles."
        )
    inside = f["origin"] + horizon < len(recording.times)
    if config.dry_run:
        return Result({}, {}, f"would draw {len(inside)} windows; nothing written")
    levels = np.array([np.argmin(np.abs(f["levels"] - q)) for q in DRAWN])
    draw = compared if inside.any() else ahead
    neurons, made = draw(f, recording, inside, levels, config.neurons)
    outputs = {
        name: save_figure(figure, config.output / f"{name}.{config.figure_format}") for name, figure in made.items()
    }
    return Result(
        outputs,
        {"neurons": neurons, "notes": recording.notes},
        f"{config.output}: {', '.join(made)}",
        record=config.output,
    )


def compared(f: Mapping, recording: Recording, inside: np.ndarray, levels: np.ndarray, wanted: list[int]):
    """Return neurons and figures of forecasts beside what came: traces and rasters of the first windows."""
    mean, origins, lead = f["mean"][inside][:MOST], f["origin"][inside][:MOST], min(f["mean"].shape[1], 4) - 1
    truth = gather(recording.panel.x, origins, 1, mean.shape[1])
    error = ((truth - mean) ** 2).mean((0, 1)) / np.maximum(truth.var((0, 1)), 1e-12)
    neurons = np.array(wanted or np.argsort(error)[:4])
    bands = f["quantiles"][levels][:, inside][:, :MOST, lead][:, :, neurons]
    times, seconds = recording.times[origins + lead + 1], float(f["lead"][lead])
    named = [f"neuron {i}" for i in neurons]
    parts = truth[:, lead][:, neurons], mean[:, lead][:, neurons]
    return neurons, {
        "traces": plots.traces(times, *parts, bands, named, seconds, f["model"]),
        "rasters": plots.rasters(times, truth[:, lead], mean[:, lead], seconds),
    }


def ahead(f: Mapping, recording: Recording, inside: np.ndarray, levels: np.ndarray, wanted: list[int]):
    """Return neurons and the figure of a forecast beyond the recording's end: history and fan."""
    origin, mean = int(f["origin"][-1]), f["mean"][-1]
    moved = np.abs(mean - recording.panel.x[origin]).mean(0)
    neurons = np.array(wanted or np.argsort(moved)[::-1][:4])
    first = max(0, origin + 1 - HISTORY)
    history = np.array(recording.panel.x[first : origin + 1, :][:, neurons])
    times = recording.times[first : origin + 1] - recording.times[origin]
    named = [f"neuron {i}" for i in neurons]
    bands = f["quantiles"][levels][:, -1][:, :, neurons]
    return neurons, {"fan": plots.fan(times, history, f["lead"], mean[:, neurons], bands, named, f["model"])}
