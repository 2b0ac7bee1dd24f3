"""A tiny trained model, made once, and traces whose truth is known."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")


@pytest.fixture(scope="session")
def laa_here():
    """Return ``run(*arguments)``: the command line in this process, which spares loading and compiling again."""
    from laa_bayes import cli

    def run(*arguments):
        before = signal.getsignal(signal.SIGTERM)
        typed = mock.patch.object(sys, "argv", ["laa-bayes", *map(str, arguments)])
        out, err = io.StringIO(), io.StringIO()
        with typed, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                signal.signal(signal.SIGTERM, before)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, laa_here):
    """Return the folder of a model trained by the command line in a few seconds (good enough to start from, not calibrated)."""
    folder = tmp_path_factory.mktemp("laa_bayes") / "tiny"
    arguments = ["--n-simulations", 3072, "--epochs", 3, "--summary-widths", "64", "--flow-depth", 2, "--seed", 0]
    answer = laa_here("train", "--preset", "demo", *arguments, "--output", folder)
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture(scope="session")
def truth():
    """Return (C_m, g_L, E_L, k, V_thr, G_act) of the test neuron, in density units."""
    return (1.0, 0.1, -65.0, 6.0, -50.0, 3.0)


@pytest.fixture(scope="session")
def noisy_trace(truth):
    """Return time (ms), voltage (mV) and current (uA/cm2) of the test neuron under the default protocol, 2 mV of noise."""
    from laa_bayes import config
    from laa_bayes.neuron import simulator

    current = simulator.protocol_current(config.SimulateConfig(output="bank"))
    v = simulator.simulate(np.array([truth]), current, 1.0)[0]
    return np.arange(500.0), v + 2.0 * np.random.default_rng(3).standard_normal(500), current


@pytest.fixture
def trace_csv(tmp_path, noisy_trace):
    """Return a CSV file of the noisy trace."""
    path = tmp_path / "trace.csv"
    np.savetxt(
        path, np.column_stack(noisy_trace), delimiter=",", header="time_ms,voltage_mV,current_uA_cm2", comments=""
    )
    return path
