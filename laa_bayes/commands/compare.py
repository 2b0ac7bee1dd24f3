"""Find which model the sweeps of a recording support: passive, two compartments, or activation."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

import hdf5io
from hdf5io.errors import InputError

from ..config import MOST_TOGETHER, UNITS, CompareConfig
from ..console import Result, Run, table
from ..files import recordings
from ..files.request import request_of

if TYPE_CHECKING:
    from ..posterior.likelihood import Observation
    from ..posterior.summary import Posterior

log = logging.getLogger("laa_bayes")


def run(config: CompareConfig, run: Run) -> Result:
    """Fit every model to one sweep, score it on others, write the table; exit 3 when no model explains the trace."""
    fitted, n = sweeps_to_fit(config)
    several = [recordings.read_recording(config.recording, request_of(config, sweep)) for sweep in fitted]
    if config.dry_run:
        n_time = len(several[0].v_mv)
        told = f"would compare the models on {n_time} samples of sweep {', '.join(map(str, fitted))} of 0 to {n - 1}"
        return Result({}, {"n_time": n_time, "sweep": fitted[0], "sweeps": fitted}, told)
    from ..fit.infer import infer
    from ..fit.joint import infer_together
    from ..posterior import answers, summary
    from ..posterior.rivals import best_rival
    from ..score import held_out

    asked = config.inference()
    together = infer_together(several, asked) if len(several) > 1 else [infer(several[0], asked, None)]
    posterior = together[0]
    results = summary.results(posterior, summary.predictive(posterior, config.seed))
    others = other_sweeps(config, posterior, [i for i in range(n) if i not in fitted])
    if config.held_out and n > len(fitted) and not others:
        log.warning("none of the other sweeps has the window: no model is scored on a sweep that it has not seen")
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


def sweeps_to_fit(config: CompareConfig) -> tuple[list[int], int]:
    """Return the sweeps to fit, and how many the file holds; a warning says that none is left to be predicted.

    Raises
    ------
    InputError
        A sweep that the file does not have, or more sweeps than are fitted together.
    """
    fitted, n = recordings.sweeps_asked(config)
    if len(fitted) > MOST_TOGETHER:
        raise InputError(
            f"{config.recording}: --sweeps {config.sweeps} are {len(fitted)} sweeps, at most {MOST_TOGETHER} are fitted together. "
            f"Name fewer of 0 to {n - 1}: the others are predicted."
        )
    if config.held_out and config.sweeps is not None and len(fitted) == n:
        log.warning(
            "--sweeps %s: every sweep of the file is fitted, none is left that the models have not seen: the answer is by BIC alone. "
            "Name fewer of 0 to %d, or say --held-out 0",
            config.sweeps, n - 1,
        )  # fmt: skip
    return fitted, n


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
