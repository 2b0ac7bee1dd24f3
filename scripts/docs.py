#!/usr/bin/env python3
"""Where is the documentation site made? ``python3 scripts/docs.py`` writes ``build/docs/site``, readable without a network.

Pages come from ``docs/`` (tutorials, tables, questions), from the READMEs, from the config classes (every option), and from the
docstrings (explanation, code). Nothing generated is kept in git. mkdocs-material gets an environment of its own, ``.venvs/docs``.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import bootstrap

ROOT = bootstrap.ROOT
BUILD = ROOT / "build" / "docs"
NOT_MATHEMATICS = ("cli", "config", "console", "options", "answer", "workers", "__main__", "commands", "show", "files")
#: where a file of the repository stands in the site; links to others become text
PLACES = {
    "README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "BENCHMARKS.md": "benchmarks.md",
    **{f"{name}/README.md": f"pipelines/{name}.md" for name in bootstrap.PIPELINES},
    **{f"{name}/MEASURED.md": f"measured/{name}.md" for name in bootstrap.PIPELINES},
}  # fmt: skip
LAST_CELL = """from pathlib import Path

from IPython.display import Image, display

for path in sorted(Path().rglob("*.png"))[:3]:
    display(Image(path))"""


def write_pages(pages: Path) -> None:
    """Write every page of the site below a fresh folder."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages, ignore=shutil.ignore_patterns("*.yml", "__pycache__"))
    for source, place in PLACES.items():
        if (ROOT / source).is_file():
            text = relinked((ROOT / source).read_text(encoding="utf-8"), source, place)
            put(pages / place, text)
    if not (ROOT / "BENCHMARKS.md").is_file():
        put(pages / "benchmarks.md", "# Benchmarks\n\nNone was written yet: `python3 scripts/bench.py --write`.\n")
    for name in bootstrap.PIPELINES:
        put(pages / f"options/{name}.md", "\n".join(options_page(name)))
        put(pages / f"code/{name}.md", "\n".join(code_page(name)))
        put(pages / f"explanation/{name}.md", "\n".join(explanation_page(name)))
        tutorial = pages / f"tutorials/{name}.md"
        put(pages / f"notebooks/{name}.ipynb", json.dumps(notebook(tutorial.read_text(encoding="utf-8")), indent=1))
        link = f"\n[This page as a notebook](../notebooks/{name}.ipynb)\n"
        put(tutorial, tutorial.read_text(encoding="utf-8") + link)
    install = pages / "install.md"
    put(install, with_sizes(install.read_text(encoding="utf-8")))


def put(path: Path, text: str) -> None:
    """Write a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def relinked(text: str, source: str, place: str) -> str:
    """Return a page with its links to files of the repository as links of the site."""

    def link(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        path, _, anchor = target.partition("#")
        named = (Path(source).parent / path).as_posix()
        if named not in PLACES or not (ROOT / named).is_file():
            return words
        up = "../" * place.count("/")
        return f"[{words}]({up}{PLACES[named]}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)  # code stays as it is
    return "".join(p if p.startswith("```") else re.sub(r"\[([^\]\n]+)\]\(([^)\s]+)\)", link, p) for p in parts)


def notebook(page: str) -> dict[str, Any]:
    """Return a tutorial as a Jupyter notebook: text, code, commands with ``!``, and at the end the first figures that were drawn."""
    cells = []
    for text, kind, body in re.findall(r"(.*?)(?:^```(python|console)\n(.*?)^```$|\Z)", page, re.DOTALL | re.MULTILINE):
        if text.strip():
            cells.append({"cell_type": "markdown", "metadata": {}, "source": text.strip()})
        if kind:
            code = body if kind == "python" else re.sub(r"^\$ ", "!", body, flags=re.MULTILINE)
            cells.append(code_cell(code.strip()))
    cells.append(code_cell(LAST_CELL))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}


def code_cell(source: str) -> dict[str, Any]:
    """Return a cell that was not run yet."""
    return {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": source}


# --- options -------------------------------------------------------------------------------------------------------------------


def options_page(name: str) -> Iterator[str]:
    """Yield the lines of the reference of every option of a pipeline."""
    program, options = importlib.import_module(f"{name}.cli").app, importlib.import_module(f"{name}.options")
    yield f"# Options of {program.name}\n"
    yield "Made from the config classes. Every verb also takes `--config FILE.toml`, `--json`, `--quiet` and `--verbose`.\n"
    for verb, config_class in program.verbs.items():
        yield f"## {verb}\n\n{(config_class.__doc__ or '').strip()}\n"
        yield "| option | default | what it is |\n|---|---|---|"
        for field in config_class.model_fields:
            yield option_row(config_class, field, options)
        yield ""


def option_row(config_class: Any, field: str, options: Any) -> str:
    """Return one row of the table of options."""
    info, kind = config_class.model_fields[field], options.kind_of(config_class, field)
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    shown = "required" if info.is_required() else options.default_text(default)
    spelled = [field.upper()] if options.is_positional(config_class, field) else options.flags_of(config_class, field)
    if kind.nested:
        spelled = [f"{field} (in a TOML file only)"]
    values = (
        ""
        if kind.flag or kind.nested or options.is_positional(config_class, field)
        else " " + kind.label.replace("|", " / ")
    )
    cells = [
        f"`{' '.join(spelled)}{values}`",
        f"`{shown}`" if shown and shown != "required" else shown or "",
        info.description or "",
    ]
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"


# --- docstrings ----------------------------------------------------------------------------------------------------------------


def modules_of(name: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the dotted name and the syntax tree of every module of a package, without importing it."""
    for path in sorted((ROOT / name).rglob("*.py")):
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield dotted, ast.parse(path.read_text(encoding="utf-8"))


def docstring(node: Any) -> str:
    """Return a docstring with its details set as they are written."""
    text = ast.get_docstring(node) or ""
    first, _, rest = text.partition("\n\n")
    return first + (f"\n\n```text\n{rest.strip()}\n```" if rest.strip() else "")


def code_page(name: str) -> Iterator[str]:
    """Yield the lines of the reference of a package's public functions and classes."""
    yield f"# Code of {name}\n\nEvery public name with its docstring, module by module.\n"
    for dotted, tree in modules_of(name):
        public = [
            node for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_") and ast.get_docstring(node)
        ]  # fmt: skip
        if not public:
            continue
        yield f"## {dotted}\n\n{docstring(tree)}\n"
        for node in public:
            arguments = f"({ast.unparse(node.args)})" if isinstance(node, ast.FunctionDef) else ""
            returns = f" -> {ast.unparse(node.returns)}" if isinstance(node, ast.FunctionDef) and node.returns else ""
            yield f"### {node.name}\n\n```python\n{node.name}{arguments}{returns}\n```\n\n{docstring(node)}\n"


def explanation_page(name: str) -> Iterator[str]:
    """Yield the lines of what a pipeline computes: the README's science, then the mathematics where it stands."""
    text = (ROOT / name / "README.md").read_text(encoding="utf-8")
    yield f"# What {name.replace('_', '-')} computes\n"
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        if re.match(r"## The (science|model|verdict)", section):
            yield relinked(section, f"{name}/README.md", f"explanation/{name}.md")
    yield "## The mathematics, file by file\n"
    for dotted, tree in modules_of(name):
        room = dotted.split(".")[1] if "." in dotted else ""
        words = ast.get_docstring(tree)
        if room and room not in NOT_MATHEMATICS and words and dotted.count(".") > 1:
            yield f"**[{dotted}](../code/{name}.md#{re.sub('[^a-z0-9_]', '', dotted.lower())})**\n\n{docstring(tree)}\n"


# --- sizes ---------------------------------------------------------------------------------------------------------------------


def with_sizes(text: str) -> str:
    """Return the page on installing with the installed size of each extra in this environment."""
    missing: set[str] = set()
    for extra in re.findall(r"\{\{ size:(\w+) \}\}", text):
        if extra != "note":
            names = needed("neuropipes", "" if extra == "base" else extra, missing)
            size = sum(installed_bytes(name) for name in names) / 2**20
            shown = f"{size:.0f} MB" if size < 1000 else f"{size / 1024:.1f} GB"
            text = text.replace(f"{{{{ size:{extra} }}}}", f"{shown}, {len(names)} packages")
    note = f"; {', '.join(sorted(missing))} not there and not counted" if missing else ""
    return text.replace("{{ size:note }}", note)


def needed(name: str, extra: str, missing: set[str]) -> set[str]:
    """Return the distributions that an extra brings, with all that these need; what is not installed is noted."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [(name, frozenset([extra]))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            missing.add(name)
            continue
        found.add(re.sub(r"[-_.]+", "-", name).lower())
        for text in requires:
            wanted = Requirement(text)
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in extras | {""}):
                waiting.append((wanted.name, frozenset(wanted.extras) or frozenset([""])))
    return found


def installed_bytes(name: str) -> int:
    """Return the size of a distribution's files."""
    return sum(file.size or 0 for file in metadata.files(name) or ())


# --- the site ------------------------------------------------------------------------------------------------------------------


def configuration(pages: Path) -> str:
    """Return mkdocs' configuration with the generated pages in its table of contents."""
    text = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    for folder in ("pipelines", "measured", "explanation", "options", "code"):
        rows = [f"      - {name.replace('_', '-')}: {folder}/{name}.md" for name in bootstrap.PIPELINES]
        title = next(line for line in text.splitlines() if line.startswith("  - ") and line.endswith(f": {folder}"))
        text = text.replace(title, "\n".join([title.removesuffix(f" {folder}"), *rows]))
    return text + f"docs_dir: {pages.name}\nsite_dir: site\n"


def without_network(site: Path) -> None:
    """Let every page take the search's helper from the site instead of from a server."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        up = "../" * (len(page.relative_to(site).parts) - 1)
        page.write_text(text.replace("https://unpkg.com/iframe-worker/shim", f"{up}assets/worker.js"), encoding="utf-8")


def main() -> int:
    """Write the pages, then the site; a broken link fails it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[bootstrap.options()])
    parser.add_argument("--pages", action="store_true", help="only the pages, in Markdown")
    bootstrap.run_inside(__file__, parser)
    settings = parser.parse_args()
    write_pages(BUILD / "pages")
    if settings.pages:
        print(BUILD / "pages")
        return 0
    with bootstrap.reporting():
        python = str(bootstrap.python_with("docs", "mkdocs"))
    (BUILD / "mkdocs.yml").write_text(configuration(BUILD / "pages"), encoding="utf-8")
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [python, "-m", "mkdocs", "--quiet", "build", "--strict", "--config-file", str(BUILD / "mkdocs.yml")]
    code = subprocess.run(command, env=quiet, check=False).returncode
    if code == 0:
        without_network(BUILD / "site")
        print(f"Open {BUILD / 'site' / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
