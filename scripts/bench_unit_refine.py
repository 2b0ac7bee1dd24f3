"""How does unit_refine compare with SpikeInterface's ``train_model``: on animals it has not seen, in time and in size?

    python scripts/bench.py unit_refine DATA --label-column majority_vote --animal-by 'mouse[0-9]+'
    python scripts/bench.py unit_refine DATA --label-column majority_vote --animal-by 'mouse[0-9]+' --part speed

DATA is a folder of metrics tables (CSV), one for each recording; without it, tables are simulated. Both programs get the same units
and the same folds in the same run. ``accuracy`` holds out one animal after the other; SpikeInterface's trainer gets a random forest,
median imputation, standard scaling and ten random-search settings (its full default grid takes too long to repeat for every fold).
``speed`` times one training with the full default grid of each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from unit_refine import simulate
from unit_refine.config import TrainConfig
from unit_refine.files import load_model, recordings
from unit_refine.fit import train
from unit_refine.model import calibration
from unit_refine.model.decisions import balanced_accuracy, decide
from unit_refine.model.pipelines import Setting, fit, settings
from unit_refine.score import evaluate
from unit_refine.units.assemble import Units, assemble

TASKS = ("noise_vs_neural", "sua_vs_mua", "three_class")
DEFAULT = Setting("vote", "median", "standard_scaler", {})
SEED_ALGORITHMS = ("RandomForestClassifier", "GradientBoostingClassifier", "LogisticRegression", "MLPClassifier")


def peer(metrics: pd.DataFrame, y: np.ndarray, folder: Path, seed: int, full_grid: bool = False):
    """Return the pipeline of ``spikeinterface.curation.train_model``, or None where SpikeInterface is absent."""
    try:
        from spikeinterface.curation import train_model
    except ImportError:
        return None
    path = folder / "metrics.csv"
    metrics.to_csv(path)
    grid = {} if full_grid else {"imputation_strategies": ["median"], "scaling_techniques": ["standard_scaler"]}
    search = None if full_grid else {"cv": 3, "n_iter": 10, "scoring": "balanced_accuracy"}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        trainer = train_model(
            mode="csv", labels=[y.tolist()], metrics_paths=[path], folder=folder / "peer", metric_names=list(metrics.columns),
            overwrite=True, seed=seed, search_kwargs=search, verbose=False, n_jobs=1, **grid,
        )  # fmt: skip
    return trainer.best_pipeline


def peer_probabilities(pipeline, metrics: pd.DataFrame, n_classes: int) -> np.ndarray:
    """Return probabilities as SpikeInterface computes them: in float32."""
    with np.errstate(over="ignore"):
        single = metrics.astype("float32").replace([np.inf, -np.inf], np.nan)
    p = np.zeros((len(metrics), n_classes))
    p[:, pipeline.classes_.astype(int)] = pipeline.predict_proba(single)
    return p


def row(task: str, method: str, p: np.ndarray, guess: np.ndarray, units: Units) -> dict:
    """Return one line of the table: pooled scores of held-out animals."""
    assert units.animals is not None
    calibrated = calibration.cross_fit(p, units.y, units.animals)
    found = evaluate.score(units.y, p, calibrated, units.animals, units.classes)
    precision, recall = evaluate.from_confusion(evaluate.confusion_matrix(units.y, guess, len(units.classes)))
    return {
        "task": task, "method": method, "balanced accuracy": recall.mean(), "precision": precision.mean(), "recall": recall.mean(),
        "ROC AUC": found.values["roc_auc"], "calibration error": evaluate.calibration_error(p, units.y),
        "calibration error, calibrated": found.values["ece"],
        "by animal": " ".join(f"{balanced_accuracy(units.y[units.animals == a], guess[units.animals == a]):.3f}" for a in np.unique(units.animals)),
    }  # fmt: skip


def accuracy(units_of: dict[str, Units], seeds: int) -> list[dict]:
    """Return the leave-one-animal-out table: ours, a plain balanced random forest, SpikeInterface's trainer."""
    rows = []
    for task, units in units_of.items():
        assert units.animals is not None
        k = len(units.classes)
        ours = [DEFAULT, Setting("RandomForestClassifier", "median", "standard_scaler", {"min_samples_leaf": 3})]
        for setting, name in zip(ours, ("unit_refine (default vote)", "unit_refine (random forest)")):
            held = train.hold_out([setting], units.metrics, units.y, units.animals, 3, 0)
            rows.append(row(task, name, held.p, decide(held.p), units))
        print(pd.DataFrame(rows[-2:]).round(3).to_string(index=False, header=False), file=sys.stderr, flush=True)
        for seed in range(seeds):
            p, guess = np.zeros((len(units.y), k)), np.zeros(len(units.y), int)
            for animal in np.unique(units.animals):
                inside = units.animals == animal
                with tempfile.TemporaryDirectory() as folder:
                    pipeline = peer(units.metrics[~inside].reset_index(drop=True), units.y[~inside], Path(folder), seed)
                if pipeline is None:
                    print("spikeinterface is not installed: its train_model is not in the table", file=sys.stderr)
                    break
                p[inside] = peer_probabilities(pipeline, units.metrics[inside], k)
                guess[inside] = pipeline.classes_[p[inside].argmax(axis=1)]
            else:
                rows.append(row(task, f"SpikeInterface train_model, seed {seed}", p, guess, units))
                print(
                    pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=False), file=sys.stderr, flush=True
                )
    return rows


def speed(units: Units, files: list[Path], options: list[str], peer_too: bool) -> list[dict]:
    """Return CPU seconds of training and predicting, and the size of the model file."""
    rows, single = [], units.metrics
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, extra in (
            ("unit_refine default", []),
            ("unit_refine, the four seed algorithms", ["--classifiers", ",".join(SEED_ALGORITHMS)]),
        ):
            target = folder / label.replace(" ", "_").replace(",", "")
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [
                sys.executable,
                "-m",
                "unit_refine",
                "train",
                *map(str, files),
                *options,
                *extra,
                "--quiet",
                "--output",
                str(target),
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            model = load_model.load(target)
            tiled = pd.concat([single] * (5000 // len(single) + 1), ignore_index=True).iloc[:5000]
            start = time.process_time()
            load_model.predict_proba(model, tiled)
            rows.append({"method": label, "train CPU s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, "peak MB": after.ru_maxrss / 1024, "predict 5000 units CPU s": time.process_time() - start, "model file MB": (target / "best_model.skops").stat().st_size / 1e6})  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
        start = time.process_time()
        train.train(list(settings(["vote"], ["median"], ["standard_scaler"], 1)), single, units.y, units.groups, 3, 0)
        rows.append(
            {"method": "unit_refine default, fits alone (held out + refit)", "train CPU s": time.process_time() - start}
        )
        start = time.process_time()
        fit(DEFAULT, single, units.y, 0)
        rows.append({"method": "unit_refine default, one fit", "train CPU s": time.process_time() - start})
        if peer_too:
            start = time.process_time()
            pipeline = peer(single, units.y, folder, 0, full_grid=True)
            if pipeline is not None:
                used = time.process_time() - start
                start = time.process_time()
                peer_probabilities(pipeline, tiled, len(units.classes))
                rows.append({"method": "SpikeInterface train_model, default grid", "train CPU s": used, "predict 5000 units CPU s": time.process_time() - start, "model file MB": (folder / "peer" / "best_model.skops").stat().st_size / 1e6})  # fmt: skip
                for r in rows:
                    r["train, ratio to SpikeInterface"] = float(str(r["train CPU s"])) / used
    return rows


def markdown(rows: list[dict]) -> str:
    """Return rows as a Markdown table."""
    columns = list(dict.fromkeys(c for r in rows for c in r))
    shown = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in (r.get(c, "") for c in columns)] for r in rows]
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in [columns, ["---"] * len(columns), *shown]])


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        prog="bench.py unit_refine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, help="folder of metrics tables")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--animal-by", default=None)
    parser.add_argument("--part", choices=["accuracy", "speed"], default="accuracy")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=1, help="seeds of SpikeInterface's trainer")
    parser.add_argument("--no-peer", action="store_true", help="leave SpikeInterface's trainer out")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = given.data or simulated(Path(name))
        files = sorted(folder.glob("*.csv"))
        if not files:
            parser.error(f"{folder}: no CSV files")
        animal_by = given.animal_by or (None if given.data else "animal[0-9]")
        units_of = {}
        for task in given.tasks.split(","):
            config = TrainConfig(inputs=files, label_column=given.label_column, animal_by=animal_by, task=task)
            units_of[task] = assemble(recordings.read_all(config)[0], config, task, [], "remove")
        units = next(iter(units_of.values()))
        if given.part == "speed":
            options = ["--label-column", given.label_column, "--task", given.tasks.split(",")[0]]
            rows = speed(units, files, options, not given.no_peer)
        else:
            if units.animals is None:
                parser.error("--animal-by is needed to hold out animals")
            rows = accuracy(units_of, 0 if given.no_peer else given.seeds)
    print(markdown(rows))
    return 0


def simulated(folder: Path) -> Path:
    """Write tables of six simulated recordings of three animals."""
    for i, seed in enumerate(np.random.SeedSequence(0).spawn(6)):
        table = simulate.metric_table(300, 0.05, np.random.default_rng(seed))
        table.to_csv(folder / f"animal{i // 2}_recording{i}.csv", index=False)
    return folder


if __name__ == "__main__":
    sys.exit(main())
