"""``extract``: the activity of a session's cells as one matrix."""

from __future__ import annotations

from typing import Any

import hdf5io

from ..config import ExtractConfig
from ..console import Result, Run
from ..files.held import told_on_success
from ..files.sources import open_source


def run(config: ExtractConfig, run: Run) -> Result:
    """Write (time, neuron) as an activity HDF5 file."""
    with told_on_success():
        return extracted(config)


def extracted(config: ExtractConfig) -> Result:
    """Return what was written of the session."""
    session = open_source(config)
    session.require_neuropil(0.0 if config.signal == "raw" else config.neucoeff)
    if config.dry_run:
        return Result({}, {"n_rois": session.n_rois}, f"would extract {session.n_rois} ROIs; nothing written")
    given: dict[str, Any] = {"time_window": config.time_window, "overwrite": True}
    if config.signal == "raw":
        session.save_activity_matrix(config.output, **given)
    else:
        session.save_dff_activity_matrix(config.output, neucoeff=config.neucoeff, **given)
    with hdf5io.read(config.output) as file:
        n_frames, n_neurons = file["activity_matrix"].shape
    results = {"n_frames": n_frames, "n_neurons": n_neurons, "skipped_fovs": session.skipped}
    line = f"{config.output}: {n_neurons} cells, {n_frames} frames"
    return Result({"activity": config.output}, results, line, record=config.output)
