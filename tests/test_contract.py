"""Do the five command lines keep one contract: instant help, options from the config, exit codes, streams, one JSON object?"""

import importlib
import json
import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = ["glm_rates", "meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion"]
BUILT = [name for name in PIPELINES if (ROOT / name / "cli.py").is_file()]
SHARED_TEXT = ["console.py", "options.py", "report.py"]
HEAVY = [
    "numpy",
    "scipy",
    "pandas",
    "h5py",
    "tables",
    "matplotlib",
    "jax",
    "torch",
    "sklearn",
    "skops",
    "keras",
    "bayesflow",
    "spikeinterface",
    "nemos",
    "transformers",
    "pytorch_lightning",
    "one",
    "pynwb",
    "hdf5io",
    "tqdm",
    "jinja2",
]
ENVELOPE = ["pipeline", "command", "version", "seed", "outputs", "results", "warnings", "seconds"]


def commands_of(package):
    """Return ``{command name: config class}`` of a pipeline."""
    app = importlib.import_module(f"{package}.cli").app
    return {c.name: c.callback.config_class for c in app.registered_commands}


COMMANDS = [(package, name) for package in BUILT for name in commands_of(package)]


@pytest.fixture(scope="session")
def help_text():
    """Return ``text(package, command) -> (help, heavy modules that were loaded)``, each asked once in a process of its own."""
    seen = {}
    code = """
        import contextlib, importlib, io, json, sys
        package, commands = sys.argv[1], sys.argv[2].split(",")
        cli = importlib.import_module(package + ".cli")
        pages = {}
        for name in commands:
            sys.argv = [package, *([name] if name else []), "--help"]
            with contextlib.redirect_stdout(io.StringIO()) as page, contextlib.suppress(SystemExit):
                cli.main()
            pages[name] = page.getvalue()
        print(json.dumps([pages, sorted({m.partition(".")[0] for m in sys.modules})]))
    """

    def text(package, command):
        if package not in seen:
            names = ["", *commands_of(package)]
            answer = subprocess.run(
                [sys.executable, "-c", textwrap.dedent(code), package, ",".join(names)],
                capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, "COLUMNS": "300"},
            )  # fmt: skip
            seen[package] = json.loads(answer.stdout)
        pages, modules = seen[package]
        return pages[command], [name for name in HEAVY if name in modules]

    return text


def one_line(text):
    """Return whether a message is exactly one line."""
    return text.endswith("\n") and text.count("\n") == 1


def demo_steps(package):
    with open(ROOT / package / "demo.toml", "rb") as handle:
        return tomllib.load(handle)["step"]


def in_folder(step, folder):
    return [argument.replace("{out}", str(folder)) for argument in step["args"]]


@pytest.mark.parametrize("name", SHARED_TEXT)
def test_the_five_copies_of_a_shared_file_are_equal(name):
    texts = {package: (ROOT / package / name).read_text() for package in PIPELINES if (ROOT / package / name).is_file()}
    assert set(BUILT) <= set(texts)
    assert len(set(texts.values())) == 1


@pytest.mark.parametrize("package", BUILT)
def test_help_loads_nothing_heavy(package, help_text):
    page, heavy = help_text(package, "")
    assert heavy == []
    assert all(name in page for name in commands_of(package))


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_every_option_shows_the_default_and_the_help_of_its_config_field(package, command, help_text):
    page, _ = help_text(package, command)
    flat = " ".join(page.split())
    options = importlib.import_module(f"{package}.options")
    config_class = commands_of(package)[command]
    for name, field in config_class.model_fields.items():
        assert field.description, f"{config_class.__name__}.{name} has no description"
        if options.kind_of(config_class, name).nested:
            continue
        assert " ".join(field.description.split()) in flat
        if options.is_positional(config_class, name):
            assert name.upper() in page
            continue
        assert f"--{name.replace('_', '-')}" in page
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        shown = options.default_text(default)
        assert shown is False or f"({shown})" in flat, (name, shown)


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_a_config_is_frozen_and_refuses_unknown_keys(package, command):
    settings = commands_of(package)[command].model_config
    assert settings.get("frozen") is True
    assert settings.get("extra") == "forbid"


@pytest.mark.parametrize("package", BUILT)
def test_an_unknown_option_or_command_is_one_line_and_exit_2(package, run_command):
    command = next(iter(commands_of(package)))
    for arguments in ([command, "--no-such-option", "1"], ["no-such-command"]):
        answer = run_command(package, *arguments)
        assert answer.returncode == 2
        assert answer.stdout == ""
        assert one_line(answer.stderr), answer.stderr


@pytest.mark.parametrize("package", BUILT)
def test_an_unknown_key_of_a_config_file_names_the_nearest_known_one(package, run_command, tmp_path):
    command = next(n for n, c in commands_of(package).items() if "seed" in c.model_fields)
    (tmp_path / "c.toml").write_text("sead = 1\n")
    answer = run_command(package, command, "--config", tmp_path / "c.toml")
    assert answer.returncode == 2
    assert one_line(answer.stderr), answer.stderr
    assert "unknown key 'sead'. Nearest known key: 'seed'" in answer.stderr


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_a_missing_input_is_one_line_and_exit_2(package, command, run_command, tmp_path):
    config_class = commands_of(package)[command]
    options = importlib.import_module(f"{package}.options")
    positional = [n for n in config_class.model_fields if options.is_positional(config_class, n)]
    if not positional or not config_class.model_fields[positional[0]].is_required():
        pytest.skip("the command needs no input")
    answer = run_command(package, command, *[tmp_path / "nothing here"] * len(positional), cwd=tmp_path)
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    assert one_line(answer.stderr), answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", BUILT)
def test_version_is_printed(package, run_command):
    answer = run_command(package, "--version")
    assert answer.returncode == 0
    assert answer.stdout.startswith(package.replace("_", "-") + " ")


@pytest.mark.parametrize("package", BUILT)
def test_the_first_demo_step_prints_one_json_object_and_refuses_to_overwrite(package, run_command, tmp_path):
    step = demo_steps(package)[0]
    (tmp_path / "a").mkdir()
    first = run_command(package, *in_folder(step, tmp_path / "a"), "--json")
    assert first.returncode == 0, first.stderr
    outcome = json.loads(first.stdout)
    assert list(outcome) == ENVELOPE
    assert outcome["pipeline"] == package
    assert outcome["outputs"]
    assert all(Path(path).exists() for path in outcome["outputs"].values())
    again = run_command(package, *in_folder(step, tmp_path / "a"), "--json")
    assert again.returncode == 2, again.stderr
    assert "exists already" in again.stderr.splitlines()[-1]
    assert again.stdout == ""


@pytest.mark.parametrize("package", BUILT)
def test_equal_seeds_give_equal_results_from_an_empty_environment(package, tmp_path):
    """The second run has the environment of a cron job."""
    step, outcomes = demo_steps(package)[0], []
    for folder, env in (("a", dict(os.environ)), ("b", {"PATH": "/usr/bin:/bin"})):
        (tmp_path / folder).mkdir()
        command = [sys.executable, "-m", package, *in_folder(step, tmp_path / folder), "--json"]
        answer = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
        assert answer.returncode == 0, answer.stderr
        outcomes.append(json.loads(answer.stdout.replace(str(tmp_path / folder), "OUT"))["results"])
    assert outcomes[0] == outcomes[1]


# --- the console itself, on a package made for the purpose ---------------------------------------------------------------------

TOY_CONFIG = """
from pathlib import Path
from typing import Literal
from pydantic import BaseModel, ConfigDict, Field

class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    files: list[Path] = Field(description="files", json_schema_extra={"positional": True})
    what: Literal["work", "bug", "input", "failed", "verdict", "locked", "environment", "interrupt"] = Field("work", description="what")
    bin_ms: int = Field(25, ge=1, description="bin size in ms")
    time_lims: tuple[int, int] = Field((1500, 4500), description="limits in ms")
    strategies: list[Literal["median", "mean"]] = Field(["median"], description="strategies")
    names: list[str] = Field([], description="names")
    couple: bool = Field(False, description="couple")
    output: Path | None = Field(None, description="output", json_schema_extra={"flags": ["-o", "--out_dir"]})
"""
TOY_CLI = """
from . import config, console
app = console.application("toy", "Toy.")

@console.command(app, config.Config)
def go(config, run):
    '''Go.'''
    import hdf5io
    print("library noise")
    console.log.warning("beware of %s", "this")
    def interrupt(_): raise KeyboardInterrupt
    faults = {"bug": ZeroDivisionError, "input": hdf5io.InputError, "failed": console.WorkFailed, "locked": hdf5io.LockedError,
              "environment": console.EnvironmentMissing, "interrupt": interrupt}
    if config.what in faults:
        raise faults[config.what]("the message")
    code = 3 if config.what == "verdict" else 0
    return console.Result({}, {"config": config.model_dump(), "nothing": float("nan")}, "done", code, config.output)

main = console.entry_point(app)
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Return ``run(*args)`` of a small package that holds the shared console."""
    root = tmp_path_factory.mktemp("toy")
    package = root / "toy"
    package.mkdir()
    for name in ("console.py", "options.py"):
        (package / name).write_text((ROOT / PIPELINES[0] / name).read_text())
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("from .cli import main\nmain()\n")
    (package / "config.py").write_text(TOY_CONFIG)
    (package / "cli.py").write_text(TOY_CLI)

    def run(*arguments):
        env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{ROOT}"}
        command = [sys.executable, "-m", "toy", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=root, env=env, check=False)

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
    ],
)
def test_exit_codes(toy, what, code):
    answer = toy("go", "f", "--what", what, "--quiet")
    assert answer.returncode == code
    assert ("Traceback" in answer.stderr) == (what == "bug")
    assert answer.stdout == ("done\n" if code in (0, 3) else "")
    if what not in ("work", "verdict", "bug"):
        assert answer.stderr.splitlines()[-1] == (
            "toy: go: interrupted" if what == "interrupt" else "toy: go: the message"
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


def test_the_record_lies_in_the_run_folder_or_beside_the_file(toy, tmp_path):
    folder, file = tmp_path / "run", tmp_path / "x.h5"
    folder.mkdir()
    file.write_text("")
    for output in (folder, file):
        printed = json.loads(toy("go", "f", "-o", output, "--json").stdout)
        record = folder / "result.json" if output is folder else tmp_path / "x.result.json"
        assert json.loads(record.read_text()) == printed
