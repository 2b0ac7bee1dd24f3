"""How do results lie on disk? Traces, posteriors and predictions as self-describing HDF5 files; posteriors can be read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import hdf5io
from hdf5io import Dataset

from .answer import nuisance
from .config import PARAMETERS, Prior
from .infer import Posterior
from .likelihood import Observation, Spec
from .priors import inferred, theta_from_z
from .recording import Recording

TRACE, POSTERIOR, PREDICTION = "laa_bayes/trace/1", "laa_bayes/posterior/1", "laa_bayes/prediction/1"
NUISANCE_UNITS = {"v0": "mV", "R_s": "MOhm", "sigma": "mV", "phi": "1"}


def trace_datasets(recording: Recording) -> dict[str, Dataset]:
    """Return time, voltage and current of a trace as datasets."""
    return {
        "time": Dataset(recording.time_ms, "ms", "time of the sample", ("time",)),
        "voltage": Dataset(recording.v_mv, "mV", "membrane voltage as recorded", ("time",)),
        "current": Dataset(
            recording.current,
            recording.current_unit,
            "injected current, positive = inward; holds until the next sample",
            ("time",),
        ),
    }


def write_trace(path: Path, recording: Recording, theta: tuple[float, ...], provenance: dict, overwrite: bool) -> Path:
    """Write a simulated trace as HDF5, or as CSV when the name ends in .csv."""
    if path.suffix.lower() == ".csv":
        unit = "pA" if recording.current_unit == "pA" else "uA_cm2"
        hdf5io.claim(path, overwrite)
        table = np.column_stack([recording.time_ms, recording.v_mv, recording.current])
        with hdf5io.atomic(path) as part:
            np.savetxt(
                part, table, fmt="%.10g", delimiter=",", header=f"time_ms,voltage_mV,current_{unit}", comments=""
            )
        return path
    attrs = {f"true_{name}": value for name, value in zip(PARAMETERS, theta, strict=True)}
    return hdf5io.write(path, TRACE, trace_datasets(recording), attrs=attrs, provenance=provenance, overwrite=overwrite)


def write_posterior(
    path: Path, p: Posterior, results: dict, band: np.ndarray, provenance: dict, overwrite: bool
) -> Path:
    """Write draws with units, the analysed trace, its predictive band and everything needed to predict again."""
    free, theta = inferred(p.spec.prior_table), p.theta
    datasets = trace_datasets(p.recording)
    drop = np.broadcast_to(np.asarray(p.observed.mv_per_mohm, float), p.observed.current.shape)
    datasets |= {
        "w": Dataset(
            p.w, "1", "draws in standard-normal coordinates: " + ", ".join(p.spec.names), ("draw", "coordinate")
        ),
        "mv_per_mohm": Dataset(drop, "mV/MOhm", "voltage that the current drops across 1 MOhm", ("time",)),
        "predictive_band": Dataset(band, "mV", "5 % and 95 % quantile of replicated recordings", ("quantile", "time")),
    }
    for name in free:
        column = PARAMETERS.index(name)
        datasets[f"posterior/{name}"] = Dataset(
            theta[:, column], p.units[name], f"posterior draws of {name}", ("draw",)
        )
        if p.amortised is not None:
            network = theta_from_z(p.spec.prior_table, p.amortised)[:, column]
            datasets[f"amortised/{name}"] = Dataset(
                network, p.units[name], f"the network's draws of {name}, not refined", ("draw",)
            )
    if "k" in free:
        datasets["posterior/k_slope"] = Dataset(
            1 / theta[:, PARAMETERS.index("k")], "1/mV", "posterior draws of 1/k (slope convention)", ("draw",)
        )
    for name, draws in nuisance(p).items():
        datasets[f"nuisance/{name}"] = Dataset(
            np.asarray(draws), NUISANCE_UNITS[name], f"posterior draws of {name}", ("draw",)
        )
    spec = {
        "priors": {name: prior.model_dump() for name, prior in p.spec.prior_table.items()},
        "nuisance": [[name, prior.model_dump()] for name, prior in p.spec.nuisance],
        "dt_ms": p.spec.dt_ms,
        "substeps": p.spec.substeps,
        "noise_mv": float(np.max(p.observed.noise_mv)),
    }
    attrs = {
        "spec": json.dumps(spec),
        "verdict": p.typicality.verdict,
        "k_convention": "width",
        "results": json.dumps(results, default=float),
    }
    return hdf5io.write(path, POSTERIOR, datasets, attrs=attrs, provenance=provenance, overwrite=overwrite)


def read_posterior(path: Path) -> tuple[Spec, Observation, np.ndarray, Recording, dict]:
    """Return the spec, the observation, the draws in coordinates, the trace and the results of a posterior file."""
    with hdf5io.read(path, POSTERIOR, ("w", "voltage", "current", "time")) as file:
        table = json.loads(file.attrs["spec"])
        nuisances = tuple((name, Prior(**prior)) for name, prior in table["nuisance"])
        spec = Spec(
            tuple(Prior(**table["priors"][name]) for name in PARAMETERS), nuisances, table["dt_ms"], table["substeps"]
        )
        time, v, current = (file[name][()] for name in ("time", "voltage", "current"))
        unit = file["current"].attrs["units"]
        observed = Observation(v, current, table["noise_mv"], file["mv_per_mohm"][()])
        recording = Recording(v, current, str(unit), spec.dt_ms, float(time[0]), str(path))
        return spec, observed, file["w"][()], recording, json.loads(file.attrs["results"])


def read_draws(path: Path, group: str = "posterior") -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return draws and units by parameter name; empty when the group is missing."""
    with hdf5io.read(path, POSTERIOR) as file:
        items = {name: item for name, item in file.get(group, {}).items() if name in PARAMETERS}
        return {name: item[()] for name, item in items.items()}, {
            name: str(item.attrs["units"]) for name, item in items.items()
        }
