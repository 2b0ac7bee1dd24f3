"""The command line: options become a config, a config becomes files and one line. All work is done elsewhere."""

from __future__ import annotations

from pathlib import Path

from . import config as configs
from . import console

app = console.application(
    "laa-bayes", "Bayesian inference for the Leaky Adaptive Activation neuron, checked against the exact posterior."
)


@console.command(app, configs.SimulateConfig)
def simulate(config, run):
    """Make a bank of simulated traces: sharded, resumable, the same for any number of workers."""
    from . import assemble, bank, claims

    recipe = assemble.recipe(config, config.n, config.seed, config.shard_size)
    if config.dry_run:
        line = f"would make {config.n} traces of {len(recipe.current)} samples in {len(recipe.shards())} shards in {config.output}"
        return console.Result(
            {}, {"n": config.n, "n_time": len(recipe.current), "n_shards": len(recipe.shards())}, line
        )
    with claims.locked(config.output):
        claims.clear_bank(config.output, recipe, config.overwrite)
        counts = bank.build(recipe, config.output, config.jobs, run.provenance(config))
    results = {
        "n": config.n,
        "n_time": len(recipe.current),
        "shards_made": counts["done"],
        "shards_skipped": counts["skipped"],
    }
    results |= {"seconds_simulating": counts["seconds"], "recipe": recipe.digest()}
    line = f"{config.n} traces in {config.output} ({counts['done']} shards made, {counts['skipped']} were there, {counts['seconds']:.1f} s)"
    return console.Result({"bank": config.output}, results, line, record=config.output)


@console.command(app, configs.TrainConfig)
def train(config, run):
    """Train the posterior network; prints a time estimate first."""
    from . import assemble, claims

    recipe = assemble.training_recipe(config)
    if config.dry_run:
        preset = config.resolved_preset()
        line = f"would train on {recipe.n} traces of {len(recipe.current)} samples: {preset}"
        return console.Result({}, preset.model_dump(mode="json") | {"n_time": len(recipe.current)}, line)
    with claims.locked(config.output):
        claims.claim_model(config)
        model = assemble.train_model(config, recipe, run)
    keys = ("epochs", "estimated_seconds", "training_seconds", "batch_seconds", "validation_loss", "data_sha256")
    info = {key: model.info[key] for key in keys}
    line = f"{config.output}: {info['epochs']} epochs in {info['training_seconds']:.0f} s, validation loss {info['validation_loss']:.3f}. Next: laa-bayes diagnose {config.output}"
    return console.Result(
        {"model": config.output}, info | {"n_simulations": model.preset.n_simulations}, line, record=config.output
    )


@console.command(app, configs.DiagnoseConfig)
def diagnose(config, run):
    """Test a trained model on fresh simulations and against the exact posterior; exit 3 when it fails."""
    from . import assemble, claims, reports
    from . import diagnose as diagnosing

    model = assemble.load_model(config.model)
    folder = config.output or config.model / "diagnosis"
    claims.claim_folder(folder, config.overwrite)
    diagnosis = diagnosing.diagnose(model, config)
    results = diagnosing.results(diagnosis)
    sections = reports.diagnosis_sections(diagnosis, assemble.history(config.model))
    outputs = reports.write_diagnosis(folder, config, results, sections, run)
    line = f"{diagnosis.verdict}: median sd {results['sd_ratio'] or float('nan'):.2f} x exact, C2ST {results['c2st'] or float('nan'):.2f}; {outputs['report']}"
    return console.Result(outputs, results, line, 3 if diagnosis.verdict == "fail" else 0, record=folder)


@console.command(app, configs.InferConfig)
def infer(config, run):
    """Infer the parameters of one recorded trace; exit 3 when the model cannot explain it."""
    from . import answer, assemble, claims, data, reports
    from . import infer as inference

    output = config.output or config.recording.with_suffix(".posterior.h5")
    claims.claim_file(output, config.overwrite, config.recording)
    recording = data.read_recording(config.recording, config.sweep, config.columns)
    model = None if config.model == "none" else assemble.load_model(Path(config.model))
    posterior = inference.infer(recording, config, model)
    predicted = answer.predictive(posterior, config.seed)
    results = assemble.infer_results(posterior, predicted)
    outputs = reports.write_inference(output, posterior, predicted, results, config, run)
    bad = posterior.typicality.verdict == "misspecified"
    return console.Result(
        outputs, results, assemble.infer_line(results), 3 if bad and not config.force else 0, record=output
    )


@console.command(app, configs.PosteriorPredictConfig)
def posterior_predict(config, run):
    """Predict voltages from a posterior, for the recorded current or another one."""
    from . import assemble, claims

    claims.claim_file(config.output, config.overwrite, config.posterior)
    path, results = assemble.predict_again(config, run)
    return console.Result(
        {"prediction": path},
        results,
        f"{results['n_draws']} predictions of {results['n_time']} samples in {path}",
        record=path,
    )


@console.command(app, configs.FixedPointsConfig)
def fixed_points(config, run):
    """Resting voltages, their stability, and the currents between which the neuron is bistable."""
    from . import dynamics, show

    theta = config.theta()
    points, knees = dynamics.fixed_points(theta, config.current), dynamics.knees(theta)
    results = {
        "fixed_points": [p._asdict() for p in points],
        "bistable_at_some_current": dynamics.is_bistable(theta),
        "knees": knees._asdict() if knees else None,
        "k_width_mv": theta[3],
        "k_slope_per_mv": 1 / theta[3],
    }
    line = "; ".join(f"{p.v_mv:.2f} mV {'stable' if p.stable else 'unstable'}" for p in points)
    line += (
        f"; bistable for currents {knees.i_low:.4f} to {knees.i_high:.4f}"
        if knees
        else "; never bistable (G_act <= 4 g_L k)"
    )
    outputs = show.write_current_voltage(config, theta) if config.output else {}
    return console.Result(outputs, results, line)


@console.command(app, configs.TraceConfig)
def trace(config, run):
    """Simulate the voltage of one neuron under a current."""
    from . import assemble, claims, outputs

    hdf5_or_csv = claims.claim_file(config.output, config.overwrite, None, (".h5", ".hdf5", ".csv"))
    recording = assemble.simulate_trace(config)
    path = outputs.write_trace(hdf5_or_csv, recording, config.theta(), run.provenance(config), config.overwrite)
    results = {
        "n_time": len(recording.v_mv),
        "min_mv": recording.v_mv.min(),
        "max_mv": recording.v_mv.max(),
        "last_mv": recording.v_mv[-1],
    }
    line = f"{len(recording.v_mv)} samples, {results['min_mv']:.2f} to {results['max_mv']:.2f} mV, in {path}"
    return console.Result({"trace": path}, results, line)


@console.command(app, configs.InfoConfig)
def info(config, run):
    """Say what a model folder, bank, posterior or recording holds."""
    from . import show

    results = show.describe(config)
    return console.Result({}, results, "; ".join(f"{key}: {value}" for key, value in results.items()))


@console.command(app, configs.PlotConfig)
def plot(config, run):
    """Draw a posterior, its fit, a trace, or the traces of a bank."""
    from . import show

    path = show.draw_figure(config)
    return console.Result({"figure": path}, {}, str(path))


main = console.entry_point(app)
