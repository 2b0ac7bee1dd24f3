"""How does a forecast lie on disk?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io import Dataset
from hdf5io.errors import InputError

from ..model import probability
from ..model.forecaster import Forecast
from .recording import Recording, text

SCHEMA = "meso_forecast/forecast/1"


def save_forecast(
    path: Path, recording: Recording, origins, forecast: Forecast, levels, about, provenance, adaptive: np.ndarray
) -> None:
    """Write a forecast: mean, quantiles, which frames they are for; ``adaptive`` (window, horizon, neuron): half widths at 90 %."""
    window = ("window", "horizon", "neuron")
    datasets = {
        "mean": Dataset(forecast.mean.astype(np.float32), "z", "point forecast", window),
        "quantiles": Dataset(quantiles(forecast, levels), "z", "quantiles of the student-t", ("level", *window)),
        "adaptive_half_width": Dataset(adaptive.astype(np.float32), "z", "90 % interval that follows its own misses: mean +- this;"
                                       " NaN where it cannot be promised", window),
        "levels": Dataset(np.asarray(levels), "", "quantile levels", ("level",)),
        "origin": Dataset(origins, "frame", "last frame each forecast saw", ("window",)),
        "origin_time": Dataset(recording.times[origins], "s", "its time", ("window",)),
        "lead": Dataset(np.arange(1, forecast.mean.shape[1] + 1) * recording.panel.dt_s, "s", "time after the origin", ("horizon",)),
        "uuid": Dataset(recording.uuid.astype(str), "", "ROI uuid", ("neuron",)),
    }  # fmt: skip
    hdf5io.write(
        path,
        SCHEMA,
        datasets,
        attrs={**about, "recording_key": key_of(recording)},
        provenance=provenance,
        overwrite=True,
    )


def key_of(recording: Recording) -> str:
    """Return a fingerprint of what was forecast: cells, clock, scales, first and last frames of the activity."""
    x = recording.panel.x
    parts = (recording.times, np.asarray(recording.scale, float), np.asarray(x[:2]), np.asarray(x[-2:]))
    text = "\n".join(map(str, recording.uuid)).encode()
    return hashlib.sha256(b"".join([text, *(np.ascontiguousarray(p).tobytes() for p in parts)])).hexdigest()


def check_recording(path: Path, f: dict[str, Any], recording: Recording) -> None:
    """Make sure that a forecast is of a recording as it is preprocessed in its file.

    Raises
    ------
    InputError : other cells, or the same ones preprocessed in another way.
    """
    n, there = recording.panel.x.shape[1], f["mean"].shape[2]
    if there != n or (f["uuid"] and f["uuid"] != recording.uuid.tolist()):
        raise InputError(f"{recording.path}: its cells are not those of {path} ({n} here, {there} there).")
    if f["key"] and f["key"] != key_of(recording):
        raise InputError(
            f"{recording.path}: {path} was made from another file of these cells (other activity, scales or clock)."
        )


def quantiles(forecast: Forecast, levels) -> np.ndarray:
    """Return (level, window, horizon, neuron) float32."""
    return np.stack([probability.quantile(forecast.mean, forecast.scale, forecast.df, q) for q in levels]).astype(
        np.float32
    )


def open_forecast(path: Path) -> dict[str, Any]:
    """Return the arrays of a forecast file and the name of its model."""
    axes = {"mean": 3, "quantiles": 4, "levels": 1, "origin": 1, "lead": 1}
    with hdf5io.read(path, SCHEMA, required=tuple(axes)) as file:
        arrays = {name: hdf5io.array(file, name, ndim=ndim)[:] for name, ndim in axes.items()}
        model, key = (
            text(file.attrs.get(name, default)) for name, default in (("model", "unknown"), ("recording_key", ""))
        )
        ids = [text(v) for v in hdf5io.array(file, "uuid", ndim=1, kinds="SO")[:]] if "uuid" in file else []
    mean, fits = arrays["mean"].shape, arrays["quantiles"].shape
    if fits != (len(arrays["levels"]), *mean) or len(arrays["origin"]) != mean[0] or len(arrays["lead"]) != mean[1]:
        raise InputError(f"{path}: '/mean' {mean}, '/quantiles' {fits}, '/origin' and '/lead' do not fit each other.")
    return {**arrays, "model": model, "uuid": ids, "key": key}
