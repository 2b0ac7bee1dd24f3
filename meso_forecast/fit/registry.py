"""Which fit belongs to which name? From recordings and options to probabilistic forecasters, for every command that fits."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from ..activity.windows import TRAIN, VALIDATION, Panel, observed_runs, window_origins
from ..files.recording import Recording, open_recording, with_behaviour
from ..model.closed_form import CLOSED_FORM, fit_closed_form
from ..model.forecaster import Probabilistic, with_spread
from .options import Options

log = logging.getLogger(__package__)
SEE_BEHAVIOUR = ("stack", "informer")
LEAST_WINDOWS = {"training": 50, "validation": 10, "test": 10}


def options_of(config: Any, folder: Path | None = None, seed: int | None = None) -> Options:
    """Return training options from a command's config; where nothing is trained only ``seed`` is read."""
    return Options(
        epochs=config.epochs, batch=config.batch, learning_rate=config.learning_rate, patience=config.patience,
        batches_per_epoch=config.batches_per_epoch, seed=config.seed if seed is None else seed, folder=folder,
        resume=folder is not None, progress=sys.stderr.isatty(), precision=config.precision,
        accelerator=config.accelerator, devices=config.devices, num_nodes=config.num_nodes, strategy=config.strategy,
    )  # fmt: skip


def open_checked(path: Path, context: int, horizon: int, behaviour: str = "none") -> Recording:
    """Open a recording and make sure that every part of its split has windows.

    Raises
    ------
    InputError : the recording is too short for this context and horizon, too full of gaps, or without the wanted behaviour.
    """
    return check_windows(with_behaviour(open_recording(path), behaviour), context, horizon)


def check_windows(recording: Recording, context: int, horizon: int) -> Recording:
    """Return the recording, or refuse it where a part of its split has too few windows of this context and horizon."""
    p = recording.panel
    for part, (name, least) in enumerate(LEAST_WINDOWS.items()):
        n = len(window_origins(p.usable, p.label, part, context, horizon))
        if n < least:
            raise InputError(
                f"{recording.path}: the {name} part has {n} windows of {context} + {horizon} frames without a gap, {least} are needed."
                " Give a shorter --context or --horizon, or other --fractions in preprocess."
            )
    return recording


class Choice(NamedTuple):
    """One forecaster."""

    fit: Callable[[Sequence[Panel], Any, Any], list]  #: (panels, config, training options) -> forecasters, one a panel
    closed_form: bool = False  #: nothing is trained


def closed_form(name: str) -> Choice:
    """Return the choice of a model in closed form."""

    def fit(panels: Sequence[Panel], config: Any, options: Any) -> list:
        """Return a fitted forecaster for each panel."""
        return [fit_closed_form(name, panel, config.context, config.horizon, options.seed) for panel in panels]

    return Choice(fit, closed_form=True)


def time_linear(name: str) -> Choice:
    """Return the choice of a linear map over time that neurons share."""

    def fit(panels: Sequence[Panel], config: Any, options: Any) -> list:
        """Return a fitted forecaster for each panel."""
        from .fit_network import fit_time_linear

        return fit_time_linear(name, panels, config.context, config.horizon, options, config.spike_weight)

    return Choice(fit)


def rival(name: str) -> Choice:
    """Return the choice of a published forecaster, written anew."""

    def fit(panels: Sequence[Panel], config: Any, options: Any) -> list:
        """Return a fitted forecaster for each panel."""
        from .fit_network import fit_rival

        return fit_rival(name, panels, config.context, config.horizon, options, config.spike_weight)

    return Choice(fit)


def hugging_face(name: str) -> Choice:
    """Return the choice of a published transformer."""

    def fit(panels: Sequence[Panel], config: Any, options: Any) -> list:
        """Return a fitted forecaster for each panel."""
        from ..model.hugging_face import Architecture
        from .fit_network import fit_hugging_face

        size = (config.d_model, config.layers, config.attention, config.spike_weight, config.scale_penalty)
        shapes = [Architecture(name, p.x.shape[1], config.context, config.horizon, *size) for p in panels]
        try:
            return fit_hugging_face(panels, shapes, options)
        except ValueError as error:
            raise InputError(str(error)) from None

    return Choice(fit)


def informer(panels: Sequence[Panel], config: Any, options: Any) -> list:
    """Return ours: the stack and a network on what it leaves, shared by all recordings."""
    from .fit_correction import fit_informer

    return fit_informer(panels, config.context, config.horizon, config.body, options)


FORECASTERS: dict[str, Choice] = {
    **{name: closed_form(name) for name in CLOSED_FORM},
    "nlinear": time_linear("nlinear"),
    "dlinear": time_linear("dlinear"),
    "informer": Choice(informer),
    **{name: rival(name) for name in ("patchtst", "tsmixer", "itransformer", "poco")},
    "informer-hf": hugging_face("informer-hf"),
    "autoformer-hf": hugging_face("autoformer-hf"),
}


def fit_named(
    name: str, panels: Sequence[Panel], config: Any, folder: Path | None = None, seed: int | None = None
) -> list[Probabilistic]:
    """Return one fitted forecaster for each panel."""
    options = options_of(config, folder, config.seed if seed is None else seed)
    if name not in SEE_BEHAVIOUR:
        panels = [panel.without_behaviour() for panel in panels]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        points = FORECASTERS[name].fit(panels, config, options)
    return [with_spread(point, panel, config.context, config.horizon) for point, panel in zip(points, panels)]


def part_origins(recording: Recording, context: int, horizon: int, part: int = 2) -> np.ndarray:
    """Return the origins of a part's windows: the same for every model."""
    return window_origins(recording.panel.usable, recording.panel.label, part, context, horizon)


def trained_spans(recording: Recording) -> list[list[float]]:
    """Return first and last time in s of every run of frames that training or validation targets come from."""
    runs = observed_runs(np.isin(recording.panel.label, (TRAIN, VALIDATION)))
    return [[float(recording.times[start]), float(recording.times[stop - 1])] for start, stop in runs]


def warn_if_trained_on(about: dict[str, Any], recording: Recording, origins: np.ndarray, horizon: int) -> None:
    """Warn when targets of these windows lie in what a model was trained on (``about``: its session and its spans)."""
    if about["eid"] != recording.eid:
        return
    starts, stops = np.array(about["trained_s"]).T
    final = len(recording.times) - 1
    first, last = (recording.times[np.minimum(origins + h, final)] for h in (1, horizon))
    span = np.searchsorted(starts, last, side="right") - 1
    inside = int(((span >= 0) & (stops[span] >= first)).sum())
    if inside:
        log.warning(
            "%d of %d windows lie in the part of this session that the model was trained on: their errors say nothing about new data",
            inside, len(origins),
        )  # fmt: skip
