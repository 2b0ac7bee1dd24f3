"""Train a diffusion prior, a conditional posterior or the regression baseline; an interrupted training goes on."""

from __future__ import annotations

import math

from hdf5io.errors import InputError, WorkFailed

from ..config import Settings, TrainConditionalConfig, TrainPriorConfig
from ..console import Result, Run, log
from ..files.asked import refuse_memory
from ..files.metadata import load_metadata, load_settings, shards_of
from ..files.model_header import header_of

BODY = ("arch", "width", "hidden", "depth", "parameterization")
UNFINISHED = "resume.safetensors"  #: the state of an interrupted training


def check(config: TrainPriorConfig) -> Settings | None:
    """Return how the activity of the data set arose.

    Raises
    ------
    InputError : no finished data set, a network of another body to start from, nothing to go on with, trials that no memory holds.
    """
    shards_of(config.data)
    found = load_settings(config.data)
    if config.fine_tune is not None:
        spec = header_of(config.fine_tune)
        other = [n for n in BODY if spec.get(n) != getattr(config, n)]
        if other:
            theirs = " ".join(f"--{n.replace('_', '-')} {spec.get(n)}" for n in BODY)
            raise InputError(f"{config.fine_tune}: its network has another {' and '.join(other)}. Give {theirs}.")
    if config.resume and not (config.output / UNFINISHED).is_file():
        raise InputError(f"--resume: no interrupted training in {config.output}. Leave it out to begin one.")
    if isinstance(config, TrainConditionalConfig):
        T = config.n_time or (50 if found is None else found.n_time)
        N = int(load_metadata(config.data)["config"].get("n_neurons", 2))
        what = f"a step ({config.batch} networks, {max(config.trials)} trials of {T} steps)"
        n_bytes = 4 * 4 * config.batch * max(config.trials) * T * N
        refuse_memory("--batch, --trials or --n-time", n_bytes, what)
    return found


def run(config: TrainPriorConfig, run: Run) -> Result:
    """Load weights, train from the start or from the saved state, save the model."""
    found = check(config)
    from ..files import dataset, model_folder  # these load torch, the next Lightning
    from ..fit import train
    from ..fit.gate import learn_gate
    from ..rate_network.activity import Regime

    settings = config.model_dump(mode="json")
    state, start = model_folder.load_state(config.output, settings)
    W, held = (dataset.load_weights(config.data, split) for split in ("train", "validation"))
    regime, n_time = Regime(), 50
    if found is None:
        log.warning("the data set was imported without dt and T: dt/tau = 0.1 and 50 time steps are assumed.")
    else:
        regime, n_time = Regime.of(found.dt, found.tau, found.noise_std, found.h0_std), found.n_time
    try:
        spec = train.spec_of(config, W, regime, n_time)
    except ValueError as error:
        raise InputError(f"{config.data}: {error}") from None
    first = None if config.fine_tune is None else model_folder.load_model(config.fine_tune)
    if config.dry_run:
        line = f"would train {spec.body} for {config.iterations} steps on {len(W)} networks of {spec.n_neurons} neurons"
        return Result({}, {"n_train": len(W), "n_validation": len(held)}, line)

    def save(training: train.Training, step: int) -> None:
        """Write the state from which the training goes on."""
        model_folder.save_state(config.output, train.state_of(training), step, settings, spec)

    fit = train.fit(spec, W, held, config, save, start, state, first)
    if not math.isfinite(fit.validation_loss):
        raise WorkFailed(
            f"{config.output}: the training diverged (validation loss {fit.validation_loss:g}). Give a smaller --learning-rate."
        )
    line = (
        f"{config.output}: validation loss {fit.validation_loss:.3f} (Gaussian posterior alone {fit.blank_loss:.3f}), "
        f"{len(W)} networks"
    )
    if isinstance(config, TrainConditionalConfig):
        fit.model.spec = spec._replace(gate=learn_gate(fit.model, held, config))
        most = max((share for _, share in fit.model.spec.gate), default=0.0)
        line += f"; at most {most:.0%} of it goes over expectation propagation" if fit.model.spec.gate else ""
    model_folder.save_model(config.output, fit.model, settings)
    results = {
        "validation_loss": fit.validation_loss,
        "gaussian_loss": fit.blank_loss,
        "iterations": config.iterations,
        "resumed_from": start,
        "n_parameters": sum(p.numel() for p in fit.model.parameters()),
        "n_train": len(W),
        "n_validation": len(held),
        "scale": spec.scale,
        "gate": [{"claimed correlation": at, "share": share} for at, share in fit.model.spec.gate],
    }
    return Result({"model": config.output}, results, line, record=config.output)
