"""Infer the parameters of one recorded trace, or of the sweeps of a file."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .. import workers
from ..config import UNITS, InferConfig
from ..console import Result, Run, table
from ..files import model_folder, posterior_file, recordings
from ..files.request import request_of

log = logging.getLogger("laa_bayes")


def run(config: InferConfig, run: Run) -> Result:
    """Read the recording, find its posterior, write draws, figures and report; exit 3 when the model cannot explain it."""
    if config.model != "none":
        model_folder.read_json(Path(config.model))
    if config.dry_run:
        return planned(config)
    if config.sweeps is not None:
        return run_sweeps(config, run)
    results, outputs = infer_one(config, config.target, run.provenance(config), run.warnings)
    bad = results["status"] == "misspecified" and not config.force
    return Result(outputs, results, line_of(results), 3 if bad else 0, record=config.target)


def planned(config: InferConfig) -> Result:
    """Return what would be fitted, after a look at the recording."""
    n = recordings.n_sweeps(config.recording, request_of(config, sweep=0))
    sweeps = [config.sweep] if config.sweeps is None else config.chosen_sweeps(n)
    recording = recordings.read_recording(config.recording, request_of(config, sweep=sweeps[0]))
    results = {"sweeps": sweeps, "n_sweeps_in_file": n, "n_time": len(recording.v_mv)}
    told = f"would fit {len(sweeps)} of {n} sweeps, {len(recording.v_mv)} samples in the first, into {config.target}"
    return Result({}, results, told)


def infer_one(
    config: InferConfig, target: Path, provenance: Mapping, warnings: list[str]
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the documented results of one sweep and the files that were written for it."""
    recording = recordings.read_recording(config.recording, request_of(config))
    from ..fit.infer import infer
    from ..posterior import summary

    posterior = infer(recording, config, model_of(config.model))
    predicted = summary.predictive(posterior, config.seed)
    results = summary.results(posterior, predicted)
    for doubt in summary.doubts(results, float(np.max(posterior.observed.noise_mv))):
        log.warning(doubt)
    outputs = {"posterior": posterior_file.write_posterior(target, posterior, results, predicted.band, provenance)}
    if config.report:
        from ..show import pages

        outputs |= pages.write_inference(config, target, posterior, predicted, results, provenance, warnings)
    return results, outputs


@functools.lru_cache(maxsize=1)
def model_of(name: str) -> Any:
    """Return the trained model, loaded once; None for ``none``."""
    return None if name == "none" else model_folder.load(Path(name))


def run_sweeps(config: InferConfig, run: Run) -> Result:
    """Infer every sweep that was asked for into one folder; one table says what became of each."""
    n = recordings.n_sweeps(config.recording, request_of(config, sweep=0))
    chosen, target = config.chosen_sweeps(n), config.target.resolve()
    if chosen and chosen[-1] >= n:
        raise InputError(f"{config.recording}: --sweeps {config.sweeps}, but the file has {n} sweeps (0 to {n - 1}).")
    changes: dict[str, Any] = {"sweeps": None, "output": None, "report": False}
    if "window" not in config.model_fields_set:
        changes["window"] = "auto"
    target.mkdir(parents=True, exist_ok=True)
    provenance, tasks = run.provenance(config), []
    for sweep in chosen:
        one = config.model_copy(update=changes | {"sweep": sweep, "recording": config.recording.resolve()})
        tasks.append((one, target / f"sweep_{sweep:03d}.posterior.h5", provenance))
    log.info("%d sweeps; each takes some seconds to a minute", len(tasks))
    rows: list[dict] = [{} for _ in tasks]
    for done, (i, row) in enumerate(workers.run(infer_sweep, tasks, jobs=config.jobs, what="sweeps"), 1):
        rows[i] = row
        log.info(
            "%d of %d: sweep %d %s",
            done,
            len(tasks),
            row["sweep"],
            row["verdict"] + (row["reason"] and f": {row['reason']}"),
        )
    hdf5io.write_csv(target / "sweeps.csv", rows)
    outputs = {"folder": target, "table": target / "sweeps.csv"}
    fitted = [row for row in rows if row["verdict"] != "left out"]
    if fitted and config.report:
        from ..show import pages

        outputs |= pages.write_sweeps(config, target, rows, provenance, run.warnings)
    good = sum(row["verdict"] == "typical" for row in fitted)
    counts = {"n_sweeps": len(rows), "n_fitted": len(fitted), "n_typical": good}
    line = f"{len(rows)} sweeps: {good} typical, {len(fitted) - good} misspecified, {len(rows) - len(fitted)} left out; {outputs['table']}"
    log.info("\n%s", table([{k: v for k, v in row.items() if k != "file"} for row in rows]))
    bad = good == 0 and not config.force
    return Result(outputs, counts | {"sweeps": rows}, line, 3 if bad else 0, record=target)


def infer_sweep(config: InferConfig, target: Path, provenance: Mapping) -> dict[str, Any]:
    """Return one row of the table of sweeps; a sweep that has no window or no current is left out with the reason."""
    row: dict[str, Any] = {"file": config.recording.name, "sweep": config.sweep, "verdict": "left out", "reason": ""}
    try:
        results, _ = infer_one(config, target, provenance, [])
    except InputError as error:
        return row | {"reason": str(error)}
    units, textbook = {**UNITS["lumped"], **results["units"]}, results["textbook"] or {}
    row |= {
        "verdict": results["verdict"],
        "reason": "; ".join(results["checks"]["facts"]),
        "favoured": results["favoured"],
    }
    best = results["models"][results["favoured"]]["parameters"]
    row |= {
        f"favoured {name} ({units['C_m' if name == 'C_total' else name]})": best[name]
        for name in ("C_total", "g_L", "E_L")
    }
    for name in results["identified"]:
        row |= {f"{name} ({units[name]})": results["mean"][name], f"{name} sd ({units[name]})": results["sd"][name]}
    for name, value in results["nuisance"].items():
        row[f"{name} ({value['unit']})"] = value["mean"]
    return row | {
        f"one exponential C_m ({units['C_m']})": textbook.get("C_m"),
        "coverage": results["in_window_coverage_90"],
    }


def line_of(results: dict) -> str:
    """Return one line for a person: estimates with units, what is not identified, the model that is favoured, the verdict."""
    parts = [
        f"{name} {results['mean'][name]:.3g} ± {results['sd'][name]:.2g} {results['units'][name]}"
        for name in results["identified"]
    ]
    lost = [name for name, known in results["identified"].items() if not known]
    tail = f" (not identified: {', '.join(lost)})" if lost else ""
    flagged = [name for name, t in results["checks"]["tests"].items() if t["flagged"]]
    why = "; ".join(results["checks"]["facts"]) or ", ".join(flagged)
    if results["nuisance"] and results["favoured"] != "laa":
        best, units = results["models"][results["favoured"]]["parameters"], {**UNITS["lumped"], **results["units"]}
        told = ", ".join(f"{n} {best[n]:.3g} {units.get(n, units['C_m'])}" for n in ("C_total", "g_L", "E_L"))
        parts[0] = f"favoured: {results['favoured']} membrane, {told}; activation model: {parts[0]}"
    rest = [name for name in results["not_excluded"] if name != "passive"]
    if results["nuisance"] and rest and results["favoured"] != "passive":
        tail += f"; not told apart from {' and '.join(rest)}"
    quality = f"{results['refine']} ESS {100 * results['ess']:.0f} %" if results["ess"] is not None else "not refined"
    estimates = f"{', '.join(parts)}{tail}; {quality}"
    if results["verdict"] == "misspecified" and not results["nuisance"] and not results["checks"]["facts"]:
        return f"misspecified, the residuals are not the white noise that was told ({why}): --noise estimate infers it; {estimates}"
    if results["verdict"] == "misspecified":
        return f"misspecified, no model here explains the trace ({why}); {estimates}"
    return f"{estimates}; {results['verdict']}"
