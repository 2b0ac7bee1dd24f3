"""Set-up makes the environment once, notices every change, repairs what was interrupted and touches nothing foreign."""

import json
import signal
import subprocess
import sys
import time

import pytest

STAMP = ".venv/neuropipes.json"


def stamp_of(project):
    return json.loads((project / STAMP).read_text())


def test_the_second_run_does_nothing(ready_project, script):
    before = {p: p.stat().st_mtime_ns for p in (ready_project / ".venv").iterdir()}
    again = script(ready_project, "bootstrap.py")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.strip() == str(ready_project / ".venv/bin/python")
    assert before == {p: p.stat().st_mtime_ns for p in (ready_project / ".venv").iterdir()}


def test_the_environment_runs_the_console_scripts(ready_project, tmp_path):
    done = subprocess.run(
        [ready_project / ".venv/bin/glm-rates", "fit", tmp_path / "run"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "40 units, .031 bits/spike\n")


def test_changed_requirements_update_the_environment_in_place(empty_project, script):
    assert script(empty_project, "bootstrap.py").returncode == 0
    (empty_project / ".venv/mine.txt").write_text("kept")
    (empty_project / "envs/all.txt").write_text("# changed\n")
    again = script(empty_project, "bootstrap.py")
    assert again.returncode == 0
    assert "packages of envs/all.txt" in again.stderr
    assert "1/3" not in again.stderr
    assert (empty_project / ".venv/mine.txt").exists()
    assert script(empty_project, "bootstrap.py").stderr == ""


def test_a_killed_set_up_leaves_no_stamp_and_the_next_call_repairs_it(empty_project, script, plain_environment):
    killed = subprocess.Popen(
        [sys.executable, empty_project / "scripts/bootstrap.py"], env=plain_environment, stderr=subprocess.DEVNULL
    )
    while not (empty_project / STAMP).exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert stamp_of(empty_project)["ready"] is False
    again = script(empty_project, "bootstrap.py")
    assert again.returncode == 0
    assert "left unfinished" in again.stderr
    assert stamp_of(empty_project)["ready"] is True
    assert (empty_project / ".venv/bin/glm-rates").exists()


def test_a_failed_installation_shows_why_and_leaves_no_stamp(empty_project, script):
    (empty_project / "envs/all.txt").write_text("./no-such-folder\n")
    failed = script(empty_project, "bootstrap.py")
    assert failed.returncode == 5
    assert "pip install failed" in failed.stderr
    assert "no-such-folder" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert stamp_of(empty_project)["ready"] is False


def test_somebody_elses_environment_is_refused_and_left_alone(empty_project, script):
    (empty_project / ".venv/bin").mkdir(parents=True)
    (empty_project / ".venv/bin/python").write_text("not ours")
    refused = script(empty_project, "bootstrap.py")
    assert refused.returncode == 5
    assert refused.stderr.count("\n") == 1
    assert "was not made by this script" in refused.stderr
    assert (empty_project / ".venv/bin/python").read_text() == "not ours"


def test_an_environment_that_is_a_link_is_refused_and_left_alone(empty_project, script):
    (empty_project / "elsewhere").mkdir()
    (empty_project / ".venv").symlink_to("elsewhere")
    refused = script(empty_project, "bootstrap.py")
    assert (refused.returncode, refused.stderr.count("\n")) == (5, 1)
    assert (empty_project / ".venv").is_symlink()


def test_two_set_ups_at_once_make_one_environment(empty_project, plain_environment):
    command = [sys.executable, empty_project / "scripts/bootstrap.py"]
    both = [subprocess.Popen(command, env=plain_environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("1/3 environment" in text for text in said) == 1


@pytest.mark.slow
def test_a_moved_checkout_gets_a_new_environment(empty_project, script):
    assert script(empty_project, "bootstrap.py").returncode == 0
    moved = empty_project.rename(empty_project.with_name("moved project"))
    (moved / "backend/backend.py").write_text(
        (moved / "backend/backend.py").read_text().replace(str(empty_project), str(moved))
    )
    again = script(moved, "bootstrap.py")
    assert again.returncode == 0
    assert "making it anew" in again.stderr
    assert stamp_of(moved)["root"] == str(moved)


@pytest.mark.slow
def test_split_makes_an_environment_for_each_pipeline(empty_project, script):
    for name in ("meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion"):
        (empty_project / f"envs/{name}.txt").write_text("# nothing\n")
    text = (empty_project / "scripts/bootstrap.py").read_text()
    (empty_project / "scripts/bootstrap.py").write_text(
        text.replace(
            '("glm_rates", "meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion")',
            '("glm_rates", "laa_bayes")',
        )
    )
    done = script(empty_project, "bootstrap.py", "--envs", "split")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(empty_project / f".venvs/{n}/bin/python") for n in ("glm_rates", "laa_bayes")]
    assert not (empty_project / ".venv").exists()


@pytest.mark.parametrize("name", ["test.py", "check.py", "demo.py", "bench.py"])
def test_help_and_wrong_options_need_no_set_up(empty_project, script, name):
    shown = script(empty_project, name, "--help")
    assert shown.returncode == 0
    assert "--envs" in shown.stdout
    wrong = script(empty_project, name, "--gpuu")
    assert wrong.returncode == 2
    assert not (empty_project / ".venv").exists()


def test_test_py_hands_its_arguments_to_pytest_and_returns_its_exit_code(ready_project, script):
    (ready_project / "test_one.py").write_text("def test_fails():\n    assert False\n")
    done = script(ready_project, "test.py", "--", "test_one.py", "-p", "no:cacheprovider", "-q")
    assert done.returncode == 1
    assert "1 failed" in done.stdout.splitlines()[-1]


def test_bench_py_runs_the_benchmark_with_its_arguments(ready_project, script):
    (ready_project / "scripts/bench_glm_rates.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(7)\n")
    done = script(ready_project, "bench.py", "glm-rates", "--units", "40", "--help")
    assert (done.returncode, done.stdout) == (7, "['--units', '40', '--help']\n")
    unknown = script(ready_project, "bench.py", "nothing")
    assert unknown.returncode == 2
    assert "glm_rates" in unknown.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_during_set_up_says_one_line_and_exits_130(empty_project, plain_environment, hear_ctrl_c):
    process = subprocess.Popen(
        [sys.executable, empty_project / "scripts/bootstrap.py"],
        env=plain_environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (empty_project / ".venv/setup.log").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
