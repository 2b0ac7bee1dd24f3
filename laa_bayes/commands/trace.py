"""Simulate the voltage of one neuron under a current."""

from __future__ import annotations

from .. import simulate
from ..config import TraceConfig
from ..console import Result, Run
from ..files import posterior_file


def run(config: TraceConfig, run: Run) -> Result:
    """Simulate and write one trace, as HDF5 or CSV by the name of the output."""
    found = simulate.trace(config)
    path = posterior_file.write_trace(config.output, found, config.theta(), run.provenance(config))
    v = found.v_mv
    results = {"n_time": len(v), "min_mv": v.min(), "max_mv": v.max(), "last_mv": v[-1]}
    return Result({"trace": path}, results, f"{len(v)} samples, {v.min():.2f} to {v.max():.2f} mV, in {path}")
