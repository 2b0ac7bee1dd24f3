"""``export-phy``: predictions in, files of a Phy folder out."""

from __future__ import annotations

from ..config import ExportPhyConfig
from ..console import Result, Run
from ..files import phy
from ..files.tables import read_predictions


def run(config: ExportPhyConfig, run: Run) -> Result:
    """Write predictions into a Phy folder."""
    predictions = read_predictions(config.predictions, config.recording)
    written = phy.export(config.phy_folder, predictions, config.write_group, config.overwrite)
    outputs = {path.name: path for path in written["files"]}
    groups = f"; {written['n_groups_written']} groups filled" if config.write_group else ""
    line = f"{config.phy_folder}: {', '.join(outputs)}{groups}"
    return Result(outputs, {"n_groups_written": written["n_groups_written"]}, line)
