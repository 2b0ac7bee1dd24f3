"""``preprocess``: the file that models read."""

from __future__ import annotations

import hdf5io

from ..activity.preprocess import Rules
from ..activity.split import SplitRule
from ..config import PreprocessConfig
from ..console import Result, Run
from ..files.recording import write_recording
from ..files.sources import open_source


def run(config: PreprocessConfig, run: Run) -> Result:
    """Preprocess a session, block by block, and write it with its split and covariates."""
    session = open_source(config)
    hdf5io.claim(config.output, config.overwrite)
    if config.dry_run:
        return Result({}, {"n_rois": session.n_rois}, f"would preprocess {session.n_rois} ROIs; nothing written")
    rules = Rules(**{name: getattr(config, name) for name in Rules._fields})
    rule = SplitRule(config.split, config.fractions, tuple(config.held_out), config.cut_after_last_stimulus)
    results = write_recording(session, config.output, rules, rule, run.provenance(config), config.overwrite)
    line = (
        f"{config.output}: {results['n_neurons']} neurons, {results['n_frames']} frames, "
        f"{results['observed_fraction']:.1%} observed in all {results['n_fovs']} fields of view"
    )
    return Result({"recording": config.output}, results, line, record=config.output)
