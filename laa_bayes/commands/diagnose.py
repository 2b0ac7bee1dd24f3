"""Test a trained model on fresh simulations and against the exact posterior."""

from __future__ import annotations

import math

from ..config import DiagnoseConfig
from ..console import Result, Run
from ..files import model_folder


def run(config: DiagnoseConfig, run: Run) -> Result:
    """Load the model, judge it, write report and figures; exit 3 when it fails."""
    model = model_folder.load(config.model)
    from ..score import diagnosis
    from ..show import diagnosis_page

    found = diagnosis.diagnose(model, config)
    results = diagnosis.results(found)
    history = model_folder.read_history(config.model)
    outputs = diagnosis_page.write_diagnosis(config, found, results, history, run.provenance(config), run.warnings)
    sd, c2st = (math.nan if results[key] is None else results[key] for key in ("sd_ratio", "c2st"))
    line = f"{found.answer.sentence}; {found.verdict}: median sd {sd:.2f} x exact, C2ST {c2st:.2f}; {outputs['report']}"
    return Result(outputs, results, line, 3 if found.verdict == "fail" else 0, record=config.target)
