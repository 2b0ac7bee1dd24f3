"""How are results kept? In the recording's ``/glm_output`` (journal) or a file of their own; and read back for figures.

The nodes of the original module keep their names, types and meaning; everything else is added beside them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io import Dataset

from .exchange import BadRecording
from .stored import Stored

SCHEMA = "glm_rates/infer/1"
GROUP = "glm_output"
FILTERS = ("history", "stimulus", "coupling")


def unit_table(extracted: dict, params: dict, fitted: dict, meta: dict) -> dict[str, np.ndarray]:
    """One value per unit: index, region, spikes, converged, gradient, KS p, in-sample and held-out bits per spike."""
    counts = _window_counts(extracted, params)
    n_units = counts.shape[2]
    table = {
        "unit": np.arange(n_units),
        "region": np.array(params["regions"]),
        "n_spikes": counts.sum(axis=(0, 1)).astype(int),
    }
    for name, column in params["units"].items():
        table.setdefault(name, np.array(column))
    converged, fitted_flag, gradient = np.ones(n_units, bool), np.zeros(n_units, bool), np.zeros(n_units)
    for index, population in enumerate(meta["populations"]):
        units = population["units"]
        if f"{index}.converged" in fitted:
            converged[units] &= fitted[f"{index}.converged"]
            fitted_flag[units] |= fitted[f"{index}.fitted"]
            gradient[units] = np.maximum(gradient[units], fitted[f"{index}.grad_norm"])
    table |= {"fitted": fitted_flag, "converged": converged, "grad_norm": gradient, "ks_pvalue": fitted["ks_pvalue"]}
    if "rate" in fitted:
        table["bits_per_spike"] = _per_spike(fitted["in_sample_bits"].sum(axis=0), table["n_spikes"])
    for row, name in enumerate(meta["scored"][1:], start=1):
        gain = (fitted["log_likelihood"][row] - fitted["log_likelihood"][0]).sum(axis=1) / np.log(2)
        table["cv " + name] = _per_spike(gain, table["n_spikes"])
        table[f"cv {name} se"] = fitted["fold_error"][row]
    if meta["scored"]:
        table["bits_per_spike_cv"] = table["cv " + meta["scored"][-1]]
    return table


def _window_counts(extracted: dict, params: dict) -> np.ndarray:
    return extracted["counts"][:, params["window"][0] : params["window"][1]].astype(float)


def _per_spike(bits: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    return np.where(spikes >= 2, bits / np.maximum(spikes, 1), np.nan)


def score_rows(extracted: dict, params: dict, fitted: dict, meta: dict, by_region: bool) -> list[dict[str, Any]]:
    """Rows of ``bits_per_spike_summary.csv``: one for each taste and unit, the original columns first."""
    counts, taste = _window_counts(extracted, params), extracted["taste"]
    rows = []
    for k in range(len(params["tastes"])):
        at = taste == k
        spikes = counts[at].sum(axis=(0, 1))
        inside = _per_spike(fitted["in_sample_bits"][k], spikes)
        for unit in range(counts.shape[2]):
            region = params["regions"][unit] if by_region else "all"
            row = {"taste": k, "region": region, "neuron": unit, "bits_per_spike": inside[unit], "taste_name": params["tastes"][k],
                   "n_trials": int(at.sum()), "n_spikes": int(spikes[unit]), "ks_pvalue": fitted["ks_pvalue"][unit]}  # fmt: skip
            for index, name in enumerate(meta["scored"][1:], start=1):
                gain = (fitted["log_likelihood"][index] - fitted["log_likelihood"][0])[unit, at].sum() / np.log(2)
                row["cv " + name] = float(_per_spike(np.array(gain), np.array(spikes[unit])))
            row["bits_per_spike_cv"] = row["cv " + meta["scored"][-1]] if meta["scored"] else float("nan")
            rows.append(row)
    return rows


def write_csv(path: Path, rows: list[Mapping[str, Any]]) -> None:
    """Write rows as CSV, atomically."""
    with hdf5io.atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def result_datasets(
    extracted: dict, params: dict, fitted: dict, meta: dict, by_region: bool, history_ms: int
) -> dict[str, Dataset]:
    """Every dataset of ``/glm_output``, by its name within the group."""
    bin_ms, window = params["bin_ms"], params["window"]
    low = params["start_ms"] + window[0] * bin_ms
    lims = [low, low + (window[1] - window[0]) * bin_ms]
    out = {
        "bin_size": Dataset(np.array([bin_ms], np.int64), "ms", "bin size"),
        "history_window": Dataset(np.array([history_ms], np.int64), "ms", "history window"),
        "time_lims": Dataset(np.array(lims, np.int64), "ms", "analysis window from the start of the trial"),
    }
    rows = {(r["taste"], r["neuron"]): r for r in score_rows(extracted, params, fitted, meta, by_region)}
    counts, taste = _window_counts(extracted, params), extracted["taste"]
    dims = ("trial", "bin")
    by_unit = {"counts": counts, **{name: fitted[name] for name in ("rate", "rate_cv") if name in fitted}}
    by_unit = {name: np.ascontiguousarray(array.transpose(2, 0, 1)) for name, array in by_unit.items()}
    for (k, unit), row in rows.items():
        at, base = taste == k, f"regions/taste_{k}_region_{row['region']}_neuron_{unit}/"
        rate = by_unit["rate"][unit, at]
        out[base + "pred_firing"] = Dataset(rate, "spikes per bin", "estimated rate, fitted on all trials", dims)
        out[base + "binned_spikes"] = Dataset(by_unit["counts"][unit, at], "spikes per bin", "observed counts", dims)
        out[base + "bits_per_spike"] = Dataset(
            np.array([row["bits_per_spike"]]), "bits per spike", "in-sample, over the mean rate of the taste"
        )
        out[base + "pred_firing_hz"] = Dataset(rate * 1000 / bin_ms, "Hz", "estimated rate, fitted on all trials", dims)
        if meta["scored"]:
            held = by_unit["rate_cv"][unit, at]
            out[base + "pred_firing_cv"] = Dataset(
                held, "spikes per bin", "rate of each trial from a fit without it", dims
            )
            out[base + "bits_per_spike_cv"] = Dataset(
                np.array([row["bits_per_spike_cv"]]),
                "bits per spike",
                "held-out trials, over the training mean of the taste",
            )
    for name, column in unit_table(extracted, params, fitted, meta).items():
        out["units/" + name.replace("/", "_")] = Dataset(column, *_unit_units(name), ("unit",))
    out |= _stacked(extracted, params, fitted, counts)
    out |= _populations(fitted, meta)
    if meta["scored"]:
        out["scores/log_likelihood"] = Dataset(
            fitted["log_likelihood"], "nats", "held-out Poisson log-likelihood", ("model", "unit", "trial")
        )
        out["scores/fold"] = Dataset(fitted["fold"], "", "test fold of each trial", ("trial",))
    return out


def _unit_units(name: str) -> tuple[str, str]:
    if "bits" in name or name.startswith("cv "):
        held = "standard error over folds" if name.endswith(" se") else "held-out trials"
        return "bits per spike", held if "cv" in name else "in-sample"
    known = {"grad_norm": "largest gradient of the mean objective", "ks_pvalue": "time rescaling, corrected for bins"}
    return "", known.get(name, name.replace("_", " "))


def _stacked(extracted: dict, params: dict, fitted: dict, counts: np.ndarray) -> dict[str, Dataset]:
    """Arrays (taste, trial, unit, bin), NaN-padded where tastes differ in their number of trials."""
    taste, trial = extracted["taste"], np.zeros(len(extracted["taste"]), int)
    for k in np.unique(taste):
        trial[taste == k] = np.arange((taste == k).sum())
    shape = (len(params["tastes"]), int(trial.max()) + 1, counts.shape[2], counts.shape[1])
    to_hz = 1000 / params["bin_ms"]
    wanted = {
        "pred_firing_hz": (fitted["rate"] * to_hz, "Hz", "estimated rate"),
        "log_rate_sd": (fitted["log_rate_sd"], "log Hz", "standard deviation of the log rate"),
        "binned_spikes": (counts, "spikes per bin", "observed counts"),
    }
    if "rate_cv" in fitted:
        wanted["pred_firing_cv_hz"] = (fitted["rate_cv"] * to_hz, "Hz", "rate of each trial from a fit without it")
    out = {}
    for name, (array, units, text) in wanted.items():
        stacked = np.full(shape, np.nan)
        stacked[taste, trial] = array.transpose(0, 2, 1)
        out["stacked/" + name] = Dataset(stacked, units, text, ("taste", "trial", "unit", "bin"))
    index = Dataset(
        np.stack([taste, trial, extracted["trial"]]).astype(int),
        "",
        "taste, place in the stack, trial of the recording",
        ("what", "trial"),
    )
    return {
        **out,
        "stacked/trial_index": index,
        "ks_curve": Dataset(
            fitted["ks_curve"], "", "cumulative fraction of rescaled intervals at 0, .01, ..., 1", ("unit", "quantile")
        ),
    }


def _populations(fitted: dict, meta: dict) -> dict[str, Dataset]:
    """Filters, penalties and edges of each population."""
    text = {
        "history": ("log rate per spike", ("unit", "lag")), "stimulus": ("log rate", ("unit", "taste", "lag")),
        "coupling": ("log rate per spike", ("target", "source", "lag")), "laser": ("log rate", ("unit", "regressor")),
    }  # fmt: skip
    out = {}
    for index, population in enumerate(meta["populations"]):
        base = f"populations/{population_name(population)}/"
        for key, array in fitted.items():
            owner, _, name = key.partition(".")
            if owner != str(index):
                continue
            effect = name.removesuffix("_se").removesuffix("_lag_ms")
            units, dims = text.get(effect, ("", ()))
            if name.endswith("_lag_ms"):
                units, dims = "ms", ("lag",)
            kind = "standard error of the filter" if name.endswith("_se") else name.replace("_", " ")
            out[base + name] = Dataset(array, units, kind, dims if len(dims) == np.ndim(array) else ())
        out[base + "units"] = Dataset(np.array(population["units"]), "", "indices of the population's units", ("unit",))
    return out


def population_name(population: dict) -> str:
    """Name of a population in files: its region, and its taste with --separate-tastes."""
    taste = population["taste"]
    return population["region"] + ("" if taste is None else f"_taste_{taste}")


def result_attrs(params: dict, meta: dict, digest: str) -> dict[str, Any]:
    """Attributes of ``/glm_output``: what a reader needs besides the arrays, as JSON."""
    keep = {"tastes": params["tastes"], "regions": params["regions"], "dig_ins": params["dig_ins"], "bin_ms": params["bin_ms"],
            "window": params["window"], "start_ms": params["start_ms"], "stimulus": params.get("stimulus", True),
            "onset_bin": params["onset_bin"]}  # fmt: skip
    return {"digest": digest, "schema": SCHEMA, "params": json.dumps(keep), "meta": json.dumps(meta)}


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
    BadRecording
        The file holds no results of this pipeline.
    """
    with hdf5io.read(path) as file:
        node = file.get(GROUP, file)
        if node.attrs.get("schema") != SCHEMA:
            raise BadRecording(f"{path}: no results of glm-rates in it. Run 'glm-rates infer' first.")
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
