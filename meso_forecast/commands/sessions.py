"""``sessions``: what a ONE cache holds, with quality control."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import SessionsConfig
from ..console import Result, Run, log
from ..files.one_cache import find_sessions
from ..files.session import MesoscopeSession

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


def run(config: SessionsConfig, run: Run) -> Result:
    """List sessions, and write them as a CSV."""
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
