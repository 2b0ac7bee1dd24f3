"""What is there? Sessions of a cache with quality control, and what a file or folder holds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io import InputError

from . import data
from .console import Result, log
from .session import MesoscopeSession, find_sessions

COLUMNS = (
    "eid",
    "subject",
    "date",
    "duration_hours",
    "task_protocol",
    "good_fov_count",
    "total_rois",
    "bad_frames",
    "path",
)


def row_of(folder: Path, max_bad_frames: float, min_rois: int) -> dict[str, Any]:
    """Return one session's row; a FOV is good with few bad frames and enough cells."""
    session = MesoscopeSession.from_path(folder, skip_bad_fov=True)
    bad = [float(f.bad_frames.mean()) for f in session.fovs]
    cells = [len(f.cells()) for f in session.fovs]
    protocol = "; ".join(sorted(p.name for p in (folder / "alf").glob("task_*")))
    good = sum(b <= max_bad_frames and n >= min_rois for b, n in zip(bad, cells))
    hours = max(float(f.times[-1] - f.times[0]) for f in session.fovs) / 3600
    return {
        "eid": session.eid, "subject": session.subject, "date": session.date, "duration_hours": round(hours, 4),
        "task_protocol": protocol, "good_fov_count": good, "total_rois": sum(cells), "bad_frames": round(float(np.mean(bad)), 4),
        "path": str(folder),
    }  # fmt: skip


def run_sessions(config) -> Result:
    """List sessions; see ``sessions``."""
    folders = find_sessions(config.cache)
    if not folders:
        raise InputError(
            f"{config.cache}: no ALF session <lab>/Subjects/<subject>/<date>/<number>/alf/FOV_XX below this folder."
        )
    if config.output is not None:
        hdf5io.claim(config.output, config.overwrite)
    rows, refused = [], {}
    for folder in folders:
        try:
            row = row_of(folder, config.max_bad_frames, config.min_rois)
        except InputError as error:
            refused[str(folder)] = str(error)
            log.warning("%s is left out: %s", folder, error)
            continue
        if (
            row["duration_hours"] * 60 >= config.min_duration_min
            and row["good_fov_count"]
            and config.protocol in row["task_protocol"]
        ):
            rows.append(row)
        else:
            refused[str(folder)] = "does not pass the filters"
    if config.output is not None and not config.dry_run:
        with hdf5io.atomic(config.output) as part, open(part, "w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    outputs = {"sessions": config.output} if config.output is not None and not config.dry_run else {}
    line = f"{len(rows)} of {len(folders)} sessions pass; {sum(r['total_rois'] for r in rows)} cells"
    return Result(outputs, {"sessions": rows, "refused": refused}, line, record=config.output if outputs else None)


def run_info(config) -> Result:
    """Describe a path; see ``info``."""
    path = config.path
    if path.is_dir():
        saved = data.load_model(path)
        results = {k: saved.about[k] for k in ("model", "context", "horizon", "recordings")}
        n = ", ".join(str(r["n_neurons"]) for r in results["recordings"])
        return Result(
            {},
            results,
            f"{path}: model {results['model']}, {results['context']} -> {results['horizon']} frames, {n} neurons",
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder.")
    with hdf5io.read(path) as file:
        schema = str(file.attrs.get("schema", "none"))
        shapes: dict[str, list[int]] = {}
        file.visititems(
            lambda name, item: shapes.__setitem__(name, list(item.shape)) if hasattr(item, "shape") else None
        )
    text = ", ".join(f"{k} {tuple(v)}" for k, v in list(shapes.items())[:6])
    return Result({}, {"schema": schema, "datasets": shapes}, f"{path}: schema {schema}; {text}")
