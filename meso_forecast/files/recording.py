"""How does a preprocessed session lie on disk, and how do models see it?

``/activity`` is float32 (time, neuron), contiguous and not compressed, so that it can be mapped: windows are gathered from the map
and only the pages they touch are read. Everything a model may not fit on (the test part) was excluded before this file was written.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

import hdf5io
from hdf5io import Dataset, InputError

from ..activity import preprocess as pre
from ..activity.covariates import PHASES, Covariates, covariates
from ..activity.split import SplitRule, split_label
from ..activity.windows import PARTS, Panel
from .session import MesoscopeSession

log = logging.getLogger(__package__)
SCHEMA = "meso_forecast/recording/1"


class Recording(NamedTuple):
    """A preprocessed session, opened."""

    path: Path
    panel: Panel
    times: np.ndarray  #: (time,) s
    observed: np.ndarray  #: (time, fov) bool
    fov: np.ndarray  #: (neuron,) index of the FOV
    region: np.ndarray
    position: np.ndarray  #: (neuron, 3)
    uuid: np.ndarray
    stimuli: list[str]
    eid: str


def write_recording(
    session: MesoscopeSession, output: Path, rules: pre.Rules, rule: SplitRule, provenance=None, overwrite: bool = False
) -> dict:
    """Preprocess a session into a file, block by block, and return what was found.

    Raises
    ------
    InputError : what is wrong with the session, by file and dataset.
    """
    hdf5io.claim(output, overwrite)
    clock = session.clock()
    if len(clock) < 200:
        raise InputError(
            f"{session.eid}: the FOVs overlap in {len(clock)} frames only; 200 are needed. Do their mpci.times agree?"
        )
    c = covariates(session.behaviour(), clock)
    if rule.cut_after_last_stimulus:
        if not np.isfinite(c.last_stimulus_s):
            raise InputError("--cut-after-last-stimulus: this session has no trials table.")
        n = int(np.searchsorted(clock, c.last_stimulus_s))
        clock = clock[:n]
        c = c.until(n)
    label, dt_s = split_label(rule, c, len(clock)), float(np.median(np.diff(clock)))
    cells = [f.traces(f.cells(rules.least_probability), frame) for f, frame in zip(session.fovs, session.frames(clock))]
    seen = pre.observed(cells)
    seen[: pre.warm_up(cells, rules, len(clock), dt_s)] = False
    found = [pre.survey(f, rules, label == 0, seen[:, i]) for i, f in enumerate(cells)]
    cells, found, dropped = without_traps(cells, found)
    with hdf5io.atomic(output, overwrite=True) as part, h5py.File(part, "w", track_order=True) as file:
        file.attrs.update(
            schema=SCHEMA, eid=session.eid, subject=session.subject, date=session.date, lab=session.lab, dt_s=dt_s
        )
        scale = write_activity(file, cells, found, rules, label, seen, dt_s)
        hdf5io.write_datasets(file, describe(session, cells, found, scale, rules, label, seen, clock, c))
        hdf5io.write_attrs(file.create_group("provenance"), provenance)
    return {
        "n_frames": len(clock), "n_neurons": int(sum(len(f.rois) for f in cells)), "n_fovs": len(cells), "dt_s": dt_s,
        "observed_fraction": float(seen.all(1).mean()), "dropped": dropped, "skipped_fovs": session.skipped,
        "frames": {name: int((label == value).sum()) for name, value in PARTS.items()},
    }  # fmt: skip


def without_traps(cells, found):
    """Return cells and surveys without constant neurons and neurons with values that are not finite, and how many were dropped."""
    dropped, kept_cells, kept_found = {}, [], []
    for c, s in zip(cells, found):
        bad = s.constant | s.broken
        where, constant, broken = c.where, int(s.constant.sum()), int(s.broken.sum())
        if bad.all():
            raise InputError(f"{where}: all {len(bad)} cells are constant or not finite.")
        if bad.any():
            dropped[c.name] = {"constant": constant, "not finite": broken}
            log.warning(
                "%s: %d constant ROIs and %d with values that are not finite are left out", where, constant, broken
            )
        kept_cells.append(c._replace(rois=c.rois[~bad]))
        kept_found.append(pre.Survey(*(np.asarray(v)[~bad] for v in s)))
    return kept_cells, kept_found, dropped


def write_activity(file: h5py.File, cells, found, rules: pre.Rules, label, seen, dt_s: float) -> pre.Scale:
    """Write ``/activity`` in two passes over blocks of frames (dF/F, then the scale of the training part); return the scale."""
    edges = np.cumsum([0, *(len(f.rois) for f in cells)])
    data = file.create_dataset("activity", (len(label), edges[-1]), "float32", track_times=False)
    data.attrs.update(
        units="z" if rules.normalise == "zscore" else rules.normalise,
        description="activity of each neuron; NaN where its FOV was not observed",
    )
    data.dims[0].label, data.dims[1].label = "time", "neuron"
    scales = []
    for i, (c, s) in enumerate(zip(cells, found)):
        columns = slice(int(edges[i]), int(edges[i + 1]))
        for rows, x in pre.blocks(c, rules, s, seen[:, i], dt_s):
            data[rows, columns] = x
        scale = pre.fit_scale(data, columns, pre.training_rows(label, seen[:, i]), rules.normalise)
        for start in range(0, len(label), pre.BLOCK):
            rows = slice(start, min(start + pre.BLOCK, len(label)))
            data[rows, columns] = ((data[rows, columns] - scale.offset) / scale.scale).astype(np.float32)
        scales.append(scale)
    return pre.Scale(*(np.concatenate(v) for v in zip(*scales)))


def describe(session, cells, found, scale, rules, label, seen, clock, c: Covariates) -> dict[str, Dataset]:
    """Return all datasets but the activity."""
    n = [len(f.rois) for f in cells]
    pick = lambda name: np.concatenate([np.asarray(getattr(f, name))[c.rois] for f, c in zip(session.fovs, cells)])  # noqa: E731
    hot = np.eye(len(c.names) + 1, dtype=np.uint8)[c.stimulus][:, 1:]
    return {
        "observed": Dataset(seen.astype(np.uint8), "", "1 where the FOV's frame is good", ("time", "fov")),
        "timestamps": Dataset(clock, "s", "common clock", ("time",)),
        "split": Dataset(label, "", "0 training, 1 validation, 2 test", ("time",)),
        "neurons/fov": Dataset(np.repeat(np.arange(len(cells)), n), "", "index of the FOV", ("neuron",)),
        "neurons/fov_names": Dataset(np.array([f.name for f in cells]), "", "names of the FOVs", ("fov",)),
        "neurons/roi": Dataset(np.concatenate([f.rois for f in cells]), "", "index of the ROI in its FOV", ("neuron",)),
        "neurons/region": Dataset(pick("region"), "", "Allen CCF 2017 region id, 0 unknown", ("neuron",)),
        "neurons/position": Dataset(pick("position"), "um or pixel", "ml, ap, dv (or x, y, 0)", ("neuron", "axis")),
        "neurons/uuid": Dataset(pick("uuids").astype(str), "", "ROI uuid", ("neuron",)),
        "neurons/delay": Dataset(pick("roi_delay"), "s", "scan time of the ROI after the frame's start", ("neuron",)),
        "normalization/offset": Dataset(scale.offset, "dF/F", "subtracted; from the training part", ("neuron",)),
        "normalization/scale": Dataset(scale.scale, "dF/F", "divided by; from the training part", ("neuron",)),
        "normalization/floor": Dataset(np.concatenate([pre.floor_of(s) for s in found]), "a.u.", "least baseline", ("neuron",)),
        "covariates/wheel": Dataset(c.wheel_rad_s, "rad/s", "wheel velocity since the frame before", ("time",)),
        "covariates/stimulus": Dataset(c.stimulus.astype(np.int16), "", "0 none, else 1 + index in stimulus_names", ("time",)),
        "covariates/stimulus_one_hot": Dataset(hot, "", "one column a stimulus type", ("time", "stimulus")),
        "covariates/stimulus_names": Dataset(np.array(c.names or [""]), "", "stimulus types", ("stimulus",)),
        "covariates/phase": Dataset(c.phase.astype(np.int8), "", "; ".join(f"{i} {p}" for i, p in enumerate(PHASES)), ("time",)),
    }  # fmt: skip


def open_recording(path: str | Path) -> Recording:
    """Open a preprocessed session; ``panel.x`` is a read-only memory map of ``/activity``.

    A file that was not normalised to z-scores is standardised here, in memory, from its training part: linear models take the
    training mean as zero.
    """
    path = Path(path)
    with hdf5io.read(path, SCHEMA, required=("activity", "observed", "timestamps", "split", "neurons/fov")) as file:
        data, offset = file["activity"], file["activity"].id.get_offset()
        shape, units = data.shape, data.attrs["units"]
        if offset is None or data.chunks is not None:
            raise InputError(
                f"{path}: '/activity' is chunked or empty; expected a contiguous dataset. Run preprocess again."
            )
        seen, times, label = file["observed"][:].astype(bool), file["timestamps"][:], file["split"][:]
        neurons = {k: file[f"neurons/{k}"][:] for k in ("fov", "region", "position", "uuid")}
        stimulus, names = (
            file["covariates/stimulus"][:].astype(int),
            [n.decode() for n in file["covariates/stimulus_names"][:] if n],
        )
        eid, dt_s = str(file.attrs["eid"]), float(file.attrs["dt_s"])
    for name, size in (("observed", len(seen)), ("timestamps", len(times)), ("split", len(label))):
        if size != shape[0]:
            raise InputError(f"{path}: '/{name}' has {size} frames, '/activity' {shape[0]}.")
    if path.stat().st_size < offset + 4 * shape[0] * shape[1]:
        raise InputError(f"{path}: '/activity' ends before its last frame; the file is not complete.")
    x = np.memmap(path, np.float32, "r", offset, shape)
    usable = seen.all(1)
    if units != "z":
        train = x[usable & (label == 0)]
        x = ((x - train.mean(0)) / np.maximum(train.std(0), 1e-6)).astype(np.float32)
    panel = Panel(x, usable, label, dt_s, stimulus if names else None)
    uuids = np.array([u.decode() for u in neurons["uuid"]])
    return Recording(
        path, panel, times, seen, neurons["fov"], neurons["region"], neurons["position"], uuids, names, eid
    )
