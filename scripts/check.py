#!/usr/bin/env python3
"""Is the code as it should be? Format, lint, layering, types, docstring examples and the quick tests.

``python3 scripts/check.py`` runs every check, shows the output of those that fail and exits 1 if any did. ``--fix`` lets ruff
repair what it can first; ``--no-tests`` leaves the tests to ``scripts/test.py``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import bootstrap

CODE = [*bootstrap.PIPELINES, "hdf5io", "neuropipes"]
NOTHING_COLLECTED = 5  # pytest's exit code when no docstring has an example


def checks(tests: bool, fix: bool) -> dict[str, list[str]]:
    """Return each check's command by name."""
    python = [sys.executable, "-m"]
    found = {
        "format": [*python, "ruff", "format", ".", *([] if fix else ["--check"])],
        "lint": [*python, "ruff", "check", ".", *(["--fix"] if fix else [])],
        "layers": [str(bootstrap.program(Path(sys.prefix), "lint-imports"))],
        "types": [*python, "mypy", *CODE, "scripts"],
        "docstring examples": [*python, "pytest", "--doctest-modules", "-p", "no:cacheprovider", *CODE],
    }
    if tests:
        found["tests"] = [sys.executable, "scripts/test.py"]
    return found


def passes(name: str, command: list[str]) -> bool:
    """Run one check; print one line, and its output when it fails."""
    began = time.perf_counter()
    answer = subprocess.run(
        command, cwd=bootstrap.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    good = answer.returncode == 0 or (name == "docstring examples" and answer.returncode == NOTHING_COLLECTED)
    print(f"{name:20} {'ok' if good else 'FAILED':6} {time.perf_counter() - began:6.1f} s", flush=True)
    if not good:
        print(answer.stdout, flush=True)
    elif name in ("tests", "docstring examples"):
        print(" " * 21 + answer.stdout.strip().splitlines()[-1], flush=True)
    return good


def main() -> int:
    """Run the checks; return 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[bootstrap.options()])
    parser.add_argument("--no-tests", action="store_true", help="leave the tests out")
    parser.add_argument("--fix", action="store_true", help="let ruff repair format and lint first")
    bootstrap.run_inside(__file__, parser)
    settings = parser.parse_args()
    results = {name: passes(name, command) for name, command in checks(not settings.no_tests, settings.fix).items()}
    failed = [name for name, good in results.items() if not good]
    print(
        f"{len(results) - len(failed)} of {len(results)} checks passed"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
