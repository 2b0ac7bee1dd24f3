"""What does a person open after the demo? ``index.html``: every pipeline's commands, timings, warnings, figures and report."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>neuropipes demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-bottom: 2px solid #1b1f24; } h3 { margin-bottom: .3rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #e4e7ea; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre { font: .86rem/1.45 ui-monospace, monospace; overflow-wrap: anywhere; } pre { white-space: pre-wrap; background: #f3f5f7; padding: .7rem; }
.warning { background: #fff5d6; border-left: 4px solid #d29922; padding: .3rem 1rem; }
.failed { background: #ffebe9; border-left: 4px solid #cf222e; padding: .3rem 1rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem; }
figure { margin: 0; } img { width: 100%; height: auto; } figcaption { color: #57606a; font-size: .88rem; overflow-wrap: anywhere; }
iframe { width: 100%; height: 40rem; border: 1px solid #d5d9de; }
</style></head><body>
<h1>neuropipes demo</h1>
<p>Every recording here was simulated by the pipeline that reads it. Made on {{ made }}.</p>
<table><thead><tr><th>pipeline</th><th>what came out</th><th>seconds</th><th>report</th></tr></thead><tbody>
{% for p in pipelines %}<tr><td><a href="#{{ p.pipeline }}">{{ p.pipeline }}</a></td>
<td>{% if p.failed %}<b>failed</b>{% elif p.steps %}{{ ((p.steps | selectattr("headline") | list) or p.steps)[-1].line }}{% endif %}</td>
<td class="number">{{ "%.1f"|format(p.steps|sum(attribute="seconds")) }}</td>
<td>{% for r in p.reports %}<a href="{{ r }}">{{ r }}</a><br>{% endfor %}</td></tr>{% endfor %}
</tbody></table>
{% for p in pipelines %}<section id="{{ p.pipeline }}"><h2>{{ p.pipeline }}</h2>
{% if p.failed %}<div class="failed"><pre>{{ p.failed }}</pre></div>{% endif %}
{% if p.warnings %}<div class="warning"><ul>{% for w in p.warnings %}<li>{{ w }}</li>{% endfor %}</ul></div>{% endif %}
<table><thead><tr><th>step</th><th>seconds</th><th>result</th></tr></thead><tbody>
{% for s in p.steps %}<tr><td>{{ s.title }}<br><code>{{ s.command }}</code></td><td class="number">{{ "%.1f"|format(s.seconds) }}</td>
<td>{{ s.line }}{% if s.code %} (exit code {{ s.code }}){% endif %}</td></tr>{% endfor %}</tbody></table>
<p>{% if p.real %}With your own recordings: <code>{{ p.real }}</code>. {% endif %}<a href="{{ p.log }}">Log</a></p>
{% if p.figures %}<h3>Figures</h3><div class="figures">{% for name, png in p.figures.items() %}
<figure><img alt="{{ name }}" src="data:image/png;base64,{{ png }}"><figcaption><a href="{{ name }}">{{ name }}</a></figcaption></figure>{% endfor %}</div>{% endif %}
{% if p.further %}<p>{{ p.further }} further figures are in <code>{{ p.pipeline }}/</code>.</p>{% endif %}
{% for r in p.reports %}<h3>Report <a href="{{ r }}">{{ r }}</a></h3>
<details{% if not p.figures %} open{% endif %}><summary>show it here</summary><iframe loading="lazy" src="{{ r }}" title="{{ r }}"></iframe></details>{% endfor %}
</section>{% endfor %}
</body></html>
"""
MOST_FIGURES = 12


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
    import jinja2

    pipelines = [
        describe(path.parent, output) for path in sorted(output.glob("*/demo.json"), key=lambda p: p.stat().st_mtime)
    ]
    page = jinja2.Environment(autoescape=True).from_string(PAGE)
    index = output / "index.html"
    index.write_text(page.render(pipelines=pipelines, made=time.strftime("%Y-%m-%d %H:%M")), encoding="utf-8")
    return index


def describe(folder: Path, output: Path) -> dict[str, Any]:
    """Return one pipeline's record with its reports, figures and warnings, paths relative to the page."""
    record = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    images = sorted(folder.rglob("*.png"))
    record["reports"] = [path.relative_to(output).as_posix() for path in sorted(folder.rglob("*report.html"))]
    record["figures"] = {
        path.relative_to(output).as_posix(): base64.b64encode(path.read_bytes()).decode()
        for path in images[:MOST_FIGURES]
    }
    record["warnings"] = warnings_below(folder)
    record["further"] = max(0, len(images) - MOST_FIGURES)
    return record


def warnings_below(folder: Path) -> list[str]:
    """Return each warning once that a command wrote into its ``result.json``."""
    found: dict[str, None] = {}
    for path in sorted([*folder.rglob("result.json"), *folder.rglob("*.result.json")]):
        try:
            outcome = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            outcome = {"command": path.name, "warnings": ["this file is not readable as JSON"]}
        found.update(dict.fromkeys(f"{outcome.get('command', '')}: {text}" for text in outcome.get("warnings", [])))
    return list(found)
