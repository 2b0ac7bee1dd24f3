"""Who else can do the work? Independent, idempotent tasks on a running Dask scheduler or on SLURM through dask-jobqueue."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hdf5io

from .console import EnvironmentMissing, WorkFailed


def run_tasks(scheduler: str, function: Callable, arguments: Sequence[tuple]) -> Iterator[Any]:
    """Yield the results of ``function(*arguments[i])`` as they finish; a failed task fails alone and is reported at the end.

    Parameters
    ----------
    scheduler : address of a Dask scheduler (``tcp://host:8786``), or ``slurm:CONFIG.toml`` whose keys are the arguments of
        ``dask_jobqueue.SLURMCluster`` plus ``workers`` (how many jobs, default 1).

    Raises
    ------
    EnvironmentMissing : dask is not installed. InputError : the scheduler does not answer. WorkFailed : tasks that failed.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise EnvironmentMissing("--scheduler needs dask: pip install 'neuropipes[cluster]'.") from None
    with _cluster(scheduler) as address:
        try:
            client = Client(address, timeout="20s")
        except (OSError, TimeoutError, ValueError) as error:
            raise hdf5io.InputError(
                f"--scheduler {scheduler}: no Dask scheduler answers there ({type(error).__name__})."
            ) from None
        with client:
            futures = [client.submit(function, *a, pure=False, retries=2) for a in arguments]
            failed = []
            for future in as_completed(futures):
                if future.status == "finished":
                    yield future.result()
                else:
                    failed.append(str(future.exception()).splitlines()[0])
    if failed:
        raise WorkFailed(
            f"{len(failed)} of {len(arguments)} tasks failed, the rest is done; the first says: {failed[0]}"
        )


def _cluster(scheduler: str):
    import contextlib

    if not scheduler.startswith("slurm:"):
        return contextlib.nullcontext(scheduler)
    path = Path(scheduler.removeprefix("slurm:"))
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise EnvironmentMissing("--scheduler slurm: needs dask-jobqueue: pip install 'neuropipes[cluster]'.") from None
    try:
        options = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise hdf5io.InputError(f"--scheduler {scheduler}: {path} is not readable as TOML ({error}).") from None
    workers = int(options.pop("workers", 1))
    cluster = SLURMCluster(**options)
    cluster.scale(jobs=workers)
    return cluster
