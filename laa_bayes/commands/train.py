"""Train the posterior network; a time estimate is printed first."""

from __future__ import annotations

import logging

from hdf5io.errors import InputError

from ..config import Preset, TrainConfig
from ..console import Result, Run
from ..files import bank, model_folder
from ..neuron.recipe import in_memory
from ..simulate import training_recipe

KEYS = ("epochs", "estimated_seconds", "training_seconds", "batch_seconds", "validation_loss", "data_sha256")
log = logging.getLogger("laa_bayes")


def refuse_small(n_simulations: int, preset: Preset) -> None:
    """Refuse layers without units, and fewer simulations than two batches.

    Raises
    ------
    InputError
        Which of the two, and what to give.
    """
    if not preset.summary_widths or min(preset.summary_widths) < 1:
        raise InputError(
            f"--summary-widths {','.join(map(str, preset.summary_widths))}: one positive number or more is expected."
        )
    if n_simulations < 2 * preset.batch_size:
        raise InputError(
            f"{n_simulations} simulations are less than two batches of {preset.batch_size}. Use more, or a smaller --batch-size."
        )


def run(config: TrainConfig, run: Run) -> Result:
    """Simulate or load a bank, train (or go on training), save the model folder."""
    recipe, preset = training_recipe(config), config.resolved_preset()
    refuse_small(recipe.n, preset)
    if config.dry_run:
        line = f"would train on {recipe.n} traces of {len(recipe.current)} samples: {preset}"
        return Result({}, preset.model_dump(mode="json") | {"n_time": len(recipe.current)}, line)
    from ..fit import train as training

    preset = preset.model_copy(update={"n_simulations": recipe.n})
    log.info(
        "preset %s: %d simulations, %d epochs, %s summary, %s flow",
        *(config.preset, preset.n_simulations, preset.epochs, preset.summary, preset.flow),
    )
    data = in_memory(recipe) if config.bank is None else bank.load(config.bank)
    model = training.train(data, preset, config.seed, config.output, config.max_minutes)
    model.info["protocol_from"] = config.protocol_from.name if config.protocol_from else None
    model_folder.save(model, config.output, run.provenance(config))
    info = {key: model.info[key] for key in KEYS}
    line = (
        f"{config.output}: {info['epochs']} epochs in {info['training_seconds']:.0f} s, validation loss "
        f"{info['validation_loss']:.3f}. Next: laa-bayes diagnose {config.output}"
    )
    results = info | {"n_simulations": preset.n_simulations}
    return Result({"model": config.output}, results, line, record=config.output)
