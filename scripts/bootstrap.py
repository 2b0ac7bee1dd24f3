#!/usr/bin/env python3
"""How does a fresh machine get the environment that every script here runs in?

``python3 scripts/bootstrap.py`` makes ``.venv`` once (with uv when it is on PATH, else venv and pip), installs the pinned
requirements of ``envs/all.txt`` and the project in editable form, and stamps the result with the hash of its inputs. With a
matching stamp it does nothing. ``--envs split`` makes one environment a pipeline below ``.venvs/`` instead.

Standard library only. Python 3.11 to 3.13 run the project; any Python from 3.8 on can run this file to find or name one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import installers

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = ("glm_rates", "meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion")
WINDOWS = os.name == "nt"
STAMP = "neuropipes.json"  # inside an environment: absent = not ours, "ready": false = set-up was interrupted


class SetupError(RuntimeError):
    """Set-up cannot go on; the message is the one line that says why and what to do."""


def say(message: str) -> None:
    """Print one line of progress on stderr."""
    print(f"[set-up] {message}", file=sys.stderr, flush=True)


def options() -> argparse.ArgumentParser:
    """Return the options that demo.py, test.py, check.py and bench.py share with this script."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--envs",
        choices=("one", "split"),
        default="one",
        help="one environment (.venv), or one a pipeline (.venvs/NAME)",
    )
    parser.add_argument(
        "--python", choices=["{}.{}".format(*pair) for pair in installers.PYTHONS], default="",
        help="in environments of this Python, below .venvs/ (default: the first that is found)",
    )  # fmt: skip
    build = parser.add_mutually_exclusive_group()
    build.add_argument("--cpu", dest="torch", action="store_const", const="cpu", help="torch's CPU build (needs uv)")
    build.add_argument(
        "--gpu", dest="torch", action="store_const", const="gpu", help="torch's build for this GPU (needs uv)"
    )
    return parser


def folder_of(name: str) -> Path:
    """Return the environment's folder: ``.venv`` for "all", else ``.venvs/NAME``; "NAME@3.13" is one of another Python."""
    return ROOT / ".venv" if name == "all" else ROOT / ".venvs" / name


def requirements_of(name: str) -> Path:
    """Return the pinned requirements of an environment."""
    return ROOT / "envs" / (name.partition("@")[0] + ".txt")


def program(folder: Path, name: str = "python") -> Path:
    """Return the path of a program inside an environment."""
    return folder / "Scripts" / (name + ".exe") if WINDOWS else folder / "bin" / name


def inputs_hash(name: str) -> str:
    """Return the hash of everything that decides what the environment holds and where it stands."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (requirements_of(name), ROOT / "pyproject.toml"):
        if not path.is_file():
            raise SetupError(f"{path} is missing: is this a complete checkout?")
        digest.update(b"\0" + path.read_bytes())
    return digest.hexdigest()


def read_stamp(folder: Path) -> dict:
    """Return what set-up noted in an environment; empty when it noted nothing readable."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def python_of(folder: Path) -> str:
    """Return the Python version that the environment says it was made with."""
    with contextlib.suppress(OSError):
        for line in (folder / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() in ("version", "version_info"):
                return value.strip()
    return ""


def is_ready(name: str, torch: str | None) -> bool:
    """Return whether the environment's stamp matches its inputs, its Python and the build of torch that was asked for."""
    folder = folder_of(name)
    stamp = read_stamp(folder)
    return (
        bool(stamp.get("ready"))
        and stamp.get("inputs") == inputs_hash(name)
        and stamp.get("python") == python_of(folder)
        and torch in (None, stamp.get("torch"))
        and program(folder).exists()
    )


@contextlib.contextmanager
def lock(path: Path):
    """Hold the set-up of this checkout; a second set-up waits.

    Installers inherit the lock, so that it is free only when a killed set-up's pip has ended too.
    """
    with path.open("a+b") as handle:
        os.set_inheritable(handle.fileno(), True)
        waiting = False
        while True:
            try:
                if sys.platform == "win32":
                    import msvcrt

                    msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    import fcntl

                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if not waiting:
                    say("another set-up of this checkout is running; waiting for it")
                waiting = True
                time.sleep(0.5)
        yield


def ensure(name: str = "all", torch: str | None = None) -> Path:
    """Make the environment if it is not there as its inputs say; return its Python.

    Parameters
    ----------
    name : {"all", a pipeline}
        Which ``envs/NAME.txt``; "NAME@3.13" for another Python.
    torch : {None, "cpu", "gpu"}
        Build of torch. None takes what is there, or what suits this machine.

    Raises
    ------
    SetupError
        No supported Python, a foreign folder in the way, or a failed installation.
    """
    folder = folder_of(name)
    if not is_ready(name, torch):
        with lock(ROOT / ".venv.lock"):
            if not is_ready(name, torch):
                build(name, torch)
    return program(folder)


def build(name: str, torch: str | None) -> None:
    """Make or repair one environment. Its stamp says "ready" only after the last step."""
    folder, stamp, began = folder_of(name), read_stamp(folder_of(name)), time.time()
    foreign = not stamp and folder.exists() and {path.name for path in folder.iterdir()} - {STAMP + ".part"}
    if foreign or folder.is_symlink():
        raise SetupError(f"{folder} was not made by this script. Move it away (or delete it) and run this again.")
    installer = installers.choose(say, name.partition("@")[2])
    if stamp and not (stamp.get("ready") and stamp.get("root") == str(ROOT) and works(program(folder))):
        say(f"{folder.name} was left unfinished, moved, or lost its Python: making it anew")
        shutil.rmtree(folder)
    build = torch or stamp.get("torch")
    note = {"ready": False, "root": str(ROOT), "inputs": inputs_hash(name), "torch": build}
    folder.mkdir(parents=True, exist_ok=True)
    write_stamp(folder, note)
    requirements = requirements_of(name)
    count = sum(line[:1].isalnum() for line in requirements.read_text(encoding="utf-8").splitlines())
    log = folder / "setup.log"
    if not program(folder).exists():
        say(f"1/3 environment {folder.relative_to(ROOT)} ({installer.title})")
        installer.create(folder, log)
    say(f"2/3 {count} packages of envs/{requirements.name} (some minutes the first time)")
    installer.install(program(folder), ["-r", str(requirements)], log, build)
    say("3/3 neuropipes itself, editable")
    installer.install(program(folder), ["--no-deps", "-e", str(ROOT)], log, None)
    write_stamp(folder, dict(note, ready=True, python=python_of(folder)))
    say(f"ready after {time.time() - began:.0f} s; log: {log}")


def write_stamp(folder: Path, note: dict) -> None:
    """Write the environment's stamp in one step."""
    part = folder / (STAMP + ".part")
    part.write_text(json.dumps(note, indent=1), encoding="utf-8")
    os.replace(part, folder / STAMP)


def works(python: Path) -> bool:
    """Return whether an environment's Python starts."""
    try:
        return subprocess.run([str(python), "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def prepare(settings: argparse.Namespace, pipelines=PIPELINES) -> dict[str, Path]:
    """Set up what ``--envs`` asks for; return each pipeline's Python."""
    version = f"@{settings.python}" if settings.python else ""
    if settings.envs == "one":
        return dict.fromkeys(pipelines, ensure("all" + version, settings.torch))
    return {name: ensure(name + version, settings.torch) for name in pipelines}


def run_inside(script: str, parser: argparse.ArgumentParser, ours: list[str] | None = None) -> None:
    """Go on in the project's environment: set it up, run the same command line there, exit with its exit code.

    Returns at once when this process is in one of this checkout's environments already.

    Parameters
    ----------
    script : str
        The script that calls.
    parser : argparse.ArgumentParser
        Its options, checked before anything is installed.
    ours : list of str, optional
        The words of the command line that are not for another program; default: those before ``--``.
    """
    if os.environ.get("NEUROPIPES_INSIDE") == str(ROOT) and (Path(sys.prefix) / STAMP).exists():
        return
    if ours is None:
        ours = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    settings = parser.parse_args(ours)
    with reporting():
        wanted = getattr(settings, "only", None) or PIPELINES
        python = next(iter(prepare(settings, wanted).values()))
    become([str(python), script, *sys.argv[1:]], dict(os.environ, NEUROPIPES_INSIDE=str(ROOT)))


def python_with(extra: str, module: str) -> Path:
    """Return a Python that has a tool of pyproject's ``extra``: this one, or that of ``.venvs/EXTRA``, which is made once."""
    import tomllib

    if importlib.util.find_spec(module):
        return Path(sys.executable)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    folder = ROOT / ".venvs" / extra
    python, mark = program(folder), folder / "tool.txt"
    if not (python.exists() and mark.exists() and mark.read_text(encoding="utf-8").split() == wanted[extra]):
        folder.mkdir(parents=True, exist_ok=True)
        installer, log = installers.choose(say), folder / "setup.log"
        say(f"{', '.join(wanted[extra])} into {folder.relative_to(ROOT)}, once")
        installer.create(folder, log)
        installer.install(python, wanted[extra], log, None)
        mark.write_text("\n".join(wanted[extra]), encoding="utf-8")
    return python


def become(command: list[str], env: dict[str, str] | None = None) -> NoReturn:
    """Go on as another program, whose exit code and signals are then ours."""
    sys.stdout.flush()
    sys.stderr.flush()
    if not WINDOWS:
        os.execve(command[0], command, dict(os.environ) if env is None else env)
    process = subprocess.Popen(command, env=env)
    while True:  # Windows has no exec: Ctrl-C reaches the child, and its answer to that is the exit code
        with contextlib.suppress(KeyboardInterrupt):
            sys.exit(process.wait())


@contextlib.contextmanager
def reporting():
    """Turn a set-up that cannot go on into one line and exit code 5, and Ctrl-C into exit code 130."""
    try:
        yield
    except (SetupError, installers.InstallError) as error:
        say(str(error))
        sys.exit(5)
    except KeyboardInterrupt:
        say("interrupted; the next call repairs what is unfinished")
        sys.exit(130)


def main() -> None:
    """Set up and say where the environment is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[options()])
    settings = parser.parse_args()
    with reporting():
        for python in dict.fromkeys(prepare(settings).values()):
            print(python)


if __name__ == "__main__":
    main()
