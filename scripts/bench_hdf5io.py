"""Which ways of putting results into an existing recording survive a kill, and what do they cost?

    python3 scripts/bench.py hdf5io [--kills 40] [--megabytes 300]

Each writer replaces a group of results in a PyTables-made recording again and again in a child process, which is killed (SIGKILL)
at a random moment. A kill counts as damage when the results are then neither the old nor the new ones, cannot be read, or when
an array of the user changed. For ``hdf5io.update`` there are also kills aimed at every call inside its commit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import tables

import hdf5io

GROUP = "glm_output"
SIZE = 200_000  #: results of 1.6 MB


def results(generation: int) -> dict[str, hdf5io.Dataset]:
    """Return two datasets that say which generation they belong to in every entry."""
    return {name: hdf5io.Dataset(np.full(SIZE, float(generation))) for name in ("a", "b")}


def write_journal(path: Path, generation: int) -> None:
    """Ours, inside the recording."""
    hdf5io.update(path, GROUP, results(generation))


def write_sidecar(path: Path, generation: int) -> None:
    """Ours, a file of its own."""
    hdf5io.write(
        path.with_suffix(".side"),
        "bench/1",
        {f"{GROUP}/{k}": v for k, v in results(generation).items()},
        overwrite=True,
    )


def write_h5py(path: Path, generation: int) -> None:
    """Delete the group and write it again with h5py."""
    with h5py.File(path, "r+") as file:
        if GROUP in file:
            del file[GROUP]
        for name, item in results(generation).items():
            file.create_dataset(f"{GROUP}/{name}", data=item.data)


def write_pytables(path: Path, generation: int) -> None:
    """Remove the node and create the arrays again with PyTables."""
    with tables.open_file(str(path), "r+") as file:
        if f"/{GROUP}" in file:
            file.remove_node("/", GROUP, recursive=True)
        group = file.create_group("/", GROUP)
        for name, item in results(generation).items():
            file.create_array(group, name, item.data)


def write_rename(path: Path, generation: int) -> None:
    """Write a temporary group with h5py, then rename it."""
    with h5py.File(path, "r+") as file:
        if "temporary" in file:
            del file["temporary"]
        for name, item in results(generation).items():
            file.create_dataset(f"temporary/{name}", data=item.data)
        file.flush()
        if GROUP in file:
            del file[GROUP]
        file.move("temporary", GROUP)


WRITERS = {
    "hdf5io.update (journal)": write_journal,
    "hdf5io.write (sidecar)": write_sidecar,
    "h5py delete + rewrite": write_h5py,
    "PyTables remove + create": write_pytables,
    "h5py temporary group + rename": write_rename,
}


def make_recording(path: Path, megabytes: float = 4) -> None:
    """Write spike arrays as PyTables does."""
    with tables.open_file(str(path), "w") as file:
        group = file.create_group("/spike_trains", "dig_in_0", createparents=True)
        file.create_array(group, "spike_array", np.random.default_rng(0).random((max(1, int(megabytes)), 131072)))


def user_digest(path: Path) -> str:
    """Return the hash of the user's array."""
    with tables.open_file(str(path), "r") as file:
        return hashlib.sha256(file.root.spike_trains.dig_in_0.spike_array[:].tobytes()).hexdigest()


def is_damaged(path: Path, before: str) -> bool:
    """Return whether results or recording are lost or mixed; reading errors of any kind are what is looked for."""
    try:
        hdf5io.recover(path)
        target = path.with_suffix(".side") if path.with_suffix(".side").exists() else path
        with h5py.File(target, "r") as file:
            values = np.concatenate([file[GROUP][name][:] for name in ("a", "b")])
        return bool((values != values[0]).any()) or user_digest(path) != before
    except (OSError, KeyError, RuntimeError, ValueError, tables.HDF5ExtError, tables.NoSuchNodeError) as error:
        print(f"    {type(error).__name__}: {str(error).splitlines()[0][:90]}", file=sys.stderr)
        return True


def child(writer: str, path: Path, at: int) -> None:
    """Write for ever; with ``at`` > 0 die at that call of the commit."""
    left = at

    def counted(function):
        def wrapper(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapper

    if at:
        for name in ("write", "fsync", "ftruncate", "unlink", "replace"):
            setattr(os, name, counted(getattr(os, name)))
        from hdf5io import journal

        journal._pack = counted(journal._pack)
    print("ready", flush=True)
    for generation in range(2, 1_000_000):
        WRITERS[writer](path, generation)


def count_damage(writer: str, template: Path, folder: Path, kills: int, aimed: bool) -> int:
    """Return how many of ``kills`` kills left damage; every trial begins with a fresh copy."""
    rng, damaged = random.Random(0), 0
    for trial in range(kills):
        path = folder / "recording.h5"
        for old in folder.iterdir():
            old.unlink()
        shutil.copy(template, path)
        WRITERS[writer](path, 1)
        before = user_digest(path)
        command = [sys.executable, __file__, "--child", writer, str(path), "--at", str(1 + 7 * trial if aimed else 0)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if not aimed:
                time.sleep(rng.uniform(0, 0.15))
                process.kill()
        damaged += is_damaged(path, before)
    return damaged


def write_cost(megabytes: float, folder: Path) -> dict[str, float]:
    """Return seconds for one replacement of the results in a recording of that size (median of five)."""
    path, seconds = folder / "large.h5", {}
    make_recording(path, megabytes)
    for name, writer in {"h5py in place": write_h5py, "hdf5io.update": write_journal}.items():
        times = []
        for generation in range(6):
            began = time.perf_counter()
            writer(path, generation)
            os.sync()
            times.append(time.perf_counter() - began)
        seconds[name] = float(np.median(times[1:]))
    began = time.perf_counter()
    shutil.copy(path, folder / "copy.h5")
    write_h5py(folder / "copy.h5", 9)
    os.sync()
    os.replace(folder / "copy.h5", path)
    seconds["copy, write, replace"] = time.perf_counter() - began
    return seconds


def main(argv: list[str] | None = None) -> None:
    """Print the kill table and the cost table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--megabytes", type=float, default=300)
    parser.add_argument("--child", nargs=2, metavar=("WRITER", "PATH"), help=argparse.SUPPRESS)
    parser.add_argument("--at", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        child(options.child[0], Path(options.child[1]), options.at)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, template = Path(name) / "trial", Path(name) / "template.h5"
        folder.mkdir()
        make_recording(template)
        print(f"| {'writer':32} | kills | damaged |\n|{'-' * 34}|------:|--------:|")
        for writer in WRITERS:
            for aimed in (False, True) if writer.startswith("hdf5io") else (False,):
                damaged = count_damage(writer, template, folder, options.kills, aimed)
                print(f"| {writer + (', aimed' if aimed else ''):32} | {options.kills:5} | {damaged:7} |", flush=True)
        cost = write_cost(options.megabytes, Path(name))
        base = cost["h5py in place"]
        print(f"\nReplacing 3.2 MB of results in a recording of {options.megabytes:g} MB:")
        for writer, seconds in cost.items():
            print(f"  {writer:24} {seconds:7.3f} s  {seconds / base:6.2f} x")


if __name__ == "__main__":
    main()
