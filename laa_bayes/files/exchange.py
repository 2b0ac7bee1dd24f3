"""How do other tools read an answer? ArviZ (NetCDF), sbi (arrays of theta and x), NWB (the trace, and a table of the parameters)."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

import hdf5io
from hdf5io.errors import EnvironmentMissing, InputError

from ..config import PARAMETERS, UNITS
from ..neuron.priors import inferred, theta_from_z
from ..posterior import likelihood
from ..posterior.summary import NUISANCE
from .posterior_file import Fitted

SCHEMA = "laa_bayes/arviz/1"


def columns_of(fitted: Fitted) -> dict[str, tuple[np.ndarray, str]]:
    """Return draws (n_draws,) and unit of every parameter, k also as a slope, and of what a recording adds."""
    table = fitted.spec.prior_table
    theta = theta_from_z(table, fitted.w[:, : len(inferred(table))])
    units = UNITS["lumped" if fitted.recording.current_unit == "pA" else "density"]
    found = {name: (theta[:, PARAMETERS.index(name)], units[name]) for name in inferred(table)}
    if "k" in found:
        found["k_slope"] = (1.0 / found["k"][0], "1/mV")
    _, extra = likelihood.unpack(fitted.spec, fitted.w, np, special)
    if "v0" in extra:
        drop = np.ravel(fitted.observed.mv_per_mohm)[0] * extra.get("R_s", 0.0)
        extra["v0"] = np.ravel(fitted.observed.v_mv)[0] - drop + extra["v0"]
    return found | {name: (np.asarray(draws), NUISANCE[name][0]) for name, draws in extra.items() if name in NUISANCE}


def write_netcdf(path: Path, fitted: Fitted, provenance: Mapping) -> Path:
    """Write what ``arviz.from_netcdf`` opens: groups posterior (chain, draw), observed_data and constant_data (time)."""
    recording = fitted.recording
    draws = {name: (x[None], unit) for name, (x, unit) in columns_of(fitted).items()}
    groups: dict[str, tuple[dict[str, tuple[np.ndarray, str]], dict[str, np.ndarray]]] = {
        "posterior": (draws, {"chain": np.arange(1), "draw": np.arange(len(fitted.w))}),
        "observed_data": ({"voltage": (recording.v_mv, "mV")}, {"time": recording.time_ms}),
        "constant_data": ({"current": (recording.current, recording.current_unit)}, {"time": recording.time_ms}),
    }
    about = {"verdict": str(fitted.results.get("verdict", "")), "k_convention": "width"}
    with hdf5io.create(path, SCHEMA, attrs=about, provenance=provenance, overwrite=True) as file:
        for name, (variables, coordinates) in groups.items():
            group = file.create_group(name, track_order=True)
            for key, values in coordinates.items():
                group.create_dataset(key, data=values, track_times=False).make_scale(key)
            for key, (values, unit) in variables.items():
                item = group.create_dataset(key, data=values, track_times=False)
                item.attrs["units"] = unit
                for axis, scale in enumerate(coordinates):
                    item.dims[axis].attach_scale(group[scale])
    return path


def write_arrays(path: Path, fitted: Fitted) -> Path:
    """Write arrays as sbi has them: ``samples`` (n_draws, d) with their ``names`` and ``units``, and the observation ``x`` (n_time,)."""
    columns = columns_of(fitted)
    arrays: dict[str, Any] = {
        "samples": np.column_stack([x for x, _ in columns.values()]),
        "names": np.array(list(columns)),
        "units": np.array([unit for _, unit in columns.values()]),
        "x": fitted.recording.v_mv,
        "current": fitted.recording.current,
        "time_ms": fitted.recording.time_ms,
    }
    with hdf5io.atomic(path) as part, part.open("wb") as handle:
        np.savez(handle, **arrays)
    return path


def write_nwb(path: Path, fitted: Fitted, source: Path) -> Path:
    """Write an NWB file with the analysed trace, its stimulus, and the parameters as a table of ``processing/laa_bayes``.

    Raises
    ------
    EnvironmentMissing
        pynwb is not installed.
    InputError
        A current in uA/cm2: NWB holds amperes.
    """
    try:
        import pynwb
        from pynwb import icephys
    except ModuleNotFoundError:
        raise EnvironmentMissing("NWB is written by pynwb: pip install 'neuropipes[nwb]'.") from None
    recording = fitted.recording
    if recording.current_unit != "pA":
        raise InputError(f"{source}: its current is in {recording.current_unit}, NWB holds amperes. Infer it in pA.")
    digest = hashlib.sha256(fitted.w.tobytes()).hexdigest()
    text = f"laa-bayes posterior of {recording.source}: {fitted.results.get('verdict', '')}, {fitted.results.get('favoured', '')} favoured"
    file = pynwb.NWBFile(text, digest, datetime.datetime.fromtimestamp(0, datetime.UTC))
    electrode = file.create_icephys_electrode(
        name="electrode", description="as recorded", device=file.create_device(name="amplifier")
    )
    clock = {
        "rate": 1e3 / recording.dt_ms,
        "starting_time": 1e-3 * recording.t0_ms,
        "electrode": electrode,
        "gain": 1.0,
    }
    response = icephys.CurrentClampSeries(name="voltage", data=1e-3 * recording.v_mv, **clock)
    stimulus = icephys.CurrentClampStimulusSeries(name="current", data=1e-12 * recording.current, **clock)
    file.add_acquisition(response)
    file.add_stimulus(stimulus, use_sweep_table=False)
    file.add_intracellular_recording(electrode=electrode, response=response, stimulus=stimulus)
    table = pynwb.core.DynamicTable(name="parameters", description=text)
    for name, meaning in (("parameter", "name"), ("unit", "unit"), ("mean", "mean"), ("sd", "standard deviation"),
                          ("low", "5 % quantile"), ("high", "95 % quantile")):  # fmt: skip
        table.add_column(
            name=name, description=f"{meaning} of the posterior" if name not in ("parameter", "unit") else meaning
        )
    for name, (x, unit) in columns_of(fitted).items():
        low, high = np.quantile(x, [0.05, 0.95])
        table.add_row(parameter=name, unit=unit, mean=x.mean(), sd=x.std(ddof=1), low=low, high=high)
    file.create_processing_module("laa_bayes", "posterior of a neuron model").add(table)
    with hdf5io.atomic(path) as part, pynwb.NWBHDF5IO(str(part), "w") as io:
        io.write(file)
    return path
