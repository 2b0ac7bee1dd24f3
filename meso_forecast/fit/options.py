"""Which settings does a training have? (No torch here: models in closed form read the seed only.)"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


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
