"""Draw random networks into a folder of shards."""

from __future__ import annotations

from ..config import BuildDatasetConfig, ImportConnectomeConfig
from ..console import Result, Run
from ..files import dataset
from ..rate_network.weights import get_spectral_radius


def run(config: BuildDatasetConfig | ImportConnectomeConfig, run: Run) -> Result:
    """Build the data set, or finish one that was begun."""
    if config.dry_run:
        shards = -(-config.n_networks // config.shard_size)
        dataset.check_options(config)
        line = f"would write {config.n_networks} networks of {config.n_neurons} neurons in {shards} shards to {config.output}"
        return Result({}, {"n_networks": config.n_networks, "n_shards": shards}, line)
    return report(dataset.build_dataset(config, run.provenance(config)))


def report(built: dataset.Built) -> Result:
    """Return what a build did, and the mean spectral radius of the first networks."""
    radius = float(get_spectral_radius(dataset.load_weights(built.folder, limit=64)).mean())
    results = {**built._asdict(), "mean_spectral_radius": radius}
    folder = results.pop("folder")
    line = (
        f"{built.n_networks} networks in {built.n_shards} shards ({built.n_written} written now), "
        f"mean spectral radius {radius:.2f}"
    )
    return Result({"dataset": folder}, results, line, record=folder)
