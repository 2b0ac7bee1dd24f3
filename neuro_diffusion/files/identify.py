"""What is this file or folder? Every input that the pipeline reads and every output that it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py

import hdf5io
from hdf5io.errors import InputError

from . import (
    connectomes,
    posterior_file,
    recordings,
)  # data sets, models and .pt files bring torch: imported where they are read


def describe(
    path: Path, array: str | None = None, rows: str | None = None, axes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return ``kind`` and the facts of a file or folder.

    Raises
    ------
    InputError : nothing that this pipeline reads or writes; each reader's reason is told.
    """
    if path.is_dir():
        found = _folder(path)
        refuse_reading(path, str(found["kind"]), array, rows, axes)
        return found
    schema = _schema(path)
    if schema in SCHEMAS and array is None:
        if schema != recordings.SCHEMA:
            found = SCHEMAS[schema](path)
            refuse_reading(path, str(found["kind"]), array, rows, axes)
            return found
        return _recording(path, None, rows, axes)
    reasons, read_as = list[str](), dict[str, Any]()
    for read in (lambda: _recording(path, array, rows, axes), lambda: _connectome(path, array)):
        try:
            read_as = read()
            break
        except InputError as error:
            reasons.append(str(error).removeprefix(f"{path}: "))
    if read_as:
        if read_as["kind"] == "connectome":
            refuse_reading(path, "connectome", None, rows, axes)
        return read_as
    raise InputError(
        f"{path}: neither activity ({reasons[0].rstrip('.')}) nor a connectome ({reasons[1].rstrip('.')})."
    )


def refuse_reading(path: Path, kind: str, array: str | None, rows: str | None, axes: Sequence[str] | None) -> None:
    """Raise InputError where it is said how to read what is read in one way only."""
    for name, value in (("dataset", array), ("rows", rows), ("axes", axes)):
        if value is not None:
            raise InputError(f"--{name}: without effect, {path} is a {kind}, no recording. Leave it out.")


def _schema(path: Path) -> str:
    try:
        if not h5py.is_hdf5(path):
            return ""
    except OSError:
        return ""
    with hdf5io.read(path) as file:
        return str(file.attrs.get("schema", ""))


def _folder(path: Path) -> dict[str, Any]:
    if (path / "metadata.json").is_file():
        return _data_set(path)
    if (path / "model.json").is_file():
        return _model(path)
    if (path / "resume.safetensors").is_file():
        from . import model_folder

        return {"kind": "unfinished training", "step": model_folder.step_of(path)}
    if any(path.glob("network_*.pt")):
        from . import pt_folders

        paths = pt_folders.list_pt(path)
        shapes = {name: list(a.shape) for name, a in pt_folders.read_pt(paths[0]).items()}
        return {"kind": "folder of .pt networks", "n_networks": len(paths), "shapes": shapes}
    if (path / "benchmark.csv").is_file():
        return {"kind": "benchmark", "files": sorted(p.name for p in path.iterdir() if not p.name.startswith("."))}
    raise InputError(
        f"{path}: no data set (metadata.json), model (model.json), benchmark (benchmark.csv) or network_*.pt files in it."
    )


def _data_set(path: Path) -> dict[str, Any]:
    from . import dataset

    found = dataset.load_metadata(path)
    options = found["config"]
    shards = -(-options["n_networks"] // options["shard_size"])
    present = sum((path / dataset.shard_name(s)).is_file() for s in range(shards))
    return {
        "kind": "data set", "made_by": found.get("command"), "complete": bool(found.get("complete")) and present == shards,
        "n_shards": shards, "n_shards_present": present, **options,
    }  # fmt: skip


def _model(path: Path) -> dict[str, Any]:
    from . import model_folder

    model = model_folder.load_model(path)
    parameters = sum(p.numel() for p in model.parameters())
    return {"kind": f"{model.spec.objective} model", "n_parameters": parameters, **model.spec._asdict()}


def _posterior(path: Path) -> dict[str, Any]:
    found = posterior_file.load(path)
    S, N, _ = found.samples.shape
    return {"kind": "posterior", "n_samples": S, "n_neurons": N, "estimates": list(found.estimates), **found.attrs}


def _samples(path: Path) -> dict[str, Any]:
    S, N, _ = posterior_file.load_samples(path).shape
    return {"kind": "samples of a prior", "n_samples": S, "n_neurons": N}


def _recording(
    path: Path, array: str | None = None, rows: str | None = None, axes: Sequence[str] | None = None
) -> dict[str, Any]:
    found = recordings.load_activity(path, array, rows, axes)
    K, T, N = found.y.shape
    seen = found.y[:, :, found.observed]
    return {
        "kind": "activity", "n_trials": K, "n_time": T, "n_neurons": N, "n_observed": int(found.observed.sum()),
        "smallest": float(seen.min()), "largest": float(seen.max()), "names": list(found.names),
    }  # fmt: skip


def _connectome(path: Path, array: str | None = None) -> dict[str, Any]:
    matrix, names = connectomes.load_connectome(path, array)
    signs = "both" if (matrix < 0).any() and (matrix > 0).any() else "one"
    density = float((matrix != 0).mean())
    return {"kind": "connectome", "n_neurons": len(matrix), "density": density, "signs": signs, "names": list(names)}


def _shard(path: Path) -> dict[str, Any]:
    from . import dataset

    with hdf5io.read(path, dataset.SCHEMA, ["index"]) as file:
        return {"kind": "shard of a data set", "n_networks": int(file["index"].size), "arrays": sorted(file)}


SCHEMAS: dict[str, Callable[[Path], dict[str, Any]]] = {
    posterior_file.SCHEMA: _posterior,
    posterior_file.SAMPLES_SCHEMA: _samples,
    recordings.SCHEMA: _recording,
    "neuro_diffusion/networks/1": _shard,
}
