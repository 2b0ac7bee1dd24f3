"""Make a bank of simulated traces: sharded, resumable, the same for any number of workers."""

from __future__ import annotations

from ..config import SimulateConfig
from ..console import Result, Run
from ..files import bank
from ..simulate import recipe


def run(config: SimulateConfig, run: Run) -> Result:
    """Simulate every shard that is missing."""
    wanted = recipe(config, config.n, config.seed, config.shard_size)
    size = {"n": config.n, "n_time": len(wanted.current)}
    if config.dry_run:
        line = f"would make {config.n} traces of {len(wanted.current)} samples in {len(wanted.shards())} shards in {config.output}"
        return Result({}, size | {"n_shards": len(wanted.shards())}, line)
    made = bank.build(wanted, config.output, config.jobs, run.provenance(config), config.scheduler)
    counts = {"shards_made": made["done"], "shards_skipped": made["skipped"], "seconds_simulating": made["seconds"]}
    line = f"{config.n} traces in {config.output} ({made['done']} shards made, {made['skipped']} were there, {made['seconds']:.1f} s)"
    return Result({"bank": config.output}, size | counts | {"recipe": wanted.digest()}, line, record=config.output)
