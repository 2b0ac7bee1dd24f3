"""What did the curator call each unit, according to a file of labels?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hdf5io.errors import InputError

from ..units.assemble import Recording, cluster_text, id_text, off_by_one
from ..units.labels import LABEL_COLUMNS, MEANING, meaning, spelled_out, tidy
from ..units.metrics import ID_COLUMNS, id_column, other_ids
from . import alf, curation, nwb
from .clusters import SI_IDS, si_unit_ids
from .tables import PARQUET, read_parquet
from .text import Form, TextTable, is_blank, read_cells

KSLABEL = "cluster_KSLabel.tsv"
#: From this share of equal labels on they are taken for Kilosort's own: no curator agrees with it so often.
KILOSORT_SHARE = 0.95


class LabelFile(NamedTuple):
    """Labels by unit id (or by recording and unit id), and units that must not be learned from."""

    labels: dict[str, object]
    left_out: dict[str, str]  #: unit id -> why
    recordings: list[str] | None  #: recording of each label, where the file says so
    column: str  #: name of the labels' column


def read_label_file(
    path: Path, category: str | None = None, group_by: str = "file", wanted: str | None = None
) -> LabelFile:
    """Return the labels of a Phy group file, a table with an id and a label column, or a curation JSON.

    Parameters
    ----------
    category : of a curation JSON.
    group_by : column that tells apart recordings.
    wanted : column of a table that holds the labels; None: the one with a usual name.

    Raises
    ------
    InputError : no such form; an id that occurs twice; Kilosort's own labels.
    """
    if path.suffix.lower() == ".json":
        if wanted is not None:
            raise InputError(f"{path}: a curation JSON has no columns; leave --label-column away (--label-category?).")
        found = curation.read(path, category)
        return LabelFile(dict(found.labels), dict(found.left_out), None, found.category)
    table = text_cells(path)
    header, body = split_header(table, path)
    id_at = id_place(table.rows[0] if body is not table.rows else header, body, path)
    skipped = {
        id_at,
        *(header.index(n) for n in ID_COLUMNS if n in header),
        *([header.index(group_by.lower())] if group_by.lower() in header else []),
    }
    column = label_column(header, body, skipped, path, wanted)
    rows = [row for row in body if row[id_at] or row[column]]
    blank = [row for row in rows if not row[id_at]]
    if blank:
        raise InputError(f"{path}: {len(blank)} labels without an id, the first is '{blank[0][column]}'.")
    groups = [row[header.index(group_by.lower())] for row in rows] if group_by.lower() in header else None
    ids = [id_text(row[id_at]) for row in rows]
    keys = ids if groups is None else [f"{g}\t{i}" for g, i in zip(groups, ids)]
    repeated = [i for i, n in Counter(keys).items() if n > 1]
    if repeated:
        raise InputError(
            f"{path}: unit id {repeated[0].replace(chr(9), ' ')} occurs more than once in it ({len(repeated)} such ids)."
        )
    name = header[column]
    if name == "kslabel" and wanted is None:
        raise InputError(
            f"{path}: its column '{name}' holds Kilosort's own labels, not a curator's. Give the file that Phy wrote, cluster_group.tsv."
        )
    if alf.share_of_criteria(table.rows[0], name):
        alf.criteria_as_labels([], path, False)
    labels = spelled_out([row[column] for row in rows], name)
    return LabelFile(dict(zip(keys, labels)), {}, groups, name)


def split_header(table: TextTable, path: Path) -> tuple[list[str], list[list[str]]]:
    """Return column names in lower case, and the rows below; a file whose first line is already a label gets Phy's names."""
    first = [cell.lower() for cell in table.rows[0]]
    if len(first) < 2:
        raise InputError(
            f"{path}: one column only ('{first[0][:40]}'); expected cluster_id and group, parted by a tab, comma or semicolon."
        )
    is_label = id_text(first[0]).lstrip("-").isdigit() and any(tidy(cell) in MEANING and cell for cell in first[1:])
    if is_label:
        return ["cluster_id", "group", *(f"column {i + 3}" for i in range(len(first) - 2))], table.rows
    if len(table.rows) < 2:
        raise InputError(f"{path}: no labels, only a header line.")
    return first, table.rows[1:]


def text_cells(path: Path) -> TextTable:
    """Return the cells of a table of text or parquet, or of an NWB file's units."""
    if nwb.is_hdf5(path):
        whole = nwb.read(path)
    elif path.suffix.lower() in PARQUET:
        whole = read_parquet(path)
    else:
        return read_cells(path)
    cells = whole.astype(object).where(whole.notna(), "").astype(str).to_numpy().tolist()
    return TextTable(Form("utf-8", b"", "\n", ","), [list(map(str, whole.columns)), *cells])


def id_place(names: list[str], body: list[list[str]], path: Path) -> int:
    """Return which column holds the unit ids.

    Raises
    ------
    InputError : none, or a first column without a name beside one that could be it.
    """
    name = id_column(names)
    if name is not None:
        return names.index(name)
    if names[0] not in ("", "Unnamed: 0"):
        raise InputError(f"{path}: no column {', '.join(ID_COLUMNS)}; its first line is '{' | '.join(names[:4])}'.")
    other = other_ids({n: [row[i] for row in body] for i, n in enumerate(names) if i})
    if other is not None:
        raise InputError(
            f"{path}: the ids could be its first column, which has no name, or '{other}'. Call the one that holds them 'unit_id'."
        )
    return 0


def label_column(
    header: Sequence[str], body: Sequence[Sequence[str]], skipped: set[int], path: Path, wanted: str | None = None
) -> int:
    """Return which column holds the labels.

    Raises
    ------
    InputError : no column of that name; several could be it, and none has a usual name, or those that have disagree.
    """
    rest = [i for i in range(len(header)) if i not in skipped and header[i]]
    if wanted is not None:
        if wanted.strip().lower() not in header:
            raise InputError(f"{path}: no column '{wanted}' (--label-column); it has {', '.join(header)}.")
        return header.index(wanted.strip().lower())
    usual = [name.lower() for name in LABEL_COLUMNS]
    named = sorted((i for i in rest if header[i] in usual), key=lambda i: usual.index(header[i]))
    if not named and len(rest) != 1:
        raise InputError(
            f"{path}: which column holds the labels? Expected cluster_id and group, found {', '.join(header)}. Name it with --label-column."
        )
    said = {i: [meaning(v) for v in spelled_out([row[i] for row in body], header[i])] for i in named}
    for other in [i for i in named[1:] if header[i] != "kslabel"]:
        n = sum(not agree(a, b) for a, b in zip(said[named[0]], said[other]))
        if n:
            raise InputError(
                f"{path}: '{header[named[0]]}' and '{header[other]}' could be the labels and differ for {n} units. Name one with --label-column."
            )
    return named[0] if named else rest[0]


def agree(first: str, second: str) -> bool:
    """Return whether two labels of a unit can both be right; "neural" is good or mua.

    >>> agree("good", "neural"), agree("noise", ""), agree("good", "mua")
    (True, True, False)
    """
    neural = {"good", "mua", "neural"}
    return first == second or not (first and second) or ("neural" in (first, second) and {first, second} <= neural)


def kilosort_labels(folder: Path) -> dict[str, object]:
    """Return Kilosort's own labels of a folder; empty where it has none."""
    path = folder / KSLABEL
    if not path.is_file() or is_blank(path):
        return {}
    table = read_cells(path)
    header, body = split_header(table, path)
    at = id_place(table.rows[0] if body is not table.rows else header, body, path)
    value = header.index("kslabel") if "kslabel" in header else 1
    return {cluster_text(row[at]): row[value] for row in body if row[at]}


def without_kilosorts(labels: Mapping[str, object], folder: Path, where: Path) -> tuple[dict[str, object], list[str]]:
    """Return a person's labels among those of a group file, and a notice where Kilosort's own were found.

    Kilosort 2.5 and Phy write Kilosort's labels as groups. Where nearly all groups equal them, the equal ones are not a person's.
    """
    own = kilosort_labels(folder)
    shared = {i: g for i, g in labels.items() if cluster_text(i) in own and tidy(g)}
    equal = {i for i, g in shared.items() if tidy(g) == tidy(own[cluster_text(i)])}
    if not shared or len(equal) < KILOSORT_SHARE * len(shared):
        return dict(labels), []
    n = len(equal)
    note = f"{where}: {n} of {len(shared)} labels equal Kilosort's own ({KSLABEL}): not curated by a person, left out"
    return {i: g for i, g in labels.items() if i not in equal}, [note]


def labels_for(
    recording: Recording, path: Path, category: str | None, group_by: str, wanted: str | None = None
) -> tuple[LabelFile, list[str]]:
    """Return a label file's labels under the ids of a recording, and notices.

    A group file beside ``cluster_si_unit_ids.tsv`` speaks of Phy's clusters; an analyzer or a table of its metrics speaks of
    SpikeInterface's units. Which is which cannot be told from the ids: Phy's are 0 to n - 1, in another order.
    """
    found, notices = read_label_file(path, category, group_by, wanted), list[str]()
    if path.suffix.lower() == ".json" or found.recordings is not None:
        return found, notices
    labels, notices = without_kilosorts(found.labels, path.parent, path)
    units = si_unit_ids(path.parent)
    if units and recording.id_of != "cluster":
        mapped = {units[i]: g for i, g in labels.items() if i in units}
        ours = set(recording.unit_ids)
        if len(ours & set(mapped)) >= 0.5 * max(len(mapped), 1) or len(ours & set(labels)) < 0.5 * max(len(labels), 1):
            notices.append(f"{path}: clusters joined to SpikeInterface's units through {SI_IDS}")
            labels = mapped
    return found._replace(labels=labels), notices


def join(recording: Recording, found: LabelFile, where: Path) -> tuple[Recording, list[str]]:
    """Return the recording with labels joined by unit id, and notices about units on one side only.

    Raises
    ------
    InputError : fewer than half of the labelled ids are units of the recording: the files do not belong together; ids without
        a recording for units that need one.
    """
    own = found.labels
    if found.recordings is not None:
        own = {k.partition("\t")[2]: g for k, g in own.items() if k.partition("\t")[0] == recording.name}
    ids = recording.unit_ids
    numbers, theirs = {cluster_text(i): i for i in ids}, {cluster_text(i): g for i, g in own.items()}
    if not set(own) <= set(ids) and len(numbers) == len(ids) and len(theirs) == len(own):  # 14 here, 014 there
        own = {numbers.get(c, c): g for c, g in theirs.items()}
    known = sum(i in own for i in ids)
    if told := off_by_one(map(cluster_text, own), map(cluster_text, ids)):
        raise InputError(
            f"{where}: {known} of its {len(own)} unit ids are units of {recording.source}; {told} Correct them."
        )
    if known < 0.5 * len(own) or (found.recordings is not None and not own):
        raise InputError(
            f"{where}: {known} of its {len(own)} unit ids are units of {recording.source} (which has {len(ids)}):"
            " the files do not belong together. Check the order of --labels."
        )
    notices = list(notices_of(recording, own, found.left_out, known, where))
    labels = ["" if i in found.left_out else own.get(i, "") for i in ids]
    return recording._replace(labels=labels), notices


def notices_of(
    recording: Recording, own: Mapping, left_out: Mapping[str, str], known: int, where: Path
) -> Iterator[str]:
    """Yield what a person should know about a join."""
    if known < len(own):
        absent = [i for i in own if i not in set(recording.unit_ids)]
        yield (
            f"{where}: {len(own) - known} labels are for units that {recording.source.name} does not have"
            f" ({', '.join(absent[:8])}{', ...' if len(absent) > 8 else ''}): merged or split after its metrics were computed?"
        )
    for why, n in Counter(left_out[i] for i in recording.unit_ids if i in left_out).items():
        yield f"{where}: {n} units left out: {why}"
