#!/usr/bin/env python3
"""Are results the same when others do the work? Fan-out commands locally and on a Dask scheduler with two worker processes.

``python scripts/ops/dask_workers.py INPUTS [NAME ...]``: INPUTS is a folder with what the commands below read (see ``tiny.py``). In each run on
Dask one worker, with its nanny, is killed with -9 as soon as there is a first result, and another is started. Prints one line a
command; exit 1 where a run fails or its content differs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kill import contents

BIN = Path(sys.executable).parent
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
COMMANDS = {  # command, what a first result is
    "laa simulate": ("laa-bayes simulate --n 2048 --shard-size 128 --output {out}/bank", "shard*"),
    "nd build-dataset": ("neuro-diffusion build-dataset --output {out}/data --num_networks 800 --N 8 --T 40 --shard-size 40", "shard*"),
    "nd import-connectome": (
        "neuro-diffusion import-connectome {in}/edges.csv --output {out}/real --n-networks 200 --N 4 --T 20 --shard-size 10", "shard*"),
    "laa batch": ("laa-bayes batch {in}/t1.csv {in}/t2.csv {in}/broken.csv --output {out}/study --options model=none --options noise=known "
                  "--options draws=100", "posterior.result.json"),
    "glm batch": ("glm-rates batch {in}/rec1 {in}/rec2 {in}/broken.csv --output {out}/study --options plot_units=1 "
                  "--options blech_clust_env=none", "rates.result.json"),
    "meso batch": ("meso-forecast batch {in}/session1.h5 {in}/session2.h5 {in}/broken.csv --output {out}/study --command evaluate "
                   "--options model={in}/meso_model", "result.json"),
    "unit batch": ("unit-refine batch {in}/units1.csv {in}/units2.csv {in}/broken.csv --output {out}/study --options model={in}/unit_model",
                   "labels*.json"),
    "nd batch": ("neuro-diffusion batch {in}/a1.h5 {in}/a2.h5 {in}/broken.csv --output {out}/study --options model={in}/nd_model "
                 "--options n_samples=8 --options steps=4 --options force=true", "posterior.result.json"),
    "unit train": ("unit-refine train {in}/units1.csv {in}/units2.csv {in}/units3.csv --label-column label --output {out}/model "
                   "--classifiers RandomForestClassifier --search-iterations 2 --allow-small", "never"),
}  # fmt: skip


def worker(file: Path, folder: Path) -> subprocess.Popen:
    """Start a worker as from a shell, in a folder that is not the driver's."""
    words = [
        str(BIN / "dask"),
        "worker",
        "--scheduler-file",
        str(file),
        "--nthreads",
        "1",
        "--no-dashboard",
        "--memory-limit",
        "0",
    ]
    return subprocess.Popen(words, cwd=folder, **QUIET)


def main() -> int:
    """Run the commands."""
    inputs, names = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(COMMANDS)
    place = Path(tempfile.mkdtemp(prefix="dask_"))
    (place / "elsewhere").mkdir()
    file, n_wrong = place / "scheduler.json", 0
    words = [
        str(BIN / "dask"),
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(file),
    ]
    scheduler = subprocess.Popen(words, cwd=place, **QUIET)
    while not (file.exists() and file.stat().st_size):
        time.sleep(0.2)
    address, workers = json.loads(file.read_text())["address"], [worker(file, place / "elsewhere") for _ in range(2)]
    try:
        for name in names:
            row = compared(name, inputs, place, address, workers, file)
            n_wrong += bool(row["faults"])
            print(json.dumps(row), flush=True)
    finally:
        for process in (*workers, scheduler):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return 1 if n_wrong else 0


def compared(name: str, inputs: Path, place: Path, address: str, workers: list, file: Path) -> dict[str, object]:
    """Run one command locally and on Dask; return what differs."""
    text, first = COMMANDS[name]
    took, codes, killed = {}, {}, False
    for where in ("local", "dask"):
        out = place / where
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        words = text.replace("{in}", str(inputs)).replace("{out}", "." if where == "dask" else str(out)).split()
        words = [str(BIN / words[0]), *words[1:], *(["--scheduler", address] if where == "dask" else [])]
        began, log = time.monotonic(), (place / "log").open("w")
        driver = subprocess.Popen(words, cwd=out, stdout=log, stderr=log)
        while driver.poll() is None:
            time.sleep(0.2)
            if (
                where == "dask"
                and not killed
                and (any(out.rglob(first)) or (first == "never" and time.monotonic() - began > 8))
            ):
                os.killpg(workers[0].pid, signal.SIGKILL)
                workers[0].wait()
                workers[0], killed = worker(file, place / "elsewhere"), True
        took[where], codes[where] = round(time.monotonic() - began, 1), driver.returncode
        log.close()
    expected = 1 if "batch" in name else 0  # one recording of each study is broken, it fails alone
    faults = [f"{w}: exit {c}: {(place / 'log').read_text()[-300:]}" for w, c in codes.items() if c != expected]
    here, there = contents(place / "dask"), contents(place / "local")
    faults += [f"differs: {n}" for n in sorted({*here, *there}) if here.get(n) != there.get(n)]
    with contextlib.suppress(FileNotFoundError):
        states = [line.split(",")[3] for line in (place / "dask/study/status.csv").read_text().splitlines()[1:]]
        if states != ["done", "done", "failed"]:
            faults.append(f"status: {states}")
    return {"command": name, "files": len(here), "seconds": took, "killed": killed, "faults": faults}


if __name__ == "__main__":
    sys.exit(main())
