"""What does a line of an edge list say besides its weight? Whose ids, which sign, which kind of connection, seen from which side."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path

from hdf5io.errors import InputError

from .tables import MISSING, TRUTH, Table, plain_name

log = logging.getLogger("neuro_diffusion")
WHOLE, ROUNDED = re.compile(r"-?\d+(\.0*)?"), re.compile(r"\d(\.\d+)?[eE]\+?\d+")
#: ids that are all round in so many binary digits together were rounded (by chance: one list in 16 000)
CHANCE_BITS = 14
EXCEL = 10**15  #: from here on Excel writes zeros for the last digits
SIGN = {
    **dict.fromkeys(("1", "+1", "1.0", "+", "e", "exc", "excitatory", "excitation", "positive"), 1),
    **dict.fromkeys(("-1", "-1.0", "-", "i", "inh", "inhibitory", "inhibition", "negative"), -1),
}  #: what a column of signs may hold
EXCITES, INHIBITS = ("excitatory", "is_excitatory"), ("inhibitory", "is_inhibitory")  #: columns of true and false
SIGNED = ("sign", "signs", "polarity", "effect", "valence", "ei", "e_i", "exc_inh", "edge_sign", *EXCITES, *INHIBITS)
TRANSMITTER = (
    "nt", "nt_type", "top_nt", "nt_pred", "transmitter", "neurotransmitter", "neurotransmitters", "predicted_nt", "predictednt",
    "consensus_nt", "consensusnt", "celltype_predicted_nt", "conn_nt",
)  # fmt: skip
KINDS = ("type", "edge_type", "connection_type", "syn_type", "synapse_type", "kind")
GAP = {"electrical", "electricalsynapse", "gap", "gapjunction", "gapjunctions", "gj", "ej", "e", "elec"}  #: no synapses
#: lines of WormAtlas and its kin that repeat what others send
RECEIVED = {"r", "rp", "receive", "received", "receives"}
SIDES = ("direction", "prepost", "side", "partner_type", "relation")
SIDE = {
    "in", "out", "input", "output", "inputs", "outputs", "incoming", "outgoing", "pre", "post", "upstream", "downstream", "0", "1",
}  # fmt: skip


def ids_of(path: Path, table: Table, pre: int, post: int) -> list[tuple[str, str]]:
    """Return the ids of both sides of each line; whole numbers that a table of floats holds (``720575.0``) as such.

    Raises
    ------
    InputError : a line without an id; ids that were rounded, and may be those of several neurons: ``7.2e+17``, by floating point,
        or by Excel.
    """
    pairs = [(row[pre], row[post]) for row in table.rows if len(row) > max(pre, post)]
    for line, pair in enumerate(pairs, table.first_line):
        for cell in pair:
            if cell.lower() in MISSING:
                raise InputError(f"{path}: line {line} names no neuron on one side. Leave such lines out.")
            if ROUNDED.fullmatch(cell):
                raise InputError(f"{path}: line {line}: id {cell} is rounded. Write ids in full, as whole numbers.")
    if not all(WHOLE.fullmatch(cell) for pair in pairs for cell in pair):
        return pairs
    whole = [(pre.partition(".")[0], post.partition(".")[0]) for pre, post in pairs]
    _refuse_rounded(path, sorted({cell for pair in whole for cell in pair}))
    return whole


def _refuse_rounded(path: Path, ids: Sequence[str]) -> None:
    """Raise InputError where all large ids are numbers that floating point, or Excel, can hold: others were rounded to them."""
    large = [n for n in map(int, ids) if n >= EXCEL]
    spacings = [math.ulp(float(n)) for n in large]
    by_float = sum(math.log2(s) for s in spacings if s > 1) if all(n == int(float(n)) for n in large) else 0.0
    by_excel = sum(math.log2(1000.0) for _ in large) if all(n % 1000 == 0 for n in large) else 0.0
    if max(by_float, by_excel) > CHANCE_BITS:
        who = "Excel keeps 15 digits" if by_excel > CHANCE_BITS else "floating point keeps 53 bits"
        raise InputError(
            f"{path}: all ids such as {large[0]} are rounded ({who}), and may be those of several neurons. Write ids as whole numbers or"
            " text where the table is made."
        )


def refuse_kinds(path: Path, table: Table, header: Sequence[str]) -> None:
    """Raise InputError where lines of several kinds stand together: gap junctions among synapses, or each synapse from both sides."""
    for i, name in enumerate(header):
        found = {row[i].lower() for row in table.rows if len(row) > i} if name in (*KINDS, *SIDES) else set()
        shown = ", ".join(sorted(found)[:6])
        gaps = {kind for kind in found if re.sub(r"[\W_]+", "", kind) in GAP}
        if name in KINDS and gaps and found - gaps and not found <= {*SIGN}:
            raise InputError(
                f"{path}: column '{name}' has {shown}: gap junctions have no direction. Keep one kind of lines."
            )
        if (name in KINDS and found & RECEIVED) or (name in SIDES and len(found) > 1 and found <= SIDE):
            raise InputError(
                f"{path}: column '{name}' has {shown}: lines seen from either side, whose source and target change places. Keep those that"
                " name the source first, each connection once."
            )


def refuse_ragged(path: Path, table: Table) -> None:
    """Raise InputError where lines have other numbers of cells than the first, as lists of neighbours have: a neuron and all its targets."""
    first = _cells(table.header or table.rows[0])
    for line, row in enumerate(table.rows, table.first_line):
        found = _cells(row)
        if found > first or (table.header is None and found != first):
            there, before = (f"{n} cells{' and data in braces' if data else ''}" for n, data in (found, first))
            raise InputError(
                f"{path}: line {line} has {there}, the first has {before}. One line an edge is expected; of a list of"
                " neighbours write: networkx.write_weighted_edgelist(graph, 'edges.txt')."
            )


def _cells(row: Sequence[str]) -> tuple[int, bool]:
    """Return how many cells stand in a line, and whether what networkx writes of an edge's data, ``{'weight': 3.0}``, follows them."""
    return next(((i, True) for i, cell in enumerate(row) if cell.startswith("{")), (len(row), False))


def signs_of(path: Path, table: Table, header: Sequence[str], used: Sequence[int | None]) -> list[int] | None:
    """Return the sign of each line's weight, as a column of signs, of kinds (excitatory, inhibitory) or of truth says; None: none says.

    Raises
    ------
    InputError : two such columns, or something else in one.
    """
    able = {i: name for i, name in enumerate(header) if i not in used}
    columns = [i for i, name in able.items() if name in SIGNED]
    columns = columns or [i for i, name in able.items() if name in KINDS and _of_signs(table, i)]
    if len(columns) > 1:
        raise InputError(
            f"{path}: columns {', '.join(header[i] for i in columns)} could all be the sign. Keep one of them."
        )
    if not columns:
        _warn_of_transmitters(path, table, able)
        return None
    column, signs = columns[0], list[int]()
    turn = -1 if header[column] in INHIBITS else 1
    of_truth = {"1": turn, "1.0": turn, "0": -turn, "0.0": -turn} if header[column] in (*EXCITES, *INHIBITS) else {}
    for line, row in enumerate(table.rows, table.first_line):
        cell = row[column].lower() if len(row) > column else ""
        told = of_truth.get(TRUTH.get(cell, cell)) if of_truth else SIGN.get(cell)
        if told is None:
            expected = "true or false" if of_truth else "1 or -1, exc or inh"
            raise InputError(f"{path}: line {line}: {header[column]} {cell!r}, expected {expected}.")
        signs.append(told)
    return signs


def _of_signs(table: Table, column: int) -> bool:
    """Return whether a column of kinds says of each line that it excites or inhibits."""
    cells = {row[column].lower() for row in table.rows if len(row) > column}
    return (
        cells <= {*SIGN} and any(SIGN[c] < 0 for c in cells) and not any(c.strip("+-.0123456789") == "" for c in cells)
    )


def _warn_of_transmitters(path: Path, table: Table, able: dict[int, str]) -> None:
    """Say that a transmitter is no sign: glutamate excites in mammals and inhibits in flies."""
    for i, name in able.items():
        if name in TRANSMITTER:
            shown = ", ".join(sorted({row[i] for row in table.rows if len(row) > i and row[i]})[:6])
            log.warning(
                "%s: column '%s' (%s) names transmitters, which excite in one animal and inhibit in another: the weights stay without sign."
                " Add a column 'sign' of 1 and -1 if you know them.", path, name, shown,
            )  # fmt: skip


def plain_header(table: Table) -> list[str]:
    """Return the names of a table's columns without unit, case and signs."""
    return [plain_name(name) for name in table.header or ()]
