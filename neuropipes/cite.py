"""How is this cited? BibTeX of the software and of the papers behind each pipeline, from ``CITATION.cff``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from . import PIPELINES, OneLine, fail, program_of, version

HERE = Path(__file__).resolve().parents[1]


def run(words: Sequence[str]) -> int:
    """Print BibTeX: the software, then the papers behind the pipelines that are named (all by default)."""
    parser = OneLine(
        prog="neuropipes cite", description="BibTeX of this software and of the papers that a pipeline uses."
    )
    names = [*map(program_of, PIPELINES)]
    parser.add_argument("pipelines", nargs="*", metavar="PIPELINE", help=f"of {', '.join(names)}; default: all")
    wanted = [name.replace("_", "-") for name in parser.parse_args(list(words)).pipelines]
    if unknown := sorted({*wanted} - {*names}):
        return fail(f"cite: no pipeline '{unknown[0]}'; there are {', '.join(names)}.")
    text = citation_file()
    if text is None:
        return fail("cite: CITATION.cff is missing from this installation.")
    head, *references = re.split(r"^  - (?=type:)", text, flags=re.MULTILINE)
    own = {"title": value(head, "title"), "author": "{" + value(head, "name") + "}", "version": version()}
    print(bibtex("software", "neuropipes", {**own, "doi": value(head, "doi"), "url": value(head, "repository-code")}))
    for reference in references:
        used_by, _, what_for = value(reference, "notes").partition(":")
        if not wanted or {*re.findall(r"[\w-]+", used_by.replace("_", "-"))} & {*wanted}:
            print(bibtex_of(reference, f"{used_by}:{what_for}"))
    return 0


def citation_file() -> str | None:
    """Return the text of CITATION.cff, from the checkout or from the installed distribution."""
    places = [HERE / "CITATION.cff"]
    with contextlib.suppress(metadata.PackageNotFoundError):
        files = metadata.files("neuropipes") or []
        places += [Path(str(f.locate())) for f in files if f.name == "CITATION.cff"]
    return next((p.read_text(encoding="utf-8") for p in places if p.is_file()), None)


def value(text: str, key: str) -> str:
    """Return the value of a key of the citation file, without quotes; empty where it is not there."""
    found = re.search(rf"^[ -]*{key}: *(.+)$", text, flags=re.MULTILINE)
    return found[1].strip().strip("\"'") if found else ""


def bibtex_of(reference: str, note: str) -> str:
    """Return the BibTeX entry of one reference of the citation file."""
    people = re.findall(r"family-names: *\"?([^\"\n]+)\"?\n *given-names: *\"?([^\"\n]+)\"?", reference)
    group = re.findall(r"^ +- name: *\"?([^\"\n]+)", reference, flags=re.MULTILINE)
    year, title = value(reference, "year"), value(reference, "title")
    word = next((w for w in re.findall(r"[a-z]+", title.lower()) if len(w) > 3), "")
    key = re.sub(r"\W", "", (people[0][0] if people else group[0] if group else "anonymous").lower()) + year + word
    author = " and ".join([*(f"{family}, {given}" for family, given in people), *(f"{{{name}}}" for name in group)])
    fields = {"title": title, "author": author, "year": year, "note": note}
    fields |= {k: value(reference, k) for k in ("journal", "volume", "doi", "url")}
    kind = {"article": "article", "software": "software", "book": "book"}.get(value(reference, "type"), "misc")
    return bibtex(kind, key, fields)


def bibtex(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """Return one BibTeX entry; empty fields are left out."""
    rows = [f"  {name} = {{{text}}}," for name, text in fields.items() if text]
    return "\n".join([f"@{kind}{{{key},", *rows, "}\n"])
