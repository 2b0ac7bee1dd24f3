"""How do models see a preprocessed session? Its activity mapped, its windows' frames, its neurons.

``/activity`` is float32 (time, neuron), contiguous and not compressed, so that it can be mapped: windows are gathered from the map
and only the pages they touch are read.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..activity.windows import TRAIN, Panel

log = logging.getLogger(__package__)
SCHEMA = "meso_forecast/recording/1"


class Recording(NamedTuple):
    """A preprocessed session, opened."""

    path: Path
    panel: Panel
    times: np.ndarray  #: (time,) s
    observed: np.ndarray  #: (time, fov) bool
    fov: np.ndarray  #: (neuron,) index of the FOV
    region: np.ndarray  #: (neuron,) text: the region as the file names it, else its Allen id, empty where unknown
    position: np.ndarray  #: (neuron, 3)
    uuid: np.ndarray
    stimuli: list[str]
    eid: str
    inputs: np.ndarray  #: (time, input) behaviour as recorded, NaN where it is not known
    input_names: list[str]
    subject: str  #: the animal, empty where it is not known
    date: str  #: of the session, empty where it is not known
    scale: np.ndarray  #: (neuron,) units of the activity as it was read for one unit of ``panel.x``
    notes: tuple[str, ...] = ()  #: what a reader of its forecasts must know of how the activity was made
    signal: str = ""  #: what the activity is before it is scaled; empty in files of earlier versions


class Stored(NamedTuple):
    """What a file holds beside the activity itself."""

    seen: np.ndarray
    times: np.ndarray
    label: np.ndarray
    neurons: dict[str, np.ndarray]
    region_names: list[str]
    scale: np.ndarray
    stimulus: np.ndarray
    stimuli: list[str]
    inputs: np.ndarray
    input_names: list[str]
    attrs: dict[str, str]
    dt_s: float


def open_recording(path: str | Path) -> Recording:
    """Open a preprocessed session; ``panel.x`` is a read-only memory map of ``/activity``. Its notes are told, whatever opens it.

    A file that was not normalised to z-scores is standardised here, in memory, from its training part: linear models take the
    training mean as zero.
    """
    path = Path(path)
    with hdf5io.read(path, SCHEMA, required=("activity", "observed", "timestamps", "split", "neurons/fov")) as file:
        data = hdf5io.array(file, "activity", ndim=2)
        offset, shape, units = data.id.get_offset(), data.shape, str(data.attrs.get("units", ""))
        if offset is None or data.chunks is not None or data.dtype != np.float32:
            raise InputError(
                f"{path}: '/activity' is chunked, empty or not float32; expected a contiguous dataset. Run preprocess again."
            )
        s = stored(file, shape)
    check_sizes(path, s, shape)
    if path.stat().st_size < offset + 4 * shape[0] * shape[1]:
        raise InputError(f"{path}: '/activity' ends before its last frame; the file is not complete.")
    x, scale = np.memmap(path, np.float32, "r", offset, shape), s.scale
    usable = np.asarray(s.seen.all(1))
    if units != "z":
        train = x[usable & (s.label == 0)]
        sd = np.maximum(train.std(0), 1e-6)
        x, scale = ((x - train.mean(0)) / sd).astype(np.float32), scale * sd
    panel = Panel(x, usable, s.label, s.dt_s, s.stimulus if s.stimuli else None)
    uuids = np.array([text(u) for u in s.neurons["uuid"]], dtype=str)
    regions = np.array(
        [n or (str(int(r)) if r else "") for n, r in zip(s.region_names, s.neurons["region"])], dtype=str
    )
    notes = tuple(s.attrs["notes"].splitlines())
    for note in notes:
        log.warning("%s: %s", path.name, note)
    return Recording(
        path=path, panel=panel, times=s.times, observed=s.seen, fov=s.neurons["fov"], region=regions, position=s.neurons["position"],
        uuid=uuids, stimuli=s.stimuli, eid=s.attrs["eid"], inputs=s.inputs, input_names=s.input_names, subject=s.attrs["subject"],
        date=s.attrs["date"], scale=scale, notes=notes, signal=s.attrs["signal"],
    )  # fmt: skip


def stored(file: h5py.File, shape: tuple[int, ...]) -> Stored:
    """Return what an open file holds beside its activity of ``shape`` (time, neuron)."""

    def names(place: str) -> list[str]:
        """Return a dataset of texts."""
        return [text(n) for n in hdf5io.array(file, place, ndim=1, kinds="SO")[:]]

    neurons = {k: hdf5io.array(file, f"neurons/{k}", kinds="iufSO")[:] for k in ("fov", "region", "position", "uuid")}
    regions = names("neurons/region_name") if "neurons/region_name" in file else [""] * len(neurons["region"])
    inputs, input_names, scale = np.zeros((shape[0], 0), np.float32), [], np.ones(shape[1])
    if "covariates/inputs" in file:  # files of earlier versions have none of these
        inputs = hdf5io.array(file, "covariates/inputs", ndim=2)[:]
        input_names = [n for n in names("covariates/input_names") if n]
    if "normalization/scale" in file:
        scale = hdf5io.array(file, "normalization/scale", ndim=1)[:].astype(float)
    return Stored(
        hdf5io.array(file, "observed", ndim=2, kinds="biu")[:].astype(bool), hdf5io.array(file, "timestamps", ndim=1)[:],
        hdf5io.array(file, "split", ndim=1)[:], neurons, regions, scale,
        hdf5io.array(file, "covariates/stimulus", ndim=1)[:].astype(int), [n for n in names("covariates/stimulus_names") if n],
        inputs, input_names, {k: text(file.attrs.get(k, "")) for k in ("eid", "subject", "date", "notes", "signal")},
        float(np.asarray(file.attrs.get("dt_s", np.nan))),
    )  # fmt: skip


def check_sizes(path: Path, s: Stored, shape: tuple[int, ...]) -> None:
    """Make sure that all datasets fit the activity.

    Raises
    ------
    InputError : which does not.
    """
    sizes = {"observed": len(s.seen), "timestamps": len(s.times), "split": len(s.label), "covariates/stimulus": len(s.stimulus),
             "covariates/inputs": len(s.inputs)}  # fmt: skip
    for name, size in sizes.items():
        if size != shape[0]:
            raise InputError(f"{path}: '/{name}' has {size} frames, '/activity' {shape[0]}.")
    cells = {f"neurons/{name}": len(values) for name, values in s.neurons.items()}
    for name, size in {
        **cells,
        "neurons/region_name": len(s.region_names),
        "normalization/scale": len(s.scale),
    }.items():
        if size != shape[1]:
            raise InputError(f"{path}: '/{name}' has {size} entries, '/activity' {shape[1]} neurons.")
    if s.inputs.shape[1] != len(s.input_names):
        raise InputError(
            f"{path}: '/covariates/inputs' has {s.inputs.shape[1]} columns, {len(s.input_names)} names. Run preprocess again."
        )
    if not s.dt_s > 0 or not np.isfinite(s.times).all():
        raise InputError(
            f"{path}: 'dt_s' and '/timestamps' are expected to be positive and finite. Run preprocess again."
        )


def with_behaviour(recording: Recording, use: str) -> Recording:
    """Return a recording whose panel shows behaviour to the forecasters.

    Parameters
    ----------
    use : ``none``; ``past``: behaviour up to the origin; ``known``: also the stimuli of the frames that are forecast.

    Raises
    ------
    InputError : the recording has no behaviour, or no stimuli.
    """
    if use == "none":
        return recording._replace(panel=recording.panel.without_behaviour())
    if not recording.input_names:
        raise InputError(
            f"{recording.path}: no behaviour in it; leave out --behaviour, or run preprocess on a session with trials, wheel or cameras."
        )
    p = recording.panel
    train = recording.inputs[p.usable & (p.label == TRAIN)].astype(float)
    with np.errstate(all="ignore"):
        mean, sd = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    inputs = np.nan_to_num((recording.inputs - mean) / np.where(sd > 0, sd, np.inf)).astype(np.float32)
    stimuli = [i for i, name in enumerate(recording.input_names) if name.startswith("stimulus")]
    if use == "known" and not stimuli:
        raise InputError(f"{recording.path}: --behaviour known: no stimuli in it. Give --behaviour past.")
    return recording._replace(panel=p._replace(inputs=inputs, known=inputs[:, stimuli] if use == "known" else None))


def text(value: object) -> str:
    """Return bytes or text as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
