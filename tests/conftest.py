"""Fixtures that every pipeline's tests share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def run_command():
    """Return ``run(package, *args) -> CompletedProcess``: a pipeline's command line in a process of its own."""

    def run(package, *args, cwd=None, env=None, timeout=600):
        command = [sys.executable, "-m", package, *map(str, args)]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture(scope="session")
def real_data():
    """Return ``folder(name) -> Path`` of recordings outside the repository; skips, saying so, where they are absent."""

    def folder(name):
        path = REAL_DATA / name
        if not path.exists():
            pytest.skip(f"recordings '{name}' are not on this machine")
        return path

    return folder


@pytest.fixture
def hear_ctrl_c():
    """Let child processes heed Ctrl-C also where the tests run in the background of a shell, whose children inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
