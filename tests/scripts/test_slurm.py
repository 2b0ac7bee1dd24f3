"""Do the array scripts run one line of a list a task, keep the exit code, and leave finished work alone?"""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "scripts/slurm").glob("*.sbatch"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_task_hands_its_line_to_the_command(script, tmp_path):
    program = script.stem.replace("_", "-")
    (tmp_path / program).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')
    (tmp_path / program).chmod(0o755)
    (tmp_path / "list.txt").write_text("/data/one\n/data/two with blanks.abf\n")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MODEL": "/models/m"}

    def task(number, **more):
        command = ["bash", str(script), "list.txt", "study", "--seed", "7"]
        return subprocess.run(
            command, cwd=tmp_path, env={**env, **({"SLURM_ARRAY_TASK_ID": str(number)} if number else {}), **more},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = task(2)
    assert done.returncode == 3, done.stderr
    words = done.stdout.splitlines()
    assert "/data/two with blanks.abf" in words
    assert words[-2:] == ["--seed", "7"]
    assert words[words.index("--output") + 1].startswith("study/two_with_blanks.abf_2")
    assert task(3).returncode == 2
    assert "submit with --array" in task(None).stderr


def test_there_is_one_for_each_pipeline():
    assert [path.stem for path in SCRIPTS] == [
        "glm_rates",
        "laa_bayes",
        "meso_forecast",
        "neuro_diffusion",
        "unit_refine",
    ]
