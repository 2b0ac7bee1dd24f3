"""The commands that the READMEs show are real: each one parses, and those that promise a figure make it."""

import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.main import get_command

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
PACKAGES = {script: target.split(".")[0] for script, target in SCRIPTS.items() if script != "neuropipes"}
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("*/MEASURED.md"))]
PROGRAMS = Path(sysconfig.get_path("scripts"))
HEADING = re.compile(r"^#.*\b(three|3) commands\b", re.IGNORECASE | re.MULTILINE)


def commands_of(text):
    """Return the commands of the ``console`` blocks in a page, each as typed, continuation lines joined."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        joined = block.replace("\\\n", " ")
        found += [line[2:].strip() for line in joined.splitlines() if line.startswith("$ ")]
    return found


def first_block(text):
    """Return the commands of the first ``console`` block."""
    block = re.search(r"^```console\n.*?^```", text, re.DOTALL | re.MULTILINE)
    return commands_of(block[0] + "\n") if block else []


def words_of(command):
    """Return the program and the arguments of one command; a comment, a pipe and a redirection end it."""
    words = shlex.split(command, comments=True)
    ends = [i for i, word in enumerate(words) if word in ("|", ">", "2>", "&&", "&")]
    return words[: ends[0]] if ends else words


def read_commands():
    """Yield every shown command that runs a pipeline, with the page that shows it."""
    for page in PAGES:
        for command in commands_of(page.read_text(encoding="utf-8")):
            words = words_of(command)
            if words and words[0] in PACKAGES:
                yield pytest.param(words, id=f"{page.relative_to(ROOT)}: {command[:60]}")


def parse(words):
    """Parse one command as its pipeline does, down to the checked config; raise what the pipeline would report."""
    package = PACKAGES[words[0]]
    program, options = import_module(f"{package}.cli").app, import_module(f"{package}.options")
    arguments = words[1:]
    if not arguments or arguments[0].startswith("-"):
        assert arguments in ([], ["--help"], ["-h"], ["--version"]), f"no command in {words}"
        return
    verb = program.aliases.get(arguments[0], arguments[0])
    config_class = program.verbs[verb]
    typed = options.tidy_arguments(config_class, [a for a in arguments[1:] if a not in ("--help", "-h")])
    context = get_command(program.app).commands[verb].make_context(verb, typed)
    if "--help" in words:
        return
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in context.params.items()}
    own = [given.pop(name) for name in options.OWN if name in given]
    if own[0] is None:  # a TOML file that the page speaks of is the reader's
        with patch.object(options, "missing_paths", lambda *_: []):  # and so are the recordings
            options.build_config(config_class, given, None)


@pytest.mark.parametrize("words", list(read_commands()))
def test_every_shown_command_is_one_that_the_pipeline_understands(words):
    parse(words)


@pytest.mark.parametrize("script", PACKAGES)
def test_a_wrong_command_or_option_would_be_noticed(script):
    with pytest.raises(KeyError, match="no-such-command"):
        parse([script, "no-such-command"])
    known = next(iter(import_module(f"{PACKAGES[script]}.cli").app.verbs))
    with pytest.raises(Exception, match="--no-such-option"):
        parse([script, known, "--no-such-option"])


def test_the_scripts_that_the_readme_names_are_there():
    shown = [words_of(c) for page in PAGES for c in commands_of(page.read_text(encoding="utf-8"))]
    for words in shown:
        if words[0].startswith("python"):
            assert words[1].startswith("-") or (ROOT / words[1]).exists(), words


@pytest.mark.parametrize("package", PACKAGES.values())
def test_every_pipeline_has_a_page_that_begins_with_three_commands(package):
    text = (ROOT / package / "README.md").read_text(encoding="utf-8")
    start = HEADING.search(text)
    assert len(first_block(text[start.start() if start else 0 :])) == 3


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES.values())
def test_three_commands_lead_from_nothing_to_a_figure(package, tmp_path):
    text = (ROOT / package / "README.md").read_text(encoding="utf-8")
    start = HEADING.search(text)
    for command in first_block(text[start.start() if start else 0 :]):
        words = words_of(command)
        if words[:2] == ["python3", "scripts/bootstrap.py"]:
            continue  # this environment is what that makes
        program = PROGRAMS / words[0] if words[0] in PACKAGES else sys.executable
        done = subprocess.run(
            [program, *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, f"$ {command}\n{done.stderr[-3000:]}"
    assert [*tmp_path.rglob("*.png"), *tmp_path.rglob("report.html")]
