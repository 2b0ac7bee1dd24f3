"""How are many simulations made, stored and found again? A bank: a folder of shards, each an HDF5 file of parameters and voltages.

A shard is a pure function of (options, seed, shard index), written to a temporary name and renamed. A rerun skips the finished ones;
the result is the same for any number of workers. Voltages are noise-free: noise is drawn afresh whenever they are used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np

import hdf5io

from .config import PARAMETERS, UNITS, Prior
from .priors import inferred, theta_from_z
from .simulate import draw

SCHEMA = "laa_bayes/bank_shard/1"
log = logging.getLogger("laa_bayes")


class Recipe(NamedTuple):
    """Everything that decides the content of a bank."""

    priors: Mapping[str, Prior]
    current: np.ndarray  #: (n_time,)
    dt_ms: float
    units: str
    seed: int
    n: int
    shard_size: int
    noise_mv: float
    k_convention: str
    method: str = "rk4"

    def as_json(self) -> dict:
        """Return the recipe as plain JSON values."""
        priors = {name: prior.model_dump() for name, prior in self.priors.items()}
        return self._replace(priors=priors, current=[float(x) for x in self.current])._asdict()

    @classmethod
    def from_json(cls, table: Mapping) -> Recipe:
        """Return the recipe that ``as_json`` described."""
        priors = {name: Prior(**prior) for name, prior in table["priors"].items()}
        return cls(**{**table, "priors": priors, "current": np.array(table["current"], float)})

    def digest(self) -> str:
        """Return the hash of the recipe; ``n`` is left out, so that a bank can grow."""
        content = {key: value for key, value in self.as_json().items() if key not in ("n", "noise_mv")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def shards(self) -> list[tuple[int, int]]:
        """Return (index, number of traces) of every shard."""
        counts = [self.shard_size] * (self.n // self.shard_size) + [self.n % self.shard_size]
        return [(i, count) for i, count in enumerate(counts) if count]


class Bank(NamedTuple):
    """Simulations in memory."""

    z: np.ndarray  #: (n, n_inferred) float32
    v_mv: np.ndarray  #: (n, n_time) float32, noise-free
    recipe: Recipe


def shard_path(folder: Path, index: int) -> Path:
    """Return the file of one shard."""
    return folder / f"shard-{index:05d}.h5"


def make_shard(recipe: Recipe, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return z and noise-free voltages of one shard, from (seed, index) alone.

    A shard is always simulated in full and then cut, so that a bank may grow without changing what it has.
    """
    rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, index]))
    z, v = draw(recipe.priors, recipe.current, recipe.dt_ms, recipe.shard_size, rng, recipe.method)
    return z[:count], v[:count]


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
    except (hdf5io.InputError, OSError, KeyError):
        return False


def build(recipe: Recipe, folder: Path, jobs: int = 1, provenance: Mapping | None = None) -> dict[str, float]:
    """Make every shard that is missing; return counts ``done``, ``skipped`` and the seconds used.

    Raises
    ------
    InputError
        When the folder holds a bank of another recipe.
    """
    check_folder(recipe, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with hdf5io.atomic(folder / "bank.json") as part:
        part.write_text(
            json.dumps({"schema": "laa_bayes/bank/1", "recipe": recipe.as_json(), "digest": recipe.digest()})
        )
    began = time.monotonic()
    missing = [(i, count) for i, count in recipe.shards() if not is_finished(recipe, folder, i, count)]
    tasks = ((recipe, folder, i, count, provenance) for i, count in missing)
    for done, _ in enumerate(run_tasks(write_shard, tasks, jobs), 1):
        log.info("shard %d of %d written", done, len(missing))
    return {"done": len(missing), "skipped": len(recipe.shards()) - len(missing), "seconds": time.monotonic() - began}


def run_tasks(function, tasks, jobs: int) -> Iterator:
    """Yield the results of ``function(*task)``, here or in worker processes, in the order they finish."""
    if jobs == 1:
        for task in tasks:
            yield function(*task)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(function, *task) for task in tasks]):
            yield future.result()


def check_folder(recipe: Recipe, folder: Path) -> None:
    """Raise InputError when ``folder`` holds something other than a bank of this recipe."""
    if not folder.exists() or not [path for path in folder.iterdir() if path.name != ".lock"]:
        return
    if not (folder / "bank.json").exists():
        raise hdf5io.InputError(
            f"{folder}: not empty and no bank of simulations (no bank.json). Choose another --output."
        )
    if read_recipe(folder).digest() != recipe.digest():
        raise hdf5io.InputError(f"{folder}: holds a bank made with other options. Use --overwrite or another --output.")


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of a bank."""
    try:
        table = json.loads((folder / "bank.json").read_text(encoding="utf-8"))
        return Recipe.from_json(table["recipe"])
    except FileNotFoundError:
        raise hdf5io.InputError(
            f"{folder}: no bank of simulations (no bank.json). Make one with 'laa-bayes simulate'."
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise hdf5io.InputError(f"{folder}/bank.json: not readable: {error}. Run 'laa-bayes simulate' again.") from None


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
            raise hdf5io.InputError(
                f"{shard_path(folder, index)}: missing or unfinished. Run the same 'laa-bayes simulate' again."
            )
        with hdf5io.read(shard_path(folder, index), SCHEMA) as file:
            parts.append((file["z"][()], file["v_mv"][()]))
        total += count
    z, v = (np.concatenate(x)[:n] for x in zip(*parts, strict=True))
    return Bank(z, v, recipe)


def in_memory(recipe: Recipe) -> Bank:
    """Return the same simulations as ``build`` + ``load``, without files."""
    z, v = (
        np.concatenate(x) for x in zip(*(make_shard(recipe, i, count) for i, count in recipe.shards()), strict=True)
    )
    return Bank(z, v, recipe)


def data_digest(bank: Bank) -> str:
    """Return the sha256 of a bank's arrays."""
    digest = hashlib.sha256(np.ascontiguousarray(bank.z).tobytes())
    digest.update(np.ascontiguousarray(bank.v_mv).tobytes())
    return digest.hexdigest()
