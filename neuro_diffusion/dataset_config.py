"""Which options do the commands about data sets have?"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

POSITIONAL = {"positional": True}


class Config(BaseModel):
    """What every config of this package promises: values do not change, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Activity(Config):
    """How trials are simulated and observed."""

    num_trials: int = Field(10, ge=1, description="trials a network")
    T: int = Field(100, ge=6, description="time steps a trial")
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


class Storage(Config):
    """Where and how shards are written."""

    store: Literal["W", "all", "seeds"] = Field(
        "W", description="what a shard holds: weights; weights and activity; or only what regenerates them"
    )
    shard_size: int = Field(1024, ge=1, description="networks a file")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    jobs: int = Field(1, ge=1, description="worker processes; the result does not depend on it")
    scheduler: str | None = Field(None, description="address of a running Dask scheduler, or slurm:CONFIG.toml")


class BuildDatasetConfig(Activity, Storage):
    """`neuro-diffusion build-dataset`."""

    out_dir: Path = Field(description="folder of the data set; an unfinished one is continued")
    num_networks: int = Field(1000, ge=1, description="networks to draw")
    N: int = Field(50, ge=2, description="neurons a network")
    g: tuple[float, ...] = Field(
        (0.8, 1.8), description="radius of the eigenvalue bulk: one value, or a range LOW,HIGH"
    )
    ei_ratio: float | None = Field(None, gt=0, lt=1, description="fraction of excitatory neurons; none: signs are free")
    dale: Literal["balanced", "legacy"] = Field("balanced", description="how excitation and inhibition are scaled")
    structure: str = Field("dense", description="parts joined by hyphens: dense sparse lowrank block lognormal dale")
    density: float = Field(0.4, gt=0, le=1, description="connection probability of sparse structures")

    @model_validator(mode="after")
    def _structure(self) -> Self:
        known = ("dense", "sparse", "lowrank", "block", "lognormal", "dale")
        unknown = [part for part in self.structure.split("-") if part not in known]
        if unknown:
            raise ValueError(f"structure: unknown {', '.join(unknown)}; join any of {', '.join(known)} by hyphens")
        if len(self.g) not in (1, 2) or not min(self.g) > 0 or list(self.g) != sorted(self.g):
            raise ValueError(f"g: one positive value or LOW,HIGH, not {','.join(map(str, self.g))}")
        return self


class ImportConnectomeConfig(Activity, Storage):
    """`neuro-diffusion import-connectome`."""

    connectome: Path = Field(
        description="edge list (pre, post, weight), square CSV, or MATLAB 7.3 / HDF5 matrix",
        json_schema_extra=POSITIONAL,
    )
    out_dir: Path = Field(description="folder of the data set; an unfinished one is continued")
    num_networks: int = Field(1000, ge=1, description="sub-networks to draw")
    N: int = Field(16, ge=2, description="neurons (or regions) a sub-network")
    g: tuple[float, ...] = Field(
        (0.8, 1.8), description="spectral radius given to a sub-network: one value or LOW,HIGH"
    )
    ei_ratio: float | None = Field(
        0.75, gt=0, lt=1, description="fraction of neurons drawn as excitatory where the file knows no sign"
    )
    transform: Literal["log", "none"] = Field(
        "log", description="log(1 + weight) tames the heavy tail of synapse counts"
    )
    dataset: str | None = Field(None, description="name of the matrix within a MATLAB / HDF5 file that holds several")
    part: Literal["all", "first", "second"] = Field(
        "all",
        description="neurons to draw from: all, or one of two disjoint random halves (train on one, test on the other)",
    )


class ImportPtConfig(Config):
    """`neuro-diffusion import-pt`."""

    folder: Path = Field(description="folder with network_*.pt files", json_schema_extra=POSITIONAL)
    out_dir: Path = Field(description="folder of the data set to make")
    shard_size: int = Field(1024, ge=1, description="networks a file")
    overwrite: bool = Field(False, description="replace an earlier import")


class ExportPtConfig(Config):
    """`neuro-diffusion export-pt`."""

    dataset: Path = Field(description="data set folder", json_schema_extra=POSITIONAL)
    out_dir: Path = Field(description="folder for network_*.pt")
    limit: int | None = Field(None, ge=1, description="export the first networks only")
    overwrite: bool = Field(False, description="replace an earlier export")


class CheckSimulatorConfig(Config):
    """`neuro-diffusion check-simulator`."""

    N: int = Field(50, ge=2, description="neurons")
    T: int = Field(100, ge=6, description="time steps")
    seed: int = Field(0, ge=0, description="seed of every random choice")
