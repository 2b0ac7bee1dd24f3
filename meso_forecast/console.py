"""How does a pydantic config become a shell command?

A command of this package is a function ``f(config, run) -> Result``. Its options are the fields of its config class (see
``options.py``). This file adds what every command of every pipeline shares: ``--config FILE.toml``, ``--json``,
``--quiet/--verbose``, exit codes and streams.

The five pipelines hold this file in equal copies, so that each package can be read, moved and installed by itself with nothing
but ``hdf5io.py``; ``tests/test_contract.py`` keeps the copies equal.

Exit codes: 0 done, 1 the work failed, 2 bad option or input, 3 verdict "failed", 4 file in use, 5 environment missing,
130 interrupted.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import typer
from pydantic import BaseModel

from .options import build_config, field_parameters, own_parameters, tidy_arguments

PACKAGE = __package__ or "neuropipes"
PROGRAM = PACKAGE.replace("_", "-")
log = logging.getLogger(PACKAGE)


class WorkFailed(RuntimeError):
    """The input was fine, the work did not succeed (exit code 1)."""

    exit_code = 1


class EnvironmentMissing(RuntimeError):
    """A program or interpreter that the work needs is not there (exit code 5)."""

    exit_code = 5


class Result(NamedTuple):
    """What a command hands back to the shell."""

    outputs: Mapping[str, Path | str]  #: files and folders that were written, by role
    results: Mapping[str, Any]  #: the documented, machine-readable numbers
    line: str  #: one line for a person
    exit_code: int = 0  #: 0, or 3 for a failed verdict
    record: Path | None = None  #: folder that gets ``result.json``, or file that gets ``<name>.result.json`` beside it


@dataclass
class Run:
    """The circumstances of one command: what was typed, when it began, what it warned of."""

    command: str
    text: str
    began: float
    warnings: list[str] = field(default_factory=list)

    def provenance(self, config: BaseModel, inputs: Sequence[Path] = ()) -> dict[str, str]:
        """Return the attributes that say how an output was made (see ``hdf5io.provenance``)."""
        import hdf5io

        return hdf5io.provenance(self.text, config.model_dump(mode="json"), getattr(config, "seed", None), inputs)


def package_version() -> str:
    """Return the version of the installed distribution, or ``0+source`` in a bare checkout."""
    try:
        return version("neuropipes")
    except PackageNotFoundError:
        return "0+source"


def application(name: str, summary: str) -> typer.Typer:
    """Return an empty Typer application whose only own option is ``--version``."""
    settings = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(
        name=name,
        help=summary,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=settings,
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{name} {package_version()}")
            raise typer.Exit()

    @app.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="Print the version."
        ),
    ) -> None:
        pass

    return app


def command(app: typer.Typer, config_class: type[BaseModel], name: str | None = None) -> Callable:
    """Register ``function(config, run) -> Result`` as a command whose options are the fields of ``config_class``."""

    def register(function: Callable[[Any, Run], Result]) -> Callable[[Any, Run], Result]:
        title = name or function.__name__.replace("_", "-")

        def body(**given: Any) -> None:
            own = {key: given.pop(key) for key in ("config_file", "as_json", "quiet", "verbose")}
            raise typer.Exit(execute(function, config_class, title, given, **own))

        body.__signature__ = inspect.Signature([*own_parameters(), *field_parameters(config_class)])  # type: ignore[attr-defined]
        body.__annotations__ = {}
        body.__doc__ = inspect.getdoc(function)
        body.config_class = config_class  # type: ignore[attr-defined]
        app.command(title)(body)
        return function

    return register


def entry_point(app: typer.Typer) -> Callable[[], None]:
    """Return the function behind the console script: run the application, print one line for a user's mistake."""

    def main() -> None:
        try:
            arguments = tidy_arguments(app, sys.argv[1:]) or ["--help"]
            code = app(args=arguments, prog_name=PROGRAM, standalone_mode=False)
        except KeyboardInterrupt:
            fail("interrupted")
            code = 130
        except Exception as error:
            if not hasattr(error, "format_message"):  # a bug: show where
                raise
            fail(" ".join(error.format_message().split()) + f" Try '{PROGRAM} --help'.")
            code = 2
        sys.exit(code or 0)

    return main


def execute(
    function: Callable[[Any, Run], Result],
    config_class: type[BaseModel],
    title: str,
    given: Mapping[str, Any],
    *,
    config_file: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Run one command from parsed options to printed result; return the exit code."""
    run = Run(title, shlex.join([PROGRAM, *sys.argv[1:]]), time.time())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files are cleaned up
    try:
        with logging_to_stderr(run, quiet, verbose), contextlib.redirect_stdout(sys.stderr):
            config = build_config(config_class, given, config_file)
            result = function(config, run)
            outcome = envelope(run, config, result)
            if result.record is not None:
                write_record(Path(result.record), outcome)
    except KeyboardInterrupt:
        fail(f"{title}: interrupted")
        return 130
    except Exception as error:
        code = getattr(error, "exit_code", None)
        if code is None or hasattr(error, "format_message"):
            raise
        fail(f"{title}: {' '.join(str(error).split())}")
        return code
    print(json.dumps(outcome, allow_nan=False) if as_json else result.line)
    return result.exit_code


@contextlib.contextmanager
def logging_to_stderr(run: Run, quiet: bool, verbose: bool) -> Iterator[None]:
    """Send the package's log to stderr and collect its warnings for the result."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            run.warnings.append(record.getMessage())

    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            prefix = "" if record.levelno < logging.WARNING else record.levelname.lower() + ": "
            return f"{time.strftime('%H:%M:%S')} {prefix}{record.getMessage()}"

    stream, collector = logging.StreamHandler(sys.stderr), Collector(logging.WARNING)
    stream.setFormatter(Lines())
    log.handlers[:] = [stream, collector]
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.handlers.clear()


def envelope(run: Run, config: BaseModel, result: Result) -> dict[str, Any]:
    """Return the JSON object of one command; see the README for the keys of ``results``."""
    return plain(
        {
            "pipeline": PACKAGE,
            "command": run.command,
            "version": package_version(),
            "seed": getattr(config, "seed", None),
            "outputs": dict(result.outputs),
            "results": result.results,
            "warnings": run.warnings,
            "seconds": round(time.time() - run.began, 3),
        }
    )


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: numpy to Python, NaN and infinity to null, paths to text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def write_record(target: Path, outcome: Mapping[str, Any]) -> None:
    """Write the JSON object into a run folder, or beside an output file."""
    import hdf5io

    path = target / "result.json" if target.is_dir() else target.with_suffix(".result.json")
    with hdf5io.atomic(path) as part:
        part.write_text(json.dumps(outcome, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def fail(message: str) -> None:
    """Print one line on stderr."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)
