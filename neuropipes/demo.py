"""What do the five pipelines do? Runs each one end to end on recordings that it simulates itself.

The steps stand in each package's ``demo.toml``, with the seconds that each took when it was measured; a short calibration says
how long that is here. Every step is run as a user types it. The output folder then holds ``index.html`` with every report, figure and
timing. A pipeline that fails is reported, the others go on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import PIPELINES, OneLine

HERE = Path(__file__).resolve().parents[1]
MARK = ".neuropipes-demo"  # in a folder that this made and may write again
WINDOWS = os.name == "nt"
CALIBRATION_S = 0.097  #: what `calibrate` takes on the machine on which the seconds of the steps were measured


def run(words: Sequence[str]) -> int:
    """Run the demonstration in this environment."""
    parser = OneLine(prog="neuropipes demo", description="All five pipelines on recordings that they simulate.")
    add_options(parser)
    settings = parser.parse_args(list(words))
    return perform_all(settings, dict.fromkeys(names_of(settings), Path(sys.executable)), parser.prog)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``neuropipes demo`` and ``scripts/demo.py`` share."""
    parser.add_argument(
        "--only",
        action="append",
        choices=available(),
        type=lambda text: text.replace("-", "_"),
        help="run only this pipeline (may be repeated)",
    )
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder for everything (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run and how long it takes")


def available() -> list[str]:
    """Return the packages that have a demonstration, in the order of the README."""
    found = [path.parent.name for path in HERE.glob("*/demo.toml")]
    return sorted(found, key=lambda name: (PIPELINES.index(name) if name in PIPELINES else len(PIPELINES), name))


def names_of(settings: argparse.Namespace) -> list[str]:
    """Return the pipelines that were chosen."""
    return [name for name in available() if name in (settings.only or available())]


def perform_all(settings: argparse.Namespace, pythons: Mapping[str, Path], prog: str) -> int:
    """Say how long it takes, run the chosen demonstrations, write ``index.html``, print the real job of each pipeline."""
    from . import demo_page

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not pythons:
        return refuse("no pipeline here has a demo.toml.", prog)
    demos = {name: read_demo(name) for name in pythons}
    clock = Clock({name: sum(map(seconds_of, demo["step"])) for name, demo in demos.items()})
    print(clock.announcement(), flush=True)
    if settings.dry_run:
        return 0
    output, records, interrupted = shown(settings.output), [], False
    wrong = claim(output, list(pythons))
    if wrong:
        return refuse(wrong, prog)
    try:
        for name, python in pythons.items():
            records.append(run_pipeline(name, demos[name], output / name, python, clock))
    except KeyboardInterrupt:
        interrupted = True
        print("\ninterrupted", file=sys.stderr)
    index = demo_page.write_index(output)
    print("\nThe same with your own recordings (neuropipes doctor YOUR_DATA says which and how):")
    for record in records:
        print(f"    {record['real'] or record['pipeline'].replace('_', '-') + ' --help'}")
    failed = [record["pipeline"] for record in records if record["failed"]]
    tail = f"; failed: {', '.join(failed)}" if failed else ""
    print(f"\n{len(records) - len(failed)} of {len(pythons)} pipelines ran in {in_words(clock.spent())}{tail}")
    print(f"Open {index}")
    return 130 if interrupted else 1 if failed else 0


def refuse(line: str, prog: str) -> int:
    """Print one line on stderr; return the exit code of a bad option."""
    print(f"{prog}: {line}", file=sys.stderr)
    return 2


def read_demo(name: str) -> dict[str, Any]:
    """Return a package's steps."""
    import tomllib  # Python 3.11: by now we are inside the environment

    return tomllib.loads((HERE / name / "demo.toml").read_text(encoding="utf-8"))


def seconds_of(step: Mapping[str, Any]) -> float:
    """Return the seconds that a step took when it was measured; 5 where nobody did."""
    return float(step.get("seconds", 5.0))


# --- how long ------------------------------------------------------------------------------------------------------------------


def calibrate() -> float:
    """Return the seconds that a fixed piece of work takes here."""
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        total, values = 0.0, [0.5 + i / 7 for i in range(1000)]
        for i in range(4000):
            total += sum(x * x for x in values[:800]) / (i + 1)
        best = min(best, time.perf_counter() - began)
    return best


class Clock:
    """How long the demonstration takes on this machine, and how much of that is left."""

    def __init__(self, seconds: Mapping[str, float]) -> None:
        self.scale = calibrate() / CALIBRATION_S
        self.expected = {name: self.scale * s for name, s in seconds.items()}
        self.began, self.done = time.monotonic(), 0.0

    def announcement(self) -> str:
        """Return the line that is printed before anything starts."""
        parts = ", ".join(f"{name.replace('_', '-')} {in_words(s)}" for name, s in self.expected.items())
        return f"About {in_words(sum(self.expected.values()))} on this machine: {parts}."

    def spent(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.began

    def left(self, finished: float) -> str:
        """Note a step by the seconds that were foreseen for it; return what remains, by what the steps so far really took."""
        self.done += self.scale * finished
        total = sum(self.expected.values())
        weight = self.done / total if total else 1.0  # what was seen counts by how much of the whole it is
        pace = (1 - weight) + weight * self.spent() / self.done if self.done else 1.0
        remaining = max(0.0, total - self.done) * pace
        return f"about {in_words(remaining)} left" if remaining >= 1 else "nothing left"


def in_words(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"


# --- the work ------------------------------------------------------------------------------------------------------------------


def claim(folder: Path, names: list[str]) -> str:
    """Make the output folder, or take over one that an earlier demo made; return why not where it is somebody else's."""
    if folder.exists() and not (folder.is_dir() and ((folder / MARK).exists() or not any(folder.iterdir()))):
        return f"{folder} exists and was not made by the demo. Give another folder with --output."
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    return ""


def run_pipeline(name: str, demo: Mapping[str, Any], folder: Path, python: Path, clock: Clock) -> dict[str, Any]:
    """Run the steps of one ``demo.toml``; stop this pipeline at the first that fails. Returns what index.html shows."""
    program = python.parent / (name.replace("_", "-") + (".exe" if WINDOWS else ""))
    record: dict[str, Any] = {"pipeline": name, "real": demo.get("real", ""), "steps": [], "log": f"{name}/demo.log"}
    record["failed"] = "interrupted"  # until the steps have ended
    try:
        for number, step in enumerate(demo["step"], 1):
            print(f"[{name} {number}/{len(demo['step'])}] {step['title']} ...", flush=True)
            words = [str(word).replace("{out}", str(folder)) for word in step["args"]]
            record["failed"] = "interrupted"
            record["failed"] = perform(step, program, words, folder / "demo.log", record["steps"])
            rest = demo["step"][number - 1 :] if record["failed"] else [step]
            print(f"             {clock.left(sum(map(seconds_of, rest)))}", flush=True)
            if record["failed"]:
                break
    finally:
        (folder / "demo.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record


def perform(step: Mapping[str, Any], program: Path, words: list[str], log: Path, done: list[dict]) -> str | None:
    """Run one step and append what happened to ``done``; return the end of its log when it failed."""
    began = time.perf_counter()
    try:
        code, line = run_step([str(program), *words], log)
    except OSError as error:
        code, line = 127, f"{error.filename}: {error.strerror}"
    seconds, typed = round(time.perf_counter() - began, 1), shlex.join([program.stem, *words])
    outcome = {"seconds": seconds, "code": code, "line": line, "headline": step.get("headline", False)}
    done.append({"title": step["title"], "command": typed, **outcome})
    if code in step.get("exit_codes", [0]):
        print(f"    {seconds:6.1f} s  {line}", flush=True)
        return None
    failure = last_words(log, typed, code)
    print(f"    {seconds:6.1f} s  FAILED with exit code {code}: {failure.splitlines()[-1]}\n    log: {log}", flush=True)
    return failure


def run_step(command: list[str], log: Path) -> tuple[int, str]:
    """Run one command with everything it says in ``log``; return its exit code and its line on stdout."""
    with log.open("a", encoding="utf-8") as handle:
        handle.write(f"\n$ {shlex.join(command)}\n")
        handle.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=handle,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C comes to us alone; we hand it on once, to the command and its workers
        )
        try:
            out, _ = process.communicate()
        except KeyboardInterrupt:
            stop(process)
            raise
        handle.write(out)
    lines = out.strip().splitlines()
    return process.returncode, lines[-1] if lines else ""


def stop(process: subprocess.Popen) -> None:
    """End a command and its workers: interrupt, ten seconds to clean up, kill."""
    if WINDOWS:
        process.kill()
        return
    for how, patience in ((signal.SIGINT, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
            return


def last_words(log: Path, typed: str, code: int) -> str:
    """Return the end of a failed step's log."""
    tail = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-15:]
    return "\n".join([f"{typed} ended with exit code {code}:", *tail])


def shown(path: Path) -> Path:
    """Return a path as short as the user can type it: relative when it is below the current folder."""
    path, here = path.resolve(), Path.cwd().resolve()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path
