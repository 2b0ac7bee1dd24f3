"""Fixtures that every pipeline's tests share."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"

WATCH = Path(__file__).with_name("watch")

os.environ.setdefault("OMP_NUM_THREADS", "1")
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # begun in the background of a shell: children that get it shall hear it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(WATCH), os.environ.get("PYTHONPATH")])
)  # for child processes
if "matplotlib.figure" not in sys.modules:
    runpy.run_path(str(WATCH / "sitecustomize.py"))  # for this one


@pytest.fixture(scope="session", autouse=True)
def figure_faults(tmp_path_factory):
    """Return the file in which every process of these tests notes what a reader of a saved figure would miss."""
    path = tmp_path_factory.mktemp("figures") / "faults.txt"
    os.environ["FIGURE_FAULTS"] = str(path)
    return path


@pytest.fixture(autouse=True)
def readable_figures(figure_faults):
    """Fail the test behind which a figure was saved that lacks a label, a unit or a legend."""
    yield
    if figure_faults.exists():
        found = figure_faults.read_text(encoding="utf-8")
        figure_faults.unlink()
        pytest.fail(f"figures that cannot be read alone:\n{found}")


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
