"""Which options does each command have? Names, units, defaults, bounds and help stand here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Task = Literal["three_class", "noise_vs_neural", "sua_vs_mua", "sua_vs_all"]
Classifier = Literal[
    "vote", "RandomForestClassifier", "GradientBoostingClassifier", "LogisticRegression", "MLPClassifier", "SVC"
]
Imputation = Literal["median", "mean", "most_frequent", "mode", "knn", "iterative"]
Scaling = Literal["standard_scaler", "robust_scaler", "min_max_scaler"]

POSITIONAL: dict[str, Any] = {"positional": True}
OUT: dict[str, Any] = {"flags": ["-o"]}
THERE: dict[str, Any] = {"exists": "any"}
SAME: dict[str, Any] = {"same": True}
#: Do not depend on the scaling of their metrics.
TREES = ("vote", "RandomForestClassifier", "GradientBoostingClassifier")
OVERWRITE = "replace an earlier result"
FORMAT: dict[str, Any] = {"description": "format of the figures", "json_schema_extra": {"flags": ["--format"]}}
MEMORY: dict[str, Any] = {
    "description": "refuse work, or a model, that is estimated to need more memory than this, in MB",
    "json_schema_extra": SAME,
}
CLASS_NAMES = "what the classes of a foreign model are, e.g. 0=noise,1=neural; over what its folder says"
LABELLERS = "other programs' criteria beside the model: bombcell, allen, ibl, spikeinterface, kslabel, or JSON files of thresholds"
Format = Literal["png", "svg", "pdf"]


class Command(BaseModel):
    """What all commands share: a config is never changed, an unknown key is an error, and an option that would do nothing is one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _nothing_is_ignored(self):
        for cls in type(self).__mro__:
            for name, does_nothing, why in IDLE.get(cls.__name__, ()):
                if getattr(self, name) != type(self).model_fields[name].default and does_nothing(self):
                    raise ValueError(f"--{name.replace('_', '-')}: {why}")
        return self

    @model_validator(mode="after")
    def _output_is_of_its_kind(self):
        output, field = getattr(self, "output", None), type(self).model_fields.get("output")
        is_file = "product" in ((field and field.json_schema_extra) or {})
        if output is not None and output.exists() and output.is_dir() == is_file:
            kinds = "a folder; a file is made" if is_file else "a file; a folder is made"
            raise ValueError(f"--output: {output} is {kinds}; give another output")
        return self


class Tables(Command):
    """Units to read: tables of metrics, Phy folders or SortingAnalyzer folders, one recording each."""

    inputs: list[Path] = Field(
        min_length=1,
        description="metrics tables (CSV, parquet, NWB), Phy folders or SortingAnalyzer folders, one for each recording",
        json_schema_extra=POSITIONAL | THERE,
    )
    group_by: str = Field("file", description="one recording: 'file', or the column of a table that tells them apart")
    compute_missing: bool = Field(
        False, description="compute, in memory, the metrics that an analyzer or a Kilosort folder lacks"
    )
    gain_to_uv: float | None = Field(
        None, gt=0, description="microvolt of one step of a Kilosort folder's raw file, for --compute-missing"
    )
    trust_pickles: bool = Field(
        False, description="open analyzers that hold pickled objects, which can execute anything: only your own"
    )
    max_memory: int = Field(1000, ge=50, **MEMORY)


class Labelled(Tables):
    """Units with a curator's labels."""

    labels: list[Path] = Field(
        [], description="label files (Phy, table, JSON, NWB), one for each input", json_schema_extra={"exists": "file"}
    )
    label_column: str | None = Field(
        None,
        description="what holds the labels: a column of the label file, else of the table or folder; a property of the analyzer",
    )
    label_category: str | None = Field(
        None,
        description="which label category of a curation JSON tells the quality; default: 'quality', or the only one that does",
    )
    label_map: list[str] = Field(
        [], description="what a label means, e.g. 0=noise,1=neural; good, mua, noise, neural or unlabeled on the right"
    )

    @model_validator(mode="after")
    def _labels_fit_inputs(self):
        if self.labels and len(self.labels) != len(self.inputs):
            raise ValueError(
                f"--labels: {len(self.labels)} label files for {len(self.inputs)} inputs; give one for each, in the same order"
            )
        return self


class TrainConfig(Labelled):
    """Learn a curator's labels; make a model folder that SpikeInterface and UnitRefine read."""

    animal_by: str | None = Field(
        None, description="column, or regular expression on the file name (e.g. 'mouse[0-9]+'), that tells the animal"
    )
    task: Task = Field("three_class", description="which classes to tell apart; with --add the base model's")
    add: Path | None = Field(
        None, description="base model, to whose units a few labels are added", json_schema_extra={"exists": "folder"}
    )
    classifiers: list[Classifier] = Field(
        ["vote"], min_length=1, description="to choose from; 'vote' is HistGradientBoosting + ExtraTrees, balanced"
    )
    imputation_strategies: list[Imputation] = Field(
        ["median"], min_length=1, description="how a missing metric is filled, inside the cross-validation"
    )
    scaling_techniques: list[Scaling] = Field(
        ["standard_scaler"],
        min_length=1,
        description="how metrics are scaled (after a signed log); the first for trees",
    )
    metric_names: list[str] = Field([], description="metrics to use; default: every metric known to SpikeInterface")
    cv_folds: int = Field(3, ge=2, le=20, description="inner folds (grouped) that choose among settings")
    search_iterations: int = Field(
        1, ge=1, le=8, description="settings tried for each classifier, imputation and scaling"
    )
    duplicates: Literal["remove", "refuse"] = Field(
        "remove", description="what happens to units that stand in the data twice"
    )
    bootstraps: int = Field(1000, ge=100, le=100_000, description="resamplings of the recordings for the intervals")
    allow_small: bool = Field(False, description="go on with 50 labelled units or fewer, or fewer than 6 of a class")
    jobs: int = Field(1, ge=1, description="worker processes; the result does not depend on it", json_schema_extra=SAME)
    scheduler: str | None = Field(
        None, description="who works instead: Dask (tcp://HOST:8786) or slurm:FILE.toml", json_schema_extra=SAME
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of every random choice")
    figure_format: Format = Field("png", **FORMAT)
    output: Path = Field(Path("unit_refine_model"), description="model folder to make", json_schema_extra=OUT)
    overwrite: bool = Field(False, description=OVERWRITE)
    dry_run: bool = Field(False, description="read and check the input, say what would be trained, write nothing")


class WithModel(Command):
    """A command whose first word is a model folder."""

    model: Path = Field(
        description="model folder made by train, SpikeInterface or UnitRefine", json_schema_extra=POSITIONAL | THERE
    )
    class_names: list[str] = Field([], description=CLASS_NAMES)


class PredictConfig(Tables, WithModel):
    """Label the units of new recordings, with probabilities and an option to abstain."""

    cascade: Path | None = Field(
        None, description="second model (sua_vs_mua) for what the first does not call noise", json_schema_extra=THERE
    )
    abstain: float = Field(
        0.0, ge=0, lt=1, description="share of units, the least confident of each predicted class, left to a person"
    )
    min_confidence: float = Field(
        0.0, ge=0, le=1, description="leave a unit to a person when its prediction_confidence is below this"
    )
    labellers: list[str] = Field([], description=LABELLERS)
    prior_correction: bool = Field(
        False, description="adapt the calibrated probabilities (never the labels) to the new data's class shares (EM)"
    )
    write_phy: bool = Field(
        False, description="also write the labels into the Phy or Kilosort folders that were read, as export-phy does"
    )
    write_group: bool = Field(
        False, description="with --write-phy: also fill cluster_group.tsv, keeping a backup and every person's label"
    )
    output: Path = Field(
        Path("model_predictions.csv"), description="table to write", json_schema_extra=OUT | {"product": "labels.csv"}
    )
    overwrite: bool = Field(False, description=OVERWRITE)


class EvaluateConfig(Labelled, WithModel):
    """Score a model on labelled units that it has never seen."""

    bootstraps: int = Field(1000, ge=100, le=100_000, description="resamplings of the recordings for the intervals")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of the resamplings")
    figure_format: Format = Field("png", **FORMAT)
    output: Path | None = Field(
        None, description="folder for scores, figures and report; default: print only", json_schema_extra=OUT
    )
    overwrite: bool = Field(False, description=OVERWRITE)


class CompareConfig(Labelled):
    """Score several models on the same labelled units, side by side."""

    models: list[Path] = Field(
        min_length=1, description="model folders, comma-separated or repeated", json_schema_extra=THERE
    )
    labellers: list[str] = Field([], description=LABELLERS)
    bootstraps: int = Field(1000, ge=100, le=100_000, description="resamplings of the recordings for the intervals")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of the resamplings")
    output: Path | None = Field(
        None,
        description="table (CSV) to write; default: print only",
        json_schema_extra=OUT | {"product": "comparison.csv"},
    )
    overwrite: bool = Field(False, description=OVERWRITE)
    dry_run: bool = Field(False, description="read models and units, say what would be compared, write nothing")

    @model_validator(mode="after")
    def _two_at_least(self):
        twice = [m for m in self.models if self.models.count(m) > 1]
        if twice:
            raise ValueError(
                f"--models: {twice[0]} is given twice; it would be compared with itself and have two votes"
            )
        if len(self.models) + len(self.labellers) < 2:
            raise ValueError("--models: one model beside nothing; give two, or one and --labellers")
        return self


class InfoConfig(Command):
    """Say what a model is and whether it is safe and answers as it did; or what a table, folder or label file holds."""

    model: Path = Field(
        description="model folder, metrics table, Phy folder, analyzer, predictions, group file or curation JSON",
        json_schema_extra=POSITIONAL | THERE,
    )
    class_names: list[str] = Field([], description=CLASS_NAMES)
    max_memory: int = Field(1000, ge=50, **MEMORY)


class Predictions(Command):
    """A command that reads what predict wrote."""

    predictions: Path = Field(description="table made by predict", json_schema_extra=POSITIONAL | {"exists": "file"})
    recording: str | None = Field(None, description="which recording of the table, where it holds several")


class ExportPhyConfig(Predictions):
    """Write predictions into a Phy folder; a person's labels are never changed."""

    phy_folder: Path = Field(
        description="Phy folder that gets the labels",
        json_schema_extra=POSITIONAL | {"exists": "folder", "input": False},
    )
    write_group: bool = Field(
        False, description="also fill cluster_group.tsv, keeping a backup and every label a person gave"
    )
    overwrite: bool = Field(False, description="replace cluster_unit_refine*.tsv of an earlier export")

    @property
    def target(self) -> Path:
        """The file that Phy shows as a column."""
        return self.phy_folder / "cluster_unit_refine.tsv"


class ExportCurationConfig(Predictions):
    """Write predictions as SpikeInterface curation JSON (format 2)."""

    output: Path = Field(
        Path("curation.json"),
        description="SpikeInterface curation file (format 2) to write",
        json_schema_extra=OUT | {"product": "curation.json"},
    )
    overwrite: bool = Field(False, description=OVERWRITE)


class SuggestConfig(Tables, WithModel):
    """Name the units whose labels would teach the model most."""

    n_units: int = Field(20, ge=1, description="how many units to suggest", json_schema_extra={"flags": ["--n"]})
    output: Path = Field(
        Path("suggestions.csv"), description="table to write", json_schema_extra=OUT | {"product": "suggestions.csv"}
    )
    overwrite: bool = Field(False, description=OVERWRITE)


class ReviewConfig(Tables, WithModel):
    """Make a page (one HTML file) on which a person looks at the units of a recording and labels them."""

    n_units: int = Field(
        1000, ge=1, le=5000, description="how many units, the least certain first", json_schema_extra={"flags": ["--n"]}
    )
    output: Path = Field(
        Path("review.html"), description="page to write", json_schema_extra=OUT | {"product": "review.html"}
    )
    overwrite: bool = Field(False, description=OVERWRITE)


class SimulateConfig(Command):
    """Make recordings whose every unit is known, as analyzers, metrics tables and labels."""

    kind: Literal["recordings", "tables"] = Field(
        "recordings",
        description="'recordings': simulated voltage with known spikes -> analyzers (needs SpikeInterface); 'tables': metrics only",
    )
    n_recordings: int = Field(3, ge=1, le=100, description="how many recordings")
    n_units: int = Field(30, ge=9, le=5000, description="units of each recording, a third of each class")
    duration_s: float = Field(60.0, ge=20, le=3600, description="length of a simulated recording in s")
    n_channels: int = Field(16, ge=4, le=128, description="channels of a simulated recording")
    noise_uv: float = Field(8.0, gt=0, description="standard deviation of the recording noise in microvolt")
    label_noise: float = Field(0.0, ge=0, le=0.5, description="fraction of units whose label the curator gets wrong")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of every random choice")
    output: Path = Field(Path("simulated_units"), description="folder to make", json_schema_extra=OUT)
    overwrite: bool = Field(False, description=OVERWRITE)
    dry_run: bool = Field(False, description="say what would be made, write nothing")


class PlotConfig(Tables, WithModel):
    """Draw a model's figures again, or the metrics of new units by predicted class."""

    inputs: list[Path] = Field(
        [],
        description="units to draw by predicted class; none: the training units",
        json_schema_extra=POSITIONAL | THERE,
    )
    figure_format: Format = Field("png", **FORMAT)
    output: Path = Field(Path("unit_refine_figures"), description="folder for the figures", json_schema_extra=OUT)
    overwrite: bool = Field(False, description=OVERWRITE)


class ConvertMetricsConfig(Tables):
    """Bring metrics of analyzers, Phy folders or tables into one table, with new or old metric names."""

    spelling: Literal["new", "old"] = Field(
        "new", description="metric names of SpikeInterface 0.104.0 and later, or those before"
    )
    output: Path = Field(
        Path("metrics.csv"), description="table to write", json_schema_extra=OUT | {"product": "metrics.csv"}
    )
    overwrite: bool = Field(False, description=OVERWRITE)


UNWRITTEN, VOLTAGE = "nothing is written without --output", "--kind tables has no voltage"
NEW = "it is about new units, and there are no INPUTS"
#: Command -> options, when each does nothing, and why.
IDLE: dict[str, list[tuple[str, Callable[[Any], bool], str]]] = {
    "Tables": [("gain_to_uv", lambda c: not c.compute_missing, "nothing is computed without --compute-missing")],
    "Labelled": [("label_category", lambda c: not any(p.suffix.lower() == ".json" for p in c.labels), "only a curation JSON (--labels) has categories")],
    "TrainConfig": [("animal_by", lambda c: c.add is not None, "not used with --add, which is scored on the added recording")],
    "EvaluateConfig": [(n, lambda c: c.output is None, UNWRITTEN) for n in ("overwrite", "figure_format")],
    "CompareConfig": [("overwrite", lambda c: c.output is None, UNWRITTEN)],
    "SimulateConfig": [(n, lambda c: c.kind == "tables", VOLTAGE) for n in ("duration_s", "n_channels", "noise_uv")],
    "PlotConfig": [(n, lambda c: not c.inputs, NEW) for n in ("group_by", "compute_missing", "trust_pickles")],
}  # fmt: skip
