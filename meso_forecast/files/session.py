"""What is a mesoscope session, and how is it opened? One class for ONE, ALF folders, suite2p, NWB and activity files.

`MesoscopeSession` holds FOVs with clocks of their own. `activity` puts them on one time axis: at each time of the common clock a
FOV shows its last frame at or before that time, never a later one. Old activity files (``/activity_matrix``, ``/timestamps``) open
too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

import hdf5io
from hdf5io import Dataset
from hdf5io.errors import InputError

from ..activity.covariates import Behaviour
from ..activity.windows import frame_interval
from .activity_file import activity_fov
from .alf import Finder, alf_fov, folder_finder, fov_names
from .behaviour import alf_behaviour
from .caiman import caiman_fov
from .fov import FOVData
from .matrices import npy_fov
from .nwb import nwb_fovs, whose
from .nwb_behaviour import nwb_behaviour
from .one_cache import one_finder, session_id
from .suite2p import suite2p_fov, suite2p_planes
from .text_table import csv_fov
from .toolboxes import mat_fov, minian_fov

log = logging.getLogger(__package__)
Reader = Callable[[], FOVData]
SCHEMA = "meso_forecast/activity/1"


class MesoscopeSession(BaseModel):
    """One recording session of several fields of view."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    fovs: list[FOVData]
    eid: str = Field("", description="experiment id")
    subject: str = ""
    date: str = ""
    number: str = ""
    lab: str = ""
    path: Path | None = Field(None, description="session folder or NWB file, for trials and wheel")
    revision: str | None = Field(None, description="newest revision of ALF datasets that is taken")
    skipped: dict[str, str] = Field(default_factory=dict, description="FOVs that were left out, and why")

    # --- opening -------------------------------------------------------------------------------------------------------------

    @classmethod
    def from_path(
        cls, folder: str | Path, *, skip_bad_fov: bool = False, line_axis: int = 0, revision: str | None = None,
        trim_times: bool = False,
    ) -> MesoscopeSession:  # fmt: skip
        """Open an ALF session folder ``[<lab>/]Subjects/<subject>/<date>/<number>``; InputError says what is wrong where.

        ``revision``: the newest to take of each dataset; None takes the newest of all.
        """
        folder = Path(folder)
        alf = folder / "alf"
        places = [alf / name for name in fov_names((p.name for p in alf.glob("FOV_*") if p.is_dir()), alf)]
        if not places:
            raise InputError(
                f"{folder}: no alf/FOV_XX folders. Give the session folder <lab>/Subjects/<subject>/<date>/<number>."
            )
        finders = {p.name: (folder_finder(p, revision), p) for p in places}
        fovs, skipped = open_fovs(alf_readers(finders, line_axis, trim_times), skip_bad_fov)
        return cls(fovs=fovs, eid=session_id(*name_parts(folder)), **named(folder), skipped=skipped, revision=revision)

    @classmethod
    def from_eid(
        cls, one: Any, eid: str, *, skip_bad_fov: bool = False, line_axis: int = 0, revision: str | None = None,
        trim_times: bool = False,
    ) -> MesoscopeSession:  # fmt: skip
        """Open a session through the ONE API; local and remote modes run the same code (only local mode has been tested).

        Files are asked for one by one without hash checks, and mapped, not loaded; each in its newest revision, as by folder.
        """
        with hdf5io.parsing(f"eid {eid}", "a session of this ONE cache"):
            listed = [re.sub("/#.*", "", str(c)) for c in one.list_collections(eid, collection="alf/FOV_*")]
            collections = [f"alf/{name}" for name in fov_names((c.rsplit("/", 1)[-1] for c in listed), f"eid {eid}")]
            place = one.eid2path(eid)
        if not collections or place is None:
            raise InputError(f"eid {eid}: the ONE cache lists no collection alf/FOV_*.")
        folder = Path(str(place))
        finders = {c.rsplit("/", 1)[-1]: (one_finder(one, eid, c, revision), folder / c) for c in collections}
        fovs, skipped = open_fovs(alf_readers(finders, line_axis, trim_times), skip_bad_fov)
        return cls(fovs=fovs, eid=str(eid), **named(folder), skipped=skipped, revision=revision)

    @classmethod
    def from_csv(cls, one: Any, csv: str | Path, index: int, **given: Any) -> MesoscopeSession:
        """Open the session in row ``index`` of a CSV file with a column ``eid`` (see the command ``sessions``)."""
        import pandas as pd

        with hdf5io.parsing(csv, "a table of sessions"):
            table = pd.read_csv(csv, dtype={"eid": str})
        if "eid" not in table:
            raise InputError(f"{csv}: no column 'eid'; there are {', '.join(map(str, table.columns))}.")
        if not 0 <= index < len(table):
            raise InputError(f"{csv}: no row {index}; rows are 0 to {len(table) - 1}.")
        return cls.from_eid(one, str(table["eid"].iloc[index]), **given)

    @classmethod
    def from_suite2p(
        cls, folder: str | Path, fs_hz: float | None = None, *, trim_times: bool = False, skip_bad_fov: bool = False
    ) -> MesoscopeSession:
        """Open a suite2p folder: one plane, a folder of ``plane0``, ``plane1``, ..., or one with ``suite2p`` in it."""
        folder = Path(folder)
        planes = suite2p_planes(folder)
        if not planes:
            raise InputError(f"{folder}: no F.npy here nor in plane*/; expected a suite2p folder.")
        fovs, skipped = open_fovs(
            {p.name: partial(suite2p_fov, p, fs_hz, trim_times=trim_times) for p in planes}, skip_bad_fov
        )
        return cls(fovs=fovs, eid=folder.name, skipped=skipped)

    @classmethod
    def from_fall(cls, path: str | Path, fs_hz: float | None = None) -> MesoscopeSession:
        """Open what suite2p (``Fall.mat``), CNMF-E, EXTRACT or MIN1PIPE saved as a MATLAB file."""
        return cls(fovs=[mat_fov(Path(path), fs_hz)], eid=Path(path).stem)

    @classmethod
    def from_minian(cls, path: str | Path, fs_hz: float | None = None) -> MesoscopeSession:
        """Open the units of Minian's netCDF file."""
        return cls(fovs=[minian_fov(Path(path), fs_hz)], eid=Path(path).stem)

    @classmethod
    def from_nwb(cls, path: str | Path, *, skip_bad_fov: bool = False, **given: Any) -> MesoscopeSession:
        """Open the two-photon traces of an NWB file; ``given`` as in `nwb.nwb_fovs`."""
        path = Path(path)
        fovs, skipped = open_fovs({f.name: partial(FOVData.check, f) for f in nwb_fovs(path, **given)}, skip_bad_fov)
        return cls(fovs=fovs, eid=path.stem, path=path, skipped=skipped, **whose(path))

    @classmethod
    def from_caiman(cls, path: str | Path, fs_hz: float | None = None) -> MesoscopeSession:
        """Open the components of a CaImAn HDF5 file."""
        return cls(fovs=[caiman_fov(Path(path), fs_hz)], eid=Path(path).stem)

    @classmethod
    def from_matrix(
        cls, path: str | Path, fs_hz: float | None = None, time_axis: str | None = None
    ) -> MesoscopeSession:
        """Open a plain matrix of activity, .npy or text."""
        path = Path(path)
        read = npy_fov if path.suffix.lower() == ".npy" else csv_fov
        return cls(fovs=[read(path, fs_hz, time_axis)], eid=path.stem)

    @classmethod
    def from_activity_file(cls, path: str | Path, *, trim_times: bool = False) -> MesoscopeSession:
        """Open an activity HDF5 file, ours or the original's; the activity is used as it is."""
        fov, attrs = activity_fov(Path(path), trim_times)
        return cls(fovs=[fov], **{k: attrs.get(k, "") for k in ("eid", "subject", "date", "lab")})

    def behaviour(self) -> Behaviour:
        """Return trials and wheel, by their own clocks; empty where the source has none."""
        if self.path is None:
            return Behaviour()
        return alf_behaviour(self.path, self.revision) if self.path.is_dir() else nwb_behaviour(self.path)

    # --- using ---------------------------------------------------------------------------------------------------------------

    @property
    def n_rois(self) -> int:
        """Return the number of ROIs of all FOVs."""
        return sum(f.n_rois for f in self.fovs)

    def clock(self) -> np.ndarray:
        """Return the common clock, (time,) seconds: frames of the slowest FOV, of equal ones that which starts last, while all run."""
        periods = [frame_interval(f.times) if len(f.times) > 1 else 0.0 for f in self.fovs]
        slow = [f for f, period in zip(self.fovs, periods) if period > 0.99 * max(periods)]
        reference = max(slow, key=lambda f: f.times[0])
        start = max(f.times[0] for f in self.fovs)
        stop = min(f.times[-1] + period for f, period in zip(self.fovs, periods))
        return reference.times[(reference.times >= start - 1e-9) & (reference.times < stop)]

    def frames(self, clock: np.ndarray) -> list[np.ndarray]:
        """Return for each FOV its last frame at or before each time of the clock, (time,)."""
        return [np.searchsorted(f.times, clock + 1e-9, side="right") - 1 for f in self.fovs]

    def get_activity_matrix(self, time_window: float | None = None, **given: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return raw fluorescence of the cells, (time, neuron) float32, and times in s; the first ``time_window`` seconds."""
        return self._matrix(time_window, 0.0, dff=False, **given)

    def get_dff_activity_matrix(self, neucoeff: float = 0.7, time_window: float | None = None, **given: Any):
        """Return neuropil-corrected fluorescence ``F - neucoeff * Fneu``, (time, neuron) float32, and times in s.

        As in the original, this is the correction without division by a baseline; `preprocess` divides by a causal one.
        """
        return self._matrix(time_window, neucoeff, dff=True, **given)

    def require_neuropil(self, neucoeff: float) -> None:
        """Raise an InputError where a FOV lacks the neuropil that ``neucoeff`` times is to be taken off."""
        for fov in self.fovs:
            if neucoeff and not fov.processed and fov.neuropil is None:
                raise InputError(f"{fov.where}: no neuropil traces; use --neucoeff 0 or --signal raw to go without.")

    def _matrix(self, time_window: float | None, neucoeff: float, dff: bool, least_probability: float = 0.0):
        self.require_neuropil(neucoeff if dff else 0.0)
        clock = self.clock()
        if time_window is not None:
            clock = clock[clock < clock[0] + time_window]
        columns = []
        for fov, frame in zip(self.fovs, self.frames(clock)):
            cells = fov.cells(least_probability)
            x = fov.fluorescence.read(0, int(frame[-1]) + 1, cells)
            if dff and not fov.processed and neucoeff and fov.neuropil is not None:
                x = x - np.float32(neucoeff) * fov.neuropil.read(0, int(frame[-1]) + 1, cells)
            columns.append(x[frame])
        return np.concatenate(columns, axis=1), clock

    def save_activity_matrix(self, path: str | Path, time_window: float | None = None, overwrite: bool = False) -> Path:
        """Write `get_activity_matrix` to an HDF5 file with ``/activity_matrix`` and ``/timestamps``."""
        activity, times = self.get_activity_matrix(time_window)
        return self._save(path, activity, times, self.kept_or("raw fluorescence"), overwrite)

    def save_dff_activity_matrix(
        self, path: str | Path, neucoeff: float = 0.7, time_window: float | None = None, overwrite: bool = False
    ):
        """Write `get_dff_activity_matrix` to an HDF5 file with ``/activity_matrix`` and ``/timestamps``."""
        activity, times = self.get_dff_activity_matrix(neucoeff, time_window)
        return self._save(path, activity, times, self.kept_or(f"F - {neucoeff:g} Fneu"), overwrite)

    def kept_or(self, made: str) -> str:
        """Return what activity is: ``made`` from fluorescence, or what the file holds, where that is used as it is."""
        kept = {"as the file has it" if f.processed else made for f in self.fovs}
        return " or ".join(sorted(kept))

    def _save(self, path: str | Path, activity: np.ndarray, times: np.ndarray, what: str, overwrite: bool) -> Path:
        datasets = {
            "activity_matrix": Dataset(activity, "a.u.", f"activity of all cells, {what}", ("time", "neuron")),
            "timestamps": Dataset(times, "s", "time of each frame", ("time",)),
        }
        attrs = {"eid": self.eid, "subject": self.subject, "date": self.date, "lab": self.lab}
        attrs["ahead"] = next((f.ahead for f in self.fovs if f.ahead), "")
        return hdf5io.write(path, SCHEMA, datasets, attrs=attrs, overwrite=overwrite)

    @staticmethod
    def load_session_from_hdf5(path: str | Path) -> tuple[np.ndarray, np.ndarray, str]:
        """Return ``(activity (time, neuron), timestamps, eid)`` of an activity file, ours or the original's."""
        fov, attrs = activity_fov(Path(path))
        return fov.fluorescence.read(0, fov.n_time), fov.times, attrs.get("eid", "")

    @staticmethod
    def load_activity_matrix(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(activity (time, neuron), timestamps)`` of an activity file."""
        return MesoscopeSession.load_session_from_hdf5(path)[:2]


def alf_readers(finders: Mapping[str, tuple[Finder, Path]], line_axis: int, trim_times: bool) -> dict[str, Reader]:
    """Return what reads each FOV of an ALF session."""
    return {name: partial(alf_fov, name, find, where, line_axis, trim_times) for name, (find, where) in finders.items()}


def open_fovs(readers: Mapping[str, Reader], skip_bad_fov: bool) -> tuple[list[FOVData], dict[str, str]]:
    """Return opened FOVs and those left out; a bad FOV is an error unless it may be skipped, and then a warning."""
    fovs, skipped = [], {}
    for name, read in readers.items():
        try:
            fov = read()
            fov.cells()
            fovs.append(fov)
        except InputError as error:
            if not skip_bad_fov:
                advice = " Leave this FOV out with --skip-bad-fov." if len(readers) > 1 else ""
                raise InputError(str(error) + advice * ("--skip-bad-fov" not in str(error))) from None
            skipped[name] = str(error)
            log.warning("%s is left out: %s", name, error)
    if not fovs:
        raise InputError(f"no FOV is left: {'; '.join(skipped.values())}")
    return fovs, skipped


def named(folder: Path) -> dict[str, Any]:
    """Return what the path of a session says of it, by field of `MesoscopeSession`."""
    lab, subject, date, number = name_parts(folder)
    return {"lab": lab, "subject": subject, "date": date, "number": number, "path": folder}


def name_parts(folder: Path) -> tuple[str, str, str, str]:
    """Return (lab, subject, date, number) of an ALF session path; empty text where the path does not say."""
    parts = folder.resolve().parts
    if len(parts) >= 5 and parts[-4] == "Subjects":
        return parts[-5], parts[-3], parts[-2], parts[-1]
    if len(parts) >= 4:
        return "", parts[-3], parts[-2], parts[-1]
    return "", "", "", folder.name
