"""What was asked, what was found, and can it be believed? One HTML file that a person opens, readable without a network.

The five pipelines hold this file and its template ``report.html`` in equal copies (see ``console.py``).
"""

from __future__ import annotations

import base64
import io
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hdf5io

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 9  #: columns from which a table needs more room than a page gives
FILE = re.compile(r"[\w./ -]+\.(html|png|svg|pdf|csv|h5|log|md|json)")
TEMPLATE = Path(__file__).with_name("report.html")


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
    verdict: str = "",
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
    verdict : the answer in one sentence, against the best baseline, with its interval.
    warnings : lines that a reader must see before the numbers.
    provenance : the dict of ``hdf5io.provenance``.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title, question=question, headline=headline, verdict=verdict, warnings=warnings, provenance=provenance or {},
        sections=[s._replace(table=_upright(s.table)) for s in sections], columns=_columns, show=_show, png=_png, is_wide=_is_wide,
        is_file=lambda cell: FILE.fullmatch(cell) is not None and (Path(path).parent / cell).is_file(),
    )  # fmt: skip
    with hdf5io.atomic(path) as part:
        part.write_text(page, encoding="utf-8")
    return Path(path)


def _columns(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all keys of the rows, in order of first appearance."""
    return list(dict.fromkeys(key for row in table for key in row))


def _upright(table: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return a table of few rows and many columns with a row for each column; others as they are."""
    names = _columns(table)
    if len(names) <= WIDE or len(table) >= len(names):
        return table
    heads = [_show(row.get(names[0], "")) for row in table]
    unique = heads if len(set(heads)) == len(heads) else [f"{head} ({i})" for i, head in enumerate(heads, 1)]
    return [{names[0]: name, **{h: row.get(name, "") for h, row in zip(unique, table)}} for name in names[1:]]


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
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight", metadata={"Software": ""})
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _is_wide(png: str) -> bool:
    """Return whether a picture is too wide for a phone to show whole: more than twice as wide as high."""
    width, height = struct.unpack(">II", base64.b64decode(png[:32])[16:24])
    return width > 2 * height
