#!/usr/bin/env python3
"""How are the files in ``envs/`` made?

``python3 scripts/pin.py`` resolves the extras of ``pyproject.toml`` with uv for every platform at once and writes
``envs/all.txt`` and one file a pipeline, whose versions agree with it; what is pinned stays as it is, ``--upgrade`` takes newer
versions. Each package has one version for all supported Pythons where there is one. Commit the result.

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
    "glm_rates": ["glm", "nwb", "cluster"],
    "meso_forecast": ["meso", "nwb", "cluster"],
    "unit_refine": ["curation", "nwb", "cluster"],
    "laa_bayes": ["laa", "nwb", "cluster"],
    "neuro_diffusion": ["diffusion", "nwb", "cluster"],
}
CUDA = re.compile(r"^(nvidia-|cuda-|triton\b)")
TOO_NEW = re.compile(r"python_full_version >= '3\.1[4-9]")


def compile_extras(uv: str, name: str, env: dict[str, str], constraint: Path | None, pinned: Path) -> str:
    """Return the pinned lines of one file; uv resolves for Linux, macOS and Windows in one pass, from the pins that ``pinned`` has."""
    command = [uv, "pip", "compile", "--quiet", "--universal", "--fork-strategy", "fewest", "--python-version", "3.11"]
    command += ["--no-header", "--no-annotate", "--output-file", str(pinned)]
    command += [word for extra in EXTRAS[name] for word in ("--extra", extra)]
    if constraint is not None:
        command += ["--constraint", str(constraint)]
    answer = subprocess.run(
        [*command, "pyproject.toml"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        sys.exit(f"pin.py: uv could not resolve envs/{name}.txt:\n{answer.stderr.strip()}")
    return pinned.read_text(encoding="utf-8")


def tidy(line: str) -> str:
    """Return a pinned line without a local version suffix; empty when it is for CUDA or for a Python that is not supported yet."""
    requirement, semicolon, marker = line.partition(" ; ")
    return (
        ""
        if CUDA.match(requirement) or TOO_NEW.search(marker)
        else re.sub(r"\+[\w.]+$", "", requirement) + semicolon + marker
    )


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
            pinned, kept = Path(scratch) / f"{name}.txt", ROOT / "envs" / f"{name}.txt"
            if "--upgrade" not in sys.argv and kept.is_file():
                shutil.copyfile(kept, pinned)
            pins = compile_extras(uv, name, env, None if name == "all" else everything, pinned)
            lines = [line for line in map(tidy, pins.splitlines()) if line]
            head = f"# Made by scripts/pin.py from pyproject.toml [{','.join(extras)}]: Python 3.11 to 3.13, Linux, macOS, Windows."
            (ROOT / "envs" / f"{name}.txt").write_text("\n".join([head, *lines, ""]), encoding="utf-8")
            print(f"envs/{name}.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
