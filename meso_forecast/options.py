"""How is a config field typed at the shell, and what does the shell's text become?

A command's options are the fields of its pydantic config: name, default, bounds and help are written there and nowhere else.
Values travel as text to pydantic, which parses and checks them, so that a typed option, a TOML key and a Python call obey the
same rules.

The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import math
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError


class BadConfig(ValueError):
    """An option or key of the configuration does not fit (exit code 2)."""

    exit_code = 2


class Kind(NamedTuple):
    """How a config field is typed at the shell."""

    many: bool  #: takes several values
    count: int | None  #: exactly so many, where the field is a tuple of fixed length
    choices: tuple[str, ...]
    flag: bool
    nested: bool  #: a table, settable from a TOML file only
    is_path: bool
    label: str


def build_config(config_class: type[BaseModel], given: Mapping[str, Any], config_file: str | None) -> BaseModel:
    """Merge a TOML file with the options that were typed (these win) and validate; one line for every mistake."""
    values = {} if config_file is None else read_toml(Path(config_file), config_class)
    for name, value in given.items():
        if value is None or value == []:
            continue
        kind = kind_of(config_class, name)
        values[name] = split_values(value, kind, is_positional(config_class, name)) if kind.many else value
    try:
        return config_class(**values)
    except ValidationError as error:
        raise BadConfig("; ".join(describe_error(e, config_class) for e in error.errors())) from None


def read_toml(path: Path, config_class: type[BaseModel]) -> dict[str, Any]:
    """Return the keys of a TOML file as field names; an unknown key is refused with the nearest known one."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"--config {path}: no such file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadConfig(f"--config {path}: not readable as TOML: {error}") from None
    values = {
        key.replace("-", "_") if key.replace("-", "_") in config_class.model_fields else key: v
        for key, v in table.items()
    }
    for key in values:
        if key not in config_class.model_fields:
            near = difflib.get_close_matches(key.replace("-", "_"), config_class.model_fields, n=1, cutoff=0.0)
            raise BadConfig(f"--config {path}: unknown key '{key}'. Nearest known key: '{near[0]}'.")
    return values


def describe_error(error: Mapping[str, Any], config_class: type[BaseModel]) -> str:
    """Return one phrase for one pydantic error: which option, what was given, what is expected."""
    name = str(error["loc"][0]) if error["loc"] else ""
    if not name:
        return str(error["msg"]).removeprefix("Value error, ")
    shown = name.upper() if is_positional(config_class, name) else "--" + name.replace("_", "-")
    if error["type"] == "missing":
        return f"{shown} is missing: {config_class.model_fields[name].description}"
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{shown} {error['input']!r}: {message}"


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


def is_positional(config_class: type[BaseModel], name: str) -> bool:
    """Return whether the field is given by its place instead of by an option."""
    return name in config_class.model_fields and bool(extra_of(config_class, name).get("positional"))


def extra_of(config_class: type[BaseModel], name: str) -> dict[str, Any]:
    """Return the field's ``json_schema_extra`` (keys ``positional``, ``flags``)."""
    extra = config_class.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}


def flags_of(config_class: type[BaseModel], name: str) -> list[str]:
    """Return every spelling of an option: with hyphens, and those named in the config (underscores: see `tidy_arguments`)."""
    return [f"--{name.replace('_', '-')}", *extra_of(config_class, name).get("flags", [])]


def own_parameters() -> list[inspect.Parameter]:
    """Return the options that every command has and that are no part of its config."""
    options = {
        "config_file": (
            str,
            typer.Option(
                None, "--config", metavar="FILE.toml", help="Read options from a TOML file (a typed option wins)."
            ),
        ),
        "as_json": (bool, typer.Option(False, "--json", help="Print one JSON object instead of one line.")),
        "quiet": (bool, typer.Option(False, "--quiet", help="Only warnings and errors on stderr.")),
        "verbose": (bool, typer.Option(False, "--verbose", help="More detail on stderr.")),
    }
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=o, annotation=a)
        for name, (a, o) in options.items()
    ]


def field_parameters(config_class: type[BaseModel]) -> Iterator[inspect.Parameter]:
    """Yield one shell parameter for each field of the config; all values travel as text to pydantic."""
    for name, info in config_class.model_fields.items():
        kind = kind_of(config_class, name)
        if kind.nested:
            continue
        annotation: Any = list[str] if kind.many else bool if kind.flag else str
        metavar = (
            kind.label if not kind.many else ",".join([kind.label] * (kind.count or 1)) + ("" if kind.count else ",...")
        )
        if is_positional(config_class, name):
            parameter = typer.Argument(
                None, metavar=name.upper() + ("..." if kind.many else ""), help=info.description, show_default=False
            )
        else:
            default = None if info.is_required() else info.get_default(call_default_factory=True)
            flags = flags_of(config_class, name)
            if kind.flag:
                flags = [
                    "/".join((flag, "--no-" + flag.removeprefix("--"))) if flag.startswith("--") else flag
                    for flag in flags
                ]
            parameter = typer.Option(
                None,
                *flags,
                metavar=None if kind.flag else metavar,
                help=info.description,
                show_default=default_text(default),
            )
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=parameter, annotation=annotation | None)


def default_text(default: Any) -> str | bool:
    """Return a default as it would be typed; no text for "not set"."""
    if default is None or default == () or default == []:
        return False
    if isinstance(default, bool):
        return "on" if default else "off"
    return ",".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


def split_values(values: Sequence[str], kind: Kind, positional: bool) -> list[str]:
    """Split comma-separated values; a positional, or a path that exists as it is written, stays whole."""
    whole = positional or kind.is_path
    return [
        part
        for value in values
        for part in ([value] if whole and (positional or Path(value).exists()) else value.split(","))
        if part
    ]


def tidy_arguments(app: typer.Typer, arguments: Sequence[str]) -> list[str]:
    """Return the typed words in the one spelling that the parser knows.

    Underscores in option names become hyphens (``--bin_size``). Values typed with spaces (``--time_lims 1500 4500``) are joined
    where number or choices make it unambiguous.
    """
    commands = {c.name: c.callback.config_class for c in app.registered_commands if hasattr(c.callback, "config_class")}
    title = next((a for a in arguments if a in commands), None)
    if title is None:
        return list(arguments)
    kinds = {f: kind_of(commands[title], n) for n in commands[title].model_fields for f in flags_of(commands[title], n)}
    tidy, rest = [], list(arguments)
    while rest:
        token = rest.pop(0)
        if token == "--":
            return [*tidy, token, *rest]
        flag, equals, value = token.partition("=")
        if flag.startswith("--") and flag not in kinds:
            flag = flag.replace("_", "-")
        kind, values = kinds.get(flag), []
        if kind and kind.many and not equals and (kind.count or kind.choices):
            while rest and len(values) < (kind.count or len(rest) + len(values)) and fits(rest[0], kind):
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
