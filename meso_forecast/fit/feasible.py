"""Can these models be trained with these options, on this machine? Asked before the first fit, which may be of another model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from hdf5io.errors import InputError

from .options import HUGGING_FACE
from .registry import FORECASTERS, options_of

MACHINE = ("accelerator", "precision", "devices", "num_nodes", "strategy")


def refuse_impossible(config: Any, models: Sequence[str], contexts: Iterable[int]) -> None:
    """Refuse what the networks among ``models`` cannot be trained with; nothing is asked where none is trained.

    Parameters
    ----------
    contexts : every number of frames seen that will be fitted.

    Raises
    ------
    InputError : a network of such a size cannot be built; the machine has no such device, precision or strategy.
    """
    trained = [name for name in models if not FORECASTERS[name].closed_form]
    for name in trained:
        if name in HUGGING_FACE:
            refuse_size(config, name, contexts)
    if trained and config.given(*MACHINE):
        refuse_machine(config)


def refuse_size(config: Any, name: str, contexts: Iterable[int]) -> None:
    """Refuse a width, a depth or a context that a Hugging Face model cannot have: it is built for one neuron."""
    from ..model.hugging_face import Architecture, HuggingFace

    for context in sorted(set(contexts)):
        try:
            HuggingFace(Architecture(name, 1, context, config.horizon, config.d_model, config.layers, config.attention))
        except ValueError as error:
            said = str(error).rstrip(".")
            raise InputError(
                f"{name} cannot be built for --context {context}, --d-model {config.d_model}: {said}."
            ) from None


def refuse_machine(config: Any) -> None:
    """Refuse devices, a precision or a strategy that Lightning does not have here, and processes that cannot meet or share."""
    from pytorch_lightning.strategies import DDPStrategy

    from .processes import group_of
    from .train import quiet_trainer

    given = ", ".join(f"--{n.replace('_', '-')} {getattr(config, n)}" for n in config.given(*MACHINE))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = quiet_trainer(options_of(config), [])
    except Exception as error:  # Lightning's own kinds, ValueError, TypeError: whatever it says of the options
        raise InputError(f"{given}: {' '.join(str(error).split())[:200]}") from None
    if isinstance(trainer.strategy, DDPStrategy):
        group_of(trainer.num_devices, trainer.num_nodes, trainer.strategy.root_device.type)
    elif trainer.world_size > 1:
        raise InputError(
            f"{given}: a network of several processes is trained by ddp alone here; others would leave each a part of its weights."
            " Give --strategy auto."
        )
    if config.batch < trainer.world_size:
        raise InputError(
            f"{given}: {trainer.world_size} processes share the {config.batch} windows of a batch. Give a larger --batch."
        )
    if config.precision not in ("auto", str(trainer.precision)):
        raise InputError(
            f"--precision {config.precision}: not known here, {trainer.precision} would be used. Give that, or auto."
        )
