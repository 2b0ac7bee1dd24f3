"""``preprocess``: the file that models read."""

from __future__ import annotations

from ..activity.reading import Rules
from ..activity.split import SplitRule
from ..config import PreprocessConfig
from ..console import Result, Run
from ..files.held import told_on_success
from ..files.sources import open_source
from ..files.write_recording import checked, write_recording


def run(config: PreprocessConfig, run: Run) -> Result:
    """Preprocess a session, block by block, and write it with its split and covariates."""
    with told_on_success():
        return preprocessed(config, run)


def preprocessed(config: PreprocessConfig, run: Run) -> Result:
    """Return what became of the session."""
    session = open_source(config)
    rules = Rules(**{name: getattr(config, name) for name in Rules._fields})
    rule = SplitRule(config.split, config.fractions, tuple(config.held_out), config.cut_after_last_stimulus)
    if config.dry_run:
        checked(session, rules, rule)
        return Result({}, {"n_rois": session.n_rois}, f"would preprocess {session.n_rois} ROIs; nothing written")
    results = write_recording(
        session, config.output, rules, rule, run.provenance(config), overwrite=True
    )  # the console asked
    line = (
        f"{config.output}: {results['n_neurons']} neurons, {results['n_frames']} frames, "
        f"{results['observed_fraction']:.1%} observed in all {results['n_fovs']} fields of view"
    )
    pauses = f", {results['n_pauses']} pauses" if results["n_pauses"] else ""
    return Result({"recording": config.output}, results, line + pauses, record=config.output)
