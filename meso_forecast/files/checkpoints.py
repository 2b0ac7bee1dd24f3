"""How do checkpoints and losses of a training get to disk? Whole or not at all, so that a kill or a full disk leaves those before."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import distributed

import hdf5io


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, renamed to their place when they are complete.

    Lightning itself writes to the temporary folder and copies from there when that is another disk; a copy can end in the middle.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; raises `hdf5io.NoSpace` on a full disk."""
        with hdf5io.atomic(path) as part, open(part, "wb") as handle:
            torch.save(checkpoint, handle)


class EpochLog(Callback):
    """The losses of every epoch in a table; they are in the checkpoint too, so that a resumed training has all of them."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, list[dict[str, float]]()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Add an epoch and write the table."""
        losses = {k: float(trainer.callback_metrics[k]) for k in ("train_loss", "val_loss")}
        self.rows = [*self.rows, {"epoch": trainer.current_epoch, "step": trainer.global_step, **losses}]
        if trainer.is_global_zero:
            hdf5io.write_csv(self.path, self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; one of an earlier version has no rows."""
        self.rows = state.get("rows", [])


@contextlib.contextmanager
def first_checkpoint(path: Path, machines: bool) -> Iterator[Path | None]:
    """Yield the checkpoint to go on from, None where there is none; of several machines that of the first one, which alone writes any."""
    if not machines:
        yield path if path.exists() else None
        return
    held = [path.read_bytes() if distributed.get_rank() == 0 and path.exists() else None]
    distributed.broadcast_object_list(held, 0)
    with tempfile.TemporaryDirectory(prefix="meso_forecast-") as folder:
        if held[0] is not None:
            (Path(folder) / path.name).write_bytes(held[0])
        yield Path(folder) / path.name if held[0] is not None else None
