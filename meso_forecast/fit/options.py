"""Which settings does a training have, and which models read them? (No torch here: models in closed form read the seed only.)"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hdf5io.errors import InputError

from ..config import Base

HUGGING_FACE = ("informer-hf", "autoformer-hf")
NETWORKS = (
    "nlinear",
    "dlinear",
    "patchtst",
    "tsmixer",
    "itransformer",
    "poco",
    *HUGGING_FACE,
)  #: see the activity itself
TRAINED = (
    "epochs", "batch", "batches_per_epoch", "patience", "learning_rate", "accelerator", "precision", "devices", "num_nodes", "strategy",
    "n_seeds",
)  # fmt: skip
READ_BY = {  #: which models an option means something to; the rest means something to all
    **dict.fromkeys(TRAINED, ("informer", *NETWORKS)),
    "body": ("informer",), "spike_weight": NETWORKS, "d_model": HUGGING_FACE, "layers": HUGGING_FACE,
    "scale_penalty": HUGGING_FACE, "attention": ("informer-hf",),
}  # fmt: skip


class Options(NamedTuple):
    """Settings of the optimiser and the machine."""

    epochs: int = 60
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int = 6
    batches_per_epoch: int | None = None
    seed: int = 0
    folder: Path | None = None  #: checkpoints and the log go here
    resume: bool = False
    progress: bool = False
    precision: str = "auto"
    accelerator: str = "auto"
    devices: str = "1"
    num_nodes: int = 1
    strategy: str = "auto"


def refuse_unread(config: Base, models: Sequence[str]) -> None:
    """Refuse options that were given and that none of the models to be fitted reads.

    Raises
    ------
    InputError : which ones, and which models read them.
    """
    unread = [name for name in config.given(*READ_BY) if not set(READ_BY[name]) & set(models)]
    if unread:
        said = ", ".join(f"--{name.replace('_', '-')} (read by {', '.join(READ_BY[name])})" for name in unread)
        raise InputError(
            f"{said}: without effect on {', '.join(models)}. Leave out what is not read, or give such a model."
        )
