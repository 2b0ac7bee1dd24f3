"""How is a model stored? Weights as safetensors, all else as JSON: nothing that is loaded here can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import hdf5io
from hdf5io.errors import InputError

from ..model.model import ModelSpec, WeightModel
from ..model.propagation import Family
from .model_header import MODEL_SCHEMA, damaged, header_of

STATE = "resume.safetensors"


def save_model(folder: Path, model: WeightModel, config: Mapping[str, Any]) -> None:
    """Write ``model.safetensors`` and ``model.json`` (architecture, units and the options of the training)."""
    folder.mkdir(parents=True, exist_ok=True)
    with hdf5io.atomic(folder / "model.safetensors") as part:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, part)
    about = {"schema": MODEL_SCHEMA, "spec": model.spec._asdict(), "training": dict(config)}
    hdf5io.write_json(folder / "model.json", about)


def load_model(folder: Path, objective: str | None = None, conditional: bool = False) -> WeightModel:
    """Return a saved model, ready to use.

    Parameters
    ----------
    objective : "diffusion" or "regression" if only that will do. conditional : it must have been trained with activity.

    Raises
    ------
    InputError : no model, a foreign or damaged checkpoint, or one of another kind.
    """
    spec = header_of(folder, objective, conditional)
    try:
        spec = dict(spec)
        if "noise" in spec:
            spec["noise"] = tuple(map(float, spec["noise"]))
        if spec.get("family") is not None:
            spec["family"] = Family(**spec["family"]) if isinstance(spec["family"], dict) else Family(*spec["family"])
        spec["gate"] = tuple((float(at), float(share)) for at, share in spec.get("gate", ()))
        model = WeightModel(ModelSpec(**spec))
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError, OSError) as error:
        raise damaged(folder, error) from None
    return model.eval()


def save_state(
    folder: Path, state: Mapping[str, Tensor], step: int, config: Mapping[str, Any], spec: ModelSpec
) -> None:
    """Write what an interrupted training needs to go on."""
    folder.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"step": step, "config": config, "spec": spec._asdict()}, sort_keys=True)
    with hdf5io.atomic(folder / STATE) as part:  # one text: safetensors writes several in an order that changes
        save_file(dict(state), part, metadata={"about": about})


def load_state(folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, Tensor] | None, int]:
    """Return the tensors and the step of an interrupted training; None and 0 where there is none.

    Raises
    ------
    InputError : a training with other options, or a damaged state.
    """
    path = Path(folder) / STATE
    if not path.is_file():
        return None, 0
    state, step, before = _read_state(path)
    free = {"resume", "overwrite", "dry_run", "output", "save_every", "data", "fine_tune"}
    other = sorted(k for k in config if k not in free and config[k] != before.get(k))
    if other:
        raise InputError(
            f"{folder}: the interrupted training had other options ({', '.join(other)}). Give the same ones."
        )
    return state, step


def step_of(folder: Path) -> int:
    """Return how many steps an interrupted training has made."""
    return _read_state(Path(folder) / STATE)[1]


def _read_state(path: Path) -> tuple[dict[str, Tensor], int, dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return state, int(about["step"]), dict(about["config"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path}: not the state of a training, or damaged ({error}).") from None
