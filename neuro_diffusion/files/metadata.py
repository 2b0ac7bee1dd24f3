"""What is said of a data set before its numbers are read? The options that made it, its size and its shards; no torch is needed for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import hdf5io
from hdf5io.errors import InputError

from ..config import STORED, BuildDatasetConfig, Config, ImportConnectomeConfig, Settings

SCHEMA = "neuro_diffusion/networks/1"
Source = BuildDatasetConfig | ImportConnectomeConfig
C = TypeVar("C", bound=Config)
KINDS: dict[str, type[Source]] = {"build-dataset": BuildDatasetConfig, "import-connectome": ImportConnectomeConfig}
OLD_NAMES = {"num_networks": "n_networks", "num_trials": "n_trials", "N": "n_neurons", "T": "n_time"}  #: of options


def shard_name(shard: int) -> str:
    """Return the file name of shard number ``shard``."""
    return f"shard_{shard:05d}.h5"


def load_metadata(folder: str | Path) -> dict[str, Any]:
    """Return the contents of ``metadata.json``: schema, command, digest, complete, content, config.

    Raises
    ------
    InputError : no data set, or not one of ours.
    """
    path = Path(folder) / "metadata.json"
    if not path.is_file():
        raise InputError(f"{folder}: no data set here (no metadata.json). Make one with build-dataset.")
    found = hdf5io.read_json(path)
    config = found.get("config")
    if found.get("schema") != SCHEMA or not isinstance(config, dict):
        raise InputError(
            f"{path}: not the metadata of a data set (schema {found.get('schema')!r}, expected {SCHEMA!r})."
        )
    found["config"] = {OLD_NAMES.get(name, name): value for name, value in config.items()}
    if not all(
        isinstance(found["config"].get(n), int) and found["config"][n] > 0 for n in ("n_networks", "shard_size")
    ):
        raise InputError(
            f"{path}: damaged, n_networks and shard_size are no positive numbers. Build the data set anew."
        )
    return found


def load_config(folder: str | Path) -> Source | None:
    """Return the options that made a data set; None for one imported from .pt files."""
    found = load_metadata(folder)
    kind = KINDS.get(str(found.get("command")))
    return None if kind is None else _fitted(folder, kind, {**found["config"], "output": Path(folder)})


def load_settings(folder: str | Path) -> Settings | None:
    """Return how the activity of a data set arose; None where an imported one does not say it all."""
    options = load_metadata(folder)["config"]
    names = set(Settings.model_fields) & set(options)
    if not {"n_trials", "n_time", "dt", "tau"} <= names:
        return None
    return _fitted(folder, Settings, {name: options[name] for name in names})


def _fitted(folder: str | Path, kind: type[C], options: dict[str, Any]) -> C:
    try:
        return kind.model_validate(options, context=STORED)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{folder}/metadata.json: options that do not fit ({reason}). Build the data set anew."
        ) from None


def list_networks(folder: str | Path) -> list[int]:
    """Return the numbers of the networks in numeric order."""
    return list(range(load_metadata(folder)["config"]["n_networks"]))


def shards_of(folder: str | Path) -> list[Path]:
    """Return the shard files in numeric order.

    Raises
    ------
    InputError : an empty or unfinished data set.
    """
    found = load_metadata(folder)
    count = -(-found["config"]["n_networks"] // found["config"]["shard_size"])
    paths = [Path(folder) / shard_name(s) for s in range(count)]
    missing = [p.name for p in paths if not p.is_file()]
    if missing or not paths:
        raise InputError(
            f"{folder}: unfinished, {len(missing)} of {count} shards missing. Run the same command again to go on."
        )
    return paths
