"""Infer the parameters of one recorded trace, or of the sweeps of a file."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from .. import workers
from ..config import MOST_TOGETHER, UNITS, InferConfig
from ..console import Result, Run, table
from ..files import model_folder, posterior_file, recordings
from ..files.request import request_of
from ..neuron.recording import apply_window

NAMED = 3  #: reasons that one line gives
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
    """Return what would be fitted, after a look at the recording: the sweeps that have the window, and those left out with the reason."""
    sweeps, n = recordings.sweeps_asked(config)
    usable, n_time, left_out = [], [], []
    for sweep in sweeps:
        one = config if config.sweeps is None else for_one_sweep(config, sweep, default_window(config))
        try:
            n_time.append(len(apply_window(recordings.read_recording(one.recording, request_of(one)), one.window).v_mv))
            usable.append(sweep)
        except InputError as error:
            if config.sweeps is None:
                raise
            left_out.append({"sweep": sweep, "reason": str(error)})
    if not usable:
        raise InputError(none_fitted(config, left_out, n))
    results = {"sweeps": usable, "left_out": left_out, "n_sweeps_in_file": n, "n_time": n_time[0]}
    told = f"would fit {len(usable)} of {n} sweeps, {n_time[0]} samples in the first, into {config.target}"
    return Result({}, results, told + (f"; {len(left_out)} left out" if left_out else ""))


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
    chosen, n = recordings.sweeps_asked(config)
    target = config.target.resolve()
    rows, told = (rows_together if config.together else rows_one_by_one)(config, chosen, run.provenance(config))
    fitted = [row for row in rows if row["verdict"] != "left out"]
    if not fitted:
        raise InputError(none_fitted(config, rows, n))
    provenance = run.provenance(config)
    hdf5io.write_csv(target / "sweeps.csv", rows)
    outputs = {"folder": target, "table": target / "sweeps.csv"}
    if config.report:
        from ..show import pages

        outputs |= pages.write_sweeps(config, target, rows, told, provenance, run.warnings)
    good = sum(row["verdict"] == "typical" for row in fitted)
    counts = {"n_sweeps": len(rows), "n_fitted": len(fitted), "n_typical": good, **told}
    found = f"{told['answer']['sentence']}; " if told["answer"] else ""
    line = f"{found}{len(rows)} sweeps: {good} typical, {len(fitted) - good} misspecified, {len(rows) - len(fitted)} left out; {outputs['table']}"
    log.info("\n%s", table([{k: v for k, v in row.items() if k != "file"} for row in rows]))
    bad = good == 0 and not config.force
    return Result(outputs, counts | {"sweeps": rows}, line, 3 if bad else 0, record=target)


def none_fitted(config: InferConfig, rows: list[dict[str, Any]], n: int) -> str:
    """Return one line on sweeps that are all left out: which there are, and each kind of reason once, with its first sweep."""
    reasons: dict[str, str] = {}
    for row in rows:
        reasons.setdefault(re.sub(r"[\d.]+", "", row["reason"]), f"sweep {row['sweep']}: {row['reason']}")
    told, what = " ".join(list(reasons.values())[:NAMED]), f"none of {len(rows)} sweeps" if rows[1:] else "no sweep"
    return f"{config.recording}: {what} can be fitted (the file has sweeps 0 to {n - 1}). {told}"


def default_window(config: InferConfig) -> str:
    """Return the window of several sweeps unless one is typed: joint fits need windows of one length."""
    return "sub-threshold" if config.together else "auto"


def for_one_sweep(config: InferConfig, sweep: int, window: str) -> InferConfig:
    """Return the options for one of several sweeps, with another default window."""
    changes: dict[str, Any] = {"sweeps": None, "together": False, "output": None, "report": False, "sweep": sweep}
    if "window" not in config.model_fields_set:
        changes["window"] = window
    return config.model_copy(update=changes | {"recording": config.recording.resolve()})


def rows_one_by_one(
    config: InferConfig, chosen: list[int], provenance: Mapping
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the table of sweeps that are inferred each for itself, and the answer that they give (None where none was fitted)."""
    target = config.target.resolve()
    tasks = [
        (for_one_sweep(config, sweep, default_window(config)), target / f"sweep_{sweep:03d}.posterior.h5", provenance)
        for sweep in chosen
    ]
    log.info("%d sweeps; each takes some seconds to a minute", len(tasks))
    rows: list[dict] = [{} for _ in tasks]
    models: list[dict[str, dict[str, float]]] = []
    for done, (i, (row, one)) in enumerate(workers.run(infer_sweep, tasks, jobs=config.jobs, what="sweeps"), 1):
        rows[i] = row
        models += [one] if one and row["verdict"] == "typical" else []
        told = row["verdict"] + (row["reason"] and f": {row['reason']}")
        log.info("%d of %d: sweep %d %s", done, len(tasks), row["sweep"], told)
    from ..posterior import answers

    alike = [one for one in models if one.keys() == models[0].keys()]
    return rows, {"answer": answers.answer_of_sweeps(alike)._asdict() if alike else None, "further": []}


def rows_together(
    config: InferConfig, chosen: list[int], provenance: Mapping
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the table of sweeps that share one membrane, and their answer; those without a window are left out with the reason.

    Raises
    ------
    InputError
        Fewer than two sweeps are left, or more than one posterior can hold.
    """
    from ..fit import infer, joint
    from ..posterior import summary

    rows, kept = [], []
    for sweep in chosen:
        one = for_one_sweep(config, sweep, default_window(config))
        rows.append({"file": config.recording.name, "sweep": sweep, "verdict": "left out", "reason": ""})
        try:
            recording = recordings.read_recording(one.recording, request_of(one))
            infer.prepare(recording, one, None)
        except InputError as error:
            rows[-1]["reason"] = str(error)
        else:
            kept.append((rows[-1], one, recording))
    if not 2 <= len(kept) <= MOST_TOGETHER:
        reasons = "".join(f" (sweep {row['sweep']}: {row['reason']})" for row in rows if row["reason"])[:300]
        raise InputError(
            f"{config.recording}: --together takes 2 to {MOST_TOGETHER} sweeps, {len(kept)} can be used{reasons}."
        )
    found = joint.infer_together([recording for _, _, recording in kept], kept[0][1])
    answered: dict[str, Any] = {}
    for (row, one, _), posterior in zip(kept, found, strict=True):
        predicted = summary.predictive(posterior, one.seed)
        results = summary.results(posterior, predicted)
        answered = answered or summary.answered(found, results)
        results |= answered
        target = config.target.resolve() / f"sweep_{row['sweep']:03d}.posterior.h5"
        posterior_file.write_posterior(target, posterior, results, predicted.band, provenance)
        row |= row_of(results | {"sd_over_sweeps": posterior.models["laa"].sd})
    log.info("together: %s", line_of(results | {"sd_over_sweeps": found[-1].models["laa"].sd}))
    return rows, {key: answered[key] for key in ("answer", "further")}


def infer_sweep(
    config: InferConfig, target: Path, provenance: Mapping
) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Return one row of the table of sweeps and the compared models; a sweep without window or current is left out with the reason."""
    row: dict[str, Any] = {"file": config.recording.name, "sweep": config.sweep, "verdict": "left out", "reason": ""}
    try:
        results, _ = infer_one(config, target, provenance, [])
    except InputError as error:
        return row | {"reason": str(error)}, {}
    return {**row, **row_of(results)}, results["models"]


def row_of(results: dict) -> dict[str, Any]:
    """Return what the table of sweeps says of one that was fitted."""
    units, textbook = {**UNITS["lumped"], **results["units"]}, results["textbook"] or {}
    row = {
        "verdict": results["verdict"],
        "reason": "; ".join(results["checks"]["facts"]),
        "favoured": results["favoured"],
    }
    best = results["models"][results["favoured"]]
    row |= {
        f"favoured {name}{what} ({units['C_m' if name == 'C_total' else name]})": values[name]
        for name in ("C_total", "g_L", "E_L")
        for what, values in (("", best["parameters"]), (" sd", best["sd"]))
    }
    won = results["favoured"] == "laa"
    for name in results["identified"]:
        row |= {
            f"{name} ({units[name]})": results["mean"][name] if won else None,
            f"{name} sd ({units[name]})": spread_of(results, name) if won else None,
        }
    for name, value in results["nuisance"].items():
        row[f"{name} ({value['unit']})"] = value["mean"]
    return row | {
        f"one exponential C_m ({units['C_m']})": textbook.get("C_m"),
        "coverage": results["in_window_coverage_90"],
    }


def line_of(results: dict) -> str:
    """Return one line for a person: the answer, estimates with units, what is not identified; a losing model's numbers are left out."""
    wrong = results["verdict"] == "misspecified"
    lost = [name for name, known in results["identified"].items() if not known]
    if results["favoured"] != "laa":
        told, tail = membrane_of(results), ""
    else:
        told = ", ".join(
            f"{name} {results['mean'][name]:.3g} ± {spread_of(results, name):.2g} {results['units'][name]}"
            for name in results["identified"]
        )
        tail = f" (not identified: {', '.join(lost)})" if lost and not wrong else ""
    rest = [name for name in results["not_excluded"] if name != "passive"]
    if rest and results["favoured"] != "passive":
        tail += f"; not told apart from {' and '.join(rest)}"
    quality = f"{results['refine']} ESS {100 * results['ess']:.0f} %" if results["ess"] is not None else "not refined"
    return f"{results['answer']['sentence']}; {told}{tail}; {quality}" + ("" if wrong else f"; {results['verdict']}")


def spread_of(results: dict, name: str) -> float:
    """Return the standard deviation of a parameter: the posterior's, or that over sweeps where it is larger."""
    return max(results["sd"][name], results.get("sd_over_sweeps", {}).get(name, 0.0))


def membrane_of(results: dict) -> str:
    """Return what the favoured model says where the activation model lost: its parameters with standard deviations and units."""
    best = results["models"][results["favoured"]]
    units = best["units"]
    left = [results["models"][name]["parameters"] for name in results["not_excluded"]]
    names = [n for n in best["parameters"] if n != "R_s" and (n != "C_total" or "C_2" in best["parameters"])]
    names = [n for n in names if all(n in other for other in left)]  # what only one of several models has is no answer
    names.sort(key=lambda name: name != "C_total")
    told = ", ".join(f"{n} {best['parameters'][n]:.3g} ± {best['sd'][n]:.2g} {units[n]}" for n in names)
    worse = results["models"]["laa"]["bic"] - best["bic"]
    lead = f"the activation model is {abs(worse):.0f} BIC {'worse' if worse > 0 else 'better, which is no clear gain'}"
    tail = "without the second compartment" if "k" in best["parameters"] else "no k, V_thr, G_act"
    return f"{results['favoured']} membrane: {told} ({lead}: {tail})"
