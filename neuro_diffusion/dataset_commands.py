"""Commands about data sets and the simulator; `register` adds them to the application."""

from __future__ import annotations

from . import console, dataset_config


def register(app) -> None:
    """Add build-dataset, import-connectome, import-pt, export-pt and check-simulator to a Typer application."""
    for function, config_class in (
        (build_dataset, dataset_config.BuildDatasetConfig),
        (import_connectome, dataset_config.ImportConnectomeConfig),
        (import_pt, dataset_config.ImportPtConfig),
        (export_pt, dataset_config.ExportPtConfig),
        (check_simulator, dataset_config.CheckSimulatorConfig),
    ):
        console.command(app, config_class)(function)


def build_dataset(config, run):
    """Draw random networks (and their activity) into a folder of shards; a killed build goes on."""
    from . import dataset

    return _report(dataset.build_dataset(config, run.provenance(config)))


def import_connectome(config, run):
    """Draw sub-networks of a real connectome into a data set."""
    from . import dataset

    return _report(dataset.build_dataset(config, run.provenance(config, [config.connectome])))


def import_pt(config, run):
    """Make a data set of a folder of network_*.pt files."""
    from . import exchange

    return _report(exchange.import_pt(config.folder, config.out_dir, config.shard_size, config.overwrite))


def _report(built):
    from .dataset import load_weights
    from .weights import get_spectral_radius

    radius = get_spectral_radius(load_weights(built.folder, limit=64))
    results = {**built._asdict(), "mean_spectral_radius": float(radius.mean())}
    results.pop("folder")
    line = f"{built.n_networks} networks in {built.n_shards} shards ({built.n_written} written now), mean spectral radius {radius.mean():.2f}"
    return console.Result({"dataset": built.folder}, results, line, record=built.folder)


def export_pt(config, run):
    """Write one network_<i>.pt a network."""
    from . import exchange

    paths = exchange.export_pt(config.dataset, config.out_dir, config.limit, config.overwrite)
    return console.Result(
        {"folder": config.out_dir}, {"n_networks": len(paths)}, f"{len(paths)} files", record=config.out_dir
    )


def check_simulator(config, run):
    """Simulate a random network and check shape, gradient, equality with a slow loop and order of convergence."""
    from .simulator_check import check

    outcome = check(config.N, config.T, config.seed)
    good = all(c.passed for c in outcome)
    line = "; ".join(f"{c.name} {'ok' if c.passed else 'FAILED'} ({c.value:.2g}, limit {c.limit:.2g})" for c in outcome)
    return console.Result(
        {}, {"passed": good, "checks": [c._asdict() for c in outcome]}, line, exit_code=0 if good else 3
    )
