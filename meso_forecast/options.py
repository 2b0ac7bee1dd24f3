"""How is a config field typed at the shell, and what does the shell's text become?

A command's options are the fields of its pydantic config: name, default, bounds and help are written there and nowhere else.
Values travel as text to pydantic, which parses and checks them, so that a typed option, a TOML key and a Python call obey the
same rules. Paths are looked at before anything heavy is imported. A field's ``json_schema_extra`` may say: ``positional``, ``flags``
(further spellings), ``exists`` (file, folder or any: an input that must be there), ``or_word`` (that may stand instead of it), ``input``
(text that may name an input), ``same`` (the option does not change the result), ``product`` (of ``output``: the name of the file that a study makes in each recording's
folder; without it the output is that folder).

The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import inspect
import math
import os
import re
import stat
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hdf5io.errors import InputError


class Kind(NamedTuple):
    """How a config field is typed at the shell."""

    many: bool  #: takes several values
    length: int | None  #: exactly so many, where the field is a tuple of fixed length
    choices: tuple[str, ...]
    flag: bool
    nested: bool  #: a table, settable from a TOML file only
    is_path: bool
    label: str


def kind_of(config_class: type[BaseModel], name: str) -> Kind:
    """Return how the field ``name`` is typed at the shell, read from its annotation."""
    inner = without_none(config_class.model_fields[name].annotation)
    origin, many, count = get_origin(inner), False, None
    nested = origin is dict or inner is dict or (inspect.isclass(inner) and issubclass(inner, BaseModel))
    if origin in (list, tuple):
        elements = get_args(inner)
        many, count = True, len(elements) if origin is tuple and Ellipsis not in elements else None
        inner = without_none(elements[0])
        nested = inspect.isclass(inner) and issubclass(inner, BaseModel)
    choices = tuple(str(c) for c in get_args(inner)) if get_origin(inner) is Literal else ()
    label = "|".join(choices) or getattr(inner, "__name__", "value").replace("str", "text").upper()
    return Kind(many, count, choices, inner is bool, nested, inner is Path, label)


def without_none(annotation: Any) -> Any:
    """Return ``X`` for ``X | None``; other annotations are returned as they are."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not type(None)]
        return rest[0] if len(rest) == 1 else str
    return annotation


def extra_of(config_class: type[BaseModel], name: str) -> dict[str, Any]:
    """Return the field's ``json_schema_extra`` (see the top of this file)."""
    extra = config_class.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}


def is_positional(config_class: type[BaseModel], name: str) -> bool:
    """Return whether the field is given by its place instead of by an option."""
    return name in config_class.model_fields and bool(extra_of(config_class, name).get("positional"))


def flags_of(config_class: type[BaseModel], name: str) -> list[str]:
    """Return every spelling of an option: with hyphens, and those named in the config (underscores: see `tidy_arguments`)."""
    return [f"--{name.replace('_', '-')}", *extra_of(config_class, name).get("flags", [])]


def shown(config_class: type[BaseModel], name: str) -> str:
    """Return a field as a person types it."""
    return name.upper() if is_positional(config_class, name) else "--" + name.replace("_", "-")


#: names of the options that every command has and that are no part of its config
OWN = ("config_file", "as_json", "quiet", "verbose", "rehearse")


def rehearsed_by_console(config_class: type[BaseModel]) -> bool:
    """Return whether ``--dry-run`` of a verb is answered by the console: it writes an output and has no answer of its own."""
    fields = config_class.model_fields
    return "dry_run" not in fields and ("output" in fields or hasattr(config_class, "target"))


def parameters(config_class: type[BaseModel]) -> list[inspect.Parameter]:
    """Return the shell parameters of a verb: those that every command has, then one for each field of its config."""
    return [*own_parameters(config_class), *field_parameters(config_class)]


def own_parameters(config_class: type[BaseModel]) -> list[inspect.Parameter]:
    """Return the options that every command has and that are no part of its config."""
    options = {
        "config_file": (str, typer.Option(None, "--config", metavar="FILE.toml", help="Read options from a TOML file (a typed option wins).")),
        "as_json": (bool, typer.Option(False, "--json", help="Print one JSON object instead of one line.")),
        "quiet": (bool, typer.Option(False, "--quiet", help="Only warnings and errors on stderr.")),
        "verbose": (bool, typer.Option(False, "--verbose", help="More detail on stderr.")),
    }  # fmt: skip
    if rehearsed_by_console(config_class):
        told = "Check options and paths, say what would be read and written."
        options["rehearse"] = (bool, typer.Option(False, "--dry-run", help=told))
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, keyword, default=o, annotation=a) for name, (a, o) in options.items()]


def field_parameters(config_class: type[BaseModel]) -> Iterator[inspect.Parameter]:
    """Yield one shell parameter for each field of the config; all values travel as text to pydantic."""
    for name, info in config_class.model_fields.items():
        kind = kind_of(config_class, name)
        if kind.nested:
            continue
        annotation: Any = list[str] if kind.many else bool if kind.flag else str
        metavar = kind.label
        if kind.many:
            metavar = ",".join([kind.label] * (kind.length or 1)) + ("" if kind.length else ",...")
        if is_positional(config_class, name):
            parameter = typer.Argument(
                None, metavar=name.upper() + ("..." if kind.many else ""), help=info.description, show_default=False
            )
        else:
            flags = flags_of(config_class, name)
            if kind.flag:
                flags = [f"{f}/--no-{f.removeprefix('--')}" if f.startswith("--") else f for f in flags]
            text = default_text(None if info.is_required() else info.get_default(call_default_factory=True))
            parameter = typer.Option(
                None, *flags, metavar=None if kind.flag else metavar, help=info.description, show_default=text
            )
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=parameter, annotation=annotation | None)


def default_text(default: Any) -> str | bool:
    """Return a default as it would be typed; no text for "not set"."""
    if default is None or default == () or default == []:
        return False
    if isinstance(default, bool):
        return "on" if default else "off"
    return ",".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


def build_config(config_class: type[BaseModel], given: Mapping[str, Any], config_file: str | None) -> BaseModel:
    """Merge a TOML file with the options that were typed (these win) and validate; one line for every mistake at once."""
    values = {} if config_file is None else read_toml(Path(config_file), config_class)
    for name, value in given.items():
        if value is None or value == []:
            continue
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
                reason = "it is not written in UTF-8. Rename it, or give a link to it that has another name"
                raise InputError(f"{shown(config_class, name)} {text!r}: {reason}.")
        kind = kind_of(config_class, name)
        values[name] = split_values(value, kind, is_positional(config_class, name)) if kind.many else value
    try:
        config = config_class(**values)
    except ValidationError as error:
        faults = [describe_error(e, config_class) for e in error.errors()]
        raise InputError("; ".join([*faults, *missing_paths(config_class, values)])) from None
    parsed = {name: getattr(config, name) for name in config_class.model_fields}
    if wrong := [*missing_paths(config_class, parsed), *wrong_scheduler(parsed.get("scheduler"))]:
        raise InputError("; ".join(wrong))
    return config


def read_toml(path: Path, config_class: type[BaseModel]) -> dict[str, Any]:
    """Return the keys of a TOML file as field names; an unknown key is refused with the nearest known one."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"--config {path}: no such file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise InputError(f"--config {path}: not readable as TOML: {error}") from None
    known, values = config_class.model_fields, {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise InputError(f"--config {path}: unknown key '{key}'. Nearest known key: '{near[0]}'.")
        values[name] = value
    return values


def describe_error(error: Mapping[str, Any], config_class: type[BaseModel]) -> str:
    """Return one phrase for one pydantic error: which option, what was given, what is expected."""
    name, message = str(error["loc"][0]) if error["loc"] else "", str(error["msg"]).removeprefix("Value error, ")
    if not name:
        return message
    if error["type"] == "missing":
        return f"{shown(config_class, name)} is missing: {config_class.model_fields[name].description}"
    return f"{shown(config_class, name)} {error['input']!r}: {message.replace('Input should be', 'expected')}"


def missing_paths(config_class: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield one phrase for each path that must exist and does not, or is of the wrong kind."""
    for name in config_class.model_fields:
        extra, value = extra_of(config_class, name), values.get(name)
        wanted = extra.get("exists")
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if wanted is None or not isinstance(item, (str, Path)) or str(item) in ("", extra.get("or_word")):
                continue
            path, where, what = Path(item), shown(config_class, name), "file or folder" if wanted == "any" else wanted
            hint = f" Expected: {config_class.model_fields[name].description}."
            try:
                is_folder = stat.S_ISDIR(path.stat().st_mode)
            except (OSError, ValueError) as error:  # ValueError: a byte that no path can hold
                number = getattr(error, "errno", errno.ENOENT)
                known = number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
                yield f"{where} {item}: {f'no such {what}' if known else f'{what} not readable ({os.strerror(number)})'}.{hint}"
                continue
            if wanted == "file" and is_folder:
                yield f"{where} {item}: is a folder, a file is expected.{hint}"
            elif wanted == "folder" and not is_folder:
                yield f"{where} {item}: is a file, a folder is expected.{hint}"
            elif not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
                yield f"{where} {item}: no permission to read it."


def wrong_scheduler(address: str | None) -> Iterator[str]:
    """Yield one phrase for a ``--scheduler`` that is neither the address of one nor a file for SLURM that is there."""
    if address is not None and address.startswith("slurm:"):
        if not Path(address.removeprefix("slurm:")).is_file():
            yield f"--scheduler {address}: no such file; expected slurm:FILE.toml."
    elif address is not None and not re.fullmatch(r"([a-z]+://)?[^\s/]+:\d+", address):
        yield f"--scheduler {address!r}: no address; expected tcp://HOST:PORT of a Dask scheduler, or slurm:FILE.toml."


def input_paths(config: BaseModel) -> list[Path]:
    """Return the files and folders that a command reads, by its config: fields with ``exists`` or ``input``, unless that is False."""
    found = []
    for name in type(config).model_fields:
        extra, value = extra_of(type(config), name), getattr(config, name)
        if extra.get("input", extra.get("exists")):
            items = value if isinstance(value, (list, tuple)) else [value]
            found += [Path(i) for i in items if isinstance(i, (str, Path)) and str(i) and Path(i).exists()]
    return found


def split_values(values: Sequence[str], kind: Kind, positional: bool) -> list[str]:
    """Split comma-separated values; a positional, or a path that exists as it is written, stays whole."""
    whole = positional or kind.is_path
    parts: list[str] = []
    for value in values:
        parts += [value] if whole and (positional or Path(value).exists()) else value.split(",")
    return [part for part in parts if part]


def tidy_arguments(config_class: type[BaseModel], arguments: Sequence[str]) -> list[str]:
    """Return the words typed after a verb in the one spelling that the parser knows.

    Underscores in option names become hyphens (``--bin_size``). Values typed with spaces (``--time_lims 1500 4500``) are joined
    where number or choices make it unambiguous.
    """
    rest = list(arguments)
    kinds = {f: kind_of(config_class, n) for n in config_class.model_fields for f in flags_of(config_class, n)}
    tidy: list[str] = []
    while rest:
        token = rest.pop(0)
        if token == "--":
            return [*tidy, token, *rest]
        flag, equals, value = token.partition("=")
        if flag.startswith("--") and flag not in kinds:
            flag = flag.replace("_", "-")
        kind, values = kinds.get(flag), list[str]()
        if kind and kind.many and not equals and (kind.length or kind.choices):
            while rest and len(values) < (kind.length or len(rest) + len(values)) and fits(rest[0], kind):
                values.append(rest.pop(0))
        tidy.append(f"{flag}={','.join(values)}" if values else flag + equals + value)
    return tidy


def fits(text: str, kind: Kind) -> bool:
    """Return whether a word can only be a value of this option: one of its choices, or a number."""
    if kind.choices:
        return all(part in kind.choices for part in text.split(","))
    with contextlib.suppress(ValueError):
        return all(math.isfinite(float(part)) for part in text.split(","))
    return False


SAME = {"output", "overwrite", "dry_run", "resume", "jobs", "scheduler"}  #: options that never change a result


def deciding_options(config: BaseModel) -> dict[str, Any]:
    """Return the options that a result depends on, as JSON knows them; inputs are compared by content, not by path."""
    kept = {}
    for name, value in config.model_dump(mode="json").items():
        extra = extra_of(type(config), name)
        if not (name in SAME or extra.get("same") or extra.get("exists")):
            kept[name] = value
    return kept


class ReproduceConfig(BaseModel):
    """Print the command that made an output; with --run, run it again and say what differs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path = Field(
        description="output of this pipeline: result.json, the folder that holds it, or a file with one beside it",
        json_schema_extra={"positional": True, "exists": "any"},
    )
    run: bool = Field(False, description="run the command again, into a temporary folder, and compare every number")
    tolerance: float = Field(0.0, ge=0, description="with --run: largest relative difference that counts as the same")

    @model_validator(mode="after")
    def _tolerance_of_a_run(self) -> Self:
        if self.tolerance and not self.run:
            raise ValueError("--tolerance judges a repetition; give --run too")
        return self


class BatchConfig(BaseModel):
    """Run one verb on many recordings: a table of what was done, skipped and failed, and one page over all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recordings: list[str] = Field(
        description="recordings, globs, or a table (.csv, .tsv) with a column 'recording' and further columns of options",
        json_schema_extra={"positional": True, "input": True},
    )
    output: Path = Field(description="folder of the study: one folder a recording, status.csv, summary.csv, index.html")
    command: str | None = Field(None, description="verb to run on each; not set: the pipeline's main one")
    options: list[str] = Field(
        [], description="options of the verb for all recordings, as NAME=VALUE", json_schema_extra={"flags": ["--set"]}
    )
    animal: str | None = Field(None, description="column of the table that names the animal, for effects over animals")
    jobs: int = Field(1, ge=1, description="recordings worked on at once")
    scheduler: str | None = Field(None, description="Dask scheduler (tcp://HOST:PORT) or slurm:FILE.toml, not --jobs")
    dry_run: bool = Field(False, description="check the list and say what would be run; write nothing")

    @property
    def target(self) -> None:
        """A study grows: each recording keeps the rule for outputs, the whole has none."""
        return None


SHARED_VERBS: dict[str, type[BaseModel]] = {"batch": BatchConfig, "reproduce": ReproduceConfig}
