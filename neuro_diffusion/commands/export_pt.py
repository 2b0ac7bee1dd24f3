"""Write one network_<i>.pt a network."""

from __future__ import annotations

from ..config import ExportPtConfig
from ..console import Result, Run
from ..files import pt_folders


def run(config: ExportPtConfig, run: Run) -> Result:
    """Read the data set, write its networks."""
    paths = pt_folders.export_pt(config.dataset, config.output, config.limit)
    results = {"n_networks": len(paths)}
    return Result({"folder": config.output}, results, f"{len(paths)} files", record=config.output)
