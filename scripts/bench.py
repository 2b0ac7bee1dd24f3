#!/usr/bin/env python3
"""How fast and how good against the named alternatives? ``bench.py PIPELINE [ARGS]`` runs ``scripts/bench_PIPELINE.py``.

Every benchmark holds its competitors inside and prints ratios measured in the same run. ``bench.py --write [PIPELINE [ARGS]]`` also
puts what it printed into BENCHMARKS.md, with machine, date, and the versions of everything that was compared; without a pipeline it
runs all of them. A part of that file that was not run again stays as it is.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import bootstrap

PAGE = bootstrap.ROOT / "BENCHMARKS.md"
HEAD = """# Benchmarks

Written by `python3 scripts/bench.py --write`, never by hand. Each part holds what one benchmark printed: competitors stand in the same
run on the same data, ratios are within that run. Compare times between parts, or with your machine, by the ratios only.

"""


def scripts() -> dict[str, Path]:
    """Return each benchmark by the name of what it measures."""
    return {path.stem[len("bench_") :]: path for path in sorted((bootstrap.ROOT / "scripts").glob("bench_*.py"))}


def compared(script: Path) -> dict[str, str]:
    """Return the version of every distribution that a benchmark imports, at the top or inside a function; ``absent`` is said."""
    tree, names = ast.parse(script.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    ours = {"neuropipes", "hdf5io", *bootstrap.PIPELINES}
    known, found = metadata.packages_distributions(), {"neuropipes": version("neuropipes")}
    for name in sorted(names - ours - set(sys.stdlib_module_names)):
        distribution = known.get(name, [name])[0]
        found[distribution] = version(distribution)
    return found


def version(distribution: str) -> str:
    """Return the version of a distribution, or that it is not there."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent, left out"


def machine() -> dict[str, str]:
    """Return what times depend on: processor, cores, memory, system, Python, and how busy the machine was."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        model = found[1] if found else model
    table = {"processor": f"{model}, {os.cpu_count()} cores", "system": f"{platform.system()} {platform.release()}"}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        table["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    if hasattr(os, "getloadavg"):
        table["other load at the start"] = f"{os.getloadavg()[0]:.1f} processes (mean of a minute)"
    return {**table, "Python": platform.python_version()}


def commit() -> str:
    """Return the commit of this checkout, marked where files differ from it; nothing outside git."""
    git = ["git", "-C", str(bootstrap.ROOT)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name.strip() + (" with changes" if changed.strip() else "")


def measured(name: str, script: Path, words: list[str]) -> tuple[int, str]:
    """Run one benchmark, showing what it prints; return its exit code and its part of the page."""
    facts = {"date": time.strftime("%Y-%m-%d"), "commit": commit(), **machine()}
    process = subprocess.Popen([sys.executable, str(script), *words], stdout=subprocess.PIPE, text=True)
    printed = []
    for line in process.stdout or ():
        print(line, end="", flush=True)
        printed.append(line)
    code = process.wait()
    facts["versions"] = ", ".join(f"{peer} {number}" for peer, number in compared(script).items())
    rows = [f"| {key} | {value} |" for key, value in facts.items() if value]
    typed = shlex.join(["python3", "scripts/bench.py", name, *(Path(w).name if os.path.isabs(w) else w for w in words)])
    part = ["| | |", "|---|---|", *rows, "", "```", f"$ {typed}", "".join(printed).rstrip("\n"), "```", ""]
    return code, "\n".join(part)


def write_part(page: Path, name: str, part: str) -> None:
    """Put one benchmark's part into the page, in place of an older one of it."""
    parts = {}
    if page.exists():
        for text in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            heading, _, body = text.partition("\n")
            parts[heading.strip()] = body.strip("\n") + "\n"
    parts[name] = part
    order = sorted(parts, key=lambda key: [*scripts()].index(key) if key in scripts() else len(scripts()))
    page.write_text(HEAD + "\n".join(f"## {key}\n\n{parts[key]}" for key in order), encoding="utf-8")


def main() -> int:
    """Run one pipeline's benchmark in the project's environment; its exit code is ours."""
    known = scripts()
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        parents=[bootstrap.options()],
        usage="bench.py [--cpu | --gpu] [--write] PIPELINE [ARGS for the benchmark]",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"put the result into {PAGE.name}; no PIPELINE: all of them"
    )
    names = [i for i, word in enumerate(sys.argv) if i and word.replace("-", "_") in known]
    end = names[0] + 1 if names else len(sys.argv)
    places = "?" if "--write" in sys.argv[1:end] else None
    parser.add_argument("pipeline", choices=sorted(known), type=lambda text: text.replace("-", "_"), nargs=places)
    bootstrap.run_inside(__file__, parser, ours=sys.argv[1:end])
    settings = parser.parse_args(sys.argv[1:end])
    if not settings.write:
        bootstrap.become([sys.executable, str(known[settings.pipeline]), *sys.argv[end:]])
    failed = []
    for name in [settings.pipeline] if settings.pipeline else known:
        code, part = measured(name, known[name], sys.argv[end:])
        if code:
            failed.append(name)
        else:
            write_part(PAGE, name, part)
    if failed:
        print(f"bench.py: failed and not written: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
