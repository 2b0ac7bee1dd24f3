"""How is a network trained? PyTorch Lightning on windows gathered by one ``index_select`` a batch.

Batches are drawn from a seed and the epoch's number only, so a resumed training sees what an uninterrupted one would have seen.
Several processes share the windows of each batch, so that what is learned does not depend on how many there are.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, TQDMProgressBar
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed, nn
from torch.utils.data import DataLoader, Dataset

from hdf5io.errors import InputError

from ..activity.windows import release
from ..files.checkpoints import EpochLog, WholeCheckpoints, first_checkpoint
from .options import Options
from .processes import Mapped, group_of, place_of, same_everywhere, together

log = logging.getLogger(__package__)
RELEASE_EVERY = 16
UNUSED_TOO = "ddp_find_unused_parameters_true"  #: what only another recording's windows use has no gradient in a step


class Source(NamedTuple):
    """Where the windows of one recording come from."""

    x: torch.Tensor  #: (time, channel), may be a memory map
    target: torch.Tensor | None  #: (window, horizon, channel) by row, or None: the frames after the origin
    train: np.ndarray  #: origins
    validation: np.ndarray
    rows: np.ndarray | None = None  #: (time,), row of ``target`` of each origin
    lags: int = 48
    horizon: int = 8
    pages: np.ndarray | None = None  #: the memory map behind ``x``, whose pages are let go of now and then

    def packed(self) -> tuple[Source, Mapped | None]:
        """Return what another process gets: a memory map's place instead of what is in it."""
        place = place_of(self.pages)
        return self._replace(x=torch.empty(0) if place else self.x, pages=None), place


def unpacked(source: Source, place: Mapped | None) -> Source:
    """Return what was packed."""
    if place is None:
        return source
    pages = place.opened()
    return source._replace(x=torch.from_numpy(pages), pages=pages)


class Fitted(NamedTuple):
    """What training leaves behind."""

    epochs: int
    best_loss: float  #: least validation loss


class Batches(Dataset):
    """Batches of origins of all recordings; item ``i`` is ``(recording, origins, weight)``.

    Of ``world`` processes each gets its share of every batch; ``weight`` makes the mean over processes the mean over windows.
    """

    def __init__(
        self, sources: Sequence[Source], part: str, options: Options, epoch: Callable[[], int], rank: int = 0, world: int = 1
    ) -> None:  # fmt: skip
        self.sources, self.part, self.options, self.epoch = sources, part, options, epoch
        self.rank, self.world = rank, world
        self.drawn = -1
        sizes = [len(getattr(s, part)) for s in sources]
        self.plan = [
            (r, i)
            for r, n in enumerate(sizes)
            for i in range(max(1, n // options.batch if part == "train" else -(-n // options.batch)))
            if part == "train"
            or i * options.batch + rank < n  # a last batch may hold fewer windows than there are processes
        ]

    def __len__(self) -> int:
        limit = self.options.batches_per_epoch
        return min(len(self.plan), limit) if limit and self.part == "train" else len(self.plan)

    def __getitem__(self, item: int) -> tuple[int, torch.Tensor, float]:
        if self.part == "validation":
            recording, i = self.plan[item]
            origins = self.sources[recording].validation
        else:
            if self.epoch() != self.drawn:
                self.shuffle(self.epoch())
            recording, i = self.plan[self.order[item]]
            origins = self.shuffled[recording]
        whole = origins[i * self.options.batch : (i + 1) * self.options.batch]
        mine = whole[self.rank :: self.world]
        return recording, torch.from_numpy(mine), len(mine) * self.world / len(whole)

    def shuffle(self, epoch: int) -> None:
        """Draw an epoch's batches."""
        seed, self.drawn = [self.options.seed, epoch], epoch
        self.order = np.random.default_rng(seed).permutation(len(self.plan))
        self.shuffled = [np.random.default_rng([*seed, r]).permutation(s.train) for r, s in enumerate(self.sources)]


class Module(pl.LightningModule):
    """A network with ``loss(context, target, recording)``, its windows and its optimiser."""

    def __init__(self, net: nn.Module, sources: Sequence[Source], options: Options) -> None:
        super().__init__()
        self.net, self.sources, self.options = net, sources, options
        self.buffer, self.gathered = torch.empty(0), 0

    def window(self, recording: int, origins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return context (window, lag, channel) and target of a batch."""
        s = self.sources[recording]
        self.gathered += 1
        if s.pages is not None and self.gathered % RELEASE_EVERY == 0:
            release(s.pages)
        first = 0 if s.target is not None else s.horizon
        steps = torch.arange(1 - s.lags, 1 + first)
        index = (origins.cpu()[:, None] + steps).flatten()
        x = self.selected(s.x, index).unflatten(0, (len(origins), len(steps))).to(self.device)
        if s.target is None:
            return x[:, : s.lags], x[:, s.lags :]
        assert s.rows is not None
        return x, s.target[torch.from_numpy(s.rows[origins.cpu().numpy()])].to(self.device)

    def selected(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Return the rows of ``x``, in memory that the next batch uses again (fresh memory takes longer than the copy)."""
        size = len(index) * x.shape[1]
        if self.buffer.numel() < size or self.buffer.dtype != x.dtype:
            self.buffer = torch.empty(size, dtype=x.dtype)
        return torch.index_select(x, 0, index, out=self.buffer[:size].view(len(index), x.shape[1]))

    def training_step(self, batch, _):
        """Return the loss of a batch."""
        recording, origins, weight = batch
        loss = self.net.loss(*self.window(recording, origins), recording)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=self.size(origins), sync_dist=True)
        return loss * weight

    def validation_step(self, batch, _):
        """Log the loss of a batch."""
        recording, origins, _ = batch
        loss = self.net.loss(*self.window(recording, origins), recording)
        self.log("val_loss", loss, prog_bar=True, batch_size=self.size(origins), sync_dist=True)

    def size(self, origins: torch.Tensor) -> int:
        """Return by what a batch counts in the mean: Lightning's mean of sizes over processes is cut to a whole number."""
        return len(origins) * self.trainer.world_size

    def configure_optimizers(self):
        """Return AdamW with a cosine schedule."""
        wanted = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(wanted, self.options.learning_rate, weight_decay=self.options.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.options.epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, and by the process: dropout after a resume is what it would have been."""
        torch.manual_seed(1_000_003 * self.options.seed + self.current_epoch + 1_000_000_007 * self.global_rank)


def fit(net: nn.Module, sources: Sequence[Source], options: Options) -> Fitted:
    """Train ``net`` in place, end with its best weights (least validation loss), and return what happened.

    With ``options.folder`` the checkpoints ``last.ckpt`` and ``best.ckpt`` and ``log.csv`` lie there; ``resume`` goes on from
    ``last.ckpt``.
    """
    trainer = quiet_trainer(options, [])
    if options.folder is not None and options.resume and (options.folder / "last.ckpt").exists():
        log.info("resumed from %s", options.folder / "last.ckpt")
    if isinstance(trainer.strategy, DDPStrategy):
        refuse_few_windows(sources, options, trainer.world_size)
        group = group_of(trainer.num_devices, trainer.num_nodes, trainer.strategy.root_device.type)
        found = together(learn_together, (net, [s.packed() for s in sources], options), group)
    else:
        found = learn(net, sources, options)
    if found["weights"] is not None:
        net.load_state_dict(found["weights"])
    net.cpu().eval()
    return Fitted(found["epochs"], found["loss"])


def refuse_few_windows(sources: Sequence[Source], options: Options, world: int) -> None:
    """Refuse more processes than a batch has windows: some would have nothing to do."""
    fewest = min(options.batch, *(len(part) for s in sources for part in (s.train, s.validation)))
    if fewest < world:
        raise InputError(
            f"{world} processes share {fewest} windows of a batch. Give fewer --devices, or a larger --batch."
        )


def learn_together(net: nn.Module, sent: Sequence[tuple[Source, Mapped | None]], options: Options) -> dict[str, Any]:
    """Do what `learn` does, as one of several processes."""
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    sources = [unpacked(*s) for s in sent]
    rows = [s.x[:: max(1, len(s.x) // 1000)].numpy().tobytes() for s in sources]
    windows = [part.tobytes() for s in sources for part in (s.train, s.validation)]
    weights = [w.numpy().tobytes() for w in net.state_dict().values()]
    same_everywhere([*rows, *windows, *weights, repr(options._replace(folder=None, progress=False)).encode()])
    return learn(net, sources, options)


def learn(net: nn.Module, sources: Sequence[Source], options: Options) -> dict[str, Any]:
    """Train ``net`` and return its best weights, their validation loss and how many epochs there were."""
    torch.manual_seed(options.seed)
    module = Module(net, sources, options)
    folder = options.folder
    best = Best(folder)
    callbacks: list = [] if folder is None else [EpochLog(folder / "log.csv")]
    callbacks += [Stopping("val_loss", patience=options.patience, check_on_train_epoch_end=False), best]
    if options.progress:
        callbacks.append(TQDMProgressBar(leave=False))
    trainer = quiet_trainer(options, callbacks)
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    loaders = [
        DataLoader(
            Batches(sources, part, options, lambda: module.current_epoch, rank, world), batch_size=None,
            generator=torch.Generator(),  # dropout keeps the other
        ) for part in ("train", "validation")
    ]  # fmt: skip
    with contextlib.ExitStack() as held, warnings.catch_warnings():
        last = folder / "last.ckpt" if folder is not None and options.resume else None
        resumed = held.enter_context(first_checkpoint(last, trainer.num_nodes > 1)) if last is not None else None
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch|lightning_fabric")
        trainer.fit(module, loaders[0], loaders[1], ckpt_path=resumed, weights_only=True if resumed else None)
    return {"weights": best.weights, "loss": best.loss, "epochs": trainer.current_epoch}


class Stopping(EarlyStopping):
    """Stops where validation does not get better, also when it is resumed from there: a killed training does not learn for longer."""

    def on_train_start(self, trainer, module) -> None:
        """Stop at once where the checkpoint is of the last epoch."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class Best(pl.Callback):
    """Keeps the best weights in memory and in the checkpoints: every epoch's in ``last.ckpt``, the best one's in ``best.ckpt``."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.loss, self.better = folder, float("inf"), False
        self.weights: dict[str, torch.Tensor] | None = None

    def on_validation_end(self, trainer, module) -> None:
        """Keep the weights where they are the best so far."""
        loss = float(trainer.callback_metrics["val_loss"])
        self.better = loss < self.loss
        if self.better:
            self.loss, self.weights = loss, {k: v.detach().cpu().clone() for k, v in module.net.state_dict().items()}

    def on_train_epoch_end(self, trainer, module) -> None:
        """Write the checkpoints."""
        if self.folder is not None:
            for name in ["best", "last"] if self.better else ["last"]:
                trainer.save_checkpoint(self.folder / f"{name}.ckpt", weights_only=False)

    def state_dict(self) -> dict:
        """Return what a checkpoint holds of it."""
        return {"loss": self.loss, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        """Take up what a checkpoint held."""
        self.loss, self.weights = state["loss"], state["weights"]


def quiet_trainer(options: Options, callbacks: list) -> pl.Trainer:
    """Return a Lightning trainer that prints only a progress bar."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning.accelerators.cuda").setLevel(logging.ERROR)
    gpu = torch.cuda.is_available() and options.accelerator in ("auto", "gpu")
    precision: Any = ("bf16-mixed" if gpu else "32-true") if options.precision == "auto" else options.precision
    devices = options.devices if options.devices in ("auto", "-1") else int(options.devices)
    return pl.Trainer(
        max_epochs=options.epochs, callbacks=callbacks, accelerator=options.accelerator, devices=devices,
        num_nodes=options.num_nodes, strategy=strategy_of(options, devices), precision=precision, num_sanity_val_steps=0,
        enable_progress_bar=options.progress, enable_model_summary=False, gradient_clip_val=1.0,
        enable_checkpointing=False, use_distributed_sampler=False,
        plugins=[WholeCheckpoints(), LightningEnvironment()],  # else SLURM's tasks are counted as devices
        logger=False,
    )  # fmt: skip


def strategy_of(options: Options, devices: int | str) -> str:
    """Return Lightning's name of a strategy, less how it would start processes: `processes` starts them.

    >>> strategy_of(Options(strategy="ddp_spawn"), 2)
    'ddp'
    """
    if options.strategy == "auto" and (options.num_nodes > 1 or (devices != 1 and several_devices(options, devices))):
        return UNUSED_TOO
    return re.sub("^ddp_(spawn|fork|notebook)", "ddp", options.strategy)


def several_devices(options: Options, devices: int | str) -> bool:
    """Return whether Lightning counts more than one device."""
    gpu = torch.cuda.is_available() and options.accelerator in ("auto", "gpu")
    return (torch.cuda.device_count() if gpu else 1) > 1 if devices in ("auto", "-1") else int(devices) > 1
