#!/usr/bin/env python3
"""How are the files in ``envs/`` made?

``python3 scripts/pin.py`` resolves the extras of ``pyproject.toml`` with uv for every platform at once and writes
``envs/all.txt`` and one file a pipeline, whose versions agree with it. Run it to take newer versions; commit the result.

Left out on purpose: torch's CUDA packages (torch's own metadata asks for them where its GPU build is installed; a CPU build
needs none), local version suffixes such as ``+cpu``, and index addresses.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import installers

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {
    "all": ["all", "test"],
    "glm_rates": ["glm", "nwb"],
    "meso_forecast": ["meso", "nwb"],
    "unit_refine": ["curation", "nwb"],
    "laa_bayes": ["laa", "nwb"],
    "neuro_diffusion": ["diffusion", "nwb"],
}
CUDA = re.compile(r"^(nvidia-|cuda-|triton\b)")
NEWER_PYTHON = re.compile(r"python_full_version >= '3\.(1[2-9]|[2-9]\d)'")
OLDER_THAN = re.compile(r"python_full_version < '3\.(1[2-9]|[2-9]\d)'( and )?")


def compile_extras(uv: str, name: str, env: dict[str, str], constraint: Path | None) -> str:
    """Return the pinned lines of one file; uv resolves for Linux, macOS and Windows in one pass."""
    command = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--no-header",
        "--no-annotate",
    ]
    command += [word for extra in EXTRAS[name] for word in ("--extra", extra)]
    if constraint is not None:
        command += ["--constraint", str(constraint)]
    answer = subprocess.run(
        [*command, "pyproject.toml"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        sys.exit(f"pin.py: uv could not resolve envs/{name}.txt:\n{answer.stderr.strip()}")
    return answer.stdout


def tidy(line: str) -> str:
    """Return a pinned line as Python 3.11 needs it; empty when it is for another Python or for CUDA."""
    requirement, _, marker = line.partition(" ; ")
    if CUDA.match(requirement) or NEWER_PYTHON.search(marker):
        return ""
    requirement, marker = re.sub(r"\+[\w.]+$", "", requirement), OLDER_THAN.sub("", marker)
    return f"{requirement} ; {marker}" if marker else requirement


def main() -> None:
    """Write every file of ``envs/``."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("pin.py: uv is needed to resolve for every platform at once ('pip install uv'); nothing was written.")
    settings = installers.pip_settings(None)
    settings.pop("find-links", None)  # a local wheel's suffix (torch +cpu) must not decide what other machines get
    env = {key: value for key, value in os.environ.items() if key != "UV_FIND_LINKS"}
    env = {**installers.uv_environment(settings), **env}
    with tempfile.TemporaryDirectory() as scratch:
        everything = Path(scratch) / "all.txt"
        for name, extras in EXTRAS.items():
            pins = compile_extras(uv, name, env, everything if everything.exists() else None)
            if name == "all":
                everything.write_text(pins, encoding="utf-8")
            lines = [line for line in map(tidy, pins.splitlines()) if line]
            head = f"# Made by scripts/pin.py from pyproject.toml [{','.join(extras)}]: Python 3.11, Linux, macOS, Windows."
            (ROOT / "envs" / f"{name}.txt").write_text("\n".join([head, *lines, ""]), encoding="utf-8")
            print(f"envs/{name}.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
