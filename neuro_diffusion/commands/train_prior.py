"""Train a diffusion prior, a conditional posterior or the regression baseline; an interrupted training goes on."""

from __future__ import annotations

from hdf5io.errors import InputError

from ..config import TrainConditionalConfig, TrainPriorConfig
from ..console import Result, Run, log
from ..files import dataset, model_folder
from ..fit import train
from ..fit.gate import learn_gate
from ..rate_network.activity import Regime


def run(config: TrainPriorConfig, run: Run) -> Result:
    """Load weights, train from the start or from the saved state, save the model."""
    W, held = (dataset.load_weights(config.data, split) for split in ("train", "validation"))
    settings = config.model_dump(mode="json")
    found = dataset.load_settings(config.data)
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
    if first is not None and first.spec.body != spec.body:
        raise InputError(
            f"{config.fine_tune}: its network is {first.spec.body}, the options ask for {spec.body}. Give the same options."
        )
    if config.dry_run:
        line = f"would train {spec.body} for {config.iterations} steps on {len(W)} networks of {spec.n_neurons} neurons"
        return Result({}, {"n_train": len(W), "n_validation": len(held)}, line)
    state, start = model_folder.load_state(config.output, settings)

    def save(training: train.Training, step: int) -> None:
        """Write the state from which the training goes on."""
        model_folder.save_state(config.output, train.state_of(training), step, settings, spec)

    fit = train.fit(spec, W, held, config, save, start, state, first)
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
