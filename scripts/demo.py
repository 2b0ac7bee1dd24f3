#!/usr/bin/env python3
"""What do the five pipelines do? Runs each one end to end on recordings that it simulates itself.

Every package that has a ``demo.toml`` runs its steps through its own console script, as a user types them. The folder
``demo_output`` then holds ``index.html`` with every report, figure and timing. A pipeline that fails is reported, the others go on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import bootstrap

MARK = ".neuropipes-demo"  # in a folder that this script made and may write again


def options() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[bootstrap.options()])
    names = [path.parent.name for path in bootstrap.ROOT.glob("*/demo.toml")]
    parser.add_argument(
        "--only",
        action="append",
        choices=sorted(names, key=order),
        type=lambda text: text.replace("-", "_"),
        help="run only this pipeline (may be repeated)",
    )
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder for everything (%(default)s)")
    return parser


def order(name: str) -> tuple[int, str]:
    """Return the sorting key that puts the pipelines in the order of the README."""
    known = bootstrap.PIPELINES
    return (known.index(name) if name in known else len(known), name)


def claim(folder: Path, names: list[str]) -> None:
    """Make the output folder, or take over one that an earlier demo made; a folder of somebody else's is refused."""
    if folder.exists() and not (folder.is_dir() and ((folder / MARK).exists() or not any(folder.iterdir()))):
        sys.exit(refuse(f"{folder} exists and was not made by demo.py. Give another folder with --output."))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()


def refuse(line: str) -> int:
    """Print one line on stderr; return the exit code of a bad option."""
    print(f"demo.py: {line}", file=sys.stderr)
    return 2


def console_script(name: str, python: Path) -> Path:
    """Return the program that a user types for this pipeline, in the environment of this Python."""
    return bootstrap.program(python.parent.parent, name.replace("_", "-"))


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
    if bootstrap.WINDOWS:
        process.kill()
        return
    for how, patience in ((signal.SIGINT, 10), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
            return


def run_pipeline(name: str, folder: Path, python: Path) -> dict:
    """Run the steps of one ``demo.toml``; stop this pipeline at the first that fails. Returns what index.html shows."""
    import tomllib  # Python 3.11: by now we are inside the environment

    demo = tomllib.loads((bootstrap.ROOT / name / "demo.toml").read_text(encoding="utf-8"))
    record = {
        "pipeline": name,
        "real": demo.get("real", ""),
        "steps": [],
        "failed": "interrupted",
        "log": f"{name}/demo.log",
    }
    try:
        for number, step in enumerate(demo["step"], 1):
            print(f"[{name} {number}/{len(demo['step'])}] {step['title']} ...", flush=True)
            words = [str(word).replace("{out}", str(folder)) for word in step["args"]]
            record["failed"] = "interrupted"  # until the step has ended
            record["failed"] = perform(step, console_script(name, python), words, folder / "demo.log", record["steps"])
            if record["failed"]:
                break
    finally:
        (folder / "demo.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record


def perform(step: dict, program: Path, words: list[str], log: Path, done: list[dict]) -> str | None:
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


def last_words(log: Path, typed: str, code: int) -> str:
    """Return the end of a failed step's log."""
    tail = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-15:]
    return "\n".join([f"{typed} ended with exit code {code}:", *tail])


def shown(path: Path) -> Path:
    """Return a path as short as the user can type it: relative when it is below the current folder."""
    path, here = path.resolve(), Path.cwd().resolve()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path


def main() -> int:
    """Run the chosen demos, write index.html, print the real job of each pipeline."""
    parser = options()
    bootstrap.run_inside(__file__, parser)
    import demo_page

    settings = parser.parse_args()
    os.environ.pop("NEUROPIPES_INSIDE", None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = sorted(set(settings.only or [path.parent.name for path in bootstrap.ROOT.glob("*/demo.toml")]), key=order)
    if not names:
        return refuse("no pipeline of this checkout has a demo.toml.")
    pythons = bootstrap.prepare(settings, names)
    output, records, interrupted = shown(settings.output), [], False
    claim(output, names)
    try:
        for name in names:
            records.append(run_pipeline(name, output / name, pythons[name]))
    except KeyboardInterrupt:
        interrupted = True
        print("\ninterrupted", file=sys.stderr)
    index = demo_page.write_index(output)
    print("\nThe same with your own recordings:")
    for record in records:
        print(f"    {record['real'] or record['pipeline'].replace('_', '-') + ' --help'}")
    failed = [record["pipeline"] for record in records if record["failed"]]
    print(
        f"\n{len(records) - len(failed)} of {len(names)} pipelines ran"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    print(f"Open {index}")
    return 130 if interrupted else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
