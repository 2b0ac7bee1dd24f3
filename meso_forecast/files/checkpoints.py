"""How is a checkpoint of a training written? Whole or not at all, so that a kill or a full disk leaves the one before it."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

import hdf5io


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, renamed to their place when they are complete.

    Lightning itself writes to the temporary folder and copies from there when that is another disk; a copy can end in the middle.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; raises `hdf5io.NoSpace` on a full disk."""
        with hdf5io.atomic(path) as part, open(part, "wb") as handle:
            torch.save(checkpoint, handle)
