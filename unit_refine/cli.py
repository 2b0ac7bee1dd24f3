"""The commands of ``unit-refine``."""

from __future__ import annotations

from . import config as configs
from . import console

app = console.application(
    "unit-refine",
    "Which sorted units are good, multi-unit or noise? Learn it from your labels, apply it to new recordings.",
)


@console.command(app, configs.TrainConfig)
def train(config, run):
    """Learn a curator's labels; make a model folder that SpikeInterface and UnitRefine read."""
    from . import model_folder, workflow

    with (
        model_folder.Staging(config.output, config.overwrite) if not config.dry_run else model_folder.nothing() as part
    ):
        units = workflow.load_units(config)
        if config.dry_run:
            return console.Result(
                {}, workflow.counts_of(units), f"would train on {workflow.describe(units)}; nothing written"
            )
        outcome = workflow.run_training(config, units)
        model_folder.write_model(part, config, outcome)

        from . import reports  # matplotlib: not needed where the input is refused

        reports.training(part, outcome, run.warnings, run.provenance(config, config.inputs))
    results = workflow.training_results(outcome)
    line = (
        f"{config.output}: {results['classifier']}, balanced accuracy {results['balanced_accuracy']:.3f} "
        f"({results['balanced_accuracy_low']:.3f} to {results['balanced_accuracy_high']:.3f}) on held-out {results['interval_over']},"
        f" {workflow.describe(units)}"
    )
    return console.Result(
        {"model": config.output, "report": config.output / "report.html"}, results, line, record=config.output
    )


@console.command(app, configs.PredictConfig)
def predict(config, run):
    """Label the units of new recordings, with probabilities and an option to abstain."""
    import hdf5io

    from . import predicting

    hdf5io.claim(config.output, config.overwrite)
    table = predicting.predict_inputs(config)
    predicting.write_table(table, config.output)
    results = predicting.prediction_results(table)
    counts = ", ".join(f"{n} {name}" for name, n in results["counts"].items())
    line = f"{config.output}: {results['n_units']} units: {counts}; {results['n_abstained']} left to a person"
    return console.Result({"predictions": config.output}, results, line, record=config.output)


@console.command(app, configs.EvaluateConfig)
def evaluate(config, run):
    """Score a model on labelled units that it has never seen."""
    from . import model_folder, predicting, reports, storage

    with model_folder.Staging(config.output, config.overwrite) if config.output else model_folder.nothing() as part:
        evaluation = predicting.evaluate_model(storage.load(config.model), config, config.bootstraps, config.seed)
        if part is not None:
            reports.evaluation(part, evaluation, run.warnings, run.provenance(config, config.inputs))
    results = predicting.evaluation_results(evaluation)
    line = (
        f"balanced accuracy {results['balanced_accuracy']:.3f} ({results['balanced_accuracy_low']:.3f} to "
        f"{results['balanced_accuracy_high']:.3f} over {results['interval_over']}), precision {results['precision']:.3f}, "
        f"ROC AUC {results['roc_auc']:.3f}, calibration error {results['ece']:.3f}, {results['n_units']} units"
    )
    outputs = {"report": config.output / "report.html"} if config.output else {}
    return console.Result(outputs, results, line, record=config.output)


@console.command(app, configs.CompareConfig)
def compare(config, run):
    """Score several models on the same labelled units, side by side."""
    import hdf5io

    from . import predicting

    if config.output is not None:
        hdf5io.claim(config.output, config.overwrite)
    rows = predicting.compare(config)
    if config.output is not None:
        predicting.write_table(rows, config.output)
    lines = [
        f"{r['model']}: {r['balanced_accuracy']:.3f} ({r['low']:.3f} to {r['high']:.3f})"
        for r in rows.to_dict("records")
    ]
    outputs = {"table": config.output} if config.output else {}
    return console.Result(outputs, {"models": rows.to_dict("records")}, "; ".join(lines), record=config.output)


@console.command(app, configs.InspectConfig)
def inspect(config, run):
    """Say what a model is, what it needs, whether it is safe, and whether it still answers as it did."""
    from . import storage

    results = storage.inspect(config.model)
    drift = results["probe_set_change"]
    probe = (
        "no probe set"
        if drift is None
        else f"probe set reproduced (change {drift:.1e})"
        if results["reproduces"]
        else f"probe set NOT reproduced (change {drift:.2g})"
    )
    line = f"{config.model}: {' / '.join(results['classes'])}, {len(results['metric_names'])} metrics, only allowed types, {probe}"
    return console.Result({}, results, line, exit_code=0 if results["reproduces"] in (True, None) else 3)


@console.command(app, configs.ExportPhyConfig)
def export_phy(config, run):
    """Write predictions into a Phy folder; a person's labels are never changed."""
    from . import phy, predicting

    written = phy.export(
        config.phy_folder, predicting.read_table(config.predictions), config.write_group, config.overwrite
    )
    outputs = {path.name: path for path in written["files"]}
    line = f"{config.phy_folder}: {', '.join(outputs)}" + (
        f"; {written['n_groups_written']} groups filled" if config.write_group else ""
    )
    return console.Result(outputs, {"n_groups_written": written["n_groups_written"]}, line)


@console.command(app, configs.ExportCurationConfig)
def export_curation(config, run):
    """Write predictions as SpikeInterface curation JSON (format 2)."""
    import hdf5io

    from . import curation, predicting

    hdf5io.claim(config.output, config.overwrite)
    content = curation.make(predicting.read_table(config.predictions))
    curation.write(config.output, content)
    n = len(content["manual_labels"])
    return console.Result(
        {"curation": config.output},
        {"n_units": len(content["unit_ids"]), "n_labelled": n},
        f"{config.output}: {n} units labelled",
    )


@console.command(app, configs.SuggestConfig)
def suggest(config, run):
    """Name the units whose labels would teach the model most."""
    import hdf5io

    from . import predicting

    hdf5io.claim(config.output, config.overwrite)
    table = predicting.suggest(config)
    predicting.write_table(table, config.output)
    line = f"{config.output}: label these first: {', '.join(table['unit_id'].astype(str)[:10])}"
    return console.Result(
        {"suggestions": config.output}, {"n_units": len(table), "unit_ids": table["unit_id"].tolist()}, line
    )


@console.command(app, configs.SimulateConfig)
def simulate(config, run):
    """Make recordings whose every unit is known, as analyzers, metrics tables and labels."""
    from . import model_folder, simulated

    with model_folder.Staging(config.output, config.overwrite) as part:
        results = simulated.write_all(part, config, run.provenance(config))
    line = f"{config.output}: {results['n_recordings']} recordings of {results['n_units']} units"
    return console.Result({"folder": config.output}, results, line, record=config.output)


@console.command(app, configs.PlotConfig)
def plot(config, run):
    """Draw a model's figures again, or the metrics of new units by predicted class."""
    from . import model_folder, reports

    with model_folder.Staging(config.output, config.overwrite) as part:
        names = sorted(path.name for path in reports.plot(part, config).values())
    outputs = {name.partition(".")[0]: config.output / name for name in names}
    return console.Result(
        outputs, {"n_figures": len(names)}, f"{config.output}: {', '.join(names)}", record=config.output
    )


@console.command(app, configs.ConvertMetricsConfig)
def convert_metrics(config, run):
    """Bring metrics of analyzers, Phy folders or tables into one table, with new or old metric names."""
    import hdf5io

    from . import predicting

    hdf5io.claim(config.output, config.overwrite)
    table = predicting.convert(config)
    predicting.write_table(table, config.output)
    line = f"{config.output}: {len(table)} units, {len(table.columns) - 1} columns"
    return console.Result({"metrics": config.output}, {"n_units": len(table), "columns": list(table.columns)}, line)


main = console.entry_point(app)

if __name__ == "__main__":
    main()
