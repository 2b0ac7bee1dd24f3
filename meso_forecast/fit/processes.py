"""How do several processes train one network? Spawned from here, one a device; this process waits, and takes what they found.

Lightning's own launchers start the command line anew, which is another run on the same output. Here each process gets the function and
its arguments, and Lightning finds in it the rank it looks for (``LOCAL_RANK``, ``NODE_RANK``). Only this process holds the output,
prints and scores. Other machines run the same command with an output of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import mmap
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import timedelta
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import distributed

from hdf5io.errors import InputError, WorkFailed

log = logging.getLogger(__package__)
JOIN = timedelta(minutes=10)  #: machines wait for each other
GRACE_S = 2.0  #: processes may tell why they failed, and end by themselves
ADDRESS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
_groups = itertools.count()  # a network each: a port of its own, which no process of the network before still holds


class Group(NamedTuple):
    """Which processes train together."""

    here: int  #: processes of this machine
    machines: int = 1
    machine: int = 0  #: which one this is
    host: str = ""  #: of the first machine
    port: int = 0
    device: str = "cpu"  #: or ``cuda``

    @property
    def size(self) -> int:
        """Return how many processes there are in all."""
        return self.here * self.machines


def group_of(here: int, machines: int, device: str) -> Group:
    """Return the processes of this machine and where they meet those of others, which the environment says.

    Raises
    ------
    InputError : it does not say where, or which machine this is.
    """
    if machines == 1:
        return Group(here, device=device)
    missing = [name for name in ADDRESS if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"--num-nodes {machines}: {', '.join(missing)} not set. Run this command on each of the {machines} machines with an --output"
            " of its own, MASTER_ADDR and MASTER_PORT of the first one, and NODE_RANK 0, 1, ..."
        )
    try:
        port, machine = int(os.environ["MASTER_PORT"]), int(os.environ["NODE_RANK"])
    except ValueError:
        port = machine = -1
    if not (0 <= machine < machines and 0 < port < 65536):
        raise InputError(
            f"--num-nodes {machines}: MASTER_PORT {os.environ['MASTER_PORT']}, NODE_RANK {os.environ['NODE_RANK']};"
            f" a port and a number from 0 to {machines - 1} are expected."
        )
    return Group(here, machines, machine, os.environ["MASTER_ADDR"], port, device)


def together(function: Callable[..., Any], arguments: tuple, group: Group) -> Any:
    """Return ``function(*arguments)`` of the first process here; all of them call it, as one `torch.distributed` group.

    Parameters
    ----------
    function : importable by name.
    arguments : given through a file that the processes map; a memory map goes better by its place (`Mapped`).

    Raises
    ------
    WorkFailed : a process was killed. What a process raised is raised here.
    """
    group = group._replace(port=group.port + next(_groups))
    if group.machines > 1:
        log.info("machine %d of %d meets the others at %s:%d", group.machine, group.machines, group.host, group.port)
    os.environ.setdefault(
        "TORCH_CPP_LOG_LEVEL", "ERROR"
    )  # in the processes: else each warns of how gradients are collected
    context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([function.__module__])  # libraries are loaded once
    with tempfile.TemporaryDirectory(prefix="meso_forecast-") as made, contextlib.ExitStack() as started:
        folder = Path(made)
        with open(folder / "work.pt", "wb") as handle:
            torch.save(arguments, handle)
        members = {}
        for rank in range(group.here):
            told, tells = context.Pipe(duplex=False)
            member = context.Process(target=_member, args=(function, folder, group, rank, tells), daemon=True)
            member.start()
            started.callback(ended, member)
            tells.close()
            members[rank] = (member, told)
        wait(members)
        return torch.load(folder / "result.pt", weights_only=True)


def wait(members: dict[int, tuple[Any, connection.Connection]]) -> None:
    """Wait until all processes have ended well; raise what the first one tells that did not."""
    left = dict(members)
    while left:
        connection.wait([member.sentinel for member, _ in left.values()])
        for rank, (member, _) in list(left.items()):
            if member.exitcode == 0:
                del left[rank]
        if any(member.exitcode is not None for member, _ in left.values()):
            connection.wait([member.sentinel for member, _ in left.values() if member.exitcode is None], GRACE_S)
            raise reason(left)


def reason(left: dict[int, tuple[Any, connection.Connection]]) -> BaseException:
    """Return why processes failed: an error made for a person, else a kill, else the first error; the others fail for want of them."""
    errors = []
    for member, told in left.values():
        with contextlib.suppress(EOFError):  # it was killed
            if member.exitcode is not None and told.poll():
                errors.append(told.recv())
    errors = [error for _, error in sorted(errors, key=lambda told: told[0])]
    for error in errors:
        if hasattr(error, "exit_code"):
            return error
    for rank, (member, _) in left.items():
        if member.exitcode is not None and member.exitcode < 0:
            name = signal.Signals(-member.exitcode).name
            return WorkFailed(
                f"process {rank + 1} of {len(left)} of the training was killed by {name} (out of memory?)"
            )
    return errors[0] if errors else WorkFailed("a process of the training ended without a word")


def ended(member: Any) -> None:
    """End a process that still runs: a checkpoint that it writes is not cut unless it takes too long."""
    if member.exitcode is None:
        member.terminate()
        member.join(GRACE_S)
        if member.exitcode is None:
            member.kill()
    member.join()


def _member(function: Callable[..., Any], folder: Path, group: Group, rank: int, tells: connection.Connection) -> None:
    """Join the group, work, and leave the result or tell the error: what a process does."""
    os.dup2(2, 1)  # stdout is for the result of the command
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends this
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    os.environ.update({"LOCAL_RANK": str(rank), "NODE_RANK": str(group.machine)})
    try:
        # what the parent has just written, in its private folder
        work = torch.load(folder / "work.pt", mmap=True, weights_only=False)
        join(folder, group, rank)
        result = function(*work)
        if rank == 0:
            torch.save(result, folder / "result.pt")
        distributed.barrier()
        distributed.destroy_process_group()
    except Exception as error:
        failed = time.monotonic()
        error.add_note(traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # some cannot be made again from what they hold
            error = RuntimeError(traceback.format_exc())
        tells.send((failed, error))
        os._exit(1)


def _end_with_parent(folder: Path) -> None:
    """End this process when the one that started it is gone, which can be killed in a way that it cannot answer."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def join(folder: Path, group: Group, rank: int) -> None:
    """Meet the other processes: by a file on one machine, else at the first machine's port."""
    number = group.machine * group.here + rank
    if group.machines == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        store: distributed.Store = distributed.FileStore(str(folder / "meet"), group.size)
    else:
        try:
            store = distributed.TCPStore(group.host, group.port, group.size, number == 0, timeout=JOIN)
        except distributed.DistError as error:
            said = str(error).splitlines()[0][:120]
            raise WorkFailed(
                f"the {group.machines} machines did not meet at {group.host}:{group.port} ({said}). Run the same command on each within"
                f" {JOIN.seconds // 60} minutes, with its NODE_RANK, --devices {group.here} and an --output of its own."
            ) from None
    backend = "gloo" if group.device == "cpu" else "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, store=store, rank=number, world_size=group.size)


def same_everywhere(work: Iterable[bytes]) -> None:
    """Refuse to train where another machine has other recordings, options or first weights.

    Raises
    ------
    InputError : which ones.
    """
    mine, all_of_them = hashlib.sha256(b"|".join(work)).hexdigest(), [""] * distributed.get_world_size()
    distributed.all_gather_object(all_of_them, mine)
    others = [i for i, digest in enumerate(all_of_them) if digest != all_of_them[0]]
    if others:
        raise InputError(
            f"processes {', '.join(map(str, others))} have other recordings or options than process 0; give each machine the same."
        )


class Mapped(NamedTuple):
    """A memory map, by its place: it is opened anew instead of sent."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def opened(self) -> np.memmap:
        """Return the map, read-only."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


def place_of(x: np.ndarray | None) -> Mapped | None:
    """Return where a whole memory map lies, or None for another array."""
    if not isinstance(x, np.memmap) or not isinstance(x.base, mmap.mmap):
        return None
    return Mapped(str(x.filename), x.offset, x.shape, x.dtype.str)
