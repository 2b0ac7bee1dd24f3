"""A small data set and a small model, made once by the commands a user types."""

import contextlib
import io
import signal
import subprocess
import sys

import pytest


def run_cli(*arguments, **kwargs):
    """Run the pipeline in a process of its own."""
    command = [sys.executable, "-m", "neuro_diffusion", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


@pytest.fixture(scope="session")
def neuro_diffusion_cli():
    return run_cli


@pytest.fixture
def nd_here(monkeypatch):
    """Return ``run(*arguments)`` with the answer of `run_cli`, in this process: spares loading torch again."""
    from neuro_diffusion import cli

    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["neuro-diffusion", *map(str, arguments)])
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def nd_data(tmp_path_factory):
    """Return the folder of 400 networks of 6 neurons."""
    folder = tmp_path_factory.mktemp("nd") / "data"
    answer = run_cli(
        "build-dataset", "--out_dir", folder, "--num_networks", 400, "--N", 6, "--T", 30, "--structure", "dale-sparse-lognormal"
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return folder


SMALL = ("--iterations", 60, "--batch", 16, "--width", 24, "--hidden", 40, "--depth", 2, "--trials", "1,3")


@pytest.fixture(scope="session")
def nd_model(nd_data):
    """Return the folder of a small conditional model with sizes that are no defaults."""
    folder = nd_data.parent / "model"
    answer = run_cli("train-conditional", nd_data, "--output", folder, *SMALL, "--save-every", 30)
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture(scope="session")
def nd_small():
    return SMALL
