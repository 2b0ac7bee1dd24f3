#!/usr/bin/env python3
"""What does kill -9 leave behind? Commands of a package killed at random moments, run again, and compared with an undisturbed run.

``python scripts/ops/kill.py PACKAGE TRIALS STEP [STEP ...]``, steps by their names in ``tiny.py``, or ``record`` for one trial of every
step, killed between its output and its record. With ``SIGINT`` or ``SIGTERM`` before the steps that is sent instead, to the process
alone; nothing temporary may stay then. Prints one line a trial; exit 1 where something is wrong: a temporary file under a final name,
an unreadable recording, a rerun that does not complete or whose content differs.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import disk_full
import tiny

TOLD = (".json", ".html", ".md", ".bib", ".log", ".lock")  #: they hold times and places


def contents(out: Path) -> dict[str, bytes | str]:
    """Return what every output holds, without provenance and times."""
    import h5py

    found: dict[str, bytes | str] = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file() and p.suffix not in TOLD):
        name = str(path.relative_to(out))
        if path.suffix == ".csv":
            found[name] = without_seconds(path)
            continue
        if path.suffix == ".ckpt":
            found[name] = state_of(path)
            continue
        if path.suffix not in (".h5", ".nwb", ".nc"):
            found[name] = path.read_bytes()
            continue
        with h5py.File(path, "r") as file:
            values: dict[str, str] = {}
            file.visititems(
                lambda n, node, v=values: (
                    v.update({n: repr(node[()].tobytes())})
                    if isinstance(node, h5py.Dataset) and node.dtype.kind != "O" and not n.startswith("provenance")
                    else None
                )
            )
        found[name] = json.dumps(values, sort_keys=True)
    return found


def without_seconds(path: Path) -> str:
    """Return a table without how long things took; of a study's table of states, only which recordings stand in it."""
    if path.name == "status.csv":
        return str(sorted(row["folder"] for row in csv.DictReader(path.open(newline=""))))
    rows = csv.DictReader(path.open(newline="", encoding="utf-8"))
    return str([{k: v for k, v in row.items() if "seconds" not in str(k)} for row in rows])


def state_of(path: Path) -> str:
    """Return weights, optimiser and step of Lightning's checkpoint, which names its own place besides."""
    import torch

    saved = torch.load(path, map_location="cpu", weights_only=True)
    torch.set_printoptions(threshold=sys.maxsize, precision=20)
    return repr([saved[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")])


def die_before_the_record() -> None:
    """Make this process kill itself where a finished run is recorded."""
    from hdf5io import runs

    runs.write_record = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def trial(
    package: str,
    step: tiny.Step,
    inputs: Path,
    good: Path,
    place: Path,
    after_s: float | None,
    sent: int = signal.SIGKILL,
) -> dict[str, object]:
    """Kill one run and do it again."""
    out = place / "killed"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    tiny.copy_to(step, inputs, out)
    words = tiny.words_of(step, inputs, out)
    temporary = place / "temporary"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    pid = tiny.start(package, words, place / "log", place, None if after_s is not None else die_before_the_record)
    if after_s is not None:
        time.sleep(after_s)
        os.kill(pid, sent)
    code = tiny.finish(pid)
    faults = [f"unreadable: {name}" for name in disk_full.unreadable(out) if "part" not in name]
    if sent != signal.SIGKILL:
        faults += left_by_a_signal(code, {128 + sent, -sent, *step.codes}, (place / "log").read_text(), out, temporary)
    again, said = tiny.call(package, words, place / "log", place)
    if again not in step.codes or "Traceback" in said:
        faults.append(f"again: exit {again}: {said[-300:]}")
    else:
        here, there = contents(out), contents(good)
        faults += [f"differs: {name}" for name in {*here, *there} if here.get(name) != there.get(name)]
    faults += [f for f in disk_full.faults_of(0, "", out, step.codes) if f.startswith(("left", "unreadable"))]
    return {
        "killed": code not in step.codes,
        "after_s": after_s and round(after_s, 2),
        "again": again,
        "faults": faults,
    }


def left_by_a_signal(code: int, codes: set[int], said: str, out: Path, temporary: Path) -> list[str]:
    """Return what a run that could clean up has left, and how else it did not end as it should."""
    found = [f"ended with {code}: {said[-200:]}"] if code not in codes or "Traceback" in said else []
    found += [f"left: {p.name}" for p in out.rglob("*") if disk_full.TEMPORARY.search(str(p.relative_to(out)))]
    return found + [f"left in the temporary folder: {p.name}" for p in temporary.iterdir()]


def main() -> int:
    """Run the trials of one package."""
    package, n, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    sent = getattr(signal, names.pop(0)) if names[0].startswith("SIG") else signal.SIGKILL
    tiny.preload(package)
    place, chance, n_wrong, n_killed, total = (
        Path(tempfile.mkdtemp(prefix=f"kill_{package}_")),
        random.Random(0),
        0,
        0,
        0,
    )
    began = time.monotonic()
    for step, inputs, good, _ in tiny.prepared(package, place, None if "record" in names else names):
        whole = time.monotonic() - began
        for number in range(1 if "record" in names else n):
            after = None if "record" in names else 0.7 * (number + chance.random()) / n * whole
            row = trial(package, step, inputs, good, place, after, sent)
            total, n_killed, n_wrong = total + 1, n_killed + bool(row["killed"]), n_wrong + bool(row["faults"])
            print(json.dumps({"package": package, "step": step.name, **row}), flush=True)
        began = time.monotonic()
    print(f"{package}: {total} trials, {n_killed} killed, {n_wrong} with a fault", file=sys.stderr)
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
