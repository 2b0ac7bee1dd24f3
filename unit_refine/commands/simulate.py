"""``simulate``: nothing in, recordings whose every unit is known out: metrics tables, Phy labels, analyzers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hdf5io

from .. import simulate
from ..config import SimulateConfig
from ..console import Result, Run
from ..files import compute_metrics
from ..files.save_model import staging

log = logging.getLogger(__package__)


def run(config: SimulateConfig, run: Run) -> Result:
    """Make the recordings, one after another."""
    if config.dry_run:
        told = (
            f"would make {config.n_recordings} recordings of {config.n_units} units in {config.output}; nothing written"
        )
        return Result({}, {"n_recordings": config.n_recordings, "n_units": config.n_units}, told)
    with staging(config.output) as part:
        results = write_all(part, config, run.provenance(config))
    line = f"{config.output}: {results['n_recordings']} recordings of {results['n_units']} units"
    return Result({"folder": config.output}, results, line, record=config.output)


def write_all(folder: Path, config: SimulateConfig, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``recordingN_metrics.csv``, ``recordingN_cluster_group.tsv`` and, for recordings, ``recordingN_analyzer``."""
    counts: Counter[str] = Counter()
    if config.kind == "recordings":
        compute_metrics.spikeinterface()
    for i, seed in enumerate(np.random.SeedSequence(config.seed).spawn(config.n_recordings), start=1):
        if config.kind == "tables":
            table = simulate.metric_table(config.n_units, config.label_noise, np.random.default_rng(seed))
        else:
            log.info("recording %d of %d: %.0f s, %d units", i, config.n_recordings, config.duration_s, config.n_units)
            made = simulate.ground_truth(config, seed)
            metrics = simulate.write_analyzer(made, folder / f"recording{i}_analyzer")
            table = metrics.rename_axis("unit_id").reset_index().assign(label=made.labels)
        counts.update(table["label"])
        table.to_csv(folder / f"recording{i}_metrics.csv", index=False)
        groups = pd.DataFrame({"cluster_id": table["unit_id"], "group": table["label"]})
        groups.to_csv(folder / f"recording{i}_cluster_group.tsv", sep="\t", index=False)
    hdf5io.write_json(folder / "provenance.json", provenance)
    return {"n_recordings": config.n_recordings, "n_units": config.n_units, "counts": dict(sorted(counts.items()))}
