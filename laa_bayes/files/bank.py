"""How are many simulations stored and found again? A bank: a folder of shards, each an HDF5 file of parameters and voltages.

A shard is a pure function of (options, seed, shard index), written to a temporary name and renamed. A rerun skips the finished ones;
the result is the same for any number of workers. Voltages are noise-free: noise is drawn afresh whenever they are used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .. import workers
from ..config import PARAMETERS, UNITS
from ..neuron.priors import inferred, theta_from_z
from ..neuron.recipe import Bank, Recipe, make_shard

SCHEMA = "laa_bayes/bank_shard/1"
log = logging.getLogger("laa_bayes")


def shard_path(folder: Path, index: int) -> Path:
    """Return the file of one shard."""
    return folder / f"shard-{index:05d}.h5"


def write_shard(recipe: Recipe, folder: Path, index: int, count: int, provenance: Mapping | None = None) -> int:
    """Simulate and write one shard (a pure, repeatable task); return its number of traces."""
    z, v = make_shard(recipe, index, count)
    theta = theta_from_z(recipe.priors, z.astype(float))
    units = UNITS[recipe.units]
    datasets = {
        "z": hdf5io.Dataset(
            z, "1", "standard-normal coordinates: " + ", ".join(inferred(recipe.priors)), ("trace", "parameter")
        ),
        "v_mv": hdf5io.Dataset(v, "mV", "noise-free voltage", ("trace", "time")),
    }
    for i, name in enumerate(PARAMETERS):
        datasets[f"theta/{name}"] = hdf5io.Dataset(
            theta[:, i], units[name], f"{name} (k as a width)" if name == "k" else name, ("trace",)
        )
    attrs = {"recipe": recipe.digest(), "index": index, "count": count}
    hdf5io.write(shard_path(folder, index), SCHEMA, datasets, attrs=attrs, provenance=provenance, overwrite=True)
    return count


def is_finished(recipe: Recipe, folder: Path, index: int, count: int) -> bool:
    """Return whether the shard is there and was made by this recipe."""
    path = shard_path(folder, index)
    if not path.exists():
        return False
    try:
        with hdf5io.read(path, SCHEMA) as file:
            return file.attrs["recipe"] == recipe.digest() and int(file.attrs["count"]) == count
    except (InputError, OSError, KeyError):
        return False


def build(
    recipe: Recipe, folder: Path, jobs: int = 1, provenance: Mapping | None = None, scheduler: str | None = None
) -> dict[str, float]:
    """Make every shard that is missing; return counts ``done``, ``skipped`` and the seconds used.

    Raises
    ------
    InputError
        When the folder holds a bank of another recipe.
    """
    check_folder(recipe, folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = {"schema": "laa_bayes/bank/1", "recipe": recipe.as_json(), "digest": recipe.digest()}
    hdf5io.write_json(folder / "bank.json", table)
    began = time.monotonic()
    missing = [(i, count) for i, count in recipe.shards() if not is_finished(recipe, folder, i, count)]
    tasks = [(recipe, folder.resolve(), i, count, provenance) for i, count in missing]
    for _ in workers.run(write_shard, tasks, jobs=jobs, scheduler=scheduler, what="shards"):
        pass
    return {"done": len(missing), "skipped": len(recipe.shards()) - len(missing), "seconds": time.monotonic() - began}


def check_folder(recipe: Recipe, folder: Path) -> None:
    """Raise InputError when ``folder`` holds a bank of another recipe."""
    if (folder / "bank.json").exists() and read_recipe(folder).digest() != recipe.digest():
        raise InputError(f"{folder}: holds a bank made with other options. Use --overwrite or another --output.")


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of a bank."""
    path = folder / "bank.json"
    if not path.exists():
        raise InputError(f"{folder}: no bank of simulations (no bank.json). Make one with 'laa-bayes simulate'.")
    try:
        return Recipe.from_json(hdf5io.read_json(path)["recipe"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: no recipe of a bank ({error}). Run 'laa-bayes simulate' again.") from None


def load(folder: Path, n: int | None = None) -> Bank:
    """Return a bank (or its first ``n`` traces) in memory.

    Raises
    ------
    InputError
        When shards are missing.
    """
    recipe = read_recipe(folder)
    parts, total = [], 0
    for index, count in recipe.shards():
        if n is not None and total >= n:
            break
        if not is_finished(recipe, folder, index, count):
            raise InputError(
                f"{shard_path(folder, index)}: missing or unfinished. Run the same 'laa-bayes simulate' again."
            )
        with hdf5io.read(shard_path(folder, index), SCHEMA) as file:
            parts.append((file["z"][()], file["v_mv"][()]))
        total += count
    z, v = (np.concatenate(x)[:n] for x in zip(*parts, strict=True))
    return Bank(z, v, recipe)
