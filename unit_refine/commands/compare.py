"""``compare``: several models and the same labelled units in, their scores side by side out."""

from __future__ import annotations

from ..config import CompareConfig
from ..console import Result, Run
from ..files import load_model, recordings
from ..files.tables import write_table
from ..score import labellers
from ..score.beside import ask_all
from ..score.compare import compare


def run(config: CompareConfig, run: Run) -> Result:
    """Score models, and other labellers, on the same units."""
    if config.dry_run:
        labellers.check(config.labellers)
        classes = [load_model.load(model, max_memory=config.max_memory).classes for model in config.models]
        units, _ = recordings.read_all(config)
        ask_all(config.labellers, units)  # names that are none, or judge by what is not there
        n_units = sum(len(found.unit_ids) for found in units)
        told = f"would compare {len(classes)} models on {n_units} units of {len(config.inputs)} inputs; nothing written"
        return Result({}, {"n_models": len(classes), "n_units": n_units, "classes": classes}, told)
    found = compare(config)
    if config.output is not None:
        write_table(found.table, config.output)
    rows = found.table.to_dict("records")
    line = "; ".join(
        f"{r['model']}: {r['balanced_accuracy']:.3f} ({r['low']:.3f} to {r['high']:.3f})"
        for r in rows
        if r["balanced_accuracy"] == r["balanced_accuracy"]
    )
    line += f"; {found.answer.sentence}"
    results = {"models": rows, "agreement": found.agreement, "excluded_by": found.exclusions,
               "answer": found.answer, "further": found.further}  # fmt: skip
    return Result({"table": config.output} if config.output else {}, results, line, record=config.output)
