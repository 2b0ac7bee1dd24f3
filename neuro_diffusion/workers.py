"""Who does the work? One map for every fan-out: this process, local processes, a Dask scheduler, or SLURM through dask-jobqueue.

A task is a plain function of picklable arguments that writes its own output atomically and can be run twice; its result is small.
The results do not depend on who ran a task, nor on how many worked.

The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import socket
import threading
import time
import tomllib
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from hdf5io.errors import EnvironmentMissing, InputError, WorkFailed

log = logging.getLogger((__package__ or "neuropipes").partition(".")[0])
MINUTE = 60.0  #: seconds between two lines of progress


class Task(NamedTuple):
    """What became of one task: a result, or the reason why there is none."""

    number: int
    result: Any
    error: BaseException | None


def run(
    function: Callable[..., Any], arguments: Sequence[tuple], *, jobs: int = 1, scheduler: str | None = None, what: str = "tasks"
) -> Iterator[tuple[int, Any]]:  # fmt: skip
    """Yield ``(index, function(*arguments[index]))`` as the tasks finish; a failed task fails alone and is told at the end.

    Parameters
    ----------
    function : importable by name in another process.
    arguments : one tuple a task; paths in it should be absolute (see `shared_folder`).
    jobs : local processes; 1 works in this process.
    scheduler : address of a Dask scheduler (``tcp://HOST:8786``) or ``slurm:FILE.toml`` (the arguments of
        ``dask_jobqueue.SLURMCluster``, and ``workers``, the number of jobs); replaces ``jobs``.
    what : plural noun for the lines of progress.

    Raises
    ------
    InputError : the scheduler does not answer. EnvironmentMissing : dask is not installed.
    WorkFailed : tasks that failed, after all others were done.
    """
    failed = []
    for task in each(function, arguments, jobs=jobs, scheduler=scheduler, what=what):
        if task.error is None:
            yield task.number, task.result
        else:
            failed.append(task.error)
    if len(failed) == len(arguments) == 1:
        raise failed[0]
    if failed:
        raise WorkFailed(
            f"{len(failed)} of {len(arguments)} {what} failed, the rest is done; the first says: {said(failed[0])}"
        )


def each(
    function: Callable[..., Any], arguments: Sequence[tuple], *, jobs: int = 1, scheduler: str | None = None, what: str = "tasks"
) -> Iterator[Task]:  # fmt: skip
    """Yield a `Task` for every task as it finishes, failed ones too; otherwise as `run`."""
    if scheduler is not None:
        tasks = _on_dask(scheduler, function, arguments)
    elif jobs == 1 or len(arguments) <= 1:
        tasks = _here(function, arguments)
    else:
        tasks = _on_processes(min(jobs, len(arguments)), function, arguments)
    yield from _told(tasks, len(arguments), what)


def _told(tasks: Iterable[Task], total: int, what: str) -> Iterator[Task]:
    """Pass tasks on with one log line a minute."""
    began = told = time.monotonic()
    for done, task in enumerate(tasks, 1):
        if task.error is not None:
            log.warning("%s %d of %d failed: %s", what, task.number + 1, total, said(task.error))
        yield task
        now = time.monotonic()
        if now - told >= MINUTE and done < total:
            log.info("%s: %d of %d done, about %.0f s to go", what, done, total, (now - began) / done * (total - done))
            told = now


def _here(function: Callable[..., Any], arguments: Sequence[tuple]) -> Iterator[Task]:
    for index, given in enumerate(arguments):
        try:
            yield Task(index, function(*given), None)
        except Exception as error:  # the task fails, not the rest; told by `run`
            yield Task(index, None, error)


def _on_processes(jobs: int, function: Callable[..., Any], arguments: Sequence[tuple]) -> Iterator[Task]:
    """Spawned processes; tasks whose process died are tried once more, each in a process of its own."""
    left = dict(enumerate(arguments))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _end_with_driver) as pool:
        futures: dict[Future[Any], int] = {}
        try:
            futures = {pool.submit(function, *given): index for index, given in left.items()}
            for future in as_completed(futures):
                with contextlib.suppress(BrokenProcessPool):
                    task = _outcome(futures[future], future)
                    del left[task.number]
                    yield task
        except BrokenProcessPool:
            log.debug("a worker process died while tasks were handed out")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for index, given in left.items():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_driver) as alone:
            future = alone.submit(function, *given)
            try:
                yield _outcome(index, future)
            except BrokenProcessPool:
                yield Task(index, None, WorkFailed("its process was killed (out of memory?)"))


def _end_with_driver() -> None:
    """End this worker when the driver is killed: it holds both ends of the queue of tasks, and would wait for ever."""
    driver = multiprocessing.parent_process()

    def watch() -> None:
        if driver is not None:
            driver.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _outcome(index: int, future: Any) -> Task:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        raise error
    return Task(index, None, error) if error is not None else Task(index, future.result(), None)


def said(error: BaseException) -> str:
    """Return an exception in one line: its text where it was made for a person, else with its kind."""
    text = " ".join(str(error).split())
    known = hasattr(error, "exit_code")
    return text if known and text else f"{type(error).__name__}: {text}"


def _on_dask(scheduler: str, function: Callable[..., Any], arguments: Sequence[tuple]) -> Iterator[Task]:
    try:
        from distributed import Client
    except ImportError:
        raise EnvironmentMissing('--scheduler needs dask; pip install "neuropipes[cluster]"') from None
    with _cluster(scheduler) as address:
        try:
            client = Client(address, timeout="20s")
        except (OSError, TimeoutError, ValueError) as error:
            reason = type(error).__name__
            raise InputError(f"--scheduler {scheduler}: no Dask scheduler answers there ({reason}).") from None
        with client:
            suspects = []
            for number, answer, fault in _gathered(client, function, list(enumerate(arguments))):
                if type(fault).__name__ == "KilledWorker":  # perhaps only a neighbour of the task that kills
                    suspects.append((number, arguments[number]))
                else:
                    yield Task(number, answer, fault)
            for suspect in suspects:
                yield from _gathered(client, function, [suspect])


def _gathered(client: Any, function: Callable[..., Any], numbered: Sequence[tuple[int, tuple]]) -> Iterator[Task]:
    """Hand tasks to a Dask client and yield them as they finish."""
    from distributed import as_completed

    futures = {client.submit(_wrapped, function, given, pure=False, retries=2): n for n, given in numbered}
    waiting = as_completed(futures)
    for future in waiting:
        status = future.status
        if status == "error":
            yield Task(futures[future], None, future.exception())
        elif status == "cancelled":
            yield Task(futures[future], None, WorkFailed("the scheduler has cancelled the task"))
        elif status == "finished" and isinstance(answer := future.result(), _Answer):
            yield Task(futures[future], answer.result, None)
        else:  # the worker that held the answer is gone: the task is done again elsewhere
            time.sleep(0.1)
            waiting.add(future)


class _Answer(NamedTuple):
    """A result that has arrived; what a lost worker leaves behind is something else."""

    result: Any


def _wrapped(function: Callable[..., Any], given: tuple) -> _Answer:
    return _Answer(function(*given))


def _cluster(scheduler: str) -> contextlib.AbstractContextManager[Any]:
    """Return the address as it is, or a SLURM cluster that was asked for its jobs."""
    if not scheduler.startswith("slurm:"):
        return contextlib.nullcontext(scheduler)
    path = Path(scheduler.removeprefix("slurm:"))
    try:
        options = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--scheduler {scheduler}: {path} is not readable as TOML ({error}).") from None
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise EnvironmentMissing('--scheduler slurm: needs dask-jobqueue; pip install "neuropipes[cluster]"') from None
    workers = options.pop("workers", 1)
    try:
        cluster = SLURMCluster(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"--scheduler {scheduler}: {error}") from None
    cluster.scale(jobs=int(workers))
    return cluster


def shared_folder(folder: Path, scheduler: str | None) -> Path:
    """Return the absolute path of a folder that workers write to, after a look whether they see it.

    Raises
    ------
    InputError : a worker of the scheduler does not see a file that was just written there.
    """
    folder = folder.resolve()
    if scheduler is None:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f".seen-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    mark.touch()
    try:
        for _, seen in run(os.path.exists, [(str(mark),)], scheduler=scheduler, what="looks at the folder"):
            if not seen:
                raise InputError(f"{folder}: the workers of {scheduler} do not see it. Give a folder on a shared disk.")
    finally:
        mark.unlink(missing_ok=True)
    return folder
