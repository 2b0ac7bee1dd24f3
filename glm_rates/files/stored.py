"""What do figures and reports know of a finished run? Results read back from a recording or a file of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import hdf5io
from hdf5io.errors import InputError

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


def population_name(population: dict) -> str:
    """Name of a population in files: its region, and its taste with --separate-tastes."""
    taste = population["taste"]
    return population["region"] + ("" if taste is None else f"_taste_{taste}")


def stored_digest(path: Path, group: str) -> str | None:
    """Digest of the results in a file, None where there are none."""
    if not path.is_file():
        return None
    with hdf5io.read(path) as file:
        node = file.get(group) if group else file
        return None if node is None else node.attrs.get("digest")


def read_results(path: Path) -> Stored:
    """Read results back from a recording or a separate file.

    Raises
    ------
    InputError
        The file holds no results of this pipeline.
    """
    with hdf5io.read(path) as file:
        node = file.get(GROUP, file)
        if node.attrs.get("schema") != SCHEMA:
            raise InputError(f"{path}: no results of glm-rates in it. Run 'glm-rates infer' first.")
        params, meta = json.loads(node.attrs["params"]), json.loads(node.attrs["meta"])
        taste, place, trial = node["stacked/trial_index"][:]
        to_count = params["bin_ms"] / 1000
        arrays = {"taste": taste, "trial": trial, "ks_curve": node["ks_curve"][:]}
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
        for population in meta["populations"]:
            group = node["populations/" + population_name(population)]
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
    )
