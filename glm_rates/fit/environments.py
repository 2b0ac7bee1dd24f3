"""Which interpreter extracts and which one fits? Find, probe, choose; run a stage there by file.

A candidate is believed only after ``python -c "import ..."`` succeeded in it. Nothing asks a question without a terminal.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from hdf5io.errors import EnvironmentMissing, InputError, WorkFailed

log = logging.getLogger(__name__)
PREFIXES = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".conda", "mambaforge3")
NEMOS_PLACES = ("~/nemos_env", "~/envs/nemos", "~/.venvs/nemos", "~/venvs/nemos", "~/.local/share/neuropipes/nemos")
NEMOS_PINS = ("nemos==0.2.8", "scipy")


class Interpreter(NamedTuple):
    """A Python that was tried."""

    python: Path
    why: str
    version: str = ""  # of the probed package; empty: it does not work
    problem: str = ""


def probe(python: Path, why: str, code: str) -> Interpreter:
    """Run ``code`` (which prints a version) in an interpreter and note what came back."""
    try:
        done = subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True, timeout=120, env=child_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Interpreter(python, why, "", str(error))
    if done.returncode:
        return Interpreter(python, why, "", (done.stderr.strip().splitlines() or ["failed"])[-1])
    return Interpreter(python, why, done.stdout.strip().splitlines()[-1])


PROBE_NEMOS = "import nemos, numpy, scipy; print(nemos.__version__)"
PROBE_H5 = """
import numpy
try:
    import h5py as h
except ImportError:
    import tables as h
print(h.__name__, h.__version__)
"""


def child_environment() -> dict[str, str]:
    """Environment of a stage: one BLAS thread, and nothing of ours that would change another interpreter's imports."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")}
    return {**kept, **threads, "PYTHONUNBUFFERED": "1"}


def python_of(place: Path) -> Path:
    """The interpreter of a place: itself, or of an environment's folder (Linux, macOS, Windows)."""
    place = place.expanduser()
    if place.is_file():
        return place
    found = [place / name for name in ("bin/python", "python.exe", "Scripts/python.exe", "bin/python3")]
    return next((p for p in found if p.exists()), found[0])


def conda_prefixes() -> list[Path]:
    """All conda environments that can be found: ``conda env list --json``, ``~/.conda/environments.txt``, usual folders."""
    found: list[Path] = []
    for program in filter(
        None, (os.environ.get("CONDA_EXE"), os.environ.get("MAMBA_EXE"), "conda", "mamba", "micromamba")
    ):
        try:
            done = subprocess.run([program, "env", "list", "--json"], capture_output=True, text=True, timeout=60)
            found += [Path(p) for p in json.loads(done.stdout)["envs"]]
            break
        except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
            continue
    listing = Path("~/.conda/environments.txt").expanduser()
    if listing.is_file():
        found += [Path(line) for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
    roots = [Path(r) for r in (os.environ.get("CONDA_PREFIX"), os.environ.get("MAMBA_ROOT_PREFIX")) if r]
    roots += [Path.home() / name for name in PREFIXES] + [
        Path("/opt/conda"),
        Path("/opt/miniconda3"),
        Path("/opt/miniforge3"),
    ]
    for root in roots:
        found += [root, *sorted(p for p in (root / "envs").glob("*") if p.is_dir())]
    return list(dict.fromkeys(p for p in found if p.is_dir()))


def extraction_python(wanted: str) -> Interpreter:
    """The interpreter of stage 1: the named conda environment where it exists, else this one.

    Raises
    ------
    EnvironmentMissing
        A name other than the default, or a path, was given and does not work.
    """
    here = Interpreter(Path(sys.executable), "this interpreter", "current")
    if wanted == "none":
        return here
    explicit = wanted != "blech_clust" or os.sep in wanted
    place = Path(wanted).expanduser()
    prefixes = [place] if os.sep in wanted or place.is_dir() else [p for p in conda_prefixes() if p.name == wanted]
    tried = []
    for prefix in prefixes:
        found = probe(python_of(prefix), f"conda environment {prefix}", PROBE_H5)
        if found.version:
            return found
        tried.append(f"{found.python}: {found.problem}")
    if explicit:
        raise EnvironmentMissing(
            f"no usable environment '{wanted}' ({'; '.join(tried) or 'none of that name found'}). Give its path, or none."
        )
    if tried:
        log.warning(
            "environment '%s' does not work (%s): extraction runs in this interpreter", wanted, "; ".join(tried)
        )
    else:
        log.info("no conda environment '%s': extraction runs in this interpreter", wanted)
    return here


def extraction_candidates(wanted: str) -> list[Interpreter]:
    """Every interpreter that could extract, probed: conda environments of that name or place, and this one."""
    prefixes = [] if wanted == "none" else [p for p in conda_prefixes() if wanted in (p.name, str(p))]
    found = [probe(python_of(p), f"conda environment {p}", PROBE_H5) for p in prefixes]
    return [*found, probe(Path(sys.executable), "this interpreter", PROBE_H5)]


def nemos_candidates(wanted: Path | None) -> list[tuple[Path, str]]:
    """Where nemos may be, best first."""
    if wanted is not None:
        return [(python_of(wanted), "--nemos-env")]
    places = [(Path(sys.executable), "this interpreter")]
    places += [(python_of(Path(p)), p) for p in NEMOS_PLACES]
    places += [(python_of(p), f"conda environment {p}") for p in conda_prefixes() if "nemos" in p.name.lower()]
    return [(python, why) for python, why in places if python.exists()]


def nemos_python(wanted: Path | None, create: bool = False) -> Interpreter:
    """The interpreter of stage 2.

    Raises
    ------
    InputError
        Nothing with nemos was found and there is no terminal to ask at (exit code 2).
    EnvironmentMissing
        The given or created environment does not work (exit code 5).
    """
    if create:
        return create_nemos(wanted or Path(NEMOS_PLACES[-1]).expanduser())
    tried = []
    for python, why in nemos_candidates(wanted):
        found = probe(python, why, PROBE_NEMOS)
        if found.version:
            return found
        tried.append(f"{python}: {found.problem}")
    if wanted is not None:
        raise EnvironmentMissing(f"--nemos-env {wanted}: nemos does not work there ({'; '.join(tried)}).")
    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty():
        print("nemos was not found. Path of an environment that has it: ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
        if answer:
            return nemos_python(Path(answer))
    raise InputError("nemos is not installed here and was not found; give --nemos-env PATH or --create-nemos-env.")


def create_nemos(place: Path) -> Interpreter:
    """Make a virtual environment with nemos at ``place`` (left alone when it already works)."""
    python = python_of(place)
    if python.exists():
        found = probe(python, f"{place}, made earlier", PROBE_NEMOS)
        if found.version:
            return found
    log.info("making a virtual environment with nemos at %s", place)
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [str(python_of(place)), "-m", "pip", "install", "--quiet", *NEMOS_PINS],
    ):
        if command[0] != sys.executable:
            command[0] = str(python_of(place))
        done = subprocess.run(command, capture_output=True, text=True, env=child_environment())
        if done.returncode:
            raise EnvironmentMissing(f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    found = probe(python_of(place), f"{place}, made now", PROBE_NEMOS)
    if not found.version:
        raise EnvironmentMissing(f"{place}: nemos does not work there ({found.problem}).")
    return found


def run_stage(interpreter: Interpreter, stage: str, folder: Path) -> None:
    """Run a stage of `stages` by file in another process, stream its log, repeat its mistake.

    Raises
    ------
    InputError
        The stage found a mistake of the user (its exit code 2).
    WorkFailed
        The stage failed otherwise; its last line is in the message.
    """
    script = Path(__file__).resolve().parent / "stages.py"
    log.info("%s: %s (%s)", stage, interpreter.python, interpreter.why)
    levels = {"INFO": logging.INFO, "WARNING": logging.WARNING}
    last = ""
    process = subprocess.Popen(
        [str(interpreter.python), str(script), stage, str(folder)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        env=child_environment(),
    )
    try:
        for line in process.stderr or ():
            kind, _, text = line.rstrip().partition(" ")
            if kind in levels:
                log.log(levels[kind], "%s", text)
            elif line.strip():
                last = text if kind == "ERROR" else line.strip()
                log.debug("%s", line.rstrip())
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code == 2:
        raise InputError(last)
    if code:
        raise WorkFailed(f"{stage} failed with exit code {code} in {interpreter.python}: {last}")
