"""What does a model folder say about its model: the meaning of its classes, operating point, calibration, probe set, training units?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..model.calibration import Sigmoid
from ..units.assemble import id_text
from ..units.labels import MEANING, tidy


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().partition("\n")[0][:160]


def read_info(folder: Path) -> dict[str, Any]:
    """Return model_info.json, what this program uses of it checked.

    Raises
    ------
    InputError : the file is absent or not what it should be.
    """
    path = folder / "model_info.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: no 'model_info.json' beside the model; without it the meaning of its classes is unknown."
            " Copy it from where the model was made, train again, or say with --class-names what they are."
        )
    info = hdf5io.read_json(path)
    try:
        conversion = {int(code): str(name) for code, name in names_of_codes(info["label_conversion"]).items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: expected JSON with 'label_conversion' (class number to name): {first_line(error)}."
        ) from None
    for key in ("scores", "requirements", "metric_params", "thresholds", "calibration"):
        if not isinstance(info.get(key) or {}, dict):
            raise InputError(f"{path}: '{key}' is {type(info[key]).__name__}, an object is expected.")
        info[key] = info.get(key) or {}
    return {**info, "label_conversion": conversion}


def names_of_codes(conversion: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return ``{code: name}`` also of a conversion written the other way round, ``{name: code}``.

    >>> names_of_codes({"good": 1, "noise": 0}), names_of_codes({"0": 0, "1": 1})
    ({1: 'good', 0: 'noise'}, {'0': 0, '1': 1})
    """
    texts = [id_text(v) for v in conversion.values()]
    turned = all(v.isdigit() for v in texts) and len(set(texts)) == len(texts)
    turned = turned and not any(id_text(k).isdigit() for k in conversion)
    return {int(v): k for k, v in zip(conversion, texts)} if turned else conversion


def class_names(pipeline: Any, info: Mapping[str, Any], given: Sequence[str], where: Path) -> tuple[str, ...]:
    """Return the names of a model's classes in the order of its probabilities.

    Parameters
    ----------
    given : ``NUMBER=NAME`` of the user, over what the folder says.

    Raises
    ------
    InputError : a class without a name, or two with the same; ``given`` names no class of the model.
    """
    codes = [id_text(int(c) if isinstance(c, bool) else c) for c in np.asarray(pipeline.classes_).tolist()]
    names = {id_text(code): str(name) for code, name in info["label_conversion"].items()}
    if not all(code.lstrip("-").isdigit() for code in codes):
        names = {code: code for code in codes}  # the model's classes are words themselves
    said = set[str]()
    for pair in given:
        code, equals, name = pair.partition("=")
        if code.strip() in said:
            raise InputError(f"--class-names '{pair}': class {code.strip()} is named twice.")
        said.add(code.strip())
        if not equals or code.strip() not in codes or not name.strip():
            raise InputError(
                f"--class-names '{pair}': expected CLASS=NAME with one of the model's classes {', '.join(codes)}."
            )
        names[code.strip()] = MEANING.get(tidy(name), name.strip()) or name.strip()
    absent = [code for code in codes if code not in names]
    if absent:
        raise InputError(
            f"{where}: model_info.json names classes {', '.join(sorted(names)) or 'none'}, the model has {', '.join(codes)}."
        )
    found = tuple(names[code] for code in codes)
    if len(set(found)) < len(found):
        raise InputError(f"{where}: two classes have the same name ({', '.join(found)}).")
    return found


def read_threshold(info: Mapping[str, Any], n_classes: int, where: Path) -> float:
    """Return the operating point on the probability of class 1."""
    value = info["thresholds"].get("class_1", 0.5)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise InputError(f"{where}: model_info.json: threshold {value!r}, a number between 0 and 1 is expected.")
    return float(value) if n_classes == 2 else 0.5


def read_sigmoid(info: Mapping[str, Any], k: int, where: Path) -> Sigmoid | None:
    """Return the calibration of a model of ``k`` classes, None where the folder has none."""
    if not info["calibration"]:
        return None
    shapes = {"slope": (k - 1, k - 1), "intercept": (k - 1,), "prior": (k,)}
    try:
        found = Sigmoid(*(np.asarray(info["calibration"][key], dtype=float) for key in Sigmoid._fields))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: model_info.json: calibration is incomplete ({first_line(error)}).") from None
    for key, value in found._asdict().items():
        if value.shape != shapes[key] or not np.isfinite(value).all():
            raise InputError(f"{where}: model_info.json: calibration '{key}' does not fit {k} classes.")
    return found


def info_digest(folder: Path) -> str:
    """Return the SHA-256 of what model_info.json says, however it is laid out."""
    text = json.dumps(hdf5io.read_json(folder / "model_info.json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_probe(folder: Path) -> dict[str, Any]:
    """Return the probe set of a model folder; empty where there is none; InputError where its classes are no list."""
    path = folder / "probe_set.json"
    probe = hdf5io.read_json(path) if path.is_file() else {}
    if not isinstance(probe.get("classes", []), list):
        raise InputError(f"{path}: not a probe set of this model (its classes are no list). Restore the file.")
    return probe


def read_reference(folder: Path) -> dict[str, Any]:
    """Return what the training recordings looked like (see ``score.applies``); empty where the folder does not say.

    Raises
    ------
    InputError : not such a file.
    """
    path = folder / "training_reference.json"
    if not path.is_file():
        return {}
    found = hdf5io.read_json(path)
    wanted = {
        "scale": float,
        "quartiles": list,
        "nonzero": list,
        "tails": list,
        "spread": float,
        "missing": float,
        "dominant": float,
    }
    metrics, correlation = found.get("metrics"), found.get("correlation")
    good = (
        isinstance(metrics, dict)
        and isinstance(correlation, dict)
        and all(isinstance(v, dict) for v in correlation.values())
    )
    if not good or any(
        not isinstance(own, dict) or any(not isinstance(own.get(k), (t, int)) for k, t in wanted.items())
        for own in metrics.values()
    ):
        raise InputError(f"{path}: not what training wrote there. Copy it from where the model was made, or remove it.")
    return found
