"""How are sources opened, and how do fitted models and forecasts lie on disk?

A model folder holds ``model.safetensors`` (all arrays; loading it executes nothing) and ``model.json`` (which forecaster, window,
neurons, settings). Several recordings trained together lie in the same two files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io import Dataset, InputError

from . import probability
from .corrected import Corrected
from .correction import Gate, Spaces
from .linear import Columns, LinearMap
from .model import Forecast, Linear, Network, Probabilistic, StimulusMean
from .recording import Recording
from .session import MesoscopeSession, is_nwb, open_one

SCHEMA = "meso_forecast/forecast/1"


def open_source(config) -> MesoscopeSession:
    """Return the session that a command's ``source`` names.

    Raises
    ------
    InputError : nothing there, or nothing that is known.
    """
    given = {"skip_bad_fov": config.skip_bad_fov, "line_axis": config.line_axis}
    if config.source.startswith("eid:"):
        if config.one_cache is None:
            raise InputError(f"{config.source}: --one-cache DIR is needed to look up an eid.")
        return MesoscopeSession.from_eid(open_one(config.one_cache), config.source.removeprefix("eid:"), **given)
    path = Path(config.source)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.")
    if path.is_dir() and (path / "alf").is_dir():
        return MesoscopeSession.from_path(path, **given)
    if path.is_dir():
        if config.fs_hz is None and ((path / "F.npy").is_file() or any(path.glob("plane*/F.npy"))):
            raise InputError(f"{path}: a suite2p folder does not say its frame rate; give --fs-hz.")
        return MesoscopeSession.from_suite2p(path, config.fs_hz or 1.0)
    return MesoscopeSession.from_nwb(path) if is_nwb(path) else MesoscopeSession.from_activity_file(path)


# --- models ------------------------------------------------------------------------------------------------------------------


class Saved(NamedTuple):
    """A model folder, opened."""

    about: dict[str, Any]
    forecasters: list[Probabilistic]  #: one for each recording it was trained on


TUPLES = {t.__name__: t for t in (LinearMap, Columns, probability.StudentT, Spaces, Gate, StimulusMean)}


def pack(prefix: str, value: Any, arrays: dict[str, np.ndarray], plain: dict[str, Any]) -> None:
    """Put a (nested) NamedTuple into ``arrays`` and, for what is no array, ``plain``; keys are ``prefix/field``."""
    plain[prefix] = type(value).__name__
    for name, item in zip(value._fields, value):
        key = f"{prefix}/{name}"
        if hasattr(item, "_fields"):
            pack(key, item, arrays, plain)
        elif isinstance(item, np.ndarray):
            arrays[key] = np.ascontiguousarray(item)
        else:
            plain[key] = item


def unpack(prefix: str, arrays: Mapping[str, np.ndarray], plain: Mapping[str, Any]) -> Any:
    """Return the NamedTuple that `pack` stored."""
    kind = TUPLES[plain[prefix]]
    values = []
    for name in kind._fields:
        key = f"{prefix}/{name}"
        nested = isinstance(plain.get(key), str) and plain[key] in TUPLES
        values.append(unpack(key, arrays, plain) if nested else arrays[key] if key in arrays else plain[key])
    return kind(*values)


def save_model(folder: Path, about: Mapping[str, Any], forecasters: list[Probabilistic]) -> None:
    """Write ``model.safetensors`` and ``model.json``."""
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    for i, forecaster in enumerate(forecasters):
        pack(f"r{i}/spread", forecaster.spread, arrays, plain)
        pack_point(f"r{i}", forecaster.point, arrays, plain)
    net = getattr(forecasters[0].point, "net", None)
    for name, weight in ({} if net is None else net.state_dict()).items():
        arrays[f"net/{name}"] = np.ascontiguousarray(weight.detach().cpu().numpy())
    folder.mkdir(parents=True, exist_ok=True)
    with hdf5io.atomic(folder / "model.safetensors") as part:
        save_file(arrays, str(part))
    text = json.dumps({**about, "structure": plain}, indent=1, default=lambda v: v.tolist())
    with hdf5io.atomic(folder / "model.json") as part:
        part.write_text(text + "\n", encoding="utf-8")


def pack_point(prefix: str, point: Any, arrays: dict, plain: dict) -> None:
    """Put a point forecaster of any kind into ``arrays`` and ``plain``."""
    plain[prefix] = type(point).__name__
    plain[f"{prefix}/info"] = getattr(point, "info", {})
    if isinstance(point, Linear):
        pack(f"{prefix}/map", point.map, arrays, plain)
    elif isinstance(point, StimulusMean):
        pack(f"{prefix}/means", point._replace(spread=None, info={}), arrays, plain)
    elif isinstance(point, Corrected):
        pack(f"{prefix}/map", point.base.map, arrays, plain)
        pack(f"{prefix}/base_spread", point.base.spread, arrays, plain)
        pack(f"{prefix}/spaces", point.spaces, arrays, plain)
        pack(f"{prefix}/gate", point.gate, arrays, plain)


def load_model(folder: Path) -> Saved:
    """Open a model folder.

    Raises
    ------
    InputError : it is no (complete) model folder.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    for name in ("model.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: no '{name}'; expected a model folder made by 'meso-forecast train'.")
    try:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        arrays = load_file(str(folder / "model.safetensors"))
        structure = about.pop("structure")
    except Exception as error:
        raise InputError(
            f"{folder}: the model cannot be read ({str(error).splitlines()[0]}). Train it again."
        ) from None
    net = build_net(about, {k[4:]: v for k, v in arrays.items() if k.startswith("net/")})
    forecasters = []
    for i in range(len(about["recordings"])):
        spread = unpack(f"r{i}/spread", arrays, structure)
        point = unpack_point(f"r{i}", arrays, structure, spread, net, i)
        forecasters.append(Probabilistic(point, spread, about["context"]))
    return Saved(about, forecasters)


def unpack_point(
    prefix: str, arrays: Mapping, plain: Mapping, spread: probability.StudentT, net: Any, recording: int
) -> Any:
    """Return the point forecaster that `pack_point` stored."""
    kind, info = plain[prefix], plain[f"{prefix}/info"]
    if kind == "StimulusMean":
        return unpack(f"{prefix}/means", arrays, plain)._replace(spread=spread, info=info)
    if kind == "Linear":
        return Linear(unpack(f"{prefix}/map", arrays, plain), spread, info)
    if kind == "Corrected":
        base = Linear(unpack(f"{prefix}/map", arrays, plain), unpack(f"{prefix}/base_spread", arrays, plain), info)
        return Corrected(
            base, unpack(f"{prefix}/spaces", arrays, plain), unpack(f"{prefix}/gate", arrays, plain), net, recording
        )
    return Network(net, spread, info)


def build_net(about: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Any:
    """Return the network of a model folder with its weights, None for closed-form models."""
    if not weights:
        return None
    import torch

    from . import hf
    from .networks import Correction, DLinear, NLinear, PointForecast

    context, horizon = about["context"], about["horizon"]
    if about["model"] == "informer":
        net = Correction(*about["network"])
        net.lags = about["network"][1]
    elif about["model"] in ("nlinear", "dlinear"):
        net = PointForecast({"nlinear": NLinear, "dlinear": DLinear}[about["model"]](context, horizon))
        net.lags = context
    else:
        net = hf.HuggingFace(hf.Architecture(*about["network"]))
    net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    return net.eval()


def forecaster_for(saved: Saved, recording: Recording) -> tuple[Probabilistic, dict[str, Any]]:
    """Return the forecaster that was trained on the neurons of a recording, and what is known of its training.

    Raises
    ------
    InputError : the model knows other neurons.
    """
    for about, forecaster in zip(saved.about["recordings"], saved.forecasters):
        if about["neurons"] == neuron_key(recording):
            return forecaster, about
    known = ", ".join(f"{r['n_neurons']} neurons of {r['eid'] or r['path']}" for r in saved.about["recordings"])
    n = recording.panel.x.shape[1]
    raise InputError(f"{recording.path}: its {n} neurons are not those the model was trained on ({known}).")


def neuron_key(recording: Recording) -> str:
    """Return a fingerprint of the neurons, in order: their uuids, or FOV and place in the file where uuids are missing."""
    import hashlib

    text = "\n".join(f"{f} {u}" for f, u in zip(recording.fov, recording.uuid))
    return hashlib.sha256(text.encode()).hexdigest()


# --- forecasts ---------------------------------------------------------------------------------------------------------------


def save_forecast(
    path: Path, recording: Recording, origins, forecast: Forecast, levels, about, provenance, overwrite
) -> None:
    """Write a forecast: mean, quantiles, and which frames they are for."""
    window = ("window", "horizon", "neuron")
    datasets = {
        "mean": Dataset(forecast.mean.astype(np.float32), "z", "point forecast", window),
        "quantiles": Dataset(quantiles(forecast, levels), "z", "quantiles of the student-t", ("level", *window)),
        "levels": Dataset(np.asarray(levels), "", "quantile levels", ("level",)),
        "origin": Dataset(origins, "frame", "last frame each forecast saw", ("window",)),
        "origin_time": Dataset(recording.times[origins], "s", "its time", ("window",)),
        "lead": Dataset(np.arange(1, forecast.mean.shape[1] + 1) * recording.panel.dt_s, "s", "time after the origin", ("horizon",)),
        "uuid": Dataset(recording.uuid.astype(str), "", "ROI uuid", ("neuron",)),
    }  # fmt: skip
    hdf5io.write(path, SCHEMA, datasets, attrs=about, provenance=provenance, overwrite=overwrite)


def quantiles(forecast: Forecast, levels) -> np.ndarray:
    """Return (level, window, horizon, neuron) float32."""
    return np.stack([probability.quantile(forecast.mean, forecast.scale, forecast.df, q) for q in levels]).astype(
        np.float32
    )


def open_forecast(path: Path) -> dict[str, Any]:
    """Return the arrays of a forecast file and the name of its model."""
    with hdf5io.read(path, SCHEMA, required=("mean", "quantiles", "levels", "origin", "lead")) as file:
        arrays = {k: file[k][:] for k in ("mean", "quantiles", "levels", "origin", "lead")}
        return {**arrays, "model": str(file.attrs["model"])}
