"""What does every command of every pipeline share? Streams, exit codes, one record, one rule for outputs that are there already.

A verb is a file ``commands/<verb>.py`` with ``run(config, run) -> Result``; its options are the fields of its config class (see
``options.py``), its help is the docstring of that class. The file is imported only after options and paths were found good. What
``--overwrite``, a second run and an interrupted run mean stands in ``hdf5io/runs.py``.

The five pipelines hold equal copies (``tests/test_contract.py``), so that each can be lifted out with nothing but ``hdf5io``.

Exit codes: 0 done, 1 failed, 2 bad option or input, 3 verdict "failed", 4 in use, 5 environment missing, 130 and 143 stopped.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import inspect
import json
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import typer
from pydantic import BaseModel

from hdf5io.errors import EnvironmentMissing, InputError, NoSpace, WorkFailed

from . import options

PACKAGE = (__package__ or "neuropipes").partition(".")[0]
PROGRAM = PACKAGE.replace("_", "-")
T = TypeVar("T")
log = logging.getLogger(PACKAGE)
OUT_OF_MEMORY = ("can't allocate memory", "CUDA out of memory", "RESOURCE_EXHAUSTED: ")  # how torch and jax say it
ENVELOPE = ("pipeline", "command", "version", "seed", "outputs", "results", "line", "warnings", "seconds")  # of --json


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
    inputs: list[Path] = field(default_factory=list)  #: files and folders that the command reads
    hashes: dict[str, str] = field(default_factory=dict)  #: their SHA-256 from before results went into them

    def provenance(self, config: BaseModel, inputs: Sequence[str | Path] = ()) -> dict[str, str]:
        """Return the attributes that say how an output was made (see ``hdf5io.provenance``)."""
        import hdf5io

        self.inputs = list(dict.fromkeys([*self.inputs, *map(Path, inputs)]))
        seed = getattr(config, "seed", None)
        made = hdf5io.provenance(self.text, config.model_dump(mode="json"), seed, self.inputs, known=self.hashes)
        self.hashes.update(json.loads(made["inputs"]))
        return made

    def written_into(self, output: Path | None) -> dict[str, str]:
        """Return the SHA-256, after the work, of the inputs that results went into."""
        import hdf5io

        now = {path: hdf5io.sha256(path, leave_out=output) for path in self.hashes if Path(path).exists()}
        return {path: digest for path, digest in now.items() if digest != self.hashes[path]}


@dataclass
class Program:
    """The command line of one pipeline."""

    name: str
    verbs: Mapping[str, type[BaseModel]]  #: what each verb's options are
    aliases: Mapping[str, str]  #: older names of verbs
    extra: str  #: the extra of the distribution that brings what the commands need
    main: str  #: the verb that a study runs on each recording
    app: typer.Typer


def package_version() -> str:
    """Return the version of the installed distribution, or ``0+source`` in a bare checkout."""
    try:
        return version("neuropipes")
    except PackageNotFoundError:
        return "0+source"


def application(
    name: str, summary: str, verbs: Mapping[str, type[BaseModel]], *, extra: str, main: str = "infer",
    aliases: Mapping[str, str] | None = None,
) -> Program:  # fmt: skip
    """Return the command line with one command a verb; ``aliases`` are older names that are still understood."""
    app = typer.Typer(
        name=name, help=summary, pretty_exceptions_enable=False, rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip

    @app.callback(invoke_without_command=True)
    def root(version: bool = typer.Option(False, "--version", help="Print version.")) -> None:
        if version:
            typer.echo(f"{name} {package_version()}")
            raise typer.Exit()

    whole = Program(name, {**verbs, **options.SHARED_VERBS}, aliases or {}, extra, main, app)
    for verb, config_class in whole.verbs.items():
        app.command(verb)(body_of(whole, verb, config_class))
    return whole


def body_of(whole: Program, verb: str, config_class: type[BaseModel]) -> Any:
    """Return the function that Typer calls for a verb: its parameters are the fields of the config."""

    def body(**given: Any) -> None:
        own = {key: given.pop(key) for key in options.OWN if key in given}
        raise typer.Exit(execute(whole, verb, given, **own))

    body.__signature__ = inspect.Signature(options.parameters(config_class))  # type: ignore[attr-defined]
    body.__annotations__ = {}
    body.__doc__ = inspect.getdoc(config_class)
    return body


def entry_point(whole: Program) -> Callable[[], NoReturn]:
    """Return the function behind the console script: run the command line, print one line for a user's mistake."""

    def main() -> NoReturn:
        """Run what was typed."""
        words = sys.argv[1:] or ["--help"]
        verb = whole.aliases.get(words[0], words[0])
        if verb in whole.verbs:
            words = [verb, *options.tidy_arguments(whole.verbs[verb], words[1:])]
        try:
            code = whole.app(args=words, prog_name=whole.name, standalone_mode=False)
            sys.stdout.flush()
        except KeyboardInterrupt:
            fail("interrupted")
            code = 130
        except OSError as error:
            code = broken_stdout(error)
        except Exception as error:
            if not hasattr(error, "format_message"):  # a bug: show where
                raise
            hint = f"{whole.name} {verb} --help" if verb in whole.verbs else f"{whole.name} --help"
            fail(" ".join(error.format_message().split()) + f" Try '{hint}'.")
            code = 2
        sys.exit(code or 0)

    return main


def execute(
    whole: Program, verb: str, given: Mapping[str, Any], *,
    config_file: str | None, as_json: bool, quiet: bool, verbose: bool, rehearse: bool | None = False,
) -> int:  # fmt: skip
    """Run one command from parsed options to printed result; return the exit code."""
    run = Run(verb, shlex.join([PROGRAM, *sys.argv[1:]]), time.time())
    stopped = watch_signals()
    try:
        with logging_to_stderr(run, quiet, verbose), contextlib.redirect_stdout(sys.stderr):
            config = options.build_config(whole.verbs[verb], given, config_file)
            run.inputs = options.input_paths(config)
            outcome = rehearsed(config, run) if rehearse else once(whole, verb, config, run)
    except (Exception, KeyboardInterrupt) as error:
        if stopped or isinstance(error, KeyboardInterrupt):
            fail(f"{verb}: interrupted")
            return (stopped or [130])[0]
        if (known := known_error(error, whole)) is None:
            raise
        fail(f"{verb}: {' '.join(str(known).split())}")
        return known.exit_code  # type: ignore[attr-defined]
    print(json.dumps({key: outcome[key] for key in ENVELOPE}, allow_nan=False) if as_json else outcome["line"])
    return outcome["exit_code"]


def watch_signals() -> list[int]:
    """Let SIGTERM and SIGINT end a command through its clean-up; return a list that then holds the exit code.

    What a handler raises inside a library may come out of it as another error: then the list still tells.
    """
    stopped = list[int]()

    def stop(number: int, _: object) -> None:
        stopped.append(128 + number)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(stopped[0])

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # of a shell's background jobs SIGINT is
            signal.signal(number, stop)
    return stopped


def once(whole: Program, verb: str, config: BaseModel, run: Run) -> dict[str, Any]:
    """Run a command unless its output is there already, made by the same options from the same inputs."""
    target = getattr(config, "target", getattr(config, "output", None))
    if target is None or getattr(config, "dry_run", False):
        return recorded(whole, verb, config, run)
    from hdf5io import runs

    wanted = {"pipeline": PACKAGE, "command": verb, "options": options.deciding_options(config)}
    with runs.exclusive(Path(target)) as claim:
        rules = {name: getattr(config, name, False) for name in ("overwrite", "resumes")}
        finished = runs.prepare(Path(target), wanted, run.inputs, claim, **rules, grows=getattr(config, "grows", ()))
        if finished is not None:
            log.info("%s is finished already, with the same options and inputs; --overwrite makes it anew.", target)
            return finished
        return recorded(whole, verb, config, run)


def rehearsed(config: BaseModel, run: Run) -> dict[str, Any]:
    """Return what a command would read and write, without importing it."""
    target = getattr(config, "target", getattr(config, "output", None))
    there = "" if target is None or not Path(target).exists() else " (exists already)"
    read = f"read {', '.join(map(str, run.inputs))} and " if run.inputs else ""
    line = f"would {read}write {target or 'its output beside the input'}{there}"
    return outcome_of(Result({}, {"inputs": run.inputs, "output": target}, line), config, run)


def recorded(whole: Program, verb: str, config: BaseModel, run: Run) -> dict[str, Any]:
    """Run a command and write its record; return the record with ``line`` and ``exit_code``."""
    result = importlib.import_module(f"{PACKAGE}.commands.{verb.replace('-', '_')}").run(config, run)
    outcome = outcome_of(result, config, run)
    target = result.record or getattr(config, "target", getattr(config, "output", None))
    if target is not None and Path(target).exists() and not getattr(config, "dry_run", False):
        import hdf5io
        from hdf5io import runs

        made = {"options": options.deciding_options(config), "provenance": run.provenance(config)}
        whole_record, methods = {**outcome, **hdf5io.plain(made)}, f"{PACKAGE}.show.methods"
        if (Path(__file__).parent / "show" / "prose" / f"{verb}.md").is_file():
            importlib.import_module(methods).write_methods(whole_record, runs.record_path(Path(target)))
        runs.write_record(Path(target), whole_record)
        if after := run.written_into(getattr(config, "output", None)):
            runs.write_record(Path(target), {**whole_record, "inputs_after": after})
    return outcome


def outcome_of(result: Result, config: BaseModel, run: Run) -> dict[str, Any]:
    """Return what a command did as JSON knows it: the envelope, the line for a person and the exit code."""
    import hdf5io

    found = {
        "pipeline": PACKAGE, "command": run.command, "version": package_version(), "seed": getattr(config, "seed", None),
        "outputs": dict(result.outputs), "results": result.results, "warnings": run.warnings,
        "seconds": round(time.time() - run.began, 3),
    }  # fmt: skip
    return {**hdf5io.plain(found), "line": result.line, "exit_code": result.exit_code}


def known_error(error: Exception, whole: Program) -> Exception | None:
    """Return the error to tell in one line, or None for a bug."""
    if hasattr(error, "exit_code") and not hasattr(error, "format_message"):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != PACKAGE:
        missing = error.name.partition(".")[0]
        return EnvironmentMissing(f'needs {missing}; pip install "neuropipes[{whole.extra}]"')
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return WorkFailed(f"memory does not suffice ({str(error)[:200]}). Give less at once, or take a larger machine.")
    if not isinstance(error, OSError):
        return None
    where, why = error.filename or "output", error.strerror or error
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or " requested and " in str(error):  # or numpy's own words
        return NoSpace(f"{where}: the disk is full ({why}). Make room and run again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return InputError(f"{where}: {why}. Give another place, or change the permissions.")
    if error.errno in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):
        return WorkFailed(f"{where}: {why}. Is its disk or network share still there, and sound?")
    return None


def broken_stdout(error: OSError) -> int:
    """Tell in one line that stdout took nothing (a full device, a closed pipe); any other OSError is a bug."""
    if error.errno not in (errno.ENOSPC, errno.EPIPE, errno.EIO):
        raise error
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more is tried at exit
    fail(f"the result could not be printed ({error.strerror}); what was written to files is complete.")
    return 1


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


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the items; a bar on a terminal, elsewhere one log line a minute."""
    if sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=what, file=sys.stderr, leave=False)
        return
    told = began = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - told >= 60 and done < total:
            log.info("%s: %d of %d, about %.0f s to go", what, done, total, (now - began) / done * (total - done))
            told = now


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as text in aligned columns."""

    def cell(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)

    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([cell(row.get(c)) for c in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in cells)


def fail(message: str) -> None:
    """Print one line on stderr."""
    print(f"{PROGRAM}: {message}", file=sys.stderr)
