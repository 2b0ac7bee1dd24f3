"""``predict``: new recordings in, a table of labels and probabilities out."""

from __future__ import annotations

from ..config import PredictConfig
from ..console import Result, Run
from ..files.tables import write_table
from ..score.predict import predict_inputs, prediction_results


def run(config: PredictConfig, run: Run) -> Result:
    found = predict_inputs(config)
    write_table(found.table, config.output)
    results = prediction_results(found)
    counts = ", ".join(f"{n} {name}" for name, n in results["counts"].items())
    line = f"{config.output}: {results['n_units']} units: {counts}; {results['n_abstained']} left to a person"
    odd = sum(len(row["odd_metrics"]) for row in results["applies"])
    line += f"; {odd} metrics unlike the training recordings'" if odd else ""
    return Result({"predictions": config.output}, results, line, record=config.output)
