"""Which options do several verbs share? How files are named, networks drawn, trials simulated, samples solved for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from .idle import idle_options

Sampler = Literal["dpmpp-2m", "heun", "ddim", "ancestral", "ddpm"]
Schedule = Literal["karras", "cosine", "linear"]
FigureFormat = Literal["png", "svg", "pdf"]
Rows = Literal["time", "neurons"]
Axis = Literal["trial", "time", "neuron"]
STORED = "stored"  #: context of options that are read from a data set, not typed
MOST_SEED, LARGEST_G = 2**32 - 1, 1000.0
EI_RATIO = 0.75  #: fraction of excitatory neurons where "dale" is asked for without a ratio
STRUCTURES = ("dense", "sparse", "lowrank", "block", "lognormal", "dale")


def about(*flags: str, **keys: Any) -> dict[str, Any]:
    """Return what the shell must know of a field: further spellings, and keys of ``console`` (positional, exists, same)."""
    return ({"flags": list(flags)} if flags else {}) | keys


FOLDER, FILE, GIVEN = about(exists="folder"), about(exists="file"), about(positional=True, exists="any")
GIVEN_FOLDER, GIVEN_FILE = about(positional=True, exists="folder"), about(positional=True, exists="file")


class Config(BaseModel):
    """What every config of this package promises: values do not change; unknown keys and options without effect are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _nothing_is_ignored(self, info: ValidationInfo) -> Self:
        found = "" if info.context == STORED else idle_options(self)
        if found:
            raise ValueError(found)
        return self


class Written(Config):
    """A verb that writes something and draws at random."""

    seed: int = Field(0, ge=0, le=MOST_SEED, description="seed of every random choice")
    overwrite: bool = Field(False, description="replace an earlier output")
    dry_run: bool = Field(False, description="read and check everything, say what would be done, do nothing")


class Solver(Config):
    """How the reverse process is solved."""

    sampler: Sampler = Field("dpmpp-2m", description="solver of the reverse process")
    steps: int = Field(18, ge=2, description="steps of the solver")
    schedule: Schedule = Field("karras", description="spacing of the noise levels")

    @property
    def solver(self) -> dict[str, Any]:
        """Return the options of the reverse process."""
        return {"sampler": self.sampler, "steps": self.steps, "schedule": self.schedule}


class Array(Config):
    """Which array of a file, and which way round."""

    dataset: str | None = Field(None, description="name of the array within a file that holds several")
    rows: Rows | None = Field(None, description="what a row of activity is; default: what the file says, else time")
    axes: tuple[Axis, ...] | None = Field(None, description="names of an array's axes, such as neuron,time,trial")


class Rivals(Config):
    """Models that are asked beside the main one."""

    prior: Path | None = Field(
        None, description="model whose unconditional score is guided by the likelihood (pigdm)", json_schema_extra=FOLDER
    )  # fmt: skip
    regression: Path | None = Field(None, description="regression network, a baseline", json_schema_extra=FOLDER)


def refuse_size(n_bytes: float, what: str) -> None:
    """Raise ValueError where arrays are larger than the memory of this machine, as far as it tells."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if n_bytes > memory:
        raise ValueError(f"{what} takes {n_bytes / 2**30:.0f} GiB, this machine has {memory / 2**30:.0f} GiB of memory")


def refuse_radius(g: tuple[float, ...]) -> None:
    """Raise ValueError where g is neither a positive value nor a range of such."""
    if len(g) not in (1, 2) or list(g) != sorted(g) or not 0 < min(g) <= max(g) <= LARGEST_G:
        raise ValueError(
            f"--g {','.join(f'{v:g}' for v in g)}: one value or LOW,HIGH, above 0 and at most {LARGEST_G:g}"
        )


# --- networks and their activity ---------------------------------------------------------------------------------------------


class Settings(Config):
    """How trials are simulated and observed."""

    n_trials: int = Field(10, ge=1, description="trials a network", json_schema_extra=about("--num-trials"))
    n_time: int = Field(100, ge=6, description="time steps a trial", json_schema_extra=about("--T"))
    dt: float = Field(0.1, gt=0, description="Euler step, in units of tau's unit")
    tau: float = Field(1.0, gt=0, description="membrane time constant")
    noise_std: float = Field(0.0, ge=0, description="noise of the dynamics (sqrt(dt) times this is added a step)")
    h0_std: float = Field(1.0, gt=0, description="standard deviation of the initial states")
    observed: float = Field(1.0, gt=0, le=1, description="fraction of the neurons that is recorded")
    observation_noise: float = Field(0.0, ge=0, description="standard deviation of white noise on the recorded rates")

    @model_validator(mode="after")
    def _stable(self) -> Self:
        if self.dt / self.tau >= 2:
            raise ValueError(f"dt/tau = {self.dt / self.tau:g} makes Euler unstable; take dt < {2 * self.tau:g}")
        return self


class Storage(Written):
    """Where and how shards are written; an unfinished data set of the same options is continued."""

    resumes: ClassVar[bool] = True
    output: Path = Field(description="folder to make; unfinished: continued", json_schema_extra=about("--out-dir"))
    store: Literal["W", "all", "seeds"] = Field("W", description="in a shard: weights; activity as well; or only seeds")
    shard_size: int = Field(1024, ge=1, description="networks a file")
    jobs: int = Field(1, ge=1, description="worker processes; the result does not depend on it")
    scheduler: str | None = Field(None, description="address of a running Dask scheduler, or slurm:CONFIG.toml")


class RandomNetworks(Config):
    """Of which kind random networks are."""

    n_neurons: int = Field(50, ge=2, description="neurons a network", json_schema_extra=about("--N"))
    g: tuple[float, ...] = Field((0.8, 1.8), description="radius of the eigenvalue bulk: one value, or LOW,HIGH")
    ei_ratio: float | None = Field(None, gt=0, lt=1, description="fraction of excitatory neurons; none: signs are free")
    dale: Literal["balanced", "legacy"] = Field("balanced", description="how excitation and inhibition are scaled")
    structure: str = Field("dense", description=f"parts joined by hyphens: {' '.join(STRUCTURES)}")
    density: float = Field(0.4, gt=0, le=1, description="connection probability of sparse structures")

    @model_validator(mode="after")
    def _structure(self, info: ValidationInfo) -> Self:
        parts = self.structure.split("-")
        unknown = [part for part in parts if part not in STRUCTURES]
        if unknown:
            raise ValueError(f"structure: unknown {', '.join(unknown)}; join any of {', '.join(STRUCTURES)} by hyphens")
        typed = info.context != STORED
        if typed and (len(set(parts)) < len(parts) or {"dense", "sparse"} <= set(parts)):
            raise ValueError(f"structure {self.structure}: each part once, and dense or sparse, not both")
        if typed and self.dale == "legacy" and set(parts) - {"dense", "dale"}:
            raise ValueError(
                f"--dale legacy draws dense normal weights; give --structure dale instead of {self.structure}"
            )
        refuse_radius(self.g)
        share = EI_RATIO if self.ei_ratio is None and "dale" in parts else self.ei_ratio
        if share is not None and not 0 < round(share * self.n_neurons) < self.n_neurons:
            raise ValueError(
                f"--ei-ratio {share:g} leaves no excitatory or no inhibitory neuron among {self.n_neurons}"
            )
        refuse_size(3 * 8 * self.n_neurons**2, f"a network of {self.n_neurons} neurons")
        return self
