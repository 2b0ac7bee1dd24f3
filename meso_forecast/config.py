"""Which options does each command take? Defaults, bounds and descriptions stand here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ModelName = Literal[
    "persistence", "mean", "context-mean", "stimulus-mean", "linear-regression", "ar", "ar16", "ar-drift", "ar-mixture", "nlinear", "dlinear", "var",
    "stack", "informer", "patchtst", "tsmixer", "itransformer", "poco", "informer-hf", "autoformer-hf",
]  # fmt: skip


def positional(description: str, exists: str | None = None, **extra: Any) -> Any:
    """Return a field that is typed without a flag; ``exists``: it must be there as a ``file``, a ``folder`` or ``any``."""
    given = {"positional": True, **({"exists": exists} if exists else {}), **extra}
    return Field(description=description, json_schema_extra=given)


def same(default: Any, description: str, **given: Any) -> Any:
    """Return an option that does not change the result."""
    return Field(default, description=description, json_schema_extra={"same": True}, **given)


FigureFormat = Literal["png", "svg", "pdf"]
PRESETS = {"zapbench": {"context": 256, "horizon": 32}}  #: windows that a preset says; zapbench also sees 4 frames


def figure_format() -> Any:
    """Return the option of every command that draws."""
    return Field("png", description="format of the figures")


class Base(BaseModel):
    """What all commands share."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _lists_name_something_once(self):
        for name, value in self:
            if value == [] and type(self).model_fields[name].is_required():
                raise ValueError(f"{name}: none is given")
            twice = [v for v in value if value.count(v) > 1] if isinstance(value, list) and name != "models" else []
            if twice:
                raise ValueError(f"{name.replace('_', '-')}: {twice[0]} is given twice")
        return self

    def given(self, *names: str) -> list[str]:
        """Return which of these options were given another value than their default (who repeats a run gives all of them)."""
        fields = type(self).model_fields
        return [n for n in names if n in self.model_fields_set and getattr(self, n) != fields[n].default]


class Output(Base):
    """A command that makes something."""

    overwrite: bool = Field(False, description="replace an existing output")
    dry_run: bool = Field(False, description="check the input and say what would be done; write nothing")


class Source(Base):
    """Where a session comes from."""

    source: str = positional(
        "ALF session folder, eid:ID, suite2p folder, NWB, CaImAn, Minian, MATLAB or activity file, .npy, .csv or .parquet matrix",
        input=True,
    )
    one_cache: Path | None = Field(
        None, description="folder of a local ONE cache, for eid:ID", json_schema_extra={"exists": "folder"}
    )
    fs_hz: float | None = Field(
        None, gt=0, le=1000, description="frame rate in Hz, where the source does not say it; else checked against it"
    )
    series: str | None = Field(
        None, description="NWB: name of the series, or of its container, to take as activity where there are several"
    )
    time_axis: Literal["rows", "columns"] | None = Field(
        None, description="matrices and tables: what is time, where their shape does not tell"
    )
    revision: str | None = Field(None, description="ALF: newest revision to take (2025-02-04); not set: the newest")
    bad_frames: Path | None = Field(
        None,
        description="frames not to use: .npy, .csv or .txt of frame numbers from 0, or of one flag a frame",
        json_schema_extra={"exists": "file"},
    )
    trim_times: bool = Field(False, description="drop times after the last frame (at most a tenth) and go on")
    skip_bad_fov: bool = Field(False, description="leave out a field of view with broken files, with a warning")
    line_axis: int = Field(0, ge=0, le=1, description="column of mpciROIs.stackPos that is the scan line (0 or 1)")


class SimulateConfig(Output):
    """Simulate a mesoscope session: a ONE cache with ALF files, and the truth outside alf/."""

    output: Path = Field(description="folder to make: a ONE cache with one session")
    n_fovs: int = Field(2, ge=1, le=16, description="fields of view")
    n_rois: int = Field(330, ge=10, le=20000, description="ROIs in each field of view, 30 % of them cells")
    n_frames: int = Field(3000, ge=400, le=200000, description="frames, 0.205 s apart")
    seed: int = Field(0, ge=0, description="seed of every random choice")


class SessionsConfig(Output):
    """List the sessions of a ONE cache with quality control; write them as a CSV that from_csv reads."""

    cache: Path = positional("folder of ALF sessions, a ONE cache: <lab>/Subjects/...", "folder")
    output: Path | None = Field(
        None, description="CSV file to write: eid, subject, date, ...", json_schema_extra={"product": "sessions.csv"}
    )
    protocol: str = Field("", description="keep sessions whose task folders or protocol contain this text")
    min_duration_min: float = Field(0.0, ge=0, description="least duration in minutes")
    max_bad_frames: float = Field(0.2, ge=0, le=1, description="greatest share of bad frames of a good field of view")
    min_rois: int = Field(1, ge=1, description="least number of cells of a good field of view")


class ExtractConfig(Source, Output):
    """Write the activity of a session's cells as one (time, neuron) HDF5 file."""

    output: Path = Field(
        description="HDF5 file to write: /activity_matrix, /timestamps", json_schema_extra={"product": "activity.h5"}
    )
    signal: Literal["dff", "raw"] = Field("dff", description="dff: F - neucoeff x Fneu; raw: F")
    neucoeff: float = Field(0.7, ge=0, le=2, description="neuropil coefficient")
    time_window: float | None = Field(None, gt=0, description="only the first so many seconds")


class PreprocessConfig(Source, Output):
    """Make the file that models read: dF/F, normalised on the training part, with split and covariates."""

    output: Path = Field(description="HDF5 file to write", json_schema_extra={"product": "session.h5"})
    signal: Literal["dff", "fluorescence", "deconvolved"] = Field(
        "dff", description="dff, F - neucoeff x Fneu as it is, or deconvolved"
    )
    neucoeff: float = Field(0.7, ge=0, le=2, description="neuropil coefficient")
    baseline: Literal["maximin", "percentile", "training"] = Field(
        "maximin", description="F0: causal maximin, causal percentile, or percentile of the training part"
    )
    window_s: float = Field(60.0, gt=0, description="length of the running baseline in s")
    percentile: float = Field(10.0, ge=0, le=50, description="percentile of the baseline")
    normalise: Literal["zscore", "percentile", "none"] = Field(
        "zscore", description="scale of each neuron, fitted on the training part; percentile: 0 to 99.5"
    )
    smooth_s: float = Field(0.0, ge=0, description="time constant in s of a causal smoothing; 0: none")
    least_probability: float = Field(0.0, ge=0, le=1, description="least classifier probability of a cell")
    split: Literal["chronological", "blocks", "stimulus"] = Field(
        "chronological", description="how frames are dealt to training, validation and test"
    )
    fractions: tuple[float, float, float] = Field((0.7, 0.1, 0.2), description="training, validation, test")
    held_out: list[str] = Field([], description="stimulus types that only the test part sees (--split stimulus)")
    cut_after_last_stimulus: bool = Field(False, description="end the recording with its last stimulus")

    @model_validator(mode="after")
    def _fractions_are_parts(self) -> PreprocessConfig:
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError("--fractions: three positive numbers that sum to 1 are expected")
        if self.held_out and self.split != "stimulus":
            raise ValueError(f"--held-out: no stimulus is held out by --split {self.split}; give --split stimulus")
        return self


class Window(Base):
    """Length of the windows, and training."""

    context: int = Field(48, ge=4, le=2000, description="frames that a forecast sees")
    horizon: int = Field(8, ge=1, le=200, description="frames that are forecast")
    behaviour: Literal["none", "past", "known"] = Field(
        "none",
        description="what stack and informer see of trials, wheel, licks, cameras: past up to the last frame seen; known: also the"
        " stimuli of the frames that are forecast",
    )
    body: Literal["mlp", "informer", "gru"] = Field("mlp", description="network of our correction")
    epochs: int = Field(60, ge=1, description="most passes over the training windows")
    batch: int = Field(128, ge=1, description="windows in a batch")
    batches_per_epoch: int | None = Field(None, ge=1, description="most batches in a pass; not set: all")
    patience: int = Field(6, ge=1, description="passes without a better validation loss before training stops")
    learning_rate: float = Field(1e-3, gt=0, description="step size of AdamW")
    spike_weight: float = Field(
        1.0, ge=1, description="weight of frames above 2.5 sd in the loss of networks (not informer); mean weight 1"
    )
    scale_penalty: float = Field(
        0.0, ge=0, description="penalty on the squared log of the predicted scale, Hugging Face models"
    )
    d_model: int = Field(64, ge=8, description="width of the Hugging Face models")
    layers: int = Field(2, ge=1, le=16, description="encoder and decoder layers of the Hugging Face models")
    attention: Literal["full", "prob"] = Field("full", description="informer-hf: prob leaks the future past 20 steps")
    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="where networks are trained")
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = Field(
        "auto", description="auto: bf16-mixed on a GPU, 32-true on a CPU"
    )
    devices: str = Field("1", pattern=r"^(auto|-1|\d+)$", description="devices of this machine, a process each")
    num_nodes: int = Field(1, ge=1, description="machines, each with this command and an --output of its own")
    strategy: str = Field("auto", description="Lightning strategy; of several processes one of ddp")
    seed: int = Field(0, ge=0, description="seed of every random choice")


class TrainConfig(Window, Output):
    """Fit one forecaster on one or several recordings; make a model folder."""

    recordings: list[Path] = positional("preprocessed sessions; several train one network where it can be", "file")
    model: ModelName = Field("informer", description="which forecaster")
    output: Path = Field(description="model folder to make")
    resume: bool = same(False, "accepted: an interrupted training in the same folder goes on by itself")
    resumes: ClassVar[bool] = True


class CompareConfig(Window, Output):
    """Fit several forecasters on one recording and rank them on identical test windows."""

    recording: Path = positional("preprocessed session", "file")
    models: list[ModelName] = Field(
        ["nlinear", "dlinear", "stack", "informer"],
        min_length=1,
        description="forecasters to compare with the baselines from persistence to var, which are always there",
    )
    sweep_contexts: list[int] = Field(
        [], description="also compare these numbers of frames seen, on the same test windows"
    )
    sweep_horizons: list[int] = Field([], description="also compare these numbers of frames forecast")
    preset: Literal["none", "zapbench"] = Field(
        "none",
        description="zapbench: 4 and 256 frames seen, 32 forecast, mean absolute errors in units of the activity, as that benchmark has them",
    )
    published: Path | None = Field(
        None,
        description="JSON table of published errors to set beside (method, context, condition, steps_ahead, MAE), such as ZAPBench's"
        " combined.json",
        json_schema_extra={"exists": "file"},
    )
    n_seeds: int = Field(
        1, ge=1, le=20, description="trainings of each network; scores of the first, the others show the spread"
    )
    output: Path = Field(description="folder for the report, figures and result.json")
    figure_format: FigureFormat = figure_format()

    @model_validator(mode="before")
    @classmethod
    def _preset_says_the_window(cls, given: dict[str, Any]) -> dict[str, Any]:
        window = PRESETS.get(str(given.get("preset")), {})
        typed = [f"--{k} {given[k]}" for k, v in window.items() if str(given.get(k, v)) != str(v)]
        if typed:
            raise ValueError(f"--preset {given['preset']} says context and horizon; leave out {', '.join(typed)}")
        return {**given, **window}

    @model_validator(mode="after")
    def _sweeps_are_windows(self) -> CompareConfig:
        if any(not 4 <= c <= 2000 for c in self.sweep_contexts) or any(not 1 <= h <= 200 for h in self.sweep_horizons):
            raise ValueError("--sweep-contexts: 4 to 2000, --sweep-horizons: 1 to 200 frames are expected")
        if self.published is not None and self.preset == "none":
            raise ValueError("--published: it stands beside --preset zapbench")
        if self.preset != "none" and (self.sweep_contexts or self.sweep_horizons):
            raise ValueError(
                f"--preset {self.preset} says the contexts and horizons; leave out --sweep-contexts and --sweep-horizons"
            )
        return self


class TransferConfig(Window, Output):
    """Hold out each animal once: train on the others, fit only a read-in and a read-out on some minutes of its session."""

    recordings: list[Path] = positional("preprocessed sessions of two or more animals", "file")
    minutes: list[float] = Field(
        [5, 10, 20], description="minutes of the new session before its test part that are learned from"
    )
    output: Path = Field(description="folder for the report, transfer.csv and result.json")

    @model_validator(mode="after")
    def _minutes_are_positive(self) -> TransferConfig:
        if self.behaviour != "none":
            raise ValueError(f"--behaviour {self.behaviour}: transfer sees activity alone; leave it out")
        if not self.minutes or min(self.minutes) <= 0:
            raise ValueError("--minutes: positive numbers are expected")
        return self


class Trained(Output):
    """A command that takes a model and a session, by place (``MODEL RECORDING``) or by name (``--model-folder``, ``--session``)."""

    model: Path = positional("model folder made by train; or --model MODEL", "folder")
    recording: Path = positional("preprocessed session; or --session SESSION", "file")
    model_folder: Path | None = Field(
        None, description="model folder, instead of by place", json_schema_extra={"flags": ["--model"]}
    )
    session: Path | None = Field(None, description="preprocessed session, instead of by place")

    @model_validator(mode="before")
    @classmethod
    def _by_place_or_by_name(cls, given: dict[str, Any]) -> dict[str, Any]:
        names = {"model": "model_folder", "recording": "session"}
        placed = [given[k] for k in names if given.get(k) is not None]
        found = {
            k: given[name] if given.get(name) is not None else placed.pop(0) if placed else None
            for k, name in names.items()
        }
        if placed:
            raise ValueError(f"{placed[0]}: a model and a session are expected, each once, by place or by name")
        return {**given, **{k: v for k, v in found.items() if v is not None}, "model_folder": None, "session": None}


class EvaluateConfig(Trained):
    """Score a trained model on a recording's test part, against baselines fitted on its training part."""

    output: Path | None = Field(None, description="folder for the report, figures and result.json; not set: print only")
    figure_format: FigureFormat = figure_format()
    seed: int = Field(0, ge=0, description="seed of the bootstrap")


class ForecastConfig(Trained):
    """Forecast a recording with a trained model; write means and quantiles as HDF5."""

    part: Literal["test", "validation", "train", "all", "last"] = Field(
        "test", description="windows to forecast; last: what follows the recording's end"
    )
    every: int = Field(1, ge=1, description="forecast each so-many-th window")
    quantiles: list[float] = Field([0.05, 0.25, 0.5, 0.75, 0.95], description="quantile levels between 0 and 1")
    output: Path = Field(description="HDF5 file to write", json_schema_extra={"product": "forecast.h5"})

    @model_validator(mode="after")
    def _levels_are_probabilities(self) -> ForecastConfig:
        levels = self.quantiles
        if not levels or levels[0] <= 0 or levels[-1] >= 1 or sorted(set(levels)) != levels:
            raise ValueError("--quantiles: ascending levels between 0 and 1 are expected")
        return self


class PlotConfig(Output):
    """Draw a forecast file: traces with intervals, rasters of truth, forecast and residual."""

    forecast: Path = positional("forecast file made by forecast", "file")
    recording: Path = positional("the preprocessed session that was forecast", "file")
    neurons: list[int] = Field([], description="rows of the neurons to draw; not set: the four best forecast")
    output: Path = Field(description="folder for the figures")
    figure_format: FigureFormat = figure_format()


class ExportConfig(Output):
    """Write a forecast as ALF objects with the cells' uuids, or as an NWB file."""

    forecast: Path = positional("forecast file made by forecast", "file")
    recording: Path = positional("the preprocessed session that was forecast", "file")
    format: Literal["alf", "nwb"] = Field("alf", description="alf: objects that ONE reads; nwb: forecast.nwb")
    output: Path = Field(description="folder to make")


class InfoConfig(Base):
    """Say what a file or model folder holds."""

    path: Path = positional(
        "anything that is read or made here: sessions, recordings, activity, forecasts, models, reports", "any"
    )
