"""What does an NWB table of ROIs say of them: which are cells, where they lie, what they are called?

Exporters name the columns differently. Cells: ``iscell`` (suite2p, two columns), ``Accepted``/``accepted`` (neuroconv, CaImAn),
``is_cell``, ``keep`` (CaImAn: the chosen components, where nobody sorted by hand), ``mask_type`` (MICrONS: soma), ... in numbers or words,
less those of a column ``exclude``; else those not ``rejected``, else those with a classifier of at least one half; without any of these
all ROIs are taken, and that is said.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

import hdf5io

from .cell_flags import CELL_COLUMNS, EXCLUDED, cells_said, is_status

log = logging.getLogger(__package__)
VAGUE = ("status", "roi_type", "mask_type")  #: columns that may hold other words, or codes
PROBABILITY = (
    "classifier",
    "cell_classifier",
    "soma_probability",
    "probability",
    "cell_probability",
    "iscell_probability",
    "cnn",
)
IDS = ("uuid", "uuids", "roi_uuid", "unique_id")
DELAYS = ("time_offset", "timeshift", "roi_delay")
CENTROIDS = ("roicentroids", "roi_centroids", "centroids", "centroid", "location", "roi_locations")
MLAPDV = ("mlapdv", "mlapdv_estimate")
REGIONS = (
    "brain_location_id",
    "brain_location_ids",
    "brain_location_ids_ccf_2017",
    "brain_location_ids_ccf_2017_estimate",
    "region_id",
)
REGION_NAMES = (
    "brain_region",
    "brain_area",
    "region",
    "acronym",
    "brain_location_acronym",
    "brain_location_acronyms",
    "brain_location_acronyms_ccf_2017",
    "brain_location_acronyms_ccf_2017_estimate",
    "brain_location",
    "beryl_location",
    "area",
    "structure",
    "location",
)
NO_REGION = ("", "unknown", "none", "nan", "n/a", "na", "void", "root", "brain", "no region")
MASK_VALUES = 50_000_000


class RoiTable(NamedTuple):
    """What is known of the ROIs of a series."""

    columns: dict[str, np.ndarray]  #: by field of `fov.FOVData`
    rule: str  #: how cells were told from other ROIs


def read_table(file: h5py.File, name: str, rows: np.ndarray, path: Path) -> RoiTable:
    """Return what a table says of some of its rows; an optional column that cannot be read is left out with a warning."""
    table = file[name]
    available = {key.lower(): key for key in table}

    def column(names: tuple[str, ...], kinds: str = "biuf") -> np.ndarray | None:
        """Return the rows of the first column of several names, None without any."""
        for candidate in names:
            key = available.get(candidate)
            if key is None or f"{key}_index" in table:
                continue
            try:
                values = hdf5io.array(table, key, kinds=kinds)
                if rows.size and len(values) <= rows.max():
                    raise hdf5io.InputError(
                        f"{path}: '{name}/{key}' has {len(values)} rows, row {rows.max()} is asked for."
                    )
                chosen, elements = values[:][rows], values.attrs.get("elements")
                if elements is not None and values.dtype.kind in "iu":  # numbers that point into a column of words
                    listed = words(table.file[elements][:])
                    return np.array([listed[v] if v < len(listed) else "" for v in chosen], dtype=str)
                return chosen
            except hdf5io.InputError as error:
                if is_status(candidate):
                    raise
                log.warning("left out: %s", error)
        return None

    roi_type, rule, probability = cells_of(column, f"{path}: '{name}'")
    found: dict[str, Any] = {"roi_type": roi_type, "probability": probability, "roi_delay": column(DELAYS)}
    if roi_type is None:
        log.warning("%s: no column of '%s' says which ROIs are cells; all %d are taken", path, name, len(rows))
        rule = "no column says which, all are taken"
    ids = column(IDS, kinds="SOU")
    found["uuids"] = None if ids is None else words(ids)
    found |= regions_of(column, table, available, rows)
    found["position"] = places(column, table, rows)
    return RoiTable({k: v for k, v in found.items() if v is not None and len(v) == len(rows)}, rule)


def words(values: np.ndarray) -> np.ndarray:
    """Return texts or bytes as texts without blanks around them."""
    return np.array(
        [(v.decode(errors="replace") if isinstance(v, bytes) else str(v)).strip() for v in values], dtype=str
    )


def regions_of(column: Any, table: h5py.Group, available: dict[str, str], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is known of regions: ``region`` (Allen ids) and ``region_name`` (text), each only where the file says it.

    A column of either kind of name may hold numbers or text; numbers written as text are ids. ``EnumData`` (numbers that point into a
    column of words) are read as their words. Where the table says nothing, the ``location`` of its imaging plane is every ROI's name.
    """
    found: dict[str, np.ndarray] = {}
    for key in (*REGIONS, *REGION_NAMES):
        name = available.get(key)
        kind = getattr(table.get(name), "dtype", np.dtype("V1")).kind if name else "V"
        values = column((key,), kinds="iufSOU") if kind in "iufSOU" else None
        if values is None or values.ndim != 1:
            continue
        text = values if values.dtype.kind == "U" else words(values) if kind in "SOU" else None
        if text is not None and not all(t.lstrip("-").isdigit() for t in text):
            known = np.array(["" if t.lower() in NO_REGION else t for t in text])
            found.setdefault("region_name", known)
        elif key != "location":
            numbers = np.array([int(t) for t in text]) if text is not None else np.nan_to_num(values)
            found.setdefault("region", numbers.astype(np.int64))
    plane = table.get("imaging_plane/location")
    if not found and isinstance(plane, h5py.Dataset) and plane.shape == ():
        said = words(np.array([plane[()]], dtype=object))[0]
        if said.lower() not in NO_REGION:
            found["region_name"] = np.array([said] * len(rows))
    return found


def cells_of(column: Any, where: str) -> tuple[np.ndarray | None, str, np.ndarray | None]:
    """Return which ROIs are cells (None: not said), by which rule, and their probabilities. ``where``: the table, for messages."""
    probability = column(PROBABILITY)
    probability = None if probability is None or probability.ndim != 1 else probability.astype(float)
    found, rule = None, ""
    for key in CELL_COLUMNS:
        values = column((key,), kinds="biufSOU")
        if values is None or (key in VAGUE and values.dtype.kind in "iuf"):
            continue
        flags = values.reshape(len(values), -1)
        if (
            key == "accepted"
            and flags.dtype.kind in "biuf"
            and not flags[:, 0].any()
            and (column(("keep",)) is not None or rejected_some(column))
        ):
            continue  # nobody sorted by hand
        if flags.shape[1] > 1:
            probability = flags[:, 1].astype(float)
        try:
            found, rule = cells_said(flags[:, 0], key, where), f"column '{key}'"
        except hdf5io.InputError as error:
            if key not in VAGUE:
                raise
            log.warning("left out: %s", error)
            continue
        break
    for key in EXCLUDED:
        values = column((key,), kinds="biufSOU")
        if values is not None and values.ndim == 1:
            kept = cells_said(values, key, where)
            found, rule = kept if found is None else found & kept, f"{rule} less '{key}'".strip()
    if found is not None:
        return found.astype(np.int16), rule, probability
    if rejected_some(column):
        return (column(("rejected",)).reshape(-1) == 0).astype(np.int16), "not 'rejected'", probability
    if probability is not None:
        log.warning(
            "no column says which ROIs are cells; those with a classifier of at least 0.5 are taken (--least-probability)"
        )
        return (probability >= 0.5).astype(np.int16), "classifier >= 0.5", probability
    return None, "", None


def rejected_some(column: Any) -> bool:
    """Return whether ROIs were rejected by hand."""
    values = column(("rejected",))
    return values is not None and bool(values.any())


def places(column: Any, table: h5py.Group, rows: np.ndarray) -> np.ndarray | None:
    """Return (roi, 3) positions: micrometres of the atlas, centroids, or the centres of pixel masks; None where unknown."""
    for names in (MLAPDV, CENTROIDS):
        values = column(names)
        if values is not None and values.ndim == 2 and values.shape[1] in (2, 3):
            return np.c_[values.astype(float), np.zeros((len(values), 3 - values.shape[1]))]
    for key in ("pixel_mask", "voxel_mask"):
        mask, index = table.get(key), table.get(f"{key}_index")
        if (
            isinstance(mask, h5py.Dataset)
            and isinstance(index, h5py.Dataset)
            and mask.dtype.names
            and mask.size <= MASK_VALUES
        ):
            try:
                with hdf5io.parsing(table.file.filename, "masks of ROIs"):
                    return centres(mask[:], index[:].astype(int), rows)
            except hdf5io.InputError as error:
                log.warning("positions are unknown: %s", error)
    return None


def centres(mask: np.ndarray, index: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """Return the weighted centres of masks, (roi, 3): x, y, 0."""
    if len(index) <= rows.max(initial=-1) or not {"x", "y", "weight"} <= set(mask.dtype.names or ()):
        return None
    starts = np.r_[0, index[:-1]]
    out = np.full((len(rows), 3), np.nan)
    for i, row in enumerate(rows):
        part = mask[starts[row] : index[row]]
        weight = part["weight"].astype(float)
        if len(part) and weight.sum() > 0:
            out[i] = (part["x"] @ weight / weight.sum(), part["y"] @ weight / weight.sum(), 0.0)
    return out
