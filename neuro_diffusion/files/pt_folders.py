"""How do networks travel to and from one-file-a-network folders, ``network_0.pt``, ``network_1.pt``, ...?

A ``.pt`` file is a dictionary: ``W`` (N, N), optionally ``activity`` or ``activities`` (K, T, N) and ``h0`` (K, N). Files are read
with ``weights_only=True``: nothing in them is executed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hdf5io
from hdf5io.errors import InputError

from .dataset import SCHEMA, Built, content_hash, list_networks, load_network, shard_name

ACTIVITY_NAMES = ("activity", "activities")
SETTINGS = ("dt", "tau", "noise_std", "h0_std", "observation_noise", "observed")  #: how the activity arose
METADATA = ("metadata.json", "config.json", "dataset_metadata.json")  #: where a folder says so


def list_pt(folder: Path) -> list[Path]:
    """Return ``network_*.pt`` in numeric order (network_9999 before network_10000).

    Raises
    ------
    InputError : no such folder or file in it.
    """
    found = [(int(m[1]), p) for p in Path(folder).glob("network_*.pt") if (m := re.fullmatch(r"network_(\d+)", p.stem))]
    if not found:
        raise InputError(f"{folder}: no network_*.pt here. Give the folder that holds network_0.pt, network_1.pt, ...")
    return [path for _, path in sorted(found)]


def read_pt(path: Path) -> dict[str, np.ndarray]:
    """Return ``W`` and, where present, ``activity`` and ``h0`` of one file as float32 arrays.

    Raises
    ------
    InputError : not a PyTorch file of plain tensors, no square W, shapes that disagree, numbers that are not finite.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for a damaged or unsafe file
        raise InputError(f"{path}: not a PyTorch file of plain tensors ({type(error).__name__}).") from None
    if not isinstance(content, dict) or not isinstance(content.get("W"), torch.Tensor):
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: expected a dictionary with a tensor 'W'; the file has {keys}.")
    names = {"W": "W", "h0": "h0", **dict.fromkeys(ACTIVITY_NAMES, "activity")}
    found = {names[k]: v.float().numpy() for k, v in content.items() if k in names and isinstance(v, torch.Tensor)}
    W = found["W"]
    if W.ndim != 2 or W.shape[0] != W.shape[1]:
        raise InputError(f"{path}: W has shape {W.shape}, expected (N, N).")
    for name, array in found.items():
        if array.shape[-1] != len(W) or not np.isfinite(array).all() or (name == "activity" and array.ndim != 3):
            raise InputError(f"{path}: {name} {array.shape} is not finite, or does not fit W {W.shape}.")
    return found


def import_pt(folder: Path, out_dir: Path, shard_size: int = 1024) -> Built:
    """Write the networks of a folder of ``.pt`` files as a data set; all must have one shape and the same contents.

    Raises
    ------
    InputError : see `list_pt` and `read_pt`; files that differ in shape or contents.
    """
    paths = list_pt(folder)
    first = {name: array.shape for name, array in read_pt(paths[0]).items()}
    digest = hashlib.sha256("".join(hdf5io.sha256(p) for p in paths).encode()).hexdigest()
    shards = range(-(-len(paths) // shard_size))
    for shard in shards:
        part = paths[shard * shard_size : (shard + 1) * shard_size]
        arrays = [_same(path, first) for path in part]
        index = np.arange(shard * shard_size, shard * shard_size + len(part))
        D = hdf5io.Dataset
        found = {"index": D(index, "", "place in the imported folder", ("network",))}
        g = np.array([[scalars_of(path).get("g", np.nan)] for path in part])
        found["theta"] = D(g, "", "bulk radius g, NaN: not told", ("network", "parameter"))
        for name in first:
            found[name] = D(np.stack([a[name] for a in arrays]), "", f"{name} of the imported file")
        attrs = {"digest": digest, "first": int(index[0])}
        hdf5io.write(out_dir / shard_name(shard), SCHEMA, found, attrs=attrs, overwrite=True)  # an unfinished run's
    content = content_hash(out_dir, len(shards))
    known = settings_of(folder, paths[0], first)
    config = {
        **known,
        "n_networks": len(paths),
        "shard_size": shard_size,
        "n_neurons": int(first["W"][0]),
        "store": "all",
    }
    data = {
        "schema": SCHEMA,
        "command": "import-pt",
        "digest": digest,
        "complete": True,
        "content": content,
        "config": config,
    }
    hdf5io.write_json(out_dir / "metadata.json", data)
    return Built(out_dir, len(paths), len(shards), len(shards), content)


def scalars_of(path: Path) -> dict[str, float]:
    """Return the numbers that stand beside the tensors of a file: g, dt, tau, ..."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    nested = [
        content,
        *(v for k, v in content.items() if k in ("metadata", "config", "params") and isinstance(v, dict)),
    ]
    found = {}
    for part in nested:
        for name, value in part.items():
            number = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
            if isinstance(number, (int, float)) and not isinstance(number, bool) and np.isfinite(number):
                found[str(name)] = float(number)
    return found


def settings_of(folder: Path, first: Path, shapes: dict[str, tuple]) -> dict[str, Any]:
    """Return how the activity of a folder arose, by its metadata file or its first network; what is not told is left out.

    Raises
    ------
    InputError : a metadata file that is no JSON object.
    """
    told: dict[str, Any] = {}
    for name in METADATA:
        if (Path(folder) / name).is_file():
            content = hdf5io.read_json(Path(folder) / name)
            inner = content.get("config")
            told = {**content, **(inner if isinstance(inner, dict) else {})}
            break
    told = {**told, **scalars_of(first)}
    found = {name: float(told[name]) for name in SETTINGS if isinstance(told.get(name), (int, float))}
    for name, words in (("n_time", ("n_time", "T")), ("n_trials", ("n_trials", "num_trials"))):
        values = [int(told[word]) for word in words if isinstance(told.get(word), (int, float))]
        found |= {name: values[0]} if values else {}
    if "activity" in shapes:
        found["n_trials"], found["n_time"] = shapes["activity"][0], shapes["activity"][1]
    return found


def _same(path: Path, shapes: dict[str, tuple]) -> dict[str, np.ndarray]:
    arrays = read_pt(path)
    found = {name: array.shape for name, array in arrays.items()}
    if found != shapes:
        raise InputError(f"{path}: holds {found}, the first file {shapes}. All files must agree.")
    return arrays


def export_pt(dataset: Path, out_dir: Path, limit: int | None = None) -> list[Path]:
    """Write ``network_<i>.pt`` files of a data set; rates of neurons that were not observed are NaN."""
    numbers = list_networks(dataset)[:limit]
    return list(_export(dataset, out_dir, numbers))


def _export(dataset: Path, out_dir: Path, numbers: list[int]) -> Iterator[Path]:
    for number in numbers:
        network = load_network(dataset, number)
        found = {"W": network.W, "activity": network.activity, "h0": network.h0}
        with (
            hdf5io.atomic(out_dir / f"network_{number}.pt") as part,
            open(part, "wb") as handle,
        ):  # torch writes a path's name into it
            torch.save({name: value[0].clone() for name, value in found.items() if value is not None}, handle)
        yield out_dir / f"network_{number}.pt"
