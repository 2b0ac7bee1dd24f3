"""Which options does each command have? Default, bounds and description of every option live here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


SAME: dict[str, Any] = {"same": True}  # the option changes no result


def _source(
    text: str = "blech_clust directory, .nwb file, or spike table (.csv, .tsv, .parquet, .npz with unit_id, time_s)",
    exists: str = "any",
):
    return Field(description=text, json_schema_extra={"positional": True, "exists": exists})


def _figure_format():
    return Field("png", description="format of the figures (png at 300 dpi)", json_schema_extra=SAME)


def _dry_run():
    return Field(False, description="say what would be done, and do nothing")


def _plots():
    return Field(True, description="draw figures and the report", json_schema_extra=SAME)


def _units_to_draw():
    return Field("all", description="units with a figure each: all, none, or indices 0,3,7", json_schema_extra=SAME)


class ExtractOptions(_Frozen):
    """What to read and how to bin it."""

    bin_size: int = Field(25, ge=1, le=1000, description="bin size in ms")
    history_window: int = Field(250, ge=1, description="history window in ms")
    coupling_window: int = Field(125, ge=1, description="coupling window in ms")
    time_lims: tuple[int, int] = Field((1500, 4500), description="analysis window in ms from the start of the trial")
    time_lims_from_stimulus: tuple[int, int] | None = Field(
        None, description="analysis window in ms from the stimulus; replaces --time-lims"
    )
    laser: Literal["include", "exclude", "regressor", "kernel"] = Field(
        "include",
        description="laser trials: use as they are, leave out, add a laser-on regressor, or a kernel and one with the stimulus",
    )
    h5: str | None = Field(None, description="name of the .h5 file to read where a directory holds several")
    units: str | None = Field(
        None, description="which units, such as \"quality == 'good' and firing_rate > .5\" (columns of the units)"
    )
    events: Path | None = Field(
        None,
        description="events of a spike table: a table with time_s (or time_ms, time_us, time_samples) and a label column",
        json_schema_extra={"exists": "file"},
    )
    observed: Path | None = Field(
        None,
        description="when units were recorded: a table start_s,stop_s[,unit_id] on the recording's clock; bins outside are no observations",
        json_schema_extra={"exists": "file"},
    )
    covariates: list[Path] = Field(
        [],
        description="what else was measured: tables of time_s and columns (or a column event), NWB files with time series",
        json_schema_extra={"exists": "file"},
    )
    bases: list[str] = Field(
        [], description="which covariates, through which basis: NAME=linear|spline|cyclic|lagged, or X*Y=plane"
    )
    drift: bool = Field(
        False, description="a slow gain of each unit over the recording (a smooth effect of the trial's time)"
    )
    covariate_window: int = Field(1000, ge=1, description="how far a lagged covariate looks back in ms")
    sampling_rate: float | None = Field(None, gt=0, description="samples a second of time_samples columns, in Hz")
    label_column: str | None = Field(
        None,
        description="column with the stimulus of each trial (NWB intervals, events table), or none for one stimulus",
        json_schema_extra={"flags": ["--label"]},
    )
    align_column: str | None = Field(
        None,
        description="column with the stimulus time in s (NWB intervals, events table; default start_time, or an event table's time_s)",
        json_schema_extra={"flags": ["--align"]},
    )
    intervals: str | None = Field(
        None, description="NWB table of intervals whose rows are trials (default: trials, or the only one), or none"
    )
    region_column: str | None = Field(
        None, description="NWB units column with the region (default: found, also through electrodes)"
    )
    to_trial_end: bool = Field(False, description="bins after a trial's own end (stop_time, stop_s) do not count")
    trial_window: tuple[int, int] = Field(
        (-2000, 5000), description="trial around each event in ms (NWB, spike tables)"
    )
    segment_s: float = Field(10.0, gt=0, description="segment length in s where there are no events")
    blech_clust_env: str = Field(
        "blech_clust",
        description="conda environment that extracts: a name, its path, or none; default used where it exists",
        json_schema_extra=SAME,
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name in ("time_lims", "time_lims_from_stimulus", "trial_window"):
            pair = getattr(self, name)
            if pair is not None and pair[0] >= pair[1]:
                raise ValueError(
                    f"--{name.replace('_', '-')} {pair[0]} {pair[1]}: the first must lie before the second"
                )
        if self.history_window < self.bin_size or self.coupling_window < self.bin_size:
            raise ValueError(f"history and coupling windows must hold at least one bin of {self.bin_size} ms")
        return self


class FitOptions(_Frozen):
    """Which model, under which prior, scored how."""

    n_basis_funcs: int = Field(8, ge=2, le=64, description="number of raised cosines of the history filter")
    n_coupling_funcs: int = Field(4, ge=2, le=64, description="number of raised cosines of the coupling filters")
    stimulus_window: int = Field(2500, ge=1, description="stimulus kernel in ms from stimulus onset")
    n_stimulus_funcs: int = Field(10, ge=2, le=64, description="number of raised cosines of the stimulus kernel")
    include_coupling: bool = Field(False, description="coupling between the units of a region")
    coupling_method: Literal["auto", "full", "screened"] = Field(
        "auto",
        description="every pair in one regression, or at most 50 screened sources a unit; auto: screened above 60 units",
    )
    separate_tastes: bool = Field(False, description="one model for each taste instead of one joint model")
    separate_regions: bool = Field(False, description="one population for each region")
    prior: Literal["learned", "blocks", "cv"] = Field(
        "learned",
        description="empirical Bayes with edge selection; one variance per block; ridge chosen by inner folds",
    )
    penalty: float | None = Field(
        None, ge=0, description="plain ridge of this strength (nemos' convention) instead of --prior"
    )
    observation: Literal["poisson", "negative-binomial", "bernoulli", "auto"] = Field(
        "poisson",
        description="how counts scatter about the rate; auto: chosen for each unit by held-out likelihood",
    )
    solver: Literal["auto", "newton", "pcg", "nemos-lbfgs"] = Field(
        "auto", description="exact Newton, Newton-PCG (auto picks by size), or nemos' LBFGS (needs --penalty)"
    )
    cv_folds: int = Field(5, ge=0, le=100, description="cross-validation folds over trials; 0 scores nothing held out")
    nested: bool = Field(True, description="score the nested models too, not only the full one")
    jobs: int = Field(1, ge=1, description="processes over folds and populations")
    seed: int = Field(0, ge=0, description="seed of the random places of spikes within bins (time rescaling)")
    nemos_env: Path | None = Field(
        None, description="interpreter or virtual environment that has nemos and fits", json_schema_extra=SAME
    )
    create_nemos_env: bool = Field(
        False, description="make a virtual environment with nemos and fit there", json_schema_extra=SAME
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.solver == "nemos-lbfgs" and self.penalty is None:
            raise ValueError("--solver nemos-lbfgs fits plain ridge only; give --penalty")
        if self.coupling_method == "screened" and (self.penalty is not None or self.prior != "learned"):
            raise ValueError("--coupling-method screened needs --prior learned, without --penalty")
        if self.solver == "nemos-lbfgs" and self.observation != "poisson":
            raise ValueError("--solver nemos-lbfgs fits Poisson counts only; --observation needs another solver")
        if self.cv_folds == 1:
            raise ValueError("--cv-folds 1 leaves nothing to train on; give 0 or at least 2")
        return self


class InferConfig(ExtractOptions, FitOptions):
    """Estimate rates of a recording: extract, fit, score, write, draw."""

    data: Path = _source()
    output: Path | None = Field(
        None,
        description="write a separate HDF5 file and leave the recording alone",
        json_schema_extra={"product": "rates.h5"},
    )
    overwrite: bool = Field(False, description="replace an existing --output file")
    retrain: bool = Field(False, description="fit again even if data and options are unchanged", json_schema_extra=SAME)
    plots: bool = _plots()
    plot_units: Literal["all", "none"] | str = _units_to_draw()
    figure_format: Literal["png", "svg", "pdf"] = _figure_format()
    strict: bool = Field(
        False,
        description="stop with exit code 3 where taste labels disagree with the sorted spikes",
        json_schema_extra=SAME,
    )
    keep_temp: bool = Field(False, description="keep the exchange folder of the two stages", json_schema_extra=SAME)
    dry_run: bool = _dry_run()

    @property
    def target(self) -> Path | None:
        """What the console's rule for finished outputs applies to: a file of its own, unless it is to be fitted again."""
        return None if self.retrain else self.output


class ExtractConfig(ExtractOptions):
    """Stage 1 by hand: bin a recording into an exchange folder."""

    data: Path = _source()
    output: Path = Field(description="exchange folder to write")
    overwrite: bool = Field(False, description="replace an existing folder")
    dry_run: bool = _dry_run()


class FitConfig(FitOptions):
    """Stage 2 by hand: fit an exchange folder and write a results file."""

    folder: Path = _source("exchange folder written by 'glm-rates extract'", "folder")
    output: Path = Field(description="HDF5 file with the results", json_schema_extra={"product": "rates.h5"})
    overwrite: bool = Field(False, description="replace an existing file")
    dry_run: bool = _dry_run()
    plots: bool = _plots()
    figure_format: Literal["png", "svg", "pdf"] = _figure_format()


class EvaluateConfig(FitOptions):
    """Held-out scores of nested models and simple rivals, without a full fit."""

    folder: Path = _source("exchange folder written by 'glm-rates extract'", "folder")
    output: Path = Field(
        description="CSV file with the score of every unit and model", json_schema_extra={"product": "scores.csv"}
    )
    overwrite: bool = Field(False, description="replace an existing file")
    dry_run: bool = _dry_run()


class PlotConfig(_Frozen):
    """Draw the figures and the report of stored results again."""

    data: Path = _source("recording directory, recording .h5, or results file with rates")
    output: Path | None = Field(None, description="folder for the figures; default glm_output/plots beside the file")
    overwrite: bool = Field(False, description="replace an existing folder of figures")
    plot_units: Literal["all", "none"] | str = _units_to_draw()
    figure_format: Literal["png", "svg", "pdf"] = _figure_format()


class InfoConfig(_Frozen):
    """What is this file or folder? Recordings, spike tables, exchange folders, results; exit 2 for anything else."""

    data: Path = _source("any input that glm-rates reads, or any output that it makes")
    h5: str | None = Field(None, description="name of the .h5 file where a blech_clust directory holds several")
    sampling_rate: float | None = Field(None, gt=0, description="samples a second of time_samples columns, in Hz")
    intervals: str | None = Field(None, description="NWB table of intervals whose rows are trials, or none")


class CheckConfig(_Frozen):
    """Is a blech_clust directory consistent? Exit code 3 when it is not."""

    data: Path = _source("blech_clust directory", "folder")
    h5: str | None = Field(None, description="name of the .h5 file where the directory holds several")


class SimulateConfig(_Frozen):
    """Write a simulated blech_clust directory with known filters."""

    output: Path = Field(description="directory to write, laid out as by blech_clust")
    n_tastes: int = Field(4, ge=1, le=12, description="number of tastes")
    n_trials: int = Field(30, ge=2, description="trials of each taste")
    n_units: int = Field(12, ge=1, le=500, description="number of units, half of them in each region")
    coupled: bool = Field(True, description="units of a region influence each other")
    history: bool = Field(True, description="units have refractory and rebound history filters")
    stimulus: bool = Field(True, description="tastes change the rates")
    permute_labels: bool = Field(False, description="swap two spike arrays, as an old fault did (for 'check')")
    seed: int = Field(0, ge=0, description="seed of every random choice")
    overwrite: bool = Field(False, description="replace an existing simulated directory")
    dry_run: bool = _dry_run()


class DecodeConfig(FitOptions):
    """When do rates tell the stimulus, and its palatability? Decoding in time from rates fitted blind to the labels."""

    folder: Path = _source("exchange folder written by 'glm-rates extract'", "folder")
    output: Path = Field(description="folder for the table and the figure")
    overwrite: bool = Field(False, description="replace an existing folder")
    dry_run: bool = _dry_run()
    palatability: list[str] = Field([], description="palatability of every stimulus: sucrose=4,NaCl=3,...")
    window: int = Field(250, ge=1, description="window of the mean rate in ms")
    step: int = Field(100, ge=1, description="from one window to the next in ms")
    n_folds: int = Field(5, ge=2, le=50, description="stratified folds over trials")
    n_shuffles: int = Field(100, ge=19, le=10000, description="shuffles of the labels for the null")
    figure_format: Literal["png", "svg", "pdf"] = _figure_format()


class ExportNwbConfig(_Frozen):
    """Copy an NWB file and add the rates, their intervals and the units' scores as a processing module."""

    data: Path = _source("results file of 'glm-rates infer SESSION.nwb'", "file")
    nwb: Path = Field(description="NWB file that was analysed", json_schema_extra={"exists": "file"})
    output: Path = Field(description="NWB file to write", json_schema_extra={"product": "rates.nwb"})
    overwrite: bool = Field(False, description="replace an existing file")


class EnvsConfig(_Frozen):
    """Which interpreters were found for the two stages, and why."""

    blech_clust_env: str = Field("blech_clust", description="conda environment to look for: a name, a path, or none")
    nemos_env: Path | None = Field(None, description="interpreter or virtual environment to try first")
