"""How was this made, and does it come out the same again?

The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import importlib
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hdf5io.errors import InputError, WorkFailed

from ..console import PACKAGE, Result, Run
from ..options import ReproduceConfig, extra_of

NOT_COMPARED = ("seconds", "CPU", "reused")  #: parts of the names of what differs between two equal runs


def run(config: ReproduceConfig, run: Run) -> Result:
    """Print the command; with ``--run``, repeat it into a temporary folder and compare."""
    from hdf5io import read_json, runs

    path = config.file if config.file.name.endswith("result.json") else runs.record_path(config.file)
    if not path.is_file():
        raise InputError(f"{config.file}: no '{path.name}' of a run. Give an output of {PACKAGE.replace('_', '-')}.")
    record = read_json(path)
    options, inputs = runs.made_with(record), runs.made_from(record)
    if record.get("pipeline") != PACKAGE or options is None or inputs is None:
        raise InputError(f"{path}: no whole record of a run of this pipeline, with its options and inputs.")
    made = record["provenance"]
    after = record.get("inputs_after")
    base = _typed_in(made)
    changed = list(_changed(base, inputs, after if isinstance(after, dict) else {}, options.get("output")))
    results: dict[str, Any] = {k: made.get(k) for k in ("command", "folder", "versions", "commit")} | {
        "changed_inputs": changed
    }
    typed = str(made.get("command", ""))
    typed = typed if base.resolve() == Path.cwd() else f"cd {shlex.quote(str(base))} && {typed}"
    if not config.run:
        note = f"  # changed since: {', '.join(changed)}" if changed else ""
        return Result({}, results, typed + note)
    again = _repeat(str(record.get("command")), options, base)
    worst, where = largest_difference(record.get("results"), again.get("results"))
    same = worst <= config.tolerance
    results |= {"largest_relative_difference": worst, "at": where, "reproduced": same}
    line = "every number is the same" if worst == 0 else f"largest relative difference {worst:.2g}, at {where}"
    return Result({}, results, f"{path}: {line}", 0 if same else 3)


def _typed_in(made: Mapping[str, Any]) -> Path:
    """Return the folder that the paths of a run start from: where it was typed, or, where that is gone or unknown, this one."""
    told = made.get("folder")
    return Path(told) if isinstance(told, str) and told and Path(told).is_dir() else Path()


def _changed(base: Path, inputs: Mapping[str, str], after: Mapping[str, str], output: str | None) -> Iterator[str]:
    """Yield the inputs that are gone or have another content now, neither that of before the run nor that with its results."""
    from hdf5io import sha256

    leave_out = base / output if output else None
    for path, digest in inputs.items():
        if not (base / path).exists() or sha256(base / path, leave_out=leave_out) not in (digest, after.get(path)):
            yield path


def _repeat(verb: str, options: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Run a verb again, from the same folder and with the same options, its output in a temporary folder; return what it answered.

    An output that had a place of its own, inside a recording or beside it, gets one in the folder: nothing is written elsewhere, and
    what is stored there cannot pass for a repetition.
    """
    config_class = importlib.import_module(f"{PACKAGE}.cli").app.verbs.get(verb)
    if config_class is None or "output" not in config_class.model_fields:
        raise InputError(f"'{verb}' has no --output, so it is not run again; the command is printed without --run.")
    with tempfile.TemporaryDirectory(prefix=f"{PACKAGE}_again_") as folder:
        name = Path(options.get("output") or extra_of(config_class, "output").get("product", "again")).name
        given = {k: v for k, v in options.items() if v is not None} | {"output": str(Path(folder) / name)}
        code = (
            "import json, sys; from importlib import import_module as load\n"
            "package, verb, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])\n"
            "program, console = load(package + '.cli').app, load(package + '.console')\n"
            "sys.exit(console.execute(program, verb, options, config_file=None, as_json=True, quiet=True, verbose=False))"
        )
        command = [sys.executable, "-c", code, PACKAGE, verb, json.dumps(_as_typed(given))]
        here = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]  # also in a bare checkout
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, here))}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=base, env=env)
        if done.returncode not in (0, 3):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise WorkFailed(f"{verb} ended with exit code {done.returncode}: {last}")
        return json.loads(done.stdout)


def _as_typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return lists as the shell hands them on: text, each value by itself."""
    return {k: [str(i) for i in v] if isinstance(v, list) and not _nested(v) else v for k, v in options.items()}


def _nested(values: list[Any]) -> bool:
    return any(isinstance(v, (dict, list)) for v in values)


def largest_difference(old: Any, new: Any, where: str = "results") -> tuple[float, str]:
    """Return the largest relative difference between two nested results, and where it is; infinite where they are no match."""
    if any(part in where.rpartition(".")[2] for part in NOT_COMPARED):
        return 0.0, where
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        pairs = [(old.get(k), new.get(k), f"{where}.{k}") for k in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(old, new))]
    elif isinstance(old, (int, float)) and isinstance(new, (int, float)):
        scale = max(abs(old), abs(new))
        return (abs(old - new) / scale if scale else 0.0), where
    else:
        texts = isinstance(old, str) and isinstance(new, str)
        paths = texts and ("/" in old or "\\" in old or Path(new).is_absolute())  # which may differ
        return (0.0 if old == new or paths else math.inf), where
    return max((largest_difference(*pair) for pair in pairs), key=lambda found: found[0], default=(0.0, where))
