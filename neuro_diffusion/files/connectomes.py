"""What is in the file of an anatomical connectome? A square matrix, row = postsynaptic, and the names of its neurons."""

from __future__ import annotations

import ast
import functools
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .axes import TIME
from .containers import format_of, load, refuse_name
from .edge_columns import SIGNED, ids_of, plain_header, refuse_kinds, refuse_ragged, signs_of
from .graphs import from_graphml, refuse_others
from .tables import TRUTH, Table, is_count, is_number, number, plain_name, read_table

log = logging.getLogger("neuro_diffusion")
PRE = (
    "pre", "source", "from", "presynaptic", "src", "sender", "pre_id", "pre_pt_root_id", "pre_root_id", "bodyid_pre",
    "i_pre", "origin", "presyn", "preid", "sourceid", "upstream",
)  # fmt: skip
POST = (
    "post", "target", "to", "postsynaptic", "dst", "receiver", "post_id", "post_pt_root_id", "post_root_id",
    "bodyid_post", "postsyn", "postid", "targetid", "downstream",
)  # fmt: skip
WEIGHT = (
    "weight", "weights", "w", "count", "counts", "synapses", "n_synapses", "syn_count", "strength", "size", "value",
    "nbr", "number", "n", "contacts", "n_syn", "nsyn", "num_synapses", "synapse_count", "number_of_connections", "fln", "flne",
)  # fmt: skip
INDEX = ("", "index", "unnamed_0", "id", "edge", "edge_id")
MARKET = b"%%MatrixMarket"  #: first bytes of a sparse matrix as text, whose first number is the row
SUMS = ("sum", "total", "totals", "all", "margin", "mean")
UNDIRECTED = ("undirected", "false")  #: in a column "type" or "directed" of a line that stands for both directions


class Connectome(NamedTuple):
    """Who projects to whom."""

    matrix: np.ndarray  #: (M, M) float64, row = postsynaptic (target), column = presynaptic (source)
    names: tuple[str, ...]  #: (M) of the neurons


def read_connectome(path: Path, dataset: str | None = None, rows: str | None = None) -> np.ndarray:
    """Return the matrix of `load_connectome`."""
    return load_connectome(path, dataset, rows).matrix


@functools.lru_cache(maxsize=4)
def load_connectome(path: Path, dataset: str | None = None, rows: str | None = None) -> Connectome:
    """Return a connectome.

    Read are: an edge list (columns found by their names in any order, or source, target and perhaps weight; any separator), a
    square table with or without names, GraphML, NumPy, MATLAB 5 and 7.3 and HDF5 matrices (one, or the one named ``dataset``).

    Parameters
    ----------
    rows : "post" or "pre": what a row of a matrix is; None: what the file says, else post (row = target).

    Raises
    ------
    InputError : missing or unreadable file, a matrix that is not square, numbers that are not finite, no connection at all.
    """
    path = Path(path)
    kind, told = format_of(path), None
    refuse_others(path)
    if kind == "text":
        refuse_name(path, dataset)
    if kind != "text":
        found = load(path, kind, dataset, lambda s: len(s) == 2 and s[0] == s[1] > 1, (), "square matrix")
        matrix, names = found.values, tuple[str, ...]()
        rows = rows or (role_of(found.axes[0]) if found.axes else None)
    elif _starts(path, MARKET):
        from scipy.io import mmread

        with hdf5io.parsing(path, "a Matrix Market file"):
            read = mmread(path)
            matrix, names = np.asarray(read.toarray() if hasattr(read, "toarray") else read), ()
    elif _starts(path, b"<"):
        matrix, names, told = *from_edges(*from_graphml(path, WEIGHT)), "edges"
        _refuse_rows(path, rows)
    else:
        matrix, names, told = _from_text(path)
        if told == "edges":
            _refuse_rows(path, rows)
        else:
            rows = rows or told
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise InputError(f"{path}: the matrix has shape {matrix.shape}, expected a square one.")
    if rows is None and told != "edges":
        log.info("%s: a row is taken for a target (postsynaptic); --rows pre if it is a source.", path)
    matrix = np.array(matrix.T if rows == "pre" else matrix, float)
    np.fill_diagonal(matrix, 0.0)
    if not np.isfinite(matrix).all():
        bad = int((~np.isfinite(matrix)).sum())
        raise InputError(f"{path}: {bad} entries are not finite numbers. Write 0 for 'no connection'.")
    if not matrix.any():
        raise InputError(f"{path}: no connection in the matrix.")
    _warn_without_cycle(path, matrix)
    matrix.setflags(write=False)
    return Connectome(matrix, tuple(names) or tuple(map(str, range(len(matrix)))))


def _warn_without_cycle(path: Path, matrix: np.ndarray) -> None:
    """Say that no neuron hears itself along any path, as where the edges of an undirected network are listed once."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    if len(matrix) > 2 and connected_components(csr_array(matrix), connection="strong")[0] == len(matrix):
        log.warning(
            "%s: no path leads back to where it starts, so nothing in it is recurrent. Of an undirected network give each edge in both"
            " directions.", path,
        )  # fmt: skip


def _refuse_rows(path: Path, rows: str | None) -> None:
    """Raise InputError where it is said what a row of an edge list is."""
    if rows is not None:
        raise InputError(
            f"--rows {rows}: without effect, {path} is a list of edges, whose columns say which side is which."
        )


def from_edges(
    edges: Sequence[tuple[str, str, float]], nodes: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return matrix and names of edges (source, target, weight); the weights of equal edges add up."""
    seen = {name for pre, post, _ in edges for name in (pre, post)} - set(nodes)
    names = [*nodes, *sorted(seen, key=lambda s: (not s.isdigit(), len(s) if s.isdigit() else 0, s))]
    place = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)))
    for pre, post, weight in edges:
        matrix[place[post], place[pre]] += weight
    return matrix, tuple(names)


def _from_text(path: Path) -> tuple[np.ndarray, tuple[str, ...], str | None]:
    """Return matrix, names and "edges", or what a row of a square table is where the table says it."""
    table = read_table(path)
    if (
        table.header is None
        and len(table.rows) > 1
        and {role_of(name) for name in table.rows[0][:2]} == {"pre", "post"}
    ):
        table = table._replace(header=table.rows[0], rows=table.rows[1:], first_line=table.first_line + 1)
    corner = _corner(table)
    if corner is not None:
        return *_square(path, table), corner
    if table.header is not None:
        columns = _named_columns(path, table)
        if columns is not None:
            return *_edges(path, table, *columns), "edges"
    elif len(table.rows) != len(table.rows[0]):
        if (
            len(table.rows[0]) == 3
            and len(table.rows) > 1
            and not is_number(table.rows[0][2])
            and "{" not in table.rows[0][2]
        ):
            table = table._replace(header=table.rows[0], rows=table.rows[1:], first_line=table.first_line + 1)
        columns = _placed_columns(table)
        if columns is not None:
            return *_edges(path, table, *columns), "edges"
    elif _may_be_edges(table):
        raise InputError(
            f"{path}: {len(table.rows)} lines of {len(table.rows)} numbers can be a matrix or edges. Write a header (pre,post,weight, or"
            " names of neurons)."
        )
    return *_square(path, table), None


def _corner(table: Table) -> str | None:
    """Return what a row of a square table with names is, as its corner cell says it: ``pre``, or ``from/to``."""
    if table.header is None or len(table.header) != len(table.rows) + 1 or len(table.header) < 3:
        return None
    if not {row[0] for row in table.rows} & set(table.header[1:]):
        return None
    return role_of(re.sub(r"[\W_]+", "_", table.header[0].strip()))


def role_of(name: str) -> str | None:
    """Return whether a name is that of the presynaptic or the postsynaptic side: by its first or its last word."""
    parts = name.lower().strip("_").split("_")
    return next(
        (role for word in (parts[0], parts[-1]) for role, all_ in (("pre", PRE), ("post", POST)) if word in all_), None
    )


def _may_be_edges(table: Table) -> bool:
    """Return whether as many lines as columns could also be edges: whole numbers in front, and a matrix with a diagonal."""
    ids = [cell for row in table.rows for cell in row[:2]]
    diagonal = [row[i] for i, row in enumerate(table.rows)]
    return len(table.rows) in (2, 3, 4) and all(c.isdigit() for c in ids) and any(number(c) != 0 for c in diagonal)


def _named_columns(path: Path, table: Table) -> tuple[int, int, int | None] | None:
    """Return the places of source, target and weight by the names in the header; None where it names neither."""
    header = [plain_name(name) for name in table.header or ()]
    found = {}
    for role, words in (("pre", PRE), ("post", POST), ("weight", WEIGHT)):
        fit = [i for i, name in enumerate(header) if name in words] or (
            [i for i, name in enumerate(header) if role_of(name) == role]
        )
        if len(fit) > 1:
            raise InputError(
                f"{path}: columns {', '.join(header[i] for i in fit)} could all be '{role}'. Keep one of them."
            )
        found[role] = fit[0] if fit else None
    pre, post, weight = found["pre"], found["post"], found["weight"]
    if pre is None or post is None:
        if pre is not None or post is not None or (weight is not None and len(header) <= 4):
            raise InputError(
                f"{path}: columns {', '.join(header)}; an edge list needs 'pre' and 'post' (or 'source', 'target')."
            )
        return None
    if weight is None:
        others = [
            i
            for i, n in enumerate(header)
            if i not in (pre, post) and n not in (*INDEX, *SIGNED) and _numeric(table, i)
        ]
        if others:
            raise InputError(
                f"{path}: which of {', '.join(header[i] for i in others)} is the weight? Name that column 'weight', or leave the columns"
                " out if every line counts for one."
            )
    return pre, post, weight


def _placed_columns(table: Table) -> tuple[int, int, int | None] | None:
    """Return the places of source, target and weight in a table without header."""
    width = len(table.rows[0])
    if "{" in table.rows[0][-1] or (width > 2 and "{" in " ".join(table.rows[0])):
        return 0, 1, 2
    if width == 4 and is_count([row[0] for row in table.rows]):
        return 1, 2, 3
    return {2: (0, 1, None), 3: (0, 1, 2)}.get(width)


def _numeric(table: Table, column: int) -> bool:
    return all(column < len(row) and is_number(row[column]) for row in table.rows)


def _edges(path: Path, table: Table, pre: int, post: int, weight: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    header = plain_header(table)
    signs = signs_of(path, table, header, (pre, post, weight))
    both = next((i for i, name in enumerate(header) if name in ("type", "directed")), None)
    refuse_kinds(path, table, header)
    refuse_ragged(path, table)
    ids, edges = iter(ids_of(path, table, pre, post)), list[tuple[str, str, float]]()
    if header and weight is not None:
        log.info("%s: column '%s' is the weight; equal edges are added up.", path, header[weight])
    for line, row in enumerate(table.rows, table.first_line):
        value = _weight(row[weight:]) if weight is not None and len(row) > weight else None
        if len(row) <= max(pre, post) or (weight is not None and value is None):
            raise InputError(f"{path}: line {line} is {','.join(row)!r}, expected source,target,weight.")
        value = 1.0 if value is None else value
        if signs is not None:
            value = abs(value) * signs[line - table.first_line]
        source, target = next(ids)
        edges.append((source, target, value))
        if both is not None and row[both].lower() in UNDIRECTED:
            edges.append((target, source, value))
    return from_edges(edges)


def _weight(cells: list[str]) -> float | None:
    """Return the weight in a cell, or in what networkx writes of an edge's data: ``{'weight': 3.0}``."""
    if cells[0].startswith("{"):
        try:
            data = ast.literal_eval(" ".join(cells))
            return float(data.get("weight", 1.0))
        except (ValueError, SyntaxError, TypeError, AttributeError, RecursionError, MemoryError):
            return None
    cell = TRUTH.get(cells[0].lower(), cells[0])
    return number(cell) if is_number(cell) else None


def _square(path: Path, table: Table) -> tuple[np.ndarray, tuple[str, ...]]:
    header, rows = table.header, [[TRUTH.get(cell.lower(), cell) for cell in row] for row in table.rows]
    width = len(rows[0])
    named = width == len(rows) + 1 or (width > 1 and not is_number(rows[0][0]))
    names: list[str] = [row[0] for row in rows] if named else []
    if named:
        rows = [row[1:] for row in rows]
    if header is not None:
        header = header[len(header) - len(rows[0]) :]
        if clocks := [name for name in header if plain_name(name) in {*TIME} - {"t"}]:
            raise InputError(f"{path}: column '{clocks[0]}' counts time: no matrix of weights between neurons.")
    if names and header and names != header and len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"{path}: several rows are named {twice}, and the columns are named otherwise. Give each neuron one name."
        )
    if names and header and set(names) == set(header) and names != header:
        order = [header.index(name) for name in names]  # columns of another order than the rows: joined by name
        rows, header = [[row[i] for i in order] for row in rows], names
    try:
        matrix = np.array([[number(cell) for cell in row] for row in rows])
    except ValueError:
        raise InputError(
            f"{path}: neither an edge list (source,target,weight) nor a square matrix of numbers."
        ) from None
    if names and names[-1].lower() in SUMS:
        raise InputError(f"{path}: the last row is '{names[-1]}', no neuron. Leave sums out, row and column.")
    if names and header and names != header:
        odd = [*sorted({*names} ^ {*header}), names[0]][0]
        raise InputError(
            f"{path}: {len(names)} rows are named {names[0]}, ..., {len(header)} columns {header[0]}, ...; expected the same neurons in both,"
            f" '{odd}' is not."
        )
    return matrix, tuple(header or names) if len(header or names) == len(matrix) else ()


def _starts(path: Path, with_what: bytes) -> bool:
    with open(path, "rb") as handle:
        return handle.read(512).lstrip(b"\xef\xbb\xbf \n\r\t").startswith(with_what)
