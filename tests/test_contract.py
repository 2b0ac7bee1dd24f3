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
    "answer.py",
    "workers.py",
    "commands/batch.py",
    "commands/reproduce.py",
    "show/report.py",
    "show/report.html",
    "show/methods.py",
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
    "tqdm",
    "jinja2",
]
ENVELOPE = ["pipeline", "command", "version", "seed", "outputs", "results", "line", "warnings", "seconds"]


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
    flat = "".join(page.split())  # lines are broken at blanks and hyphens
    options = importlib.import_module(f"{package}.options")
    config_class = commands_of(package)[command]
    for name, field in config_class.model_fields.items():
        assert field.description, f"{config_class.__name__}.{name} has no description"
        if options.kind_of(config_class, name).nested:
            continue
        assert "".join(field.description.split()) in flat
        if options.is_positional(config_class, name):
            assert name.upper() in page
            continue
        assert f"--{name.replace('_', '-')}" in page
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        shown = options.default_text(default)
        assert shown is False or "".join(f"({shown})".split()) in flat, (name, shown)


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


def inputs_of(package, command):
    """Return ``{field: "file" | "folder" | "any"}``: the required inputs of a command, in the order of its config."""
    options = importlib.import_module(f"{package}.options")
    config_class = commands_of(package)[command]
    wanted = {name: options.extra_of(config_class, name).get("exists") for name in config_class.model_fields}
    required = {n: kind for n, kind in wanted.items() if config_class.model_fields[n].is_required()}
    return {n: kind for n, kind in required.items() if kind or options.is_positional(config_class, n)}


def typed(package, command, values):
    """Return the words that give each field its value: by place, or by option."""
    options = importlib.import_module(f"{package}.options")
    config_class = commands_of(package)[command]
    by_place = [v for n, v in values.items() if options.is_positional(config_class, n)]
    by_name = [
        w
        for n, v in values.items()
        if not options.is_positional(config_class, n)
        for w in (f"--{n.replace('_', '-')}", v)
    ]
    return [*by_place, *by_name]


IN_PROCESS = """
    import importlib, json, os, sys, time
    package, blocked, words = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in blocked:
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    sys.meta_path.insert(0, Absent())
    cli = importlib.import_module(package + ".cli")
    sys.argv = [package, *words]
    try:
        cli.main()
    finally:
        print(json.dumps([sorted({m.partition(".")[0] for m in sys.modules}), time.process_time()]))
"""


def in_process(package, words, cwd, blocked=()):
    """Run a command in a fresh interpreter; return exit code, stderr, loaded top-level modules and CPU seconds."""
    command = [sys.executable, "-c", textwrap.dedent(IN_PROCESS), package, ",".join(blocked), *map(str, words)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    modules, seconds = json.loads(answer.stdout.splitlines()[-1])
    return answer.returncode, answer.stderr, modules, seconds


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_a_wrong_path_is_one_line_before_anything_heavy_is_loaded(package, command, tmp_path):
    wanted = inputs_of(package, command)
    if not wanted:
        pytest.skip("the command needs no input")
    words = typed(package, command, dict.fromkeys(wanted, tmp_path / "nothing here"))
    code, errors, modules, seconds = in_process(package, [command, *words], tmp_path)
    assert code == 2, errors
    assert one_line(errors), errors
    assert list(tmp_path.iterdir()) == []
    if any(wanted.values()):  # others may be no path, such as eid:...
        assert [name for name in HEAVY if name in modules] == []
        assert seconds < 1.5


@pytest.mark.parametrize("package", BUILT)
def test_a_path_of_the_wrong_kind_is_named_as_such(package, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    tried = 0
    for command in commands_of(package):
        wanted = inputs_of(package, command)
        kinds = {"file": tmp_path / "folder", "folder": tmp_path / "file"}
        if not {"file", "folder"} & set(wanted.values()):
            continue
        words = typed(package, command, {n: kinds.get(kind, tmp_path / "file") for n, kind in wanted.items()})
        code, errors, _, _ = in_process(package, [command, *words], tmp_path)
        assert code == 2
        assert "is a folder, a file is expected" in errors or "is a file, a folder is expected" in errors
        tried += 1
    assert tried


LIBRARIES = [name for name in HEAVY if name not in ("numpy", "h5py")]  # what a bare install without extras lacks


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_a_missing_extra_is_one_line_that_names_it(package, command, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("")
    kinds = {"file": tmp_path / "in" / "file", "folder": tmp_path / "in"}
    options = importlib.import_module(f"{package}.options")
    config_class = commands_of(package)[command]
    values = {n: kinds.get(kind, tmp_path / "in" / "file") for n, kind in inputs_of(package, command).items()}
    for name, field in config_class.model_fields.items():
        if field.is_required() and name not in values:
            is_output = options.kind_of(config_class, name).is_path
            values[name] = (
                tmp_path / f"out{options.extra_of(config_class, name).get('product', '')}" if is_output else "1"
            )
    code, errors, _, _ = in_process(package, [command, *typed(package, command, values)], tmp_path, LIBRARIES)
    assert "Traceback" not in errors
    assert code in (0, 1, 2, 5), errors  # 0 and 2: the command needs no library, or the input is refused without one
    if code == 5:
        assert 'pip install "neuropipes[' in errors.splitlines()[-1]


@pytest.mark.parametrize("package", BUILT)
def test_without_its_extra_a_pipeline_names_it(package, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    step = demo_steps(package)[0]
    code, errors, _, _ = in_process(package, in_folder(step, tmp_path), tmp_path, LIBRARIES)
    if code != 0:
        assert code == 5, errors
        assert 'pip install "neuropipes[' in errors.splitlines()[-1]


@pytest.mark.parametrize(("package", "product"), [
    ("glm_rates", "rates.h5"), ("meso_forecast", None), ("unit_refine", "labels.csv"), ("laa_bayes", "posterior.h5"),
    ("neuro_diffusion", "posterior.h5"),
])  # fmt: skip
def test_a_study_makes_what_the_main_verb_makes(package, product):
    program = importlib.import_module(f"{package}.cli").app
    options = importlib.import_module(f"{package}.options")
    assert options.extra_of(program.verbs[program.main], "output").get("product") == product


@pytest.mark.parametrize("package", BUILT)
def test_a_study_of_any_verb_knows_what_to_call_the_file_it_makes(package):
    program, options = (importlib.import_module(f"{package}.{name}") for name in ("cli", "options"))
    for verb, config in program.app.verbs.items():
        output = config.model_fields.get("output")
        if output is not None and any(options.is_positional(config, name) for name in config.model_fields):
            folder = "folder" in output.description or "directory" in output.description
            assert folder or "product" in options.extra_of(config, "output"), verb


@pytest.mark.parametrize("package", BUILT)
def test_one_vocabulary(package):
    verbs = commands_of(package)
    assert {"info", "plot", "simulate", "batch", "reproduce"} <= set(verbs)
    for verb, config_class in verbs.items():
        fields = config_class.model_fields
        assert not {"out", "out_dir", "output_dir", "out_file"} & set(fields), verb
        if "output" in fields and verb != "batch":
            assert "overwrite" in fields, f"{verb} writes and has no --overwrite"
            rehearsed = importlib.import_module(f"{package}.options").rehearsed_by_console(config_class)
            assert "dry_run" in fields or rehearsed, f"{verb} writes and has no --dry-run"
        if verb in ("train", "infer", "simulate", "batch", "compare", "preprocess", "build-dataset"):
            assert "dry_run" in fields, f"{verb} works and has no --dry-run of its own"


def test_a_study_asks_once_for_what_its_verb_needs_beside_the_recording(run_command, tmp_path):
    answer = run_command("laa_bayes", "batch", "a.csv", "b.csv", "--output", tmp_path / "study")
    assert answer.returncode == 2
    assert "infer needs MODEL as well, the same for all recordings: --set model=VALUE" in answer.stderr


@pytest.mark.parametrize("package", BUILT)
def test_version_is_printed(package, run_command):
    answer = run_command(package, "--version")
    assert answer.returncode == 0
    assert answer.stdout.startswith(package.replace("_", "-") + " ")


@pytest.mark.parametrize("package", BUILT)
def test_the_first_demo_step_prints_one_json_object_and_is_not_repeated(package, run_command, tmp_path):
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
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert "finished already" in again.stderr
    other = run_command(package, *in_folder(step, tmp_path / "a"), "--seed", "77")
    assert other.returncode == 2
    assert "made with seed" in other.stderr.splitlines()[-1]
    assert not [p for p in (tmp_path / "a").rglob(".*") if p.name.endswith((".lock", ".part"))]


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
