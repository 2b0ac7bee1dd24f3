"""How is the model fitted? Fresh trials of stored networks at every step, AdamW, averaged weights, with Lightning.

Step i draws everything from a generator of (seed, i): a training that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..config import TrainConditionalConfig, TrainPriorConfig
from ..model import diffusion
from ..model.model import ModelSpec, WeightModel, missing_below
from ..model.propagation import family_of
from ..model.ridge import Spectrum
from ..rate_network.activity import Regime, observation_mask

log = logging.getLogger("neuro_diffusion")
WARM_UP = 60  #: steps of rising learning rate


class Fit(NamedTuple):
    """A trained model."""

    model: WeightModel  #: with averaged weights
    losses: list[float]  #: training loss of each step of this run
    validation_loss: float  #: same loss on held-out networks, fixed noise
    blank_loss: float  #: the loss of F = 0, i.e. of the Gaussian posterior alone


def spec_of(config: TrainPriorConfig, W: Tensor, regime: Regime, n_time: int) -> ModelSpec:
    """Return the model's specification for training weights W (B, N, N)."""
    scale = float(W.std() * math.sqrt(W.shape[-1]))
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError("the training weights are all equal or not finite. Build the data set anew.")
    conditional, objective, skip = False, "diffusion", "gaussian"
    if isinstance(config, TrainConditionalConfig):
        conditional, objective, n_time, skip = True, config.objective, config.n_time or n_time, config.skip
    noise, trials = (
        (config.noise, max(config.trials)) if isinstance(config, TrainConditionalConfig) else ((0.01, 0.2), 8)
    )
    return ModelSpec(
        config.arch, config.width, config.depth, config.hidden, config.parameterization, objective, scale, regime.a,
        n_time, W.shape[-1], conditional, regime.process, regime.h0_std, noise, trials, family_of(W), skip, missing_below(W, diffusion.Noise()),
    )  # fmt: skip


def draw_batch(
    model: WeightModel, W: Tensor, config: TrainPriorConfig, step: int, offset: int = 0
) -> tuple[Tensor, Spectrum, torch.Generator]:
    """Return standardised weights (B, N, N), their data and the generator of step ``step``: a pure function of its arguments."""
    g = torch.Generator().manual_seed((config.seed * 1_000_003 + step) * 2 + offset)
    device, N = next(model.parameters()).device, W.shape[-1]
    chosen = W[torch.randint(len(W), (config.batch,), generator=g)]
    if not isinstance(config, TrainConditionalConfig):
        data = diffusion.without_data(config.batch, N, chosen)
    else:
        K = config.trials[int(torch.randint(len(config.trials), (1,), generator=g))]
        low, high = (math.log(v) for v in config.noise)
        noise = torch.exp(low + (high - low) * torch.rand(config.batch, generator=g))
        y = model.spec.regime.trials(chosen, K, model.spec.n_time, noise, g)
        observed = None
        if float(torch.rand(1, generator=g)) < config.masked_fraction:
            observed = observation_mask(config.batch, N, 0.35 + 0.45 * float(torch.rand(1, generator=g)), g).to(device)
        data = model.prepare(model.likelihood(y.to(device), observed=observed))
        keep = torch.rand(config.batch, generator=g).to(device) >= config.null_fraction
        if config.objective == "diffusion":
            data = diffusion.drop_data(data, keep)
    return chosen.to(device) / model.unit(N), Spectrum(*(z.to(device) for z in data)), g


class Training(lightning.LightningModule):
    """The optimisation of one model; the batch is a step number."""

    def __init__(
        self, model: WeightModel, W: Tensor, config: TrainPriorConfig, save: Callable[[Training, int], None]
    ) -> None:
        super().__init__()
        self.model, self.average = model, AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
        self.W, self.options, self.save = W, config, save
        self.losses: list[float] = []

    def configure_optimizers(self):
        """Return AdamW; the rate of each step is set in `training_step`."""
        return torch.optim.AdamW(
            self.model.parameters(), lr=self.options.learning_rate, weight_decay=1e-3, betas=(0.9, 0.98)
        )

    def training_step(self, step: Tensor, _: int) -> Tensor:
        """Return the loss of step ``step``."""
        number = int(step)
        decay = 0.02 + 0.98 * (1 + math.cos(math.pi * number / self.options.iterations)) / 2
        for group in optimizer_of(self).param_groups:
            group["lr"] = self.options.learning_rate * min(1.0, (number + 1) / WARM_UP) * decay
        with torch.autocast(self.device.type, enabled=False):  # data are exact in every --precision
            w, data, g = draw_batch(self.model, self.W, self.options, number)
        loss = self.model.loss(w, data, g, self.options.copies)
        self.losses.append(float(loss.detach()))
        return loss

    def on_train_batch_end(self, outputs, step, batch_idx) -> None:
        """Average the weights; save the state now and then."""
        self.average.update_parameters(self.model)
        done = int(step) + 1
        if done % self.options.save_every == 0 or done == self.options.iterations:
            self.save(self, done)
            recent = self.losses[-self.options.save_every :]
            log.info("step %d of %d, loss %.3f", done, self.options.iterations, sum(recent) / len(recent))


def optimizer_of(training: Training) -> torch.optim.Optimizer:
    """Return the one optimiser of a training, as torch made it."""
    found = training.optimizers(use_pl_optimizer=False)
    assert isinstance(found, torch.optim.Optimizer)
    return found


def state_of(training: Training) -> dict[str, Tensor]:
    """Return everything that a resumed training needs, as flat tensors."""
    state = {f"model/{k}": v for k, v in training.model.state_dict().items()}
    state |= {f"average/{k}": v for k, v in training.average.state_dict().items()}
    for index, moments in optimizer_of(training).state_dict()["state"].items():
        state |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in moments.items()}
    return {k: v.detach().cpu().clone().contiguous() for k, v in state.items()}


class Steps(torch.utils.data.Dataset[int]):
    """The numbers of the steps that are left."""

    def __init__(self, start: int, end: int) -> None:
        self.numbers = range(start, end)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> int:
        return self.numbers[index]


class Restore(lightning.Callback):
    """Puts a saved state back before the first step."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def on_train_start(self, trainer, training) -> None:
        """Restore weights, averages and the optimiser's moments."""
        part = lambda name: {k.removeprefix(name): v for k, v in self.state.items() if k.startswith(name)}  # noqa: E731
        training.model.load_state_dict(part("model/"))
        training.average.load_state_dict(part("average/"))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer/").items():
            index, name = key.split("/")
            moments.setdefault(int(index), {})[name] = value
        optimizer = trainer.optimizers[0]
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def fit(
    spec: ModelSpec,
    W: Tensor,
    W_validation: Tensor,
    config: TrainPriorConfig,
    save: Callable[[Training, int], None],
    start: int = 0,
    state: dict[str, Tensor] | None = None,
    first: WeightModel | None = None,
) -> Fit:
    """Train a model from step ``start``; ``save(training, step)`` is called now and then.

    Parameters
    ----------
    W, W_validation : (B, N, N) weights; the second are only scored.
    state : what `state_of` returned at step ``start``. first : model of the same body whose network training starts from.
    """
    torch.manual_seed(config.seed)
    fresh = WeightModel(spec)
    if first is not None:
        fresh.net.load_state_dict(first.net.state_dict())
    training = Training(fresh, W, config, save)
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about loaders and loggers that we do not use
        trainer = lightning.Trainer(
            max_steps=config.iterations - start, max_epochs=1, accelerator="auto", devices=1, precision=config.precision,
            gradient_clip_val=1.0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[Restore(state)] if state else [],
        )  # fmt: skip
        steps = torch.utils.data.DataLoader(Steps(start, config.iterations), batch_size=None)
        if start < config.iterations:
            trainer.fit(training, steps)
        elif state:
            training.average.load_state_dict(
                {k.removeprefix("average/"): v for k, v in state.items() if k.startswith("average/")}
            )
    if trainer.interrupted:
        raise KeyboardInterrupt
    model = training.average.module.cpu().eval()
    assert isinstance(model, WeightModel)
    losses = [validation_loss(m, W_validation, config) for m in (model, blank_of(model))]
    return Fit(model, training.losses, *losses)


def blank_of(model: WeightModel) -> WeightModel:
    """Return an untrained model of the same kind: its network's output is zero."""
    return WeightModel(model.spec).eval()


@torch.no_grad()
def validation_loss(model: WeightModel, W: Tensor, config: TrainPriorConfig, n_batches: int = 8) -> float:
    """Return the mean loss over batches of held-out networks with fixed noise."""
    total = 0.0
    for k in range(n_batches):
        w, data, g = draw_batch(model, W, config, k, offset=1)
        total += float(model.loss(w, data, g, config.copies)) / n_batches
    return total
