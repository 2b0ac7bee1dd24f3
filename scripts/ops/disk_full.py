#!/usr/bin/env python3
"""What does a full disk leave behind? Every writing command of a package on a small file system, with five amounts of room; needs root.

``python scripts/ops/disk_full.py PACKAGE [STEP ...]`` prints one line a trial and ends with exit 1 where something is wrong: a
traceback, a signal, more than one line, a recording that HDF5 cannot read, a temporary file that stays, or a command that does
not complete once there is room.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tiny

SHARES = (0.0, 0.2, 0.5, 0.8, 0.95)  #: room, as a part of what the command writes when it has plenty
SLOW_S = 12  #: of commands that take longer, only the second and fourth amount are repeated with room
TEMPORARY = re.compile(r"\.part|\.journal|\.tmp|(^|/)\.s\.")


@contextmanager
def disk(place: Path, n_bytes: int) -> Iterator[Path]:
    """Mount an empty file system of so many bytes."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def unreadable(folder: Path) -> list[str]:
    """Return the HDF5 files of which something cannot be read."""
    import h5py

    wrong = []
    for path in [p for p in folder.rglob("*") if p.suffix in (".h5", ".hdf5", ".nwb", ".nc") and p.is_file()]:
        try:
            with h5py.File(path, "r") as file:
                file.visititems(lambda _, node: node[()] if isinstance(node, h5py.Dataset) else None)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            wrong.append(f"{path.name}: {error}")
    return wrong


def faults_of(code: int, said: str, out: Path, codes: tuple[int, ...]) -> list[str]:
    """Return what is wrong with how a command ended."""
    lines = [line for line in said.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
    found = []
    if "Traceback" in said:
        found.append("traceback: " + (lines[-1] if lines else ""))
    if code < 0:
        found.append(f"signal {-code}")
    if code not in (1, *codes):
        found.append(f"exit {code}")
    if code == 1 and len(lines) != 1:
        found.append(f"{len(lines)} lines")
    if code == 1 and not re.search("disk is full|no room|1 failed of 1", said):  # a study has the reason in status.csv
        found.append("not said that the disk is full")
    left = [str(p.relative_to(out)) for p in out.rglob("*") if TEMPORARY.search(str(p.relative_to(out)))]
    return found + [f"left: {name}" for name in left] + [f"unreadable: {name}" for name in unreadable(out)]


def trial(package: str, step: tiny.Step, inputs: Path, place: Path, room: int, again: bool) -> dict[str, object]:
    """Run a command with so much room, then with plenty."""
    out = place / "disk"
    with disk(out, 1 << 30):
        tiny.copy_to(step, inputs, out)
        blocks, free, size = map(int, subprocess.run(
            ["stat", "-f", "-c", "%b %f %S", str(out)], capture_output=True, text=True, check=True).stdout.split())  # fmt: skip
        limit = (blocks - free) * size + max(4096, room)
        subprocess.run(["mount", "-o", f"remount,size={limit}", str(out)], check=True)
        words = tiny.words_of(step, inputs, out)
        code, said = tiny.call(package, words, place / "log", place)
        row: dict[str, object] = {"exit": code, "said": said[-1500:], "faults": faults_of(code, said, out, step.codes)}
        if again and code != 0:
            subprocess.run(["mount", "-o", "remount,size=1G", str(out)], check=True)
            code, said = tiny.call(package, words, place / "log", place)
            row["again"] = code
            if code not in step.codes or "Traceback" in said:
                row["faults"] = [*row["faults"], f"with room: exit {code}: {said[-300:]}"]  # type: ignore[misc]
            row["faults"] = [*row["faults"], *(f"afterwards {f}" for f in faults_of(0, "", out, step.codes))]  # type: ignore[misc]
    return row


def main() -> int:
    """Run the matrix of one package."""
    package, only = sys.argv[1], sys.argv[2:]
    tiny.preload(package)
    place, n_wrong, n = Path(tempfile.mkdtemp(prefix=f"full_{package}_")), 0, 0
    began = time.monotonic()
    for step, inputs, _, written in tiny.prepared(package, place, only or None):
        slow, began = time.monotonic() - began > SLOW_S, time.monotonic()
        for number, share in enumerate(SHARES):
            row = trial(package, step, inputs, place, int(share * written), not slow or number in (1, 3))
            n, n_wrong = n + 1, n_wrong + bool(row["faults"])
            print(
                json.dumps({"package": package, "step": step.name, "share": share, "bytes": written, **row}), flush=True
            )
        began = time.monotonic()
    print(f"{package}: {n} trials, {n_wrong} with a fault", file=sys.stderr)
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
