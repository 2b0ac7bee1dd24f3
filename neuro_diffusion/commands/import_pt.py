"""Make a data set of a folder of network_*.pt files."""

from __future__ import annotations

from ..config import ImportPtConfig
from ..console import Result, Run
from ..files import pt_folders
from .build_dataset import report


def run(config: ImportPtConfig, run: Run) -> Result:
    """Read every file, write shards."""
    return report(pt_folders.import_pt(config.folder, config.output, config.shard_size))
