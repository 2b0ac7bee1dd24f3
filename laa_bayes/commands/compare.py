"""Find which model the sweeps of a recording support: passive, two compartments, or activation."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import UNITS, CompareConfig
from ..console import Result, Run, table
from ..files import recordings
from ..files.request import request_of

if TYPE_CHECKING:
    from ..posterior.likelihood import Observation
    from ..posterior.summary import Posterior

log = logging.getLogger("laa_bayes")


def run(config: CompareConfig, run: Run) -> Result:
    """Fit every model to one sweep, score it on others, write the table; exit 3 when no model explains the trace."""
    recording = recordings.read_recording(config.recording, request_of(config))
    n = recordings.n_sweeps(config.recording, request_of(config, sweep=0))
    if config.sweeps is not None and config.chosen_sweeps(n)[-1] >= n:
        raise InputError(f"{config.recording}: --sweeps {config.sweeps}, but the file has {n} sweeps (0 to {n - 1}).")
    if config.dry_run:
        told = f"would compare the models on {len(recording.v_mv)} samples of sweep {config.sweep}"
        return Result({}, {"n_time": len(recording.v_mv), "sweep": config.sweep}, told)
    from ..fit.infer import infer
    from ..fit.joint import infer_together
    from ..posterior import answers, summary
    from ..posterior.rivals import best_rival
    from ..score import held_out

    asked = config.inference()
    fitted = [config.sweep] if config.sweeps is None else config.chosen_sweeps(n)
    if config.sweeps is None:
        together = [infer(recording, asked, None)]
    else:
        several = [recordings.read_recording(config.recording, request_of(config, sweep)) for sweep in fitted]
        together = infer_together(several, asked)
    posterior = together[0]
    results = summary.results(posterior, summary.predictive(posterior, config.seed))
    others = other_sweeps(config, posterior, [i for i in range(n) if i not in fitted])
    each = held_out.errors_mv(posterior, others)
    errors = held_out.pooled(each)
    found_out = summary.answered(together, results)
    if len(others) > 1:  # sweeps that no model has seen judge better than the fitted ones
        rival = best_rival(posterior.models, results["favoured"])
        wrong = summary.against_all(results)
        found_out["answer"] = answers.answer_held_out(each, rival, results["favoured"], wrong)._asdict()
    models = {name: m | {"held_out_rmse_mv": errors[name]} for name, m in results["models"].items()}
    rows = [row_of(name, m, {**UNITS["lumped"], **results["units"]}) for name, m in models.items()]
    hdf5io.write_csv(config.target / "models.csv", rows)
    found = {
        "favoured": results["favoured"], "models": models, "n_held_out": len(others), "sweeps": fitted, "verdict": results["verdict"],
        "facts": results["checks"]["facts"], "read": results["read"], "answer": found_out["answer"], "further": found_out["further"],
    }  # fmt: skip
    hdf5io.write_json(config.target / "models.json", found | {"provenance": run.provenance(config)})
    log.info("\n%s", table(rows))
    numbers = ", ".join(
        f"{key} {value}"
        for key, value in rows[list(models).index(results["favoured"])].items()
        if key.startswith(("C_total", "g_L"))
    )
    line = f"{found_out['answer']['sentence']}; favoured: {results['favoured']} ({numbers}); held-out sweeps: {len(others)}; {config.target / 'models.csv'}"
    bad = results["verdict"] == "misspecified"
    return Result(
        {"table": config.target / "models.csv", "models": config.target / "models.json"}, found, line, 3 if bad else 0
    )


def other_sweeps(config: CompareConfig, posterior: Posterior, sweeps: list[int]) -> list[Observation]:
    """Return the first of the sweeps that were not fitted and have the window; at most ``held_out`` of them."""
    from ..score import held_out

    others: list[Observation] = []
    for sweep in sweeps:
        if len(others) == config.held_out:
            break
        try:
            recording = recordings.read_recording(config.recording, request_of(config, sweep))
            others.append(held_out.observation(posterior, recording, config.inference()))
        except InputError as error:
            log.info("sweep %d is not scored: %s", sweep, error)
    return others


def row_of(name: str, model: dict[str, Any], units: dict[str, str]) -> dict[str, Any]:
    """Return one line of the table of models."""
    own = {**units, "C_2": units["C_m"], "C_total": units["C_m"], "g_c": units["g_L"], "R_s": "MOhm"}
    own |= {"g_h": units["g_L"], "tau_h": "ms"}
    error = model["held_out_rmse_mv"]
    return {
        "model": name,
        "BIC - best": round(model["bic"], 1),
        "log evidence - best": round(model["log_evidence"], 1),
        "its standard error": round(model["log_evidence_se"], 2),
        "held-out RMSE (mV)": None if error is None or not np.isfinite(error) else round(error, 3),
        **{f"{key} ({own[key]})": float(f"{value:.4g}") for key, value in model["parameters"].items()},
    }
