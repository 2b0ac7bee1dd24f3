"""Infer the parameters of a neuron model of one's own from a recording, beside a passive membrane."""

from __future__ import annotations

import logging

import numpy as np

import hdf5io

from ..config import OwnConfig
from ..console import Result, Run, table
from ..files import own_model, recordings
from ..files.request import request_of

SCHEMA = "laa_bayes/own/1"
NOISE_UNITS = {"v0": "mV", "R_s": "MOhm", "sigma": "mV", "phi": "1"}
log = logging.getLogger("laa_bayes")


def run(config: OwnConfig, run: Run) -> Result:
    """Find the exact posterior of the person's model; write draws and a table with the passive membrane's BIC; exit 3 on facts against it."""
    recording = recordings.read_recording(config.recording, request_of(config))
    model = own_model.read_own_model(config.model)
    from ..fit.own import infer_own

    found = infer_own(model, recording, config)
    names = found.spec.names
    values = found.values()
    units = dict(zip((name for name, _ in model.parameters), model.units, strict=True)) | NOISE_UNITS
    rows = []
    for i, name in enumerate(names):
        x = np.asarray(values[name])
        low, high = np.quantile(x, [0.05, 0.95])
        contraction = float(1 - found.refined.w[:, i].var())
        rows.append(
            {"parameter": name, "unit": units[name], "mean": float(x.mean()), "sd": float(x.std(ddof=1)), "low": float(low),
             "high": float(high), "contraction": contraction, "identified": contraction >= 0.5 and not found.facts}
        )  # fmt: skip
    better = found.passive.bic - found.bic
    results = {
        "model": model.name, "verdict": "misspecified" if found.facts else "typical", "facts": found.facts, "parameters": rows, "bic_over_passive": better, "refine": found.refined.method,
        "ess": found.refined.ess, "pareto_k": found.refined.pareto_k, "passive": found.passive.values,
        "residual_rmse_mv": found.rmse_mv, "read": list(recording.notes), "n_time": len(found.cut.v_mv),
    }  # fmt: skip
    datasets = {
        f"posterior/{name}": hdf5io.Dataset(np.asarray(values[name]), units[name], "posterior draws", ("draw",))
        for name in names
    }
    datasets["voltage"] = hdf5io.Dataset(found.cut.v_mv, "mV", "voltage as analysed", ("time",))
    datasets["fit"] = hdf5io.Dataset(found.fit_mv, "mV", "noise-free voltage of the best draw", ("time",))
    path = hdf5io.write(config.target / "own.h5", SCHEMA, datasets, provenance=run.provenance(config), overwrite=True)
    hdf5io.write_json(config.target / "own.json", results)
    log.info("\n%s", table(rows))
    told = ", ".join(f"{r['parameter']} {r['mean']:.3g} ± {r['sd']:.2g} {r['unit']}" for r in rows[-len(model.units) :])
    lost = ", ".join(str(r["parameter"]) for r in rows[-len(model.units) :] if not r["identified"])
    line = f"{told}{f' (not identified: {lost})' if lost else ''}; BIC {better:+.0f} over a passive membrane"
    if found.facts:
        line = f"misspecified ({'; '.join(found.facts)}); {line}"
    return Result({"draws": path, "table": config.target / "own.json"}, results, line, 3 if found.facts else 0)
