"""What do figures and reports know of a finished run? Results read back from a recording or a file of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .hdf5 import parsing

SCHEMA = "glm_rates/infer/1"
GROUP = "glm_output"


class Stored(NamedTuple):
    """Results as figures and reports need them."""

    tastes: list[str]
    regions: list[str]  # (unit,)
    bin_ms: int
    time_ms: np.ndarray  # (bin,) start of each bin from the stimulus, or from the start of the segment
    has_stimulus: bool
    arrays: dict[
        str, np.ndarray
    ]  # counts, rate, log_rate_sd, rate_cv (trial, bin, unit); taste (trial,); ks_curve, ...
    populations: list[dict]  # region, taste, units and filters
    scores: dict[str, np.ndarray]  # model -> (unit,) held-out bits per spike
    score_errors: dict[str, np.ndarray]  # model -> (unit,) their standard errors over folds
    summary: dict[str, Any]
    provenance: dict[str, str]
    covariates: list[dict] = []  # noqa: RUF012 (never changed)
    units: dict[str, list] = {}  # noqa: RUF012 (columns of the units as text or numbers)
    kind: str = "stimulus"  # what the labels of trials name: stimulus, taste, odour; recording where there are none


def safe_names(regions: Iterable[str]) -> dict[str, str]:
    """What each region is called in paths of files and of HDF5: letters of any language stay, what parts a path does not.

    Examples
    --------
    >>> safe_names(["VISp2/3", "VISp2-3", ".."])
    {'VISp2/3': 'VISp2-3', 'VISp2-3': 'VISp2-3_2', '..': '_'}
    """
    out: dict[str, str] = {}
    for name in dict.fromkeys(regions):
        clean = "".join("-" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in name).strip(" .") or "_"
        number = 2
        unique = clean
        while unique in out.values():
            unique, number = f"{clean}_{number}", number + 1
        out[name] = unique
    return out


def population_names(params: dict, populations: list[dict]) -> list[str]:
    """Names of the populations in files: the region's, and the taste's number with --separate-tastes."""
    safe = safe_names(["all", *params["regions"]])
    return [safe[p["region"]] + ("" if p["taste"] is None else f"_taste_{p['taste']}") for p in populations]


def stored_digest(path: Path, group: str) -> str | None:
    """Digest of the results in a file, None where there are none."""
    if not path.is_file():
        return None
    with hdf5io.read(path) as file, parsing(path, "results of glm-rates"):
        node = file.get(group) if group else file
        return None if node is None else node.attrs.get("digest")


def read_results(path: Path) -> Stored:
    """Read results back from a recording or a separate file.

    Raises
    ------
    InputError
        The file holds no results of this pipeline.
    """
    with hdf5io.read(path) as file, parsing(path, "results of glm-rates"):
        node = file.get(GROUP, file)
        if node.attrs.get("schema") != SCHEMA:
            raise InputError(f"{path}: no results of glm-rates in it. Run 'glm-rates infer' first.")
        params, meta = json.loads(node.attrs["params"]), json.loads(node.attrs["meta"])
        taste, place, trial = node["stacked/trial_index"][:]
        to_count = params["bin_ms"] / 1000
        arrays = {"taste": taste, "trial": trial, "ks_curve": node["ks_curve"][:]}
        if "window_start_s" in node["stacked"]:
            arrays["start_s"] = node["stacked/window_start_s"][:]
        stacks = {
            "counts": ("binned_spikes", 1.0),
            "rate": ("pred_firing_hz", to_count),
            "log_rate_sd": ("log_rate_sd", 1.0),
        }
        stacks["rate_cv"] = ("pred_firing_cv_hz", to_count)
        for name, (stored, factor) in stacks.items():
            if stored in node["stacked"]:
                arrays[name] = node["stacked/" + stored][:][taste, place].transpose(0, 2, 1) * factor
        units = {name: column[:] for name, column in node["units"].items()}
        populations = []
        for name, population in zip(population_names(params, meta["populations"]), meta["populations"]):
            group = node["populations/" + name]
            populations.append({**population, **{k: v[:] for k, v in group.items() if k not in ("units",)}})
        provenance = {k: str(v) for k, v in node["provenance"].attrs.items()}
    arrays |= {k: v for k, v in units.items() if v.dtype.kind in "fib"}
    scores = {name: units["cv " + name] for name in meta["scored"][1:]}
    errors = {name: units[f"cv {name} se"] for name in meta["scored"][1:] if f"cv {name} se" in units}
    n_bins = params["window"][1] - params["window"][0]
    origin = params["onset_bin"] if params["stimulus"] else 0
    time_ms = (np.arange(n_bins) + params["window"][0] - origin) * params["bin_ms"]
    return Stored(
        params["tastes"],
        params["regions"],
        params["bin_ms"],
        time_ms,
        params["stimulus"],
        arrays,
        populations,
        scores,
        errors,
        meta["summary"],
        provenance,
        params.get("covariates", []),
        {
            name: [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in c.tolist()]
            for name, c in units.items()
        },
        params.get("kind", "stimulus"),
    )
