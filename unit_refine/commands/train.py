"""``train``: labelled units in, a model folder out."""

from __future__ import annotations

from ..config import TrainConfig
from ..console import Result, Run
from ..files.save_model import staging, write_model
from ..fit.workflow import counts_of, describe, load_units, with_base_task
from ..score.outcome import more_labels, run_training, training_results


def run(config: TrainConfig, run: Run) -> Result:
    """Fit, score and save a model."""
    config = with_base_task(config)
    units = load_units(config)
    if config.dry_run:
        return Result({}, counts_of(units), f"would train on {describe(units)}; nothing written")
    outcome = run_training(config, units)
    results = training_results(outcome)
    from ..show import pages  # matplotlib: not needed where the input is refused

    with staging(config.output) as part:
        write_model(part, config, outcome, results)
        pages.training(part, outcome, run.warnings, run.provenance(config), config.figure_format)
    line = (
        f"{config.output}: {results['classifier']}, balanced accuracy {results['balanced_accuracy']:.3f} "
        f"({results['balanced_accuracy_low']:.3f} to {results['balanced_accuracy_high']:.3f}) on held-out {results['interval_over']},"
        f" {describe(units)}; {results['answer'].sentence}"
    )
    more = more_labels(outcome)
    line += f"; {more}" if more else ""
    outputs = {"model": config.output, "report": config.output / "report.html"}
    return Result(outputs, results, line, record=config.output)
