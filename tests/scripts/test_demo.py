"""The demo runs what is there, shows what came out, reports what failed and never writes into a foreign folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def add_step(project, package, command):
    """Let a package's demo begin with another command."""
    path = project / package / "demo.toml"
    path.write_text(path.read_text() + f'[[step]]\ntitle = "then {command}"\nargs = ["{command}", "{{out}}"]\n')


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(ready_project):
    """Return the ready project with the demo and the page of this one; its demos are as they were at the end of the test."""
    if not (ready_project / "hdf5io").exists():
        for name in ("hdf5io", "glm_rates/show"):
            shutil.copytree(ROOT / name, ready_project / name, ignore=shutil.ignore_patterns("__pycache__"))
        demo = ready_project / "laa_bayes/demo.toml"
        demo.write_text(demo.read_text() + "seconds = 60.0\n")
    demos = {path: path.read_text() for path in ready_project.glob("*/demo.toml")}
    yield ready_project
    for path, text in demos.items():
        path.write_text(text)


def test_every_pipeline_runs_and_the_page_shows_what_came_out(project, script, tmp_path):
    done = script(project, "demo.py", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "[glm_rates 1/1] fit the model" in done.stdout
    assert "40 units, .031 bits/spike" in done.stdout
    assert "glm-rates fit YOUR_DIR" in done.stdout
    assert re.match(r"About \d.* on this machine: glm-rates \d+ s, laa-bayes [\d.]+ (s|min)\.\n", done.stdout)
    assert re.search(r"about (\d+ s|[\d.]+ min) left", done.stdout)
    assert done.stdout.count("nothing left") == 1
    page = (tmp_path / "out/index.html").read_text()
    assert 'href="glm_rates/run/report.html"' in page
    assert 'href="laa_bayes/demo.log"' in page
    assert 'src="data:image/png;base64,iVBOR' in page
    assert "fit: unit 3 is silent" in page
    assert "progress" in (tmp_path / "out/laa_bayes/demo.log").read_text()


def test_a_pipeline_that_fails_is_reported_and_the_others_go_on(project, script, tmp_path):
    add_step(project, "glm_rates", "fail")
    add_step(project, "glm_rates", "fit")
    done = script(project, "demo.py", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "FAILED with exit code 1" in done.stdout
    assert "[glm_rates 3/3]" not in done.stdout
    assert "[laa_bayes 1/1]" in done.stdout
    assert re.search(r"1 of 2 pipelines ran in \d+ s; failed: glm_rates", done.stdout)
    assert "no spikes in the recording" in (tmp_path / "out/index.html").read_text()


def test_only_runs_the_named_pipeline_and_keeps_the_others_results(project, script, tmp_path):
    assert script(project, "demo.py", "--output", tmp_path / "out").returncode == 0
    (tmp_path / "out/glm_rates/stale.txt").touch()
    (tmp_path / "out/laa_bayes/kept.txt").touch()
    done = script(project, "demo.py", "--only", "glm-rates", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "laa_bayes" not in done.stdout
    assert not (tmp_path / "out/glm_rates/stale.txt").exists()
    assert (tmp_path / "out/laa_bayes/kept.txt").exists()
    assert "laa_bayes/run" in (tmp_path / "out/index.html").read_text()


def test_a_folder_of_somebody_else_is_refused_and_left_alone(project, script, tmp_path):
    (tmp_path / "glm_rates").mkdir()
    (tmp_path / "glm_rates/data.h5").touch()
    done = script(project, "demo.py", "--output", tmp_path)
    assert done.returncode == 2
    assert "was not made by the demo" in done.stderr
    assert [p.name for p in tmp_path.rglob("*")] == ["glm_rates", "data.h5"]


def test_a_dry_run_says_how_long_it_takes_and_does_nothing(project, script, tmp_path):
    done = script(project, "demo.py", "--dry-run", "--output", tmp_path / "out")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert not (tmp_path / "out").exists()


def test_what_remains_follows_the_pace_of_this_machine(monkeypatch):
    from neuropipes import demo

    now = [0.0]
    monkeypatch.setattr(demo, "calibrate", lambda: 2 * demo.CALIBRATION_S)
    monkeypatch.setattr(demo.time, "monotonic", lambda: now[0])
    clock = demo.Clock({"one": 60.0, "two": 60.0})
    assert clock.announcement() == "About 4.0 min on this machine: one 2.0 min, two 2.0 min."
    now[0] = 240.0  # twice as slow as foreseen, and half of it is done
    assert clock.left(60.0) == "about 3.0 min left"  # 120 s foreseen, at a pace of 1.5: half foreseen, half seen
    assert clock.left(60.0) == "nothing left"


def test_an_unknown_pipeline_is_refused_with_the_known_ones(project, script, tmp_path):
    done = script(project, "demo.py", "--only", "lfp", "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "glm_rates" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_the_running_command_and_still_writes_the_page(project, plain_environment, tmp_path, hear_ctrl_c):
    add_step(project, "glm_rates", "slow")
    command = [sys.executable, project / "scripts/demo.py", "--output", tmp_path / "out"]
    process = subprocess.Popen(
        command,
        env=plain_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "out/glm_rates/started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    page = (tmp_path / "out/index.html").read_text()
    assert "fit the model" in page
    assert "<p>interrupted</p>" in page
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert f"slow {tmp_path}" not in listed.stdout
