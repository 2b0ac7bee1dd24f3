"""How are two-photon traces read from an NWB file? With h5py: the NWB schema says where things lie.

One field of view (FOV) is one set of rows of a table of ROIs: series that share rows are *roles* of one FOV (fluorescence,
neuropil, deconvolved, ...), told by the words that exporters put into the names of a series and of its container, never by the
order of names. The activity of a FOV is its only fluorescence series of the first channel; without one its dF/F, then its corrected,
denoised, deconvolved one, and these are used as they are. A second channel, backgrounds and baselines are never taken unless
``--series`` names them. Two candidates: both are listed and ``--series`` is asked for.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .fov import FOVData, Trace, make_fov
from .nwb_behaviour import SMOOTHED, said_of
from .nwb_clock import check_rate, doubt_rate, inside, invalid_times, number_of, regular_clock
from .nwb_roles import role_of, role_said
from .nwb_table import RoiTable, read_table

log = logging.getLogger(__package__)
MAIN = (
    "fluorescence",
    "dff",
    "corrected",
    "denoised",
    "normalised",
    "deconvolved",
)  #: what may be a FOV's activity, best first
#: how exporters make such series
AHEAD = {
    "dff": "dF/F stands in the file, and exporters take its baseline from frames before and after each one",
    "denoised": "denoised traces are fitted to frames before and after each one",
    "deconvolved": "deconvolved activity is computed from frames before and after each one",
}
SMOOTH = "the traces stand smoothed in the file, and exporters' filters see frames before and after each one"


class Series(NamedTuple):
    """One ``RoiResponseSeries``."""

    name: str  #: path in the file
    role: str
    channel: int
    trace: Trace
    times: np.ndarray
    table: str  #: path of its table of ROIs, empty when it names none
    rows: np.ndarray  #: (roi,) rows of the table
    plane: str  #: name for the FOV
    smoothed: bool = False  #: as its names or its exporter say


def nwb_fovs(
    path: Path, series: str | None = None, fs_hz: float | None = None, trim_times: bool = False
) -> list[FOVData]:
    """Return one FOV for each set of ROIs with traces in an NWB file.

    Parameters
    ----------
    series : name of the series, or of its container, to take as activity.
    fs_hz : typed frame rate; refused where the file says another.

    Raises
    ------
    InputError : no traces, several candidates, or parts that contradict each other.
    """
    with hdf5io.read(path) as file:
        found = list(read_all(file, path))
        if not found:
            raise InputError(
                f"{path}: no RoiResponseSeries in this NWB file; two-photon traces are expected under processing/ophys."
            )
        fovs: list[FOVData] = []
        groups = grouped(found)
        for group in groups:
            main = chosen_series(path, group, series)
            if main is not None:
                shared = sum(g[0].table == main.table for g in groups if any(s.role in MAIN for s in g)) > 1
                name = unused(main.name.rsplit("/", 1)[-1] if shared else main.plane, [f.name for f in fovs])
                neuropil = neuropil_elsewhere(group, groups, file)
                fovs.append(fov_of(file, path, name, main, group, neuropil, trim_times))
        invalid = invalid_times(file)
    if not fovs:
        names = ", ".join(f"'{s.name}' ({s.role})" for s in found)
        wanted = f"--series {series}: no such series" if series else "no series of activity"
        raise InputError(f"{path}: {wanted}; there are {names}.")
    for fov in fovs:
        check_rate(fov, fs_hz)
    return [fov.with_bad_frames(inside(fov.times, invalid)) for fov in fovs]


def read_all(file: h5py.File, path: Path) -> list[Series]:
    """Return every series of ROI responses of a file."""
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        """Keep the place of a series."""
        if isinstance(item, h5py.Group) and text_of(item.attrs.get("neurodata_type")) == "RoiResponseSeries":
            names.append(name)

    file.visititems(visit)
    return [read_series(file, path, name) for name in names]


def read_series(file: h5py.File, path: Path, name: str) -> Series:
    """Return one series with its clock and its ROIs; data stored (roi, time) are told by the number of ROIs."""
    item = file[name]
    data = hdf5io.array(item, "data", ndim=(1, 2))
    if data.ndim == 1:
        raise InputError(f"{path}: '{name}/data' has shape {data.shape}, expected (time, roi).")
    rows, table = None, ""
    if "rois" in item:
        rois = hdf5io.array(item, "rois", ndim=1, kinds="iu")
        rows = rois[:].astype(int)
        target = rois.attrs.get("table")
        found = file[target] if target else None
        table = (found.name if isinstance(found, h5py.Group) else None) or ""
    clock = hdf5io.array(item, "timestamps", ndim=1)[:].astype(float) if "timestamps" in item else None
    turned = is_turned(
        data.shape, None if rows is None else len(rows), None if clock is None else len(clock), f"{path}: '{name}'"
    )
    n_time, n_rois = data.shape[::-1] if turned else data.shape
    if clock is None:
        clock = regular_clock(item, n_time)
    rows = np.arange(n_rois) if rows is None else rows
    if (rows < 0).any() or len(np.unique(rows)) < len(rows):
        raise InputError(f"{path}: '{name}/rois' names a row of its table twice, or one below 0.")
    role, channel = role_of(name)
    if role == "fluorescence" and text_of(item.parent.attrs.get("neurodata_type")) == "DfOverF":
        role = "dff"
    elif role == "fluorescence":
        role = role_said(f"{said_of(item)} {text_of(data.attrs.get('unit', ''))}")
    scale, offset = (number_of(data.attrs.get(k), default) for k, default in (("conversion", 1.0), ("offset", 0.0)))
    trace = Trace(path=path, dataset=f"{name}/data", transposed=turned, scale=scale, offset=offset)
    plane = (table or name).rsplit("/", 1)[-1]
    return Series(name, role, channel, trace, clock, table, rows, plane, is_smoothed(item, name, role))


def is_smoothed(item: h5py.Group, name: str, role: str) -> bool:
    """Return whether traces were smoothed, by their names and by what is said of them (of dF/F that may be the baseline)."""
    said = "" if role in ("dff", "baseline") else said_of(item).lower()
    names = "/".join(name.lower().split("/")[-2:])
    return bool(SMOOTHED.search(names) or ("baseline" not in said and SMOOTHED.search(said)))


def text_of(value: Any) -> str:
    """Return an attribute as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def is_turned(shape: tuple[int, ...], n_rois: int | None, n_time: int | None, where: str) -> bool:
    """Return whether data are (roi, time), by the number of ROIs and of timestamps; (time, roi) where both fit.

    Raises
    ------
    InputError : they fit neither way round.
    """
    fits = [(n_time is None or a == n_time) and (n_rois is None or b == n_rois) for a, b in (shape, shape[::-1])]
    if fits[0] or (n_rois is not None and shape[1] == n_rois):
        return False  # a clock of another length is told of later, with advice
    if fits[1] or (n_rois is not None and shape[0] == n_rois):
        log.warning("%s: data of shape %s are (roi, time), as %s ROIs tell; they are turned", where, shape, n_rois)
        return True
    clock = "" if n_time is None else f" and {n_time} timestamps"
    raise InputError(f"{where}: data of shape {shape} for {n_rois} ROIs{clock}, expected (time, roi).")


def grouped(found: list[Series]) -> list[list[Series]]:
    """Return the series of each set of ROIs by table and rows: those of one table that share a row speak of the same cells."""
    groups: list[list[Series]] = []
    for s in found:
        same = [g for g in groups if s.table and any(o.table == s.table and np.isin(o.rows, s.rows).any() for o in g)]
        groups = [g for g in groups if not any(g is o for o in same)] + [[*(o for g in same for o in g), s]]
    return sorted(groups, key=lambda g: (g[0].table, min((int(s.rows.min()) for s in g if len(s.rows)), default=0)))


def of_rows(series: Series, rows: np.ndarray) -> Series | None:
    """Return a series in the order of other rows of its table, None where it has none of some of them."""
    if np.array_equal(series.rows, rows):
        return series
    place = {int(row): i for i, row in enumerate(series.rows)}
    if not all(int(row) in place for row in rows):
        return None
    columns = tuple(place[int(row)] for row in rows)
    return series._replace(rows=rows, trace=series.trace.model_copy(update={"columns": columns}))


def neuropil_elsewhere(group: list[Series], groups: list[list[Series]], file: h5py.File) -> Series | None:
    """Return the neuropil of a FOV whose neuropil stands on a table of its own, None without one.

    Such a table has as many rows, and is named after the FOV's (``BackgroundPlaneSegmentation``), or is the only one.
    """
    if any(s.role == "neuropil" for s in group):
        return None
    candidates = [
        s for other in groups if other is not group for s in other
        if s.role == "neuropil" and len(s.rows) == len(group[0].rows) and all(o.role in ("neuropil", "background") for o in other)
    ]  # fmt: skip
    named = [
        s for s in candidates if s.table.rsplit("/", 1)[-1].lower().replace("background", "") == group[0].plane.lower()
    ]
    chosen = named or candidates
    mains = [g for g in groups if any(s.role in MAIN for s in g)]
    if len(chosen) == 1 and (named or len(mains) == 1) and same_ids(file, chosen[0], group[0]):
        return chosen[0]
    return None


def same_ids(file: h5py.File, a: Series, b: Series) -> bool:
    """Return whether two series speak of ROIs with the same ids."""
    known = []
    for s in (a, b):
        ids = hdf5io.array(file[s.table], "id", ndim=1)[:] if s.table and "id" in file[s.table] else None
        known.append(s.rows if ids is None or (s.rows >= len(ids)).any() else ids[s.rows])
    return np.array_equal(known[0], known[1])


def unused(name: str, taken: list[str]) -> str:
    """Return a name for a FOV that no other has."""
    return name if name not in taken else f"{name}_{len(taken)}"


def fov_of(
    file: h5py.File, path: Path, name: str, main: Series, group: list[Series], neuropil: Series | None, trim_times: bool
) -> FOVData:
    """Return the FOV of one set of ROIs with its chosen activity."""
    table = read_table(file, main.table, main.rows, path) if main.table else RoiTable({}, "no table of ROIs")
    if not main.table:
        log.warning("%s: '%s' names no table of ROIs; all %d are taken as cells", path, main.name, len(main.rows))
    extra, surround_smoothed = {}, False
    for role in ("neuropil", "deconvolved"):
        found = [s for s in group if s.role == role and s.channel == main.channel]
        ordered = [of_rows(s, main.rows) for s in found]
        fitting = [s for s in ordered if s is not None and same_frames(s, main)]
        if len(fitting) < len(found):
            other = [s for s in found if s.name not in [f.name for f in fitting]]
            log.warning(
                "%s: left out, of other frames than '%s' or without some of its ROIs: %s",
                path,
                main.name,
                listed(other),
            )
        if role == "neuropil" and neuropil is not None and main.channel == 1 and same_frames(neuropil, main):
            fitting.append(neuropil)
        fitting = unsmoothed(fitting)
        if len(fitting) == 1:
            extra[role] = fitting[0].trace
            surround_smoothed |= role == "neuropil" and fitting[0].smoothed
        elif fitting:
            log.warning(
                "%s: which %s belongs to '%s' is not told: %s; left out", path, role, main.name, listed(fitting)
            )
    demixed = any(s.role == "background" for s in group) or "processing/ophys/residuals" in file  # CaImAn
    as_it_is = main.role != "fluorescence" or (demixed and "neuropil" not in extra)
    n_cells = int(table.columns.get("roi_type", np.ones(len(main.rows))).sum())
    log.info(
        "%s: '%s' (%s) is the activity of %s, %d of %d ROIs are cells (%s)%s", path.name, main.name, main.role, name,
        n_cells, len(main.rows), table.rule, "; used as it is" if as_it_is else "",
    )  # fmt: skip
    terms = {"roi_type": table.rule, "times": f"'{main.name}': its clock"}
    columns = {"uuids": np.array([f"{name}/{i}" for i in main.rows]), **table.columns}
    smoothed = main.smoothed or (surround_smoothed and not as_it_is)
    ahead = "; ".join(text for text in (AHEAD.get(main.role, ""), SMOOTH if smoothed else "") if text)
    given = {"processed": as_it_is, "ahead": ahead, "terms": terms, **extra, **columns}
    fov = make_fov(name, main.trace, main.times, trim_times, **given)
    doubt_rate(file, main.table, fov.times, main.name)
    return fov


def same_frames(a: Series, b: Series) -> bool:
    """Return whether two series hold values of the same frames and ROIs: equally many, by the same clock (to half a frame)."""
    if a.trace.shape != b.trace.shape or a.times.shape != b.times.shape:
        return False
    half = float(np.median(np.diff(b.times))) / 2 if len(b.times) > 1 else 0.0
    return bool((np.abs(a.times - b.times) <= half).all())


def chosen_series(path: Path, group: list[Series], wanted: str | None) -> Series | None:
    """Return the series that is the activity of a FOV; see the module's docstring."""
    if wanted is not None:
        parts = wanted.strip("/").lower()
        named = [s for s in group if s.name.lower().endswith(parts) or parts in s.name.lower().split("/")]
        if len(named) > 1:
            raise InputError(f"{path}: --series {wanted} names several of one plane: {listed(named)}.")
        return named[0] if named else None
    for role in MAIN:
        candidates = unsmoothed([s for s in group if s.role == role and s.channel == 1])
        if len(candidates) > 1:
            raise InputError(
                f"{path}: several series could be the activity of one plane: {listed(candidates)}. Give --series NAME."
            )
        if candidates:
            return candidates[0]
    return None


def unsmoothed(series: list[Series]) -> list[Series]:
    """Return the series that were not smoothed; all where there is none."""
    return [s for s in series if not s.smoothed] or series


def listed(series: list[Series]) -> str:
    """Return the names of series for a message."""
    return ", ".join(f"'{s.name}'" for s in series)


def whose(path: Path) -> dict[str, str]:
    """Return ``subject`` and ``date`` of an NWB file, as far as it says them."""
    found = {}
    with hdf5io.read(path) as file:
        for name, place in (("subject", "general/subject/subject_id"), ("date", "session_start_time")):
            item = file.get(place)
            if isinstance(item, h5py.Dataset) and item.shape == () and item.dtype.kind in "SO":
                found[name] = text_of(item[()])
    return {name: value[:10] if name == "date" else value for name, value in found.items()}


def is_nwb(path: Path) -> bool:
    """Return whether an HDF5 file is NWB."""
    with hdf5io.read(path) as file:
        return "nwb_version" in file.attrs or "processing/ophys" in file
