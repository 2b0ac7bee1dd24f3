"""What is a mesoscope session, and how is it opened? One class for ONE, ALF folders, suite2p, NWB and activity files.

`MesoscopeSession` holds FOVs with clocks of their own. `activity` puts them on one time axis: at each time of the common clock a
FOV shows its last frame at or before that time, never a later one. Old activity files (``/activity_matrix``, ``/timestamps``) open
too.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

import hdf5io
from hdf5io import Dataset, InputError

from .fov import FOVData
from .sources import activity_fov, alf_fov, folder_finder, nwb_fovs, suite2p_fov

log = logging.getLogger(__package__)
SCHEMA = "meso_forecast/activity/1"
CHUNK_FRAMES = 2048


class MesoscopeSession(BaseModel):
    """One recording session of several fields of view."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    fovs: list[FOVData]
    eid: str = Field("", description="experiment id")
    subject: str = ""
    date: str = ""
    number: str = ""
    lab: str = ""
    path: Path | None = Field(None, description="session folder, for trials and wheel")
    skipped: dict[str, str] = Field(default_factory=dict, description="FOVs that were left out, and why")

    # --- opening -------------------------------------------------------------------------------------------------------------

    @classmethod
    def from_path(cls, folder: str | Path, *, skip_bad_fov: bool = False, line_axis: int = 0) -> MesoscopeSession:
        """Open an ALF session folder ``.../<lab>/Subjects/<subject>/<date>/<number>``; InputError says what is wrong where."""
        folder = Path(folder)
        places = sorted(p for p in (folder / "alf").glob("FOV_*") if p.is_dir())
        if not places:
            raise InputError(
                f"{folder}: no alf/FOV_XX folders. Give the session folder <lab>/Subjects/<subject>/<date>/<number>."
            )
        finders = {p.name: (folder_finder(p), p) for p in places}
        fovs, skipped = open_fovs(finders, skip_bad_fov, line_axis)
        lab, subject, date, number = name_parts(folder)
        eid = session_id(lab, subject, date, number)
        return cls(fovs=fovs, eid=eid, subject=subject, date=date, number=number, lab=lab, path=folder, skipped=skipped)

    @classmethod
    def from_eid(cls, one: Any, eid: str, *, skip_bad_fov: bool = False, line_axis: int = 0) -> MesoscopeSession:
        """Open a session through the ONE API; local and remote modes run the same code (only local mode has been tested).

        Files are asked for one by one without hash checks, and mapped, not loaded.
        """
        collections = sorted(one.list_collections(eid, collection="alf/FOV_*"))
        if not collections:
            raise InputError(f"eid {eid}: the ONE cache lists no collection alf/FOV_*.")
        folder = Path(str(one.eid2path(eid)))
        finders = {c.rsplit("/", 1)[-1]: (one_finder(one, eid, c), folder / c) for c in collections}
        fovs, skipped = open_fovs(finders, skip_bad_fov, line_axis)
        lab, subject, date, number = name_parts(folder)
        return cls(
            fovs=fovs, eid=str(eid), subject=subject, date=date, number=number, lab=lab, path=folder, skipped=skipped
        )

    @classmethod
    def from_csv(cls, one: Any, csv: str | Path, index: int, **given: Any) -> MesoscopeSession:
        """Open the session in row ``index`` of a CSV file with a column ``eid`` (see the command ``sessions``)."""
        import pandas as pd

        if not Path(csv).is_file():
            raise InputError(f"{csv}: no such file.")
        table = pd.read_csv(csv, dtype={"eid": str})
        if "eid" not in table:
            raise InputError(f"{csv}: no column 'eid'; there are {', '.join(map(str, table.columns))}.")
        if not 0 <= index < len(table):
            raise InputError(f"{csv}: no row {index}; rows are 0 to {len(table) - 1}.")
        return cls.from_eid(one, str(table["eid"].iloc[index]), **given)

    @classmethod
    def from_suite2p(cls, folder: str | Path, fs_hz: float) -> MesoscopeSession:
        """Open a suite2p folder: one plane, or a folder of ``plane0``, ``plane1``, ..."""
        folder = Path(folder)
        planes = [folder] if (folder / "F.npy").is_file() else sorted(p.parent for p in folder.glob("plane*/F.npy"))
        if not planes:
            raise InputError(f"{folder}: no F.npy here nor in plane*/; expected a suite2p folder.")
        return cls(fovs=[suite2p_fov(p, fs_hz) for p in planes], eid=folder.name)

    @classmethod
    def from_nwb(cls, path: str | Path) -> MesoscopeSession:
        """Open the two-photon traces of an NWB file."""
        return cls(fovs=nwb_fovs(Path(path)), eid=Path(path).stem)

    @classmethod
    def from_activity_file(cls, path: str | Path) -> MesoscopeSession:
        """Open an activity HDF5 file, ours or the original's; the activity is used as it is."""
        fov, attrs = activity_fov(Path(path))
        return cls(fovs=[fov], **{k: attrs.get(k, "") for k in ("eid", "subject", "date", "lab")})

    # --- using ---------------------------------------------------------------------------------------------------------------

    @property
    def n_rois(self) -> int:
        """Return the number of ROIs of all FOVs."""
        return sum(f.n_rois for f in self.fovs)

    def clock(self) -> np.ndarray:
        """Return the common clock, (time,) seconds: frames of the FOV that starts last, while all FOVs run."""
        latest = max(self.fovs, key=lambda f: f.times[0])
        stop = min(f.times[-1] + np.median(np.diff(f.times)) for f in self.fovs)
        return latest.times[latest.times < stop]

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

    def _matrix(self, time_window: float | None, neucoeff: float, dff: bool, least_probability: float = 0.0):
        clock = self.clock()
        if time_window is not None:
            clock = clock[clock < clock[0] + time_window]
        columns = []
        for fov, frame in zip(self.fovs, self.frames(clock)):
            cells = fov.cells(least_probability)
            x = fov.fluorescence.read(0, int(frame[-1]) + 1, cells)
            if dff and not fov.processed:
                if fov.neuropil is None:
                    raise InputError(
                        f"{fov.fluorescence} ({fov.name}): no neuropil traces (mpci.ROINeuropilActivityF); give neucoeff to raw data only."
                    )
                x = x - np.float32(neucoeff) * fov.neuropil.read(0, int(frame[-1]) + 1, cells)
            columns.append(x[frame])
        return np.concatenate(columns, axis=1), clock

    def save_activity_matrix(self, path: str | Path, time_window: float | None = None, overwrite: bool = False) -> Path:
        """Write `get_activity_matrix` to an HDF5 file with ``/activity_matrix`` and ``/timestamps``."""
        return self._save(path, *self.get_activity_matrix(time_window), "raw fluorescence", overwrite)

    def save_dff_activity_matrix(
        self, path: str | Path, neucoeff: float = 0.7, time_window: float | None = None, overwrite: bool = False
    ):
        """Write `get_dff_activity_matrix` to an HDF5 file with ``/activity_matrix`` and ``/timestamps``."""
        return self._save(
            path, *self.get_dff_activity_matrix(neucoeff, time_window), f"F - {neucoeff:g} Fneu", overwrite
        )

    def _save(self, path: str | Path, activity: np.ndarray, times: np.ndarray, what: str, overwrite: bool) -> Path:
        datasets = {
            "activity_matrix": Dataset(activity, "a.u.", f"activity of all cells, {what}", ("time", "neuron")),
            "timestamps": Dataset(times, "s", "time of each frame", ("time",)),
        }
        attrs = {"eid": self.eid, "subject": self.subject, "date": self.date, "lab": self.lab}
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


def open_fovs(finders, skip_bad_fov: bool, line_axis: int) -> tuple[list[FOVData], dict[str, str]]:
    """Return opened FOVs and those left out; a bad FOV is an error unless it may be skipped, and then a warning."""
    fovs, skipped = [], {}
    for name, (find, where) in finders.items():
        try:
            fov = alf_fov(name, find, where, line_axis)
            fov.cells()
            fovs.append(fov)
        except InputError as error:
            if not skip_bad_fov:
                raise
            skipped[name] = str(error)
            log.warning("%s is left out: %s", name, error)
    if not fovs:
        raise InputError(f"no FOV is left: {'; '.join(skipped.values())}")
    return fovs, skipped


def one_finder(one: Any, eid: str, collection: str):
    """Return a finder that asks ONE for the file of a dataset, None where the session has none."""
    listed = {str(d).rsplit("/", 1)[-1] for d in one.list_datasets(eid, collection=collection)}

    def find(name: str) -> Path | None:
        if name not in listed:
            return None
        return Path(str(one.load_dataset(eid, name, collection=collection, download_only=True, check_hash=False)))

    return find


def name_parts(folder: Path) -> tuple[str, str, str, str]:
    """Return (lab, subject, date, number) of an ALF session path; empty text where the path does not say."""
    parts = folder.resolve().parts
    if len(parts) >= 5 and parts[-4] == "Subjects":
        return parts[-5], parts[-3], parts[-2], parts[-1]
    if len(parts) >= 4:
        return "", parts[-3], parts[-2], parts[-1]
    return "", "", "", folder.name


def open_one(cache: str | Path, tables: str | Path | None = None):
    """Return ONE in local mode on a folder of ALF sessions; the index is made in ``tables`` (default: a private folder).

    Session ids are uuid3 of lab/subject/date/number, so that indexing twice gives the same ids; the data folder is only read.
    """
    import tempfile

    from one.alf.cache import make_parquet_db
    from one.api import One

    cache = Path(cache)
    if not cache.is_dir():
        raise InputError(f"{cache}: no such folder; --one-cache is the folder that holds <lab>/Subjects/...")
    out = Path(tables) if tables is not None else Path(tempfile.mkdtemp(prefix="one_tables_"))
    if not (out / "sessions.pqt").exists():
        out.mkdir(parents=True, exist_ok=True)
        make_parquet_db(cache, out)
        stable_ids(out)
    return One(cache_dir=cache, mode="local", tables_dir=out)


def stable_ids(tables: Path) -> None:
    """Rewrite the ids of an index: uuid3 of lab/subject/date/number for a session, of that and the path for a dataset."""
    from iblutil.io import parquet

    sessions, about = parquet.load(tables / "sessions.pqt")
    datasets, about_datasets = parquet.load(tables / "datasets.pqt")
    new = {old: session_id(r.lab, r.subject, str(r.date), f"{int(r.number):03d}") for old, r in sessions.iterrows()}
    index = [(new[old], str(uuid.uuid3(uuid.UUID(new[old]), path))) for (old, _), path in datasets["rel_path"].items()]
    datasets["default_revision"] = True  # none has several; without the column ONE warns at every file
    sessions.index = sessions.index.map(new)
    datasets.index = datasets.index.__class__.from_tuples(index, names=datasets.index.names)
    parquet.save(tables / "sessions.pqt", sessions.sort_index(), about)
    parquet.save(tables / "datasets.pqt", datasets.sort_index(), about_datasets)


def session_id(lab: str, subject: str, date: str, number: str) -> str:
    """Return the id of a session that an index made twice gives twice."""
    return str(uuid.uuid3(uuid.NAMESPACE_URL, f"{lab}/{subject}/{date}/{number}"))


def find_sessions(cache: str | Path) -> Sequence[Path]:
    """Return all ALF session folders below a folder, sorted."""
    return sorted({p.parent.parent for p in Path(cache).glob("*/Subjects/*/*/*/alf/FOV_*") if p.is_dir()})


def is_nwb(path: Path) -> bool:
    """Return whether an HDF5 file is NWB."""
    with hdf5io.read(path) as file:
        return "nwb_version" in file.attrs or isinstance(file.get("processing"), h5py.Group)
