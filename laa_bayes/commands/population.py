"""Re-weigh the posteriors of several cells under the population that they make up."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import PARAMETERS, UNITS, PopulationConfig
from ..console import Result, Run, table
from ..files import posterior_file
from ..neuron.priors import inferred, theta_from_z, value_from_z

Z_90 = 1.645
FEW = 50.0  #: effective draws below which a cell's re-weighted answer is not to be trusted
log = logging.getLogger("laa_bayes")


def run(config: PopulationConfig, run: Run) -> Result:
    """Find the prior of the population; write it and each cell's mean and sd before and after."""
    if len(config.posteriors) < 3:
        raise InputError(f"{len(config.posteriors)} posteriors: a population needs 3 cells or more.")
    fitted = [posterior_file.read_posterior(path) for path in config.posteriors]
    first = fitted[0]
    for path, other in zip(config.posteriors, fitted, strict=True):
        if other.spec.priors != first.spec.priors or other.recording.current_unit != first.recording.current_unit:
            raise InputError(
                f"{path}: another prior or unit than {config.posteriors[0]}. Infer all cells with the same."
            )
    from ..posterior.population import population

    priors = first.spec.prior_table
    names = inferred(priors)
    found = population([one.w[:, : len(names)] for one in fitted])

    def value(name: str, z: float) -> float:
        return float(value_from_z(priors[name], z))

    units = UNITS["lumped" if first.recording.current_unit == "pA" else "density"]
    rows = []
    for path, one, weight, ess in zip(config.posteriors, fitted, found.weights, found.ess, strict=True):
        theta = theta_from_z(priors, one.w[:, : len(names)])
        row = {"cell": path.name, "effective draws": round(ess * len(weight), 1)}
        for name in names:
            x = theta[:, PARAMETERS.index(name)]
            mean = float(weight @ x)
            row |= {
                f"{name} ({units[name]})": mean,
                f"{name} sd ({units[name]})": float(np.sqrt(weight @ (x - mean) ** 2)),
                f"{name} alone ({units[name]})": float(x.mean()),
                f"{name} alone sd ({units[name]})": float(x.std(ddof=1)),
            }
        rows.append(row)
    whole: dict[str, dict[str, Any]] = {
        name: {
            "median": value(name, found.mean[i]),
            "median_interval_90": [value(name, found.mean[i] + z * found.mean_sd[i]) for z in (-Z_90, Z_90)],
            "interval_90": [value(name, found.mean[i] + z * found.sd[i]) for z in (-Z_90, Z_90)],
            "unit": units[name],
        }
        for i, name in enumerate(names)
        if found.seen[i]
    }
    unseen = [name for name, known in zip(names, found.seen, strict=True) if not known]
    if unseen:
        log.warning("the cells hardly tell of %s: its population is not inferred", ", ".join(unseen))
    few = [row["cell"] for row in rows if row["effective draws"] < FEW]
    if few:
        log.warning("fewer than %g effective draws: %s. Infer these with more --draws", FEW, ", ".join(map(str, few)))
    hdf5io.write_csv(config.output / "cells.csv", rows)
    results = {
        "population": whole,
        "not_inferred": unseen,
        "n_cells": len(rows),
        "log_evidence_gain": found.gain,
        "few_draws": few,
    }
    hdf5io.write_json(config.output / "population.json", results | {"provenance": run.provenance(config)})
    log.info("\n%s", table(rows))
    told = ", ".join(
        "{} {:.3g} ({:.3g} to {:.3g}) {}".format(name, x["median"], *x["median_interval_90"], x["unit"])
        for name, x in whole.items()
    )
    told += f"; not inferred: {', '.join(unseen)}" if unseen else ""
    outputs = {"cells": config.output / "cells.csv", "population": config.output / "population.json"}
    return Result(outputs, results, f"{len(rows)} cells, medians of the population: {told}; {outputs['cells']}")
