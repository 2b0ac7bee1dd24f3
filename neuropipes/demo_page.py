"""What does a person open after the demo? ``index.html``, the page that a study has too: every pipeline's results and figures."""

from __future__ import annotations

import importlib
import json
import re
import time
from importlib import util
from pathlib import Path
from typing import Any

from . import PIPELINES

MOST_FIGURES = 6  #: of each pipeline; the rest is in its reports


def write_index(output: Path) -> Path:
    """Write ``index.html`` from what the demos left below ``output``; a pipeline that was not run again keeps its part.

    Parameters
    ----------
    output : Path
        The demo folder; each ``NAME/demo.json`` in it is one pipeline.

    Returns
    -------
    Path
        The page.
    """
    report: Any = importlib.import_module(f"{next(p for p in PIPELINES if util.find_spec(p))}.show.report")
    made = sorted(output.glob("*/demo.json"), key=lambda path: path.stat().st_mtime)
    records = [describe(path.parent, output) for path in made]
    rows = [
        {
            "pipeline": r["pipeline"], "state": "failed" if r["failed"] else "done",
            "seconds": round(sum(step["seconds"] for step in r["steps"]), 1), "what came of it": outcome(r),
            "report": " ".join(r["reports"]),
        }
        for r in records
    ]  # fmt: skip
    sections = [report.Section("Pipelines", "", rows)]
    for r in records:
        table = [
            {"step": s["title"], "seconds": s["seconds"], "result": s["line"], "command": s["command"]}
            for s in r["steps"]
        ]
        text = [f"With your own recordings: {r['real']}" if r["real"] else "", f"Log: {r['log']}", *r["reports"]]
        sections.append(
            report.Section(r["pipeline"], "\n\n".join(filter(None, [r["failed"], *text])), table, r["figures"])
        )
    index = output / "index.html"
    report.write_report(
        index, title="neuropipes: the demonstration", question="What came of the five pipelines? Each simulated its own recording.",
        headline={"pipelines": len(records), "failed": sum(bool(r["failed"]) for r in records)}, sections=sections,
        warnings=[f"{r['pipeline']}: {text}" for r in records for text in r["warnings"]],
        provenance={"made": time.strftime("%Y-%m-%d %H:%M")},
    )  # fmt: skip
    linked = re.sub(
        r"(?<=[>\s])([\w./-]+(?:report\.html|demo\.log))(?=[<\s])", r'<a href="\1">\1</a>', index.read_text("utf-8")
    )
    index.write_text(linked, encoding="utf-8")
    return index


def outcome(record: dict[str, Any]) -> str:
    """Return the line that says most of what a pipeline did."""
    if record["failed"]:
        return record["failed"].splitlines()[-1]
    lines = [step["line"] for step in record["steps"] if step["headline"]] or [step["line"] for step in record["steps"]]
    return lines[-1] if lines else ""


def describe(folder: Path, output: Path) -> dict[str, Any]:
    """Return one pipeline's record with its reports, figures and warnings, paths relative to the page."""
    record = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    images = sorted(folder.rglob("*.png"))
    record["reports"] = [path.relative_to(output).as_posix() for path in sorted(folder.rglob("*report.html"))]
    record["figures"] = {path.relative_to(output).as_posix(): path for path in images[:MOST_FIGURES]}
    record["warnings"] = warnings_below(folder)
    return record


def warnings_below(folder: Path) -> list[str]:
    """Return each warning once that a command wrote into its ``result.json``."""
    found: dict[str, None] = {}
    for path in sorted([*folder.rglob("result.json"), *folder.rglob("*.result.json")]):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            result = {"command": path.name, "warnings": ["this file is not readable as JSON"]}
        found.update(dict.fromkeys(f"{result.get('command', '')}: {text}" for text in result.get("warnings", [])))
    return list(found)
