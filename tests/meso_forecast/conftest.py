"""One small simulated session, preprocessed once, for the tests of training and of the commands."""

import contextlib
import subprocess
import sys

import pytest


def run_meso(*arguments, cwd=None):
    command = [sys.executable, "-m", "meso_forecast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="session")
def meso():
    """Return ``run(*args) -> CompletedProcess`` of the command line."""
    return run_meso


@pytest.fixture(scope="session")
def small_session(tmp_path_factory):
    """Return (ALF session folder, preprocessed file): one field of view, 12 cells, 1200 frames."""
    root = tmp_path_factory.mktemp("meso")
    for command in (
        ["simulate", "--output", root / "one", "--n-fovs", 1, "--n-rois", 40, "--n-frames", 1200],
        ["preprocess", root / "one/simlab/Subjects/SIM_001/2024-05-17/001", "--output", root / "session.h5"],
    ):
        answer = run_meso(*command)
        assert answer.returncode == 0, answer.stderr
    return root / "one/simlab/Subjects/SIM_001/2024-05-17/001", root / "session.h5"


@pytest.fixture
def killed_in_the_third_epoch(monkeypatch):
    """Return a context in which a training ends as if it were killed when its third epoch begins."""

    @contextlib.contextmanager
    def context():
        from meso_forecast.fit import train

        before = train.Module.on_train_epoch_start

        def killed(self):
            if self.current_epoch == 2:
                raise RuntimeError("killed")
            before(self)

        with monkeypatch.context() as patch:
            patch.setattr(train.Module, "on_train_epoch_start", killed)
            yield

    return context()
