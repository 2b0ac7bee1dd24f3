"""How do fitted forecasters lie on disk?

A model folder holds ``model.safetensors`` (all arrays; loading it executes nothing) and ``model.json`` (which forecaster, window,
neurons, settings). Several recordings trained together lie in the same two files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..model.correction import Corrected, Gate, Spaces
from ..model.forecaster import Linear, Network, Probabilistic, StimulusMean
from ..model.linear import Columns, LinearMap
from ..model.mixture import Mixture, Prior
from ..model.probability import StudentT
from .recording import Recording, with_behaviour

TUPLES: dict[str, Any] = {t.__name__: t for t in (LinearMap, Columns, StudentT, Spaces, Gate, StimulusMean, Prior)}
RATE_TOLERANCE = 0.02
POINTS: dict[str, Any] = {t.__name__: t for t in (Linear, StimulusMean, Corrected, Mixture, Network)}


class Saved(NamedTuple):
    """A model folder, opened."""

    about: dict[str, Any]
    forecasters: list[Probabilistic]  #: one for each recording it was trained on


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
        values.append(
            unpack(key, arrays, plain)
            if nested
            else arrays[key]
            if key in arrays
            else plain[key]
            if key in plain
            else kind._field_defaults[name]
        )
    return kind(*values)


def save_model(folder: Path, about: Mapping[str, Any], forecasters: list[Probabilistic]) -> None:
    """Write ``model.safetensors`` and ``model.json``."""
    from safetensors.numpy import save_file

    arrays: dict[str, np.ndarray] = {}
    plain: dict[str, Any] = {}
    for i, forecaster in enumerate(forecasters):
        pack(f"r{i}/spread", forecaster.spread, arrays, plain)
        plain[f"r{i}"] = type(forecaster.point).__name__
        plain[f"r{i}/info"] = forecaster.point.info
        for name, part in forecaster.point.parts().items():
            pack(f"r{i}/{name}", part, arrays, plain)
    nets = networks_by_name(forecasters)
    for kind, net in nets.items():
        for name, weight in net.state_dict().items():
            arrays[f"{kind}/{name}"] = np.ascontiguousarray(weight.detach().cpu().numpy())
    networks = {kind: list(net.architecture) for kind, net in nets.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with hdf5io.atomic(folder / "model.safetensors") as part:
        save_file(arrays, str(part))
    text = json.dumps({**about, "networks": networks, "structure": plain}, indent=1, default=lambda v: v.tolist())
    with hdf5io.atomic(folder / "model.json") as part:
        part.write_text(text + "\n", encoding="utf-8")


def networks_by_name(forecasters: list[Probabilistic]) -> dict[str, Any]:
    """Return the networks of all recordings: shared ones by their name, others by ``r<recording>.<name>``."""
    nets = [f.point.nets() for f in forecasters]
    if all(other[kind] is net for other in nets for kind, net in nets[0].items()):
        return nets[0]
    return {f"r{i}.{kind}": net for i, each in enumerate(nets) for kind, net in each.items()}


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
        return opened(about, arrays)
    except (RecursionError, Exception) as error:  # whatever a broken file of another shape leads to
        said = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{folder}: the model cannot be read ({type(error).__name__}: {said}). Train it again."
        ) from None


def opened(about: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Saved:
    """Return the forecasters of a model folder's two files."""
    check(about)
    structure = about.pop("structure")
    nets = networks_of(about, arrays)
    forecasters = []
    for i in range(len(about["recordings"])):
        spread, info = unpack(f"r{i}/spread", arrays, structure), structure[f"r{i}/info"]
        names = {k.split("/")[1] for k in structure if k.startswith(f"r{i}/")} - {"spread", "info"}
        parts = {name: unpack(f"r{i}/{name}", arrays, structure) for name in names if f"r{i}/{name}" in structure}
        own = {k.removeprefix(f"r{i}."): net for k, net in nets.items() if k.startswith(f"r{i}.")}
        place = 0 if own else i  # a network of its own knows one recording
        point = POINTS[structure[f"r{i}"]].from_parts(parts, own or nets, spread, info, place)
        forecasters.append(Probabilistic(point, spread, about["context"]))
    return Saved(about, forecasters)


def check(about: Mapping[str, Any]) -> None:
    """Raise a ValueError where ``model.json`` lacks what every command reads."""
    kinds = {"model": str, "context": int, "horizon": int, "recordings": list, "structure": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(about.get(name), kind)]
    if wrong or min(about["context"], about["horizon"]) < 1 or not about["recordings"]:
        raise ValueError(f"'{(wrong or ['context, horizon or recordings'])[0]}' is missing or of another kind")
    for recording in about["recordings"]:
        expected = {"n_neurons": int, "neurons": str, "eid": str, "path": str, "trained_s": list}
        if not isinstance(recording, dict) or not all(isinstance(recording.get(k), v) for k, v in expected.items()):
            raise ValueError("'recordings' is not as expected")
        if np.array(recording["trained_s"], float).ndim != 2:
            raise ValueError("'trained_s' is not as expected")


def networks_of(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the networks of a model folder with their weights, by name; none for closed-form models."""
    networks = about.get("networks")
    if networks is None:  # folders of earlier versions
        has_net = any(key.startswith("net/") for key in arrays)
        networks = {"net": about["network"] or [about["model"], about["context"], about["horizon"]]} if has_net else {}
    if not networks:
        return {}
    from ..model.build import build_network

    return {
        kind: build_network(
            shape, {k.removeprefix(f"{kind}/"): v for k, v in arrays.items() if k.startswith(f"{kind}/")}
        )
        for kind, shape in networks.items()
    }


def seen_by(saved: Saved, recording: Recording) -> Recording:
    """Return a recording with the behaviour that a model was trained with.

    Raises
    ------
    InputError : the recording has other behaviour.
    """
    use, wanted = saved.about.get("behaviour", "none"), saved.about.get("inputs", [])
    if use != "none" and recording.input_names != wanted:
        have = ", ".join(recording.input_names) or "none"
        raise InputError(f"{recording.path}: the model sees behaviour ({', '.join(wanted)}), the recording has {have}.")
    return with_behaviour(recording, use)


def forecaster_for(saved: Saved, recording: Recording) -> tuple[Probabilistic, dict[str, Any]]:
    """Return the forecaster that was trained on the neurons of a recording, and what is known of its training.

    Raises
    ------
    InputError : the model knows other neurons, or another frame rate.
    """
    for about, forecaster in zip(saved.about["recordings"], saved.forecasters):
        if about["neurons"] == neuron_key(recording):
            dt_s, now = float(about.get("dt_s") or recording.panel.dt_s), recording.panel.dt_s
            if abs(now / dt_s - 1) > RATE_TOLERANCE:
                raise InputError(
                    f"{recording.path}: has {1 / now:.4g} frames a second, the model was trained on {1 / dt_s:.4g}."
                )
            return forecaster, about
    known = ", ".join(f"{r['n_neurons']} neurons of {r['eid'] or r['path']}" for r in saved.about["recordings"])
    n = recording.panel.x.shape[1]
    raise InputError(f"{recording.path}: its {n} neurons are not those the model was trained on ({known}).")


def neuron_key(recording: Recording) -> str:
    """Return a fingerprint of the neurons, in order: their uuids, or FOV and place in the file where uuids are missing."""
    text = "\n".join(f"{f} {u}" for f, u in zip(recording.fov, recording.uuid))
    return hashlib.sha256(text.encode()).hexdigest()
