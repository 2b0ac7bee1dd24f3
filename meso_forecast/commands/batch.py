"""What came of many recordings? One verb on each, a table of what was done, skipped and failed, and one page over all.

Each recording gets a folder of its own in the study, made by the verb as if it had been typed, so that the rule for outputs that
are there already makes a study resumable: type the command again after a kill, or with a longer list. One bad recording never
stops the rest. The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import contextlib
import csv
import glob
import importlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hdf5io.errors import InputError

from .. import workers
from ..answer import VERDICTS, over_recordings, spread
from ..console import PACKAGE, Program, Result, Run, log
from ..options import BatchConfig, extra_of, flags_of, is_positional, kind_of

STATES = {0: "done", 3: "done"}  #: exit codes of a finished run; 3 is a verdict
SKIPPED = "skipped"  #: finished already
CLEAN_UP_S = 20  #: time that a stopped recording has to remove what it had begun


class Job(NamedTuple):
    """One recording of a study."""

    name: str  #: folder in the study
    recording: str
    options: dict[str, str]  #: options of the verb, by field
    animal: str


def run(config: BatchConfig, run: Run) -> Result:
    """Run the verb on every recording, then write ``status.csv``, ``summary.csv``, ``index.html``."""
    from hdf5io import MARKER, runs

    program: Program = importlib.import_module(f"{PACKAGE}.cli").app
    verb = config.command or program.main
    if verb not in program.verbs or verb in ("batch", "reproduce"):
        raise InputError(f"--command {verb}: the verbs are {', '.join(v for v in program.verbs if v != 'batch')}.")
    jobs = list(read_jobs(config, program, verb))
    if config.dry_run:
        return Result({}, {"n_recordings": len(jobs), "command": verb}, f"would run {verb} on {len(jobs)} recordings")
    folder = workers.shared_folder(config.output, config.scheduler)
    with runs.exclusive(folder):
        folder.mkdir(parents=True, exist_ok=True)
        rows: dict[int, dict[str, Any]] = {}
        tasks = [(PACKAGE, verb, words(program, verb, job, folder), job.name) for job in jobs]
        before = [any((folder / job.name).glob(f"*{MARKER}")) for job in jobs]
        for task in workers.each(one, tasks, jobs=config.jobs, scheduler=config.scheduler, what="recordings"):
            found = task.result if task.error is None else {"state": "failed", "why": workers.said(task.error)}
            job = jobs[task.number]
            if found["state"] == SKIPPED and not before[task.number]:
                found["state"] = "done"  # by this study: the worker that had done it was lost before it could say so
            rows[task.number] = {"recording": job.recording, "animal": job.animal, "folder": job.name, **found}
            if found["state"] == "failed":
                log.warning("%s: %s", job.recording, found["why"])
            write_status(folder, [rows[i] for i in sorted(rows)])
        table = [rows[i] for i in range(len(jobs))]
        for text, names in warnings_of(table).items():
            log.warning(
                "%s: %s", names[0] if len(names) == 1 else f"{len(names)} recordings ({', '.join(names)})", text
            )
        outputs, results = summarise(folder, table, verb, run, config)
    counts = {state: sum(row["state"] == state for row in table) for state in ("done", SKIPPED, "failed")}
    line = f"{folder}: {', '.join(f'{n} {state}' for state, n in counts.items())} of {len(table)} recordings"
    if "answer" in results:
        line += f"; {results['answer'].sentence}"
    return Result(outputs, {**counts, **results}, line, 1 if counts["failed"] else 0, record=folder)


# --- the list -----------------------------------------------------------------------------------------------------------------


def read_jobs(config: BatchConfig, program: Program, verb: str) -> Iterator[Job]:
    """Yield one job a recording: from a table, or from paths and globs.

    Raises
    ------
    InputError : an empty list, an unknown column or option, a glob without a match.
    """
    fields, shared = program.verbs[verb].model_fields, {}
    for text in config.options:
        name, equals, value = text.partition("=")
        if equals:
            last = field_named(name, program, verb)
            shared[last] = value
        elif shared:  # a value that is a list: the shell's comma has split it
            shared[last] += f",{text}"
        else:
            raise InputError(f"--options {text}: expected NAME=VALUE.")
    rows = list(listed(config.recordings))
    if not rows:
        raise InputError(f"{', '.join(config.recordings)}: no recording is listed.")
    seen: dict[str, int] = {}
    for row in rows:
        recording, animal = row.pop("recording"), row.pop(config.animal, "") if config.animal else row.get("animal", "")
        if "animal" not in fields:
            row.pop("animal", None)
        own = {field_named(name, program, verb): value for name, value in row.items() if value}
        base = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(recording).name) or "recording"
        seen[base] = seen.get(base, 0) + 1
        yield Job(base if seen[base] == 1 else f"{base}_{seen[base]}", recording, {**shared, **own}, animal)


def field_named(name: str, program: Program, verb: str) -> str:
    """Return the field that a column or NAME=VALUE means: its name, with hyphens or underscores, or another spelling."""
    config_class, typed = program.verbs[verb], name.strip().lstrip("-").replace("-", "_")
    for field in config_class.model_fields:
        spellings = [flag.lstrip("-").replace("-", "_") for flag in flags_of(config_class, field)]
        if typed in (field, *spellings):
            return field
    raise InputError(f"'{name}' is no option of {verb}; there are {', '.join(config_class.model_fields)}.")


def listed(given: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield rows with a ``recording``: of a table whose header says so, of globs, of paths as they are."""
    for text in given:
        path = Path(text)
        if path.suffix.lower() in (".csv", ".tsv") and path.is_file() and (rows := table_rows(path)) is not None:
            yield from rows
        elif any(c in text for c in "*?[") and not path.exists():
            matches = sorted(glob.glob(text, recursive=True))
            if not matches:
                raise InputError(f"{text}: no file or folder matches.")
            yield from ({"recording": match} for match in matches)
        else:
            yield {"recording": text}


def table_rows(path: Path) -> list[dict[str, str]] | None:
    """Return the rows of a list of recordings, or None when the table has no column 'recording' (it is one itself)."""
    from hdf5io import parsing

    with parsing(path, "a table of recordings"), open(path, encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        if "recording" not in (reader.fieldnames or []):
            return None
        rows = [{str(k): (v or "").strip() for k, v in row.items()} for row in reader]
    for row in rows:
        place = Path(row["recording"])
        if row["recording"] and not place.is_absolute() and (path.parent / place).exists():
            row["recording"] = str(path.parent / place)  # a list travels with its recordings
    return [row for row in rows if row["recording"]]


def words(program: Program, verb: str, job: Job, folder: Path) -> list[str]:
    """Return the arguments of one run, with the recording in the last place that is not given otherwise."""
    config_class = program.verbs[verb]
    places = [name for name in config_class.model_fields if is_positional(config_class, name)]
    free = [name for name in places if name not in job.options]
    if not free:
        raise InputError(f"{verb} takes {', '.join(places)}; leave one of them to the recordings.")
    for name in free[:-1]:
        if config_class.model_fields[name].is_required():
            raise InputError(
                f"{verb} needs {name.upper()} as well, the same for all recordings: --set {name}=VALUE, or a column of the table."
            )
    given = {**job.options, free[-1]: absolute(job.recording)}
    typed = [given[name] for name in places if name in given]
    options: list[str] = []
    for name, value in given.items():
        if name in places:
            continue
        if kind_of(config_class, name).flag:
            on = value.strip().lower() in ("1", "true", "yes", "on")
            options.append(f"--{'' if on else 'no-'}{name.replace('_', '-')}")
        else:
            options.append(f"--{name.replace('_', '-')}={value}")
    if "output" in config_class.model_fields and "output" not in given:
        options.append(f"--output={folder / job.name / extra_of(config_class, 'output').get('product', '')}")
    return [*options, "--", *typed]


def absolute(recording: str) -> str:
    """Return a path from the root, for workers elsewhere; what is no path here (``eid:...``) stays as it is."""
    return str(Path(recording).resolve()) if Path(recording).exists() else recording


# --- the work -----------------------------------------------------------------------------------------------------------------


def one(package: str, verb: str, arguments: list[str], name: str) -> dict[str, Any]:
    """Run the verb in a process of its own, so that whatever ends it ends nothing else; return a row of the status table."""
    began = time.monotonic()
    command = [sys.executable, "-m", package, verb, "--json", *arguments]
    done = run_to_its_end(command)
    row: dict[str, Any] = {"state": STATES.get(done.returncode, "failed"), "why": "", "exit_code": done.returncode}
    if row["state"] == "done" and "is finished already" in done.stderr:
        row["state"] = SKIPPED
    row["seconds"] = round(time.monotonic() - began, 2)
    if row["state"] == "failed":
        row["why"] = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
    else:
        row["outcome"] = json.loads(done.stdout)
        row["answer"] = "".join(
            row["outcome"]["line"].strip().splitlines()[-1:]
        )  # of info: what stands below its table
    return row


def run_to_its_end(command: list[str]) -> subprocess.CompletedProcess:
    """Run a command; where we are stopped, it is asked to stop as well and has its time to clean up."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=with_parent()) as process:
        try:
            out, errors = process.communicate()
        except BaseException:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=CLEAN_UP_S)
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def with_parent() -> Callable[[], None] | None:
    """Return what a child calls before its program so that it ends when its parent is killed (on Linux; None elsewhere)."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    return ask


def write_status(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what became of each recording so far."""
    from hdf5io import write_csv

    columns = ("recording", "animal", "folder", "state", "why", "answer", "exit_code", "seconds")
    write_csv(folder / "status.csv", rows, columns)


def summarise(
    folder: Path, rows: Sequence[Mapping[str, Any]], verb: str, run: Run, config: BatchConfig
) -> tuple[dict[str, Path], dict[str, Any]]:
    """Write ``summary.csv`` (every number of every recording) and ``index.html``; return them, the effects and the whole's answer."""
    from hdf5io import write_csv

    from ..show.report import Section, write_report

    done = [r for r in rows if "outcome" in r]
    flat = [{"recording": r["recording"], "animal": r["animal"], **numbers(r["outcome"]["results"])} for r in done]
    write_csv(folder / "summary.csv", flat)
    effects, results = over_animals(flat), {}
    answers = [(r["animal"] or r["recording"], found) for r in done if (found := r["outcome"]["results"].get("answer"))]
    unit = "animals" if any(r["animal"] for r in done) else "recordings"
    if whole := over_recordings(answers, f"{PACKAGE.replace('_', '-')} {verb}", unit):
        results["answer"] = whole
    headline = {"recordings": len(rows), "failed": sum(r["state"] == "failed" for r in rows)}
    headline |= {v: sum(found["verdict"] == v for _, found in answers) for v in VERDICTS if answers}
    shown = [
        {"recording": r["folder"], "animal": r["animal"], "state": r["state"], "seconds": r.get("seconds", ""),
         "what came of it": r["why"] or r.get("answer") or "done", "report": report_of(r, folder)} for r in rows
    ]  # fmt: skip
    sections = [Section("Recordings", "", shown)]
    if effects:
        text = "The animal is the unit (a random effect): its recordings are averaged first; standard errors are over animals."
        unknown = "Animals are not known: standard errors are over recordings."
        sections.append(Section(f"Over {unit}", text if unit == "animals" else unknown, effects))
    page = write_report(
        folder / "index.html", title=f"{PACKAGE}: {verb} on {len(rows)} recordings", question="What came of the whole study?",
        headline=headline, sections=sections, warnings=run.warnings, provenance=run.provenance(config),
        verdict=whole.sentence if whole else "",
    )  # fmt: skip
    outputs = {"status": folder / "status.csv", "summary": folder / "summary.csv", "index": page}
    return outputs, {
        **results,
        "recordings": [{k: v for k, v in r.items() if k != "outcome"} for r in rows],
        "effects": effects,
    }


def report_of(row: Mapping[str, Any], folder: Path) -> str:
    """Return where a recording's own report lies, from the study's page; empty where its verb writes none."""
    report = Path(row.get("outcome", {}).get("outputs", {}).get("report", ""))
    return report.relative_to(folder.resolve()).as_posix() if folder.resolve() in report.parents else ""


def warnings_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what the recordings warned of, each text once, with the folders of the recordings that did."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for text in row.get("outcome", {}).get("warnings", ()):
            found.setdefault(text, []).append(row["folder"])
    return found


def numbers(results: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the single numbers of nested results by dotted name, without lists and without how many seconds the work took.

    So the summary of a study is the same whoever did the work; the seconds stand in the records.
    """
    flat: dict[str, float] = {}
    for key, value in results.items():
        if isinstance(value, Mapping):
            flat |= numbers(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and "seconds" not in str(key):
            flat[prefix + key] = value
    return flat


def over_animals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return mean, standard error and interval of each number over animals (over recordings where animals are not known).

    Recordings of an animal are averaged first: a random effect of the animal, with equal weights (see `answer.spread`).
    """
    found = []
    bounds = ("recording", "animal", *(k for row in rows for k in row if k.endswith(("low", "high"))))  # of intervals
    for name in dict.fromkeys(k for row in rows for k in row if k not in bounds):
        groups: dict[str, list[float]] = {}
        for row in rows:
            if row.get(name) is not None:
                groups.setdefault(str(row["animal"] or row["recording"]), []).append(float(row[name]))
        means = [sum(values) / len(values) for values in groups.values()]
        if len(means) < 2:
            continue
        mean, error, half = spread(means)
        row = {
            "mean": mean,
            "standard error": error,
            "95 % low": mean - half,
            "95 % high": mean + half,
            "n": len(means),
        }
        found.append({"number": name, **row})
    return found
