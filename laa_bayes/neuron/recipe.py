"""Which simulations are meant, and what do they hold? A recipe decides every trace; a bank is the traces in memory.

A shard of a bank is a pure function of (recipe, shard index): the same on disk, in memory and for any number of workers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..config import Prior
from .simulator import draw


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
        return self._asdict() | {"priors": priors, "current": [float(x) for x in self.current]}

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


def make_shard(recipe: Recipe, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return z and noise-free voltages of one shard, from (seed, index) alone.

    A shard is always simulated in full and then cut, so that a bank may grow without changing what it has.
    """
    rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, index]))
    z, v = draw(recipe.priors, recipe.current, recipe.dt_ms, recipe.shard_size, rng, recipe.method)
    return z[:count], v[:count]


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
