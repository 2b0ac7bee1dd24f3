"""Draw what is in a file or folder."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from hdf5io.errors import InputError

from ..config import PlotConfig
from ..console import Result, Run
from ..files import dataset, posterior_file, recordings
from ..files.identify import describe
from ..show import plots
from ..show.figures import save_figure


def run(config: PlotConfig, run: Run) -> Result:
    """Find out what it is, draw it."""
    kind = describe(config.path, config.dataset, config.rows, config.axes)["kind"]
    if kind not in DRAW:
        raise InputError(f"{config.path}: a {kind}, there is nothing to draw. Drawn are: {', '.join(DRAW)}.")
    path = save_figure(DRAW[kind](config), config.target)
    return Result({"figure": path}, {"kind": kind}, f"{kind}: {path}", record=path)


def _activity(config: PlotConfig) -> Figure:
    found = recordings.load_activity(config.path, config.dataset, config.rows, config.axes)
    return plots.activity_figure(found.y.numpy(), found.observed.numpy(), config.path.name)


def _posterior(config: PlotConfig) -> Figure:
    found = posterior_file.load(config.path)
    panels = {name: W for name, W in found.estimates.items() if name in ("ridge", "ep")}
    panels |= {"posterior mean": found.samples.mean(0), "posterior sd": found.samples.std(0)}
    return plots.weights_figure(panels, f"{config.path.name}, {len(found.samples)} samples")


def _samples(config: PlotConfig) -> Figure:
    return plots.eigenvalue_figure({"samples": posterior_file.load_samples(config.path)}, config.path.name)


def _networks(config: PlotConfig) -> Figure:
    W = dataset.load_weights(config.path, limit=256).numpy()
    return plots.eigenvalue_figure({"data set": W}, f"{config.path.name}, first {len(W)} networks")


DRAW: dict[str, Callable[[PlotConfig], Figure]] = {
    "activity": _activity,
    "posterior": _posterior,
    "samples of a prior": _samples,
    "data set": _networks,
}
