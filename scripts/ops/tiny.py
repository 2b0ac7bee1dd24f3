"""Which commands write, and what is the smallest work that each can do? The table that the other scripts here run through.

A step reads from ``{in}``, where the outputs of the steps before it lie, and writes below ``{out}``. What is copied to ``{out}`` first is
changed in place.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """One command and what it needs."""

    name: str
    words: str
    copied: tuple[str, ...] = ()  #: of ``{in}``, copied to ``{out}`` before
    codes: tuple[int, ...] = (0, 3)  #: exit codes of finished work


SESSION = "one/simlab/Subjects/SIM_001/2024-05-17/001"
SMALL_NET = "--iterations 24 --save-every 6 --width 8 --hidden 16 --depth 1 --batch 8"
FOUR = " ".join(f"{{in}}/units/recording{i}_metrics.csv" for i in (1, 2, 3))

STEPS = {
    "glm_rates": [
        Step("simulate", "simulate --output {out}/rec --n-units 2 --n-trials 8 --n-tastes 2 --seed 0"),
        Step("extract", "extract {in}/rec --output {out}/folder --blech-clust-env none"),
        Step("fit", "fit {in}/folder --output {out}/fit.h5"),
        Step("evaluate", "evaluate {in}/folder --output {out}/scores --cv-folds 2"),
        Step("decode", "decode {in}/folder --output {out}/decoded --n-shuffles 19"),
        Step("infer", "infer {in}/rec --output {out}/rates.h5 --plot-units 1 --blech-clust-env none"),
        Step("infer in place", "infer {out}/rec --plot-units 1 --blech-clust-env none", ("rec",)),
        Step("infer NWB", "infer {in}/x.nwb --output {out}/nwb_rates.h5 --plot-units 1"),
        Step("export-nwb", "export-nwb {in}/nwb_rates.h5 --nwb {in}/x.nwb --output {out}/with_rates.nwb"),
        Step("plot", "plot {in}/rates.h5 --output {out}/figures --plot-units 1"),
        Step("batch", "batch {in}/rec --output {out}/study --options plot_units=1 --options blech_clust_env=none"),
    ],
    "meso_forecast": [
        Step("simulate", "simulate --output {out}/one --n-fovs 1 --n-rois 24 --n-frames 900"),
        Step("sessions", "sessions {in}/one --output {out}/sessions.csv"),
        Step("extract", "extract {in}/" + SESSION + " --output {out}/activity.h5"),
        Step("preprocess", "preprocess {in}/" + SESSION + " --output {out}/session.h5"),
        Step("train", "train {in}/session.h5 --model stack --output {out}/model"),
        Step("train net", "train {in}/session.h5 --model informer --epochs 2 --batches-per-epoch 4 --output {out}/net"),
        Step("forecast", "forecast {in}/model {in}/session.h5 --every 8 --output {out}/forecast.h5"),
        Step("evaluate", "evaluate {in}/model {in}/session.h5 --output {out}/score"),
        Step("compare", "compare {in}/session.h5 --models persistence,ar --output {out}/comparison"),
        Step("plot", "plot {in}/forecast.h5 {in}/session.h5 --output {out}/figures"),
        Step("batch", "batch {in}/" + SESSION + " --output {out}/study --command preprocess"),
    ],
    "unit_refine": [
        Step("simulate", "simulate --kind tables --n-recordings 4 --n-units 60 --output {out}/units"),
        Step("train", f"train {FOUR} --label-column label --output {{out}}/model --classifiers RandomForestClassifier "
             "--search-iterations 1 --allow-small"),
        Step("train another", f"train {FOUR} --label-column label --output {{out}}/model2 --classifiers RandomForestClassifier "
             "--search-iterations 1 --allow-small --seed 1"),
        Step("predict", "predict {in}/model {in}/units/recording4_metrics.csv --output {out}/labels.csv"),
        Step("evaluate", "evaluate {in}/model {in}/units/recording4_metrics.csv --label-column label --output {out}/score"),
        Step("compare", "compare {in}/units/recording4_metrics.csv --models {in}/model,{in}/model2 --label-column label --output {out}/ranks"),
        Step("export-curation", "export-curation {in}/labels.csv --output {out}/curation.json"),
        Step("export-phy", "export-phy {in}/labels.csv {out}/phy", ("phy",)),
        Step("suggest", "suggest {in}/model {in}/units/recording4_metrics.csv --output {out}/suggested.csv"),
        Step("review", "review {in}/model {in}/units/recording4_metrics.csv --output {out}/review.html"),
        Step("plot", "plot {in}/model {in}/units/recording4_metrics.csv --output {out}/figures"),
        Step("convert-metrics", "convert-metrics {in}/units/recording4_metrics.csv --output {out}/converted.csv"),
        Step("batch", "batch {in}/units/recording4_metrics.csv --output {out}/study --options model={in}/model"),
    ],
    "laa_bayes": [
        Step("trace", "trace --k 6 --noise-mv 2 --output {out}/trace.csv"),
        Step("trace HDF5", "trace --k 6 --noise-mv 2 --output {out}/trace.h5"),
        Step("simulate", "simulate --n 1024 --shard-size 256 --output {out}/bank"),
        Step("train", "train --preset quick --n-simulations 1024 --epochs 3 --output {out}/model"),
        Step("diagnose", "diagnose {in}/model --n-traces 60 --n-draws 50 --n-exact 1 --n-typical 2 --output {out}/diagnosis"),
        Step("infer", "infer {in}/model {in}/trace.csv --draws 100 --force --output {out}/posterior.h5"),
        Step("compare", "compare {in}/trace.csv --output {out}/comparison"),
        Step("export", "export {in}/posterior.h5 --output {out}/posterior.nc"),
        Step("posterior-predict", "posterior-predict {in}/posterior.h5 --draws 10 --output {out}/predicted.h5"),
        Step("fixed-points", "fixed-points --output {out}/fixed.png"),
        Step("plot", "plot {in}/posterior.h5 --kind fit --output {out}/fit.png"),
        Step("batch", "batch {in}/trace.csv --output {out}/study --options model=none --options noise=known --options draws=100"),
    ],
    "neuro_diffusion": [
        Step("simulate", "simulate --output {out}/activity.h5 --N 6"),
        Step("build-dataset", "build-dataset --output {out}/data --num_networks 96 --N 6 --T 30 --shard-size 24"),
        Step("import-connectome", "import-connectome {in}/edges.csv --output {out}/real --n-networks 20 --N 4 --T 20"),
        Step("export-pt", "export-pt {in}/data --output {out}/pt --limit 5"),
        Step("import-pt", "import-pt {in}/pt --output {out}/from_pt"),
        Step("train-prior", f"train-prior {{in}}/data --output {{out}}/prior {SMALL_NET}"),
        Step("train-conditional", f"train-conditional {{in}}/data --output {{out}}/model {SMALL_NET}"),
        Step("sample", "sample {in}/model --n 8 --steps 4 --output {out}/samples.h5"),
        Step("infer", "infer {in}/model {in}/activity.h5 --samples 8 --steps 4 --force --output {out}/posterior.h5"),
        Step("evaluate", "evaluate {in}/model {in}/data --networks 6 --samples 8 --steps 4 --output {out}/score"),
        Step("benchmark", "benchmark {in}/model {in}/data --trials 1,2 --networks 6 --samples 8 --steps 4 --output {out}/bench"),
        Step("plot", "plot {in}/activity.h5 --output {out}/activity.png"),
        Step("batch", "batch {in}/activity.h5 --output {out}/study --options model={in}/model --options n_samples=8 --options steps=4 "
             "--options force=true"),
    ],
}  # fmt: skip


#: importing these starts threads of jax, which a fork does not survive
NOT_BEFORE_A_FORK = (
    "laa_bayes.fit",
    "laa_bayes.network",
    "laa_bayes.score",
    "laa_bayes.posterior",
    "laa_bayes.show",
    "laa_bayes.neuron",
)


def words_of(step: Step, inputs: Path, out: Path) -> list[str]:
    """Return what a user types for a step."""
    return [word.replace("{in}", str(inputs)).replace("{out}", str(out)) for word in step.words.split()]


def preload(package: str) -> None:
    """Import every room of a package, so that forked commands start at once."""
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, f"{package}."):
        if not found.name.endswith("__main__") and not found.name.startswith(NOT_BEFORE_A_FORK):
            with contextlib.suppress(ImportError):  # an optional extra that is not here
                importlib.import_module(found.name)


def start(package: str, words: list[str], log: Path, folder: Path, before: Callable[[], None] | None = None) -> int:
    """Fork a process, leader of its own group, that does what the console script does (after ``before``); return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        os.chdir(folder)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(handle, stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", 1, closefd=False) for stream in (1, 2))
        if before:
            before()
        sys.argv = [package.replace("_", "-"), *words]
        importlib.import_module(f"{package}.cli").main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def finish(pid: int, limit_s: float = 240) -> int:
    """Wait for a process and return its exit code, negative for a signal, -99 when it did not end."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -99


def call(package: str, words: list[str], log: Path, folder: Path) -> tuple[int, str]:
    """Run a command to its end; return the exit code and everything that it printed."""
    code = finish(start(package, words, log, folder))
    return code, log.read_text(errors="replace")


def inputs_of(package: str, folder: Path) -> None:
    """Make what no command of the package makes."""
    if package == "glm_rates":
        from datetime import UTC, datetime

        import numpy as np
        from pynwb import NWBHDF5IO, NWBFile

        file, rng = NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=UTC)), np.random.default_rng(0)
        for i in range(3):
            file.add_unit(spike_times=np.sort(rng.uniform(0, 90, 300)), id=i)
        for i in range(10):
            file.add_trial(start_time=4.0 + 8 * i, stop_time=8.0 + 8 * i)
        with NWBHDF5IO(folder / "x.nwb", "w") as handle:
            handle.write(file)
    elif package == "neuro_diffusion":
        lines = [f"{i},{j},{(i * 7 + j * 3) % 11 / 10 - 0.4}" for i in range(24) for j in range(24) if i != j]
        (folder / "edges.csv").write_text("\n".join(["pre,post,weight", *lines]) + "\n")
    elif package == "unit_refine":
        (folder / "phy").mkdir()
        (folder / "phy" / "params.py").write_text("sample_rate = 30000.\n")


def prepared(package: str, place: Path, only: list[str] | None = None) -> Iterator[tuple[Step, Path, Path, int]]:
    """Run the steps once with all the room there is; yield ``(step, inputs, its output, bytes that it wrote)``."""
    inputs = place / "inputs"
    inputs.mkdir(parents=True)
    inputs_of(package, inputs)
    for number, step in enumerate(STEPS[package]):
        out = place / "good" / str(number)
        out.mkdir(parents=True)
        copy_to(step, inputs, out)
        before = size_of(out)
        code, said = call(package, words_of(step, inputs, out), place / "log", place)
        if code not in step.codes:
            raise SystemExit(f"{package} {step.name} does not work even with room (exit {code}):\n{said[-1500:]}")
        if not step.copied:
            for path in out.iterdir():
                (shutil.copytree if path.is_dir() else shutil.copy)(path, inputs / path.name)
        if only is None or step.name in only:
            yield step, inputs, out, size_of(out) - before


def copy_to(step: Step, inputs: Path, out: Path) -> None:
    """Copy what a step changes in place."""
    for name in step.copied:
        shutil.copytree(inputs / name, out / name)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
