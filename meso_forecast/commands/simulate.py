"""``simulate``: a mesoscope session with a known truth."""

from __future__ import annotations

from .. import simulate
from ..config import SimulateConfig
from ..console import Result, Run


def run(config: SimulateConfig, run: Run) -> Result:
    """Write a ONE cache with one session, and its truth outside ``alf/``."""
    results = {"n_fovs": config.n_fovs, "n_rois": config.n_fovs * config.n_rois, "n_frames": config.n_frames}
    if config.dry_run:
        return Result({}, results, f"would write {config.output}; nothing written")
    session = simulate.simulate_session(config.output, config.n_fovs, config.n_rois, config.n_frames, config.seed)
    line = f"{session}: {config.n_fovs} fields of view, {results['n_rois']} ROIs, {config.n_frames} frames"
    return Result({"session": session, "truth": session / "truth.npz"}, results, line, record=config.output)
