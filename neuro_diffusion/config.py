"""Which options do training, sampling, inference and the benchmark have?"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from .dataset_config import POSITIONAL, Config

Sampler = Literal["dpmpp-2m", "heun", "ddim", "ancestral", "ddpm"]
Schedule = Literal["karras", "cosine", "linear"]


class TrainPriorConfig(Config):
    """`neuro-diffusion train-prior`."""

    data: Path = Field(
        description="data set folder of build-dataset or import-connectome", json_schema_extra=POSITIONAL
    )
    output: Path = Field(description="folder of the trained model")
    iterations: int = Field(1500, ge=1, description="gradient steps")
    batch: int = Field(32, ge=1, description="networks a step")
    copies: int = Field(1, ge=1, description="noise levels drawn for each network of a step")
    learning_rate: float = Field(
        2e-3, gt=0, description="peak learning rate of AdamW; cosine decay after a short warm-up"
    )
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights that are saved")
    arch: Literal["pool", "axial", "unet"] = Field(
        "pool", description="network: pooling or attention (any N), or a convolutional U-Net"
    )
    width: int = Field(48, ge=8, multiple_of=8, description="channels")
    hidden: int = Field(96, ge=8, multiple_of=8, description="hidden channels of a block")
    depth: int = Field(4, ge=1, description="blocks")
    parameterization: Literal["edm", "v", "eps"] = Field("edm", description="what the network predicts")
    fine_tune: Path | None = Field(
        None,
        description="start from this model's network (same architecture): another size N, family or recorded fraction",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field("32-true", description="arithmetic of training")
    save_every: int = Field(100, ge=1, description="steps between the states from which --resume goes on")
    resume: bool = Field(False, description="go on with a training that was interrupted")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    overwrite: bool = Field(False, description="replace an earlier model in the output folder")


class TrainConditionalConfig(TrainPriorConfig):
    """`neuro-diffusion train-conditional`."""

    objective: Literal["diffusion", "regression"] = Field(
        "diffusion", description="diffusion posterior, or the regression network that serves as baseline"
    )
    n_time: int | None = Field(None, ge=6, description="time steps a trial; default: the data set's T")
    trials: tuple[int, ...] = Field((1, 2, 4, 8), description="numbers of trials K, mixed in training")
    noise: tuple[float, float] = Field((0.01, 0.2), description="range of the observation noise, log-uniform")
    null_fraction: float = Field(
        0.12, ge=0, lt=1, description="networks shown without data, so that the model is a prior as well"
    )
    masked_fraction: float = Field(0.15, ge=0, le=1, description="steps in which only part of the neurons is observed")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if not self.trials or min(self.trials) < 1 or not 0 < self.noise[0] <= self.noise[1]:
            raise ValueError("--trials: numbers of 1 or more; --noise: LOW,HIGH with 0 < LOW <= HIGH")
        return self


class SampleConfig(Config):
    """`neuro-diffusion sample`."""

    model: Path = Field(description="model folder of train-prior or train-conditional", json_schema_extra=POSITIONAL)
    output: Path = Field(description="HDF5 file of the samples")
    n: int = Field(256, ge=1, description="matrices to draw")
    neurons: int | None = Field(None, ge=2, description="size N of a matrix; default: that of the training data")
    data: Path | None = Field(None, description="data set whose test networks the samples are compared with")
    sampler: Sampler = Field("dpmpp-2m", description="solver of the reverse process")
    steps: int = Field(20, ge=2, description="steps of the solver")
    schedule: Schedule = Field("karras", description="spacing of the noise levels")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    overwrite: bool = Field(False, description="replace an earlier output")


class InferConfig(Config):
    """`neuro-diffusion infer`."""

    model: Path = Field(description="model folder of train-conditional", json_schema_extra=POSITIONAL)
    activity: Path = Field(
        description="rates x = tanh(h) in [-1, 1]: HDF5 / NWB (T, N) or (K, T, N), npz, or CSV with a row a time step; a neuron"
        " that was not recorded is a column of NaN",
        json_schema_extra=POSITIONAL,
    )
    output: Path = Field(description="HDF5 file of the posterior")
    dataset: str | None = Field(None, description="name of the array within an HDF5, NWB or npz file")
    dt_over_tau: float | None = Field(
        None, gt=0, lt=2, description="time step over time constant; default: that of the model"
    )
    noise_std: float | None = Field(None, gt=0, description="observation noise of the rates; default: estimated")
    prior: Path | None = Field(
        None, description="model for a second posterior: unconditional score guided by the likelihood (pigdm)"
    )
    regression: Path | None = Field(None, description="regression network, a further baseline")
    refine: Literal["none", "pigdm", "dps", "map", "seed"] = Field(
        "none", description="refine the posterior mean afterwards and show whether held-out trials agree"
    )
    samples: int = Field(64, ge=8, description="posterior samples")
    sampler: Sampler = Field("dpmpp-2m", description="solver of the reverse process")
    steps: int = Field(18, ge=2, description="steps of the solver")
    schedule: Schedule = Field("karras", description="spacing of the noise levels")
    guidance: float = Field(1.0, ge=0, description="0 prior, 1 posterior; above 1 is sharper and not calibrated")
    truth: Path | None = Field(None, description="HDF5 file with the true weights 'W', to be scored (simulations)")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    overwrite: bool = Field(False, description="replace an earlier output")


class HeldOutConfig(Config):
    """What `benchmark` and `evaluate` share."""

    model: Path = Field(description="model folder of train-conditional", json_schema_extra=POSITIONAL)
    data: Path = Field(description="data set; its test networks are used", json_schema_extra=POSITIONAL)
    output: Path | None = Field(None, description="folder for the tables, figures and report.html")
    prior: Path | None = Field(
        None, description="model whose unconditional score is guided by the likelihood (pigdm), a further column"
    )
    regression: Path | None = Field(None, description="regression network, a further baseline")
    networks: int = Field(64, ge=2, description="held-out networks")
    samples: int = Field(32, ge=8, description="posterior samples a network")
    n_time: int | None = Field(None, ge=6, description="time steps a trial; default: that of the model's training")
    sampler: Sampler = Field("dpmpp-2m", description="solver of the reverse process")
    steps: int = Field(18, ge=2, description="steps of the solver")
    schedule: Schedule = Field("karras", description="spacing of the noise levels")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    overwrite: bool = Field(False, description="replace an earlier output")


class BenchmarkConfig(HeldOutConfig):
    """`neuro-diffusion benchmark`."""

    trials: tuple[int, ...] = Field((1, 2, 4, 8), description="numbers of trials K")
    noise: tuple[float, ...] = Field((0.02, 0.1), description="observation noise, standard deviation of a rate")
    observed: tuple[float, ...] = Field((1.0,), description="fractions of the neurons that are recorded")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        low = min(self.trials, default=0) >= 1 and min(self.noise, default=0) > 0
        if not low or not self.observed or not all(0 < o <= 1 for o in self.observed):
            raise ValueError("--trials from 1, --noise above 0, --observed in (0, 1]")
        return self


class EvaluateConfig(HeldOutConfig):
    """`neuro-diffusion evaluate`."""

    trials: int | None = Field(None, ge=1, description="number of trials K; default: that of the data set")
    noise: float | None = Field(None, gt=0, description="observation noise of a rate; default: that of the data set")
    observed: float | None = Field(None, gt=0, le=1, description="fraction recorded; default: that of the data set")
