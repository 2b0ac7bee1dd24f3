"""``sessions``: what a ONE cache holds, with quality control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import SessionsConfig
from ..console import Result, Run, log
from ..files.behaviour import protocols
from ..files.one_cache import find_sessions, real_ids
from ..files.session import MesoscopeSession

COLUMNS = (
    "eid", "subject", "date", "duration_hours", "task_protocol", "good_fov_count", "total_rois", "bad_frames", "path",
)  # fmt: skip


def row_of(folder: Path, eid: str | None, config: SessionsConfig) -> dict[str, Any]:
    """Return one session's row; a FOV is good with few bad frames and enough cells."""
    session = MesoscopeSession.from_path(folder, skip_bad_fov=True)
    bad = [float(f.bad_frames.mean()) for f in session.fovs]
    cells = [len(f.cells()) for f in session.fovs]
    good = sum(b <= config.max_bad_frames and n >= config.min_rois for b, n in zip(bad, cells))
    hours = max(float(f.times[-1] - f.times[0]) for f in session.fovs) / 3600
    return {
        "eid": eid or session.eid, "subject": session.subject, "date": session.date, "duration_hours": round(hours, 4),
        "task_protocol": "; ".join(protocols(folder)), "good_fov_count": good, "total_rois": sum(cells),
        "bad_frames": round(float(np.mean(bad)), 4), "path": str(folder),
    }  # fmt: skip


def passes(row: dict[str, Any], config: SessionsConfig) -> bool:
    """Return whether a session is wanted; protocols are compared without regard to case."""
    long_enough = row["duration_hours"] * 60 >= config.min_duration_min
    return long_enough and row["good_fov_count"] > 0 and config.protocol.lower() in row["task_protocol"].lower()


def run(config: SessionsConfig, run: Run) -> Result:
    """List sessions, and write them as a CSV."""
    if config.output is None and config.overwrite:
        raise InputError("--overwrite: nothing is written without --output. Leave it out, or give --output.")
    folders = find_sessions(config.cache)
    if not folders:
        raise InputError(
            f"{config.cache}: no ALF session [<lab>/]Subjects/<subject>/<date>/<number>/alf/FOV_XX below this folder."
        )
    eids = real_ids(config.cache, folders)
    rows, refused = [], {}
    for folder in folders:
        try:
            row = row_of(folder, eids.get(folder), config)
        except InputError as error:
            refused[str(folder)] = str(error)
            log.warning("%s is left out: %s", folder, error)
            continue
        if passes(row, config):
            rows.append(row)
        else:
            refused[str(folder)] = "does not pass the filters"
    outputs = {}
    if config.output is not None and not config.dry_run:
        outputs["sessions"] = hdf5io.write_csv(config.output, rows, COLUMNS)
    line = f"{len(rows)} of {len(folders)} sessions pass; {sum(r['total_rois'] for r in rows)} cells"
    return Result(outputs, {"sessions": rows, "refused": refused}, line, record=config.output if outputs else None)
