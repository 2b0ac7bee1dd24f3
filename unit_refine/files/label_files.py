"""What did the curator call each unit, according to a file of labels?"""

from __future__ import annotations

from pathlib import Path

from hdf5io.errors import InputError

from ..units.assemble import Recording
from ..units.labels import LABEL_COLUMNS
from . import curation
from .tables import read_table, take_ids


def read_label_file(path: Path) -> dict[str, object]:
    """Return ``{unit id: label}`` of a Phy group file, a table with an id and a label column, or a curation JSON."""
    if path.suffix.lower() == ".json":
        return curation.read(path)
    table = read_table(path)
    ids, rest = take_ids(table, path)
    named = [c for c in rest.columns if c in ("group", *LABEL_COLUMNS)]
    if not named and len(rest.columns) != 1:
        raise InputError(
            f"{path}: which column holds the labels? Expected cluster_id and group, found {', '.join(map(str, table.columns))}."
        )
    return dict(zip(ids, rest[named[0] if named else rest.columns[0]].tolist()))


def join(recording: Recording, labels: dict[str, object], where: Path) -> tuple[Recording, list[str]]:
    """Return the recording with labels joined by unit id, and notices about units on one side only.

    Raises
    ------
    InputError : fewer than half of the labelled ids are units of the recording: the files do not belong together.
    """
    found = sum(i in labels for i in recording.unit_ids)
    if found < 0.5 * len(labels):
        raise InputError(
            f"{where}: {found} of its {len(labels)} unit ids are units of {recording.source} (which has {len(recording.unit_ids)}):"
            " the files do not belong together. Check the order of --labels."
        )
    notices = []
    if found < len(labels):
        notices.append(
            f"{where}: {len(labels) - found} labels are for units that {recording.source.name} does not have"
        )
    return recording._replace(labels=[labels.get(i, "") for i in recording.unit_ids]), notices
