"""How was this made, and does it come out the same again?

The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hdf5io.errors import InputError, WorkFailed

from ..console import PACKAGE, Result, Run
from ..options import ReproduceConfig

NOT_COMPARED = ("seconds", "time", "path", "folder")  #: what differs between two equal runs


def run(config: ReproduceConfig, run: Run) -> Result:
    """Print the command; with ``--run``, repeat it into a temporary folder and compare."""
    from hdf5io import read_json, runs

    path = config.file if config.file.name.endswith("result.json") else runs.record_path(config.file)
    if not path.is_file():
        raise InputError(f"{config.file}: no '{path.name}' of a run. Give an output of {PACKAGE.replace('_', '-')}.")
    record = read_json(path)
    provenance = record.get("provenance")
    if record.get("pipeline") != PACKAGE or not isinstance(provenance, dict):
        raise InputError(f"{path}: no record of this pipeline with its provenance.")
    typed = str(provenance.get("command", ""))
    results: dict[str, Any] = {
        "command": typed,
        "versions": provenance.get("versions"),
        "commit": provenance.get("commit"),
    }
    changed = list(_changed_inputs(provenance))
    results["changed_inputs"] = changed
    if not config.run:
        note = f"  # changed since: {', '.join(changed)}" if changed else ""
        return Result({}, results, typed + note)
    again = _repeat(record, provenance)
    worst, where = largest_difference(record.get("results"), again.get("results"))
    same = worst <= config.tolerance
    results |= {"largest_relative_difference": worst, "at": where, "reproduced": same}
    line = "every number is the same" if worst == 0 else f"largest relative difference {worst:.2g}, at {where}"
    return Result({}, results, f"{path}: {line}", 0 if same else 3)


def _changed_inputs(provenance: Mapping[str, Any]) -> Iterator[str]:
    """Yield the inputs that are gone or have another content now."""
    from hdf5io import sha256

    output = json.loads(provenance["config"]).get("output")
    for path, digest in json.loads(provenance.get("inputs", "{}")).items():
        if not Path(path).exists() or sha256(path, leave_out=output) != digest:
            yield path


def _repeat(record: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Run the command of a record again with its output in a temporary folder; return the new record."""
    options = {k: v for k, v in json.loads(provenance["config"]).items() if v is not None and k != "overwrite"}
    with tempfile.TemporaryDirectory(prefix=f"{PACKAGE}_again_") as folder:
        if options.get("output"):
            options["output"] = str(Path(folder) / Path(options["output"]).name)
        code = (
            "import json, sys; from importlib import import_module as load\n"
            "package, verb, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])\n"
            "program, console = load(package + '.cli').app, load(package + '.console')\n"
            "sys.exit(console.execute(program, verb, options, config_file=None, as_json=True, quiet=True, verbose=False))"
        )
        command = [sys.executable, "-c", code, PACKAGE, str(record["command"]), json.dumps(_as_typed(options))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise WorkFailed(f"{shlex.quote(str(record['command']))} ended with exit code {done.returncode}: {last}")
        return json.loads(done.stdout)


def _as_typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return lists as the shell hands them on: text, each value by itself."""
    return {k: [str(i) for i in v] if isinstance(v, list) and not _nested(v) else v for k, v in options.items()}


def _nested(values: list[Any]) -> bool:
    return any(isinstance(v, (dict, list)) for v in values)


def largest_difference(old: Any, new: Any, where: str = "results") -> tuple[float, str]:
    """Return the largest relative difference between two nested results, and where it is; infinite where they are no match."""
    if where.rpartition(".")[2].startswith(NOT_COMPARED):
        return 0.0, where
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        pairs = [(old.get(k), new.get(k), f"{where}.{k}") for k in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(old, new))]
    elif isinstance(old, (int, float)) and isinstance(new, (int, float)):
        scale = max(abs(old), abs(new))
        return (abs(old - new) / scale if scale else 0.0), where
    else:
        texts = isinstance(old, str) and isinstance(new, str) and ("/" in old or "\\" in old)  # paths differ
        return (0.0 if old == new or texts else math.inf), where
    return max((largest_difference(*pair) for pair in pairs), key=lambda found: found[0], default=(0.0, where))
