"""Which pipeline reads my data, and what do I type? One entry point to the five, each of which works without it.

``doctor`` asks the pipelines themselves (see ``doctor.py``), ``demo`` runs them on simulated recordings, ``cite`` prints BibTeX,
``reproduce`` hands a result to the pipeline that made it; the name of a pipeline is that pipeline. Nothing heavy is imported here.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any, NoReturn

PIPELINES = ("glm_rates", "meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion")

USAGE = """usage: neuropipes COMMAND ...

  doctor DATA [--json]     which pipelines read this file or folder, what is in it, what to type
  demo [--only PIPELINE]   all five on simulated recordings, one page at the end; says first how long it takes
  cite [PIPELINE ...]      BibTeX of this software and of the papers that a pipeline stands on
  reproduce FILE [--run]   the command behind a result of any pipeline; with --run, does it come out the same again?
  glm-rates | meso-forecast | unit-refine | laa-bayes | neuro-diffusion ...
                           the pipelines themselves: neuropipes glm-rates infer ... is glm-rates infer ...
  --version                print the version
"""


def main() -> NoReturn:
    """Run the command line; a mistake is one line and exit code 2."""
    words = sys.argv[1:] or ["--help"]
    try:
        code = answered(words[0], words[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE, errno.EIO):
            raise
        code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more is tried at exit
        if error.errno != errno.EPIPE:  # else the reader, such as `head`, had enough
            fail(f"the answer could not be printed ({error.strerror}).")
    sys.exit(code)


def answered(name: str, rest: Sequence[str]) -> int:
    """Run a command, or hand over to a pipeline; return the exit code."""
    package = name.replace("-", "_")
    if package in PIPELINES:
        hand_over(package, rest)
    if name in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if name == "--version":
        print(f"neuropipes {version()}")
        return 0
    if name not in COMMANDS:
        return fail(f"no command '{name}'; there are {', '.join([*COMMANDS, *map(program_of, PIPELINES)])}.")
    return COMMANDS[name](rest)


def fail(message: str) -> int:
    """Print one line on stderr; return the exit code of a bad option or input."""
    print(f"neuropipes: {message}", file=sys.stderr)
    return 2


class OneLine(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """End with one line and exit code 2."""
        sys.exit(fail(f"{self.prog.removeprefix('neuropipes ')}: {message}. Try '{self.prog} --help'."))


def program_of(package: str) -> str:
    """Return what a person types for a pipeline."""
    return package.replace("_", "-")


def version() -> str:
    """Return the version of the installed distribution, or ``0+source`` in a bare checkout."""
    try:
        return metadata.version("neuropipes")
    except metadata.PackageNotFoundError:
        return "0+source"


def hand_over(package: str, words: Sequence[str]) -> NoReturn:
    """Go on as a pipeline's own program."""
    if util.find_spec(package) is None:
        sys.exit(fail(f"{program_of(package)} is not installed here."))
    sys.argv = [program_of(package), *words]
    importlib.import_module(f"{package}.cli").main()
    sys.exit(0)


def reproduce(words: Sequence[str]) -> int:
    """Hand a result to the pipeline that made it, whichever that is."""
    if not words or words[0] in ("-h", "--help"):
        print("usage: neuropipes reproduce FILE [--run] [--tolerance X] [--json]")
        return 0 if words else 2
    places = [w for before, w in zip(["", *words], words) if not w.startswith("-") and before != "--tolerance"]
    if not places:
        return fail("reproduce: FILE is missing. Try 'neuropipes reproduce --help'.")
    found = made_by(Path(places[0]))
    if found is None:
        return fail(f"reproduce: {places[0]}: no record (result.json) of a run in it or beside it.")
    place, record = found
    hand_over(record["pipeline"], ["reproduce", *(str(place) if w == places[0] else w for w in words)])


def made_by(given: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the record of the run of ours that made a file or folder, and the path of that record; None for what others made.

    A folder holds its record; a file has it beside it, or lies in a folder whose record lists it.
    """
    given = given.absolute()
    beside = [given] if given.name.endswith("result.json") else [given.with_name(given.name + ".result.json")]
    lists_it = [given.with_suffix(".result.json"), given.parent / "result.json"]
    for path in [given / "result.json"] if given.is_dir() else [*beside, *lists_it]:
        record: Any = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("pipeline") not in PIPELINES:
            continue
        made = record.get("outputs")
        names = [Path(str(output)).name for output in made.values()] if isinstance(made, dict) else []
        if path not in lists_it or given.name in names:
            return path, record
    return None


def part(name: str) -> Any:
    """Return a command that stands in a file of its own, which is imported when it is called."""
    return lambda words: importlib.import_module(f"neuropipes.{name}").run(words)


COMMANDS = {"doctor": part("doctor"), "demo": part("demo"), "cite": part("cite"), "reproduce": reproduce}
