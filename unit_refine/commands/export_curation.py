"""``export-curation``: predictions in, SpikeInterface's curation JSON out."""

from __future__ import annotations

import hdf5io

from ..config import ExportCurationConfig
from ..console import Result, Run
from ..files import curation
from ..files.tables import read_predictions


def run(config: ExportCurationConfig, run: Run) -> Result:
    """Write predictions as curation JSON."""
    content = curation.make(read_predictions(config.predictions, config.recording))
    hdf5io.write_json(config.output, content)
    n = len(content["manual_labels"])
    results = {"n_units": len(content["unit_ids"]), "n_labelled": n}
    return Result({"curation": config.output}, results, f"{config.output}: {n} units labelled")
