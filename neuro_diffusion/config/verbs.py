"""Which options do the verbs have? Names, defaults, bounds and help stand here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from .shared import (
    FILE,
    FOLDER,
    GIVEN,
    GIVEN_FILE,
    GIVEN_FOLDER,
    MOST_SEED,
    STRUCTURES,
    Array,
    Config,
    FigureFormat,
    RandomNetworks,
    Rivals,
    Settings,
    Solver,
    Storage,
    Written,
    about,
    refuse_radius,
    refuse_size,
)  # fmt: skip

BLOCK = 64  #: networks simulated together


def refuse_activity(config: BuildDatasetConfig | ImportConnectomeConfig) -> None:
    """Raise ValueError where the activity of a block of networks does not fit into memory."""
    if config.store == "all":
        what = f"the activity of {BLOCK} networks ({config.n_trials} trials of {config.n_time} steps)"
        refuse_size(3 * 4 * BLOCK * config.n_trials * config.n_time * config.n_neurons, what)


class BuildDatasetConfig(RandomNetworks, Settings, Storage):
    """Draw random networks (and their activity) into a folder of shards; a killed build goes on."""

    n_networks: int = Field(1000, ge=1, description="networks to draw", json_schema_extra=about("--num-networks"))

    @model_validator(mode="after")
    def _held(self) -> Self:
        refuse_activity(self)
        return self


class ImportConnectomeConfig(Settings, Storage):
    """Draw sub-networks of a real connectome into a data set."""

    connectome: Path = Field(
        description="edge list (source, target, weight; columns found by their names), square table, GraphML, or NumPy, MATLAB or"
        " HDF5 matrix",
        json_schema_extra=GIVEN_FILE,
    )
    n_networks: int = Field(1000, ge=1, description="sub-networks to draw", json_schema_extra=about("--num-networks"))
    n_neurons: int = Field(16, ge=2, description="neurons (or regions) a sub-network", json_schema_extra=about("--N"))
    g: tuple[float, ...] = Field((0.8, 1.8), description="spectral radius of a sub-network: one value or LOW,HIGH")
    ei_ratio: float | None = Field(0.75, gt=0, lt=1, description="share made excitatory where the file knows no sign")
    transform: Literal["log", "none"] = Field("log", description="log(1 + weight) tames the tail of synapse counts")
    dataset: str | None = Field(None, description="name of the matrix within a file that holds several")
    rows: Literal["post", "pre"] | None = Field(
        None, description="what a row of a matrix is; default: what the file says, else post (row = target)"
    )
    part: Literal["all", "first", "second"] = Field(
        "all", description="neurons to draw from: all, or one of two disjoint random halves (to train on, to test on)"
    )

    @model_validator(mode="after")
    def _held(self) -> Self:
        refuse_radius(self.g)
        refuse_activity(self)
        return self


class ImportPtConfig(Config):
    """Make a data set of a folder of network_*.pt files."""

    folder: Path = Field(description="folder with network_*.pt files", json_schema_extra=GIVEN_FOLDER)
    output: Path = Field(description="folder of the data set to make", json_schema_extra=about("--out-dir"))
    shard_size: int = Field(1024, ge=1, description="networks a file")
    overwrite: bool = Field(False, description="replace an earlier output")


class ExportPtConfig(Config):
    """Write one network_<i>.pt a network."""

    dataset: Path = Field(description="data set folder", json_schema_extra=GIVEN_FOLDER)
    output: Path = Field(description="folder for network_*.pt", json_schema_extra=about("--out-dir"))
    limit: int | None = Field(None, ge=1, description="export the first networks only")
    overwrite: bool = Field(False, description="replace an earlier output")


class CheckSimulatorConfig(Config):
    """Simulate a random network and check shape, gradient, equality with a slow loop and order of convergence."""

    n_neurons: int = Field(50, ge=2, description="neurons", json_schema_extra=about("--N"))
    n_time: int = Field(100, ge=6, description="time steps", json_schema_extra=about("--T"))
    seed: int = Field(0, ge=0, le=MOST_SEED, description="seed of every random choice")

    @model_validator(mode="after")
    def _held(self) -> Self:
        size = max(self.n_neurons**2, self.n_time * self.n_neurons)
        refuse_size(3 * 8 * size, f"{self.n_neurons} neurons over {self.n_time} steps")
        return self


class TrainPriorConfig(Written):
    """Train a diffusion prior p(W) on the weights of a data set."""

    resumes: ClassVar[bool] = True
    data: Path = Field(description="folder of build-dataset or import-connectome", json_schema_extra=GIVEN_FOLDER)
    output: Path = Field(description="folder of the trained model; an interrupted training is continued")
    iterations: int = Field(1500, ge=1, description="gradient steps")
    batch: int = Field(32, ge=1, description="networks a step")
    copies: int = Field(1, ge=1, description="noise levels drawn for each network of a step")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="peak rate of AdamW; cosine decay after a short warm-up")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights that are saved")
    arch: Literal["pool", "axial", "unet"] = Field("pool", description="pooling or attention (any N), or a U-Net")
    width: int = Field(48, ge=8, multiple_of=8, description="channels")
    hidden: int = Field(96, ge=8, multiple_of=8, description="hidden channels of a block")
    depth: int = Field(4, ge=1, description="blocks")
    parameterization: Literal["edm", "v", "eps"] = Field("edm", description="what the network predicts")
    fine_tune: Path | None = Field(
        None, description="start from this model's network (same architecture): another size N, family or recorded fraction", json_schema_extra=FOLDER
    )  # fmt: skip
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field("32-true", description="arithmetic of training")
    save_every: int = Field(
        100, ge=1, description="steps between the states from which an interrupted training goes on", json_schema_extra=about(same=True),
    )  # fmt: skip
    resume: bool = Field(False, description="go on with a training that was interrupted")


class TrainConditionalConfig(TrainPriorConfig):
    """Train p(W | activity) and p(W) in one network (or the regression baseline)."""

    objective: Literal["diffusion", "regression"] = Field("diffusion", description="posterior, or regression baseline")
    skip: Literal["gaussian", "ep"] = Field("gaussian", description="posterior that is corrected: Gaussian, or EP's")
    n_time: int | None = Field(None, ge=6, description="time steps a trial; default: the data set's T")
    trials: tuple[int, ...] = Field((1, 2, 4, 8), description="numbers of trials K, mixed in training")
    noise: tuple[float, float] = Field((0.01, 0.2), description="range of the observation noise, log-uniform")
    null_fraction: float = Field(0.12, ge=0, lt=1, description="networks shown without data: the model is a prior too")
    masked_fraction: float = Field(0.15, ge=0, le=1, description="steps in which only part of the neurons is observed")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if not self.trials or min(self.trials) < 1 or not 0 < self.noise[0] <= self.noise[1]:
            raise ValueError("--trials: numbers of 1 or more; --noise: LOW,HIGH with 0 < LOW <= HIGH")
        return self


class SampleConfig(Solver, Written):
    """Draw weight matrices from the prior; with --data compare them with real test networks."""

    model: Path = Field(description="model folder of train-prior or train-conditional", json_schema_extra=GIVEN_FOLDER)
    output: Path = Field(description="HDF5 file of the samples", json_schema_extra=about(product="samples.h5"))
    n_samples: int = Field(256, ge=1, description="matrices to draw", json_schema_extra=about("--n"))
    n_neurons: int | None = Field(
        None, ge=2, description="size N; default: that of the training data", json_schema_extra=about("--neurons")
    )
    data: Path | None = Field(None, description="data set to compare the samples with", json_schema_extra=FOLDER)
    steps: int = Field(20, ge=2, description="steps of the solver")


class InferConfig(Rivals, Array, Solver, Written):
    """Infer the weights behind a recording: samples, intervals, baselines, which to trust; exit 3 when no such network made it."""

    model: Path = Field(
        description="model folder of train-conditional, or 'none': EP and ridge alone", json_schema_extra=GIVEN_FOLDER | about(or_word="none")
    )  # fmt: skip
    activity: Path = Field(
        description="rates x = tanh(h) in [-1, 1]: HDF5, NWB, MATLAB, NumPy (T, N) or (K, T, N), suite2p, or a table with a row a time"
        " step; a neuron that was not recorded is a column of NaN", json_schema_extra=GIVEN_FILE,
    )  # fmt: skip
    output: Path = Field(description="HDF5 file of the posterior", json_schema_extra=about(product="posterior.h5"))
    dt_over_tau: float | None = Field(None, gt=0, lt=2, description="step over time constant; default: the model's")
    noise_std: float | None = Field(None, gt=0, description="observation noise of the rates; default: estimated")
    refine: Literal["none", "pigdm", "dps", "map", "descent", "seed"] = Field(
        "none", description="refine the posterior mean afterwards and show whether held-out trials agree (seed: old name of descent)"
    )  # fmt: skip
    n_samples: int | None = Field(
        None, ge=8, description="posterior samples; default 64, down to 8 beyond 100 neurons", json_schema_extra=about("--samples")
    )  # fmt: skip
    guidance: float = Field(1.0, ge=0, description="0 prior, 1 posterior; above 1 is sharper and not calibrated")
    estimate: tuple[Literal["input", "gain", "tau", "process", "kernel", "taus", "none"], ...] = Field(
        ("input", "gain", "tau", "process", "kernel", "taus"),
        description="to correct: constant input, scale, offset, tau, process noise, calcium's kernel, taus that differ",
    )
    anatomy: Path | None = Field(None, description="connectome: where connections are, for EP", json_schema_extra=FILE)
    stimulus: Path | None = Field(
        None, description="known input, (trial, time, neuron), (time, neuron) or (trial, neuron); default: the recording's /stimulus",
        json_schema_extra=FILE,
    )  # fmt: skip
    force: bool = Field(False, description="exit 0 whatever the verdict")
    truth: Path | None = Field(None, description="file with the true weights 'W', to be scored", json_schema_extra=FILE)
    steps: int | None = Field(None, ge=2, description="steps of the solver; default 18, 12 beyond 100 neurons")  # type: ignore[assignment]
    figure_format: FigureFormat = Field("png", description="format of the figure")

    @model_validator(mode="after")
    def _without_model(self) -> Self:
        if "none" in self.estimate and len(self.estimate) > 1:
            raise ValueError(f"--estimate {','.join(self.estimate)}: none, or what is to be estimated")
        if self.output.suffix.lower() == f".{self.figure_format}":
            raise ValueError(f"--output {self.output}: the figure beside it would have this name. Give an .h5 file")
        needless = {"refine", "guidance", *(() if self.prior else Solver.model_fields)} & self.model_fields_set
        if str(self.model) == "none" and (needless or self.dt_over_tau is None):
            missing = "it needs --dt-over-tau, the recording's step over the neurons' time constant"
            raise ValueError(f"MODEL none: {f'no --{min(needless)}' if needless else missing}")
        return self


class HeldOutConfig(Rivals, Solver, Written):
    """What `benchmark` and `evaluate` share."""

    model: Path = Field(description="model folder of train-conditional", json_schema_extra=GIVEN_FOLDER)
    data: Path = Field(description="data set; its test networks are used", json_schema_extra=GIVEN_FOLDER)
    output: Path | None = Field(None, description="folder for the tables, figures and report.html")
    n_networks: int = Field(64, ge=2, description="held-out networks", json_schema_extra=about("--networks"))
    n_samples: int = Field(32, ge=8, description="posterior samples a network", json_schema_extra=about("--samples"))
    n_time: int | None = Field(None, ge=6, description="time steps a trial; default: the data set's")
    figure_format: FigureFormat = Field("png", description="format of the figures")


class BenchmarkConfig(HeldOutConfig):
    """Score the posterior on held-out networks against ridge, oracle ridge and others, over a grid of conditions."""

    trials: tuple[int, ...] = Field((1, 2, 4, 8), description="numbers of trials K")
    noise: tuple[float, ...] = Field((0.02, 0.1), description="observation noise, standard deviation of a rate")
    observed: tuple[float, ...] = Field((1.0,), description="fractions of the neurons that are recorded")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        low = min(self.trials, default=0) >= 1 and min(self.noise, default=0) > 0
        if not low or not self.observed or not all(0 < o <= 1 for o in self.observed):
            raise ValueError("--trials from 1, --noise above 0, --observed in (0, 1]")
        for name in ("trials", "noise", "observed"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"--{name} {','.join(f'{v:g}' for v in values)}: each value once")
        return self


class EvaluateConfig(HeldOutConfig):
    """Score the posterior on held-out networks recorded as the data set says: weights, intervals, and what they do when run."""

    trials: int | None = Field(None, ge=1, description="number of trials K; default: that of the data set")
    noise: float | None = Field(None, gt=0, description="observation noise of a rate; default: that of the data set")
    observed: float | None = Field(None, gt=0, le=1, description="fraction recorded; default: that of the data set")


class SimulateConfig(RandomNetworks, Settings, Written):
    """Simulate one network's recording with its true weights beside it: the file that `infer` reads."""

    output: Path = Field(description="HDF5 file of the recording (/activity) and the truth (/W, /h0, /input)")
    n_neurons: int = Field(16, ge=2, description="neurons", json_schema_extra=about("--N"))
    n_trials: int = Field(4, ge=1, description="trials", json_schema_extra=about("--num-trials"))
    n_time: int = Field(50, ge=6, description="time steps a trial", json_schema_extra=about("--T"))
    observation_noise: float = Field(0.02, ge=0, description="standard deviation of white noise on the recorded rates")
    structure: str = Field("dale-sparse-lognormal", description=f"parts joined by hyphens: {' '.join(STRUCTURES)}")
    gain: float = Field(1.0, gt=0, description="recorded are OFFSET + GAIN tanh(h)")
    offset: float = Field(0.0, description="recorded are OFFSET + GAIN tanh(h)")
    input_std: float = Field(0.0, ge=0, description="spread over neurons of a constant input to each")
    push: float = Field(
        0.0, description="known input, in units of h, to one neuron in each trial: 0, 1, ... in turn (/stimulus)"
    )

    @model_validator(mode="after")
    def _held(self) -> Self:
        refuse_size(
            3 * 4 * self.n_trials * self.n_time * self.n_neurons, f"{self.n_trials} trials of {self.n_time} steps"
        )
        return self


class InfoConfig(Array):
    """Say what a file or folder is: a recording, a connectome, a data set, a model, a posterior, samples."""

    path: Path = Field(description="any input or output of this pipeline", json_schema_extra=GIVEN)


class PlotConfig(Array):
    """Draw what is in a file or folder: activity, weights of a posterior, samples or a data set and their eigenvalues."""

    path: Path = Field(description="recording, posterior, samples or data set", json_schema_extra=GIVEN)
    output: Path = Field(
        description="figure file; its suffix is the format", json_schema_extra=about(product="figure.png")
    )
    figure_format: FigureFormat | None = Field(None, description="default: the suffix of --output")
    overwrite: bool = Field(False, description="replace an earlier output")

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if self.target.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise ValueError(f"--output {self.output}: figures are written as .png, .svg, .pdf")
        told = self.output.suffix.lower()
        if self.figure_format and told in (".png", ".svg", ".pdf") and told != f".{self.figure_format}":
            raise ValueError(
                f"--figure-format {self.figure_format} and --output {self.output} name two formats. Give one of them"
            )
        return self

    @property
    def target(self) -> Path:
        """Return the figure's path."""
        suffix = f".{self.figure_format}" if self.figure_format else self.output.suffix or ".png"
        return self.output.with_suffix(suffix)
