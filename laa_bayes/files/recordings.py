"""How are recordings read? One function a format; all give ms, mV and pA (or uA/cm2) and say what they took."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hdf5io.errors import InputError

from ..neuron.recording import Recording
from . import abf, acquired, arrays, igor, nwb, tables
from .checks import check, check_size, uniform_step, without_tail
from .clock import note_of, warn_of_long_spikes
from .disturbances import warn_of_disturbances
from .others import refusal
from .request import Request, request_of

log = logging.getLogger("laa_bayes")


class Reader(NamedTuple):
    """How one format is read."""

    read: Callable[[Path, Request], Recording]
    n_sweeps: Callable[[Path, Request], int]


TABLE = Reader(tables.read_table, tables.n_sweeps)
HDF5 = Reader(arrays.read_hdf5, arrays.n_sweeps)
ACQUIRED = Reader(acquired.read_acquired, acquired.n_sweeps)
READERS = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat", ".asc", ".atf"), TABLE),
    **dict.fromkeys((".h5", ".hdf5"), HDF5),
    ".npz": Reader(arrays.read_npz, arrays.n_sweeps),
    ".abf": Reader(abf.read_abf, abf.n_sweeps),
    **dict.fromkeys((".axgx", ".axgd", ".smr", ".wcp"), ACQUIRED),
    ".nwb": Reader(nwb.read_nwb, nwb.n_sweeps),
    ".ibw": Reader(igor.read_ibw, igor.n_sweeps),
}


def reader_of(path: Path) -> Reader:
    """Return the reader of a file's format.

    Raises
    ------
    InputError
        No such file, an empty one, or an unknown format.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, a file is expected' if path.is_dir() else 'no such file'}.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty.")
    known = refusal(path)
    if known is not None:
        raise InputError(known)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: unknown format '{path.suffix}'. Expected one of {', '.join(sorted(READERS))}.")
    return reader


def read_recording(path: Path, request: Request | None = None) -> Recording:
    """Return the recording in a file of any supported format.

    Raises
    ------
    InputError
        Missing or empty file, unknown format, missing units, missing samples, irregular time, columns that look swapped, several
        electrodes or currents of which none was named.
    """
    path, request = Path(path), request or Request()
    reader = reader_of(path)
    if request.columns and reader is not TABLE:
        raise InputError(f"{path}: --columns is for headerless tables (CSV, TSV).")
    recording = without_tail(reader.read(path, request))
    if request.junction_mv:
        note = f"liquid junction potential {request.junction_mv:g} mV subtracted from the voltage"
        shifted = recording.v_mv - request.junction_mv
        recording = recording._replace(v_mv=shifted, notes=(*recording.notes, note))
    if request.current_file is not None:
        recording = with_current(recording, request)
    elif request.current_scale is not None:
        note = f"current multiplied by {request.current_scale:g}"
        scaled = request.current_scale * recording.current
        recording = recording._replace(current=scaled, notes=(*recording.notes, note))
    recording = check(recording, confirmed=request.current_scale is not None)
    warn_of_long_spikes(recording)
    warn_of_disturbances(recording)
    return recording._replace(notes=(note_of(recording), *recording.notes))


def n_sweeps(path: Path, request: Request | None = None) -> int:
    """Return how many sweeps a file holds."""
    return reader_of(Path(path)).n_sweeps(Path(path), request or Request())


def sweeps_asked(config: Any) -> tuple[list[int], int]:
    """Return the sweeps that the options of a command mean, and how many the file holds.

    Raises
    ------
    InputError
        A sweep that the file does not have.
    """
    path, n = config.recording, n_sweeps(config.recording, request_of(config, sweep=0))
    if n == 0:
        raise InputError(f"{path}: holds no sweep.")
    asked = [config.sweep] if config.sweeps is None else config.chosen_sweeps(n)
    if asked[-1] >= n:
        typed = f"--sweep {config.sweep}" if config.sweeps is None else f"--sweeps {config.sweeps}"
        raise InputError(f"{path}: {typed}, but the file has {n} sweep{'s' * (n > 1)} (0 to {n - 1}).")
    return asked, n


def read_current(path: Path, request: Request | None = None) -> tuple[np.ndarray, float, str]:
    """Return a current protocol (n_time,), its grid in ms and its unit (pA or uA/cm2) from a table or recording.

    Without a request the first of several sweeps is taken, which is said.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file, and no built-in protocol of that name.")
    reader = reader_of(path)
    if request is None and (n := (tables.n_currents if reader is TABLE else reader.n_sweeps)(path, Request())) > 1:
        log.warning(
            "%s: holds %d sweeps; the current of sweep 0 is taken. Export another one to a file of its own", path, n
        )
    request = request or Request()
    if reader is TABLE:
        time_ms, current, unit = tables.current_columns(path, request)
        if not np.all(np.isfinite(current)):
            raise InputError(f"{path}: missing values in the current.")
        if request.current_scale is not None:
            current = request.current_scale * current
        return current, uniform_step(path, time_ms), unit
    if reader is READERS[".ibw"]:
        return igor.read_current(path, request)
    recording = read_recording(path, request)
    return recording.current, recording.dt_ms, recording.current_unit


def with_current(recording: Recording, request: Request) -> Recording:
    """Return a recording with the current of ``current_file``, which begins with the recording's first sample.

    Raises
    ------
    InputError
        The file is shorter than the recording.
    """
    path = request.current_file
    assert path is not None
    current, dt_ms, unit = read_current(path, request._replace(columns=(), channel=None, current_file=None))
    if unit == "pA" and request.current_scale is None:
        check_size(path, current)
    if path.suffix.lower() == ".ibw" == Path(recording.source.split(":sweep")[0]).suffix.lower():
        igor.refuse_other_start(path, recording)
    n = len(recording.v_mv)
    if len(current) * dt_ms < (n - 0.5) * recording.dt_ms:
        raise InputError(
            f"--current-file {path}: lasts {len(current) * dt_ms:g} ms, the recording {n * recording.dt_ms:g} ms. They begin together."
        )
    place = np.minimum((np.arange(n) * recording.dt_ms / dt_ms + 1e-6).astype(int), len(current) - 1)
    factor = "" if request.current_scale is None else f", multiplied by {request.current_scale:g}"
    notes = (*(note for note in recording.notes if not note.startswith("current")), f"current: file {path}{factor}")
    return recording._replace(current=current[place], current_unit=unit, notes=notes)
