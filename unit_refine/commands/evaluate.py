"""``evaluate``: a model and labelled units that it has never seen in, scores and a report out."""

from __future__ import annotations

from ..config import EvaluateConfig
from ..console import Result, Run
from ..files import load_model
from ..files.save_model import staging
from ..score.compare import evaluate_model, evaluation_results


def run(config: EvaluateConfig, run: Run) -> Result:
    """Score a model on labelled units."""
    evaluation = evaluate_model(
        load_model.load(config.model, config.class_names, config.max_memory), config, config.bootstraps, config.seed
    )
    outputs = {}
    if config.output is not None:
        from ..show import pages  # matplotlib: not needed where nothing is drawn

        with staging(config.output) as part:
            pages.evaluation(part, evaluation, run.warnings, run.provenance(config), config.figure_format)
        outputs = {"report": config.output / "report.html"}
    results = evaluation_results(evaluation)
    line = (
        f"balanced accuracy {results['balanced_accuracy']:.3f} ({results['balanced_accuracy_low']:.3f} to "
        f"{results['balanced_accuracy_high']:.3f} over {results['interval_over']}), precision {results['precision']:.3f}, "
        f"ROC AUC {results['roc_auc']:.3f}, calibration error {results['ece']:.3f}, {results['n_units']} units; "
        f"{results['answer'].sentence}"
    )
    return Result(outputs, results, line, record=config.output)
