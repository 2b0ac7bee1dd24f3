"""Which files of graphs are read, and how are the others converted? GraphML."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Collection
from pathlib import Path

import hdf5io
from hdf5io.errors import InputError

from .tables import is_number

OTHER_GRAPHS = {
    b"*vert": "pajek",
    b"*net": "pajek",
    b"graph [": "gml",
    b"graph\n": "gml",
    b"creator": "gml",
    b"<gexf": "gexf",
}


def refuse_others(path: Path) -> None:
    """Raise InputError for a format of graphs that is not read, with the line that converts it."""
    with open(path, "rb") as handle:
        head = handle.read(512).lstrip(b"\xef\xbb\xbf \n\r\t").lower()
    for start, name in OTHER_GRAPHS.items():
        if head.startswith(start) or (start.startswith(b"<") and start in head):
            raise InputError(
                f"{path}: a graph as {name}, which is not read. Convert it: networkx.write_graphml(networkx.read_{name}('{path.name}'),"
                " 'graph.graphml')."
            )


def from_graphml(path: Path, words: Collection[str]) -> tuple[list[tuple[str, str, float]], list[str]]:
    """Return edges (source, target, weight) and names of the nodes; ``words`` are names of a weight."""
    with hdf5io.parsing(path, "GraphML"):
        text = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise InputError(f"{path}: has a document type definition, which is not read. Write plain GraphML.")
        root = ElementTree.fromstring(text)
    tag = lambda element: element.tag.rpartition("}")[2]  # noqa: E731
    graph = next((e for e in root if tag(e) == "graph"), None)
    if tag(root) != "graphml" or graph is None:
        raise InputError(f"{path}: XML, but no GraphML (no <graph>).")
    keys = {e.get("id"): e.get("attr.name") for e in root if tag(e) == "key" and e.get("for") in ("edge", "all")}
    weights = {key for key, name in keys.items() if str(name).lower() in words}
    if len(weights) > 1:
        raise InputError(
            f"{path}: edges have {', '.join(str(keys[k]) for k in sorted(map(str, weights)))}; keep one of them as weight."
        )
    names = _labels([e for e in root if tag(e) == "key"], [e for e in graph if tag(e) == "node"], tag)
    edges = []
    for element in (e for e in graph if tag(e) == "edge"):
        data = [d.text or "" for d in element if tag(d) == "data" and d.get("key") in weights]
        if data and not is_number(data[0]):
            raise InputError(f"{path}: an edge of weight {data[0]!r}, a number is expected.")
        pre, post = (names.get(str(element.get(end)), str(element.get(end))) for end in ("source", "target"))
        value = float(data[0]) if data else 1.0
        edges.append((pre, post, value))
        if (element.get("directed") or graph.get("edgedefault")) in ("undirected", "false"):
            edges.append((post, pre, value))
    return edges, list(names.values())


def _labels(keys: list, nodes: list, tag) -> dict[str, str]:
    """Return the name of each node of a GraphML file by its id: what it calls name (igraph) or label (Gephi), where all have another."""
    ids = [str(e.get("id")) for e in nodes]
    for wanted in ("name", "label", "v_name"):
        key = {
            e.get("id") for e in keys if str(e.get("attr.name")).lower() == wanted and e.get("for") in ("node", "all")
        }
        found = [next((d.text or "" for d in e if tag(d) == "data" and d.get("key") in key), "") for e in nodes]
        if all(found) and len(set(found)) == len(ids):
            return dict(zip(ids, found))
    return {name: name for name in ids}
