"""How do models see a preprocessed session? Its activity mapped, its windows' frames, its neurons.

``/activity`` is float32 (time, neuron), contiguous and not compressed, so that it can be mapped: windows are gathered from the map
and only the pages they touch are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..activity.windows import Panel

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
