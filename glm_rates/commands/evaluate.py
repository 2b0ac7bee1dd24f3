"""Held-out scores of nested models and simple rivals, without a full fit."""

from __future__ import annotations

import hdf5io
from hdf5io.errors import InputError

from ..config import EvaluateConfig
from ..console import Result, Run
from ..files import exchange, results
from ..fit import environments, pipeline
from ..score import tables


def run(config: EvaluateConfig, run: Run) -> Result:
    """Cross-validation only."""
    if config.cv_folds < 2:
        raise InputError("--cv-folds 0: evaluate needs at least 2 folds.")
    results.may_write(config.output)
    if config.dry_run:
        nemos = environments.nemos_python(config.nemos_env)
        return Result(
            {},
            {"fit_with": nemos.python, "nemos": nemos.version},
            f"would score {config.folder} with {nemos.python} into {config.output}",
        )
    with pipeline.exchange_folder(like=config.folder) as folder:
        params, extracted = exchange.load(folder, "extract")
        done = exchange.Fitted(params, extracted, *pipeline.fit(folder, config, full_fit=False))
    table, summary = tables.unit_table(done), done.meta["summary"]
    keep = [n for n in table if n in ("unit", "region", "n_spikes", "ks_pvalue", "drift_pvalue") or n.startswith("cv ")]
    hdf5io.write_csv(config.output, [{n: table[n][u] for n in keep} for u in table["unit"]])
    best = list(summary["models"])[-1]
    row = summary["models"][best]
    line = f"{best}: {row['pooled']:.4f} held-out bits per spike (mean {row['mean']:.4f}, median {row['median']:.4f}); {config.output}"
    found = {"n_units": len(table["unit"]), "models": summary["models"], "steps": summary["steps"]}
    return Result({"scores": config.output}, found, line, record=config.output)
