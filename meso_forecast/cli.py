"""The commands of ``meso-forecast``."""

from __future__ import annotations

import os

from . import config as configs
from . import console

# One thread for matrix products unless the user sets another number: on two busy cores a small comparison took 57 s so, and
# over four minutes with a thread a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

app = console.application(
    "meso-forecast", "How well can the next seconds of a mouse cortex be predicted from the last ones?"
)


@console.command(app, configs.SimulateConfig)
def simulate(config, run):
    """Simulate a mesoscope session: a ONE cache with ALF files, and the truth outside alf/."""
    import hdf5io

    from . import simulate as simulation

    hdf5io.claim(config.output, config.overwrite)
    results = {"n_fovs": config.n_fovs, "n_rois": config.n_fovs * config.n_rois, "n_frames": config.n_frames}
    if config.dry_run:
        return console.Result({}, results, f"would write {config.output}; nothing written")
    session = simulation.simulate_session(config.output, config.n_fovs, config.n_rois, config.n_frames, config.seed)
    line = f"{session}: {config.n_fovs} fields of view, {results['n_rois']} ROIs, {config.n_frames} frames"
    return console.Result({"session": session, "truth": session / "truth.npz"}, results, line, record=config.output)


@console.command(app, configs.SessionsConfig)
def sessions(config, run):
    """List the sessions of a ONE cache with quality control; write them as a CSV that from_csv reads."""
    from . import listing

    return listing.run_sessions(config)


@console.command(app, configs.ExtractConfig)
def extract(config, run):
    """Write the activity of a session's cells as one (time, neuron) HDF5 file."""
    import hdf5io

    from . import data

    session = data.open_source(config)
    hdf5io.claim(config.output, config.overwrite)
    if config.dry_run:
        return console.Result({}, {"n_rois": session.n_rois}, f"would extract {session.n_rois} ROIs; nothing written")
    given = {"time_window": config.time_window, "overwrite": config.overwrite}
    if config.signal == "raw":
        session.save_activity_matrix(config.output, **given)
    else:
        session.save_dff_activity_matrix(config.output, neucoeff=config.neucoeff, **given)
    with hdf5io.read(config.output) as file:
        n_frames, n_neurons = file["activity_matrix"].shape
    results = {"n_frames": n_frames, "n_neurons": n_neurons, "skipped_fovs": session.skipped}
    line = f"{config.output}: {n_neurons} cells, {n_frames} frames"
    return console.Result({"activity": config.output}, results, line, record=config.output)


@console.command(app, configs.PreprocessConfig)
def preprocess(config, run):
    """Make the file that models read: dF/F, normalised on the training part, with split and covariates."""
    import hdf5io

    from . import data
    from . import preprocess as pre
    from . import recording as rec

    session = data.open_source(config)
    hdf5io.claim(config.output, config.overwrite)
    if config.dry_run:
        return console.Result(
            {}, {"n_rois": session.n_rois}, f"would preprocess {session.n_rois} ROIs; nothing written"
        )
    rules = pre.Rules(**{name: getattr(config, name) for name in pre.Rules._fields})
    rule = rec.SplitRule(config.split, config.fractions, tuple(config.held_out), config.cut_after_last_stimulus)
    results = rec.write_recording(session, config.output, rules, rule, run.provenance(config), config.overwrite)
    line = (
        f"{config.output}: {results['n_neurons']} neurons, {results['n_frames']} frames, "
        f"{results['observed_fraction']:.1%} observed in all {results['n_fovs']} fields of view"
    )
    return console.Result({"recording": config.output}, results, line, record=config.output)


@console.command(app, configs.TrainConfig)
def train(config, run):
    """Fit one forecaster on one or several recordings; make a model folder."""
    from . import commands

    return commands.run_train(config, run)


@console.command(app, configs.ForecastConfig)
def forecast(config, run):
    """Forecast a recording with a trained model; write means and quantiles as HDF5."""
    from . import commands

    return commands.run_forecast(config, run)


@console.command(app, configs.EvaluateConfig)
def evaluate(config, run):
    """Score a trained model on a recording's test part, against baselines fitted on its training part."""
    from . import commands

    return commands.run_evaluate(config, run)


@console.command(app, configs.CompareConfig)
def compare(config, run):
    """Fit several forecasters on one recording and rank them on identical test windows."""
    from . import commands

    return commands.run_compare(config, run)


@console.command(app, configs.PlotConfig)
def plot(config, run):
    """Draw a forecast file: traces with intervals, rasters of truth, forecast and residual."""
    from . import commands

    return commands.run_plot(config)


@console.command(app, configs.InfoConfig)
def info(config, run):
    """Say what a file or model folder holds."""
    from . import listing

    return listing.run_info(config)


main = console.entry_point(app)
