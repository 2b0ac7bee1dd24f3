"""Which options does each verb have, with which defaults, bounds and units?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from .assumptions import Frozen, Model
from .names import FIGURE_FORMAT, ExportFile, FigureFile, Hdf5File
from .presets import PRESETS, Preset

RECORDED = "text, HDF5, npz, NWB, ABF, AxoGraph, Spike2, WinWCP or Igor file"
WINDOWS = "all, auto, sub-threshold, first-spike, t0:t1 in ms (+t0:t1 from its start)"


class SimulateConfig(Model):
    """Make a bank of simulated traces: sharded, resumable, the same for any number of workers."""

    resumes: ClassVar[bool] = True
    grows: ClassVar[tuple[str, ...]] = ("n",)
    n: int = Field(
        100_000,
        ge=1,
        le=10_000_000,
        description="number of simulated traces",
        json_schema_extra={"flags": ["--n-traces"]},
    )
    seed: int = Field(0, ge=0, description="seed of every random choice")
    shard_size: int = Field(10_000, ge=100, le=100_000, description="traces in one file of the bank")
    jobs: int = Field(1, ge=1, le=256, description="worker processes (results do not depend on it)")
    scheduler: str | None = Field(
        None, description="where the workers run: address of a Dask scheduler, or slurm [this machine]"
    )
    output: Path = Field(description="folder of the bank", json_schema_extra={"flags": ["-o"]})
    overwrite: bool = Field(False, description="replace what is there")
    dry_run: bool = Field(False, description="check the options and say what would be done")


class TrainConfig(Model):
    """Train the posterior network; a time estimate comes first. An option left out takes the preset's value."""

    resumes: ClassVar[bool] = True
    preset: Literal["quick", "standard", "full", "seed", "seed-short", "demo"] = Field(
        "quick", description="named set of training options"
    )
    bank: Path | None = Field(
        None,
        description="train on this bank instead of simulating (it has its own protocol, prior, noise)",
        json_schema_extra={"exists": "folder"},
    )
    protocol_from: Path | None = Field(
        None, description="take the current from this recording", json_schema_extra={"exists": "file"}
    )
    area_um2: float | None = Field(
        None, gt=0, description="membrane area in um2: turns pA of --protocol-from into uA/cm2"
    )
    sweep: int = Field(0, ge=0, description="sweep of --protocol-from")
    channel: str | None = Field(None, description="voltage channel or electrode of --protocol-from")
    current_from: str | None = Field(None, description="channel, command or stimulus of --protocol-from")
    current_scale: float | None = Field(None, description="multiplies the current of --protocol-from")
    window: str = Field("all", description=f"part of --protocol-from: {WINDOWS}")
    n_simulations: int | None = Field(None, ge=1000, description="number of training simulations")
    epochs: int | None = Field(None, ge=1, description="passes over the simulations")
    batch_size: int | None = Field(None, ge=8, description="simulations a gradient step")
    learning_rate: float | None = Field(None, gt=0, lt=1, description="Adam's initial learning rate")
    schedule: Literal["cosine", "exponential", "constant"] | None = Field(None, description="the learning rate's decay")
    summary: Literal["mlp", "conv", "lstm", "gru", "stats"] | None = Field(
        None, description="summary network; 'stats' = MLP on summary statistics"
    )
    summary_widths: list[int] | None = Field(None, description="hidden units of the summary network")
    frame: int | None = Field(None, ge=1, le=100, description="lstm, gru: samples that one recurrent step reads")
    flow: Literal["affine", "spline"] | None = Field(None, description="transform of the coupling layers")
    flow_depth: int | None = Field(None, ge=1, le=32, description="number of coupling layers")
    batch_norm: Literal["actnorm", "subnet", "none"] | None = Field(
        None, description="actnorm: learned scale and bias between layers; subnet: normalisation inside the subnets"
    )
    max_minutes: float | None = Field(None, gt=0, description="fewer epochs when the estimate exceeds this")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    resume: bool = Field(False, description="go on with an interrupted training (happens by itself; kept for scripts)")
    output: Path = Field(description="model folder", json_schema_extra={"flags": ["-o"]})
    overwrite: bool = Field(False, description="replace an existing model folder")
    dry_run: bool = Field(False, description="check the options, print the resolved preset, train nothing")

    @model_validator(mode="after")
    def _recording_options(self) -> TrainConfig:
        if self.protocol_from is None and (self.window != "all" or self.sweep or self.area_um2):
            raise ValueError("--window, --sweep and --area-um2 belong to --protocol-from, which is missing")
        if self.bank is not None and self.protocol_from is not None:
            raise ValueError("--bank and --protocol-from exclude each other: a bank has its own current")
        return self

    def resolved_preset(self) -> Preset:
        """Return the preset with the given options in place of its own."""
        names = set(Preset.model_fields) & set(type(self).model_fields)
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return Preset(**(PRESETS[self.preset].model_dump() | given))


class DiagnoseConfig(Frozen):
    """Test a trained model on fresh simulations and against the exact posterior; exit 3 when it fails."""

    model: Path = Field(description="model folder", json_schema_extra={"positional": True, "exists": "folder"})
    n_traces: int = Field(3000, ge=50, le=100_000, description="fresh test simulations")
    n_draws: int = Field(500, ge=50, le=10_000, description="posterior draws a simulation")
    n_exact: int = Field(32, ge=0, le=1000, description="test traces compared with the exact posterior")
    n_typical: int = Field(100, ge=0, le=10_000, description="clean traces sent through the typicality tests")
    seed: int = Field(1, ge=0, description="seed of the test simulations")
    output: Path | None = Field(
        None, description="folder of report and figures [MODEL/diagnosis]", json_schema_extra={"flags": ["-o"]}
    )
    overwrite: bool = Field(True, description="replace an earlier diagnosis")
    figure_format: FIGURE_FORMAT = Field("png", description="format of the figures", json_schema_extra={"same": True})

    @property
    def target(self) -> Path:
        """The folder of report and figures."""
        return self.output or self.model / "diagnosis"


class Named(Frozen):
    """What a person says about a recording that its file may not say."""

    columns: list[str] = Field(
        [], description="names of the columns of a headerless table, e.g. time_ms,voltage_mV,current_pA"
    )
    sweep: int = Field(0, ge=0, description="sweep of a file that holds several")
    channel: str | None = Field(None, description="voltage channel, series or electrode, where a file has several")
    current_from: str | None = Field(None, description="channel, command or stimulus that holds the injected current")
    current_scale: float | None = Field(
        None, description="multiplies the current, where the file has its unit wrong; 1 confirms one of unusual size"
    )
    current_file: Path | None = Field(
        None, description="file with the injected current, from its start on", json_schema_extra={"exists": "file"}
    )


class Reading(Named):
    """How a recording is read: units, columns, sweep, window, grid."""

    area_um2: float | None = Field(None, gt=0, description="membrane area in um2: turns pA into uA/cm2")
    junction_mv: float = Field(
        0.0, ge=-50, le=50, description="liquid junction potential in mV, subtracted from the recorded voltage"
    )
    window: str = Field("all", description=f"part of the trace: {WINDOWS}")
    grid_ms: float | None = Field(
        None, gt=0, le=5, description="resample to this grid in ms [the model's, or .25 without a model]"
    )


class SeveralSweeps(Reading):
    """How several sweeps of a file are named."""

    sweeps: str | None = Field(
        None, description="several sweeps, one table: all, or numbers such as 0-5,8 (window auto unless one is typed)"
    )

    @model_validator(mode="after")
    def _sweeps_are_numbers(self) -> SeveralSweeps:
        if self.sweeps is not None and self.sweep:
            raise ValueError("--sweep and --sweeps exclude each other")
        if self.sweeps not in (None, "all") and not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", self.sweeps or ""):
            raise ValueError(f"--sweeps '{self.sweeps}': expected all, or numbers such as 0-5,8")
        if not self.chosen_sweeps(1):
            raise ValueError(f"--sweeps '{self.sweeps}': the smaller number of a span comes first")
        return self

    def chosen_sweeps(self, n: int) -> list[int]:
        """Return the numbers of the sweeps that are meant, of ``n`` that there are, and a larger one where it is."""
        if self.sweeps in (None, "all"):
            return list(range(n))
        spans = [(int(a), int(b or a)) for a, _, b in (part.partition("-") for part in (self.sweeps or "").split(","))]
        chosen = {i for low, high in spans for i in range(low, min(high, max(n, low)) + 1)}
        return sorted(chosen) if all(low <= high for low, high in spans) else []


class InferConfig(SeveralSweeps):
    """Infer the parameters of one recorded trace; exit 3 when the model cannot explain it."""

    model: str = Field(
        description="model folder, or 'none': exact likelihood alone",
        json_schema_extra={"positional": True, "exists": "folder", "or_word": "none"},
    )
    recording: Path = Field(description=RECORDED, json_schema_extra={"positional": True, "exists": "file"})
    refine: Literal["none", "newton", "is", "laplace", "smc", "nuts"] = Field(
        "laplace",
        description="exact-likelihood refinement of the network's posterior; newton (a Gaussian, 1 ms a trace) falls back to laplace, laplace to smc by itself",
    )
    noise: Literal["auto", "known", "estimate"] = Field(
        "auto",
        description="known: the model's white noise; estimate: sd and AR(1) from the trace; auto: estimate on recordings (a current in pA that the network was not trained with, or a network of --protocol-from)",
    )
    series_resistance: Literal["auto", "on", "off"] = Field(
        "auto", description="fit the series resistance (auto: with estimated noise)"
    )
    draws: int = Field(2000, ge=100, le=100_000, description="posterior draws to keep")
    prior: Literal["default", "measured", "lumped"] | None = Field(
        None, description="prior without a model [lumped for pA, measured with --area-um2]"
    )
    noise_mv: float | None = Field(None, gt=0, description="noise sd in mV with --noise known [the model's, or 2]")
    force: bool = Field(False, description="exit 0 although the trace does not fit the model")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    together: bool = Field(
        False, description="one membrane and electrode for all of --sweeps, each with its own start and noise"
    )
    jobs: int = Field(1, ge=1, le=256, description="worker processes of --sweeps (results do not depend on it)")
    output: Path | None = Field(
        None,
        description="posterior file (.h5) [RECORDING.posterior.h5], or folder with --sweeps [RECORDING.sweeps]",
        json_schema_extra={"flags": ["-o"], "product": "posterior.h5"},
    )
    overwrite: bool = Field(False, description="replace an existing posterior file")
    dry_run: bool = Field(False, description="read the recording, say what would be fitted, write nothing")
    report: bool = Field(True, description="write figures and report.html beside the posterior")
    figure_format: FIGURE_FORMAT = Field("png", description="format of the figures")

    @property
    def target(self) -> Path:
        """The posterior file, or the folder of several."""
        return self.output or self.recording.with_suffix(".sweeps" if self.sweeps else ".posterior.h5")

    @model_validator(mode="after")
    def _output_fits(self) -> InferConfig:
        if self.sweeps is None and self.output is not None and self.output.suffix.lower() not in (".h5", ".hdf5"):
            raise ValueError(f"--output {self.output}: expected a name ending in .h5 or .hdf5")
        if self.together and (self.sweeps is None or self.model != "none"):
            raise ValueError("--together belongs to --sweeps and MODEL 'none'")
        if self.refine in ("none", "is") and self.model == "none":
            raise ValueError(f"--refine {self.refine} needs the network, and none was given. Use --refine laplace")
        if self.together and self.refine in ("none", "newton", "is"):
            raise ValueError(f"--refine {self.refine} begins at a network's draws, and --together has no network")
        return self


class CompareConfig(SeveralSweeps):
    """Find which model a recording supports: passive, two compartments or activation; exit 3 when none explains it."""

    recording: Path = Field(description=RECORDED, json_schema_extra={"positional": True, "exists": "file"})
    window: str = Field("auto", description=f"part of the trace: {WINDOWS}")
    sweeps: str | None = Field(
        None, description="sweeps that are fitted together, numbers such as 0-3,8 [the one of --sweep]"
    )
    held_out: int = Field(5, ge=0, le=1000, description="other sweeps that every model has to predict")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    output: Path | None = Field(
        None, description="folder of the tables [RECORDING.models]", json_schema_extra={"flags": ["-o"]}
    )
    overwrite: bool = Field(False, description="replace an earlier comparison")
    dry_run: bool = Field(False, description="read the recording, say what would be fitted, write nothing")

    @property
    def target(self) -> Path:
        """The folder of the tables."""
        return self.output or self.recording.with_suffix(".models")

    def inference(self) -> InferConfig:
        """Return the same reading as options of ``infer none``."""
        shared = {name: getattr(self, name) for name in Reading.model_fields}
        return InferConfig(
            **shared, model="none", recording=self.recording, seed=self.seed, draws=500, noise="estimate"
        )


class OwnConfig(Reading):
    """Infer a neuron model of your own, written as a Python file (it is run), from a recording; exit 3 where facts speak against it."""

    model: Path = Field(
        description="Python file with PARAMETERS, start and slope",
        json_schema_extra={"positional": True, "exists": "file"},
    )
    recording: Path = Field(description=RECORDED, json_schema_extra={"positional": True, "exists": "file"})
    window: str = Field("auto", description=f"part of the trace: {WINDOWS}")
    draws: int = Field(1000, ge=100, le=100_000, description="posterior draws to keep")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    output: Path | None = Field(
        None, description="folder of draws and table [RECORDING.own]", json_schema_extra={"flags": ["-o"]}
    )
    overwrite: bool = Field(False, description="replace an earlier answer")

    @property
    def target(self) -> Path:
        """The folder of draws and table."""
        return self.output or self.recording.with_suffix(".own")


class PosteriorPredictConfig(Frozen):
    """Predict voltages from a posterior, for the recorded current or another one."""

    posterior: Path = Field(description="file made by infer", json_schema_extra={"positional": True, "exists": "file"})
    current: Path | None = Field(
        None,
        description="CSV of another current (time_ms, current) [the recorded one]",
        json_schema_extra={"exists": "file"},
    )
    draws: int = Field(200, ge=10, le=10_000, description="posterior draws to simulate")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    output: Hdf5File = Field(
        description="HDF5 file of predicted voltages", json_schema_extra={"flags": ["-o"], "product": "predicted.h5"}
    )
    overwrite: bool = Field(False, description="replace an existing file")


class ExportConfig(Frozen):
    """Write a posterior for other tools: .nc for ArviZ, .npz as sbi has it, .nwb with the trace."""

    posterior: Path = Field(description="file made by infer", json_schema_extra={"positional": True, "exists": "file"})
    output: ExportFile = Field(
        description="file to write (.nc, .npz or .nwb)", json_schema_extra={"flags": ["-o"], "product": "posterior.nc"}
    )
    overwrite: bool = Field(False, description="replace an existing file")


class PopulationConfig(Frozen):
    """Let cells inform one another: the prior of the population, and each cell's answer under it."""

    posteriors: list[Path] = Field(
        description="files made by infer, one a cell", json_schema_extra={"positional": True, "exists": "file"}
    )
    output: Path = Field(description="folder of the tables", json_schema_extra={"flags": ["-o"]})
    overwrite: bool = Field(False, description="replace an earlier population")


class InfoConfig(Named):
    """Say what a model folder, bank, posterior, prediction or recording holds."""

    path: Path = Field(
        description="model folder, bank, posterior or recording",
        json_schema_extra={"positional": True, "exists": "any"},
    )


class PlotConfig(Named):
    """Draw a posterior, its fit, a trace, or the traces of a bank."""

    path: Path = Field(
        description="posterior file, trace file or bank", json_schema_extra={"positional": True, "exists": "any"}
    )
    kind: Literal["auto", "pairs", "fit", "trace", "priors"] = Field("auto", description="which figure")
    output: FigureFile = Field(
        description="figure file (.png, .svg or .pdf)", json_schema_extra={"flags": ["-o"], "product": "figure.png"}
    )
    overwrite: bool = Field(False, description="replace an existing figure")
