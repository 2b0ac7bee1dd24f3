"""What does one pipeline say of a path? The side of ``doctor`` that answers, in a process of its own.

``info`` answers with results; of these ``next`` (command lines to type, words in capitals for what only a person knows) and ``sure``
(false where the file has no mark of its own, such as a bare matrix) are used here. Where ``next`` is missing, the line ``real`` of
the pipeline's ``demo.toml`` stands in.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import program_of

GAP = re.compile(r"[A-Z][A-Z0-9_]+(\.\w+)?")  #: a word of a command line that the reader fills in

ASKED = re.compile(r"(?:Give|Name one:) --([a-z0-9-]+) (\w+)")  #: how a pipeline asks for an option


class Answer(NamedTuple):
    """What one pipeline says of one path."""

    package: str
    code: int  #: exit code of its ``info``: 0 and 3 are answers, 2 a refusal
    line: str  #: what is in it, or why it is refused
    kind: str = ""
    sure: bool = True
    commands: tuple[str, ...] = ()  #: what to type
    general: bool = False  #: the commands are for recordings in general, not made for this one
    gaps: Mapping[str, str] = {}  #: words of the commands that the reader fills in, and what they are
    asks: bool = False  #: it refuses only because an option is missing, which the commands have

    @property
    def reads(self) -> bool:
        """Whether the pipeline knows what this is."""
        return self.code in (0, 3)


def questions() -> None:
    """In a process of its own: a JSON text with a path on each line of stdin, an `Answer` as JSON on each line of stdout."""
    package, answers = sys.argv[1], os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        print(json.dumps(ask_info(package, json.loads(line))._asdict()), file=answers, flush=True)


def ask_info(package: str, data: str) -> Answer:
    """Return what a pipeline's ``info`` says of a path, through the pipeline's own console."""
    said, complaint = io.StringIO(), io.StringIO()
    try:
        console: Any = importlib.import_module(f"{package}.console")
        program = importlib.import_module(f"{package}.cli").app
        place = next(
            n for n, f in program.verbs["info"].model_fields.items() if (f.json_schema_extra or {}).get("positional")
        )
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            code = console.execute(
                program, "info", {place: data}, config_file=None, as_json=True, quiet=True, verbose=False
            )
    except Exception as error:  # a bug of that pipeline is no reason to withhold the others' answers
        return Answer(package, 1, f"its info failed ({type(error).__name__}: {error})"[:300])
    if code not in (0, 3):
        words = (complaint.getvalue().strip().splitlines() or ["no reason given"])[-1]
        return refusal(
            program, package, data, words.removeprefix(f"{program_of(package)}: info: ").removeprefix(f"{data}: "), code
        )
    found = json.loads(said.getvalue())
    results, line = found["results"], (found["line"].strip().splitlines() or [""])[-1]
    given = results.get("next") or ()
    commands = (given,) if isinstance(given, str) else tuple(given)
    general = () if commands else tuple(with_options(program, command, line) for command in in_general(package, data))
    return Answer(
        package, code, line.removeprefix(f"{data}: "), str(results.get("kind") or ""), results.get("sure") is not False,
        commands or general, bool(general), dict(gaps(program, commands or general)),
    )  # fmt: skip


def refusal(program: Any, package: str, data: str, line: str, code: int) -> Answer:
    """Return why a path is refused; one that only lacks an option of the command gets the command with it."""
    asked, general = ASKED.search(line), in_general(package, data)
    words = general[0].split() if general else []
    fields = program.verbs[words[1]].model_fields if len(words) > 1 and words[1] in program.verbs else {}
    if code != 2 or asked is None or asked[1].replace("-", "_") not in fields:
        return Answer(package, code, line)
    commands = (f"{general[0]} --{asked[1]} {asked[2]}", *general[1:])
    return Answer(package, code, line, "", True, commands, True, dict(gaps(program, commands)), asks=True)


def in_general(package: str, data: str) -> tuple[str, ...]:
    """Return the command line of ``demo.toml`` for one's own recordings, with this path in it."""
    path = Path(importlib.import_module(package).__file__ or "").with_name("demo.toml")
    real = tomllib.loads(path.read_text(encoding="utf-8")).get("real", "") if path.is_file() else ""
    typed = re.sub(r"YOUR_[A-Z_]+(\.\w+)?( \.\.\.)?", shlex.quote(data).replace("\\", r"\\"), real, count=1)
    return tuple(filter(None, typed.replace("YOUR_", "").split(" && ")))


def with_options(program: Any, command: str, line: str) -> str:
    """Return a command with the options that ``info`` says are missing: those that its line names and the verb has."""
    words = command.split()
    fields = program.verbs[words[1]].model_fields if len(words) > 1 and words[1] in program.verbs else {}
    for option in dict.fromkeys(re.findall(r"--([a-z][a-z0-9-]*)", line)):
        name = option.replace("-", "_")
        if name in fields and f"--{option}" not in words:
            command += f" --{option} {name.upper()}"
    return command


def gaps(program: Any, commands: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each word that the reader fills in, and what the pipeline says it is."""
    for command in commands:
        words = shlex.split(command)
        config_class = program.verbs.get(words[1]) if len(words) > 1 else None
        if words[0] != program.name or config_class is None:
            continue
        fields = config_class.model_fields
        places = [name for name, field in fields.items() if (field.json_schema_extra or {}).get("positional")]
        before = words[1]
        for word in words[2:]:
            option = before.lstrip("-").replace("-", "_") if before.startswith("--") else ""
            name = option if option else places.pop(0) if places and not word.startswith("-") else ""
            if GAP.fullmatch(word) and name in fields:
                yield (f"{before} {word}" if option else word), fields[name].description
            before = word
