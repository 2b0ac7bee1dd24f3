"""Which fit belongs to which name? From recordings and options to probabilistic forecasters, for every command that fits."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hdf5io import InputError

from .closed_form import CLOSED_FORM, fit_closed_form
from .model import Probabilistic, with_spread
from .recording import Recording, open_recording
from .windows import TRAIN, VALIDATION, Panel, observed_runs, window_origins

log = logging.getLogger(__package__)
LEAST_WINDOWS = {"training": 50, "validation": 10, "test": 10}


def options_of(config, folder: Path | None = None, seed: int | None = None):
    """Return training options from a command's config."""
    from .train import Options

    return Options(
        epochs=config.epochs, batch=config.batch, learning_rate=config.learning_rate, patience=config.patience,
        batches_per_epoch=config.batches_per_epoch, seed=config.seed if seed is None else seed, folder=folder,
        resume=getattr(config, "resume", False), progress=sys.stderr.isatty(), precision=config.precision,
        accelerator=config.accelerator, devices=config.devices, num_nodes=config.num_nodes, strategy=config.strategy,
    )  # fmt: skip


def open_checked(path: Path, context: int, horizon: int) -> Recording:
    """Open a recording and make sure that every part of its split has windows.

    Raises
    ------
    InputError : the recording is too short for this context and horizon, or too full of gaps.
    """
    recording = open_recording(path)
    p = recording.panel
    for part, (name, least) in enumerate(LEAST_WINDOWS.items()):
        n = len(window_origins(p.usable, p.label, part, context, horizon))
        if n < least:
            raise InputError(
                f"{path}: the {name} part has {n} windows of {context} + {horizon} frames without a gap, {least} are needed."
                " Give a shorter --context or --horizon, or other --fractions in preprocess."
            )
    return recording


def fit_named(
    name: str, panels: Sequence[Panel], config: Any, folder: Path | None = None, seed: int | None = None
) -> list[Probabilistic]:
    """Return one fitted forecaster for each panel; only ``informer`` shares a network between several."""
    seed = config.seed if seed is None else seed
    context, horizon = config.context, config.horizon
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        if name in CLOSED_FORM:
            points = [fit_closed_form(name, panel, context, horizon, seed) for panel in panels]
        elif name == "informer":
            from .ours import fit_informer

            points = fit_informer(panels, context, horizon, config.body, options_of(config, folder, seed))
        else:
            points = [fit_trained(name, panel, config, options_of(config, folder, seed)) for panel in panels[:1]]
    return [with_spread(point, panel, context, horizon) for point, panel in zip(points, panels)]


def fit_trained(name: str, panel: Panel, config: Any, options) -> Any:
    """Return a network that is trained on the activity itself."""
    if name in ("nlinear", "dlinear"):
        from .ours import fit_time_linear

        return fit_time_linear(name, panel, config.context, config.horizon, options, config.spike_weight)
    from .hf import Architecture, fit_hugging_face

    size = (config.d_model, config.layers, config.attention, config.spike_weight, config.scale_penalty)
    try:
        return fit_hugging_face(
            panel, Architecture(name, panel.x.shape[1], config.context, config.horizon, *size), options
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def network_of(point: Any, name: str) -> list | None:
    """Return what `data.build_net` needs to build the network again."""
    if name == "informer":
        net = point.net
        lags = net.lags
        latents, (horizon, outputs) = net.read_in.shape[1], net.shape
        kinds = {"DelayMLP": "mlp", "InformerEncoder": "informer", "GRUBody": "gru"}
        return [kinds[type(net.body).__name__], lags, latents, horizon, outputs, len(net.read_in)]
    return point.info.get("architecture") if name.endswith("-hf") else None


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
