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
SHARED_TEXT = [
    "console.py",
    "options.py",
    "workers.py",
    "commands/batch.py",
    "commands/reproduce.py",
    "show/report.py",
    "show/report.html",
    "show/figures.py",
]
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
    return importlib.import_module(f"{package}.cli").app.verbs


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
