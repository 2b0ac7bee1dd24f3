"""Re-weigh the posteriors of several cells under the population that they make up."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..answer import answer
from ..config import PARAMETERS, UNITS, PopulationConfig, Prior
from ..console import Result, Run, table
from ..files import posterior_file
from ..neuron.priors import inferred, theta_from_z, value_from_z

if TYPE_CHECKING:
    from ..posterior.population import Population

Z_90 = 1.645
UNIT = "log units a cell that was left out (5 folds)"
FEW = 50.0  #: effective draws below which a cell's re-weighted answer is not to be trusted
log = logging.getLogger("laa_bayes")


def run(config: PopulationConfig, run: Run) -> Result:
    """Find the prior of the population; write it and each cell's mean and sd before and after."""
    paths, fitted, left_out = read_alike(config)
    from ..posterior.answers import over_sweeps
    from ..posterior.population import held_out_gains, population

    priors, units = (
        fitted[0].spec.prior_table,
        UNITS["lumped" if fitted[0].recording.current_unit == "pA" else "density"],
    )
    names = inferred(priors)
    cells = [one.w[:, : len(names)] for one in fitted]
    found, gains = population(cells), held_out_gains(cells)
    told = answer("the population's prior", "the prior of each cell alone", *over_sweeps(gains), UNIT)
    rows = [
        row_of(path.name, one, weight, units) for path, one, weight in zip(paths, fitted, found.weights, strict=True)
    ]
    whole = {name: medians(priors[name], found, i, units[name]) for i, name in enumerate(names) if found.seen[i]}
    unseen = [name for name, known in zip(names, found.seen, strict=True) if not known]
    if unseen:
        log.warning("the cells hardly tell of %s: its population is not inferred", ", ".join(unseen))
    few = [str(row["cell"]) for row in rows if row["effective draws"] < FEW]
    if few:
        log.warning("fewer than %g effective draws: %s. Infer these with more --draws", FEW, ", ".join(few))
    hdf5io.write_csv(config.output / "cells.csv", rows)
    results = {
        "answer": told._asdict(), "population": whole, "not_inferred": unseen, "n_cells": len(rows), "few_draws": few,
        "left_out": left_out,
    }  # fmt: skip
    hdf5io.write_json(config.output / "population.json", results | {"provenance": run.provenance(config)})
    log.info("\n%s", table(rows))
    text = ", ".join(
        "{} {:.3g} ({:.3g} to {:.3g}) {}".format(name, x["median"], *x["median_interval_90"], x["unit"])
        for name, x in whole.items()
    )
    text += f"; not inferred: {', '.join(unseen)}" if unseen else ""
    outputs = {"cells": config.output / "cells.csv", "population": config.output / "population.json"}
    line = f"{told.sentence}; {len(rows)} cells, medians of the population: {text}; {outputs['cells']}"
    return Result(outputs, results, line)


def read_alike(config: PopulationConfig) -> tuple[list[Path], list[posterior_file.Fitted], list[str]]:
    """Return the cells' files, their posteriors, and the files that are left out because no model explains their recording (said).

    Raises
    ------
    InputError
        Fewer than three cells, or cells of different priors or units.
    """
    places = [path.resolve() for path in config.posteriors]
    twice = [path for path, place in zip(config.posteriors, places, strict=True) if places.count(place) > 1]
    if twice:
        raise InputError(f"{twice[0]}: given twice; each cell counts once.")
    read = {path: posterior_file.read_posterior(path) for path in config.posteriors}
    left_out = [str(path) for path, one in read.items() if one.results.get("verdict") == "misspecified"]
    if left_out:
        log.warning("left out, since no model here explains their recordings: %s", ", ".join(left_out))
    paths = [path for path in config.posteriors if str(path) not in left_out]
    if len(paths) < 3:
        more = f", {len(left_out)} of them misspecified" if left_out else ""
        raise InputError(f"{len(config.posteriors)} posteriors{more}: a population needs 3 cells or more.")
    fitted = [read[path] for path in paths]
    first = fitted[0]
    for path, other in zip(paths, fitted, strict=True):
        if other.spec.priors != first.spec.priors or other.recording.current_unit != first.recording.current_unit:
            raise InputError(f"{path}: another prior or unit than {paths[0]}. Infer all cells with the same.")
    return paths, fitted, left_out


def row_of(cell: str, one: posterior_file.Fitted, weight: np.ndarray, units: dict[str, str]) -> dict[str, Any]:
    """Return a cell's means and standard deviations, under the population and alone, from the weights (n_draws,) of its draws."""
    priors = one.spec.prior_table
    theta = theta_from_z(priors, one.w[:, : len(inferred(priors))])
    row: dict[str, Any] = {"cell": cell, "effective draws": round(float(1 / np.sum(weight**2)), 1)}
    for name in inferred(priors):
        x = theta[:, PARAMETERS.index(name)]
        mean = float(weight @ x)
        row |= {
            f"{name} ({units[name]})": mean,
            f"{name} sd ({units[name]})": float(np.sqrt(weight @ (x - mean) ** 2)),
            f"{name} alone ({units[name]})": float(x.mean()),
            f"{name} alone sd ({units[name]})": float(x.std(ddof=1)),
        }
    return row


def medians(prior: Prior, found: Population, i: int, unit: str) -> dict[str, Any]:
    """Return the population's median and 90 % interval of parameter ``i``, and how sure the median is."""

    def value(z: float) -> float:
        return float(value_from_z(prior, z))

    return {
        "median": value(found.mean[i]),
        "median_interval_90": [value(found.mean[i] + z * found.mean_sd[i]) for z in (-Z_90, Z_90)],
        "interval_90": [value(found.mean[i] + z * found.sd[i]) for z in (-Z_90, Z_90)],
        "unit": unit,
    }
