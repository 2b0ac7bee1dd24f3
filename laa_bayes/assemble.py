"""What lies between a command and the science? Options become recipes, trained models, results and predictions."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

import hdf5io

from . import bank as banks
from . import config as configs
from . import recording as recordings
from .protocols import current_from_segments
from .refine import GOOD_K, POOR_ESS

ABSORBED = 0.2  #: share by which C_m may differ between the model and a passive membrane before it is said
DISAGREE = 0.3  #: difference of two SMC populations' means, in sd, that is named
log = logging.getLogger("laa_bayes")


def recipe(config: configs.Model, n: int, seed: int, shard_size: int) -> banks.Recipe:
    """Return everything that decides a bank's content, from the options."""
    current, dt_ms, unit = current_of(config)
    return banks.Recipe(
        config.resolved_priors(),
        current,
        dt_ms,
        unit,
        seed,
        n,
        shard_size,
        config.noise_mv,
        config.k_convention,
        config.method,
    )


def current_of(config: configs.Model) -> tuple[np.ndarray, float, str]:
    """Return current, grid and units (density or lumped) of --protocol, --protocol-from or the config's own segments.

    Raises
    ------
    InputError
        A current whose unit does not fit the prior's.
    """
    from . import data
    from .simulate import protocol_current

    source = config.protocol_from if isinstance(config, configs.TrainConfig) else None
    if source is None and (config.segments or config.protocol in configs.PROTOCOLS):
        return protocol_current(config), config.dt_ms, config.units
    if isinstance(config, configs.TrainConfig) and source is not None:
        whole = data.read_recording(source, config.sweep)
        whole = (
            recordings.as_density(whole, config.area_um2) if config.area_um2 and whole.current_unit == "pA" else whole
        )
        cut = recordings.apply_window(whole, config.window)
        cut = recordings.resample(
            cut, max(config.dt_ms, cut.dt_ms) if "dt_ms" in config.model_fields_set else max(0.25, cut.dt_ms)
        )
        current, dt_ms, unit = cut.current, cut.dt_ms, cut.current_unit
    else:
        current, dt_ms, unit = data.read_current(Path(config.protocol))
    if (unit == "pA") != (config.units == "lumped"):
        raise hdf5io.InputError(
            f"{source or config.protocol}: the current is in {unit}, prior '{config.prior}' in {configs.UNITS[config.units]['current']}. "
            + ("Use --prior lumped, or give --area-um2." if unit == "pA" else "Use --prior default or measured.")
        )
    return current, dt_ms, config.units


def training_recipe(config: configs.TrainConfig) -> banks.Recipe:
    """Return the recipe of the simulations that a training will use: those of --bank, or the ones its options describe."""
    if config.bank is not None:
        return banks.read_recipe(config.bank)
    n = config.resolved_preset().n_simulations
    return recipe(config, n, config.seed, min(10_000, n))


def train_model(config: configs.TrainConfig, wanted: banks.Recipe, run):
    """Return the model trained on the simulations of ``wanted``, saved in ``config.output``."""
    from . import archive
    from . import train as training

    preset = config.resolved_preset().model_copy(update={"n_simulations": wanted.n})
    log.info(
        "preset %s: %d simulations, %d epochs, %s summary, %s flow",
        config.preset,
        preset.n_simulations,
        preset.epochs,
        preset.summary,
        preset.flow,
    )
    bank = banks.in_memory(wanted) if config.bank is None else banks.load(config.bank)
    if config.resume and (config.output / "model.json").exists():
        return finished_model(config.output, preset, bank)
    model = training.train(bank, preset, config.seed, config.output, config.max_minutes, config.resume)
    inputs = [p for p in (config.protocol_from,) if p is not None]
    model.info["protocol_from"] = config.protocol_from.name if config.protocol_from else None
    archive.save(model, config.output, run.provenance(config, inputs))
    (config.output / "checkpoint.npz").unlink(missing_ok=True)
    return model


def finished_model(folder: Path, preset: configs.Preset, bank: banks.Bank):
    """Return the model of a training that is already complete; InputError when it was made with other options."""
    model = load_model(folder)
    if model.preset != preset or model.recipe.digest() != bank.recipe.digest():
        raise hdf5io.InputError(
            f"{folder}: holds a model made with other options. Use --overwrite, or another --output."
        )
    log.info("%s: training was already complete", folder)
    return model


def load_model(folder: Path):
    """Return the model in a folder (Keras is imported here, not before the folder is known to be one)."""
    from . import archive

    archive.read_json(folder)
    return archive.load(folder)


def history(folder: Path) -> list:
    """Return the losses of a model folder."""
    from . import train as training

    return training.read_history(folder)


def infer_results(posterior, predicted) -> dict:
    """Return the documented results, with the status and the share of samples in the predictive band."""
    from . import answer

    results, v = answer.summary(posterior), posterior.recording.v_mv
    results["predictive_coverage_90"] = float(np.mean((v >= predicted.band[0]) & (v <= predicted.band[1])))
    results["in_window_coverage_90"], results["one_step_coverage_90"] = answer.coverage_90(posterior)
    results["status"] = "misspecified" if results["verdict"] == "misspecified" else "ok"
    warn_of_poor_draws(results)
    warn_of_misfit(results, float(np.max(posterior.observed.noise_mv)))
    return results


def warn_of_poor_draws(results: dict) -> None:
    """Say when the refined draws are approximate, and for which parameters."""
    if results["disagreement"] is not None:
        apart = [f"{name} {value:.1f}" for name, value in results["disagreement"].items() if value > DISAGREE]
        log.warning(
            "no proposal follows this posterior (effective sample size %.0f %%): the answer is two populations of SMC particles; %s",
            100 * results["ess"],
            f"their means differ, in sd, for {', '.join(apart)}: do not trust these"
            if apart
            else f"their means agree within {DISAGREE} sd",
        )
    elif results["ess"] is not None and (results["ess"] < POOR_ESS or (results["pareto_k"] or 0) > GOOD_K):
        log.warning(
            "the refined posterior is approximate: effective sample size %.0f %%, Pareto k %.2f",
            100 * results["ess"],
            results["pareto_k"] or np.nan,
        )


def warn_of_misfit(results: dict, noise_mv: float) -> None:
    """Say when white noise is assumed of a recording that has another, and when activation stands for something else."""
    flagged = [name for name, test in results["checks"]["tests"].items() if test["flagged"]]
    c_model, c_passive = results["mean"].get("C_m"), results["passive"]["C_m"]
    if results["nuisance"] and c_model is not None and abs(c_model / c_passive - 1) > ABSORBED:
        log.warning(
            "with the activation term C_m is %.3g, a passive membrane has %.3g: activation may stand for sag or rectification here",
            c_model,
            c_passive,
        )
    if not results["nuisance"] and not results["checks"]["facts"] and {"chi-square", "Ljung-Box"} & set(flagged):
        log.warning(
            "the residuals are not white noise of %g mV; is it a recording? Then use --noise estimate", noise_mv
        )


def infer_line(results: dict) -> str:
    """Return one line for a person: estimates, what is not identified, verdict."""
    parts = [f"{name} {results['mean'][name]:.3g} ± {results['sd'][name]:.2g}" for name in results["identified"]]
    lost = [name for name, known in results["identified"].items() if not known]
    tail = f" (not identified: {', '.join(lost)})" if lost else ""
    flagged = [name for name, t in results["checks"]["tests"].items() if t["flagged"]]
    why = "; ".join(results["checks"]["facts"]) or ", ".join(flagged)
    verdict = results["verdict"] + (f" ({why})" if results["verdict"] == "misspecified" else "")
    quality = (
        f", {results['refine']} ESS {100 * results['ess']:.0f} %" if results["ess"] is not None else ", not refined"
    )
    return ", ".join(parts) + tail + "; " + verdict + quality


def predict_again(config: configs.PosteriorPredictConfig, run) -> tuple[Path, dict]:
    """Write noise-free predictions of posterior draws under the recorded or another current."""
    from . import data, likelihood
    from . import outputs as files

    spec, observed, w, recording, _ = files.read_posterior(config.posterior)
    if config.current is not None:
        current, dt_ms, unit = data.read_current(config.current)
        if unit != recording.current_unit or abs(dt_ms - spec.dt_ms) > 1e-6:
            raise hdf5io.InputError(
                f"{config.current}: {unit} every {dt_ms:g} ms; the posterior needs {recording.current_unit} every {spec.dt_ms:g} ms."
            )
        drop = 1e-3 * current if unit == "pA" else np.zeros_like(current)
        observed = observed._replace(v_mv=np.full(len(current), observed.v_mv[0]), current=current, mv_per_mohm=drop)
    rng = np.random.default_rng(config.seed)
    chosen = w[rng.choice(len(w), config.draws, replace=config.draws > len(w))]
    v = likelihood.predictions(spec, chosen, observed)
    time_ms = recording.t0_ms + spec.dt_ms * np.arange(v.shape[1])
    datasets = {
        "time": hdf5io.Dataset(time_ms, "ms", "time of the sample", ("time",)),
        "v_mv": hdf5io.Dataset(v, "mV", "noise-free predicted recording of each posterior draw", ("draw", "time")),
        "current": hdf5io.Dataset(observed.current, recording.current_unit, "injected current", ("time",)),
    }
    provenance = run.provenance(config, [p for p in (config.posterior, config.current) if p])
    path = hdf5io.write(config.output, files.PREDICTION, datasets, provenance=provenance, overwrite=config.overwrite)
    spread = float(np.mean(np.quantile(v, 0.95, axis=0) - np.quantile(v, 0.05, axis=0)))
    return path, {"n_draws": len(v), "n_time": v.shape[1], "mean_band_width_mv": spread}


def simulate_trace(config: configs.TraceConfig) -> recordings.Recording:
    """Return the simulated trace of one neuron."""
    from . import data
    from .simulate import simulate

    if config.current in configs.PROTOCOLS:
        current = current_from_segments(configs.PROTOCOLS[config.current], config.duration_ms, config.dt_ms)
        dt_ms, unit = config.dt_ms, "uA/cm2"
    else:
        current, dt_ms, unit = data.read_current(Path(config.current))
    v = simulate(np.array([config.theta()]), current, dt_ms, config.v0_mv, config.method)[0]
    v = v + config.noise_mv * np.random.default_rng(config.seed).standard_normal(len(v))
    return recordings.Recording(v, current, unit, dt_ms, 0.0, "simulation")
