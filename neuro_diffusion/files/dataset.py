"""Where do a million networks live? A folder of HDF5 shards that any number of workers fills and a kill cannot spoil.

``metadata.json`` holds the options and their digest; ``shard_00000.h5``, ... hold 1024 networks each, written under a temporary
name and renamed. A finished shard of the same digest is skipped, so a killed build goes on. Weights are stored by default and
activity is simulated again when asked for: simulating a network is quicker than writing its activity.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import hdf5io
from hdf5io import runs
from hdf5io.errors import InputError

from .. import workers
from ..config import ImportConnectomeConfig
from ..console import log
from .connectomes import load_connectome
from .draw import Networks, check, draw_networks, split_of
from .metadata import KINDS as KINDS
from .metadata import SCHEMA, Source, shard_name, shards_of
from .metadata import list_networks as list_networks
from .metadata import load_config as load_config
from .metadata import load_metadata as load_metadata
from .metadata import load_settings as load_settings

SPLITS = ("train", "validation", "test")
NO_RESULT = {"output", "overwrite", "dry_run", "jobs", "scheduler"}  # options that do not change the networks


class Built(NamedTuple):
    """What a build did."""

    folder: Path
    n_networks: int
    n_shards: int
    n_written: int  #: shards written now; the others were there already
    content: str  #: SHA-256 over all stored numbers in the order of the networks, whatever the shard size


def digest_of(config: Source) -> str:
    """Return the digest of every option that changes what a shard holds."""
    options = {k: v for k, v in config.model_dump(mode="json").items() if k not in NO_RESULT}
    if isinstance(config, ImportConnectomeConfig):
        options["connectome"] = hdf5io.sha256(config.connectome)
    return hashlib.sha256(json.dumps([type(config).__name__, options], sort_keys=True).encode()).hexdigest()


def build_dataset(config: Source, provenance: dict[str, str] | None = None) -> Built:
    """Write the data set that ``config`` describes into ``config.output``, or finish one that was begun.

    Raises
    ------
    InputError : options that cannot be simulated, a folder with a data set of other options or a finished one.
    """
    check_options(config)
    folder, digest = workers.shared_folder(config.output, config.scheduler), digest_of(config)
    config = config.model_copy(update={"output": folder})
    _refuse_other(folder, digest)
    folder.mkdir(parents=True, exist_ok=True)
    _write_metadata(folder, config, digest, complete=False, provenance=provenance)
    shards = range(-(-config.n_networks // config.shard_size))
    todo = [s for s in shards if not _is_finished(folder / shard_name(s), digest)]
    for _ in workers.run(
        make_shard, [(config, digest, s) for s in todo], jobs=config.jobs, scheduler=config.scheduler, what="shards"
    ):
        pass
    content = content_hash(folder, len(shards))
    _write_metadata(folder, config, digest, complete=True, provenance=provenance, content=content)
    return Built(folder, config.n_networks, len(shards), len(todo), content)


def check_options(config: Source) -> None:
    """Raise InputError where the options cannot be simulated."""
    try:
        check(config)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from None


def make_shard(config: Source, digest: str, shard: int) -> int:
    """Write one shard and return its number: a pure, idempotent task for any worker."""
    torch.set_num_threads(1)
    first = shard * config.shard_size
    count = min(config.shard_size, config.n_networks - first)
    networks = draw_networks(config, first, count, with_activity=config.store == "all")
    attrs = {"digest": digest, "first": first, "count": count}
    hdf5io.write(config.output / shard_name(shard), SCHEMA, _datasets(networks, config), attrs=attrs, overwrite=True)
    return shard


def _datasets(networks: Networks, config: Source) -> dict[str, hdf5io.Dataset]:
    D = hdf5io.Dataset
    found = {
        "index": D(networks.number, "", "number of the network in the data set", ("network",)),
        "seed": D(
            np.full(len(networks.number), config.seed), "", "key of its Philox stream, with the index", ("network",)
        ),
        "theta": D(networks.g[:, None], "", "bulk radius g that was drawn", ("network", "parameter")),
    }
    if networks.neuron is not None:
        found["neuron"] = D(networks.neuron, "", "place of each neuron in the connectome", ("network", "neuron"))
    if config.store != "seeds":
        found["W"] = D(networks.W.numpy(), "", "weights, row = postsynaptic", ("network", "post", "pre"))
    if networks.activity is not None and networks.h0 is not None:
        found["activity"] = D(
            networks.activity.numpy(),
            "rate",
            "recorded rates, NaN: not observed",
            ("network", "trial", "time", "neuron"),
        )
        found["h0"] = D(networks.h0.numpy(), "", "true initial states", ("network", "trial", "neuron"))
        found["observed"] = D(networks.observed, "", "neuron was recorded", ("network", "neuron"))
    return found


def _refuse_other(folder: Path, digest: str) -> None:
    """Raise InputError where a folder holds something else than a data set of the same options, finished or begun."""
    if (folder / "metadata.json").is_file():
        if load_metadata(folder)["digest"] != digest:
            raise InputError(f"{folder} exists already with a data set of other options. Give another --output.")
    elif folder.exists() and any(not (p.name.startswith(".") or p.name == runs.UNFINISHED) for p in folder.iterdir()):
        raise InputError(f"{folder} exists already and is no data set (no metadata.json). Give another --output.")


def _is_finished(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    try:
        with hdf5io.read(path, SCHEMA) as file:
            return file.attrs["digest"] == digest
    except (InputError, KeyError):
        log.warning("%s is damaged; it is made again.", path)
        return False


def _write_metadata(folder: Path, config: Source, digest: str, complete: bool, provenance, content: str = "") -> None:
    command = next(name for name, kind in KINDS.items() if type(config) is kind)
    options = {k: v for k, v in config.model_dump(mode="json").items() if k not in NO_RESULT}
    names: list[str] = []
    if isinstance(config, ImportConnectomeConfig):
        options["connectome"] = str(config.connectome.resolve())
        names = list(load_connectome(config.connectome, config.dataset, config.rows).names)
    data = {"schema": SCHEMA, "command": command, "digest": digest, "complete": complete, "content": content}
    hdf5io.write_json(
        folder / "metadata.json", {**data, "config": options, "names": names, "provenance": provenance or {}}
    )


# --- reading -----------------------------------------------------------------------------------------------------------------


def load_weights(folder: str | Path, split: str | None = None, limit: int | None = None) -> Tensor:
    """Return the weights (B, N, N) of a split (train, validation, test; None: all), at most ``limit`` of them.

    Raises
    ------
    InputError : no data set, a shard cut short, an empty split.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(SPLITS)} or None, not {split!r}")
    found, have = [], 0
    for shard in shards_of(folder):
        with hdf5io.read(shard, SCHEMA, ["index"]) as file:
            index = file["index"][()]
            keep = np.ones(len(index), bool) if split is None else split_of(index) == SPLITS.index(split)
            W = file["W"][()] if "W" in file else _weights_again(folder, index)
        if not np.isfinite(W).all():
            raise InputError(f"{shard}: weights that are not finite numbers. Make the shard again.")
        found.append(W[keep])
        have += int(keep.sum())
        if limit is not None and have >= limit:
            break
    if have == 0:
        raise InputError(f"{folder}: no network in the {split or 'whole'} split. Build a data set with more networks.")
    return torch.from_numpy(np.concatenate(found)[:limit])


def _weights_again(folder: str | Path, index: np.ndarray) -> np.ndarray:
    config = load_config(folder)
    if config is None:
        raise InputError(f"{folder}: shards without /W in an imported data set. Import it again.")
    return draw_networks(config, int(index[0]), len(index), with_activity=False).W.numpy()


def load_network(folder: str | Path, index: int) -> Networks:
    """Return one network with its activity (leading axis 1), simulated again where the shard does not hold it.

    Raises
    ------
    InputError : no such network.
    """
    found = load_metadata(folder)
    count, size = found["config"]["n_networks"], found["config"]["shard_size"]
    if not 0 <= index < count:
        raise InputError(f"{folder}: no network {index}; the data set has 0 to {count - 1}.")
    config = load_config(folder)
    shard = Path(folder) / shard_name(index // size)
    with hdf5io.read(shard, SCHEMA) as file:
        if "activity" not in file and config is not None:
            return draw_networks(config, index, 1)
        row = slice(index % size, index % size + 1)
        tensors = {n: torch.from_numpy(file[n][row]) for n in ("W", "activity", "h0") if n in file}
        observed, neuron = (file[n][row] if n in file else None for n in ("observed", "neuron"))
        return Networks(file["index"][row], g=file["theta"][row][:, 0], observed=observed, neuron=neuron, **tensors)


def content_hash(folder: str | Path, n_shards: int) -> str:
    """Return the SHA-256 over every stored number, dataset by dataset, in the order of the networks."""
    sums: dict[str, Any] = {}
    for shard in range(n_shards):
        with hdf5io.read(Path(folder) / shard_name(shard), SCHEMA) as file:
            for name in sorted(k for k in file if k != "provenance"):
                sums.setdefault(name, hashlib.sha256()).update(np.ascontiguousarray(file[name][()]).tobytes())
    return hashlib.sha256("".join(f"{k}:{v.hexdigest()}" for k, v in sorted(sums.items())).encode()).hexdigest()
