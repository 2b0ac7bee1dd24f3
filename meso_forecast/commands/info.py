"""``info``: what is this file or folder?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import InfoConfig
from ..console import Result, Run
from ..files.fov import FOVData
from ..files.one_cache import find_sessions
from ..files.recording import SCHEMA as RECORDING
from ..files.recording import open_recording
from ..files.sources import KNOWN, READERS, Given, kind_of
from ..files.suite2p import suite2p_planes

MADE = f"{KNOWN}; a ONE cache; a recording, forecast, model folder or report made here"


def run(config: InfoConfig, run: Run) -> Result:
    """Describe whatever lies at a path, and say what is typed next."""
    found = described(config.path)
    return found._replace(results={**found.results, "next": next_commands(config.path, found.results)})


def next_commands(path: Path, found: Mapping[str, Any]) -> list[str]:
    """Return the command lines that one types next; words in capitals are the reader's (``neuropipes doctor`` prints them)."""
    data, kind = shlex.quote(str(path)), found["kind"]
    made = {
        "model": [f"meso-forecast forecast {data} SESSION.h5 --output forecast.h5"],
        "ONE cache": [f"meso-forecast sessions {data} --output sessions.csv"],
        "recording": [f"meso-forecast compare {data} --output compare"],
        "forecast": [f"meso-forecast plot {data} SESSION.h5 --output figures"],
    }
    if "fovs" not in found:
        return made.get(kind, [])
    rate = "" if found["fovs"][0]["fs_hz"] else " --fs-hz HZ"
    return [
        f"meso-forecast preprocess {data}{rate} --output session.h5",
        "meso-forecast compare session.h5 --output compare",
    ]


def described(path: Path) -> Result:
    """Describe by what it is."""
    if path.is_dir():
        return of_folder(path)
    if path.suffix.lower() == ".json":
        return of_record(path)
    if h5py.is_hdf5(path):
        with hdf5io.read(path) as file:
            schema = str(file.attrs.get("schema", ""))
        if schema == RECORDING:
            return of_recording(path)
        if schema.startswith("meso_forecast/") and not schema.startswith("meso_forecast/activity"):
            return of_datasets(path, schema)
    return of_source(path)


def of_folder(path: Path) -> Result:
    """Describe a model folder, a report, a session, a suite2p folder or a cache."""
    if (path / "model.json").is_file():
        from ..files.model_folder import load_model  # here, since it brings scipy

        about = load_model(path).about
        results = {"kind": "model", **{k: about[k] for k in ("model", "context", "horizon", "recordings")}}
        n = ", ".join(str(r["n_neurons"]) for r in about["recordings"])
        return Result(
            {}, results, f"{path}: model {about['model']}, {about['context']} -> {about['horizon']} frames, {n} neurons"
        )
    if (path / "result.json").is_file():
        return of_record(path / "result.json")
    if (path / "alf").is_dir() or suite2p_planes(path):
        return of_source(path)
    sessions = find_sessions(path)
    if sessions:
        results = {"kind": "ONE cache", "sessions": [str(s) for s in sessions]}
        return Result(
            {}, results, f"{path}: a ONE cache of {len(sessions)} sessions with fields of view; 'sessions' lists them"
        )
    raise InputError(f"{path}: nothing that is known; expected {MADE}.")


def of_record(path: Path) -> Result:
    """Describe the record of a finished command."""
    record = hdf5io.read_json(path)
    if record.get("pipeline") != "meso_forecast":
        raise InputError(f"{path}: no record of a command of meso-forecast; expected {MADE}.")
    results = {
        "kind": f"result of {record.get('command')}",
        "line": record.get("line"),
        "outputs": record.get("outputs"),
    }
    return Result({}, results, f"{path.parent}: made by '{record.get('command')}': {record.get('line')}")


def of_recording(path: Path) -> Result:
    """Describe a preprocessed session."""
    r = open_recording(path)
    p = r.panel
    results = {
        "kind": "recording", "schema": RECORDING, "n_frames": len(r.times), "n_neurons": p.x.shape[1], "n_fovs": r.observed.shape[1],
        "dt_s": p.dt_s, "observed_fraction": float(p.usable.mean()), "stimuli": r.stimuli, "eid": r.eid, "notes": r.notes, "signal": r.signal,
        "frames": {name: int((p.label == value).sum()) for name, value in (("train", 0), ("validation", 1), ("test", 2))},
    }  # fmt: skip
    line = (
        f"{path}: recording ({RECORDING}), {p.x.shape[1]} neurons of {r.observed.shape[1]} fields of view, {len(r.times)} frames"
        f" of {p.dt_s:.3g} s, {p.usable.mean():.1%} observed in all"
    )
    return Result({}, results, line)


def of_datasets(path: Path, schema: str) -> Result:
    """Describe another file made here by its datasets."""
    with hdf5io.read(path) as file:
        shapes: dict[str, list[int]] = {}
        file.visititems(
            lambda name, item: shapes.__setitem__(name, list(item.shape or ())) if hasattr(item, "shape") else None
        )
    text = ", ".join(f"{k} {tuple(v)}" for k, v in list(shapes.items())[:6])
    return Result(
        {}, {"kind": schema.split("/")[1], "schema": schema, "datasets": shapes}, f"{path}: schema {schema}; {text}"
    )


def of_source(path: Path) -> Result:
    """Describe a session that `preprocess` would read."""
    kind = kind_of(str(path))
    known_rate = True
    try:
        session = READERS[kind](path, Given(skip_bad_fov=True))
    except InputError as error:
        if "give --fs-hz" not in str(error):
            raise
        session, known_rate = READERS[kind](path, Given(fs_hz=1.0)), False
    fovs = [of_fov(f, known_rate) for f in session.fovs]
    behaviour = session.behaviour()
    n_trials = sum(len(t.start) for t in behaviour.trials)
    results = {"kind": kind, "eid": session.eid, "subject": session.subject, "fovs": fovs, "n_trials": n_trials,
               "wheel": bool(behaviour.wheels), "sure": kind != "matrix", "skipped": session.skipped}  # fmt: skip
    rate = f"{fovs[0]['fs_hz']:.4g} Hz" if known_rate else "a frame rate that is not said (--fs-hz)"
    n = sum(f["n_cells"] for f in fovs)
    line = f"{path}: {kind}, {len(fovs)} fields of view, {n} cells, {fovs[0]['n_frames']} frames at {rate}, {n_trials} trials"
    return Result({}, results, line)


def of_fov(fov: FOVData, known_rate: bool) -> dict[str, Any]:
    """Return what a field of view holds."""
    step = np.diff(fov.times)
    period = float(np.median(step)) if len(step) else np.nan
    signals = [name for name in ("fluorescence", "neuropil", "deconvolved") if getattr(fov, name) is not None]
    return {
        "name": fov.name, "n_frames": fov.n_time, "n_rois": fov.n_rois, "n_cells": int((fov.roi_type == 1).sum()),
        "fs_hz": 1 / period if known_rate else None, "duration_s": float(fov.times[-1] - fov.times[0]) if known_rate else None,
        "signals": signals, "bad_frames": int(fov.bad_frames.sum()), "gaps": int((step > 1.5 * period).sum()),
        "used_as_it_is": fov.processed,
    }  # fmt: skip
