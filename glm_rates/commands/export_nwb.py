"""Copy an NWB file and add rates and scores as a processing module."""

from __future__ import annotations

from ..config import ExportNwbConfig
from ..console import Result, Run
from ..files.nwb_module import write_copy
from ..files.results import may_write
from ..files.stored import read_results


def run(config: ExportNwbConfig, run: Run) -> Result:
    """Read stored results, check that they are of this file's units, write the copy."""
    may_write(config.output)
    stored = read_results(config.data)
    n_samples = write_copy(config.nwb, config.output, stored)
    found = {"n_units": len(stored.regions), "n_samples": n_samples, "module": "glm_rates"}
    line = f"rates of {len(stored.regions)} units in {n_samples} bins; {config.output}"
    return Result({"nwb": config.output}, found, line, record=config.output)
