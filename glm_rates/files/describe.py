"""Which of the formats that come in and go out is this, and what is in it?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hdf5io
from hdf5io.errors import InputError

from . import exchange
from .blech import read_recording
from .hdf5 import parsing
from .recordings import read_times
from .stored import GROUP, SCHEMA
from .tables import READERS as TABLES

OPTIONS = {"blech_clust directory": ("h5",), "NWB file": ("intervals",), "spike table": ("sampling_rate",)}
TIMES = {"label_column": "none", "align_column": None}


def describe(path: Path, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Kind of a file or folder, and what is in it; ``options`` are those of `infer` that say how it is read.

    Raises
    ------
    InputError
        Nothing that this pipeline reads or makes, or an option that this kind has no place for.
    """
    for kind, belongs, tell in KINDS:
        if belongs(path):
            allowed = OPTIONS.get(kind, ())
            odd = [name for name in options or {} if name not in allowed]
            if odd:
                raise InputError(f"{path}: --{odd[0].replace('_', '-')} says nothing of a {kind}.")
            return kind, tell(path, **(options or {}))
    raise InputError(
        f"{path}: no recording and no result of glm-rates; expected a blech_clust directory, an exchange folder, results (.h5), "
        ".nwb, or a spike table (.csv, .tsv, .parquet, .npz)."
    )


def _exchange(path: Path) -> dict[str, Any]:
    params, arrays = exchange.load(path, "extract")
    n_trials, n_bins, n_units = arrays["counts"].shape
    return {"source": params["source"], "n_units": n_units, "n_trials": n_trials, "n_bins": n_bins,
            "bin_ms": params["bin_size"], "tastes": params["tastes"], "regions": sorted(set(params["regions"])),
            "fitted": (path / "fit.json").is_file()}  # fmt: skip


def _blech(path: Path, h5: str | None = None) -> dict[str, Any]:
    found = read_recording(path, h5)
    shapes = [found.shapes[taste.dig_in] for taste in found.tastes]
    return {"file": found.h5.name, "n_units": shapes[0][1], "n_trials": sum(shape[0] for shape in shapes),
            "tastes": [taste.label for taste in found.tastes], "trial_ms": shapes[0][2], "stimulus_ms": found.before_ms,
            "regions": sorted(set(found.unit_region)), "has_results": _has_results(found.h5)}  # fmt: skip


def _times(path: Path, **options: Any) -> dict[str, Any]:
    found = read_times(path, TIMES | options)
    spans = [(t.min(), t.max()) for t in found.times_s if len(t)]
    return {"n_units": len(found.unit_id), "n_spikes": sum(map(len, found.times_s)),
            "first_s": min((s[0] for s in spans), default=None), "last_s": max((s[1] for s in spans), default=None),
            "n_events": len(found.event_s), "labels": list(dict.fromkeys(found.label)),
            "regions": sorted(set(found.region))}  # fmt: skip


def _results(path: Path) -> dict[str, Any]:
    with hdf5io.read(path) as file, parsing(path, "results of glm-rates"):
        node = file.get(GROUP, file)
        params, meta = json.loads(node.attrs["params"]), json.loads(node.attrs["meta"])
        models = {name: row["pooled"] for name, row in meta["summary"]["models"].items()}
        return {"n_units": len(params["regions"]), "tastes": params["tastes"], "bin_ms": params["bin_ms"],
                "regions": sorted(set(params["regions"])), "populations": len(meta["populations"]),
                **{f"held-out bits per spike, {name}": value for name, value in models.items()}}  # fmt: skip


def _tables(path: Path) -> dict[str, Any]:
    document = hdf5io.read_json(path / "artifacts" / "params.json")
    return {
        "tastes": document.get("tastes"),
        "bin_ms": document.get("bin_ms"),
        "models": len(document.get("populations", [])),
    }


def _has_results(path: Path) -> bool:
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return False
    with hdf5io.read(path) as file, parsing(path, "results of glm-rates"):
        node = file.get(GROUP, file)
        return node.attrs.get("schema") == SCHEMA


def _is_table(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in TABLES


#: kind, how it is recognised, what is told of it; the first that fits
KINDS: list[tuple[str, Callable[[Path], bool], Callable[..., dict[str, Any]]]] = [
    ("exchange folder of glm-rates extract", lambda p: (p / "extract.json").is_file(), _exchange),
    ("tables and models of glm-rates infer", lambda p: (p / "artifacts" / "params.json").is_file(), _tables),
    ("blech_clust directory", lambda p: p.is_dir() and any(p.glob("*.info")), _blech),
    ("NWB file", lambda p: p.is_file() and p.suffix.lower() == ".nwb", _times),
    ("results of glm-rates infer", lambda p: p.is_file() and _has_results(p), _results),
    ("spike table", _is_table, _times),
]
