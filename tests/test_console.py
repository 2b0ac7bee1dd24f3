"""Does the console that all five pipelines share keep its promises? Tried on a package made for the purpose."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from glm_rates.answer import answer, over_recordings

ROOT = Path(__file__).resolve().parents[1]
SHARED = "glm_rates"  # whose copies of the shared files are tried; tests/test_contract.py keeps the copies equal
ENVELOPE = ["pipeline", "command", "version", "seed", "outputs", "results", "line", "warnings", "seconds"]


def one_line(text):
    """Return whether a message is exactly one line."""
    return text.endswith("\n") and text.count("\n") == 1


TOY_CONFIG = """
from pathlib import Path
from typing import Literal
from pydantic import BaseModel, ConfigDict, Field

class Config(BaseModel):
    '''Go.'''
    model_config = ConfigDict(frozen=True, extra="forbid")
    files: list[Path] = Field(description="files", json_schema_extra={"positional": True})
    what: Literal["work", "bug", "input", "failed", "verdict", "locked", "environment", "interrupt", "library", "folder", "file", "sleep", "into", "masked", "memory", "torch", "device"] = Field("work", description="what")
    bin_ms: int = Field(25, ge=1, description="bin size in ms")
    time_lims: tuple[int, int] = Field((1500, 4500), description="limits in ms")
    strategies: list[Literal["median", "mean"]] = Field(["median"], description="strategies")
    names: list[str] = Field([], description="names")
    couple: bool = Field(False, description="couple")
    labels: Path | None = Field(None, description="a table of labels", json_schema_extra={"exists": "file"})
    more: Path | None = Field(None, description="another", json_schema_extra={"exists": "file"})
    overwrite: bool = Field(False, description="replace")
    output: Path | None = Field(None, description="output", json_schema_extra={"flags": ["-o", "--out_dir"]})
"""
TOY_CLI = """
from . import config, console
app = console.application("toy", "Toy.", {"go": config.Config}, extra="toys", main="go", aliases={"gone": "go"})
main = console.entry_point(app)
"""
TOY_COMMAND = """
import hdf5io
from .. import console
from ..console import Result

def run(config, run):
    print("library noise")
    console.log.warning("beware of %s", "this")
    def interrupt(_): raise KeyboardInterrupt
    def missing(_): import a_library_that_is_not_there
    def masked(_):
        import os, signal
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException:  # a library in C makes its own error of what a handler raises
            raise ValueError("Invalid bounding box") from None
    def torch(_): raise RuntimeError("DefaultCPUAllocator: can't allocate memory: the message")
    def device(_): raise OSError(5, "Input/output error", "the message")
    faults = {"memory": MemoryError, "torch": torch, "device": device, "bug": ZeroDivisionError, "input": hdf5io.InputError, "failed": hdf5io.WorkFailed, "locked": hdf5io.LockedError,
              "environment": hdf5io.EnvironmentMissing, "interrupt": interrupt, "library": missing, "masked": masked}
    if config.what == "into":
        run.provenance(config)
        config.labels.write_text("with results")
    if config.what in faults:
        raise faults[config.what]("the message")
    if config.what in ("folder", "into"):
        config.output.mkdir(exist_ok=True)
        (config.output / "part").write_text("")
        if (config.output.parent / "trap").exists():
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
    if config.what == "file":
        config.output.write_text("")
    if config.what == "sleep":
        import time
        (config.output.parent / "begun").write_text("")
        try:
            time.sleep(30)
        finally:
            time.sleep(1)
            (config.output.parent / "begun").unlink()
    code = 3 if config.what == "verdict" else 0
    return Result({"made": config.output} if config.output else {}, {"config": config.model_dump(), "nothing": float("nan")}, "done", code)
"""


@pytest.fixture(scope="module")
def toy_root(tmp_path_factory):
    """Return the folder of a small package that holds the shared console."""
    root = tmp_path_factory.mktemp("toy")
    package = root / "toy"
    package.mkdir()
    (package / "commands").mkdir()
    (package / "show").mkdir()
    shared = (
        "console.py",
        "answer.py",
        "options.py",
        "workers.py",
        "commands/reproduce.py",
        "commands/batch.py",
        "show/report.py",
        "show/report.html",
    )
    for name in shared:
        (package / name).write_text((ROOT / SHARED / name).read_text())
    (package / "commands/go.py").write_text(TOY_COMMAND)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("from .cli import main\nmain()\n")
    (package / "config.py").write_text(TOY_CONFIG)
    (package / "cli.py").write_text(TOY_CLI)

    return root


@pytest.fixture(scope="module")
def toy_process(toy_root):
    """Return ``start(*args) -> Popen`` of the small package."""

    def start(*arguments, cwd=toy_root, **streams):
        env = {**os.environ, "PYTHONPATH": f"{toy_root}{os.pathsep}{ROOT}"}
        command = [sys.executable, "-m", "toy", *map(str, arguments)]
        return subprocess.Popen(command, text=True, cwd=cwd, env=env, **streams)

    return start


@pytest.fixture(scope="module")
def toy(toy_process):
    """Return ``run(*args) -> CompletedProcess`` of the small package."""

    def run(*arguments, **place):
        process = toy_process(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **place)
        out, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)

    return run


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("work", 0),
        ("bug", 1),
        ("input", 2),
        ("failed", 1),
        ("verdict", 3),
        ("locked", 4),
        ("environment", 5),
        ("interrupt", 130),
        ("masked", 143),
        ("library", 5),
        ("memory", 1),
        ("torch", 1),
        ("device", 1),
    ],
)
def test_exit_codes(toy, what, code):
    answer = toy("go", "f", "--what", what, "--quiet")
    assert answer.returncode == code
    assert ("Traceback" in answer.stderr) == (what == "bug")
    assert answer.stdout == ("done\n" if code in (0, 3) else "")
    if what == "library":
        expected = 'toy: go: needs a_library_that_is_not_there; pip install "neuropipes[toys]"'
        assert answer.stderr.splitlines()[-1] == expected
    elif what in ("memory", "torch"):
        last = answer.stderr.splitlines()[-1]
        assert last.startswith("toy: go: memory does not suffice (")
        assert "the message). Give less" in last
    elif what == "device":
        expected = "toy: go: the message: Input/output error. Is its disk or network share still there, and sound?"
        assert answer.stderr.splitlines()[-1] == expected
    elif what not in ("work", "verdict", "bug"):
        assert answer.stderr.splitlines()[-1] == (
            "toy: go: interrupted" if what in ("interrupt", "masked") else "toy: go: the message"
        )


def toy_config(answer):
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)["results"]["config"]


def test_stdout_is_one_json_object_and_noise_goes_to_stderr(toy):
    answer = toy("go", "f", "--json")
    outcome = json.loads(answer.stdout)
    assert list(outcome) == ENVELOPE
    assert outcome["results"]["nothing"] is None
    assert outcome["warnings"] == ["beware of this"]
    assert "library noise" in answer.stderr


@pytest.mark.parametrize(
    "typed",
    [
        "--time_lims 100 200 --strategies median mean",
        "--time-lims=100,200 --strategies median,mean",
        "--time_lims 100,200 --strategies=median --strategies mean",
    ],
)
def test_several_values_may_be_typed_with_commas_spaces_or_repeated(toy, typed):
    config = toy_config(toy("go", *typed.split(), "a,b.csv", "c", "--json"))
    assert config["time_lims"] == [100, 200]
    assert config["strategies"] == ["median", "mean"]
    assert config["files"] == ["a,b.csv", "c"]


def test_a_name_in_another_encoding_is_one_line_and_harmless_within_a_folder(toy, tmp_path):
    import hdf5io

    name = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(name, "w") as handle:
        handle.write("x")
    answer = toy("go", "f", "--labels", os.fsdecode(name))
    assert answer.returncode == 2
    assert one_line(answer.stderr)
    assert "not written in UTF-8" in answer.stderr
    assert len(hdf5io.sha256(tmp_path)) == 64


def test_underscores_negative_numbers_and_flags(toy):
    config = toy_config(toy("go", "f", "--time_lims", "-500", "2500", "--bin_ms=5", "--couple", "--json"))
    assert (config["time_lims"], config["bin_ms"], config["couple"]) == ([-500, 2500], 5, True)


def test_a_typed_option_wins_over_the_config_file(toy, tmp_path):
    (tmp_path / "c.toml").write_text('bin-ms = 7\ncouple = true\nfiles = ["from file"]\n')
    config = toy_config(toy("go", "--config", tmp_path / "c.toml", "--no-couple", "--json"))
    assert (config["bin_ms"], config["couple"], config["files"]) == (7, False, ["from file"])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("f --bin-ms 0", "--bin-ms '0': expected greater than or equal to 1"),
        ("f --strategies mode", "--strategies 'mode': expected 'median' or 'mean'"),
        ("f --time-lims 5", "--time-lims"),
        ("", "FILES is missing"),
        ("f --config nowhere.toml", "no such file"),
        ("f --bin-mss 3", "No such option: --bin-mss"),
    ],
)
def test_a_wrong_option_is_one_line(toy, typed, message):
    answer = toy("go", *typed.split())
    assert answer.returncode == 2
    assert message in answer.stderr
    assert one_line(answer.stderr)


@pytest.mark.parametrize(("what", "record"), [("folder", "out/result.json"), ("file", "out.result.json")])
def test_the_record_lies_in_the_run_folder_or_beside_the_file(toy, tmp_path, what, record):
    printed = json.loads(toy("go", "f", "--what", what, "-o", tmp_path / "out", "--json").stdout)
    kept = json.loads((tmp_path / record).read_text())
    assert {key: kept[key] for key in ENVELOPE} == printed
    assert kept["options"]["what"] == what
    assert set(json.loads(kept["provenance"]["versions"])) >= {"python", "neuropipes", "numpy", "h5py"}
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({"out", record.partition("/")[0]})


def test_a_path_that_no_file_can_have_is_one_line(toy, tmp_path):
    (tmp_path / "t.toml").write_text('labels = "a\\u0000b"\n')
    answer = toy("go", "f", "--config", tmp_path / "t.toml")
    assert answer.returncode == 2
    assert "no such file" in answer.stderr
    assert one_line(answer.stderr)


def test_every_missing_argument_and_path_is_told_in_one_line(toy, tmp_path):
    answer = toy("go", "--labels", tmp_path / "none.csv", "--bin-ms", "0")
    assert answer.returncode == 2
    assert one_line(answer.stderr)
    for phrase in ("FILES is missing", "none.csv: no such file", "--bin-ms"):
        assert phrase in answer.stderr
    answer = toy("go", "f", "--labels", tmp_path)
    assert f"--labels {tmp_path}: is a folder, a file is expected" in answer.stderr


def test_an_older_name_of_a_verb_is_understood_and_a_hint_names_the_verb(toy):
    assert toy("gone", "f").returncode == 0
    assert toy("go", "f", "--none").stderr.endswith("Try 'toy go --help'.\n")


# --- outputs that are there already --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "file"])
def test_finished_work_is_not_done_again_and_other_options_are_refused(toy, tmp_path, what):
    typed = ["go", "f", "--what", what, "-o", tmp_path / "out"]
    first = toy(*typed, "--json")
    again = toy(*typed, "--json")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert "finished already" in again.stderr
    other = toy(*typed, "--bin-ms", "5")
    assert other.returncode == 2
    assert "made with bin_ms = 25 (now 5)" in other.stderr
    assert one_line(other.stderr)
    assert toy(*typed, "--bin-ms", "5", "--overwrite").returncode == 0
    assert toy(*typed, "--bin-ms", "5").returncode == 0


def test_a_dry_run_says_what_would_be_read_and_written_and_touches_nothing(toy, tmp_path):
    (tmp_path / "labels.csv").write_text("a")
    typed = [
        "go",
        str(tmp_path / "x"),
        "--labels",
        str(tmp_path / "labels.csv"),
        "--what",
        "file",
        "--output",
        str(tmp_path / "made"),
    ]
    answer = toy(*typed, "--dry-run")
    assert answer.returncode == 0
    assert answer.stdout == f"would read {tmp_path / 'labels.csv'} and write {tmp_path / 'made'}\n"
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".csv" or p.name.startswith(("made", ".made"))] == [
        "labels.csv"
    ]
    missing = toy("go", "x", "--labels", str(tmp_path / "none.csv"), "--output", str(tmp_path / "made"), "--dry-run")
    assert missing.returncode == 2
    assert one_line(missing.stderr)


def test_more_of_the_same_is_added_where_a_command_can_and_less_is_refused(tmp_path):
    import hdf5io
    from hdf5io import runs

    folder, rules = tmp_path / "bank", {"overwrite": False, "resumes": True, "grows": ("n",)}

    def make(n, seed=0):
        wanted = {"pipeline": "p", "command": "c", "options": {"n": n, "seed": seed}}
        with runs.exclusive(folder) as claim:
            finished = runs.prepare(folder, wanted, [], claim, **rules)
            if finished is None:
                told = {"outputs": {}, "line": "", "exit_code": 0, "results": {}, "warnings": []}
                runs.write_record(folder, {**wanted, **told, "provenance": {"inputs": "{}"}})
            return finished

    assert make(10) is None
    assert make(10) is not None
    (folder / "shard").write_text("kept")
    assert make(20) is None
    assert (folder / "shard").is_file()
    with pytest.raises(hdf5io.InputError, match=r"n = 20 \(now 15\)"):
        make(15)
    with pytest.raises(hdf5io.InputError, match="seed = 0"):
        make(30, seed=1)


def test_a_file_that_somebody_put_into_an_output_folder_is_not_thrown_away_with_it(tmp_path):
    import hdf5io
    from hdf5io import runs

    folder, wanted = tmp_path / "model", {"pipeline": "p", "command": "c", "options": {}}

    def make(name, text):
        with runs.exclusive(folder) as claim:
            runs.prepare(folder, wanted, [], claim, overwrite=True, resumes=False)
            (folder / "plots").mkdir(parents=True)
            (folder / "plots" / name).write_text(text)
            runs.write_record(folder, {**wanted, "outputs": {}, "provenance": {"inputs": "{}"}})

    make("a.png", "1")
    make("b.png", "2")
    assert [p.name for p in (folder / "plots").iterdir()] == ["b.png"]
    (folder / "later").mkdir()
    (folder / "later" / "figure.png").write_text("of another of our commands")
    runs.write_record(folder / "later", {})
    (folder / "trace.h5").write_text("of a third one")
    runs.write_record(folder / "trace.h5", {"outputs": {"file": "trace.h5"}})
    make("c.png", "3")
    for mine in (folder / "notes.txt", folder / "plots" / "labels.csv"):
        mine.write_text("a day's work")
        with pytest.raises(hdf5io.InputError, match=f"did not make '{mine.relative_to(folder)}'"):
            make("d.png", "4")
        assert mine.is_file()
        mine.unlink()


def test_another_content_of_an_input_is_another_run(toy, tmp_path):
    (tmp_path / "labels.csv").write_text("a")
    typed = ["go", "f", "--what", "file", "-o", tmp_path / "out", "--labels", tmp_path / "labels.csv"]
    assert toy(*typed).returncode == 0
    (tmp_path / "labels.csv").write_text("b")
    answer = toy(*typed)
    assert answer.returncode == 2
    assert "made from another" in answer.stderr


def test_an_input_that_is_left_out_or_in_another_place_is_another_run(toy, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    given = ["--labels", tmp_path / "a", "--more", tmp_path / "b"]
    typed = ["go", "f", "--what", "file", "-o", tmp_path / "out"]
    assert toy(*typed, *given).returncode == 0
    assert toy(*typed, *given).returncode == 0
    for other, phrase in (
        ([], f"made from '{tmp_path / 'a'}' as well"),
        (given[:2], f"made from '{tmp_path / 'b'}' as well"),
        (["--labels", tmp_path / "b", "--more", tmp_path / "a"], "in other places"),
    ):
        answer = toy(*typed, *other)
        assert answer.returncode == 2
        assert phrase in answer.stderr


def test_an_input_that_the_run_found_by_itself_counts_too(tmp_path):
    import hdf5io
    from hdf5io import runs

    target, found, given = (tmp_path / name for name in ("out", "found", "given"))
    wanted = {"pipeline": "p", "command": "c", "options": {}}
    for path in (target, found, given):
        path.write_text("as it was")

    def again():
        with runs.exclusive(target) as claim:
            return runs.prepare(target, wanted, [given], claim, overwrite=False, resumes=False)

    made = hdf5io.provenance("", {"data": str(given)}, 0, [given, found])
    more = {"outputs": {}, "line": "", "exit_code": 0, "results": {}, "warnings": []}
    runs.write_record(target, {**wanted, **more, "provenance": made})
    assert again() is not None
    found.write_text("otherwise")
    with pytest.raises(hdf5io.InputError, match=f"made from another '{found}'"):
        again()


def test_an_interrupted_run_does_not_go_on_with_another_input(tmp_path):
    import hdf5io
    from hdf5io import runs

    target, data = tmp_path / "model", tmp_path / "data.csv"
    wanted = {"pipeline": "p", "command": "c", "options": {}}
    data.write_text("session 1")

    def begin(**rules):
        with runs.exclusive(target) as claim:
            runs.prepare(target, wanted, [data], claim, **{"overwrite": False, "resumes": True, **rules})
            (target / "checkpoint").write_text("half way")

    begin()
    begin()
    data.write_text("session 2")
    with pytest.raises(hdf5io.InputError, match=f"unfinished run, begun with another '{data}'"):
        begin()
    begin(overwrite=True)


def test_what_nobody_made_is_never_replaced(toy, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    for flags in ([], ["--overwrite"]):
        answer = toy("go", "f", "--what", "folder", "-o", tmp_path / "out", *flags)
        assert answer.returncode == 2
        assert one_line(answer.stderr)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "recording.csv").write_text("years of work")
    answer = toy("go", "f", "--what", "file", "-o", tmp_path / "recording.csv", "--overwrite")
    assert answer.returncode == 2
    assert "not replaced, no 'recording.result.json' of an earlier run is beside it" in answer.stderr
    assert (tmp_path / "recording.csv").read_text() == "years of work"


@pytest.mark.parametrize("place", ["labels.csv", "made"])
def test_an_output_that_is_the_input_or_holds_it_is_refused_whoever_made_it(toy, tmp_path, place):
    made = tmp_path / "made"
    assert toy("go", "f", "--what", "folder", "-o", made).returncode == 0
    labels = made / "part" if place == "made" else tmp_path / place
    labels.write_text("years of work")
    for flags in ([], ["--overwrite"]):
        answer = toy("go", "f", "--what", "file", "--labels", labels, "-o", tmp_path / place, *flags)
        assert answer.returncode == 2
        assert ("is the input itself" if place != "made" else f"holds the input '{labels}'") in answer.stderr
    assert labels.read_text() == "years of work"


def test_a_killed_run_goes_on_with_the_same_command(toy, tmp_path):
    typed = ["go", "f", "--what", "folder", "-o", tmp_path / "out"]
    (tmp_path / "trap").write_text("")
    assert toy(*typed).returncode == -signal.SIGKILL
    (tmp_path / "trap").unlink()
    other = toy(*typed, "--bin-ms", "5")
    assert other.returncode == 2
    assert "unfinished run, made with bin_ms = 25 (now 5)" in other.stderr
    assert toy(*typed).returncode == 0
    assert (tmp_path / "out" / "result.json").is_file()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_second_run_on_the_same_output_ends_with_exit_4(toy, tmp_path, toy_process):
    first = toy_process("go", "f", "--what", "sleep", "-o", tmp_path / "out")
    for _ in range(200):
        if (tmp_path / "begun").exists():
            break
        time.sleep(0.05)
    answer = toy("go", "f", "--what", "file", "-o", tmp_path / "out")
    assert answer.returncode == 4
    assert one_line(answer.stderr)
    first.terminate()
    assert first.wait(20) == 143
    assert toy("go", "f", "--what", "file", "-o", tmp_path / "out").returncode == 0


def test_an_empty_lock_file_of_a_killed_run_blocks_nothing(toy, tmp_path):
    (tmp_path / ".out.lock").write_text("")
    assert toy("go", "f", "--what", "file", "-o", tmp_path / "out").returncode == 0


def test_a_full_stdout_is_one_line_and_exit_1(toy_process):
    with open("/dev/full", "w") as full:
        process = toy_process("go", "f", "--quiet", stdout=full, stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "could not be printed" in errors.splitlines()[-1]
    assert "Traceback" not in errors


# --- reproduce and batch -------------------------------------------------------------------------------------------------------


def test_reproduce_prints_the_command_and_repeats_it(toy, tmp_path):
    made = toy("go", "f", "--what", "file", "-o", tmp_path / "out", "--json")
    assert made.returncode == 0
    answer = toy("reproduce", tmp_path / "out")
    assert answer.stdout == f"toy go f --what file -o {tmp_path / 'out'} --json\n"
    again = toy("reproduce", tmp_path / "out.result.json", "--run")
    assert again.returncode == 0, again.stderr
    assert "every number is the same" in again.stdout
    alone = toy("reproduce", tmp_path / "out", "--tolerance", "0.1")
    assert (alone.returncode, alone.stdout) == (2, "")
    assert alone.stderr == "toy: reproduce: --tolerance judges a repetition; give --run too\n"
    record = json.loads((tmp_path / "out.result.json").read_text())
    record["results"]["config"]["bin_ms"] = 50
    (tmp_path / "out.result.json").write_text(json.dumps(record))
    other = toy("reproduce", tmp_path / "out", "--run", "--json")
    assert other.returncode == 3
    assert json.loads(other.stdout)["results"]["at"] == "results.config.bin_ms"
    assert json.loads(other.stdout)["results"]["largest_relative_difference"] == 0.5


def test_a_run_is_repeated_from_the_folder_it_was_typed_in(toy, tmp_path):
    """Paths in a record may be relative: who stands elsewhere reads where to go, and nothing is called changed."""
    (tmp_path / "labels.csv").write_text("labels")
    typed = ["go", "f", "--what", "file", "--labels", "labels.csv", "--output", "out"]
    assert toy(*typed, cwd=tmp_path).returncode == 0
    here, elsewhere = toy("reproduce", "out", cwd=tmp_path), toy("reproduce", tmp_path / "out")
    assert here.stdout == f"toy {' '.join(typed)}\n"
    assert elsewhere.stdout == f"cd {tmp_path} && {here.stdout}"
    again = toy("reproduce", tmp_path / "out", "--run")
    assert again.returncode == 0, again.stderr
    assert "every number is the same" in again.stdout
    (tmp_path / "labels.csv").write_text("others")
    assert "changed since: labels.csv" in toy("reproduce", tmp_path / "out").stdout


DAMAGED = [
    "{",
    "[]",
    "null",
    '{"pipeline": "toy"}',
    '{"pipeline": "toy", "command": "go", "options": {}, "provenance": {"inputs": "["}}',
    '{"pipeline": "toy", "command": 3, "provenance": {"config": "x", "inputs": "{}"}}',
]


def test_a_recording_that_results_went_into_is_not_called_changed(toy, tmp_path):
    labels, out = tmp_path / "labels.csv", tmp_path / "out"
    labels.write_text("as recorded")
    assert toy("go", "x", "--what", "into", "--labels", str(labels), "--output", str(out)).returncode == 0
    assert "changed since" not in toy("reproduce", str(out)).stdout
    labels.write_text("as recorded")
    assert "changed since" not in toy("reproduce", str(out)).stdout
    labels.write_text("by another program")
    assert f"changed since: {labels}" in toy("reproduce", str(out)).stdout


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_is_one_line_and_no_obstacle_to_overwriting(toy, tmp_path, content):
    typed = ["go", "f", "--what", "file", "-o", tmp_path / "out", "--quiet"]
    assert toy(*typed).returncode == 0
    (tmp_path / "out.result.json").write_text(content)
    for words in (typed, ["reproduce", tmp_path / "out"], ["reproduce", tmp_path / "out", "--run"]):
        answer = toy(*words)
        assert answer.returncode == 2, answer.stderr
        assert one_line(answer.stderr), answer.stderr
    assert toy(*typed, "--overwrite").returncode == 0
    assert toy("reproduce", tmp_path / "out", "--run").returncode == 0


def test_a_finished_run_whose_output_was_removed_is_not_called_finished(toy, tmp_path):
    typed = ["go", "f", "--what", "folder", "-o", tmp_path / "out", "--quiet"]
    assert toy(*typed).returncode == 0
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    record["outputs"]["report"] = str(tmp_path / "out" / "report.html")
    (tmp_path / "out" / "result.json").write_text(json.dumps(record))
    answer = toy(*typed)
    assert answer.returncode == 2
    assert "its report is gone" in answer.stderr


def test_a_repetition_never_touches_the_place_of_the_first_output(toy, tmp_path):
    assert toy("go", "f", "--what", "file", "-o", tmp_path / "out").returncode == 0
    before = (tmp_path / "out.result.json").read_bytes(), (tmp_path / "out").stat().st_mtime_ns
    assert toy("reproduce", tmp_path / "out", "--run").returncode == 0
    assert ((tmp_path / "out.result.json").read_bytes(), (tmp_path / "out").stat().st_mtime_ns) == before


def test_a_study_goes_on_after_a_bad_recording_and_is_resumed(toy, tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.dat").write_text(name)
    table = "recording,animal,what,bin-ms\na.dat,m1,folder,10\nb.dat,m1,failed,20\nc.dat,m2,folder,30\n"
    beware = "2 recordings (a.dat, c.dat): beware of this"
    (tmp_path / "list.csv").write_text(table)
    study = tmp_path / "study"
    typed = ["batch", tmp_path / "list.csv", "--output", study, "--set", "names=x", "--animal", "animal"]
    answer = toy(*typed, "--json")
    assert answer.returncode == 1
    results = json.loads(answer.stdout)["results"]
    assert (results["done"], results["skipped"], results["failed"]) == (2, 0, 1)
    assert [row["state"] for row in results["recordings"]] == ["done", "failed", "done"]
    assert results["recordings"][1]["why"] == "toy: go: the message"
    bins = next(e for e in results["effects"] if e["number"] == "config.bin_ms")
    assert (bins["mean"], bins["standard error"], bins["n"]) == (20, 10, 2)
    assert bins["95 % low"] == pytest.approx(20 - 12.7062 * 10, abs=1e-3)  # Student's t with one degree of freedom
    assert beware in json.loads(answer.stdout)["warnings"]
    assert beware in (study / "index.html").read_text()
    made = json.loads((study / "a.dat" / "result.json").read_text())
    assert (made["results"]["config"]["bin_ms"], made["results"]["config"]["names"]) == (10, ["x"])
    assert "the message" in (study / "index.html").read_text()
    (tmp_path / "list.csv").write_text(table.replace("failed", "folder"))
    again = json.loads(toy(*typed, "--jobs", "2", "--json").stdout)["results"]
    assert (again["done"], again["skipped"], again["failed"]) == (1, 2, 0)
    assert (study / "status.csv").read_text().count("skipped") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_study_that_is_stopped_lets_its_recording_clean_up(toy_process, tmp_path, number):
    study = tmp_path / "study"
    process = toy_process("batch", tmp_path, "--output", study, "--options", "what=sleep", stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (begun := [*study.rglob("begun")]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert begun
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not begun[0].exists()  # when the study has ended, its recording has


def test_a_study_of_a_glob_and_its_mistakes(toy, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.dat").write_text(name)
    made = toy("batch", tmp_path / "*.dat", "-o", tmp_path / "s", "--set", "what=folder")
    assert made.returncode == 2  # --output has no short form here
    made = toy("batch", tmp_path / "*.dat", "--output", tmp_path / "s", "--set", "what=folder")
    assert made.returncode == 0, made.stderr
    assert "2 done" in made.stdout
    for typed, phrase in (
        ([tmp_path / "*.none"], "no file or folder matches"),
        ([tmp_path / "a.dat", "--set", "wat=1"], "'wat' is no option of go"),
        ([tmp_path / "a.dat", "--command", "come"], "--command come"),
        ([tmp_path / "a.dat", "--dry-run", "--scheduler", "node7"], "--scheduler 'node7': no address"),
        ([tmp_path / "a.dat", "--dry-run", "--scheduler", "slurm:none.toml"], "slurm:none.toml: no such file"),
    ):
        answer = toy("batch", *typed, "--output", tmp_path / "t")
        assert answer.returncode == 2
        assert phrase in answer.stderr
        assert one_line(answer.stderr)


def test_the_answer_of_a_study_is_over_animals_and_leaves_out_recordings_without_an_answer():
    def given(gain, half, verdict=""):
        made = answer("the model", "the mean rate", gain, gain - half, gain + half, "bits per spike", verdict=verdict)
        return made._asdict()

    one, drifting = given(0.1, 0.05), given(0.9, 0.1, "cannot tell")
    found = [("m1", one), ("m1", given(0.3, 0.1)), ("m2", given(0.2, 0.1)), ("m3", given(0.26, 0.1)), ("m3", drifting)]
    whole = over_recordings(found, "glm-rates infer", "animals")
    assert whole.gain == pytest.approx(0.22)  # m1 counts once
    half = 4.302653 * np.std([0.2, 0.2, 0.26], ddof=1) / np.sqrt(3)
    assert (whole.low, whole.high) == pytest.approx((0.22 - half, 0.22 + half), abs=1e-6)
    assert whole.verdict == "yes"
    assert whole.sentence.startswith(
        "1 of 5 recordings left out, which have no answer of their own; over 3 animals (4 recordings) glm-rates infer beats the"
    )
    assert over_recordings(found[:2], "", "animals") is None
    assert over_recordings([*found, ("m4", {**one, "unit": "%"})], "", "animals") is None


def test_a_recording_that_was_done_twice_is_done_and_a_summary_holds_no_seconds(tmp_path, monkeypatch):
    """A worker that is lost after its work leaves it to another, which finds it finished; whoever works, the summary is the same."""
    from meso_forecast.commands import batch
    from meso_forecast.console import Run
    from meso_forecast.options import BatchConfig
    from meso_forecast.workers import Task

    results = {"mse": 1.5, "models": {"ar": {"seconds": 3.1, "skill": 0.5}}, "training_seconds": 4.2}
    row = {"state": "skipped", "why": "", "exit_code": 0, "seconds": 0.1, "outcome": {"results": results}}
    monkeypatch.setattr(batch.workers, "each", lambda *_, **__: iter([Task(0, dict(row), None)]))
    config = BatchConfig(recordings=["a.h5"], output=tmp_path / "study", command="extract")
    states = []
    for _ in range(2):
        states.append(batch.run(config, Run("batch", "", 0.0)).results["recordings"][0]["state"])
        (tmp_path / "study" / "a.h5").mkdir(exist_ok=True)
        (tmp_path / "study" / "a.h5" / "activity.result.json").write_text("{}")
    assert states == ["done", "skipped"]
    header, numbers = (tmp_path / "study" / "summary.csv").read_text().splitlines()
    assert header == "recording,animal,mse,models.ar.skill"
    assert numbers == "a.h5,,1.5,0.5"
