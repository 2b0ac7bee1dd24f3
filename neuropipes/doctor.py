"""Which pipelines read a file or folder, what is in it, and what does one type?

This file knows no format: it asks the verb ``info`` of each pipeline, in processes of their own (see ``answer.py``), so that a new
reader is known at once and nothing that a file does to a library can end it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import Any

from . import PIPELINES, OneLine, fail, made_by, program_of
from .answer import Answer

DEPTH = 4  #: levels below a folder in which a recording is looked for: subject/date/number/alf
PATIENCE_S = 30.0  #: a pipeline that has not answered by then is left out, and named
HERE = Path(__file__).resolve().parents[1]


class Pipelines:
    """One process a pipeline, each of which answers any number of questions."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        start = [sys.executable, "-P", "-c", "from neuropipes import answer; answer.questions()"]
        self.asked = {
            name: subprocess.Popen([*start, name], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for name in PIPELINES
            if util.find_spec(name) is not None
        }  # fmt: skip

    def ask(self, data: Path, patience_s: float) -> list[Answer]:
        """Return every pipeline's answer, the surest first; one that takes too long is ended."""
        found: dict[str, Answer] = {}
        threads = [threading.Thread(target=self.one, args=(name, data, found), daemon=True) for name in self.asked]
        for thread in threads:
            thread.start()
        until = time.monotonic() + patience_s
        for name, thread in zip(self.asked, threads):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                self.asked[name].kill()
                found[name] = Answer(name, 1, f"no answer within {patience_s:.0f} s")
        order = sorted(found.values(), key=lambda a: (not a.reads, not a.sure, len(a.gaps), PIPELINES.index(a.package)))
        return [a for a in order if not a.line.endswith("is not installed here.")]

    def one(self, name: str, data: Path, found: dict[str, Answer]) -> None:
        """Ask one pipeline; whatever becomes of it is an answer."""
        process = self.asked[name]
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(str(data)).encode() + b"\n")
            process.stdin.flush()
            found.setdefault(name, Answer(**json.loads(process.stdout.readline())))
        except (OSError, ValueError):
            found.setdefault(name, Answer(name, 1, "ended without an answer"))

    def end(self) -> None:
        """End the processes."""
        for process in self.asked.values():
            process.kill()
        for process in self.asked.values():
            process.wait()


def run(words: Sequence[str]) -> int:
    """Say which pipelines read a file or folder, what is in it and what to type; exit code 2 where none does."""
    parser = OneLine(prog="neuropipes doctor", description="Which pipelines read this, what is in it, what do I type?")
    parser.add_argument("data", metavar="DATA", help="any file or folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    settings = parser.parse_args(list(words))
    data, began = Path(settings.data), time.monotonic()
    wrong = unusable(data)
    if wrong:
        return fail(f"doctor: {settings.data!r}: {wrong}" if "\0" in settings.data else f"doctor: {data}: {wrong}")
    pipelines = Pipelines()
    try:
        where, place, answers = examine(pipelines, data)
    finally:
        pipelines.end()
    read, made = [a for a in answers if a.reads or a.asks], origin(data)
    if settings.json:
        shown = {
            "data": settings.data,
            "instead": str(place) if place != data else None,
            "seconds": round(time.monotonic() - began, 2),
        }
        shown |= {
            "made_by": made,
            "read_by": [in_words(a) for a in read],
            "refused": {program_of(a.package): a.line for a in answers if not a.reads},
        }
        print(json.dumps(shown))
    elif read or made:
        print("\n".join(prescription(settings.data, where, read, made)))
    else:
        fail(f"doctor: {data}: none of the five reads this: {look(data)}.")
        print("\n".join(f"    {program_of(a.package)}: {a.line}" for a in answers), file=sys.stderr)
    return 0 if read or made else 2


def examine(pipelines: Pipelines, data: Path) -> tuple[str, Path, list[Answer]]:
    """Return what is said of a path, or, where nobody reads it, of a neighbour that somebody reads: (which it is, its path, answers).

    What a run of ours made is what its pipeline says, not what another one could take it for, nor what lies beside it.
    """
    answers, made = pipelines.ask(data, PATIENCE_S), made_by(data)
    if made is not None:
        return "", data, [a for a in answers if a.package == made[1]["pipeline"]]
    if not any(a.reads for a in answers):
        for place, what in neighbours(data):
            near = data == place.parent or data.is_file()  # deeper below a shape alone says too little
            others = [a for a in pipelines.ask(place, PATIENCE_S / 3) if a.reads and (a.sure or near)]
            if others:
                return what, place, others
    asks = [a for a in answers if a.asks]
    return (
        ("could be read with an option more:", data, asks)
        if asks and not any(a.reads for a in answers)
        else ("", data, answers)
    )


def origin(data: Path) -> dict[str, str] | None:
    """Return which run of ours made a path and how to do it again, None for what others made."""
    found = made_by(data)
    if found is None:
        return None
    path, record = found
    what = f"{program_of(record['pipeline'])} {record.get('command', '')}".strip()
    return {
        "run": what,
        "line": " ".join(str(record.get("line", "")).split()),
        "next": shlex.join(["neuropipes", "reproduce", str(path)]),
    }


def unusable(data: Path) -> str:
    """Return why there is nothing to ask about, or nothing."""
    try:
        mode = data.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return "is neither a file nor a folder."
        return "" if os.access(data, os.R_OK) else "no permission to read it."
    except FileNotFoundError:
        return "no such file or folder."
    except (OSError, ValueError) as error:
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})."


def entries(folder: Path) -> list[Path]:
    """Return the first thousand entries of a folder that are not hidden, sorted by name; none where it cannot be read."""
    found: list[Path] = []
    with contextlib.suppress(OSError), os.scandir(folder) as there:
        for entry in there:
            found += [Path(entry.path)] if not entry.name.startswith(".") else []
            if len(found) == 1000:
                break
    return sorted(found)


def neighbours(data: Path) -> Iterator[tuple[Path, str]]:
    """Yield what else could be meant: a file's folder, a file of the kind that a folder has most of, the first folder of each level below."""
    if not data.is_dir():
        yield data.resolve().parent, "the file by itself is read by none, but the folder it lies in is:"
        return
    no = "the folder itself is read by none, but its"
    for first, kind, n in kinds_of(entries(data))[:2]:
        yield first, f"{no} {n} '{kind}' file{'s' * (n > 1)}, such as {first.name}:"
    folder = data
    for _ in range(DEPTH):
        folders = [p for p in entries(folder) if p.is_dir()]
        if not folders:
            return
        folder = folders[0]
        such = f"{no} {len(folders)} folder(s), such as {folder.relative_to(data)}"
        yield folder, f"{such}:"
        for first, kind, n in kinds_of(entries(folder))[:1]:
            yield first, f"{such}, hold files that are, such as {first.name} ({n} '{kind}'):"


def kinds_of(paths: Sequence[Path]) -> list[tuple[Path, str, int]]:
    """Return the kinds of file among some paths, the most frequent first: (first file, suffix, how many)."""
    files = [p for p in paths if p.is_file()]
    kinds = Counter(p.suffix.lower() for p in files).most_common()
    return [(next(p for p in files if p.suffix.lower() == kind), kind, n) for kind, n in kinds]


def look(data: Path) -> str:
    """Return what a person sees of something that nobody reads."""
    if data.is_dir():
        kinds = Counter(p.suffix.lower() or ("folder" if p.is_dir() else "no suffix") for p in entries(data))
        return "a folder with " + (", ".join(f"{n} x {kind}" for kind, n in kinds.most_common(5)) or "nothing in it")
    size = data.stat().st_size
    return f"a file of {size} bytes, '{data.suffix}'" if size else "an empty file"


def in_words(answer: Answer) -> dict[str, Any]:
    """Return an answer as --json shows it."""
    shown = answer._asdict()
    del shown["code"]
    return {"pipeline": program_of(shown.pop("package")), **shown}


def prescription(typed: str, where: str, read: Sequence[Answer], made: Mapping[str, str] | None) -> Iterator[str]:
    """Yield the lines that tell what is there and what to type."""
    by = ", ".join(program_of(a.package) for a in read)
    if made:
        yield f"{typed}: made by {made['run']}" + (f", read by {by}" if read else "; it is a result, no recording")
        yield from filter(None, [made["line"], f"  $ {made['next']}"])
    else:
        yield f"{typed}: " + (where or f"read by {by}")
    for number, answer in enumerate(read):
        doubt = "" if answer.sure else " (only by its shape)"
        yield f"\n{'or ' * (number > 0)}{program_of(answer.package)}{doubt}: {answer.line}"
        if answer.general:
            yield "  for recordings in general:"
        yield from (f"  $ {command}" for command in answer.commands)
        yield from (f"    {gap}: {what}" for gap, what in answer.gaps.items())
