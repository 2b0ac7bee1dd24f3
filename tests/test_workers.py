"""Does the one map give the same results wherever the work is done, and does a bad task fail alone?"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from glm_rates import workers
from hdf5io import EnvironmentMissing, InputError, WorkFailed

ROOT = Path(__file__).resolve().parents[1]
TASKS = """
    import os, signal, sys, time
    from pathlib import Path

    def square(x):
        return x * x

    def picky(x):
        if x == 2:
            raise ValueError("two is not liked")
        return x

    def poisoned(x):
        if x == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    def slow(folder, i):
        (Path(folder) / str(os.getpid())).touch()
        time.sleep(1)

    def shard(folder, i):
        path = Path(folder) / f"shard_{i}"
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(bytes([i]) * 1000)
        os.replace(part, path)
        return path.name
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Return a module of task functions that other processes can import."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "fanout_tasks.py").write_text(textwrap.dedent(TASKS))
    sys.path.insert(0, str(folder))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(ROOT), *([before] if before else [])])
    import fanout_tasks

    yield fanout_tasks
    sys.path.remove(str(folder))
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def dask(tasks, tmp_path_factory):
    """Return ``(address, pids of the workers)`` of a scheduler with two worker processes, started as from a shell."""
    folder = tmp_path_factory.mktemp("dask")
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    file = folder / "scheduler.json"
    options = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    scheduler = subprocess.Popen(
        [*run, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)], **options
    )
    worker = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        "--scheduler-file",
        str(file),
        "--nthreads",
        "1",
        "--no-dashboard",
    ]
    started = [subprocess.Popen([*worker, "--name", str(i)], **options) for i in range(2)]
    from distributed import Client

    for _ in range(300):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.1)
    import json

    address = json.loads(file.read_text())["address"]
    with Client(address) as client:
        client.wait_for_workers(2, timeout=60)
    yield address
    for process in (*started, scheduler):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def found(function, arguments, **where):
    return [result for _, result in sorted(workers.run(function, arguments, **where))]


def test_the_results_do_not_depend_on_who_works(tasks, dask):
    arguments = [(i,) for i in range(7)]
    expected = [i * i for i in range(7)]
    assert found(tasks.square, arguments) == expected
    assert found(tasks.square, arguments, jobs=2) == expected
    assert found(tasks.square, arguments, scheduler=dask) == expected


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_task_fails_alone_and_is_told_at_the_end(tasks, jobs):
    done = []
    with pytest.raises(WorkFailed, match=r"1 of 5 tasks failed, the rest is done; .*two is not liked"):
        done.extend(result for _, result in workers.run(tasks.picky, [(i,) for i in range(5)], jobs=jobs))
    assert sorted(done) == [0, 1, 3, 4]


def test_a_task_that_kills_its_process_fails_alone(tasks):
    done = []
    with pytest.raises(WorkFailed, match=r"1 of 5 tasks failed.*killed"):
        done.extend(result for _, result in workers.run(tasks.poisoned, [(i,) for i in range(5)], jobs=2))
    assert sorted(done) == [0, 1, 3, 4]


def test_a_poisoned_task_on_dask_fails_alone(tasks, dask):
    done = []
    with pytest.raises(WorkFailed, match="1 of 5 tasks failed"):
        done.extend(result for _, result in workers.run(tasks.poisoned, [(i,) for i in range(5)], scheduler=dask))
    assert sorted(done) == [0, 1, 3, 4]


def test_shards_lie_where_the_driver_said_although_the_workers_stand_elsewhere(tasks, dask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = workers.shared_folder(Path("relative"), dask)
    names = found(tasks.shard, [(str(folder), i) for i in range(5)], scheduler=dask)
    assert names == [f"shard_{i}" for i in range(5)]
    assert sorted(p.name for p in (tmp_path / "relative").iterdir()) == names
    assert (tmp_path / "relative" / "shard_3").read_bytes() == bytes([3]) * 1000


def test_a_worker_killed_in_the_middle_changes_nothing(tasks, dask, tmp_path):
    from distributed import Client

    folder = workers.shared_folder(tmp_path / "out", dask)
    with Client(dask) as client:
        pid = next(iter(client.run(os.getpid).values()))
    names = []
    for position, (_, name) in enumerate(
        workers.run(tasks.shard, [(str(folder), i) for i in range(40)], scheduler=dask)
    ):
        names.append(name)
        if position == 3:
            os.kill(pid, signal.SIGKILL)
    assert sorted(names) == sorted(f"shard_{i}" for i in range(40))
    assert all((folder / f"shard_{i}").read_bytes() == bytes([i]) * 1000 for i in range(40))


@pytest.mark.slow  # the scheduler is waited for
def test_no_scheduler_and_wrong_slurm_files_are_one_line(tasks, tmp_path):
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        found(tasks.square, [(1,)], scheduler="tcp://127.0.0.1:9")
    with pytest.raises(InputError, match="not readable as TOML"):
        found(tasks.square, [(1,)], scheduler=f"slurm:{tmp_path / 'none.toml'}")
    (tmp_path / "wrong.toml").write_text("no_such_argument = 1\n")
    with pytest.raises((InputError, EnvironmentMissing)):
        found(tasks.square, [(1,)], scheduler=f"slurm:{tmp_path / 'wrong.toml'}")


def test_workers_end_with_a_driver_that_is_killed(tasks, tmp_path):
    code = f"import fanout_tasks; from glm_rates import workers; list(workers.run(fanout_tasks.slow, [({str(tmp_path)!r}, i) for i in range(40)], jobs=2))"
    driver = subprocess.Popen([sys.executable, "-c", f"if __name__ == '__main__':\n    {code}"])
    pids = []
    for _ in range(600):
        pids = [int(p.name) for p in tmp_path.iterdir()]
        if len(pids) == 2:
            break
        time.sleep(0.1)
    assert len(pids) == 2
    driver.kill()
    driver.wait(30)
    for _ in range(100):
        left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        if not left:
            break
        time.sleep(0.1)
    assert not left
