"""How do results lie on disk? Traces, posteriors and predictions as self-describing HDF5 files; posteriors can be read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

import hdf5io
from hdf5io import Dataset
from hdf5io.errors import InputError

from ..config import PARAMETERS, Prior
from ..neuron.priors import inferred, theta_from_z
from ..neuron.recording import Recording
from ..posterior.likelihood import Observation, Spec
from ..posterior.summary import NUISANCE, Posterior, nuisance

TRACE, POSTERIOR, PREDICTION = "laa_bayes/trace/1", "laa_bayes/posterior/1", "laa_bayes/prediction/1"
KINDS = {TRACE: "trace", POSTERIOR: "posterior", PREDICTION: "prediction"}


class Fitted(NamedTuple):
    """What a posterior file holds."""

    spec: Spec
    observed: Observation
    w: np.ndarray  #: (n_draws, n_w) draws in coordinates
    recording: Recording
    results: dict
    band: np.ndarray  #: (2, n_time) 5 % and 95 % quantile of replicated recordings
    mv_per_mohm_per_unit: float  #: voltage in mV across 1 MOhm for one unit of current


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


def write_trace(path: Path, recording: Recording, theta: tuple[float, ...], provenance: Mapping) -> Path:
    """Write a simulated trace as HDF5, or as CSV when the name ends in .csv."""
    if path.suffix.lower() == ".csv":
        unit = "pA" if recording.current_unit == "pA" else "uA_cm2"
        columns = ("time_ms", "voltage_mV", f"current_{unit}")
        table = zip(recording.time_ms, recording.v_mv, recording.current, strict=True)
        hdf5io.write_csv(path, [dict(zip(columns, (f"{x:.10g}" for x in row), strict=True)) for row in table])
        return path
    attrs = {f"true_{name}": value for name, value in zip(PARAMETERS, theta, strict=True)}
    return hdf5io.write(path, TRACE, trace_datasets(recording), attrs=attrs, provenance=provenance, overwrite=True)


def write_posterior(path: Path, p: Posterior, results: dict, band: np.ndarray, provenance: Mapping) -> Path:
    """Write draws with units, the analysed trace, its predictive band and everything needed to predict again."""
    datasets = trace_datasets(p.recording)
    drop = np.broadcast_to(np.asarray(p.observed.mv_per_mohm, float), p.observed.current.shape)
    datasets |= {
        "w": Dataset(
            p.w, "1", "draws in standard-normal coordinates: " + ", ".join(p.spec.names), ("draw", "coordinate")
        ),
        "mv_per_mohm": Dataset(drop, "mV/MOhm", "voltage that the current drops across 1 MOhm", ("time",)),
        "predictive_band": Dataset(band, "mV", "5 % and 95 % quantile of replicated recordings", ("quantile", "time")),
    }
    datasets |= draws_datasets(p)
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
        "mv_per_mohm_per_unit": p.mv_per_mohm_per_unit,
    }
    return hdf5io.write(path, POSTERIOR, datasets, attrs=attrs, provenance=provenance, overwrite=True)


def draws_datasets(p: Posterior) -> dict[str, Dataset]:
    """Return the draws of every parameter, the network's own, and those of noise and electrode, with units."""
    free, theta, datasets = inferred(p.spec.prior_table), p.theta, {}
    network = None if p.amortised is None else theta_from_z(p.spec.prior_table, p.amortised)
    for name in free:
        column, unit = PARAMETERS.index(name), p.units[name]
        datasets[f"posterior/{name}"] = Dataset(theta[:, column], unit, f"posterior draws of {name}", ("draw",))
        if network is not None:
            text = f"the network's draws of {name}, not refined"
            datasets[f"amortised/{name}"] = Dataset(network[:, column], unit, text, ("draw",))
    if "k" in free:
        slope = 1 / theta[:, PARAMETERS.index("k")]
        datasets["posterior/k_slope"] = Dataset(slope, "1/mV", "posterior draws of 1/k (slope convention)", ("draw",))
    for name, draws in nuisance(p).items():
        unit, meaning = NUISANCE[name]
        datasets[f"nuisance/{name}"] = Dataset(np.asarray(draws), unit, f"posterior draws: {meaning}", ("draw",))
    return datasets


def kind_of(path: Path) -> str | None:
    """Return ``posterior``, ``prediction`` or ``trace`` for an HDF5 file of this pipeline, None for anything else."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        return None
    with hdf5io.read(path) as file:
        return KINDS.get(str(file.attrs.get("schema", "")))


def read_posterior(path: Path) -> Fitted:
    """Return what a posterior file holds.

    Raises
    ------
    InputError
        No posterior file, or one whose attributes were changed.
    """
    with hdf5io.read(path, POSTERIOR, ("w", "voltage", "current", "time", "mv_per_mohm", "predictive_band")) as file:
        try:
            table = json.loads(file.attrs["spec"])
            nuisances = tuple((name, Prior(**prior)) for name, prior in table["nuisance"])
            priors = tuple(Prior(**table["priors"][name]) for name in PARAMETERS)
            spec = Spec(priors, nuisances, float(table["dt_ms"]), int(table["substeps"]))
            results, noise_mv = dict(json.loads(file.attrs["results"])), float(table["noise_mv"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path}: the attributes of the posterior are damaged ({error}). Run infer again."
            ) from None
        vectors = ("time", "voltage", "current", "mv_per_mohm")
        time, v, current, drop = (hdf5io.array(file, name, ndim=1)[()] for name in vectors)
        w, band = (hdf5io.array(file, name, ndim=2)[()] for name in ("w", "predictive_band"))
        if len({len(time), len(v), len(current), len(drop), band.shape[1]}) != 1 or w.shape[1] != len(spec.names):
            raise InputError(f"{path}: its arrays do not belong together. Run infer again.")
        unit = str(file["current"].attrs["units"])
        squared = float(current @ current)
        per_unit = float(file.attrs.get("mv_per_mohm_per_unit", drop @ current / squared if squared else 0.0))
    recording = Recording(v, current, unit, spec.dt_ms, float(time[0]), str(path))
    return Fitted(spec, Observation(v, current, noise_mv, drop), w, recording, results, band, per_unit)


def write_prediction(path: Path, v_mv: np.ndarray, current: np.ndarray, like: Recording, provenance: Mapping) -> Path:
    """Write predicted voltages (n_draws, n_time) under a current."""
    time_ms = like.t0_ms + like.dt_ms * np.arange(v_mv.shape[1])
    text = "noise-free predicted recording of each posterior draw"
    datasets = {
        "time": Dataset(time_ms, "ms", "time of the sample", ("time",)),
        "v_mv": Dataset(v_mv, "mV", text, ("draw", "time")),
        "current": Dataset(current, like.current_unit, "injected current", ("time",)),
    }
    return hdf5io.write(path, PREDICTION, datasets, provenance=provenance, overwrite=True)


def describe_prediction(path: Path) -> dict:
    """Return the extent of a prediction file."""
    with hdf5io.read(path, PREDICTION, ("time", "v_mv", "current")) as file:
        n_draws, n_time = file["v_mv"].shape
        return {"n_draws": n_draws, "n_time": n_time, "current_unit": str(file["current"].attrs["units"])}


def read_draws(path: Path, group: str = "posterior") -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return draws and units by parameter name; empty when the group is missing."""
    with hdf5io.read(path, POSTERIOR) as file:
        items = {name: item for name, item in file.get(group, {}).items() if name in PARAMETERS}
        return {name: item[()] for name, item in items.items()}, {
            name: str(item.attrs["units"]) for name, item in items.items()
        }
