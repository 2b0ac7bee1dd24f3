"""The commands: options to config, load, compute, save."""

from __future__ import annotations

import os

from . import config as options
from . import console, dataset_commands

# One thread unless the user sets another number: equal seeds then give equal results on every machine, and contended threads
# cost more than they bring for networks of this size.
os.environ.setdefault("OMP_NUM_THREADS", "1")

app = console.application(
    "neuro-diffusion", "Posteriors over the synaptic weights of recurrent networks, beside ridge regression."
)
dataset_commands.register(app)


@console.command(app, options.TrainPriorConfig)
def train_prior(config, run):
    """Train a diffusion prior p(W) on the weights of a data set."""
    return _train(config, run)


@console.command(app, options.TrainConditionalConfig)
def train_conditional(config, run):
    """Train p(W | activity) and p(W) in one network (or the regression baseline)."""
    return _train(config, run)


def _train(config, run):
    """Train either kind of model, from the start or from the state of an interrupted training."""
    import hdf5io

    from . import data, dataset, train

    settings = config.model_dump(mode="json")
    found = dataset.load_config(config.data)
    W, held = (dataset.load_weights(config.data, split) for split in ("train", "validation"))
    state, start = data.load_state(config.output, settings) if config.resume else (None, 0)
    if not config.resume:
        hdf5io.claim(config.output, config.overwrite)
    timing = (0.1, 1.0, 50) if found is None else (found.dt, found.tau, found.T)
    if found is None:
        console.log.warning("the data set was imported without dt and T: dt/tau = 0.1 and 50 time steps are assumed.")
    try:
        spec = train.spec_of(config, W, *timing)
    except ValueError as error:
        raise hdf5io.InputError(f"{config.data}: {error}") from None
    first = None if config.fine_tune is None else data.load_model(config.fine_tune)
    if first is not None and first.spec.body != spec.body:
        raise hdf5io.InputError(
            f"{config.fine_tune}: its network is {first.spec.body}, the options ask for {spec.body}. Give the same options."
        )
    save = lambda t, step: data.save_state(config.output, train.state_of(t), step, settings, spec)  # noqa: E731
    fit = train.fit(spec, W, held, config, save, start, state, first)
    data.save_model(config.output, fit.model, settings)
    results = {
        "validation_loss": fit.validation_loss,
        "gaussian_loss": fit.blank_loss,
        "iterations": config.iterations,
        "resumed_from": start,
        "n_parameters": sum(p.numel() for p in fit.model.parameters()),
        "n_train": len(W),
        "n_validation": len(held),
        "scale": spec.scale,
    }
    line = f"{config.output}: validation loss {fit.validation_loss:.3f} (Gaussian posterior alone {fit.blank_loss:.3f}), {len(W)} networks"
    return console.Result({"model": config.output}, results, line, record=config.output)


@console.command(app, options.SampleConfig)
def sample(config, run):
    """Draw weight matrices from the prior; with --data compare them with real test networks."""
    import torch

    import hdf5io
    from hdf5io import Dataset

    from . import data, dataset

    hdf5io.claim(config.output, config.overwrite)
    model = data.load_model(config.model, "diffusion")
    N = config.neurons or model.spec.n_neurons
    real = None if config.data is None else dataset.load_weights(config.data, "test")
    if real is not None and real.shape[-1] != N:
        raise hdf5io.InputError(
            f"{config.data}: networks of {real.shape[-1]} neurons, the samples have {N}. Give --neurons {real.shape[-1]}."
        )
    if real is not None and min(config.n, len(real)) < 20:
        raise hdf5io.InputError(
            f"--n {config.n}, {len(real)} test networks: at least 20 of each are needed to compare."
        )
    g = torch.Generator().manual_seed(config.seed)
    W = model.sample_prior(config.n, N, generator=g, **_solver(config))
    from .weights import get_spectral_radius

    results = {
        "n": config.n,
        "N": N,
        "spectral_radius": float(get_spectral_radius(W).mean()),
        "entry_sd": float(W.std()),
    }
    if real is not None:
        from .prior_metrics import prior_metrics

        results["against_test_networks"] = prior_metrics(W, real, config.seed)._asdict()
    sets = {"W": Dataset(W.numpy(), "", "sampled weights, row = postsynaptic", ("sample", "post", "pre"))}
    hdf5io.write(
        config.output,
        "neuro_diffusion/samples/1",
        sets,
        provenance=run.provenance(config, [config.model / "model.json"]),
        overwrite=config.overwrite,
    )
    line = f"{config.n} matrices of {N} neurons, mean spectral radius {results['spectral_radius']:.3f}"
    return console.Result({"samples": config.output}, results, line, record=config.output)


@console.command(app, options.InferConfig)
def infer(config, run):
    """Infer the weights behind a recording: samples, intervals, baselines, and which to trust."""
    import torch

    import hdf5io

    from . import data, plots, posterior_file
    from . import infer as inference

    hdf5io.claim(config.output, config.overwrite)
    model = data.load_model(config.model, "diffusion", conditional=True)
    prior = None if config.prior is None else data.load_model(config.prior, "diffusion")
    regression = None if config.regression is None else data.load_model(config.regression, "regression")
    recording = data.load_activity(config.activity, config.dataset)
    truth = None if config.truth is None else data.load_truth(config.truth, recording.y.shape[-1])
    if config.guidance > 1:
        console.log.warning(
            "guidance %g is above 1: the posterior is sharper than the data allow, not calibrated.", config.guidance
        )
    if not bool(recording.observed.all()):
        console.log.warning("%d of %d neurons were not recorded: their weights come from the prior, and intervals are too narrow.",
                            int((~recording.observed).sum()), len(recording.observed))  # fmt: skip
    found = inference.infer(
        model, recording.y, recording.observed, config.dt_over_tau or model.spec.a, config.noise_std, config.samples, _solver(config),
        torch.Generator().manual_seed(config.seed), guidance=config.guidance, prior=prior, regression=regression,
        refine=config.refine, truth=truth,
    )  # fmt: skip
    provenance = run.provenance(config, [config.activity, config.model / "model.json"])
    posterior_file.save(config.output, found, provenance, config.overwrite)
    panels = {} if truth is None else {"truth": truth.numpy()}
    panels |= {
        "ridge": found.estimates["ridge"].numpy(),
        "posterior mean": found.estimates["diffusion"].numpy(),
        "posterior sd": found.samples.std(0).numpy(),
    }
    figure = config.output.with_suffix(".png")
    posterior_file.save_figure(
        figure, plots.weights_figure(panels, f"{config.activity.name}, {len(recording.y)} trials")
    )
    results = {
        "best_method": found.trusted, "reason": found.reason,
        "correlation_ridge_self": next(r["expected correlation"] for r in found.table if r["method"] == "ridge"),
        "trial_nll": {r["method"]: -r["held-out log-likelihood per value"] for r in found.table}, "noise_std": found.noise_std, "n_trials": len(recording.y),
        "n_neurons": recording.y.shape[-1], "n_observed": int(recording.observed.sum()), "methods": found.table, "scores": found.scores,
    }  # fmt: skip
    return console.Result(
        {"posterior": config.output, "figure": figure},
        results,
        f"trust {found.trusted}: {found.reason}",
        record=config.output,
    )


@console.command(app, options.BenchmarkConfig)
def benchmark(config, run):
    """Score the posterior on held-out networks against ridge, oracle ridge and optional competitors, over a grid of conditions."""
    return _held_out(config, run, config.trials, config.noise, config.observed)


@console.command(app, options.EvaluateConfig)
def evaluate(config, run):
    """Score the posterior on held-out networks recorded as the data set says: weights, intervals, and what the weights do when run."""
    from hdf5io import InputError

    from . import dataset

    found = dataset.load_config(config.data)
    if found is None and None in (config.trials, config.noise):
        raise InputError(f"{config.data}: imported without trials and noise. Give --trials and --noise.")
    trials = found.num_trials if config.trials is None else config.trials
    noise = found.observation_noise if config.noise is None else config.noise
    observed = (1.0 if found is None else found.observed) if config.observed is None else config.observed
    if noise == 0:
        console.log.warning("the data set has no observation noise: the likelihood assumes .001; --noise sets another.")
    return _held_out(config, run, (trials,), (noise,), (observed,))


def _held_out(config, run, trials, noise, observed):
    """Score a model on the test networks of a data set under every combination of trials, noise and observed fraction."""
    import itertools

    import torch

    import hdf5io

    from . import benchmark as conditions
    from . import benchmark_report, data, dataset

    if config.output is not None:
        hdf5io.claim(config.output, config.overwrite)
    model = data.load_model(config.model, "diffusion", conditional=True)
    others = {} if config.regression is None else {"regression": data.load_model(config.regression, "regression")}
    if config.prior is not None:
        others["pigdm"] = data.load_model(config.prior, "diffusion")
    W = dataset.load_weights(config.data, "test", config.networks)
    if len(W) < config.networks:
        console.log.warning("the test split has %d networks, %d were asked for.", len(W), config.networks)
    n_time, cells = config.n_time or model.spec.n_time, []
    for i, (part, spread, K) in enumerate(itertools.product(observed, noise, trials)):
        g = torch.Generator().manual_seed(config.seed * 1000 + i)
        condition = conditions.Condition(K, spread, part)
        cells.append(conditions.benchmark_cell(model, W, condition, config.samples, n_time, g, others, _solver(config)))
        row = cells[-1].row
        console.log.info("K %d, noise %g, observed %g: ridge %.3f, oracle %.3f, diffusion %.3f",
                         *condition, row["ridge"], row["oracle ridge"], row["diffusion"])  # fmt: skip
    rows, outputs = [cell.row for cell in cells], {}
    if config.output is not None:
        provenance = run.provenance(config, [config.model / "model.json"])
        outputs = benchmark_report.save(config.output, cells, model.spec.a, n_time, provenance, run.warnings)
    helped = sum(r["gain over oracle ridge"] > 2 * r["gain over oracle ridge se"] for r in rows)
    line = f"{len(W)} held-out networks: diffusion beats oracle ridge by 2 standard errors in {helped} of {len(rows)} conditions"
    structure = str(dataset.load_metadata(config.data)["config"].get("structure", "connectome"))
    results = {
        "n_networks": len(W), "rows": list(conditions.long_rows(rows, structure, W.shape[-1])), "table": rows,
        "dynamics": [cell.behaviour for cell in cells],
    }  # fmt: skip
    return console.Result(outputs, results, line, record=config.output)


def _solver(config):
    """Return the options of the reverse process."""
    return {"sampler": config.sampler, "steps": config.steps, "schedule": config.schedule}


main = console.entry_point(app)
