"""What was asked, what was found, and can it be believed? One HTML file that a person opens, readable without a network.

The five pipelines hold this file in equal copies (see ``console.py``); ``tests/test_contract.py`` keeps them equal.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hdf5io

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5d9de; }
.question { color: #57606a; font-size: 1.1rem; margin-top: .2rem; }
.headline { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.headline div { background: #f3f5f7; border-radius: .4rem; padding: .6rem .9rem; }
.headline b { display: block; font-size: 1.25rem; } .headline span { color: #57606a; font-size: .9rem; }
.warnings { background: #fff5d6; border-left: 4px solid #d29922; padding: .4rem 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; display: block; overflow-x: auto; }
th, td { text-align: right; padding: .2rem .7rem; border-bottom: 1px solid #e4e7ea; }
th:first-child, td:first-child { text-align: left; } td { white-space: nowrap; } td.wide { white-space: normal; text-align: left; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #57606a; font-size: .92rem; }
</style></head><body>
<h1>{{ title }}</h1><p class="question">{{ question }}</p>
<div class="headline">{% for label, value in headline.items() %}<div><b>{{ show(value) }}</b><span>{{ label }}</span></div>{% endfor %}</div>
{% if warnings %}<div class="warnings"><ul>{% for w in warnings %}<li>{{ w }}</li>{% endfor %}</ul></div>{% endif %}
{% for s in sections %}<section><h2>{{ s.heading }}</h2>
{% for paragraph in s.text.split("\\n\\n") if paragraph %}<p>{{ paragraph }}</p>{% endfor %}
{% if s.table %}<table><thead><tr>{% for c in columns(s.table) %}<th>{{ c }}</th>{% endfor %}</tr></thead><tbody>
{% for row in s.table %}<tr>{% for c in columns(s.table) %}{% set cell = show(row.get(c, "")) %}
<td{% if cell|length > 48 %} class="wide"{% endif %}>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody></table>{% endif %}
{% for caption, f in s.figures.items() %}<figure><img alt="{{ caption }}" src="data:image/png;base64,{{ png(f) }}">
<figcaption>{{ caption }}</figcaption></figure>{% endfor %}</section>{% endfor %}
<section><h2>Provenance</h2><table><tbody>{% for k, v in provenance.items() %}
<tr><td>{{ k }}</td><td class="wide">{{ v }}</td></tr>{% endfor %}</tbody></table></section>
</body></html>
"""


class Section(NamedTuple):
    """One part of a report: a heading, text (blank lines part paragraphs), a table of rows, figures by caption."""

    heading: str
    text: str = ""
    table: Sequence[Mapping[str, Any]] = ()
    figures: Mapping[str, Figure | Path] = {}


def write_report(
    path: str | Path,
    *,
    title: str,
    question: str,
    headline: Mapping[str, Any],
    sections: Sequence[Section],
    warnings: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a self-contained HTML report atomically and return its path.

    Parameters
    ----------
    path : file to write, by custom ``report.html`` in the run folder.
    title, question : what this is, and which question it answers.
    headline : the numbers a reader wants first, by label.
    sections : see `Section`; figures are matplotlib figures or PNG files, held inline.
    warnings : lines that a reader must see before the numbers.
    provenance : the dict of ``hdf5io.provenance``.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(PAGE).render(
        title=title, question=question, headline=headline, sections=sections, warnings=warnings,
        provenance=provenance or {}, columns=_columns, show=_show, png=_png,
    )  # fmt: skip
    with hdf5io.atomic(path) as part:
        part.write_text(page, encoding="utf-8")
    return Path(path)


def _columns(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all keys of the rows, in order of first appearance."""
    return list(dict.fromkeys(key for row in table for key in row))


def _show(value: Any) -> str:
    """Return a number with four significant digits, anything else as text."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return str(value)
    number = float(value)
    if number != number:
        return "n/a"
    return str(int(number)) if number.is_integer() and abs(number) < 1e9 else f"{number:.4g}"


def _png(figure: Figure | Path) -> str:
    """Return a figure, or a PNG file, as base64 text."""
    if isinstance(figure, Path):
        return base64.b64encode(figure.read_bytes()).decode("ascii")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": ""})
    return base64.b64encode(buffer.getvalue()).decode("ascii")
