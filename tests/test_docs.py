"""The documentation says what the code does: its commands parse, its tutorials run, every option stands in it, every link leads somewhere."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = ("glm_rates", "meso_forecast", "unit_refine", "laa_bayes", "neuro_diffusion")
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def loaded(path):
    sys.path.insert(0, str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location(f"loaded_{Path(path).stem}", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs, readme = loaded("scripts/docs.py"), loaded("tests/test_readme.py")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the folder of all pages, written once."""
    folder = tmp_path_factory.mktemp("docs") / "pages"
    docs.write_pages(folder)
    return folder


def shown_commands():
    """Yield every command of a pipeline that a page shows, in a console block or in a table."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        typed = [*readme.commands_of(text), *re.findall(r"`((?:glm|meso|unit|laa|neuro)-[a-z]+ [a-z][^`]*)`", text)]
        for command in typed:
            words = readme.words_of(command)
            if words[0] in readme.PACKAGES and len(words) > 2:  # a verb alone is only spoken of
                yield pytest.param(words, id=f"{page.name}: {command[:70]}")


@pytest.mark.parametrize("words", list(shown_commands()))
def test_every_shown_command_is_one_that_the_pipeline_understands(words):
    readme.parse(["10" if word == "HZ" else word for word in words])


def test_every_option_of_every_verb_stands_in_the_reference(pages):
    for name in PIPELINES:
        program, options = import_module(f"{name}.cli").app, import_module(f"{name}.options")
        parts = re.split(r"^## ", (pages / f"options/{name}.md").read_text(), flags=re.MULTILINE)
        listed = {part.partition("\n")[0]: part for part in parts[1:]}
        assert [*listed] == [*program.verbs]
        for verb, config_class in program.verbs.items():
            for field, info in config_class.model_fields.items():
                shown = options.shown(config_class, field)
                rows = [row for row in listed[verb].splitlines() if re.match(rf"\| `{shown}[ `]|\| `{field} \(", row)]
                assert len(rows) == 1, (name, verb, field)
                assert " ".join(info.description.split()).replace("|", "\\|") in rows[0]


def test_every_link_leads_to_a_page_or_an_anchor_of_the_site(pages):
    for page in pages.rglob("*.md"):
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:|#", target):
                assert (page.parent / target.partition("#")[0]).is_file(), (page.name, target)


def test_each_tutorial_is_also_a_notebook_with_the_same_code(pages):
    for name in PIPELINES:
        made = json.loads((pages / f"notebooks/{name}.ipynb").read_text())
        assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
        assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
        blocks = BLOCK.findall((ROOT / f"docs/tutorials/{name}.md").read_text())
        code = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"]
        assert code == [*(body.strip().replace("$ ", "!") for _, body in blocks), docs.LAST_CELL]
        compile(docs.LAST_CELL, "cell", "exec")
        text = "".join(cell["source"] for cell in made["cells"] if cell["cell_type"] == "markdown")
        assert "```" not in text.replace("```text", "")


def test_the_table_of_contents_names_every_page_and_no_other(pages):
    named = re.findall(r": ([\w/-]+\.md)$", docs.configuration(pages), re.MULTILINE)
    assert len(named) == len({*named})
    assert {*named} == {path.relative_to(pages).as_posix() for path in pages.rglob("*.md")}


def test_the_page_on_installing_has_a_size_for_every_pipeline(pages):
    text = (pages / "install.md").read_text()
    assert "{{" not in text
    extras = [import_module(f"{name}.cli").app.extra for name in PIPELINES]
    for extra in extras:
        assert re.search(rf"\| `neuropipes\[{extra}\]` \| [\w-]+ \| [\d.]+ [MG]B, \d+ packages \|", text), extra


def test_an_explanation_page_leads_from_the_readme_to_the_mathematics(pages):
    for name in PIPELINES:
        text = (pages / f"explanation/{name}.md").read_text()
        assert re.search(r"^## The (science|model|verdict)", text, re.MULTILINE), name
        anchors = re.findall(rf"\(\.\./code/{name}\.md#(\w+)\)", text)
        headings = re.findall(r"^## ([\w.]+)$", (pages / f"code/{name}.md").read_text(), re.MULTILINE)
        assert len(anchors) > 5
        assert {*anchors} <= {heading.replace(".", "") for heading in headings}


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_a_tutorial_runs_from_its_first_line_to_its_last(name, tmp_path):
    text = (ROOT / f"docs/tutorials/{name}.md").read_text(encoding="utf-8")
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    for kind, body in BLOCK.findall(text):
        commands = (
            [[sys.executable, "-c", body]]
            if kind == "python"
            else map(readme.words_of, readme.commands_of(f"```{kind}\n{body}```"))
        )
        for command in commands:
            done = subprocess.run(
                command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    if name != "neuro_diffusion":
        assert [*tmp_path.rglob("*.png"), *tmp_path.rglob("report.html")]


@pytest.mark.slow
def test_the_site_is_built_without_a_broken_link_and_asks_nothing_of_a_network():
    python = docs.bootstrap.program(ROOT / ".venvs/docs")
    if not python.exists():
        pytest.skip("no .venvs/docs: python3 scripts/docs.py makes it")
    done = subprocess.run(
        [sys.executable, "scripts/docs.py"], cwd=ROOT, env={**os.environ, "NEUROPIPES_INSIDE": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (ROOT / "build/docs/site").rglob("*.html"):
        loads = re.findall(
            r"<(?:script|img|iframe)[^>]+src=\"?(https?:[^\" >]+)|<link[^>]+stylesheet[^>]+href=\"?(https?:[^\" >]+)",
            page.read_text(),
        )
        assert loads == [], page
