"""Who installs packages here: uv, or Python's own venv and pip?

Standard library only; used by ``bootstrap.py``. uv does not read pip's configuration, so what ``pip config list`` says (index,
find-links, certificate, time-out, ...) is handed to uv as environment variables: no registry is named anywhere in this project.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PYTHONS = (
    (3, 11),
    (3, 12),
    (3, 13),
)  # what the pinned requirements have wheels for, in the order in which they are looked for
HOW_TO_GET = (
    "Get one with 'uv python install 3.11', 'conda create -n py311 python=3.11' (then activate it), "
    "'apt install python3.11 python3.11-venv' or the installer of python.org, and run this again."
)
# pip's option -> uv's variable. Several values: uv splits indexes and hosts at spaces, find-links at commas.
UV_VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "retries": ("UV_HTTP_RETRIES", " "),
    "no-index": ("UV_NO_INDEX", " "),
    "keyring-provider": ("UV_KEYRING_PROVIDER", " "),
}


class InstallError(RuntimeError):
    """A program that set-up needs is missing or failed; the message says which and what to do."""


def choose(say, version: str = "") -> Uv | Pip:
    """Return the installer of this machine, uv when it is on PATH, else venv and pip, for Python ``version`` ("3.13") or any."""
    pythons = tuple(pair for pair in PYTHONS if version in ("", "{}.{}".format(*pair)))
    python, uv = find_python(pythons), shutil.which("uv")
    if uv:
        return Uv(uv, python or version, say)
    if python is None and version:
        raise InstallError(f"Python {version} was asked for and not found. {HOW_TO_GET.replace('3.11', version)}")
    if python is None:
        version = ".".join(map(str, sys.version_info[:3]))
        raise InstallError(f"Python 3.11, 3.12 or 3.13 is needed and none was found (this is {version}). {HOW_TO_GET}")
    return Pip(python, say)


def find_python(pythons: tuple[tuple[int, int], ...] = PYTHONS) -> str | None:
    """Return one of these Pythons: this one, else from PATH, ``py`` or pyenv's versions; each is asked, since shims may lie."""
    if sys.version_info[:2] in pythons:
        return getattr(sys, "_base_executable", None) or sys.executable
    question = "import sys; print(*sys.version_info[:2]); print(getattr(sys, '_base_executable', '') or sys.executable)"
    versions = Path(os.environ.get("PYENV_ROOT", str(Path("~/.pyenv").expanduser()))) / "versions"
    for major, minor in pythons:
        kept = [[str(path)] for path in sorted(versions.glob(f"{major}.{minor}.*/bin/python"))]
        for command in ([f"python{major}.{minor}"], ["py", f"-{major}.{minor}"], *kept):
            path = shutil.which(command[0])
            if path is None:
                continue
            answer = subprocess.run([path, *command[1:], "-c", question], capture_output=True, text=True, check=False)
            lines = answer.stdout.splitlines()
            if answer.returncode == 0 and lines and lines[0] == f"{major} {minor}":
                return lines[1]
    return None


def pip_settings(python: str | None) -> dict[str, list[str]]:
    """Return pip's configuration: option -> values. Files first, then the environment's, which win; [install] before [global]."""
    found: dict[str, tuple[int, list[str]]] = {}
    for candidate in [c for c in (sys.executable, python) if c]:
        answer = subprocess.run([candidate, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
        if answer.returncode:
            continue
        for line in answer.stdout.splitlines():
            match = re.match(r"(:env:|global|install)\.([\w-]+)=(.*)$", line)
            if match:
                rank = ("global", "install", ":env:").index(match[1])
                if rank >= found.get(match[2], (0, []))[0]:
                    found[match[2]] = (rank, str(ast.literal_eval(match[3])).split())
        break
    return {option: values for option, (_, values) in found.items()}


def uv_environment(settings: dict[str, list[str]]) -> dict[str, str]:
    """Return the variables that make uv look where pip looks; a variable that the user has set stays."""
    env = dict(os.environ)
    for option, (variable, separator) in UV_VARIABLES.items():
        if settings.get(option):
            env.setdefault(variable, separator.join(settings[option]))
    if (
        "extra-index-url" in settings
    ):  # pip takes the best version of all indexes; uv would stop at the first that has the name
        env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return env


def local_torch(settings: dict[str, list[str]], requirements: Path) -> str | None:
    """Return the build (``cpu``, ``cu130``) of a torch wheel of the pinned version in a find-links folder, if there is one."""
    pin = re.search(r"^torch==([\w.]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    if pin is None:
        return None
    for place in settings.get("find-links", []):
        folder = Path(place[len("file://") :] if place.startswith("file://") else place)
        for wheel in sorted(folder.glob(f"torch-{pin[1]}+*.whl")) if folder.is_dir() else []:
            return wheel.name.split("+")[1].split("-")[0]
    return None


def run_logged(command: list[str], log: Path, env: dict[str, str] | None = None) -> int:
    """Run a command with its output in ``log``; on a terminal the latest line is shown. Returns the exit code."""
    shown = sys.stderr.isatty()
    with log.open("a", encoding="utf-8") as handle:
        handle.write(f"$ {' '.join(command)}\n")
        handle.flush()
        process = subprocess.Popen(
            command,
            env=env,
            close_fds=False,  # the lock goes on to the child, see bootstrap.lock
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            for line in process.stdout or ():
                handle.write(line)
                if shown:
                    print(f"\r\033[K    {line.strip()[:100]}", end="", file=sys.stderr, flush=True)
            return process.wait()
        finally:
            if shown:
                print("\r\033[K", end="", file=sys.stderr, flush=True)
            if process.poll() is None:
                process.kill()


def must(command: list[str], log: Path, what: str, env: dict[str, str] | None = None) -> None:
    """Run a command; raise `InstallError` with the end of its output when it fails."""
    if run_logged(command, log, env):
        tail = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-12:]
        raise InstallError("\n    ".join([f"{what} failed. The end of {log}:", *tail]))


class Pip:
    """Python's own venv and pip."""

    def __init__(self, python: str, say) -> None:
        self.python, self.say, self.title = python, say, "venv and pip"

    def create(self, folder: Path, log: Path) -> None:
        """Make an environment in ``folder``."""
        must(
            [self.python, "-m", "venv", str(folder)],
            log,
            f"'{self.python} -m venv' (Debian: apt install python3.11-venv)",
        )

    def install(self, python: Path, arguments: list[str], log: Path, torch: str | None) -> None:
        """Install; pip cannot choose torch's build, so an asked-for build is only reported."""
        if torch:
            self.say(f"--{torch}: pip cannot choose torch's build and takes the one its configuration leads to; uv can")
        must([str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments], log, "pip install")


class Uv:
    """uv, told what pip's configuration says."""

    def __init__(self, uv: str, python: str | None, say) -> None:
        self.uv, self.python, self.say, self.title = uv, python or "3.11", say, "uv"
        self.settings = pip_settings(python)
        self.env = uv_environment(self.settings)

    def create(self, folder: Path, log: Path) -> None:
        """Make an environment in ``folder``; uv fetches Python 3.11 where the machine has none."""
        command = [self.uv, "venv", "--seed", "--allow-existing", "--python", self.python, str(folder)]
        must(command, log, f"'uv venv --python {self.python}'", self.env)

    def install(self, python: Path, arguments: list[str], log: Path, torch: str | None) -> None:
        """Install; torch's build comes from a find-links folder that has one, else from uv's ``--torch-backend``."""
        command = [self.uv, "pip", "install", "--python", str(python), *arguments]
        if "-r" not in arguments:
            return must(command, log, "uv pip install", self.env)
        if torch:
            command += ["--reinstall-package", "torch"]
        local = local_torch(self.settings, Path(arguments[arguments.index("-r") + 1]))
        if local and (torch is None or (local == "cpu") == (torch == "cpu")):
            return must(command, log, "uv pip install", self.env)
        backend = [*command, "--torch-backend", "cpu" if torch == "cpu" else "auto"]
        if torch:
            return must(backend, log, f"uv pip install --torch-backend {backend[-1]}", self.env)
        if run_logged(backend, log, self.env):
            self.say("torch's own package index cannot be reached: taking the build that the configured index has")
            must(command, log, "uv pip install", self.env)
