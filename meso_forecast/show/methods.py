"""What was done here, in words for a paper? A text with this run's numbers, the versions that computed, and references to cite.

A verb that has a template ``show/prose/<verb>.md`` gets ``methods.md`` and ``references.bib`` beside its record. A template holds
prose; every number in it comes from the record (``options``, ``results``), so that the text and ``result.json`` agree. ``[@key]``
cites an entry of ``show/references.bib``. The five pipelines hold this file in equal copies (see ``console.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hdf5io

TEMPLATES = Path(__file__).with_name("prose")
REFERENCES = Path(__file__).with_name("references.bib")
CITED = re.compile(r"\[@([\w-]+(?:; @[\w-]+)*)\]")
CLOSING = """
Computed with neuropipes {{ version }} ({% for name, number in versions.items() %}{{ name }} {{ number }}{{ ", " if not loop.last }}{% endfor %})\
{% if seed is not none %}, random seed {{ seed }}{% endif %}.\
{% for name, digest in inputs.items() %} Input: {{ name }} (SHA-256 {{ digest[:16] }}).{% endfor %} Command: `{{ typed }}`.
"""


def write_methods(record: Mapping[str, Any], record_path: Path) -> list[Path]:
    """Write ``methods.md`` and ``references.bib`` beside a record and return their paths.

    Parameters
    ----------
    record : what ``result.json`` holds: command, version, seed, results, options, provenance, warnings.
    record_path : where it lies; ``NAME.result.json`` gives ``NAME.methods.md``.
    """
    text, cited = render((TEMPLATES / f"{record['command']}.md").read_text(encoding="utf-8"), record)
    stem = record_path.name.removesuffix("result.json")
    paths = [record_path.with_name(stem + name) for name in ("methods.md", "references.bib")]
    for path, content in zip(paths, (text, "\n\n".join(cited.values()) + "\n")):
        with hdf5io.atomic(path) as part:
            part.write_text(content, encoding="utf-8")
    return paths


def render(template: str, record: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the text of a run and the BibTeX entries that it cites, by key."""
    import jinja2

    class Unknown(jinja2.ChainableUndefined):
        """What a record does not hold is said to be missing, in place of a blank."""

        def __str__(self) -> str:
            return "(not recorded)"

    environment = jinja2.Environment(undefined=Unknown, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["n"] = number
    made = record["provenance"]
    options, versions, inputs = (json.loads(made[key]) for key in ("config", "versions", "inputs"))
    text = environment.from_string(template.rstrip() + "\n" + CLOSING).render(
        options={**options, **record["options"]}, results=record["results"], warnings=record["warnings"], seed=record["seed"],
        version=record["version"], versions={k: v for k, v in versions.items() if k != "neuropipes"}, typed=made["command"],
        inputs={Path(path).name: digest for path, digest in inputs.items()},
    )  # fmt: skip
    library, cited = entries(REFERENCES.read_text(encoding="utf-8")), {}

    def cite(match: re.Match[str]) -> str:
        keys = re.findall(r"@([\w-]+)", f"@{match[1]}")
        cited.update({key: library[key] for key in keys})
        return "(" + "; ".join(f"{surnames(library[key])}, {field(library[key], 'year')}" for key in keys) + ")"

    body = re.sub(r"\n{3,}", "\n\n", CITED.sub(cite, text)).strip()
    listed = [f"- {reference(entry)}" for _, entry in sorted(cited.items())]
    return "\n".join(["# Methods", "", body, *(["", "## References", "", *listed] if listed else []), ""]), cited


def number(value: Any, digits: int = 3) -> str:
    """Return a number with so many significant digits; what is missing as "n/a", anything else as text."""
    if value is None:
        return "n/a"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.{digits}g}"


def entries(text: str) -> dict[str, str]:
    """Return the entries of a BibTeX file by key; each ends with a brace at the beginning of a line."""
    return {m[1]: m[0].strip() for m in re.finditer(r"^@\w+\{([\w-]+),.*?^\}", text, re.MULTILINE | re.DOTALL)}


def field(entry: str, name: str) -> str:
    """Return one field of a BibTeX entry, or nothing."""
    found = re.search(rf"^\s*{name}\s*=\s*\{{(.*)\}},?\s*$", entry, re.MULTILINE)
    return found[1].replace("{", "").replace("}", "") if found else ""


def surnames(entry: str) -> str:
    """Return the authors as a text cites them: one, two, or the first and others."""
    names = [name.partition(",")[0].strip() for name in field(entry, "author").split(" and ")]
    if len(names) > 2 or names[-1] == "others":
        return f"{names[0]} et al."
    return " and ".join(names)


def reference(entry: str) -> str:
    """Return an entry as a line of a list of references."""
    authors = field(entry, "author").replace(" and others", " et al.").replace(" and ", "; ")
    title, doi = field(entry, "title"), field(entry, "doi")
    where = ", ".join(filter(None, (field(entry, key) for key in ("journal", "booktitle", "volume", "pages"))))
    parts = [
        f"{authors} ({field(entry, 'year')}).",
        title if title.endswith("?") else f"{title}.",
        where and f"{where}.",
    ]
    return " ".join([*filter(None, parts), *([f"doi:{doi}"] if doi else [])])
